//! One request's way: guard, framework, answer.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use base::SystemRng;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::CORSConfiguration;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error};
use store::Store;

use crate::access::{Access, Peer, Temporary};
use crate::auth::Auth;
use crate::chunked::Chunked;
use crate::document::Document;
use crate::guard::{self, BodyKind, Named};
use crate::limits::{CLOCK_SKEW_SECONDS, DOCUMENT_MAX};
use crate::notes::{Notes, RequestIds};
use crate::service::Service;
use crate::{S3Options, config, cors, error, metrics, sts};

/// The S3 endpoint as a hyper service. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    s3: S3Service,
    ids: Arc<RequestIds>,
    /// The client at the other end of the connection.
    peer: Option<Peer>,
    store: Store,
}

impl Endpoint {
    pub(crate) fn new(store: Store, options: S3Options) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = DOCUMENT_MAX;
        config.presigned_url_max_skew_time_secs = CLOCK_SKEW_SECONDS;
        let kept = store.clone();
        let mut builder = S3ServiceBuilder::new(Service { store: store.clone(), region: options.region });
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Auth(store.clone()));
        builder.set_access(Access(store));
        Self { s3: builder.build(), ids: Arc::new(RequestIds::new(&SystemRng)), peer: None, store: kept }
    }

    /// The same for one connection.
    pub(crate) fn of(&self, peer: IpAddr) -> Self {
        Self { peer: Some(Peer(peer)), ..self.clone() }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let notes = self.ids.notes();
        let is_head = request.method() == Method::HEAD;
        let browser = self.browser(&request).await;
        let passed = match &browser {
            Some(browser) if browser.preflight => Ok(browser.preflight_answer()),
            _ => self.pass(request, &notes).await,
        };
        let mut response = match passed {
            Ok(response) => response,
            Err(mut error) => {
                error.set_request_id(notes.id.clone());
                error.to_http_response().unwrap_or_else(|_| bare_error())
            }
        };
        if let Some(browser) = browser {
            browser.tell(response.headers_mut());
        }
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

    /// What the bucket's rules say to a request from a browser.
    async fn browser(&self, request: &Request<Incoming>) -> Option<Browser> {
        let ask = cors::Ask::of(request.method(), request.headers())?;
        let bucket = request.uri().path().trim_start_matches('/').split('/').next()?;
        let store = self.tenant_of(&Named::of(request)).await;
        let rules = config::find::<CORSConfiguration>(&store, bucket, config::CORS).await.ok().flatten();
        let rule = rules.as_ref().and_then(|rules| cors::find(rules, &ask));
        if rule.is_none() && !ask.preflight {
            return None;
        }
        let mut headers = HeaderMap::new();
        if let Some(rule) = rule {
            cors::tell(rule, &ask, &mut headers);
        }
        Some(Browser { preflight: ask.preflight, enabled: rules.is_some(), headers })
    }

    /// The store of the tenant whose key a request names: rules for browsers are told to all who
    /// can name a key, as they are told to all who can name a bucket.
    async fn tenant_of(&self, named: &Named) -> Store {
        let principal = match (&named.access_key, named.tokens.as_slice()) {
            (Some(access_key), [token]) => self.store.session_principal(access_key, token).await.ok(),
            (Some(access_key), []) => {
                self.store.authenticate(access_key).await.ok().flatten().map(|(_, principal)| principal)
            }
            _ => None,
        };
        self.store.of(principal.map(|principal| principal.account()).unwrap_or_default())
    }

    async fn pass(&self, request: Request<Incoming>, notes: &Arc<Notes>) -> Result<Response<Body>, S3Error> {
        guard::known_method(request.method())?;
        if sts::is_meant(&request) {
            return Ok(sts::answer(&self.store, self.peer, request, notes).await);
        }
        let kind = guard::check(&request, "s3")?;
        let temporary = temporary(&self.store, Named::of(&request)).await?;
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(notes.clone());
        if let Some(temporary) = temporary {
            parts.extensions.insert(temporary);
        }
        if let Some(peer) = self.peer {
            parts.extensions.insert(peer);
        }
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

/// Whom temporary credentials act for; `None` when the request names others. Before the signature
/// is verified: the framework asks for a secret by the access key alone.
///
/// # Errors
/// `InvalidToken`, `ExpiredToken`, or the store's.
pub(crate) async fn temporary(store: &Store, named: Named) -> Result<Option<Temporary>, S3Error> {
    let is_temporary = named.access_key.as_deref().is_some_and(|access_key| store.is_temporary(access_key));
    match (named.access_key, named.tokens.as_slice()) {
        (Some(access_key), [token]) if is_temporary => {
            let principal = store.session_principal(&access_key, token).await.map_err(error::answer)?;
            Ok(Some(Temporary { access_key, principal }))
        }
        (_, []) if !is_temporary => Ok(None),
        _ => Err(error::answer(store::Error::InvalidToken)),
    }
}

/// An answer to a browser.
struct Browser {
    preflight: bool,
    /// Whether the bucket has rules at all.
    enabled: bool,
    /// Empty when no rule allows what is asked.
    headers: HeaderMap,
}

impl Browser {
    fn preflight_answer(&self) -> Response<Body> {
        if !self.headers.is_empty() {
            return Response::new(Body::empty());
        }
        let words = if self.enabled {
            "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
        } else {
            "CORSResponse: CORS is not enabled for this bucket."
        };
        let mut refused = error::custom("AccessForbidden", words);
        refused.set_status_code(StatusCode::FORBIDDEN);
        refused.to_http_response().unwrap_or_else(|_| bare_error())
    }

    fn tell(self, headers: &mut HeaderMap) {
        headers.extend(self.headers);
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
