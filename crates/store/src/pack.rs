//! Packs: small parts of all connections written together. One striped write, one metadata flush.
//!
//! Group commit as in a log: while a pack is being written, arriving parts queue; the next pack
//! takes all that wait. An idle store writes a pack of one at once. What a pack costs ten processes hardly depends on how many
//! parts are in it (`docs/design/0026-speed-over-five-sites.md`), so that one of many waits a moment for those that are about to come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::limits::COLUMNS;
use base::{BlobId, PartId};
use bytes::{Bytes, BytesMut};
use meta::record::{BlobPart, BlobRecord, DataRecord, Record, RepairReason, key};
use meta::{Batch, Check, Write};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::blob::{SegmentBuilder, Shape};
use crate::buffers::Buffers;
use crate::commit::{Done, Goal, New, Prepared};
use crate::pin::Held;
use crate::{Error, Store};

/// Sealed bytes up to which a part goes into a pack. Above it, a part alone fills shards that
/// are worth files of their own.
pub(crate) const PACKED_MAX: u64 = 1100 * 1024;
/// Parts in a pack: keeps the blob's record and its metadata batches small.
const PARTS_MAX: usize = 128;
/// Bytes in a pack, unless one part is larger.
const BYTES_MAX: usize = 8 << 20;
/// Packs being written at once: the second one is for what is much, what has waited long, and where there is nobody to wait for.
const IN_FLIGHT_MAX: usize = 2;
/// With so many parts, or bytes, a pack is worth its cost.
const ENOUGH_PARTS: usize = 32;
const ENOUGH_BYTES: usize = 1 << 20;
/// While another pack is being written: waits for its end, as it is likely to come, but no longer than this. Near sites are done
/// earlier; what goes to far ones should not wait for a way there and back that is somebody else's.
const BEHIND_MAX: Duration = Duration::from_millis(50);
/// While none is: waits for those whose parts are about to come, this share of what the last one took, but no longer than this.
const GATHER_SHARE: u32 = 2;
const GATHER_MAX: Duration = Duration::from_millis(10);
/// So few at once get nothing from waiting for each other.
const FEW: usize = 2;
/// Units of packs are multiples of this: what SIMD likes.
const ALIGN: u32 = 64;

/// A sealed small part on its way, and what it becomes.
pub(crate) struct Job {
    pub(crate) part: PartId,
    pub(crate) sealed: Bytes,
    pub(crate) goal: Goal,
    pub(crate) memory: OwnedSemaphorePermit,
    pub(crate) answer: oneshot::Sender<Result<Done, Error>>,
}

/// Parts waiting for a pack.
#[derive(Default)]
pub(crate) struct Packer {
    waiting: Mutex<Waiting>,
    /// A part came, or a pack is written.
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Of the jobs.
    bytes: usize,
    /// Tasks that gather or write a pack.
    in_flight: usize,
    /// Most parts that were here at once since the last pack was taken.
    most: usize,
    before: Before,
}

/// The packs before the next one.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    /// Parts that are being written.
    writing: usize,
    /// Most parts that were here at once, written or waiting, when the last one was gathered: about as many clients are there.
    crowd: usize,
    /// How long the last one that was written took, and when that was over.
    took: Duration,
    ended: Option<Instant>,
}

impl Before {
    /// Until when the next pack, which is gathered since `begun` and for which so many parts and bytes wait, may wait for company;
    /// `None`: it is to be written now. Pure.
    fn until(&self, begun: Instant, parts: usize, bytes: usize) -> Option<Instant> {
        if self.crowd <= FEW || parts >= ENOUGH_PARTS || bytes >= ENOUGH_BYTES {
            return None;
        }
        if self.writing > 0 {
            return Some(begun + self.took.min(BEHIND_MAX));
        }
        // Those of the last pack have their answers only since it ended.
        let ended = self.ended.filter(|_| parts < self.crowd)?;
        Some(ended + (self.took / GATHER_SHARE).min(GATHER_MAX))
    }
}

impl Packer {
    fn add(&self, job: Job) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.bytes += job.sealed.len();
        waiting.jobs.push_back(job);
        let here = waiting.jobs.len() + waiting.before.writing;
        waiting.most = waiting.most.max(here);
        let is_another_wanted = waiting.in_flight < IN_FLIGHT_MAX;
        waiting.in_flight += usize::from(is_another_wanted);
        drop(waiting);
        self.changed.notify_waiters();
        is_another_wanted
    }

    /// Returns when the next pack is to be written.
    async fn gather(&self) {
        let begun = Instant::now();
        loop {
            let changed = self.changed.notified();
            let until = {
                let waiting = self.waiting.lock();
                waiting.before.until(begun, waiting.jobs.len(), waiting.bytes)
            };
            let Some(until) = until else { return };
            if timeout_at(until, changed).await.is_err() {
                return;
            }
        }
    }

    /// Takes the jobs of the next pack; with none waiting, gives the writer's place back.
    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock();
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while let Some(job) = waiting.jobs.front() {
            if !jobs.is_empty() && (jobs.len() >= PARTS_MAX || bytes + job.sealed.len() > BYTES_MAX) {
                break;
            }
            bytes += job.sealed.len();
            jobs.extend(waiting.jobs.pop_front());
        }
        waiting.bytes -= bytes;
        if jobs.is_empty() {
            waiting.in_flight -= 1;
        } else {
            waiting.before.writing += jobs.len();
            let here = waiting.jobs.len() + waiting.before.writing;
            waiting.before.crowd = std::mem::replace(&mut waiting.most, here);
        }
        jobs
    }

    fn wrote(&self, parts: usize, begun: Instant) {
        let ended = Instant::now();
        let mut waiting = self.waiting.lock();
        waiting.before.writing -= parts;
        waiting.before.took = ended - begun;
        waiting.before.ended = Some(ended);
        drop(waiting);
        self.changed.notify_waiters();
    }
}

/// Who gathers and writes packs. Gives its place back also when writing one panics.
struct Writer<'a> {
    packer: &'a Packer,
    /// Parts of the pack that is being written, and since when.
    writing: Option<(usize, Instant)>,
    /// [`Packer::take`] found nothing, and has given the place back.
    has_left: bool,
}

impl Writer<'_> {
    fn takes(&mut self) -> Vec<Job> {
        let jobs = self.packer.take();
        self.has_left = jobs.is_empty();
        self.writing = (!self.has_left).then(|| (jobs.len(), Instant::now()));
        jobs
    }

    fn wrote(&mut self) {
        if let Some((parts, begun)) = self.writing.take() {
            self.packer.wrote(parts, begun);
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.wrote();
        if !self.has_left {
            self.packer.waiting.lock().in_flight -= 1;
        }
    }
}

impl Store {
    /// Queues a job. The pack is written by a task of its own, so that a client that goes away
    /// takes nobody else's write with it.
    pub(crate) fn pack(&self, job: Job) {
        if !self.0.packer.add(job) {
            return;
        }
        let store = self.clone();
        self.0.tasks.spawn(async move {
            let mut writer = Writer { packer: &store.0.packer, writing: None, has_left: false };
            loop {
                store.0.packer.gather().await;
                let jobs = writer.takes();
                if jobs.is_empty() {
                    return;
                }
                store.write_pack(jobs).await;
                writer.wrote();
            }
        });
    }

    async fn write_pack(&self, jobs: Vec<Job>) {
        metrics::histogram!("holdfast_pack_parts").record(jobs.len() as f64);
        let plan = Plan::of(&jobs, BlobId::ordered(self.now_ms(), self.0.options.doors.rng.as_ref()));
        // Held until the row is committed, so that the sweep does not take it for an orphan.
        let _pin = self.0.pins.hold(Held::Blob(plan.shape.blob));
        let fence = self.fence();
        let shards = match plan.shards(&self.0.stripes, &jobs) {
            Ok(shards) => shards,
            Err(error) => return fail(jobs, &error),
        };
        // What is not known when the shards are there is guessed.
        self.look_ahead(jobs.iter().filter_map(|job| job.goal.replaces()));
        let generation = self.0.pool.generation();
        let away = match self.put_segment(&plan.shape, 0, shards).await {
            Ok(away) => away,
            Err(error) => {
                let shape = plan.shape;
                let store = self.clone();
                self.0.tasks.spawn(async move { store.discard_blob(shape).await });
                return fail(jobs, &error);
            }
        };
        let record = BlobRecord {
            created_ms: self.now_ms(),
            len: plan.shape.len,
            segment: plan.shape.segment,
            unit: plan.shape.unit,
            align: plan.shape.align,
            parts: plan.parts.clone(),
            away: away.into_iter().collect(),
        };
        let known = self.blob_batch(plan.shape.blob, &record, generation, &fence);
        self.commit_pack(jobs, &plan, known, &fence).await;
    }

    /// One group: the blob first, then every part's own batch, judged on its own conditions.
    async fn commit_pack(&self, jobs: Vec<Job>, plan: &Plan, known: Batch, fence: &[Check]) {
        let prepare = jobs.iter().zip(&plan.parts).map(|(job, place)| async move {
            let data = plan.data(place);
            self.prepare_by_memory(&job.goal, Some(New { part: job.part, data: &data, fence })).await
        });
        let prepared = futures::future::join_all(prepare).await;
        let mut group = vec![known];
        group.extend(prepared.iter().flatten().map(|prepared| prepared.batch.clone()));
        let mut answers = self.0.meta.commit_group(group).await.into_iter();
        if let Some(Err(error)) = answers.next() {
            // Without the blob's row its parts must not be used: whatever of the group went
            // through is told as a failure of unknown outcome.
            return fail(jobs, &Prepared::explain(error, fence, self, None).unwrap_or(Error::Contended));
        }
        for ((job, place), prepared) in jobs.into_iter().zip(&plan.parts).zip(prepared) {
            let Job { part, goal, memory, answer, .. } = job;
            drop(memory);
            let result = match prepared {
                Err(error) => Err(error),
                Ok(prepared) => match answers.next() {
                    Some(Ok(_)) => Ok(prepared.object),
                    Some(Err(error)) => match Prepared::explain(error, fence, self, Some(&goal)) {
                        Some(error) => Err(error),
                        // Lost to another writer: the bytes are durable, only the batch is redone.
                        None => {
                            let data = plan.data(place);
                            self.commit_goal(&goal, Some(New { part, data: &data, fence })).await
                        }
                    },
                    None => Err(Error::Contended),
                },
            };
            if result.is_err() {
                self.leave_garbage(part, plan.shape.blob);
            }
            let _ = answer.send(result);
        }
    }

    /// The batch that makes a blob known; a blob with shards away from home is queued for repair
    /// in the same step. So is one that was written across the replacement of a site, since the
    /// pool's `generation`: a shard may be gone with the old one, and the walk that refills the
    /// new one may have passed this blob's place. `fence`: from before the first shard was put.
    pub(crate) fn blob_batch(&self, blob: BlobId, record: &BlobRecord, generation: u64, fence: &[Check]) -> Batch {
        let mut writes = vec![Write::Put(key::blob_key(blob), record.encode())];
        let away = away_columns(blob, record);
        let repair = if generation != self.0.pool.generation() {
            Some((RepairReason::Replaced, away.max(1)))
        } else {
            (away > 0).then_some((RepairReason::HandedOff, away))
        };
        if let Some((reason, columns)) = repair {
            let repair = self.repair_record(reason, columns, record.len);
            writes.push(Write::Put(key::repair_key(blob), repair.encode()));
        }
        Batch { checks: fence.to_vec(), writes }
    }
}

/// Columns away from home in the worst segment.
pub(crate) fn away_columns(blob: BlobId, record: &BlobRecord) -> u8 {
    let shape = Shape::of_blob(blob, record);
    let away = record.away.iter().map(|placement| {
        let home = shape.home(placement.segment);
        (0..COLUMNS).filter(|column| home[*column] != placement.slots[*column]).count() as u8
    });
    away.max().unwrap_or(0)
}

/// Tells every waiting client. Errors do not clone: each gets one of the same kind and words.
fn fail(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        let same = match error {
            Error::Full(detail) => Error::Full(detail.clone()),
            Error::TooFewSites { live, needed, detail } => {
                Error::TooFewSites { live: *live, needed: *needed, detail: detail.clone() }
            }
            Error::Commit(error) => Error::Commit(error.clone()),
            Error::Expelled => Error::Expelled,
            Error::Overtaken => Error::Overtaken,
            Error::Contended => Error::Contended,
            other => Error::Unreadable(other.to_string()),
        };
        let _ = job.answer.send(Err(same));
    }
}

/// Where each part lies in a new pack. Pure.
struct Plan {
    shape: Shape,
    parts: Vec<BlobPart>,
}

impl Plan {
    fn of(jobs: &[Job], blob: BlobId) -> Self {
        Self::of_parts(jobs.iter().map(|job| (job.part, job.sealed.len() as u64)), blob)
    }

    fn of_parts(parts: impl Iterator<Item = (PartId, u64)>, blob: BlobId) -> Self {
        let mut len = 0;
        let parts = parts
            .map(|(id, part_len)| {
                let offset = len;
                len += part_len;
                BlobPart { id, offset, len: part_len }
            })
            .collect();
        Self { shape: pack_shape(blob, len), parts }
    }

    fn data(&self, place: &BlobPart) -> DataRecord {
        DataRecord {
            refs: 1,
            blob: self.shape.blob,
            offset: place.offset,
            len: place.len,
            blob_len: self.shape.len,
            segment: self.shape.segment,
            unit: self.shape.unit,
            align: self.shape.align,
            under: Vec::new(),
            leaked: false,
        }
    }

    fn shards(&self, buffers: &Arc<Buffers>, jobs: &[Job]) -> Result<[Vec<Bytes>; COLUMNS], Error> {
        pack_shards(buffers, &self.shape, jobs.iter().map(|job| &job.sealed))
    }
}

/// A pack is one segment of one stripe.
pub(crate) fn pack_shape(blob: BlobId, len: u64) -> Shape {
    let unit = u32::try_from(len.div_ceil(3)).unwrap_or(u32::MAX - ALIGN).next_multiple_of(ALIGN).max(ALIGN);
    Shape { blob, len, segment: len.max(1), unit, align: ALIGN }
}

/// The shards of a pack with these bodies.
pub(crate) fn pack_shards<'a>(
    buffers: &Arc<Buffers>,
    shape: &Shape,
    bodies: impl Iterator<Item = &'a Bytes>,
) -> Result<[Vec<Bytes>; COLUMNS], Error> {
    let geometry = shape.geometry(0);
    let stripe = 3 * geometry.last_unit().max(if geometry.full_stripes() > 0 { geometry.unit } else { 0 }) as usize;
    let mut data = BytesMut::with_capacity(stripe);
    for body in bodies {
        data.extend_from_slice(body);
    }
    data.resize(stripe, 0);
    let mut builder = SegmentBuilder::new(buffers, shape.blob, 0, geometry);
    builder.stripe(data.freeze())?;
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_company() {
        let ms = Duration::from_millis;
        let ended = Instant::now();
        // Gathered for 5 ms when the last pack was over.
        let begun = ended - ms(5);
        let before = |writing, crowd, took| Before { writing, crowd, took, ended: Some(ended) };
        let table = [
            // An idle store, a lone client, two of them: nobody to wait for.
            (Before::default(), 1, 10, None),
            (before(0, 1, ms(16)), 1, 10, None),
            (before(1, 2, ms(16)), 1, 10, None),
            // The others of the last pack have their answers, and are about to send more.
            (before(0, 8, ms(16)), 1, 10, Some(ended + ms(8))),
            (before(0, 8, ms(16)), 8, 80, None),
            (before(0, 8, ms(800)), 1, 10, Some(ended + GATHER_MAX)),
            // Another one is being written: until its end, unless that is far.
            (before(7, 8, ms(16)), 1, 10, Some(begun + ms(16))),
            (before(1, 8, ms(16)), 9, 90, Some(begun + ms(16))),
            (before(1, 8, ms(800)), 9, 90, Some(begun + BEHIND_MAX)),
            // Worth it.
            (before(1, 8, ms(16)), ENOUGH_PARTS, 10, None),
            (before(1, 8, ms(16)), 1, ENOUGH_BYTES, None),
        ];
        for (before, parts, bytes, until) in table {
            assert_eq!(before.until(begun, parts, bytes), until, "{parts} parts, {bytes} bytes after {before:?}");
        }
    }
}
