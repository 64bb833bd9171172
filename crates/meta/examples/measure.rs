//! Measures what `docs/design/0003-embedded-meta.md` says: `cargo run --release -p meta --example measure -- FOLDER`.
#![allow(clippy::print_stdout, reason = "its figures are its output")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meta::{Batch, Embedded, EmbeddedOptions, Engine, Key, Range, Write};
use redb::{Database, TableDefinition};

const ROWS: u64 = 1_000_000;
const VALUE: [u8; 300] = [7; 300];
const CACHE: usize = 256 << 20;
const SPAN: Duration = Duration::from_secs(3);
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("usage: measure FOLDER")?);
    if let Some(mode) = args.next() {
        if mode == "embedded" {
            return embedded(&folder);
        }
        return commit_for_ever(&folder.join(format!("{mode}.redb")), mode == "quick");
    }
    std::fs::create_dir_all(&folder)?;
    for (mode, quick) in [("plain", false), ("quick", true)] {
        redb_alone(&folder, mode, quick)?;
    }
    embedded(&folder)
}

/// 40 bytes, in an order unlike their numbers'.
fn key(number: u64) -> Vec<u8> {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("o/bucket-0123456789ab/{scattered:016x}00").into_bytes()
}

fn redb_alone(folder: &Path, mode: &str, quick: bool) -> Outcome<()> {
    let path = folder.join(format!("{mode}.redb"));
    let _ = std::fs::remove_file(&path);
    let database = Database::builder().set_cache_size(CACHE).create(&path)?;
    let began = Instant::now();
    for chunk in 0..20 {
        commit(&database, false, chunk * (ROWS / 20)..(chunk + 1) * (ROWS / 20))?;
    }
    println!("{mode}: loaded {ROWS} rows in {:.1?}, {} MB", began.elapsed(), path.metadata()?.len() >> 20);
    for batch in [1, 16, 64] {
        let (began, cpu, mut commits) = (Instant::now(), cpu()?, 0);
        while began.elapsed() < SPAN {
            commit(&database, quick, (0..batch).map(|i| (commits * batch + i) * 7919 % ROWS))?;
            commits += 1;
        }
        let each = (self::cpu()? - cpu) / u32::try_from(commits)?;
        println!(
            "{mode}: batches of {batch}: {:.0} commits/s, {each:.0?} CPU",
            commits as f64 / began.elapsed().as_secs_f64()
        );
    }
    drop(database);
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe()?)
            .args([folder.as_os_str(), mode.as_ref()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        child.kill()?;
        child.wait()?;
        let began = Instant::now();
        drop(Database::builder().set_cache_size(CACHE).create(&path)?);
        println!("{mode}: opened and closed after kill -9 in {:.1?}", began.elapsed());
    }
    Ok(std::fs::remove_file(&path)?)
}

fn commit(database: &Database, quick: bool, numbers: impl IntoIterator<Item = u64>) -> Outcome<()> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(quick);
    {
        let mut table = txn.open_table(TABLE)?;
        for number in numbers {
            table.insert(&key(number)[..], &VALUE[..])?;
        }
    }
    Ok(txn.commit()?)
}

/// The child to be killed: says so once it is well under way.
fn commit_for_ever(path: &Path, quick: bool) -> Outcome<()> {
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    for number in 0_u64.. {
        commit(&database, quick, (0..16).map(|i| (number * 16 + i) * 104_729 % ROWS))?;
        if number == 200 {
            println!("under way");
        }
    }
    Ok(())
}

fn embedded(folder: &Path) -> Outcome<()> {
    let path = folder.join("embedded.redb");
    let _ = std::fs::remove_file(&path);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let open = || Embedded::open(EmbeddedOptions { path: path.clone(), cache_bytes: CACHE });
    let engine = Arc::new(open()?);
    runtime.block_on(async {
        let puts = |numbers: std::ops::Range<u64>| {
            let writes = numbers.map(|number| Write::Put(key(number).into(), Bytes::from_static(&VALUE)));
            Batch { checks: vec![], writes: writes.collect() }
        };
        for start in (0..ROWS).step_by(40_000) {
            let group = (start..start + 40_000).step_by(80).map(|start| puts(start..start + 80)).collect();
            for answer in engine.commit_group(group).await {
                answer?;
            }
        }
        for tasks in [1, 4, 16, 64] {
            let next = AtomicU64::new(0);
            measured(&engine, &format!("3-row batches, {tasks} tasks"), tasks, 1, async |engine: Arc<Embedded>| {
                let start = next.fetch_add(3, Ordering::Relaxed) * 7919;
                let batch = puts(0..0);
                let writes = (start..start + 3).map(|n| Write::Put(key(n % ROWS).into(), Bytes::from_static(&VALUE)));
                engine.commit(Batch { writes: writes.collect(), ..batch }).await.is_ok()
            })
            .await?;
        }
        // As a small PUT does: the object's row anywhere, two rows after the ones before.
        for tasks in [1, 16, 64] {
            let next = AtomicU64::new(0);
            measured(
                &engine,
                &format!("1 scattered row and 2 in sequence, {tasks} tasks"),
                tasks,
                1,
                async |engine: Arc<Embedded>| {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let put = |key: Vec<u8>| Write::Put(key.into(), Bytes::from_static(&VALUE));
                    let in_sequence = |kind| put(format!("{kind}/{number:038}").into_bytes());
                    let writes = vec![put(key(number * 7919 % ROWS)), in_sequence("d"), in_sequence("k")];
                    engine.commit(Batch { checks: vec![], writes }).await.is_ok()
                },
            )
            .await?;
        }
        let next = AtomicU64::new(0);
        measured(&engine, "reads of one row, 1 task", 1, 64, async |engine: Arc<Embedded>| {
            let number = next.fetch_add(1, Ordering::Relaxed) * 7919 % ROWS;
            engine.get(&[Key::from(key(number))]).await.is_ok_and(|rows| rows[0].is_some())
        })
        .await?;
        measured(&engine, "reads of one row out of 10,000, 1 task", 1, 64, async |engine: Arc<Embedded>| {
            let number = next.fetch_add(1, Ordering::Relaxed) * 7919 % 10_000;
            engine.get(&[Key::from(key(number))]).await.is_ok_and(|rows| rows[0].is_some())
        })
        .await?;
        measured(&engine, "ranges of 1,000 rows, 1 task", 1, 1, async |engine: Arc<Embedded>| {
            let from = Key::from(key(next.fetch_add(1, Ordering::Relaxed) % 1000));
            engine.range(Range { from, to: "p".into(), limit: 1000 }).await.is_ok()
        })
        .await
    })?;
    drop(engine);
    let began = Instant::now();
    drop(open()?);
    println!("embedded: opened and closed in {:.1?}", began.elapsed());
    Ok(std::fs::remove_file(&path)?)
}

/// Runs `one` in `tasks` concurrent loops for [`SPAN`], looking at the clock every `stride` times.
async fn measured<F>(engine: &Arc<Embedded>, name: &str, tasks: usize, stride: u64, one: F) -> Outcome<()>
where
    F: AsyncFn(Arc<Embedded>) -> bool,
{
    let (began, cpu) = (Instant::now(), cpu()?);
    let task = async || {
        let mut count = 0;
        while began.elapsed() < SPAN {
            for _ in 0..stride {
                assert!(one(Arc::clone(engine)).await, "an operation failed");
            }
            count += stride;
        }
        count
    };
    let count: u64 = futures::future::join_all((0..tasks).map(|_| task())).await.into_iter().sum();
    let each = (self::cpu()? - cpu) / u32::try_from(count)?;
    println!("embedded: {name}: {:.0}/s, {each:.1?} CPU each", count as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// User and system time of this process, in steps of 10 ms.
fn cpu() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
