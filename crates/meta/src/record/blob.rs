//! Sealed bytes at the sites: parts point to blobs, blobs to shards.
//!
//! A blob's shard of segment `s`, column `c` is at its *home* site, which follows from the blob's
//! id, unless the blob's record names another. So the usual record says nothing of places, and a
//! shard handed to another site costs a few bytes until it is moved home.

use base::{BlobId, PartId, PortionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, grown, join, under};

/// Where one part's sealed bytes are: `len` bytes at `offset` of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Bodies that use the part (copies share it).
    pub refs: u32,
    /// The blob.
    pub blob: BlobId,
    /// First byte in the blob.
    pub offset: u64,
    /// Sealed bytes.
    pub len: u64,
    /// The blob's total length, bytes.
    pub blob_len: u64,
    /// Bytes of the blob in each segment but the last.
    pub segment: u64,
    /// Bytes of a unit in full stripes.
    pub unit: u32,
    /// The last stripe's unit is a multiple of this.
    pub align: u32,
    /// Versions of portions' keys that the part's DEK has been under, where copies brought it under more than one: of each
    /// portion the oldest. Empty: only what the row that names the part says, and older ones of that portion. At most
    /// [`UNDER_MAX`].
    pub under: Vec<(PortionId, u32)>,
    /// Whether somebody may have the DEK and other holders of the part were sealed anew for that: its bytes are to leave the
    /// sites as soon as nothing refers to them.
    pub leaked: bool,
}

/// Most portions that copies share a part between; the next copy gets bytes of its own.
pub const UNDER_MAX: usize = 64;

impl DataRecord {
    /// Notes a version of a portion's key that the DEK comes, or came, under. `false`: there is no room.
    pub fn note_under(&mut self, portion: PortionId, version: u32) -> bool {
        let is_full = self.under.len() >= UNDER_MAX;
        match self.under.iter_mut().find(|(known, _)| *known == portion) {
            Some((_, oldest)) => *oldest = version.min(*oldest),
            None if is_full => return false,
            None => self.under.push((portion, version)),
        }
        true
    }
}

impl Record for DataRecord {
    const NAME: &'static str = "data";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0, 0])
    }

    fn is_sound(&self) -> bool {
        let end = self.offset.checked_add(self.len);
        is_geometry(self.blob_len, self.segment, self.unit, self.align) && end.is_some_and(|end| end <= self.blob_len)
    }
}

/// A blob is at most a sealed part of 5 GiB, with room; its units are whole multiples.
fn is_geometry(len: u64, segment: u64, unit: u32, align: u32) -> bool {
    len <= 1 << 33
        && segment > 0
        && len.div_ceil(segment) <= 1 << 20
        && align > 0
        && unit > 0
        && unit.is_multiple_of(align)
}

/// What a blob holds, and which of its shards are not at home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Total bytes.
    pub len: u64,
    /// Bytes of the blob in each segment but the last.
    pub segment: u64,
    /// Bytes of a unit in full stripes.
    pub unit: u32,
    /// The last stripe's unit is a multiple of this.
    pub align: u32,
    /// Parts still in it. One for a large part, many for a pack.
    pub parts: Vec<BlobPart>,
    /// Segments with a shard away from home.
    pub away: Vec<SegmentPlacement>,
}

/// A part in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobPart {
    /// The part.
    pub id: PartId,
    /// First byte in the blob.
    pub offset: u64,
    /// Sealed bytes.
    pub len: u64,
}

/// Where the five shards of one segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlacement {
    /// Segment number.
    pub segment: u32,
    /// Site slot of each column.
    pub slots: [u8; 5],
}

impl BlobRecord {
    /// Number of segments.
    pub fn segments(&self) -> u32 {
        u32::try_from(self.len.div_ceil(self.segment.max(1))).unwrap_or(u32::MAX)
    }
}

impl Record for BlobRecord {
    const NAME: &'static str = "blob";

    fn is_sound(&self) -> bool {
        let inside = |part: &BlobPart| part.offset.checked_add(part.len).is_some_and(|end| end <= self.len);
        is_geometry(self.len, self.segment, self.unit, self.align) && self.parts.iter().all(inside)
    }
}

/// The blob's shards need to be looked at: some are away, missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairRecord {
    /// Milliseconds since the Unix epoch when it was first seen.
    pub since_ms: u64,
    /// Why.
    pub reason: RepairReason,
    /// How many columns are away or missing in the worst segment, as far as known: 1 to 5.
    pub columns: u8,
    /// Bytes of the blob, for telling how much is at risk.
    pub bytes: u64,
}

/// Why a blob is queued for repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepairReason {
    /// A site was down or slow at the write; its shard went to another.
    HandedOff,
    /// A reader found a shard missing.
    Missing,
    /// A reader or scrub found a shard damaged.
    Damaged,
    /// A site was replaced by an empty one.
    Replaced,
}

impl Record for RepairRecord {
    const NAME: &'static str = "repair";
}

/// A part that nothing references any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageRecord {
    /// Milliseconds since the Unix epoch when the last reference went.
    pub since_ms: u64,
    /// The blob it lies in.
    pub blob: BlobId,
    /// Whether somebody may have its DEK: it does not stay in a pack that is worth keeping.
    pub leaked: bool,
}

impl Record for GarbageRecord {
    const NAME: &'static str = "garbage";
    const VERSION: u8 = 2;

    fn decode_version(version: u8, body: &[u8]) -> Result<Self, RecordError> {
        grown(version, body, &[0])
    }
}

/// `d/<part id>`.
pub fn data_key(part: PartId) -> Bytes {
    join(b"d/", &[part.as_bytes()])
}

/// All parts whose bytes are kept.
pub fn all_data() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"d/"))
}

/// `k/<blob id>`.
pub fn blob_key(blob: BlobId) -> Bytes {
    join(b"k/", &[blob.as_bytes()])
}

/// All blobs.
pub fn blobs() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"k/"))
}

/// `r/<blob id>`.
pub fn repair_key(blob: BlobId) -> Bytes {
    join(b"r/", &[blob.as_bytes()])
}

/// The repair queue.
pub fn repairs() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"r/"))
}

/// `g/<part id>`.
pub fn garbage_key(part: PartId) -> Bytes {
    join(b"g/", &[part.as_bytes()])
}

/// All garbage.
pub fn garbage() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"g/"))
}

/// The blob in a key made by [`blob_key`], [`repair_key`].
pub fn blob_of(key: &[u8]) -> Option<BlobId> {
    Some(BlobId::from_bytes(key.get(2..)?.try_into().ok()?))
}

/// The part in a key made by [`garbage_key`] or [`data_key`].
pub fn part_of(key: &[u8]) -> Option<PartId> {
    Some(PartId::from_bytes(key.get(2..)?.try_into().ok()?))
}
