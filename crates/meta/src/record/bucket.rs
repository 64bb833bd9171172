//! Buckets: `b/<name>` (`B/<account><name>` of another tenant) holds the record, `i/<id>` holds the state that writes depend on, `c/<id><name>` holds a
//! sub-resource (policy, lifecycle, CORS, ...) as it was put.

use base::{AccountId, BucketId, PortionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::user::in_account;
use super::{Record, RecordError, RetentionMode, exactly, grown, join, under};

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

/// What every write into a bucket depends on. Its row is there while the bucket lives, and each
/// write names the version of the row that it was computed from: none lands in a bucket that was
/// deleted, or versioned, meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketState {
    /// Whether overwritten and deleted objects are kept as versions.
    pub versioning: Versioning,
    /// Whether versions may be locked. Never taken back.
    pub object_lock: bool,
    /// What new versions are locked with when their writer says nothing.
    pub default_retention: Option<DefaultRetention>,
    /// How new versions are encrypted when their writer says nothing.
    pub encryption: DefaultEncryption,
    /// Whether the bucket has a notification configuration: writes read it then.
    pub notifies: bool,
    /// Whether a gateway that is cut off from the metadata takes new versions, to tell them later. Since version 4.
    pub island: bool,
    /// What is done about malware in new versions, and in those that are read. Since version 5.
    pub scan: ScanRules,
}

/// What a bucket does about malware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRules {
    /// When a version is looked at, and what follows.
    pub mode: ScanMode,
    /// What could not be looked at as a whole is treated as clean; otherwise as infected.
    pub allow_incomplete: bool,
    /// [`ScanMode::Block`]: what cannot be looked at now is taken, and kept back until it was; otherwise it is refused.
    pub defer: bool,
}

/// When a version is looked at, and what follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanMode {
    /// It is not.
    #[default]
    Off,
    /// Once it is stored; readers are told.
    Advise,
    /// Once it is stored; nobody reads it before it is known to be clean.
    Quarantine,
    /// Before it is stored: what is infected is not.
    Block,
}

impl Record for BucketState {
    const NAME: &'static str = "bucket state";
    const VERSION: u8 = 5;

    /// Version 1 knew the bucket's encryption only, and no notifications; version 2 no portions; version 3 no islands; version 4 no
    /// scans.
    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        match version {
            1 => grown(1, body, &[0; 6]),
            2 | 3 => grown(1, body, &[0; 4]),
            4 => grown(1, body, &[0; 3]),
            _ => exactly(body),
        }
    }
}

/// A bucket's encryption for new versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultEncryption {
    /// SSE-S3.
    #[default]
    Bucket,
    /// SSE-KMS under the default key.
    Kms {
        /// With an S3 Bucket Key.
        bucket_key: bool,
    },
    /// SSE-KMS under a portion's key. Since version 3.
    Portion {
        /// The portion.
        portion: PortionId,
        /// With an S3 Bucket Key.
        bucket_key: bool,
    },
}

/// A bucket's retention for new versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How strictly.
    pub mode: RetentionMode,
    /// For how long.
    pub period: RetentionPeriod,
}

/// A length of time as S3 states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionPeriod {
    /// 24 hours each.
    Days(u32),
    /// 365 days each.
    Years(u32),
}

impl RetentionPeriod {
    /// Milliseconds.
    pub fn millis(self) -> u64 {
        const DAY: u64 = 24 * 3600 * 1000;
        match self {
            Self::Days(days) => u64::from(days) * DAY,
            Self::Years(years) => u64::from(years) * 365 * DAY,
        }
    }
}

/// A bucket's versioning state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Never enabled: each key has one version, `null`.
    #[default]
    Off,
    /// Each write makes a version.
    Enabled,
    /// Each write makes or replaces the `null` version; others stay.
    Suspended,
}

/// A sub-resource of a bucket: a validated document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketConfig {
    /// The document: XML, or JSON for a policy.
    pub document: Vec<u8>,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

impl Record for BucketConfig {
    const NAME: &'static str = "bucket configuration";
}

impl Record for BucketRecord {
    const NAME: &'static str = "bucket";
}

/// `b/<name>`, of another tenant `B/<account><name>`.
pub fn bucket_key(account: AccountId, name: &str) -> Bytes {
    in_account(b"b/", b"B/", account, name)
}

/// All buckets of an account, by name.
pub fn buckets(account: AccountId) -> (Bytes, Bytes) {
    under(bucket_key(account, ""))
}

/// All buckets of all tenants but the default one.
pub fn all_tenants_buckets() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"B/"))
}

/// The name in a key made by [`bucket_key`] for this account.
pub fn bucket_name_of(account: AccountId, key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(bucket_key(account, "").as_ref())?).ok()
}

/// `i/<id>`: the bucket's [`BucketState`], present while the bucket lives.
pub fn bucket_state_key(id: BucketId) -> Bytes {
    join(b"i/", &[id.as_bytes()])
}

/// `c/<bucket id><name>`: `name` is the query parameter that S3 knows it by.
pub fn bucket_config_key(id: BucketId, name: &str) -> Bytes {
    join(b"c/", &[id.as_bytes(), name.as_bytes()])
}

/// All sub-resources of a bucket.
pub fn bucket_configs(id: BucketId) -> (Bytes, Bytes) {
    under(join(b"c/", &[id.as_bytes()]))
}
