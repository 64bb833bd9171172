//! What the bytes in an engine mean. One file a record: its key, its value, its versions.
//!
//! | key | record | lifetime |
//! |---|---|---|
//! | `b/<bucket name>` | [`BucketRecord`] | the bucket's |
//! | `i/<bucket id>` | [`BucketState`] | the bucket's |
//! | `o/<bucket id><object key>` | [`ObjectRecord`], the current version | until overwritten or deleted |
//! | `v/<bucket id><escaped object key>00 00<order>` | [`ObjectRecord`], an older version or a delete marker | until
//! deleted |
//! | `w/<bucket id><object key>` | order of the `null` version among those | while it is there |
//! | `c/<bucket id><name>` | [`BucketConfig`]: a sub-resource of the bucket, as it was put | until deleted |
//! | `u/<bucket id><escaped object key>00 00<upload id>` | [`UploadRecord`] | until completed or aborted |
//! | `p/<upload id><part number>` | [`PartRecord`] | the upload's, then the object's |
//! | `d/<part id>` | [`DataRecord`]: where a part's sealed bytes are | while referenced |
//! | `k/<blob id>` | [`BlobRecord`]: what a blob holds and where its shards are | until collected |
//! | `r/<blob id>` | [`RepairRecord`]: the blob's shards are not all at home | until mended |
//! | `g/<part id>` | [`GarbageRecord`]: sealed bytes that nothing references | until collected |
//! | `x/<body id>` | [`DropRecord`]: a multipart body to take apart | until taken apart |
//! | `e/<target>00<sequence>` | [`notify::Event`]: an event that the target has not taken yet | until taken or dropped
//! |
//! | `q/<target>` | [`QueueRecord`]: what became of the target's events | for ever |
//! | `B/<account><bucket name>` | [`BucketRecord`] of another tenant than the default one | the bucket's |
//! | `a/<access key>` | [`AccessKeyRecord`] | the key's |
//! | `n/<user name>`, `N/<account><user name>` | [`UserRecord`] | the user's |
//! | `G/<account><group name>` | [`GroupRecord`] | the group's |
//! | `T/<account>` | [`TenantRecord`] | the tenant's |
//! | `t/<tenant name>` | the tenant's account | the tenant's |
//! | `K/<account>` | [`TenantKeyRecord`] | the tenant's |
//! | `h/<account><portion id>` | [`PortionRecord`] | for ever: a shredded one is remembered |
//! | `H/<account><portion name>` | the portion's id | until shredded |
//! | `j/<portion id><version>` | [`PortionKeyRecord`]: a version of a portion's key | until shredded |
//! | `y/<portion id><version>` | nothing: no more may become visible under the version | until the version is gone |
//! | `l/<account><alias>` | [`AliasRecord`] | until deleted, or its portion is shredded |
//! | `F/<portion id><grant id>` | [`KeyGrantRecord`]: what a principal may do with the key | until retired, revoked, or shredded |
//! | `J/<portion id>` | [`KeyGrantCount`] of those | until shredded |
//! | `U/<account><principal><portion id><grant id>` | nothing: the principal may retire the grant | the grant's |
//! | `m/<account>` | [`RulesRecord`]: how portions are chosen | until deleted |
//! | `z/<account><portion id>` | [`RewrapRecord`]: parts to move to another version of the key | until moved |
//! | `P/<account><name>` | [`ReleasePolicyRecord`]: who may open which portion | until deleted |
//! | `E/<account><principal>` | [`DenialRecord`]: nothing is released to it | for ever, but a quarantine |
//! | `A/<account><request>` | [`ApprovalRecord`]: what people decide | until a day after it lapsed |
//! | `L/<account><portion id><principal>` | [`ReleasedRecord`]: it had the portion | the tenant's |
//! | `Q/<account><principal>` | [`SpentRecord`]: what it opened in this hour | the tenant's |
//! | `X/<account>` | [`DepartedRecord`]: a deleted tenant | until its keys are destroyed |
//! | `D/<account><portion id>` | [`DyingRecord`]: sites that have still to destroy shares, or to sign | until they did |
//! | `R/<portion id><time><slot><what>` | [`ReceiptRecord`]: a site's word about a shredding | for ever |
//! | `S/<slot><hash>` | [`SiteKeyRecord`]: what a site signs receipts with | for ever |
//! | `W/<name>` | [`WrappedSiteRecord`]: a site that the root key is wrapped to | until removed |
//! | `f/<gateway id>` | [`GatewayRecord`]: a process that serves the store | while it lives |
//! | `M/leader` | the id of the gateway that does what one does for all | for ever |
//! | `M/era` | how often the rows came into another engine | for ever |
//! | `M/floor` | nothing: written when a checkpoint begins | for ever |
//! | `M/pace` | [`RepairControlRecord`]: what operators said of repair | for ever |
//! | `M/repair` | [`RepairProgressRecord`]: how far repair is | for ever |
//! | `V/<blake3><length>` | [`VerdictRecord`]: what is known of a content | for ever |
//! | `Y/<engine>00<manifest>`, `Y/<engine>00` | [`DefinitionsRecord`]: an engine's definitions; the newest | for ever |
//! | `C/head` | nothing: changes with everything that takes something away | for ever |
//! | `s/<slot>` | [`SiteRecord`]: which site fills the slot | for ever |
//!
//! Identifiers are 16 raw bytes; numbers in keys are big endian, so that they sort.
//! Every value starts with one version byte; an old version stays readable for ever.
//! The layout is specified in `docs/spec/records.md`.

mod acl;
mod blob;
mod bucket;
mod departed;
mod event;
mod gateway;
mod grant;
mod island;
mod object;
mod portion;
mod release;
mod repair;
mod site;
mod upload;
mod user;
mod verdict;
mod version;
mod wrapped;

use base::{Classify, ErrorKind};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use acl::{Acl, AclGrant, AclPermission, Grantee};
pub use blob::{
    BlobPart, BlobRecord, DataRecord, GarbageRecord, RepairReason, RepairRecord, SegmentPlacement, UNDER_MAX,
};
pub use bucket::{
    BucketConfig, BucketRecord, BucketState, DefaultEncryption, DefaultRetention, RetentionPeriod, ScanMode, ScanRules,
    Versioning,
};
pub use departed::DepartedRecord;
pub use event::QueueRecord;
pub use gateway::{GatewayRecord, Latency};
pub use grant::{GrantPrincipal, KeyGrantCount, KeyGrantId, KeyGrantRecord, KeyOperation, PrincipalDigest};
pub use island::ConflictRecord;
pub use object::{
    Body, Checksum, ChecksumKind, DropRecord, Encryption, Lock, ObjectRecord, PartRun, Retention, RetentionMode,
    ScanMark, SealedPart,
};
pub use portion::{
    AliasRecord, Begun, CutOff, DyingRecord, HeldRecord, Maker, OlderKey, PortionClass, PortionKeyRecord,
    PortionRecord, PortionState, ReceiptRecord, RewrapRecord, RulesRecord, SharesRecord, SiteKeyRecord,
    TenantKeyRecord,
};
pub use release::{
    ApprovalRecord, DenialReason, DenialRecord, Matter, ReleasePolicyRecord, ReleasedRecord, SpentRecord,
};
pub use repair::{RISKS, RepairControlRecord, RepairProgressRecord};
pub use site::{Resync, SiteRecord};
pub use upload::{PartRecord, UploadRecord};
pub use user::{
    AccessKeyRecord, Grant, GroupRecord, InlinePolicy, KeyEntry, Membership, NamedUser, Right, TenantRecord, UserRecord,
};
pub use verdict::{ContentId, DefinitionsRecord, EngineVerdict, Epoch, Reason, Verdict, VerdictRecord};
pub use wrapped::WrappedSiteRecord;

pub mod key {
    //! Keys of all records, in one place so that prefixes cannot collide.
    pub use super::blob::{
        all_data, blob_key, blob_of, blobs, data_key, garbage, garbage_key, part_of, repair_key, repairs,
    };
    pub use super::bucket::{
        all_tenants_buckets, bucket_config_key, bucket_configs, bucket_key, bucket_name_of, bucket_state_key, buckets,
    };
    pub use super::departed::{departed, departed_key, departed_of, of_tenant};
    pub use super::event::{event_key, event_of, events, events_of, queue_key, queue_of, queues};
    pub use super::gateway::{era_key, era_value, floor_key, gateway_key, gateway_of, gateways, head_key, leader_key};
    pub use super::grant::{
        key_grant_count_key, key_grant_key, key_grant_of, key_grants, key_grants_of, retirable_key, retirable_of,
        retirables,
    };
    pub use super::island::{conflict_key, conflict_of, conflicts};
    pub use super::object::{body_of, drop_key, drops, object_key, object_name_of, objects, objects_from};
    pub use super::portion::{
        alias_key, alias_of, aliases, closed_version_key, dying, dying_key, key_version_key, key_version_of,
        key_versions, portion_key, portion_name_key, portion_name_value, portion_named, portion_names, portion_of,
        portion_rules_key, portions, receipt_key, receipts, rewrap_key, rewraps, site_signing_key, site_signing_keys,
        tenant_key_key, tenant_key_of, tenant_keys,
    };
    pub use super::release::{
        after_account, all_approvals, approval_key, approvals, approvals_about, denial_key, denials, release_policies,
        release_policy_key, released, released_key, released_names, released_of, spent_key,
    };
    pub use super::repair::{repair_control_key, repair_progress_key};
    pub use super::site::site_key;
    pub use super::upload::{part_key, part_number_of, parts, upload_key, upload_of, uploads, uploads_of_key};
    pub use super::user::{
        access_key_key, access_keys, group_key, group_name_of, groups, tenant_key, tenant_name_key, tenant_name_value,
        tenant_of, tenants, user_name_key, user_name_of, users,
    };
    pub use super::verdict::{definitions_key, newest_definitions_key, verdict_key, verdict_of, verdicts};
    pub use super::version::{
        null_version_key, null_version_of, null_version_value, version_key, version_of, versions, versions_from,
        versions_of_key,
    };
    pub use super::wrapped::{wrapped_site_key, wrapped_site_of, wrapped_sites};
}

/// Why stored bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer Holdfast.
    #[error("a {record} record has version {found}; this program knows up to {known}: upgrade it")]
    Newer {
        /// The record's name.
        record: &'static str,
        /// The version found.
        found: u8,
        /// The newest version known here.
        known: u8,
    },
    /// Not the bytes that were written.
    #[error("a {record} record is corrupt")]
    Corrupt {
        /// The record's name.
        record: &'static str,
    },
}

impl Classify for RecordError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// A value that an engine keeps.
pub trait Record: Serialize + DeserializeOwned {
    /// For error messages.
    const NAME: &'static str;
    /// The version that this program writes.
    const VERSION: u8 = 1;

    /// The bytes to store: a version byte, then postcard.
    fn encode(&self) -> Bytes {
        let start = vec![Self::VERSION];
        // Serialising plain data into a growing vector has no way to fail.
        postcard::to_extend(self, start).expect("records serialise").into()
    }

    /// The record that `bytes` are.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are corrupt or newer than this program.
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (version, body) = bytes.split_first().ok_or(RecordError::Corrupt { record: Self::NAME })?;
        if *version > Self::VERSION {
            return Err(RecordError::Newer { record: Self::NAME, found: *version, known: Self::VERSION });
        }
        let record = Self::decode_version(*version, body)?;
        if record.is_sound() { Ok(record) } else { Err(RecordError::Corrupt { record: Self::NAME }) }
    }

    /// Whether the numbers make sense together. Damage that still decodes must not send a reader
    /// on an endless loop.
    fn is_sound(&self) -> bool {
        true
    }

    /// Reads the body of one known version. A record that has had more than one overrides this.
    ///
    /// # Errors
    /// [`RecordError::Corrupt`].
    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        if version == Self::VERSION { exactly(body) } else { Err(RecordError::Corrupt { record: Self::NAME }) }
    }
}

/// A record that is all of `body`.
fn exactly<R: Record>(body: &[u8]) -> Result<R, RecordError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(RecordError::Corrupt { record: R::NAME }),
    }
}

/// Reads the versions of a record from 2 on, which have the same fields, and version 1, which lacked the
/// last ones: `absent` is what they are written as where they were not.
fn grown<R: Record>(version: u8, body: &[u8], absent: &[u8]) -> Result<R, RecordError> {
    match version {
        1 => exactly(&[body, absent].concat()),
        2.. => exactly(body),
        _ => Err(RecordError::Corrupt { record: R::NAME }),
    }
}

fn join(prefix: &[u8], pieces: &[&[u8]]) -> Bytes {
    let mut key = Vec::with_capacity(prefix.len() + pieces.iter().map(|p| p.len()).sum::<usize>());
    key.extend_from_slice(prefix);
    for piece in pieces {
        key.extend_from_slice(piece);
    }
    key.into()
}

/// Escapes so that no escaped name is a prefix of another followed by the separator `00 00`:
/// `00` becomes `00 ff` (the FoundationDB tuple rule). Order is kept.
fn escape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out
}

fn unescape(mut escaped: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(escaped.len());
    while let Some((&byte, rest)) = escaped.split_first() {
        out.push(byte);
        escaped = if byte == 0 { rest.strip_prefix(&[0xff])? } else { rest };
    }
    Some(out)
}

/// The interval of all keys that start with `prefix`.
fn under(prefix: Bytes) -> (Bytes, Bytes) {
    let end = crate::prefix_end(&prefix);
    (prefix, end)
}

#[cfg(test)]
mod tests;
