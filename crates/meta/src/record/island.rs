//! `I/<body id>`: a version that a cut-off gateway took, and that was not the newest of its key any more when it was told: the newer one
//! stayed. The row is there until somebody has looked at it.

use base::{AccountId, BodyId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// Two versions of which neither writer knew the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRecord {
    /// Whose bucket it is.
    pub account: AccountId,
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The id of the version that the cut-off gateway took.
    pub version: String,
    /// The id of the version that was written meanwhile; empty: it was deleted.
    pub other: String,
    /// User name of its writer.
    pub principal: String,
    /// What the gateway is called.
    pub gateway: String,
    /// When it was taken, milliseconds since the Unix epoch by the gateway's clock.
    pub taken_ms: u64,
    /// When it was told, the same.
    pub told_ms: u64,
}

impl Record for ConflictRecord {
    const NAME: &'static str = "conflict";
}

/// `I/<body id>`.
pub fn conflict_key(body: BodyId) -> Bytes {
    join(b"I/", &[body.as_bytes()])
}

/// All conflicts.
pub fn conflicts() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"I/"))
}

/// The body in a key made by [`conflict_key`].
pub fn conflict_of(key: &[u8]) -> Option<BodyId> {
    Some(BodyId::from_bytes(key.strip_prefix(b"I/")?.try_into().ok()?))
}
