//! ClamAV, as processes of its own: a crash of its parsers is not ours, and its licence stays its own.
//!
//! Each set of definitions has its own `clamd`, started on a folder that nobody changes. One with newer ones is started beside the one that runs; when
//! it has shown by a canary, which only these definitions know, that it has them, it is asked from then on, and the older one ends with its last scan.
//! So whose verdict it is needs no clock and no guess. `RELOAD`, which takes as much memory for as long, answers before it has happened.

mod answer;
mod config;
mod definitions;
mod hashes;
mod process;
mod remains;
mod session;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base::Clock;
use meta::record::Epoch;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::definitions::Definitions;
pub use self::hashes::Hashes;
use self::process::{PATH, Process, Start};
use crate::engine::{Engine, EngineState, Loaded};
use crate::epoch::epoch_of;
use crate::hunt::Hunt;
use crate::limits::RESTART;

/// Between two looks at a folder that somebody else fills.
const LOOK: Duration = Duration::from_secs(10);

/// How ClamAV is run.
#[derive(Debug, Clone)]
pub struct ClamavOptions {
    /// `clamd`, by default on the path.
    pub program: PathBuf,
    /// A command that runs what is behind it as itself, and ends with us however we end; empty: it is run without.
    pub launcher: Vec<OsString>,
    /// A folder that freshclam fills: it is looked at all the time.
    pub watched: Option<PathBuf>,
    /// Definitions that are used, and what ClamAV unpacks.
    pub folder: PathBuf,
    /// Scans at once.
    pub threads: usize,
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Updated {
    /// Of the definitions that are used now.
    pub epoch: u64,
    /// Whether they are others than before.
    pub changed: bool,
}

/// The engine.
pub struct Clamav(Arc<Shared>);

struct Shared {
    options: ClamavOptions,
    meta: Arc<dyn meta::Engine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// The state changed.
    changed: Notify,
    updates: mpsc::Sender<Update>,
    hunts: mpsc::UnboundedSender<Hunt>,
}

#[derive(Default)]
struct State {
    process: Option<Arc<Process>>,
    /// Of the newest definitions that were used.
    epoch: Option<Epoch>,
    version: String,
    down: Option<String>,
    refused: Option<String>,
    deaths: u64,
    is_over: bool,
}

/// Definitions of this folder are to be used.
struct Update {
    from: PathBuf,
    done: Tell,
}

impl Clamav {
    /// Starts it, in the background, until `stop`. What new definitions bring that is to be looked for among what is known already is sent to `hunts`.
    pub fn start(
        options: ClamavOptions,
        meta: Arc<dyn meta::Engine>,
        clock: Arc<dyn Clock>,
        hunts: mpsc::UnboundedSender<Hunt>,
        stop: CancellationToken,
    ) -> Self {
        let (updates, from) = mpsc::channel(4);
        let state = State { down: Some("it is starting".to_owned()), ..State::default() };
        let changed = Notify::new();
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { options, meta, clock, state, changed, updates, hunts });
        let working = shared.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = working.work(from) => {}
                () = stop.cancelled() => {}
            }
            {
                let mut state = working.state.lock();
                (state.process, state.is_over) = (None, true);
                state.down = Some("it is stopping".to_owned());
            }
            working.changed.notify_waiters();
        });
        Self(shared)
    }

    /// Uses what is in a folder beside what is watched, instead of what was given last. Returns when it is used.
    ///
    /// # Errors
    /// Why it is not, for people: what was used before still is.
    pub async fn update(&self, from: &Path) -> Result<Updated, String> {
        let (done, answer) = oneshot::channel();
        let stopping = || "it is stopping".to_owned();
        let update = Update { from: from.to_owned(), done };
        self.0.updates.send(update).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

/// Whom to tell what becomes of an update.
type Tell = oneshot::Sender<Result<Updated, String>>;

/// What there is to do.
enum Next {
    /// To look at definitions anew, and at these instead of those that were given last.
    Use(Option<TempDir>, Option<Tell>),
    /// Nobody can ask any more.
    End,
}

impl Shared {
    /// Definitions that were given by an operator.
    fn given(&self) -> PathBuf {
        self.options.folder.join("given")
    }

    async fn work(&self, mut updates: mpsc::Receiver<Update>) {
        remains::clear(&self.options.folder);
        let mut seen = self.look();
        let mut next = Next::Use(None, None);
        let mut pause = RESTART.0;
        while let Next::Use(given, tell) = next {
            let begun = Instant::now();
            let used = self.use_newest(given).await;
            self.note(&used);
            let failed = used.is_err();
            if let Some(tell) = tell {
                // Who asked may have left.
                let _ = tell.send(used);
            }
            next = self.wait(&mut updates, &mut seen, failed.then_some(pause)).await;
            // One that was well for a while begins anew.
            pause = if begun.elapsed() > RESTART.1 { RESTART.0 } else { (pause * 2).min(RESTART.1) };
        }
    }

    fn note(&self, used: &Result<Updated, String>) {
        let told = {
            let mut state = self.state.lock();
            let before = state.refused.clone().or_else(|| state.down.clone());
            state.refused = used.as_ref().err().cloned().filter(|_| state.process.is_some());
            if let (Err(error), None) = (used, &state.process) {
                state.down = Some(error.clone());
            }
            before
        };
        // Tried again and again, it is told once.
        if let Err(error) = used
            && told.as_ref() != Some(error)
        {
            tracing::error!(%error, "definitions are not used");
        }
        self.changed.notify_waiters();
    }

    /// Waits until there is something to do; for so long at most where what was done last failed.
    async fn wait(
        &self,
        updates: &mut mpsc::Receiver<Update>,
        seen: &mut Vec<(String, u64, u64)>,
        again: Option<Duration>,
    ) -> Next {
        let mut last = seen.clone();
        let again = async {
            match again {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let process = self.state.lock().process.clone();
        let ended = async {
            match &process {
                Some(process) => process.ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let (mut again, mut ended) = (std::pin::pin!(again), std::pin::pin!(ended));
        loop {
            tokio::select! {
                update = updates.recv() => {
                    let Some(Update { from, done }) = update else { return Next::End };
                    match self.take(&from) {
                        Ok(given) => return Next::Use(Some(given), Some(done)),
                        Err(error) => drop(done.send(Err(error))),
                    }
                }
                () = tokio::time::sleep(LOOK) => {
                    // Not while somebody writes to it.
                    let now = self.look();
                    if now == last && now != *seen {
                        *seen = now;
                        return Next::Use(None, None);
                    }
                    last = now;
                }
                () = &mut again => return Next::Use(None, None),
                () = &mut ended => {
                    self.note_death();
                    tokio::time::sleep(RESTART.0).await;
                    return Next::Use(None, None);
                }
            }
        }
    }

    fn look(&self) -> Vec<(String, u64, u64)> {
        let watched = self.options.watched.as_deref();
        watched.and_then(|watched| definitions::look(watched).ok()).unwrap_or_default()
    }

    /// Copies what an operator gives.
    fn take(&self, from: &Path) -> Result<TempDir, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", from.display());
        let files = definitions::look(from).map_err(failed)?;
        if files.is_empty() {
            return Err(format!("{} has no file that ClamAV loads", from.display()));
        }
        let folder =
            tempfile::Builder::new().prefix(remains::GIVEN).tempdir_in(&self.options.folder).map_err(failed)?;
        for (name, ..) in files {
            std::fs::copy(from.join(&name), folder.path().join(&name)).map_err(failed)?;
        }
        Ok(folder)
    }

    /// Starts a process with what there is now, unless one runs with that. What is given takes the place of what was given before once it has
    /// shown that it loads.
    async fn use_newest(&self, given: Option<TempDir>) -> Result<Updated, String> {
        let build = build(&self.options.program).await?;
        let last = given.as_ref().map_or_else(|| self.given(), |given| given.path().to_owned());
        let sources: Vec<PathBuf> = self.options.watched.iter().cloned().chain([last]).collect();
        let sources: Vec<PathBuf> = sources.into_iter().filter(|source| source.is_dir()).collect();
        let (definitions, build) = self.stage(sources, build).await?;
        let (now_ms, dated_s) = (self.clock.now_ms(), definitions.newest_s);
        let running = self.state.lock().process.clone();
        let running = running.filter(|running| !running.ended.is_cancelled());
        if let Some(running) = running.filter(|running| running.definitions.manifest == definitions.manifest) {
            self.keep(given)?;
            return Ok(Updated { epoch: running.epoch.number, changed: false });
        }
        let epoch = epoch_of(self.meta.as_ref(), NAME, definitions.manifest, dated_s, now_ms).await?;
        let version = format!("{build}/{}/{}", epoch.number, http_date(dated_s));
        if given.is_none() {
            let mut state = self.state.lock();
            if state.process.is_none() {
                // What is known by these is answered while they are loaded.
                (state.epoch, state.version) = (Some(epoch), version.clone());
            }
        }
        let start = Start {
            program: &self.options.program,
            launcher: &self.options.launcher,
            definitions,
            epoch,
            version,
            folder: &self.options.folder,
            threads: self.options.threads,
        };
        let process = Process::start(start).await?;
        self.keep(given)?;
        if let Some(before) = self.state.lock().process.as_ref().map(|before| before.definitions.folder.clone()) {
            self.hunt(before, &process);
        }
        definitions::remove_others(&self.options.folder.join(DEFINITIONS), &process.definitions);
        tracing::info!(epoch = epoch.number, pid = process.pid, "ClamAV has new definitions");
        self.use_process(process);
        Ok(Updated { epoch: epoch.number, changed: true })
    }

    async fn stage(&self, sources: Vec<PathBuf>, build: String) -> Result<(Definitions, String), String> {
        let under = self.options.folder.join(DEFINITIONS);
        let stage = move || (definitions::stage(&sources, &under, &build, &config::settings()), build);
        let (staged, build) = tokio::task::spawn_blocking(stage).await.map_err(|error| error.to_string())?;
        let staged = staged.map_err(|error| format!("definitions cannot be copied: {error}"))?;
        let none = || "there are no definitions: give a folder to `holdfast scan update`, or install clamav-freshclam";
        staged.map(|definitions| (definitions, build)).ok_or_else(|| none().to_owned())
    }

    /// Keeps what was given, so that it is there after a restart.
    fn keep(&self, given: Option<TempDir>) -> Result<(), String> {
        let Some(given) = given else { return Ok(()) };
        let failed =
            |error: std::io::Error| format!("the definitions are used, and will not be after a restart: {error}");
        match std::fs::remove_dir_all(self.given()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::rename(given.keep(), self.given()).map_err(failed)
    }

    /// Has what is new among the digests looked for. The older definitions' folder is still there.
    fn hunt(&self, before: PathBuf, process: &Process) {
        let (hunts, after, epoch) = (self.hunts.clone(), process.definitions.folder.clone(), process.epoch);
        let new = Hashes::of(&after).and_then(|after| Ok(after.without(&Hashes::of(&before)?)));
        match new {
            Ok(hashes) if !hashes.is_empty() => drop(hunts.send(Hunt { engine: NAME, epoch, hashes })),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "what is new among the definitions is not looked for among what is known")
            }
        }
    }

    fn use_process(&self, process: Arc<Process>) {
        {
            let mut state = self.state.lock();
            state.epoch = Some(process.epoch);
            state.version = process.version.clone();
            state.down = None;
            state.process = Some(process);
        }
        self.changed.notify_waiters();
    }

    /// One ended by itself.
    fn note_death(&self) {
        {
            let mut state = self.state.lock();
            state.process = None;
            state.deaths += 1;
            state.down = Some("clamd ended and is started again".to_owned());
        }
        metrics::counter!("holdfast_scan_engine_deaths_total", "engine" => NAME).increment(1);
    }
}

/// Where sets of definitions are, below the engine's folder.
const DEFINITIONS: &str = "definitions";
/// What its verdicts are kept by.
const NAME: &str = "clamav";

#[async_trait]
impl Engine for Clamav {
    fn name(&self) -> &'static str {
        NAME
    }

    fn epoch(&self) -> Option<Epoch> {
        self.0.state.lock().epoch
    }

    async fn loaded(&self, patience: Duration) -> Result<Arc<dyn Loaded>, String> {
        let ready = async {
            loop {
                let changed = self.0.changed.notified();
                let (process, is_over) = {
                    let state = self.0.state.lock();
                    (state.process.clone(), state.is_over)
                };
                match process {
                    Some(process) if !process.ended.is_cancelled() => return Some(process),
                    None if is_over => return None,
                    _ => changed.await,
                }
            }
        };
        match tokio::time::timeout(patience, ready).await {
            Ok(Some(process)) => Ok(process),
            _ => Err(self.0.state.lock().down.clone().unwrap_or_else(|| "it is starting".to_owned())),
        }
    }

    fn state(&self) -> EngineState {
        let state = self.0.state.lock();
        EngineState {
            name: NAME.to_owned(),
            epoch: state.epoch.map(|epoch| epoch.number),
            version: state.version.clone(),
            down: state.down.clone(),
            pid: state.process.as_ref().and_then(|process| process.pid),
            deaths: state.deaths,
            refused: state.refused.clone(),
        }
    }
}

/// `ClamAV 1.4.6`, as the program says of itself.
async fn build(program: &Path) -> Result<String, String> {
    let said = Command::new(program).arg("--version").env_clear().env("PATH", PATH).output().await;
    let said = said.map_err(|error| format!("{}: {error}; install clamav-daemon", program.display()))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let build = text.split('/').next().unwrap_or_default().trim();
    if build.is_empty() { Err(format!("{} does not say its version", program.display())) } else { Ok(build.to_owned()) }
}

/// As clamd tells the age of definitions: `Thu Nov 26 09:00:00 2026`, in UTC.
fn http_date(seconds: u64) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
    );
    let at = i64::try_from(seconds).ok().and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}
