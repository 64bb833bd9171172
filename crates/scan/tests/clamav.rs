//! ClamAV itself: Debian's `clamd`, which `cargo xtask test` installs, with definitions of our own.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::SystemClock;
use meta::Memory;
use scan::{Answer, Asker, Clamav, ClamavOptions, Engine, Hunt, Options, Reason, ScanError, Scanner, Source, Verdict};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// eicar.org's test file: no malware, and found by every engine that is asked to.
const EICAR: &[u8] = br"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
/// Who waits for clamd waits so long: it loads in less than a second here.
const LONG: Duration = Duration::from_secs(120);

struct World {
    folder: tempfile::TempDir,
    meta: Arc<Memory>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["clamav", "watched", "given"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { folder, meta: Arc::new(Memory::new()), stop: CancellationToken::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A signature of bytes, in the folder that freshclam would fill.
    fn knows(&self, folder: &str, name: &str, bytes: &[u8]) {
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.path(folder).join("own.ndb")).expect("a file");
        writeln!(file, "{name}:0:*:{}", hex::encode(bytes)).expect("a line");
    }

    fn clamav(&self) -> Arc<Clamav> {
        self.clamav_that_hunts().0
    }

    fn clamav_that_hunts(&self) -> (Arc<Clamav>, mpsc::UnboundedReceiver<Hunt>) {
        let (hunts, hunted) = mpsc::unbounded_channel();
        let options = ClamavOptions {
            program: "clamd".into(),
            launcher: vec![],
            watched: Some(self.path("watched")),
            folder: self.path("clamav"),
            threads: 2,
        };
        let clock = Arc::new(SystemClock);
        (Arc::new(Clamav::start(options, self.meta.clone(), clock, hunts, self.stop.child_token())), hunted)
    }

    fn scanner(&self, clamav: &Arc<Clamav>) -> Scanner {
        Scanner::new(Options {
            engines: vec![clamav.clone()],
            meta: self.meta.clone(),
            folder: self.folder.path().to_owned(),
            slots: 2,
            clock: Arc::new(SystemClock),
        })
    }
}

async fn ready(clamav: &Arc<Clamav>) {
    clamav.loaded(LONG).await.map(drop).expect("clamd is ready");
}

async fn ask(scanner: &Scanner, bytes: &[u8]) -> Result<Answer, ScanError> {
    let mut intake = scanner.intake(Asker { deadline: LONG, ..Asker::inline("t") });
    intake.write(bytes).await?;
    Ok(intake.finish().await?.answer)
}

async fn say(scanner: &Scanner, bytes: &[u8]) -> Verdict {
    ask(scanner, bytes).await.expect("a verdict").verdict
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("gzip");
    out.finish().expect("gzip")
}

fn found(name: &str) -> Verdict {
    Verdict::Infected(vec![format!("{name}.UNOFFICIAL")])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_look_at_is_incomplete_and_never_clean() {
    let world = World::new();
    world.knows("watched", "Test.Eicar", EICAR);
    let clamav = world.clamav();
    let scanner = world.scanner(&clamav);
    ready(&clamav).await;
    assert_eq!(say(&scanner, b"nothing").await, Verdict::Clean);
    assert_eq!(say(&scanner, b"").await, Verdict::Clean);
    assert_eq!(say(&scanner, EICAR).await, found("Test.Eicar"));
    assert_eq!(say(&scanner, &gzip(&gzip(EICAR))).await, found("Test.Eicar"), "within archives");
    let deep = (0..30).fold(EICAR.to_vec(), |inner, _| gzip(&inner));
    assert_eq!(say(&scanner, &deep).await, Verdict::Incomplete(vec![Reason::TooDeep]));
    // 1,200 MiB of zeros in some MiB.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    (0..1_200).for_each(|_| bomb.write_all(&zeros).expect("gzip"));
    let bomb = bomb.finish().expect("gzip");
    assert_eq!(say(&scanner, &bomb).await, Verdict::Incomplete(vec![Reason::TooLarge]));
    // In a file: larger than what is kept in memory, and the find is at its end.
    let large = [vec![b'x'; 20 << 20], EICAR.to_vec()].concat();
    assert_eq!(say(&scanner, &large).await, found("Test.Eicar"));
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_test_files_are_all_found_in_whatever_they_are_packed() {
    let world = World::new();
    // What all of them carry, as ClamAV's own definitions know it: a program of 544 bytes.
    let clam = fs::read("/usr/share/clamav-testfiles/clam.exe").expect("clamav-testfiles is installed");
    world.knows("watched", "Test.Clam", &clam[..256]);
    let clamav = world.clamav();
    let scanner = world.scanner(&clamav);
    ready(&clamav).await;
    let mut verdicts = Vec::new();
    for entry in fs::read_dir("/usr/share/clamav-testfiles").expect("a folder").flatten() {
        let bytes = fs::read(entry.path()).expect("a file");
        verdicts.push((say(&scanner, &bytes).await, entry.file_name()));
    }
    let missed: Vec<_> = verdicts.iter().filter(|(verdict, _)| !matches!(verdict, Verdict::Infected(_))).collect();
    assert!(missed.is_empty() && verdicts.len() == 44, "of {} missed: {missed:?}", verdicts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_definitions_are_used_once_they_have_shown_that_they_are_there() {
    let world = World::new();
    world.knows("watched", "Test.Eicar", EICAR);
    let clamav = world.clamav();
    let scanner = world.scanner(&clamav);
    ready(&clamav).await;
    let (first, tag) = (clamav.state(), scanner.epoch_tag());
    assert_eq!((say(&scanner, b"it is worse").await, first.epoch), (Verdict::Clean, Some(1)));
    world.knows("given", "Test.Worse", b"worse");
    let updated = clamav.update(&world.path("given")).await.expect("an update");
    assert_eq!((updated.epoch, updated.changed), (2, true));
    assert_eq!(say(&scanner, b"it is worse").await, found("Test.Worse"));
    assert_eq!(say(&scanner, EICAR).await, found("Test.Eicar"), "what is watched is used beside what is given");
    assert_ne!((scanner.epoch_tag(), clamav.state().pid), (tag, first.pid));
    let again = clamav.update(&world.path("given")).await.expect("an update");
    assert_eq!((again.epoch, again.changed), (2, false));
    // Broken ones are refused, and those before are used on.
    fs::write(world.path("given").join("own.ndb"), "no signature\n").expect("a file");
    let broken = clamav.update(&world.path("given")).await;
    assert!(broken.is_err(), "{broken:?}");
    assert!(clamav.state().refused.is_some());
    assert_eq!(say(&scanner, b"and another worse").await, found("Test.Worse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clamd_that_is_killed_is_started_again_and_what_it_scanned_is_scanned_once_more() {
    let world = World::new();
    world.knows("watched", "Test.Eicar", EICAR);
    let clamav = world.clamav();
    let scanner = world.scanner(&clamav);
    ready(&clamav).await;
    let pid = clamav.state().pid.expect("a process");
    let bytes = vec![b'x'; 6 << 20];
    let asked = tokio::spawn({
        let scanner = scanner.clone();
        async move { ask(&scanner, &bytes).await.expect("a verdict") }
    });
    while !has_content(pid) {
        tokio::task::yield_now().await;
    }
    signal(pid, "KILL");
    let answer = asked.await.expect("an answer");
    assert_eq!((answer.verdict, answer.source), (Verdict::Clean, Source::Scanned));
    let state = clamav.state();
    assert!(state.pid != Some(pid) && state.deaths == 1 && state.epoch == Some(1), "{state:?}");
}

/// Whether a process has a content open.
fn has_content(pid: u32) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:content")))
}

fn signal(pid: u32, signal: &str) {
    let done = std::process::Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
    assert!(done.expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_definitions_it_says_what_to_do() {
    let world = World::new();
    let clamav = world.clamav();
    let scanner = world.scanner(&clamav);
    let asked = async {
        loop {
            match ask(&scanner, b"x").await {
                Err(ScanError::Unavailable(why)) if why.contains("holdfast scan update") => return,
                Err(ScanError::Unavailable(_)) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(LONG, asked).await.expect("it says so");
    world.knows("given", "Test.Eicar", EICAR);
    clamav.update(&world.path("given")).await.expect("an update");
    assert_eq!(say(&scanner, EICAR).await, found("Test.Eicar"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_digest_names_what_is_known_without_a_look_at_its_bytes() {
    let world = World::new();
    world.knows("watched", "Test.Eicar", EICAR);
    let (clamav, mut hunts) = world.clamav_that_hunts();
    let scanner = world.scanner(&clamav);
    ready(&clamav).await;
    for bytes in [&b"a content that is bad"[..], b"another content"] {
        assert_eq!(say(&scanner, bytes).await, Verdict::Clean);
    }
    scanner.close().await;
    let scanned = scanner.status().scanned;
    let bad = sha256("a content that is bad").expect("sha256sum");
    fs::write(world.path("given").join("new.hsb"), format!("{bad}:21:Test.Bad\n")).expect("a file");
    clamav.update(&world.path("given")).await.expect("an update");
    let hunt = hunts.recv().await.expect("something to look for");
    let hunted = world.scanner(&clamav);
    let done = hunted.hunt(&hunt).await.expect("it is looked for");
    assert_eq!((done.epoch, done.signatures, done.contents, done.found), (2, 1, 2, 1));
    let answer = ask(&hunted, b"a content that is bad").await.expect("a verdict");
    assert_eq!((answer.verdict, answer.source), (found("Test.Bad"), Source::Known));
    assert_eq!((hunted.status().scanned, scanner.status().scanned), (0, scanned));
    assert_eq!(ask(&hunted, b"another content").await.expect("a verdict").source, Source::Scanned);
}

/// By coreutils.
fn sha256(text: &str) -> Option<String> {
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let out = child.wait_with_output().ok()?;
    Some(String::from_utf8(out.stdout).ok()?.split(' ').next()?.to_owned())
}
