//! One request's way: who it is from, what it asks, the answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use base::{Rng, SystemRng};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use listener::limits::BODY_TIMEOUT;
use listener::{Peer, degraded};
use policy::Circumstances;
use serde_json::json;
use store::api::Principal;
use store::{Store, stale};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::auth::{self, Claim};
use crate::call::Call;
use crate::error::{Code, Fault};
use crate::limits::{BODY_MAX, RETRY_AFTER_SECONDS};
use crate::operations;

/// What the operation's name has before it in `X-Amz-Target`.
const TARGET: &str = "TrentService.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The KMS endpoint as a hyper service. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    store: Store,
    region: Arc<str>,
    /// The client at the other end of the connection.
    peer: Option<Peer>,
}

/// A request that was read as far as it had to be.
struct Heard {
    operation: &'static str,
    /// Whether its body was read to the end, so that another request can follow.
    whole: bool,
}

impl Endpoint {
    pub(crate) fn new(store: Store, region: String) -> Self {
        Self { store, region: region.into(), peer: None }
    }

    /// The same for one connection.
    pub(crate) fn of(&self, peer: Peer) -> Self {
        Self { peer: Some(peer), ..self.clone() }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let mut heard = Heard { operation: "other", whole: request.body().is_end_stream() };
        let age = Arc::new(stale::Answer::default());
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let result = match target.and_then(|target| target.strip_prefix(TARGET)) {
            // Nothing else that a key does may go by what is old: it would be sealed, or released, after that was forbidden.
            Some("Decrypt") => stale::accepting(age.clone(), self.run(request, &mut heard)).await,
            _ => self.run(request, &mut heard).await,
        };
        let mut response = match result {
            Ok(text) => Response::new(Full::new(Bytes::from_owner(text))),
            Err(fault) => told(&fault),
        };
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate, private"));
        // A refusal by what is old is no last word either.
        degraded::stale(headers, status, age.age_ms());
        if let Ok(id) = HeaderValue::try_from(request_id(&SystemRng)) {
            headers.insert("x-amzn-requestid", id);
        }
        if !heard.whole {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        degraded::count(response.headers(), heard.operation);
        let (operation, status) = (heard.operation, response.status().as_str().to_owned());
        metrics::counter!("holdfast_kms_requests_total", "operation" => operation, "status" => status).increment(1);
        metrics::histogram!("holdfast_kms_request_seconds", "operation" => operation).record(started.elapsed());
        response
    }

    async fn run(&self, request: Request<Incoming>, heard: &mut Heard) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST || head.uri.path() != "/" {
            return Err(Fault::new(Code::UnknownPath, "requests are POST /"));
        }
        let claim = Claim::of(&self.store, &head).await?;
        let body = read(body).await?;
        heard.whole = true;
        let now = OffsetDateTime::now_utc();
        let principal = claim.verify(&head, &body, u64::try_from(now.unix_timestamp()).unwrap_or_default())?;
        // Only to those who are let in: to others nothing is told.
        let name = auth::header(&head, "x-amz-target").and_then(|target| target.strip_prefix(TARGET));
        let operation = operations::find(name.unwrap_or_default())?;
        heard.operation = operation;
        let store = self.store.of(principal.account());
        let values = self.circumstances(&head, &principal, now).values();
        let address = self.peer.map(|peer| peer.address);
        operations::run(operation, &Call::new(&store, &principal, &self.region, address, values), &body).await
    }

    fn circumstances<'h>(
        &self,
        head: &'h request::Parts,
        principal: &Principal,
        now: OffsetDateTime,
    ) -> Circumstances<'h> {
        Circumstances {
            now,
            issued_ms: principal.session().map(|session| session.issued_ms),
            address: self.peer.map(|peer| peer.address),
            secure: self.peer.is_some_and(|peer| peer.secure),
            user_agent: auth::header(head, header::USER_AGENT.as_str()),
            referer: auth::header(head, header::REFERER.as_str()),
        }
    }
}

async fn read(body: Incoming) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let too_large = || Fault::new(Code::TooLarge, format!("the request is longer than {BODY_MAX} bytes"));
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Err(too_large());
    }
    let late = |_| Fault::new(Code::Timeout, "the request did not come in time");
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await.map_err(late)?;
    Ok(Zeroizing::new(read.map_err(|_| too_large())?.to_bytes().to_vec()))
}

fn told(fault: &Fault) -> Response<Full<Bytes>> {
    let text = json!({ "__type": fault.code.name(), "message": fault.message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = fault.code.status();
    let headers = response.headers_mut();
    headers.insert("x-amzn-errortype", HeaderValue::from_static(fault.code.name()));
    if let Some(dependency) = fault.dependency {
        degraded::refuse(headers, dependency.name());
    }
    if fault.code.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

/// A request's id, as a UUID version 4.
fn request_id(rng: &dyn Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

impl hyper::service::Service<Request<Incoming>> for Endpoint {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let endpoint = self.clone();
        Box::pin(async move { Ok(endpoint.answer(request).await) })
    }
}
