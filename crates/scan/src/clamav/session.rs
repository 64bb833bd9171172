//! A connection to `clamd` over which one content after the other is asked about (`IDSESSION`, clamd(8)): to be accepted costs clamd as much as a
//! small file does.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::time::Instant;

/// Bytes of an answer: a name, and little else.
const ANSWER_MAX: usize = 4096;
/// One that rests for longer may be ended by clamd (`CommandReadTimeout`, 30 s) while it is asked.
const RESTS_MAX: Duration = Duration::from_secs(10);

/// There is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// It could not be sent: it is of no content's making.
    NotAsked,
    /// The connection ended, or made no sense, while clamd had it.
    Asked,
}

/// A session in which nothing is under way.
#[derive(Debug)]
pub(crate) struct Session {
    stream: UnixStream,
    /// Commands so far: clamd counts them, and says the number with its answer.
    count: u64,
    rests: Instant,
}

impl Session {
    pub(crate) async fn open(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(socket).await?, count: 0, rests: Instant::now() })
    }

    /// Whether the other side has not ended it.
    pub(crate) fn is_open(&self) -> bool {
        // The system's own word: the runtime's may be that of a moment ago.
        let said = recv(&self.stream, &mut [0u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        said.is_err_and(|error| error == Errno::AGAIN) && self.rests.elapsed() < RESTS_MAX
    }

    /// What is said of a file, without the number.
    ///
    /// # Errors
    /// Whether clamd may have got it.
    pub(crate) async fn ask(&mut self, file: &File) -> Result<Vec<u8>, Unanswered> {
        let command: &[u8] = if self.count == 0 { b"zIDSESSION\0zFILDES\0\0" } else { b"zFILDES\0\0" };
        self.send(command, file).await.map_err(|_| Unanswered::NotAsked)?;
        self.count += 1;
        let answer = self.answer().await.map_err(|_| Unanswered::Asked)?;
        let number = format!("{}: ", self.count);
        // That to another question is none.
        let said = answer.strip_prefix(number.as_bytes()).ok_or(Unanswered::Asked)?.to_vec();
        self.rests = Instant::now();
        Ok(said)
    }

    /// Sends a command, and a descriptor with it, which belongs to its last byte (`clamd/session.c`).
    async fn send(&self, command: &[u8], file: &File) -> io::Result<()> {
        let sent = self.stream.async_io(Interest::WRITABLE, || {
            let fds = [file.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
            Ok(sendmsg(&self.stream, &[IoSlice::new(command)], &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        // A socket into which so little has been written takes it as a whole.
        if sent.await? == command.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    async fn answer(&mut self) -> io::Result<Vec<u8>> {
        let mut answer = Vec::with_capacity(256);
        loop {
            if self.stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if answer.ends_with(&[0]) {
                return Ok(answer);
            }
            if answer.len() > ANSWER_MAX {
                return Err(io::Error::other("the answer has no end"));
            }
        }
    }
}
