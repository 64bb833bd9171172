//! Where intervals are cut, so that a page costs etcd what the page is worth. Pure.
//!
//! etcd counts all keys of an interval whatever the limit. So an interval is read piece by piece, and pieces end at keys that
//! were learned from what was read. They are hints: a wrong one costs a round trip, or a count.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::prefix_end;

/// Keys that a piece should have at most: counting so many takes etcd less than a millisecond.
pub(crate) const TARGET: usize = 2048;
/// Ends that are remembered: some ten MB, and 134 million rows.
const SPLITS_MAX: usize = 65_536;

/// Ends of pieces that are known; with each, whether what follows it, to the next, was counted and is small.
#[derive(Debug, Default)]
pub(crate) struct Splits(BTreeMap<Bytes, bool>);

/// A piece that was read.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) from: Bytes,
    pub(crate) to: Bytes,
    /// Rows that etcd counted from its first key, or from where a page began in it.
    pub(crate) count: usize,
    /// First and last key that were returned.
    pub(crate) seen: Option<(Bytes, Bytes)>,
}

/// Steps over land of which nothing is known: each is about twice as wide as all before.
#[derive(Debug)]
pub(crate) struct Gallop {
    base: Vec<u8>,
    /// The byte that is raised.
    depth: usize,
    by: usize,
    /// Steps in a row that met nothing.
    empty: u32,
}

impl Gallop {
    /// From the end of a piece, which is as long as the keys around it need to differ.
    fn from(split: &[u8]) -> Self {
        Self { base: split.to_vec(), depth: split.len().saturating_sub(1), by: 1, empty: 0 }
    }

    /// The next end. `None` past the last key there can be.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            let at = usize::from(*self.base.get(self.depth)?);
            if let Ok(raised) = u8::try_from(at + self.by) {
                self.by *= 2;
                return Some([&self.base[..self.depth], &[raised]].concat().into());
            }
            self.by = 1;
            self.depth = self.depth.checked_sub(1)?;
        }
    }

    /// What the last step met. After nothing it goes faster: keys are mostly text, which leaves most bytes out, and most of a
    /// long key is the same in all around it.
    pub(crate) fn met(&mut self, count: usize) {
        if count > 0 {
            self.empty = 0;
            return;
        }
        match self.empty {
            0 => self.by *= 8,
            // Past the first byte there is no step: the piece ends with what is known.
            empty => {
                (self.depth, self.by) = (self.depth.checked_sub(1 << (empty - 1).min(16)).unwrap_or(usize::MAX), 1)
            }
        }
        self.empty += 1;
    }
}

impl Splits {
    /// Where the piece that begins at `from` ends, at `to` at the latest.
    pub(crate) fn end(&self, from: &Bytes, to: &Bytes, gallop: &mut Option<Gallop>) -> Bytes {
        let next = self.after(from).filter(|next| *next < to).unwrap_or(to);
        match self.0.get(from) {
            Some(false) => *gallop = Some(Gallop::from(from)),
            Some(true) => *gallop = None,
            None => {}
        }
        let step = gallop.as_mut().and_then(|gallop| {
            // Steps that end before the cursor was taken past them by its own are left out.
            std::iter::from_fn(|| gallop.next()).find(|end| end > from)
        });
        match step {
            Some(end) if end < *next => end,
            _ => next.clone(),
        }
    }

    fn after(&self, key: &Bytes) -> Option<&Bytes> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.0.range::<Bytes, _>((Excluded(key), Unbounded)).next().map(|(split, _)| split)
    }

    /// Learns from the pieces of one walk, in their order, which would have ended at `to`.
    pub(crate) fn learn(&mut self, pieces: &[Piece], to: &Bytes) {
        for piece in pieces {
            let end = cut(piece);
            if end != *to {
                self.0.entry(end).or_insert(false);
            }
            if let Some(known) = self.0.get_mut(&piece.from) {
                *known = true;
            }
        }
        for pair in pieces.windows(2) {
            // Both were counted whole: a page may begin in the middle of the first.
            let whole = self.0.contains_key(&pair[0].from) && self.after(&pair[1].from) == Some(&pair[1].to);
            if whole && pair[0].count + pair[1].count <= TARGET / 2 {
                self.0.remove(&pair[1].from);
            }
        }
        if self.0.len() > SPLITS_MAX {
            let mut keep = false;
            self.0.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }
}

/// Where a piece should have ended: behind what was seen of it, if there was too much more.
fn cut(piece: &Piece) -> Bytes {
    let Some((first, last)) = piece.seen.as_ref().filter(|_| piece.count > 2 * TARGET) else {
        return piece.to.clone();
    };
    // The byte in which the keys that were seen differ: raised by one it comes soon after them.
    let same = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
    let end = prefix_end(&last[..last.len().min(same + 1)]);
    if end > *last && end < piece.to { end } else { piece.to.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::after;

    /// An etcd that has keys only, and counts.
    struct Counting {
        keys: BTreeSet<Bytes>,
        splits: Splits,
        counted: usize,
        asked: usize,
    }

    impl Counting {
        fn new(keys: impl Iterator<Item = String>) -> Self {
            let keys = keys.map(Bytes::from).collect();
            Self { keys, splits: Splits::default(), counted: 0, asked: 0 }
        }

        /// One page, as the engine reads it.
        fn page(&mut self, from: &Bytes, to: &Bytes, limit: usize) -> Vec<Bytes> {
            let (mut rows, mut pieces, mut gallop) = (Vec::new(), Vec::new(), None);
            let mut cursor = from.clone();
            while cursor < *to && rows.len() <= limit {
                let end = self.splits.end(&cursor, to, &mut gallop);
                let found: Vec<Bytes> = self.keys.range(cursor.clone()..end.clone()).cloned().collect();
                self.counted += found.len();
                self.asked += 1;
                if let Some(gallop) = &mut gallop {
                    gallop.met(found.len());
                }
                let seen: Vec<Bytes> = found.iter().take(limit + 1 - rows.len()).cloned().collect();
                let ends = seen.first().cloned().zip(seen.last().cloned());
                pieces.push(Piece { from: cursor, to: end.clone(), count: found.len(), seen: ends });
                rows.extend(seen);
                cursor = end;
            }
            self.splits.learn(&pieces, to);
            rows.truncate(limit);
            rows
        }

        fn walk(&mut self, limit: usize) -> Vec<Bytes> {
            let (mut from, to) = (Bytes::from("p/r/o/"), Bytes::from("p/r/o0"));
            let mut all: Vec<Bytes> = Vec::new();
            (self.counted, self.asked) = (0, 0);
            loop {
                let page = self.page(&from, &to, limit);
                let Some(last) = page.last() else { return all };
                from = after(last);
                let whole = page.len() < limit;
                all.extend(page);
                if whole {
                    return all;
                }
            }
        }
    }

    #[test]
    fn a_walk_costs_what_it_reads() {
        // By name, a way to make keys.
        let scatter = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        type Make<'a> = &'a dyn Fn(u64) -> String;
        let table: [(&str, Make); 5] = [
            ("numbers", &|i| format!("p/r/o/bucket/obj-{i:08}")),
            ("hexadecimal", &|i| format!("p/r/o/bucket/{:016x}", scatter(i))),
            ("folders", &|i| format!("p/r/o/bucket/{:03}/{}", i % 500, i)),
            ("long and alike", &|i| format!("p/r/o/{}{i:06}/tail/of/the/key", "folder/".repeat(40))),
            ("two lengths", &|i| if i % 2 == 0 { format!("p/r/o/a{i}") } else { format!("p/r/o/z/very/long/{i}") }),
        ];
        for (name, make) in table {
            let mut etcd = Counting::new((0..50_000).map(make));
            for (walk, times) in [(1, 8), (2, 6)] {
                assert_eq!(etcd.walk(1000).len(), 50_000, "{name}, walk {walk}");
                assert!(etcd.counted <= times * 50_000, "{name}, walk {walk}: counted {}", etcd.counted);
                assert!(etcd.asked <= 1000, "{name}, walk {walk}: asked {}", etcd.asked);
            }
        }
    }

    #[test]
    fn a_short_page_becomes_cheap() {
        let mut etcd = Counting::new((0..50_000).map(|i| format!("p/r/o/bucket/obj-{i:08}")));
        let (from, to) = (Bytes::from("p/r/o/"), Bytes::from("p/r/o0"));
        etcd.page(&from, &to, 10);
        for _ in 0..3 {
            (etcd.counted, etcd.asked) = (0, 0);
            assert_eq!(etcd.page(&from, &to, 10).len(), 10);
            assert!(etcd.counted <= 2 * TARGET, "counted {}", etcd.counted);
            assert!(etcd.asked <= 12, "asked {}", etcd.asked);
        }
    }

    #[test]
    fn a_queue_that_moves_leaves_no_trail() {
        // Taken from the front, filled at the back.
        let mut etcd = Counting::new((0..20_000).map(|i| format!("p/r/o/{i:08}")));
        let (from, to) = (Bytes::from("p/r/o/"), Bytes::from("p/r/o0"));
        let mut next = 20_000;
        for _ in 0..400 {
            for row in etcd.page(&from, &to, 100) {
                etcd.keys.remove(&row);
                etcd.keys.insert(format!("p/r/o/{next:08}").into());
                next += 1;
            }
        }
        (etcd.counted, etcd.asked) = (0, 0);
        etcd.page(&from, &to, 100);
        assert!(etcd.counted <= 4 * TARGET, "counted {}", etcd.counted);
        assert!(etcd.asked <= 30, "asked {}", etcd.asked);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut splits = Splits::default();
        for i in 0..SPLITS_MAX + 10 {
            let key = |i: usize| Bytes::from(format!("{i:08}"));
            let piece = |i| Piece { from: key(i), to: key(i + 1), count: TARGET, seen: None };
            splits.learn(&[piece(i), piece(i + 1)], &Bytes::from_static(b"a"));
        }
        assert!(splits.0.len() <= SPLITS_MAX);
    }
}
