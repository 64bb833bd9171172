//! Sites: `s/<slot>` says which site fills each of the five slots.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join};

/// The site in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// The cluster's id, the same in all five records and in the sites' markers.
    pub cluster: String,
    /// As configured.
    pub name: String,
    /// Milliseconds since the Unix epoch when this site took the slot; the site's own marker
    /// repeats it, so that a folder put in the wrong place is seen.
    pub since_ms: u64,
    /// Work left after the site was replaced by an empty one.
    pub resync: Option<Resync>,
}

/// A walk over all blobs that puts the slot's shards back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// Milliseconds since the Unix epoch when it began.
    pub started_ms: u64,
    /// The last blob key done; empty at the start.
    pub cursor: Vec<u8>,
    /// Blobs done.
    pub done: u64,
}

impl Record for SiteRecord {
    const NAME: &'static str = "site";
}

/// `s/<slot>`.
pub fn site_key(slot: u8) -> Bytes {
    join(b"s/", &[&[slot]])
}
