//! A walk over rows in key order that reads about as many as it is asked for: a listing that skips
//! from common prefix to common prefix must not read what it skips.

use std::collections::VecDeque;

use meta::{Key, Range, Row, after};

use crate::{Error, Store};

/// Rows read after a skip: the next one, and one to see whether it is alone.
const AFTER_SKIP: usize = 2;
/// Most rows read at a time.
const ROWS_MAX: usize = 1001;

/// A walk, and what it has read ahead.
pub(crate) struct Walk<'a> {
    store: &'a Store,
    from: Key,
    to: Key,
    ready: VecDeque<(Key, Row)>,
    ended: bool,
    /// Rows to read next: doubles while they are all wanted.
    ahead: usize,
}

impl<'a> Walk<'a> {
    /// A walk from one key to before another. `skips`: it may skip most rows.
    pub(crate) fn new(store: &'a Store, (from, to): (Key, Key), skips: bool) -> Self {
        let ahead = if skips { AFTER_SKIP } else { ROWS_MAX };
        Self { store, from, to, ready: VecDeque::new(), ended: false, ahead }
    }

    /// Reads on if nothing is left; `most` is how many rows can be wanted.
    pub(crate) async fn fill(&mut self, most: usize) -> Result<(), Error> {
        if !self.ready.is_empty() || self.ended {
            return Ok(());
        }
        let limit = self.ahead.min(most).clamp(1, ROWS_MAX);
        let range = Range { from: self.from.clone(), to: self.to.clone(), limit };
        let page = self.store.0.meta.range(range).await?;
        self.ended = !page.more;
        if let Some((last, _)) = page.rows.last() {
            self.from = after(last);
        }
        self.ready.extend(page.rows);
        self.ahead = (self.ahead * 2).min(ROWS_MAX);
        Ok(())
    }

    /// The next row, read by [`Self::fill`].
    pub(crate) fn next(&self) -> Option<&(Key, Row)> {
        self.ready.front()
    }

    /// Takes the next row.
    pub(crate) fn take(&mut self) -> Option<(Key, Row)> {
        self.ready.pop_front()
    }

    /// Goes on at `to`, unless it is there already.
    pub(crate) fn seek(&mut self, to: Key) {
        while self.ready.front().is_some_and(|(row_key, _)| *row_key < to) {
            self.ready.pop_front();
        }
        if self.ready.is_empty() && to > self.from {
            self.ahead = AFTER_SKIP;
            self.ended = self.ended || to >= self.to;
            self.from = to;
        }
    }
}
