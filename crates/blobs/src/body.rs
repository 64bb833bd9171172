//! Bodies, and the memory that all of them share.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Payload;
use crate::fault::{Code, Fault};
use crate::limits::{BODY_TIMEOUT, MEMORY_MIN, OBJECT_MAX, ROOM_TIMEOUT};

/// Room for bodies in flight. Who wants some waits in line; nobody asks for more while holding some.
#[derive(Clone)]
pub(crate) struct Room(Arc<Semaphore>);

/// Room that is held until this is dropped.
pub(crate) type Held = OwnedSemaphorePermit;

impl Room {
    pub(crate) fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes.max(MEMORY_MIN)).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Waits for room for a body.
    ///
    /// # Errors
    /// `EntityTooLarge`; `SlowDown` after [`ROOM_TIMEOUT`].
    pub(crate) async fn take(&self, bytes: u64) -> Result<Held, Fault> {
        let permits = u32::try_from(bytes).ok().filter(|_| bytes <= OBJECT_MAX).ok_or_else(|| {
            Fault::new(Code::EntityTooLarge, format!("{bytes} bytes at once; at most {OBJECT_MAX} go through here"))
        })?;
        let taken = tokio::time::timeout(ROOM_TIMEOUT, self.0.clone().acquire_many_owned(permits)).await;
        taken.ok().and_then(Result::ok).ok_or_else(|| {
            Fault::new(
                Code::SlowDown,
                "too many bodies are in flight; give the server more memory, or ask it less at once",
            )
        })
    }
}

/// Reads a body of `len` bytes to its end, as it comes: without copying it together.
///
/// # Errors
/// `IncompleteBody`, `RequestTimeout`, `XAmzContentSHA256Mismatch`.
pub(crate) async fn read<B>(mut body: B, len: u64, payload: Payload) -> Result<Vec<Bytes>, Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let broken = |why: &dyn std::fmt::Display| Fault::new(Code::IncompleteBody, format!("the body ended early: {why}"));
    let whole = async {
        let mut sum = matches!(payload, Payload::Sha256(_)).then(|| digest::Context::new(&digest::SHA256));
        let (mut frames, mut left) = (Vec::new(), len);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            left = left.checked_sub(data.len() as u64).ok_or_else(|| broken(&"it is longer than it said"))?;
            if let Some(sum) = &mut sum {
                sum.update(&data);
            }
            frames.push(data);
        }
        if left > 0 {
            return Err(broken(&format!("{left} bytes are missing")));
        }
        let came = sum.map(digest::Context::finish);
        match (payload, came) {
            (Payload::Sha256(given), Some(came)) if came.as_ref() != given => {
                Err(Fault::new(Code::BadDigest, "the body is not the one that was signed"))
            }
            _ => Ok(frames),
        }
    };
    let late = |_| Fault::new(Code::RequestTimeout, "the body did not come in time");
    tokio::time::timeout(BODY_TIMEOUT, whole).await.map_err(late)?
}

/// An answer's body, and the room that it takes until it is sent.
pub struct Reply {
    bytes: Option<Bytes>,
    _held: Option<Held>,
}

impl Reply {
    pub(crate) fn empty() -> Self {
        Self { bytes: None, _held: None }
    }

    pub(crate) fn text(text: String) -> Self {
        Self { bytes: Some(text.into()), _held: None }
    }

    pub(crate) fn held(bytes: Bytes, held: Held) -> Self {
        Self { bytes: Some(bytes), _held: Some(held) }
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn bodies_are_what_was_said() {
        let text = Bytes::from_static(b"hello");
        let sum = |of: &[u8]| {
            let mut sum = [0; 32];
            sum.copy_from_slice(digest::digest(&digest::SHA256, of).as_ref());
            Payload::Sha256(sum)
        };
        for (len, payload, expected) in [
            (5, Payload::Unsigned, Ok(())),
            (5, sum(b"hello"), Ok(())),
            (5, sum(b"hallo"), Err(Code::BadDigest)),
            (6, Payload::Unsigned, Err(Code::IncompleteBody)),
            (4, Payload::Unsigned, Err(Code::IncompleteBody)),
        ] {
            let read = read(Full::new(text.clone()), len, payload).await;
            assert_eq!(read.map(drop).map_err(|fault| fault.code), expected, "{len} {payload:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_waited_for_and_bounded() {
        let room = Room::new(MEMORY_MIN);
        assert_eq!(room.take(OBJECT_MAX + 1).await.unwrap_err().code, Code::EntityTooLarge);
        let mut held = Vec::new();
        for _ in 0..MEMORY_MIN / OBJECT_MAX {
            held.push(room.take(OBJECT_MAX).await.unwrap());
        }
        assert_eq!(room.take(1).await.unwrap_err().code, Code::SlowDown);
        drop(Reply::held(Bytes::new(), held.pop().unwrap()));
        assert!(room.take(OBJECT_MAX).await.is_ok());
    }
}
