//! Answers that may be old: who accepts them, and how old they were.
//!
//! Reads are strong, unless what asks has said beforehand that an old answer is better for it than none: it runs inside [`accepting`]. What
//! is read for it says here how old it may be, so that whoever answers in the end can tell. All else asks as ever, and is refused
//! where no strong answer is to be had.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::Stream;

tokio::task_local! {
    static ANSWER: Arc<Answer>;
}

/// Of an answer that is not old.
const STRONG: u64 = u64::MAX;

/// How old an answer is.
#[derive(Debug)]
pub struct Answer(AtomicU64);

impl Default for Answer {
    fn default() -> Self {
        Self(AtomicU64::new(STRONG))
    }
}

impl Answer {
    /// Everything that was acknowledged so many milliseconds ago, or earlier, is in it; `None`: all there is.
    pub fn age_ms(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|age_ms| *age_ms != STRONG)
    }

    fn note(&self, age_ms: u64) {
        let oldest = |known| Some(if known == STRONG { age_ms } else { age_ms.max(known) });
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, oldest);
    }
}

/// Does something that accepts old answers; how old they were is told to `answer`.
pub async fn accepting<F: Future>(answer: Arc<Answer>, work: F) -> F::Output {
    ANSWER.scope(answer, work).await
}

/// Whether who asks now accepts old answers.
pub fn is_accepted() -> bool {
    ANSWER.try_with(|_| ()).is_ok()
}

/// How old the answer is so far; `None` also where nobody accepts old ones.
pub fn age_ms() -> Option<u64> {
    ANSWER.try_with(|answer| answer.age_ms()).ok().flatten()
}

/// Something that was used for the answer was so old.
pub fn note(age_ms: u64) {
    let _ = ANSWER.try_with(|answer| answer.note(age_ms));
}

/// A stream whose pieces are made as whoever called this accepts them: streams go on after what made them has ended.
pub fn carried<S: Stream + Unpin>(stream: S) -> Carried<S> {
    Carried { answer: ANSWER.try_with(Clone::clone).ok(), stream }
}

/// See [`carried`].
pub struct Carried<S> {
    answer: Option<Arc<Answer>>,
    stream: S,
}

impl<S: Stream + Unpin> Stream for Carried<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Self { answer, stream } = &mut *self;
        match answer {
            Some(answer) => ANSWER.sync_scope(answer.clone(), || Pin::new(stream).poll_next(cx)),
            None => Pin::new(stream).poll_next(cx),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn the_oldest_counts() {
        assert!(!is_accepted());
        note(7);
        assert_eq!(age_ms(), None, "nobody accepts it");
        let answer = Arc::new(Answer::default());
        accepting(answer.clone(), async {
            assert!(is_accepted());
            assert_eq!(age_ms(), None);
            note(3);
            note(5);
            note(4);
            assert_eq!(age_ms(), Some(5));
        })
        .await;
        assert_eq!(answer.age_ms(), Some(5));
    }

    #[tokio::test]
    async fn a_stream_carries_it_on() {
        let answer = Arc::new(Answer::default());
        let made = async { carried(futures::stream::once(async { is_accepted() }).boxed()) };
        assert_eq!(accepting(answer, made).await.collect::<Vec<_>>().await, [true]);
        assert_eq!(carried(futures::stream::once(async { is_accepted() }).boxed()).collect::<Vec<_>>().await, [false]);
    }
}
