//! The seam between records and the engine that keeps them.

use async_trait::async_trait;
use base::{Classify, ErrorKind};
use bytes::Bytes;

/// A row's key. Ordered bytewise. At most [`base::limits::META_KEY_MAX`] bytes.
pub type Key = Bytes;

/// A row version: grows at every write of the row, so it never repeats for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u128);

/// A row as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The stored bytes.
    pub value: Bytes,
    /// The version to name in [`Check::Is`].
    pub version: Version,
}

/// The half-open key interval `[from, to)`, ascending, at most `limit` rows.
#[derive(Debug, Clone)]
pub struct Range {
    /// First key that may be returned.
    pub from: Key,
    /// First key that may not.
    pub to: Key,
    /// Most rows returned; the engine's work is proportional to it, not to the interval.
    pub limit: usize,
}

/// A slice of an interval.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Rows in key order.
    pub rows: Vec<(Key, Row)>,
    /// Whether rows remain in the interval after the last one returned.
    pub more: bool,
}

/// What one copy of the rows has, in one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Nearby {
    /// The rows that were asked for, in that order.
    pub rows: Vec<Option<Row>>,
    /// The interval that was asked for.
    pub page: Page,
}

/// A condition under which a batch commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The key has no row.
    Absent(Key),
    /// The key has a row, whatever its version.
    Present(Key),
    /// The key's row has this version.
    Is(Key, Version),
    /// No key in `[from, to)` has a row.
    Empty(Key, Key),
}

impl Check {
    /// The key's row is the one that was read; `None`: there still is none.
    pub fn unchanged(key: Key, version: Option<Version>) -> Self {
        match version {
            Some(version) => Self::Is(key, version),
            None => Self::Absent(key),
        }
    }
}

/// A change made by a batch.
#[derive(Debug, Clone)]
pub enum Write {
    /// Sets the row.
    Put(Key, Bytes),
    /// Removes the row; removing an absent row is no error.
    Delete(Key),
}

/// All checks hold and all writes happen, or nothing happens. A key is written at most once.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Conditions, evaluated against the state just before the writes.
    pub checks: Vec<Check>,
    /// Changes.
    pub writes: Vec<Write>,
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetaError {
    /// The engine cannot answer now.
    #[error("the metadata engine is unavailable: {0}")]
    Unavailable(String),
    /// The engine's own storage is damaged.
    #[error("the metadata engine's storage is damaged: {0}")]
    Corrupt(String),
}

impl Classify for MetaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Corrupt(_) => ErrorKind::Corrupt,
        }
    }
}

/// Why a batch did not commit, or may not have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The check at this index did not hold. Nothing was written.
    #[error("check {check} of the batch does not hold")]
    Failed {
        /// Index into [`Batch::checks`].
        check: usize,
    },
    /// The batch is over the portable limits. Nothing was written; it never will be.
    #[error("batch too large: {0}")]
    TooLarge(&'static str),
    /// The engine's disk is full. Nothing was written.
    #[error("the metadata engine's disk is full")]
    Full,
    /// The engine cannot commit now. Nothing was written.
    #[error("the metadata engine is unavailable: {0}")]
    Unavailable(String),
    /// The batch may or may not have been written: read the rows to learn which.
    #[error("the commit's outcome is unknown: {0}")]
    Unknown(String),
}

impl Classify for CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { .. } => ErrorKind::Conflict,
            Self::TooLarge(_) => ErrorKind::Internal,
            Self::Full => ErrorKind::Full,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }
}

/// A small transactional ordered map. Reads are strong: they see every commit acknowledged
/// before they began.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Whether other processes may use the same rows at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// Reads rows in one snapshot; answers in the order asked.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError>;

    /// Reads an interval in one snapshot.
    async fn range(&self, range: Range) -> Result<Page, MetaError>;

    /// Reads rows and an interval as the nearest copy has them, in one snapshot, without asking whether that is the newest: what was committed
    /// lately may be missing. For answers that say so ([`stale`](crate::stale)), and for guesses that a commit checks.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] also where there is but one copy.
    async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        let _ = (keys, range);
        Err(MetaError::Unavailable("there is no other copy of the metadata".into()))
    }

    /// Commits durably, or says why not.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let mut answers = self.commit_group(vec![batch]).await;
        answers.pop().unwrap_or(Err(CommitError::Unavailable("no answer".into()))).map(drop)
    }

    /// Commits several batches, each on its own conditions, as if one after the other in the
    /// order given: when a later one is durable, so is every earlier one that succeeded.
    /// Answers in the same order, each with the version that the rows which it wrote have: of two commits that wrote the same row, the later
    /// one's is the larger. An engine makes this one flush where it can.
    ///
    /// A batch of which the outcome was told as unknown has happened, or never will, before anything does that is asked for later through this
    /// engine: who makes up for what failed is not overtaken by it.
    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>>;
}

impl Batch {
    /// Writes a row that must still be what was read; `None`: there was none.
    pub fn replace(&mut self, key: Key, version: Option<Version>, value: Bytes) {
        self.checks.push(Check::unchanged(key.clone(), version));
        self.writes.push(Write::Put(key, value));
    }

    /// Refuses what would not fit every engine, so that a batch that works on one works on all.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`] past any bound of [`base::limits`].
    pub fn check_limits(&self) -> Result<(), CommitError> {
        use base::limits::{BATCH_BYTES_MAX, ENGINE_OPS_MAX, META_KEY_MAX, META_VALUE_MAX};
        if self.checks.len() + self.writes.len() > ENGINE_OPS_MAX {
            return Err(CommitError::TooLarge("operations"));
        }
        let mut bytes = 0;
        for write in &self.writes {
            let (key, value_len) = match write {
                Write::Put(key, value) => (key, value.len()),
                Write::Delete(key) => (key, 0),
            };
            if key.len() > META_KEY_MAX {
                return Err(CommitError::TooLarge("key"));
            }
            if value_len > META_VALUE_MAX {
                return Err(CommitError::TooLarge("value"));
            }
            bytes += key.len() + value_len;
        }
        if bytes > BATCH_BYTES_MAX {
            return Err(CommitError::TooLarge("bytes"));
        }
        Ok(())
    }
}

/// The key right after `key`: where a paged walk goes on.
pub fn after(key: &[u8]) -> Key {
    [key, &[0]].concat().into()
}

/// Rows read at a time where all are wanted.
const PAGE: usize = 1000;

/// Calls `each` for every row from one key to before another, in order, a page in one snapshot.
///
/// # Errors
/// A read's, and what `each` returns.
pub async fn each_row<E: From<MetaError>>(
    engine: &dyn Engine,
    (mut from, to): (Key, Key),
    mut each: impl FnMut(&Key, &Row) -> Result<(), E> + Send,
) -> Result<(), E> {
    loop {
        let page = engine.range(Range { from, to: to.clone(), limit: PAGE }).await?;
        page.rows.iter().try_for_each(|(row_key, row)| each(row_key, row))?;
        match page.rows.last() {
            Some((last, _)) if page.more => from = after(last),
            _ => return Ok(()),
        }
    }
}

/// The era of the rows ([`era_key`](crate::record::key::era_key)), and the version of the row that says so; the first is 0, and has none.
///
/// # Errors
/// A read's.
pub async fn era(engine: &dyn Engine) -> Result<(u64, Option<Version>), MetaError> {
    let row = engine.get(&[crate::record::key::era_key()]).await?.pop().flatten();
    let bytes = row.as_ref().and_then(|row| row.value.as_ref().try_into().ok());
    Ok((bytes.map_or(0, u64::from_be_bytes), row.map(|row| row.version)))
}

/// The first key after every key that starts with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    // Every record's key starts with an ASCII letter, so this is never asked; 0xff… bounds it.
    Bytes::from_static(&[0xff; 16])
}
