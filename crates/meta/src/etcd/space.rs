//! Where our rows lie in an etcd that others use as well. Pure.
//!
//! All of it is under a prefix, `holdfast/` by default: `r/` and a row's key, `lane/` and a lane's name, and `format`. A row's
//! key may be any bytes, so that what is ours beside the rows needs a place that no row can have.

use bytes::Bytes;
use etcd::message::{KeyValue, RangeRequest};

use crate::{Check, Key, Row, Version, prefix_end};

/// A prefix, and what is built on it.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    prefix: String,
    rows: Bytes,
}

impl Space {
    /// `prefix` without the slash at its end.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}/"), rows: format!("{prefix}/r/").into() }
    }

    pub(crate) fn row(&self, key: &[u8]) -> Bytes {
        [&self.rows[..], key].concat().into()
    }

    /// The row of an answer. `None` when it is none of ours.
    pub(crate) fn stripped(&self, found: &KeyValue) -> Option<(Key, Row)> {
        found.key.starts_with(&self.rows).then(|| (found.key.slice(self.rows.len()..), row(found)))
    }

    pub(crate) fn format(&self) -> Bytes {
        format!("{}format", self.prefix).into()
    }

    pub(crate) fn lane(&self, process: &str, number: usize) -> Bytes {
        format!("{}lane/{process}/{number}", self.prefix).into()
    }

    /// All lanes of all processes.
    pub(crate) fn lanes(&self) -> (Bytes, Bytes) {
        let from = format!("{}lane/", self.prefix);
        let to = prefix_end(from.as_bytes());
        (from.into(), to)
    }

    /// What tells whether a check holds: one row, its key only. `None` for an interval in which no key can be.
    pub(crate) fn evidence(&self, check: &Check) -> Option<RangeRequest> {
        let (key, range_end) = match check {
            Check::Absent(key) | Check::Present(key) | Check::Is(key, _) => (self.row(key), Bytes::new()),
            Check::Empty(from, to) if from < to => (self.row(from), self.row(to)),
            Check::Empty(..) => return None,
        };
        Some(RangeRequest { key, range_end, limit: 1, keys_only: true, ..RangeRequest::default() })
    }
}

/// The row as callers know it; its version is the revision of its last write, which never repeats.
pub(crate) fn row(found: &KeyValue) -> Row {
    Row { value: found.value.clone(), version: version(found) }
}

fn version(found: &KeyValue) -> Version {
    version_of(found.mod_revision)
}

/// The version of what was written at a revision.
pub(crate) fn version_of(revision: i64) -> Version {
    Version(u128::try_from(revision).unwrap_or_default())
}

/// The revision that a version stands for; `-1`, which no row has, for a version of another engine.
pub(crate) fn revision(version: Version) -> i64 {
    i64::try_from(version.0).ok().filter(|revision| *revision > 0).unwrap_or(-1)
}

/// Whether a check holds, by what [`Space::evidence`] found.
pub(crate) fn holds(check: &Check, found: Option<&KeyValue>) -> bool {
    match check {
        Check::Absent(_) | Check::Empty(..) => found.is_none(),
        Check::Present(_) => found.is_some(),
        Check::Is(_, wanted) => found.is_some_and(|found| version(found) == *wanted),
    }
}
