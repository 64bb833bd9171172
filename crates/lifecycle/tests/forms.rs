//! What leaves the crate: headers and rows.

mod common;

use common::{aborting, at, dated, expiring, noncurrent, rule, sized, sweeping, tagged};
use lifecycle::{Filter, FilterForm, Rule, Rules, expiration_header, http_date};

#[test]
fn dates() {
    for (ms, expected) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (999, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (at("1994-11-06 08:49:37.000"), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (at("2024-02-29"), "Thu, 29 Feb 2024 00:00:00 GMT"),
        (at("2024-12-31 23:59:59.999"), "Tue, 31 Dec 2024 23:59:59 GMT"),
        (at("9999-12-30"), "Thu, 30 Dec 9999 00:00:00 GMT"),
        (at("9999-12-31"), "Fri, 31 Dec 9999 00:00:00 GMT"),
        (at("9999-12-31 12:00"), "Fri, 31 Dec 9999 00:00:00 GMT"),
        (at("9999-12-31") + common::DAY_MS, "Fri, 31 Dec 9999 00:00:00 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 00:00:00 GMT"),
    ] {
        assert_eq!(http_date(ms), expected);
    }
}

#[test]
fn ids() {
    for (id, expected) in [
        ("", ""),
        ("rule-1_A.b~", "rule-1_A.b~"),
        ("Delete after 14 days", "Delete%20after%2014%20days"),
        ("a\"b\\c", "a%22b%5Cc"),
        ("a\r\nx-y: z", "a%0D%0Ax-y%3A%20z"),
        ("100%+/é", "100%25%2B%2F%C3%A9"),
    ] {
        assert_eq!(rule(id).encoded_id(), expected);
        let header = expiration_header(at("2012-12-21"), &rule(id));
        assert_eq!(header, format!("expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\", rule-id=\"{expected}\""));
    }
}

#[test]
fn rows_come_back_as_they_were_put() {
    let and = Filter { form: FilterForm::And, prefix: Some(String::new()), ..tagged(&[("k", "v"), ("l", "")]) };
    let rules = Rules(vec![
        Rule::default(),
        expiring("a", Filter::everything(), 1),
        expiring("b", Filter::prefix(""), 1),
        expiring("c", Filter::legacy(""), 1),
        expiring("d", and, u32::MAX),
        expiring("e", sized(Some(0), Some(u64::MAX)), 1),
        dated("f", "2024-02-29"),
        sweeping("g"),
        noncurrent("h", 1, Some(100)),
        Rule { transitions: true, ..aborting("é", Filter::everything(), 1) },
    ]);
    let row = postcard::to_stdvec(&rules).unwrap();
    assert_eq!(postcard::from_bytes::<Rules>(&row).unwrap(), rules);
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<Rules>(&json).unwrap(), rules);
}
