//! One request's way: guard, framework, answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use base::SystemRng;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error};
use store::Store;

use crate::access::Access;
use crate::auth::Auth;
use crate::chunked::Chunked;
use crate::document::Document;
use crate::guard::{self, BodyKind};
use crate::limits::{CLOCK_SKEW_SECONDS, DOCUMENT_MAX};
use crate::notes::{Notes, RequestIds};
use crate::service::Service;
use crate::{S3Options, error, metrics};

/// The S3 endpoint as a hyper service. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    s3: S3Service,
    ids: Arc<RequestIds>,
}

impl Endpoint {
    pub(crate) fn new(store: Store, options: S3Options) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = DOCUMENT_MAX;
        config.presigned_url_max_skew_time_secs = CLOCK_SKEW_SECONDS;
        let mut builder = S3ServiceBuilder::new(Service { store: store.clone(), region: options.region });
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Auth(store.clone()));
        builder.set_access(Access(store));
        Self { s3: builder.build(), ids: Arc::new(RequestIds::new(&SystemRng)) }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let notes = self.ids.notes();
        let is_head = request.method() == Method::HEAD;
        let mut response = match self.pass(request, &notes).await {
            Ok(response) => response,
            Err(mut error) => {
                error.set_request_id(notes.id.clone());
                error.to_http_response().unwrap_or_else(|_| bare_error())
            }
        };
        if let Ok(id) = HeaderValue::try_from(&notes.id) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        // The framework has no way to say this of a HeadObject with a range.
        if is_head && response.headers().contains_key(header::CONTENT_RANGE) && response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED || (is_head && !status.is_success()) {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        metrics::answered(notes.operation.get().copied().unwrap_or("other"), status, started.elapsed());
        response
    }

    async fn pass(&self, request: Request<Incoming>, notes: &Arc<Notes>) -> Result<Response<Body>, S3Error> {
        guard::known_method(request.method())?;
        let kind = guard::check(&request)?;
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(notes.clone());
        let body = match kind {
            BodyKind::Plain => Body::from(body),
            BodyKind::Chunked(chunks) => Body::http_body(Chunked::new(body, chunks)),
            BodyKind::Document => Body::http_body(Document::new(body, &parts, notes.clone())?),
        };
        let response = self.s3.call(Request::from_parts(parts, body)).await;
        match (notes.fault.get(), response) {
            (Some(fault), _) => Err(error::refusal(fault)),
            (None, Ok(response)) => Ok(response),
            (None, Err(_)) => Ok(bare_error()),
        }
    }
}

/// The answer when not even an error could be written.
fn bare_error() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

impl hyper::service::Service<Request<Incoming>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let endpoint = self.clone();
        Box::pin(async move { Ok(endpoint.answer(request).await) })
    }
}
