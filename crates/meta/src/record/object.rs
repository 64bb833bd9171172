//! Objects: `o/<bucket id><object key>` holds the current version, `v/` the others (see
//! `version.rs`).

use std::collections::BTreeMap;

use base::{BodyId, BucketId, PartId, PortionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Acl, ContentId, Record, RecordError, exactly, grown, join, under};

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// The body written; a marker's is random and names only itself.
    pub body_id: BodyId,
    /// Its place among the versions of its key: each new one is higher. About the milliseconds
    /// since the Unix epoch at which it was written.
    pub order: u64,
    /// Whether its version id is `null`: written while the bucket was not versioned.
    pub null: bool,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Plaintext bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Standard headers to give back (`content-type`, `cache-control`, …), lower-case names.
    pub headers: BTreeMap<String, String>,
    /// `x-amz-meta-*`, names without the prefix.
    pub user_metadata: BTreeMap<String, String>,
    /// The checksum that the client sent or asked for, verified.
    pub checksum: Option<Checksum>,
    /// Tags; at most ten.
    pub tags: BTreeMap<String, String>,
    /// What forbids its deletion.
    pub lock: Lock,
    /// Where the bytes are.
    pub body: Body,
    /// Under whose keys they are.
    pub encryption: Encryption,
    /// Its ACL; without one the owner has full control.
    pub acl: Option<Acl>,
    /// What its bytes are known by to the scan service. Since version 4.
    pub scan: Option<ScanMark>,
}

/// What a version's bytes are known by to the scan service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanMark {
    /// All its plaintext.
    pub content: ContentId,
    /// Somebody who may said that it is given out, whatever is found in it.
    pub released: bool,
}

/// Under whose keys a body's parts are, beside the bucket's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// Nobody's: what S3 calls SSE-S3.
    #[default]
    Bucket,
    /// As the bucket's, and told as the default KMS key's (SSE-KMS).
    Kms {
        /// The encryption context that the writer gave: JSON.
        context: Option<String>,
        /// Whether the writer, or the bucket, asked for an S3 Bucket Key.
        bucket_key: bool,
    },
    /// A customer's (SSE-C). The key is not kept.
    Customer {
        /// Tells the right key from a wrong one; 32 bytes.
        verifier: Vec<u8>,
    },
    /// A portion's, which the writer or the bucket named (SSE-KMS). Since version 3.
    Portion {
        /// The portion.
        portion: PortionId,
        /// The encryption context that the writer gave: JSON.
        context: Option<String>,
        /// Whether the writer, or the bucket, asked for an S3 Bucket Key.
        bucket_key: bool,
    },
}

/// What forbids the deletion of a version (S3 Object Lock).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Until when, and how strictly.
    pub retention: Option<Retention>,
    /// A legal hold: for as long as it is set.
    pub hold: bool,
}

/// A retention period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Its end, milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// How strictly a retention period is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Who has the right to may lift it.
    Governance,
    /// Nobody may lift or shorten it.
    Compliance,
}

impl ObjectRecord {
    /// Whether this is a delete marker.
    pub fn is_marker(&self) -> bool {
        matches!(self.body, Body::Marker)
    }
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// No bytes: nothing to seal or to store.
    Empty,
    /// One part.
    Single(SealedPart),
    /// Parts in rows `p/<body id><number>`. Sizes are here so that a range read goes straight
    /// to its parts; runs keep 10,000 of them small.
    Multipart(Vec<PartRun>),
    /// A delete marker: no object.
    Marker,
}

/// Consecutive part numbers of equal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRun {
    /// First part number, 1 to 10,000.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// Plaintext bytes of each.
    pub size: u64,
}

/// A part's identity and key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPart {
    /// Names the `d/` row and binds the seal.
    pub id: PartId,
    /// Plaintext bytes.
    pub size: u64,
    /// The data encryption key, wrapped: 40 bytes under the bucket's key, 60 under a portion's (`docs/spec/wrap.md`).
    pub wrapped_dek: Vec<u8>,
    /// Salt and key commitment of the sealed body (56 bytes).
    pub header: Vec<u8>,
}

impl std::fmt::Debug for SealedPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedPart").field("id", &self.id).field("size", &self.size).finish_non_exhaustive()
    }
}

/// An S3 checksum of a whole object or part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// As S3 spells it: `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`.
    pub algorithm: String,
    /// Over what.
    pub kind: ChecksumKind,
    /// Base64; composite ones end in `-<parts>`.
    pub value: String,
}

/// What a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All bytes.
    FullObject,
    /// The parts' checksums.
    Composite,
}

impl Record for ObjectRecord {
    const NAME: &'static str = "object";
    const VERSION: u8 = 4;

    /// Version 1 knew the bucket's encryption only, and no ACLs; version 2 no portions; version 3 no scans.
    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        match version {
            1 => grown(1, body, &[0; 3]),
            2 | 3 => grown(1, body, &[0]),
            _ => exactly(body),
        }
    }
}

/// A multipart body whose object is gone: its part rows are to be released in steps, because
/// 10,000 of them do not fit one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// Milliseconds since the Unix epoch when it was dropped.
    pub dropped_ms: u64,
}

impl Record for DropRecord {
    const NAME: &'static str = "drop";
}

/// `o/<bucket id><object key>`.
pub fn object_key(bucket: BucketId, name: &str) -> Bytes {
    join(b"o/", &[bucket.as_bytes(), name.as_bytes()])
}

/// All objects of a bucket whose names start with `prefix`.
pub fn objects(bucket: BucketId, prefix: &str) -> (Bytes, Bytes) {
    under(object_key(bucket, prefix))
}

/// The first key of a bucket at or after `name` given as raw bytes (for seeking past a prefix).
pub fn objects_from(bucket: BucketId, name: &[u8]) -> Bytes {
    join(b"o/", &[bucket.as_bytes(), name])
}

/// The object name in a key made by [`object_key`].
///
/// # Errors
/// [`RecordError::Corrupt`] when it is none.
pub fn object_name_of(key: &[u8]) -> Result<&str, RecordError> {
    let corrupt = RecordError::Corrupt { record: "object" };
    key.get(2 + 16..).and_then(|name| std::str::from_utf8(name).ok()).ok_or(corrupt)
}

/// `x/<body id>`.
pub fn drop_key(body: BodyId) -> Bytes {
    join(b"x/", &[body.as_bytes()])
}

/// All bodies to take apart.
pub fn drops() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"x/"))
}

/// The body in a key made by [`drop_key`].
pub fn body_of(key: &[u8]) -> Option<BodyId> {
    Some(BodyId::from_bytes(key.get(2..)?.try_into().ok()?))
}
