//! A folder under every kind of ill treatment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use futures::future::join_all;
use tempfile::TempDir;

use super::*;

pub(super) const SMALL: usize = 22_000;
pub(super) const LARGE: usize = 300_000;

pub(super) fn body(name: &str, len: usize) -> Bytes {
    name.bytes().cycle().take(len).collect()
}

pub(super) async fn put(site: &Folder, name: &str, len: usize) -> Result<(), SiteError> {
    site.put(name, &[body(name, len)]).await
}

pub(super) async fn whole(site: &Folder, name: &str, len: usize) -> bool {
    site.get(name, 0..len as u64).await.is_ok_and(|bytes| bytes == body(name, len))
}

pub(super) async fn missing(site: &Folder, name: &str) -> bool {
    matches!(site.size(name).await, Err(SiteError::NotFound { .. }))
}

pub(super) fn down<T: std::fmt::Debug>(answer: Result<T, SiteError>) {
    assert!(matches!(answer, Err(SiteError::Down(_))), "{answer:?}");
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(super) fn open(path: &Path) -> Folder {
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
            // A spare segment may go away meanwhile.
            let _ = std::fs::copy(item.path(), target);
        }
    }
}

/// What a folder would look like to the next process, had this one died now.
pub(super) fn as_if_killed(live: &Path) -> TempDir {
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

/// Two servers on one folder would write over the segments of the other.
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

/// `rm -rf` under load. The segment's descriptor would take writes for ever.
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

/// Scrub relies on it: a file that is gone must be missing, however often it was read before.
#[tokio::test]
async fn a_file_removed_behind_our_back_is_missing() {
    let live = folder();
    let site = open(live.path());
    put(&site, "a/large", LARGE).await.unwrap();
    for _ in 0..3 {
        assert!(whole(&site, "a/large", LARGE).await);
    }
    std::fs::remove_file(live.path().join("a/large")).unwrap();
    let gone = site.get("a/large", 0..1).await;
    assert!(matches!(gone, Err(SiteError::NotFound { .. })), "{gone:?}");
    std::fs::remove_dir(live.path().join("a")).unwrap();
    put(&site, "a/large", LARGE).await.unwrap();
    assert!(whole(&site, "a/large", LARGE).await, "directories that were removed are made again");
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

/// With and without room for a segment.
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
        // Space that was freed is used again, that of segments when they are empty.
        for i in 0..kept {
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
    let site = Arc::new(Folder::open_sized(root.into(), small_tests::TINY).unwrap());
    let writers = (0..4).map(|writer| {
        let site = site.clone();
        tokio::spawn(async move {
            for i in 0.. {
                let name = format!("shards/{writer}/{i}");
                put(&site, &name, SMALL).await.unwrap();
                // Most are deleted, so that the rest is moved all the time.
                if i % 5 == 0 {
                    writeln!(std::io::stdout(), "\nACK {name}").unwrap();
                } else {
                    site.delete(&name).await.unwrap();
                }
            }
        })
    });
    join_all(writers).await;
}

/// The page cache outlives the process, so this shows that nothing is acknowledged before it is
/// written and that the segments are sound at any moment, also while they are emptied.
#[tokio::test]
async fn killed_at_any_moment() {
    for acknowledgements in [1, 30, 400] {
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
        let after = Folder::open_sized(live.path().to_owned(), small_tests::TINY).unwrap();
        for name in &names {
            assert!(whole(&after, name, SMALL).await, "{name} of {}", names.len());
        }
    }
}
