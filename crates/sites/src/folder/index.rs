//! Which small shard is where: names in order, and how much of each segment is still needed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::record::record_len;
use super::segment::Segment;

/// Where a shard's record is. Kept small: there is one for every shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The segment's number.
    pub segment: u32,
    /// Where the record begins in it, bytes.
    pub offset: u32,
    /// Bytes of the body.
    pub len: u32,
}

struct Slot {
    segment: Arc<Segment>,
    /// Bytes of records that the index leads to.
    live: u64,
    /// Bytes that new records could use if the live ones were moved. `None` until it is sealed.
    used: Option<u64>,
    /// It holds what cannot be read, so it stays.
    stuck: bool,
}

/// The names in segments.
#[derive(Default)]
pub(super) struct Index {
    names: BTreeMap<Box<str>, Location>,
    slots: BTreeMap<u32, Slot>,
    /// Sealed segments of which less than half is live.
    sparse: BTreeSet<u32>,
}

impl Index {
    /// Where a name is.
    pub fn get(&self, name: &str) -> Option<Location> {
        self.names.get(name).copied()
    }

    /// Where a name is, and its segment.
    pub fn find(&self, name: &str) -> Option<(Arc<Segment>, Location)> {
        let location = self.get(name)?;
        Some((self.slots.get(&location.segment)?.segment.clone(), location))
    }

    /// A segment in use.
    pub fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        self.slots.get(&id).map(|slot| slot.segment.clone())
    }

    /// Takes a segment in, with nothing in it.
    pub fn add(&mut self, segment: Arc<Segment>) {
        self.slots.insert(segment.id, Slot { segment, live: 0, used: None, stuck: false });
    }

    /// Says that a segment gets no more records. `used` bytes would be gained by emptying it.
    pub fn seal(&mut self, id: u32, used: u64) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.used = Some(used);
        }
        self.judge(id);
    }

    /// Puts a name at a place; an older place is dead.
    pub fn insert(&mut self, name: &str, location: Location) {
        let len = record_len(name.len() + location.len as usize) as u64;
        if let Some(slot) = self.slots.get_mut(&location.segment) {
            slot.live += len;
        }
        match self.names.get_mut(name) {
            Some(place) => {
                let old = std::mem::replace(place, location);
                self.kill(name, old);
            }
            None => drop(self.names.insert(name.into(), location)),
        }
    }

    /// Forgets a name. `false`: it was not there.
    pub fn remove(&mut self, name: &str) -> bool {
        let old = self.names.remove(name);
        if let Some(old) = old {
            self.kill(name, old);
        }
        old.is_some()
    }

    fn kill(&mut self, name: &str, old: Location) {
        if let Some(slot) = self.slots.get_mut(&old.segment) {
            slot.live = slot.live.saturating_sub(record_len(name.len() + old.len as usize) as u64);
        }
        self.judge(old.segment);
    }

    fn judge(&mut self, id: u32) {
        let Some(slot) = self.slots.get(&id) else { return };
        if !slot.stuck && slot.used.is_some_and(|used| slot.live * 2 < used || slot.live == 0) {
            self.sparse.insert(id);
        } else {
            self.sparse.remove(&id);
        }
    }

    /// A sealed segment of which less than half is live, and whether nothing is.
    pub fn sparse(&self) -> Option<(u32, bool)> {
        let dead = |id: &&u32| self.slots.get(id).is_some_and(|slot| slot.live == 0);
        match self.sparse.iter().find(dead) {
            Some(id) => Some((*id, true)),
            None => self.sparse.first().map(|id| (*id, false)),
        }
    }

    /// The sealed segment of which the smallest part is live, if at least an eighth is dead.
    pub fn loosest(&self) -> Option<u32> {
        let free = |slot: &Slot| {
            let used = slot.used.filter(|_| !slot.stuck)?;
            used.checked_sub(slot.live).filter(|dead| *dead * 8 >= used)
        };
        let loose = self.slots.iter().filter_map(|(id, slot)| Some((free(slot)?, *id)));
        loose.max().map(|(_, id)| id)
    }

    /// Bytes of records in a segment that names lead to.
    pub fn live(&self, id: u32) -> u64 {
        self.slots.get(&id).map_or(0, |slot| slot.live)
    }

    /// Says that a segment cannot be emptied.
    pub fn keep(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.stuck = true;
        }
        self.judge(id);
    }

    /// Takes a segment out in which nothing is live.
    pub fn take(&mut self, id: u32) -> Option<Arc<Segment>> {
        let slot = self.slots.get(&id)?;
        if slot.live > 0 || slot.stuck {
            return None;
        }
        self.sparse.remove(&id);
        self.slots.remove(&id).map(|slot| slot.segment)
    }

    /// At most `limit` names under `prefix` after `after`, ascending.
    pub fn page(&self, prefix: &str, after: &str, limit: usize) -> Vec<(String, Location, Arc<Segment>)> {
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let some = self.names.range::<str, _>((from, Bound::Unbounded));
        let some = some.take_while(|(name, _)| name.starts_with(prefix)).take(limit);
        some.filter_map(|(name, at)| Some((name.to_string(), *at, self.segment(at.segment)?))).collect()
    }

    /// Whether no segment is in use.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u32) -> Location {
        Location { segment, offset, len: 10 }
    }

    fn index(ids: &[u32]) -> Index {
        let mut index = Index::default();
        for id in ids {
            index.add(Arc::new(Segment { id: *id, epoch: 1, modified_ms: 0.into() }));
        }
        index
    }

    #[test]
    fn what_is_live_is_counted() {
        let mut index = index(&[1, 2]);
        for (i, name) in ["a", "b", "c"].iter().enumerate() {
            index.insert(name, at(1, i as u32 * 4096));
        }
        index.seal(1, 3 * 4096);
        assert_eq!((index.live(1), index.sparse(), index.loosest()), (3 * 4096, None, None));
        index.insert("a", at(2, 0));
        assert_eq!((index.live(1), index.sparse(), index.loosest()), (2 * 4096, None, Some(1)));
        assert!(index.remove("b") && !index.remove("b"));
        assert_eq!(index.sparse(), Some((1, false)));
        assert!(index.take(1).is_none());
        index.keep(1);
        assert_eq!((index.sparse(), index.loosest()), (None, None));
        assert!(index.remove("c") && index.take(1).is_none());
        index.insert("d", at(2, 0));
        index.seal(2, 4096);
        assert_eq!(index.sparse(), None);
        index.remove("a");
        index.remove("d");
        assert_eq!(index.sparse(), Some((2, true)));
        assert_eq!(index.take(2).map(|segment| segment.id), Some(2));
    }

    #[test]
    fn pages_are_in_order() {
        let mut index = index(&[1]);
        for name in ["b/1", "b/2", "b/3", "a", "b", "b-c", "c"] {
            index.insert(name, at(1, 0));
        }
        let page = |prefix: &str, after: &str, limit| -> Vec<String> {
            index.page(prefix, after, limit).into_iter().map(|(name, ..)| name).collect()
        };
        assert_eq!(page("", "", 10), ["a", "b", "b-c", "b/1", "b/2", "b/3", "c"]);
        assert_eq!(page("b/", "", 2), ["b/1", "b/2"]);
        assert_eq!(page("b/", "b/2", 2), ["b/3"]);
        assert_eq!(page("b/", "c", 2), [""; 0]);
        assert_eq!(page("", "c", 2), [""; 0]);
        assert_eq!(page("", "", 0), [""; 0]);
    }
}
