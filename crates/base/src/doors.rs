//! The doors to time and randomness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Time: of the day, and what has passed.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump in both directions.
    fn now_ms(&self) -> u64;

    /// Milliseconds since a moment that stays the same while the process runs. Never goes back, and goes on while the
    /// machine sleeps: what was leased before it slept must have run out when it wakes.
    fn passed_ms(&self) -> u64;
}

/// How long ago something was, whatever becomes of the time of the day.
#[derive(Clone)]
pub struct Stopwatch {
    clock: Arc<dyn Clock>,
    from_ms: u64,
}

impl Stopwatch {
    /// Starts now.
    pub fn start(clock: Arc<dyn Clock>) -> Self {
        let from_ms = clock.passed_ms();
        Self { clock, from_ms }
    }

    /// Milliseconds since it was started.
    pub fn ms(&self) -> u64 {
        self.clock.passed_ms().saturating_sub(self.from_ms)
    }
}

impl std::fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopwatch").field("ms", &self.ms()).finish()
    }
}

/// Randomness fit for keys.
pub trait Rng: Send + Sync + 'static {
    /// Fills `out` with uniformly random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// CLOCK_BOOTTIME when it was first asked for.
static STARTED: LazyLock<Timespec> = LazyLock::new(|| clock_gettime(ClockId::Boottime));

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn passed_ms(&self) -> u64 {
        let started = *STARTED;
        let passed = clock_gettime(ClockId::Boottime) - started;
        let (seconds, nanos) = (passed.tv_sec.unsigned_abs(), passed.tv_nsec.unsigned_abs());
        seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
    passed_ms: AtomicU64,
}

impl ManualClock {
    /// Starts at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { now_ms: AtomicU64::new(now_ms), passed_ms: AtomicU64::new(0) }
    }

    /// Moves the clock forward: so much time has passed.
    pub fn advance_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
        self.passed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the time of the day. No time has passed.
    pub fn set_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn passed_ms(&self) -> u64 {
        self.passed_ms.load(Ordering::SeqCst)
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
