//! XML documents in request bodies (DeleteObjects, CompleteMultipartUpload, CreateBucket).
//!
//! The framework reads them whole, does not look at their digests, and answers `InternalError`
//! when their signature's hash is wrong. Here they are hashed on the way; what is wrong is noted
//! for the endpoint, which answers with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use md5::{Digest as _, Md5};
use s3s::{S3Result, StdError};
use tokio::time::Sleep;

use crate::body::{BodyFault, content_md5, given_checksum};
use crate::checksum::{Algorithm, Hasher};
use crate::limits::DOCUMENT_TIMEOUT;
use crate::notes::Notes;

/// A document's bytes, checked as they pass.
pub(crate) struct Document<B> {
    inner: B,
    notes: Arc<Notes>,
    left: Option<u64>,
    /// What came of a PUT's.
    kept: Option<BytesMut>,
    checks: Option<Checks>,
    /// When all of it must have come: a client that sends a byte now and then must not hold a
    /// connection.
    deadline: Pin<Box<Sleep>>,
}

struct Checks {
    md5: Option<(Md5, [u8; 16])>,
    checksum: Option<(Hasher, String)>,
    sha256: Option<(Hasher, [u8; 32])>,
}

impl<B> Document<B> {
    /// # Errors
    /// `InvalidDigest`, `InvalidRequest` for promises that cannot be kept by any body.
    pub(crate) fn new(inner: B, head: &http::request::Parts, notes: Arc<Notes>) -> S3Result<Self> {
        let headers = &head.headers;
        // A completion's checksum is of the object that it makes.
        let of_object = head.uri.query().is_some_and(|query| query.contains("uploadId"));
        let checksum = if of_object { None } else { given_checksum(headers)? };
        let left = headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let checks = Checks {
            md5: content_md5(headers)?.map(|expected| (Md5::new(), expected)),
            checksum: checksum.map(|(algorithm, value)| (Hasher::new(algorithm), value)),
            sha256: signed_hash(headers).map(|expected| (Hasher::new(Algorithm::Sha256), expected)),
        };
        let deadline = Box::pin(tokio::time::sleep(DOCUMENT_TIMEOUT));
        let kept = (head.method == http::Method::PUT).then(BytesMut::new);
        Ok(Self { inner, notes, left, kept, checks: Some(checks), deadline })
    }

    /// Judges at the declared length, not at the end: the framework may not read on.
    fn pass(&mut self, bytes: &Bytes) -> Result<(), BodyFault> {
        let Some(checks) = &mut self.checks else { return Ok(()) };
        checks.update(bytes);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        if self.left == Some(0) { self.judge() } else { Ok(()) }
    }

    fn judge(&mut self) -> Result<(), BodyFault> {
        let Some(checks) = self.checks.take() else { return Ok(()) };
        checks.judge()?;
        if let Some(kept) = self.kept.take() {
            let _ = self.notes.document.set(kept.freeze());
        }
        Ok(())
    }

    fn note<T>(&self, fault: BodyFault) -> Poll<Option<Result<T, StdError>>> {
        let error = Box::new(fault.clone());
        let _ = self.notes.fault.set(fault);
        Poll::Ready(Some(Err(error)))
    }
}

impl Checks {
    fn update(&mut self, bytes: &[u8]) {
        if let Some((md5, _)) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some((hasher, _)) = &mut self.checksum {
            hasher.update(bytes);
        }
        if let Some((hasher, _)) = &mut self.sha256 {
            hasher.update(bytes);
        }
    }

    fn judge(self) -> Result<(), BodyFault> {
        if self.sha256.is_some_and(|(hasher, expected)| hasher.finish() != expected) {
            return Err(BodyFault::Sha256);
        }
        if self.md5.is_some_and(|(md5, expected)| md5.finalize().as_slice() != expected) {
            return Err(BodyFault::Md5);
        }
        if let Some((hasher, expected)) = self.checksum {
            let name = hasher.algorithm.name();
            if hasher.finish_base64() != expected {
                return Err(BodyFault::Checksum(name));
            }
        }
        Ok(())
    }
}

/// `x-amz-content-sha256` when it is a hash and not one of the words that stand for none.
fn signed_hash(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let text = headers.get("x-amz-content-sha256")?;
    hex::decode_to_slice(text.as_bytes(), &mut hash).ok()?;
    Some(hash)
}

impl<B> Body for Document<B>
where
    B: Body<Data = Bytes> + Unpin,
    StdError: From<B::Error>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let polled = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                return self.note(BodyFault::Slow);
            }
        };
        let checked = match polled {
            None => match self.judge() {
                Ok(()) => return Poll::Ready(None),
                Err(fault) => Err(fault),
            },
            Some(Err(error)) => Err(BodyFault::of_stream(&error.into())),
            Some(Ok(frame)) => match frame.data_ref().map_or(Ok(()), |bytes| self.pass(&bytes.clone())) {
                Ok(()) => Ok(frame),
                Err(fault) => Err(fault),
            },
        };
        match checked {
            Ok(frame) => Poll::Ready(Some(Ok(frame))),
            Err(fault) => self.note(fault),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use http::Request;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::limits::BODY_TIMEOUT;
    use crate::notes::RequestIds;

    #[tokio::test(start_paused = true)]
    async fn a_document_that_trickles_is_given_up() {
        let frames = futures::stream::repeat(()).then(|()| async {
            sleep(BODY_TIMEOUT - Duration::from_secs(1)).await;
            Ok::<_, StdError>(Frame::data(Bytes::from_static(b"x")))
        });
        let (head, body) = Request::new(StreamBody::new(frames.boxed())).into_parts();
        let notes = RequestIds::new(&base::SystemRng).notes();
        let started = Instant::now();
        assert!(Document::new(body, &head, notes.clone()).unwrap().collect().await.is_err());
        assert_eq!(started.elapsed(), DOCUMENT_TIMEOUT);
        assert_eq!(notes.fault.get(), Some(&BodyFault::Slow));
    }
}
