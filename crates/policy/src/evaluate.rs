//! One policy's answer, and the answer of all that bear on a request.
//!
//! Source: IAM User Guide, "Policy evaluation logic", "How AWS enforcement code logic evaluates
//! requests" and "Cross-account policy evaluation logic".

use crate::error::StatementId;
use crate::principal::Matched;
use crate::request::{Principal, Request};
use crate::{Effect, Policy, Statement};

/// What one policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'p> {
    /// A statement denies.
    Deny(&'p StatementId),
    /// A statement allows.
    Allow(&'p StatementId),
    /// A statement allows the caller's account, not the caller: it counts once the account's own
    /// policies allow the caller too ("AWS account principals": naming an account delegates to it).
    AllowAccount(&'p StatementId),
    /// No statement applies.
    None,
}

/// Which of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those of the user and its groups.
    Identity,
    /// Those of the session.
    Session,
    /// The bucket's, or the key's.
    Resource,
}

/// What the resource's policy and the caller's weigh against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A bucket of the caller's account: either that allows is enough.
    Either,
    /// A bucket of another account: both must.
    Both,
    /// A key of the caller's account: its own policy must, which may leave it to the account's by naming
    /// that ("Key policies in AWS KMS", "Default key policy"). An account's root is no exception.
    OfResource,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// It may go on.
    Allowed,
    /// It may not.
    Denied {
        /// A statement says so; otherwise none allows it.
        explicit: bool,
        /// The policies that deny, or in which an allowing statement is missing.
        by: Side,
        /// The statement that denies.
        statement: Option<&'p StatementId>,
    },
}

impl Verdict<'_> {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }

    /// Whether a statement denies it.
    pub fn explicit_denial(&self) -> bool {
        matches!(self, Self::Denied { explicit: true, .. })
    }
}

impl Policy {
    /// What this policy alone says. A denial wins over whatever else it says.
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        let action = request.action.to_ascii_lowercase();
        let mut decision = Decision::None;
        for statement in &self.statements {
            match (statement.effect, statement.applies(request, &action)) {
                (_, Matched::No) => {}
                (Effect::Deny, _) => return Decision::Deny(&statement.id),
                (Effect::Allow, Matched::Itself) => {
                    if !matches!(decision, Decision::Allow(_)) {
                        decision = Decision::Allow(&statement.id);
                    }
                }
                (Effect::Allow, Matched::Account) => {
                    if decision == Decision::None {
                        decision = Decision::AllowAccount(&statement.id);
                    }
                }
            }
        }
        decision
    }
}

impl Statement {
    /// `action` in small letters, as the patterns are.
    fn applies(&self, request: &Request<'_>, action: &str) -> Matched {
        let matched = self.principal.matches(self.effect, &request.principal);
        let applies = matched != Matched::No
            && self.actions.applies(|pattern| pattern.matches(action, request))
            && self.resources.applies(|pattern| pattern.matches(request.resource, request))
            && self.conditions.iter().all(|condition| condition.holds(request));
        if applies { matched } else { Matched::No }
    }
}

/// Decides a request.
///
/// * `identity`: the policies of the user and its groups; one that allows is enough.
/// * `session`: those of a session made with some; one of them must allow as well, so `Some(&[])` allows
///   nothing.
/// * `resource`: the bucket's policy, or the key's.
/// * `weight`: which of the two must allow.
///
/// A statement that denies wins over all. An account's root needs no policy of its own. Only the resource's
/// policy speaks of an anonymous caller.
///
/// Not here: S3 lets the root of the owning account read, replace and delete a bucket policy that denies
/// it that. Callers check for it before they ask.
pub fn evaluate<'p>(
    identity: &[&'p Policy],
    session: Option<&[&'p Policy]>,
    resource: Option<&'p Policy>,
    request: &Request<'_>,
    weight: Weight,
) -> Verdict<'p> {
    let known = !matches!(request.principal, Principal::Anonymous);
    let ask = |policies: &[&'p Policy]| -> Vec<Decision<'p>> { policies.iter().map(|p| p.decide(request)).collect() };
    let identity = if known { ask(identity) } else { Vec::new() };
    let session = session.filter(|_| known).map(ask);
    let resource = resource.map_or(Decision::None, |policy| policy.decide(request));

    let denials = (identity.iter().map(|d| (Side::Identity, d)))
        .chain(session.iter().flatten().map(|d| (Side::Session, d)))
        .chain([(Side::Resource, &resource)]);
    for (by, decision) in denials {
        if let Decision::Deny(statement) = decision {
            return Verdict::Denied { explicit: true, by, statement: Some(statement) };
        }
    }

    let missing = |by| Verdict::Denied { explicit: false, by, statement: None };
    let allows = |decisions: &[Decision<'_>]| decisions.iter().any(|d| matches!(d, Decision::Allow(_)));
    let by_identity = matches!(request.principal, Principal::Root(_)) || allows(&identity);
    let by_resource = matches!(resource, Decision::Allow(_));
    let by_resource_to_account = by_resource || matches!(resource, Decision::AllowAccount(_));
    match (known, weight) {
        (false, _) if !by_resource => return missing(Side::Resource),
        (true, Weight::Either) if !by_identity && !by_resource => return missing(Side::Identity),
        (true, Weight::Both) if !by_identity => return missing(Side::Identity),
        (true, Weight::Both | Weight::OfResource) if !by_resource_to_account => return missing(Side::Resource),
        (true, Weight::OfResource) if !by_identity && !by_resource => return missing(Side::Identity),
        _ => {}
    }
    match session {
        Some(session) if !allows(&session) => missing(Side::Session),
        _ => Verdict::Allowed,
    }
}
