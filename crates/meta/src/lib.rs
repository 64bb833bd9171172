//! Metadata: small typed, versioned records over a transactional ordered [`Engine`].
//!
//! Engines know bytes only; [`record`] knows what they mean. Every engine passes the one
//! [`conformance`] suite.

pub mod conformance;
mod embedded;
mod engine;
#[cfg(feature = "etcd")]
mod etcd;
mod memory;
pub mod record;
mod revoking;
pub mod stale;

pub use embedded::{Embedded, EmbeddedOptions};
pub use engine::{
    Batch, Check, CommitError, Engine, Key, MetaError, Nearby, Page, Range, Row, Version, Write, after, each_row, era,
    prefix_end,
};
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdHealth, EtcdMistakes, EtcdOptions, MemberHealth};
pub use memory::Memory;
pub use revoking::Revoking;
