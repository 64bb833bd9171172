//! What the layers of one request tell each other.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use s3s::StdError;
use tokio::time::Sleep;

use crate::body::BodyFault;
use crate::limits::BODY_TIMEOUT;

/// Travels in the request's extensions.
#[derive(Debug)]
pub(crate) struct Notes {
    /// The request's id, 16 hex digits.
    pub id: String,
    /// The operation, known once the request was routed.
    pub operation: OnceLock<&'static str>,
    /// What was wrong with a body on its way to the framework, which answers `InternalError` for it.
    pub fault: OnceLock<BodyFault>,
    /// The document of a PUT, whole and checked: the framework's model of it lacks what is new in S3.
    pub document: OnceLock<Bytes>,
    /// Whether the connection is to end with the answer.
    pub last: AtomicBool,
}

/// Makes request ids: unique in a process, unlike between processes.
#[derive(Debug)]
pub(crate) struct RequestIds {
    next: AtomicU64,
    /// The process's own, 16 hex digits.
    pub host: String,
}

impl RequestIds {
    pub(crate) fn new(rng: &dyn base::Rng) -> Self {
        let mut seeds = [[0; 8]; 2];
        seeds.iter_mut().for_each(|seed| rng.fill(seed));
        let [next, host] = seeds.map(u64::from_le_bytes);
        Self { next: AtomicU64::new(next), host: format!("{host:016X}") }
    }

    pub(crate) fn notes(&self) -> Arc<Notes> {
        // An odd step walks through all 2^64 values before one repeats.
        let id = self.next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let id = format!("{id:016X}");
        let last = AtomicBool::new(false);
        let (operation, fault, document) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Arc::new(Notes { id, operation, fault, document, last })
    }
}

/// So many bytes at a body's end are read by the server itself where nobody else wanted them: those
/// after the last chunk of an `aws-chunked` one.
const LITTLE: u64 = 64;

/// A request's body, whose end is noted. A client that was answered before it sent all of its body
/// must not use the connection again: it is told so, or its next request would meet a closed door.
///
/// Every body passes here, whoever reads it: a client that sends nothing for [`BODY_TIMEOUT`] must
/// not hold a connection.
pub(crate) struct Watched<B = Incoming> {
    inner: B,
    empty: bool,
    notes: Arc<Notes>,
    /// Runs while bytes are waited for.
    late: Option<Pin<Box<Sleep>>>,
}

impl<B: Body> Watched<B> {
    pub(crate) fn new(request: Request<B>, notes: Arc<Notes>) -> Request<Self> {
        // An empty body is answered without a `100 Continue`. botocore, once it has asked for one and
        // got its answer at once, misreads the next answer on that connection.
        let asks = request.headers().contains_key(header::EXPECT);
        let empty = request.body().is_end_stream();
        notes.last.store(asks || !empty, Ordering::Relaxed);
        request.map(|inner| Self { inner, empty, notes, late: None })
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
    StdError: From<B::Error>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
            ready!(late.as_mut().poll(cx));
            let _ = self.notes.fault.set(BodyFault::Timeout);
            return Poll::Ready(Some(Err(BodyFault::Timeout.into())));
        }
        self.late = None;
        let little = self.inner.size_hint().upper().is_some_and(|left| left <= LITTLE);
        if !self.empty && (matches!(polled, Poll::Ready(None)) || little) {
            self.notes.last.store(false, Ordering::Relaxed);
        }
        polled.map_err(StdError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::{Duration, Instant, sleep};

    use super::*;

    fn watched(
        bytes: usize,
        every: Duration,
    ) -> (Watched<impl Body<Data = Bytes, Error = StdError> + Unpin>, Arc<Notes>) {
        let frame = move |left: usize| async move {
            sleep(every).await;
            let frame: Result<_, StdError> = Ok(Frame::data(Bytes::from_static(b"x")));
            (left > 0).then_some((frame, left.wrapping_sub(1)))
        };
        let frames = StreamBody::new(futures::stream::unfold(bytes, frame).boxed());
        let notes = RequestIds::new(&base::SystemRng).notes();
        (Watched::new(Request::new(frames), notes.clone()).into_body(), notes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let (body, notes) = watched(9, BODY_TIMEOUT + Duration::from_secs(1));
        let started = Instant::now();
        let error = body.collect().await.err().unwrap();
        assert_eq!(error.downcast_ref::<BodyFault>(), Some(&BodyFault::Timeout));
        assert_eq!(started.elapsed(), BODY_TIMEOUT);
        assert_eq!(notes.fault.get(), Some(&BodyFault::Timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_goes_on_is_waited_for() {
        let (body, notes) = watched(9, BODY_TIMEOUT - Duration::from_secs(1));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "xxxxxxxxx");
        assert_eq!(notes.fault.get(), None);
    }
}
