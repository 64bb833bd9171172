//! Repair as operators see it: at every gateway, by a row that the one which leads writes.

use std::sync::atomic::Ordering;

use base::limits::COLUMNS;
use meta::record::{Record, RepairControlRecord, RepairProgressRecord, key};
use meta::{Batch, Check, Write};
use serde::{Deserialize, Serialize};

use super::plan::Risk;
use crate::{Error, Store};

/// Milliseconds between two rows while there is something to do.
const TELL_EVERY_MS: u64 = 9_000;

/// What was told last.
#[derive(Default)]
pub(super) struct Told {
    /// The row; `None`: it was not read yet.
    record: Option<RepairProgressRecord>,
    /// When, by the time that never goes back.
    at_ms: Option<u64>,
    /// Blobs done and bytes moved by then, of this process.
    counted: (u64, u64),
    /// Blobs that could not be mended for an error, since start.
    pub(super) errors: u64,
}

/// Blobs that wait for repair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskReport {
    /// `last`: one more loss loses them; `thin`: two more do; `away`: five shards are durable, not all at home; `beyond`: fewer
    /// than three shards are in reach.
    pub risk: String,
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How far repair is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Milliseconds since the Unix epoch when there began to be something to do; `None`: there is nothing.
    pub since_ms: Option<u64>,
    /// When this was true, by the clock of the gateway that leads; `None`: nothing was ever told.
    pub told_ms: Option<u64>,
    /// The gateway that repairs.
    pub gateway: String,
    /// What waits, the nearest to loss first.
    pub queued: Vec<RiskReport>,
    /// Blobs that have still to be looked at for replaced sites.
    pub to_walk: u64,
    /// Blobs done since `since_ms`.
    pub done: u64,
    /// Bytes read and written for them.
    pub moved_bytes: u64,
    /// Bytes moved in a second, of late.
    pub bytes_per_s: u64,
    /// Blobs done in a second, of late.
    pub blobs_per_s: f64,
    /// Seconds that it takes at that rate, what waits for sites left out.
    pub eta_s: Option<u64>,
    /// Bytes that may be moved in a second now.
    pub limit_bytes_per_s: u64,
    /// Blobs that may be worked on at once.
    pub at_once: u8,
    /// Why that is the limit: `no clients`, `ceiling`, `rising`, `clients`, `measuring`, `resting`, `yielding`, `paused`,
    /// `nothing to do`.
    pub why: String,
    /// What clients wait for, 99th percentile, beside what it is without repair, in percent.
    pub p99_percent: Option<u32>,
    /// An operator stopped it.
    pub paused: bool,
    /// The most that an operator lets it move, bytes in a second; `None`: what the configuration says.
    pub max_bytes_per_s: Option<u64>,
    /// The last failure, until a pass has none.
    pub last_error: Option<String>,
}

/// What an operator changes at run time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairChange {
    /// Stop, or go on; `None`: as it is.
    pub paused: Option<bool>,
    /// Bytes in a second; 0: what the configuration says; `None`: as it is.
    pub max_bytes_per_s: Option<u64>,
}

fn is_finished(record: &RepairProgressRecord) -> bool {
    record.to_walk == 0 && record.queued.iter().all(|(blobs, _)| *blobs == 0)
}

impl Store {
    /// How far repair is, asked at any gateway.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn repair_report(&self) -> Result<RepairReport, Error> {
        let found = self.record::<RepairProgressRecord>(key::repair_progress_key()).await?;
        let mut known = found.map(|(record, _)| record);
        if self.leads() && self.0.workers.paced.risk.lock().is_some() {
            known = Some(self.progress(known.as_ref()).await?);
        }
        let control = self.record::<RepairControlRecord>(key::repair_control_key()).await?;
        let control = control.map_or_else(RepairControlRecord::default, |(control, _)| control);
        Ok(report(known, control))
    }

    /// Steers repair, at whatever gateway leads; it follows within seconds.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn steer_repair(&self, change: RepairChange) -> Result<(), Error> {
        let row_key = key::repair_control_key();
        self.until_won(|| async {
            let found = self.record::<RepairControlRecord>(row_key.clone()).await?;
            let version = found.as_ref().map(|(_, version)| *version);
            let mut control = found.map_or_else(RepairControlRecord::default, |(control, _)| control);
            control.paused = change.paused.unwrap_or(control.paused);
            if let Some(max) = change.max_bytes_per_s {
                control.max_bytes_per_s = Some(max).filter(|max| *max > 0);
            }
            let mut batch = Batch::default();
            batch.replace(row_key.clone(), version, control.encode());
            Ok((batch, ()))
        })
        .await
    }

    /// Blobs that walks have still to look at.
    async fn to_walk(&self) -> Result<u64, Error> {
        let sites = self.look_at_sites().await?;
        let total = *self.0.workers.repair.resync_total.lock();
        // A walk that is not counted yet has something to do all the same.
        Ok(sites.walks.iter().flatten().map(|walk| total.saturating_sub(walk.done).max(1)).max().unwrap_or(0))
    }

    /// What is to be told now; `before`: what was.
    async fn progress(&self, before: Option<&RepairProgressRecord>) -> Result<RepairProgressRecord, Error> {
        let to_walk = self.to_walk().await?;
        let (paced, repair) = (&self.0.workers.paced, &self.0.workers.repair);
        let now = self.now_ms();
        let goes_on = before.filter(|before| !is_finished(before));
        let (done, moved) = goes_on.map_or((0, 0), |before| before.done);
        let counted = repair.told.lock().counted;
        let (done_here, moved_here) = (paced.done.load(Ordering::Relaxed), paced.moved.load(Ordering::Relaxed));
        let (bytes_per_s, blobs_per_s) = paced.rates();
        let throttle = paced.throttle.lock();
        let queued = *repair.queued.lock();
        let last_error = self.0.workers.reports.lock().get("repair").and_then(|report| report.last_error.clone());
        Ok(RepairProgressRecord {
            since_ms: goes_on.map_or(now, |before| before.since_ms),
            told_ms: now,
            gateway: self.0.options.gateway.clone(),
            queued,
            to_walk,
            done: (done + done_here.saturating_sub(counted.0), moved + moved_here.saturating_sub(counted.1)),
            bytes_per_s: bytes_per_s as u64,
            blobs_per_ks: (blobs_per_s * 1000.0) as u64,
            limit: throttle.limit().map_or(0, std::num::NonZeroU64::get),
            at_once: throttle.at_once() as u8,
            why: throttle.why().words().to_owned(),
            p99_percent: throttle.ratio().map(|ratio| (ratio * 100.0) as u32),
            last_error,
        })
    }

    /// Tells how far repair is, unless that was told a moment ago.
    pub(super) async fn tell_progress_in_a_while(&self) -> Result<(), Error> {
        let now = self.0.options.doors.clock.passed_ms();
        let told = self.0.workers.repair.told.lock().at_ms;
        if told.is_some_and(|told| now.saturating_sub(told) < TELL_EVERY_MS) {
            Ok(())
        } else {
            self.tell_progress().await
        }
    }

    /// Tells how far repair is, unless there was nothing to do and is nothing.
    pub(super) async fn tell_progress(&self) -> Result<(), Error> {
        let row_key = key::repair_progress_key();
        let known = self.0.workers.repair.told.lock().record.clone();
        // Another one may have led meanwhile; but where nothing was and is to do, nobody need ask.
        let before = match known {
            Some(known) if is_finished(&known) && self.is_idle().await? => return Ok(()),
            _ => self.record::<RepairProgressRecord>(row_key.clone()).await?,
        };
        let version = before.as_ref().map(|(_, version)| *version);
        let record = self.progress(before.as_ref().map(|(record, _)| record)).await?;
        let was_finished = before.as_ref().is_none_or(|(before, _)| is_finished(before));
        if !(was_finished && is_finished(&record)) {
            let checks = vec![Check::unchanged(row_key.clone(), version)];
            match self.0.meta.commit(Batch { checks, writes: vec![Write::Put(row_key, record.encode())] }).await {
                // Two lead for a moment: the other one tells.
                Ok(()) | Err(meta::CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (risk, (blobs, bytes)) in Risk::ALL.iter().zip(record.queued) {
            metrics::gauge!("holdfast_repair_queue_blobs", "risk" => risk.word()).set(blobs as f64);
            metrics::gauge!("holdfast_repair_queue_bytes", "risk" => risk.word()).set(bytes as f64);
        }
        let paced = &self.0.workers.paced;
        let mut told = self.0.workers.repair.told.lock();
        told.counted = (paced.done.load(Ordering::Relaxed), paced.moved.load(Ordering::Relaxed));
        told.at_ms = Some(self.0.options.doors.clock.passed_ms());
        told.record = Some(record);
        Ok(())
    }

    async fn is_idle(&self) -> Result<bool, Error> {
        Ok(self.0.workers.repair.queued.lock().iter().all(|(blobs, _)| *blobs == 0) && self.to_walk().await? == 0)
    }
}

fn report(known: Option<RepairProgressRecord>, control: RepairControlRecord) -> RepairReport {
    let told_ms = known.as_ref().map(|known| known.told_ms);
    let since_ms = known.as_ref().filter(|known| !is_finished(known)).map(|known| known.since_ms);
    let known = known.unwrap_or_else(|| RepairProgressRecord {
        since_ms: 0,
        told_ms: 0,
        gateway: String::new(),
        queued: Default::default(),
        to_walk: 0,
        done: (0, 0),
        bytes_per_s: 0,
        blobs_per_ks: 0,
        limit: 0,
        at_once: 0,
        why: "nothing to do".to_owned(),
        p99_percent: None,
        last_error: None,
    });
    let can: u64 = Risk::ALL
        .iter()
        .zip(known.queued)
        .filter(|(risk, _)| **risk != Risk::Beyond)
        .map(|(_, (blobs, _))| blobs)
        .sum();
    let left = can + known.to_walk;
    let queued = Risk::ALL.iter().zip(known.queued);
    RepairReport {
        since_ms,
        told_ms,
        gateway: known.gateway,
        queued: queued
            .map(|(risk, (blobs, bytes))| RiskReport { risk: risk.word().to_owned(), blobs, bytes })
            .collect(),
        to_walk: known.to_walk,
        done: known.done.0,
        moved_bytes: known.done.1,
        bytes_per_s: known.bytes_per_s,
        blobs_per_s: known.blobs_per_ks as f64 / 1000.0,
        eta_s: (left > 0 && known.blobs_per_ks > 0).then(|| (left.saturating_mul(1000)).div_ceil(known.blobs_per_ks)),
        limit_bytes_per_s: if control.paused { 0 } else { known.limit },
        at_once: known.at_once,
        why: if control.paused { "paused".to_owned() } else { known.why },
        p99_percent: known.p99_percent,
        paused: control.paused,
        max_bytes_per_s: control.max_bytes_per_s,
        last_error: known.last_error,
    }
}

const _: () = assert!(COLUMNS < 8, "sites fit the bits of a byte");
