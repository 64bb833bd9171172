//! One request to one gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ladder::Told;
use sigv4::Request;

use crate::{ACCESS_KEY, SECRET_KEY};

/// Time for a connection: a gateway whose machine is gone does not refuse.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Debug)]
pub enum Reply {
    /// An answer that says what was done.
    Answer {
        /// The HTTP status, below 500.
        status: u16,
        /// `ETag`, with its quotes.
        etag: Option<String>,
        /// The gateway says that all that was acknowledged so long ago is in it, and perhaps no more.
        stale: Option<Duration>,
        /// The body.
        body: Vec<u8>,
    },
    /// It was not done, and another gateway may do it.
    NotDone(String),
    /// It may have been done, or be done yet.
    Unknown(String),
}

/// A client of S3 that tries once.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    keys: (String, String),
}

impl Client {
    /// As root; `within` bounds a request.
    pub fn new(within: Duration) -> Self {
        Self::with_keys(within, ACCESS_KEY, SECRET_KEY)
    }

    /// The same with other keys.
    pub fn with_keys(within: Duration, access_key: &str, secret_key: &str) -> Self {
        // Connections are kept open, as SDKs do.
        let http = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).timeout(within).no_proxy().build();
        Self { http: http.expect("a client"), keys: (access_key.to_owned(), secret_key.to_owned()) }
    }

    /// Sends `method` for `path`, which needs no escapes, to `host`.
    pub async fn send(&self, host: &str, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = Request { method, path, query: "", host, body };
        let signed = request.sign(&self.keys.0, &self.keys.1, "us-east-1", "s3", now_s);
        let method = method.parse().expect("a method");
        let mut sent = self.http.request(method, format!("http://{host}{path}")).body(body.to_vec());
        for (name, value) in &signed {
            sent = sent.header(*name, value);
        }
        for (name, value) in more {
            sent = sent.header(*name, *value);
        }
        let answer = match sent.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Reply::NotDone(format!("{error:?}")),
            Err(error) => return Reply::Unknown(format!("{error:?}")),
        };
        let status = answer.status().as_u16();
        let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let degraded = answer.headers().get(ladder::HEADER).and_then(|told| told.to_str().ok()).and_then(Told::read);
        let stale = degraded.and_then(|told| told.age_s).map(Duration::from_secs);
        match answer.bytes().await {
            Ok(body) => sort(status, etag, stale, body.to_vec()),
            Err(error) => Reply::Unknown(format!("{error:?}")),
        }
    }
}

fn sort(status: u16, etag: Option<String>, stale: Option<Duration>, body: Vec<u8>) -> Reply {
    let told = || format!("{status} {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    match status {
        // What failed within may have been done before it failed.
        500.. => Reply::Unknown(told()),
        // A conflict with another request, or a wrong clock.
        403 | 409 => Reply::NotDone(told()),
        _ => Reply::Answer { status, etag, stale, body },
    }
}
