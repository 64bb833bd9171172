//! Grants of the KMS API: who may do what with a portion's key beside what policies say.
//!
//! `F/<portion id><grant id>` holds a grant, `J/<portion id>` counts those of a key, and
//! `U/<account><principal><portion id><grant id>` finds those that a principal may retire. A grant's id begins with the
//! digest of its grantee, so that the grants of one principal with one key lie together.

use std::collections::BTreeMap;

use base::{AccountId, PortionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// The first bytes of the SHA-256 of a principal's ARN, a zero byte, and its unique id.
pub type PrincipalDigest = [u8; 16];

/// A grant's id: its grantee's digest, then 16 bytes of its own. As text 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGrantId(pub [u8; 32]);

impl std::fmt::Display for KeyGrantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whom a grant is for, or who may retire it. A name is used again for another user; its id is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantPrincipal {
    /// As policies write it.
    pub arn: String,
    /// The unique id; a root's is its account's.
    pub id: String,
}

/// What a grant allows (AWS KMS API reference, `CreateGrant`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyOperation {
    /// `Decrypt`.
    Decrypt,
    /// `Encrypt`.
    Encrypt,
    /// `GenerateDataKey`.
    GenerateDataKey,
    /// `GenerateDataKeyWithoutPlaintext`.
    GenerateDataKeyWithoutPlaintext,
    /// `ReEncryptFrom`.
    ReEncryptFrom,
    /// `ReEncryptTo`.
    ReEncryptTo,
    /// `CreateGrant`: grants that allow no more than this one.
    CreateGrant,
    /// `RetireGrant`: by the grantee, this grant.
    RetireGrant,
    /// `DescribeKey`.
    DescribeKey,
}

impl KeyOperation {
    /// All that there are.
    pub const ALL: [Self; 9] = [
        Self::Decrypt,
        Self::Encrypt,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::ReEncryptFrom,
        Self::ReEncryptTo,
        Self::CreateGrant,
        Self::RetireGrant,
        Self::DescribeKey,
    ];

    /// As AWS KMS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decrypt => "Decrypt",
            Self::Encrypt => "Encrypt",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "GenerateDataKeyWithoutPlaintext",
            Self::ReEncryptFrom => "ReEncryptFrom",
            Self::ReEncryptTo => "ReEncryptTo",
            Self::CreateGrant => "CreateGrant",
            Self::RetireGrant => "RetireGrant",
            Self::DescribeKey => "DescribeKey",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrantRecord {
    /// What its maker calls it; not unique.
    pub name: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Whom it is for.
    pub grantee: GrantPrincipal,
    /// Who may end it, beside its account's root.
    pub retiring: Option<GrantPrincipal>,
    /// What it allows, in order, each once.
    pub operations: Vec<KeyOperation>,
    /// What the encryption context must be.
    pub equals: Option<BTreeMap<String, String>>,
    /// What the encryption context must have in it.
    pub subset: Option<BTreeMap<String, String>>,
}

impl Record for KeyGrantRecord {
    const NAME: &'static str = "grant";
}

/// How many grants a key has. Each batch that makes or ends one names its version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrantCount {
    /// Grants that there are.
    pub count: u32,
}

impl Record for KeyGrantCount {
    const NAME: &'static str = "grant count";
}

/// `F/<portion id><grant id>`.
pub fn key_grant_key(portion: PortionId, grant: KeyGrantId) -> Bytes {
    join(b"F/", &[portion.as_bytes(), &grant.0])
}

/// All grants of a key, by id.
pub fn key_grants(portion: PortionId) -> (Bytes, Bytes) {
    under(join(b"F/", &[portion.as_bytes()]))
}

/// The grants of a key that are for one principal, by id.
pub fn key_grants_of(portion: PortionId, grantee: &PrincipalDigest) -> (Bytes, Bytes) {
    under(join(b"F/", &[portion.as_bytes(), grantee]))
}

/// The grant in a key made by [`key_grant_key`].
pub fn key_grant_of(key: &[u8]) -> Option<KeyGrantId> {
    Some(KeyGrantId(key.get(2 + 16..)?.try_into().ok()?))
}

/// `J/<portion id>`.
pub fn key_grant_count_key(portion: PortionId) -> Bytes {
    join(b"J/", &[portion.as_bytes()])
}

/// `U/<account><principal><portion id><grant id>`: no record, one byte, 0.
pub fn retirable_key(account: AccountId, principal: &PrincipalDigest, portion: PortionId, grant: KeyGrantId) -> Bytes {
    join(b"U/", &[&account.to_bytes(), principal, portion.as_bytes(), &grant.0])
}

/// All grants that a principal may retire, by key and id.
pub fn retirables(account: AccountId, principal: &PrincipalDigest) -> (Bytes, Bytes) {
    under(join(b"U/", &[&account.to_bytes(), principal]))
}

/// The key and the grant in a key made by [`retirable_key`].
pub fn retirable_of(key: &[u8]) -> Option<(PortionId, KeyGrantId)> {
    let (portion, grant) = key.get(2 + 8 + 16..)?.split_first_chunk::<16>()?;
    Some((PortionId::from_bytes(*portion), KeyGrantId(grant.try_into().ok()?)))
}
