//! What is known of contents: in memory, and behind it as rows, which outlive this process and are there for all gateways.
//!
//! Rows are written behind: one that is lost costs a scan. Rows that cannot be read cost one as well, and say so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meta::record::{ContentId, EngineVerdict, Record, VerdictRecord, key};
use meta::{Batch, CommitError, Engine, Version};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::limits::{REMEMBERED, UNWRITTEN_MAX, WRITTEN_AT_ONCE};
use crate::spool::Digests;

/// Verdicts that come within this go into one group.
const GATHERED: Duration = Duration::from_millis(100);
/// After so long what could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

type News = (ContentId, Arc<VerdictRecord>);

/// All verdicts.
pub(crate) struct Known {
    meta: Arc<dyn Engine>,
    memory: Cache<ContentId, Arc<VerdictRecord>>,
    news: Mutex<Option<mpsc::Sender<News>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Known {
    /// Writes what it learns until it is dropped.
    pub(crate) fn new(meta: Arc<dyn Engine>) -> Self {
        let (news, from) = mpsc::channel(UNWRITTEN_MAX);
        let writer = tokio::spawn(write(meta.clone(), from));
        let (news, writer) = (Mutex::new(Some(news)), Mutex::new(Some(writer)));
        Self { meta, memory: Cache::new(REMEMBERED), news, writer }
    }

    /// Returns when all that was learnt is written. What is learnt later is in memory only.
    pub(crate) async fn close(&self) {
        self.news.lock().take();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // It ends by itself, once it has written the last.
            let _ = writer.await;
        }
    }

    pub(crate) fn remembered(&self, content: ContentId) -> Option<Arc<VerdictRecord>> {
        self.memory.get(&content)
    }

    pub(crate) fn count(&self) -> usize {
        self.memory.len()
    }

    /// What the rows say, which may be more than is remembered.
    pub(crate) async fn read(&self, content: ContentId) -> Option<Arc<VerdictRecord>> {
        let rows = self.meta.get(&[key::verdict_key(content)]).await;
        let row = match rows {
            Ok(mut rows) => rows.pop().flatten()?,
            Err(error) => {
                metrics::counter!("holdfast_scan_verdicts_unread_total").increment(1);
                tracing::warn!(%error, "verdicts cannot be read: what is not in memory is scanned again");
                return None;
            }
        };
        match VerdictRecord::decode(&row.value) {
            Ok(record) => {
                let record = Arc::new(record);
                self.memory.insert(content, record.clone());
                Some(record)
            }
            Err(error) => {
                tracing::warn!(%content, %error, "a verdict cannot be read: the content is scanned again");
                None
            }
        }
    }

    /// Returns when what is remembered of a content is a row that others read.
    pub(crate) async fn settle(&self, content: ContentId) -> Result<(), String> {
        let Some(record) = self.memory.get(&content) else { return Ok(()) };
        let mut left = HashMap::from([(content, record)]);
        while !left.is_empty() {
            left = commit(self.meta.as_ref(), &left).await?;
        }
        Ok(())
    }

    /// Remembers what a row says, unless more is remembered.
    pub(crate) fn recall(&self, content: ContentId, row: Arc<VerdictRecord>) {
        if self.memory.get(&content).is_none() {
            self.memory.insert(content, row);
        }
    }

    pub(crate) fn forget(&self, content: ContentId) {
        self.memory.remove(&content);
    }

    pub(crate) fn learn(&self, content: ContentId, digests: Digests, new: Vec<EngineVerdict>) {
        if new.is_empty() {
            return;
        }
        let mut record = match self.memory.get(&content) {
            Some(known) => VerdictRecord::clone(&known),
            None => VerdictRecord { sha256: digests.sha256, sha1: digests.sha1, md5: digests.md5, said: vec![] },
        };
        new.into_iter().for_each(|new| record.learn(new));
        let record = Arc::new(record);
        self.memory.insert(content, record.clone());
        let is_sent = self.news.lock().as_ref().is_some_and(|news| news.try_send((content, record)).is_ok());
        if !is_sent {
            metrics::counter!("holdfast_scan_verdicts_unwritten_total").increment(1);
        }
    }
}

/// Writes what comes, many in one group, until nobody is left who sends.
async fn write(meta: Arc<dyn Engine>, mut from: mpsc::Receiver<News>) {
    let mut news = Vec::new();
    while from.recv_many(&mut news, WRITTEN_AT_ONCE).await > 0 {
        // One flush for all that a moment brings: nobody waits for it.
        if news.len() < WRITTEN_AT_ONCE && !from.is_closed() {
            tokio::time::sleep(GATHERED).await;
            while news.len() < WRITTEN_AT_ONCE
                && let Ok(more) = from.try_recv()
            {
                news.push(more);
            }
        }
        let mut left: HashMap<ContentId, Arc<VerdictRecord>> = news.drain(..).collect();
        // Who lost a race against another gateway reads what that one wrote.
        while !left.is_empty() {
            left = match commit(meta.as_ref(), &left).await {
                Ok(lost) => lost,
                Err(error) => {
                    tracing::warn!(%error, "verdicts cannot be written now");
                    if from.is_closed() {
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                    left
                }
            };
        }
    }
}

/// Tells those that another one changed meanwhile.
async fn commit(
    meta: &dyn Engine,
    news: &HashMap<ContentId, Arc<VerdictRecord>>,
) -> Result<HashMap<ContentId, Arc<VerdictRecord>>, String> {
    let news: Vec<News> = news.iter().map(|(content, record)| (*content, record.clone())).collect();
    let keys: Vec<_> = news.iter().map(|(content, _)| key::verdict_key(*content)).collect();
    let rows = meta.get(&keys).await.map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    for (((_, record), row), row_key) in news.iter().zip(rows).zip(keys) {
        let known = row.as_ref().and_then(|row| VerdictRecord::decode(&row.value).ok());
        let mut merged = known.unwrap_or_else(|| VerdictRecord { said: vec![], ..VerdictRecord::clone(record) });
        record.said.iter().for_each(|new| merged.learn(new.clone()));
        let mut batch = Batch::default();
        // What others wrote already is not written once more.
        let value = merged.encode();
        if row.as_ref().is_none_or(|row| row.value != value) {
            batch.replace(row_key, row.map(|row| row.version), value);
        }
        batches.push(batch);
    }
    let done: Vec<Result<Version, CommitError>> = meta.commit_group(batches).await;
    let mut lost = HashMap::new();
    for (news, done) in news.into_iter().zip(done) {
        match done {
            Ok(_) => {}
            Err(CommitError::Failed { .. }) => drop(lost.insert(news.0, news.1)),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(lost)
}
