//! Why a configuration is refused. The words are S3's where its answer is known.

use base::{Classify, ErrorKind};

use crate::{EVENTS_MAX, FILTER_LEN_MAX, ID_LEN_MAX, RULES_MAX};

/// The S3 error code that an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// `InvalidArgument`, 400.
    InvalidArgument,
    /// `MalformedXML`, 400.
    MalformedXml,
}

/// A configuration that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// More than [`RULES_MAX`].
    #[error("A bucket has at most {RULES_MAX} notification configurations")]
    RuleCount,
    /// A configuration without an event, or with more than [`EVENTS_MAX`].
    #[error("A notification configuration lists between 1 and {EVENTS_MAX} events")]
    EventCount,
    /// An event that S3 does not have.
    #[error("The event '{0}' is not supported for notifications")]
    Event(String),
    /// An id over [`ID_LEN_MAX`].
    #[error("The ID of a notification configuration has at most {ID_LEN_MAX} bytes")]
    IdLength,
    /// Two configurations of one id.
    #[error("Same ID used for multiple configurations. IDs must be unique")]
    IdTwice,
    /// A text that is no ARN of its kind, or too long for one.
    #[error("The ARN is not well formed: '{0}'")]
    Arn(String),
    /// An ARN that names no target of this server.
    #[error("Unable to validate the following destination configurations: '{0}'")]
    Destination(String),
    /// A prefix or suffix over [`FILTER_LEN_MAX`].
    #[error("Size of filter rule value cannot exceed {FILTER_LEN_MAX} bytes in UTF-8 representation")]
    FilterLength,
    /// Two configurations without filters list one event.
    #[error("Configurations overlap. Configurations on the same bucket cannot share a common event type.")]
    Overlap,
    /// Two configurations with filters could both be meant by one event.
    #[error(
        "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type."
    )]
    Ambiguous,
}

impl NotifyError {
    /// The code that goes with the message.
    pub fn code(&self) -> Code {
        match self {
            Self::EventCount => Code::MalformedXml,
            _ => Code::InvalidArgument,
        }
    }
}

impl Classify for NotifyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
