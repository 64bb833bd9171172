//! Parts under portions' keys: which one, what a leaked one opens, and how parts move.

#[path = "common/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base::{BucketId, Doors, ManualClock, PortionId, Rng, SeededRng, SystemRng};
use bytes::Bytes;
use envelope::{BodyHeader, Opener};
use futures::TryStreamExt;
use keys::{DekPlace, Switch, Wrap};
use meta::record::{Body, BucketRecord, ObjectRecord, Record, key};
use meta::{Engine, Memory as MemoryEngine, Range};
use sites::Pool;
use store::api::{
    BodyError, BodyFacts, BodySource, CompletePart, CopyChanges, CopySource, Encrypt, Expected, NewObject, NewPart,
    ObjectMeta, ReadRange, WriteCondition,
};
use store::{Error, Options, Store};
use whole::Whole;

const DAY_MS: u64 = 24 * 3600 * 1000;

struct World {
    store: Store,
    clock: Arc<ManualClock>,
    meta: Arc<MemoryEngine>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000));
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
        let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
        let options = Options { background: false, ..Options::new(doors) };
        let root = ("root".to_owned(), "rootroot".to_owned());
        let meta = Arc::new(MemoryEngine::new());
        let store = Store::open(meta.clone(), pool, keyring, root, options).await.unwrap();
        store.create_bucket("app", "root", false).await.unwrap();
        Self { store, clock, meta }
    }

    async fn rules(&self, document: &str) {
        self.store.portions().put_rules(self.store.account(), document).await.unwrap();
    }

    async fn put_as(&self, key: &str, encrypt: Encrypt, tags: &[(&str, &str)], body: &[u8]) -> Result<(), Error> {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let meta = ObjectMeta { tags, ..ObjectMeta::default() };
        let new = NewObject { meta, encrypt, acl: None };
        let mut source = Whole(Some(Bytes::copy_from_slice(body)));
        let condition = WriteCondition::default();
        self.store.put("app", key, new, body.len() as u64, &condition, &mut source).await.map(drop)
    }

    async fn put(&self, key: &str) {
        self.put_as(key, Encrypt::Default, &[], key.as_bytes()).await.unwrap();
    }

    async fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        let reader = self.store.open_object("app", key, None, None).await?;
        let chunks: Vec<Bytes> = reader.read(ReadRange::All).await?.try_collect().await?;
        Ok(chunks.concat())
    }

    /// Keys of the objects that a portion's key opens, with the version of the key.
    async fn exposed(&self, portion: &str) -> BTreeMap<String, Vec<u32>> {
        let id = self.store.portions().find(self.store.account(), portion).await.unwrap().id;
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.store.exposure(id, None, cursor.as_deref()).await.unwrap();
            assert_eq!(page.unreadable, 0);
            // A version that is not current may be told twice.
            for part in page.parts.into_iter().filter(|part| seen.insert(format!("{part:?}"))) {
                found.entry(part.key).or_default().push(part.key_version);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return found,
            }
        }
    }

    async fn upload(&self, key: &str, parts: &[Vec<u8>]) {
        let upload = self.store.create_upload("app", key, NewObject::default(), None, "root").await.unwrap().upload;
        let mut named = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let mut source = Whole(Some(Bytes::copy_from_slice(part)));
            let new = NewPart { upload, number, customer: None };
            let info = self.store.put_part("app", key, &new, part.len() as u64, &mut source).await.unwrap();
            named.push(CompletePart { number, etag: info.etag, checksum: None });
        }
        let condition = WriteCondition::default();
        self.store.complete_upload("app", key, upload, &named, &Expected::default(), &condition).await.unwrap();
    }
}

#[tokio::test]
async fn rules_choose_and_exposure_tells_exactly() {
    let w = World::new().await;
    w.rules(r#"{"rules": [{"tags": {"class": "secret"}, "portion": "secrets"}, {"prefix": "users/{id}/", "portion": "users/{id}"}]}"#).await;
    for key in ["users/1/a", "users/1/b", "users/2/a", "other"] {
        w.put(key).await;
    }
    w.put_as("users/1/c", Encrypt::Default, &[("class", "secret")], b"c").await.unwrap();
    w.put_as("users/1/empty", Encrypt::Default, &[], b"").await.unwrap();
    let names = |found: BTreeMap<String, Vec<u32>>| found.into_keys().collect::<Vec<_>>();
    assert_eq!(names(w.exposed("users/1").await), ["users/1/a", "users/1/b"]);
    assert_eq!(names(w.exposed("users/2").await), ["users/2/a"]);
    assert_eq!(names(w.exposed("secrets").await), ["users/1/c"]);
    assert_eq!(names(w.exposed("bucket/app").await), ["other"]);
    // What is overwritten and deleted is told no more; versions that are kept are.
    w.store.delete("app", "users/2/a", &Default::default()).await.unwrap();
    assert_eq!(names(w.exposed("users/2").await), Vec::<String>::new());
    w.store
        .change_bucket_state("app", |state| {
            state.versioning = meta::record::Versioning::Enabled;
            Ok(())
        })
        .await
        .unwrap();
    w.put("users/1/a").await;
    assert_eq!(w.exposed("users/1").await["users/1/a"], [1, 1]);
}

#[tokio::test]
async fn rotation_moves_every_part_and_ends_the_old_version() {
    let w = World::new().await;
    w.put("small").await;
    w.upload("big", &[vec![1; 5 << 20], vec![2; 100]]).await;
    let open = w.store.create_upload("app", "open", NewObject::default(), None, "root").await.unwrap().upload;
    let part = NewPart { upload: open, number: 1, customer: None };
    let mut source = Whole(Some(Bytes::from_static(b"part")));
    let info = w.store.put_part("app", "open", &part, 4, &mut source).await.unwrap();
    let account = w.store.account();
    let portions = w.store.portions();
    let id = portions.find(account, "bucket/app").await.unwrap().id;
    portions.rotate(account, id, true).await.unwrap();
    let done = w.store.rewrap().await.unwrap();
    assert_eq!((done.moved, done.lost, done.unreadable, done.finished), (4, 0, 0, 0));
    let exposed = w.exposed("bucket/app").await;
    assert!(exposed.values().flatten().all(|version| *version == 2), "{exposed:?}");
    assert_eq!(exposed.values().map(Vec::len).sum::<usize>(), 4);
    assert_eq!(w.store.rewrap().await.unwrap().finished, 0, "clean, and too young");
    assert_eq!(portions.versions(id).await.unwrap().len(), 2);
    w.clock.advance_ms(DAY_MS);
    assert_eq!(w.store.rewrap().await.unwrap().finished, 1);
    let versions: Vec<u32> = portions.versions(id).await.unwrap().iter().map(|version| version.version).collect();
    assert_eq!(versions, [2]);
    assert_eq!(w.get("small").await.unwrap(), b"small");
    assert_eq!(w.get("big").await.unwrap().len(), (5 << 20) + 100);
    let named = [CompletePart { number: 1, etag: info.etag, checksum: None }];
    w.store
        .complete_upload("app", "open", open, &named, &Expected::default(), &WriteCondition::default())
        .await
        .unwrap();
    assert_eq!(w.get("open").await.unwrap(), b"part");
}

#[tokio::test]
async fn a_named_key_is_kept_to_and_disabled_it_opens_nothing() {
    let w = World::new().await;
    let account = w.store.account();
    let portions = w.store.portions();
    let new = keys::NewPortion { name: Some("mine".to_owned()), ..Default::default() };
    let id = portions.create(account, new, meta::record::Maker::Customer).await.unwrap().id;
    let named = |id: PortionId| Encrypt::Kms { key: Some(id), context: None, bucket_key: None };
    w.put_as("a", named(id), &[], b"a").await.unwrap();
    w.put("b").await;
    assert!(matches!(
        w.put_as("c", named(PortionId::random(&SystemRng)), &[], b"c").await,
        Err(Error::Portion(keys::PortionError::NoSuchPortion(_)))
    ));
    assert_eq!(w.exposed("mine").await.into_keys().collect::<Vec<_>>(), ["a"]);
    // A copy goes where the rules say unless it names the key; onto itself, too.
    let copy = async |to: &str, encrypt: Encrypt| {
        let (bucket, key) = ("app".to_owned(), "a".to_owned());
        let from =
            CopySource { bucket, key, version: None, condition: Default::default(), customer: None, judged: None };
        let changes = CopyChanges { encrypt, ..CopyChanges::default() };
        w.store.copy(&from, "app", to, &changes, &WriteCondition::default()).await.map(drop)
    };
    copy("d", Encrypt::Default).await.unwrap();
    copy("e", named(id)).await.unwrap();
    assert_eq!(w.exposed("mine").await.into_keys().collect::<Vec<_>>(), ["a", "e"]);
    copy("a", Encrypt::Default).await.unwrap();
    assert_eq!(w.exposed("mine").await.into_keys().collect::<Vec<_>>(), ["e"]);
    assert_eq!(w.get("a").await.unwrap(), b"a");
    portions.switch(account, id, Switch::Disable).await.unwrap();
    assert!(matches!(w.get("e").await, Err(Error::Portion(keys::PortionError::Disabled(_)))));
    assert_eq!(w.get("d").await.unwrap(), b"a");
    portions.switch(account, id, Switch::Shred { days: 0 }).await.unwrap();
    w.store.rewrap().await.unwrap();
    assert!(matches!(w.get("e").await, Err(Error::Portion(keys::PortionError::Shredded(_)))));
    // What nobody can read can still be overwritten and deleted.
    w.put("e").await;
    assert_eq!(w.get("e").await.unwrap(), b"e");
}

/// A client so slow that its key is rotated, and the old version's day is over, before its body has come.
struct Slow<'a>(&'a World, Option<Bytes>);

#[async_trait]
impl BodySource for Slow<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Some(bytes) = self.1.take() else { return Ok(None) };
        let (store, account) = (&self.0.store, self.0.store.account());
        let id = store.portions().find(account, "bucket/app").await.unwrap().id;
        store.portions().rotate(account, id, true).await.unwrap();
        self.0.clock.advance_ms(DAY_MS);
        let done = store.rewrap().await.unwrap();
        assert_eq!(done.finished, 1, "nothing was under the old version");
        Ok(Some(bytes))
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

#[tokio::test]
async fn nothing_lands_under_a_version_that_ended_meanwhile() {
    let w = World::new().await;
    w.store.portions().named(w.store.account(), "bucket/app").await.unwrap();
    let mut source = Slow(&w, Some(Bytes::from_static(b"slow")));
    let put = w.store.put("app", "slow", NewObject::default(), 4, &WriteCondition::default(), &mut source).await;
    assert!(put.is_err(), "it was not acknowledged");
    assert!(matches!(w.get("slow").await, Err(Error::NoSuchKey)));
    w.put("slow").await;
    assert_eq!(w.get("slow").await.unwrap(), b"slow");
}

/// All that an attacker had before a rekey: the portion's key and the metadata, and with them each part's DEK. Afterwards he
/// comes back to all five sites.
#[tokio::test]
async fn what_leaked_opens_nothing_that_is_kept_after_a_rekey() {
    let w = World::new().await;
    w.put("single").await;
    w.put("shared").await;
    let from = CopySource {
        bucket: "app".to_owned(),
        key: "shared".to_owned(),
        version: None,
        condition: Default::default(),
        customer: None,
        judged: None,
    };
    w.store.copy(&from, "app", "copy", &CopyChanges::default(), &WriteCondition::default()).await.unwrap();
    let parts = [vec![1; 5 << 20], vec![2; 100]];
    w.upload("many", &parts).await;
    let large = vec![7; 3 << 20];
    w.put_as("large", Encrypt::Default, &[("a", "b")], &large).await.unwrap();
    let before = w.store.head("app", "many", None).await.unwrap();
    let leaked = data_rows(&w).await;
    assert_eq!(leaked.len(), 5, "a copy shares its part");

    let account = w.store.account();
    let id = w.store.portions().find(account, "bucket/app").await.unwrap().id;
    w.store.portions().rekey(account, id).await.unwrap();
    // A rotation in between takes nothing back.
    w.store.portions().rotate(account, id, true).await.unwrap();
    let done = w.store.rewrap().await.unwrap();
    assert_eq!((done.moved, done.lost, done.unreadable), (6, 0, 0), "a copy has bytes of its own from then on");
    let after = data_rows(&w).await;
    assert!(after.iter().all(|part| !leaked.contains(part)), "no part is the one that it was");
    assert_eq!(after.len(), 6);
    for key in ["single", "shared"] {
        assert_eq!(w.get(key).await.unwrap(), key.as_bytes());
    }
    assert_eq!(w.get("copy").await.unwrap(), b"shared");
    assert_eq!(w.get("many").await.unwrap(), parts.concat());
    assert_eq!(w.get("large").await.unwrap(), large);
    let now = w.store.head("app", "many", None).await.unwrap();
    assert_eq!((now.etag, now.modified_ms, now.body_id), (before.etag, before.modified_ms, before.body_id));

    // The old bytes go, and a day later the old versions of the key.
    w.clock.advance_ms(DAY_MS);
    w.store.collect_garbage().await.unwrap();
    w.store.collect_garbage().await.unwrap();
    let (from, to) = key::garbage();
    let garbage = w.meta.range(Range { from, to, limit: 1000 }).await.unwrap().rows.len();
    assert_eq!(garbage, 0, "nothing of what leaked is kept at the sites");
    assert_eq!(w.store.rewrap().await.unwrap().finished, 1);
    let versions: Vec<u32> = w.store.portions().versions(id).await.unwrap().iter().map(|v| v.version).collect();
    assert_eq!(versions, [3]);
    assert_eq!(w.get("many").await.unwrap(), parts.concat());
}

/// Parts whose bytes are kept.
async fn data_rows(w: &World) -> std::collections::BTreeSet<Vec<u8>> {
    let (from, to) = (Bytes::from_static(b"d/"), Bytes::from_static(b"d0"));
    let page = w.meta.range(Range { from, to, limit: 1000 }).await.unwrap();
    page.rows.iter().map(|(row_key, _)| row_key.to_vec()).collect()
}

/// Objects are overwritten, copied, deleted and read while they are sealed anew.
#[tokio::test]
async fn a_rekey_among_other_requests_loses_nothing() {
    let w = World::new().await;
    let account = w.store.account();
    let parts = |round: u8| [vec![round; 5 << 20], vec![round; 100]];
    for number in 0..20 {
        w.put(&format!("k{number}")).await;
    }
    w.upload("many", &parts(0)).await;
    let id = w.store.portions().find(account, "bucket/app").await.unwrap().id;
    for round in 1..4_u8 {
        w.store.portions().rekey(account, id).await.unwrap();
        let others = async {
            for number in 0..20 {
                match number % 4 {
                    0 => w.put(&format!("k{number}")).await,
                    1 => assert_eq!(w.get(&format!("k{number}")).await.unwrap(), format!("k{number}").as_bytes()),
                    2 => assert_eq!(w.get("many").await.unwrap(), parts(round - 1).concat()),
                    _ => {
                        let from = CopySource {
                            bucket: "app".to_owned(),
                            key: "many".to_owned(),
                            version: None,
                            condition: Default::default(),
                            customer: None,
                            judged: None,
                        };
                        let to = format!("copy{number}");
                        w.store
                            .copy(&from, "app", &to, &CopyChanges::default(), &WriteCondition::default())
                            .await
                            .unwrap();
                    }
                }
            }
        };
        let (done, ()) = futures::join!(w.store.rewrap(), others);
        done.unwrap();
        assert_eq!(w.get("copy3").await.unwrap(), parts(round - 1).concat());
        w.upload("many", &parts(round)).await;
        w.clock.advance_ms(DAY_MS);
        w.store.collect_garbage().await.unwrap();
        while w.store.rewrap().await.unwrap().moved > 0 {}
        for number in 0..20 {
            assert_eq!(w.get(&format!("k{number}")).await.unwrap(), format!("k{number}").as_bytes());
        }
        assert_eq!(w.get("many").await.unwrap(), parts(round).concat());
        let newest = w.store.portions().get(account, id).await.unwrap().record.version;
        assert!(w.exposed("bucket/app").await.values().flatten().all(|version| *version == newest));
    }
}

/// The breach of April 2011, at a size that `HOLDFAST_BREACH_RECORDS` sets: many records, many portions, and
/// an attacker who has one portion's key, all of the metadata and all sites. What opens is what was printed. With one DEK instead, it
/// is one part.
#[tokio::test]
async fn a_leaked_key_opens_what_was_printed_and_nothing_else() {
    let records: usize = std::env::var("HOLDFAST_BREACH_RECORDS").map_or(3_000, |n| n.parse().expect("a number"));
    let w = World::new().await;
    w.rules(r#"{"rules": [{"prefix": "people/{first}", "portion": "people/{first}"}]}"#).await;
    let name = |record: usize| format!("people/{}/{record}", record % 30);
    let all: Vec<usize> = (0..records).collect();
    for some in all.chunks(200) {
        futures::future::join_all(some.iter().map(|record| async { w.put(&name(*record)).await })).await;
    }
    let portions = w.store.portions();
    let account = w.store.account();
    let leaked = portions.find(account, "people/7").await.unwrap();
    let mut keys = Vec::new();
    for version in portions.versions(leaked.id).await.unwrap() {
        let name = keys::KeyName { portion: leaked.id, version: version.version };
        keys.push(portions.to_open(account, name).await.unwrap());
    }
    let (mut from, to) = key::objects(bucket_id(&w).await, "");
    let mut opened = std::collections::BTreeSet::new();
    let (mut seen, mut one_dek, mut headers, mut by_one_dek) = (0, None, Vec::new(), Vec::new());
    loop {
        let page = w.meta.range(Range { from, to: to.clone(), limit: 1000 }).await.unwrap();
        for (row_key, row) in &page.rows {
            seen += 1;
            let record = ObjectRecord::decode(&row.value).unwrap();
            let object = key::object_name_of(row_key).unwrap();
            let Body::Single(part) = &record.body else { panic!("a record of one part") };
            let Wrap::Portion(_, wrapped) = Wrap::parse(&part.wrapped_dek).unwrap() else { panic!("of a portion") };
            let bucket = bucket_id(&w).await;
            let place = DekPlace { bucket, object, body: record.body_id, number: 0, part: part.id };
            // The header commits to the DEK: what opens it opens the bytes.
            let context = [&b"hf-body1"[..], part.id.as_bytes()].concat();
            let header = BodyHeader(part.header.as_slice().try_into().unwrap());
            // The attacker does not care whose key the row says it is under.
            if let Some(dek) = keys.iter().find_map(|key| key.unwrap(&place, &wrapped).ok()) {
                assert!(Opener::new(&dek, &header, &context).is_ok(), "{object}");
                opened.insert(object.to_owned());
                one_dek.get_or_insert(dek);
            }
            headers.push((object.to_owned(), header, context));
        }
        match page.rows.last() {
            Some((last, _)) if page.more => from = [&last[..], &[0]].concat().into(),
            _ => break,
        }
    }
    assert_eq!(seen, records);
    let printed: std::collections::BTreeSet<String> = w.exposed("people/7").await.into_keys().collect();
    assert_eq!(printed.len(), (0..records).filter(|record| record % 30 == 7).count());
    assert_eq!(opened, printed);
    let one_dek = one_dek.expect("something opened");
    for (object, header, context) in headers {
        if Opener::new(&one_dek, &header, &context).is_ok() {
            by_one_dek.push(object);
        }
    }
    assert_eq!(by_one_dek, [opened.pop_first().unwrap()]);
}

async fn bucket_id(w: &World) -> BucketId {
    let row = w.meta.get(&[key::bucket_key(w.store.account(), "app")]).await.unwrap().remove(0).unwrap();
    BucketRecord::decode(&row.value).unwrap().id
}

/// What a seed does with one key or portion.
struct Model {
    /// Bodies by key, with the portion that each is under.
    objects: BTreeMap<String, (Vec<u8>, PortionId)>,
    /// Portions, by id, that were made and not shredded, and whether they are enabled.
    portions: BTreeMap<PortionId, bool>,
    /// Their names.
    names: BTreeMap<String, PortionId>,
}

impl Model {
    /// Reads everything: what is under an enabled key is there, the rest is refused.
    async fn check(&self, w: &World, step: &str) {
        for (key, (body, portion)) in &self.objects {
            match (w.get(key).await, self.portions.get(portion)) {
                (Ok(found), Some(true)) => assert!(found == *body, "{step}: {key} has other bytes"),
                (Err(Error::Portion(_)), Some(false) | None) => {}
                (found, state) => panic!("{step}: {key} under {portion} ({state:?}): {:?}", found.map(|b| b.len())),
            }
        }
    }
}

/// No sequence of writes, copies, rotations, re-wraps, and shreds loses an object whose key lives, or opens
/// one whose key does not.
#[tokio::test]
async fn no_sequence_loses_what_lives_or_revives_what_was_shredded() {
    for seed in 0..40 {
        let w = World::new().await;
        let rng = SeededRng::new(seed);
        let draw = |n: u64| {
            let mut bytes = [0; 8];
            rng.fill(&mut bytes);
            u64::from_be_bytes(bytes) % n
        };
        let account = w.store.account();
        let portions = w.store.portions();
        let mut model = Model { objects: BTreeMap::new(), portions: BTreeMap::new(), names: BTreeMap::new() };
        for turn in 0..80_u64 {
            let (key, portion) = (format!("k{}", draw(8)), format!("p{}", draw(3)));
            let other = format!("k{}", draw(8));
            let step = format!("seed {seed}, turn {turn}");
            if !model.names.contains_key(&portion) {
                let new = keys::NewPortion { name: Some(portion.clone()), ..Default::default() };
                let made = portions.create(account, new, meta::record::Maker::Customer).await.unwrap().id;
                model.portions.insert(made, true);
                model.names.insert(portion.clone(), made);
            }
            let id = portions.find(account, &portion).await.unwrap().id;
            assert_eq!(model.names[&portion], id, "{step}");
            let enabled = model.portions[&id];
            let encrypt = Encrypt::Kms { key: Some(id), context: None, bucket_key: None };
            match draw(12) {
                0..4 => {
                    let body = step.clone().into_bytes();
                    let put = w.put_as(&key, encrypt, &[], &body).await;
                    assert_eq!(put.is_ok(), enabled, "{step}: {put:?}");
                    if enabled {
                        model.objects.insert(key, (body, id));
                    }
                }
                4..6 => {
                    let from = CopySource {
                        bucket: "app".to_owned(),
                        key: other.clone(),
                        version: None,
                        condition: Default::default(),
                        customer: None,
                        judged: None,
                    };
                    let changes = CopyChanges { encrypt, ..CopyChanges::default() };
                    let copied = w.store.copy(&from, "app", &key, &changes, &WriteCondition::default()).await;
                    if copied.is_ok() {
                        let (body, source) = model.objects[&other].clone();
                        // Onto itself and under the same key only metadata changes, which takes no key.
                        assert!(model.portions.get(&source) == Some(&true) || key == other, "{step}");
                        model.objects.insert(key, (body, id));
                    } else {
                        let source = model.objects.get(&other).map(|(_, source)| model.portions.get(source));
                        assert!(!enabled || source != Some(Some(&true)), "{step}: {copied:?}");
                    }
                }
                6 => {
                    w.store.delete("app", &key, &Default::default()).await.unwrap();
                    model.objects.remove(&key);
                }
                7 => assert_eq!(portions.rotate(account, id, true).await.is_ok(), enabled, "{step}"),
                8 => assert_eq!(portions.rekey(account, id).await.is_ok(), enabled, "{step}"),
                9 => {
                    let switch = if enabled { Switch::Disable } else { Switch::Enable };
                    portions.switch(account, id, switch).await.unwrap();
                    model.portions.insert(id, !enabled);
                }
                10 => {
                    portions.switch(account, id, Switch::Shred { days: 0 }).await.unwrap();
                    // A disabled key's parts cannot be moved; that must not keep others from it.
                    let _ = w.store.rewrap().await;
                    model.portions.remove(&id);
                    model.names.remove(&portion);
                }
                _ => {
                    w.clock.advance_ms(DAY_MS * draw(2));
                    let _ = w.store.rewrap().await;
                }
            }
            model.check(&w, &step).await;
        }
    }
}

/// Rules changed between two parts of an upload: the parts are under different portions.
#[tokio::test]
async fn a_copy_onto_itself_leaves_no_part_under_another_portion() {
    let w = World::new().await;
    let rules = |portion: &str| format!(r#"{{"rules": [{{"portion": "{portion}"}}]}}"#);
    w.rules(&rules("one")).await;
    let upload = w.store.create_upload("app", "k", NewObject::default(), None, "root").await.unwrap().upload;
    let mut named = Vec::new();
    for (number, (portion, size)) in (1..).zip([("one", 5 << 20), ("two", 9)]) {
        w.rules(&rules(portion)).await;
        let mut source = Whole(Some(Bytes::from(vec![number as u8; size])));
        let new = NewPart { upload, number, customer: None };
        let info = w.store.put_part("app", "k", &new, size as u64, &mut source).await.unwrap();
        named.push(CompletePart { number, etag: info.etag, checksum: None });
    }
    let condition = WriteCondition::default();
    w.store.complete_upload("app", "k", upload, &named, &Expected::default(), &condition).await.unwrap();
    assert_eq!((w.exposed("one").await.len(), w.exposed("two").await.len()), (1, 1));
    // The first part is where it is to be.
    w.rules(&rules("one")).await;
    let from = CopySource {
        bucket: "app".to_owned(),
        key: "k".to_owned(),
        version: None,
        condition: Default::default(),
        customer: None,
        judged: None,
    };
    w.store.copy(&from, "app", "k", &CopyChanges::default(), &condition).await.unwrap();
    assert_eq!((w.exposed("one").await["k"].len(), w.exposed("two").await.len()), (2, 0));
    assert_eq!(w.get("k").await.unwrap().len(), (5 << 20) + 9);
}
