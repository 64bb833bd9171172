//! Users: `a/<access key>`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// A user and what they may do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Unique.
    pub name: String,
    /// The secret access key, sealed under the root key. SigV4 needs it in clear to verify.
    pub sealed_secret: Vec<u8>,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Rights per bucket.
    pub grants: Vec<Grant>,
}

/// A right on a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// A bucket's name, or `*` for all.
    pub bucket: String,
    /// What is allowed.
    pub right: Right,
}

/// What a grant allows. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// List the bucket and read its objects.
    Read,
    /// Write, copy into and delete objects; multipart uploads.
    Write,
    /// Create and delete the bucket itself.
    Admin,
}

impl Record for UserRecord {
    const NAME: &'static str = "user";
}

/// `a/<access key>`.
pub fn user_key(access_key: &str) -> Bytes {
    join(b"a/", &[access_key.as_bytes()])
}

/// `n/<user name>`: the user's access key, raw; keeps names unique.
pub fn user_name_key(name: &str) -> Bytes {
    join(b"n/", &[name.as_bytes()])
}

/// All users, by access key.
pub fn users() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"a/"))
}
