//! What a policy's conditions can ask about a request (S3 and global condition keys).

use http::{HeaderMap, HeaderName, Uri, header};
use policy::{Circumstances, Values};
use s3s::dto::{Timestamp, TimestampFormat};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::access::Peer;

/// Request headers that conditions know under their own names.
const HEADERS: [&str; 17] = [
    "if-match",
    "if-none-match",
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-object-ownership",
    "x-amz-grant-read",
    "x-amz-grant-write",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
    "x-amz-grant-full-control",
];

/// All headers that conditions can ask about.
pub(crate) fn headers() -> impl Iterator<Item = HeaderName> {
    let lock = ["x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"];
    let named = HEADERS.into_iter().chain(lock).chain(["x-amz-tagging"]).map(HeaderName::from_static);
    [header::USER_AGENT, header::REFERER].into_iter().chain(named)
}

/// Whether conditions can ask about a query parameter.
pub(crate) fn is_asked(parameter: &str) -> bool {
    matches!(parameter, "prefix" | "delimiter" | "max-keys")
}

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// What is so of any request that comes now.
pub fn circumstances() -> Values {
    let now = OffsetDateTime::now_utc();
    Circumstances { now, issued_ms: None, address: None, secure: false, user_agent: None, referer: None }.values()
}

/// The keys and values of a request's head, but for the version that it is about. `signed_in`: where its
/// signature was, if it had one; `issued_ms`: when its temporary credentials were made, milliseconds since
/// the Unix epoch.
pub(crate) fn values(
    uri: &Uri,
    headers: &HeaderMap,
    signed_in: Option<&str>,
    peer: Option<Peer>,
    issued_ms: Option<u64>,
) -> Values {
    let now = OffsetDateTime::now_utc();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let circumstances = Circumstances {
        now,
        issued_ms,
        address: peer.map(|peer| peer.address),
        secure: peer.is_some_and(|peer| peer.secure),
        user_agent: text(header::USER_AGENT.as_str()),
        referer: text(header::REFERER.as_str()),
    };
    let mut values = circumstances.values();
    for name in HEADERS {
        if let Some(value) = text(name) {
            values.add(&format!("s3:{name}"), value);
        }
    }
    if let Some(place) = signed_in {
        values.add("s3:signatureversion", "AWS4-HMAC-SHA256");
        values.add("s3:authType", place);
        if let Some(age) = signed_at(uri, headers).map(|at| (now - at).whole_milliseconds().max(0)) {
            values.add("s3:signatureAge", age.to_string());
        }
    }
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if is_asked(&name) {
            values.add(&format!("s3:{name}"), value);
        }
    }
    // A copy that takes its source's tags passes over those that are sent with it.
    let is_kept = !headers.contains_key("x-amz-copy-source") || text("x-amz-tagging-directive") == Some("REPLACE");
    if let Some(tags) = text("x-amz-tagging").filter(|_| is_kept) {
        for (name, value) in url::form_urlencoded::parse(tags.as_bytes()) {
            add_tag(&mut values, &name, &value);
        }
    }
    let until = text("x-amz-object-lock-retain-until-date");
    let until = until.and_then(|until| Timestamp::parse(TimestampFormat::DateTime, until).ok());
    add_retention(&mut values, text("x-amz-object-lock-mode"), until);
    if let Some(hold) = text("x-amz-object-lock-legal-hold") {
        add_hold(&mut values, hold);
    }
    values
}

/// Whether a key, as conditions name it, is of what a request puts on an object: in the headers of a write,
/// in the document of an operation that puts nothing else.
pub(crate) fn is_put(key: &str) -> bool {
    key.starts_with("s3:requestobjecttag") || key.starts_with("s3:object-lock-")
}

/// A tag that the request puts.
pub(crate) fn add_tag(values: &mut Values, name: &str, value: &str) {
    values.add("s3:RequestObjectTagKeys", name);
    values.add(&format!("s3:RequestObjectTag/{name}"), value);
}

/// The retention that the request puts.
pub(crate) fn add_retention(values: &mut Values, mode: Option<&str>, until: Option<Timestamp>) {
    if let Some(mode) = mode {
        values.add("s3:object-lock-mode", mode);
    }
    let Some(until) = until.map(OffsetDateTime::from) else { return };
    if let Ok(date) = until.format(&Rfc3339) {
        values.add("s3:object-lock-retain-until-date", date);
    }
    // A day that has begun counts, as a client that asks for so many days from now means it.
    let left = (until - OffsetDateTime::now_utc()).whole_seconds();
    values.add("s3:object-lock-remaining-retention-days", ((left + DAY - 1).div_euclid(DAY)).max(0).to_string());
}

/// The legal hold that the request puts.
pub(crate) fn add_hold(values: &mut Values, status: &str) {
    values.add("s3:object-lock-legal-hold", status);
}

/// When a request says that it was signed.
fn signed_at(uri: &Uri, headers: &HeaderMap) -> Option<OffsetDateTime> {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let in_query = query.filter(|(name, _)| name == "X-Amz-Date").map(|(_, value)| value.into_owned()).next();
    let in_header = || headers.get("x-amz-date").and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    PrimitiveDateTime::parse(&in_query.or_else(in_header)?, format).map(PrimitiveDateTime::assume_utc).ok()
}
