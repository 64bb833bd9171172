//! New signatures that are digests of whole contents, looked for among all contents that are known: nothing is read, and everything that carries one
//! is known to be infected at once, wherever it is. Contents in which they are packed are found when those are scanned again.

use meta::record::{EngineVerdict, Epoch, Record, Verdict, VerdictRecord, key};
use meta::{Batch, Check, Key, Range, Row, Write, after};

use crate::Hashes;
use crate::limits::KEPT_MS;
use crate::scanner::Scanner;

/// Rows read at a time.
const PAGE: usize = 1000;
/// What ClamAV adds to names that are not its makers'.
const UNOFFICIAL: &str = ".UNOFFICIAL";

/// What is to be looked for.
#[derive(Debug)]
pub struct Hunt {
    /// Whose signatures they are.
    pub engine: &'static str,
    /// Of the definitions that they came with.
    pub epoch: Epoch,
    /// The new ones.
    pub hashes: Hashes,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hunted {
    /// Of the definitions whose new signatures were looked for.
    pub epoch: u64,
    /// How many those were.
    pub signatures: u64,
    /// Contents that are known.
    pub contents: u64,
    /// Of those, found.
    pub found: u64,
}

impl Scanner {
    /// Looks for new signatures among all known contents.
    ///
    /// # Errors
    /// A metadata error. What was found until then is known.
    pub async fn hunt(&self, hunt: &Hunt) -> Result<Hunted, meta::MetaError> {
        let signatures = hunt.hashes.len() as u64;
        let mut done = Hunted { epoch: hunt.epoch.number, signatures, ..Hunted::default() };
        let (mut from, to) = key::verdicts();
        loop {
            let page = self.rows().range(Range { from, to: to.clone(), limit: PAGE }).await?;
            for (row_key, row) in &page.rows {
                let (Some(content), Ok(record)) = (key::verdict_of(row_key), VerdictRecord::decode(&row.value)) else {
                    tracing::warn!(row = %row_key.escape_ascii(), "a verdict cannot be read; it is passed over");
                    continue;
                };
                done.contents += 1;
                let Some(name) = hunt.hashes.name_of(content, &record) else { continue };
                done.found += 1;
                tracing::warn!(%content, name, epoch = hunt.epoch.number, "a content that is known is infected by new definitions");
                let verdict = Verdict::Infected(vec![format!("{name}{UNOFFICIAL}")]);
                let (engine, at_ms) = (hunt.engine.to_owned(), self.now_ms());
                let new = EngineVerdict { engine, by: hunt.epoch, at_ms, cost_us: 0, verdict };
                self.learn(content, record, new);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => break,
            }
        }
        metrics::counter!("holdfast_scan_hunted_total").increment(done.found);
        self.note_hunted(done);
        Ok(done)
    }
}

impl Scanner {
    /// Forgets verdicts that nobody has asked for in [`KEPT_MS`], and tells how many. What a bucket's versions have is asked for by its worker.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn forget_old(&self) -> Result<u64, meta::MetaError> {
        let ((mut from, to), now, mut forgotten) = (key::verdicts(), self.now_ms(), 0);
        loop {
            let page = self.rows().range(Range { from, to: to.clone(), limit: PAGE }).await?;
            let is_old = |(_, row): &&(Key, Row)| {
                let is_old = |said: &EngineVerdict| said.at_ms.saturating_add(KEPT_MS) < now;
                VerdictRecord::decode(&row.value).is_ok_and(|record| record.said.iter().all(is_old))
            };
            let old: Vec<&(Key, Row)> = page.rows.iter().filter(is_old).collect();
            let batch = |(row_key, row): &&(Key, Row)| Batch {
                // Asked for meanwhile it stays.
                checks: vec![Check::Is(row_key.clone(), row.version)],
                writes: vec![Write::Delete(row_key.clone())],
            };
            let done = self.rows().commit_group(old.iter().map(batch).collect()).await;
            for ((row_key, _), _) in old.iter().zip(done).filter(|(_, done)| done.is_ok()) {
                key::verdict_of(row_key).into_iter().for_each(|content| self.forget(content));
                forgotten += 1;
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(forgotten),
            }
        }
    }
}
