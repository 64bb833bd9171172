//! One request's way: who it is from, what it asks, the site, the answer.

use std::convert::Infallible;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use listener::Peer;
use sites::{Site, SiteError};

use crate::ask::{self, Ask, Span};
use crate::auth::Payload;
use crate::body::{self, Reply, Room};
use crate::fault::{Code, Fault};
use crate::limits::OBJECT_MAX;
use crate::{Keys, Options, answer, auth, list};

/// A site as a hyper service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Endpoint {
    site: Arc<dyn Site>,
    keys: Arc<Keys>,
    room: Room,
    /// The client at the other end of the connection.
    peer: Option<Peer>,
}

impl Endpoint {
    pub(crate) fn new(site: Arc<dyn Site>, options: Options) -> Self {
        Self { site, keys: Arc::new(options.keys), room: Room::new(options.memory), peer: None }
    }

    /// The same for one connection.
    pub(crate) fn of(&self, peer: Peer) -> Self {
        Self { peer: Some(peer), ..self.clone() }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        let started = Instant::now();
        let is_head = request.method() == Method::HEAD;
        let mut operation = "other";
        let mut response = match self.run(request, &mut operation).await {
            Ok(response) => response,
            Err(fault) => {
                tracing::debug!(operation, code = fault.code.name(), why = fault.message, "refused");
                answer::fault(&fault)
            }
        };
        if is_head {
            // What would be there; nothing of it may be sent.
            let len = response.body().len();
            *response.body_mut() = Reply::empty();
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(len));
        }
        let status = response.status().as_str().to_owned();
        metrics::counter!("holdfast_site_server_requests_total", "operation" => operation, "status" => status)
            .increment(1);
        metrics::histogram!("holdfast_site_server_request_seconds", "operation" => operation).record(started.elapsed());
        response
    }

    async fn run(&self, request: Request<Incoming>, operation: &mut &'static str) -> Result<Response<Reply>, Fault> {
        let (head, body) = request.into_parts();
        let query = ask::query(&head);
        let payload = auth::verify(&self.keys, &head, &query, self.peer, sigv4::now_s())?;
        let ask = Ask::of(&head, &query)?;
        *operation = ask.operation();
        match ask {
            Ask::ListBuckets => Ok(answer::document(answer::buckets())),
            Ask::HeadBucket => {
                self.there().await?;
                Ok(answer::bare(StatusCode::OK))
            }
            Ask::GetBucketLocation => Ok(answer::document(answer::location())),
            Ask::List(ask) => {
                let page = list::page(self.site.as_ref(), &ask).await?;
                Ok(answer::document(answer::listing(&ask, &page)))
            }
            Ask::Get(name, span) => self.get(&name, span).await,
            Ask::Head(name) => {
                let size = self.site.size(&name).await?;
                Ok(object(StatusCode::OK, size, size, Reply::empty()))
            }
            Ask::Put(name) => {
                let sums = head.headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-"));
                if sums && payload == Payload::Unsigned {
                    let why = "checksums of bodies are not looked at here; sign the payload instead";
                    return Err(Fault::new(Code::NotImplemented, why));
                }
                self.put(&name, body, payload).await
            }
            Ask::Delete(name) => {
                self.site.delete(&name).await?;
                Ok(answer::bare(StatusCode::NO_CONTENT))
            }
        }
    }

    /// Whether the site is there, with or without a marker.
    async fn there(&self) -> Result<(), SiteError> {
        match self.site.size(sites::MARKER).await {
            Ok(_) | Err(SiteError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, name: &str, body: Incoming, payload: Payload) -> Result<Response<Reply>, Fault> {
        let len = body.size_hint().exact();
        let len = len.ok_or_else(|| Fault::new(Code::MissingContentLength, "Content-Length is missing"))?;
        let held = self.room.take(len).await?;
        let body = body::read(body, len, payload).await?;
        self.site.put(name, &body).await?;
        drop((body, held));
        let mut response = answer::bare(StatusCode::OK);
        response.headers_mut().insert(header::ETAG, answer::etag(len));
        Ok(response)
    }

    async fn get(&self, name: &str, span: Option<Span>) -> Result<Response<Reply>, Fault> {
        // Most reads are of bytes that are there: the size, which S3 tells with every range, is then known without asking.
        if let Some(Span::Closed(first, last)) = span
            && let Some(end) = last.checked_add(1).filter(|end| end - first <= OBJECT_MAX)
        {
            let held = self.room.take(end - first).await?;
            match self.site.get(name, first..end).await {
                Ok(bytes) => {
                    let size = match self.site.size_now(name).filter(|size| *size >= end) {
                        Some(size) => size,
                        None => self.site.size(name).await?.max(end),
                    };
                    return Ok(part(first..end, size, Reply::held(bytes, held)));
                }
                Err(SiteError::Short { .. }) => drop(held),
                Err(error) => return Err(error.into()),
            }
        }
        let size = self.site.size(name).await?;
        let range = match span {
            Some(span) => span.of(size).ok_or_else(|| short(name, size))?,
            None => 0..size,
        };
        if range.is_empty() {
            return Ok(object(StatusCode::OK, size, size, Reply::empty()));
        }
        let held = self.room.take(range.end - range.start).await?;
        let reply = Reply::held(self.site.get(name, range.clone()).await?, held);
        Ok(if span.is_some() { part(range, size, reply) } else { object(StatusCode::OK, size, size, reply) })
    }
}

fn short(name: &str, size: u64) -> Fault {
    Fault::new(Code::InvalidRange, format!("{name} has {size} bytes"))
}

fn object(status: StatusCode, size: u64, len: u64, reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(header::ETAG, answer::etag(size));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
    response
}

fn part(range: Range<u64>, size: u64, reply: Reply) -> Response<Reply> {
    let mut response = object(StatusCode::PARTIAL_CONTENT, size, range.end - range.start, reply);
    let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    if let Ok(told) = HeaderValue::try_from(told) {
        response.headers_mut().insert(header::CONTENT_RANGE, told);
    }
    response
}

impl hyper::service::Service<Request<Incoming>> for Endpoint {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let endpoint = self.clone();
        Box::pin(async move { Ok(endpoint.answer(request).await) })
    }
}
