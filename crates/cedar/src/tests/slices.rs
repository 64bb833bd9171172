//! A slice decides what all policies would.

use cedar_policy::{Authorizer, PolicySet};
use proptest::prelude::*;

use super::question;
use crate::policies::Known;
use crate::question::Asked;
use release::{Outcome, Policies, Portion, Principal, Question};

fn policy() -> impl Strategy<Value = String> {
    let effects = prop_oneof![4 => Just("permit"), 1 => Just("forbid")];
    let principals = prop::sample::select(vec![
        "principal",
        "principal is User",
        "principal == User::\"alice\"",
        "principal == User::\"bob\"",
        "principal in Group::\"apps\"",
        "principal in Group::\"ops\"",
        "principal in User::\"alice\"",
        "principal is User in Group::\"night\"",
    ]);
    let resources = prop::sample::select(vec![
        "resource",
        "resource is Portion",
        "resource == Portion::\"users/7\"",
        "resource == Portion::\"users/8\"",
        "resource in Tenant::\"default\"",
        "resource in Tenant::\"other\"",
        "resource in Portion::\"users/7\"",
        "resource is Portion in Tenant::\"default\"",
    ]);
    (effects, principals, resources).prop_map(|(effect, who, what)| format!("{effect}({who}, action, {what});"))
}

proptest! {
    #[test]
    fn decides_what_all_would(
        policies in prop::collection::vec(policy(), 1..12),
        name in prop::sample::select(vec![Some("alice"), Some("bob"), None]),
        portion in prop::sample::select(vec!["users/7", "users/8"]),
        member in any::<bool>(),
    ) {
        let text = policies.join("\n");
        let groups = if member && name.is_some() { question().principal.groups } else { &[] };
        let question = Question {
            principal: Principal { name, groups, is_root: false },
            portion: Portion { name: portion, ..question().portion },
            ..question()
        };
        let asked = Asked::of(&question).unwrap();
        let all: PolicySet = text.parse().unwrap();
        let whole = Authorizer::new().is_authorized(&asked.request, &all, &asked.entities);
        let decision = Known::parse(&[("doc", text.as_str())]).unwrap().decide(&question);
        let released = matches!(decision.outcome, Outcome::Release(_));
        prop_assert_eq!(released, whole.decision() == cedar_policy::Decision::Allow);
        prop_assert_eq!(decision.by.len(), whole.diagnostics().reason().count());
    }
}
