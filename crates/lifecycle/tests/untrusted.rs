//! Whatever the rules and the facts, judging ends without a panic and keeps its order.

mod common;

use common::short_day;
use lifecycle::{
    Expiration, Facts, Filter, FilterForm, Noncurrent, Rule, Rules, abort_date, expiration_header, expiry,
    judge_current, judge_lonely_marker, judge_noncurrent, judge_upload, noncurrent_expiry, validate,
};
use proptest::option::of;
use proptest::prelude::*;

/// Few words, so that keys, prefixes and tags meet.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab/]{0,3}", 1 => any::<String>()]
}

fn tags() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((word(), word()), 0..3)
}

/// Near zero, near the end, near today, or anywhere.
fn moment() -> impl Strategy<Value = u64> {
    let today = 1_700_000_000_000u64;
    prop_oneof![0..100u64, today..today + 1_000_000_000, u64::MAX - 100..=u64::MAX, any::<u64>()]
}

fn days() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..10u32, 1 => any::<u32>()]
}

fn filter() -> impl Strategy<Value = Filter> {
    let form = prop::sample::select(vec![FilterForm::Absent, FilterForm::Legacy, FilterForm::Single, FilterForm::And]);
    let size = || of(prop_oneof![0..4u64, any::<u64>()]);
    (form, of(word()), tags(), size(), size()).prop_map(|(form, prefix, tags, size_greater, size_less)| Filter {
        form,
        prefix,
        tags,
        size_greater,
        size_less,
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let date = prop_oneof![any::<i64>(), (0..30_000i64).prop_map(|day| day * 86_400_000)];
    let expiration = (of(days()), of(date), of(any::<bool>())).prop_map(|(days, date_ms, delete_marker)| Expiration {
        days,
        date_ms,
        delete_marker,
    });
    let noncurrent = (of(days()), of(days())).prop_map(|(days, newer_versions)| Noncurrent { days, newer_versions });
    let filter = prop_oneof![2 => Just(Filter::everything()), 1 => word().prop_map(Filter::prefix), 2 => filter()];
    (word(), any::<bool>(), filter, of(expiration), of(noncurrent), of(days()), prop::bool::weighted(0.1)).prop_map(
        |(id, enabled, filter, expiration, noncurrent, abort_uploads_days, transitions)| Rule {
            id,
            enabled,
            filter,
            expiration,
            noncurrent,
            abort_uploads_days,
            transitions,
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    prop::collection::vec(rule(), 0..6).prop_map(Rules)
}

fn day_ms() -> impl Strategy<Value = u64> {
    prop_oneof![Just(common::DAY_MS), 1..20_000u64, 1..=u64::MAX]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn judging_never_panics(
        rules in rules(),
        key in word(),
        size in any::<u64>(),
        tags in tags(),
        (from, now, newer, day) in (moment(), moment(), any::<u64>(), day_ms()),
    ) {
        let day = short_day(day);
        let facts = Facts { key: &key, size, tags: &tags, modified_ms: from };
        let _ = validate(&rules).map_err(|error| (error.code(), error.to_string()));
        let current = judge_current(&rules, &facts, now, day);
        let due = expiry(&rules, &facts, day);
        prop_assert_eq!(current.is_some(), due.is_some_and(|(when, _)| when <= now));
        if let Some((when, rule)) = due {
            let header = expiration_header(when, rule);
            prop_assert!(header.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", header);
            prop_assert!(rule.enabled);
        }
        judge_lonely_marker(&rules, &facts, now, day);
        let due = noncurrent_expiry(&rules, &facts, from, newer, day).is_some_and(|(when, _)| when <= now);
        prop_assert_eq!(judge_noncurrent(&rules, &facts, from, newer, now, day), due);
        let due = abort_date(&rules, &key, from, day).is_some_and(|(when, _)| when <= now);
        prop_assert_eq!(judge_upload(&rules, &key, from, now, day), due);
    }

    #[test]
    fn what_is_written_later_expires_no_earlier(
        rules in rules(),
        key in word(),
        size in 0..5u64,
        tags in tags(),
        (a, b, day) in (moment(), moment(), day_ms()),
    ) {
        let day = short_day(day);
        let at = |modified_ms| {
            let facts = Facts { key: &key, size, tags: &tags, modified_ms };
            expiry(&rules, &facts, day).map(|(when, _)| when)
        };
        let (early, late) = (at(a.min(b)), at(a.max(b)));
        prop_assert_eq!(early.is_some(), late.is_some());
        prop_assert!(early <= late, "{:?} {:?}", early, late);
    }

    #[test]
    fn days_are_never_cut_short(from in moment(), days in days(), day in day_ms()) {
        let rules = common::one(common::expiring("r", Filter::everything(), days));
        let (when, _) = expiry(&rules, &common::facts("a", from), short_day(day)).unwrap();
        let whole = u128::from(from) + u128::from(days) * u128::from(day);
        let limit = u128::from(u64::MAX);
        prop_assert!(u128::from(when) > whole.min(limit - 1), "{} {}", when, whole);
        prop_assert!(when == u64::MAX || (when.is_multiple_of(day) && u128::from(when) - whole <= u128::from(day)));
    }
}
