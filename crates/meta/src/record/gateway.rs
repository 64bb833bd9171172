//! Gateways: the processes that serve one store together.
//!
//! `f/<gateway id>` is a gateway that lives, `M/leader` the one of them that does what one does for all, `C/head` changes with
//! everything that takes something away from somebody.

use base::{BlobId, BodyId, GatewayId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, exactly, join, under};

/// A process that serves the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRecord {
    /// What operators call it.
    pub name: String,
    /// Milliseconds since the Unix epoch by its own clock when it began.
    pub started_ms: u64,
    /// By its own clock when this was written: for people, who see a wrong clock by it. Nothing is decided by it.
    pub now_ms: u64,
    /// Grows with every time it is written. Who sees it stand still for long takes the gateway for dead.
    pub beat: u64,
    /// The version of its software.
    pub software: String,
    /// Blobs that it reads or writes since long.
    pub blobs: Vec<BlobId>,
    /// Multipart bodies that it reads since long.
    pub bodies: Vec<BodyId>,
    /// There are more than could be told: what is not named may be held as well.
    pub holds_more: bool,
    /// By the writer's clock that never goes back ([`base::Clock::passed_ms`]) when this was written: a copy of the rows that has it is no
    /// older, as the writer itself can tell. Since version 2.
    pub passed_ms: u64,
    /// How long what clients wait for took of late. Since version 3.
    pub foreground: Vec<Latency>,
}

/// How long pieces of clients' requests took in the time between two rows of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// What: the low bit says whether it was written (1) or read (0), the next one whether it was large.
    pub kind: u8,
    /// How many.
    pub count: u32,
    /// The 99th percentile, microseconds.
    pub p99_us: u32,
}

impl Record for GatewayRecord {
    const NAME: &'static str = "gateway";
    const VERSION: u8 = 3;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        match version {
            1 => exactly(&[body, &[0, 0]].concat()),
            2 => exactly(&[body, &[0]].concat()),
            _ => exactly(body),
        }
    }
}

/// `f/<gateway id>`.
pub fn gateway_key(gateway: GatewayId) -> Bytes {
    join(b"f/", &[gateway.as_bytes()])
}

/// All gateways.
pub fn gateways() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"f/"))
}

/// The gateway in a key made by [`gateway_key`].
pub fn gateway_of(key: &[u8]) -> Option<GatewayId> {
    Some(GatewayId::from_bytes(key.strip_prefix(b"f/")?.try_into().ok()?))
}

/// `M/leader`: the id of the gateway that does what one does for all.
pub fn leader_key() -> Bytes {
    Bytes::from_static(b"M/leader")
}

/// `C/head`: a value that nothing had before, written by every batch that takes something away.
pub fn head_key() -> Bytes {
    Bytes::from_static(b"C/head")
}

/// `M/era`: eight bytes, big endian: how often the rows came into another engine, which numbers versions anew.
pub fn era_key() -> Bytes {
    Bytes::from_static(b"M/era")
}

/// `M/floor`: nothing; written when a checkpoint begins, to learn the version of that moment.
pub fn floor_key() -> Bytes {
    Bytes::from_static(b"M/floor")
}

/// The value of [`era_key`].
pub fn era_value(era: u64) -> Bytes {
    era.to_be_bytes().to_vec().into()
}
