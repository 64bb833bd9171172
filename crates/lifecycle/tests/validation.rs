//! Rules that are refused, under which code and in which words, and their near neighbours that are not.

mod common;

use base::{Classify, ErrorKind};
use common::{aborting, date, dated, disabled, expiring, noncurrent, one, rule, sized, sweeping, tagged, tags};
use lifecycle::Code::{InvalidArgument, InvalidRequest, MalformedXml, NotImplemented};
use lifecycle::{Code, Expiration, Filter, FilterForm, Noncurrent, Rule, Rules, validate};

type Answer = Option<(Code, &'static str)>;

fn check(cases: Vec<(&str, Rules, Answer)>) {
    for (name, rules, expected) in cases {
        let answer = validate(&rules).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
            (error.code(), error.to_string())
        });
        let answer = answer.as_ref().map_err(|(code, message)| (*code, message.as_str())).err();
        assert_eq!(answer, expected, "{name}");
    }
}

fn with(filter: Filter) -> Rules {
    one(expiring("a", filter, 1))
}

fn and(filter: Filter) -> Filter {
    Filter { form: FilterForm::And, ..filter }
}

fn single(filter: Filter) -> Filter {
    Filter { form: FilterForm::Single, ..filter }
}

fn expiration(days: Option<u32>, date_ms: Option<i64>, delete_marker: Option<bool>) -> Rules {
    one(Rule { expiration: Some(Expiration { days, date_ms, delete_marker }), ..rule("a") })
}

#[test]
fn configurations() {
    let count = Some((MalformedXml, "A lifecycle configuration must have between 1 and 1000 rules"));
    let long = Some((InvalidArgument, "ID length should not exceed allowed limit of 255"));
    let twice = Some((InvalidArgument, "Rule ID must be unique. Found same ID for more than one rule"));
    let filter = Some((InvalidRequest, "Filter element can only be used in Lifecycle V2."));
    let prefix = Some((
        InvalidRequest,
        "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.",
    ));
    let many = |n: usize| Rules((0..n).map(|i| expiring(&i.to_string(), Filter::everything(), 1)).collect());
    let named = |id: &str| one(expiring(id, Filter::everything(), 1));
    let pair = |a: Rule, b: Rule| Rules(vec![a, b]);
    let modern = |id: &str| expiring(id, Filter::prefix("a"), 1);
    let legacy = |id: &str| expiring(id, Filter::legacy("b"), 1);
    check(vec![
        ("no rule", many(0), count),
        ("one rule", many(1), None),
        ("as many as may be", many(1_000), None),
        ("one too many", many(1_001), count),
        ("the longest id", named(&"x".repeat(255)), None),
        ("an id too long", named(&"x".repeat(256)), long),
        ("an id too long in bytes", named(&"é".repeat(128)), long),
        ("an id of any characters", named("a \"b\"\n"), None),
        ("one id twice", pair(modern("a"), modern("a")), twice),
        ("one id twice, one of them disabled", pair(modern("a"), disabled(modern("a"))), twice),
        ("ids differ in case", pair(modern("a"), modern("A")), None),
        ("two filters", pair(modern("a"), modern("b")), None),
        ("two prefixes", pair(legacy("a"), legacy("b")), None),
        ("a filter after a prefix", pair(legacy("a"), modern("b")), filter),
        ("a prefix after a filter", pair(modern("a"), legacy("b")), prefix),
        ("the third of another form", Rules(vec![legacy("a"), legacy("b"), modern("c")]), filter),
        ("a fault in the second rule", pair(modern("a"), rule("b")), Some(NO_ACTION)),
    ]);
}

const NO_ACTION: (Code, &str) = (InvalidRequest, "At least one action needs to be specified in a rule");

#[test]
fn actions() {
    let transition = Some((
        NotImplemented,
        "Transitions are not implemented: there is one storage class. Remove them from the rule",
    ));
    let all = Rule {
        noncurrent: Some(Noncurrent { days: Some(1), newer_versions: Some(1) }),
        abort_uploads_days: Some(1),
        ..expiring("a", Filter::everything(), 1)
    };
    check(vec![
        ("none", one(rule("a")), Some(NO_ACTION)),
        ("none, disabled", one(disabled(rule("a"))), Some(NO_ACTION)),
        ("all", one(all.clone()), None),
        ("a transition alone", one(Rule { transitions: true, ..rule("a") }), transition),
        ("a transition among others", one(Rule { transitions: true, ..all }), transition),
        ("a disabled transition", one(disabled(Rule { transitions: true, ..rule("a") })), transition),
    ]);
}

#[test]
fn filters() {
    let none = Some((MalformedXml, "A rule must have a Filter; an empty one selects every object"));
    let elements = Some((
        MalformedXml,
        "A Filter must have at most one of Prefix, Tag, ObjectSizeGreaterThan, ObjectSizeLessThan and And",
    ));
    let too_few = Some((
        MalformedXml,
        "An And must have two or more of Prefix, Tag, ObjectSizeGreaterThan and ObjectSizeLessThan",
    ));
    let prefix = Some((InvalidRequest, "The maximum size of a prefix is 1024"));
    let prefixed = |filter: Filter| Filter { prefix: Some("p".into()), ..filter };
    let legacy = |filter: Filter| Filter { form: FilterForm::Legacy, ..filter };
    check(vec![
        ("absent", with(Filter::default()), none),
        ("empty", with(Filter::everything()), None),
        ("a prefix", with(Filter::prefix("p")), None),
        ("an empty prefix", with(Filter::prefix("")), None),
        ("a tag", with(tagged(&[("k", "v")])), None),
        ("a lower bound", with(sized(Some(1), None)), None),
        ("an upper bound", with(sized(None, Some(1))), None),
        ("a prefix and a tag without And", with(single(prefixed(tagged(&[("k", "v")])))), elements),
        ("a prefix and a size without And", with(single(prefixed(sized(Some(1), None)))), elements),
        ("two tags without And", with(single(tagged(&[("k", "v"), ("l", "v")]))), elements),
        ("two sizes without And", with(single(sized(Some(1), Some(3)))), elements),
        ("And of nothing", with(and(Filter::everything())), too_few),
        ("And of a prefix", with(and(Filter::prefix("p"))), too_few),
        ("And of a tag", with(and(tagged(&[("k", "v")]))), too_few),
        ("And of a size", with(and(sized(None, Some(1)))), too_few),
        ("And of two tags", with(tagged(&[("k", "v"), ("l", "v")])), None),
        ("And of two sizes", with(sized(Some(1), Some(3))), None),
        ("And of a prefix and a tag", with(and(prefixed(tagged(&[("k", "v")])))), None),
        ("And of an empty prefix and a size", with(and(Filter { size_less: Some(2), ..Filter::prefix("") })), None),
        ("And of all", with(prefixed(Filter { tags: tags(&[("k", "v")]), ..sized(Some(1), Some(3)) })), None),
        ("legacy", with(Filter::legacy("p")), None),
        ("legacy and empty", with(Filter::legacy("")), None),
        ("legacy without a prefix", with(legacy(Filter::everything())), elements),
        ("legacy with a tag", with(legacy(prefixed(tagged(&[("k", "v")])))), elements),
        ("the longest prefix", with(Filter::prefix("p".repeat(1_024))), None),
        ("a prefix too long", with(Filter::prefix("p".repeat(1_025))), prefix),
        ("a prefix too long in bytes", with(Filter::prefix("é".repeat(513))), prefix),
        ("a legacy prefix too long", with(Filter::legacy("p".repeat(1_025))), prefix),
    ]);
}

#[test]
fn tags_and_sizes() {
    let key = Some((InvalidRequest, "A Tag's Key must be a length between 1 and 128"));
    let value = Some((InvalidRequest, "A Tag's Value must be a length between 0 and 256"));
    let twice = Some((InvalidRequest, "Duplicate Tag Keys are not allowed."));
    let greater = Some((InvalidRequest, "'ObjectSizeGreaterThan' should be between 0 and 1099511627776000."));
    let less = Some((InvalidRequest, "'ObjectSizeLessThan' should be between 1 and 1099511627776000."));
    let order = Some((InvalidRequest, "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."));
    const MAX: u64 = 1_099_511_627_776_000;
    check(vec![
        ("an empty key", with(tagged(&[("", "v")])), key),
        ("the longest key", with(tagged(&[(&"é".repeat(128), "v")])), None),
        ("a key too long", with(tagged(&[(&"k".repeat(129), "v")])), key),
        ("an empty value", with(tagged(&[("k", "")])), None),
        ("the longest value", with(tagged(&[("k", &"é".repeat(256))])), None),
        ("a value too long", with(tagged(&[("k", &"v".repeat(257))])), value),
        ("a key twice", with(tagged(&[("k", "v"), ("k", "w")])), twice),
        ("a tag twice", with(tagged(&[("k", "v"), ("k", "v")])), twice),
        ("keys differ in case", with(tagged(&[("k", "v"), ("K", "v")])), None),
        ("more than nothing", with(sized(Some(0), None)), None),
        ("more than the most", with(sized(Some(MAX), None)), None),
        ("more than that", with(sized(Some(MAX + 1), None)), greater),
        ("less than nothing", with(sized(None, Some(0))), less),
        ("less than the most", with(sized(None, Some(MAX))), None),
        ("less than more than that", with(sized(None, Some(MAX + 1))), less),
        ("equal sizes", with(sized(Some(5), Some(5))), order),
        ("sizes the wrong way round", with(sized(Some(6), Some(5))), order),
        ("sizes side by side", with(sized(Some(5), Some(6))), None),
    ]);
}

#[test]
fn expirations() {
    let elements =
        Some((MalformedXml, "An Expiration must have exactly one of Days, Date and ExpiredObjectDeleteMarker"));
    let days = Some((InvalidArgument, "'Days' for Expiration action must be a positive integer"));
    let midnight = Some((InvalidArgument, "'Date' must be at midnight GMT"));
    let marker_tags = Some((InvalidRequest, "ExpiredObjectDeleteMarker cannot be specified with Tags."));
    let marker_size = Some((InvalidRequest, "ExpiredObjectDeleteMarker cannot be specified with Object Size."));
    let marker = |filter: Filter, value: bool| {
        let expiration = Some(Expiration { delete_marker: Some(value), ..Expiration::default() });
        one(Rule { filter, expiration, ..rule("a") })
    };
    let dated_ms = |ms: i64| expiration(None, Some(ms), None);
    check(vec![
        ("nothing", expiration(None, None, None), elements),
        ("days and date", expiration(Some(1), Some(0), None), elements),
        ("days and marker", expiration(Some(1), None, Some(true)), elements),
        ("days and no marker", expiration(Some(1), None, Some(false)), elements),
        ("date and marker", expiration(None, Some(0), Some(true)), elements),
        ("all three", expiration(Some(1), Some(0), Some(true)), elements),
        ("no days", expiration(Some(0), None, None), days),
        ("a day", expiration(Some(1), None, None), None),
        ("all days", expiration(Some(u32::MAX), None, None), None),
        ("midnight", one(dated("a", "2024-02-29")), None),
        ("noon", one(dated("a", "2024-02-29 12:00")), midnight),
        ("just after midnight", dated_ms(date("2024-02-29") + 1), midnight),
        ("just before midnight", dated_ms(date("2024-02-29") - 1), midnight),
        ("1970", dated_ms(0), None),
        ("a midnight before 1970", dated_ms(-86_400_000), None),
        ("no midnight before 1970", dated_ms(-1), midnight),
        ("the first moment", dated_ms(i64::MIN), midnight),
        ("marker", one(sweeping("a")), None),
        ("no marker", marker(Filter::everything(), false), None),
        ("marker with a prefix", marker(Filter::prefix("p"), true), None),
        ("marker with a legacy prefix", marker(Filter::legacy("p"), true), None),
        ("marker with a tag", marker(tagged(&[("k", "v")]), true), marker_tags),
        ("marker with a size", marker(sized(Some(1), None), true), marker_size),
        ("no marker with a size", marker(sized(None, Some(1)), false), marker_size),
    ]);
}

#[test]
fn noncurrent_versions_and_uploads() {
    let no_days = Some((MalformedXml, "A NoncurrentVersionExpiration must have NoncurrentDays"));
    let days =
        Some((InvalidArgument, "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"));
    let newer = Some((
        InvalidArgument,
        "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be a positive integer",
    ));
    let too_many =
        Some((InvalidArgument, "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must not exceed 100"));
    let v1 = Some((InvalidRequest, "NewerNoncurrentVersions element can only be used in Lifecycle V2."));
    let abort = Some((
        InvalidArgument,
        "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
    ));
    let abort_tags = Some((InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Tags."));
    let abort_size = Some((InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Object Size."));
    let without_days =
        |newer_versions| one(Rule { noncurrent: Some(Noncurrent { days: None, newer_versions }), ..rule("a") });
    let legacy = |rule: Rule| one(Rule { filter: Filter::legacy("p"), ..rule });
    check(vec![
        ("empty", without_days(None), no_days),
        ("newer versions alone", without_days(Some(1)), no_days),
        ("no days", one(noncurrent("a", 0, None)), days),
        ("a day", one(noncurrent("a", 1, None)), None),
        ("keep none", one(noncurrent("a", 1, Some(0))), newer),
        ("keep one", one(noncurrent("a", 1, Some(1))), None),
        ("keep the most", one(noncurrent("a", 1, Some(100))), None),
        ("keep more", one(noncurrent("a", 1, Some(101))), too_many),
        ("days with a legacy prefix", legacy(noncurrent("a", 1, None)), None),
        ("newer versions with a legacy prefix", legacy(noncurrent("a", 1, Some(1))), v1),
        ("newer versions with tags", one(Rule { filter: tagged(&[("k", "v")]), ..noncurrent("a", 1, Some(1)) }), None),
        ("abort after no days", one(aborting("a", Filter::everything(), 0)), abort),
        ("abort after a day", one(aborting("a", Filter::everything(), 1)), None),
        ("abort with a prefix", one(aborting("a", Filter::prefix("p"), 1)), None),
        ("abort with a tag", one(aborting("a", tagged(&[("k", "v")]), 1)), abort_tags),
        ("abort with a size", one(aborting("a", sized(None, Some(9)), 1)), abort_size),
        (
            "abort and expire with a tag",
            one(Rule { abort_uploads_days: Some(1), ..expiring("a", tagged(&[("k", "v")]), 1) }),
            abort_tags,
        ),
    ]);
}
