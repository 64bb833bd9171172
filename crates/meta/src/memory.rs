//! The engine for tests and the simulation: a map under a lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Batch, Check, CommitError, Engine, Key, MetaError, Nearby, Page, Range, Row, Version, Write};

/// An [`Engine`] that lives in memory and answers within the call: no threads, no waiting, and the
/// same answers for the same calls, so that a simulation repeats.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    is_shared: bool,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// Shared with copies until one of them changes.
    rows: Arc<BTreeMap<Key, Row>>,
    /// Batches committed so far; the version of every row that the last one wrote.
    commits: u64,
    fault: Option<CommitError>,
}

impl Memory {
    /// An engine without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that says that others use it as well, as several stores of one test do.
    pub fn shared() -> Self {
        Self { is_shared: true, ..Self::default() }
    }

    /// Another one with the same rows, which go on by themselves.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { state: Mutex::new(self.state.lock().clone()), is_shared: self.is_shared }
    }

    /// Makes every commit fail with `fault`, or none when it is `None`. A batch that fails with
    /// [`CommitError::Unknown`] is written all the same, which is the harder of the two outcomes
    /// for its caller; after any other fault nothing is. Reads are not affected.
    pub fn set_fault(&self, fault: Option<CommitError>) {
        self.state.lock().fault = fault;
    }
}

#[async_trait]
impl Engine for Memory {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        Ok(self.state.lock().rows_of(keys))
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        Ok(self.state.lock().page_of(&range))
    }

    /// All copies are this one.
    async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        let state = self.state.lock();
        Ok(Nearby { rows: state.rows_of(keys), page: range.map(|range| state.page_of(&range)).unwrap_or_default() })
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        let mut state = self.state.lock();
        batches.into_iter().map(|batch| state.commit(batch)).collect()
    }
}

impl State {
    fn rows_of(&self, keys: &[Key]) -> Vec<Option<Row>> {
        keys.iter().map(|key| self.rows.get(key).cloned()).collect()
    }

    fn page_of(&self, range: &Range) -> Page {
        let mut rows = self.between(&range.from, &range.to);
        let page = rows.by_ref().take(range.limit).map(|(key, row)| (key.clone(), row.clone())).collect();
        Page { rows: page, more: rows.next().is_some() }
    }

    fn commit(&mut self, batch: Batch) -> Result<Version, CommitError> {
        batch.check_limits()?;
        let fault = self.fault.clone();
        if let Some(fault) = &fault
            && !matches!(fault, CommitError::Unknown(_))
        {
            return Err(fault.clone());
        }
        if let Some(check) = batch.checks.iter().position(|check| !self.holds(check)) {
            return Err(CommitError::Failed { check });
        }
        self.commits += 1;
        let version = Version(u128::from(self.commits));
        let rows = Arc::make_mut(&mut self.rows);
        for write in batch.writes {
            match write {
                Write::Put(key, value) => rows.insert(key, Row { value, version }),
                Write::Delete(key) => rows.remove(&key),
            };
        }
        fault.map_or(Ok(version), Err)
    }

    fn holds(&self, check: &Check) -> bool {
        match check {
            Check::Absent(key) => !self.rows.contains_key(key),
            Check::Present(key) => self.rows.contains_key(key),
            Check::Is(key, version) => self.rows.get(key).is_some_and(|row| row.version == *version),
            Check::Empty(from, to) => self.between(from, to).next().is_none(),
        }
    }

    /// The rows in `[from, to)`; none when the interval is empty or the wrong way round.
    fn between(&self, from: &Key, to: &Key) -> impl Iterator<Item = (&Key, &Row)> {
        let to = to.clone();
        self.rows.range::<Bytes, _>(from..).take_while(move |(key, _)| **key < to)
    }
}
