//! YARA rules, by boreal, in this process: it is Rust without a compiler to machine code. Rules see a content as it is: what is packed in it is
//! ClamAV's to unpack.
//!
//! A folder's `.yar` and `.yara` files are the rules, each in a namespace of its own. They are loaded again when they change; broken ones are
//! refused, and those before used on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base::Clock;
use boreal::compiler::CompilerParams;
use boreal::scanner::{ScanError, ScanParams};
use meta::record::{Epoch, Reason, Verdict};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError, EngineState, Loaded};
use crate::epoch::epoch_of;
use crate::limits::{CLAMAV_SCAN, YARA_MAX};
use crate::spool::Content;

/// What its verdicts are kept by.
const NAME: &str = "yara";
/// Part of the epoch: what else decides verdicts.
const BUILD: &str = "boreal 1";
/// Between two looks at the folder.
const LOOK: Duration = Duration::from_secs(10);

/// The engine.
pub struct Yara(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    meta: Arc<dyn meta::Engine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Notify,
    /// Scans at once: it is all work of processors, and each takes as much memory as its content.
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    rules: Option<Arc<Rules>>,
    down: Option<String>,
    refused: Option<String>,
}

/// Rules of one epoch.
struct Rules {
    scanner: boreal::Scanner,
    manifest: [u8; 32],
    epoch: Epoch,
    count: usize,
    turns: Arc<Semaphore>,
}

/// Sizes and times of a folder's files.
type Seen = Vec<(String, u64, Option<SystemTime>)>;

impl Yara {
    /// Loads a folder's rules, and again when they change, until `stop`.
    pub fn start(folder: PathBuf, meta: Arc<dyn meta::Engine>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        let state = State { down: Some("it is starting".to_owned()), ..State::default() };
        let turns = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)));
        let shared = Arc::new(Shared { folder, meta, clock, state: Mutex::new(state), changed: Notify::new(), turns });
        let working = shared.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = working.work() => {}
                () = stop.cancelled() => {}
            }
        });
        Self(shared)
    }

    /// Looks at the folder now.
    ///
    /// # Errors
    /// Why its rules are not used, for people.
    pub async fn reload(&self) -> Result<u64, String> {
        self.0.load().await
    }
}

impl Shared {
    async fn work(&self) {
        let mut seen = look(&self.folder);
        loop {
            let loaded = self.load().await;
            if let Err(error) = &loaded {
                tracing::error!(%error, "YARA rules are not used");
            }
            let mut last = seen.clone();
            loop {
                tokio::time::sleep(LOOK).await;
                let now = look(&self.folder);
                // Not while somebody writes to it.
                if now == last && (now != seen || loaded.is_err()) {
                    seen = now;
                    break;
                }
                last = now;
            }
        }
    }

    async fn load(&self) -> Result<u64, String> {
        let loaded = self.load_newest().await;
        {
            let mut state = self.state.lock();
            match &loaded {
                Ok(rules) => *state = State { rules: Some(rules.clone()), ..State::default() },
                Err(error) if state.rules.is_some() => state.refused = Some(error.clone()),
                Err(error) => state.down = Some(error.clone()),
            }
        }
        self.changed.notify_waiters();
        loaded.map(|rules| rules.epoch.number)
    }

    fn rules(&self) -> Option<Arc<Rules>> {
        self.state.lock().rules.clone()
    }

    async fn load_newest(&self) -> Result<Arc<Rules>, String> {
        let (folder, known) = (self.folder.clone(), self.rules());
        let compiled = tokio::task::spawn_blocking(move || {
            let files = read(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let written = look(&folder).into_iter().filter_map(|(.., written)| written).max();
            let dated_s = written.and_then(|written| written.duration_since(SystemTime::UNIX_EPOCH).ok());
            let dated_s = dated_s.map_or(0, |since| since.as_secs());
            let manifest = manifest(&files);
            match known {
                Some(known) if known.manifest == manifest => Ok((manifest, dated_s, None)),
                _ => compile(&files).map(|compiled| (manifest, dated_s, Some(compiled))),
            }
        });
        let (manifest, dated_s, compiled) = compiled.await.map_err(|_| "the rules end their compiler".to_owned())??;
        let Some(scanner) = compiled else {
            // They are those that are used.
            return self.rules().ok_or_else(|| "they were taken away".to_owned());
        };
        let epoch = epoch_of(self.meta.as_ref(), NAME, manifest, dated_s, self.clock.now_ms()).await?;
        let count = scanner.rules().count();
        tracing::info!(epoch = epoch.number, rules = count, "YARA has new rules");
        Ok(Arc::new(Rules { scanner, manifest, epoch, count, turns: self.turns.clone() }))
    }
}

fn look(folder: &Path) -> Seen {
    let stat = |path: PathBuf| {
        let meta = fs::metadata(&path).ok()?;
        Some((path.to_string_lossy().into_owned(), meta.len(), meta.modified().ok()))
    };
    let mut seen: Seen = list(folder).unwrap_or_default().into_iter().filter_map(stat).collect();
    seen.sort();
    seen
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_rules = path.extension().is_some_and(|ending| ending == "yar" || ending == "yara");
        if is_rules && path.is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Files by the names of their namespaces.
fn read(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in list(folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.insert(name, String::from_utf8_lossy(&fs::read(&path)?).into_owned());
    }
    Ok(files)
}

fn manifest(files: &BTreeMap<String, String>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(BUILD.as_bytes()).update(&YARA_MAX.to_be_bytes());
    for (name, text) in files {
        for piece in [name, text] {
            hasher.update(&(piece.len() as u64).to_be_bytes()).update(piece.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

fn compile(files: &BTreeMap<String, String>) -> Result<boreal::Scanner, String> {
    let mut compiler = boreal::Compiler::new();
    // A rule names no other file of this machine.
    compiler.set_params(CompilerParams::default().disable_includes(true));
    for (name, text) in files {
        let added = compiler.add_rules_str_in_namespace(text, name);
        added.map_err(|error| format!("{name}: {error}"))?;
    }
    let mut scanner = compiler.finalize();
    if scanner.rules().next().is_none() {
        return Err("there are no rules in the folder: it takes .yar and .yara files".to_owned());
    }
    scanner.set_scan_params(ScanParams::default().timeout_duration(Some(CLAMAV_SCAN)));
    Ok(scanner)
}

#[async_trait]
impl Engine for Yara {
    fn name(&self) -> &'static str {
        NAME
    }

    fn epoch(&self) -> Option<Epoch> {
        self.0.rules().map(|rules| rules.epoch)
    }

    async fn loaded(&self, patience: Duration) -> Result<Arc<dyn Loaded>, String> {
        let ready = async {
            loop {
                let changed = self.0.changed.notified();
                match self.0.rules() {
                    Some(rules) => return rules,
                    None => changed.await,
                }
            }
        };
        match tokio::time::timeout(patience, ready).await {
            Ok(rules) => Ok(rules),
            Err(_) => Err(self.state().down.unwrap_or_else(|| "it is starting".to_owned())),
        }
    }

    fn state(&self) -> EngineState {
        let state = self.0.state.lock();
        EngineState {
            name: NAME.to_owned(),
            epoch: state.rules.as_ref().map(|rules| rules.epoch.number),
            version: state.rules.as_ref().map(|rules| rules.version()).unwrap_or_default(),
            down: state.down.clone(),
            pid: None,
            deaths: 0,
            refused: state.refused.clone(),
        }
    }
}

#[async_trait]
impl Loaded for Rules {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn version(&self) -> String {
        format!("YARA {} rules/{}", self.count, self.epoch.number)
    }

    async fn scan(self: Arc<Self>, content: &Arc<Content>) -> Result<Verdict, EngineError> {
        // The semaphore is never closed.
        let turn = self.turns.clone().acquire_owned().await.ok();
        let content = content.clone();
        let scan = move || {
            let _turn = turn;
            let Some(bytes) = whole(&content)? else { return Ok(Verdict::Incomplete(vec![Reason::TooLarge])) };
            let (matched, is_whole) = match self.scanner.scan_mem(&bytes) {
                Ok(found) => (names(&found), true),
                Err((ScanError::Timeout, found)) => (names(&found), false),
                Err((error, _)) => return Err(EngineError::Failed(error.to_string())),
            };
            Ok(match (matched.is_empty(), is_whole) {
                (false, _) => Verdict::Infected(matched),
                (true, true) => Verdict::Clean,
                (true, false) => Verdict::Incomplete(vec![Reason::TooSlow]),
            })
        };
        // A rule that ends its thread has ended no more than that.
        tokio::task::spawn_blocking(scan).await.unwrap_or(Err(EngineError::Died))
    }
}

fn names(found: &boreal::scanner::ScanResult<'_>) -> Vec<String> {
    let mut names: Vec<String> = found.rules.iter().map(|rule| format!("YARA.{}", rule.name)).collect();
    names.sort();
    names.dedup();
    names
}

/// All bytes of a content that is small enough.
fn whole(content: &Content) -> Result<Option<Vec<u8>>, EngineError> {
    let len = content.id().len;
    if len > YARA_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    let mut at = 0;
    while at < bytes.len() {
        let failed = |error: io::Error| EngineError::Failed(error.to_string());
        match content.read_at(&mut bytes[at..], at as u64).map_err(failed)? {
            0 => return Err(EngineError::Failed("the content ended early".to_owned())),
            count => at += count,
        }
    }
    Ok(Some(bytes))
}
