//! Why a portion or its key is not to be had.

use base::{Classify, ErrorKind};

use crate::lease::Refusal;
use crate::rules::RulesError;
use crate::{KeeperError, KeyError};

/// A portion's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortionError {
    /// Neither a portion, nor an alias of one.
    #[error("there is no portion or key {0}")]
    NoSuchPortion(String),
    /// The name is taken.
    #[error("portion {0} exists already")]
    Exists(String),
    /// The alias is taken.
    #[error("alias {0} exists already")]
    AliasExists(String),
    /// The metadata are out of reach, and its key is not one that opens anything then.
    #[error(
        "portion {portion} is not opened while the metadata are out of reach ({why}); another gateway may reach them, and \
         `holdfast portion cut-off` says how long one goes on"
    )]
    CutOff {
        /// The portion.
        portion: String,
        /// Why.
        why: &'static str,
    },
    /// Its key was disabled.
    #[error("the key of portion {0} is disabled; `holdfast portion enable` lets it open again")]
    Disabled(String),
    /// It is to be shredded.
    #[error("portion {name} will be shredded{}", if *.at_ms == 0 { " now" } else { "; until then `holdfast portion keep` keeps it" })]
    PendingShred {
        /// Its name.
        name: String,
        /// Milliseconds since the Unix epoch; 0: at once.
        at_ms: u64,
    },
    /// It was shredded: nothing opens it again.
    #[error("portion {0} was shredded")]
    Shredded(String),
    /// It is not to be shredded, so nothing is to be taken back.
    #[error("portion {0} is not waiting to be shredded")]
    NotPending(String),
    /// The version of the key is gone: all that was known to be under it was moved.
    #[error("version {version} of the key of portion {name} is gone")]
    NoSuchVersion {
        /// The portion.
        name: String,
        /// The version.
        version: u32,
    },
    /// The key has no such grant, or no more.
    #[error("the key has no grant {0}")]
    NoSuchGrant(String),
    /// A bound on grants is reached.
    #[error("{0}; retire or revoke some")]
    TooManyGrants(&'static str),
    /// The key is in shares, and too few of them are within reach.
    #[error(
        "the key of portion {name} is not to be had now: of the {need} shares that it takes, {have} came ({why}); \
         `holdfast site list` tells which sites are away"
    )]
    KeyUnavailable {
        /// The portion.
        name: String,
        /// Shares that came.
        have: usize,
        /// Shares that it takes.
        need: usize,
        /// What became of the others.
        why: String,
    },
    /// A site that took a slot holds no shares.
    #[error("site {site} took the slot and is being refilled, but holds no shares of keys: it {why}")]
    NoEpochKeys {
        /// The site.
        site: String,
        /// What its holder says.
        why: String,
    },
    /// Too few sites have destroyed their shares of what is to be shredded.
    #[error(
        "portion {name} is not shredded yet: {have} of the {need} sites that it takes have destroyed their shares ({why})"
    )]
    SharesLeft {
        /// The portion.
        name: String,
        /// Sites that did.
        have: usize,
        /// Sites that it takes.
        need: usize,
        /// What became of the others.
        why: String,
    },
    /// Who holds a half of the tenant's key says no.
    #[error(
        "the keys of tenant {tenant} are shut: the customer's key {place} gives its half of them no more; who rules over \
         that key can open them again"
    )]
    HalfRefused {
        /// The tenant.
        tenant: String,
        /// The customer's key.
        place: String,
    },
    /// Who holds a half of the tenant's key does not answer, and what it gave before does not count any more.
    #[error("the keys of tenant {tenant} are shut now: the customer's key {place} does not answer; try again")]
    HalfUnreachable {
        /// The tenant.
        tenant: String,
        /// The customer's key.
        place: String,
    },
    /// A half of the tenant's key is held already.
    #[error(
        "a half of the key of tenant {tenant} is held already, by {place}; `holdfast tenant release` takes it back"
    )]
    Held {
        /// The tenant.
        tenant: String,
        /// Where.
        place: String,
    },
    /// No half of the tenant's key is held elsewhere.
    #[error("no half of the key of tenant {0} is held elsewhere; `holdfast tenant hold` has one held")]
    NotHeld(String),
    /// The half of a tenant's key can be neither kept nor given.
    #[error("nothing was changed: {0}")]
    Keeper(#[from] KeeperError),
    /// Something asked for is not valid.
    #[error("{0}")]
    Invalid(&'static str),
    /// What was sealed by the KMS API does not open: another key, another context, or not its bytes.
    #[error("the ciphertext does not open: it was made under another key or context, or is damaged")]
    Ciphertext,
    /// What was sealed by the KMS API is under another key than the caller says.
    #[error("the ciphertext was made under another key than the one named")]
    OtherKey,
    /// It must not happen unrecorded, and the audit log took no record. Nothing was changed.
    #[error("nothing was changed, since the audit log {log} takes no record: {reason}; put that right and try again")]
    Unrecorded {
        /// The folder.
        log: String,
        /// Why, and the cure.
        reason: String,
    },
    /// It is not released to the caller.
    #[error(transparent)]
    Release(#[from] Refusal),
    /// There is no such request, or it lapsed.
    #[error("there is no request {0} that waits or counts, or several begin so; `holdfast release list` tells them")]
    NoSuchRequest(String),
    /// The request was asked anew since it was looked at.
    #[error("request {0} was asked anew since you saw it; look at it again (`holdfast release list`)")]
    AskedAnew(String),
    /// Somebody else has to decide it.
    #[error("{0}")]
    NotApprover(&'static str),
    /// There is no such document.
    #[error("there is no release policy {0}")]
    NoSuchPolicy(String),
    /// The documents have mistakes.
    #[error("the release policies have mistakes:\n{0}")]
    Policies(#[from] release::Mistakes),
    /// The documents that are stored have mistakes, so nothing is released. The log and `holdfast policy test` tell them.
    #[error("the release policies of this account cannot be read, so nothing is released; the server's log says why")]
    UnreadablePolicies,
    /// The rules are none.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A key does not open.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Lost to others who changed the same portion, repeatedly.
    #[error("too many changes of the same portion at once; try again")]
    Contended,
    /// The metadata cannot be read.
    #[error(transparent)]
    Meta(#[from] meta::MetaError),
    /// The metadata cannot be written.
    #[error(transparent)]
    Commit(#[from] meta::CommitError),
    /// A row is not what it should be.
    #[error(transparent)]
    Record(#[from] meta::record::RecordError),
}

impl Classify for PortionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchPortion(_)
            | Self::NoSuchVersion { .. }
            | Self::NoSuchGrant(_)
            | Self::NoSuchRequest(_)
            | Self::NoSuchPolicy(_) => ErrorKind::NotFound,
            Self::TooManyGrants(_) => ErrorKind::Full,
            Self::Release(_) | Self::NotApprover(_) | Self::HalfRefused { .. } => ErrorKind::Denied,
            Self::Held { .. } | Self::NotHeld(_) => ErrorKind::Conflict,
            Self::HalfUnreachable { .. } | Self::CutOff { .. } => ErrorKind::Unavailable,
            Self::Keeper(KeeperError::Refused(_)) => ErrorKind::Denied,
            Self::Keeper(KeeperError::Unreachable(_)) => ErrorKind::Unavailable,
            Self::Keeper(KeeperError::Failed(_)) => ErrorKind::Invalid,
            Self::Policies(_) => ErrorKind::Invalid,
            Self::UnreadablePolicies => ErrorKind::Unavailable,
            Self::Exists(_) | Self::AliasExists(_) | Self::NotPending(_) | Self::AskedAnew(_) | Self::Contended => {
                ErrorKind::Conflict
            }
            Self::Disabled(_) | Self::PendingShred { .. } | Self::Shredded(_) | Self::OtherKey => ErrorKind::Denied,
            Self::Invalid(_) | Self::Ciphertext | Self::Rules(_) => ErrorKind::Invalid,
            Self::Unrecorded { .. }
            | Self::KeyUnavailable { .. }
            | Self::SharesLeft { .. }
            | Self::NoEpochKeys { .. } => ErrorKind::Unavailable,
            Self::Key(error) => error.kind(),
            Self::Meta(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Record(error) => error.kind(),
        }
    }
}
