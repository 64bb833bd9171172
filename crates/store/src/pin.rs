//! What readers hold: collection leaves it alone.

use std::collections::HashMap;
use std::sync::Arc;

use base::{BlobId, BodyId, Clock};
use parking_lot::Mutex;

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    /// A blob's shards.
    Blob(BlobId),
    /// A multipart body's part rows.
    Body(BodyId),
}

/// Who holds what.
#[derive(Clone)]
pub(crate) struct Pins {
    held: Arc<Mutex<HashMap<Held, Holders>>>,
    clock: Arc<dyn Clock>,
}

/// Of one thing.
struct Holders {
    count: usize,
    /// Since when somebody holds it, by the time that never goes back.
    since_ms: u64,
}

impl Pins {
    /// Nothing is held.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { held: Arc::default(), clock }
    }

    /// Holds a thing until the guard drops.
    pub(crate) fn hold(&self, what: Held) -> Pin {
        let since_ms = self.clock.passed_ms();
        self.held.lock().entry(what).or_insert(Holders { count: 0, since_ms }).count += 1;
        Pin { pins: self.clone(), what }
    }

    /// Whether anyone holds it.
    pub(crate) fn is_held(&self, what: Held) -> bool {
        self.held.lock().contains_key(&what)
    }

    /// What is held for so long at `passed_ms`, or longer.
    pub(crate) fn held_for(&self, age_ms: u64, passed_ms: u64) -> Vec<Held> {
        let held = self.held.lock();
        let old = held.iter().filter(|(_, holders)| passed_ms.saturating_sub(holders.since_ms) >= age_ms);
        old.map(|(what, _)| *what).collect()
    }
}

/// A hold.
pub(crate) struct Pin {
    pins: Pins,
    what: Held,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.held.lock();
        if let Some(holders) = held.get_mut(&self.what) {
            holders.count -= 1;
            if holders.count == 0 {
                held.remove(&self.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{ManualClock, SeededRng};

    #[test]
    fn the_last_holder_lets_go() {
        let clock = Arc::new(ManualClock::new(0));
        let pins = Pins::new(clock.clone());
        let what = Held::Blob(BlobId::random(&SeededRng::new(1)));
        let (one, two) = (pins.hold(what), pins.hold(what));
        assert_eq!(pins.held_for(10, clock.passed_ms()), []);
        clock.advance_ms(10);
        assert_eq!(pins.held_for(10, clock.passed_ms()), [what]);
        drop(one);
        assert!(pins.is_held(what));
        drop(two);
        assert!(!pins.is_held(what));
    }
}
