//! The service over an engine that finds words and does what it is told, and over metadata that outlive it.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, ManualClock, SystemClock};
use futures::future::join_all;
use meta::Memory;
use scan::double::Words;
use scan::{Answer, Asker, Engine, Lane, Options, Reason, ScanError, Scanner, Source, Verdict};

struct World {
    meta: Arc<Memory>,
    engine: Arc<Words>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { meta: Arc::new(Memory::new()), engine: Words::new("words", &["evil"]), folder }
    }

    fn scanner(&self) -> Scanner {
        self.scanner_of(vec![self.engine.clone()])
    }

    fn scanner_of(&self, engines: Vec<Arc<dyn Engine>>) -> Scanner {
        self.scanner_by(engines, Arc::new(SystemClock))
    }

    fn scanner_by(&self, engines: Vec<Arc<dyn Engine>>, clock: Arc<dyn Clock>) -> Scanner {
        Scanner::new(Options {
            engines,
            meta: self.meta.clone(),
            folder: self.folder.path().to_owned(),
            slots: 2,
            clock,
        })
    }
}

async fn ask(scanner: &Scanner, asker: Asker, bytes: &[u8]) -> Result<Answer, ScanError> {
    let mut intake = scanner.intake(asker);
    intake.write(bytes).await?;
    Ok(intake.finish().await?.answer)
}

async fn say(scanner: &Scanner, bytes: &[u8]) -> Answer {
    ask(scanner, Asker::inline("t"), bytes).await.expect("a verdict")
}

fn numbers(answer: &Answer) -> Vec<u64> {
    answer.epochs.iter().map(|epoch| epoch.number).collect()
}

fn found(name: &str) -> Verdict {
    Verdict::Infected(vec![name.to_owned()])
}

#[tokio::test]
async fn a_content_is_scanned_once_and_known_after_a_restart() {
    let world = World::new();
    let scanner = world.scanner();
    assert_eq!(say(&scanner, b"good").await.verdict, Verdict::Clean);
    let evil = say(&scanner, b"so evil").await;
    assert_eq!((evil.verdict, evil.source), (found("evil"), Source::Scanned));
    assert_eq!(say(&scanner, b"so evil").await.source, Source::Known);
    scanner.close().await;
    let restarted = world.scanner();
    let evil = say(&restarted, b"so evil").await;
    assert_eq!((evil.verdict, evil.source), (found("evil"), Source::Known));
    assert_eq!(say(&restarted, b"good").await.source, Source::Known);
    assert_eq!(world.engine.scans(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_storm_each_unknown_content_is_scanned_exactly_once() {
    let world = World::new();
    let scanner = world.scanner();
    for known in 0..10 {
        say(&scanner, format!("shared {known}").as_bytes()).await;
    }
    // 200 clients with 200 files each, of which all have the same 50.
    let client = |client: usize| {
        let scanner = scanner.clone();
        tokio::spawn(async move {
            for file in 0..200 {
                let bytes = if file < 50 { format!("shared {file}") } else { format!("file {file} of {client}") };
                let asker =
                    Asker { lane: Lane::OnAccess, tenant: client.to_string(), deadline: Duration::from_secs(600) };
                let answer = ask(&scanner, asker, bytes.as_bytes()).await.expect("a verdict");
                assert_eq!(answer.verdict, Verdict::Clean);
            }
        })
    };
    for done in join_all((0..200).map(client)).await {
        done.expect("a client");
    }
    assert_eq!(world.engine.scans(), 50 + 200 * 150);
    let status = scanner.status();
    assert_eq!((status.asked, status.scanned), (10 + 200 * 200, 50 + 200 * 150));
    assert_eq!(status.known + status.shared, 200 * 50 - 40, "the rest was saved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_verdict_of_older_definitions_is_told_to_who_asks_after_they_changed() {
    for round in 0..100 {
        let world = World::new();
        let scanner = world.scanner();
        let storm = |word: &'static str| {
            let scanner = scanner.clone();
            join_all((0..20).map(move |file| {
                let scanner = scanner.clone();
                tokio::spawn(async move { (word, say(&scanner, format!("{word} {file}").as_bytes()).await) })
            }))
        };
        let before = tokio::spawn(storm("worse"));
        tokio::task::yield_now().await;
        world.engine.learn(&["evil", "worse"]);
        let after = storm("worse").await;
        for asked in after {
            let (word, answer) = asked.expect("an answer");
            assert_eq!((numbers(&answer), answer.verdict), (vec![2], found(word)), "round {round}");
        }
        for asked in before.await.expect("the storm before") {
            let (word, answer) = asked.expect("an answer");
            // Which of the two it was asked by is chance, that it says so is not.
            match numbers(&answer).as_slice() {
                [1] => assert!(matches!(&answer.verdict, Verdict::Clean) || answer.verdict == found(word)),
                epochs => assert_eq!((epochs, answer.verdict), ([2].as_slice(), found(word))),
            }
        }
    }
}

#[tokio::test]
async fn all_engines_must_have_looked_before_something_is_clean_and_one_find_is_a_find() {
    let world = World::new();
    let other = Words::new("other", &["bad"]);
    let scanner = world.scanner_of(vec![world.engine.clone(), other.clone()]);
    assert_eq!(say(&scanner, b"good").await.verdict, Verdict::Clean);
    let both = Verdict::Infected(vec!["bad".to_owned(), "evil".to_owned()]);
    assert_eq!(say(&scanner, b"bad and evil").await.verdict, both);
    // New definitions of one do not make the other one look again.
    other.learn(&["bad", "good"]);
    assert_eq!(say(&scanner, b"good").await.verdict, found("good"));
    assert_eq!((world.engine.scans(), other.scans()), (2, 3));
    world.engine.learn(&[]);
    assert_eq!(say(&scanner, b"good").await.source, Source::Known, "a find stands, whoever has not looked yet");
}

#[tokio::test]
async fn with_the_engine_down_what_is_known_is_answered_and_nothing_else_is_called_clean() {
    let world = World::new();
    let scanner = world.scanner();
    say(&scanner, b"good").await;
    world.engine.set_down(true);
    assert_eq!(say(&scanner, b"good").await.verdict, Verdict::Clean);
    let unknown = ask(&scanner, Asker::inline("t"), b"new").await;
    assert!(matches!(unknown, Err(ScanError::Unavailable(_))), "{unknown:?}");
    world.engine.set_down(false);
    assert_eq!(say(&scanner, b"new").await.verdict, Verdict::Clean);
    let none = world.scanner_of(vec![]);
    assert!(matches!(ask(&none, Asker::inline("t"), b"x").await, Err(ScanError::Unavailable(_))));
}

#[tokio::test]
async fn what_kills_the_engine_twice_is_incomplete_and_kills_it_no_third_time() {
    let world = World::new();
    let scanner = world.scanner();
    let killer = say(&scanner, b"die! you engine").await;
    let crash = Verdict::Incomplete(vec![Reason::EngineCrash]);
    assert_eq!(killer.verdict, crash);
    assert_eq!(world.engine.scans(), 2);
    assert_eq!(say(&scanner, b"die! you engine").await.source, Source::Known);
    scanner.close().await;
    assert_eq!(say(&world.scanner(), b"die! you engine").await.verdict, crash);
    assert_eq!((world.engine.scans(), scanner.status().engine_deaths), (2, 2));
}

#[tokio::test]
async fn who_cannot_wait_is_told_so_and_the_scan_goes_on_for_the_next() {
    let world = World::new();
    let scanner = world.scanner();
    let gate = world.engine.hold();
    let asker = Asker { deadline: Duration::ZERO, ..Asker::on_access("t") };
    let late = ask(&scanner, asker, b"slow").await;
    assert!(matches!(late, Err(ScanError::Late(_))), "{late:?}");
    let next = tokio::spawn({
        let scanner = scanner.clone();
        async move { say(&scanner, b"slow").await }
    });
    gate.add_permits(1);
    assert_eq!(next.await.expect("an answer").verdict, Verdict::Clean);
    assert_eq!(world.engine.scans(), 1);
}

#[tokio::test]
async fn a_file_is_hashed_and_only_copied_if_it_is_unknown() {
    let world = World::new();
    let scanner = world.scanner();
    let path = world.folder.path().join("a");
    let bytes = [b"evil".to_vec(), vec![7; 300_000]].concat();
    std::fs::write(&path, &bytes).expect("a file");
    for source in [Source::Scanned, Source::Known] {
        let file = std::fs::File::open(&path).expect("a file");
        let answer = scanner.file(Asker::on_access("t"), file).await.expect("a verdict");
        assert_eq!((answer.verdict, answer.source), (found("evil"), source));
    }
    assert_eq!(say(&scanner, &bytes).await.source, Source::Known, "the door makes no difference");
    let folder = std::fs::File::open(world.folder.path()).expect("a folder");
    assert!(scanner.file(Asker::on_access("t"), folder).await.is_err());
}

#[tokio::test]
async fn the_tag_changes_when_answers_may() {
    let world = World::new();
    let scanner = world.scanner();
    let tag = scanner.epoch_tag();
    assert!(tag.len() <= 30 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{tag}");
    assert_eq!(world.scanner().epoch_tag(), tag, "wherever the same is loaded");
    world.engine.learn(&[]);
    assert_ne!(scanner.epoch_tag(), tag);
}

#[tokio::test]
async fn what_nobody_asks_for_is_forgotten_and_what_is_asked_for_is_not() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let world = World::new();
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let scanner = world.scanner_by(vec![world.engine.clone()], clock.clone());
    for bytes in [&b"asked for"[..], b"not asked for"] {
        say(&scanner, bytes).await;
    }
    scanner.close().await;
    let scanner = world.scanner_by(vec![world.engine.clone()], clock.clone());
    clock.advance_ms(20 * DAY_MS);
    assert_eq!(say(&scanner, b"asked for").await.source, Source::Known);
    scanner.close().await;
    clock.advance_ms(20 * DAY_MS);
    let scanner = world.scanner_by(vec![world.engine.clone()], clock.clone());
    assert_eq!(scanner.forget_old().await.expect("rows"), 1);
    assert_eq!(say(&scanner, b"asked for").await.source, Source::Known);
    assert_eq!(say(&scanner, b"not asked for").await.source, Source::Scanned);
}

#[tokio::test]
async fn no_row_says_clean_before_all_engines_have_looked() {
    let world = World::new();
    let slow = Words::new("slow", &["bad"]);
    let gate = slow.hold();
    let scanner = world.scanner_of(vec![world.engine.clone(), slow.clone()]);
    let asked = tokio::spawn({
        let scanner = scanner.clone();
        async move { say(&scanner, b"good").await }
    });
    while slow.scans() == 0 {
        tokio::task::yield_now().await;
    }
    let rows = async || {
        let (from, to) = meta::record::key::verdicts();
        let range = meta::Range { from, to, limit: 10 };
        meta::Engine::range(world.meta.as_ref(), range).await.expect("rows").rows.len()
    };
    assert_eq!((world.engine.scans(), rows().await), (1, 0));
    gate.add_permits(1);
    assert_eq!(asked.await.expect("an answer").verdict, Verdict::Clean);
    scanner.close().await;
    assert_eq!(rows().await, 1);
}

#[tokio::test]
async fn who_comes_back_to_older_definitions_is_answered_by_what_they_said() {
    let world = World::new();
    let scanner = world.scanner();
    assert_eq!(say(&scanner, b"so evil").await.verdict, found("evil"));
    world.engine.learn(&[]);
    assert_eq!(say(&scanner, b"so evil").await.verdict, Verdict::Clean, "a wrong folder");
    scanner.close().await;
    let engine = Words::new("words", &["evil"]);
    let back = world.scanner_of(vec![engine.clone()]);
    assert_eq!(say(&back, b"so evil").await.verdict, found("evil"));
    assert_eq!(engine.scans(), 0);
}
