//! Who may open which portion, who may not, who waits for it, and who did.
//!
//! `P/<account><name>` holds a document of release policies, `E/<account><principal>` a denial that comes before all
//! policies, `A/<account><request id>` a release that people decide, `L/<account><portion id><principal>` that a
//! principal had the portion, `Q/<account><principal>` what it has opened in this hour. A principal stands there by its
//! unique id, so that a user made again under an old name is another one.

use base::{AccountId, PortionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, grown, join, under};

/// A document of release policies, as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePolicyRecord {
    /// Cedar.
    pub document: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

impl Record for ReleasePolicyRecord {
    const NAME: &'static str = "release policy";
}

/// Nothing is released to a principal, whatever policies say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialRecord {
    /// Why.
    pub reason: DenialReason,
    /// The principal's name when it was denied.
    pub name: String,
    /// What there is to say of it.
    pub note: String,
    /// Who denied it.
    pub by: String,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// Why a principal is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DenialReason {
    /// Its trust was taken back. For ever: it comes back as another principal.
    Revoked,
    /// What it acts by was lost. For ever.
    Lost,
    /// It is looked into. Can be lifted.
    Quarantined,
}

impl Record for DenialRecord {
    const NAME: &'static str = "denial";
}

/// What people are asked to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Matter {
    /// To release this portion, to be opened.
    Open(PortionId),
    /// To release this portion, to be sealed under.
    Seal(PortionId),
    /// To let a principal open more than its budget.
    StepUp,
    /// To shred this portion without delay.
    Shred(PortionId),
}

/// Something that waits for people, or was decided by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    /// What it is about.
    pub matter: Matter,
    /// The portion's name; empty where it is about none.
    pub portion: String,
    /// The unique id of who asks.
    pub principal: String,
    /// Its name.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub asked_ms: u64,
    /// People who must approve, as the policies had it then.
    pub approvals: u8,
    /// Groups, of each of which an approver must be a member.
    pub approvers: Vec<String>,
    /// Milliseconds after which time alone decides; `None`: never.
    pub after_ms: Option<u64>,
    /// Milliseconds for which an approval counts.
    pub valid_ms: u64,
    /// Who approved: unique id, name, and when, milliseconds since the Unix epoch. In that order.
    pub approved: Vec<(String, String, u64)>,
    /// Who refused: name, and when.
    pub refused: Option<(String, u64)>,
    /// Milliseconds that pass in any case, whoever approved before.
    pub floor_ms: u64,
}

impl Record for ApprovalRecord {
    const NAME: &'static str = "approval";
    const VERSION: u8 = 2;

    /// Version 1 knew no time that passes in any case.
    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0])
    }
}

/// That a principal had a portion's key at its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedRecord {
    /// The principal's name then.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// The beginning of the last hour in which it was released, milliseconds since the Unix epoch.
    pub last_hour_ms: u64,
    /// Hours in which it was released.
    pub hours: u64,
}

impl Record for ReleasedRecord {
    const NAME: &'static str = "released";
}

/// What a principal opened in an hour of the clock, at most: gateways take room before they use it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentRecord {
    /// The beginning of the hour, milliseconds since the Unix epoch.
    pub hour_ms: u64,
    /// Portions.
    pub portions: u64,
    /// Objects, or messages of the KMS API.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
    /// Requests for approval that it made.
    pub asked: u64,
}

impl Record for SpentRecord {
    const NAME: &'static str = "spent";
}

/// `P/<account><name>`.
pub fn release_policy_key(account: AccountId, name: &str) -> Bytes {
    join(b"P/", &[&account.to_bytes(), name.as_bytes()])
}

/// All documents of release policies of an account, by name.
pub fn release_policies(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"P/", &[&account.to_bytes()]))
}

/// `E/<account><principal>`.
pub fn denial_key(account: AccountId, principal: &str) -> Bytes {
    join(b"E/", &[&account.to_bytes(), principal.as_bytes()])
}

/// All denials of an account.
pub fn denials(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"E/", &[&account.to_bytes()]))
}

/// `A/<account><request>`: 8 bytes that follow from the matter and the principal, 8 from the terms as well.
pub fn approval_key(account: AccountId, request: &[u8; 16]) -> Bytes {
    join(b"A/", &[&account.to_bytes(), request])
}

/// The requests of an account that begin so: those of one principal about one matter, on whatever terms.
pub fn approvals_about(account: AccountId, about: &[u8; 8]) -> (Bytes, Bytes) {
    under(join(b"A/", &[&account.to_bytes(), about]))
}

/// The requests of all accounts.
pub fn all_approvals() -> (Bytes, Bytes) {
    under(join(b"A/", &[]))
}

/// All requests of an account.
pub fn approvals(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"A/", &[&account.to_bytes()]))
}

/// `L/<account><portion id><principal>`.
pub fn released_key(account: AccountId, portion: PortionId, principal: &str) -> Bytes {
    join(b"L/", &[&account.to_bytes(), portion.as_bytes(), principal.as_bytes()])
}

/// Who had a portion.
pub fn released_of(account: AccountId, portion: PortionId) -> (Bytes, Bytes) {
    under(join(b"L/", &[&account.to_bytes(), portion.as_bytes()]))
}

/// Who had which portion of an account.
pub fn released(account: AccountId) -> (Bytes, Bytes) {
    under(join(b"L/", &[&account.to_bytes()]))
}

/// Portion and principal in a key made by [`released_key`].
pub fn released_names(key: &[u8]) -> Option<(PortionId, &str)> {
    let (portion, principal) = key.get(2 + 8..)?.split_first_chunk::<16>()?;
    Some((PortionId::from_bytes(*portion), std::str::from_utf8(principal).ok()?))
}

/// What follows the account in a key of this file.
pub fn after_account(key: &[u8]) -> Option<&[u8]> {
    key.get(2 + 8..)
}

/// `Q/<account><principal>`.
pub fn spent_key(account: AccountId, principal: &str) -> Bytes {
    join(b"Q/", &[&account.to_bytes(), principal.as_bytes()])
}
