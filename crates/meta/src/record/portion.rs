//! Portions of the data and their keys.
//!
//! `h/<account><portion id>` holds a portion, `H/<account><name>` its id by name, `j/<portion id><version>` a
//! version of its key. `l/<account><alias>` names a portion for the KMS API, `m/<account>` holds the rules that choose
//! portions, `K/<account>` the tenant's key, `z/<account><portion id>` work that moves parts to other keys.
//! `D/<account><portion id>` says which sites have still to destroy shares of a shredded portion, `R/<portion id><time><slot><what>` holds
//! a site's receipt, `S/<slot><public key>` a key that such receipts are signed with.

use std::collections::BTreeMap;

use base::{AccountId, PortionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, grown, join, under};

/// A portion of a tenant's data: what one key protects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortionRecord {
    /// Unique in its account while it lives.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Whether its key opens anything.
    pub state: PortionState,
    /// The newest version of its key, from 1.
    pub version: u32,
    /// Who made it.
    pub made_by: Maker,
    /// What its maker says of it.
    pub description: String,
    /// Tags, at most 50 (AWS KMS).
    pub tags: BTreeMap<String, String>,
    /// Days after which the key gets a new version though no cap is reached; 0: never by age.
    pub rotation_days: u32,
    /// What the next versions of its key are like.
    pub class: PortionClass,
    /// Its key's policy, JSON, for those who name the key; empty: AWS's default one, by which the account's own policies
    /// decide.
    pub policy: String,
    /// What its key opens where the metadata are out of reach. Since version 4.
    pub cut_off: CutOff,
}

/// For how long a gateway that is cut off from the metadata goes on opening what is under a key that it was using: that long what is
/// taken away elsewhere may stay unnoticed there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutOff {
    /// For as long as a lease counts, and no longer. So are portions that were made before there was a choice.
    Strict,
    /// For a quarter of an hour more.
    #[default]
    Bounded,
    /// For a day.
    Available,
}

impl CutOff {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Bounded => "bounded",
            Self::Available => "available",
        }
    }

    /// Milliseconds since the metadata were seen last, after the end of the lease that this gave.
    pub fn limit_ms(self) -> u64 {
        match self {
            Self::Strict => 0,
            Self::Bounded => 15 * 60 * 1000,
            Self::Available => 24 * 3600 * 1000,
        }
    }
}

/// Where a version of a portion's key is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortionClass {
    /// In the metadata, under the tenant's key.
    #[default]
    Sealed,
    /// In five shares, one at each site; three give the key.
    Quorum,
}

impl PortionClass {
    /// As people and policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Quorum => "quorum",
        }
    }
}

/// Whether a portion's key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortionState {
    /// It does.
    Enabled,
    /// It does not, until somebody enables it.
    Disabled,
    /// It does not, and at this time, milliseconds since the Unix epoch, it will be destroyed; 0: at once.
    PendingShred(u64),
    /// It never will again; since when, milliseconds since the Unix epoch.
    Shredded(u64),
}

/// Who made a portion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Maker {
    /// A write that a rule sent there.
    Rule,
    /// Somebody, by command or API.
    Customer,
}

impl Record for PortionRecord {
    const NAME: &'static str = "portion";
    const VERSION: u8 = 4;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        match version {
            3 => grown(1, body, &[0]),
            2 => grown(1, body, &[0, 0]),
            _ => grown(version, body, &[0, 0, 0]),
        }
    }
}

/// A version of a portion's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortionKeyRecord {
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Under the tenant's key (AES-256-KWP, 40 bytes); empty where the key is in shares.
    pub wrapped: Vec<u8>,
    /// Parts for which room was reserved under it: at least as many as were sealed.
    pub parts: u64,
    /// Plaintext bytes for which room was reserved under it.
    pub bytes: u64,
    /// Whether the KMS API has sealed something under it that is kept elsewhere.
    pub given_out: bool,
    /// What made it.
    pub begun: Begun,
    /// Where the key is in shares at the sites: how to know them.
    pub shares: Option<SharesRecord>,
    /// Which of the tenant's keys the shares were sealed under when they were made, as that key tells itself from others
    /// (`docs/spec/wrap.md`). `None`: there are no shares, or it was not recorded.
    pub under: Option<[u8; 16]>,
}

/// What began a version of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begun {
    /// It was not recorded.
    #[default]
    Unknown,
    /// The portion was made.
    First,
    /// Age, or a cap on what is under one version.
    Automatic,
    /// Somebody asked for it.
    OnDemand,
}

/// What the metadata keep of a key that is in shares: nothing that helps to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharesRecord {
    /// Random: shares of one set were made at once.
    pub set: [u8; 16],
    /// Tells the key from others.
    pub verifier: [u8; 32],
}

impl std::fmt::Debug for PortionKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortionKeyRecord")
            .field("parts", &self.parts)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Record for PortionKeyRecord {
    const NAME: &'static str = "portion key";
    const VERSION: u8 = 3;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        match version {
            2 => grown(1, body, &[0]),
            _ => grown(version, body, &[0, 0, 0]),
        }
    }

    fn is_sound(&self) -> bool {
        self.wrapped.is_empty() == self.shares.is_some() && (self.shares.is_some() || self.under.is_none())
    }
}

/// A tenant's key, which wraps the keys of its portions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantKeyRecord {
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Under the root key (AES-256-KWP, 40 bytes): the key, or where a half is held elsewhere, the other half.
    pub wrapped: Vec<u8>,
    /// Who holds the half that it takes beside.
    pub held: Option<HeldRecord>,
    /// Keys that were the tenant's before and that something may still be under, the latest first.
    pub older: Vec<OlderKey>,
}

/// A half of a tenant's key that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecord {
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// What holds it, in one word.
    pub kind: String,
    /// How it is reached. No secrets.
    pub options: BTreeMap<String, String>,
    /// Where it is held, for people.
    pub place: String,
    /// What the holder made of the half; worthless to others.
    pub kept: Vec<u8>,
    /// How long it counts once it was given, milliseconds.
    pub lease_ms: u64,
    /// Tells the tenant's key from others.
    pub verifier: [u8; 32],
}

/// A key that was a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderKey {
    /// When another took its place, milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// Under the tenant's key (AES-256-KWP, 40 bytes).
    pub wrapped: Vec<u8>,
}

impl TenantKeyRecord {
    /// A key that is whole under the root key, and the first of its tenant.
    pub fn first(created_ms: u64, wrapped: Vec<u8>) -> Self {
        Self { created_ms, wrapped, held: None, older: Vec::new() }
    }
}

impl Record for TenantKeyRecord {
    const NAME: &'static str = "tenant key";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0, 0])
    }
}

/// A name that the KMS API gives to a portion's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// The portion.
    pub portion: PortionId,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

impl Record for AliasRecord {
    const NAME: &'static str = "alias";
}

/// The rules that choose portions, as they were put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesRecord {
    /// JSON.
    pub document: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

impl Record for RulesRecord {
    const NAME: &'static str = "portion rules";
}

/// Parts of a portion that are to move to the newest version of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewrapRecord {
    /// Parts under versions below this one.
    pub below: u32,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Whether a pass has found nothing to move.
    pub is_clean: bool,
    /// Whether their bytes are sealed anew under fresh DEKs, because the old ones may be known.
    pub reseal: bool,
}

impl Record for RewrapRecord {
    const NAME: &'static str = "rewrap";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0])
    }
}

/// A portion that is being shredded, or was: what sites have still to do and to sign for it. Written before anything is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DyingRecord {
    /// The slots of the sites that have still to destroy their shares.
    pub slots: Vec<u8>,
    /// The versions that were in shares, as receipts tell them.
    pub in_shares: String,
    /// The versions that were in rows, as receipts tell them.
    pub in_rows: String,
    /// All versions that there ever were.
    pub versions: String,
    /// The slots of the sites that have still to sign that the rows are gone.
    pub unsigned: Vec<u8>,
}

impl Record for DyingRecord {
    const NAME: &'static str = "dying shares";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0, 0, 0])
    }
}

/// A site's signed word about a shredding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    /// A signed note: `docs/spec/quorum.md`.
    pub note: String,
}

impl Record for ReceiptRecord {
    const NAME: &'static str = "receipt";
}

/// A key that a site signs receipts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteKeyRecord {
    /// The site's name.
    pub site: String,
    /// The public key, as signed notes have it.
    pub verifier: String,
    /// Milliseconds since the Unix epoch when it was first seen.
    pub since_ms: u64,
}

impl Record for SiteKeyRecord {
    const NAME: &'static str = "site key";
}

/// `D/<account><portion id>`.
pub fn dying_key(account: AccountId, portion: PortionId) -> Bytes {
    join(b"D/", &[&account.to_bytes(), portion.as_bytes()])
}

/// All portions of an account that sites have still something to do for; [`portion_of`] reads the keys.
pub fn dying(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"D/", &[&account.to_bytes()]))
}

/// `R/<portion id><time><slot><what>`: milliseconds since the Unix epoch, big endian; 0 for shares, 1 for rows.
pub fn receipt_key(portion: PortionId, at_ms: u64, slot: u8, is_of_rows: bool) -> Bytes {
    join(b"R/", &[portion.as_bytes(), &at_ms.to_be_bytes(), &[slot, u8::from(is_of_rows)]])
}

/// All receipts of a portion, oldest first.
pub fn receipts(portion: PortionId) -> (Bytes, Bytes) {
    under(join(b"R/", &[portion.as_bytes()]))
}

/// `S/<slot><public key>`: its hash, 32 bytes.
pub fn site_signing_key(slot: u8, hash: &[u8]) -> Bytes {
    join(b"S/", &[&[slot], hash])
}

/// All keys that sites ever signed receipts with, by slot.
pub fn site_signing_keys() -> (Bytes, Bytes) {
    under(join(b"S/", &[]))
}

/// `h/<account><portion id>`.
pub fn portion_key(account: AccountId, portion: PortionId) -> Bytes {
    join(b"h/", &[&account.to_bytes(), portion.as_bytes()])
}

/// All portions of an account, by id, which is by time.
pub fn portions(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"h/", &[&account.to_bytes()]))
}

/// The portion in a key made by [`portion_key`].
pub fn portion_of(key: &[u8]) -> Option<PortionId> {
    Some(PortionId::from_bytes(key.get(2 + 8..)?.try_into().ok()?))
}

/// `H/<account><name>`: the portion's id.
pub fn portion_name_key(account: AccountId, name: &str) -> Bytes {
    join(b"H/", &[&account.to_bytes(), name.as_bytes()])
}

/// All portions of an account whose names begin with `prefix`, by name.
pub fn portion_names(account: AccountId, prefix: &str) -> (Bytes, Bytes) {
    under(portion_name_key(account, prefix))
}

/// The value of a row at [`portion_name_key`].
pub fn portion_name_value(portion: PortionId) -> Bytes {
    portion.as_bytes().to_vec().into()
}

/// The portion that a row at [`portion_name_key`] names.
pub fn portion_named(value: &[u8]) -> Option<PortionId> {
    Some(PortionId::from_bytes(value.try_into().ok()?))
}

/// `j/<portion id><version>`.
pub fn key_version_key(portion: PortionId, version: u32) -> Bytes {
    join(b"j/", &[portion.as_bytes(), &version.to_be_bytes()])
}

/// All versions of a portion's key, oldest first.
pub fn key_versions(portion: PortionId) -> (Bytes, Bytes) {
    under(join(b"j/", &[portion.as_bytes()]))
}

/// `y/<portion id><version>`: there while nothing more may become visible under the version.
pub fn closed_version_key(portion: PortionId, version: u32) -> Bytes {
    join(b"y/", &[portion.as_bytes(), &version.to_be_bytes()])
}

/// The version in a key made by [`key_version_key`].
pub fn key_version_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(2 + 16..)?.try_into().ok()?))
}

/// `K/<account>`.
pub fn tenant_key_key(account: AccountId) -> Bytes {
    join(b"K/", &[&account.to_bytes()])
}

/// The keys of all tenants.
pub fn tenant_keys() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"K/"))
}

/// The account in a key made by [`tenant_key_key`].
pub fn tenant_key_of(key: &[u8]) -> Option<AccountId> {
    key.strip_prefix(b"K/")?.try_into().ok().and_then(AccountId::from_bytes)
}

/// `l/<account><alias>`.
pub fn alias_key(account: AccountId, alias: &str) -> Bytes {
    join(b"l/", &[&account.to_bytes(), alias.as_bytes()])
}

/// All aliases of an account, by name.
pub fn aliases(account: AccountId) -> (Bytes, Bytes) {
    under(alias_key(account, ""))
}

/// The alias in a key made by [`alias_key`].
pub fn alias_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(2 + 8..)?).ok()
}

/// `m/<account>`.
pub fn portion_rules_key(account: AccountId) -> Bytes {
    join(b"m/", &[&account.to_bytes()])
}

/// `z/<account><portion id>`.
pub fn rewrap_key(account: AccountId, portion: PortionId) -> Bytes {
    join(b"z/", &[&account.to_bytes(), portion.as_bytes()])
}

/// All portions of an account with parts to move.
pub fn rewraps(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"z/", &[&account.to_bytes()]))
}
