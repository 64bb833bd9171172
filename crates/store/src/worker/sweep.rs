//! The sweep: finds what a crash left behind. Shards that no record names, parts in packs that
//! no row points to.

use std::collections::HashSet;

use base::BlobId;
use base::limits::COLUMNS;
use meta::record::{BlobRecord, Record, key};
use meta::{Range, after};

use crate::blob::{Shape, parse_shard_name};
use crate::pin::Held;
use crate::{Error, Store};

/// A stray shard is left alone until it is this old by its site's clock. What this process
/// writes is held and never taken; the age is for clocks and for other gateways.
pub(crate) const ORPHAN_AGE_MS: u64 = 3600 * 1000;
/// Names listed at a time.
const PAGE: usize = 1000;
/// Listings until what was found so far is removed.
const PAGES: usize = 100;
/// Beats that others are waited for. A dead one is out long before.
const LOOKS_MAX: usize = 40;

/// A shard that no record names: its blob, segment, column and name.
type Stray = (BlobId, u32, usize, String);

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Shards looked at.
    pub shards: u64,
    /// Stray shards removed.
    pub removed: u64,
    /// Parts marked as garbage.
    pub parts: u64,
}

impl Store {
    /// Removes stray shards older than `age_ms` and marks lost parts.
    ///
    /// # Errors
    /// A metadata error. A site that does not answer is passed over.
    pub async fn sweep(&self, age_ms: u64) -> Result<Swept, Error> {
        self.0.workers.report("sweep", |report| report.state = "running".to_owned());
        let mut done = Swept::default();
        for slot in 0..COLUMNS as u8 {
            self.sweep_site(slot, age_ms, &mut done).await?;
        }
        self.sweep_blobs(age_ms, &mut done).await?;
        self.0.workers.report("sweep", |report| {
            report.state = "idle".to_owned();
            report.done += done.removed + done.parts;
            report.last_error = None;
        });
        Ok(done)
    }

    async fn sweep_site(&self, slot: u8, age_ms: u64, done: &mut Swept) -> Result<(), Error> {
        let mut after_name: Option<String> = None;
        while let Some((strays, last)) = self.strays_after(slot, age_ms, after_name.as_deref(), done).await? {
            after_name = Some(last);
            if strays.is_empty() {
                continue;
            }
            // Of what another gateway writes just now the record is still to come, however old it looks by the clocks.
            let Some(held) = self.held_by_others().await? else { return Ok(()) };
            for (blob, segment, column, name) in strays {
                if !held.contains(&Held::Blob(blob))
                    && self.still_stray(blob, segment, column, slot).await?
                    && self.0.pool.site(slot).delete(&name).await.is_ok()
                {
                    done.removed += 1;
                }
            }
        }
        Ok(())
    }

    /// Some of the site's shards that no record names, in the order of their names, and the last name that was looked at;
    /// `None` at the end, or when the site does not answer.
    async fn strays_after(
        &self,
        slot: u8,
        age_ms: u64,
        after_name: Option<&str>,
        done: &mut Swept,
    ) -> Result<Option<(Vec<Stray>, String)>, Error> {
        let site = self.0.pool.site(slot);
        let mut strays = Vec::new();
        let before = after_name.map(str::to_owned);
        let mut after_name = before.clone();
        // Shards of a blob sort together: one look-up serves them.
        let mut last: Option<(BlobId, Option<BlobRecord>)> = None;
        for _ in 0..PAGES {
            if !self.0.pool.state(slot).readable() {
                break;
            }
            let Ok(entries) = site.list("shards/", after_name.as_deref(), PAGE).await else { break };
            let Some(end) = entries.last() else { break };
            let end = end.name.clone();
            for entry in entries {
                done.shards += 1;
                let Some((blob, segment, column)) = parse_shard_name(&entry.name) else { continue };
                if entry.modified_ms.saturating_add(age_ms) > self.now_ms() {
                    continue;
                }
                // Held first, record second: a blob being written is held until its record is
                // there, so what is neither held nor recorded never will be.
                if self.0.pins.is_held(Held::Blob(blob)) {
                    continue;
                }
                if last.as_ref().is_none_or(|(known, _)| *known != blob) {
                    let record = self.record::<BlobRecord>(key::blob_key(blob)).await?;
                    last = Some((blob, record.map(|(record, _)| record)));
                }
                let stray = match last.as_ref().and_then(|(_, record)| record.as_ref()) {
                    None => true,
                    Some(record) => {
                        let shape = Shape::of_blob(blob, record);
                        segment >= shape.segments() || shape.slots(segment, &record.away)[column] != slot
                    }
                };
                if stray {
                    strays.push((blob, segment, column, entry.name));
                }
            }
            after_name = Some(end);
        }
        Ok(after_name.map(|last| (strays, last)).filter(|(_, last)| Some(last.as_str()) != before.as_deref()))
    }

    /// What the other gateways hold of what there is at this moment, once that is known; `None` if one of them keeps it waiting for too long.
    async fn held_by_others(&self) -> Result<Option<HashSet<Held>>, Error> {
        let witness = self.witness().await?;
        for _ in 0..LOOKS_MAX {
            if let Some(held) = self.others_hold(&witness).await? {
                return Ok(Some(held));
            }
            self.0.gateways.beaten.notified().await;
        }
        Ok(None)
    }

    /// Looks again right before removal, with a fresh record and the blob not held.
    async fn still_stray(&self, blob: BlobId, segment: u32, column: usize, slot: u8) -> Result<bool, Error> {
        if self.0.pins.is_held(Held::Blob(blob)) {
            return Ok(false);
        }
        let found = self.record::<BlobRecord>(key::blob_key(blob)).await?;
        Ok(found.is_none_or(|(record, _)| {
            let shape = Shape::of_blob(blob, &record);
            segment >= shape.segments() || shape.slots(segment, &record.away)[column] != slot
        }))
    }

    async fn sweep_blobs(&self, age_ms: u64, done: &mut Swept) -> Result<(), Error> {
        let (mut from, to) = key::blobs();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 200 }).await?;
            let mut lost = Vec::new();
            for (row_key, row) in &page.rows {
                let Some(blob) = key::blob_of(row_key) else { continue };
                let record = BlobRecord::decode(&row.value)?;
                if record.created_ms.saturating_add(age_ms) > self.now_ms() || self.0.pins.is_held(Held::Blob(blob)) {
                    continue;
                }
                for part in &record.parts {
                    if !self.part_lives_in(part.id, blob).await? {
                        lost.push((part.id, blob));
                    }
                }
            }
            if !lost.is_empty() {
                // Their writer may still be about to commit them.
                let Some(held) = self.held_by_others().await? else { return Ok(()) };
                lost.retain(|(_, blob)| !held.contains(&Held::Blob(*blob)) && !self.0.pins.is_held(Held::Blob(*blob)));
                for (part, blob) in lost {
                    self.mark_garbage(part, blob).await?;
                    done.parts += 1;
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(()),
            }
        }
    }
}
