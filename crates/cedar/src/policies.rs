//! Policies of a tenant, parsed, checked and indexed; and what they decide.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Authorizer, Effect, Policy, PolicyId, PolicySet, ValidationMode};

use miette::Diagnostic;
use release::{Decision, Mistake, Mistakes, Outcome, Policies, Question, Terms};

use crate::question::Asked;
use crate::schema::VALIDATOR;
use crate::slice::Index;

/// All policies of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) policies: Vec<Policy>,
    /// Of each policy, by its number; of a `forbid` there are none.
    terms: Vec<Terms>,
    numbers: HashMap<PolicyId, usize>,
    index: Index,
    /// Whether there is a document. One that says nothing denies: an operator who empties it locks, and does not open.
    ruled: bool,
}

impl Known {
    pub(crate) fn parse(documents: &[(&str, &str)]) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let mut all = Self { ruled: !documents.is_empty(), ..Self::default() };
        for (name, text) in documents {
            all.add(name, text, &mut mistakes);
        }
        if !mistakes.is_empty() {
            return Err(Mistakes(mistakes));
        }
        all.numbers = all.policies.iter().enumerate().map(|(number, policy)| (policy.id().clone(), number)).collect();
        all.index = Index::of(all.policies.iter());
        Ok(all)
    }

    fn add(&mut self, document: &str, text: &str, mistakes: &mut Vec<Mistake>) {
        let set = match text.parse::<PolicySet>() {
            Ok(set) => set,
            Err(errors) => {
                mistakes.extend(errors.iter().map(|error| complaint(document, text, error)));
                return;
            }
        };
        let whole = |message: String| Mistake { document: document.to_owned(), line: None, message };
        if set.templates().next().is_some() {
            mistakes.push(whole("templates (?principal, ?resource) are not taken: write each policy out".to_owned()));
            return;
        }
        let checked = VALIDATOR.validate(&set, ValidationMode::Strict);
        mistakes.extend(checked.validation_errors().map(|error| complaint(document, text, error)));
        let mut names = HashSet::new();
        let mut policies: Vec<&Policy> = set.policies().collect();
        // Cedar calls them policy0, policy1 and so on, and gives them in no order.
        policies.sort_by_key(|policy| number_of(policy.id()));
        for (number, policy) in policies.into_iter().enumerate() {
            let name = policy.annotation("id").map_or_else(|| (number + 1).to_string(), str::to_owned);
            let of = |what: String| whole(format!("policy {name}: {what}"));
            if !names.insert(name.clone()) {
                mistakes.push(of("its @id is another's, too".to_owned()));
            }
            let terms = match policy.effect() {
                Effect::Permit => Terms::of(policy.annotations()),
                Effect::Forbid => forbidding(policy),
            };
            match terms {
                Ok(terms) => self.terms.push(terms),
                Err(what) => mistakes.push(of(what)),
            }
            self.policies.push(policy.new_id(PolicyId::new(format!("{document}#{name}"))));
        }
    }
}

impl Policies for Known {
    fn decide(&self, question: &Question<'_>) -> Decision {
        if !self.ruled {
            return Decision::unruled();
        }
        let deny = |by, failed| Decision { outcome: Outcome::Deny, by, failed };
        let Some(asked) = Asked::of(question) else {
            return deny(Vec::new(), vec!["the question cannot be put to Cedar".to_owned()]);
        };
        let mut slice = PolicySet::new();
        for number in self.index.about(&asked) {
            if slice.add(self.policies[number].clone()).is_err() {
                return deny(Vec::new(), vec!["two policies have one name".to_owned()]);
            }
        }
        let response = Authorizer::new().is_authorized(&asked.request, &slice, &asked.entities);
        let failed: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let mut by: Vec<&PolicyId> = response.diagnostics().reason().collect();
        by.sort();
        let names = by.iter().map(ToString::to_string).collect();
        if response.decision() == cedar_policy::Decision::Deny || !failed.is_empty() {
            return deny(names, failed);
        }
        let terms = by.iter().filter_map(|id| self.numbers.get(*id)).map(|number| self.terms[*number].clone());
        Decision { outcome: Outcome::Release(terms.fold(Terms::default(), Terms::and)), by: names, failed }
    }

    fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

/// Where a policy stands in its document.
fn number_of(id: &PolicyId) -> usize {
    let text: &str = id.as_ref();
    text.strip_prefix("policy").and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
}

/// A denial has no terms: it could look as if it waited for somebody.
fn forbidding(policy: &Policy) -> Result<Terms, String> {
    match policy.annotations().find(|(name, _)| !["id", "description"].contains(name)) {
        Some((name, _)) => Err(format!("a forbid takes no @{name}, only @id and @description")),
        None => Ok(Terms::default()),
    }
}

/// Cedar's complaint about `text`.
fn complaint(document: &str, text: &str, error: &dyn Diagnostic) -> Mistake {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let line = offset.and_then(|offset| text.get(..offset)).map(|before| before.matches('\n').count() + 1);
    let mut message = error.to_string();
    if let Some(help) = error.help() {
        message = format!("{message} ({help})");
    }
    Mistake { document: document.to_owned(), line, message }
}
