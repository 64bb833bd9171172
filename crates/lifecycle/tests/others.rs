//! Noncurrent versions, delete markers and uploads.

mod common;

use common::{
    aborting, at, dated, disabled, expiring, facts, noncurrent, one, rule, short_day, sized, sweeping, tagged, tags,
};
use lifecycle::{
    Day, Expiration, Facts, Filter, Noncurrent, Rule, Rules, abort_date, judge_lonely_marker, judge_noncurrent,
    judge_upload, noncurrent_expiry,
};

#[test]
fn noncurrent_versions() {
    let narrow = |filter: Filter| Rule { filter, ..noncurrent("r", 3, None) };
    let no_days = Rule { noncurrent: Some(Noncurrent { days: None, newer_versions: Some(1) }), ..rule("r") };
    // Written long ago; noncurrent since 2014-01-15 10:30, as in the example of S3's documentation.
    for (name, rules, newer, now, due) in [
        ("a moment early", one(noncurrent("r", 3, None)), 0, "2014-01-18 23:59:59.999", false),
        ("midnight", one(noncurrent("r", 3, None)), 0, "2014-01-19", true),
        ("later", one(noncurrent("r", 3, None)), 0, "2015-01-01", true),
        ("with newer ones", one(noncurrent("r", 3, None)), 7, "2014-01-19", true),
        ("the newest of two kept", one(noncurrent("r", 3, Some(2))), 0, "2014-01-19", false),
        ("the second of two kept", one(noncurrent("r", 3, Some(2))), 1, "2014-01-19", false),
        ("the third of two kept", one(noncurrent("r", 3, Some(2))), 2, "2014-01-19", true),
        ("the third, early", one(noncurrent("r", 3, Some(2))), 2, "2014-01-18", false),
        ("of very many", one(noncurrent("r", 3, Some(100))), u64::MAX, "2014-01-19", true),
        ("the last kept of 100", one(noncurrent("r", 3, Some(100))), 99, "2099-01-19", false),
        ("disabled", one(disabled(noncurrent("r", 3, None))), 0, "2099-01-01", false),
        (
            "rules for current versions",
            Rules(vec![expiring("r", Filter::everything(), 1), dated("s", "2014-01-01")]),
            0,
            "2099-01-01",
            false,
        ),
        ("a rule for markers", one(sweeping("r")), 0, "2099-01-01", false),
        ("a rule without days", one(no_days), 9, "2099-01-01", false),
        (
            "either of two rules",
            Rules(vec![noncurrent("r", 9, None), noncurrent("s", 3, Some(2))]),
            2,
            "2014-01-19",
            true,
        ),
        (
            "the other of two rules",
            Rules(vec![noncurrent("r", 9, None), noncurrent("s", 3, Some(2))]),
            1,
            "2014-01-25",
            true,
        ),
        (
            "neither of two rules",
            Rules(vec![noncurrent("r", 9, None), noncurrent("s", 3, Some(2))]),
            1,
            "2014-01-24",
            false,
        ),
        ("its prefix", one(narrow(Filter::prefix("logs/"))), 0, "2014-01-19", true),
        ("another prefix", one(narrow(Filter::prefix("x"))), 0, "2014-01-19", false),
        ("its tag", one(narrow(tagged(&[("k", "v")]))), 0, "2014-01-19", true),
        ("another tag", one(narrow(tagged(&[("k", "w")]))), 0, "2014-01-19", false),
        ("its size", one(narrow(sized(Some(99), Some(101)))), 0, "2014-01-19", true),
        ("another size", one(narrow(sized(Some(100), None))), 0, "2014-01-19", false),
    ] {
        let of = tags(&[("k", "v")]);
        let facts = Facts { tags: &of, ..facts("logs/a", at("2010-01-01")) };
        let since = at("2014-01-15 10:30");
        assert_eq!(judge_noncurrent(&rules, &facts, since, newer, at(now), Day::UTC), due, "{name}");
    }
    let rules = Rules(vec![noncurrent("r", 9, None), noncurrent("s", 3, Some(2))]);
    for (newer, expected) in [(1, ("r", 100)), (2, ("s", 40))] {
        let found = noncurrent_expiry(&rules, &facts("a", 0), 0, newer, short_day(10));
        assert_eq!(found.map(|(when, rule)| (rule.id.as_str(), when)), Some(expected));
    }
}

#[test]
fn a_noncurrent_marker_is_an_empty_version() {
    // "Examples of S3 Lifecycle configurations": a size below 1 selects versions without data, and markers.
    let rules = one(Rule { filter: sized(None, Some(1)), ..noncurrent("r", 1, None) });
    let marker = Facts { size: 0, ..facts("a", 0) };
    assert!(judge_noncurrent(&rules, &marker, 0, 0, at("1970-01-03"), Day::UTC));
    assert!(!judge_noncurrent(&rules, &facts("a", 0), 0, 0, at("1970-01-03"), Day::UTC));
}

#[test]
fn lonely_markers() {
    let off =
        Rule { expiration: Some(Expiration { delete_marker: Some(false), ..Expiration::default() }), ..rule("r") };
    let with = |filter: Filter| Rule { filter, ..sweeping("r") };
    // Left behind at 2024-01-01 08:00.
    for (name, rules, now, expected) in [
        ("no rule", Rules::default(), "2099-01-01", None),
        ("at once", one(sweeping("r")), "2024-01-01 08:00", Some("r")),
        ("switched off", one(off), "2099-01-01", None),
        ("disabled", one(disabled(sweeping("r"))), "2099-01-01", None),
        ("its prefix", one(with(Filter::prefix("logs/"))), "2024-01-02", Some("r")),
        ("another prefix", one(with(Filter::prefix("x"))), "2024-01-02", None),
        ("a tag", one(with(tagged(&[("k", "v")]))), "2099-01-01", None),
        ("days, early", one(expiring("r", Filter::everything(), 3)), "2024-01-04 23:59:59.999", None),
        ("days", one(expiring("r", Filter::everything(), 3)), "2024-01-05", Some("r")),
        ("days and a tag", one(expiring("r", tagged(&[("k", "v")]), 3)), "2099-01-01", None),
        ("days and no bytes", one(expiring("r", sized(None, Some(1)), 3)), "2024-01-05", Some("r")),
        ("days and a size", one(expiring("r", sized(Some(0), None), 3)), "2099-01-01", None),
        ("a date, early", one(dated("r", "2024-02-29")), "2024-02-28", None),
        ("a date", one(dated("r", "2024-02-29")), "2024-02-29", Some("r")),
        ("noncurrent versions only", one(noncurrent("r", 1, None)), "2099-01-01", None),
        ("uploads only", one(aborting("r", Filter::everything(), 1)), "2099-01-01", None),
        (
            "days before the sweep",
            Rules(vec![expiring("a", Filter::everything(), 3), sweeping("b")]),
            "2024-01-02",
            Some("b"),
        ),
    ] {
        // What the marker hid is no business of the rules, even if the caller left it in.
        let of = tags(&[("k", "v")]);
        let marker = Facts { tags: &of, ..facts("logs/a", at("2024-01-01 08:00")) };
        let found = judge_lonely_marker(&rules, &marker, at(now), Day::UTC).map(|rule| rule.id.as_str());
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn uploads() {
    let all = Filter::everything;
    let pair = |a: Rule, b: Rule| Rules(vec![a, b]);
    // Begun at 2024-02-27 12:00.
    for (name, rules, expected) in [
        ("no rule", Rules::default(), None),
        ("a leap day", one(aborting("r", all(), 1)), Some(("r", "2024-02-29"))),
        ("a week", one(aborting("r", all(), 7)), Some(("r", "2024-03-06"))),
        ("its prefix", one(aborting("r", Filter::prefix("logs/"), 1)), Some(("r", "2024-02-29"))),
        ("its legacy prefix", one(aborting("r", Filter::legacy("logs/"), 1)), Some(("r", "2024-02-29"))),
        ("another prefix", one(aborting("r", Filter::prefix("x"), 1)), None),
        ("a tag", one(aborting("r", tagged(&[("k", "v")]), 1)), None),
        ("a size", one(aborting("r", sized(None, Some(u64::MAX)), 1)), None),
        ("disabled", one(disabled(aborting("r", all(), 1))), None),
        (
            "the earliest",
            pair(aborting("a", all(), 7), aborting("b", Filter::prefix("l"), 1)),
            Some(("b", "2024-02-29")),
        ),
        ("the first of two", pair(aborting("a", all(), 7), aborting("b", all(), 7)), Some(("a", "2024-03-06"))),
        ("rules for versions", pair(expiring("a", all(), 1), noncurrent("b", 1, None)), None),
        ("a date", one(dated("a", "2024-01-01")), None),
    ] {
        let begun = at("2024-02-27 12:00");
        let found = abort_date(&rules, "logs/a", begun, Day::UTC).map(|(when, rule)| (rule.id.as_str(), when));
        let expected = expected.map(|(id, due)| (id, at(due)));
        assert_eq!(found, expected, "{name}");
        match expected {
            Some((_, due)) => {
                assert!(!judge_upload(&rules, "logs/a", begun, due - 1, Day::UTC), "{name}");
                assert!(judge_upload(&rules, "logs/a", begun, due, Day::UTC), "{name}");
            }
            None => assert!(!judge_upload(&rules, "logs/a", begun, u64::MAX, Day::UTC), "{name}"),
        }
    }
    let rules = one(aborting("r", all(), 1));
    assert!(!judge_upload(&rules, "a", 5, 19, short_day(10)));
    assert!(judge_upload(&rules, "a", 5, 20, short_day(10)));
}
