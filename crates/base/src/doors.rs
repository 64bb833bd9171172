//! The doors to time and randomness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump in both directions.
    fn now_ms(&self) -> u64;
}

/// Randomness fit for keys.
pub trait Rng: Send + Sync + 'static {
    /// Fills `out` with uniformly random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms))
    }

    /// Moves the clock forward.
    pub fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// AWS-LC's generator, seeded from the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, out: &mut [u8]) {
        // A process that cannot draw keys must not go on: this fails only when the kernel
        // refuses entropy.
        aws_lc_rs::rand::fill(out).expect("the operating system gives no randomness");
    }
}

/// A deterministic generator for tests and simulation. Never used for real keys.
pub struct SeededRng(Mutex<ChaCha12Rng>);

impl SeededRng {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha12Rng::seed_from_u64(seed)))
    }
}

impl Rng for SeededRng {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).fill_bytes(out);
    }
}

/// Both doors, passed together.
#[derive(Clone)]
pub struct Doors {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

impl Doors {
    /// The real ones.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) }
    }

    /// Deterministic ones, for tests and simulation.
    pub fn seeded(seed: u64, now_ms: u64) -> Self {
        Self { clock: Arc::new(ManualClock::new(now_ms)), rng: Arc::new(SeededRng::new(seed)) }
    }
}
