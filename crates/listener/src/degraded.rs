//! The header of answers that are less than they should be, and their count: the same for every protocol.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ladder::Told;

/// The header.
pub const DEGRADED: HeaderName = HeaderName::from_static(ladder::HEADER);

/// Says so of a refusal.
pub fn refuse(headers: &mut HeaderMap, dependency: &str) {
    if let Ok(told) = HeaderValue::try_from(Told::refused(dependency).to_string()) {
        headers.insert(DEGRADED, told);
    }
}

/// Says so of an answer that lacks what was acknowledged in the last milliseconds, unless it says something of the kind already.
pub fn stale(headers: &mut HeaderMap, status: StatusCode, age_ms: Option<u64>) {
    let Some(age_ms) = age_ms.filter(|_| !headers.contains_key(DEGRADED)) else { return };
    if status.is_server_error() {
        return refuse(headers, "meta");
    }
    if let Ok(told) = HeaderValue::try_from(Told::stale(age_ms, "meta").to_string()) {
        headers.insert(DEGRADED, told);
    }
}

/// Counts an answer that says it is degraded: `holdfast_degraded_answers_total{operation,rung}`.
pub fn count(headers: &HeaderMap, operation: &'static str) {
    let Some(told) = headers.get(DEGRADED).and_then(|told| told.to_str().ok()).and_then(Told::read) else { return };
    metrics::counter!("holdfast_degraded_answers_total", "operation" => operation, "rung" => told.rung.name())
        .increment(1);
}
