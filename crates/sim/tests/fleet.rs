//! Several gateways over one store. `HOLDFAST_SIM_SEEDS` says how many seeds (20 by default), `HOLDFAST_SIM_SEED` runs one and tells what
//! happens, `HOLDFAST_SIM_LOG` how much of it (`info` by default).

use parking_lot::Mutex;
use sim::fleet::{self, Told};

fn run(seed: u64) -> Told {
    // In memory where there is such a folder: what islands keep is synced all the time.
    let shm = std::path::Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    fleet::run(seed, folder.expect("a folder").path())
}

#[test]
fn fleets() {
    if std::env::var_os("HOLDFAST_SIM_SEED").is_some() {
        let level = std::env::var("HOLDFAST_SIM_LOG").ok().and_then(|level| level.parse().ok());
        let level = level.unwrap_or(tracing_subscriber::filter::LevelFilter::INFO);
        let _ = tracing_subscriber::fmt().without_time().with_max_level(level).try_init();
    }
    let all = Mutex::new(Told::default());
    let count = sim::seeds::each("fleet", 20, |seed| {
        let told = run(seed);
        let mut all = all.lock();
        all.answered += told.answered;
        all.old += told.old;
        all.taken += told.taken;
        all.conflicts += told.conflicts;
        all.deaths += told.deaths;
        all.given_late += told.given_late;
    });
    let all = all.into_inner();
    eprintln!("{count} seeds: {all:?}");
    // What never happened was not tried.
    let tried = [all.answered, all.old, all.taken, all.conflicts, all.deaths, all.given_late];
    assert!(count < 20 || tried.iter().all(|times| *times > 0), "{all:?}");
}
