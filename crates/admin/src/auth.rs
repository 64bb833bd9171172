//! Only the root credentials pass.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::Failure;
use crate::{App, SERVICE, sigv4};

/// Seconds that a signed request's clock may differ from ours (AWS allows 15 minutes; admin
/// commands are signed when they are sent).
pub(crate) const SKEW_MAX_S: u64 = 300;
/// Bytes of a request body: the largest policy, every character of it escaped.
pub(crate) const BODY_MAX: usize = 64 * 1024;

pub(crate) async fn require_root(State(app): State<App>, request: Request, next: Next) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| Failure::too_large())?;
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let signed = sigv4::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        host: header("host").unwrap_or_default(),
        body: &body,
    };
    signed.verify(header, &app.root.0, &app.root.1, SERVICE, sigv4::now_s(), SKEW_MAX_S)?;
    Ok(next.run(Request::from_parts(head, Body::from(body))).await)
}
