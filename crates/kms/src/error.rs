//! Errors as AWS KMS tells them.

use base::{Classify, ErrorKind};
use http::StatusCode;
use keys::PortionError;
use sigv4::SignatureError;
use store::Dependency;

/// An error as a client sees it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// What failed, where that may pass and is not the request's own fault.
    pub(crate) dependency: Option<Dependency>,
}

macro_rules! codes {
    ($($code:ident $name:literal $status:ident $kind:ident,)*) => {
        /// What kind of error it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $($code,)*
        }

        impl Code {
            /// `__type` in the answer.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => StatusCode::$status,)*
                }
            }
        }

        impl Classify for Fault {
            fn kind(&self) -> ErrorKind {
                match self.code {
                    $(Code::$code => ErrorKind::$kind,)*
                }
            }
        }
    };
}

codes! {
    AccessDenied "AccessDeniedException" BAD_REQUEST Denied,
    AlreadyExists "AlreadyExistsException" BAD_REQUEST Conflict,
    Disabled "DisabledException" BAD_REQUEST Denied,
    DryRun "DryRunOperationException" BAD_REQUEST Invalid,
    ExpiredToken "ExpiredTokenException" BAD_REQUEST Denied,
    IncompleteSignature "IncompleteSignatureException" BAD_REQUEST Invalid,
    IncorrectKey "IncorrectKeyException" BAD_REQUEST Denied,
    Internal "KMSInternalException" INTERNAL_SERVER_ERROR Internal,
    InvalidAlias "InvalidAliasNameException" BAD_REQUEST Invalid,
    InvalidArn "InvalidArnException" BAD_REQUEST Invalid,
    InvalidCiphertext "InvalidCiphertextException" BAD_REQUEST Invalid,
    InvalidGrantId "InvalidGrantIdException" BAD_REQUEST Invalid,
    InvalidGrantToken "InvalidGrantTokenException" BAD_REQUEST Invalid,
    InvalidMarker "InvalidMarkerException" BAD_REQUEST Invalid,
    InvalidSignature "InvalidSignatureException" BAD_REQUEST Denied,
    InvalidState "KMSInvalidStateException" BAD_REQUEST Conflict,
    LimitExceeded "LimitExceededException" BAD_REQUEST Full,
    MalformedPolicy "MalformedPolicyDocumentException" BAD_REQUEST Invalid,
    MissingToken "MissingAuthenticationTokenException" BAD_REQUEST Denied,
    NotAuthorized "NotAuthorizedException" BAD_REQUEST Denied,
    NotFound "NotFoundException" BAD_REQUEST NotFound,
    Serialization "SerializationException" BAD_REQUEST Invalid,
    Tag "TagException" BAD_REQUEST Invalid,
    Throttling "ThrottlingException" BAD_REQUEST Unavailable,
    Timeout "RequestTimeoutException" REQUEST_TIMEOUT Unavailable,
    TooLarge "RequestEntityTooLargeException" PAYLOAD_TOO_LARGE Invalid,
    Unavailable "KeyUnavailableException" SERVICE_UNAVAILABLE Unavailable,
    UnknownOperation "UnknownOperationException" BAD_REQUEST Invalid,
    UnknownPath "UnknownOperationException" NOT_FOUND Invalid,
    UnrecognizedClient "UnrecognizedClientException" BAD_REQUEST Denied,
    Unsupported "UnsupportedOperationException" BAD_REQUEST Invalid,
    Validation "ValidationException" BAD_REQUEST Invalid,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), dependency: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Validation, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::Unsupported, message)
    }

    /// A defect, or something that an operator must look at: the log has it, the client does not.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "a KMS request failed");
        Self::new(Code::Internal, "the request failed for a reason that is in the server's log")
    }

    /// By what a caller does next, where no more is known.
    fn of_kind(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        match kind {
            ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Unknown => {
                tracing::warn!(error = %error, "a KMS request cannot be answered now");
                Self::new(Code::Unavailable, "The key is not available at this time; try again.")
            }
            ErrorKind::Conflict => Self::new(Code::Throttling, "Rate exceeded"),
            _ => Self::internal(error),
        }
    }

    /// What a portion's error is to a client that named the key by `arn`.
    pub(crate) fn of_key(arn: &str, error: PortionError) -> Self {
        match error {
            PortionError::NoSuchPortion(_) | PortionError::Shredded(_) => {
                Self::new(Code::NotFound, format!("Key '{arn}' does not exist"))
            }
            PortionError::Disabled(_) => Self::new(Code::Disabled, format!("{arn} is disabled.")),
            PortionError::PendingShred { .. } => Self::new(Code::InvalidState, format!("{arn} is pending deletion.")),
            PortionError::NoSuchGrant(id) => {
                Self::new(Code::NotFound, format!("Grant ID {id} not found for key {arn}"))
            }
            PortionError::NotPending(_) => Self::new(Code::InvalidState, format!("{arn} is not pending deletion.")),
            error => error.into(),
        }
    }
}

impl From<PortionError> for Fault {
    fn from(error: PortionError) -> Self {
        let (words, dependency) = (error.to_string(), Dependency::of_portion(&error));
        let fault = match error {
            PortionError::NoSuchPortion(_) => Self::new(Code::NotFound, words),
            PortionError::Exists(_) | PortionError::AliasExists(_) => Self::new(Code::AlreadyExists, words),
            PortionError::Release(_) | PortionError::HalfRefused { .. } => Self::new(Code::AccessDenied, words),
            PortionError::HalfUnreachable { .. } => Self::new(Code::Unavailable, words),
            // The log has it once for each time that they were put, and not for each request.
            PortionError::UnreadablePolicies => Self::new(Code::Internal, words),
            PortionError::TooManyGrants(_) => Self::new(Code::LimitExceeded, words),
            PortionError::Ciphertext => Self::new(Code::InvalidCiphertext, words),
            PortionError::OtherKey => Self::new(
                Code::IncorrectKey,
                "The key ID in the request does not identify a CMK that can perform this operation.",
            ),
            PortionError::Invalid(_) => Self::invalid(words),
            error => Self::of_kind(error.kind(), &error),
        };
        Self { dependency, ..fault }
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::InvalidToken => unrecognized(),
            store::Error::ExpiredToken => {
                Self::new(Code::ExpiredToken, "The security token included in the request is expired")
            }
            error => Self { dependency: error.dependency(), ..Self::of_kind(error.kind(), &error) },
        }
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Missing | SignatureError::Unsigned => {
                Self::new(Code::IncompleteSignature, error.to_string())
            }
            SignatureError::Skewed => {
                Self::new(Code::InvalidSignature, format!("Signature expired or not yet current: {error}"))
            }
            SignatureError::Wrong => Self::new(
                Code::InvalidSignature,
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
            ),
        }
    }
}

/// Nobody has the access key, or the token does not belong to it.
pub(crate) fn unrecognized() -> Fault {
    Fault::new(Code::UnrecognizedClient, "The security token included in the request is invalid.")
}
