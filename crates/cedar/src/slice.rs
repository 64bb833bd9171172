//! Which policies could hold for a question, found by what their scope names instead of by asking each of them.

use std::collections::HashMap;

use cedar_policy::{EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::question::Asked;

/// Policies, as numbers, by what they must be about.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_resource: HashMap<EntityUid, Vec<usize>>,
    by_principal: HashMap<EntityUid, Vec<usize>>,
    /// Whose scope names neither.
    wide: Vec<usize>,
}

impl Index {
    /// `policies`: all of them, in order. One that names a portion is found by it alone, one that names a user, group or
    /// tenant by that: what its scope does not name at all, no question about it can meet.
    pub(crate) fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut index = Self::default();
        for (number, policy) in policies.enumerate() {
            let resource = match policy.resource_constraint() {
                ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                    Some(uid)
                }
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            };
            let principal = match policy.principal_constraint() {
                PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                    Some(uid)
                }
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            };
            match (resource, principal) {
                // A tenant is what all questions are about: the principal tells more.
                (Some(uid), principal) if uid.type_name().to_string() != "Tenant" || principal.is_none() => {
                    index.by_resource.entry(uid).or_default().push(number);
                }
                (_, Some(uid)) => index.by_principal.entry(uid).or_default().push(number),
                (_, None) => index.wide.push(number),
            }
        }
        index
    }

    /// The policies that could hold, each once: each is in one list.
    pub(crate) fn about<'a>(&'a self, asked: &'a Asked) -> impl Iterator<Item = usize> + 'a {
        let by_resource = [&asked.resource, &asked.tenant].into_iter().filter_map(|uid| self.by_resource.get(uid));
        let principals = std::iter::once(&asked.principal).chain(&asked.groups);
        let by_principal = principals.filter_map(|uid| self.by_principal.get(uid));
        by_resource.chain(by_principal).chain(std::iter::once(&self.wide)).flatten().copied()
    }
}
