//! Documents that are refused, and in which words.

mod common;

use common::{bucket_policy, document, identity_policy, stored_policy};
use policy::{DOCUMENT_BYTES_MAX, Kind, Policy, PolicyError};

const GOOD: &str = r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}"#;

fn message(parsed: Result<Policy, PolicyError>) -> String {
    parsed.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

/// The good bucket statement with one element put in place of another, or added.
fn with(element: &str, value: &str) -> String {
    let mut fields: Vec<(&str, &str)> = vec![
        ("Effect", r#""Allow""#),
        ("Principal", r#""*""#),
        ("Action", r#""s3:GetObject""#),
        ("Resource", r#""arn:aws:s3:::b/*""#),
    ];
    fields.retain(|(name, _)| *name != element.trim_start_matches("Not"));
    if !value.is_empty() {
        fields.push((element, value));
    }
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!(r#""{name}": {value}"#)).collect();
    format!("{{{}}}", fields.join(", "))
}

#[test]
fn documents() {
    let whole = |fields: &str| format!("{{{fields}, \"Statement\": {GOOD}}}");
    let begin = "Policies must be valid JSON and the first byte must be '{'";
    let no_json = "This policy contains invalid Json";
    let deep = format!(r#"{{"Statement": {}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    let twice = r#"{"Statement": {"Effect": "Deny", "Effect": "Allow"}}"#;
    for (text, expected) in [
        (whole(r#""Id": "x""#), "accepted"),
        (whole(r#""Version": "2012-10-17""#), "accepted"),
        (whole(r#""Version": "2008-10-17""#), "accepted"),
        (String::new(), begin),
        ("false".into(), begin),
        ("[]".into(), begin),
        (format!(" {}", document(GOOD)), begin),
        ("{".into(), no_json),
        ("{} x".into(), no_json),
        (deep, no_json),
        (whole(r#""Version": "2012-10-18""#), "The policy must contain a valid version string"),
        (whole(r#""Version": 2012"#), "Invalid policy syntax."),
        (whole(r#""Id": []"#), "Invalid policy syntax."),
        (whole(r#""Foo": 1"#), "Unknown field Foo"),
        (whole(r#""version": "2012-10-17""#), "Unknown field version"),
        (whole(r#""Id": "x", "Id": "x""#), "Duplicate field Id"),
        (twice.into(), "Duplicate field Effect"),
        ("{}".into(), "Missing required field Statement"),
        (document(""), "Could not parse the policy: Statement is empty!"),
        (document("1"), "Invalid policy syntax. (statement 1)"),
        (r#"{"Statement": null}"#.into(), "Invalid policy syntax. (statement 1)"),
    ] {
        assert_eq!(message(bucket_policy(&text)), expected, "{text}");
    }
}

#[test]
fn the_size_has_a_limit() {
    let padded = |size: usize| document(GOOD).replace('[', &format!("[{}", " ".repeat(size - document(GOOD).len())));
    assert!(bucket_policy(&padded(DOCUMENT_BYTES_MAX)).is_ok());
    let expected = "Normalized policy document exceeds the maximum allowed size of 20480 bytes.";
    assert_eq!(message(bucket_policy(&padded(DOCUMENT_BYTES_MAX + 1))), expected);
    let long = bucket_policy(&document(&with("Effect", &format!("\"{}\"", "x".repeat(10_000)))));
    assert!(message(long).len() < 200, "a message repeats little of a stranger's text");
}

#[test]
fn statements_of_bucket_policies() {
    let principal = "Invalid principal in policy";
    let action = "Policy has invalid action";
    let resource = "Policy has invalid resource";
    let apart = "Action does not apply to any resource(s) in statement";
    for (element, value, expected) in [
        ("Sid", r#""two words""#, "accepted"),
        ("Sid", "1", "Invalid policy syntax."),
        ("Foo", "1", "Unknown field Foo"),
        ("Effect", "", "Missing required field Effect"),
        ("Effect", r#""hello""#, "Invalid effect: hello"),
        ("Effect", r#""allow""#, "Invalid effect: allow"),
        ("Effect", "true", "Invalid policy syntax."),
        ("Principal", "", "Missing required field Principal"),
        ("Principal", r#""ann""#, principal),
        ("Principal", "[]", principal),
        ("Principal", "{}", principal),
        ("Principal", r#"{"AWS": []}"#, principal),
        ("Principal", r#"{"AWS": "ann"}"#, principal),
        ("Principal", r#"{"AWS": 111122223333}"#, principal),
        ("Principal", r#"{"AWS": "arn:aws:iam::1:user/ann"}"#, principal),
        ("Principal", r#"{"AWS": "arn:aws:iam::111122223333:user/*"}"#, principal),
        ("Principal", r#"{"AWS": "arn:aws:iam::111122223333:user/"}"#, principal),
        ("Principal", r#"{"AWS": "arn:aws:iam::111122223333:group/all"}"#, principal),
        ("Principal", r#"{"Foo": "x"}"#, principal),
        ("Principal", r#"{"Service": ""}"#, principal),
        ("Principal", r#"{"AWS": ["111122223333", "arn:aws:iam::111122223333:root"]}"#, "accepted"),
        ("Principal", r#"{"AWS": "arn:aws:iam::111122223333:role/x", "CanonicalUser": "c0ffee"}"#, "accepted"),
        ("Principal", r#"{"Service": "logging.s3.amazonaws.com", "Federated": "accounts.google.com"}"#, "accepted"),
        ("NotPrincipal", r#"{"AWS": "111122223333"}"#, "accepted"),
        ("NotPrincipal", r#""ann""#, principal),
        ("Action", "", "Statement is missing required element"),
        ("Action", "[]", "Invalid policy syntax."),
        ("Action", r#"[["s3:GetObject"]]"#, "Invalid policy syntax."),
        ("Action", r#""GetObject""#, action),
        ("Action", r#""s3:GetObjet""#, action),
        ("Action", r#""s3:Foo*""#, action),
        ("Action", r#""ec2:RunInstances""#, action),
        ("Action", r#""s3:Get Object""#, action),
        ("Action", r#"["s3:GetObject", ":x"]"#, action),
        ("Action", r#""*""#, "accepted"),
        ("Action", r#""S3:getobject*""#, "accepted"),
        ("Action", r#"["s3:Get?bject", "s3:*Tagging"]"#, "accepted"),
        ("Action", r#""s3:ListBucket""#, apart),
        ("Action", r#"["s3:GetObject", "s3:ListBucket"]"#, apart),
        ("Action", r#""s3:ListAllMyBuckets""#, apart),
        ("NotAction", r#""s3:ListBucket""#, "accepted"),
        ("Resource", "", "Statement is missing required element"),
        ("Resource", r#""arn:aws:s3:::b""#, apart),
        ("Resource", r#""arn:aws:s3:::c/*""#, resource),
        ("Resource", r#""arn:aws:s3:::bb/*""#, resource),
        ("Resource", r#"["arn:aws:s3:::b/*", "arn:aws:s3:::c/*"]"#, resource),
        ("Resource", r#""b/*""#, resource),
        ("Resource", r#""*""#, resource),
        ("Resource", r#""arn:aws:s3:eu-west-1::b/*""#, resource),
        ("Resource", r#""arn:aws:sns:::b/*""#, resource),
        ("Resource", r#""""#, resource),
        ("Resource", r#""arn:aws:s3:::*""#, "accepted"),
        ("Resource", r#"["arn:aws:s3:::b", "arn:aws:s3:::b/a?${aws:username}"]"#, "accepted"),
        ("Resource", r#""arn:aws:s3:::b/${aws:username""#, "Invalid policy variable in arn:aws:s3:::b/${aws:username"),
        ("NotResource", r#""arn:aws:s3:::b/secret""#, "accepted"),
        ("NotResource", r#""arn:aws:s3:::c""#, resource),
        ("Condition", "[]", "Invalid policy syntax."),
        ("Condition", r#"{"StringEquals": "x"}"#, "Invalid policy syntax."),
        ("Condition", r#"{"StringEquals": {"s3:prefix": []}}"#, "Invalid policy syntax."),
        ("Condition", r#"{"StringEquals": {"s3:prefix": null}}"#, "Invalid policy syntax."),
        ("Condition", r#"{"StringEquals": {"s3:prefix": {"a": "b"}}}"#, "Invalid policy syntax."),
        ("Condition", r#"{"StringIs": {"s3:prefix": "x"}}"#, "Invalid Condition type : StringIs"),
        ("Condition", r#"{"stringequals": {"s3:prefix": "x"}}"#, "Invalid Condition type : stringequals"),
        ("Condition", r#"{"ForSome:StringLike": {"s3:prefix": "x"}}"#, "Invalid Condition type : ForSome:StringLike"),
        ("Condition", r#"{"NullIfExists": {"s3:prefix": true}}"#, "Invalid Condition type : NullIfExists"),
        ("Condition", r#"{"Null": {"s3:prefix": "maybe"}}"#, "Invalid value for Condition Null: maybe"),
        ("Condition", r#"{"Bool": {"s3:prefix": "1"}}"#, "Invalid value for Condition Bool: 1"),
        ("Condition", r#"{"NumericEquals": {"s3:max-keys": "inf"}}"#, "Invalid value for Condition NumericEquals: inf"),
        ("Condition", r#"{"DateEquals": {"aws:CurrentTime": "now"}}"#, "Invalid value for Condition DateEquals: now"),
        ("Condition", r#"{"IpAddress": {"aws:SourceIp": "10.0/8"}}"#, "Invalid value for Condition IpAddress: 10.0/8"),
        (
            "Condition",
            r#"{"IpAddress": {"aws:SourceIp": "1.2.3.4/33"}}"#,
            "Invalid value for Condition IpAddress: 1.2.3.4/33",
        ),
        ("Condition", r#"{"BinaryEquals": {"x:y": "?"}}"#, "Invalid value for Condition BinaryEquals: ?"),
        ("Condition", r#"{"ArnLike": {"aws:SourceArn": "x"}}"#, "Invalid value for Condition ArnLike: x"),
        ("Condition", r#"{"StringLike": {"s3:prefix": "${x}"}}"#, "Invalid policy variable in ${x}"),
        ("Condition", r#"{"StringEquals": {"s3:": "x"}}"#, "Policy has an invalid condition key"),
        ("Condition", r#"{"StringEquals": {"s3:x-amz-colour": "x"}}"#, "Policy has an invalid condition key"),
        ("Condition", r#"{"StringEquals": {"s3:ExistingObjectTag": "x"}}"#, "Policy has an invalid condition key"),
        ("Condition", r#"{"StringEquals": {"s3:prefix/a": "x"}}"#, "Policy has an invalid condition key"),
        ("Condition", r#"{"StringEquals": {"S3:Object-Lock-Mode": "x", "s3:RequestObjectTag/a/b": "x"}}"#, "accepted"),
        ("Condition", r#"{"StringEquals": {"ec2:Region": "x"}}"#, "accepted"),
        (
            "Condition",
            r#"{"StringEquals": {"prefix": "x"}}"#,
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        ("Condition", "{}", "accepted"),
    ] {
        let statement = with(element, value);
        let sid = if element == "Sid" && expected == "accepted" { " \"two words\"" } else { "" };
        let expected = match expected {
            "accepted" => expected.to_owned(),
            message => format!("{message} (statement 1{sid})"),
        };
        assert_eq!(message(bucket_policy(&document(&statement))), expected, "{statement}");
    }
}

/// What a later version holds new policies to does not make one unreadable that was taken before.
#[test]
fn new_policies_are_held_to_more_than_stored_ones() {
    let many = |count| format!("{}b", "*a".repeat(count));
    let like = |pattern: String| with("Condition", &format!(r#"{{"StringLike": {{"s3:prefix": "{pattern}"}}}}"#));
    let resource = |pattern: String| with("Resource", &format!(r#""arn:aws:s3:::b/{pattern}""#));
    let wildcards = "A pattern in the policy has more than 32 wildcards and variables. (statement 2)";
    let key = "Policy has an invalid condition key (statement 2)";
    for (statement, expected) in [
        (like(many(32)), "accepted"),
        (like(many(33)), wildcards),
        (like("?".repeat(33)), wildcards),
        (like("${aws:username}".repeat(33)), wildcards),
        (with("Condition", &format!(r#"{{"ArnLike": {{"aws:SourceArn": "arn:{}"}}}}"#, "*?:".repeat(33))), wildcards),
        (resource(many(32)), "accepted"),
        (resource(many(33)), wildcards),
        (with("Action", &format!(r#""s3:{}""#, "*?".repeat(17))), wildcards),
        (with("Condition", r#"{"Null": {"s3:colour": true}}"#), key),
    ] {
        let text = document(&format!("{GOOD}, {statement}"));
        assert_eq!(message(bucket_policy(&text)), expected, "{statement}");
        assert_eq!(message(stored_policy(&document(&statement))), "accepted", "{statement}");
    }
}

#[test]
fn statements_of_user_policies() {
    let vendor = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
    let base = |fields: &str| format!(r#"{{"Effect": "Allow"{fields}}}"#);
    for (fields, expected) in [
        (r#", "Action": "s3:*", "Resource": "*""#, "accepted"),
        (r#", "Action": ["ec2:RunInstances", "foo:Bar"], "Resource": "arn:*:s3:::any/*""#, "accepted"),
        (r#", "Sid": "Good1", "Action": "*", "NotResource": "arn:aws:s3:::b""#, "accepted"),
        (r#", "Sid": "", "Action": "*", "Resource": "*""#, "accepted"),
        (r#", "Action": "*", "Resource": "*", "Principal": "*""#, "Policy document should not specify a principal."),
        (r#", "Action": "*", "Resource": "*", "NotPrincipal": "*""#, "Policy document should not specify a principal."),
        (r#", "Resource": "*""#, "Policy statement must contain actions."),
        (r#", "Action": "*""#, "Policy statement must contain resources."),
        (r#", "Action": "GetObject", "Resource": "*""#, vendor),
        (r#", "Action": "s*:Get", "Resource": "*""#, vendor),
        (r#", "Action": "s3:", "Resource": "*""#, "Syntax errors in policy."),
        (r#", "Action": "*", "NotAction": "*", "Resource": "*""#, "Syntax errors in policy."),
        (r#", "Action": "*", "Resource": "b/*""#, r#"Resource b/* must be in ARN format or "*"."#),
        (r#", "Action": "*", "Resource": "arn:aws:s3""#, r#"Resource arn:aws:s3 must be in ARN format or "*"."#),
        (r#", "Action": "*", "Resource": []"#, "Syntax errors in policy."),
    ] {
        let expected = if expected == "accepted" { expected.into() } else { format!("{expected} (statement 1)") };
        assert_eq!(message(identity_policy(&document(&base(fields)))), expected, "{fields}");
    }
    let named = base(r#", "Sid": "a b", "Action": "*", "Resource": "*""#);
    let error = message(identity_policy(&document(&named)));
    assert!(error.ends_with(r#"[0-9A-Za-z]* (statement 1 "a b")"#), "{error}");
}

#[test]
fn the_statement_at_fault_is_named() {
    let second = with("Effect", r#""No""#).replace('{', r#"{"Sid": "Two", "#);
    let error = bucket_policy(&document(&format!("{GOOD}, {second}"))).unwrap_err();
    assert_eq!(error.to_string(), "Invalid effect: No (statement 2 \"Two\")");
    assert_eq!(error.reason.to_string(), "Invalid effect: No");

    let sid = GOOD.replace('{', r#"{"Sid": "One", "#);
    let error = bucket_policy(&document(&format!("{sid}, {sid}"))).unwrap_err();
    assert_eq!(error.to_string(), "Statement IDs (SID) in a single policy must be unique. (statement 2 \"One\")");
    let empty = GOOD.replace('{', r#"{"Sid": "", "#);
    assert!(bucket_policy(&document(&format!("{empty}, {empty}"))).is_ok());
}

#[test]
fn the_document_is_kept() {
    let text = format!("{{ \"Id\":\"\\u0061\" ,\n\"Statement\" :{GOOD}  }}\n");
    let policy = Policy::parse(text.as_bytes(), Kind::Resource { bucket: "b" }).unwrap();
    assert_eq!(policy.document(), text.as_bytes());
    assert_eq!(policy.id(), Some("a"));
}
