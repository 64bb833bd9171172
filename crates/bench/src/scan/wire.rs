//! The bench's own client of clamd's protocol: descriptors of files, many under way in one session, and streams.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::error::Error;

/// Commands under way on one connection.
const UNDER_WAY: usize = 16;
/// An answer takes no longer than this: the slowest file takes an engine some seconds.
const PATIENCE: Duration = Duration::from_secs(180);
/// Bytes of a chunk of a stream.
const CHUNK: usize = 1 << 20;

/// A connection.
pub struct Client<S> {
    stream: S,
    read: Vec<u8>,
}

impl Client<UnixStream> {
    /// To a socket.
    pub fn local(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// `PING`.
    pub fn ping(&mut self) -> io::Result<()> {
        self.stream.write_all(b"zPING\0")?;
        let answer = self.answer()?;
        if answer == "PONG" { Ok(()) } else { Err(io::Error::other(answer)) }
    }

    /// What is said of files, in their order: `OK`, `NAME FOUND` or `WHY ERROR`.
    pub fn files(&mut self, paths: &[PathBuf]) -> io::Result<Vec<String>> {
        self.stream.write_all(b"zIDSESSION\0")?;
        let mut said = vec![String::new(); paths.len()];
        let (mut sent, mut answered) = (0, 0);
        while answered < paths.len() {
            while sent < paths.len() && sent - answered < UNDER_WAY {
                self.file(&paths[sent])?;
                sent += 1;
            }
            let answer = self.answer()?;
            let (number, verdict) = numbered(&answer).ok_or_else(|| io::Error::other(answer.clone()))?;
            let place = number.checked_sub(1).and_then(|number| said.get_mut(number));
            *place.ok_or_else(|| io::Error::other(answer.clone()))? = verdict.to_owned();
            answered += 1;
        }
        self.stream.write_all(b"zEND\0")?;
        Ok(said)
    }

    /// As clamdscan sends them: the command, then the descriptor with a byte of no meaning.
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        self.stream.write_all(b"zFILDES\0")?;
        let fds = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&self.stream, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Client<TcpStream> {
    /// To an address.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }
}

impl<S: Read + Write> Client<S> {
    /// Begins a session, in which many streams are sent.
    pub fn session(&mut self) -> io::Result<()> {
        self.stream.write_all(b"zIDSESSION\0")
    }

    /// What is said of a content that is sent in chunks of [`CHUNK`] bytes.
    pub fn stream(&mut self, content: &[u8]) -> io::Result<String> {
        self.stream.write_all(b"zINSTREAM\0")?;
        for chunk in content.chunks(CHUNK) {
            let len = u32::try_from(chunk.len()).map_err(io::Error::other)?;
            self.stream.write_all(&len.to_be_bytes())?;
            self.stream.write_all(chunk)?;
        }
        self.stream.write_all(&0_u32.to_be_bytes())?;
        let answer = self.answer()?;
        let said = numbered(&answer).map(|(_, verdict)| verdict.to_owned());
        said.ok_or_else(|| io::Error::other(answer))
    }

    /// The next answer, without its end.
    fn answer(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == 0) {
                let answer = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..=end);
                return Ok(answer);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.read.extend_from_slice(&piece[..count]),
            }
        }
    }
}

/// `3: fd[9]: OK` is what is said of the third.
fn numbered(answer: &str) -> Option<(usize, &str)> {
    let (number, rest) = answer.split_once(": ")?;
    let (_, verdict) = rest.split_once(": ")?;
    Some((number.parse().ok()?, verdict))
}

/// All files over several connections at once.
pub fn scan(socket: &Path, paths: &[PathBuf], connections: usize) -> Result<Vec<String>, Error> {
    let share = paths.len().div_ceil(connections.max(1)).max(1);
    let failed = || Error::path("talk to", socket);
    std::thread::scope(|scope| {
        let one = |paths| scope.spawn(move || Client::local(socket)?.files(paths));
        let all: Vec<_> = paths.chunks(share).map(one).collect();
        let mut said = Vec::with_capacity(paths.len());
        for client in all {
            let ended = client.join().map_err(|_| Error::Unreadable("what a client said: it panicked".to_owned()))?;
            said.extend(ended.map_err(failed())?);
        }
        Ok(said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_of_the_command_with_its_number() {
        assert_eq!(numbered("3: fd[9]: OK"), Some((3, "OK")));
        assert_eq!(numbered("12: stream: a: b FOUND"), Some((12, "a: b FOUND")));
        assert_eq!(numbered("COMMAND READ TIMED OUT"), None);
    }
}
