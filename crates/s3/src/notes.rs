//! What the layers of one request tell each other.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
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
    /// Whether some of the request's body has not been read.
    pub unread: AtomicBool,
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
        let unread = AtomicBool::new(false);
        Arc::new(Notes { id, operation: OnceLock::new(), fault: OnceLock::new(), unread })
    }
}

/// A request's body, whose end is noted. A client that was answered before it sent all of its body
/// must not use the connection again: it is told so, or its next request would meet a closed door.
pub(crate) struct Watched {
    inner: Incoming,
    notes: Arc<Notes>,
}

impl Watched {
    pub(crate) fn new(inner: Incoming, notes: Arc<Notes>) -> Self {
        notes.unread.store(!inner.is_end_stream(), Ordering::Relaxed);
        Self { inner, notes }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.notes.unread.store(false, Ordering::Relaxed);
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
