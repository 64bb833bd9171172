//! Answers that are less than they should be say so: `Holdfast-Degraded: stale;age=12;dependency=meta`.
//!
//! A structured item (RFC 9651, section 3.3): the rung of the ladder, and as parameters what was not to be had, and in whole seconds how old
//! at most what is told may be.

use http::{HeaderMap, HeaderName, HeaderValue};
use store::Dependency;

/// The header.
pub(crate) const DEGRADED: HeaderName = HeaderName::from_static("holdfast-degraded");

/// Told of an answer that lacks what was acknowledged in the last milliseconds.
pub(crate) fn stale(age_ms: u64) -> String {
    format!("stale;age={};dependency={}", age_ms.div_ceil(1000), Dependency::Meta.name())
}

/// Told of a write that was taken while the metadata are out of reach; `entry` names it to operators.
pub(crate) fn deferred(entry: &str) -> HeaderValue {
    let told = format!("deferred;dependency={};entry=\"{entry}\"", Dependency::Meta.name());
    HeaderValue::try_from(told).unwrap_or_else(|_| HeaderValue::from_static("deferred;dependency=meta"))
}

/// Told of a refusal that may pass.
pub(crate) fn refused(dependency: Dependency) -> HeaderValue {
    HeaderValue::from_static(match dependency {
        Dependency::Meta => "refuse;dependency=meta",
        Dependency::Sites => "refuse;dependency=sites",
        Dependency::Keys => "refuse;dependency=keys",
    })
}

/// Counts an answer that says it is degraded: `holdfast_degraded_answers_total{operation,rung}`.
pub(crate) fn count(headers: &HeaderMap, operation: &'static str) {
    let Some(told) = headers.get(DEGRADED).and_then(|told| told.to_str().ok()) else { return };
    let rung = told.split(';').next().unwrap_or_default().to_owned();
    metrics::counter!("holdfast_degraded_answers_total", "operation" => operation, "rung" => rung).increment(1);
}
