//! A reader that does not wait for ever for a client: not in one silence, and not in many short ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::{PACE_LEAST, PACE_WINDOW, SILENCE_MAX};

/// Reads from a client. Only time in which nothing was there is held against it: while this side is busy, it may be fast and not know.
#[derive(Debug)]
pub(crate) struct Paced<R> {
    from: R,
    /// `None`: there is no hurry.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// Waited for the client in this window, without the wait that goes on.
    waited: Duration,
    /// Bytes in this window.
    came: u64,
    since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl<R> Paced<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, watch: None }
    }

    /// From now on the client must be quick, or need not.
    pub(crate) fn hurry(&mut self, hurry: bool) {
        self.watch = hurry.then(|| Watch {
            waited: Duration::ZERO,
            came: 0,
            since: None,
            alarm: Box::pin(sleep_until(Instant::now())),
        });
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }
}

impl Watch {
    /// Bytes are there.
    fn came(&mut self, count: u64) -> io::Result<()> {
        self.came += count;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
            self.look()?;
        }
        Ok(())
    }

    /// Nothing is there: fails when that was so for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.since.is_none() {
                let now = Instant::now();
                self.since = Some(now);
                self.alarm.as_mut().reset(now + SILENCE_MAX.min(PACE_WINDOW.saturating_sub(self.waited)));
            }
            ready!(self.alarm.as_mut().poll(cx));
            let silence = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            if silence >= SILENCE_MAX {
                return Poll::Ready(too_slow());
            }
            self.waited += silence;
            if let Err(error) = self.look() {
                return Poll::Ready(error);
            }
        }
    }

    /// At the end of a window: did enough come in it?
    fn look(&mut self) -> io::Result<()> {
        if self.waited < PACE_WINDOW {
            return Ok(());
        }
        if self.came < PACE_LEAST * PACE_WINDOW.as_secs() {
            return Err(too_slow());
        }
        (self.waited, self.came) = (Duration::ZERO, 0);
        Ok(())
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
}

impl<R: AsyncRead + Unpin> AsyncRead for Paced<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = out.filled().len();
        let read = Pin::new(&mut this.from).poll_read(cx, out)?;
        let Some(watch) = &mut this.watch else { return read.map(Ok) };
        match read {
            Poll::Ready(()) => Poll::Ready(watch.came((out.filled().len() - before) as u64)),
            Poll::Pending => watch.wait(cx).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What becomes of a client that sends so many bytes after each pause, `times` times, while this side is busy for `ours` before each read.
    async fn sends(bytes: usize, pause: Duration, times: usize, ours: Duration) -> io::Result<usize> {
        let (mut client, server) = duplex(1 << 20);
        let sending = tokio::spawn(async move {
            for _ in 0..times {
                tokio::time::sleep(pause).await;
                if client.write_all(&vec![0; bytes]).await.is_err() {
                    return;
                }
            }
        });
        let mut reader = Paced::new(server);
        reader.hurry(true);
        let (mut all, mut piece) = (0, vec![0; 64 << 10]);
        loop {
            tokio::time::sleep(ours).await;
            match reader.read(&mut piece).await? {
                0 => break,
                count => all += count,
            }
        }
        drop(sending);
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_cut_and_one_that_pauses_is_not() {
        let second = Duration::from_secs(1);
        let kind = |result: io::Result<usize>| result.map_err(|error| error.kind());
        // A byte a second: for ever, if it were for single reads.
        assert_eq!(kind(sends(1, second, 1000, Duration::ZERO).await), Err(io::ErrorKind::TimedOut));
        // Nothing at all.
        assert_eq!(kind(sends(1 << 20, SILENCE_MAX + second, 1, Duration::ZERO).await), Err(io::ErrorKind::TimedOut));
        // A modem.
        assert_eq!(sends(1200, second, 1000, Duration::ZERO).await.unwrap(), 1_200_000);
        // A mail whose sender pauses.
        assert_eq!(sends(200_000, SILENCE_MAX - second, 5, Duration::ZERO).await.unwrap(), 1_000_000);
        // It was this side that was slow.
        assert_eq!(sends(100, Duration::ZERO, 100, 60 * second).await.unwrap(), 10_000);
    }
}
