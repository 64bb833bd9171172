//! Draws from a seed.

use base::Rng;
use parking_lot::Mutex;
use rand::{Rng as _, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// A shared stream of chance.
pub struct Chance(Mutex<ChaCha12Rng>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha12Rng::seed_from_u64(seed)))
    }

    /// 0 to `below - 1`.
    pub fn below(&self, below: usize) -> usize {
        self.0.lock().random_range(0..below.max(1))
    }

    /// True once in `n`.
    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

impl Rng for Chance {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill_bytes(out);
    }
}
