//! CORS: what a bucket's rules say to a browser (Fetch standard; S3 "CORS configuration").

use http::{HeaderMap, HeaderValue, Method, header};
use s3s::dto::{CORSConfiguration, CORSRule};
use s3s::{S3Result, s3_error};

use crate::error;

/// Most rules of a bucket.
const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// # Errors
/// `MalformedXML` or `InvalidRequest`, in S3's words.
pub(crate) fn validate(config: &CORSConfiguration) -> S3Result<()> {
    if config.cors_rules.is_empty() || config.cors_rules.len() > RULES_MAX {
        return Err(error::malformed());
    }
    for rule in &config.cors_rules {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(error::malformed());
        }
        if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(s3_error!(
                InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            ));
        }
        let patterns = rule.allowed_origins.iter().map(|origin| ("AllowedOrigin", origin));
        let headers = rule.allowed_headers.iter().flatten().map(|name| ("AllowedHeader", name));
        for (what, pattern) in patterns.chain(headers) {
            if pattern.matches('*').count() > 1 {
                return Err(s3_error!(InvalidRequest, "{what} \"{pattern}\" can not have more than one wildcard."));
            }
        }
        if let Some(name) = rule.expose_headers.iter().flatten().find(|name| name.contains('*')) {
            return Err(s3_error!(
                InvalidRequest,
                "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            ));
        }
        if rule.id.as_ref().is_some_and(|id| id.len() > 255) {
            return Err(s3_error!(InvalidRequest, "ID length should not exceed allowed limit of 255"));
        }
    }
    Ok(())
}

/// What a request from a browser is: its origin, and the method and headers that it will use.
pub(crate) struct Ask<'a> {
    pub origin: &'a str,
    pub method: &'a str,
    /// Lower case.
    pub headers: Vec<String>,
    pub preflight: bool,
}

impl<'a> Ask<'a> {
    /// `None` for a request that has no origin.
    pub(crate) fn of(method: &'a Method, headers: &'a HeaderMap) -> Option<Self> {
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN)?;
        let preflight = *method == Method::OPTIONS;
        let method =
            if preflight { text(header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default() } else { method.as_str() };
        let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| preflight).unwrap_or_default();
        let asked = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        Some(Self { origin, method, headers: asked.collect(), preflight })
    }
}

/// # Errors
/// `BadRequest` for a preflight that does not say what it asks for, in S3's words.
pub(crate) fn check_preflight(headers: &HeaderMap) -> S3Result<()> {
    if !headers.contains_key(header::ORIGIN) {
        return Err(error::custom("BadRequest", "Insufficient information. Origin request header needed."));
    }
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| value.to_str().ok());
    if method.is_some_and(|method| METHODS.contains(&method)) {
        return Ok(());
    }
    let method = method.unwrap_or("null");
    Err(error::custom("BadRequest", format!("Invalid Access-Control-Request-Method: {method}")))
}

/// The first rule that allows what is asked.
pub(crate) fn find<'r>(config: &'r CORSConfiguration, ask: &Ask<'_>) -> Option<&'r CORSRule> {
    config.cors_rules.iter().find(|rule| {
        let headers = rule.allowed_headers.as_deref().unwrap_or_default();
        rule.allowed_origins.iter().any(|pattern| matches(pattern, ask.origin))
            && rule.allowed_methods.iter().any(|method| method == ask.method)
            && ask.headers.iter().all(|name| headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name)))
    })
}

/// A pattern with at most one `*`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

/// Adds what the rule says to an answer's headers.
pub(crate) fn tell(rule: &CORSRule, ask: &Ask<'_>, headers: &mut HeaderMap) {
    let mut set = |name: header::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    // `*` alone is told as such: the answer is then the same for every origin.
    let any = rule.allowed_origins.iter().any(|origin| origin == "*");
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*" } else { ask.origin });
    if !any {
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    set(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
    set(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    if let Some(names) = rule.expose_headers.as_ref().filter(|names| !names.is_empty()) {
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, &names.join(", "));
    }
    if ask.preflight {
        if !ask.headers.is_empty() {
            set(header::ACCESS_CONTROL_ALLOW_HEADERS, &ask.headers.join(", "));
        }
        if let Some(seconds) = rule.max_age_seconds {
            set(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "https://a.example", true),
            ("https://*.example", "https://a.example", true),
            ("https://*.example", "https://.example", true),
            ("https://*.example", "http://a.example", false),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://a.example.evil", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
