//! Object lock on the wire.

use http::HeaderMap;
use s3s::dto::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetentionMode, Timestamp, TimestampFormat,
};
use s3s::{S3Result, s3_error};
use store::api::{Lock, Retention, RetentionMode};

use crate::{checksum, error, wire};

/// The lock that a write's headers ask for.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn of_headers(headers: &HeaderMap) -> S3Result<Lock> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let hold = match text("x-amz-object-lock-legal-hold") {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(_) => return Err(s3_error!(InvalidArgument, "Legal Hold must be either of 'ON' or 'OFF'")),
    };
    let retention = match (text("x-amz-object-lock-mode"), text("x-amz-object-lock-retain-until-date")) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let until = Timestamp::parse(TimestampFormat::DateTime, until);
            let until = until
                .map_err(|_| s3_error!(InvalidArgument, "The retain until date must be provided in ISO 8601 format"))?;
            Some(Retention { mode: mode_of(mode)?, until_ms: future(until)? })
        }
        _ => {
            return Err(s3_error!(
                InvalidArgument,
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
            ));
        }
    };
    Ok(Lock { retention, hold })
}

/// What will be locked must be known to have arrived as it was sent.
///
/// # Errors
/// `InvalidRequest`.
pub(crate) fn needs_digest(headers: &HeaderMap) -> S3Result<()> {
    let locks = headers.keys().any(|name| name.as_str().starts_with("x-amz-object-lock-"));
    let promised = checksum::given(headers).next().is_some()
        || headers.contains_key("x-amz-trailer")
        || headers.contains_key("content-md5");
    if !locks || promised {
        return Ok(());
    }
    Err(s3_error!(
        InvalidRequest,
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
    ))
}

/// # Errors
/// `InvalidArgument`, in S3's words for a header.
pub(crate) fn mode_of(text: &str) -> S3Result<RetentionMode> {
    match text {
        "GOVERNANCE" => Ok(RetentionMode::Governance),
        "COMPLIANCE" => Ok(RetentionMode::Compliance),
        _ => Err(s3_error!(InvalidArgument, "Unknown wormMode directive.")),
    }
}

/// Milliseconds since the Unix epoch of a date that is still to come.
pub(crate) fn future(until: Timestamp) -> S3Result<u64> {
    let until = time::OffsetDateTime::from(until);
    if until <= time::OffsetDateTime::now_utc() {
        return Err(s3_error!(InvalidArgument, "The retain until date must be in the future!"));
    }
    u64::try_from(until.unix_timestamp_nanos() / 1_000_000)
        .map_err(|_| s3_error!(InvalidArgument, "The retain until date is out of range"))
}

pub(crate) fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    }
}

/// As a document has it.
pub(crate) fn retention_mode(mode: RetentionMode) -> ObjectLockRetentionMode {
    ObjectLockRetentionMode::from_static(mode_name(mode))
}

/// A lock, as the headers of an answer have it.
pub(crate) struct Told {
    pub hold: Option<ObjectLockLegalHoldStatus>,
    pub mode: Option<ObjectLockMode>,
    pub until: Option<Timestamp>,
}

impl Told {
    pub(crate) fn of(lock: Lock) -> Self {
        Self {
            hold: lock.hold.then(|| ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON)),
            mode: lock.retention.map(|retention| ObjectLockMode::from_static(mode_name(retention.mode))),
            until: lock.retention.map(|retention| wire::exact(retention.until_ms)),
        }
    }
}

/// The retention of a PutObjectRetention document; an empty one takes it off.
///
/// # Errors
/// `MalformedXML`, `InvalidArgument`.
pub(crate) fn of_document(document: Option<s3s::dto::ObjectLockRetention>) -> S3Result<Option<Retention>> {
    let malformed = || error::malformed();
    let document = document.ok_or_else(malformed)?;
    match (document.mode, document.retain_until_date) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let mode = mode_of(mode.as_str()).map_err(|_| malformed())?;
            Ok(Some(Retention { mode, until_ms: future(until)? }))
        }
        _ => Err(malformed()),
    }
}

/// The legal hold of a PutObjectLegalHold document.
///
/// # Errors
/// `MalformedXML`.
pub(crate) fn hold_of_document(document: Option<&ObjectLockLegalHold>) -> S3Result<bool> {
    let status = document.and_then(|hold| hold.status.as_ref());
    match status.map(ObjectLockLegalHoldStatus::as_str) {
        Some(ObjectLockLegalHoldStatus::ON) => Ok(true),
        Some(ObjectLockLegalHoldStatus::OFF) => Ok(false),
        _ => Err(error::malformed()),
    }
}

/// Whether a retention may become another one. Lengthening is always allowed; all else needs a
/// governance retention and the right to lift it, or one that has ended.
///
/// # Errors
/// `Locked`.
pub(crate) fn may_change(
    old: Option<Retention>,
    new: Option<Retention>,
    bypass_governance: bool,
    now_ms: u64,
) -> Result<(), store::Error> {
    let Some(old) = old.filter(|old| old.until_ms > now_ms) else { return Ok(()) };
    let longer = new.is_some_and(|new| new.until_ms >= old.until_ms && new.mode == old.mode);
    let stricter = new.is_some_and(|new| new.until_ms >= old.until_ms && new.mode == RetentionMode::Compliance);
    match old.mode {
        _ if longer || stricter => Ok(()),
        RetentionMode::Governance if bypass_governance => Ok(()),
        _ => Err(store::Error::Locked("its retention cannot be shortened")),
    }
}

/// # Errors
/// `InvalidRequest` for a bucket without object lock.
pub(crate) async fn needs_lock(at: &crate::service::Service, bucket: &str) -> S3Result<()> {
    let state = at.store.bucket_state(bucket).await.map_err(crate::error::answer)?;
    if state.object_lock {
        return Ok(());
    }
    Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"))
}

/// What S3 says of a version without a retention.
pub(crate) fn none_set() -> s3s::S3Error {
    s3_error!(NoSuchObjectLockConfiguration, "The specified object does not have a ObjectLock configuration")
}
