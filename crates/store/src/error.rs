//! Why the store did not do what was asked.

use base::{Classify, ErrorKind};
use keys::PortionError;

use crate::api::BodyError;

/// A store error. [`Classify::kind`] says what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such bucket.
    #[error("bucket {0} does not exist")]
    NoSuchBucket(String),
    /// The bucket exists already.
    #[error("bucket {name} exists already")]
    BucketExists {
        /// Its name.
        name: String,
        /// User name of its owner.
        owner: String,
    },
    /// The bucket still holds objects or open uploads.
    #[error("bucket {0} is not empty")]
    BucketNotEmpty(String),
    /// No such object.
    #[error("the object does not exist")]
    NoSuchKey,
    /// The object has no such version.
    #[error("the object has no such version")]
    NoSuchVersion,
    /// What was asked for is a delete marker.
    #[error("the object is deleted: its version {version} is a delete marker")]
    DeleteMarker {
        /// The marker.
        version: crate::api::VersionId,
        /// Whether the request named it; otherwise it is the newest.
        named: bool,
    },
    /// A retention or legal hold forbids it.
    #[error("the version is locked: {0}")]
    Locked(&'static str),
    /// The object was written under a customer's key, and the request has none.
    #[error("the object is encrypted with a key that its writer holds (SSE-C): the request must carry that key")]
    CustomerKeyMissing,
    /// The object was written under another customer's key.
    #[error("the object is encrypted with another key than the request carries (SSE-C)")]
    CustomerKeyWrong,
    /// The object was not written under a customer's key, and the request has one.
    #[error("the object is not encrypted with a customer's key (SSE-C), which the request carries")]
    NoCustomerKey,
    /// The part's customer key is not the one that the upload was created with.
    #[error("the upload was created with other encryption parameters")]
    OtherEncryption,
    /// The bucket has no such sub-resource.
    #[error("the bucket has no {0} configuration")]
    NoSuchConfig(&'static str),
    /// The bucket is in a state that forbids it.
    #[error("{0}")]
    BucketState(&'static str),
    /// No such upload.
    #[error("the multipart upload does not exist")]
    NoSuchUpload,
    /// CompleteMultipartUpload names a part that is missing or has another ETag.
    #[error("part {0} is missing or was overwritten")]
    InvalidPart(u16),
    /// CompleteMultipartUpload's parts are not in ascending order.
    #[error("part numbers are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is smaller than 5 MiB.
    #[error("part {number} has {size} bytes; only the last part may be smaller than 5 MiB")]
    PartTooSmall {
        /// Part number.
        number: u16,
        /// Bytes.
        size: u64,
    },
    /// A composite or full checksum given at completion is not what the parts give.
    #[error("the checksum of the completed object does not match")]
    BadDigest,
    /// The parts named at completion are not as long as the client believes.
    #[error("the parts have {found} bytes, not the {expected} that were expected")]
    OtherSize {
        /// Bytes of the parts.
        found: u64,
        /// Bytes that the client expects.
        expected: u64,
    },
    /// A condition of the request does not hold.
    #[error("a precondition of the request does not hold")]
    PreconditionFailed,
    /// The source of a copy is another one than was judged.
    #[error("the source of the copy was replaced meanwhile; try again")]
    SourceChanged,
    /// `If-Match` on a key that has no object.
    #[error("the object to match does not exist")]
    ConditionOnAbsent,
    /// Lost to other writers of the same key, repeatedly.
    #[error("too many writers of the same key; try again")]
    Contended,
    /// Longer than the limits allow.
    #[error("{what} is larger than {max} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Bytes.
        max: u64,
    },
    /// Something in the request is not valid.
    #[error("{0}")]
    Invalid(&'static str),
    /// The request body could not be read to a good end.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The bucket lets in, or gives out, only what is known to be clean, and this is not.
    #[error("the scan says: {0}")]
    Unclean(String),
    /// The same, and nobody has looked at it yet.
    #[error("not scanned: {0}")]
    Unscanned(String),
    /// Not enough live sites for a promise that would hold.
    #[error("only {live} of 5 sites take writes; {needed} are needed: {detail}")]
    TooFewSites {
        /// Sites that took the write.
        live: usize,
        /// Sites needed.
        needed: usize,
        /// The last site's own words.
        detail: String,
    },
    /// The other gateways took this one for dead while it wrote (the fence, see `gateway`): nothing was done.
    #[error("this gateway was taken for dead while it wrote, and goes on as another one; try again")]
    Expelled,
    /// The request went by rows that another gateway had changed in that moment. Nothing was done; it is right the next time.
    #[error("another gateway changed the bucket, or what its caller may do, in this moment; try again")]
    Overtaken,
    /// Every site that could take a shard is full.
    #[error("no space left at enough sites: {0}")]
    Full(String),
    /// Fewer than three good shards can be read now.
    #[error("object data cannot be read now: {0}")]
    Unreadable(String),
    /// Enough shards answer, and no three of them give bytes that open.
    #[error("object data is damaged beyond repair: {0}")]
    Corrupt(String),
    /// A session token does not belong to the access key, or whom it acts for is gone.
    #[error("the session token is not valid for this access key")]
    InvalidToken,
    /// The access key of a request that is under way was deleted or disabled, or its user is gone.
    #[error("the access key was taken away while the request was under way")]
    KeyGone,
    /// What is asked of a gateway that is cut off from the metadata it does not do.
    #[error("the metadata are out of reach, and this waits until they are not: {0}")]
    Island(String),
    /// No such entry of an island, or conflict.
    #[error("nothing that was taken while cut off is called {0} here; `holdfast island list`")]
    NoSuchEntry(String),
    /// Who wrote while the gateway was cut off may not do so by now.
    #[error("{who} may not write into bucket {bucket} any more; `holdfast island tell` does it anyway")]
    NotAllowed {
        /// Who.
        who: String,
        /// Where.
        bucket: String,
    },
    /// This machine's clock is not that of most other gateways.
    #[error(
        "the clock here is off that of most other gateways by {off_s} s: what cannot be undone waits until it is right"
    )]
    ClockOff {
        /// Seconds; negative: behind.
        off_s: i64,
    },
    /// Temporary credentials past their end.
    #[error("the temporary credentials have expired")]
    ExpiredToken,
    /// A policy document that is none.
    #[error("the policy is not valid: {0}")]
    Policy(#[from] policy::PolicyError),
    /// A user with that name or access key exists.
    #[error("user {0} exists already")]
    UserExists(String),
    /// No such user.
    #[error("user {0} does not exist")]
    NoSuchUser(String),
    /// No such target of events.
    #[error("there is no target named {0}")]
    NoSuchTarget(String),
    /// The user has no such access key.
    #[error("the user has no access key {0}")]
    NoSuchAccessKey(String),
    /// The user or group has no such inline policy.
    #[error("there is no policy {0}")]
    NoSuchPolicy(String),
    /// A group with that name exists.
    #[error("group {0} exists already")]
    GroupExists(String),
    /// No such group, or the user is no member.
    #[error("there is no group {0}, or the user is not in it")]
    NoSuchGroup(String),
    /// A tenant with that name exists.
    #[error("tenant {0} exists already")]
    TenantExists(String),
    /// No such tenant.
    #[error("tenant {0} does not exist")]
    NoSuchTenant(String),
    /// The tenant still has buckets, users or groups.
    #[error("tenant {0} still has buckets, users or groups")]
    TenantNotEmpty(String),
    /// Something under a key of the tenant is kept elsewhere.
    #[error("tenant {tenant} has keys that sealed what callers of the KMS API keep, as that of portion {portion}")]
    TenantHasKeys {
        /// The tenant.
        tenant: String,
        /// One of the portions.
        portion: String,
    },
    /// No such site.
    #[error("there is no site named {0}")]
    NoSuchSite(String),
    /// The metadata engine failed to read.
    #[error(transparent)]
    Meta(#[from] meta::MetaError),
    /// The metadata engine failed to commit.
    #[error(transparent)]
    Commit(#[from] meta::CommitError),
    /// A stored record is damaged or too new.
    #[error(transparent)]
    Record(#[from] meta::record::RecordError),
    /// A key does not open what it should.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
    /// A portion's key is not to be had.
    #[error(transparent)]
    Portion(#[from] PortionError),
    /// A site operation outside the data path failed.
    #[error(transparent)]
    Site(#[from] sites::SiteError),
}

/// What a request waits for that is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// The metadata.
    Meta,
    /// Sites, for shards.
    Sites,
    /// What releases or opens a key.
    Keys,
    /// The audit log.
    Audit,
    /// The scan service.
    Scan,
}

impl Dependency {
    /// As headers and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Sites => "sites",
            Self::Keys => "keys",
            Self::Audit => "audit",
            Self::Scan => "scan",
        }
    }

    /// What failed, of an error about a portion, where it is not the request's own fault.
    pub fn of_portion(error: &PortionError) -> Option<Self> {
        use PortionError as P;
        match error {
            P::Meta(_) | P::Commit(_) | P::Record(_) | P::CutOff { .. } if is_degraded(error.kind()) => {
                Some(Self::Meta)
            }
            P::Unrecorded { .. } => Some(Self::Audit),
            P::HalfRefused { .. } => Some(Self::Keys),
            _ => is_degraded(error.kind()).then_some(Self::Keys),
        }
    }
}

/// Whether what went wrong is not the request's own fault.
fn is_degraded(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full | ErrorKind::Corrupt)
}

impl Error {
    /// What failed, where it is not the request's own fault.
    pub fn dependency(&self) -> Option<Dependency> {
        if let Self::Portion(error) = self {
            return Dependency::of_portion(error);
        }
        if !is_degraded(self.kind()) {
            return None;
        }
        match self {
            Self::Meta(_)
            | Self::Commit(_)
            | Self::Record(_)
            | Self::Expelled
            | Self::ClockOff { .. }
            | Self::Island(_) => Some(Dependency::Meta),
            Self::Key(_) => Some(Dependency::Keys),
            Self::Unscanned(_) => Some(Dependency::Scan),
            Self::TooFewSites { .. } | Self::Full(_) | Self::Unreadable(_) | Self::Site(_) | Self::Corrupt(_) => {
                Some(Dependency::Sites)
            }
            _ => None,
        }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchBucket(_)
            | Self::NoSuchKey
            | Self::NoSuchVersion
            | Self::DeleteMarker { .. }
            | Self::NoSuchConfig(_)
            | Self::NoSuchUpload
            | Self::ConditionOnAbsent
            | Self::NoSuchUser(_)
            | Self::NoSuchTarget(_)
            | Self::NoSuchAccessKey(_)
            | Self::NoSuchPolicy(_)
            | Self::NoSuchGroup(_)
            | Self::NoSuchTenant(_)
            | Self::NoSuchEntry(_)
            | Self::NoSuchSite(_) => ErrorKind::NotFound,
            Self::Island(_) | Self::Unscanned(_) => ErrorKind::Unavailable,
            Self::NotAllowed { .. } | Self::Unclean(_) => ErrorKind::Denied,
            Self::BucketExists { .. }
            | Self::BucketNotEmpty(_)
            | Self::PreconditionFailed
            | Self::Locked(_)
            | Self::BucketState(_)
            | Self::UserExists(_)
            | Self::GroupExists(_)
            | Self::TenantExists(_)
            | Self::TenantNotEmpty(_)
            | Self::SourceChanged
            | Self::TenantHasKeys { .. }
            | Self::Contended => ErrorKind::Conflict,
            Self::CustomerKeyMissing
            | Self::NoCustomerKey
            | Self::OtherEncryption
            | Self::InvalidPart(_)
            | Self::InvalidPartOrder
            | Self::PartTooSmall { .. }
            | Self::BadDigest
            | Self::OtherSize { .. }
            | Self::TooLarge { .. }
            | Self::Invalid(_)
            | Self::Body(_) => ErrorKind::Invalid,
            Self::InvalidToken | Self::ExpiredToken | Self::KeyGone => ErrorKind::Denied,
            Self::Policy(e) => e.kind(),
            Self::TooFewSites { .. }
            | Self::Unreadable(_)
            | Self::ClockOff { .. }
            | Self::Expelled
            | Self::Overtaken => ErrorKind::Unavailable,
            Self::CustomerKeyWrong => ErrorKind::Denied,
            Self::Full(_) => ErrorKind::Full,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Meta(e) => e.kind(),
            Self::Commit(e) => e.kind(),
            Self::Record(e) => e.kind(),
            Self::Key(e) => e.kind(),
            Self::Portion(e) => e.kind(),
            Self::Site(e) => e.kind(),
        }
    }
}
