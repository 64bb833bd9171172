//! Buckets: `b/<name>` holds the record, `i/<id>` says that the id lives.

use base::BucketId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// Names the bucket's rows; a bucket made again under the same name gets another.
    pub id: BucketId,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// User name of the creator (`root` for the root credentials).
    pub owner: String,
    /// The bucket's key encryption key, wrapped by the root key (AES-256-KWP).
    pub wrapped_key: Vec<u8>,
}

impl Record for BucketRecord {
    const NAME: &'static str = "bucket";
}

/// `b/<name>`.
pub fn bucket_key(name: &str) -> Bytes {
    join(b"b/", &[name.as_bytes()])
}

/// All buckets, by name.
pub fn buckets() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"b/"))
}

/// The name in a key made by [`bucket_key`].
pub fn bucket_name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(b"b/")?).ok()
}

/// `i/<id>`: present while the bucket lives. Writes into a bucket check it, so that none lands
/// in a bucket that was deleted meanwhile.
pub fn bucket_live_key(id: BucketId) -> Bytes {
    join(b"i/", &[id.as_bytes()])
}
