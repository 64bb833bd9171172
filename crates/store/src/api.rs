//! What the edges ask of the store, and what it answers. No wire format knows of these types'
//! insides and none of these types knows of a wire format.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use base::{AccountId, BodyId, BucketId, PortionId, UploadId};
use bytes::Bytes;
pub use keys::CustomerKey;
pub use meta::record::{
    Acl, AclGrant, AclPermission, BucketState, Checksum, ChecksumKind, DefaultEncryption, DefaultRetention, Encryption,
    Grant, Grantee, KeyEntry, Lock, Retention, RetentionMode, RetentionPeriod, Right, ScanMode, ScanRules, Versioning,
};
pub use notify::EventName;

use crate::Error;
pub use crate::principal::{Principal, Session};
pub use crate::screen::ScanTold;
pub use meta::record::Verdict as ScanVerdict;

/// A bucket as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// The bucket's name.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// User name of the creator.
    pub owner: String,
}

/// What clients are told of an object besides what is stored with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Its version id; `None` in a bucket that never had versions.
    pub version: Option<VersionId>,
    /// When lifecycle rules remove it, if it is the newest of its key: the value of `x-amz-expiration`.
    pub expiration: Option<String>,
}

/// What is stored beside an object's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Standard headers to give back, lower-case names: `content-type`, `cache-control`,
    /// `content-disposition`, `content-encoding`, `content-language`, `expires`,
    /// `x-amz-storage-class`, `x-amz-website-redirect-location`.
    pub headers: BTreeMap<String, String>,
    /// `x-amz-meta-*`, names without the prefix, lower case.
    pub user_metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Lock; without a retention the bucket's default applies.
    pub lock: Lock,
}

/// How a new version is to be encrypted.
#[derive(Debug, Clone, Default)]
pub enum Encrypt {
    /// As the bucket says.
    #[default]
    Default,
    /// As the bucket said when it was asked whether the writer may use that key.
    Said(DefaultEncryption),
    /// SSE-S3.
    Bucket,
    /// SSE-KMS.
    Kms {
        /// The portion whose key it is; `None`: the default key.
        key: Option<PortionId>,
        /// Encryption context, JSON.
        context: Option<String>,
        /// With an S3 Bucket Key; `None`: as the bucket says.
        bucket_key: Option<bool>,
    },
    /// SSE-C.
    Customer(Arc<CustomerKey>),
}

/// A new object, but for its bytes.
#[derive(Debug, Clone, Default)]
pub struct NewObject {
    /// What is stored beside the bytes.
    pub meta: ObjectMeta,
    /// How it is encrypted.
    pub encrypt: Encrypt,
    /// Its ACL; `None`: the owner has full control.
    pub acl: Option<Acl>,
}

impl From<ObjectMeta> for NewObject {
    fn from(meta: ObjectMeta) -> Self {
        Self { meta, ..Self::default() }
    }
}

/// A part of an upload, to be written.
#[derive(Debug, Clone)]
pub struct NewPart {
    /// The upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u16,
    /// The key that the upload was created with (SSE-C).
    pub customer: Option<Arc<CustomerKey>>,
}

/// A version of an object, as clients name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionId {
    /// The one written while the bucket was not versioned.
    Null,
    /// Any other.
    Of {
        /// Its place among the versions of its key.
        order: u64,
        /// The first bytes of its body's id.
        tag: [u8; 8],
    },
}

impl VersionId {
    pub(crate) fn of(record: &meta::record::ObjectRecord) -> Self {
        if record.null {
            return Self::Null;
        }
        let (tag, _) = record.body_id.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self::Of { order: record.order, tag: *tag }
    }
}

impl std::fmt::Display for VersionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Of { order, tag } => write!(f, "{order:016x}{:016x}", u64::from_be_bytes(*tag)),
        }
    }
}

/// The text is not a version id that this store ever gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid version id")]
pub struct InvalidVersionId;

impl std::str::FromStr for VersionId {
    type Err = InvalidVersionId;

    fn from_str(text: &str) -> Result<Self, InvalidVersionId> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| InvalidVersionId);
        let lower = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.split_at_checked(16) {
            Some((order, tag)) if lower => Ok(Self::Of { order: hex(order)?, tag: hex(tag)?.to_be_bytes() }),
            _ => Err(InvalidVersionId),
        }
    }
}

/// An object as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The bucket it is in.
    pub bucket: BucketId,
    /// The object's key.
    pub key: String,
    /// The body written.
    pub body_id: BodyId,
    /// Which version it is; `Null` also in a bucket that was never versioned.
    pub version: VersionId,
    /// Plaintext bytes.
    pub size: u64,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Without quotes.
    pub etag: String,
    /// Headers and user metadata.
    pub meta: ObjectMeta,
    /// Verified checksum, if one was given or asked for.
    pub checksum: Option<Checksum>,
    /// Parts of a multipart object; `None` for an object put in one piece.
    pub parts_count: Option<u16>,
    /// Under whose keys it is.
    pub encryption: Encryption,
    /// Its ACL; `None`: the owner has full control.
    pub acl: Option<Acl>,
    /// What the scan service says of it, where its bucket has it looked at and it was asked for by itself. Of one that was just put: that it was to be
    /// scanned first, could not be, and is kept back.
    pub scan: Option<ScanTold>,
}

/// What the reader of a request body knows once the body ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// MD5 of the body as hex when the client asked to check one; becomes the ETag. Without it
    /// the store makes an opaque tag.
    pub md5_hex: Option<String>,
    /// Verified checksum to store.
    pub checksum: Option<Checksum>,
    /// What the scan service knows it by, where it is looked at.
    pub content: Option<meta::record::ContentId>,
}

/// Why a request body could not be read to a good end. Nothing is stored then.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client went away, or sent fewer or more bytes than it declared.
    #[error("the request body ended early or is malformed")]
    Incomplete(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A digest or signature over the body does not match; the edge keeps its own error.
    #[error("the request body fails verification")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The body is read from this store, which failed.
    #[error("the source cannot be read")]
    Source(#[source] Box<Error>),
}

/// A request body, streamed. `chunk` until `None`, then `finish` once.
#[async_trait]
pub trait BodySource: Send {
    /// The next bytes; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError>;
    /// Verifies what can be known only at the end (digests, trailers).
    fn finish(&mut self) -> Result<BodyFacts, BodyError>;
}

/// Conditions on the object that stands under the key at the moment of commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// `If-None-Match: *`: nothing may stand there.
    pub absent: bool,
    /// `If-Match`: the object must stand there with one of these ETags (`*` as any).
    pub etag_is: Option<EtagSet>,
}

/// One side of `If-Match` / `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagSet {
    /// `*`.
    Any,
    /// ETags without quotes.
    Of(Vec<String>),
}

impl EtagSet {
    /// Whether `etag` (no quotes) is in the set.
    pub fn contains(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// Where a copy comes from, how, and on what conditions.
#[derive(Debug, Clone)]
pub struct CopySource {
    /// Source bucket.
    pub bucket: String,
    /// Source key.
    pub key: String,
    /// Source version; `None`: the current one.
    pub version: Option<VersionId>,
    /// Conditions on the source.
    pub condition: ReadCondition,
    /// The key that the source is under (SSE-C).
    pub customer: Option<Arc<CustomerKey>>,
    /// What was judged readable: the body, and its encryption, which a copy onto itself can change; `None`: whatever is there.
    pub judged: Option<(BodyId, Encryption)>,
}

/// Headers of [`ObjectMeta`] that a copy does not take over from its source.
pub const NEVER_COPIED: [&str; 2] = ["x-amz-storage-class", "x-amz-website-redirect-location"];

/// What of a copy differs from its source.
#[derive(Debug, Clone, Default)]
pub struct CopyChanges {
    /// Other headers and user metadata; `None`: the source's.
    pub meta: Option<ObjectMeta>,
    /// Its own of the headers that are [`NEVER_COPIED`], where `meta` is the source's.
    pub own_headers: BTreeMap<String, String>,
    /// Other tags; `None`: the source's.
    pub tags: Option<BTreeMap<String, String>>,
    /// Its lock, which is never copied.
    pub lock: Lock,
    /// Its encryption, which is never copied.
    pub encrypt: Encrypt,
    /// Its ACL, which is never copied.
    pub acl: Option<Acl>,
}

/// Conditions of a read (RFC 9110 section 13; S3 evaluates them in that order).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadCondition {
    /// `If-Match`.
    pub if_match: Option<EtagSet>,
    /// `If-None-Match`.
    pub if_none_match: Option<EtagSet>,
    /// `If-Modified-Since`, seconds since the Unix epoch.
    pub if_modified_since: Option<i64>,
    /// `If-Unmodified-Since`, seconds since the Unix epoch.
    pub if_unmodified_since: Option<i64>,
}

/// What a [`ReadCondition`] says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl ReadCondition {
    /// Judges an object.
    pub fn judge(&self, etag: &str, modified_ms: u64) -> Verdict {
        let modified_s = i64::try_from(modified_ms / 1000).unwrap_or(i64::MAX);
        match (&self.if_match, self.if_unmodified_since) {
            (Some(set), _) if !set.contains(etag) => return Verdict::Failed,
            (None, Some(since)) if modified_s > since => return Verdict::Failed,
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(set), _) if set.contains(etag) => Verdict::NotModified,
            (None, Some(since)) if modified_s <= since => Verdict::NotModified,
            _ => Verdict::Proceed,
        }
    }
}

/// A listing of objects or uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Keys start with this.
    pub prefix: String,
    /// Keys that share what comes up to and including this after the prefix become one entry.
    pub delimiter: Option<String>,
    /// Entries sort after this key or common prefix.
    pub after: Option<String>,
    /// Most entries (keys and common prefixes together), at most 1,000; 0 answers an empty page.
    pub limit: usize,
}

/// A page of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In key order.
    pub objects: Vec<ObjectInfo>,
    /// In order; each ends with the delimiter.
    pub common_prefixes: Vec<String>,
    /// When there is more: the `after` that continues (the last key or common prefix told).
    pub next: Option<String>,
}

/// An open upload, listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// Object key.
    pub key: String,
    /// Upload.
    pub upload: UploadId,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// User name.
    pub owner: String,
    /// Checksum algorithm and kind asked for at creation.
    pub checksum: Option<(String, ChecksumKind)>,
    /// Under whose keys its parts are.
    pub encryption: Encryption,
    /// Headers that the object will have.
    pub headers: BTreeMap<String, String>,
}

/// What the client of a completion believes of the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// How the upload's checksum was asked for.
    pub kind: Option<ChecksumKind>,
    /// Plaintext bytes.
    pub size: Option<u64>,
}

impl Expected {
    /// # Errors
    /// [`Error::OtherSize`].
    pub(crate) fn check_size(&self, found: u64) -> Result<(), Error> {
        match self.size {
            Some(expected) if expected != found => Err(Error::OtherSize { found, expected }),
            _ => Ok(()),
        }
    }
}

/// A page of uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// By key, then upload id.
    pub uploads: Vec<UploadInfo>,
    /// In order.
    pub common_prefixes: Vec<String>,
    /// When there is more: key and upload (or common prefix and `None`) to continue after.
    pub next: Option<(String, Option<UploadId>)>,
}

/// An uploaded part, listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u16,
    /// Plaintext bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Verified checksum.
    pub checksum: Option<Checksum>,
}

/// A page of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    /// The upload.
    pub upload: UploadInfo,
    /// By number.
    pub parts: Vec<PartInfo>,
    /// When there is more: the part number to continue after.
    pub next: Option<u16>,
}

/// A part named by CompleteMultipartUpload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletePart {
    /// 1 to 10,000, ascending.
    pub number: u16,
    /// Without quotes.
    pub etag: String,
    /// Base64 checksum that the client expects of the part.
    pub checksum: Option<String>,
}

/// What DeleteObject is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    /// This version for good; `None`: the object, which a versioned bucket hides by a marker.
    pub version: Option<VersionId>,
    /// `If-Match`.
    pub etag_is: Option<EtagSet>,
    /// Lift a governance retention. The caller has checked the right to.
    pub bypass_governance: bool,
}

/// What DeleteObject did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Whether an object or a version was there.
    pub existed: bool,
    /// Whether a delete marker was made, or was what was removed.
    pub marker: bool,
    /// The marker that was made, or the version that was removed.
    pub version: Option<VersionId>,
}

/// A listing of versions continues after this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMarker {
    /// Object key, or common prefix.
    pub key: String,
    /// The version under the key; `None`: after all of the key's.
    pub version: Option<VersionId>,
}

/// A version or delete marker, listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// What is stored; a marker has neither size nor ETag.
    pub info: ObjectInfo,
    /// Whether it is a delete marker.
    pub marker: bool,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// The row that it was read from.
    pub(crate) row: RowSeen,
}

/// A row's key, and the version of the row that was read.
pub(crate) type RowSeen = (meta::Key, meta::Version);

/// A page of versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// By key, then the newest first.
    pub versions: Vec<VersionInfo>,
    /// In order.
    pub common_prefixes: Vec<String>,
    /// When there is more: where to continue.
    pub next: Option<VersionMarker>,
}

/// A user, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserInfo {
    /// Unique in its tenant.
    pub name: String,
    /// `aws:userid`: never used again, unlike the name.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Access keys.
    pub keys: Vec<KeyEntry>,
    /// Rights.
    pub grants: Vec<Grant>,
    /// Names of inline policies.
    pub policies: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Unique in its tenant.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Rights of its members.
    pub grants: Vec<Grant>,
    /// Names of inline policies.
    pub policies: Vec<String>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantInfo {
    /// Unique.
    pub name: String,
    /// How policies name it.
    pub account: AccountId,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// A byte range of an object, never empty and inside the object; or all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadRange {
    /// From the first byte to the last.
    All,
    /// A half-open interval.
    Bytes(Range<u64>),
}

/// Object bodies stream out as these.
pub type ReadStream = futures::stream::BoxStream<'static, Result<Bytes, Error>>;
