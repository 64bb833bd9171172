//! Which configurations are taken, and what they ask for.

use notify::{Code, EventName, Filter, Kind, NotifyError, Rule, Rules, target_of, validate};

fn rule(id: &str, events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> Rule {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let filter = Filter { prefix: text(prefix), suffix: text(suffix) };
    Rule {
        id: id.to_owned(),
        kind: Kind::Queue,
        arn: "arn:aws:sqs:us-east-1:000000000000:hook".to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        filter: (filter != Filter::default()).then_some(filter),
    }
}

fn judged(rules: Vec<Rule>) -> Result<(), NotifyError> {
    validate(&Rules { bucket: "bbb".to_owned(), rules }, &["hook".to_owned(), "bus".to_owned()])
}

const CREATED: &[&str] = &["s3:ObjectCreated:*"];
const PUT: &[&str] = &["s3:ObjectCreated:Put"];
const REMOVED: &[&str] = &["s3:ObjectRemoved:*"];

#[test]
fn single_rules() {
    let long = "x".repeat(1025);
    let base = rule("a", CREATED, None, None);
    let event = |event: &str| Rule { events: vec![event.to_owned()], ..base.clone() };
    let arn = |kind, arn: &str| Rule { kind, arn: arn.to_owned(), ..base.clone() };
    // (rule, the beginning of the message; empty: taken)
    let table = [
        (base.clone(), ""),
        (rule("", &[CREATED, REMOVED].concat(), Some("a/"), Some(".jpg")), ""),
        (event("s3:ObjectRestore:*"), ""),
        (event("s3:ObjectAcl:Put"), ""),
        (event("s3:ObjectCreated"), "The event 's3:ObjectCreated' is not supported"),
        (event("ObjectCreated:Put"), "The event 'ObjectCreated:Put' is not supported"),
        (event("s3:TestEvent"), "The event 's3:TestEvent' is not supported"),
        (event("*"), "The event '*' is not supported"),
        (rule("a", &[], None, None), "A notification configuration lists between 1 and 64"),
        (rule(&"i".repeat(256), CREATED, None, None), "The ID of a notification"),
        (rule("a", CREATED, Some(&long), None), "Size of filter rule value cannot exceed 1024"),
        (rule("a", CREATED, None, Some(&long)), "Size of filter rule value cannot exceed 1024"),
        (arn(Kind::Topic, "arn:aws:sns:::bus"), ""),
        (arn(Kind::Function, "arn:aws:lambda:eu:1:function:bus"), ""),
        (arn(Kind::Queue, "arn:aws:sqs:us-east-1:000000000000:other"), "Unable to validate the following destination"),
        (arn(Kind::Topic, "arn:aws:sqs:us-east-1:000000000000:hook"), "The ARN is not well formed"),
        (arn(Kind::Queue, "hook"), "The ARN is not well formed"),
        (arn(Kind::Queue, ""), "The ARN is not well formed"),
    ];
    for (rule, message) in table {
        let got = judged(vec![rule.clone()]).err().map_or_else(String::new, |error| error.to_string());
        assert!(if message.is_empty() { got.is_empty() } else { got.starts_with(message) }, "{rule:?}: {got}");
    }
    assert_eq!(NotifyError::EventCount.code(), Code::MalformedXml);
    assert_eq!(NotifyError::Overlap.code(), Code::InvalidArgument);
}

#[test]
fn rules_together() {
    use NotifyError::{Ambiguous, IdTwice, Overlap};
    let r = rule;
    let table = [
        (r("a", CREATED, None, None), r("b", REMOVED, None, None), None),
        (r("a", CREATED, None, None), r("a", REMOVED, None, None), Some(IdTwice)),
        (r("a", CREATED, None, None), r("b", PUT, None, None), Some(Overlap)),
        (r("a", CREATED, None, None), r("b", CREATED, Some("x"), None), Some(Ambiguous)),
        (r("a", CREATED, Some("images/"), None), r("b", CREATED, Some("logs/"), None), None),
        (r("a", CREATED, Some("images"), None), r("b", PUT, Some("images/a"), None), Some(Ambiguous)),
        (r("a", CREATED, Some("images"), None), r("b", REMOVED, Some("images/a"), None), None),
        (r("a", CREATED, Some("i"), Some(".jpg")), r("b", CREATED, Some("i"), Some(".png")), None),
        (r("a", CREATED, Some("i"), Some(".jpg")), r("b", CREATED, None, Some("pg")), Some(Ambiguous)),
        (r("a", CREATED, Some("i"), Some(".jpg")), r("b", CREATED, Some("j"), Some(".jpg")), None),
        (r("a", CREATED, None, Some(".jpg")), r("b", CREATED, Some("i"), None), Some(Ambiguous)),
    ];
    for (a, b, expected) in table {
        assert_eq!(judged(vec![a.clone(), b.clone()]).err(), expected, "{a:?} {b:?}");
        assert_eq!(judged(vec![b.clone(), a.clone()]).err(), expected, "{b:?} {a:?}");
    }
    let many = |count: usize| (0..count).map(|i| rule(&i.to_string(), PUT, Some(&format!("{i:04}/")), None)).collect();
    assert_eq!(judged(many(100)), Ok(()));
    assert_eq!(judged(many(101)), Err(NotifyError::RuleCount));
}

#[test]
fn what_rules_ask_for() {
    let rules = Rules {
        bucket: "bbb".to_owned(),
        rules: vec![
            rule("jpg", CREATED, Some("a/"), Some(".jpg")),
            rule("space", PUT, Some("b+c/"), None),
            rule("gone", &["s3:ObjectRemoved:DeleteMarkerCreated", "s3:LifecycleExpiration:*"], None, None),
        ],
    };
    let table = [
        (EventName::Put, "a/x.jpg", Some("jpg")),
        (EventName::CompleteMultipartUpload, "a/.jpg", Some("jpg")),
        (EventName::Put, "a/x.png", None),
        (EventName::Put, "x.jpg", None),
        (EventName::Put, "b c/x", Some("space")),
        (EventName::Put, "b+c/x", Some("space")),
        (EventName::Copy, "b c/x", None),
        (EventName::Delete, "a/x.jpg", None),
        (EventName::DeleteMarkerCreated, "any", Some("gone")),
        (EventName::Expired, "any", Some("gone")),
        (EventName::ExpiredMarker, "any", Some("gone")),
        (EventName::TaggingPut, "any", None),
        (EventName::Test, "any", None),
    ];
    for (name, key, expected) in table {
        assert_eq!(rules.find(name, key).map(|rule| rule.id.as_str()), expected, "{name:?} {key}");
    }
    assert_eq!(rules.targets(), ["hook"]);
}

#[test]
fn arns() {
    let table = [
        (Kind::Queue, "arn:aws:sqs:us-east-1:000000000000:n", Some("n")),
        (Kind::Queue, "arn:aws-cn:sqs:::n", Some("n")),
        (Kind::Queue, "arn::sqs:::n", None),
        (Kind::Queue, "arn:aws:sqs::n", None),
        (Kind::Queue, "arn:aws:sqs:::n:m", None),
        (Kind::Queue, "arn:aws:sqs:::", None),
        (Kind::Queue, "ARN:aws:sqs:::n", None),
        (Kind::Topic, "arn:aws:sns:r:a:n", Some("n")),
        (Kind::Function, "arn:aws:lambda:r:a:function:n", Some("n")),
        (Kind::Function, "arn:aws:lambda:r:a:function:n:1", None),
        (Kind::Function, "arn:aws:lambda:r:a:n", None),
    ];
    for (kind, arn, expected) in table {
        assert_eq!(target_of(kind, arn).ok(), expected, "{arn}");
    }
}
