//! Multipart uploads: `u/…` while open, `p/…` for their parts, before and after completion.

use std::collections::BTreeMap;

use base::{BucketId, UploadId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Acl, Checksum, ChecksumKind, Encryption, Lock, Record, RecordError, SealedPart};
use super::{escape, exactly, grown, join, under, unescape};

/// An open multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// User name of the initiator.
    pub owner: String,
    /// Standard headers for the object.
    pub headers: BTreeMap<String, String>,
    /// User metadata for the object.
    pub user_metadata: BTreeMap<String, String>,
    /// Checksum algorithm asked for, as S3 spells it, and what it is to cover.
    pub checksum: Option<(String, ChecksumKind)>,
    /// Tags for the object.
    pub tags: BTreeMap<String, String>,
    /// Lock for the object.
    pub lock: Lock,
    /// Completion or copy has begun: the process that did it may still be at work. Kept so that
    /// a crash between staging and commit is seen and cleaned.
    pub staging: bool,
    /// Under whose keys its parts are.
    pub encryption: Encryption,
    /// ACL for the object.
    pub acl: Option<Acl>,
}

impl Record for UploadRecord {
    const NAME: &'static str = "upload";
    const VERSION: u8 = 3;

    /// Version 1 knew the bucket's encryption only, and no ACLs; version 2 no portions.
    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0, 0])
    }
}

/// One uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Identity, size and key; `None` for an empty part.
    pub sealed: Option<SealedPart>,
    /// Without quotes.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Verified checksum, if the client sent one.
    pub checksum: Option<Checksum>,
}

impl PartRecord {
    /// Plaintext bytes.
    pub fn size(&self) -> u64 {
        self.sealed.as_ref().map_or(0, |part| part.size)
    }
}

impl Record for PartRecord {
    const NAME: &'static str = "part";
    const VERSION: u8 = 2;

    /// Version 1 knew no portions.
    fn decode_version(_: u8, body: &[u8]) -> Result<Self, RecordError> {
        exactly(body)
    }
}

/// `u/<bucket id><escaped object key>00 00<upload id>`.
pub fn upload_key(bucket: BucketId, name: &str, upload: UploadId) -> Bytes {
    join(b"u/", &[bucket.as_bytes(), &escape(name.as_bytes()), &[0, 0], upload.as_bytes()])
}

/// All uploads of a bucket for names that start with `prefix`, by name, then upload id.
pub fn uploads(bucket: BucketId, prefix: &str) -> (Bytes, Bytes) {
    under(join(b"u/", &[bucket.as_bytes(), &escape(prefix.as_bytes())]))
}

/// All uploads of exactly one object name.
pub fn uploads_of_key(bucket: BucketId, name: &str) -> (Bytes, Bytes) {
    under(join(b"u/", &[bucket.as_bytes(), &escape(name.as_bytes()), &[0, 0]]))
}

/// The object name and upload in a key made by [`upload_key`].
///
/// # Errors
/// [`RecordError::Corrupt`] when it is none.
pub fn upload_of(key: &[u8]) -> Result<(String, UploadId), RecordError> {
    let corrupt = RecordError::Corrupt { record: "upload" };
    let rest = key.get(2 + 16..).ok_or(corrupt.clone())?;
    let (name, id) = rest.split_last_chunk::<16>().ok_or(corrupt.clone())?;
    let name = name.strip_suffix(&[0, 0]).and_then(unescape).ok_or(corrupt.clone())?;
    let name = String::from_utf8(name).map_err(|_| corrupt)?;
    Ok((name, UploadId::from_bytes(*id)))
}

/// `p/<upload id><part number>`.
pub fn part_key(upload: UploadId, number: u16) -> Bytes {
    join(b"p/", &[upload.as_bytes(), &number.to_be_bytes()])
}

/// All parts of an upload, by number.
pub fn parts(upload: UploadId) -> (Bytes, Bytes) {
    under(join(b"p/", &[upload.as_bytes()]))
}

/// The number in a key made by [`part_key`].
///
/// # Errors
/// [`RecordError::Corrupt`] when it is none.
pub fn part_number_of(key: &[u8]) -> Result<u16, RecordError> {
    let number = key.get(2 + 16..).and_then(|bytes| bytes.try_into().ok());
    number.map(u16::from_be_bytes).ok_or(RecordError::Corrupt { record: "part" })
}
