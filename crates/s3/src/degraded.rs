//! Answers that are less than they should be say so: `Holdfast-Degraded: stale;age=12;dependency=meta`. See [`ladder::Told`].

use http::HeaderValue;
use ladder::Told;
pub(crate) use listener::degraded::{DEGRADED, count, stale};
use store::Dependency;

/// Told of a write that was taken while the metadata are out of reach; `entry` names it to operators.
pub(crate) fn deferred(entry: &str) -> HeaderValue {
    let told = format!("deferred;dependency={};entry=\"{entry}\"", Dependency::Meta.name());
    HeaderValue::try_from(told).unwrap_or_else(|_| HeaderValue::from_static("deferred;dependency=meta"))
}

/// Told of a write that was to be scanned first, and is stored unscanned and kept back.
pub(crate) fn unscanned() -> HeaderValue {
    HeaderValue::from_static("deferred;dependency=scan")
}

/// Told of a refusal that may pass.
pub(crate) fn refused(dependency: Dependency) -> Option<HeaderValue> {
    HeaderValue::try_from(Told::refused(dependency.name()).to_string()).ok()
}
