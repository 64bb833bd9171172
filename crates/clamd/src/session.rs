//! A connection: commands come in, answers go out. Thin: what is asked is in `parse`, what is said in `reply`.
//!
//! One command, one answer, and the connection ends, as with clamd. In a session (`IDSESSION`) several commands may be under way, and each
//! is answered when its answer is there. Answers are written beside the reading, so that neither side waits for the other one for ever.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;

use futures::{StreamExt, stream};
use scan::{Answer, Asker, Lane, ScanError, Scanner};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::limits::{COMMAND_TIMEOUT, IN_FLIGHT_MAX, LINGER, MULTISCAN_MAX, PLAIN_PAUSE, WALK_DEADLINE, WRITE_TIMEOUT};
use crate::parse::{self, Command, Framing, Line, Next, Walk};
use crate::reader::{Misused, Reader, StreamError, Wire};
use crate::reply::{STREAM, TIMED_OUT, UNAVAILABLE, UNKNOWN, Voice};
use crate::walk::{Found, walk};

/// What a client may do beyond sending streams.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rights {
    /// Name files for the server to open, as the server's user may.
    pub(crate) paths: bool,
    /// Pass descriptors.
    pub(crate) descriptors: bool,
}

/// What all connections of a door have in common.
pub(crate) struct Door {
    pub(crate) scanner: Scanner,
    pub(crate) options: Options,
}

/// Serves a connection to its end. `stop`: no more commands are taken; those under way are answered.
pub(crate) async fn serve<R: Wire, W: AsyncWrite + Unpin>(
    door: Arc<Door>,
    rights: Rights,
    reader: R,
    writer: W,
    stop: CancellationToken,
) {
    let (answers, lines) = channel(IN_FLIGHT_MAX);
    let mut talk = pin!(Session::new(door, rights, Reader::new(reader), answers, stop).talk());
    let mut speak = pin!(speak(writer, lines));
    let (unread, spoke) = tokio::select! {
        unread = &mut talk => (unread, speak.await),
        // It ends before the talk only when it fails. What is under way is given up: nobody would hear of it.
        spoke = &mut speak => (None, spoke),
    };
    let ended = match (spoke, unread) {
        (Ok(mut writer), Some(reader)) => match writer.shutdown().await {
            Ok(()) => linger(reader).await,
            Err(error) => Err(error),
        },
        (Ok(mut writer), None) => writer.shutdown().await,
        (Err(error), _) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client of the clamd door went early");
    }
}

/// Writes answers, each as a whole: clients take what one read has for whole lines. An empty one writes nothing and fails if the client is gone.
async fn speak<W: AsyncWrite + Unpin>(mut writer: W, mut lines: Receiver<Vec<u8>>) -> io::Result<W> {
    while let Some(line) = lines.recv().await {
        if line.is_empty() {
            let _ = writer.write(&line).await?;
        } else {
            timeout(WRITE_TIMEOUT, writer.write_all(&line)).await??;
        }
    }
    Ok(writer)
}

/// Reads what a client sends that was told something it did not expect yet.
async fn linger<R: Wire>(mut reader: Reader<R>) -> io::Result<()> {
    let (time, bytes) = LINGER;
    let drain = async {
        let mut left = bytes;
        while left > 0 {
            let here = reader.bytes().len();
            reader.took(here);
            match reader.fill().await? {
                0 => break,
                count => left = left.saturating_sub(count as u64),
            }
        }
        Ok(())
    };
    // Who goes on longer does not want to know.
    timeout(time, drain).await.unwrap_or(Ok(()))
}

/// What came while a command was waited for.
enum Heard {
    Bytes,
    /// Nothing more will.
    End,
    /// Nothing, for a while.
    Pause,
    /// Nothing, for too long.
    Silence,
    /// The connection, or the server, is at its end.
    Over,
}

struct Session<R> {
    door: Arc<Door>,
    rights: Rights,
    reader: Reader<R>,
    answers: Sender<Vec<u8>>,
    stop: CancellationToken,
    jobs: JoinSet<()>,
    permits: Arc<Semaphore>,
    /// In a session, the number of the last command.
    number: Option<u64>,
    /// The client sends something that is not waited for.
    unread: bool,
}

impl<R: Wire> Session<R> {
    fn new(
        door: Arc<Door>,
        rights: Rights,
        reader: Reader<R>,
        answers: Sender<Vec<u8>>,
        stop: CancellationToken,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        Self { door, rights, reader, answers, stop, jobs: JoinSet::new(), permits, number: None, unread: false }
    }

    /// Takes commands, until all are answered. What it returns may still have something to be read.
    async fn talk(mut self) -> Option<Reader<R>> {
        while let Some(line) = self.line().await {
            metrics::counter!("holdfast_clamd_commands_total", "command" => line.command.word()).increment(1);
            if !self.obey(line).await {
                break;
            }
        }
        while let Some(ended) = self.jobs.join_next().await {
            log(ended);
        }
        self.unread.then_some(self.reader)
    }

    /// The next command, if there is one.
    async fn line(&mut self) -> Option<Line> {
        let mut deadline = Instant::now() + COMMAND_TIMEOUT;
        let mut ended = false;
        loop {
            match parse::next(self.reader.bytes(), ended) {
                Next::Line(line, used) => {
                    self.reader.took(used);
                    return Some(line);
                }
                Next::TooLong(framing) => {
                    self.unread = true;
                    self.say(self.voice(framing).error("Command too long.")).await;
                    return None;
                }
                Next::More if ended => return None,
                Next::More => {}
            }
            match self.hear(deadline).await {
                Heard::Bytes => {}
                Heard::End | Heard::Pause => ended = true,
                // It waits for answers, as it may.
                Heard::Silence if self.permits.available_permits() < IN_FLIGHT_MAX => {
                    deadline = Instant::now() + COMMAND_TIMEOUT;
                }
                Heard::Silence => {
                    self.say(Voice::new(None, Framing::Newline).say(TIMED_OUT)).await;
                    return None;
                }
                Heard::Over => return None,
            }
        }
    }

    async fn hear(&mut self, deadline: Instant) -> Heard {
        let is_plain =
            matches!(self.reader.bytes(), [first, rest @ ..] if !b"zn".contains(first) && !rest.contains(&b'\n'));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Heard::Over,
            read = self.reader.fill() => match read {
                Ok(0) => Heard::End,
                Ok(_) => Heard::Bytes,
                Err(_) => Heard::Over,
            },
            () = sleep(PLAIN_PAUSE), if is_plain => Heard::Pause,
            () = sleep_until(deadline) => Heard::Silence,
        }
    }

    fn voice(&self, framing: Framing) -> Voice {
        Voice::new(self.number, framing)
    }

    /// When it cannot be said, the connection ends by that.
    async fn say(&self, line: Vec<u8>) {
        let _ = self.answers.send(line).await;
    }

    /// Does what is asked, or begins to. Tells whether another command may follow.
    async fn obey(&mut self, line: Line) -> bool {
        let Line { command, framing } = line;
        self.number = self.number.map(|number| number + 1);
        let in_session = self.number.is_some();
        let voice = self.voice(framing);
        if in_session && !is_for_sessions(&command, framing) {
            self.unread = true;
            let why = if framing == Framing::Plain { NEEDS_PREFIX } else { "Command invalid inside IDSESSION." };
            self.say(voice.error(why)).await;
            return false;
        }
        match command {
            Command::Ping => self.say(voice.say("PONG")).await,
            Command::Version => self.say(voice.version(&self.door.scanner.version())).await,
            Command::VersionCommands => {
                self.say(voice.commands(&self.door.scanner.version(), self.rights)).await;
            }
            Command::Stats => self.say(voice.stats(&self.door.scanner.status())).await,
            Command::Session => {
                self.number = Some(0);
                return true;
            }
            Command::End if in_session => return false,
            Command::Stream { all } => return self.stream(voice, all).await && in_session,
            Command::Descriptor { all } => return self.descriptor(voice, all).await && in_session,
            Command::Path { path, .. } if !self.rights.paths => self.say(voice.error_of(&path, NO_PATHS)).await,
            Command::Path { walk, all, path } => {
                let asked = Asked { door: self.door.clone(), voice, all };
                let job = asked.path(walk, path, self.answers.clone());
                let permit = self.permit().await;
                self.start(permit, job);
            }
            Command::Refused => self.say(voice.say(UNAVAILABLE)).await,
            Command::End | Command::Unknown => self.say(voice.say(UNKNOWN)).await,
        }
        in_session
    }

    /// Whoever has as many commands under way as he may waits until one is answered.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.permits.clone().acquire_owned().await.ok()
    }

    fn start(&mut self, permit: Option<OwnedSemaphorePermit>, job: impl Future<Output = ()> + Send + 'static) {
        while let Some(ended) = self.jobs.try_join_next() {
            log(ended);
        }
        self.jobs.spawn(async move {
            job.await;
            drop(permit);
        });
    }

    /// Takes a stream. Tells whether it is known where the next command begins.
    async fn stream(&mut self, voice: Voice, all: bool) -> bool {
        let permit = self.permit().await;
        let asked = Asked { door: self.door.clone(), voice, all };
        let mut intake = self.door.scanner.intake(self.door.options.asker.clone());
        let Err(error) = self.reader.stream(&mut intake, self.door.options.stream_max).await else {
            let answers = self.answers.clone();
            self.start(permit, async move {
                let judged = intake.finish().await.map(|judged| judged.answer);
                let _ = answers.send(asked.answer(STREAM, judged).0).await;
            });
            return true;
        };
        let line = match error {
            StreamError::TooLong => voice.error("INSTREAM size limit exceeded."),
            StreamError::Scan(error) => asked.answer(STREAM, Err(error)).0,
            // It may still read.
            StreamError::Cut => voice.error_of(STREAM, "The stream ended before its last chunk."),
            StreamError::Client(error) if error.kind() == io::ErrorKind::TimedOut => {
                Voice::new(None, Framing::Newline).say(TIMED_OUT)
            }
            StreamError::Client(_) => return false,
        };
        self.unread = true;
        self.say(line).await;
        false
    }

    /// Takes a descriptor. Tells whether it is known to which command the next one belongs.
    async fn descriptor(&mut self, voice: Voice, all: bool) -> bool {
        let why = match self.reader.descriptor() {
            Ok(Some(fd)) => {
                let (asked, file) = (Asked { door: self.door.clone(), voice, all }, File::from(fd));
                let subject = format!("fd[{}]", file.as_raw_fd()).into_bytes();
                // Mostly it is known, and to tell so takes less than to begin anything beside this.
                if let Some(answer) = self.door.scanner.glance(&file) {
                    self.say(asked.answer(&subject, Ok(answer)).0).await;
                    return true;
                }
                let permit = self.permit().await;
                self.start(permit, asked.descriptor(subject, file, self.answers.clone()));
                return true;
            }
            Ok(None) => "No file descriptor received.",
            Err(Misused) => "PROTOCOL ERROR: ancillary data sent without FILDES.",
        };
        self.unread = true;
        self.say(voice.error(why)).await;
        false
    }
}

/// What a client without prefix is told in a session; clamd's words.
const NEEDS_PREFIX: &str = r"Only nCMDS\n and zCMDS\0 are accepted inside IDSESSION.";
/// What a client is told that may not name files.
const NO_PATHS: &str = "Access denied. Files are named by root and by the server's user alone, on the local socket; \
    send the file itself (clamdscan --fdpass or --stream)";

/// As in clamd: what may take as long as it likes has a connection of its own.
fn is_for_sessions(command: &Command, framing: Framing) -> bool {
    let is_known = match command {
        Command::Path { walk, all, .. } => *walk == Walk::First && !all,
        Command::Session | Command::Refused | Command::Unknown => false,
        _ => true,
    };
    is_known && framing != Framing::Plain
}

fn log(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a scan for the clamd door ended without an answer");
    }
}

/// A command that is under way.
struct Asked {
    door: Arc<Door>,
    voice: Voice,
    all: bool,
}

impl Asked {
    /// What is said of a judged content, and whether something was found in it.
    fn answer(&self, subject: &[u8], judged: Result<Answer, ScanError>) -> (Vec<u8>, bool) {
        let (lines, is_found) = self.line(subject, judged);
        (lines.unwrap_or_else(|| self.voice.clean(subject)), is_found)
    }

    /// The same; `None` of a clean one.
    fn line(&self, subject: &[u8], judged: Result<Answer, ScanError>) -> (Option<Vec<u8>>, bool) {
        match judged {
            Ok(answer) => {
                let lines = self.voice.bad(subject, &answer.verdict, self.all, self.door.options.incomplete);
                let is_found = lines.is_some();
                (lines, is_found)
            }
            Err(error) => {
                tracing::debug!(%error, "there is no verdict for a client of the clamd door");
                (Some(self.voice.failed(subject, &error)), false)
            }
        }
    }

    async fn descriptor(self, subject: Vec<u8>, file: File, answers: Sender<Vec<u8>>) {
        let judged = self.door.scanner.file(self.door.options.asker.clone(), file).await;
        let _ = answers.send(self.answer(&subject, judged).0).await;
    }

    /// Each file that is not clean is told, and at the end the path as a whole if all are.
    async fn path(self, which: Walk, path: Vec<u8>, answers: Sender<Vec<u8>>) {
        let (to, from) = channel(1);
        let root = path.clone();
        let walking = spawn_blocking(move || walk(&root, &to));
        let found = stream::unfold(from, async |mut from: Receiver<Found>| Some((from.recv().await?, from)));
        let at_once = if which == Walk::Several { MULTISCAN_MAX } else { 1 };
        let mut judged = pin!(found.map(|found| self.found(found)).buffer_unordered(at_once));
        let mut is_clean = true;
        while let Some((lines, is_found)) = judged.next().await {
            is_clean &= lines.is_none();
            // Of a clean one nothing, by which it shows whether the client is still there: a disk is not gone through for nobody.
            if answers.send(lines.unwrap_or_default()).await.is_err() || is_found && which == Walk::First {
                return;
            }
        }
        // clamd says OK of a folder with files that it could not read.
        if is_clean && walking.await.is_ok() {
            let _ = answers.send(self.voice.clean(&path)).await;
        }
    }

    async fn found(&self, found: Found) -> (Option<Vec<u8>>, bool) {
        let file = match found.file {
            Ok(file) => file,
            Err(why) => return (Some(self.voice.error_of(&found.path, &why)), false),
        };
        let mut asker = self.door.options.asker.clone();
        if found.in_folder {
            asker = Asker { lane: Lane::Image, deadline: WALK_DEADLINE, ..asker };
        }
        self.line(&found.path, self.door.scanner.file(asker, file).await)
    }
}

#[cfg(test)]
mod tests;
