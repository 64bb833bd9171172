//! Tables of decisions.

use super::question;
use crate::policies::Known;
use release::{Action, Decision, Outcome, Pend, Policies, Portion, Principal, Question, Terms, Via};

type Change = fn(Question<'static>) -> Question<'static>;

fn decide(text: &str, change: Change) -> Decision {
    Known::parse(&[("doc", text)]).unwrap_or_else(|error| panic!("{text}: {error}")).decide(&change(question()))
}

#[test]
fn scopes_and_conditions() {
    let same: Change = |q| q;
    let rows: [(&str, Change, bool); 25] = [
        ("", same, false),
        ("// permit(principal, action, resource);", same, false),
        ("permit(principal, action, resource);", same, true),
        ("forbid(principal, action, resource);", same, false),
        (
            "permit(principal, action, resource); forbid(principal, action, resource) when { context.temporary };",
            same,
            true,
        ),
        (
            "permit(principal, action, resource); forbid(principal, action, resource) when { context.temporary };",
            |mut q| {
                q.circumstances.temporary = true;
                q
            },
            false,
        ),
        (r#"permit(principal == User::"alice", action, resource);"#, same, true),
        (r#"permit(principal == User::"bob", action, resource);"#, same, false),
        (r#"permit(principal in Group::"apps", action, resource);"#, same, true),
        (r#"permit(principal in Group::"ops", action, resource);"#, same, false),
        (r#"permit(principal is User in Group::"night", action, resource);"#, same, true),
        (r#"permit(principal, action == Action::"open", resource);"#, same, true),
        (r#"permit(principal, action == Action::"seal", resource);"#, same, false),
        (r#"permit(principal, action == Action::"seal", resource);"#, |q| Question { action: Action::Seal, ..q }, true),
        (r#"permit(principal, action, resource == Portion::"users/7");"#, same, true),
        (r#"permit(principal, action, resource == Portion::"users/70");"#, same, false),
        (r#"permit(principal, action, resource in Tenant::"default");"#, same, true),
        (r#"permit(principal, action, resource in Tenant::"other");"#, same, false),
        (r#"permit(principal, action, resource) when { resource.name like "users/*" };"#, same, true),
        (
            r#"permit(principal, action, resource) when { resource.hasTag("pii") && resource.getTag("pii") == "yes" };"#,
            same,
            true,
        ),
        (
            r#"permit(principal, action, resource) when { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };"#,
            same,
            true,
        ),
        (
            r#"permit(principal, action, resource) when { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };"#,
            |mut q| {
                q.circumstances.address = None;
                q
            },
            false,
        ),
        (
            r#"permit(principal, action, resource) when { context.now.toTime() >= duration("9h") && context.now.toTime() < duration("17h") };"#,
            same,
            true,
        ),
        (
            r#"permit(principal, action, resource) when { context.via == "kms" };"#,
            |mut q| {
                q.circumstances.via = Via::Kms;
                q
            },
            true,
        ),
        (
            "permit(principal is User, action, resource);",
            |q| Question { principal: Principal { name: None, groups: &[], is_root: false }, ..q },
            false,
        ),
    ];
    for (text, change, released) in rows {
        let decision = decide(text, change);
        assert_eq!(matches!(decision.outcome, Outcome::Release(_)), released, "{text}: {decision:?}");
    }
}

#[test]
fn what_decided_is_told() {
    let text =
        r#"@id("all") permit(principal, action, resource); forbid(principal, action, resource == Portion::"users/8");"#;
    assert_eq!(decide(text, |q| q).by, ["doc#all"]);
    let at_8: Change = |q| Question { portion: Portion { name: "users/8", ..q.portion }, ..q };
    let denied = decide(text, at_8);
    assert_eq!((denied.outcome, denied.by), (Outcome::Deny, vec!["doc#2".to_owned()]));
    let nothing = decide(r#"permit(principal == User::"bob", action, resource);"#, |q| q);
    assert_eq!((nothing.outcome, nothing.by.len(), nothing.failed.len()), (Outcome::Deny, 0, 0));
}

#[test]
fn only_where_there_is_no_document_all_is_released() {
    assert_eq!(Known::parse(&[]).unwrap().decide(&question()), Decision::unruled());
    let empty = Known::parse(&[("a", ""), ("b", "// nothing")]).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.decide(&question()).outcome, Outcome::Deny);
}

/// What Cedar would do with the denial: skip it.
#[test]
fn a_policy_that_fails_denies() {
    let text = r#"permit(principal, action, resource);
        forbid(principal, action, resource) when { context.now.offset(duration("106751991167d")) > context.now };"#;
    let decision = decide(text, |q| q);
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.failed.len(), 1, "{decision:?}");
}

#[test]
fn terms_of_all_that_hold_add_up() {
    let terms = |text: &str| match decide(text, |q| q).outcome {
        Outcome::Release(terms) => terms,
        Outcome::Deny => panic!("{text} denies"),
    };
    assert_eq!(terms("permit(principal, action, resource);"), Terms::default());
    let wide = "permit(principal, action, resource);";
    let two =
        r#"@approvals("2") @approvers("sec") @after("30m") permit(principal in Group::"apps", action, resource);"#;
    let pend = Pend {
        approvals: 2,
        approvers: vec!["sec".to_owned()],
        after_ms: Some(1_800_000),
        floor_ms: 0,
        valid_ms: 8 * 3_600_000,
    };
    assert_eq!(terms(two).pend, Some(pend.clone()));
    assert_eq!(terms(&format!("{wide} {two}")).pend, Some(pend), "a wide permit does not take it back");
    let one = r#"@approvals("1") @approvers("ops") @valid("1h") permit(principal, action, resource);"#;
    let both = Pend {
        approvals: 2,
        approvers: vec!["ops".to_owned(), "sec".to_owned()],
        after_ms: None,
        floor_ms: 0,
        valid_ms: 3_600_000,
    };
    assert_eq!(terms(&format!("{one} {two}")).pend, Some(both), "time alone releases by both or not at all");

    let few = r#"@portions("10") @bytes("1GiB") permit(principal, action, resource);"#;
    let budget = terms(few).budget;
    assert_eq!((budget.portions.unwrap().get(), budget.bytes.unwrap().get(), budget.objects), (10, 1 << 30, None));
    let fewer = r#"@portions("3") @objects("5") @over("pend") permit(principal, action, resource);"#;
    assert!(terms(fewer).budget.step_up);
    let least = terms(&format!("{few} {fewer} {wide}")).budget;
    let limits = [least.portions, least.objects, least.bytes].map(|limit| limit.unwrap().get());
    assert_eq!((limits, least.step_up), ([3, 5, 1 << 30], false));
    assert!(terms(&format!("{wide} {fewer}")).budget.step_up, "who has no budget has no say");
    let elsewhere = r#"@portions("1") permit(principal == User::"bob", action, resource);"#;
    assert_eq!(terms(&format!("{wide} {elsewhere}")), Terms::default());
    assert!(terms(r#"@record("first") permit(principal, action, resource);"#).record_first);
}
