//! What the store depends on, with a fault in each: the metadata, who holds half of a key, the audit log, the scan engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::AccountId;
use bytes::Bytes;
use keys::{AuditEvent, Auditor, Keeper, KeeperError, Keepers, PortionError};
use ladder::Failure;
use meta::record::{Epoch, Verdict};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Nearby, Page, Range, Row, Version};
use parking_lot::Mutex;
use scan::{Content, EngineError, EngineState, Loaded};
use zeroize::Zeroizing;

/// Longer than anybody waits.
const SLOW: Duration = Duration::from_secs(60);

/// A failure that can be switched on.
#[derive(Default)]
pub struct Switch {
    failure: Mutex<Option<Failure>>,
    asked: AtomicUsize,
}

impl Switch {
    pub fn set(&self, failure: Option<Failure>) {
        *self.failure.lock() = failure;
        self.asked.store(0, Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<Failure> {
        *self.failure.lock()
    }

    /// What happens to a call: for overload, every second one is turned away, the first one first.
    fn now(&self) -> Option<Failure> {
        let failure = *self.failure.lock();
        match failure {
            Some(Failure::Overloaded) if self.asked.fetch_add(1, Ordering::Relaxed) % 2 == 1 => None,
            failure => failure,
        }
    }
}

/// The rows of several gateways, as one of them reaches them.
pub struct Rows {
    pub rows: Memory,
    pub strong: Switch,
    /// Of the copy nearby.
    pub nearby: Switch,
    /// As it was when the failure began.
    copy: Mutex<Option<Memory>>,
    /// Whether there are several gateways: with keys in shares there is one.
    is_shared: bool,
}

impl Rows {
    pub fn new(is_shared: bool) -> Self {
        Self {
            rows: Memory::new(),
            is_shared,
            strong: Switch::default(),
            nearby: Switch::default(),
            copy: Mutex::default(),
        }
    }

    /// From now on no more than a copy is near.
    pub fn freeze(&self) {
        *self.copy.lock() = Some(self.rows.copy());
    }
}

/// What a read meets; whether what it finds is to be spoiled.
async fn read(switch: &Switch) -> Result<bool, MetaError> {
    let away = |why: &str| Err(MetaError::Unavailable(why.to_owned()));
    match switch.now() {
        Some(Failure::Down) => away("down"),
        Some(Failure::Refused) => away("permission denied"),
        Some(Failure::Overloaded) => away("too many requests"),
        Some(Failure::Slow) => {
            tokio::time::sleep(SLOW).await;
            Ok(false)
        }
        Some(Failure::Wrong) => Ok(true),
        Some(Failure::Partial) | None => Ok(false),
    }
}

/// A record's first byte is its version.
fn spoil(row: &mut Row) {
    let mut value = row.value.to_vec();
    if let Some(first) = value.first_mut() {
        *first ^= 0x7f;
    }
    row.value = value.into();
}

#[async_trait]
impl Engine for Rows {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        let wrong = read(&self.strong).await?;
        let mut rows = self.rows.get(keys).await?;
        rows.iter_mut().flatten().filter(|_| wrong).for_each(spoil);
        Ok(rows)
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        let wrong = read(&self.strong).await?;
        let mut page = self.rows.range(range).await?;
        page.rows.iter_mut().filter(|_| wrong).for_each(|(_, row)| spoil(row));
        Ok(page)
    }

    async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        let wrong = read(&self.nearby).await?;
        let copy = self.copy.lock().as_ref().map(Memory::copy);
        let mut found = copy.ok_or_else(|| MetaError::Unavailable("no copy".to_owned()))?.nearby(keys, range).await?;
        let rows = found.rows.iter_mut().flatten().chain(found.page.rows.iter_mut().map(|(_, row)| row));
        rows.filter(|_| wrong).for_each(spoil);
        Ok(found)
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        let all = |error: CommitError| batches.iter().map(|_| Err(error.clone())).collect();
        match self.strong.now() {
            Some(Failure::Down) => all(CommitError::Unavailable("down".to_owned())),
            Some(Failure::Refused) => all(CommitError::Unavailable("permission denied".to_owned())),
            Some(Failure::Overloaded) => all(CommitError::Unavailable("too many requests".to_owned())),
            Some(Failure::Partial) => all(CommitError::Full),
            Some(Failure::Slow) => {
                tokio::time::sleep(SLOW).await;
                self.rows.commit_group(batches).await
            }
            Some(Failure::Wrong) | None => self.rows.commit_group(batches).await,
        }
    }
}

/// Who holds one half of a tenant's key.
#[derive(Clone, Default)]
pub struct Customer {
    secret: Arc<Mutex<Option<[u8; 32]>>>,
    pub switch: Arc<Switch>,
}

impl Keeper for Customer {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn place(&self) -> String {
        "theirs".to_owned()
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        *self.secret.lock() = Some(*secret);
        Ok(Vec::new())
    }

    fn give(&self, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let secret = self.secret.lock().ok_or_else(|| KeeperError::Refused("nothing is kept".to_owned()))?;
        match self.switch.now() {
            Some(Failure::Down) => Err(KeeperError::Unreachable("down".to_owned())),
            Some(Failure::Overloaded) => Err(KeeperError::Unreachable("too many requests".to_owned())),
            Some(Failure::Refused) => Err(KeeperError::Refused("no".to_owned())),
            Some(Failure::Wrong) => Ok(Zeroizing::new(secret.map(|byte| byte ^ 1).to_vec())),
            Some(Failure::Slow) => {
                // It is on a thread of its own, which ends with the failure.
                let begun = std::time::Instant::now();
                while self.switch.get() == Some(Failure::Slow) && begun.elapsed() < SLOW {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(KeeperError::Unreachable("too late".to_owned()))
            }
            Some(Failure::Partial) | None => Ok(Zeroizing::new(secret.to_vec())),
        }
    }
}

impl Keepers for Customer {
    fn keeper(&self, _: AccountId, _: &str, _: &BTreeMap<String, String>) -> Result<Arc<dyn Keeper>, KeeperError> {
        Ok(Arc::new(self.clone()))
    }
}

/// The audit log.
#[derive(Default)]
pub struct Log {
    pub switch: Switch,
}

#[async_trait]
impl Auditor for Log {
    async fn record(&self, _: AuditEvent) -> Result<(), PortionError> {
        let no =
            |reason: &str| Err(PortionError::Unrecorded { log: "simulated".to_owned(), reason: reason.to_owned() });
        match self.switch.now() {
            Some(Failure::Down) => no("down"),
            Some(Failure::Refused) => no("permission denied"),
            Some(Failure::Overloaded) => no("busy"),
            Some(Failure::Partial) => no("no space"),
            Some(Failure::Slow) => {
                tokio::time::sleep(SLOW).await;
                Ok(())
            }
            Some(Failure::Wrong) | None => Ok(()),
        }
    }
}

/// What looks at contents; it finds nothing.
#[derive(Clone, Default)]
pub struct Eyes(pub Arc<Switch>);

const EYES: Epoch = Epoch { manifest: [1; 16], number: 1, dated_s: 1 };

#[async_trait]
impl scan::Engine for Eyes {
    fn name(&self) -> &'static str {
        "eyes"
    }

    fn epoch(&self) -> Option<Epoch> {
        Some(EYES)
    }

    async fn loaded(&self, _: Duration) -> Result<Arc<dyn Loaded>, String> {
        match self.0.now() {
            Some(Failure::Down) => Err("down".to_owned()),
            Some(Failure::Refused) => Err("permission denied".to_owned()),
            Some(Failure::Overloaded) => Err("busy".to_owned()),
            Some(Failure::Slow | Failure::Wrong | Failure::Partial) | None => Ok(Arc::new(self.clone())),
        }
    }

    fn state(&self) -> EngineState {
        EngineState {
            name: "eyes".to_owned(),
            epoch: Some(EYES.number),
            version: "eyes 1".to_owned(),
            down: None,
            pid: None,
            deaths: 0,
            refused: None,
        }
    }
}

#[async_trait]
impl Loaded for Eyes {
    fn epoch(&self) -> Epoch {
        EYES
    }

    fn version(&self) -> String {
        "eyes 1".to_owned()
    }

    async fn scan(self: Arc<Self>, _: &Arc<Content>) -> Result<Verdict, EngineError> {
        if self.0.get() == Some(Failure::Slow) {
            tokio::time::sleep(SLOW).await;
        }
        Ok(Verdict::Clean)
    }
}

/// A body of so many bytes that is easy to tell from another.
pub fn body(size: usize) -> Bytes {
    (0..size).map(|at| ((at * 31) ^ (at >> 8)) as u8).collect::<Vec<u8>>().into()
}
