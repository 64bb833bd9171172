//! From what went wrong to what the client is told.
//!
//! | cause | answer | what clients do |
//! |---|---|---|
//! | too few sites, unreadable or contended metadata, outcome unknown | 503 `ServiceUnavailable`, `Retry-After` | SDKs, aws CLI and rclone retry |
//! | the customer's key that a tenant's keys take does not answer | 503 `ServiceUnavailable`, `Retry-After` | the same |
//! | the customer's key that a tenant's keys take says no | 403 `AccessDenied`, naming it | shown |
//! | the scan service has not said anything of what is to be scanned first | 503 `ServiceUnavailable`, `Retry-After` | SDKs retry |
//! | many gateways count, or change keys, of one portion or user | 503 `SlowDown`, `Retry-After` | SDKs retry |
//! | many writers of one key | 409 `OperationAborted` | the caller decides |
//! | no space at enough sites | 507 `InsufficientStorage` | not retried: waiting does not make room |
//! | damaged beyond repair, key does not open | 500 `InternalError` | retried a few times, then shown |

use base::{Classify, ErrorKind};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode, s3_error};
use store::api::BodyError;

use crate::body::BodyFault;
use crate::degraded::{self, DEGRADED};
use crate::limits::RETRY_AFTER_SECONDS;

/// The answer to a store's error. Total: a new variant of the store's lands in `by_kind` with the
/// kind that it says it has.
pub(crate) fn answer(error: store::Error) -> S3Error {
    let Some(dependency) = error.dependency() else { return answer_to(error) };
    let mut told = answer_to(error);
    let mut headers = told.headers().cloned().unwrap_or_default();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers.extend(degraded::refused(dependency).map(|told| (DEGRADED, told)));
    told.set_headers(headers);
    told
}

fn answer_to(error: store::Error) -> S3Error {
    use store::Error as E;
    match &error {
        E::NoSuchBucket(_) => with(S3ErrorCode::NoSuchBucket, &error),
        E::BucketExists { .. } => with(S3ErrorCode::BucketAlreadyExists, &error),
        E::BucketNotEmpty(_) => with(S3ErrorCode::BucketNotEmpty, &error),
        E::NoSuchKey | E::ConditionOnAbsent => with(S3ErrorCode::NoSuchKey, &error),
        E::NoSuchVersion => with(S3ErrorCode::NoSuchVersion, &error),
        E::DeleteMarker { version, named } => delete_marker(&error, *version, *named),
        E::Locked(_) => with_words(S3ErrorCode::AccessDenied, "Access Denied because object protected by object lock."),
        E::Unclean(_) => with(S3ErrorCode::AccessDenied, &error),
        E::Unscanned(_) => later(error.to_string()),
        E::CustomerKeyMissing => with_words(
            S3ErrorCode::InvalidRequest,
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        ),
        E::CustomerKeyWrong => with_words(
            S3ErrorCode::AccessDenied,
            "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.",
        ),
        E::NoCustomerKey => {
            with_words(S3ErrorCode::InvalidRequest, "The encryption parameters are not applicable to this object.")
        }
        E::OtherEncryption => with_words(
            S3ErrorCode::InvalidRequest,
            "The provided encryption parameters did not match the ones used originally.",
        ),
        E::BucketState(_) => with(S3ErrorCode::InvalidBucketState, &error),
        E::NoSuchConfig(name) => no_such_config(name),
        E::NoSuchUpload => with(S3ErrorCode::NoSuchUpload, &error),
        E::InvalidPart(_) => with(S3ErrorCode::InvalidPart, &error),
        E::InvalidPartOrder => with(S3ErrorCode::InvalidPartOrder, &error),
        E::PartTooSmall { .. } => with(S3ErrorCode::EntityTooSmall, &error),
        E::BadDigest => with(S3ErrorCode::BadDigest, &error),
        E::OtherSize { .. } => with(S3ErrorCode::InvalidRequest, &error),
        E::PreconditionFailed => with(S3ErrorCode::PreconditionFailed, &error),
        E::Contended | E::SourceChanged => with(S3ErrorCode::OperationAborted, &error),
        E::TooLarge { what, .. } => with(too_large(what), &error),
        E::Invalid(_) => with(S3ErrorCode::InvalidArgument, &error),
        E::Body(BodyError::Source(_)) => source(error),
        E::Body(error) => body(error),
        E::InvalidToken => s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid."),
        E::KeyGone => s3_error!(InvalidAccessKeyId, "The access key was taken away while the request was under way."),
        E::ExpiredToken => s3_error!(ExpiredToken, "The provided token has expired."),
        E::Portion(unusable) => of_portion(unusable).unwrap_or_else(|| by_kind(&error)),
        E::Island(_) => later(error.to_string()),
        E::Overtaken => slow_down(error.to_string()),
        E::TooFewSites { .. } | E::Unreadable(_) => unavailable(&error),
        E::Full(_) => full(&error),
        E::Corrupt(_) | E::Key(_) | E::Record(_) => internal(&error),
        _ => by_kind(&error),
    }
}

/// S3's own words, where clients may look for them.
fn with_words(code: S3ErrorCode, words: &'static str) -> S3Error {
    S3Error::with_message(code, words)
}

/// A document that does not follow its schema, in S3's words.
pub(crate) fn malformed() -> S3Error {
    s3_error!(MalformedXML, "The XML you provided was not well-formed or did not validate against our published schema")
}

/// A deleted object is not found; a marker that is named is found and cannot be read.
fn delete_marker(error: &store::Error, version: store::api::VersionId, named: bool) -> S3Error {
    let code = if named { S3ErrorCode::MethodNotAllowed } else { S3ErrorCode::NoSuchKey };
    let mut headers = vec![(HeaderName::from_static("x-amz-delete-marker"), HeaderValue::from_static("true"))];
    let version = HeaderValue::try_from(version.to_string());
    headers.extend(version.map(|version| (HeaderName::from_static("x-amz-version-id"), version)));
    if named {
        headers.push((header::ALLOW, HeaderValue::from_static("DELETE")));
    }
    with_headers(with(code, error), headers)
}

/// What S3 answers for a sub-resource that was never put.
fn no_such_config(name: &str) -> S3Error {
    let (code, message) = match name {
        "cors" => (S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"),
        "encryption" => (
            S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found",
        ),
        "lifecycle" => (S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"),
        "object-lock" => (
            S3ErrorCode::ObjectLockConfigurationNotFoundError,
            "Object Lock configuration does not exist for this bucket",
        ),
        "ownershipControls" => {
            return not_found("OwnershipControlsNotFoundError", "The bucket ownership controls were not found");
        }
        "policy" => (S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist"),
        "publicAccessBlock" => {
            return not_found(
                "NoSuchPublicAccessBlockConfiguration",
                "The public access block configuration was not found",
            );
        }
        "replication" => {
            return not_found("ReplicationConfigurationNotFoundError", "The replication configuration was not found");
        }
        "tagging" => (S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"),
        "website" => {
            (S3ErrorCode::NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration")
        }
        _ => return not_found("NoSuchConfiguration", "The specified configuration does not exist"),
    };
    S3Error::with_message(code, message)
}

fn not_found(code: &'static str, message: &'static str) -> S3Error {
    let mut error = custom(code, message);
    error.set_status_code(StatusCode::NOT_FOUND);
    error
}

fn by_kind(error: &store::Error) -> S3Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Internal => internal(error),
        ErrorKind::Conflict => with(S3ErrorCode::OperationAborted, error),
        ErrorKind::Invalid => with(S3ErrorCode::InvalidArgument, error),
        ErrorKind::Denied => s3_error!(AccessDenied),
        // Whether an unknown outcome took place is for the retry to find out: S3's writes are
        // idempotent.
        ErrorKind::Unavailable | ErrorKind::Unknown => unavailable(error),
        ErrorKind::Full => full(error),
    }
}

fn with(code: S3ErrorCode, error: &store::Error) -> S3Error {
    S3Error::with_message(code, error.to_string())
}

fn too_large(what: &str) -> S3ErrorCode {
    match what {
        "object key" | "an object key" => S3ErrorCode::KeyTooLongError,
        "user metadata" => S3ErrorCode::MetadataTooLarge,
        "the source of a copy" => S3ErrorCode::InvalidRequest,
        _ => S3ErrorCode::EntityTooLarge,
    }
}

/// Sites' own words are for the operator; the client learns that a retry may help.
fn unavailable(error: &store::Error) -> S3Error {
    tracing::debug!(%error, "answered unavailable");
    later("not enough sites answer now; try again".to_owned())
}

fn later(words: String) -> S3Error {
    let told = S3Error::with_message(S3ErrorCode::ServiceUnavailable, words);
    with_headers(told, [(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))])
}

/// Others were quicker: the client is to try again, as it does by itself at this code.
fn slow_down(words: String) -> S3Error {
    let told = S3Error::with_message(S3ErrorCode::SlowDown, words);
    with_headers(told, [(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))])
}

fn full(error: &store::Error) -> S3Error {
    tracing::warn!(%error, "a write was refused for want of space");
    let mut told = custom("InsufficientStorage", "no space is left at enough sites");
    told.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    told
}

fn internal(error: &store::Error) -> S3Error {
    tracing::error!(error = %Chain(error), "a request failed");
    s3_error!(InternalError, "the object store failed; its log says why")
}

/// An error and its sources on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// A copy's source failed: its own error is the answer.
/// What S3 says of a KMS key that it cannot use; `None` where the key is not the cause.
fn of_portion(error: &keys::PortionError) -> Option<S3Error> {
    use keys::PortionError as P;
    let code = match error {
        P::Release(_) | P::HalfRefused { .. } => {
            return Some(S3Error::with_message(S3ErrorCode::AccessDenied, error.to_string()));
        }
        P::HalfUnreachable { .. } | P::CutOff { .. } => return Some(later(error.to_string())),
        P::Contended => return Some(slow_down(error.to_string())),
        P::UnreadablePolicies => return Some(later("keys are not released now; try again".to_owned())),
        P::NoSuchPortion(_) => "KMS.NotFoundException",
        P::Disabled(_) => "KMS.DisabledException",
        P::PendingShred { .. } | P::Shredded(_) | P::NoSuchVersion { .. } => "KMS.KMSInvalidStateException",
        _ => return None,
    };
    Some(custom(code, error.to_string()))
}

fn source(error: store::Error) -> S3Error {
    match error {
        store::Error::Body(BodyError::Source(inner)) => answer(*inner),
        other => internal(&other),
    }
}

fn body(error: &BodyError) -> S3Error {
    let (BodyError::Incomplete(source) | BodyError::Refused(source)) = error else {
        return s3_error!(IncompleteBody, "{}", error);
    };
    match source.downcast_ref::<BodyFault>() {
        Some(fault) => refusal(fault),
        None => s3_error!(IncompleteBody, "{}", error),
    }
}

/// The answer to a body that is not what was promised.
pub(crate) fn refusal(fault: &BodyFault) -> S3Error {
    let text = fault.to_string();
    match fault {
        BodyFault::Length { .. } | BodyFault::Lost => S3Error::with_message(S3ErrorCode::IncompleteBody, text),
        BodyFault::Timeout | BodyFault::Slow => S3Error::with_message(S3ErrorCode::RequestTimeout, text),
        BodyFault::Md5 | BodyFault::Checksum(_) => S3Error::with_message(S3ErrorCode::BadDigest, text),
        BodyFault::NoTrailer(_) => custom("MalformedTrailerError", text),
        BodyFault::Sha256 => custom("XAmzContentSHA256Mismatch", text),
        BodyFault::Signature => S3Error::with_message(S3ErrorCode::SignatureDoesNotMatch, text),
        BodyFault::Chunks => S3Error::with_message(S3ErrorCode::InvalidRequest, text),
    }
}

/// An error whose code the framework does not know, status 400 unless set.
pub(crate) fn custom(code: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

/// 501, naming what is missing.
pub(crate) fn not_implemented(what: impl std::fmt::Display) -> S3Error {
    s3_error!(NotImplemented, "{what} is not implemented")
}

/// Adds headers to an error's answer. The framework replaces its own with them, so the content
/// type is among them.
pub(crate) fn with_headers(
    mut error: S3Error,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> S3Error {
    let mut map: HeaderMap = headers.into_iter().collect();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(map);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_in_each_others_way_is_to_be_tried_again() {
        let told = answer(store::Error::Portion(keys::PortionError::Contended));
        assert_eq!((told.code(), told.status_code()), (&S3ErrorCode::SlowDown, Some(StatusCode::SERVICE_UNAVAILABLE)));
        assert!(told.headers().is_some_and(|headers| headers.contains_key(header::RETRY_AFTER)));
    }
}
