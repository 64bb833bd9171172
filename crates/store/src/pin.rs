//! What readers hold: collection leaves it alone.

use std::collections::HashMap;
use std::sync::Arc;

use base::{BlobId, BodyId};
use parking_lot::Mutex;

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    /// A blob's shards.
    Blob(BlobId),
    /// A multipart body's part rows.
    Body(BodyId),
}

/// Counts of holders.
#[derive(Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<HashMap<Held, usize>>>);

impl Pins {
    /// Holds a thing until the guard drops.
    pub(crate) fn hold(&self, what: Held) -> Pin {
        *self.0.lock().entry(what).or_default() += 1;
        Pin { pins: self.clone(), what }
    }

    /// Whether anyone holds it.
    pub(crate) fn is_held(&self, what: Held) -> bool {
        self.0.lock().contains_key(&what)
    }
}

/// A hold.
pub(crate) struct Pin {
    pins: Pins,
    what: Held,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        if let Some(count) = pins.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    #[test]
    fn the_last_holder_lets_go() {
        let pins = Pins::default();
        let what = Held::Blob(BlobId::random(&SeededRng::new(1)));
        let (one, two) = (pins.hold(what), pins.hold(what));
        drop(one);
        assert!(pins.is_held(what));
        drop(two);
        assert!(!pins.is_held(what));
    }
}
