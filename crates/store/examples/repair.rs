//! What repair costs the clients: `cargo run --release -p store --example repair -- DIR [OBJECTS] [SECONDS] [PAUSE_MS]`.
//!
//! Eight clients read and write 16 KiB in a loop, each with a pause between two requests (none by default: then no processor is idle). For some time nothing else happens; then a site is empty and is filled again. Told is the
//! 99th percentile of both times, within the share that repair keeps to, and without one.
#![allow(clippy::print_stdout, reason = "printing figures is all that it does")]

#[path = "../tests/common/whole.rs"]
mod whole;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base::{Doors, SeededRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::Keyring;
use meta::{Embedded, EmbeddedOptions, Engine};
use parking_lot::Mutex;
use sites::{Folder, Pool, PoolOptions, Site, SiteSpec};
use store::api::{NewObject, ReadRange, WriteCondition};
use store::{Options, RepairBounds, RepairOptions, Replace, Store};
use whole::Whole;

const CLIENTS: usize = 8;
/// Bytes of what clients read and write.
const SMALL: usize = 16 << 10;
/// Small objects that are read.
const READ: usize = 500;
/// Bytes of what repair has to do with.
const LARGE: usize = 1 << 20;
/// After repair began it finds out for so long what it may.
const SETTLE: Duration = Duration::from_secs(30);

/// Microseconds of reads, and of writes.
type Times = [Vec<u64>; 2];

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().expect("a folder"));
    let objects: usize = args.next().map_or(2_000, |objects| objects.parse().expect("a number"));
    let seconds: u64 = args.next().map_or(60, |seconds| seconds.parse().expect("a number"));
    let pause = Duration::from_millis(args.next().map_or(0, |pause| pause.parse().expect("a number")));
    let options = EmbeddedOptions { path: dir.join("repair.redb"), cache_bytes: 64 << 20 };
    let meta: Arc<dyn Engine> = Arc::new(Embedded::open(options).expect("an empty folder"));
    let sites: [Arc<dyn Site>; 5] = std::array::from_fn(|slot| folder(&dir.join(format!("dc{slot}"))));

    let store = open(meta.clone(), &sites, RepairBounds::default()).await;
    store.create_bucket("b", "root", false).await.expect("a bucket");
    for i in 0..READ {
        put(&store, &format!("small/{i}"), SMALL).await;
    }
    for i in 0..objects {
        put(&store, &format!("large/{i}"), LARGE).await;
    }
    store.shutdown().await;
    drop(store);

    let max_bytes_per_s = NonZeroU64::new(10 << 30).expect("a number");
    let unbounded = RepairBounds { max_bytes_per_s, share_percent: 1_000_000, urgent_percent: 1_000_000 };
    for turn in 0..2 {
        for (name, bounds) in [("share of 25 %", RepairBounds::default()), ("no bounds", unbounded)] {
            let store = open(meta.clone(), &sites, bounds).await;
            run(&store, (&sites[turn], turn), name, Duration::from_secs(seconds), pause).await;
            store.shutdown().await;
        }
    }
}

fn folder(path: &Path) -> Arc<dyn Site> {
    std::fs::create_dir_all(path).expect("a folder");
    Arc::new(Folder::open(path.to_owned()).expect("a site"))
}

async fn open(meta: Arc<dyn Engine>, sites: &[Arc<dyn Site>; 5], bounds: RepairBounds) -> Store {
    let doors = Doors::system();
    let specs = std::array::from_fn(|slot| SiteSpec {
        name: format!("dc{slot}"),
        url: format!("file://{slot}"),
        site: sites[slot].clone(),
    });
    let pool = Arc::new(Pool::new(specs, doors.clock.clone(), PoolOptions::default()));
    let options = Options { repair: RepairOptions { bounds, ..RepairOptions::default() }, ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    Store::open(meta, pool, Keyring::ephemeral(&SeededRng::new(1)), root, options).await.expect("a store")
}

async fn put(store: &Store, name: &str, size: usize) {
    let mut source = Whole(Some(Bytes::from(vec![7; size])));
    let (object, condition) = (NewObject::default(), WriteCondition::default());
    store.put("b", name, object, size as u64, &condition, &mut source).await.expect("a put");
}

async fn run(store: &Store, (site, slot): (&Arc<dyn Site>, usize), name: &str, time: Duration, pause: Duration) {
    let times = Arc::<Mutex<Times>>::default();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(work(store.clone(), client, pause, times.clone(), stop.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(10)).await;
    take(&times);
    tokio::time::sleep(time).await;
    let quiet = take(&times);

    let names = all_names(site.as_ref()).await;
    for shard in &names {
        site.delete(shard).await.expect("a delete");
    }
    store.replace_site(&format!("dc{slot}"), Replace { force: true, lose_keys: true }).await.expect("a replacement");
    tokio::time::sleep(SETTLE).await;
    let moved = store.repair_report().await.expect("a report").moved_bytes;
    take(&times);
    let begun = Instant::now();
    let mut report = store.repair_report().await.expect("a report");
    while begun.elapsed() < time && report.since_ms.is_some() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        report = store.repair_report().await.expect("a report");
    }
    let (busy, seconds) = (take(&times), begun.elapsed().as_secs_f64());
    let speed = report.moved_bytes.saturating_sub(moved) as f64 / seconds / f64::from(1 << 20);
    println!(
        "{name}: {} shards to make, {seconds:.0} s, repair {speed:.1} MiB/s, limit {} MiB/s ({}), by its own measure {:?} %",
        names.len(),
        report.limit_bytes_per_s >> 20,
        report.why,
        report.p99_percent
    );
    for (what, (quiet, busy)) in ["GET", "PUT"].iter().zip(quiet.iter().zip(&busy)) {
        let ratio = p99(busy) as f64 / p99(quiet).max(1) as f64;
        println!(
            "  {what}: {} and {} requests, p99 {:.2} ms without, {:.2} ms with: {ratio:.2}",
            quiet.len(),
            busy.len(),
            p99(quiet) as f64 / 1000.0,
            p99(busy) as f64 / 1000.0
        );
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client");
    }
    while store.repair_report().await.expect("a report").since_ms.is_some() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn work(store: Store, client: usize, pause: Duration, times: Arc<Mutex<Times>>, stop: Arc<AtomicBool>) {
    let mut i = client * 7919;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let begun = Instant::now();
        let is_write = i.is_multiple_of(2);
        if is_write {
            put(&store, &format!("new/{client}/{}", i % 100), SMALL).await;
        } else {
            let object = store.open_object("b", &format!("small/{}", i % READ), None, None).await.expect("an object");
            let read: Vec<Bytes> =
                object.read(ReadRange::All).await.expect("a read").try_collect().await.expect("bytes");
            assert_eq!(read.iter().map(Bytes::len).sum::<usize>(), SMALL);
        }
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        times.lock()[usize::from(is_write)].push(micros);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

async fn all_names(site: &dyn Site) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let page = site.list("shards/", names.last().map(String::as_str), 1000).await.expect("a listing");
        if page.is_empty() {
            return names;
        }
        names.extend(page.into_iter().map(|entry| entry.name));
    }
}

fn take(times: &Mutex<Times>) -> Times {
    let mut taken = std::mem::take(&mut *times.lock());
    taken.iter_mut().for_each(|times| times.sort_unstable());
    taken
}

fn p99(sorted: &[u64]) -> u64 {
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
}
