//! Many runs, on all processors.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds from 0 on: as many as `HOLDFAST_SIM_SEEDS` says, otherwise `count`; or the one of `HOLDFAST_SIM_SEED`. `test` is the file
/// that calls this, to say how a run is repeated. How many ran.
///
/// # Panics
/// When a run did; each is tried, and those that failed are told.
pub fn each(test: &str, count: u64, run: impl Fn(u64) + Sync) -> u64 {
    let (first, count) = match number("HOLDFAST_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("HOLDFAST_SIM_SEEDS").unwrap_or(count)),
    };
    let next = AtomicU64::new(first);
    let work = || {
        let mine =
            std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < first + count));
        let fails = |seed: &u64| {
            if seed.is_multiple_of(500) && *seed > first {
                // Past libtest's capture: whoever waits for a word hears one.
                let _ = writeln!(std::io::stdout(), "{test}: seed {seed}");
            }
            let failed = catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err();
            if failed {
                eprintln!("seed {seed} failed; repeat it: HOLDFAST_SIM_SEED={seed} cargo test -p sim --test {test}");
            }
            failed
        };
        mine.filter(fails).collect::<Vec<u64>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    assert!(failed.is_empty(), "{} of {count} seeds failed: {failed:?}", failed.len());
    count
}
