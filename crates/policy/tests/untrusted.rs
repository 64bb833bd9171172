//! Strangers' bytes: whatever they are, parsing and evaluation end, and end without a panic.

mod common;

use common::{BUCKET, HERE, context, document, identity, stored_policy, user};
use policy::{Kind, Policy, Principal, Request, Weight, evaluate, is_public};
use proptest::prelude::*;

/// Parses as each kind and asks what parsed about a request.
fn exercise(document: &[u8], text: &str) {
    for kind in [Kind::Identity, Kind::Resource { bucket: BUCKET }, Kind::Key { account: HERE.id }] {
        let Ok(policy) = Policy::stored(document, kind) else { continue };
        let _ = Policy::parse(document, kind);
        assert_eq!(policy.document(), document);
        is_public(&policy);
        let values = context(&[("s3:prefix", text), ("aws:SourceIp", text), ("aws:SourceArn", text), ("x:y", text)]);
        for principal in [Principal::Anonymous, Principal::Root(HERE), user(HERE, text)] {
            let request = Request { principal, action: text, resource: text, context: &values };
            for weight in [Weight::Either, Weight::OfResource] {
                evaluate(&[&policy], Some(&[&policy]), Some(&policy), &request, weight);
            }
        }
    }
}

/// Words of the language and near misses, so that documents get past the first check.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "Version",
        "2012-10-17",
        "2008-10-17",
        "Id",
        "Statement",
        "Sid",
        "Effect",
        "Allow",
        "Deny",
        "Principal",
        "NotPrincipal",
        "AWS",
        "*",
        "111122223333",
        "arn:aws:iam::111122223333:user/é",
        "Action",
        "NotAction",
        "s3:*",
        "s3:GetObject",
        "Resource",
        "NotResource",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/${aws:username}",
        "Condition",
        "StringLike",
        "ForAllValues:StringNotEquals",
        "IpAddress",
        "DateLessThanIfExists",
        "Null",
        "NumericEquals",
        "ArnLike",
        "BinaryEquals",
        "s3:prefix",
        "aws:SourceIp",
        "10.0.0.0/8",
        "2024-01-01T00:00:00Z",
        "${",
        "${x:y, '",
        "::1",
        "true",
    ];
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        8 => word().prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => any::<f64>().prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            3 => prop::collection::vec((word(), inner), 0..6).prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Mostly one of these words, sometimes any other.
fn mostly(fitting: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    prop_oneof![9 => prop::sample::select(fitting.to_vec()).prop_map(str::to_owned), 1 => word()]
}

/// A statement whose shape is right, and mostly its words, so that most get as far as evaluation.
fn statement() -> impl Strategy<Value = serde_json::Value> {
    let operator = mostly(&["StringLike", "ForAllValues:StringNotEquals", "StringEqualsIgnoreCaseIfExists"]);
    let typed = mostly(&["IpAddress", "DateLessThan", "NumericEquals", "BinaryEquals", "ArnLike", "Null"]);
    let key = || mostly(&["s3:prefix", "aws:SourceIp", "aws:SourceArn", "x:y", "aws:PrincipalTag/é"]);
    let value = || mostly(&["a*", "${aws:username}?", "${x:y, 'é'}", "10.0.0.0/8", "é"]);
    let typed_value = mostly(&["10.0.0.0/8", "2024", "true", "0", "QQ==", "arn:aws:s3:::b/${x:y}"]);
    let condition = (operator, typed, key(), key(), value(), typed_value, any::<bool>()).prop_map(
        |(operator, typed, key, other, value, typed_value, both)| {
            let mut condition = serde_json::json!({ operator: { key: [value, "x"] } });
            if both {
                condition[typed] = serde_json::json!({ other: typed_value });
            }
            condition
        },
    );
    let action = mostly(&["*", "s3:*", "s3:Get*", "s3:?etObject"]);
    let resource =
        mostly(&["arn:aws:s3:::b", "arn:aws:s3:::b/é*?", "arn:aws:s3:::*${s3:prefix}", "arn:aws:s3:::b/${x:y}*"]);
    (action, resource, condition, any::<[bool; 4]>()).prop_map(
        |(action, resource, condition, [deny, not, named, when])| {
            let mut fields = serde_json::json!({
                "Effect": if deny { "Deny" } else { "Allow" },
                if not { "NotAction" } else { "Action" }: [action, "s3:*"],
                "Resource": ["arn:aws:s3:::b/*", resource],
            });
            if named {
                fields["Principal"] = "*".into();
            }
            if when {
                fields["Condition"] = condition;
            }
            fields
        },
    )
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes: Vec<u8>, text: String) {
        exercise(&bytes, &text);
        exercise(&[b"{".as_slice(), &bytes].concat(), &text);
    }

    #[test]
    fn arbitrary_json(json in json(), text in word()) {
        exercise(json.to_string().as_bytes(), &text);
        exercise(serde_json::json!({ "Statement": json }).to_string().as_bytes(), &text);
    }

    #[test]
    fn arbitrary_statements(statement in statement(), text in word()) {
        let version = "2012-10-17";
        exercise(serde_json::json!({ "Version": version, "Statement": statement }).to_string().as_bytes(), &text);
    }

    /// The matcher against the plainest definition there is.
    #[test]
    fn patterns_match_as_defined(pattern in "[ab*?é]{0,10}", text in "[abé]{0,10}") {
        fn defined(pattern: &[char], text: &[char]) -> bool {
            match pattern {
                [] => text.is_empty(),
                ['*', rest @ ..] => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
                ['?', rest @ ..] => !text.is_empty() && defined(rest, &text[1..]),
                [c, rest @ ..] => text.first() == Some(c) && defined(rest, &text[1..]),
            }
        }
        let resource = format!("arn:aws:s3:::{pattern}");
        let policy = identity(&format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "{resource}"}}"#));
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let arn = format!("arn:aws:s3:::{text}");
        let allowed = common::allows(&policy, user(HERE, "ann"), "s3:GetObject", &arn, &context(&[]));
        prop_assert_eq!(allowed, defined(&chars(&pattern), &chars(&text)));
    }
}

/// As many hard patterns as a document holds, against the longest key there is.
#[test]
fn a_full_document_of_hard_patterns_ends() {
    let key = "a".repeat(1_024);
    let hard = format!(r#""arn:aws:s3:::b/{}b""#, "*a".repeat(90));
    let list = vec![hard; 95].join(",");
    let variables = vec![r#""arn:aws:s3:::b/*${s3:prefix}*?""#; 500].join(",");
    let values = context(&[("s3:prefix", &key)]);
    for resources in [list, variables] {
        // New ones may not be as hard as this.
        let statement =
            format!(r#"{{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [{resources}]}}"#);
        let policy = stored_policy(&document(&statement)).unwrap();
        let arn = format!("arn:aws:s3:::b/{key}");
        assert!(!common::allows(&policy, Principal::Anonymous, "s3:GetObject", &arn, &values));
    }
}
