//! HeadObject and GetObject.

use std::ops::Range;
use std::sync::Arc;

use base::UploadId;
use base::limits::{CHUNK, COLUMNS, SEALED_CHUNK};
use bytes::Bytes;
use envelope::{BodyHeader, Dek, Opener};
use futures::{StreamExt, TryStreamExt};
use keys::{BucketKey, CustomerKey};
use meta::record::{Body, BucketRecord, DataRecord, PartRecord, RepairReason, SealedPart, key};
use meta::stale;

use crate::api::{ObjectInfo, PartInfo, ReadRange, ReadStream, VersionId};
use crate::blob::{BlobReader, ColumnSet, Shape, UNIT_CHUNKS};
use crate::encryption::{Place, Released};
use crate::part::body_context;
use crate::pin::{Held, Pin};
use crate::put::info;
use crate::version::Found;
use crate::{Error, Store};

/// Spans of 256 KiB fetched ahead of the client, so that far sites do not serialise.
const SPANS_AHEAD: usize = 3;
/// Times an open starts over because the object was replaced and collected under it.
const OPEN_ATTEMPTS: usize = 10;

/// An object held open: what was found stays readable until this and its stream are dropped,
/// even when the object is overwritten or deleted.
pub struct ObjectReader {
    /// What is stored.
    pub info: ObjectInfo,
    store: Store,
    bucket: BucketRecord,
    /// The bucket's name.
    name: String,
    /// The bucket's key, or that and the customer's.
    under: Arc<BucketKey>,
    body: Body,
    /// Why its bytes are not given out.
    kept_back: Option<Error>,
    _pin: Option<Pin>,
    /// A single part, found with the object. Its key is opened when it is read.
    single: Option<FoundPart>,
}

impl Store {
    /// What is stored under a key, without its bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], [`Error::NoSuchVersion`],
    /// [`Error::DeleteMarker`], or a metadata error.
    pub async fn head(&self, bucket: &str, key: &str, id: Option<VersionId>) -> Result<ObjectInfo, Error> {
        let bucket = self.bucket_record(bucket).await?;
        let record = self.object(&bucket, key, id).await?.record;
        let scan = self.scan_told(self.scan_rules(&bucket).await?, &record).await?;
        Ok(ObjectInfo { scan, ..info(bucket.id, key, record) })
    }

    /// Holds an object for reading; `customer` is the key that it was written under (SSE-C). No key of its bytes is opened,
    /// and so none released, before [`ObjectReader::read`]: who may not read it, or wants to know of it only, has taken none.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], the errors of a customer's key, or a metadata or key error.
    pub async fn open_object(
        &self,
        bucket: &str,
        key: &str,
        id: Option<VersionId>,
        customer: Option<&CustomerKey>,
    ) -> Result<ObjectReader, Error> {
        let name = bucket;
        let bucket = self.bucket_record(bucket).await?;
        for _ in 0..OPEN_ATTEMPTS {
            let Found { row_key, record, version } = self.object(&bucket, key, id).await?;
            let (scan, kept_back) = self.scanned(&bucket, &record).await?;
            let body = record.body.clone();
            let place = Place { bucket: &bucket, name, key, body: record.body_id };
            let under = self.key_to_read(&place, &record.encryption, customer)?;
            let (pin, single) = match &body {
                Body::Empty | Body::Marker => (None, None),
                Body::Single(part) => match self.find_part(part).await? {
                    Some(found) => (None, Some(found)),
                    None if self.row(row_key).await?.is_some_and(|row| row.version == version) => {
                        return Err(Error::Corrupt("the object's data record is gone".to_owned()));
                    }
                    None => continue,
                },
                Body::Multipart(_) => {
                    let pin = self.0.pins.hold(Held::Body(record.body_id));
                    // Held before it is looked at again: from here on nobody takes it apart.
                    if !self.stands(row_key, version).await? {
                        continue;
                    }
                    (Some(pin), None)
                }
            };
            let info = ObjectInfo { scan, ..info(bucket.id, key, record) };
            let name = name.to_owned();
            let store = self.clone();
            return Ok(ObjectReader { info, store, bucket, name, under, body, kept_back, _pin: pin, single });
        }
        Err(Error::Contended)
    }

    /// Opens a part; `None` when its data record is gone.
    pub(crate) async fn open_part(
        &self,
        place: &Place<'_>,
        under: &BucketKey,
        number: u16,
        part: &SealedPart,
    ) -> Result<Option<PartReader>, Error> {
        match self.find_part(part).await? {
            Some(found) => found.open(self, place, under, number, part).await.map(Some),
            None => Ok(None),
        }
    }

    /// Finds a part's bytes and holds them; `None` when its data record is gone.
    async fn find_part(&self, part: &SealedPart) -> Result<Option<FoundPart>, Error> {
        let data_key = key::data_key(part.id);
        loop {
            let Some((data, version)) = self.record::<DataRecord>(data_key.clone()).await? else { return Ok(None) };
            let blob = BlobReader::new(self, Shape::of_data(&data));
            // Held now; if the row still says so, the shards stay until we let go.
            if self.stands(data_key.clone(), version).await? {
                return Ok(Some(FoundPart { blob, offset: data.offset }));
            }
        }
    }
}

/// Where a part's bytes are, which stay there until this is dropped. Nothing of it is opened.
struct FoundPart {
    blob: BlobReader,
    /// First sealed byte in the blob.
    offset: u64,
}

impl FoundPart {
    /// Has the part's key released, and opens it.
    async fn open(
        self,
        store: &Store,
        place: &Place<'_>,
        under: &BucketKey,
        number: u16,
        part: &SealedPart,
    ) -> Result<PartReader, Error> {
        let Self { blob, offset } = self;
        let (dek, released) = store.unwrap_dek(under, &place.dek(number, part.id), part).await?;
        let opener = opener(&dek, part)?;
        let size = part.size;
        Ok(PartReader(Arc::new(OpenPart { store: store.clone(), blob, offset, size, opener, released })))
    }
}

fn opener(dek: &Dek, part: &SealedPart) -> Result<Opener, Error> {
    let corrupt = |_| Error::Corrupt("a part's key record is damaged".to_owned());
    let header = BodyHeader(part.header.as_slice().try_into().map_err(corrupt)?);
    Opener::new(dek, &header, &body_context(part.id)).map_err(|e| Error::Key(e.into()))
}

impl ObjectReader {
    /// Part number, first byte and size of each part of a multipart object; one part numbered 1
    /// for any other.
    pub fn parts(&self) -> Vec<(u16, u64, u64)> {
        match &self.body {
            Body::Multipart(runs) => {
                let mut offset = 0;
                let mut parts = Vec::new();
                for run in runs {
                    for i in 0..run.count {
                        parts.push((run.first.saturating_add(i), offset, run.size));
                        offset += run.size;
                    }
                }
                parts
            }
            _ => vec![(1, 0, self.info.size)],
        }
    }

    /// What is known of one part of a multipart object.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn part_info(&self, number: u16) -> Result<Option<PartInfo>, Error> {
        let upload = UploadId::from(self.info.body_id);
        let found = self.store.record::<PartRecord>(key::part_key(upload, number)).await?;
        Ok(found.map(|(part, _)| part_info(number, part)))
    }

    /// Streams the object or a range of it. The first bytes are read before this returns, so
    /// that what cannot be read is an error and not a broken stream.
    ///
    /// # Errors
    /// [`Error::Unclean`] or [`Error::Unscanned`] for what its bucket keeps back, [`Error::Unreadable`], [`Error::Corrupt`], or a metadata or key
    /// error.
    pub async fn read(mut self, range: ReadRange) -> Result<ReadStream, Error> {
        match self.kept_back.take() {
            Some(kept_back) => {
                if matches!(kept_back, Error::Unscanned(_)) {
                    // By whom may read it: its key is released to him.
                    let info = &self.info;
                    self.store.scan_soon(&self.name, &info.key, info.version, info.body_id);
                }
                Err(kept_back)
            }
            None => self.read_unscreened(range).await,
        }
    }

    /// The same, for the scan service itself.
    pub(crate) async fn read_unscreened(self, range: ReadRange) -> Result<ReadStream, Error> {
        Ok(stale::carried(self.stream(range).await?).boxed())
    }

    async fn stream(mut self, range: ReadRange) -> Result<ReadStream, Error> {
        let range = match range {
            ReadRange::All => 0..self.info.size,
            ReadRange::Bytes(range) => range.start..range.end.min(self.info.size),
        };
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        if let (Some(found), Body::Single(part)) = (self.single.take(), &self.body) {
            let part = found.open(&self.store, &self.place(), &self.under, 0, part).await?;
            return part.read(range, 1).await;
        }
        let pieces: Vec<(u16, Range<u64>)> = self
            .parts()
            .into_iter()
            .filter(|(_, offset, size)| *size > 0 && *offset < range.end && offset + size > range.start)
            .map(|(number, offset, size)| (number, range.start.saturating_sub(offset)..(range.end - offset).min(size)))
            .collect();
        let reader = Arc::new(self);
        let mut pieces = pieces.into_iter();
        let Some((number, first)) = pieces.next() else { return Ok(futures::stream::empty().boxed()) };
        let head = reader.part(number, first, 1).await?;
        let tail = futures::stream::iter(pieces)
            .then(move |(number, range)| {
                let reader = reader.clone();
                async move { reader.part(number, range, 0).await }
            })
            .try_flatten();
        Ok(head.chain(tail).boxed())
    }

    fn place(&self) -> Place<'_> {
        Place { bucket: &self.bucket, name: &self.name, key: &self.info.key, body: self.info.body_id }
    }

    /// `objects`: how many this read counts for.
    async fn part(&self, number: u16, range: Range<u64>, objects: u64) -> Result<ReadStream, Error> {
        let gone = || Error::Corrupt(format!("part {number} of the object is gone"));
        let row_key = key::part_key(UploadId::from(self.info.body_id), number);
        let place = self.place();
        for _ in 0..OPEN_ATTEMPTS {
            let (part, version) = self.store.record::<PartRecord>(row_key.clone()).await?.ok_or_else(gone)?;
            let sealed = part.sealed.ok_or_else(gone)?;
            if let Some(part) = self.store.open_part(&place, &self.under, number, &sealed).await? {
                return part.read(range, objects).await;
            }
            // Not sealed anew meanwhile: gone.
            if self.store.row(row_key.clone()).await?.is_none_or(|row| row.version == version) {
                break;
            }
        }
        Err(gone())
    }
}

pub(crate) fn part_info(number: u16, part: PartRecord) -> PartInfo {
    PartInfo { number, size: part.size(), etag: part.etag, modified_ms: part.modified_ms, checksum: part.checksum }
}

/// One open part.
pub(crate) struct PartReader(Arc<OpenPart>);

struct OpenPart {
    store: Store,
    blob: BlobReader,
    /// First sealed byte in the blob.
    offset: u64,
    /// Plaintext bytes.
    size: u64,
    opener: Opener,
    released: Released,
}

impl PartReader {
    /// Streams a non-empty range of the part, which counts for so many objects.
    pub(crate) async fn read(self, range: Range<u64>, objects: u64) -> Result<ReadStream, Error> {
        let spans = spans(&range);
        let part = self.0;
        part.store.spend(&part.released, objects, range.end - range.start).await?;
        // Nothing is told before what it was found by is confirmed.
        let (first, confirmed) = futures::join!(part.span(spans.start, &range), part.store.confirm());
        confirmed?;
        let first = first?;
        if spans.end - spans.start == 1 {
            return Ok(futures::stream::once(async move { Ok(first) }).boxed());
        }
        let leaving = part.clone();
        let rest = futures::stream::iter(spans.start + 1..spans.end)
            .map(move |span| {
                let (part, range) = (part.clone(), range.clone());
                async move { part.span(span, &range).await }
            })
            .buffered(SPANS_AHEAD)
            // What was opened ahead may have waited for its client since.
            .and_then(move |span| {
                let part = leaving.clone();
                async move { part.store.renew(&part.released).await.map(|()| span) }
            });
        Ok(futures::stream::once(async move { Ok(first) }).chain(rest).boxed())
    }
}

const SPAN: u64 = (UNIT_CHUNKS * CHUNK) as u64;

/// The spans of [`UNIT_CHUNKS`] chunks that a plaintext range touches.
fn spans(range: &Range<u64>) -> Range<u64> {
    range.start / SPAN..(range.end - 1) / SPAN + 1
}

impl OpenPart {
    /// Reads and opens the chunks of one span that `range` touches; gives the wanted bytes.
    async fn span(&self, span: u64, range: &Range<u64>) -> Result<Bytes, Error> {
        // A client that reads slowly takes hours over a part, and must not have it longer than its keys are open and released.
        self.store.renew(&self.released).await?;
        let from = range.start.max(span * SPAN);
        let to = range.end.min((span + 1) * SPAN);
        let chunks = from / CHUNK as u64..(to - 1) / CHUNK as u64 + 1;
        let sealed = self.sealed_range(&chunks);
        let plain = match self.kept(&chunks, &sealed) {
            Some(plain) => plain,
            None => self.fetch(&chunks, sealed).await?,
        };
        // Reading may have taken long.
        self.store.renew(&self.released).await?;
        let skip = (from - chunks.start * CHUNK as u64) as usize;
        Ok(plain.slice(skip..skip + (to - from) as usize))
    }

    /// Chunks that were read lately.
    fn kept(&self, chunks: &Range<u64>, sealed: &Range<u64>) -> Option<Bytes> {
        let (spans, blob) = (&self.store.0.spans, self.blob.shape().blob);
        let plain = self.open(chunks, &spans.get(blob, sealed)?);
        if plain.is_none() {
            spans.forget(blob, sealed);
        }
        plain
    }

    /// Chunks from the sites.
    async fn fetch(&self, chunks: &Range<u64>, sealed: Range<u64>) -> Result<Bytes, Error> {
        let bytes = self.blob.read(sealed.clone(), 0).await?;
        match self.open(chunks, &bytes) {
            Some(plain) => {
                self.store.0.spans.put(self.blob.shape().blob, &sealed, &bytes);
                Ok(plain)
            }
            None => self.recover(chunks, sealed).await,
        }
    }

    /// Where chunks lie in the blob. The last, short chunk ends the part.
    fn sealed_range(&self, chunks: &Range<u64>) -> Range<u64> {
        let len = envelope::sealed_len(self.size);
        let (from, to) = (chunks.start * SEALED_CHUNK as u64, (chunks.end * SEALED_CHUNK as u64).min(len));
        self.offset + from..self.offset + to
    }

    /// Opens chunks; `None` when any does not.
    fn open(&self, chunks: &Range<u64>, sealed: &[u8]) -> Option<Bytes> {
        let last = envelope::chunk_count(self.size) - 1;
        let tags = (chunks.end - chunks.start) as usize * (SEALED_CHUNK - CHUNK);
        let mut plain = vec![0; sealed.len().checked_sub(tags)?];
        let mut out = plain.as_mut_slice();
        for (index, chunk) in chunks.clone().zip(sealed.chunks(SEALED_CHUNK)) {
            let (now, rest) = std::mem::take(&mut out).split_at_mut_checked(chunk.len().checked_sub(16)?)?;
            self.opener.open_chunk(index, index == last, chunk, now).ok()?;
            out = rest;
        }
        Some(plain.into())
    }

    /// Some site gave bytes that do not open. Finds out whose, by leaving columns out, one and
    /// then two at a time, until what the others give opens: the seal is the judge, so a site
    /// that also forges its checksums is found too.
    async fn recover(&self, chunks: &Range<u64>, sealed: Range<u64>) -> Result<Bytes, Error> {
        metrics::counter!("holdfast_damaged_reads_total").increment(1);
        let mut unreadable = None;
        for avoid in suspects() {
            let bytes = match self.blob.read(sealed.clone(), avoid).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    unreadable = Some(error);
                    continue;
                }
            };
            if let Some(plain) = self.open(chunks, &bytes) {
                tracing::warn!(blob = %self.blob.shape().blob, columns = avoid, "a site gave damaged bytes; read around it");
                self.store.queue_repair(self.blob.shape().blob, RepairReason::Damaged);
                self.store.0.spans.put(self.blob.shape().blob, &sealed, &bytes);
                return Ok(plain);
            }
        }
        // With sites away not every set could be tried: that is no verdict on the bytes.
        Err(unreadable.unwrap_or_else(|| Error::Corrupt(format!("blob {}", self.blob.shape().blob))))
    }
}

/// Sets of one column, then of two.
fn suspects() -> impl Iterator<Item = ColumnSet> {
    let one = (0..COLUMNS).map(|a| 1 << a);
    let two = (0..COLUMNS).flat_map(|a| (a + 1..COLUMNS).map(move |b| 1 << a | 1 << b));
    one.chain(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_suspects_are_asked_about() {
        let sets: Vec<_> = suspects().collect();
        assert_eq!(sets.len(), 5 + 10);
        assert!(sets.iter().all(|set| (1..=2).contains(&set.count_ones())));
        assert_eq!(sets.iter().collect::<std::collections::HashSet<_>>().len(), 15);
    }

    #[test]
    fn spans_of_ranges() {
        for (range, expected) in
            [(0..1, 0..1), (0..SPAN, 0..1), (0..SPAN + 1, 0..2), (SPAN - 1..SPAN + 1, 0..2), (SPAN..SPAN + 1, 1..2)]
        {
            assert_eq!(spans(&range), expected, "{range:?}");
        }
    }
}
