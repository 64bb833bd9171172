//! The embedded engine under every kind of ill treatment.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use base::{Classify, ErrorKind};
use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Check, Memory, Write, conformance};

/// A step of the file at which a test makes the disk fail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Grow = 0,
    Write = 1,
    Flush = 2,
}

/// The failing disk of a test: an error number per step, 0 for none.
#[derive(Debug, Default)]
pub(super) struct Faults([AtomicI32; 3]);

impl Faults {
    pub(super) fn meet(&self, step: Step) -> io::Result<()> {
        match self.0[step as usize].load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn set(&self, step: Step, errno: i32) {
        self.0[step as usize].store(errno, Ordering::SeqCst);
    }
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn options(folder: &TempDir) -> EmbeddedOptions {
    EmbeddedOptions { path: folder.path().join("meta").join("meta.redb"), cache_bytes: 16 << 20 }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
    Batch { checks: vec![], writes: vec![Write::Put(key.into(), value.into())] }
}

async fn value(engine: &dyn Engine, key: &'static str) -> Option<Bytes> {
    engine.get(&[key.into()]).await.expect("get").remove(0).map(|row| row.value)
}

fn refusal(options: EmbeddedOptions) -> (ErrorKind, String) {
    let error = Embedded::open(options).expect_err("this must not open");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn embedded_conforms() {
    let folder = folder();
    conformance::suite(&Embedded::open(options(&folder)).expect("open")).await;
}

#[test]
fn file_and_folder_are_private() {
    let folder = folder();
    let options = options(&folder);
    drop(Embedded::open(options.clone()).expect("open"));
    let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&options.path), 0o600);
    assert_eq!(mode(options.path.parent().expect("a folder")), 0o700);
}

#[tokio::test]
async fn rows_and_versions_survive_a_reopen() {
    let folder = folder();
    let engine = Embedded::open(options(&folder)).expect("open");
    engine.commit(put("a", "1")).await.expect("commit");
    engine.commit(put("gone", "1")).await.expect("commit");
    let before = engine.get(&["a".into(), "gone".into()]).await.expect("get");
    engine.commit(Batch { checks: vec![], writes: vec![Write::Delete("gone".into())] }).await.expect("commit");
    drop(engine);

    let engine = Embedded::open(options(&folder)).expect("open again");
    let after = engine.get(&["a".into(), "gone".into()]).await.expect("get");
    assert_eq!(after, [before[0].clone(), None]);
    engine.commit(put("gone", "1")).await.expect("commit");
    let back = engine.get(&["gone".into()]).await.expect("get");
    assert_ne!(back[0], before[1], "a row made again after a restart does not repeat its version");
}

#[tokio::test]
async fn dropping_finishes_what_was_handed_over() {
    let folder = folder();
    let engine = Embedded::open(options(&folder)).expect("open");
    for number in 0..200 {
        // Polled once, so that the batch is on its way, then abandoned as a cancelled request is.
        let mut commit = engine.commit_group(vec![put(format!("k{number}"), "")]);
        let _ = futures::poll!(commit.as_mut());
    }
    drop(engine);
    let engine = Embedded::open(options(&folder)).expect("open again");
    let page = engine.range(Range { from: "k".into(), to: "l".into(), limit: 1000 }).await.expect("range");
    assert_eq!(page.rows.len(), 200);
}

#[test]
fn refusals_name_the_file_and_the_cure() {
    let held = folder();
    let engine = Embedded::open(options(&held)).expect("open");
    let (kind, text) = refusal(options(&held));
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains("meta.redb is in use by another process: stop that one"), "{text}");
    drop(engine);

    let path_of = |folder: &TempDir| {
        let path = options(folder).path;
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        path
    };
    for content in [&b"x"[..], b"#!/bin/sh\n", &[0; 4096], &[7; 100_000]] {
        let foreign = folder();
        let path = path_of(&foreign);
        std::fs::write(&path, content).expect("write");
        let (kind, text) = refusal(options(&foreign));
        assert_eq!(kind, ErrorKind::Corrupt, "{text}");
        assert!(text.contains("meta.redb is not holdfast's metadata file"), "{text}");
        assert_eq!(std::fs::read(&path).expect("read"), content, "a foreign file is left alone");
    }

    let other = folder();
    let database = redb::Database::create(path_of(&other)).expect("another program's database");
    let txn = database.begin_write().expect("begin");
    txn.open_table(TableDefinition::<&str, &str>::new("recipes")).expect("table");
    txn.commit().expect("commit");
    drop(database);
    let (kind, text) = refusal(options(&other));
    assert_eq!(kind, ErrorKind::Corrupt, "{text}");
    assert!(text.contains("another program's redb database"), "{text}");

    let newer = folder();
    drop(Embedded::open(options(&newer)).expect("open"));
    let database = redb::Database::create(path_of(&newer)).expect("our database");
    let txn = database.begin_write().expect("begin");
    txn.open_table(ABOUT).expect("table").insert(FORMAT, 2).expect("insert");
    txn.commit().expect("commit");
    drop(database);
    let (_, text) = refusal(options(&newer));
    assert!(text.contains("has format 2; this program knows 1: use the holdfast that wrote it"), "{text}");

    let directory = folder();
    std::fs::create_dir_all(options(&directory).path).expect("a folder in the way");
    let (kind, text) = refusal(options(&directory));
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains("move that folder away"), "{text}");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_not_a_crash() {
    let folder = folder();
    let options = options(&folder);
    let engine = Embedded::open(options.clone()).expect("open");
    for number in 0..2000 {
        // One group, or this would be two thousand flushes.
        if number % 500 == 0 {
            let batches = (number..number + 500).map(|n| put(format!("k{n:04}"), vec![3; 300])).collect();
            engine.commit_group(batches).await.into_iter().for_each(|answer| _ = answer.expect("commit"));
        }
    }
    drop(engine);
    let whole = std::fs::read(&options.path).expect("read");
    for (name, damage) in [
        ("cut to half", &(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2)) as &dyn Fn(&mut Vec<u8>)),
        ("cut inside the header", &|bytes| bytes.truncate(100)),
        ("zeroes behind the header", &|bytes| bytes[4096..].fill(0)),
        ("noise behind the header", &|bytes| bytes[4096..].fill(0xa5)),
        ("noise in the header", &|bytes| bytes[20..300].fill(0xa5)),
    ] {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&options.path, &bytes).expect("write");
        let read = async {
            let engine = Embedded::open(options.clone())?;
            let range = Range { from: "k".into(), to: "l".into(), limit: 5000 };
            engine.range(range).await.map(|page| page.rows.len())
        };
        let error = read.await.expect_err(name);
        assert!(error.to_string().contains("meta.redb"), "{name}: {error}");
    }
}

/// An engine with 100 rows on a disk that fails on demand.
async fn on_failing_disk(folder: &TempDir) -> (Embedded, Arc<Faults>) {
    let file = MetaFile::new(options(folder));
    let faults = Arc::clone(&file.faults);
    let engine = Embedded::open_file(file).expect("open");
    let batches = (0..100).map(|n| put(format!("old{n:03}"), vec![1; 300])).collect();
    engine.commit_group(batches).await.into_iter().for_each(|answer| _ = answer.expect("commit"));
    (engine, faults)
}

/// Commits until the engine takes it again: it pauses after a failure.
async fn heals(engine: &Embedded, key: &'static str) {
    for _ in 0..500 {
        if engine.commit(put(key, "healed")).await.is_ok() {
            assert_eq!(value(engine, key).await.as_deref(), Some(&b"healed"[..]));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the engine did not heal within ten seconds");
}

// The disk filled up, redb refused everything from then on ("previous I/O error"), and the server
// needed a restart after the operator had made room.
#[tokio::test]
async fn a_full_disk_is_said_so_and_heals_by_itself() {
    for step in [Step::Grow, Step::Write, Step::Flush] {
        let folder = folder();
        let (engine, faults) = on_failing_disk(&folder).await;
        faults.set(step, ENOSPC);
        let mut failed = false;
        for number in 0..400 {
            // Large enough that the file must grow.
            match engine.commit(put(format!("new{number}"), vec![2; 100_000])).await {
                Ok(()) => assert!(matches!(step, Step::Grow) && !failed, "{step:?}: batch {number} committed"),
                Err(error) => {
                    failed = true;
                    assert!(
                        matches!(error.kind(), ErrorKind::Full | ErrorKind::Unavailable | ErrorKind::Unknown),
                        "{step:?}: {error}"
                    );
                    if matches!(step, Step::Grow) {
                        assert!(matches!(error, CommitError::Full), "{error}");
                        let key = Bytes::from(format!("new{number}"));
                        assert_eq!(engine.get(&[key]).await.expect("reads go on"), [None], "full writes nothing");
                    }
                    break;
                }
            }
        }
        assert!(failed, "{step:?}: the disk never filled");
        faults.set(step, 0);
        heals(&engine, "after").await;
        let page = engine.range(Range { from: "old".into(), to: "ole".into(), limit: 1000 }).await.expect("range");
        assert_eq!(page.rows.len(), 100, "{step:?}: acknowledged rows are there");
    }
}

#[tokio::test]
async fn a_failed_flush_is_never_acknowledged() {
    for step in [Step::Write, Step::Flush] {
        let folder = folder();
        let (engine, faults) = on_failing_disk(&folder).await;
        faults.set(step, EIO);
        for _ in 0..20 {
            let error = engine.commit(put("lost", "1")).await.expect_err("the disk is failing");
            assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown), "{step:?}: {error}");
        }
        faults.set(step, 0);
        heals(&engine, "after").await;
        drop(engine);
        let engine = Embedded::open(options(&folder)).expect("open again");
        assert_eq!(value(&engine, "after").await.as_deref(), Some(&b"healed"[..]));
        let page = engine.range(Range { from: "old".into(), to: "ole".into(), limit: 1000 }).await.expect("range");
        assert_eq!(page.rows.len(), 100);
    }
}

/// In the environment of [`killed_child`]: the file to commit to.
const CHILD_FILE: &str = "HOLDFAST_TEST_META_CHILD";
const CHILD_TASKS: u64 = 16;

/// Not a test of its own: the process that the next test kills. Each task commits pairs of rows
/// and prints the number of each pair that was acknowledged.
#[test]
fn killed_child() {
    let Some(path) = std::env::var_os(CHILD_FILE) else {
        return;
    };
    let engine = Embedded::open(EmbeddedOptions { path: path.into(), cache_bytes: 16 << 20 }).expect("open");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let task = async |task: u64| {
        for number in (task..).step_by(CHILD_TASKS as usize) {
            let writes = ["x", "y"].map(|side| Write::Put(format!("{side}{number:010}").into(), vec![9; 200].into()));
            engine.commit(Batch { checks: vec![], writes: writes.into() }).await.expect("commit");
            let mut out = io::stdout().lock();
            if writeln!(out, "ack {number}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    };
    runtime.block_on(join_all((0..CHILD_TASKS).map(task)));
}

#[tokio::test]
async fn acknowledged_batches_survive_kill_9() {
    let folder = folder();
    let path = options(&folder).path;
    let mut acknowledged = Vec::new();
    // Several lives of one file, each cut at another point.
    for acks in [1, 40, 333] {
        drop(Embedded::open(options(&folder)).expect("open after the kill"));
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "embedded::tests::killed_child", "--nocapture"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut seen = 0;
        let mut line = String::new();
        while seen < acks && lines.read_line(&mut line).expect("a line") > 0 {
            seen += usize::from(line.contains("ack "));
            acknowledged.extend(number_of(&line));
            line.clear();
        }
        child.kill().expect("kill -9");
        child.wait().expect("its end");
        assert_eq!(seen, acks, "the child ended by itself");
        // What it still managed to say before it died.
        let mut rest = String::new();
        lines.read_to_string(&mut rest).expect("the rest");
        let complete = rest.rsplit_once('\n').map_or("", |(complete, _)| complete);
        acknowledged.extend(complete.lines().filter_map(number_of));

        let engine = Embedded::open(options(&folder)).expect("open after the kill");
        for number in &acknowledged {
            let keys = ["x", "y"].map(|side| Key::from(format!("{side}{number:010}")));
            let rows = engine.get(&keys).await.expect("get");
            assert!(rows.iter().all(Option::is_some), "batch {number} was acknowledged and is gone");
        }
        let side = async |side: &'static str, end: &'static str| {
            let range = Range { from: side.into(), to: end.into(), limit: usize::MAX };
            let rows = engine.range(range).await.expect("range").rows;
            rows.into_iter().map(|(key, _)| key.slice(1..)).collect::<Vec<_>>()
        };
        assert_eq!(side("x", "y").await, side("y", "z").await, "a batch is there whole or not at all");
    }
}

/// The number in `... ack <number>`; the test harness may print something before it.
fn number_of(line: &str) -> Option<u64> {
    line.trim().rsplit_once("ack ").and_then(|(_, number)| number.parse().ok())
}

/// A step of the property test; keys are drawn from a few so that they collide.
#[derive(Debug, Clone)]
enum Op {
    Group(Vec<Vec<(u8, Act)>>),
    Range(u8, u8, usize),
    Reopen,
}

#[derive(Debug, Clone)]
enum Act {
    Absent,
    Present,
    /// With the version that the row had when it was last looked at.
    Is,
    Empty(u8),
    Put(Vec<u8>),
    Delete,
}

fn op() -> impl Strategy<Value = Op> {
    let act = prop_oneof![
        2 => Just(Act::Absent),
        2 => Just(Act::Present),
        2 => Just(Act::Is),
        1 => (0..8_u8).prop_map(Act::Empty),
        6 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Act::Put),
        3 => Just(Act::Delete),
    ];
    let batch = proptest::collection::vec((0..8_u8, act), 0..4);
    prop_oneof![
        8 => proptest::collection::vec(batch, 1..4).prop_map(Op::Group),
        3 => (0..9_u8, 0..9_u8, 0..6_usize).prop_map(|(from, to, limit)| Op::Range(from, to, limit)),
        1 => Just(Op::Reopen),
    ]
}

fn key(number: u8) -> Key {
    // Neighbours that differ by a zero byte, a high byte, or length.
    const KEYS: [&[u8]; 9] = [b"a", b"a\0", b"a\0\0", b"a\xff", b"b", b"b\x7f", b"b\x80", b"c", b"d"];
    Bytes::from_static(KEYS[usize::from(number)])
}

fn batch(acts: &[(u8, Act)], looked: &[Option<Row>]) -> Batch {
    let mut batch = Batch::default();
    let mut written = Vec::new();
    for (number, act) in acts {
        let check = match act {
            Act::Absent => Check::Absent(key(*number)),
            Act::Present => Check::Present(key(*number)),
            Act::Empty(to) => Check::Empty(key(*number), key(*to)),
            Act::Is => match &looked[usize::from(*number)] {
                Some(row) => Check::Is(key(*number), row.version),
                None => Check::Absent(key(*number)),
            },
            // A key is written at most once in a batch.
            Act::Put(_) | Act::Delete if written.contains(number) => continue,
            Act::Put(value) => {
                written.push(*number);
                batch.writes.push(Write::Put(key(*number), value.clone().into()));
                continue;
            }
            Act::Delete => {
                written.push(*number);
                batch.writes.push(Write::Delete(key(*number)));
                continue;
            }
        };
        batch.checks.push(check);
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn embedded_answers_as_memory_does(ops in proptest::collection::vec(op(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let folder = folder();
            let memory = Memory::new();
            let mut embedded = Embedded::open(options(&folder)).expect("open");
            let keys: Vec<Key> = (0..9).map(key).collect();
            for op in ops {
                let (here, there) = (memory.get(&keys).await.expect("get"), embedded.get(&keys).await.expect("get"));
                let values = |rows: &[Option<Row>]| -> Vec<_> { rows.iter().map(|row| row.clone().map(|row| row.value)).collect() };
                prop_assert_eq!(values(&here), values(&there));
                match op {
                    Op::Group(group) => {
                        let of = |looked: &[Option<Row>]| group.iter().map(|acts| batch(acts, looked)).collect();
                        let answers = memory.commit_group(of(&here)).await;
                        prop_assert_eq!(format!("{answers:?}"), format!("{:?}", embedded.commit_group(of(&there)).await));
                    }
                    Op::Range(from, to, limit) => {
                        let range = Range { from: key(from), to: key(to), limit };
                        let (here, there) = (memory.range(range.clone()).await.expect("range"), embedded.range(range).await.expect("range"));
                        let plain = |page: Page| -> Vec<_> { page.rows.into_iter().map(|(key, row)| (key, row.value)).collect() };
                        prop_assert_eq!(here.more, there.more);
                        prop_assert_eq!(plain(here), plain(there));
                    }
                    Op::Reopen => {
                        drop(embedded);
                        embedded = Embedded::open(options(&folder)).expect("open again");
                    }
                }
            }
            Ok(())
        })?;
    }
}
