//! Why rules are refused, in the words S3 uses.
//!
//! Clients see the messages, so they follow S3 where its answer is known and not this project's style.
//! S3 answers every breach of its schema with one sentence under `MalformedXML`; here such a message
//! says what is wrong, and the code is S3's.

use base::{Classify, ErrorKind};

use crate::{FILTER_SIZE_MAX, ID_LEN_MAX, NEWER_VERSIONS_MAX, PREFIX_LEN_MAX};
use crate::{RULES_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};

/// The S3 error code that an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// `InvalidArgument`, 400.
    InvalidArgument,
    /// `InvalidRequest`, 400.
    InvalidRequest,
    /// `MalformedXML`, 400.
    MalformedXml,
    /// `NotImplemented`, 501.
    NotImplemented,
}

/// Rules that are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// None at all, or more than [`RULES_MAX`].
    #[error("A lifecycle configuration must have between 1 and {RULES_MAX} rules")]
    RuleCount,
    /// An id over [`ID_LEN_MAX`].
    #[error("ID length should not exceed allowed limit of {ID_LEN_MAX}")]
    IdLength,
    /// Two rules of one id.
    #[error("Rule ID must be unique. Found same ID for more than one rule")]
    IdTwice,
    /// A rule that does nothing.
    #[error("At least one action needs to be specified in a rule")]
    NoAction,
    /// A rule that moves versions to another storage class.
    #[error("Transitions are not implemented: there is one storage class. Remove them from the rule")]
    Transition,
    /// Neither `Filter` nor `Prefix`.
    #[error("A rule must have a Filter; an empty one selects every object")]
    NoFilter,
    /// A filter whose elements its form cannot hold.
    #[error("A Filter must have at most one of Prefix, Tag, ObjectSizeGreaterThan, ObjectSizeLessThan and And")]
    FilterElements,
    /// An `And` of fewer than two.
    #[error("An And must have two or more of Prefix, Tag, ObjectSizeGreaterThan and ObjectSizeLessThan")]
    AndElements,
    /// A rule with a filter after one with a prefix of its own.
    #[error("Filter element can only be used in Lifecycle V2.")]
    FilterAmongPrefixes,
    /// A rule with a prefix of its own after one with a filter.
    #[error("Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.")]
    PrefixAmongFilters,
    /// A prefix over [`PREFIX_LEN_MAX`].
    #[error("The maximum size of a prefix is {PREFIX_LEN_MAX}")]
    PrefixLength,
    /// A tag with an empty key, or a key over [`TAG_KEY_CHARS_MAX`].
    #[error("A Tag's Key must be a length between 1 and {TAG_KEY_CHARS_MAX}")]
    TagKey,
    /// A tag whose value is over [`TAG_VALUE_CHARS_MAX`].
    #[error("A Tag's Value must be a length between 0 and {TAG_VALUE_CHARS_MAX}")]
    TagValue,
    /// Two tags of one key, which no object has.
    #[error("Duplicate Tag Keys are not allowed.")]
    TagTwice,
    /// A size over [`FILTER_SIZE_MAX`].
    #[error("'ObjectSizeGreaterThan' should be between 0 and {FILTER_SIZE_MAX}.")]
    SizeGreater,
    /// The same, or below 1, which no object is.
    #[error("'ObjectSizeLessThan' should be between 1 and {FILTER_SIZE_MAX}.")]
    SizeLess,
    /// Two sizes with nothing between them.
    #[error("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")]
    SizeOrder,
    /// An `Expiration` of no element, or of two.
    #[error("An Expiration must have exactly one of Days, Date and ExpiredObjectDeleteMarker")]
    ExpirationElements,
    /// `Days` of 0.
    #[error("'Days' for Expiration action must be a positive integer")]
    ExpirationDays,
    /// A date within a day.
    #[error("'Date' must be at midnight GMT")]
    ExpirationDate,
    /// A delete marker has no tags to select it by.
    #[error("ExpiredObjectDeleteMarker cannot be specified with Tags.")]
    DeleteMarkerTags,
    /// A delete marker has no size to select it by.
    #[error("ExpiredObjectDeleteMarker cannot be specified with Object Size.")]
    DeleteMarkerSize,
    /// A `NoncurrentVersionExpiration` without days.
    #[error("A NoncurrentVersionExpiration must have NoncurrentDays")]
    NoNoncurrentDays,
    /// `NoncurrentDays` of 0.
    #[error("'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")]
    NoncurrentDays,
    /// `NewerNoncurrentVersions` of 0.
    #[error("'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be a positive integer")]
    NewerVersions,
    /// More of them than [`NEWER_VERSIONS_MAX`].
    #[error("'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must not exceed {NEWER_VERSIONS_MAX}")]
    NewerVersionsTooMany,
    /// A number of versions in a rule with a prefix of its own.
    #[error("NewerNoncurrentVersions element can only be used in Lifecycle V2.")]
    NewerVersionsLegacy,
    /// `DaysAfterInitiation` of 0.
    #[error("'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")]
    AbortDays,
    /// An upload has no tags to select it by.
    #[error("AbortIncompleteMultipartUpload cannot be specified with Tags.")]
    AbortTags,
    /// An upload has no size to select it by.
    #[error("AbortIncompleteMultipartUpload cannot be specified with Object Size.")]
    AbortSize,
}

impl LifecycleError {
    /// The code that goes with the message.
    pub fn code(self) -> Code {
        match self {
            Self::RuleCount
            | Self::NoFilter
            | Self::FilterElements
            | Self::AndElements
            | Self::ExpirationElements
            | Self::NoNoncurrentDays => Code::MalformedXml,
            Self::IdLength
            | Self::IdTwice
            | Self::ExpirationDays
            | Self::ExpirationDate
            | Self::NoncurrentDays
            | Self::NewerVersions
            | Self::NewerVersionsTooMany
            | Self::AbortDays => Code::InvalidArgument,
            Self::Transition => Code::NotImplemented,
            Self::NoAction
            | Self::FilterAmongPrefixes
            | Self::PrefixAmongFilters
            | Self::PrefixLength
            | Self::TagKey
            | Self::TagValue
            | Self::TagTwice
            | Self::SizeGreater
            | Self::SizeLess
            | Self::SizeOrder
            | Self::DeleteMarkerTags
            | Self::DeleteMarkerSize
            | Self::NewerVersionsLegacy
            | Self::AbortTags
            | Self::AbortSize => Code::InvalidRequest,
        }
    }
}

impl Classify for LifecycleError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
