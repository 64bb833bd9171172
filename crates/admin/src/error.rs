//! Errors as JSON: what went wrong, of which kind, and what to do.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base::{Classify, ErrorKind};
use listener::degraded;
use serde::{Deserialize, Serialize};
use store::{Dependency, Error};

use crate::sigv4::SignatureError;

/// What fails for want of the metadata is looked at again twice a second.
const RETRY_AFTER_SECONDS: &str = "1";

/// An error as it goes over the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// What went wrong.
    pub error: String,
    /// `not-found`, `conflict`, `invalid`, `denied`, `unavailable` or `internal`.
    pub kind: String,
    /// What to do, if known.
    pub hint: Option<String>,
}

pub(crate) struct Failure {
    status: StatusCode,
    problem: Problem,
    dependency: Option<Dependency>,
}

impl Failure {
    fn new(status: StatusCode, kind: &str, error: String, hint: Option<&str>) -> Self {
        let problem = Problem { error, kind: kind.to_owned(), hint: hint.map(str::to_owned) };
        Self { status, problem, dependency: None }
    }

    pub(crate) fn internal(error: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error, None)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid", "the request body is larger than 64 KiB".to_owned(), None)
    }
}

pub(crate) async fn no_such_path() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not-found", "there is no such path in the admin API".to_owned(), None)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        if let Some(dependency) = self.dependency {
            degraded::refuse(response.headers_mut(), dependency.name());
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

impl From<SignatureError> for Failure {
    fn from(error: SignatureError) -> Self {
        let hint = "sign with the root credentials: HOLDFAST_ACCESS_KEY and HOLDFAST_SECRET_KEY, or the credentials file in the data directory";
        Self::new(StatusCode::FORBIDDEN, "denied", error.to_string(), Some(hint))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, kind) = match error.kind() {
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, "denied"),
            ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Unknown => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            ErrorKind::Corrupt | ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let hint = match &error {
            Error::NoSuchUser(_) => Some("see `holdfast user list`"),
            Error::NoSuchAccessKey(_) => Some("see `holdfast user show NAME`"),
            Error::NoSuchGroup(_) => Some("see `holdfast group list`"),
            Error::NoSuchTenant(_) => Some("see `holdfast tenant list`"),
            Error::TenantNotEmpty(_) => Some("delete its buckets, its groups and its users first"),
            Error::TenantHasKeys { .. } => {
                Some("shred them first: `holdfast portion shred NAME --tenant TENANT`, or delete them by the KMS API")
            }
            Error::NoSuchTarget(_) => {
                Some("see `holdfast notify list`; targets are [notify.NAME] tables of the configuration")
            }
            Error::NoSuchSite(_) => Some("see `holdfast site list`"),
            _ => None,
        };
        Self { dependency: error.dependency(), ..Self::new(status, kind, error.to_string(), hint) }
    }
}
