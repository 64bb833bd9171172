//! A bucket's rules, as they were put.
//!
//! The model keeps what was written even where it makes no difference or makes no sense, so that
//! [`crate::validate()`] can refuse the one and `GetBucketLifecycleConfiguration` give back the other.

use serde::{Deserialize, Serialize};

use crate::Filter;

/// A bucket's lifecycle configuration, in the order in which it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules(pub Vec<Rule>);

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its `ID`; where the writer gave none, whoever reads the request draws one.
    pub id: String,
    /// `Status`: a rule that is not enabled stays and does nothing.
    pub enabled: bool,
    /// Which objects it is about.
    pub filter: Filter,
    /// What becomes of current versions and lonely delete markers.
    pub expiration: Option<Expiration>,
    /// What becomes of noncurrent versions.
    pub noncurrent: Option<Noncurrent>,
    /// `AbortIncompleteMultipartUpload`: days from an upload's beginning until its end.
    pub abort_uploads_days: Option<u32>,
    /// Whether it has a `Transition` or a `NoncurrentVersionTransition`. Nothing more is kept of them:
    /// there is one storage class, so [`crate::validate()`] refuses the rule.
    pub transitions: bool,
}

/// `Expiration`. A valid one has exactly one of its elements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiration {
    /// `Days` from the version's writing. An edge that reads a negative number puts 0 here, which is
    /// refused in the same words.
    pub days: Option<u32>,
    /// `Date`, in milliseconds since 1970.
    pub date_ms: Option<i64>,
    /// `ExpiredObjectDeleteMarker`; `false` is allowed and does nothing.
    pub delete_marker: Option<bool>,
}

impl Expiration {
    /// After so many days.
    pub fn days(days: u32) -> Self {
        Self { days: Some(days), ..Self::default() }
    }

    /// At a date.
    pub fn date(ms: i64) -> Self {
        Self { date_ms: Some(ms), ..Self::default() }
    }

    /// As soon as a delete marker is all that is left.
    pub fn delete_marker() -> Self {
        Self { delete_marker: Some(true), ..Self::default() }
    }
}

/// `NoncurrentVersionExpiration`. A valid one has `days`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noncurrent {
    /// `NoncurrentDays` from the moment at which a version stopped being the current one.
    pub days: Option<u32>,
    /// `NewerNoncurrentVersions`: how many noncurrent versions are kept, the newest first.
    pub newer_versions: Option<u32>,
}
