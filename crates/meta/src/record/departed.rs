//! Tenants that were deleted, until nothing is left of them.
//!
//! `X/<account>` is written by the batch that deletes the tenant, and goes when its keys are destroyed.

use base::AccountId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// A tenant whose keys are still to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartedRecord {
    /// Its name.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
}

impl Record for DepartedRecord {
    const NAME: &'static str = "departed tenant";
}

/// `X/<account>`.
pub fn departed_key(account: AccountId) -> Bytes {
    join(b"X/", &[&account.to_bytes()])
}

/// All tenants that were deleted and not taken apart yet.
pub fn departed() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"X/"))
}

/// The rows of a tenant that stay when it is deleted: all that is about its portions and their release. Without rows
/// under portions' ids, which go when those are shredded.
pub fn of_tenant(account: AccountId) -> [(Bytes, Bytes); 11] {
    let all = [b"h/", b"H/", b"K/", b"l/", b"m/", b"z/", b"P/", b"E/", b"A/", b"L/", b"Q/"];
    all.map(|prefix| under(join(prefix, &[&account.to_bytes()])))
}

/// The account in a key made by [`departed_key`].
pub fn departed_of(key: &[u8]) -> Option<AccountId> {
    AccountId::from_bytes(key.get(2..)?.try_into().ok()?)
}
