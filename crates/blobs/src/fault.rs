//! What is answered instead: S3's error codes, and which of them says what of a site's errors.
//!
//! `sites::Object` reads them back: the two must agree, which the conformance suite and `tests/errors.rs` check.

use http::StatusCode;
use sigv4::SignatureError;
use sites::SiteError;

/// S3's error codes (API reference, "Error responses"), and one of ours: S3 has none for a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    AccessDenied,
    BadDigest,
    EntityTooLarge,
    IncompleteBody,
    InvalidArgument,
    InvalidRange,
    MethodNotAllowed,
    MissingContentLength,
    NoSuchBucket,
    NoSuchKey,
    NotImplemented,
    QuotaExceeded,
    RequestTimeout,
    RequestTimeTooSkewed,
    ServiceUnavailable,
    SignatureDoesNotMatch,
    SlowDown,
}

impl Code {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::BadDigest => "XAmzContentSHA256Mismatch",
            Self::EntityTooLarge => "EntityTooLarge",
            Self::IncompleteBody => "IncompleteBody",
            Self::InvalidArgument => "InvalidArgument",
            Self::InvalidRange => "InvalidRange",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::MissingContentLength => "MissingContentLength",
            Self::NoSuchBucket => "NoSuchBucket",
            Self::NoSuchKey => "NoSuchKey",
            Self::NotImplemented => "NotImplemented",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::RequestTimeout => "RequestTimeout",
            Self::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::SlowDown => "SlowDown",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::AccessDenied | Self::RequestTimeTooSkewed | Self::SignatureDoesNotMatch => StatusCode::FORBIDDEN,
            Self::BadDigest
            | Self::EntityTooLarge
            | Self::IncompleteBody
            | Self::InvalidArgument
            | Self::RequestTimeout => StatusCode::BAD_REQUEST,
            Self::InvalidRange => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MissingContentLength => StatusCode::LENGTH_REQUIRED,
            Self::NoSuchBucket | Self::NoSuchKey => StatusCode::NOT_FOUND,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            Self::ServiceUnavailable | Self::SlowDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A refusal, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<SiteError> for Fault {
    fn from(error: SiteError) -> Self {
        let code = match &error {
            SiteError::NotFound { .. } => Code::NoSuchKey,
            SiteError::Short { .. } => Code::InvalidRange,
            SiteError::Full(_) => Code::QuotaExceeded,
            SiteError::Denied(_) => Code::AccessDenied,
            SiteError::Down(_) => Code::ServiceUnavailable,
            SiteError::Slow => Code::SlowDown,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        let code = match error {
            SignatureError::Missing | SignatureError::Unsigned => Code::AccessDenied,
            SignatureError::Skewed => Code::RequestTimeTooSkewed,
            SignatureError::Wrong => Code::SignatureDoesNotMatch,
        };
        Self::new(code, error.to_string())
    }
}
