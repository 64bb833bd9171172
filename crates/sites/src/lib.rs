//! Five places that keep bytes, none of them trusted and none of them needed.
//!
//! A [`Site`] stores immutable named blobs durably. [`Pool`] holds five and does what one cannot:
//! placement, hand-off of a dead site's shard, hedged reads, health.

pub mod conformance;
mod folder;
mod health;
mod memory;
mod name;
mod object;
mod open;
mod pool;
mod site;

pub use folder::Folder;
pub use health::SiteState;
pub use memory::Memory;
pub use object::Object;
pub use open::{MARKER, Marker, OpenError, open, read_marker, write_marker};
pub use pool::{PlaceError, Pool, PoolOptions, SiteSpec, SiteView};
pub use site::{Entry, Site, SiteError};
