//! Blobs: bytes cut in segments, each erasure coded into five shards at the sites.

use std::ops::Range;
use std::sync::Arc;

use base::BlobId;
use base::limits::{COLUMNS, DATA_COLUMNS, SEALED_CHUNK};
use bytes::{Bytes, BytesMut};
use erasure::{Geometry, Piece, ShardHeader, TrailerBuilder};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meta::record::{BlobRecord, DataRecord, RepairReason, SegmentPlacement, key};
use sites::{PlaceError, SiteError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::buffers::Buffers;
use crate::pin::{Held, Pin};
use crate::{Error, Store};

/// Sealed chunks in one unit of a large part: 16 chunks are 256 KiB of plaintext, the span in
/// which large reads proceed, so that a span lies in one unit and needs no joining.
pub(crate) const UNIT_CHUNKS: usize = 16;
/// Bytes of a unit of a large part.
pub(crate) const UNIT: u32 = (UNIT_CHUNKS * SEALED_CHUNK) as u32;
/// Stripes in one segment of a large part. Eight are 6 MiB of plaintext and 2 MiB a shard: big
/// enough that an fsync is cheap per byte, small enough that sixteen uploads fit in memory.
pub(crate) const SEGMENT_STRIPES: u64 = 8;
/// Data bytes of a full segment.
pub(crate) const SEGMENT: u64 = SEGMENT_STRIPES * UNIT as u64 * DATA_COLUMNS as u64;

/// A set of columns.
pub(crate) type ColumnSet = u8;

/// Where a blob's bytes lie, as far as that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) blob: BlobId,
    pub(crate) len: u64,
    pub(crate) segment: u64,
    pub(crate) unit: u32,
    pub(crate) align: u32,
}

impl Shape {
    pub(crate) fn of_data(data: &DataRecord) -> Self {
        Self { blob: data.blob, len: data.blob_len, segment: data.segment, unit: data.unit, align: data.align }
    }

    pub(crate) fn of_blob(blob: BlobId, record: &BlobRecord) -> Self {
        Self { blob, len: record.len, segment: record.segment, unit: record.unit, align: record.align }
    }

    pub(crate) fn segments(&self) -> u32 {
        u32::try_from(self.len.div_ceil(self.segment.max(1))).unwrap_or(u32::MAX)
    }

    pub(crate) fn geometry(&self, segment: u32) -> Geometry {
        let from = u64::from(segment) * self.segment;
        Geometry { len: self.len.saturating_sub(from).min(self.segment), unit: self.unit, align: self.align }
    }

    /// Home slots of a segment's columns: rotated by blob and segment, so that parity and the
    /// first column of small packs spread over all sites.
    pub(crate) fn home(&self, segment: u32) -> [u8; COLUMNS] {
        let turn = usize::from(self.blob.as_bytes()[15]) + segment as usize;
        std::array::from_fn(|column| ((turn + column) % COLUMNS) as u8)
    }

    /// Where the columns are: at home, unless `away` says otherwise.
    pub(crate) fn slots(&self, segment: u32, away: &[SegmentPlacement]) -> [u8; COLUMNS] {
        match away.iter().find(|placement| placement.segment == segment) {
            Some(placement) => placement.slots,
            None => self.home(segment),
        }
    }
}

/// The name of a shard at its site. It tells a stranger nothing.
pub(crate) fn shard_name(blob: BlobId, segment: u32, column: usize) -> String {
    let id = blob.to_string();
    // The last digits are random; the first ones are time and would fill one folder after the other.
    format!("shards/{}/{id}.{segment}.{column}", &id[30..])
}

/// The reverse of [`shard_name`]; `None` for other names.
pub(crate) fn parse_shard_name(name: &str) -> Option<(BlobId, u32, usize)> {
    let file = name.strip_prefix("shards/")?.split_once('/')?.1;
    let mut pieces = file.split('.');
    let blob = pieces.next()?.parse().ok()?;
    let segment = pieces.next()?.parse().ok()?;
    let column = pieces.next()?.parse().ok().filter(|column| *column < COLUMNS)?;
    let known = pieces.next().is_none() && shard_name(blob, segment, column) == name;
    known.then_some((blob, segment, column))
}

/// Builds the five shards of one segment, stripe by stripe.
pub(crate) struct SegmentBuilder {
    buffers: Arc<Buffers>,
    columns: [Vec<Bytes>; COLUMNS],
    trailers: [TrailerBuilder; COLUMNS],
}

impl SegmentBuilder {
    pub(crate) fn new(buffers: &Arc<Buffers>, blob: BlobId, segment: u32, geometry: Geometry) -> Self {
        let columns = std::array::from_fn(|column| {
            let header = ShardHeader { blob, segment, column: column as u8, geometry };
            vec![Bytes::copy_from_slice(&header.encode())]
        });
        let trailers = std::array::from_fn(|_| TrailerBuilder::new());
        Self { buffers: buffers.clone(), columns, trailers }
    }

    /// Takes one stripe: three units in a row, padded. Computes the parity.
    pub(crate) fn stripe(&mut self, data: Bytes) -> Result<(), Error> {
        let unit = data.len() / DATA_COLUMNS;
        let mut parity = self.buffers.take(2 * unit);
        parity.resize(2 * unit, 0);
        let (first, second) = parity.split_at_mut(unit);
        let units = [&data[..unit], &data[unit..2 * unit], &data[2 * unit..]];
        erasure::encode(units, [first, second]).map_err(|_| Error::Invalid("a stripe of unequal units"))?;
        let parity = self.buffers.share(parity);
        for column in 0..COLUMNS {
            let (whole, at) = if column < DATA_COLUMNS { (&data, column) } else { (&parity, column - DATA_COLUMNS) };
            let piece = whole.slice(at * unit..(at + 1) * unit);
            self.trailers[column].push(&piece);
            self.columns[column].push(piece);
        }
        Ok(())
    }

    /// The shards, as slices to write one after the other.
    pub(crate) fn finish(self) -> [Vec<Bytes>; COLUMNS] {
        let mut columns = self.columns;
        for (column, trailer) in columns.iter_mut().zip(self.trailers) {
            column.push(trailer.finish().into());
        }
        columns
    }
}

impl Store {
    /// Writes a segment's shards durably; tells the placement when it is not home.
    pub(crate) async fn put_segment(
        &self,
        shape: &Shape,
        segment: u32,
        shards: [Vec<Bytes>; COLUMNS],
    ) -> Result<Option<SegmentPlacement>, Error> {
        let names = std::array::from_fn(|column| shard_name(shape.blob, segment, column));
        let home = shape.home(segment);
        let begun = Instant::now();
        let slots = self.0.pool.put_shards(home, &names, &shards).await.map_err(place_error)?;
        self.0.workers.paced.foreground.wrote(shape.geometry(segment).len, begun);
        Ok((slots != home).then_some(SegmentPlacement { segment, slots }))
    }

    /// Removes a blob's shards wherever they may be, as far as the sites answer: for blobs that
    /// no record refers to. What stays behind is found by the sweep.
    pub(crate) async fn discard_blob(&self, shape: Shape) {
        for segment in 0..shape.segments() {
            for column in 0..COLUMNS {
                let name = shard_name(shape.blob, segment, column);
                for slot in 0..COLUMNS as u8 {
                    let _ = self.0.pool.delete(slot, &name).await;
                }
            }
        }
    }
}

fn place_error(error: PlaceError) -> Error {
    if error.full {
        return Error::Full(error.last.to_string());
    }
    Error::TooFewSites { live: error.live, needed: DATA_COLUMNS, detail: error.last.to_string() }
}

/// Reads a blob while holding it.
pub(crate) struct BlobReader {
    store: Store,
    shape: Shape,
    away: OnceCell<Arc<[SegmentPlacement]>>,
    _pin: Pin,
}

impl BlobReader {
    pub(crate) fn new(store: &Store, shape: Shape) -> Self {
        let pin = store.0.pins.hold(Held::Blob(shape.blob));
        Self { store: store.clone(), shape, away: OnceCell::new(), _pin: pin }
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Which shards are not at home. Read once, and only when home does not answer.
    async fn away(&self) -> Result<Arc<[SegmentPlacement]>, Error> {
        let read = || async {
            let found = self.store.record::<BlobRecord>(key::blob_key(self.shape.blob)).await?;
            let gone = || Error::Unreadable(format!("blob {} was collected meanwhile", self.shape.blob));
            let (record, _) = found.ok_or_else(gone)?;
            Ok::<_, Error>(record.away.into())
        };
        self.away.get_or_try_init(read).await.cloned()
    }

    /// Reads bytes of the blob. Columns in `avoid` are rebuilt instead of read.
    pub(crate) async fn read(&self, range: Range<u64>, avoid: ColumnSet) -> Result<Bytes, Error> {
        let first = segment_of(&self.shape, range.start);
        if range.end <= (u64::from(first) + 1) * self.shape.segment {
            return self.read_segment(first, in_segment(&self.shape, first, &range), avoid).await;
        }
        let mut whole = BytesMut::with_capacity((range.end - range.start) as usize);
        for segment in first..=segment_of(&self.shape, range.end - 1) {
            whole
                .extend_from_slice(&self.read_segment(segment, in_segment(&self.shape, segment, &range), avoid).await?);
        }
        Ok(whole.freeze())
    }

    async fn read_segment(&self, segment: u32, range: Range<u64>, avoid: ColumnSet) -> Result<Bytes, Error> {
        let mut pieces = self.shape.geometry(segment).locate(range.clone());
        let Some(first) = pieces.next() else { return Ok(Bytes::new()) };
        if u64::from(first.len) == range.end - range.start {
            return self.piece(segment, first, avoid).await;
        }
        let all = std::iter::once(first).chain(pieces).map(|piece| self.piece(segment, piece, avoid));
        let parts = futures::future::try_join_all(all).await?;
        let mut whole = BytesMut::with_capacity((range.end - range.start) as usize);
        for part in parts {
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }

    async fn piece(&self, segment: u32, piece: Piece, avoid: ColumnSet) -> Result<Bytes, Error> {
        let begun = Instant::now();
        let read = self.piece_from_any(segment, piece, avoid).await?;
        self.store.0.workers.paced.foreground.read(read.len() as u64, begun);
        Ok(read)
    }

    /// Reads a piece from its own column; when that fails or is late, from any three others.
    async fn piece_from_any(&self, segment: u32, piece: Piece, avoid: ColumnSet) -> Result<Bytes, Error> {
        let column = usize::from(piece.column);
        let lost = avoid | 1 << column;
        if avoid & 1 << column != 0 {
            return self.rebuild(segment, piece, lost).await;
        }
        let home = self.shape.home(segment)[column];
        let mut direct = std::pin::pin!(self.column(segment, column, &piece));
        let patience = self.store.0.pool.hedge_after(home);
        match tokio::time::timeout(patience, &mut direct).await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(_)) => return self.rebuild(segment, piece, lost).await,
            Err(_) => {}
        }
        metrics::counter!("holdfast_hedged_reads_total").increment(1);
        let mut rebuilt = std::pin::pin!(self.rebuild(segment, piece, lost));
        tokio::select! {
            biased;
            direct = &mut direct => match direct {
                Ok(bytes) => Ok(bytes),
                Err(_) => rebuilt.await,
            },
            rebuilt = &mut rebuilt => match rebuilt {
                Ok(bytes) => Ok(bytes),
                Err(error) => direct.await.map_err(|_| error),
            },
        }
    }

    /// Reads a piece's interval of one column, at home or where the record says.
    async fn column(&self, segment: u32, column: usize, piece: &Piece) -> Result<Bytes, Error> {
        let from = erasure::HEADER_LEN as u64 + piece.column_offset;
        let range = from..from + u64::from(piece.len);
        let name = shard_name(self.shape.blob, segment, column);
        let home = self.shape.home(segment)[column];
        let pool = &self.store.0.pool;
        if self.away.get().is_none() && pool.state(home).readable() {
            match pool.get(home, &name, range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(
                    SiteError::NotFound { .. } | SiteError::Short { .. } | SiteError::Down(_) | SiteError::Denied(_),
                ) => {}
                Err(error) => return Err(Error::Site(error)),
            }
        }
        let slot = self.shape.slots(segment, &self.away().await?)[column];
        let read = pool.get(slot, &name, range).await;
        if let Err(SiteError::NotFound { .. } | SiteError::Short { .. }) = &read {
            self.store.queue_repair(self.shape.blob, RepairReason::Missing);
        }
        Ok(read?)
    }

    /// Rebuilds a piece from the same interval of three columns outside `lost`.
    async fn rebuild(&self, segment: u32, piece: Piece, lost: ColumnSet) -> Result<Bytes, Error> {
        metrics::counter!("holdfast_rebuilt_reads_total").increment(1);
        let pool = &self.store.0.pool;
        let slots = self.shape.slots(segment, &self.away().await?);
        let mut candidates: Vec<usize> = (0..COLUMNS).filter(|column| lost & 1 << column == 0).collect();
        // Sites in good health first; among them data columns, which are likelier cached.
        candidates.sort_by_key(|column| (!pool.state(slots[*column]).writable(), *column));
        let mut waiting = candidates.into_iter();
        let read = |column: usize| async move { (column, self.column(segment, column, &piece).await) };
        let mut running: FuturesUnordered<_> = waiting.by_ref().take(DATA_COLUMNS).map(read).collect();
        let mut units: [Option<Bytes>; COLUMNS] = Default::default();
        let mut last = String::from("too few columns are left");
        let patience = pool.options().hedge_min * 5;
        while units.iter().flatten().count() < DATA_COLUMNS {
            match tokio::time::timeout(patience, running.next()).await {
                Ok(Some((column, Ok(bytes)))) => units[column] = Some(bytes),
                Ok(Some((_, Err(error)))) => {
                    last = error.to_string();
                    running.extend(waiting.next().map(read));
                }
                Ok(None) => return Err(Error::Unreadable(last)),
                // Late: ask the next one too.
                Err(_) => match waiting.next() {
                    Some(column) => running.push(read(column)),
                    None => match running.next().await {
                        Some((column, Ok(bytes))) => units[column] = Some(bytes),
                        Some((_, Err(error))) => last = error.to_string(),
                        None => return Err(Error::Unreadable(last)),
                    },
                },
            }
        }
        let units = units.each_ref().map(|unit| unit.as_deref());
        let rebuilt = erasure::reconstruct(&units, &[usize::from(piece.column)]);
        let unit = rebuilt.ok().and_then(|mut columns| columns.pop());
        unit.map(Bytes::from).ok_or(Error::Unreadable(last))
    }
}

fn segment_of(shape: &Shape, offset: u64) -> u32 {
    u32::try_from(offset / shape.segment.max(1)).unwrap_or(u32::MAX)
}

/// The part of a blob's range that lies in a segment, relative to the segment.
fn in_segment(shape: &Shape, segment: u32, range: &Range<u64>) -> Range<u64> {
    let from = u64::from(segment) * shape.segment;
    range.start.saturating_sub(from)..(range.end - from).min(shape.segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    #[test]
    fn shard_names_round_trip_and_others_are_strangers() {
        let blob = BlobId::random(&SeededRng::new(1));
        let name = shard_name(blob, 12, 4);
        assert_eq!(parse_shard_name(&name), Some((blob, 12, 4)));
        let strangers = [
            "shards/".to_owned(),
            name.replace(".12.", ".012."),
            name.replace(".4", ".5"),
            format!("{name}.x"),
            name.replace("shards/", "shards/0"),
            "holdfast-site.json".to_owned(),
        ];
        for stranger in strangers {
            assert_eq!(parse_shard_name(&stranger), None, "{stranger}");
        }
    }

    #[test]
    fn homes_are_five_different_sites() {
        let rng = SeededRng::new(2);
        for segment in 0..10 {
            let shape = Shape { blob: BlobId::random(&rng), len: 1, segment: SEGMENT, unit: UNIT, align: 16 };
            let mut home = shape.home(segment);
            home.sort_unstable();
            assert_eq!(home, [0, 1, 2, 3, 4]);
        }
    }
}
