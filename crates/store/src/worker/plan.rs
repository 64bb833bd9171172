//! In what order blobs are mended: those nearest to loss first, of the whole queue.
//!
//! How near a blob is to loss follows from where its shards are and from which sites can be counted on now. Both change
//! without anybody writing a row, so no row says it: the queue is read from end to end, each blob is judged by what is true now,
//! and the first [`plan`](crate::worker::RepairOptions) of them are kept. Why that is cheap enough: `docs/design/0025-repair.md`.

use std::collections::{BinaryHeap, HashSet};

use base::BlobId;
use base::limits::{COLUMNS, DATA_COLUMNS};
use meta::record::{BlobRecord, RISKS, Record, RepairReason, RepairRecord, Resync, SiteRecord, key};
use meta::{Range, after};
use sites::SiteState;

use crate::blob::Shape;
use crate::worker::readable;
use crate::{Error, Store};

/// Rows read at a time; the records of packs are large.
const PAGE: usize = 200;

/// How near to loss a blob is, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Risk {
    /// Three shards are left: one more loss loses it.
    Last,
    /// Four are left.
    Thin,
    /// All five are durable, not all at home.
    Away,
    /// Fewer than three are in reach: it waits for sites.
    Beyond,
}

impl Risk {
    /// All of them, in order.
    pub(crate) const ALL: [Self; RISKS] = [Self::Last, Self::Thin, Self::Away, Self::Beyond];

    /// For operators.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Thin => "thin",
            Self::Away => "away",
            Self::Beyond => "beyond",
        }
    }

    /// With so many columns gone.
    pub(crate) fn with_lost(lost: usize) -> Self {
        const SPARE: usize = COLUMNS - DATA_COLUMNS;
        match lost {
            0 => Self::Away,
            SPARE => Self::Last,
            lost if lost < SPARE => Self::Thin,
            _ => Self::Beyond,
        }
    }
}

/// What of the sites a plan follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sites {
    pub(crate) states: [SiteState; COLUMNS],
    pub(crate) generation: u64,
    /// Walks that fill replaced sites.
    pub(crate) walks: [Option<Resync>; COLUMNS],
}

impl Sites {
    /// Whether old shards in a slot cannot be counted on.
    pub(crate) fn is_gone(&self, slot: u8) -> bool {
        let slot = usize::from(slot) % COLUMNS;
        !self.states[slot].readable() || self.walks[slot].is_some()
    }

    pub(crate) fn is_open(&self, slot: u8) -> bool {
        self.states[usize::from(slot) % COLUMNS].writable()
    }

    /// How near to loss a blob is that is in no queue: all at home.
    pub(crate) fn risk_at_home(&self) -> Risk {
        Risk::with_lost((0..COLUMNS as u8).filter(|slot| self.is_gone(*slot)).count())
    }

    /// How near to loss a queued blob is, and whether anything can be done for it now.
    pub(crate) fn judge(&self, blob: BlobId, record: &BlobRecord, repair: &RepairRecord) -> (Risk, bool) {
        let shape = Shape::of_blob(blob, record);
        let known_lost = if repair.reason == RepairReason::HandedOff { 0 } else { usize::from(repair.columns) };
        let some_at_home = record.away.len() < shape.segments() as usize;
        let home = some_at_home.then(|| shape.home(0));
        let placed = home.into_iter().chain(record.away.iter().map(|placement| placement.slots));
        let mut worst = 0;
        let mut can = repair.reason != RepairReason::HandedOff || record.away.is_empty();
        for slots in placed {
            worst = worst.max(slots.iter().filter(|slot| self.is_gone(**slot)).count());
            can |= slots.iter().any(|slot| self.is_open(*slot) && self.is_gone(*slot));
        }
        can |= record.away.iter().any(|placement| {
            let home = shape.home(placement.segment);
            (0..COLUMNS).any(|c| home[c] != placement.slots[c] && self.is_open(home[c]))
        });
        // What was found missing was found so at sites that are gone, as a rule: not counted twice.
        (Risk::with_lost(worst.max(known_lost)), can)
    }
}

/// A blob to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) risk: Risk,
    /// Within a class, the oldest first.
    pub(crate) since_ms: u64,
    pub(crate) blob: BlobId,
    pub(crate) bytes: u64,
    /// Its shards are to be read, not only looked for.
    pub(crate) damaged: bool,
}

/// Blobs that wait, and their bytes, by class.
pub(crate) type Queued = [(u64, u64); RISKS];

/// What to do first, and how much there is.
pub(crate) struct Plan {
    /// In order.
    pub(crate) items: Vec<Item>,
    /// There is more to do than is in `items`.
    pub(crate) more: bool,
    /// All of the queue, also what waits for sites.
    pub(crate) queued: Queued,
    pub(crate) sites: Sites,
}

/// The smallest of many, in bounded memory.
struct Smallest {
    heap: BinaryHeap<Item>,
    max: usize,
    more: bool,
}

impl Smallest {
    fn add(&mut self, item: Item) {
        self.heap.push(item);
        if self.heap.len() > self.max {
            self.heap.pop();
            self.more = true;
        }
    }
}

impl Store {
    /// The sites as they are.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn look_at_sites(&self) -> Result<Sites, Error> {
        let keys: Vec<_> = (0..COLUMNS as u8).map(key::site_key).collect();
        let (states, generation) = self.states();
        let mut walks = [const { None }; COLUMNS];
        for (walk, row) in walks.iter_mut().zip(self.0.meta.get(&keys).await?) {
            *walk = row.map(|row| SiteRecord::decode(&row.value)).transpose()?.and_then(|record| record.resync);
        }
        Ok(Sites { states, generation, walks })
    }

    /// What a plan is outdated by.
    pub(crate) fn states(&self) -> ([SiteState; COLUMNS], u64) {
        (std::array::from_fn(|slot| self.0.pool.state(slot as u8)), self.0.pool.generation())
    }

    /// Reads the whole queue. Blobs in `stuck` were tried in this pass, and those up to `floor`, too.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn plan(&self, stuck: &HashSet<BlobId>, floor: Option<Item>) -> Result<Plan, Error> {
        let sites = self.look_at_sites().await?;
        let mut queued = Queued::default();
        let mut first = Smallest { heap: BinaryHeap::new(), max: self.0.options.repair.plan.max(1), more: false };
        let (mut from, to) = key::repairs();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: PAGE }).await?;
            let rows: Vec<(BlobId, RepairRecord)> = page
                .rows
                .iter()
                .filter_map(|(row_key, row)| {
                    // The key alone names the blob: of a row that cannot be read the worst is assumed.
                    let repair = readable::<RepairRecord>(row_key, &row.value)
                        .unwrap_or_else(|| self.repair_record(RepairReason::Damaged, 2, 0));
                    Some((key::blob_of(row_key)?, repair))
                })
                .collect();
            let keys: Vec<_> = rows.iter().map(|(blob, _)| key::blob_key(*blob)).collect();
            for ((blob, repair), row) in rows.into_iter().zip(self.0.meta.get(&keys).await?) {
                let record = row.and_then(|row| readable::<BlobRecord>(&key::blob_key(blob), &row.value));
                // Without one there is only the queue's row to remove; and what cannot be read is told when it is mended.
                let (risk, can) = record.map_or((Risk::Away, true), |record| sites.judge(blob, &record, &repair));
                let class = &mut queued[risk as usize];
                *class = (class.0 + 1, class.1 + repair.bytes);
                let damaged = repair.reason == RepairReason::Damaged;
                let item = Item { risk, since_ms: repair.since_ms, blob, bytes: repair.bytes, damaged };
                if can && !stuck.contains(&blob) && floor.is_none_or(|floor| item > floor) {
                    first.add(item);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => break,
            }
        }
        Ok(Plan { items: first.heap.into_sorted_vec(), more: first.more, queued, sites })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::record::SegmentPlacement;

    fn sites(gone: &[u8], closed: &[u8], walks: &[u8]) -> Sites {
        let states = std::array::from_fn(|slot| match slot as u8 {
            slot if gone.contains(&slot) => SiteState::Down,
            slot if closed.contains(&slot) => SiteState::Full,
            _ => SiteState::Up,
        });
        let walk = |slot: usize| walks.contains(&(slot as u8)).then(|| Resync::after(Vec::new(), 1));
        Sites { states, generation: 0, walks: std::array::from_fn(walk) }
    }

    #[test]
    fn how_near_to_loss() {
        use RepairReason::{Damaged, HandedOff, Missing};
        let home = [0, 1, 2, 3, 4];
        // (where the shards are, reason, columns, sites gone, full, replaced) -> (risk, whether anything can be done)
        type Case<'a> = ([u8; 5], RepairReason, u8, &'a [u8], &'a [u8], &'a [u8], (Risk, bool));
        let table: [Case<'_>; 14] = [
            ([1, 1, 2, 3, 4], HandedOff, 1, &[0], &[], &[], (Risk::Away, false)),
            ([1, 1, 2, 3, 4], HandedOff, 1, &[], &[], &[], (Risk::Away, true)),
            ([1, 1, 2, 3, 4], HandedOff, 1, &[], &[0], &[], (Risk::Away, false)),
            // The site that has two of them goes as well; the risk is that of now.
            ([1, 1, 2, 3, 4], HandedOff, 1, &[1], &[], &[], (Risk::Last, true)),
            ([1, 1, 2, 3, 4], HandedOff, 1, &[0, 1], &[], &[], (Risk::Last, false)),
            ([1, 1, 2, 3, 4], HandedOff, 1, &[2], &[], &[], (Risk::Thin, true)),
            ([1, 1, 2, 3, 4], HandedOff, 1, &[0, 2], &[], &[], (Risk::Thin, false)),
            ([1, 1, 2, 3, 4], HandedOff, 1, &[0, 1, 2], &[], &[], (Risk::Beyond, false)),
            // Replaced by an empty one, which can be filled.
            ([1, 1, 2, 3, 4], HandedOff, 1, &[0], &[], &[2], (Risk::Thin, true)),
            (home, Missing, 1, &[], &[], &[], (Risk::Thin, true)),
            (home, Missing, 1, &[3], &[], &[], (Risk::Thin, true)),
            (home, Damaged, 2, &[], &[], &[], (Risk::Last, true)),
            (home, Damaged, 1, &[3, 4], &[], &[], (Risk::Last, true)),
            (home, HandedOff, 1, &[], &[], &[], (Risk::Away, true)),
        ];
        for (slots, reason, columns, gone, closed, walks, expected) in table {
            let blob = BlobId::from_bytes([0; 16]);
            let away = if slots == home { vec![] } else { vec![SegmentPlacement { segment: 0, slots }] };
            let record = BlobRecord { created_ms: 0, len: 100, segment: 100, unit: 64, align: 16, parts: vec![], away };
            let repair = RepairRecord { since_ms: 0, reason, columns, bytes: 100 };
            let got = sites(gone, closed, walks).judge(blob, &record, &repair);
            assert_eq!(got, expected, "{slots:?} {reason:?} {columns} {gone:?} {closed:?} {walks:?}");
        }
        for (gone, walks, expected) in [
            (&[][..], &[][..], Risk::Away),
            (&[0], &[], Risk::Thin),
            (&[0], &[1], Risk::Last),
            (&[], &[1, 2], Risk::Last),
            (&[0, 3], &[1], Risk::Beyond),
        ] {
            assert_eq!(sites(gone, &[], walks).risk_at_home(), expected, "{gone:?} {walks:?}");
        }
    }

    #[test]
    fn the_first_of_many() {
        let mut smallest = Smallest { heap: BinaryHeap::new(), max: 10, more: false };
        for i in 0..1000_u64 {
            let scattered = i * 7919 % 1000;
            let risk = Risk::ALL[(scattered % 3) as usize];
            let blob = BlobId::from_bytes([i as u8; 16]);
            smallest.add(Item { risk, since_ms: scattered, blob, bytes: 1, damaged: false });
        }
        let kept = smallest.heap.into_sorted_vec();
        assert!(smallest.more);
        let since: Vec<u64> = kept.iter().map(|item| item.since_ms).collect();
        assert_eq!(since, (0..10).map(|i| i * 3).collect::<Vec<_>>(), "the worst class, the oldest of it");
    }
}
