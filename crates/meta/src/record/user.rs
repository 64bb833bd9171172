//! Users, their access keys, groups and tenants.
//!
//! Version 1 had one row for a user, `a/<access key>`, and the access key in clear at
//! `n/<user name>`. Both are read for ever; the first change of such a user writes a record at
//! `n/<user name>`, which then counts instead of what the `a/` row says of grants.

use base::AccountId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, join, under};

/// A user: its rights, and the names of its access keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// `aws:userid`: never used again, unlike the name.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Access keys.
    pub keys: Vec<KeyEntry>,
    /// Rights per bucket.
    pub grants: Vec<Grant>,
    /// Inline policies, by name.
    pub policies: Vec<InlinePolicy>,
    /// Groups that the user is a member of.
    pub groups: Vec<Membership>,
}

/// What a user's row says of one of its access keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The access key.
    pub access_key: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Whether requests may be signed with it.
    pub enabled: bool,
}

/// A policy that hangs on one user or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlinePolicy {
    /// Unique where it hangs.
    pub name: String,
    /// The document, as it was put.
    pub document: String,
}

/// A user's membership of a group. It counts while the group of that name has this id: a group
/// deleted and made again has no members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group's name.
    pub name: String,
    /// The group's id.
    pub id: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Never used again, unlike the name.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Rights per bucket.
    pub grants: Vec<Grant>,
    /// Inline policies, by name.
    pub policies: Vec<InlinePolicy>,
}

/// An access key's secret, and whose it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyRecord {
    /// The account.
    pub account: AccountId,
    /// The user's name.
    pub user: String,
    /// The secret access key, sealed under the root key. SigV4 needs it in clear to verify.
    pub sealed_secret: Vec<u8>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Unique.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
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

/// The `a/` row of version 1: the user with its only key.
#[derive(Serialize, Deserialize)]
struct UserV1 {
    name: String,
    sealed_secret: Vec<u8>,
    created_ms: u64,
    grants: Vec<Grant>,
}

impl UserV1 {
    fn decode(body: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(body) {
            Ok((old, [])) => Some(old),
            _ => None,
        }
    }
}

impl Record for UserRecord {
    const NAME: &'static str = "user";
    const VERSION: u8 = 2;
}

impl UserRecord {
    /// The user that an `a/` row of version 1 holds.
    ///
    /// # Errors
    /// [`RecordError::Corrupt`], also for a row of a later version.
    pub fn of_version_1(access_key: &str, row: &[u8]) -> Result<Self, RecordError> {
        let old = row.strip_prefix(&[1]).and_then(UserV1::decode);
        let old = old.ok_or(RecordError::Corrupt { record: Self::NAME })?;
        let key = KeyEntry { access_key: access_key.to_owned(), created_ms: old.created_ms, enabled: true };
        Ok(Self {
            id: old.name,
            created_ms: old.created_ms,
            keys: vec![key],
            grants: old.grants,
            policies: Vec::new(),
            groups: Vec::new(),
        })
    }
}

impl Record for AccessKeyRecord {
    const NAME: &'static str = "access key";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        let read = match version {
            1 => UserV1::decode(body).map(|old| Self {
                account: AccountId::DEFAULT,
                user: old.name,
                sealed_secret: old.sealed_secret,
            }),
            2 => match postcard::take_from_bytes(body) {
                Ok((key, [])) => Some(key),
                _ => None,
            },
            _ => None,
        };
        read.ok_or(RecordError::Corrupt { record: Self::NAME })
    }
}

impl AccessKeyRecord {
    /// A row with its secret sealed anew, and all else as it is: one of version 1 holds a user's rights, too.
    ///
    /// # Errors
    /// [`RecordError`] for what is no such row.
    pub fn resealed(row: &[u8], sealed_secret: Vec<u8>) -> Result<Bytes, RecordError> {
        if let Some(old) = row.strip_prefix(&[1]) {
            let old = UserV1::decode(old).ok_or(RecordError::Corrupt { record: Self::NAME })?;
            let resealed = UserV1 { sealed_secret, ..old };
            // Serialising plain data into a growing vector has no way to fail.
            return Ok(postcard::to_extend(&resealed, vec![1]).expect("records serialise").into());
        }
        Ok(Self { sealed_secret, ..Self::decode(row)? }.encode())
    }
}

impl Record for GroupRecord {
    const NAME: &'static str = "group";
}

impl Record for TenantRecord {
    const NAME: &'static str = "tenant";
}

/// What the row of a user's name holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedUser {
    /// The user.
    User(UserRecord),
    /// The access key under which version 1 keeps the user.
    Version1(String),
}

impl NamedUser {
    /// # Errors
    /// [`RecordError`] for what is neither.
    pub fn decode(row: &[u8]) -> Result<Self, RecordError> {
        // Access keys are printable; versions are small numbers.
        if row.first().is_some_and(|byte| byte.is_ascii_graphic()) {
            let key = std::str::from_utf8(row).map_err(|_| RecordError::Corrupt { record: UserRecord::NAME })?;
            return Ok(Self::Version1(key.to_owned()));
        }
        UserRecord::decode(row).map(Self::User)
    }
}

/// All access keys of all tenants.
pub fn access_keys() -> (Bytes, Bytes) {
    under(access_key_key(""))
}

/// `a/<access key>`: keys are unique among all tenants.
pub fn access_key_key(access_key: &str) -> Bytes {
    join(b"a/", &[access_key.as_bytes()])
}

/// A row key inside an account: under `default` for the default one, else under `other` and the
/// account's 8 bytes. The two prefixes differ, so that no name in one account can be read as one
/// in another.
pub(super) fn in_account(default: &[u8], other: &[u8], account: AccountId, name: &str) -> Bytes {
    if account == AccountId::DEFAULT {
        join(default, &[name.as_bytes()])
    } else {
        join(other, &[&account.to_bytes(), name.as_bytes()])
    }
}

/// `n/<user name>`, of another tenant `N/<account><user name>`.
pub fn user_name_key(account: AccountId, name: &str) -> Bytes {
    in_account(b"n/", b"N/", account, name)
}

/// All users of an account, by name.
pub fn users(account: AccountId) -> (Bytes, Bytes) {
    under(user_name_key(account, ""))
}

/// The name in a key made by [`user_name_key`] for this account.
pub fn user_name_of(account: AccountId, key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(user_name_key(account, "").as_ref())?).ok()
}

/// `G/<account><group name>`.
pub fn group_key(account: AccountId, name: &str) -> Bytes {
    join(b"G/", &[&account.to_bytes(), name.as_bytes()])
}

/// All groups of an account, by name.
pub fn groups(account: AccountId) -> (Bytes, Bytes) {
    under(group_key(account, ""))
}

/// The name in a key made by [`group_key`] for this account.
pub fn group_name_of(account: AccountId, key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(group_key(account, "").as_ref())?).ok()
}

/// `T/<account>`.
pub fn tenant_key(account: AccountId) -> Bytes {
    join(b"T/", &[&account.to_bytes()])
}

/// All tenants but the default one, by account.
pub fn tenants() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"T/"))
}

/// The account in a key made by [`tenant_key`].
pub fn tenant_of(key: &[u8]) -> Option<AccountId> {
    AccountId::from_bytes(key.strip_prefix(b"T/")?.try_into().ok()?)
}

/// `t/<tenant name>`: the tenant's account, 8 bytes; keeps names unique.
pub fn tenant_name_key(name: &str) -> Bytes {
    join(b"t/", &[name.as_bytes()])
}

/// The account that a row at [`tenant_name_key`] names.
///
/// # Errors
/// [`RecordError::Corrupt`].
pub fn tenant_name_value(row: &[u8]) -> Result<AccountId, RecordError> {
    let account = row.try_into().ok().and_then(AccountId::from_bytes);
    account.ok_or(RecordError::Corrupt { record: TenantRecord::NAME })
}
