//! Only the root credentials pass.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use listener::degraded;
use store::stale;

use crate::error::Failure;
use crate::{App, SERVICE, sigv4};

/// Seconds that a signed request's clock may differ from ours (AWS allows 15 minutes; admin
/// commands are signed when they are sent).
const SKEW_MAX_S: u64 = 300;
/// Bytes of a request body: the largest policy, every character of it escaped.
const BODY_MAX: usize = 64 * 1024;

pub(crate) async fn require_root(State(app): State<App>, request: Request, next: Next) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    Ok(next.run(verified(head, body, &app.root.0, &app.root.1).await?).await)
}

/// A header's text.
pub(crate) fn header<'h>(head: &'h Parts, name: &str) -> Option<&'h str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

/// The request, read, once it is known that it is signed with this key.
///
/// # Errors
/// When it is not, or its body is too large.
pub(crate) async fn verified(head: Parts, body: Body, access_key: &str, secret: &str) -> Result<Request, Failure> {
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| Failure::too_large())?;
    let signed = sigv4::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        host: header(&head, "host").unwrap_or_default(),
        body: &body,
    };
    signed.verify(|name| header(&head, name), access_key, secret, SERVICE, sigv4::now_s(), SKEW_MAX_S)?;
    Ok(Request::from_parts(head, Body::from(body)))
}

/// What is read may be old where the metadata are out of reach, and says so as at the S3 port.
pub(crate) async fn tell_age(request: Request, next: Next) -> Response {
    if *request.method() != Method::GET {
        return next.run(request).await;
    }
    let age = Arc::new(stale::Answer::default());
    let mut response = stale::accepting(age.clone(), next.run(request)).await;
    let status = response.status();
    degraded::stale(response.headers_mut(), status, age.age_ms());
    response
}
