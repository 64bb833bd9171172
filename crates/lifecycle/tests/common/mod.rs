//! What the tables of tests share.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::num::NonZeroU64;

use lifecycle::{Day, Expiration, Facts, Filter, FilterForm, Noncurrent, Rule, Rules};
use time::macros::format_description;
use time::{Date, PrimitiveDateTime};

pub const DAY_MS: u64 = 86_400_000;

/// Milliseconds since 1970 of `YYYY-MM-DD`, `YYYY-MM-DD hh:mm` or `YYYY-MM-DD hh:mm:ss.mmm`.
pub fn at(text: &str) -> u64 {
    let date = Date::parse(&text[..10], format_description!("[year]-[month]-[day]")).unwrap();
    let clock =
        text.get(11..).map_or("00:00:00.000".to_owned(), |clock| format!("{clock}{}", &"00:00:00.000"[clock.len()..]));
    let clock =
        time::Time::parse(&clock, format_description!("[hour]:[minute]:[second].[subsecond digits:3]")).unwrap();
    let nanos = PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp_nanos();
    u64::try_from(nanos / 1_000_000).unwrap()
}

/// The same for a rule's `Date`.
pub fn date(text: &str) -> i64 {
    i64::try_from(at(text)).unwrap()
}

pub fn short_day(ms: u64) -> Day {
    Day::of_ms(NonZeroU64::new(ms).unwrap())
}

/// An enabled rule for every object that does nothing yet.
pub fn rule(id: &str) -> Rule {
    Rule { id: id.to_owned(), enabled: true, filter: Filter::everything(), ..Rule::default() }
}

pub fn expiring(id: &str, filter: Filter, days: u32) -> Rule {
    Rule { filter, expiration: Some(Expiration::days(days)), ..rule(id) }
}

pub fn dated(id: &str, day: &str) -> Rule {
    Rule { expiration: Some(Expiration::date(date(day))), ..rule(id) }
}

pub fn sweeping(id: &str) -> Rule {
    Rule { expiration: Some(Expiration::delete_marker()), ..rule(id) }
}

pub fn noncurrent(id: &str, days: u32, newer_versions: Option<u32>) -> Rule {
    Rule { noncurrent: Some(Noncurrent { days: Some(days), newer_versions }), ..rule(id) }
}

pub fn aborting(id: &str, filter: Filter, days: u32) -> Rule {
    Rule { filter, abort_uploads_days: Some(days), ..rule(id) }
}

pub fn disabled(rule: Rule) -> Rule {
    Rule { enabled: false, ..rule }
}

pub fn one(rule: Rule) -> Rules {
    Rules(vec![rule])
}

pub fn tags(tags: &[(&str, &str)]) -> Vec<(String, String)> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub fn tagged(of: &[(&str, &str)]) -> Filter {
    let form = if of.len() > 1 { FilterForm::And } else { FilterForm::Single };
    Filter { form, tags: tags(of), ..Filter::default() }
}

pub fn sized(size_greater: Option<u64>, size_less: Option<u64>) -> Filter {
    let form = if size_greater.is_some() && size_less.is_some() { FilterForm::And } else { FilterForm::Single };
    Filter { form, size_greater, size_less, ..Filter::default() }
}

/// A version of 100 bytes without tags.
pub fn facts(key: &str, modified_ms: u64) -> Facts<'_> {
    Facts { key, size: 100, tags: &[], modified_ms }
}
