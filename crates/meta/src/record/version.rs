//! Versions that are not current, and all delete markers: `v/<bucket id><escaped key>00 00<order>`,
//! the newest first. `w/<bucket id><key>` holds the order of a key's `null` version while that one
//! is among them.
//!
//! A key's `o/` row exists exactly while its newest version is an object, and is that version.

use base::BucketId;
use bytes::Bytes;

use super::{RecordError, escape, join, under, unescape};

/// `v/<bucket id><escaped object key>00 00<order, all bits flipped>`.
pub fn version_key(bucket: BucketId, name: &str, order: u64) -> Bytes {
    join(b"v/", &[bucket.as_bytes(), &escape(name.as_bytes()), &[0, 0], &(!order).to_be_bytes()])
}

/// All rows of one key, the newest first.
pub fn versions_of_key(bucket: BucketId, name: &str) -> (Bytes, Bytes) {
    under(join(b"v/", &[bucket.as_bytes(), &escape(name.as_bytes()), &[0, 0]]))
}

/// All rows of a bucket for names that start with `prefix`, by name, then the newest first.
pub fn versions(bucket: BucketId, prefix: &str) -> (Bytes, Bytes) {
    under(join(b"v/", &[bucket.as_bytes(), &escape(prefix.as_bytes())]))
}

/// The first row of a bucket at or after the name given as raw bytes.
pub fn versions_from(bucket: BucketId, name: &[u8]) -> Bytes {
    join(b"v/", &[bucket.as_bytes(), &escape(name)])
}

/// The object name and order in a key made by [`version_key`].
///
/// # Errors
/// [`RecordError::Corrupt`] when it is none.
pub fn version_of(key: &[u8]) -> Result<(String, u64), RecordError> {
    let corrupt = RecordError::Corrupt { record: "version" };
    let rest = key.get(2 + 16..).ok_or(corrupt.clone())?;
    let (name, order) = rest.split_last_chunk::<8>().ok_or(corrupt.clone())?;
    let name = name.strip_suffix(&[0, 0]).and_then(unescape).ok_or(corrupt.clone())?;
    Ok((String::from_utf8(name).map_err(|_| corrupt)?, !u64::from_be_bytes(*order)))
}

/// `w/<bucket id><object key>`.
pub fn null_version_key(bucket: BucketId, name: &str) -> Bytes {
    join(b"w/", &[bucket.as_bytes(), name.as_bytes()])
}

/// The value of a `w/` row.
pub fn null_version_value(order: u64) -> Bytes {
    Bytes::copy_from_slice(&order.to_be_bytes())
}

/// The order in the value of a `w/` row.
///
/// # Errors
/// [`RecordError::Corrupt`] when it is none.
pub fn null_version_of(value: &[u8]) -> Result<u64, RecordError> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| RecordError::Corrupt { record: "null version" })
}
