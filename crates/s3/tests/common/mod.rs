//! A server over five sites in memory, and a client that signs and can lie.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod sign;

use std::net::SocketAddr;
use std::sync::Arc;

use base::Doors;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use s3::S3Options;
use sign::{REGION, Signer, UNSIGNED, query_string, sha256_hex};
use sites::Pool;
use store::{Options, Store};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

pub const ROOT: (&str, &str) = ("ROOTKEY0000000000000", "rootsecretrootsecretrootsecret0000000000");

pub struct World {
    pub address: SocketAddr,
    pub store: Store,
    pub shutdown: CancellationToken,
    pub server: tokio::task::JoinHandle<Result<(), s3::ServeError>>,
}

/// How a call proves who it is and what its body is.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Anonymous,
    /// Header, hash of the body.
    Hashed,
    /// Header, body not signed.
    Loose,
    /// Query, valid for so many seconds.
    Presigned(i64),
    /// Signed chunks of so many bytes.
    Chunks(usize),
    /// Signed chunks, and a signed trailer.
    ChunksTrailer(usize),
    /// Unsigned chunks of so many bytes, and a trailer.
    LooseTrailer(usize),
}

pub struct Call {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    form: Form,
    key: (String, String),
    skew: Duration,
    trailer: Option<(String, String)>,
    tamper: Option<fn(&mut Vec<u8>)>,
    hash: Option<String>,
    unsigned_headers: Vec<(String, String)>,
    region: String,
    service: String,
    /// The target's path as it is on the wire, when it is not the canonical one.
    wire_path: Option<String>,
    edits: Vec<Edit>,
    streamed: bool,
}

/// A change to a request after it was signed.
#[derive(Debug, Clone)]
pub enum Edit {
    SetHeader(String, String),
    DropHeader(String),
    SetQuery(String, String),
    DropQuery(String),
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A world whose store is opened with other options.
    pub async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let doors = Doors::system();
        let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
        let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
        let mut options = Options { background: false, ..Options::new(doors) };
        change(&mut options);
        let root = (ROOT.0.to_owned(), ROOT.1.to_owned());
        let store = Store::open(Arc::new(meta::Memory::new()), pool, keyring, root, options).await.unwrap();
        let listener = s3::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(s3::serve(listener, store.clone(), S3Options::default(), shutdown.clone()));
        Self { address, store, shutdown, server }
    }

    /// A world with the bucket `bbb`.
    pub async fn with_bucket() -> Self {
        let world = Self::start().await;
        world.put("/bbb").send(&world).await.expect(200);
        world
    }

    pub fn call(&self, method: &'static str, target: &str) -> Call {
        Call::new(method, target)
    }

    pub fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub fn put(&self, target: &str) -> Call {
        self.call("PUT", target)
    }

    pub fn post(&self, target: &str) -> Call {
        self.call("POST", target)
    }

    pub fn head(&self, target: &str) -> Call {
        self.call("HEAD", target)
    }

    pub fn delete(&self, target: &str) -> Call {
        self.call("DELETE", target)
    }

    /// Stores `body` under the target and gives the ETag with its quotes.
    pub async fn stored(&self, target: &str, body: &[u8]) -> String {
        self.put(target).body(body).send(self).await.expect(200).header("etag").to_owned()
    }

    pub async fn exists(&self, target: &str) -> bool {
        self.head(target).send(self).await.status == 200
    }

    /// Starts a multipart upload and gives its id.
    pub async fn upload(&self, key: &str, headers: &[(&str, &str)]) -> String {
        let mut call = self.post(&format!("{key}?uploads"));
        for (name, value) in headers {
            call = call.header(name, value);
        }
        call.send(self).await.expect(200).tag("UploadId")
    }
}

impl Call {
    /// A request to `/path?name=value&name`, none of it escaped.
    pub fn new(method: &'static str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        });
        Self {
            method,
            path: path.to_owned(),
            query: pairs.collect(),
            headers: Vec::new(),
            body: Vec::new(),
            form: Form::Hashed,
            key: (ROOT.0.to_owned(), ROOT.1.to_owned()),
            skew: Duration::ZERO,
            trailer: None,
            tamper: None,
            hash: None,
            unsigned_headers: Vec::new(),
            region: REGION.to_owned(),
            service: "s3".to_owned(),
            wire_path: None,
            edits: Vec::new(),
            streamed: false,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header that is sent and not signed.
    pub fn loose_header(mut self, name: &str, value: &str) -> Self {
        self.unsigned_headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    pub fn with_key(mut self, access: &str, secret: &str) -> Self {
        self.key = (access.to_owned(), secret.to_owned());
        self
    }

    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailer = Some((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes the bytes on the wire after they were signed.
    pub fn tamper(mut self, how: fn(&mut Vec<u8>)) -> Self {
        self.tamper = Some(how);
        self
    }

    /// Claims another `x-amz-content-sha256`.
    pub fn hash(mut self, hash: &str) -> Self {
        self.hash = Some(hash.to_owned());
        self
    }

    /// The path, not escaped; it may have a `?`.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Signs for another region than the server's.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// Signs for another service than S3.
    pub fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self
    }

    /// Sends this path, escaped already, in place of the one that is signed.
    pub fn wire_path(mut self, path: &str) -> Self {
        self.wire_path = Some(path.to_owned());
        self
    }

    /// Changes the request's head after it was signed.
    pub fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// Sends the body without saying its length first.
    pub fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }

    pub async fn send(self, world: &World) -> Answer {
        self.send_to(&world.address.to_string()).await.unwrap()
    }

    /// Sends to `host:port`; an error tells why there is no answer.
    pub async fn send_to(self, host: &str) -> Result<Answer, String> {
        let streamed = self.streamed;
        let (request, body) = self.sign(host);
        exchange(host, request, body, streamed).await
    }

    /// The request's head and its bytes on the wire.
    pub fn sign(self, host: impl ToString) -> (http::request::Builder, Vec<u8>) {
        let at = OffsetDateTime::now_utc() + self.skew;
        let signer = Signer { access: self.key.0, secret: self.key.1, region: self.region, service: self.service, at };
        let path = sign::encode(&self.path, true);
        let mut headers = self.headers;
        if !headers.iter().any(|(name, _)| name == "host") {
            headers.push(("host".to_owned(), host.to_string()));
        }
        let mut query = self.query;
        let hash = self.hash.unwrap_or_else(|| match self.form {
            Form::Anonymous | Form::Presigned(_) | Form::Loose => UNSIGNED.to_owned(),
            Form::Hashed => sha256_hex(&self.body),
            Form::Chunks(_) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Form::ChunksTrailer(_) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Form::LooseTrailer(_) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        });
        if hash.starts_with("STREAMING") {
            headers.push(("x-amz-decoded-content-length".to_owned(), self.body.len().to_string()));
            headers.push(("content-encoding".to_owned(), "aws-chunked".to_owned()));
        }
        if let Some((name, _)) = &self.trailer {
            headers.push(("x-amz-trailer".to_owned(), name.clone()));
        }
        if let Form::Presigned(seconds) = self.form {
            headers.sort();
            let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
            query.push(("X-Amz-Algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()));
            query.push(("X-Amz-Credential".to_owned(), format!("{}/{}", signer.access, signer.scope())));
            query.push(("X-Amz-Date".to_owned(), signer.stamp()));
            query.push(("X-Amz-Expires".to_owned(), seconds.to_string()));
            query.push(("X-Amz-SignedHeaders".to_owned(), names.join(";")));
            let (signature, _) = signer.sign(self.method, &path, &query_string(&query), &headers, &hash);
            query.push(("X-Amz-Signature".to_owned(), signature));
        }
        let mut seed = String::new();
        if !matches!(self.form, Form::Anonymous | Form::Presigned(_)) {
            headers.push(("x-amz-date".to_owned(), signer.stamp()));
            headers.push(("x-amz-content-sha256".to_owned(), hash.clone()));
            headers.sort();
            let (signature, names) = signer.sign(self.method, &path, &query_string(&query), &headers, &hash);
            let scope = signer.scope();
            let value = format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                signer.access
            );
            headers.push(("authorization".to_owned(), value));
            seed = signature;
        }
        let mut wire = frame(&signer, self.form, seed, &self.body, self.trailer.as_ref());
        if let Some(tamper) = self.tamper {
            tamper(&mut wire);
        }
        headers.extend(self.unsigned_headers);
        for edit in self.edits {
            edit.apply(&mut headers, &mut query);
        }
        let path = self.wire_path.unwrap_or(path);
        let query = query_string(&query);
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(self.method).uri(target);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        (request, wire)
    }
}

fn frame(signer: &Signer, form: Form, seed: String, body: &[u8], trailer: Option<&(String, String)>) -> Vec<u8> {
    let (size, signed) = match form {
        Form::Chunks(size) | Form::ChunksTrailer(size) => (size, true),
        Form::LooseTrailer(size) => (size, false),
        _ => return body.to_vec(),
    };
    let mut wire = Vec::new();
    let mut last = seed;
    for chunk in body.chunks(size).chain([&[][..]]) {
        if signed {
            last = signer.chunk(&last, chunk);
            wire.extend(format!("{:x};chunk-signature={last}\r\n", chunk.len()).into_bytes());
        } else {
            wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        }
        wire.extend(chunk);
        if !chunk.is_empty() {
            wire.extend(b"\r\n");
        }
    }
    if let Some((name, value)) = trailer {
        wire.extend(format!("{name}:{value}\r\n").into_bytes());
        if signed {
            let signature = signer.trailer(&last, &format!("{name}:{value}\n"));
            wire.extend(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
        }
    }
    wire.extend(b"\r\n");
    wire
}

impl Edit {
    fn apply(self, headers: &mut Vec<(String, String)>, query: &mut Vec<(String, String)>) {
        let (list, name, value) = match self {
            Self::SetHeader(name, value) => (headers, name, Some(value)),
            Self::DropHeader(name) => (headers, name, None),
            Self::SetQuery(name, value) => (query, name, Some(value)),
            Self::DropQuery(name) => (query, name, None),
        };
        list.retain(|(known, _)| *known != name);
        list.extend(value.map(|value| (name, value)));
    }
}

async fn exchange(
    host: &str,
    request: http::request::Builder,
    body: Vec<u8>,
    streamed: bool,
) -> Result<Answer, String> {
    let told = |error: &dyn std::fmt::Display| format!("no answer: {error}");
    let stream = tokio::net::TcpStream::connect(host).await.map_err(|error| told(&error))?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| told(&error))?;
    let connection = tokio::spawn(connection);
    let body = Full::new(Bytes::from(body));
    // A body of unknown length goes out in chunks of HTTP's own.
    let body =
        if streamed { StreamBody::new(body.into_data_stream().map_ok(Frame::data)).boxed() } else { body.boxed() };
    let request = request.body(body).map_err(|error| told(&error))?;
    let response = sender.send_request(request).await.map_err(|error| told(&error))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| told(&error))?.to_bytes();
    connection.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.headers.contains_key("x-amz-request-id"));
        self
    }

    /// Expects an error with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{}", self.text());
        self
    }

    pub fn code(&self) -> String {
        if self.status.is_success() { String::new() } else { self.find("Code").unwrap_or_default() }
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn find(&self, tag: &str) -> Option<String> {
        self.all(tag).into_iter().next()
    }

    #[track_caller]
    pub fn tag(&self, tag: &str) -> String {
        self.find(tag).unwrap_or_else(|| panic!("no <{tag}> in {}", self.text()))
    }

    /// The texts of all elements of a name, entities resolved.
    pub fn all(&self, tag: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let texts = text.split(&open).skip(1).filter_map(|rest| rest.split_once(&close));
        texts.map(|(inner, _)| unescaped(inner)).collect()
    }
}

/// XML's text with its entities resolved; servers write a quote in three ways.
fn unescaped(text: &str) -> String {
    let table = [("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#xA;", "\n"), ("&#xD;", "\r")];
    let text = table.iter().fold(text.to_owned(), |text, (entity, meant)| text.replace(entity, meant));
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

pub const ALGORITHMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// The base64 checksum of data, by an implementation that is not the server's path.
pub fn checksum(algorithm: &str, data: &[u8]) -> String {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let crc = |algorithm, width: usize| crc_fast::checksum(algorithm, data).to_be_bytes()[8 - width..].to_vec();
    let raw = match algorithm {
        "crc32" => crc(Crc32IsoHdlc, 4),
        "crc32c" => crc(Crc32Iscsi, 4),
        "crc64nvme" => crc(Crc64Nvme, 8),
        "sha1" => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec(),
        "sha256" => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref().to_vec(),
        other => panic!("{other}"),
    };
    STANDARD.encode(raw)
}

pub fn md5_base64(data: &[u8]) -> String {
    use md5::Digest as _;
    STANDARD.encode(md5::Md5::digest(data))
}
