//! Current versions: which rule expires which object, and when.

mod common;

use common::{at, dated, disabled, expiring, facts, noncurrent, one, rule, short_day, sized, sweeping, tagged, tags};
use lifecycle::{Day, Expiration, Facts, Filter, FilterForm, Rule, Rules, expiry, judge_current};

#[test]
fn filters_select() {
    let two = [("k", "v"), ("l", "w")];
    let prefix_tag = Filter { form: FilterForm::And, prefix: Some("logs/".into()), ..tagged(&[("k", "v")]) };
    let prefix_size = Filter { prefix: Some("logs/".into()), ..sized(Some(9), Some(11)) };
    let tag_size = Filter { tags: tags(&[("k", "v")]), ..sized(Some(9), Some(11)) };
    let all = Filter { prefix: Some("logs/".into()), ..tag_size.clone() };
    for (filter, key, size, of, expected) in [
        (Filter::everything(), "a", 0, vec![], true),
        (Filter::everything(), "", u64::MAX, tags(&two), true),
        (Filter::prefix(""), "a", 0, vec![], true),
        (Filter::prefix("logs/"), "logs/", 0, vec![], true),
        (Filter::prefix("logs/"), "logs/a", 0, vec![], true),
        (Filter::prefix("logs/"), "logs", 0, vec![], false),
        (Filter::prefix("logs/"), "Logs/a", 0, vec![], false),
        (Filter::prefix("logs/"), "a/logs/", 0, vec![], false),
        (Filter::prefix("*"), "a", 0, vec![], false),
        (Filter::prefix("é"), "éa", 0, vec![], true),
        (Filter::legacy("logs/"), "logs/a", 0, vec![], true),
        (Filter::legacy("logs/"), "log", 0, vec![], false),
        (tagged(&[("k", "v")]), "a", 0, tags(&[("k", "v")]), true),
        (tagged(&[("k", "v")]), "a", 0, tags(&two), true),
        (tagged(&[("k", "v")]), "a", 0, tags(&[("k", "w")]), false),
        (tagged(&[("k", "v")]), "a", 0, tags(&[("K", "v")]), false),
        (tagged(&[("k", "v")]), "a", 0, tags(&[("v", "k")]), false),
        (tagged(&[("k", "v")]), "a", 0, vec![], false),
        (tagged(&[("k", "")]), "a", 0, tags(&[("k", "")]), true),
        (tagged(&[("k", "")]), "a", 0, tags(&[("k", "v")]), false),
        (tagged(&two), "a", 0, tags(&two), true),
        (tagged(&two), "a", 0, tags(&[("l", "w"), ("x", "y"), ("k", "v")]), true),
        (tagged(&two), "a", 0, tags(&[("k", "v")]), false),
        (sized(Some(10), None), "a", 10, vec![], false),
        (sized(Some(10), None), "a", 11, vec![], true),
        (sized(Some(0), None), "a", 0, vec![], false),
        (sized(None, Some(10)), "a", 9, vec![], true),
        (sized(None, Some(10)), "a", 10, vec![], false),
        (sized(None, Some(1)), "a", 0, vec![], true),
        (sized(Some(9), Some(11)), "a", 9, vec![], false),
        (sized(Some(9), Some(11)), "a", 10, vec![], true),
        (sized(Some(9), Some(11)), "a", 11, vec![], false),
        (prefix_tag.clone(), "logs/a", 0, tags(&[("k", "v")]), true),
        (prefix_tag.clone(), "logs/a", 0, vec![], false),
        (prefix_tag, "a", 0, tags(&[("k", "v")]), false),
        (prefix_size.clone(), "logs/a", 10, vec![], true),
        (prefix_size.clone(), "logs/a", 11, vec![], false),
        (prefix_size, "a", 10, vec![], false),
        (tag_size.clone(), "a", 10, tags(&[("k", "v")]), true),
        (tag_size.clone(), "a", 9, tags(&[("k", "v")]), false),
        (tag_size, "a", 10, vec![], false),
        (all.clone(), "logs/a", 10, tags(&two), true),
        (all.clone(), "log", 10, tags(&two), false),
        (all.clone(), "logs/a", 10, tags(&[("l", "w")]), false),
        (all, "logs/a", 12, tags(&two), false),
    ] {
        let rules = one(expiring("r", filter.clone(), 1));
        let facts = Facts { key, size, tags: &of, modified_ms: at("2024-01-01") };
        assert_eq!(expiry(&rules, &facts, Day::UTC).is_some(), expected, "{filter:?} {facts:?}");
        assert_eq!(judge_current(&rules, &facts, at("2025-01-01"), Day::UTC).is_some(), expected, "{filter:?}");
    }
}

#[test]
fn days_round_to_the_next_midnight() {
    for (modified, days, due) in [
        ("2014-01-15 10:30", 3, "2014-01-19"),
        ("2024-01-01 00:00:00.001", 1, "2024-01-03"),
        ("2024-01-01 23:59:59.999", 1, "2024-01-03"),
        // Midnight is no midnight to come.
        ("2024-01-01", 1, "2024-01-03"),
        ("2023-12-31 23:59:59.999", 1, "2024-01-02"),
        ("2023-12-31 12:00", 1, "2024-01-02"),
        ("2024-02-27 12:00", 1, "2024-02-29"),
        ("2024-02-28 12:00", 1, "2024-03-01"),
        ("2023-02-27 12:00", 1, "2023-03-01"),
        ("2100-02-27 12:00", 1, "2100-03-01"),
        ("2000-02-28 12:00", 1, "2000-03-01"),
        ("2024-02-29 12:00", 365, "2025-03-01"),
        ("2023-03-01 12:00", 365, "2024-03-01"),
        ("2024-01-31 12:00", 30, "2024-03-02"),
        // Where clocks in the west go forward and back, UTC's do not.
        ("2024-03-09 12:00", 1, "2024-03-11"),
        ("2024-11-02 12:00", 1, "2024-11-04"),
        ("1970-01-01", 1, "1970-01-03"),
    ] {
        let rules = one(expiring("r", Filter::everything(), days));
        let facts = facts("a", at(modified));
        assert_eq!(expiry(&rules, &facts, Day::UTC).map(|(when, _)| when), Some(at(due)), "{modified} + {days}");
        assert!(judge_current(&rules, &facts, at(due) - 1, Day::UTC).is_none(), "{modified} + {days}");
        assert!(judge_current(&rules, &facts, at(due), Day::UTC).is_some(), "{modified} + {days}");
    }
}

#[test]
fn dates_hold_for_what_is_before_and_after() {
    let rules = one(dated("r", "2024-02-29"));
    for (modified, now, due) in [
        ("2024-01-01", "2024-02-28 23:59:59.999", false),
        ("2024-01-01", "2024-02-29", true),
        ("2024-01-01", "2024-03-01", true),
        ("2024-02-29", "2024-02-29", true),
        ("2024-05-01", "2024-05-01", true),
    ] {
        let facts = facts("a", at(modified));
        assert_eq!(judge_current(&rules, &facts, at(now), Day::UTC).is_some(), due, "{modified} at {now}");
        assert_eq!(expiry(&rules, &facts, Day::UTC).map(|(when, _)| when), Some(at("2024-02-29")));
    }
    let past = one(Rule { expiration: Some(Expiration::date(-86_400_000)), ..rule("r") });
    assert_eq!(expiry(&past, &facts("a", 5), Day::UTC).map(|(when, _)| when), Some(0));
}

#[test]
fn of_several_rules_the_earliest_holds() {
    let all = Filter::everything;
    let logs = || Filter::prefix("logs/");
    for (name, rules, expected) in [
        ("none", vec![], None),
        ("the shorter", vec![expiring("long", all(), 9), expiring("short", all(), 3)], Some(("short", "2024-01-05"))),
        ("in any order", vec![expiring("short", all(), 3), expiring("long", all(), 9)], Some(("short", "2024-01-05"))),
        (
            "the first of two",
            vec![expiring("first", all(), 3), expiring("x", logs(), 3)],
            Some(("first", "2024-01-05")),
        ),
        (
            "only what matches",
            vec![expiring("a", all(), 9), expiring("b", Filter::prefix("x"), 1)],
            Some(("a", "2024-01-11")),
        ),
        ("overlapping", vec![expiring("a", all(), 9), expiring("b", logs(), 1)], Some(("b", "2024-01-03"))),
        (
            "only what is enabled",
            vec![disabled(expiring("a", all(), 1)), expiring("b", all(), 2)],
            Some(("b", "2024-01-04")),
        ),
        ("all disabled", vec![disabled(expiring("a", all(), 1))], None),
        ("a date before days", vec![expiring("a", all(), 9), dated("b", "2024-01-07")], Some(("b", "2024-01-07"))),
        ("days before a date", vec![dated("b", "2024-01-07"), expiring("a", all(), 4)], Some(("a", "2024-01-06"))),
        ("a date and days at once", vec![dated("b", "2024-01-07"), expiring("a", all(), 5)], Some(("b", "2024-01-07"))),
        ("no expiration", vec![noncurrent("a", 1, None), sweeping("b")], None),
        (
            "one among others",
            vec![noncurrent("a", 1, None), sweeping("b"), expiring("c", all(), 1)],
            Some(("c", "2024-01-03")),
        ),
    ] {
        let rules = Rules(rules);
        let facts = facts("logs/a", at("2024-01-01 08:00"));
        let found = expiry(&rules, &facts, Day::UTC).map(|(when, rule)| (rule.id.as_str(), when));
        let expected = expected.map(|(id, due)| (id, at(due)));
        assert_eq!(found, expected, "{name}");
        let Some((id, due)) = expected else { continue };
        assert_eq!(judge_current(&rules, &facts, due - 1, Day::UTC), None, "{name}");
        assert_eq!(judge_current(&rules, &facts, due, Day::UTC).map(|rule| rule.id.as_str()), Some(id), "{name}");
    }
}

#[test]
fn a_day_may_be_ten_seconds() {
    let day = short_day(10_000);
    for (modified, days, due) in
        [(0, 1, 20_000), (1, 1, 20_000), (9_999, 1, 20_000), (10_000, 1, 30_000), (12_345, 3, 50_000)]
    {
        let rules = one(expiring("r", Filter::everything(), days));
        let found = expiry(&rules, &facts("a", modified), day).map(|(when, _)| when);
        assert_eq!(found, Some(due), "{modified} + {days}");
    }
    // A date is a date, whatever a day is.
    let rules = one(dated("r", "2024-02-29"));
    assert_eq!(expiry(&rules, &facts("a", 0), day).map(|(when, _)| when), Some(at("2024-02-29")));
    assert_eq!(Day::default(), short_day(common::DAY_MS));
}

#[test]
fn the_far_end_of_time_is_not_due() {
    let rules = one(expiring("r", Filter::everything(), u32::MAX));
    for modified in [u64::MAX, u64::MAX - common::DAY_MS] {
        let facts = facts("a", modified);
        assert_eq!(expiry(&rules, &facts, Day::UTC).map(|(when, _)| when), Some(u64::MAX));
        assert_eq!(judge_current(&rules, &facts, at("2999-01-01"), Day::UTC), None);
    }
    assert!(judge_current(&rules, &facts("a", at("2024-01-01")), at("2999-01-01"), Day::UTC).is_none());
}
