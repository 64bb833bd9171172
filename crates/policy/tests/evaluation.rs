//! Which statements apply, and what all policies together say.

mod common;

use common::{HERE, ROOT, THERE, allows, bucket, bucket_policy, context, identity, identity_policy, user};
use policy::{Decision, Policy, Principal, Request, Side, Values, Verdict, Weight, evaluate};

const KEY: &str = "arn:aws:s3:::b/k";

#[test]
fn actions() {
    for (element, action, expected) in [
        (r#""Action": "s3:GetObject""#, "s3:GetObject", true),
        (r#""Action": "s3:GetObject""#, "s3:GetObjectAcl", false),
        (r#""Action": "S3:GETobject""#, "s3:getObject", true),
        (r#""Action": "s3:Get*""#, "s3:GetObjectAcl", true),
        (r#""Action": "s3:Get*""#, "s3:PutObject", false),
        (r#""Action": "s3:*Object""#, "s3:PutObject", true),
        (r#""Action": "s3:?etObject""#, "s3:GetObject", true),
        (r#""Action": "s3:?etObject""#, "s3:PutObject", false),
        (r#""Action": ["s3:PutObject", "s3:GetObject"]"#, "s3:GetObject", true),
        (r#""Action": "*""#, "iam:GetUser", true),
        (r#""Action": "s3:*""#, "iam:GetUser", false),
        (r#""Action": "iam:Get*""#, "iam:GetUser", true),
        (r#""NotAction": "s3:DeleteObject""#, "s3:GetObject", true),
        (r#""NotAction": "s3:DeleteObject""#, "s3:deleteobject", false),
        (r#""NotAction": ["iam:*", "s3:Put*"]"#, "s3:PutObject", false),
        (r#""NotAction": "*""#, "s3:GetObject", false),
    ] {
        let policy = identity(&format!(r#"{{"Effect": "Allow", {element}, "Resource": "*"}}"#));
        assert_eq!(allows(&policy, user(HERE, "ann"), action, KEY, &Values::default()), expected, "{element} {action}");
    }
}

#[test]
fn resources() {
    for (element, resource, expected) in [
        (r#""Resource": "*""#, "arn:aws:s3:::b/k", true),
        (r#""Resource": "arn:aws:s3:::b""#, "arn:aws:s3:::b", true),
        (r#""Resource": "arn:aws:s3:::b""#, "arn:aws:s3:::b/k", false),
        (r#""Resource": "arn:aws:s3:::b/*""#, "arn:aws:s3:::b", false),
        (r#""Resource": "arn:aws:s3:::b/*""#, "arn:aws:s3:::b/x/y:z", true),
        (r#""Resource": "arn:aws:s3:::b*""#, "arn:aws:s3:::bc/k", true),
        (r#""Resource": "arn:aws:s3:::B/*""#, "arn:aws:s3:::b/k", false),
        (r#""Resource": "arn:aws:s3:::b/k?""#, "arn:aws:s3:::b/ké", true),
        (r#""Resource": "arn:aws:s3:*:*:b/k""#, "arn:aws:s3:::b/k", true),
        (r#""Resource": "arn:aws:sns:::b/k""#, "arn:aws:s3:::b/k", false),
        (r#""Resource": "arn:aws:s3:*:b:*:k""#, "arn:aws:s3:::b/k:b::k", false),
        (r#""Resource": ["arn:aws:s3:::c", "arn:aws:s3:::b"]"#, "arn:aws:s3:::b", true),
        (r#""Resource": "arn:aws:s3:::b/${aws:username}/*""#, "arn:aws:s3:::b/ann/k", true),
        (r#""Resource": "arn:aws:s3:::b/${aws:username}/*""#, "arn:aws:s3:::b/bob/k", false),
        (r#""Resource": "arn:aws:s3:::b/${aws:userid}""#, "arn:aws:s3:::b/AIDAEXAMPLE", true),
        (r#""Resource": "arn:aws:s3:::b/${s3:prefix}""#, "arn:aws:s3:::b/p*", true),
        (r#""Resource": "arn:aws:s3:::b/${s3:prefix}""#, "arn:aws:s3:::b/pq", false),
        (r#""Resource": "arn:aws:s3:::b/${aws:PrincipalTag/team}/*""#, "arn:aws:s3:::b//k", false),
        (r#""Resource": "arn:aws:s3:::b/${aws:PrincipalTag/team, 'all'}/*""#, "arn:aws:s3:::b/all/k", true),
        (r#""Resource": "arn:aws:s3:::b/${*}""#, "arn:aws:s3:::b/k", false),
        (r#""Resource": "arn:aws:s3:::b/${*}""#, "arn:aws:s3:::b/*", true),
        (r#""NotResource": "arn:aws:s3:::b/secret/*""#, "arn:aws:s3:::b/k", true),
        (r#""NotResource": "arn:aws:s3:::b/secret/*""#, "arn:aws:s3:::b/secret/k", false),
        (r#""NotResource": ["arn:aws:s3:::c", "arn:aws:s3:::b"]"#, "arn:aws:s3:::b", false),
    ] {
        let policy = identity(&format!(r#"{{"Effect": "Allow", "Action": "*", {element}}}"#));
        let values = context(&[("s3:prefix", "p*")]);
        let allowed = allows(&policy, user(HERE, "ann"), "s3:GetObject", resource, &values);
        assert_eq!(allowed, expected, "{element} {resource}");
    }
}

#[test]
fn the_old_version_has_no_variables() {
    for (version, resource, expected) in [
        (r#""Version": "2012-10-17","#, "arn:aws:s3:::b/ann", true),
        (r#""Version": "2008-10-17","#, "arn:aws:s3:::b/ann", false),
        (r#""Version": "2008-10-17","#, "arn:aws:s3:::b/${aws:username}", true),
        ("", "arn:aws:s3:::b/ann", false),
    ] {
        let policy = identity_policy(&format!(
            r#"{{{version} "Statement": {{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${{aws:username}}"}}}}"#
        ))
        .unwrap();
        assert_eq!(allows(&policy, user(HERE, "ann"), "s3:GetObject", resource, &Values::default()), expected);
    }
}

/// Whom a bucket policy's `Allow` and `Deny` are about: `A` allows (or denies), `a` allows the account
/// only, `-` says nothing. In order: nobody known, the root here, ann here, bob here, ann elsewhere.
#[test]
fn principals() {
    for (element, to_allow, to_deny) in [
        (r#""Principal": "*""#, "AAAAA", "AAAAA"),
        (r#""Principal": {"AWS": "*"}"#, "AAAAA", "AAAAA"),
        (r#""Principal": {"AWS": "111122223333"}"#, "-Aaa-", "-AAA-"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:root"}"#, "-Aaa-", "-AAA-"),
        (r#""Principal": {"CanonicalUser": "c0ffee"}"#, "-A---", "-A---"),
        (r#""Principal": {"CanonicalUser": "bob"}"#, "---A-", "---A-"),
        (r#""NotPrincipal": {"CanonicalUser": "bob"}"#, "AAA-A", "AAA-A"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}"#, "--A--", "--A--"),
        (r#""Principal": {"AWS": ["444455556666", "arn:aws:iam::111122223333:user/bob"]}"#, "---Aa", "---AA"),
        (r#""Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:user/ann"]}"#, "-AAa-", "-AAA-"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:role/ann"}"#, "-----", "-----"),
        (r#""Principal": {"Service": "logging.s3.amazonaws.com"}"#, "-----", "-----"),
        (r#""Principal": {"Federated": "ann"}"#, "-----", "-----"),
        (r#""NotPrincipal": "*""#, "-----", "-----"),
        (r#""NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/ann"}"#, "AA-AA", "AA-AA"),
        (
            r#""NotPrincipal": {"AWS": ["arn:aws:iam::111122223333:user/ann", "arn:aws:iam::111122223333:root"]}"#,
            "A---A",
            "A--AA",
        ),
        (r#""NotPrincipal": {"Service": "logging.s3.amazonaws.com"}"#, "AAAAA", "AAAAA"),
    ] {
        let all = [Principal::Anonymous, ROOT, user(HERE, "ann"), user(HERE, "bob"), user(THERE, "ann")];
        for (effect, expected) in [("Allow", to_allow), ("Deny", to_deny)] {
            let policy = bucket(&format!(
                r#"{{"Effect": "{effect}", {element}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}}"#
            ));
            let said = all.map(|principal| {
                let context = Values::default();
                match policy.decide(&Request { principal, action: "s3:GetObject", resource: KEY, context: &context }) {
                    Decision::Allow(_) | Decision::Deny(_) => 'A',
                    Decision::AllowAccount(_) => 'a',
                    Decision::None => '-',
                }
            });
            assert_eq!(String::from_iter(said), expected, "{effect} {element}");
        }
    }
}

/// What the policies of one side say about ann's request.
#[derive(Clone, Copy, Debug)]
enum Says {
    Allow,
    Account,
    Deny,
    /// A policy about other things.
    Else,
    /// No policy at all.
    Missing,
}

fn side(says: Says, is_bucket: bool) -> Option<Policy> {
    let (effect, action, who) = match says {
        Says::Allow => ("Allow", "s3:GetObject", "*"),
        Says::Account => ("Allow", "s3:GetObject", "111122223333"),
        Says::Deny => ("Deny", "s3:GetObject", "*"),
        Says::Else => ("Allow", "s3:PutObject", "*"),
        Says::Missing => return None,
    };
    let principal = if is_bucket { format!(r#""Principal": {{"AWS": "{who}"}}, "#) } else { String::new() };
    let statement = format!(
        r#"{{"Sid": "S", "Effect": "{effect}", {principal}"Action": "{action}", "Resource": "arn:aws:s3:::b/*"}}"#
    );
    Some(if is_bucket { bucket(&statement) } else { identity(&statement) })
}

#[test]
fn all_policies_together() {
    use Says::{Account, Allow, Deny, Else, Missing};
    let ann = user(HERE, "ann");
    let (identity, session, resource) = (Side::Identity, Side::Session, Side::Resource);
    // Who, identity, session, bucket, same account, who denies and whether a statement does.
    for (who, by_user, by_session, by_bucket, same, expected) in [
        // In one account either is enough.
        (ann, Allow, Missing, Missing, true, None),
        (ann, Missing, Missing, Allow, true, None),
        (ann, Else, Missing, Allow, true, None),
        (ann, Allow, Missing, Else, true, None),
        (ann, Allow, Missing, Allow, true, None),
        (ann, Missing, Missing, Missing, true, Some((false, identity))),
        (ann, Else, Missing, Else, true, Some((false, identity))),
        // An account may pass on what it was granted, and has to.
        (ann, Missing, Missing, Account, true, Some((false, identity))),
        (ann, Allow, Missing, Account, true, None),
        (ann, Allow, Missing, Account, false, None),
        (ann, Missing, Missing, Account, false, Some((false, identity))),
        // Across accounts it takes both.
        (ann, Allow, Missing, Allow, false, None),
        (ann, Allow, Missing, Missing, false, Some((false, resource))),
        (ann, Allow, Missing, Else, false, Some((false, resource))),
        (ann, Missing, Missing, Allow, false, Some((false, identity))),
        (ann, Else, Missing, Else, false, Some((false, identity))),
        // A denial wins, wherever it is.
        (ann, Deny, Missing, Allow, true, Some((true, identity))),
        (ann, Allow, Missing, Deny, true, Some((true, resource))),
        (ann, Allow, Deny, Allow, true, Some((true, session))),
        (ann, Deny, Missing, Allow, false, Some((true, identity))),
        (ann, Allow, Missing, Deny, false, Some((true, resource))),
        (ann, Missing, Missing, Deny, true, Some((true, resource))),
        // A session can do no more than its policies say, nor than the user could.
        (ann, Allow, Allow, Missing, true, None),
        (ann, Allow, Else, Missing, true, Some((false, session))),
        (ann, Missing, Allow, Missing, true, Some((false, identity))),
        (ann, Missing, Allow, Allow, true, None),
        (ann, Missing, Else, Allow, true, Some((false, session))),
        (ann, Allow, Allow, Allow, false, None),
        (ann, Allow, Else, Allow, false, Some((false, session))),
        // A root needs no policy of its own.
        (ROOT, Missing, Missing, Missing, true, None),
        (ROOT, Missing, Missing, Else, true, None),
        (ROOT, Missing, Missing, Deny, true, Some((true, resource))),
        (ROOT, Missing, Missing, Missing, false, Some((false, resource))),
        (ROOT, Missing, Missing, Allow, false, None),
        (ROOT, Missing, Missing, Account, false, None),
        (ROOT, Missing, Else, Missing, true, Some((false, session))),
        // Of a stranger, only the bucket's policy speaks.
        (Principal::Anonymous, Missing, Missing, Missing, false, Some((false, resource))),
        (Principal::Anonymous, Missing, Missing, Allow, false, None),
        (Principal::Anonymous, Missing, Missing, Else, false, Some((false, resource))),
        (Principal::Anonymous, Missing, Missing, Account, false, Some((false, resource))),
        (Principal::Anonymous, Missing, Missing, Deny, false, Some((true, resource))),
        (Principal::Anonymous, Allow, Allow, Missing, true, Some((false, resource))),
        (Principal::Anonymous, Deny, Deny, Allow, true, None),
    ] {
        let (user, session, bucket) = (side(by_user, false), side(by_session, false), side(by_bucket, true));
        let (user, session): (Vec<&Policy>, Vec<&Policy>) = (user.iter().collect(), session.iter().collect());
        let session = (!session.is_empty()).then_some(session.as_slice());
        let values = Values::default();
        let request = Request { principal: who, action: "s3:GetObject", resource: KEY, context: &values };
        let denied =
            match evaluate(&user, session, bucket.as_ref(), &request, if same { Weight::Either } else { Weight::Both })
            {
                Verdict::Allowed => None,
                Verdict::Denied { explicit, by, statement } => {
                    assert_eq!(statement.and_then(|id| id.sid.as_deref()), explicit.then_some("S"));
                    Some((explicit, by))
                }
            };
        assert_eq!(denied, expected, "{who:?}: {by_user:?}, {by_session:?}, {by_bucket:?}, same account: {same}");
    }
}

#[test]
fn several_policies_of_a_side() {
    let (allow, deny, other) = (side(Says::Allow, false), side(Says::Deny, false), side(Says::Else, false));
    let (allow, deny, other) = (&allow.unwrap(), &deny.unwrap(), &other.unwrap());
    let values = Values::default();
    let request = Request { principal: user(HERE, "ann"), action: "s3:GetObject", resource: KEY, context: &values };
    let allowed = |identity: &[&Policy], session: Option<&[&Policy]>| {
        evaluate(identity, session, None, &request, Weight::Either).is_allowed()
    };
    assert!(allowed(&[other, allow], None), "one that allows is enough");
    assert!(!allowed(&[allow, other, deny], None), "one that denies is enough");
    assert!(allowed(&[allow], Some(&[other, allow])));
    assert!(!allowed(&[allow], Some(&[])), "a session with no policy to allow it");
}

#[test]
fn statements_of_one_policy() {
    let policy = bucket_policy(
        r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "Account", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"},
            {"Sid": "Ann", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}, "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"},
            {"Effect": "Deny", "Principal": "*", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::b/*"},
            {"Sid": "Tls", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
             "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        ]}"#,
    )
    .unwrap();
    for (name, action, tls, expected) in [
        ("ann", "s3:GetObject", "true", "Allow Ann"),
        ("bob", "s3:GetObject", "true", "AllowAccount Account"),
        ("ann", "s3:DeleteObject", "true", "Deny #2"),
        ("ann", "s3:GetObject", "false", "Deny Tls"),
        ("bob", "iam:GetUser", "true", "None"),
    ] {
        let values = context(&[("aws:SecureTransport", tls)]);
        let request = Request { principal: user(HERE, name), action, resource: KEY, context: &values };
        let (word, id) = match policy.decide(&request) {
            Decision::Allow(id) => ("Allow ", Some(id)),
            Decision::AllowAccount(id) => ("AllowAccount ", Some(id)),
            Decision::Deny(id) => ("Deny ", Some(id)),
            Decision::None => ("None", None),
        };
        let name = id.map(|id| id.sid.clone().unwrap_or_else(|| format!("#{}", id.index))).unwrap_or_default();
        assert_eq!(format!("{word}{name}"), expected);
    }
}
