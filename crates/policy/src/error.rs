//! Why a document is no policy, in the words AWS uses.
//!
//! The messages are part of what clients see (`MalformedPolicy`, `MalformedPolicyDocument`), so they
//! follow AWS and not this project's own style.

use std::fmt;

use base::{Classify, ErrorKind};

/// The most characters of the document that a message repeats: enough to find the place, and no more
/// of a stranger's text than that in answers and logs.
const QUOTE_MAX: usize = 128;

/// Which statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementId {
    /// Its place in the policy, from 0.
    pub index: usize,
    /// Its `Sid`, unless it has none or an empty one.
    pub sid: Option<String>,
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => write!(f, "statement {} \"{}\"", self.index + 1, quote(sid)),
            None => write!(f, "statement {}", self.index + 1),
        }
    }
}

/// A document that is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// What is wrong; its text is what AWS says.
    pub reason: Reason,
    /// Where; `None` when the whole document is meant.
    pub statement: Option<StatementId>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.statement {
            Some(statement) => write!(f, "{} ({statement})", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for PolicyError {}

impl Classify for PolicyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl From<Reason> for PolicyError {
    fn from(reason: Reason) -> Self {
        Self { reason, statement: None }
    }
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It does not begin as a policy must.
    #[error("Policies must be valid JSON and the first byte must be '{{'")]
    NotAnObject,
    /// It begins well and is not JSON, or is nested too deeply.
    #[error("This policy contains invalid Json")]
    NotJson,
    /// It is longer than [`crate::DOCUMENT_BYTES_MAX`].
    #[error("Normalized policy document exceeds the maximum allowed size of {max} bytes.", max = crate::DOCUMENT_BYTES_MAX)]
    TooLarge,
    /// A JSON object names the same field twice; readers differ in which they believe.
    #[error("Duplicate field {0}")]
    DuplicateField(String),
    /// An element that the language does not have.
    #[error("Unknown field {0}")]
    UnknownField(String),
    /// An element that must be there.
    #[error("Missing required field {0}")]
    MissingField(&'static str),
    /// A bucket policy's statement without action or resource.
    #[error("Statement is missing required element")]
    MissingElement,
    /// A user's policy without actions.
    #[error("Policy statement must contain actions.")]
    NoActions,
    /// A user's policy without resources.
    #[error("Policy statement must contain resources.")]
    NoResources,
    /// A policy without statements.
    #[error("Could not parse the policy: Statement is empty!")]
    NoStatements,
    /// An element of the wrong JSON type, or two that exclude each other, in a bucket policy.
    #[error("Invalid policy syntax.")]
    Syntax,
    /// The same in a user's policy.
    #[error("Syntax errors in policy.")]
    IdentitySyntax,
    /// A version other than the two there are.
    #[error("The policy must contain a valid version string")]
    Version,
    /// Neither `Allow` nor `Deny`.
    #[error("Invalid effect: {0}")]
    Effect(String),
    /// Two statements of one name.
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    SidTwice,
    /// A `Sid` that IAM does not take.
    #[error(
        "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
    )]
    SidCharacters,
    /// A principal that is none.
    #[error("Invalid principal in policy")]
    Principal,
    /// A user's policy that names principals.
    #[error("Policy document should not specify a principal.")]
    PrincipalNotAllowed,
    /// An action that S3 does not have.
    #[error("Policy has invalid action")]
    Action,
    /// An action or a condition key without its service.
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    Vendor,
    /// A resource outside the bucket, or none.
    #[error("Policy has invalid resource")]
    Resource,
    /// A user's policy with a resource that is no ARN.
    #[error("Resource {0} must be in ARN format or \"*\".")]
    ResourceFormat(String),
    /// An action on objects where only the bucket is named, or the other way round.
    #[error("Action does not apply to any resource(s) in statement")]
    NotApplicable,
    /// An operator that there is not.
    #[error("Invalid Condition type : {0}")]
    ConditionType(String),
    /// A condition key that cannot be one, or that S3 does not have.
    #[error("Policy has an invalid condition key")]
    ConditionKey,
    /// A value that its operator cannot compare.
    #[error("Invalid value for Condition {operator}: {value}")]
    ConditionValue {
        /// The operator as it was written.
        operator: String,
        /// The value.
        value: String,
    },
    /// A pattern of more than [`crate::WILDCARDS_MAX`] wildcards.
    #[error("A pattern in the policy has more than {max} wildcards and variables.", max = crate::WILDCARDS_MAX)]
    Wildcards,
    /// A `${...}` that is not well formed.
    #[error("Invalid policy variable in {0}")]
    Variable(String),
}

/// A piece of the document for a message.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTE_MAX).collect()
}
