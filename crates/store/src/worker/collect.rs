//! Collection of what nothing refers to: dropped multipart bodies, then garbage parts, then
//! emptied blobs; packs that are mostly garbage are compacted.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use base::limits::COLUMNS;
use base::{BlobId, BodyId, PartId, UploadId};
use bytes::Bytes;
use meta::record::{BlobPart, BlobRecord, DataRecord, DropRecord, GarbageRecord, PartRecord, Record, key};
use meta::{Batch, Check, Key, Range, Version, Write, after};

use crate::blob::{Shape, shard_name};
use crate::commit::is;
use crate::pack::{pack_shape, pack_shards};
use crate::pin::Held;
use crate::worker::readable;
use crate::{Error, Store};

/// Parts released in one batch: each is up to one check and three writes of at most a hundred.
const PARTS_PER_BATCH: usize = 20;
/// Most blobs and bodies that are collected at once where others have to be asked first.
const DUE_MAX: usize = 100_000;
/// Garbage rows removed in one batch.
const ROWS_PER_BATCH: usize = 80;

/// Garbage in one blob.
#[derive(Default)]
struct Garbage {
    /// Those whose DEKs may be known are last.
    parts: Vec<PartId>,
    /// Whether there are such.
    leaked: bool,
}

impl Garbage {
    fn add(&mut self, part: PartId, leaked: bool) {
        self.parts.push(part);
        let last = self.parts.len() - 1;
        if self.leaked && !leaked && last > 0 {
            self.parts.swap(last - 1, last);
        }
        self.leaked |= leaked;
    }
}

/// What may be collected.
enum Free {
    /// Whatever this process does not hold: nobody else does.
    All,
    /// Of these what this process does not hold.
    These(HashSet<Held>),
}

impl Free {
    fn has(&self, what: Held) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(&what),
        }
    }
}

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Multipart bodies taken apart.
    pub bodies: u64,
    /// Garbage parts dealt with.
    pub parts: u64,
    /// Blobs whose shards were removed.
    pub blobs: u64,
    /// Packs rewritten without their garbage.
    pub compacted: u64,
    /// Blobs left for later: held by a reader, or a site does not answer.
    pub waiting: u64,
}

impl Store {
    /// Collects what is due.
    ///
    /// # Errors
    /// A metadata error. Sites that do not answer only postpone.
    pub async fn collect_garbage(&self) -> Result<Collected, Error> {
        self.0.workers.report("collect", |report| report.state = "running".to_owned());
        let mut done = Collected::default();
        if let Some(free) = self.free_to_collect().await? {
            self.take_bodies_apart(&free, &mut done).await?;
            self.collect_parts(&free, &mut done).await?;
        }
        self.0.workers.report("collect", |report| {
            report.state = "idle".to_owned();
            report.queue = done.waiting;
            report.done += done.blobs + done.compacted + done.bodies;
            report.last_error = None;
        });
        Ok(done)
    }

    /// What may be collected now. Where others serve the store as well, that is what was due some beats ago and is held by
    /// none of them: `None` while that is not known.
    async fn free_to_collect(&self) -> Result<Option<Free>, Error> {
        if !self.0.meta.is_shared() {
            return Ok(Some(Free::All));
        }
        let waiting = self.0.workers.collecting.lock().take();
        let Some((due, witness)) = waiting else {
            let due = self.due_now().await?;
            if !due.is_empty() {
                // After what is due was found: who reads from now on does not find it any more.
                let witness = self.witness().await?;
                *self.0.workers.collecting.lock() = Some((due, witness));
            }
            return Ok(None);
        };
        match self.others_hold(&witness).await? {
            Some(held) => Ok(Some(Free::These(&due - &held))),
            None => {
                *self.0.workers.collecting.lock() = Some((due, witness));
                Ok(None)
            }
        }
    }

    /// Bodies and blobs of which something is due, so many that they fit into memory.
    async fn due_now(&self) -> Result<HashSet<Held>, Error> {
        let mut due = HashSet::new();
        let body = |row_key: &[u8], value: &[u8]| {
            let record = readable::<DropRecord>(row_key, value)?;
            key::body_of(row_key).filter(|_| self.is_due(record.dropped_ms)).map(Held::Body)
        };
        let blob = |row_key: &[u8], value: &[u8]| {
            let record = readable::<GarbageRecord>(row_key, value)?;
            self.is_due(record.since_ms).then_some(Held::Blob(record.blob))
        };
        self.some_due(key::drops(), body, &mut due).await?;
        self.some_due(key::garbage(), blob, &mut due).await?;
        Ok(due)
    }

    async fn some_due(
        &self,
        (mut from, to): (Key, Key),
        held: impl Fn(&[u8], &[u8]) -> Option<Held>,
        due: &mut HashSet<Held>,
    ) -> Result<(), Error> {
        while due.len() < DUE_MAX {
            let page = self.0.meta.range(Range { from, to: to.clone(), limit: 1000 }).await?;
            due.extend(page.rows.iter().filter_map(|(row_key, row)| held(row_key, &row.value)));
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => break,
            }
        }
        Ok(())
    }

    pub(super) fn is_due(&self, since_ms: u64) -> bool {
        since_ms.saturating_add(self.0.options.gc_grace_ms) <= self.now_ms()
    }

    async fn take_bodies_apart(&self, free: &Free, done: &mut Collected) -> Result<(), Error> {
        let (mut from, to) = key::drops();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 100 }).await?;
            for (row_key, row) in &page.rows {
                let Some(record) = readable::<DropRecord>(row_key, &row.value) else { continue };
                let Some(body) = key::body_of(row_key) else { continue };
                let held = Held::Body(body);
                if !self.is_due(record.dropped_ms) || !free.has(held) || self.0.pins.is_held(held) {
                    done.waiting += 1;
                    continue;
                }
                self.take_apart(body, row_key.clone(), row.version).await?;
                done.bodies += 1;
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(()),
            }
        }
    }

    async fn take_apart(&self, body: BodyId, drop_key: Key, version: Version) -> Result<(), Error> {
        let (from, to) = key::parts(UploadId::from(body));
        loop {
            let more = self.until_won(|| async {
                let range = Range { from: from.clone(), to: to.clone(), limit: PARTS_PER_BATCH };
                let page = self.0.meta.range(range).await?;
                if page.rows.is_empty() {
                    return Ok((Batch::default(), false));
                }
                // A staged copy that was committed meanwhile has lost its drop record.
                let mut batch = Batch { checks: vec![is(drop_key.clone(), version)], writes: vec![] };
                for (row_key, row) in &page.rows {
                    // A part that is sealed anew meanwhile has other bytes to give up.
                    batch.checks.push(is(row_key.clone(), row.version));
                    batch.writes.push(Write::Delete(row_key.clone()));
                    // What a damaged row referred to stays: space lost, and nothing else.
                    let part = readable::<PartRecord>(row_key, &row.value);
                    if let Some(sealed) = part.as_ref().and_then(|part| part.sealed.as_ref()) {
                        self.release_part(sealed, &mut batch).await?;
                    }
                }
                match self.row(drop_key.clone()).await? {
                    Some(row) if row.version == version => Ok((batch, true)),
                    _ => Err(Error::Contended),
                }
            });
            if !more.await? {
                break;
            }
        }
        let last = Batch { checks: vec![is(drop_key.clone(), version)], writes: vec![Write::Delete(drop_key)] };
        Ok(self.0.meta.commit(last).await?)
    }

    async fn collect_parts(&self, free: &Free, done: &mut Collected) -> Result<(), Error> {
        let (mut from, to) = key::garbage();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1000 }).await?;
            let mut by_blob: BTreeMap<BlobId, Garbage> = BTreeMap::new();
            for (row_key, row) in &page.rows {
                let Some(record) = readable::<GarbageRecord>(row_key, &row.value) else { continue };
                match key::part_of(row_key) {
                    Some(part) if self.is_due(record.since_ms) && free.has(Held::Blob(record.blob)) => {
                        by_blob.entry(record.blob).or_default().add(part, record.leaked);
                    }
                    _ => done.waiting += 1,
                }
            }
            for (blob, garbage) in by_blob {
                self.collect_blob(blob, &garbage, done).await?;
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(()),
            }
        }
    }

    async fn collect_blob(&self, blob: BlobId, garbage: &Garbage, done: &mut Collected) -> Result<(), Error> {
        let (garbage, leaked) = (garbage.parts.as_slice(), garbage.leaked);
        let blob_key = key::blob_key(blob);
        let Some((mut record, version)) = self.record::<BlobRecord>(blob_key.clone()).await? else {
            return self.forget_garbage(garbage, Batch::default()).await;
        };
        record.parts.retain(|part| !garbage.contains(&part.id));
        if record.parts.is_empty() {
            if self.0.pins.is_held(Held::Blob(blob)) || !self.remove_shards(blob, &record).await {
                done.waiting += 1;
                return Ok(());
            }
            let batch = Batch {
                checks: vec![is(blob_key.clone(), version)],
                writes: vec![Write::Delete(blob_key), Write::Delete(key::repair_key(blob))],
            };
            self.forget_garbage(garbage, batch).await?;
            done.blobs += 1;
        } else {
            let live: u64 = record.parts.iter().map(|part| part.len).sum();
            let is_worth_keeping = live * 2 >= record.len;
            if leaked && is_worth_keeping && self.0.workers.rekeying.load(Ordering::Relaxed) {
                // More of it may leave while the pass lasts: a pack is rewritten once for all.
                done.waiting += 1;
                return Ok(());
            }
            let batch = Batch {
                checks: vec![is(blob_key.clone(), version)],
                writes: vec![Write::Put(blob_key, record.encode())],
            };
            if is_worth_keeping && !leaked {
                self.forget_garbage(garbage, batch).await?;
            } else {
                // One garbage row stays until the pack is compacted, to come back to it.
                let (last, others) =
                    garbage.split_last().map_or((None, garbage), |(last, others)| (Some(*last), others));
                self.forget_garbage(others, batch).await?;
                if !self.compact(blob).await? {
                    done.waiting += 1;
                    return Ok(());
                }
                done.compacted += 1;
                self.forget_garbage(last.as_slice(), Batch::default()).await?;
            }
        }
        done.parts += garbage.len() as u64;
        Ok(())
    }

    /// Removes garbage rows together with `batch`. Losing to another writer leaves all of it for
    /// the next collection.
    async fn forget_garbage(&self, garbage: &[PartId], mut batch: Batch) -> Result<(), Error> {
        let mut rows = garbage.chunks(ROWS_PER_BATCH);
        loop {
            let some = rows.next().unwrap_or_default();
            batch.writes.extend(some.iter().map(|part| Write::Delete(key::garbage_key(*part))));
            if batch.writes.is_empty() {
                return Ok(());
            }
            match self.0.meta.commit(std::mem::take(&mut batch)).await {
                Ok(()) => {}
                Err(meta::CommitError::Failed { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes a blob's shards; says whether every site confirmed.
    async fn remove_shards(&self, blob: BlobId, record: &BlobRecord) -> bool {
        let shape = Shape::of_blob(blob, record);
        for segment in 0..shape.segments() {
            let (home, slots) = (shape.home(segment), shape.slots(segment, &record.away));
            for column in 0..COLUMNS {
                let name = shard_name(blob, segment, column);
                for slot in [Some(slots[column]), (home[column] != slots[column]).then_some(home[column])] {
                    if let Some(slot) = slot
                        && self.0.pool.delete(slot, &name).await.is_err()
                    {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Moves a pack's live parts to a new pack. The old one becomes garbage. `false`: not now.
    async fn compact(&self, blob: BlobId) -> Result<bool, Error> {
        let blob_key = key::blob_key(blob);
        if self.0.pins.is_held(Held::Blob(blob)) {
            // Its writer may still be committing parts that have no row yet; or somebody reads.
            return Ok(false);
        }
        let _pin = self.0.pins.hold(Held::Blob(blob));
        let Some((mut record, version)) = self.record::<BlobRecord>(blob_key.clone()).await? else { return Ok(true) };
        let data = match self.verified_data(blob, &record, 0).await {
            Ok(data) => data,
            Err(error) => {
                tracing::debug!(%blob, %error, "a pack cannot be compacted now");
                return Ok(false);
            }
        };
        let mut live: Vec<(BlobPart, DataRecord, Version, Bytes)> = Vec::new();
        for part in &record.parts {
            let Some((row, version)) = self.record::<DataRecord>(key::data_key(part.id)).await? else { continue };
            let range = part.offset as usize..(part.offset + part.len) as usize;
            if row.blob == blob && range.end <= data.len() {
                live.push((*part, row, version, data.slice(range)));
            }
        }
        let fresh = BlobId::ordered(self.now_ms(), self.0.options.doors.rng.as_ref());
        let _fresh_pin = self.0.pins.hold(Held::Blob(fresh));
        let fence = self.fence();
        let shape = pack_shape(fresh, live.iter().map(|(part, ..)| part.len).sum());
        let mut group = Vec::new();
        if !live.is_empty() {
            let shards = pack_shards(&self.0.stripes, &shape, live.iter().map(|(.., bytes)| bytes))?;
            let generation = self.0.pool.generation();
            let away = self.put_segment(&shape, 0, shards).await?;
            let mut parts = Vec::new();
            let mut moves = Vec::new();
            let mut offset = 0;
            for (part, row, version, _) in &live {
                parts.push(BlobPart { offset, ..*part });
                let moved = DataRecord {
                    refs: row.refs,
                    blob: fresh,
                    offset,
                    len: part.len,
                    blob_len: shape.len,
                    segment: shape.segment,
                    unit: shape.unit,
                    align: shape.align,
                    under: row.under.clone(),
                    leaked: row.leaked,
                };
                let data_key = key::data_key(part.id);
                moves.push(Batch {
                    checks: fence.iter().cloned().chain([is(data_key.clone(), *version)]).collect(),
                    writes: vec![Write::Put(data_key, moved.encode())],
                });
                offset += part.len;
            }
            let new = BlobRecord {
                created_ms: self.now_ms(),
                len: shape.len,
                segment: shape.segment,
                unit: shape.unit,
                align: shape.align,
                parts,
                away: away.into_iter().collect(),
            };
            group.push(self.blob_batch(fresh, &new, generation, &fence));
            group.extend(moves);
        }
        let mut answers = self.0.meta.commit_group(group).await.into_iter();
        if let Some(Err(error)) = answers.next() {
            return Err(error.into());
        }
        // A part that changed under us stays where it was: in the new pack it is garbage, and
        // the old pack must live on for it.
        let mut kept = Vec::new();
        for ((part, ..), answer) in live.iter().zip(answers) {
            if answer.is_err() {
                self.leave_garbage(part.id, fresh);
                kept.push(*part);
            }
        }
        // Parts whose row only changed its count still point here; deleted ones have garbage
        // rows of their own. Either way the old record is right to keep them.
        record.parts = kept;
        let mut batch =
            Batch { checks: vec![is(blob_key.clone(), version)], writes: vec![Write::Put(blob_key, record.encode())] };
        if record.parts.is_empty() {
            let token = PartId::random(self.0.options.doors.rng.as_ref());
            let garbage = GarbageRecord { since_ms: self.now_ms(), blob, leaked: false };
            batch.writes.push(Write::Put(key::garbage_key(token), garbage.encode()));
        }
        match self.0.meta.commit(batch).await {
            Ok(()) | Err(meta::CommitError::Failed { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// A check that a part's row still names a blob; used by the sweep.
    pub(crate) async fn part_lives_in(&self, part: PartId, blob: BlobId) -> Result<bool, Error> {
        let found = self.record::<DataRecord>(key::data_key(part)).await?;
        Ok(found.is_some_and(|(row, _)| row.blob == blob))
    }

    /// Marks a part of a blob as garbage unless its row names the blob.
    pub(crate) async fn mark_garbage(&self, part: PartId, blob: BlobId) -> Result<(), Error> {
        let data_key = key::data_key(part);
        let check = match self.record::<DataRecord>(data_key.clone()).await? {
            Some((row, _)) if row.blob == blob => return Ok(()),
            Some((_, version)) => Check::Is(data_key, version),
            None => Check::Absent(data_key),
        };
        let garbage = GarbageRecord { since_ms: self.now_ms(), blob, leaked: false };
        let batch = Batch { checks: vec![check], writes: vec![Write::Put(key::garbage_key(part), garbage.encode())] };
        match self.0.meta.commit(batch).await {
            Ok(()) | Err(meta::CommitError::Failed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
