//! Checkpoints: all rows at the sites, so that the journal from before can go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::GatewayId;
use base::limits::COLUMNS;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meta::Key;
use meta::record::key;
use sites::SiteError;

use super::entry::{
    CHECKPOINTS, End, JOURNAL, StoredRow, end_name, of_era, open, parse_entry_name, parse_piece_name, piece_name, seal,
};
use super::{COPIES, Journal, Names, put_everywhere};
use crate::{Error, Store};

/// Bytes of rows in a piece, about. A piece is sealed and put whole.
const PIECE: usize = 4 << 20;
/// A checkpoint is due after so long at the latest.
const EVERY_MS: u64 = 3_600_000;
/// And when the journal has grown by as much as the last one has bytes, but not for less than this.
const GROWN: u64 = 64 << 20;
/// So long after it said so a process has committed what it meant to, or never will: three times the engine's patience.
const SETTLED_AFTER: Duration = Duration::from_secs(15);
/// Names deleted at once at a site.
const DELETES: usize = 32;
/// Rows read at a time.
const PAGE: usize = 1000;

/// A checkpoint that was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checkpointed {
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it, sealed, once.
    pub bytes: u64,
    /// Entries of the journal that it made needless, at all sites.
    pub trimmed: u64,
}

/// When the last one was begun, by the time that never goes back, and how large it was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Last {
    pub(crate) began_ms: Option<u64>,
    pub(crate) bytes: u64,
}

impl Store {
    /// Makes a checkpoint when one is due.
    pub(crate) async fn checkpoint_when_due(&self) -> Result<(), Error> {
        let Some(journal) = &self.0.journal else { return Ok(()) };
        let passed = self.0.options.doors.clock.passed_ms();
        let last = *self.0.workers.checkpointed.lock();
        let grown = journal.bytes.load(Ordering::Relaxed);
        let is_due = last.began_ms.is_none_or(|began| passed.saturating_sub(began) >= EVERY_MS)
            || grown >= last.bytes.max(GROWN);
        if !is_due {
            return Ok(());
        }
        self.checkpoint(SETTLED_AFTER).await.map(drop)
    }

    /// Makes a checkpoint if there is none of the engine that the rows are in now: what the journal says has to begin with something.
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub(crate) async fn begin_journal(&self) -> Result<(), Error> {
        let Some(journal) = &self.0.journal else { return Ok(()) };
        for (number, _) in self.found_checkpoints().await.into_iter().rev().filter(|(_, is_whole)| *is_whole) {
            if self.end_of(journal, number).await.is_some_and(|end| end.era == journal.era()) {
                return Ok(());
            }
        }
        // Of another engine, so nobody else commits to this one yet, or of another root key, and then none was told of under this one.
        self.checkpoint(Duration::ZERO).await.map(drop)
    }

    /// Makes a checkpoint of the metadata at the sites, and removes what the one before it made needless. What any process had
    /// said that it would commit when this began is settled, one way or the other, `settled_after`.
    ///
    /// # Errors
    /// [`Error::TooFewSites`] where fewer than three take it, [`Error::Contended`] where another gateway leads meanwhile, or a metadata
    /// error.
    pub async fn checkpoint(&self, settled_after: Duration) -> Result<Checkpointed, Error> {
        let Some(journal) = &self.0.journal else { return Ok(Checkpointed::default()) };
        let (began_ms, passed_ms) = (self.now_ms(), self.0.options.doors.clock.passed_ms());
        journal.bytes.store(0, Ordering::Relaxed);
        let found = self.found_checkpoints().await;
        let number = next_number(found.keys().next_back().copied(), journal.doors.rng.as_ref());
        let journals = self.found_journals().await;
        tokio::time::sleep(settled_after).await;
        let floor = self.floor(journal).await?;
        let mut done = Checkpointed::default();
        let pieces = self.put_rows(journal, number, &mut done).await?;
        let era = journal.era();
        let journals = journals.into_iter().collect();
        let end = End { era, floor, pieces, rows: done.rows, began_ms, journals };
        if !self.leads() {
            return Err(Error::Contended);
        }
        done.bytes += self.put_piece(journal, &end_name(number), &end).await?;
        *self.0.workers.checkpointed.lock() = Last { began_ms: Some(passed_ms), bytes: done.bytes };
        done.trimmed = self.trim(journal, number, &found).await?;
        metrics::gauge!("holdfast_checkpoint_rows").set(done.rows as f64);
        metrics::gauge!("holdfast_checkpoint_bytes").set(done.bytes as f64);
        metrics::gauge!("holdfast_checkpoint_at_seconds").set(self.now_ms() as f64 / 1000.0);
        tracing::info!(rows = done.rows, bytes = done.bytes, number, "a checkpoint of the metadata is at the sites");
        Ok(done)
    }

    /// Puts all rows, no more than a page and a piece of them in memory; says in how many pieces.
    async fn put_rows(&self, journal: &Arc<Journal>, number: u64, done: &mut Checkpointed) -> Result<u64, Error> {
        let (mut pieces, mut size) = (0, 0);
        let mut rows: Vec<StoredRow> = Vec::new();
        let (mut from, to) = everything();
        loop {
            let page = self.0.meta.range(meta::Range { from, to: to.clone(), limit: PAGE }).await?;
            for (key, row) in &page.rows {
                size += key.len() + row.value.len() + 20;
                let version = of_era(journal.era(), row.version);
                rows.push(StoredRow { key: key.to_vec(), value: row.value.to_vec(), version });
                done.rows += 1;
                if size >= PIECE {
                    done.bytes += self.put_piece(journal, &piece_name(number, pieces), &rows).await?;
                    pieces += 1;
                    (rows, size) = (Vec::new(), 0);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = meta::after(last),
                _ => break,
            }
        }
        if !rows.is_empty() {
            done.bytes += self.put_piece(journal, &piece_name(number, pieces), &rows).await?;
            pieces += 1;
        }
        Ok(pieces)
    }

    /// A version that everything has or exceeds that is committed from now on, and nothing that was committed before.
    async fn floor(&self, journal: &Journal) -> Result<u128, Error> {
        let batch = meta::Batch { checks: vec![], writes: vec![meta::Write::Put(key::floor_key(), Bytes::new())] };
        let answer = self.0.meta.commit_group(vec![batch]).await.pop();
        Ok(of_era(journal.era(), answer.ok_or(Error::Contended)??))
    }

    async fn put_piece<T: serde::Serialize>(
        &self,
        journal: &Arc<Journal>,
        name: &str,
        piece: &T,
    ) -> Result<u64, Error> {
        let sealed = seal(&journal.dek, name, piece, journal.doors.rng.as_ref())
            .map_err(|_| Error::Corrupt("a piece of a checkpoint cannot be sealed".to_owned()))?;
        let bytes = sealed.len() as u64;
        let copies = put_everywhere(&self.0.pool, &self.0.tasks, name, &[sealed]).await;
        if copies < COPIES {
            let detail = "a checkpoint of the metadata waits for more sites".to_owned();
            return Err(Error::TooFewSites { live: copies, needed: COPIES, detail });
        }
        Ok(bytes)
    }

    /// Removes checkpoints before the second-last whole one, and entries of the journal that were there when that was begun.
    async fn trim(&self, journal: &Journal, newest: u64, found: &BTreeMap<u64, bool>) -> Result<u64, Error> {
        let whole = found.iter().rev().filter(|(number, is_whole)| **is_whole && **number < newest);
        let mut before = None;
        for (number, _) in whole {
            // One of another root key, or whose end is damaged, says nothing.
            if let Some(end) = self.end_of(journal, *number).await {
                before = Some((*number, end));
                break;
            }
        }
        let Some((before, end)) = before else { return Ok(0) };
        let marks: BTreeMap<GatewayId, u64> = end.journals.into_iter().collect();
        let needless = |name: &str| match parse_entry_name(name) {
            Some((writer, sequence)) => marks.get(&writer).is_some_and(|mark| sequence <= *mark),
            None => parse_piece_name(name).is_some_and(|(number, _)| number < before),
        };
        let sites = (0..COLUMNS as u8).map(|slot| self.trim_site(slot, &needless));
        let trimmed: u64 = futures::future::join_all(sites).await.into_iter().sum();
        Ok(trimmed)
    }

    async fn trim_site(&self, slot: u8, needless: &(dyn Fn(&str) -> bool + Sync)) -> u64 {
        let mut trimmed = 0;
        for prefix in [JOURNAL, CHECKPOINTS] {
            let names = list_all(self, slot, prefix).await.unwrap_or_default();
            let mut needless = names.into_iter().filter(|name| needless(name));
            let mut running = FuturesUnordered::new();
            loop {
                while running.len() < DELETES
                    && let Some(name) = needless.next()
                {
                    running.push(async move { self.0.pool.delete(slot, &name).await });
                }
                match running.next().await {
                    Some(Ok(())) => trimmed += 1,
                    // A site that went away keeps what it has until the next time.
                    Some(Err(_)) | None => break,
                }
            }
        }
        trimmed
    }

    async fn end_of(&self, journal: &Journal, number: u64) -> Option<End> {
        let name = end_name(number);
        for slot in 0..COLUMNS as u8 {
            let Ok(size) = self.0.pool.size(slot, &name).await else { continue };
            let Ok(sealed) = self.0.pool.get(slot, &name, 0..size).await else { continue };
            if let Ok(end) = open(&journal.dek, &name, &sealed) {
                return Some(end);
            }
        }
        None
    }

    /// Checkpoints at any site, and whether their last piece is there.
    async fn found_checkpoints(&self) -> BTreeMap<u64, bool> {
        let mut found = BTreeMap::new();
        for slot in 0..COLUMNS as u8 {
            for name in list_all(self, slot, CHECKPOINTS).await.unwrap_or_default() {
                if let Some((number, is_end)) = parse_piece_name(&name) {
                    *found.entry(number).or_default() |= is_end;
                }
            }
        }
        found
    }

    /// The highest number of each writer at any site.
    async fn found_journals(&self) -> BTreeMap<GatewayId, u64> {
        let mut found = BTreeMap::new();
        for slot in 0..COLUMNS as u8 {
            for name in list_all(self, slot, JOURNAL).await.unwrap_or_default() {
                if let Some((writer, sequence)) = parse_entry_name(&name) {
                    let highest = found.entry(writer).or_insert(sequence);
                    *highest = sequence.max(*highest);
                }
            }
        }
        found
    }
}

/// A number after all that there are. Two processes that make one at the same time must not make the same.
fn next_number(last: Option<u64>, rng: &dyn base::Rng) -> u64 {
    let mut chance = [0; 2];
    rng.fill(&mut chance);
    (last.unwrap_or(0) >> 16).saturating_add(1) << 16 | u64::from(u16::from_be_bytes(chance))
}

/// All rows of records.
pub(crate) fn everything() -> (Key, Key) {
    (Key::from_static(&[1]), Key::from_static(&[0xff]))
}

async fn list_all(store: &Store, slot: u8, prefix: &str) -> Result<Vec<String>, SiteError> {
    let mut names = Names::default();
    while names.take(store.0.pool.list(slot, prefix, names.last(), super::PAGE).await?) {}
    Ok(names.0)
}
