//! Sites: `s/<slot>` says which site fills each of the five slots.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, join};

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

/// A walk over all blobs that puts the slot's shards back. It begins anywhere, goes to the last blob, and on from the first one
/// to where it began: so two walks that join go on as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// Milliseconds since the Unix epoch when it began.
    pub started_ms: u64,
    /// The last blob key done; at the start `begin`, and empty where it goes on from the first blob.
    pub cursor: Vec<u8>,
    /// Blobs done.
    pub done: u64,
    /// The blob key after which it began, and which it ends with; empty: it began with the first blob.
    pub begin: Vec<u8>,
}

impl Resync {
    /// A walk that begins after this key.
    pub fn after(begin: Vec<u8>, started_ms: u64) -> Self {
        Self { started_ms, cursor: begin.clone(), done: 0, begin }
    }

    /// Whether it has not come to the last blob yet.
    pub fn is_on_first_leg(&self) -> bool {
        self.cursor >= self.begin
    }

    /// Whether the blob with this key is behind it.
    pub fn has_done(&self, blob_key: &[u8]) -> bool {
        let (before_cursor, behind_begin) = (blob_key <= self.cursor.as_slice(), blob_key > self.begin.as_slice());
        if self.is_on_first_leg() { before_cursor && behind_begin } else { before_cursor || behind_begin }
    }
}

/// [`SiteRecord`] before version 2.
#[derive(Deserialize)]
struct SiteV1 {
    cluster: String,
    name: String,
    since_ms: u64,
    resync: Option<(u64, Vec<u8>, u64)>,
}

impl Record for SiteRecord {
    const NAME: &'static str = "site";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        if version != 1 {
            return super::exactly(body);
        }
        match postcard::take_from_bytes::<SiteV1>(body) {
            Ok((SiteV1 { cluster, name, since_ms, resync }, [])) => {
                let resync =
                    resync.map(|(started_ms, cursor, done)| Resync { started_ms, cursor, done, begin: Vec::new() });
                Ok(Self { cluster, name, since_ms, resync })
            }
            _ => Err(RecordError::Corrupt { record: Self::NAME }),
        }
    }
}

/// `s/<slot>`.
pub fn site_key(slot: u8) -> Bytes {
    join(b"s/", &[&[slot]])
}
