//! Every operator of conditions, alone and with `IfExists` and the set forms.

mod common;

use common::{HERE, allows, context, identity, user};
use std::borrow::Cow;

use policy::{Context, Decision, Principal, Request};

/// The operator, the key, the policy's values, the request's values, whether the condition holds.
type Case<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], bool);

fn check(cases: &[Case<'_>]) {
    for (operator, key, wanted, values, expected) in cases {
        let policy = identity(&format!(
            r#"{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {{"{operator}": {{"{key}": {wanted}}}}}}}"#
        ));
        let holds = allows(&policy, user(HERE, "ann"), "s3:GetObject", "arn:aws:s3:::b/k", &context(values));
        assert_eq!(holds, *expected, "{operator} {key} {wanted} on {values:?}");
    }
}

#[test]
fn strings() {
    check(&[
        ("StringEquals", "s3:prefix", r#""a""#, &[("s3:prefix", "a")], true),
        ("StringEquals", "s3:prefix", r#""a""#, &[("s3:prefix", "A")], false),
        ("StringEquals", "s3:prefix", r#"["x", "a"]"#, &[("s3:prefix", "a")], true),
        ("StringEquals", "s3:prefix", r#""a*""#, &[("s3:prefix", "ab")], false),
        ("StringEquals", "s3:prefix", r#""a*""#, &[("s3:prefix", "a*")], true),
        ("StringEquals", "s3:prefix", r#""""#, &[("s3:prefix", "")], true),
        ("StringEquals", "s3:prefix", r#""a""#, &[], false),
        ("StringEquals", "s3:max-keys", "10", &[("s3:max-keys", "10")], true),
        ("StringNotEquals", "s3:prefix", r#""a""#, &[("s3:prefix", "b")], true),
        ("StringNotEquals", "s3:prefix", r#"["a", "b"]"#, &[("s3:prefix", "b")], false),
        ("StringNotEquals", "s3:prefix", r#""a""#, &[], true),
        ("StringEqualsIgnoreCase", "s3:prefix", r#""aÉ""#, &[("s3:prefix", "Aé")], true),
        ("StringEqualsIgnoreCase", "s3:prefix", r#""a""#, &[("s3:prefix", "b")], false),
        ("StringNotEqualsIgnoreCase", "s3:prefix", r#""a""#, &[("s3:prefix", "A")], false),
        ("StringNotEqualsIgnoreCase", "s3:prefix", r#""a""#, &[("s3:prefix", "b")], true),
        ("StringLike", "s3:prefix", r#""home/*/x?""#, &[("s3:prefix", "home/a/b/xy")], true),
        ("StringLike", "s3:prefix", r#""home/*""#, &[("s3:prefix", "Home/a")], false),
        ("StringNotLike", "s3:prefix", r#""home/*""#, &[("s3:prefix", "home/a")], false),
        ("StringNotLike", "s3:prefix", r#""home/*""#, &[("s3:prefix", "else")], true),
        ("StringNotLike", "s3:prefix", r#""home/*""#, &[], true),
    ]);
}

#[test]
fn numbers() {
    let ten: &[(&str, &str)] = &[("s3:max-keys", "10")];
    check(&[
        ("NumericEquals", "s3:max-keys", r#""10.0""#, ten, true),
        ("NumericEquals", "s3:max-keys", "11", ten, false),
        ("NumericEquals", "s3:max-keys", "10", &[("s3:max-keys", "ten")], false),
        ("NumericEquals", "s3:max-keys", "10", &[("s3:max-keys", "NaN")], false),
        ("NumericNotEquals", "s3:max-keys", "11", ten, true),
        ("NumericNotEquals", "s3:max-keys", "10", ten, false),
        ("NumericNotEquals", "s3:max-keys", "10", &[], true),
        ("NumericLessThan", "s3:max-keys", "11", ten, true),
        ("NumericLessThan", "s3:max-keys", "10", ten, false),
        ("NumericLessThan", "s3:max-keys", "9", ten, false),
        ("NumericLessThanEquals", "s3:max-keys", "10", ten, true),
        ("NumericLessThanEquals", "s3:max-keys", "9.5", ten, false),
        ("NumericGreaterThan", "s3:max-keys", "-1", ten, true),
        ("NumericGreaterThan", "s3:max-keys", "10", ten, false),
        ("NumericGreaterThanEquals", "s3:max-keys", "10", ten, true),
        ("NumericGreaterThanEquals", "s3:max-keys", "1e1", &[], false),
    ]);
}

#[test]
fn dates() {
    let now: &[(&str, &str)] = &[("aws:CurrentTime", "2024-05-01T12:00:00Z")];
    let epoch: &[(&str, &str)] = &[("aws:EpochTime", "1714564800")];
    check(&[
        ("DateEquals", "aws:CurrentTime", r#""2024-05-01T14:00:00+02:00""#, now, true),
        ("DateEquals", "aws:CurrentTime", "1714564800", now, true),
        ("DateEquals", "aws:EpochTime", r#""2024-05-01T12:00:00Z""#, epoch, true),
        ("DateNotEquals", "aws:CurrentTime", r#""2024-05-01""#, now, true),
        ("DateNotEquals", "aws:CurrentTime", r#""2024-05-01T12:00Z""#, now, false),
        ("DateLessThan", "aws:CurrentTime", r#""2024-05-02""#, now, true),
        ("DateLessThan", "aws:CurrentTime", r#""2024-05-01""#, now, false),
        ("DateLessThanEquals", "aws:CurrentTime", r#""2024-05-01T12:00:00Z""#, now, true),
        ("DateGreaterThan", "aws:CurrentTime", r#""2024""#, now, true),
        ("DateGreaterThan", "aws:CurrentTime", r#""2024-05-01T12:00:00Z""#, now, false),
        ("DateGreaterThanEquals", "aws:CurrentTime", r#""2024-05-01T12:00:00Z""#, now, true),
        ("DateGreaterThanEquals", "aws:CurrentTime", r#""2024-05-01T12:00:00Z""#, &[], false),
    ]);
}

#[test]
fn booleans_bytes_and_presence() {
    let tls: &[(&str, &str)] = &[("aws:SecureTransport", "true")];
    check(&[
        ("Bool", "aws:SecureTransport", r#""true""#, tls, true),
        ("Bool", "aws:SecureTransport", "true", tls, true),
        ("Bool", "aws:SecureTransport", r#""FALSE""#, tls, false),
        ("Bool", "aws:SecureTransport", r#""false""#, &[], false),
        ("Bool", "aws:SecureTransport", r#"[true, false]"#, tls, true),
        ("BinaryEquals", "x:key", r#""QmluYXJ5""#, &[("x:key", "QmluYXJ5")], true),
        ("BinaryEquals", "x:key", r#""QmluYXJ5""#, &[("x:key", "Qmlu")], false),
        ("BinaryEquals", "x:key", r#""QmluYXJ5""#, &[("x:key", "not base64!")], false),
        ("Null", "s3:prefix", r#""true""#, &[], true),
        ("Null", "s3:prefix", r#""true""#, &[("s3:prefix", "")], false),
        ("Null", "s3:prefix", "false", &[("s3:prefix", "")], true),
        ("Null", "s3:prefix", "false", &[], false),
        ("Null", "s3:prefix", "[true, false]", &[], true),
        ("Null", "aws:username", "false", &[], true),
    ]);
}

#[test]
fn addresses() {
    let v4: &[(&str, &str)] = &[("aws:SourceIp", "203.0.113.7")];
    let v6: &[(&str, &str)] = &[("aws:SourceIp", "2001:db8::7")];
    check(&[
        ("IpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, v4, true),
        ("IpAddress", "aws:SourceIp", r#""203.0.113.7""#, v4, true),
        ("IpAddress", "aws:SourceIp", r#""203.0.113.9/24""#, v4, true),
        ("IpAddress", "aws:SourceIp", r#""198.51.100.0/24""#, v4, false),
        ("IpAddress", "aws:SourceIp", r#"["198.51.100.0/24", "2001:db8::/32"]"#, v6, true),
        ("IpAddress", "aws:SourceIp", r#""2001:db8::7""#, v6, true),
        ("IpAddress", "aws:SourceIp", r#""0.0.0.0/0""#, v6, false),
        ("IpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, &[("aws:SourceIp", "::ffff:203.0.113.7")], true),
        ("IpAddress", "aws:SourceIp", r#""0.0.0.0/0""#, &[("aws:SourceIp", "here")], false),
        ("IpAddress", "aws:SourceIp", r#""0.0.0.0/0""#, &[], false),
        ("NotIpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, v4, false),
        ("NotIpAddress", "aws:SourceIp", r#"["198.51.100.0/24", "192.0.2.0/24"]"#, v4, true),
        ("NotIpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, &[], true),
    ]);
}

#[test]
fn arns() {
    let topic: &[(&str, &str)] = &[("aws:SourceArn", "arn:aws:sns:eu-west-1:111122223333:a:b")];
    check(&[
        ("ArnEquals", "aws:SourceArn", r#""arn:aws:sns:eu-west-1:111122223333:a:b""#, topic, true),
        ("ArnEquals", "aws:SourceArn", r#""arn:aws:sns:*:111122223333:a*""#, topic, true),
        ("ArnLike", "aws:SourceArn", r#""arn:aws:sns:eu-west-?:111122223333:*""#, topic, true),
        // A wildcard stays in its part.
        ("ArnLike", "aws:SourceArn", r#""arn:aws:*:111122223333:a:b""#, topic, false),
        ("ArnLike", "aws:SourceArn", r#""*""#, topic, true),
        ("ArnLike", "aws:SourceArn", r#""arn:aws:s3:::*""#, &[("aws:SourceArn", "no arn")], false),
        ("ArnLike", "aws:PrincipalArn", r#""arn:aws:iam::*:user/${aws:username}""#, &[], true),
        ("ArnNotEquals", "aws:SourceArn", r#""arn:aws:s3:::b""#, topic, true),
        ("ArnNotLike", "aws:SourceArn", r#""arn:aws:sns:*:*:*""#, topic, false),
        ("ArnNotLike", "aws:SourceArn", r#""arn:aws:sns:*:*:*""#, &[], true),
        ("ArnLike", "aws:SourceArn", r#""arn:aws:sns:*:*:*""#, &[], false),
    ]);
}

#[test]
fn if_exists_holds_without_the_key() {
    let operators = [
        ("StringEquals", r#""a""#),
        ("StringNotEquals", r#""a""#),
        ("StringEqualsIgnoreCase", r#""a""#),
        ("StringNotEqualsIgnoreCase", r#""a""#),
        ("StringLike", r#""a""#),
        ("StringNotLike", r#""a""#),
        ("NumericEquals", "1"),
        ("NumericGreaterThanEquals", "1"),
        ("DateLessThan", r#""2024""#),
        ("Bool", "true"),
        ("BinaryEquals", r#""QQ==""#),
        ("IpAddress", r#""10.0.0.0/8""#),
        ("NotIpAddress", r#""10.0.0.0/8""#),
        ("ArnLike", r#""arn:aws:s3:::b""#),
        ("ForAnyValue:StringEquals", r#""a""#),
        ("ForAllValues:StringEquals", r#""a""#),
    ];
    for (operator, wanted) in operators {
        check(&[(&format!("{operator}IfExists"), "x:key", wanted, &[], true)]);
    }
    check(&[
        ("StringEqualsIfExists", "x:key", r#""a""#, &[("x:key", "b")], false),
        ("StringEqualsIfExists", "x:key", r#""a""#, &[("x:key", "a")], true),
        ("StringNotEqualsIfExists", "x:key", r#""a""#, &[("x:key", "a")], false),
        ("NumericLessThanIfExists", "x:key", "5", &[("x:key", "9")], false),
        ("BoolIfExists", "x:key", "true", &[("x:key", "false")], false),
        ("IpAddressIfExists", "x:key", r#""10.0.0.0/8""#, &[("x:key", "11.0.0.1")], false),
        ("ForAnyValue:StringEqualsIfExists", "x:key", r#""a""#, &[("x:key", "b")], false),
    ]);
}

#[test]
fn sets() {
    const KEY: &str = "s3:RequestObjectTagKeys";
    let ab: &[(&str, &str)] = &[(KEY, "a"), (KEY, "b")];
    check(&[
        ("ForAllValues:StringEquals", KEY, r#"["a", "b", "c"]"#, ab, true),
        ("ForAllValues:StringEquals", KEY, r#""a""#, ab, false),
        ("ForAllValues:StringEquals", KEY, r#""a""#, &[], true),
        ("ForAllValues:StringNotEquals", KEY, r#""c""#, ab, true),
        ("ForAllValues:StringNotEquals", KEY, r#""a""#, ab, false),
        ("ForAllValues:StringLike", KEY, r#""?""#, ab, true),
        ("ForAnyValue:StringEquals", KEY, r#"["b", "c"]"#, ab, true),
        ("ForAnyValue:StringEquals", KEY, r#""c""#, ab, false),
        ("ForAnyValue:StringEquals", KEY, r#""c""#, &[], false),
        ("ForAnyValue:StringNotEquals", KEY, r#""a""#, ab, true),
        ("ForAnyValue:StringNotEquals", KEY, r#"["a", "b"]"#, ab, false),
        ("ForAnyValue:StringNotEquals", KEY, r#""a""#, &[], false),
        ("ForAnyValue:IpAddress", KEY, r#""10.0.0.0/8""#, &[(KEY, "a"), (KEY, "10.1.2.3")], true),
        // Without a set form: one that fits, or none that is named.
        ("StringEquals", KEY, r#""b""#, ab, true),
        ("StringNotEquals", KEY, r#""b""#, ab, false),
    ]);
}

#[test]
fn keys() {
    check(&[
        // Names in any case; the tag's key exactly as it is.
        ("StringEquals", "S3:PREFIX", r#""a""#, &[("s3:prefix", "a")], true),
        ("StringEquals", "s3:existingobjecttag/Team", r#""x""#, &[("s3:ExistingObjectTag/Team", "x")], true),
        ("StringEquals", "s3:ExistingObjectTag/team", r#""x""#, &[("s3:ExistingObjectTag/Team", "x")], false),
        ("StringEquals", "s3:ExistingObjectTag/a/b c", r#""x""#, &[("s3:ExistingObjectTag/a/b c", "x")], true),
        // What the principal is, no context says otherwise.
        ("StringEquals", "aws:username", r#""ann""#, &[("aws:username", "bob")], true),
        ("StringEquals", "aws:userid", r#""AIDAEXAMPLE""#, &[], true),
        ("StringEquals", "aws:PrincipalType", r#""User""#, &[], true),
        ("StringEquals", "aws:PrincipalAccount", r#""111122223333""#, &[], true),
        ("StringEquals", "aws:PrincipalTag/team", r#""x""#, &[("aws:PrincipalTag/team", "x")], false),
    ]);
    let policy = |condition: &str| {
        identity(&format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {condition}}}"#))
    };
    let asks = |policy: &policy::Policy, principal, values: &[(&str, &str)]| {
        allows(policy, principal, "s3:GetObject", "arn:aws:s3:::b/k", &context(values))
    };
    // Keys and operators all, values any.
    let both = policy(
        r#"{"StringEquals": {"s3:prefix": ["a", "b"], "s3:delimiter": "/"}, "Bool": {"aws:SecureTransport": true}}"#,
    );
    let full = [("s3:prefix", "b"), ("s3:delimiter", "/"), ("aws:SecureTransport", "true")];
    assert!(asks(&both, user(HERE, "ann"), &full));
    for left_out in 0..full.len() {
        let mut values = full.to_vec();
        values.remove(left_out);
        assert!(!asks(&both, user(HERE, "ann"), &values), "without {}", full[left_out].0);
    }
    assert!(asks(&policy("{}"), user(HERE, "ann"), &[]));

    let tagged = policy(r#"{"StringEquals": {"aws:PrincipalTag/Team": "x"}}"#);
    let tags = [("team".to_owned(), "x".to_owned())];
    let ann = Principal::User { account: HERE, name: "ann", id: "AIDAEXAMPLE", tags: &tags };
    assert!(asks(&tagged, ann, &[]));
    assert!(!asks(&tagged, user(HERE, "ann"), &[]));

    let nobody = policy(r#"{"StringEquals": {"aws:userid": "anonymous", "aws:PrincipalType": "Anonymous"}}"#);
    assert!(asks(&nobody, Principal::Anonymous, &[]));
    let root = policy(r#"{"StringEquals": {"aws:userid": "111122223333"}, "Null": {"aws:username": true}}"#);
    assert!(asks(&root, Principal::Root(HERE), &[]));
}

#[test]
fn variables() {
    let me: &[(&str, &str)] = &[("s3:prefix", "home/ann/")];
    check(&[
        ("StringEquals", "s3:prefix", r#""home/${aws:username}/""#, me, true),
        ("StringLike", "s3:prefix", r#""*/${AWS:UserName}/*""#, me, true),
        ("StringLike", "s3:prefix", r#""home/${aws:PrincipalTag/x, '*'}/""#, me, false),
        ("StringLike", "s3:prefix", r#""home/${aws:PrincipalTag/x, 'ann'}/""#, me, true),
        ("StringLike", "s3:prefix", r#""home/${aws:PrincipalTag/x}*""#, me, false),
        ("StringNotLike", "s3:prefix", r#""home/${aws:PrincipalTag/x}*""#, me, true),
        ("StringLike", "s3:prefix", r#""a${*}${?}${$}""#, &[("s3:prefix", "a*?$")], true),
        ("StringLike", "s3:prefix", r#""a${*}""#, &[("s3:prefix", "ab")], false),
        ("StringEqualsIgnoreCase", "s3:prefix", r#""HOME/${aws:username}/""#, me, true),
        // What a client sends is no wildcard, and a key of two values stands for nothing.
        ("StringLike", "x:a", r#""${x:b}""#, &[("x:a", "secret"), ("x:b", "*")], false),
        ("StringLike", "x:a", r#""${x:b}""#, &[("x:a", "p"), ("x:b", "p"), ("x:b", "q")], false),
        ("StringLike", "x:a", r#""${x:b}""#, &[("x:a", "p"), ("x:b", "p")], true),
    ]);
}

/// A context that makes its values when asked, of which the last letter of the key tells how many.
struct Made;

impl Context for Made {
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        let count = key.strip_prefix("x:")?.parse().ok()?;
        Some(Cow::Owned(vec!["v".to_owned(); count]))
    }
}

#[test]
fn a_context_may_make_its_values() {
    for (condition, expected) in [
        (r#"{"StringEquals": {"x:1": "v"}}"#, true),
        (r#"{"StringEquals": {"x:1": "${x:1}"}}"#, true),
        (r#"{"StringEquals": {"x:1": "${x:2}"}}"#, false),
        (r#"{"StringEquals": {"x:1": "${x:0, 'v'}"}}"#, true),
        (r#"{"StringEquals": {"x:0": "v"}}"#, false),
        (r#"{"Null": {"x:0": true, "x:1": false, "x:none": true}}"#, true),
    ] {
        let policy =
            identity(&format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {condition}}}"#));
        let (principal, resource) = (user(HERE, "ann"), "arn:aws:s3:::b/k");
        let request = Request { principal, action: "s3:GetObject", resource, context: &Made };
        assert_eq!(matches!(policy.decide(&request), Decision::Allow(_)), expected, "{condition}");
    }
}
