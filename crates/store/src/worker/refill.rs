//! The walk over all blobs that fills replaced sites.
//!
//! Sites that are filled at the same time are filled by one walk: the later one joins where the earlier one is, so that blobs
//! that lack a shard at both come first. It is no list, because at a site's replacement that would be a row for every blob.

use base::BlobId;
use base::limits::COLUMNS;
use futures::StreamExt;
use meta::record::{Record, RepairReason, Resync, SiteRecord, key};
use meta::{Batch, Range, Write, after};

use super::plan::Sites;
use crate::commit::is;
use crate::worker::mend::Look;
use crate::{Error, Store};

/// Blobs walked over until it is looked whether something is nearer to loss, and until the place is saved.
const PAGE: usize = 32;

/// What a page of a walk came to.
struct Walked<'a> {
    /// The last blob's key; `None`: there was none left.
    last: Option<&'a [u8]>,
    blobs: u64,
    /// After it there is no other in the page's interval.
    is_end: bool,
    /// The interval ended with the last blob of all.
    is_last_leg_open: bool,
    /// Where the interval ended otherwise.
    begin: &'a [u8],
}

/// A walk after a page that began where it was; `None`: it is done.
fn advance(walk: &Resync, page: &Walked<'_>) -> Option<Resync> {
    let mut next = walk.clone();
    next.done += page.blobs;
    let reached_end = page.is_end && page.is_last_leg_open;
    if walk.is_on_first_leg() {
        if reached_end {
            next.cursor = Vec::new();
            return (!walk.begin.is_empty()).then_some(next);
        }
    } else {
        let all_of_other = page.is_end && page.begin >= walk.begin.as_slice();
        if reached_end || all_of_other || page.last.is_some_and(|last| last >= walk.begin.as_slice()) {
            return None;
        }
    }
    if let Some(last) = page.last {
        next.cursor = last.to_vec();
    }
    Some(next)
}

/// The walk to go on with: the one before which blobs lie that most sites lack.
fn choose(sites: &Sites) -> Option<(u8, &Resync)> {
    let lack = |walk: &Resync| {
        let next = after(&walk.cursor);
        sites.walks.iter().flatten().filter(|other| !other.has_done(&next)).count()
    };
    let open = (0..COLUMNS as u8).filter(|slot| sites.is_open(*slot));
    let walks = open.filter_map(|slot| Some((slot, sites.walks[usize::from(slot)].as_ref()?)));
    walks.min_by_key(|(slot, walk)| (std::cmp::Reverse(lack(walk)), *slot))
}

impl Store {
    /// Whether a walk can go on.
    pub(super) fn can_walk(&self, sites: &Sites) -> bool {
        choose(sites).is_some()
    }

    /// Where a walk is to begin that fills a site now.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn place_to_join(&self, slot: u8) -> Result<Vec<u8>, Error> {
        let sites = self.look_at_sites().await?;
        let others = (0..).zip(&sites.walks).filter(|(other, _)| *other != slot);
        Ok(others.filter_map(|(_, walk)| walk.as_ref()).map(|walk| walk.cursor.clone()).max().unwrap_or_default())
    }

    /// Walks over some blobs more. Whether there is more to walk over now.
    ///
    /// # Errors
    /// A metadata error. Blobs whose shards cannot be put back now are queued.
    pub(super) async fn walk_page(&self) -> Result<bool, Error> {
        let sites = self.look_at_sites().await?;
        let Some((_, walk)) = choose(&sites) else { return Ok(false) };
        self.count_blobs().await?;
        let (first, end) = key::blobs();
        let from = if walk.cursor.is_empty() { first } else { after(&walk.cursor) };
        let to = if walk.is_on_first_leg() { end } else { after(&walk.begin) };
        let page = self.0.meta.range(Range { from, to, limit: PAGE }).await?;
        let filled: u8 = (0..COLUMNS).filter(|slot| sites.walks[*slot].is_some()).map(|slot| 1 << slot).sum();
        let at_once = self.0.workers.paced.throttle.lock().at_once();
        let blobs: Vec<BlobId> = page.rows.iter().filter_map(|(row_key, _)| key::blob_of(row_key)).collect();
        let mut mended = futures::stream::iter(blobs)
            .map(|blob| async move { (blob, self.mend(blob, Look::Sizes, true).await) })
            .buffered(at_once);
        while let Some((blob, mended)) = mended.next().await {
            let left = match mended {
                Ok(mended) => {
                    self.count_done(u64::from(mended.mended > 0));
                    (mended.unsure & filled).count_ones()
                }
                // Another gateway leads: it walks from where the row says.
                Err(Error::Contended) if !self.may_go_on() => return Ok(false),
                // Somebody changes the blob now.
                Err(Error::Contended) => 1,
                Err(error) => {
                    self.note_failed(blob, &error);
                    1
                }
            };
            if left > 0 {
                // The queue keeps it; the walk need not wait for it.
                self.put_repair(blob, RepairReason::Replaced, u8::try_from(left).unwrap_or(u8::MAX)).await?;
            }
        }
        let walked = Walked {
            last: page.rows.last().map(|(row_key, _)| row_key.as_ref()),
            blobs: page.rows.len() as u64,
            is_end: !page.more,
            is_last_leg_open: walk.is_on_first_leg(),
            begin: &walk.begin,
        };
        let mut progress = None;
        for slot in (0..COLUMNS as u8).filter(|slot| sites.is_open(*slot)) {
            let Some(joined) = &sites.walks[usize::from(slot)] else { continue };
            if joined.cursor == walk.cursor {
                self.save_resync(slot, joined, advance(joined, &walked)).await?;
                progress = progress.max(Some(joined.done + walked.blobs));
            }
        }
        let total = *self.0.workers.repair.resync_total.lock();
        self.0.workers.report("repair", |report| report.progress = progress.map(|done| (done, total.max(done))));
        Ok(true)
    }

    /// Counts how many blobs there are to walk over, unless that is known.
    async fn count_blobs(&self) -> Result<(), Error> {
        if *self.0.workers.repair.resync_total.lock() == 0 {
            let total = self.count(key::blobs()).await?;
            *self.0.workers.repair.resync_total.lock() = total;
        }
        Ok(())
    }

    /// Saves a walk's progress, unless the site was replaced again meanwhile.
    async fn save_resync(&self, slot: u8, walk: &Resync, next: Option<Resync>) -> Result<(), Error> {
        let site_key = key::site_key(slot);
        self.until_won(|| async {
            let found = self.record::<SiteRecord>(site_key.clone()).await?;
            let (mut record, version) = found.ok_or_else(|| Error::NoSuchSite(slot.to_string()))?;
            if record.resync.as_ref().is_none_or(|current| current.started_ms != walk.started_ms) {
                return Ok((Batch::default(), ()));
            }
            record.resync.clone_from(&next);
            let writes = vec![Write::Put(site_key.clone(), record.encode())];
            Ok((Batch { checks: vec![is(site_key.clone(), version)], writes }, ()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sites::SiteState;
    use std::collections::BTreeMap;

    /// Plays walks over blobs with keys `1` to `9`, so many at a time, the second of which joins after so many pages.
    /// Returns, for each page, the keys, and how many sites lacked them.
    fn play(page: usize, join_after: usize, second_joins: bool) -> Vec<(Vec<u8>, usize)> {
        let all: Vec<u8> = (1..10).collect();
        let mut walks: [Option<Resync>; COLUMNS] = Default::default();
        walks[1] = Some(Resync::after(Vec::new(), 1));
        let mut filled: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut pages = Vec::new();
        for turn in 0..100 {
            if turn == join_after {
                let begin = walks[1].as_ref().filter(|_| second_joins).map(|walk| walk.cursor.clone());
                walks[3] = Some(Resync::after(begin.unwrap_or_default(), 2));
            }
            let sites = Sites { states: [SiteState::Up; COLUMNS], generation: 0, walks: walks.clone() };
            let Some((_, walk)) = choose(&sites) else {
                if turn < join_after {
                    continue;
                }
                break;
            };
            let is_in = |key: &u8| {
                let (key, cursor, begin) = (&[*key][..], walk.cursor.as_slice(), walk.begin.as_slice());
                key > cursor && (walk.is_on_first_leg() || key <= begin)
            };
            let left: Vec<u8> = all.iter().copied().filter(is_in).collect();
            let keys: Vec<u8> = left.iter().copied().take(page).collect();
            let last = keys.last().map(|key| [*key]);
            let lack = keys.iter().map(|key| {
                let lacking = |(slot, walk): (u8, &Option<Resync>)| {
                    walk.is_some() && !filled.get(&slot).is_some_and(|filled| filled.contains(key))
                };
                (0..).zip(&walks).filter(|walk| lacking(*walk)).count()
            });
            pages.push((keys.clone(), lack.max().unwrap_or(0)));
            let walked = Walked {
                last: last.as_ref().map(|last| &last[..]),
                blobs: keys.len() as u64,
                is_end: left.len() == keys.len(),
                is_last_leg_open: walk.is_on_first_leg(),
                begin: &walk.begin,
            };
            for slot in [1_u8, 3] {
                let Some(joined) = &sites.walks[usize::from(slot)] else { continue };
                filled.entry(slot).or_default().extend(&keys);
                if joined.cursor == walk.cursor {
                    walks[usize::from(slot)] = advance(joined, &walked);
                }
            }
        }
        assert!(walks.iter().all(Option::is_none), "{walks:?}");
        for filled in filled.values() {
            assert!(all.iter().all(|key| filled.contains(key)), "{filled:?}");
        }
        pages
    }

    /// Whenever the second site is replaced: all blobs are walked over for both, those first that lack two shards, and none twice for one site.
    #[test]
    fn two_walks_are_one() {
        for page in 1..5 {
            for join_after in 0..10 {
                let pages = play(page, join_after, true);
                let since: Vec<usize> =
                    pages.iter().skip(join_after).map(|(_, lack)| *lack).filter(|lack| *lack > 0).collect();
                assert!(since.is_sorted_by(|a, b| a >= b), "{page} {join_after}: {pages:?}");
                let walked: usize = pages.iter().map(|(keys, _)| keys.len()).sum();
                let alone = pages.iter().take(join_after).map(|(keys, _)| keys.len()).sum::<usize>();
                assert_eq!(walked, 9 + alone.min(9), "{page} {join_after}: {pages:?}");
            }
        }
    }

    /// Walks of older programs, or of sites that were out for a while, are at places of their own.
    #[test]
    fn walks_apart_end_as_well() {
        for page in 1..5 {
            for join_after in 0..10 {
                play(page, join_after, false);
            }
        }
    }
}
