//! Sealed bytes that were read lately, so that what is read often is not fetched from the sites each time, nor rebuilt while some are gone.
//!
//! What is kept is as sealed as at the sites: to open it takes the part's key, which is released, counted and revoked as for any read. A
//! blob's bytes never change, so nothing has to be made void: what nobody reads any more is pushed out. Only what a seal has opened is
//! put here, and the seal judges again each time it is taken.
//! Why it is so: `docs/design/0029-read-cache.md`.

use std::ops::Range;

use base::BlobId;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::blob::UNIT;

/// What the cache itself takes for an entry, bytes.
const OVERHEAD: u64 = 120;

/// Which bytes of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    blob: BlobId,
    from: u64,
    to: u64,
}

impl Place {
    fn new(blob: BlobId, range: &Range<u64>) -> Self {
        Self { blob, from: range.start, to: range.end }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Place, Bytes> for Weigh {
    fn weight(&self, _: &Place, sealed: &Bytes) -> u64 {
        OVERHEAD + sealed.len() as u64
    }
}

/// The spans, up to so many bytes.
pub(crate) struct Spans(Option<Cache<Place, Bytes, Weigh>>);

impl Spans {
    /// `bytes_max`: 0 keeps none.
    pub(crate) fn new(bytes_max: u64) -> Self {
        // The crate cuts its room in pieces that each have 32 of as many entries as are named. Those named are of the largest kind, so
        // that no piece is too small for them; of small ones there may be more.
        let cache = || Cache::with_weighter((bytes_max / u64::from(UNIT)).max(1) as usize, bytes_max, Weigh);
        Self((bytes_max > 0).then(cache))
    }

    /// What was read of a blob before, if it is still there.
    pub(crate) fn get(&self, blob: BlobId, range: &Range<u64>) -> Option<Bytes> {
        let found = self.0.as_ref()?.get(&Place::new(blob, range));
        let result = if found.is_some() { "hit" } else { "miss" };
        metrics::counter!("holdfast_read_cache_total", "result" => result).increment(1);
        found
    }

    /// Keeps what was read and opened. Copied: what came over a connection may be a small piece of a large buffer, and would keep all of it.
    pub(crate) fn put(&self, blob: BlobId, range: &Range<u64>, sealed: &[u8]) {
        let Some(cache) = &self.0 else { return };
        cache.insert(Place::new(blob, range), Bytes::copy_from_slice(sealed));
        metrics::gauge!("holdfast_read_cache_bytes").set(cache.weight() as f64);
    }

    /// Lets go of what did not open.
    pub(crate) fn forget(&self, blob: BlobId, range: &Range<u64>) {
        if let Some(cache) = &self.0 {
            cache.remove(&Place::new(blob, range));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    #[test]
    fn it_holds_no_more_than_it_may_and_gives_only_what_was_put() {
        let rng = SeededRng::new(1);
        let blob = BlobId::random(&rng);
        let spans = Spans::new(64 << 10);
        for i in 0..100_u64 {
            let range = i * 4096..(i + 1) * 4096;
            spans.put(blob, &range, &[i as u8; 4096]);
            if let Some(found) = spans.get(blob, &range) {
                assert_eq!(found, vec![i as u8; 4096]);
            }
            assert!(spans.0.as_ref().is_some_and(|cache| cache.weight() <= 64 << 10));
        }
        assert!(spans.0.as_ref().is_some_and(|cache| cache.len() > 10));
        assert_eq!(spans.get(BlobId::random(&rng), &(0..4096)), None);
        spans.put(blob, &(0..4096), b"x");
        spans.forget(blob, &(0..4096));
        assert_eq!(spans.get(blob, &(0..4096)), None);
        // The largest fit wherever they fall.
        let spans = Spans::new(64 << 20);
        let range = |i: u64| i * u64::from(UNIT)..(i + 1) * u64::from(UNIT);
        let body = vec![1; UNIT as usize];
        (0..64).for_each(|i| spans.put(blob, &range(i), &body));
        assert_eq!((0..64).filter(|i| spans.get(blob, &range(*i)).is_some()).count(), 64);
        let none = Spans::new(0);
        none.put(blob, &(0..1), b"x");
        assert_eq!(none.get(blob, &(0..1)), None);
    }
}
