//! One request's way: guard, framework, answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use base::SystemRng;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::{CORSConfiguration, WebsiteConfiguration};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, s3_error};
use store::{Store, stale};
use tokio::sync::Semaphore;

use crate::access::{Access, Peer, Temporary};
use crate::auth::Auth;
use crate::chunked::Chunked;
use crate::degraded;
use crate::document::Document;
use crate::guard::{self, BodyKind, Named};
use crate::host::{Hosts, Place};
use crate::limits::{CLOCK_SKEW_SECONDS, DOCUMENT_MAX, FORMS_MAX};
use crate::notes::{Notes, RequestIds, Watched};
use crate::relaxed::Relaxed;
use crate::service::Service;
use crate::wire::{self, WEBSITE_REDIRECT};
use crate::{S3Options, config, cors, error, metrics, op, sts, website};

/// The S3 endpoint as a hyper service. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    s3: S3Service,
    ids: Arc<RequestIds>,
    /// The client at the other end of the connection.
    peer: Option<Peer>,
    service: Service,
    hosts: Arc<Hosts>,
    /// Upload forms that may be under way.
    forms: Arc<Semaphore>,
}

impl Endpoint {
    pub(crate) fn new(store: Store, options: S3Options) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = DOCUMENT_MAX;
        config.presigned_url_max_skew_time_secs = CLOCK_SKEW_SECONDS;
        let service = Service { store: store.clone(), region: options.region };
        let hosts = Hosts { api: options.domains, website: options.website_domains };
        let config = Arc::new(StaticConfigProvider::new(Arc::new(config)));
        let builder = || {
            let mut builder = S3ServiceBuilder::new(service.clone());
            builder.set_config(config.clone());
            builder.set_auth(Auth(store.clone()));
            builder.set_access(Access(store.clone()));
            builder.set_host(hosts.clone());
            builder
        };
        let mut s3 = builder();
        s3.set_route(Relaxed(builder().build()));
        Self {
            s3: s3.build(),
            ids: Arc::new(RequestIds::new(&SystemRng)),
            peer: None,
            service,
            hosts: Arc::new(hosts),
            forms: Arc::new(Semaphore::new(FORMS_MAX)),
        }
    }

    /// The same for one connection.
    pub(crate) fn of(&self, peer: Peer) -> Self {
        Self { peer: Some(peer), ..self.clone() }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let age = Arc::new(stale::Answer::default());
        // What is read may be old, if it says so. What is written never goes by anything old, but for an object that a bucket has taken
        // while the metadata are out of reach.
        let may_be_old = match *request.method() {
            Method::GET | Method::HEAD => true,
            Method::PUT => puts_object(&request, &self.hosts.place_of(request.uri(), request.headers())),
            _ => false,
        };
        if !may_be_old {
            return self.answer_with(request, &age).await;
        }
        stale::accepting(age.clone(), self.answer_with(request, &age)).await
    }

    async fn answer_with(&self, request: Request<Incoming>, age: &stale::Answer) -> Response<Body> {
        let started = Instant::now();
        let notes = self.ids.notes();
        let is_head = request.method() == Method::HEAD;
        let request = Watched::new(request, notes.clone());
        let place = self.hosts.place_of(request.uri(), request.headers());
        let browser = self.browser(&place, &request).await;
        let passed = match (&browser, place) {
            (Some(browser), _) if browser.preflight => Ok(browser.preflight_answer()),
            (_, Place::Website(bucket)) => Ok(self.visit(&bucket, request, &notes).await),
            (_, place) => self.pass(request, &place, &notes).await,
        };
        let mut response = match passed {
            Ok(response) => response,
            Err(error) => error.to_http_response().unwrap_or_else(|_| bare_error()),
        };
        reword(&mut response, &notes, &self.ids.host);
        if let Some(browser) = browser {
            browser.tell(response.headers_mut());
        }
        for (name, id) in [("x-amz-request-id", &notes.id), ("x-amz-id-2", &self.ids.host)] {
            if let Ok(id) = HeaderValue::try_from(id) {
                response.headers_mut().insert(name, id);
            }
        }
        // The framework has no way to say this of a HeadObject with a range.
        if is_head && response.headers().contains_key(header::CONTENT_RANGE) && response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if notes.last.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED || (is_head && !status.is_success()) {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        degraded::stale(response.headers_mut(), status, age.age_ms());
        let operation = notes.operation.get().copied().unwrap_or("other");
        degraded::count(response.headers(), operation);
        metrics::answered(operation, status, started.elapsed());
        response
    }

    /// What the bucket's rules say to a request from a browser.
    async fn browser<B>(&self, place: &Place, request: &Request<B>) -> Option<Browser> {
        let ask = cors::Ask::of(request.method(), request.headers())?;
        if ask.preflight && cors::check_preflight(request.headers()).is_err() {
            return None;
        }
        let (bucket, named) = match place {
            // Websites are of the default tenant, whatever key a visitor names.
            Place::Website(bucket) => (bucket.as_str(), Named::default()),
            Place::Bucket(bucket) => (bucket.as_str(), Named::of(request)),
            Place::Endpoint => (request.uri().path().trim_start_matches('/').split('/').next()?, Named::of(request)),
        };
        let store = self.tenant_of(&named).await;
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
        let store = &self.service.store;
        let principal = match (&named.access_key, named.tokens.as_slice()) {
            (Some(access_key), [token]) => store.session_principal(access_key, token).await.ok(),
            (Some(access_key), []) => {
                store.authenticate(access_key).await.ok().flatten().map(|(_, principal)| principal)
            }
            _ => None,
        };
        store.of(principal.map(|principal| principal.account()).unwrap_or_default())
    }

    async fn pass(
        &self,
        request: Request<Watched>,
        place: &Place,
        notes: &Arc<Notes>,
    ) -> Result<Response<Body>, S3Error> {
        if *request.method() == Method::OPTIONS {
            cors::check_preflight(request.headers())?;
        }
        guard::known_method(request.method())?;
        guard::check_values(request.headers(), request.uri())?;
        if sts::is_meant(&request, place) {
            return Ok(sts::answer(&self.service.store, self.peer, request, notes).await);
        }
        let kind = guard::check(&request, place, "s3")?;
        let temporary = temporary(&self.service.store, Named::of(&request)).await?;
        let (mut parts, body) = request.into_parts();
        guard::join_metadata(&mut parts.headers);
        if guard::lower(&mut parts)? {
            guard::check_values(&parts.headers, &parts.uri)?;
        }
        parts.extensions.insert(notes.clone());
        parts.extensions.insert(place.clone());
        if let Some(temporary) = temporary {
            parts.extensions.insert(temporary);
        }
        if let Some(peer) = self.peer {
            parts.extensions.insert(peer);
        }
        let body = match kind {
            BodyKind::Form => {
                let _ = notes.operation.set("PostObject");
                return op::post_object::run(&self.service, place, &parts, body, &self.forms).await;
            }
            BodyKind::Plain => Body::http_body(body),
            BodyKind::Chunked(chunks) => Body::http_body(Chunked::new(body, chunks)),
            BodyKind::Document => Body::http_body(Document::new(body, &parts, notes.clone())?),
        };
        self.call(Request::from_parts(parts, body), notes).await
    }

    async fn call(&self, request: Request<Body>, notes: &Notes) -> Result<Response<Body>, S3Error> {
        let store = &self.service.store;
        let response = match going_by(&request) {
            GoingBy::Nothing => self.s3.call(request).await,
            GoingBy::Reading => {
                let (parts, body) = request.into_parts();
                match store.reading(self.s3.call(Request::from_parts(parts.clone(), body))).await {
                    Ok(response) => response,
                    // There was no body, so it can be done again.
                    Err(_) => self.s3.call(Request::from_parts(parts, Body::empty())).await,
                }
            }
            GoingBy::Writing => {
                let is_refused = |answer: &Result<Response<Body>, _>| {
                    answer.as_ref().is_ok_and(|response| !response.status().is_success())
                };
                match store.writing(self.s3.call(request), is_refused).await {
                    Ok(response) => response,
                    Err(error) => return Err(error::answer(error)),
                }
            }
        };
        match (notes.fault.get(), response) {
            (Some(fault), _) => Err(error::refusal(fault)),
            (None, Ok(response)) => Ok(response),
            (None, Err(_)) => Ok(bare_error()),
        }
    }
}

/// How a request may use what is remembered of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoingBy {
    /// Not at all.
    Nothing,
    /// It changes nothing and can be done again.
    Reading,
    /// It puts an object, and nothing else.
    Writing,
}

/// What of a query says nothing about what is done with an object that is put.
const SAYS_NOTHING: [&str; 9] = [
    "x-id",
    "X-Amz-Algorithm",
    "X-Amz-Content-Sha256",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

fn going_by<B: http_body::Body>(request: &Request<B>) -> GoingBy {
    match *request.method() {
        Method::GET | Method::HEAD if request.body().is_end_stream() => GoingBy::Reading,
        Method::PUT if request.extensions().get().is_some_and(|place| puts_object(request, place)) => GoingBy::Writing,
        _ => GoingBy::Nothing,
    }
}

/// Whether a PUT is of an object with its bytes: not of a document about it, a part, or a copy.
fn puts_object<B>(request: &Request<B>, place: &Place) -> bool {
    let path = request.uri().path().trim_start_matches('/');
    let names_object = match place {
        Place::Endpoint => path.split_once('/').is_some_and(|(_, key)| !key.is_empty()),
        Place::Bucket(_) => !path.is_empty(),
        Place::Website(_) => false,
    };
    let mut query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    names_object
        && query.all(|(name, _)| SAYS_NOTHING.contains(&name.as_ref()))
        && !request.headers().contains_key("x-amz-copy-source")
}

/// Puts into a document what the framework has no word for: the ids of an error, whoever raised it, and
/// the ETag of GetObjectAttributes, which alone has no quotes.
fn reword(response: &mut Response<Body>, notes: &Notes, host: &str) {
    const END: &str = "</Error>";
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_error && notes.operation.get() != Some(&"GetObjectAttributes") {
        return;
    }
    let bytes = response.body().bytes().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let reworded = match text.strip_suffix(END) {
        Some(told) if is_error => {
            format!("{told}<RequestId>{}</RequestId><HostId>{host}</HostId>{END}", notes.id)
        }
        None if !is_error => text.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>"),
        _ => return,
    };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(reworded);
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

/// Websites.
impl Endpoint {
    /// Answers a visitor of a bucket's website.
    async fn visit(&self, bucket: &str, request: Request<Watched>, notes: &Arc<Notes>) -> Response<Body> {
        let _ = notes.operation.set("Website");
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let found = config::get_blindly::<WebsiteConfiguration>(&self.service.store, bucket, config::WEBSITE).await;
        let site = match found {
            Ok(site) if is_read => site,
            Ok(_) => {
                return plain(&s3_error!(
                    MethodNotAllowed,
                    "The specified method is not allowed against this resource."
                ));
            }
            Err(error) => return plain(&error),
        };
        if let Err(error) = guard::check_values(request.headers(), request.uri()) {
            return plain(&error);
        }
        let path = request.uri().path().strip_prefix('/').unwrap_or_default();
        let key = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let from = (self.peer.map_or("http", Peer::scheme), host);
        if let Some(sent) = website::all_sent(&site, &key, from.0).or_else(|| website::routed(&site, &key, None, from))
        {
            return redirect(&sent);
        }
        let shown = self.show(bucket, &website::page(&site, &key), &request, true, notes).await;
        let status = shown.status();
        if let Some(place) = shown.headers().get(WEBSITE_REDIRECT).and_then(|place| place.to_str().ok()) {
            return redirect(&(StatusCode::MOVED_PERMANENTLY, place.to_owned()));
        }
        if !status.is_client_error()
            || matches!(status, StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE)
        {
            return shown;
        }
        if let Some(sent) = website::routed(&site, &key, Some(status), from) {
            return redirect(&sent);
        }
        // Who may not list the bucket is not told that a key is not there.
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
            && let Some(page) = website::folder_page(&site, &key)
            && self.show(bucket, &page, &request, false, notes).await.status().is_success()
        {
            return redirect(&(StatusCode::FOUND, format!("/{}/", wire::url_encode(&key))));
        }
        if let Some(document) = &site.error_document {
            let mut page = self.show(bucket, &document.key, &request, false, notes).await;
            if page.status().is_success() {
                *page.status_mut() = status;
                return page;
            }
        }
        match status {
            StatusCode::NOT_FOUND => plain(&s3_error!(NoSuchKey, "The specified key does not exist.")),
            _ => plain(&s3_error!(AccessDenied, "Access Denied")),
        }
    }

    /// An object as anybody may read it: the request with another address, and without what is of
    /// the website's only.
    async fn show(
        &self,
        bucket: &str,
        key: &str,
        request: &Request<Watched>,
        asked_for: bool,
        notes: &Arc<Notes>,
    ) -> Response<Body> {
        let mut ask = Request::new(Body::empty());
        *ask.method_mut() = request.method().clone();
        let target = format!("/{bucket}/{}", wire::url_encode(key));
        let Ok(target) = target.parse() else { return bare_error() };
        *ask.uri_mut() = target;
        let who = [header::REFERER, header::USER_AGENT];
        let what = [
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
            header::IF_RANGE,
            header::RANGE,
        ];
        // These are about the page that was asked for, not about one shown in its place.
        let what = what.into_iter().filter(|_| asked_for);
        for name in who.into_iter().chain(what) {
            if let Some(value) = request.headers().get(&name) {
                ask.headers_mut().insert(name, value.clone());
            }
        }
        ask.headers_mut().insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
        ask.extensions_mut().insert(notes.clone());
        if let Some(peer) = self.peer {
            ask.extensions_mut().insert(peer);
        }
        match self.call(ask, notes).await {
            Ok(response) => response,
            Err(error) => error.to_http_response().unwrap_or_else(|_| bare_error()),
        }
    }
}

fn redirect((status, place): &website::Redirect) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = *status;
    match HeaderValue::try_from(place) {
        Ok(place) => response.headers_mut().insert(header::LOCATION, place),
        Err(_) => return bare_error(),
    };
    response
}

/// An error as a page.
fn plain(error: &S3Error) -> Response<Body> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let page = website::error_page(status, error.code().as_str(), error.message().unwrap_or_default());
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_by_what_is_remembered() {
        let table = [
            ("GET", "/b/k", GoingBy::Reading),
            ("HEAD", "/b", GoingBy::Reading),
            ("GET", "/b?list-type=2", GoingBy::Reading),
            ("PUT", "/b/k", GoingBy::Writing),
            ("PUT", "/b/k/l?X-Amz-Signature=1&X-Amz-Date=2&x-id=PutObject", GoingBy::Writing),
            ("PUT", "/b", GoingBy::Nothing),
            ("PUT", "/b/", GoingBy::Nothing),
            ("PUT", "/b/k?tagging", GoingBy::Nothing),
            ("PUT", "/b/k?%61cl", GoingBy::Nothing),
            ("PUT", "/b/k?partNumber=1&uploadId=2", GoingBy::Nothing),
            ("PUT", "/b/k?X-Amz-Signature=1&legal-hold", GoingBy::Nothing),
            ("POST", "/b/k", GoingBy::Nothing),
            ("DELETE", "/b/k", GoingBy::Nothing),
        ];
        for (method, target, expected) in table {
            let request = |place| {
                let request = Request::builder().method(method).uri(target).extension(place);
                request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
            };
            assert_eq!(going_by(&request(Place::Endpoint)), expected, "{method} {target}");
        }
        let request = |body: &'static str, header| {
            let request = Request::builder().method("GET").uri("/b/k").header("x-amz-copy-source", header);
            request.extension(Place::Bucket("b".into())).body(http_body_util::Full::<bytes::Bytes>::from(body)).unwrap()
        };
        let (with_body, mut copy) = (request("x", ""), request("", "a/b"));
        assert_eq!(going_by(&with_body), GoingBy::Nothing, "it cannot be done again");
        *copy.method_mut() = Method::PUT;
        assert_eq!(going_by(&copy), GoingBy::Nothing);
        copy.headers_mut().remove("x-amz-copy-source");
        assert_eq!(going_by(&copy), GoingBy::Writing, "the path is the key");
    }
}
