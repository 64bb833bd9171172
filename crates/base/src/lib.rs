//! Words shared by every crate: identifiers, error kinds, limits, and the doors to time and chance.
//!
//! Pure: no async, no I/O. The two traits [`Clock`] and [`Rng`] are the only ways the rest of
//! Holdfast learns the time or draws randomness, so that a simulation can own both.

mod doors;
mod error;
mod id;
pub mod limits;

pub use doors::{Clock, Doors, ManualClock, Rng, SeededRng, Stopwatch, SystemClock, SystemRng};
pub use error::{Classify, ErrorKind, chain};
pub use id::{AccountId, BlobId, BodyId, BucketId, GatewayId, ParseIdError, PartId, PortionId, UploadId};
