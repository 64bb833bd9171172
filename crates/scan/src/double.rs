//! An engine for tests: it finds words, and does what it is told.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use meta::record::{Epoch, Verdict};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::engine::{Engine, EngineError, EngineState, Loaded};
use crate::spool::Content;

/// Finds the words it knows. Contents that begin with `die!` end it.
pub struct Words {
    name: &'static str,
    known: Mutex<Arc<Known>>,
    down: AtomicBool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    scans: AtomicU64,
    seen: Mutex<Vec<String>>,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

struct Known {
    epoch: u64,
    words: HashSet<String>,
    shared: Arc<Shared>,
}

impl Words {
    /// One of epoch 1.
    pub fn new(name: &'static str, words: &[&str]) -> Arc<Self> {
        let shared = Arc::new(Shared::default());
        let known =
            Known { epoch: 1, words: words.iter().map(|word| (*word).to_owned()).collect(), shared: shared.clone() };
        Arc::new(Self { name, known: Mutex::new(Arc::new(known)), down: AtomicBool::new(false), shared })
    }

    /// Knows these words from now on, in the next epoch.
    pub fn learn(&self, words: &[&str]) {
        let mut known = self.known.lock();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        *known = Arc::new(Known { epoch: known.epoch + 1, words, shared: self.shared.clone() });
    }

    /// Cannot be asked, or can again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often it was asked.
    pub fn scans(&self) -> u64 {
        self.shared.scans.load(Ordering::SeqCst)
    }

    /// What it was asked about, as text, in order.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().clone()
    }

    /// Scans wait for a permit each from now on.
    pub fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.shared.gate.lock() = Some(gate.clone());
        gate
    }
}

#[async_trait]
impl Engine for Words {
    fn name(&self) -> &'static str {
        self.name
    }

    fn epoch(&self) -> Option<Epoch> {
        Some(epoch(self.known.lock().epoch))
    }

    async fn loaded(&self, _: Duration) -> Result<Arc<dyn Loaded>, String> {
        if self.down.load(Ordering::SeqCst) {
            return Err("it is down".to_owned());
        }
        Ok(self.known.lock().clone())
    }

    fn state(&self) -> EngineState {
        EngineState {
            name: self.name.to_owned(),
            epoch: self.epoch().map(|epoch| epoch.number),
            version: format!("words {}", self.known.lock().epoch),
            down: self.down.load(Ordering::SeqCst).then(|| "it is down".to_owned()),
            pid: None,
            deaths: 0,
            refused: None,
        }
    }
}

#[async_trait]
impl Loaded for Known {
    fn epoch(&self) -> Epoch {
        epoch(self.epoch)
    }

    fn version(&self) -> String {
        format!("words {}", self.epoch)
    }

    async fn scan(self: Arc<Self>, content: &Arc<Content>) -> Result<Verdict, EngineError> {
        self.shared.scans.fetch_add(1, Ordering::SeqCst);
        let gate = self.shared.gate.lock().clone();
        if let Some(gate) = gate {
            // The gate is never closed.
            gate.acquire().await.map(tokio::sync::SemaphorePermit::forget).map_err(|_| EngineError::Died)?;
        }
        let mut bytes = vec![0; usize::try_from(content.id().len).unwrap_or(usize::MAX)];
        let mut at = 0;
        while at < bytes.len() {
            let failed = |error: std::io::Error| EngineError::Failed(error.to_string());
            at += content.read_at(&mut bytes[at..], at as u64).map_err(failed)?;
        }
        if bytes.starts_with(b"die!") {
            return Err(EngineError::Died);
        }
        let text = String::from_utf8_lossy(&bytes);
        self.shared.seen.lock().push(text.clone().into_owned());
        let mut found: Vec<String> = self.words.iter().filter(|word| text.contains(word.as_str())).cloned().collect();
        found.sort();
        Ok(if found.is_empty() { Verdict::Clean } else { Verdict::Infected(found) })
    }
}

fn epoch(number: u64) -> Epoch {
    Epoch { manifest: u128::from(number).to_be_bytes(), number, dated_s: number }
}
