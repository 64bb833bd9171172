//! The repair queue, and the walk that refills a replaced site.

use std::collections::HashMap;

use base::BlobId;
use base::limits::COLUMNS;
use futures::StreamExt;
use meta::record::{BlobRecord, Record, RepairReason, RepairRecord, Resync, SiteRecord, key};
use meta::{Batch, Check, Range, Write, after};
use parking_lot::Mutex;

use crate::blob::Shape;
use crate::commit::is;
use crate::worker::mend::{Look, Mended};
use crate::worker::readable;
use crate::{Error, Store};

/// Blobs mended at once. Few, so that clients come first.
const AT_ONCE: usize = 3;
/// Blobs remembered as queued already, so that a hot damaged blob costs one row, not thousands.
const RECENT_MAX: usize = 10_000;
/// How long they are remembered.
const RECENT_MS: u64 = 60_000;

/// What the repair worker remembers.
#[derive(Default)]
pub(crate) struct Repairs {
    /// Blobs that were queued, and when, by the time that never goes back.
    recent: Mutex<HashMap<BlobId, u64>>,
    /// Blobs per second, smoothed; 0 when idle.
    pub(crate) rate: Mutex<f64>,
    /// Blobs to walk for a running resync.
    pub(crate) resync_total: Mutex<u64>,
}

impl Store {
    pub(crate) fn repair_record(&self, reason: RepairReason, columns: u8, bytes: u64) -> RepairRecord {
        RepairRecord { since_ms: self.now_ms(), reason, columns, bytes }
    }

    /// Queues a blob that a reader found wanting, in the background.
    pub(crate) fn queue_repair(&self, blob: BlobId, reason: RepairReason) {
        let now = self.0.options.doors.clock.passed_ms();
        {
            let mut recent = self.0.workers.repair.recent.lock();
            if recent.len() >= RECENT_MAX {
                recent.clear();
            }
            // Another gateway may have mended it since, and it may be damaged anew.
            if recent.insert(blob, now).is_some_and(|then| now.saturating_sub(then) < RECENT_MS) {
                return;
            }
        }
        let store = self.clone();
        self.0.tasks.spawn(async move {
            if let Err(error) = store.put_repair(blob, reason).await {
                tracing::warn!(%blob, %error, "repair could not be queued");
                store.0.workers.repair.recent.lock().remove(&blob);
            }
            store.0.workers.wake_repair.notify_one();
        });
    }

    /// Queues a blob. With what is queued already, the stronger word stays: damage is only found
    /// by reading the bytes.
    async fn put_repair(&self, blob: BlobId, reason: RepairReason) -> Result<(), Error> {
        let Some((record, _)) = self.record::<BlobRecord>(key::blob_key(blob)).await? else { return Ok(()) };
        let row_key = key::repair_key(blob);
        self.until_won(|| async {
            let fresh = self.repair_record(reason, 1, record.len);
            let (check, repair) = match self.record::<RepairRecord>(row_key.clone()).await? {
                None => (Check::Absent(row_key.clone()), fresh),
                Some((queued, _)) if queued.reason == RepairReason::Damaged || reason != RepairReason::Damaged => {
                    return Ok((Batch::default(), ()));
                }
                Some((queued, version)) => (is(row_key.clone(), version), RepairRecord { reason, ..queued }),
            };
            Ok((Batch { checks: vec![check], writes: vec![Write::Put(row_key.clone(), repair.encode())] }, ()))
        })
        .await
    }

    /// One pass over the queue and over replaced sites.
    ///
    /// # Errors
    /// A metadata error. What sites refuse stays queued.
    pub async fn repair_pass(&self) -> Result<(), Error> {
        self.0.workers.report("repair", |report| report.state = "running".to_owned());
        let done = async {
            self.work_queue().await?;
            for slot in 0..COLUMNS as u8 {
                self.resync_site(slot).await?;
            }
            Ok(())
        };
        let done = done.await;
        *self.0.workers.repair.rate.lock() = 0.0;
        self.0.workers.report("repair", |report| {
            report.state = "idle".to_owned();
            report.progress = None;
            if done.is_ok() {
                report.last_error = None;
            }
        });
        done
    }

    async fn work_queue(&self) -> Result<(), Error> {
        let (mut from, to) = key::repairs();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 200 }).await?;
            let mut work = Vec::new();
            for (row_key, row) in &page.rows {
                let Some(blob) = key::blob_of(row_key) else { continue };
                // The key alone names the blob: of a row that cannot be read the worst is assumed.
                let record = readable::<RepairRecord>(row_key, &row.value)
                    .unwrap_or_else(|| self.repair_record(RepairReason::Damaged, 2, 0));
                if self.worth_trying(blob, &record).await? {
                    // Two lost columns before one: they are nearer to loss.
                    work.push((std::cmp::Reverse(record.columns), record.since_ms, blob, record.reason));
                }
            }
            work.sort_unstable_by_key(|(columns, since, ..)| (*columns, *since));
            let blobs = work.into_iter().map(|(_, _, blob, reason)| (blob, look_for(reason)));
            self.mend_all(blobs.collect()).await?;
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(()),
            }
        }
    }

    /// Whether anything can be done now: for a shard that was handed off, its home must live.
    async fn worth_trying(&self, blob: BlobId, record: &RepairRecord) -> Result<bool, Error> {
        if record.reason != RepairReason::HandedOff {
            return Ok(true);
        }
        let Some((blob_record, _)) = self.record::<BlobRecord>(key::blob_key(blob)).await? else { return Ok(true) };
        let shape = Shape::of_blob(blob, &blob_record);
        Ok(blob_record.away.is_empty()
            || blob_record.away.iter().any(|placement| {
                let home = shape.home(placement.segment);
                (0..COLUMNS).any(|c| home[c] != placement.slots[c] && self.0.pool.state(home[c]).writable())
            }))
    }

    async fn mend_all(&self, blobs: Vec<(BlobId, Look)>) -> Result<Mended, Error> {
        let mut total = Mended::default();
        let mut running = futures::stream::iter(blobs)
            .map(|(blob, look)| async move { (blob, self.mend(blob, look).await) })
            .buffer_unordered(AT_ONCE);
        let mut last = self.now_ms();
        while let Some((blob, mended)) = running.next().await {
            self.0.workers.repair.recent.lock().remove(&blob);
            match mended {
                Ok(mended) => {
                    total.add(&mended);
                    self.0.workers.report("repair", |report| report.done += u64::from(mended.mended > 0));
                }
                Err(Error::Contended) => total.waiting += 1,
                Err(error) => {
                    total.waiting += 1;
                    tracing::warn!(%blob, %error, "blob not repaired; it stays queued");
                    self.0.workers.report("repair", |report| report.last_error = Some(error.to_string()));
                }
            }
            let now = self.now_ms();
            let seconds = (now.saturating_sub(last)).max(1) as f64 / 1000.0;
            last = now;
            let mut rate = self.0.workers.repair.rate.lock();
            *rate = if *rate == 0.0 { 1.0 / seconds } else { *rate * 0.95 + 0.05 / seconds };
        }
        Ok(total)
    }

    /// Goes on with the walk over all blobs that fills a replaced site.
    async fn resync_site(&self, slot: u8) -> Result<(), Error> {
        let site_key = key::site_key(slot);
        let Some((record, _)) = self.record::<SiteRecord>(site_key.clone()).await? else { return Ok(()) };
        let Some(mut resync) = record.resync else { return Ok(()) };
        let total = self.count(key::blobs()).await?;
        *self.0.workers.repair.resync_total.lock() = total;
        let (first, to) = key::blobs();
        loop {
            if !self.0.pool.state(slot).writable() {
                return Ok(());
            }
            let from = if resync.cursor.is_empty() { first.clone() } else { after(&resync.cursor) };
            let page = self.0.meta.range(Range { from, to: to.clone(), limit: 100 }).await?;
            let blobs: Vec<BlobId> = page.rows.iter().filter_map(|(row_key, _)| key::blob_of(row_key)).collect();
            let done = self.mend_all(blobs.iter().map(|blob| (*blob, Look::Sizes)).collect()).await?;
            if done.waiting + done.hopeless > 0 {
                // Some shard could not be put back now. The queue keeps those blobs; the walk
                // need not wait for them.
                for blob in &blobs {
                    self.put_repair(*blob, RepairReason::Replaced).await?;
                }
            }
            resync.done += blobs.len() as u64;
            if let Some((last, _)) = page.rows.last() {
                resync.cursor = last.to_vec();
            }
            let next = if page.more { Some(resync.clone()) } else { None };
            if !self.save_resync(slot, &resync, next).await? || !page.more {
                return Ok(());
            }
            self.0.workers.report("repair", |report| report.progress = Some((resync.done, total)));
        }
    }

    /// Saves a walk's progress; false when the site was replaced again meanwhile.
    async fn save_resync(&self, slot: u8, walk: &Resync, next: Option<Resync>) -> Result<bool, Error> {
        let site_key = key::site_key(slot);
        self.until_won(|| async {
            let found = self.record::<SiteRecord>(site_key.clone()).await?;
            let (mut record, version) = found.ok_or_else(|| Error::NoSuchSite(slot.to_string()))?;
            if record.resync.as_ref().is_none_or(|current| current.started_ms != walk.started_ms) {
                return Ok((Batch::default(), false));
            }
            record.resync.clone_from(&next);
            let writes = vec![Write::Put(site_key.clone(), record.encode())];
            Ok((Batch { checks: vec![is(site_key.clone(), version)], writes }, true))
        })
        .await
    }

    /// Rows in an interval.
    pub(crate) async fn count(&self, (mut from, to): (meta::Key, meta::Key)) -> Result<u64, Error> {
        let mut count = 0;
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 5000 }).await?;
            count += page.rows.len() as u64;
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(count),
            }
        }
    }
}

/// A damaged shard has the right size; only its bytes tell.
fn look_for(reason: RepairReason) -> Look {
    match reason {
        RepairReason::Damaged => Look::Bytes,
        RepairReason::HandedOff | RepairReason::Missing | RepairReason::Replaced => Look::Sizes,
    }
}
