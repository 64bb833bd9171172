//! Sites that the root key is wrapped to: `W/<name>`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// A machine that opens the root key by a key pair of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedSiteRecord {
    /// Its public key (X-Wing, 1,216 bytes).
    pub public: Vec<u8>,
    /// Milliseconds since the Unix epoch when the root key was wrapped to it last.
    pub wrapped_ms: u64,
    /// The name of that root key: the audit log's, which is no secret.
    pub root: String,
    /// The text of a root key file that only the site opens.
    pub wrap: String,
    /// What that root key vouches for name and public key by (32 bytes): who writes in the metadata adds no machine.
    pub known: Vec<u8>,
    /// What the root key before vouches for the text by (32 bytes); none where a person carries it.
    pub vouched: Option<Vec<u8>>,
}

impl Record for WrappedSiteRecord {
    const NAME: &'static str = "wrapped site";
}

/// `W/<name>`.
pub fn wrapped_site_key(name: &str) -> Bytes {
    join(b"W/", &[name.as_bytes()])
}

/// All sites that the root key is wrapped to.
pub fn wrapped_sites() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"W/"))
}

/// The name in a key made by [`wrapped_site_key`].
pub fn wrapped_site_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(b"W/")?).ok()
}
