//! The access policy language of S3 and IAM: parse, validate, evaluate.
//!
//! [`Policy::parse`] reads a new document and refuses what AWS refuses, in AWS's words; [`Policy::stored`]
//! reads one that was taken once. [`Policy::decide`]
//! asks one policy about one [`Request`]; [`evaluate`] combines the policies that bear on a request.
//! [`is_public`] is the question that Block Public Access asks.
//!
//! Sources: IAM User Guide, "IAM JSON policy elements reference" and "Policy evaluation logic";
//! S3 User Guide, "Blocking public access to your Amazon S3 storage"; Service Authorization
//! Reference, "Actions, resources, and condition keys for Amazon S3". Where AWS is silent or leaves a
//! choice, the doc comment at the place says what was chosen.

mod actions;
mod condition;
mod error;
mod evaluate;
mod global;
mod json;
mod keys;
mod moment;
mod operator;
mod parse;
mod pattern;
mod principal;
mod public;
mod request;
mod resource;

pub use error::{PolicyError, Reason, StatementId};
pub use evaluate::{Decision, Side, Verdict, Weight, evaluate};
pub use global::Circumstances;
pub use public::is_public;
pub use request::{Account, Context, Principal, Request, Values};

use condition::Condition;
use pattern::Template;
use principal::PrincipalRule;
use resource::ArnPattern;

/// The most bytes of a document. S3's limit for a bucket policy ("Bucket policies": 20 KB). IAM's own
/// limits for inline policies are lower and count a user's policies together, so they are the caller's;
/// this one bounds what parsing and evaluation may cost.
pub const DOCUMENT_BYTES_MAX: usize = 20_480;

/// The most wildcards and variables of one pattern in a new policy: matching may take the time of their
/// number times the text's length. Paths with a date in question marks have half as many.
pub const WILDCARDS_MAX: usize = 32;

/// What a policy hangs on, which decides what it must and must not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A user or a group: the principal is whom it hangs on, so no statement names one.
    Identity,
    /// A bucket: every statement names its principals, and no resource lies elsewhere.
    Resource {
        /// The bucket's name.
        bucket: &'a str,
    },
    /// A key: every statement names its principals, who belong to the key's account, and the resource is the
    /// key, written `*`.
    Key {
        /// The account's id, twelve digits.
        account: &'a str,
    },
}

/// A policy that parsed: it says only what this crate understands.
#[derive(Debug, Clone)]
pub struct Policy {
    document: Box<[u8]>,
    id: Option<String>,
    statements: Vec<Statement>,
}

impl Policy {
    /// Exactly the bytes that were parsed; `GetBucketPolicy` returns what was put.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The policy that allows its bearer everything: what a right amounts to that was granted
    /// outside this language.
    pub fn allow_all() -> Self {
        let statement = Statement {
            id: StatementId { index: 0, sid: None },
            effect: Effect::Allow,
            principal: PrincipalRule::Bearer,
            actions: Rule::NotIn(Vec::new()),
            resources: Rule::In(vec![ArnPattern::Everything]),
            conditions: Vec::new(),
        };
        Self { document: Box::default(), id: None, statements: vec![statement] }
    }

    /// The ARNs of users, roles and sessions that its statements name.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| statement.principal.named())
    }

    /// The policy's `Id`, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone)]
struct Statement {
    id: StatementId,
    effect: Effect,
    principal: PrincipalRule,
    actions: Rule<Template>,
    resources: Rule<ArnPattern>,
    conditions: Vec<Condition>,
}

/// An element or its `Not` twin: `Action` and `NotAction`, `Resource` and `NotResource`.
#[derive(Debug, Clone)]
enum Rule<T> {
    In(Vec<T>),
    NotIn(Vec<T>),
}

impl<T> Rule<T> {
    fn items(&self) -> &[T] {
        match self {
            Self::In(items) | Self::NotIn(items) => items,
        }
    }

    fn applies(&self, matches: impl FnMut(&T) -> bool) -> bool {
        match self {
            Self::In(items) => items.iter().any(matches),
            Self::NotIn(items) => !items.iter().any(matches),
        }
    }
}
