//! What holds of every engine: ClamAV, YARA rules, and the one for tests.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base::SystemClock;
use meta::Memory;
use scan::double::Words;
use scan::{Asker, Clamav, ClamavOptions, Engine, Options, Scanner, Source, Verdict, Yara};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
        for name in ["clamav", "rules"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { folder, meta: Arc::new(Memory::new()), stop: CancellationToken::new() }
    }

    fn scanner(&self, engines: Vec<Arc<dyn Engine>>) -> Scanner {
        let (folder, clock) = (self.folder.path().to_owned(), Arc::new(SystemClock));
        Scanner::new(Options { engines, meta: self.meta.clone(), folder, slots: 2, clock })
    }

    fn yara(&self, rules: &str) -> Arc<Yara> {
        let folder = self.folder.path().join("rules");
        fs::write(folder.join("own.yar"), rules).expect("a file");
        let clock = Arc::new(SystemClock);
        Arc::new(Yara::start(folder, self.meta.clone(), clock, self.stop.child_token()))
    }

    fn clamav(&self) -> Arc<Clamav> {
        let signature = format!("Test.Evil:0:*:{}\n", hex::encode("so evil"));
        let watched = self.folder.path().join("rules");
        fs::write(watched.join("own.ndb"), signature).expect("a file");
        let options = ClamavOptions {
            program: "clamd".into(),
            launcher: vec![],
            watched: Some(watched),
            folder: self.folder.path().join("clamav"),
            threads: 2,
        };
        let (hunts, _) = mpsc::unbounded_channel();
        let clock = Arc::new(SystemClock);
        Arc::new(Clamav::start(options, self.meta.clone(), clock, hunts, self.stop.child_token()))
    }
}

async fn say(scanner: &Scanner, bytes: &[u8]) -> (Verdict, Source) {
    let mut intake = scanner.intake(Asker { deadline: LONG, ..Asker::inline("t") });
    intake.write(bytes).await.expect("it is taken");
    let answer = intake.finish().await.expect("a verdict").answer;
    (answer.verdict, answer.source)
}

async fn conforms(world: &World, engine: Arc<dyn Engine>) {
    let name = engine.name();
    let loaded = engine.loaded(LONG).await.expect("it loads");
    assert_eq!(engine.epoch(), Some(loaded.epoch()), "{name}");
    let state = engine.state();
    assert_eq!((state.name.as_str(), state.epoch, state.down), (name, Some(loaded.epoch().number), None));
    assert!(!state.version.is_empty() && !state.version.contains('\n'), "{name}: {}", state.version);
    let scanner = world.scanner(vec![engine.clone()]);
    for (bytes, infected) in [
        (b"".to_vec(), false),
        (b"some text that is good".to_vec(), false),
        (b"some text that is so evil".to_vec(), true),
        // In a file, the find at its end.
        ([vec![b'x'; 20 << 20], b" so evil".to_vec()].concat(), true),
        (vec![0; 3 << 20], false),
    ] {
        let (verdict, source) = say(&scanner, &bytes).await;
        assert_eq!(matches!(verdict, Verdict::Infected(_)), infected, "{name}: {verdict}, {} bytes", bytes.len());
        assert_eq!(verdict == Verdict::Clean, !infected, "{name}: {verdict}");
        assert_eq!((source, say(&scanner, &bytes).await.1), (Source::Scanned, Source::Known), "{name}");
    }
    assert_eq!(scanner.status().scanned, 5, "{name}");
}

const RULES: &str = r#"
    private rule Text { strings: $a = "text" condition: $a }
    rule Evil { strings: $a = "so evil" condition: $a }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn all_engines_conform() {
    let world = World::new();
    conforms(&world, Words::new("words", &["so evil"])).await;
    conforms(&world, world.yara(RULES)).await;
    conforms(&world, world.clamav()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_look_and_either_finds() {
    let world = World::new();
    let yara = world.yara(r#"rule Odd { strings: $a = "odd" condition: $a }"#);
    let clamav = world.clamav();
    let scanner = world.scanner(vec![clamav.clone(), yara.clone()]);
    clamav.loaded(LONG).await.map(drop).expect("it loads");
    yara.loaded(LONG).await.map(drop).expect("it loads");
    let names = |names: &[&str]| Verdict::Infected(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(say(&scanner, b"an odd text").await.0, names(&["YARA.Odd"]));
    assert_eq!(say(&scanner, b"a text, so evil").await.0, names(&["Test.Evil.UNOFFICIAL"]));
    assert_eq!(say(&scanner, b"odd and so evil").await.0, names(&["Test.Evil.UNOFFICIAL", "YARA.Odd"]));
    assert_eq!(say(&scanner, b"a good text").await.0, Verdict::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_loaded_again_and_broken_ones_are_refused() {
    let world = World::new();
    let yara = world.yara(RULES);
    let scanner = world.scanner(vec![yara.clone()]);
    assert_eq!(yara.reload().await, Ok(1));
    assert_eq!(say(&scanner, b"a worse text").await.0, Verdict::Clean);
    let write = |name: &str, text: &str| fs::write(world.folder.path().join("rules").join(name), text).expect("a file");
    // The same name in another file is another rule.
    write("more.yara", r#"rule Evil { strings: $a = "worse" condition: $a }"#);
    assert_eq!(yara.reload().await, Ok(2));
    assert_eq!(say(&scanner, b"a worse text").await.0, Verdict::Infected(vec!["YARA.Evil".to_owned()]));
    for broken in ["rule {", r#"include "/etc/passwd""#] {
        write("broken.yar", broken);
        let refused = yara.reload().await;
        assert!(refused.as_ref().is_err_and(|why| why.contains("broken.yar")), "{refused:?}");
        assert_eq!(yara.epoch().map(|epoch| epoch.number), Some(2));
        assert!(yara.state().refused.is_some());
    }
    fs::remove_file(world.folder.path().join("rules/broken.yar")).expect("it goes");
    assert_eq!((yara.reload().await, yara.state().refused), (Ok(2), None));
}
