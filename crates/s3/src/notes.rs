//! What the layers of one request tell each other.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::BodyFault;

/// Travels in the request's extensions.
#[derive(Debug)]
pub(crate) struct Notes {
    /// The request's id, 16 hex digits.
    pub id: String,
    /// The operation, known once the request was routed.
    pub operation: OnceLock<&'static str>,
    /// What was wrong with a document body: the framework answers `InternalError` for it.
    pub fault: OnceLock<BodyFault>,
    /// Whether the connection is to end with the answer.
    pub last: AtomicBool,
}

/// Makes request ids: unique in a process, unlike between processes.
#[derive(Debug)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    pub(crate) fn new(rng: &dyn base::Rng) -> Self {
        let mut seed = [0; 8];
        rng.fill(&mut seed);
        Self(AtomicU64::new(u64::from_le_bytes(seed)))
    }

    pub(crate) fn notes(&self) -> Arc<Notes> {
        // An odd step walks through all 2^64 values before one repeats.
        let id = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let id = format!("{id:016X}");
        let last = AtomicBool::new(false);
        Arc::new(Notes { id, operation: OnceLock::new(), fault: OnceLock::new(), last })
    }
}

/// So many bytes at a body's end are read by the server itself where nobody else wanted them: those
/// after the last chunk of an `aws-chunked` one.
const LITTLE: u64 = 64;

/// A request's body, whose end is noted. A client that was answered before it sent all of its body
/// must not use the connection again: it is told so, or its next request would meet a closed door.
pub(crate) struct Watched {
    inner: Incoming,
    empty: bool,
    notes: Arc<Notes>,
}

impl Watched {
    pub(crate) fn new(request: Request<Incoming>, notes: Arc<Notes>) -> Request<Self> {
        // An empty body is answered without a `100 Continue`. botocore, once it has asked for one and
        // got its answer at once, misreads the next answer on that connection.
        let asks = request.headers().contains_key(header::EXPECT);
        let empty = request.body().is_end_stream();
        notes.last.store(asks || !empty, Ordering::Relaxed);
        request.map(|inner| Self { inner, empty, notes })
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let little = self.inner.size_hint().upper().is_some_and(|left| left <= LITTLE);
        if !self.empty && (matches!(polled, Poll::Ready(None)) || little) {
            self.notes.last.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
