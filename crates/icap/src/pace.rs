//! A connection whose client must keep up: it may be silent for so long, and must move so many bytes a second in the mean.
//!
//! A direction has some seconds to spend. Waiting for the client spends them, bytes earn them back, up to what it had at first. So a client that
//! sends a byte a minute is cut after a minute, and one that is slow but steady is not. Time that passes on our side costs nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::limits::LEAST_RATE;

/// What one direction has to spend.
#[derive(Debug)]
struct Pace {
    most: Duration,
    left: Duration,
    /// Since when it waits for the client.
    since: Option<Instant>,
    until: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn new(most: Duration) -> Self {
        Self { most, left: most, since: None, until: None }
    }

    fn restart(&mut self, most: Duration) {
        (self.most, self.left, self.since) = (most, most, None);
    }

    /// The client moved so many bytes.
    fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let earned = Duration::from_secs(1).saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX)) / LEAST_RATE;
        self.left = self.left.saturating_add(earned).min(self.most);
    }

    /// It waits for the client; ready when there is nothing left to spend.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.left)));
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            until.as_mut().reset(now + self.left);
        }
        ready!(until.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client is too slow"))
    }

    /// What came of an attempt that moved `bytes` if it succeeded.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Ok(done)) => {
                self.moved(bytes(&done));
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(cx).map(Err),
        }
    }
}

/// A stream that is paced in both directions.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    read: Pace,
    write: Pace,
}

impl<S> Paced<S> {
    /// `most`: how long the client may be silent.
    pub(crate) fn new(stream: S, most: Duration) -> Self {
        Self { stream, read: Pace::new(most), write: Pace::new(most) }
    }

    /// From now on the client may be silent for `most`.
    pub(crate) fn restart(&mut self, most: Duration) {
        self.read.restart(most);
        self.write.restart(most);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        this.read.judge(cx, polled, |()| read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.write.judge(cx, polled, |written| *written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.write.judge(cx, polled, |()| 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.write.judge(cx, polled, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const MOST: Duration = Duration::from_secs(60);

    /// A client that sends `bytes` every `every`, and how long it is read from until it is cut.
    async fn cut_after(bytes: usize, every: Duration, rounds: u32) -> Option<Duration> {
        let (mut client, server) = duplex(1 << 20);
        let mut paced = Paced::new(server, MOST);
        let sends = async {
            for _ in 0..rounds {
                tokio::time::sleep(every).await;
                client.write_all(&vec![0; bytes]).await.expect("the server is there");
            }
            // It stays, silent or not.
            std::future::pending::<()>().await;
        };
        let began = Instant::now();
        let reads = async {
            let mut left = bytes * rounds as usize;
            let mut buffer = vec![0; 4096];
            while left > 0 {
                match paced.read(&mut buffer).await {
                    Ok(read) => left -= read,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                        return Some(began.elapsed());
                    }
                }
            }
            None
        };
        tokio::select! {
            () = sends => None,
            cut = reads => cut,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_is_cut_and_who_is_steady_is_not() {
        let second = Duration::from_secs(1);
        // Nothing at all.
        assert_eq!(cut_after(1, 3600 * second, 1).await, Some(MOST));
        // A byte every ten seconds earns a sixtieth of a second each hour.
        let trickle = cut_after(1, 10 * second, 1000).await.expect("it is cut");
        assert!(trickle >= MOST && trickle < MOST + second, "{trickle:?}");
        // At half of the rate it takes twice as long as silence.
        let half = cut_after(512, second, 1000).await.expect("it is cut");
        assert!(half > 110 * second && half < 130 * second, "{half:?}");
        // At the rate, and in bursts that keep the mean, it goes on.
        assert_eq!(cut_after(1024, second, 1000).await, None);
        assert_eq!(cut_after(50 * 1024, 50 * second, 100).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_passes_here_costs_the_client_nothing() {
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, MOST);
        for _ in 0..10 {
            client.write_all(b"x").await.expect("there is room");
            tokio::time::sleep(50 * Duration::from_secs(1)).await;
            assert_eq!(paced.read_u8().await.expect("it is not cut"), b'x');
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_cut() {
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, MOST);
        let began = Instant::now();
        let error = paced.write_all(&[0; 100]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, MOST));
    }
}
