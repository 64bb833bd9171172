//! Runs seeds. `HOLDFAST_SIM_SEEDS` says how many (100 by default), `HOLDFAST_SIM_SEED` runs one.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds() {
    let (first, count) = match number("HOLDFAST_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("HOLDFAST_SIM_SEEDS").unwrap_or(100)),
    };
    let next = AtomicU64::new(first);
    let crashes = AtomicU64::new(0);
    let compared = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return failed;
                }
                match catch_unwind(|| sim::run_seed(seed)) {
                    Ok(outcome) => {
                        crashes.fetch_add(outcome.crashes, Ordering::Relaxed);
                        compared.fetch_add(outcome.compared, Ordering::Relaxed);
                    }
                    Err(_) => failed.push(seed),
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    for seed in &failed {
        eprintln!("seed {seed} failed; repeat it: HOLDFAST_SIM_SEED={seed} cargo test -p sim --test seeds");
    }
    assert!(failed.is_empty(), "{} of {count} seeds failed", failed.len());
    assert!(compared.load(Ordering::Relaxed) >= count, "the auditor compared nothing");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let told = |seed| format!("{:?}", sim::run_seed(seed));
    assert_eq!(told(7), told(7));
}
