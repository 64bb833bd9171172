//! Sealing a request body into a part and getting it to the sites.

use base::limits::{CHUNK, DATA_COLUMNS, PART_SIZE_MAX, SEALED_CHUNK};
use base::{BlobId, PartId};
use bytes::{Buf, Bytes};
use envelope::{BodyHeader, Dek, Sealer};
use meta::record::{BlobPart, BlobRecord, DataRecord, SealedPart, SegmentPlacement};
use meta::record::{GarbageRecord, Record, key};
use meta::{Check, Write};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;

use crate::api::{BodyError, BodyFacts, BodySource};
use crate::blob::{SEGMENT, SegmentBuilder, Shape, UNIT};
use crate::commit::{Done, Goal, New, Prepared};
use crate::encryption::{Place, Released, Under};
use crate::pack::{Job, PACKED_MAX};
use crate::pin::{Held, Pin};
use crate::{Error, Store};

/// Segments of one upload being written at once: one at the sites while the next fills.
const SEGMENTS_IN_FLIGHT: usize = 2;

/// What binds a part's sealed body: only what never changes, so that a copy shares it.
pub(crate) fn body_context(part: PartId) -> [u8; 24] {
    let mut context = [0; 24];
    context[..8].copy_from_slice(b"hf-body1");
    context[8..].copy_from_slice(part.as_bytes());
    context
}

/// For whom a part is sealed.
pub(crate) struct Target<'a> {
    pub(crate) place: Place<'a>,
    /// 0 for a body of one part.
    pub(crate) number: u16,
    /// What its DEK is wrapped under.
    pub(crate) under: Under,
}

impl Store {
    /// Reads `body`, seals it, makes it durable at the sites and commits the goal that
    /// `goal(part, facts)` names. A body of no bytes has no part.
    pub(crate) async fn store_body(
        &self,
        target: Target<'_>,
        size: u64,
        body: &mut dyn BodySource,
        goal: impl FnOnce(Option<SealedPart>, BodyFacts) -> Result<Goal, Error> + Send,
    ) -> Result<Done, Error> {
        if size > PART_SIZE_MAX {
            return Err(Error::TooLarge { what: "a body", max: PART_SIZE_MAX });
        }
        if size == 0 {
            expect_end(body).await?;
            return self.commit_goal(&goal(None, body.finish()?)?, None).await;
        }
        let rng = self.0.options.doors.rng.as_ref();
        let id = PartId::ordered(self.now_ms(), rng);
        let dek = Dek::generate(rng);
        let place = target.place.dek(target.number, id);
        let (wrapped_dek, released) = self.wrap_dek_for_long(&target.under, &place, size, &dek).await?;
        let (sealer, header) = Sealer::new(&dek, &body_context(id), rng);
        let sealed = |header: BodyHeader| SealedPart { id, size, wrapped_dek, header: header.0.to_vec() };
        let len = envelope::sealed_len(size);
        if len <= PACKED_MAX {
            // Sealed bytes, their place in the pack, and the parity.
            let memory = self.reserve(len * 8 / 3).await?;
            let bytes = seal_small_body(sealer, size, body).await?;
            self.renew(&released).await?;
            let goal = goal(Some(sealed(header)), body.finish()?)?;
            let (answer, result) = oneshot::channel();
            self.pack(Job { part: id, sealed: bytes, goal, memory, answer });
            return result.await.unwrap_or(Err(Error::Unreadable("the store is shutting down".to_owned())));
        }
        if target.number == 0 {
            self.look_ahead(std::iter::once(key::object_key(target.place.bucket.id, target.place.key)));
        }
        let writer = BlobWriter::new(self, len);
        let blob = writer.write(sealer, size, body, &released).await?;
        // The sites may have taken long.
        self.renew(&released).await?;
        let goal = goal(Some(sealed(header)), body.finish()?)?;
        // In a task of its own: a client that goes away during the commit must not take back the
        // shards of a row that metadata may hold already.
        let store = self.clone();
        let committed = self.0.tasks.spawn(async move { store.commit_large(id, blob, &goal).await });
        committed.await.unwrap_or_else(|_| Err(Error::Unreadable("a commit was cut short".to_owned())))
    }

    /// Waits for memory for `bytes` of body.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let all = (self.0.options.buffer_bytes / 1024).max(1);
        let kib = u32::try_from((bytes / 1024 + 1).min(all as u64)).unwrap_or(u32::MAX);
        let permit = self.0.buffers.clone().acquire_many_owned(kib).await;
        permit.map_err(|_| Error::Unreadable("the store is shutting down".to_owned()))
    }

    /// The blob's row first, then the goal; in one flush when nobody else writes the same key.
    async fn commit_large(&self, part: PartId, mut blob: WrittenBlob, goal: &Goal) -> Result<Done, Error> {
        let shape = blob.shape;
        let record = BlobRecord {
            created_ms: self.now_ms(),
            len: shape.len,
            segment: shape.segment,
            unit: shape.unit,
            align: shape.align,
            parts: vec![BlobPart { id: part, offset: 0, len: shape.len }],
            away: std::mem::take(&mut blob.away),
        };
        let data = DataRecord {
            refs: 1,
            blob: shape.blob,
            offset: 0,
            len: shape.len,
            blob_len: shape.len,
            segment: shape.segment,
            unit: shape.unit,
            align: shape.align,
            under: Vec::new(),
            leaked: false,
        };
        let fence = std::mem::take(&mut blob.fence);
        let new = New { part, data: &data, fence: &fence };
        let prepared = self.prepare_by_memory(goal, Some(new)).await?;
        let group = vec![self.blob_batch(shape.blob, &record, blob.generation, &fence), prepared.batch];
        let mut answers = self.0.meta.commit_group(group).await.into_iter();
        match answers.next() {
            // Written or not: only the sweep can tell, when the metadata can be read again.
            Some(Err(error @ meta::CommitError::Unknown(_))) => {
                blob.keep();
                return Err(error.into());
            }
            Some(Err(error)) => return Err(Prepared::explain(error, &fence, self, None).unwrap_or(Error::Contended)),
            // The row knows the shards now: collection, not the guard, takes care of them.
            _ => blob.keep(),
        }
        let result = match answers.next() {
            Some(Err(error)) => match Prepared::explain(error, &fence, self, Some(goal)) {
                Some(error) => Err(error),
                None => self.commit_goal(goal, Some(new)).await,
            },
            _ => Ok(prepared.object),
        };
        if result.is_err() {
            self.leave_garbage(part, shape.blob);
        }
        result
    }

    /// A part whose bytes are in a known blob but which nothing will ever refer to. The row is
    /// for the collector; losing it to a crash costs space until the blob's next compaction.
    pub(crate) fn leave_garbage(&self, part: PartId, blob: BlobId) {
        let garbage = GarbageRecord { since_ms: self.now_ms(), blob, leaked: false };
        let batch = meta::Batch {
            checks: vec![meta::Check::Absent(key::data_key(part))],
            writes: vec![Write::Put(key::garbage_key(part), garbage.encode())],
        };
        let store = self.clone();
        self.0.tasks.spawn(async move {
            let _ = store.0.meta.commit(batch).await;
        });
    }
}

fn incomplete(words: &'static str) -> Error {
    Error::Body(BodyError::Incomplete(words.into()))
}

async fn expect_end(body: &mut dyn BodySource) -> Result<(), Error> {
    while let Some(bytes) = body.chunk().await? {
        if !bytes.is_empty() {
            return Err(incomplete("the body is longer than declared"));
        }
    }
    Ok(())
}

/// Fills a buffer with sealed chunks from a body.
pub(crate) struct Chunker<'a> {
    sealer: Sealer,
    body: &'a mut dyn BodySource,
    /// Bytes received and not yet sealed.
    frame: Bytes,
    /// Plaintext bytes still to come.
    left: u64,
}

impl<'a> Chunker<'a> {
    pub(crate) fn new(sealer: Sealer, size: u64, body: &'a mut dyn BodySource) -> Self {
        Self { sealer, body, frame: Bytes::new(), left: size }
    }

    /// Appends the next sealed chunk to `out`: one copy from the frame, then sealed in place.
    pub(crate) async fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        let mut want = self.left.min(CHUNK as u64) as usize;
        while want > 0 {
            if self.frame.is_empty() {
                let next = self.body.chunk().await?;
                self.frame = next.ok_or_else(|| incomplete("the body is shorter than declared"))?;
                continue;
            }
            let take = want.min(self.frame.len());
            out.extend_from_slice(&self.frame[..take]);
            self.frame.advance(take);
            self.left -= take as u64;
            want -= take;
        }
        out.extend_from_slice(&[0; SEALED_CHUNK - CHUNK]);
        self.sealer.seal_chunk(&mut out[start..]).map_err(|_| Error::Invalid("a body too long to seal"))
    }

    pub(crate) async fn end(self) -> Result<(), Error> {
        if !self.frame.is_empty() {
            return Err(incomplete("the body is longer than declared"));
        }
        expect_end(self.body).await
    }
}

async fn seal_small_body(sealer: Sealer, size: u64, body: &mut dyn BodySource) -> Result<Bytes, Error> {
    let mut sealed = Vec::with_capacity(envelope::sealed_len(size) as usize);
    let mut chunker = Chunker::new(sealer, size, body);
    for _ in 0..envelope::chunk_count(size) {
        chunker.next_chunk(&mut sealed).await?;
    }
    chunker.end().await?;
    Ok(sealed.into())
}

/// A large part's shards, durable, not yet known to metadata. Dropped, they are removed.
pub(crate) struct WrittenBlob {
    pub(crate) shape: Shape,
    pub(crate) away: Vec<SegmentPlacement>,
    guard: Option<Store>,
    /// The pool's when the first shard was put.
    generation: u64,
    /// From before then.
    fence: Vec<Check>,
    /// Held while it is written: the sweep must not take a slow upload for an orphan.
    _pin: Pin,
}

impl WrittenBlob {
    fn keep(&mut self) {
        self.guard = None;
    }
}

impl Drop for WrittenBlob {
    fn drop(&mut self) {
        if let Some(store) = self.guard.take() {
            let shape = self.shape;
            let tasks = store.0.tasks.clone();
            tasks.spawn(async move { store.discard_blob(shape).await });
        }
    }
}

/// Writes a large part, a segment at a time.
struct BlobWriter {
    store: Store,
    blob: WrittenBlob,
    running: JoinSet<Result<Option<SegmentPlacement>, Error>>,
}

impl BlobWriter {
    fn new(store: &Store, len: u64) -> Self {
        let blob = BlobId::ordered(store.now_ms(), store.0.options.doors.rng.as_ref());
        let shape = Shape { blob, len, segment: SEGMENT, unit: UNIT, align: SEALED_CHUNK as u32 };
        let blob = WrittenBlob {
            shape,
            away: Vec::new(),
            guard: Some(store.clone()),
            generation: store.0.pool.generation(),
            fence: store.fence(),
            _pin: store.0.pins.hold(Held::Blob(blob)),
        };
        Self { store: store.clone(), blob, running: JoinSet::new() }
    }

    async fn write(
        mut self,
        sealer: Sealer,
        size: u64,
        body: &mut dyn BodySource,
        released: &Released,
    ) -> Result<WrittenBlob, Error> {
        let mut chunker = Chunker::new(sealer, size, body);
        for segment in 0..self.blob.shape.segments() {
            // All the memory of a segment at once: holding some while waiting for more is how
            // uploads would come to wait for each other for ever.
            let geometry = self.blob.shape.geometry(segment);
            let memory = self.store.reserve(geometry.len * 5 / 3).await?;
            let mut builder = SegmentBuilder::new(&self.store.0.stripes, self.blob.shape.blob, segment, geometry);
            let mut left = geometry.len;
            while left > 0 {
                let stripe = left.min(u64::from(UNIT) * DATA_COLUMNS as u64);
                builder.stripe(self.stripe(&mut chunker, stripe, geometry.last_unit()).await?)?;
                left -= stripe;
                // A client that writes slowly takes hours over a part, and a key may be taken away meanwhile.
                self.store.renew(released).await?;
            }
            self.send(segment, builder, memory).await?;
        }
        chunker.end().await?;
        while let Some(done) = self.running.join_next().await {
            self.landed(done)?;
        }
        self.blob.away.sort_by_key(|placement| placement.segment);
        Ok(self.blob)
    }

    /// One stripe's data: `len` sealed bytes, padded to three equal units.
    async fn stripe(&self, chunker: &mut Chunker<'_>, len: u64, last_unit: u32) -> Result<Bytes, Error> {
        let full = u64::from(UNIT) * DATA_COLUMNS as u64;
        let unit = if len == full { UNIT } else { last_unit };
        let padded = unit as usize * DATA_COLUMNS;
        let mut data = self.store.0.stripes.take(padded);
        while (data.len() as u64) < len {
            chunker.next_chunk(&mut data).await?;
        }
        data.resize(padded, 0);
        Ok(self.store.0.stripes.share(data))
    }

    async fn send(&mut self, segment: u32, builder: SegmentBuilder, memory: OwnedSemaphorePermit) -> Result<(), Error> {
        while self.running.len() >= SEGMENTS_IN_FLIGHT {
            if let Some(done) = self.running.join_next().await {
                self.landed(done)?;
            }
        }
        let (store, shape) = (self.store.clone(), self.blob.shape);
        let shards = builder.finish();
        self.running.spawn(async move {
            let placed = store.put_segment(&shape, segment, shards).await;
            drop(memory);
            placed
        });
        Ok(())
    }

    fn landed(
        &mut self,
        done: Result<Result<Option<SegmentPlacement>, Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let placed = done.map_err(|_| Error::Unreadable("a segment's writer failed".to_owned()))??;
        self.blob.away.extend(placed);
        Ok(())
    }
}
