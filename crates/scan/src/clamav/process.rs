//! One `clamd`: started, asked, ended.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use meta::record::{Epoch, Verdict};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::config::config;
use super::definitions::Definitions;
use super::remains;
use super::session::{Session, Unanswered};
use crate::engine::{EngineError, Loaded};
use crate::limits::{SILENCE, START};
use crate::spool::Content;

/// Where programs are.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of `PONG`, and some more.
const PONG_MAX: u64 = 16;
/// One that ended is noticed within this.
const NOTICED: Duration = Duration::from_secs(5);
/// Lines that it said last, to tell why it did not start.
const LAST_WORDS: usize = 5;

/// A `clamd` that runs, with its definitions. It ends when nobody has it any more.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) definitions: Definitions,
    pub(crate) epoch: Epoch,
    pub(crate) version: String,
    pub(crate) pid: Option<u32>,
    socket: PathBuf,
    /// Those in which nothing is under way.
    sessions: Mutex<Vec<Session>>,
    /// It is to end.
    end: CancellationToken,
    /// It has ended.
    pub(crate) ended: CancellationToken,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// What a process is started as.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) launcher: &'a [OsString],
    pub(crate) definitions: Definitions,
    pub(crate) epoch: Epoch,
    pub(crate) version: String,
    /// What it unpacks goes here, and the note that it runs.
    pub(crate) folder: &'a Path,
    pub(crate) threads: usize,
}

impl Process {
    /// Starts one, and returns when it has shown that these definitions are what it scans with.
    ///
    /// # Errors
    /// For people.
    pub(crate) async fn start(start: Start<'_>) -> Result<Arc<Self>, String> {
        let failed = |error: io::Error| format!("{} cannot be started: {error}", start.program.display());
        // Sockets have short names: the data folder's may be long.
        let folder = tempfile::Builder::new().prefix(remains::SOCKET).tempdir().map_err(failed)?;
        let temporary = tempfile::Builder::new().prefix(remains::CLAMD).tempdir_in(start.folder).map_err(failed)?;
        let (socket, file) = (folder.path().join("socket"), folder.path().join("clamd.conf"));
        let text = config(&start.definitions.folder, &socket, temporary.path(), start.threads);
        std::fs::write(&file, text).map_err(failed)?;
        let mut words = start.launcher.iter().map(OsString::as_os_str).chain([start.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(start.program.as_os_str()));
        command.args(words);
        // Our secrets may be in our environment.
        command.arg("--foreground").arg("--config-file").arg(&file).env_clear().env("PATH", PATH).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, thread) = spawn(command).await.map_err(failed)?;
        let pid = child.id();
        let note = pid.map(|pid| remains::note(start.folder, pid, folder.path())).transpose().map_err(failed)?;
        let (said, listening) = hear(&mut child);
        let (end, ended) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(watch(child, listening, end.clone(), ended.clone(), (folder, temporary, thread), note));
        let process = Arc::new(Self {
            definitions: start.definitions,
            epoch: start.epoch,
            version: start.version,
            pid,
            socket,
            sessions: Mutex::default(),
            end,
            ended,
        });
        tokio::select! {
            ready = tokio::time::timeout(START, process.ready()) => match ready {
                Ok(ready) => ready.map(|()| process.clone()),
                Err(_) => Err(format!("clamd was not ready within {} s", START.as_secs())),
            },
            () = process.ended.cancelled() => Err(format!("clamd ended at its start: {}", said.lock().iter().map(String::as_str).collect::<Vec<_>>().join("; "))),
        }
    }

    /// Waits until it answers, and looks at what it makes of the canary.
    async fn ready(&self) -> Result<(), String> {
        loop {
            if self.ping().await.is_ok() {
                break;
            }
            // There is nothing that tells when its socket is there.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.sings().await
    }

    async fn ping(&self) -> io::Result<()> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(b"zPING\0").await?;
        let mut answer = Vec::new();
        stream.take(PONG_MAX).read_to_end(&mut answer).await?;
        if answer == b"PONG\0" { Ok(()) } else { Err(io::Error::other("no PONG")) }
    }

    /// Whether it has the definitions that it was given: only those know the canary's name.
    async fn sings(&self) -> Result<(), String> {
        let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
        io::Write::write_all(&mut file, self.definitions.canary().as_bytes()).map_err(|error| error.to_string())?;
        io::Seek::rewind(&mut file).map_err(|error| error.to_string())?;
        let name = self.definitions.canary_name();
        match self.ask(&file).await.map_err(|error| error.to_string())? {
            Verdict::Infected(names) if names.iter().any(|found| found.starts_with(&name)) => Ok(()),
            other => Err(format!("clamd has other definitions than it was given: of their canary it says {other}")),
        }
    }

    async fn ask(&self, file: &File) -> Result<Verdict, EngineError> {
        let Ok(mut session) = self.session().await else {
            return Err(self.gone(EngineError::Gone).await);
        };
        match tokio::time::timeout(SILENCE, session.ask(file)).await {
            Ok(Ok(answer)) => {
                let verdict = answer::verdict(&answer)?;
                self.sessions.lock().push(session);
                Ok(verdict)
            }
            Ok(Err(Unanswered::NotAsked)) => Err(self.gone(EngineError::Gone).await),
            Ok(Err(Unanswered::Asked)) => Err(self.gone(EngineError::Died).await),
            Err(_) => {
                self.end.cancel();
                Err(EngineError::Silent(SILENCE))
            }
        }
    }

    async fn session(&self) -> io::Result<Session> {
        loop {
            let Some(session) = self.sessions.lock().pop() else { return Session::open(&self.socket).await };
            if session.is_open() {
                return Ok(session);
            }
        }
    }

    /// What no answer means: that it ended, or that it is there and does not talk.
    async fn gone(&self, error: EngineError) -> EngineError {
        match tokio::time::timeout(NOTICED, self.ended.cancelled()).await {
            Ok(()) => error,
            Err(_) => EngineError::Failed("it closed the connection".to_owned()),
        }
    }
}

#[async_trait]
impl Loaded for Process {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    async fn scan(self: Arc<Self>, content: &Arc<Content>) -> Result<Verdict, EngineError> {
        match content.with(Content::descriptor).await {
            Ok(Some(file)) => self.ask(&file).await,
            Ok(None) => Err(EngineError::Failed("the content is not kept".to_owned())),
            Err(error) => Err(EngineError::Failed(error.to_string())),
        }
    }
}

/// Starts a child from a thread that is there until the returned end of a channel is dropped: the kernel ends a child that wants to end with its
/// parent when the thread that started it ends.
async fn spawn(mut command: Command) -> io::Result<(Child, mpsc::Sender<()>)> {
    let (runtime, (sender, spawned)) = (Handle::current(), oneshot::channel());
    let (alive, until) = mpsc::channel();
    std::thread::Builder::new().name("clamd".to_owned()).spawn(move || {
        let _within = runtime.enter();
        if sender.send(command.spawn()).is_ok() {
            // Nothing is ever sent.
            let _ = until.recv();
        }
    })?;
    let child = spawned.await.map_err(io::Error::other)??;
    Ok((child, alive))
}

/// Ends it when it is to end, and tells when it has ended.
async fn watch<F>(
    mut child: Child,
    listening: Vec<JoinHandle<()>>,
    end: CancellationToken,
    ended: CancellationToken,
    folders: F,
    note: Option<PathBuf>,
) {
    tokio::select! {
        _ = child.wait() => {}
        () = end.cancelled() => {
            // It keeps nothing: there is nothing to wind down.
            let _ = child.kill().await;
        }
    }
    for last_words in listening {
        // It has ended, and so do its lines.
        let _ = tokio::time::timeout(NOTICED, last_words).await;
    }
    drop(folders);
    note.into_iter().for_each(|note| drop(std::fs::remove_file(note)));
    ended.cancel();
}

/// What a child said last, and the tasks that listen to it: each line also goes to the log.
fn hear(child: &mut Child) -> (Arc<Mutex<VecDeque<String>>>, Vec<JoinHandle<()>>) {
    let last = Arc::new(Mutex::new(VecDeque::new()));
    let listen = |out: Box<dyn AsyncRead + Send + Unpin>| {
        let last = last.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::debug!(clamd = line.trim());
                let mut last = last.lock();
                last.push_back(line.trim().to_owned());
                let many = last.len().saturating_sub(LAST_WORDS);
                last.drain(..many);
            }
        })
    };
    let out = child.stdout.take().map(|out| listen(Box::new(out)));
    let err = child.stderr.take().map(|err| listen(Box::new(err)));
    (last.clone(), out.into_iter().chain(err).collect())
}
