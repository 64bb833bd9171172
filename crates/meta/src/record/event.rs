//! The outbox: `e/<target>00<sequence>` holds an event that its target has not taken yet, `q/<target>` what
//! became of those before. A target's name has no zero byte, so the rows of one lie together.

use bytes::Bytes;
use notify::Event;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

impl Record for Event {
    const NAME: &'static str = "event";
}

/// What became of a target's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// The highest sequence that left the outbox.
    pub sequence: u64,
    /// Events taken by the target.
    pub delivered: u64,
    /// Events given up because the outbox was full, or their rows were damaged.
    pub dropped: u64,
    /// When the target last took one, milliseconds since the Unix epoch; 0: never.
    pub delivered_ms: u64,
}

impl Record for QueueRecord {
    const NAME: &'static str = "queue";
}

/// `e/<target>00<sequence>`.
pub fn event_key(target: &str, sequence: u64) -> Bytes {
    join(b"e/", &[target.as_bytes(), &[0], &sequence.to_be_bytes()])
}

/// All events of all targets.
pub fn events() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"e/"))
}

/// All events of a target, the oldest first.
pub fn events_of(target: &str) -> (Bytes, Bytes) {
    under(join(b"e/", &[target.as_bytes(), &[0]]))
}

/// The target and the sequence in a key made by [`event_key`].
pub fn event_of(key: &[u8]) -> Option<(&str, u64)> {
    let (name, sequence) = key.strip_prefix(b"e/")?.split_last_chunk::<8>()?;
    let target = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?;
    Some((target, u64::from_be_bytes(*sequence)))
}

/// `q/<target>`.
pub fn queue_key(target: &str) -> Bytes {
    join(b"q/", &[target.as_bytes()])
}

/// The queue records of all targets.
pub fn queues() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"q/"))
}

/// The target in a key made by [`queue_key`].
pub fn queue_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(b"q/")?).ok()
}
