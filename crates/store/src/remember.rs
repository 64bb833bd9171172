//! Rows that this process has seen, and requests that go by them before anybody has said that they still stand.
//!
//! A remembered row is a guess, never an answer. A request that reads goes by it at once, asks the engine for all such rows in one
//! read while it does the rest of its work, and tells nothing before that says that each row is still what it was
//! ([`Store::reading`]). A request that writes an object has its commit check them ([`Store::writing`]). Where a guess
//! was wrong nothing has been told and nothing was done. So what is read and who may read it is judged by rows of the
//! time of the request, as if each had been read one after the other; it only takes one round trip instead of eight.
//! Why it is so: `docs/design/0026-speed-over-five-sites.md`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use meta::{Batch, Check, CommitError, Engine, Key, MetaError, Page, Range, Row, Version, Write, stale};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::authorize::POLICY;
use crate::worker::LIFECYCLE;
use crate::{Error, Store};

/// Bytes of rows and their keys.
const BYTES_MAX: u64 = 32 << 20;
/// A row of about this many bytes is what most are.
const USUAL: u64 = 600;
/// Larger rows are not kept.
const ROW_MAX: usize = 64 << 10;
/// What the cache itself takes for an entry.
const OVERHEAD: u64 = 120;
/// How old what is told beside an object that was put may be: when it will expire, by the bucket's rules.
const RECENT: Duration = Duration::from_secs(2);
/// Bytes before the name in a key of a bucket's sub-resource: `c/` and the bucket's id.
const CONFIG_NAME_AT: usize = 2 + 16;

tokio::task_local! {
    static REQUEST: Arc<Request>;
}

/// What must be true of the rows that somebody goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// They are confirmed by a read before anything is told.
    Reads,
    /// The commit checks them.
    Writes,
    /// A batch is being made whose checks name every row that it was made from.
    Checked,
    /// None are gone by: all are read.
    Strongly,
}

/// One request.
struct Request {
    how: How,
    state: Mutex<GoneBy>,
}

#[derive(Default)]
struct GoneBy {
    /// Not confirmed yet: which version each row had, and when it was gone by last, in the order of the request.
    rows: HashMap<Key, (Option<Version>, u64)>,
    count: u64,
    overtaken: bool,
}

impl Request {
    fn new(how: How) -> Arc<Self> {
        Arc::new(Self { how, state: Mutex::default() })
    }

    fn goes_by(&self, key: &Key, version: Option<Version>) {
        let mut state = self.state.lock();
        state.count += 1;
        let count = state.count;
        let before = state.rows.insert(key.clone(), (version, count));
        // Both cannot be right.
        state.overtaken |= before.is_some_and(|(before, _)| before != version);
    }
}

/// A row as it was seen, and when.
#[derive(Clone)]
struct Known {
    row: Option<Row>,
    at: Instant,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Known> for Weigh {
    fn weight(&self, key: &Key, known: &Known) -> u64 {
        OVERHEAD + key.len() as u64 + known.row.as_ref().map_or(0, |row| row.value.len() as u64)
    }
}

/// The rows.
pub(crate) struct Rows(Option<Cache<Key, Known, Weigh>>);

impl Rows {
    /// None are kept where the engine is this process's own: it answers as fast.
    pub(crate) fn of(engine: &dyn Engine) -> Arc<Self> {
        let cache = || Cache::with_weighter((BYTES_MAX / USUAL) as usize, BYTES_MAX, Weigh);
        Arc::new(Self(engine.is_shared().then(cache)))
    }

    fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn known(&self, key: &Key) -> Option<Known> {
        self.0.as_ref()?.get(key)
    }

    /// A row as it was seen last: a guess.
    pub(crate) fn seen(&self, key: &Key) -> Option<Row> {
        self.known(key)?.row
    }

    /// A row was seen to be this.
    fn saw(&self, key: &Key, row: Option<&Row>) {
        let Some(cache) = &self.0 else { return };
        if !is_kept(key, row) {
            if is_kept_where_present(key) {
                cache.remove(key);
            }
            return;
        }
        let newer = |known: Known| known.row.map(|known| known.version) > row.map(|row| row.version);
        if row.is_some() && cache.peek(key).is_some_and(newer) {
            return;
        }
        cache.insert(key.clone(), Known { row: row.cloned(), at: Instant::now() });
    }

    fn forget(&self, key: &Key) {
        if let Some(cache) = &self.0 {
            cache.remove(key);
        }
    }
}

/// Buckets and their states, objects, where parts are, access keys, users and groups: what every request begins with.
fn is_kept_where_present(key: &Key) -> bool {
    key.get(1) == Some(&b'/') && key.first().is_some_and(|kind| b"bBiodanNG".contains(kind))
}

/// Of most rows it is not kept that there is none: another process makes one, and that is to be seen at once.
fn is_kept(key: &Key, row: Option<&Row>) -> bool {
    let is_asked_always = key.starts_with(b"c/")
        && key.get(CONFIG_NAME_AT..).is_some_and(|name| name == POLICY.as_bytes() || name == LIFECYCLE.as_bytes());
    match row {
        Some(row) if row.value.len() > ROW_MAX => false,
        Some(_) => is_asked_always || is_kept_where_present(key),
        None => is_asked_always,
    }
}

/// An engine whose answers are remembered, and what is committed through it.
pub(crate) struct Remembering {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) rows: Arc<Rows>,
}

#[async_trait]
impl Engine for Remembering {
    fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        let found = self.engine.get(keys).await?;
        keys.iter().zip(&found).for_each(|(key, row)| self.rows.saw(key, row.as_ref()));
        Ok(found)
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.engine.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        if !self.rows.is_on() {
            return self.engine.commit_group(batches).await;
        }
        let written: Vec<Vec<(Key, Option<Bytes>)>> =
            batches.iter().map(|batch| batch.writes.iter().map(of_write).collect()).collect();
        // From here on nobody knows, and if the answer is lost nobody will.
        written.iter().flatten().for_each(|(key, _)| self.rows.forget(key));
        let answers = self.engine.commit_group(batches).await;
        for (answer, written) in answers.iter().zip(written) {
            for (key, value) in written {
                match (answer, value) {
                    (Ok(version), Some(value)) => self.rows.saw(&key, Some(&Row { value, version: *version })),
                    _ => self.rows.forget(&key),
                }
            }
        }
        answers
    }
}

fn of_write(write: &Write) -> (Key, Option<Bytes>) {
    match write {
        Write::Put(key, value) => (key.clone(), Some(value.clone())),
        Write::Delete(key) => (key.clone(), None),
    }
}

fn this_request() -> Option<Arc<Request>> {
    REQUEST.try_with(Arc::clone).ok()
}

impl Store {
    /// Answers a request that changes nothing. Rows may be remembered ones; they are all confirmed before this returns.
    ///
    /// # Errors
    /// [`Error::Overtaken`] where one was not as it was remembered, or a metadata error: then nothing of what was done may be told. It
    /// is to be done again, outside of this.
    pub async fn reading<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        if !self.0.rows.is_on() || self.is_away() {
            return Ok(work.await);
        }
        let request = Request::new(How::Reads);
        let done = REQUEST.scope(request.clone(), work).await;
        self.confirm_of(&request).await?;
        Ok(done)
    }

    /// Answers a request that does nothing but [`Store::put`] an object. Rows may be remembered ones; the commit checks them. What is
    /// refused is refused by confirmed rows.
    ///
    /// # Errors
    /// [`Error::Overtaken`] for a refusal by rows that were not as remembered, or a metadata error.
    pub async fn writing<T>(
        &self,
        work: impl Future<Output = T>,
        is_refused: impl FnOnce(&T) -> bool,
    ) -> Result<T, Error> {
        if !self.0.rows.is_on() || self.is_away() {
            return Ok(work.await);
        }
        let request = Request::new(How::Writes);
        let done = REQUEST.scope(request.clone(), work).await;
        if is_refused(&done) {
            self.confirm_of(&request).await?;
        }
        Ok(done)
    }

    /// Confirms what the request went by so far. To be awaited beside other work, before what that gave is told.
    ///
    /// # Errors
    /// [`Error::Overtaken`], or a metadata error.
    pub(crate) async fn confirm(&self) -> Result<(), Error> {
        match this_request() {
            Some(request) if request.how == How::Reads => self.confirm_of(&request).await,
            _ => Ok(()),
        }
    }

    async fn confirm_of(&self, request: &Request) -> Result<(), Error> {
        let (asked, count) = {
            let state = request.state.lock();
            if state.overtaken {
                return Err(self.overtaken(&[]));
            }
            let asked: Vec<(Key, Option<Version>)> =
                state.rows.iter().map(|(key, (version, _))| (key.clone(), *version)).collect();
            (asked, state.count)
        };
        if asked.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = asked.iter().map(|(key, _)| key.clone()).collect();
        let found = self.0.meta.get(&keys).await?;
        if stale::age_ms().is_some() {
            // An old answer confirms nothing. Whoever accepts one goes by nothing else, and is told how old it is.
            return Err(self.overtaken(&[]));
        }
        let versions = found.iter().map(|row| row.as_ref().map(|row| row.version));
        let mut state = request.state.lock();
        if !versions.eq(asked.iter().map(|(_, version)| *version)) {
            state.overtaken = true;
            // The read has put what is there in their place.
            return Err(self.overtaken(&[]));
        }
        // What was gone by since it was asked is still to be confirmed.
        state.rows.retain(|_, (_, at)| *at > count);
        Ok(())
    }

    /// What a request went by was not so; it is not remembered any more.
    pub(crate) fn overtaken(&self, checks: &[Check]) -> Error {
        metrics::counter!("holdfast_requests_overtaken_total").increment(1);
        for check in checks {
            if let Check::Is(key, _) | Check::Absent(key) = check {
                self.0.rows.forget(key);
            }
        }
        Error::Overtaken
    }

    /// Rows, in the order asked: in one snapshot, unless the request may go by what is remembered.
    pub(crate) async fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, Error> {
        let request = this_request().filter(|request| request.how != How::Strongly);
        let Some(request) = request else { return Ok(self.0.meta.get(keys).await?) };
        let mut rows: Vec<Option<Known>> = keys.iter().map(|key| self.0.rows.known(key)).collect();
        let missing: Vec<Key> =
            keys.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(key, _)| key.clone()).collect();
        for (key, known) in keys.iter().zip(&rows) {
            if let Some(known) = known {
                request.goes_by(key, known.row.as_ref().map(|row| row.version));
            }
        }
        if !missing.is_empty() {
            let mut found = self.0.meta.get(&missing).await?.into_iter();
            for row in rows.iter_mut().filter(|row| row.is_none()) {
                *row = Some(Known { row: found.next().flatten(), at: Instant::now() });
            }
        }
        Ok(rows.into_iter().map(|known| known.and_then(|known| known.row)).collect())
    }

    /// As [`Self::rows`]; where a request has written already, what was seen a moment ago will do.
    pub(crate) async fn recent_rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, Error> {
        if this_request().is_some_and(|request| request.how == How::Writes) {
            let known: Option<Vec<Known>> = keys.iter().map(|key| self.0.rows.known(key)).collect();
            return match known.filter(|known| known.iter().all(|known| known.at.elapsed() < RECENT)) {
                Some(known) => Ok(known.into_iter().map(|known| known.row).collect()),
                None => Ok(self.0.meta.get(keys).await?),
            };
        }
        self.rows(keys).await
    }

    /// Whether a row is still of this version, now that what it tells of is held. A request that reads goes by it that it is, and is told
    /// when it is confirmed.
    pub(crate) async fn stands(&self, key: Key, version: Version) -> Result<bool, Error> {
        if let Some(request) = this_request().filter(|request| request.how == How::Reads) {
            request.goes_by(&key, Some(version));
            return Ok(true);
        }
        Ok(self.row(key).await?.is_some_and(|row| row.version == version))
    }

    /// The row of an object that is to be replaced. While a batch is made that checks it, one that is not known is taken for absent.
    pub(crate) async fn row_to_replace(&self, key: Key) -> Result<Option<Row>, Error> {
        match this_request() {
            Some(request) if request.how == How::Checked => Ok(self.0.rows.known(&key).and_then(|known| known.row)),
            _ => self.row(key).await,
        }
    }

    /// What the request went by, for its commit to check.
    ///
    /// # Errors
    /// [`Error::Overtaken`] where a row was two different ones already.
    pub(crate) fn gone_by(&self) -> Result<Vec<Check>, Error> {
        let Some(request) = this_request().filter(|request| request.how == How::Writes) else { return Ok(Vec::new()) };
        let state = request.state.lock();
        if state.overtaken {
            return Err(self.overtaken(&[]));
        }
        let mut rows: Vec<(&Key, Option<Version>)> =
            state.rows.iter().map(|(key, (version, _))| (key, *version)).collect();
        // The same batch for the same request.
        rows.sort();
        Ok(rows.into_iter().map(|(key, version)| Check::unchanged(key.clone(), version)).collect())
    }

    /// Whether something that no commit checks must not be done now: the request goes by what is remembered.
    pub(crate) fn goes_by_memory(&self) -> bool {
        this_request().is_some_and(|request| {
            matches!(request.how, How::Reads | How::Writes) && !request.state.lock().rows.is_empty()
        })
    }

    /// Makes a batch that checks every row that it is made from, of remembered rows; `None`: nothing is remembered here.
    pub(crate) async fn by_memory<T>(&self, making: impl Future<Output = T>) -> Option<T> {
        if !self.0.rows.is_on() {
            return None;
        }
        Some(REQUEST.scope(Request::new(How::Checked), making).await)
    }

    /// Reads rows, whatever the request goes by.
    pub(crate) async fn strongly<T>(&self, work: impl Future<Output = T>) -> T {
        REQUEST.scope(Request::new(How::Strongly), work).await
    }

    /// Has rows of these keys remembered that are not, and where the bytes of such objects are: before a batch is made that replaces them.
    pub(crate) fn look_ahead(&self, keys: impl Iterator<Item = Key>) {
        if !self.0.rows.is_on() {
            return;
        }
        let unknown: Vec<Key> = keys.filter(|key| self.0.rows.known(key).is_none()).collect();
        if unknown.is_empty() {
            return;
        }
        let store = self.clone();
        self.0.tasks.spawn(async move {
            // Whatever is wrong, the commit finds out.
            let Ok(found) = store.glance(&unknown).await else { return };
            let data: Vec<Key> = found.iter().flatten().filter_map(crate::commit::data_of).collect();
            if !data.is_empty() {
                let _ = store.glance(&data).await;
            }
        });
    }

    /// Has rows remembered as the nearest copy has them, for nothing but guesses; where there is no other copy, as they are.
    async fn glance(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        let near = match &self.0.reach {
            Some(reach) => reach.glance(keys).await.ok(),
            None => None,
        };
        let Some(near) = near else { return self.0.meta.get(keys).await };
        for (key, row) in keys.iter().zip(&near) {
            // That there is none may be of before what was committed here meanwhile.
            if row.is_some() {
                self.0.rows.saw(key, row.as_ref());
            }
        }
        Ok(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::Memory;

    fn key(text: &'static str) -> Key {
        Key::from_static(text.as_bytes())
    }

    fn row(version: u128) -> Row {
        Row { value: Bytes::from_static(b"1"), version: Version(version) }
    }

    #[test]
    fn what_is_kept() {
        let (here, large) = (row(1), Row { value: vec![0; ROW_MAX + 1].into(), version: Version(1) });
        for (text, present, absent) in [
            ("o/1", true, false),
            ("d/1", true, false),
            ("b/1", true, false),
            ("i/1", true, false),
            ("a/1", true, false),
            ("G/1", true, false),
            ("c/0123456789abcdefpolicy", true, true),
            ("c/0123456789abcdeflifecycle", true, true),
            ("c/0123456789abcdefnotification", false, false),
            ("k/1", false, false),
            ("E/1", false, false),
            ("P/1", false, false),
            ("C/head", false, false),
            ("v/1", false, false),
        ] {
            assert_eq!(is_kept(&key(text), Some(&here)), present, "{text}");
            assert_eq!(is_kept(&key(text), None), absent, "no {text}");
            assert!(!is_kept(&key(text), Some(&large)), "large {text}");
        }
    }

    #[test]
    fn the_newest_stays() {
        let rows = Rows::of(&Memory::shared());
        let version = |text| rows.known(&key(text)).and_then(|known| known.row).map(|row| row.version.0);
        rows.saw(&key("o/1"), Some(&row(5)));
        rows.saw(&key("o/1"), Some(&row(4)));
        assert_eq!(version("o/1"), Some(5), "an answer that came late");
        rows.saw(&key("o/1"), None);
        assert_eq!(version("o/1"), None, "gone");
        assert!(Rows::of(&Memory::new()).known(&key("o/1")).is_none());
    }

    #[tokio::test]
    async fn commits_are_remembered() {
        let rows = Rows::of(&Memory::shared());
        let engine = Remembering { engine: Arc::new(Memory::shared()), rows: rows.clone() };
        let put = |text| Batch { checks: vec![], writes: vec![Write::Put(key(text), Bytes::from_static(b"2"))] };
        engine.commit(put("o/1")).await.unwrap();
        let known = rows.known(&key("o/1")).unwrap().row;
        assert_eq!(engine.get(&[key("o/1")]).await.unwrap(), [known], "the version, too");
        let failing = Batch { checks: vec![Check::Absent(key("o/1"))], ..put("o/1") };
        engine.commit(failing).await.unwrap_err();
        assert!(rows.known(&key("o/1")).is_none(), "nobody knows");
        engine.commit(put("o/1")).await.unwrap();
        engine.commit(Batch { checks: vec![], writes: vec![Write::Delete(key("o/1"))] }).await.unwrap();
        assert!(rows.known(&key("o/1")).is_none());
    }
}
