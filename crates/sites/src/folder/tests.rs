//! A folder under every kind of ill treatment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;

use super::record::{BLOCK, LOG_SIZE, encode_put, header};
use super::*;

const SMALL: usize = 22_000;
const LARGE: usize = 300_000;

fn body(name: &str, len: usize) -> Bytes {
    name.bytes().cycle().take(len).collect()
}

async fn put(site: &Folder, name: &str, len: usize) -> Result<(), SiteError> {
    site.put(name, &[body(name, len)]).await
}

async fn whole(site: &Folder, name: &str, len: usize) -> bool {
    site.get(name, 0..len as u64).await.is_ok_and(|bytes| bytes == body(name, len))
}

async fn missing(site: &Folder, name: &str) -> bool {
    matches!(site.size(name).await, Err(SiteError::NotFound { .. }))
}

fn down<T: std::fmt::Debug>(answer: Result<T, SiteError>) {
    assert!(matches!(answer, Err(SiteError::Down(_))), "{answer:?}");
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Folder {
    Folder::open(path.to_owned()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

/// What a folder would look like to the next process, had this one died now.
fn as_if_killed(live: &Path) -> TempDir {
    let image = folder();
    copy(live, image.path());
    image
}

#[tokio::test]
async fn passes_the_suite() {
    let folder = folder();
    let site = open(folder.path());
    crate::conformance::suite(&site).await;
    crate::conformance::whole_name_order(&site).await;
}

#[tokio::test]
async fn a_relative_path_is_refused() {
    assert!(matches!(Folder::open("sites/dc1".into()), Err(SiteError::Denied(_))));
}

/// Two servers on one folder would each replay and empty the log of the other.
#[tokio::test]
async fn one_process_at_a_time() {
    let folder = folder();
    let first = open(folder.path());
    put(&first, "a", SMALL).await.unwrap();
    let second = Folder::open(folder.path().to_owned()).err().unwrap();
    assert!(second.to_string().contains("in use by another process"), "{second}");
    drop(first);
    assert!(whole(&open(folder.path()), "a", SMALL).await);
}

async fn everything_is_down(site: &Folder) {
    down(put(site, "new/small", SMALL).await);
    down(put(site, "new/large", LARGE).await);
    down(site.get("shards/small", 0..1).await);
    down(site.get("shards/large", 0..1).await);
    down(site.size("shards/small").await);
    down(site.delete("shards/small").await);
    down(site.list("", None, 10).await);
}

#[tokio::test]
async fn a_deleted_root_is_down_until_it_is_back() {
    let parent = folder();
    let root = parent.path().join("site");
    std::fs::create_dir(&root).unwrap();
    let site = open(&root);
    put(&site, "shards/small", SMALL).await.unwrap();
    put(&site, "shards/large", LARGE).await.unwrap();
    // Twice, so that descriptors are cached: those of deleted files still give bytes.
    for _ in 0..2 {
        assert!(whole(&site, "shards/small", SMALL).await && whole(&site, "shards/large", LARGE).await);
    }
    std::fs::remove_dir_all(&root).unwrap();
    everything_is_down(&site).await;
    assert!(!root.exists(), "a deleted root must not come back by itself");

    std::fs::create_dir(&root).unwrap();
    assert!(missing(&site, "shards/small").await && missing(&site, "shards/large").await);
    put(&site, "shards/small", SMALL).await.unwrap();
    assert!(whole(&site, "shards/small", SMALL).await);
}

/// As with an unmounted disk: the folder lives on, but not where it was.
#[tokio::test]
async fn a_moved_root_is_down_until_it_is_back() {
    let parent = folder();
    let (root, away) = (parent.path().join("site"), parent.path().join("away"));
    std::fs::create_dir(&root).unwrap();
    let site = open(&root);
    put(&site, "shards/small", SMALL).await.unwrap();
    std::fs::rename(&root, &away).unwrap();
    down(put(&site, "new/small", SMALL).await);
    down(site.size("shards/small").await);
    down(site.get("shards/small", 0..1).await);
    std::fs::rename(&away, &root).unwrap();
    assert!(whole(&site, "shards/small", SMALL).await);
    put(&site, "new/small", SMALL).await.unwrap();
    assert!(whole(&site, "new/small", SMALL).await);
}

#[tokio::test]
async fn a_root_that_is_not_there_yet_is_down() {
    let parent = folder();
    let root = parent.path().join("site");
    let site = open(&root);
    everything_is_down(&site).await;
    std::fs::create_dir(&root).unwrap();
    put(&site, "a", SMALL).await.unwrap();
    assert!(whole(&site, "a", SMALL).await);
}

/// `rm -rf` under load. The log's descriptor would take writes for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_root_deleted_while_writing_fails_every_later_put() {
    let parent = folder();
    let root = parent.path().join("site");
    std::fs::create_dir(&root).unwrap();
    let site = Arc::new(open(&root));
    put(&site, "first", SMALL).await.unwrap();
    let (started, mut running) = tokio::sync::mpsc::channel(1000);
    let writers = (0..6).map(|writer| {
        let (site, started) = (site.clone(), started.clone());
        tokio::spawn(async move {
            let len = if writer < 4 { SMALL } else { LARGE };
            for i in 0.. {
                match put(&site, &format!("w{writer}/{i}"), len).await {
                    Ok(()) => drop(started.try_send(())),
                    Err(error) => return error,
                }
            }
            unreachable!()
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..20 {
        running.recv().await.unwrap();
    }
    // The writers race it, as they would race an operator's rm.
    while root.exists() {
        let _ = std::fs::remove_dir_all(&root);
    }
    for writer in writers {
        down::<()>(Err(writer.await.unwrap()));
    }
    everything_is_down(&site).await;
    assert!(!root.exists());
}

/// The files of small puts are not flushed: a loss of power takes some, or parts of some.
#[tokio::test]
async fn the_log_restores_what_a_crash_took() {
    let live = folder();
    let site = open(live.path());
    let names: Vec<String> = (0..40).map(|i| format!("shards/{:02x}/{i}", i % 7)).collect();
    for result in join_all(names.iter().map(|name| put(&site, name, SMALL))).await {
        result.unwrap();
    }
    let image = as_if_killed(live.path());
    for (i, name) in names.iter().enumerate() {
        let path = image.path().join(name);
        match i % 5 {
            0 => std::fs::remove_file(path).unwrap(),
            1 => std::fs::write(path, b"").unwrap(),
            2 => std::fs::write(path, vec![0; SMALL]).unwrap(),
            3 => std::fs::write(path, &body(name, SMALL)[..SMALL / 2]).unwrap(),
            _ => {}
        }
    }
    std::fs::remove_dir_all(image.path().join("shards/06")).unwrap();
    let after = open(image.path());
    for name in &names {
        assert!(whole(&after, name, SMALL).await, "{name}");
    }
}

#[tokio::test]
async fn a_torn_record_ends_the_replay() {
    let live = folder();
    let site = open(live.path());
    for name in ["a", "b", "c"] {
        put(&site, name, 10_000).await.unwrap();
    }
    let image = as_if_killed(live.path());
    for name in ["a", "b", "c"] {
        std::fs::remove_file(image.path().join(name)).unwrap();
    }
    let log = image.path().join("log/0");
    let mut bytes = std::fs::read(&log).unwrap();
    // Three blocks each, behind the header: this is within c.
    bytes[BLOCK + 2 * 3 * BLOCK + 5000] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let after = open(image.path());
    assert!(whole(&after, "a", 10_000).await && whole(&after, "b", 10_000).await);
    assert!(missing(&after, "c").await);
}

/// A shard that was deleted long ago must not come back at every start.
#[tokio::test]
async fn deleted_names_stay_deleted() {
    let live = folder();
    let site = open(live.path());
    put(&site, "a", SMALL).await.unwrap();
    site.delete("a").await.unwrap();
    put(&site, "b", SMALL).await.unwrap();
    let after = as_if_killed(live.path());
    assert!(missing(&open(after.path()), "a").await, "the delete is in the log");

    site.delete("b").await.unwrap();
    drop(site);
    assert!(missing(&open(live.path()), "b").await, "closing writes the deletes that wait");
}

/// Records that were made durable by a checkpoint or a restart no longer count.
#[tokio::test]
async fn old_records_are_not_replayed() {
    let live = folder();
    let site = open(live.path());
    put(&site, "a", SMALL).await.unwrap();
    drop(site);
    drop(open(live.path()));
    std::fs::remove_file(live.path().join("a")).unwrap();
    assert!(missing(&open(live.path()), "a").await);
}

/// More than both log files hold, in batches of every size.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_round() {
    let live = folder();
    let site = open(live.path());
    let len = 60_000;
    let names: Vec<String> = (0..(5 * LOG_SIZE as usize / 2 / len)).map(|i| format!("{i:04}")).collect();
    for some in names.chunks(37) {
        for result in join_all(some.iter().map(|name| put(&site, name, len))).await {
            result.unwrap();
        }
    }
    let image = as_if_killed(live.path());
    let (oldest, newest) = (&names[0], &names[names.len() - 1]);
    std::fs::remove_file(image.path().join(oldest)).unwrap();
    std::fs::remove_file(image.path().join(newest)).unwrap();
    let after = open(image.path());
    assert!(missing(&after, oldest).await, "its record was overwritten");
    for name in &names[1..] {
        assert!(whole(&after, name, len).await, "{name}");
    }
}

/// Somebody tidies up a folder called "log". What is acknowledged afterwards must be in a log
/// that exists.
#[tokio::test]
async fn a_deleted_log_is_noticed() {
    let live = folder();
    let site = open(live.path());
    put(&site, "a", SMALL).await.unwrap();
    std::fs::remove_dir_all(live.path().join("log")).unwrap();
    down(put(&site, "b", SMALL).await);
    put(&site, "b", SMALL).await.unwrap();
    put(&site, "c", SMALL).await.unwrap();
    let image = as_if_killed(live.path());
    std::fs::remove_file(image.path().join("c")).unwrap();
    let after = open(image.path());
    for name in ["a", "b", "c"] {
        assert!(whole(&after, name, SMALL).await, "{name}");
    }
}

/// Scrub relies on it: a file that is gone must be missing, however often it was read before.
#[tokio::test]
async fn a_file_removed_behind_our_back_is_missing() {
    let live = folder();
    let site = open(live.path());
    for (name, len) in [("a/small", SMALL), ("a/large", LARGE)] {
        put(&site, name, len).await.unwrap();
        for _ in 0..3 {
            assert!(whole(&site, name, len).await);
        }
        std::fs::remove_file(live.path().join(name)).unwrap();
        let gone = site.get(name, 0..1).await;
        assert!(matches!(gone, Err(SiteError::NotFound { .. })), "{gone:?}");
    }
    std::fs::remove_dir(live.path().join("a")).unwrap();
    put(&site, "a/small", SMALL).await.unwrap();
    assert!(whole(&site, "a/small", SMALL).await, "directories that were removed are made again");
}

#[tokio::test]
async fn planted_things_are_not_files() {
    let live = folder();
    let site = open(live.path());
    std::os::unix::fs::symlink("/etc/passwd", live.path().join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(live.path().join("fifo")).status().unwrap().success());
    std::fs::create_dir(live.path().join("dir")).unwrap();
    for name in ["link", "fifo", "dir"] {
        assert!(missing(&site, name).await, "{name}");
        let got = site.get(name, 0..1).await;
        assert!(matches!(got, Err(SiteError::NotFound { .. })), "{name}: {got:?}");
    }
    assert_eq!(site.list("", None, 10).await.unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The log lies in a folder that others can write to.
    #[test]
    fn any_log_is_survived(junk: Vec<u8>, at in 0..3 * BLOCK, name in "(\\.\\./|/|a|log/0|~){1,4}") {
        let parent = folder();
        let root = parent.path().join("site");
        std::fs::create_dir_all(root.join("log")).unwrap();
        let mut log = header(4);
        encode_put(4, 0, &name, &[Bytes::from_static(b"planted")], &mut log);
        encode_put(4, 1, "good", &[Bytes::from_static(b"good")], &mut log);
        let junk_end = (at + junk.len()).min(log.len());
        let harmed = at < BLOCK + BLOCK && !junk.is_empty();
        log.splice(at.min(junk_end)..junk_end, junk);
        std::fs::write(root.join("log/0"), log).unwrap();
        drop(open(&root));
        // Nothing beside the site, and the rest of the log was read unless it was harmed.
        prop_assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        prop_assert!(harmed || at < 3 * BLOCK || root.join("good").exists());
    }
}

/// A small file system of its own, unmounted when dropped. `None`, loudly, where that is not
/// permitted.
struct Mounted(TempDir);

impl Mounted {
    fn new(size: &str) -> Option<Self> {
        let folder = folder();
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).status();
        if !mount.is_ok_and(|status| status.success()) {
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: mounting needs privileges; full and read-only disks go untested");
            return None;
        }
        Some(Self(folder))
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// With and without room for a log.
#[tokio::test]
async fn a_full_disk_is_full_and_still_read() {
    for (size, len) in [("1m", SMALL), ("1m", LARGE), ("80m", SMALL), ("80m", LARGE)] {
        let Some(disk) = Mounted::new(size) else { return };
        let site = open(disk.0.path());
        let mut kept = 0;
        let error = loop {
            match put(&site, &format!("s/{kept}"), len).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SiteError::Full(_)), "{error}");
        assert!(kept > 1, "{size} {len}: {kept}");
        assert!(missing(&site, &format!("s/{kept}")).await, "the torn file does not hold space");
        for i in 0..kept {
            assert!(whole(&site, &format!("s/{i}"), len).await, "{i} of {kept}");
        }
        // Space that was freed is used again.
        for i in 0..kept.min(4) {
            site.delete(&format!("s/{i}")).await.unwrap();
        }
        put(&site, "again", len).await.unwrap();
        assert!(whole(&site, "again", len).await);
    }
}

#[tokio::test]
async fn a_read_only_disk_denies_writes_and_is_read() {
    let Some(disk) = Mounted::new("80m") else { return };
    let site = open(disk.0.path());
    put(&site, "s/small", SMALL).await.unwrap();
    put(&site, "s/large", LARGE).await.unwrap();
    drop(site);
    disk.remount("ro");
    let site = open(disk.0.path());
    for len in [SMALL, LARGE] {
        let answer = put(&site, "s/new", len).await;
        assert!(matches!(answer, Err(SiteError::Denied(_))), "{answer:?}");
    }
    assert!(matches!(site.delete("s/small").await, Err(SiteError::Denied(_))));
    assert!(whole(&site, "s/small", SMALL).await && whole(&site, "s/large", LARGE).await);
    assert_eq!(site.list("", None, 10).await.unwrap().len(), 2);
    disk.remount("rw");
    put(&site, "s/new", SMALL).await.unwrap();
    assert!(whole(&site, "s/new", SMALL).await);
}

const CHILD: &str = "HOLDFAST_TEST_CHILD_FOLDER";

/// Not a test by itself: the process that [`killed_at_any_moment`] kills.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_writes_until_killed() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let site = Arc::new(open(Path::new(&root)));
    let writers = (0..4).map(|writer| {
        let site = site.clone();
        tokio::spawn(async move {
            for i in 0.. {
                let name = format!("shards/{writer}/{i}");
                put(&site, &name, SMALL).await.unwrap();
                writeln!(std::io::stdout(), "\nACK {name}").unwrap();
            }
        })
    });
    join_all(writers).await;
}

/// The page cache outlives the process, so this shows that nothing is acknowledged early and that
/// the log is sound at any moment; what a loss of power takes is taken by the tests above.
#[tokio::test]
async fn killed_at_any_moment() {
    for acknowledgements in [1, 150, 2000] {
        let live = folder();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "folder::tests::child_that_writes_until_killed", "--nocapture"])
            .env(CHILD, live.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut names: Vec<String> = Vec::new();
        let mut killed = false;
        // To the end of the pipe: what was acknowledged up to the very moment counts.
        for line in lines.map_while(Result::ok) {
            names.extend(line.strip_prefix("ACK ").map(str::to_owned));
            if names.len() >= acknowledgements && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed && names.len() >= acknowledgements);
        // Every second file is lost as well: that the log has them all is the point.
        for name in names.iter().rev().take(300).step_by(2) {
            std::fs::remove_file(live.path().join(name)).unwrap();
        }
        let after = open(live.path());
        for name in &names {
            assert!(whole(&after, name, SMALL).await, "{name} of {}", names.len());
        }
    }
}
