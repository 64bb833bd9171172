//! Mending one blob: every shard whole and at home, as far as live sites allow.

use base::BlobId;
use base::limits::{COLUMNS, DATA_COLUMNS};
use bytes::{Bytes, BytesMut};
use erasure::Geometry;
use meta::record::{BlobRecord, GarbageRecord, Record, RepairReason, RepairRecord, SegmentPlacement, key};
use meta::{Batch, Version, Write};
use sites::SiteError;

use crate::blob::{Shape, shard_name};
use crate::commit::is;
use crate::pin::Held;
use crate::worker::pace::Moving;
use crate::{Error, Store};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Shards are where they should be and have the right size.
    Sizes,
    /// Every byte agrees with its checksum, and the columns with each other.
    Bytes,
}

/// What mending a blob found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Shards looked at.
    pub shards: u64,
    /// Bytes read to verify.
    pub bytes: u64,
    /// Shards missing at a live site.
    pub missing: u64,
    /// Shards with wrong bytes.
    pub damaged: u64,
    /// Shards rebuilt or moved home.
    pub mended: u64,
    /// Shards that could not be rebuilt: fewer than three good ones are in reach.
    pub hopeless: u64,
    /// Shards that wait for a site.
    pub waiting: u64,
    /// Sites of which it is not sure that what they should have of the blob is there and whole, as bits.
    pub unsure: u8,
    /// Every shard was found good, or made good, at home; or nobody misses it.
    pub whole: bool,
}

/// What is known of one shard.
enum Shard {
    /// There, as far as was looked.
    Good,
    /// Its site does not answer.
    Unreachable,
    /// Not at its site.
    Missing,
    /// There with wrong bytes.
    Damaged,
}

impl Store {
    /// Brings a blob's shards home and replaces bad ones. The blob's repair record goes when
    /// nothing is left to do. `paced`: no faster than repair may, and only for as long as this gateway leads.
    pub(crate) async fn mend(&self, blob: BlobId, look: Look, paced: bool) -> Result<Mended, Error> {
        let _pin = self.0.pins.hold(Held::Blob(blob));
        let fence = self.fence();
        let blob_key = key::blob_key(blob);
        let mut done = Mended::default();
        let repair_key = key::repair_key(blob);
        let queued = self.row(repair_key.clone()).await?;
        let reason = queued.as_ref().and_then(|row| RepairRecord::decode(&row.value).ok()).map(|row| row.reason);
        // Damage has the right size: a look at sizes alone would take it off the queue unseen.
        let look = if reason == Some(RepairReason::Damaged) { Look::Bytes } else { look };
        let Some((mut record, version)) = self.record::<BlobRecord>(blob_key.clone()).await? else {
            self.0.meta.commit(Batch { checks: vec![], writes: vec![Write::Delete(key::repair_key(blob))] }).await?;
            done.whole = true;
            return Ok(done);
        };
        let shape = Shape::of_blob(blob, &record);
        let mut away = Vec::new();
        let mut stale = Vec::new();
        let mut is_wanted = false;
        for segment in 0..shape.segments() {
            let slots = shape.slots(segment, &record.away);
            let mender = Mender { store: self, shape, segment, geometry: shape.geometry(segment), slots, paced };
            let seen = mender.look(look, &mut done).await?;
            if done.missing > 0 && !is_wanted {
                // The pin keeps collections from beginning: one that had begun is seen now, and one look is enough. What is not due yet
                // is mended: somebody may read it, and by a clock that was ahead it is not due for long.
                if self.is_collected(blob, &record, |garbage| self.is_due(garbage.since_ms)).await? {
                    return Err(Error::Contended);
                }
                is_wanted = true;
            }
            let placed = mender.make_whole(seen, &mut done).await?;
            for column in 0..COLUMNS {
                if placed[column] != slots[column] {
                    stale.push((slots[column], shard_name(blob, segment, column)));
                }
            }
            if placed != shape.home(segment) {
                away.push(SegmentPlacement { segment, slots: placed });
            }
        }
        if done.hopeless > 0 {
            // What was there at the look may have gone since: the pin of another gateway is told to the collector only some beats later.
            let is_as_read = |row: meta::Row| row.version == version;
            if !self.row(blob_key.clone()).await?.is_some_and(is_as_read) {
                return Err(Error::Contended);
            }
            if self.is_collected(blob, &record, |_| true).await? {
                // What only waits for a site may still be made whole for who reads it.
                if done.waiting > 0 {
                    return Err(Error::Contended);
                }
                self.take_off_queue((blob, version), queued).await?;
                let (shards, bytes, mended) = (done.shards, done.bytes, done.mended);
                return Ok(Mended { shards, bytes, mended, whole: true, ..Mended::default() });
            }
            tracing::error!(%blob, shards = done.hopeless, "shards cannot be rebuilt from what is in reach");
        }
        let whole = away.is_empty() && done.waiting == 0 && done.hopeless == 0;
        done.whole = whole;
        let mut batch = Batch { checks: vec![is(blob_key.clone(), version)], writes: vec![] };
        if away != record.away {
            record.away = away;
            // Who was stopped meanwhile does not know what the others did with the shards.
            batch.checks.extend(fence);
            batch.writes.push(Write::Put(blob_key, record.encode()));
        }
        match (whole, queued) {
            (true, Some(row)) => {
                // Queued again meanwhile, it stays.
                batch.checks.push(is(repair_key.clone(), row.version));
                batch.writes.push(Write::Delete(repair_key));
            }
            (false, Some(row)) if done.missing + done.damaged > done.mended => {
                // What is known of the worst is told to those who ask for the status.
                if let Ok(mut known) = RepairRecord::decode(&row.value) {
                    let lost = u8::try_from(done.hopeless.max(1)).unwrap_or(u8::MAX).min(COLUMNS as u8);
                    if lost > known.columns {
                        known.columns = lost;
                        batch.checks.push(is(repair_key.clone(), row.version));
                        batch.writes.push(Write::Put(repair_key, known.encode()));
                    }
                }
            }
            _ => {}
        }
        if !batch.writes.is_empty() {
            match self.0.meta.commit(batch).await {
                Ok(()) => {}
                // Collected or compacted meanwhile: what was written again is found by the sweep.
                Err(meta::CommitError::Failed { .. }) => return Err(Error::Contended),
                Err(error) => return Err(error.into()),
            }
        }
        // Only now that the record no longer names them; and not much later, when another one may have put them there again.
        for (slot, name) in stale {
            if self.0.portions.lease_mark().is_none() {
                break;
            }
            let _ = self.0.pool.delete(slot, &name).await;
        }
        Ok(done)
    }

    /// Takes a blob off the queue that nobody misses, and that nobody can mend: its collection began by a clock that was ahead, and goes on once it is
    /// due by the others' too, which may be an hour later.
    async fn take_off_queue(&self, (blob, version): (BlobId, Version), queued: Option<meta::Row>) -> Result<(), Error> {
        let Some(queued) = queued else { return Ok(()) };
        let repair_key = key::repair_key(blob);
        let checks = vec![is(key::blob_key(blob), version), is(repair_key.clone(), queued.version)];
        let batch = Batch { checks, writes: vec![Write::Delete(repair_key)] };
        match self.0.meta.commit(batch).await {
            // Queued again meanwhile, or changed, it stays.
            Ok(()) | Err(meta::CommitError::Failed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether all parts of a blob are garbage that may be collected, or it is gone: what is missing of it is missed by nobody. One to which
    /// nothing refers yet, since it is being committed, is not.
    pub(super) async fn is_collected(
        &self,
        blob: BlobId,
        record: &BlobRecord,
        may_be: impl Fn(&GarbageRecord) -> bool,
    ) -> Result<bool, Error> {
        for part in &record.parts {
            if self.part_lives_in(part.id, blob).await? {
                return Ok(false);
            }
            match self.record::<GarbageRecord>(key::garbage_key(part.id)).await? {
                Some((garbage, _)) if may_be(&garbage) => {}
                Some(_) => return Ok(false),
                None => return Ok(self.row(key::blob_key(blob)).await?.is_none()),
            }
        }
        Ok(true)
    }

    /// A segment's data bytes from shards whose checksums hold and which agree with each other.
    ///
    /// # Errors
    /// [`Error::Unreadable`] with fewer than four good columns: one alone could then be forged
    /// without anything to show it, and what is written anew would carry the forgery on.
    pub(crate) async fn verified_data(&self, blob: BlobId, record: &BlobRecord, segment: u32) -> Result<Bytes, Error> {
        let shape = Shape::of_blob(blob, record);
        let geometry = shape.geometry(segment);
        let slots = shape.slots(segment, &record.away);
        let mender = Mender { store: self, shape, segment, geometry, slots, paced: false };
        let mut shards: [Option<Bytes>; COLUMNS] = Default::default();
        for (column, shard) in shards.iter_mut().enumerate() {
            *shard = mender.read_verified(column).await.ok();
        }
        if shards.iter().flatten().count() <= DATA_COLUMNS {
            return Err(Error::Unreadable("too few columns are in reach to check them against each other".to_owned()));
        }
        leave_out_liar(&mut shards, &geometry)?;
        let mut data = BytesMut::with_capacity(geometry.len as usize);
        for stripe in 0..geometry.stripes() {
            let units = units(&shards, &geometry, stripe);
            let missing: Vec<usize> = (0..DATA_COLUMNS).filter(|column| units[*column].is_none()).collect();
            let rebuilt = erasure::reconstruct(&units, &missing).map_err(|e| Error::Unreadable(e.to_string()))?;
            let mut rebuilt = rebuilt.iter();
            for unit in &units[..DATA_COLUMNS] {
                match unit {
                    Some(unit) => data.extend_from_slice(unit),
                    None => data.extend_from_slice(rebuilt.next().map_or(&[], Vec::as_slice)),
                }
            }
        }
        data.truncate(geometry.len as usize);
        Ok(data.freeze())
    }
}

/// The units of one stripe in the shards at hand.
fn units<'a>(shards: &'a [Option<Bytes>; COLUMNS], geometry: &Geometry, stripe: u64) -> [Option<&'a [u8]>; COLUMNS] {
    let range = erasure::unit_range(geometry, stripe);
    shards.each_ref().map(|shard| shard.as_ref().and_then(|shard| shard.get(range.clone())))
}

/// What a look at a segment's shards found; the bytes of those that were read and are good.
struct Seen {
    shards: [Option<Bytes>; COLUMNS],
    known: [Shard; COLUMNS],
}

/// Mends one segment.
struct Mender<'a> {
    store: &'a Store,
    shape: Shape,
    segment: u32,
    geometry: Geometry,
    slots: [u8; COLUMNS],
    /// No faster than repair may.
    paced: bool,
}

impl Mender<'_> {
    async fn look(&self, look: Look, done: &mut Mended) -> Result<Seen, Error> {
        let mut shards: [Option<Bytes>; COLUMNS] = Default::default();
        let mut known: [Shard; COLUMNS] = std::array::from_fn(|_| Shard::Unreachable);
        for column in 0..COLUMNS {
            known[column] = self.look_at(column, look, &mut shards[column], done).await?;
        }
        if look == Look::Bytes
            && let Some(liar) = find_liar(&shards, &self.geometry)
        {
            // Its checksums hold and its bytes do not fit: forged, or damaged before they were
            // summed.
            shards[liar] = None;
            known[liar] = self.damaged(liar, done);
        }
        Ok(Seen { shards, known })
    }

    /// Returns where the columns are afterwards.
    async fn make_whole(&self, seen: Seen, done: &mut Mended) -> Result<[u8; COLUMNS], Error> {
        let Seen { mut shards, known } = seen;
        let pool = &self.store.0.pool;
        let home = self.shape.home(self.segment);
        let mut placed = self.slots;
        let mut sure = [false; COLUMNS];
        for column in 0..COLUMNS {
            let at = self.slots[column];
            sure[column] = matches!(known[column], Shard::Good);
            let home_open = pool.state(home[column]).writable();
            let bad = match known[column] {
                Shard::Good if at == home[column] => continue,
                Shard::Good if !home_open => {
                    done.waiting += 1;
                    continue;
                }
                Shard::Good => false,
                // Away on a dead site while home lives again: rebuild it at home.
                Shard::Unreachable if at != home[column] && home_open => false,
                Shard::Unreachable => {
                    done.waiting += 1;
                    continue;
                }
                Shard::Missing | Shard::Damaged => true,
            };
            let Some(target) = self.target(column, home_open, bad, &placed) else {
                done.waiting += 1;
                continue;
            };
            match self.shard(column, &mut shards).await {
                Ok(bytes) => {
                    let _turn = self.turn(bytes.len() as u64).await?;
                    match pool.put(target, &self.name(column), &[bytes]).await {
                        Ok(()) => {
                            placed[column] = target;
                            sure[column] = true;
                            done.mended += 1;
                        }
                        Err(_) => done.waiting += 1,
                    }
                }
                Err(lost @ Error::Contended) => return Err(lost),
                Err(_) if bad => done.hopeless += 1,
                Err(_) => done.waiting += 1,
            }
        }
        for column in (0..COLUMNS).filter(|column| !sure[*column]) {
            done.unsure |= 1 << (placed[column] % 8);
        }
        Ok(placed)
    }

    /// Waits until so many bytes may be moved.
    async fn turn(&self, bytes: u64) -> Result<Option<Moving<'_>>, Error> {
        if self.paced { self.store.repair_turn(bytes).await.map(Some) } else { Ok(None) }
    }

    fn damaged(&self, column: usize, done: &mut Mended) -> Shard {
        done.damaged += 1;
        self.store.0.pool.note_damage(self.slots[column]);
        Shard::Damaged
    }

    fn name(&self, column: usize) -> String {
        shard_name(self.shape.blob, self.segment, column)
    }

    /// Home when it takes writes; else, for a shard that is bad where it is, another site.
    fn target(&self, column: usize, home_open: bool, bad: bool, placed: &[u8; COLUMNS]) -> Option<u8> {
        let pool = &self.store.0.pool;
        if home_open {
            return Some(self.shape.home(self.segment)[column]);
        }
        let load = |slot: u8| (0..COLUMNS).filter(|c| *c != column && placed[*c] == slot).count();
        let open = (0..COLUMNS as u8).filter(|slot| pool.state(*slot).writable() && load(*slot) < 2);
        if bad { open.min_by_key(|slot| load(*slot)) } else { None }
    }

    /// What a site does not answer is no error; only that there is no turn is one.
    async fn look_at(
        &self,
        column: usize,
        look: Look,
        keep: &mut Option<Bytes>,
        done: &mut Mended,
    ) -> Result<Shard, Error> {
        let pool = &self.store.0.pool;
        let (slot, name) = (self.slots[column], self.name(column));
        done.shards += 1;
        let turn = self.turn(0).await?;
        let size = pool.size(slot, &name).await;
        drop(turn);
        let size = match size {
            Ok(size) => size,
            Err(SiteError::NotFound { .. }) => {
                done.missing += 1;
                return Ok(Shard::Missing);
            }
            Err(_) => return Ok(Shard::Unreachable),
        };
        if size != erasure::shard_len(&self.geometry) {
            return Ok(self.damaged(column, done));
        }
        if look == Look::Sizes {
            return Ok(Shard::Good);
        }
        done.bytes += size;
        match self.read_verified(column).await {
            Ok(bytes) => {
                *keep = Some(bytes);
                Ok(Shard::Good)
            }
            Err(Error::Corrupt(_)) => Ok(self.damaged(column, done)),
            Err(lost @ Error::Contended) => Err(lost),
            Err(_) => Ok(Shard::Unreachable),
        }
    }

    /// A whole shard, its checksums verified.
    async fn read_verified(&self, column: usize) -> Result<Bytes, Error> {
        let len = erasure::shard_len(&self.geometry);
        let _turn = self.turn(len).await?;
        let bytes = self.store.0.pool.get(self.slots[column], &self.name(column), 0..len).await?;
        let header = erasure::check(&bytes).map_err(|error| Error::Corrupt(error.to_string()))?;
        let expected = (self.shape.blob, self.segment, column);
        if (header.blob, header.segment, usize::from(header.column)) != expected || header.geometry != self.geometry {
            return Err(Error::Corrupt("the shard belongs elsewhere".to_owned()));
        }
        Ok(bytes)
    }

    /// A whole good shard: read if it is there, else rebuilt from verified others. A fourth is
    /// read where it is in reach, because three alone cannot show that one of them lies.
    async fn shard(&self, column: usize, shards: &mut [Option<Bytes>; COLUMNS]) -> Result<Bytes, Error> {
        if let Some(bytes) = &shards[column] {
            return Ok(bytes.clone());
        }
        if let Ok(bytes) = self.read_verified(column).await
            && find_liar_among(shards, column, &bytes, &self.geometry).is_none()
        {
            return Ok(bytes);
        }
        for other in (0..COLUMNS).filter(|other| *other != column) {
            if shards[other].is_none() {
                shards[other] = match self.read_verified(other).await {
                    Err(lost @ Error::Contended) => return Err(lost),
                    read => read.ok(),
                };
            }
        }
        let mut sources = shards.clone();
        sources[column] = None;
        leave_out_liar(&mut sources, &self.geometry)?;
        let mut builder = erasure::ShardBuilder::new(&erasure::ShardHeader {
            blob: self.shape.blob,
            segment: self.segment,
            column: column as u8,
            geometry: self.geometry,
        });
        for stripe in 0..self.geometry.stripes() {
            let units = units(&sources, &self.geometry, stripe);
            let rebuilt = erasure::reconstruct(&units, &[column]).map_err(|e| Error::Unreadable(e.to_string()))?;
            builder.push(rebuilt.first().map_or(&[], Vec::as_slice));
        }
        Ok(builder.finish().into())
    }
}

/// Whether the columns at hand, `left_out` excepted, belong to one codeword. Three always do.
fn agree(shards: &[Option<Bytes>; COLUMNS], geometry: &Geometry, left_out: Option<usize>) -> bool {
    let members: Vec<usize> = (0..COLUMNS).filter(|c| Some(*c) != left_out && shards[*c].is_some()).collect();
    let Some((base, rest)) = members.split_at_checked(DATA_COLUMNS) else { return false };
    (0..geometry.stripes()).all(|stripe| {
        let all = units(shards, geometry, stripe);
        let sources = std::array::from_fn(|column| if base.contains(&column) { all[column] } else { None });
        erasure::reconstruct(&sources, rest)
            .is_ok_and(|rebuilt| rest.iter().zip(rebuilt).all(|(column, unit)| all[*column] == Some(unit.as_slice())))
    })
}

/// With five columns at hand whose checksums hold but which do not fit together: the one whose
/// leaving makes the other four fit. `None` when all fit, or when no single one is to blame.
fn find_liar(shards: &[Option<Bytes>; COLUMNS], geometry: &Geometry) -> Option<usize> {
    if shards.iter().any(Option::is_none) || agree(shards, geometry, None) {
        return None;
    }
    (0..COLUMNS).find(|column| agree(shards, geometry, Some(*column)))
}

/// Leaves out a column that does not fit the others.
///
/// # Errors
/// [`Error::Unreadable`] when the columns at hand do not tell which one that is.
fn leave_out_liar(shards: &mut [Option<Bytes>; COLUMNS], geometry: &Geometry) -> Result<(), Error> {
    if shards.iter().flatten().count() <= DATA_COLUMNS || agree(shards, geometry, None) {
        return Ok(());
    }
    let liar = find_liar(shards, geometry).ok_or_else(|| {
        Error::Unreadable(
            "the columns in reach contradict each other, and too few are there to tell which one lies".to_owned(),
        )
    })?;
    shards[liar] = None;
    Ok(())
}

/// Whether `bytes` as `column` makes the five disagree; only asked when all five are at hand.
fn find_liar_among(
    shards: &[Option<Bytes>; COLUMNS],
    column: usize,
    bytes: &Bytes,
    geometry: &Geometry,
) -> Option<usize> {
    let mut all = shards.clone();
    all[column] = Some(bytes.clone());
    find_liar(&all, geometry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{pack_shape, pack_shards};

    fn shards(fill: u8) -> ([Option<Bytes>; COLUMNS], Geometry) {
        let body = Bytes::from((0..5000).map(|i| (i % 251) as u8 ^ fill).collect::<Vec<_>>());
        let shape = pack_shape(BlobId::from_bytes([7; 16]), body.len() as u64);
        let shards = pack_shards(&crate::buffers::Buffers::new(0), &shape, [&body].into_iter()).unwrap();
        (shards.map(|pieces| Some(pieces.concat().into())), shape.geometry(0))
    }

    #[test]
    fn a_forged_column_is_left_out_or_told() {
        let (honest, geometry) = shards(0);
        let (other, _) = shards(0x5a);
        for liar in 0..COLUMNS {
            // Another body's column: its checksums hold.
            let mut five = honest.clone();
            five[liar] = other[liar].clone();
            leave_out_liar(&mut five, &geometry).unwrap();
            assert!(five[liar].is_none() && five.iter().flatten().count() == 4);
            for gone in (0..COLUMNS).filter(|column| *column != liar) {
                let mut four = honest.clone();
                four[liar] = other[liar].clone();
                four[gone] = None;
                assert!(matches!(leave_out_liar(&mut four, &geometry), Err(Error::Unreadable(_))), "{liar} {gone}");
            }
            let mut four = honest.clone();
            four[liar] = None;
            leave_out_liar(&mut four, &geometry).unwrap();
            assert_eq!(four.iter().flatten().count(), 4);
        }
        let mut two_liars = honest.clone();
        two_liars[0] = other[0].clone();
        two_liars[3] = other[3].clone();
        assert!(leave_out_liar(&mut two_liars, &geometry).is_err());
    }
}
