//! Repair as operators steer it and see it: `M/pace` and `M/repair`. What is to be repaired is in the rows of the queue
//! ([`RepairRecord`](super::RepairRecord)) and of the sites ([`Resync`](super::Resync)); nothing follows from these two but how fast.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Record;

/// Classes of risk, the worst first: one more loss loses data; two more do; all five shards are durable, not all at home;
/// fewer than three shards are in reach.
pub const RISKS: usize = 4;

/// What operators said at run time. It counts more than the configuration, at every gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairControlRecord {
    /// Nothing is moved.
    pub paused: bool,
    /// Most bytes that are moved in a second; `None`: what the leader's configuration says.
    pub max_bytes_per_s: Option<u64>,
}

impl Record for RepairControlRecord {
    const NAME: &'static str = "repair control";

    fn is_sound(&self) -> bool {
        self.max_bytes_per_s != Some(0)
    }
}

/// How far repair is: what the gateway that leads tells all others, every few seconds while there is something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepairProgressRecord {
    /// Milliseconds since the Unix epoch when there began to be something to do, whoever led then.
    pub since_ms: u64,
    /// The same when this was written.
    pub told_ms: u64,
    /// The name of the gateway that leads.
    pub gateway: String,
    /// Blobs that wait in the queue, and their bytes, by class.
    pub queued: [(u64, u64); RISKS],
    /// Blobs that walks through replaced sites have still to look at.
    pub to_walk: u64,
    /// Blobs mended since `since_ms`, and bytes moved for them.
    pub done: (u64, u64),
    /// Bytes moved in a second, of late.
    pub bytes_per_s: u64,
    /// Blobs done in 1000 seconds, of late.
    pub blobs_per_ks: u64,
    /// Bytes that may be moved in a second now; 0: none.
    pub limit: u64,
    /// Blobs that may be worked on at once.
    pub at_once: u8,
    /// Why the limit is what it is: a word for operators.
    pub why: String,
    /// What clients wait for, 99th percentile, beside what it is without repair, in percent; `None`: not known, or no clients.
    pub p99_percent: Option<u32>,
    /// The last failure, until a pass has none.
    pub last_error: Option<String>,
}

impl Record for RepairProgressRecord {
    const NAME: &'static str = "repair progress";
}

/// `M/pace`.
pub fn repair_control_key() -> Bytes {
    Bytes::from_static(b"M/pace")
}

/// `M/repair`.
pub fn repair_progress_key() -> Bytes {
    Bytes::from_static(b"M/repair")
}
