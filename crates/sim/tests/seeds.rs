//! One gateway over failing sites. `HOLDFAST_SIM_SEEDS` says how many seeds (100 by default), `HOLDFAST_SIM_SEED` runs one.

use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn seeds() {
    let compared = AtomicU64::new(0);
    let count = sim::seeds::each("seeds", 100, |seed| {
        compared.fetch_add(sim::run_seed(seed).compared, Ordering::Relaxed);
    });
    assert!(compared.load(Ordering::Relaxed) >= count, "the auditor compared nothing");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let told = |seed| format!("{:?}", sim::run_seed(seed));
    assert_eq!(told(7), told(7));
}
