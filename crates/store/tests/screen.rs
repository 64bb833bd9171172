//! What buckets do about malware, over a scan service whose engine finds words.

#[path = "common/whole.rs"]
mod whole;

use std::sync::Arc;
use std::time::Duration;

use base::{Doors, ManualClock, SystemClock, SystemRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::Keyring;
use meta::Engine;
use meta::record::{ContentId, ObjectRecord, Record, VerdictRecord, key};
use scan::double::Words;
use sites::{Memory, Pool, PoolOptions, SiteSpec};
use store::api::{
    BodyError, BodyFacts, BodySource, CompletePart, CopyChanges, CopySource, Expected, NewObject, NewPart, ObjectInfo,
    ReadRange, ScanMode, ScanRules, WriteCondition,
};
use store::{Error, Options, Rescanned, Store};
use whole::Whole;

/// A body in several pieces.
struct Pieces(std::collections::VecDeque<Bytes>);

#[async_trait::async_trait]
impl BodySource for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(self.0.pop_front())
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

struct World {
    store: Store,
    engine: Arc<Words>,
    clock: Arc<ManualClock>,
    meta: Arc<meta::Memory>,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(rules: ScanRules) -> Self {
        Self::with_buffers(rules, None).await
    }

    async fn with_buffers(rules: ScanRules, buffer_bytes: Option<usize>) -> Self {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000));
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let spec = |slot: usize| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("memory://{slot}"),
            site: Arc::new(Memory::new()),
        };
        let pool = Arc::new(Pool::new(std::array::from_fn(spec), doors.clock.clone(), PoolOptions::default()));
        let keyring = Keyring::ephemeral(doors.rng.as_ref());
        let (meta, engine) = (Arc::new(meta::Memory::new()), Words::new("words", &["evil"]));
        let folder = tempfile::tempdir().expect("a folder");
        let scanner = scan::Scanner::new(scan::Options {
            engines: vec![engine.clone()],
            meta: meta.clone(),
            folder: folder.path().to_owned(),
            slots: 2,
            clock: Arc::new(SystemClock),
        });
        let mut options = Options { background: false, scanner: Some(scanner), ..Options::new(doors) };
        options.buffer_bytes = buffer_bytes.unwrap_or(options.buffer_bytes);
        let root = ("root".to_owned(), "rootroot".to_owned());
        let store = Store::open(meta.clone(), pool, keyring, root, options).await.expect("a store");
        store.create_bucket("b", "root", false).await.expect("a bucket");
        store.create_bucket("open", "root", false).await.expect("a bucket");
        store.set_scan_rules("b", rules).await.expect("rules");
        Self { store, engine, clock, meta, folder }
    }

    async fn put(&self, key: &str, body: &str) -> Result<ObjectInfo, Error> {
        let mut source = Whole((!body.is_empty()).then(|| Bytes::copy_from_slice(body.as_bytes())));
        let condition = WriteCondition::default();
        self.store.put("b", key, NewObject::default(), body.len() as u64, &condition, &mut source).await
    }

    async fn get_of(&self, bucket: &str, key: &str) -> Result<String, Error> {
        let reader = self.store.open_object(bucket, key, None, None).await?;
        let chunks: Vec<Bytes> = reader.read(ReadRange::All).await?.try_collect().await?;
        Ok(String::from_utf8(chunks.concat()).expect("text"))
    }

    async fn get(&self, key: &str) -> Result<String, Error> {
        self.get_of("b", key).await
    }

    /// What a reader gets once the scan that follows a write has said something.
    async fn get_judged(&self, key: &str) -> Result<String, Error> {
        let judged = async {
            while self.told(key).await == "pending" {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), judged).await.expect("a verdict");
        self.get(key).await
    }

    async fn told(&self, key: &str) -> &'static str {
        let info = self.store.head("b", key, None).await.expect("an object");
        info.scan.map_or("nothing", |told| told.word())
    }

    async fn copy(&self, from: &str, to: (&str, &str)) -> Result<ObjectInfo, Error> {
        let source = CopySource {
            bucket: "b".to_owned(),
            key: from.to_owned(),
            version: None,
            condition: Default::default(),
            customer: None,
            judged: None,
        };
        self.store.copy(&source, to.0, to.1, &CopyChanges::default(), &WriteCondition::default()).await
    }
}

fn rules(mode: ScanMode) -> ScanRules {
    ScanRules { mode, ..ScanRules::default() }
}

fn is_unclean<T>(done: &Result<T, Error>) -> bool {
    matches!(done, Err(Error::Unclean(why)) if why.contains("evil"))
        || matches!(done, Err(Error::Body(body)) if body_says(body, "evil"))
}

/// What is refused while it is read comes as a fault of its body.
fn body_says(body: &store::api::BodyError, word: &str) -> bool {
    matches!(body, store::api::BodyError::Source(inner) if inner.to_string().contains(word))
}

#[tokio::test]
async fn what_is_infected_is_not_let_in_and_what_stood_there_stands() {
    let world = World::new(rules(ScanMode::Block)).await;
    world.put("a", "good").await.expect("it is clean");
    assert_eq!(world.get("a").await.expect("it is clean"), "good", "at once");
    let evil = world.put("a", "so evil").await.map(drop);
    assert!(is_unclean(&evil), "{evil:?}");
    assert_eq!(world.get("a").await.expect("the one before"), "good");
    let large = format!("{} evil", "x".repeat(3 << 20));
    assert!(is_unclean(&world.put("large", &large).await.map(drop)));
    assert!(matches!(world.get("large").await, Err(Error::NoSuchKey)));
    world.put("empty", "").await.expect("nothing is clean");
    assert_eq!(world.get("empty").await.expect("it is clean"), "");
    let scans = world.engine.scans();
    world.put("again", "good").await.expect("it is known");
    assert_eq!((world.engine.scans(), world.told("again").await), (scans, "clean"));
}

#[tokio::test]
async fn what_cannot_be_looked_at_follows_the_buckets_rule() {
    for (allow_incomplete, expected) in [(false, "refused"), (true, "incomplete")] {
        let world = World::new(ScanRules { allow_incomplete, ..rules(ScanMode::Block) }).await;
        let told = match world.put("a", "die! engine").await {
            Ok(_) => world.told("a").await,
            Err(_) => "refused",
        };
        assert_eq!(told, expected);
        assert_eq!(world.get("a").await.is_ok(), allow_incomplete);
    }
}

#[tokio::test]
async fn without_an_engine_uploads_are_refused_or_kept_back_as_the_bucket_says() {
    for defer in [false, true] {
        let world = World::new(ScanRules { defer, ..rules(ScanMode::Block) }).await;
        world.put("known", "good").await.expect("it is clean");
        world.engine.set_down(true);
        world.put("known too", "good").await.expect("it is known");
        let unknown = world.put("a", "new").await.map(drop);
        assert_eq!(unknown.is_ok(), defer, "{unknown:?}");
        if defer {
            let early = world.get("a").await;
            assert!(matches!(early, Err(Error::Unscanned(_))), "{early:?}");
            assert_eq!(world.store.scan_stored().await.expect("a pass").failed, 1);
            world.engine.set_down(false);
            assert_eq!(world.store.scan_stored().await.expect("a pass").read, 1);
            assert_eq!(world.get("a").await.expect("it is clean"), "new");
        }
    }
}

#[tokio::test]
async fn what_is_infected_is_kept_back_until_somebody_gives_it_out() {
    let world = World::new(rules(ScanMode::Quarantine)).await;
    world.put("good", "good").await.expect("it is stored");
    world.put("evil", "so evil").await.expect("it is stored");
    assert_eq!(world.get_judged("good").await.expect("it is clean"), "good");
    let kept_back = world.get_judged("evil").await;
    assert!(is_unclean(&kept_back), "{kept_back:?}");
    assert_eq!(world.told("evil").await, "infected");
    // A copy to where nothing is looked at is no way out.
    assert!(is_unclean(&world.copy("evil", ("open", "evil")).await.map(drop)));
    assert!(is_unclean(&world.copy("evil", ("b", "evil too")).await.map(drop)));
    world.copy("good", ("open", "good")).await.expect("it is clean");
    let info = world.store.release_unclean("b", "evil", None, true).await.expect("it is released");
    assert_eq!((info.key.as_str(), world.get("evil").await.expect("it is given out").as_str()), ("evil", "so evil"));
    world.copy("evil", ("b", "copied")).await.expect("it is given out");
    assert!(is_unclean(&world.get("copied").await), "what is released is that version, and no copy of it");
    world.store.release_unclean("b", "evil", None, false).await.expect("it is kept back again");
    assert!(is_unclean(&world.get("evil").await));
    world.store.set_scan_rules("b", ScanRules::default()).await.expect("rules");
    assert_eq!(world.get("evil").await.expect("nothing is looked at"), "so evil");
}

#[tokio::test]
async fn readers_are_told_where_a_bucket_only_advises() {
    let world = World::new(rules(ScanMode::Advise)).await;
    world.put("evil", "so evil").await.expect("it is stored");
    assert_eq!(world.get("evil").await.expect("whatever it is"), "so evil");
    assert_eq!(world.get_judged("evil").await.expect("whatever it is"), "so evil");
    assert_eq!(world.told("evil").await, "infected");
}

#[tokio::test]
async fn what_was_there_before_is_looked_at_once_and_again_by_other_definitions() {
    let world = World::new(ScanRules::default()).await;
    for (key, body) in [("1", "good"), ("2", "so evil"), ("3", "good"), ("4", "worse")] {
        world.put(key, body).await.expect("it is stored");
    }
    assert_eq!((world.told("2").await, world.engine.scans()), ("nothing", 0));
    world.store.set_scan_rules("b", rules(ScanMode::Quarantine)).await.expect("rules");
    assert!(matches!(world.get("1").await, Err(Error::Unscanned(_))));
    let pass = async || {
        let done = world.store.scan_stored().await.expect("a pass");
        assert_eq!((done.versions, done.failed), (4, 0));
        done.read
    };
    // Each version is read once to learn what it is; contents that are the same are scanned once.
    assert_eq!((pass().await, world.engine.scans()), (4, 3));
    assert_eq!((pass().await, world.engine.scans()), (0, 3));
    assert_eq!(world.get_judged("1").await.expect("it is clean"), "good");
    assert!(is_unclean(&world.get_judged("2").await));
    world.engine.learn(&["evil", "worse"]);
    // Of two versions with one content one is read.
    assert_eq!((pass().await, world.engine.scans()), (3, 6));
    assert_eq!(world.told("4").await, "infected");
    assert_eq!(pass().await, 0);
    let nothing = Rescanned::default();
    world.store.set_scan_rules("b", ScanRules::default()).await.expect("rules");
    assert_eq!(world.store.scan_stored().await.expect("a pass"), nothing);
}

#[tokio::test]
async fn what_is_kept_back_is_looked_at_first_and_then_what_is_newest() {
    let world = World::new(ScanRules { defer: true, ..rules(ScanMode::Block) }).await;
    for body in ["first", "second", "third"] {
        world.put(body, body).await.expect("it is clean");
        world.clock.advance_ms(1000);
    }
    world.engine.set_down(true);
    world.put("0", "unknown").await.expect("it is stored, and kept back");
    world.clock.advance_ms(1000);
    world.engine.set_down(false);
    world.put("0 newest", "fourth").await.expect("it is clean");
    let before = world.engine.seen().len();
    world.engine.learn(&["evil"]);
    assert_eq!(world.store.scan_stored().await.expect("a pass").read, 5);
    assert_eq!(world.engine.seen()[before..], ["unknown", "fourth", "third", "second", "first"]);
}

/// The scan service takes no more in the middle of a body: the version bears the whole body's name all the same.
#[tokio::test]
async fn a_content_that_the_service_gives_up_is_known_by_all_its_bytes() {
    let world = World::new(rules(ScanMode::Quarantine)).await;
    // What does not stay in memory has nowhere to go.
    std::fs::remove_dir_all(world.folder.path()).expect("it is removed");
    let piece = Bytes::from((0..300_000).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
    let pieces: Vec<Bytes> = vec![piece.clone(); 40];
    let body: Vec<u8> = pieces.concat();
    let size = body.len() as u64;
    let mut source = Pieces(pieces.into());
    let condition = WriteCondition::default();
    let info =
        world.store.put("b", "large", NewObject::default(), size, &condition, &mut source).await.expect("it is stored");
    let row =
        world.meta.get(&[key::object_key(info.bucket, "large")]).await.expect("rows").remove(0).expect("the version");
    let mark = ObjectRecord::decode(&row.value).expect("a record").scan.expect("it is marked");
    assert_eq!(mark.content, ContentId { blake3: *blake3::hash(&body).as_bytes(), len: size });
    assert_eq!(world.engine.scans(), 0, "otherwise the service took all of it");
}

/// All room for bodies that are judged first is taken by two whose engine says nothing.
#[tokio::test(start_paused = true)]
async fn who_finds_no_room_among_those_who_wait_is_refused_or_kept_back() {
    for defer in [false, true] {
        let world = World::with_buffers(ScanRules { defer, ..rules(ScanMode::Block) }, Some(4096)).await;
        let _gate = world.engine.hold();
        let begun = tokio::time::Instant::now();
        let third = async {
            // Those before are in the engine by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            (world.put("third", "3").await, begun.elapsed())
        };
        let (first, second, (third, took)) = tokio::join!(world.put("first", "1"), world.put("second", "2"), third);
        let stored = [&first, &second, &third].map(|put| put.as_ref().is_ok_and(|info| info.scan.is_some()));
        assert_eq!(stored, [defer; 3], "{first:?} {second:?} {third:?}");
        assert!(took < Duration::from_secs(59), "{took:?}");
    }
}

#[tokio::test]
async fn an_upload_in_parts_is_kept_back_until_it_was_read_as_a_whole() {
    let world = World::new(rules(ScanMode::Block)).await;
    let upload =
        world.store.create_upload("b", "a", NewObject::default(), None, "root").await.expect("an upload").upload;
    let parts = [format!("{} ev", "x".repeat(5 << 20)), "il".to_owned()];
    let mut list = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        let new = NewPart { upload, number, customer: None };
        let mut body = Whole(Some(Bytes::copy_from_slice(part.as_bytes())));
        let done = world.store.put_part("b", "a", &new, part.len() as u64, &mut body).await.expect("a part");
        list.push(CompletePart { number, etag: done.etag, checksum: None });
    }
    world
        .store
        .complete_upload("b", "a", upload, &list, &Expected::default(), &WriteCondition::default())
        .await
        .expect("an object");
    let kept_back = world.get("a").await;
    assert!(matches!(kept_back, Err(Error::Unscanned(_) | Error::Unclean(_))), "{kept_back:?}");
    // It is read without anybody asking for it.
    assert!(is_unclean(&world.get_judged("a").await), "though neither part alone is infected");
}

#[test]
fn a_record_of_nobody_says_nothing() {
    let record = VerdictRecord { sha256: [0; 32], sha1: [0; 20], md5: [0; 16], said: vec![] };
    assert_eq!(record.verdict(), None);
}
