//! Rekeys, and what opens afterwards to somebody who had every DEK that was under the versions that leaked.

#[path = "common/attacker.rs"]
mod attacker;
#[path = "common/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use attacker::{Attacker, live};
use base::{PortionId, Rng, SeededRng};
use keys::{CustomerKey, DekPlace, Switch, Wrap};
use meta::record::{Body, BucketRecord, DataRecord, ObjectRecord, Record, UNDER_MAX, Versioning, key};
use meta::{Engine, Write};
use store::Error;
use store::api::{CopyChanges, CopySource, Encrypt, WriteCondition};
use world::{DAY_MS, World};

fn under(portion: PortionId) -> Encrypt {
    Encrypt::Kms { key: Some(portion), context: None, bucket_key: None }
}

fn customer() -> Arc<CustomerKey> {
    Arc::new(CustomerKey::new([7; 32].into()))
}

impl World {
    async fn made(&self, name: &str) -> PortionId {
        let new = keys::NewPortion { name: Some(name.to_owned()), ..Default::default() };
        let made = self.store.portions().create(self.store.account(), new, meta::record::Maker::Customer).await;
        made.unwrap().id
    }

    async fn rekey(&self, portion: PortionId) -> u32 {
        self.store.portions().rekey(self.store.account(), portion).await.unwrap().record.version
    }

    async fn delete(&self, key: &str) {
        self.store.delete("app", key, &Default::default()).await.unwrap();
    }

    /// Of an object under a customer's key.
    async fn copy_of_customers(&self, from: &str, to: &str, encrypt: Encrypt) -> Result<(), Error> {
        let from = CopySource {
            bucket: "app".to_owned(),
            key: from.to_owned(),
            version: None,
            condition: Default::default(),
            customer: Some(customer()),
            judged: None,
        };
        let changes = CopyChanges { encrypt, ..CopyChanges::default() };
        self.store.copy(&from, "app", to, &changes, &WriteCondition::default()).await.map(drop)
    }

    /// Rekeys that are not finished: below which version.
    async fn rekeys(&self) -> BTreeMap<PortionId, u32> {
        let works = self.store.portions().rewraps(self.store.account()).await.unwrap();
        works.into_iter().filter(|(_, work)| work.reseal).map(|(portion, work)| (portion, work.below)).collect()
    }

    /// Passes until all rekeys are finished.
    async fn finish(&self) {
        for _ in 0..20 {
            self.store.rewrap().await.unwrap();
            if self.rekeys().await.is_empty() {
                return;
            }
            self.clock.advance_ms(DAY_MS);
            self.store.collect_garbage().await.unwrap();
        }
        panic!("rekeys do not end: {:?}", self.store.workers());
    }
}

/// What was done with an object of the portion before its key leaked, and while it is rekeyed.
#[tokio::test]
async fn copies_elsewhere_are_sealed_anew() {
    // (steps before the rekey, steps after it began): copies `from>to:portion`, `-` deletes, `~` ends a version by age.
    let table: &[(&str, &str)] = &[
        ("a>b:q", ""),
        ("a>b:q -a", ""),
        ("a>a:q", ""),
        ("a>b:q b>c:r -a -b", ""),
        ("b>c:p -b", ""),
        ("b>c:p", ""),
        ("~ a>b:p -a", ""),
        ("~ a>b:p a>c:q -a", ""),
        ("", "a>b:p -a"),
        ("", "a>b:q -a"),
        ("", "a>b:q b>c:r -a -b"),
        ("a>b:p", "a>a:q b>c:q -b"),
        ("m>n:q -m", ""),
        ("m>m:q m>n:r", "n>o:p"),
        ("", "m>n:p -m"),
    ];
    for (before, after) in table {
        let w = World::new().await;
        let mut portions = BTreeMap::new();
        for name in ["p", "q", "r"] {
            portions.insert(name, w.made(name).await);
        }
        let p = portions["p"];
        w.rules(r#"{"rules": [{"prefix": "b", "portion": "q"}, {"portion": "p"}]}"#).await;
        w.put("a").await;
        w.put("b").await;
        w.upload("m", &[b"m".to_vec()]).await;
        let mut bodies = BTreeMap::from([("a", "a"), ("b", "b"), ("m", "m")]);
        let mut attacker = Attacker::default();
        let mut below = 0;
        for (is_after, steps) in [(false, before), (true, after)] {
            if is_after {
                below = w.rekey(p).await;
            }
            for step in steps.split_whitespace() {
                if step == "~" {
                    w.store.portions().rotate(w.store.account(), p, false).await.unwrap();
                } else if let Some(key) = step.strip_prefix('-') {
                    w.delete(key).await;
                    bodies.remove(key);
                } else {
                    let (from, rest) = step.split_once('>').unwrap();
                    let (to, portion) = rest.split_once(':').unwrap();
                    w.copy(from, to, under(portions[portion])).await.unwrap();
                    bodies.insert(to, bodies[from]);
                }
                attacker.look(&w).await;
            }
            attacker.look(&w).await;
        }
        let step = format!("{before} | {after}");
        assert!(!attacker.opens(&w, p, below).await.is_empty(), "{step}: there is something to seal anew");
        w.finish().await;
        assert_eq!(attacker.opens(&w, p, below).await, Vec::<String>::new(), "{step}");
        for (key, body) in bodies {
            assert_eq!(w.get(key).await.unwrap(), body.as_bytes(), "{step}: {key}");
        }
    }
}

/// The store could not seal a copy under a customer's key anew, so no DEK is both under such a key and under a portion's.
#[tokio::test]
async fn copies_from_and_to_customers_keys_share_nothing() {
    let w = World::new().await;
    let p = w.made("p").await;
    w.put_as("a", under(p), b"a").await.unwrap();
    w.upload("m", &[vec![1; 5 << 20], b"m".to_vec()]).await;
    let secret = || Encrypt::Customer(customer());
    for from in ["a", "m"] {
        w.copy(from, &format!("{from}1"), secret()).await.unwrap();
        w.copy_of_customers(&format!("{from}1"), &format!("{from}2"), secret()).await.unwrap();
        w.copy_of_customers(&format!("{from}2"), &format!("{from}3"), under(p)).await.unwrap();
    }
    let mut parts: BTreeMap<String, Vec<base::PartId>> = BTreeMap::new();
    for one in live(&w).await {
        parts.entry(one.name).or_default().push(one.part.id);
    }
    for from in ["a", "m"] {
        let of = |copy: &str| &parts[&format!("{from}{copy}")];
        assert!(of("") != of("1") && of("1") == of("2") && of("2") != of("3"), "{from}: {parts:?}");
        assert_eq!(w.get(&format!("{from}3")).await.unwrap(), w.get(from).await.unwrap());
        assert!(matches!(w.get(&format!("{from}2")).await, Err(Error::CustomerKeyMissing)));
    }
    // Nothing that was staged is left.
    w.clock.advance_ms(3 * DAY_MS);
    assert_eq!(w.store.collect_garbage().await.unwrap().bodies, 0);
    let mut attacker = Attacker::default();
    attacker.look(&w).await;
    let below = w.rekey(p).await;
    w.finish().await;
    assert_eq!(attacker.opens(&w, p, below).await, Vec::<String>::new());
    assert_eq!(w.get("m3").await.unwrap().len(), (5 << 20) + 1);
}

/// Copies from before portions share a part under the bucket's key, and rules send them to two portions.
#[tokio::test]
async fn copies_that_were_migrated_apart_are_sealed_anew() {
    let w = World::new().await;
    w.rules(r#"{"rules": [{"prefix": "a", "portion": "m"}, {"prefix": "c", "portion": "n"}]}"#).await;
    w.put("a").await;
    let account = w.store.account();
    let bucket = BucketRecord::decode(&w.value(&key::bucket_key(account, "app")).await).unwrap();
    let row_key = key::object_key(bucket.id, "a");
    let mut record = ObjectRecord::decode(&w.value(&row_key).await).unwrap();
    let Body::Single(mut part) = record.body.clone() else { panic!("of one part") };
    let Wrap::Portion(name, wrapped) = Wrap::parse(&part.wrapped_dek).unwrap() else { panic!("of a portion") };
    let place = |object, body| DekPlace { bucket: bucket.id, object, body, number: 0, part: part.id };
    let dek = w.store.portions().to_open(account, name).await.unwrap();
    let dek = dek.unwrap(&place("a", record.body_id), &wrapped).unwrap();
    let old = keys::Keyring::ephemeral(&SeededRng::new(1)).bucket_key(bucket.id, &bucket.wrapped_key).unwrap();
    let data_key = key::data_key(part.id);
    for (object, body) in [("a", record.body_id), ("c", base::BodyId::random(&SeededRng::new(2)))] {
        part.wrapped_dek = Wrap::Bucket(old.wrap(&place(object, body), &dek).unwrap()).encode();
        record = ObjectRecord { body_id: body, body: Body::Single(part.clone()), ..record };
        w.write(key::object_key(bucket.id, object), record.encode()).await;
    }
    let data = DataRecord::decode(&w.value(&data_key).await).unwrap();
    w.write(data_key, DataRecord { refs: 2, ..data }.encode()).await;
    w.store.portions().migrate(account).await.unwrap();
    // Each notes itself in the same data row: one is for the next pass.
    while w.store.rewrap().await.unwrap().moved > 0 {}
    assert_eq!((w.exposed("m").await.len(), w.exposed("n").await.len()), (1, 1));
    let mut attacker = Attacker::default();
    attacker.look(&w).await;
    let m = w.portion("m").await;
    let below = w.rekey(m).await;
    assert_eq!(attacker.opens(&w, m, below).await, ["a", "c"]);
    w.finish().await;
    assert_eq!(attacker.opens(&w, m, below).await, Vec::<String>::new());
    for object in ["a", "c"] {
        assert_eq!(w.get(object).await.unwrap(), b"a");
    }
}

/// A data row stays small: past so many portions a copy gets bytes of its own.
#[tokio::test]
async fn a_part_is_shared_between_so_many_portions() {
    let w = World::new().await;
    let p = w.made("p").await;
    w.put_as("a", under(p), b"a").await.unwrap();
    let copies = UNDER_MAX + 6;
    for copy in 0..copies {
        let portion = w.made(&format!("q{copy}")).await;
        w.copy("a", &format!("b{copy}"), under(portion)).await.unwrap();
    }
    let shared = live(&w).await.into_iter().find(|one| one.name == "a").unwrap().part.id;
    let data = DataRecord::decode(&w.value(&key::data_key(shared)).await).unwrap();
    assert!(data.under.len() <= UNDER_MAX && data.refs as usize <= UNDER_MAX, "{data:?}");
    let mut attacker = Attacker::default();
    attacker.look(&w).await;
    let below = w.rekey(p).await;
    w.finish().await;
    assert_eq!(attacker.opens(&w, p, below).await, Vec::<String>::new());
    for copy in 0..copies {
        assert_eq!(w.get(&format!("b{copy}")).await.unwrap(), b"a");
    }
}

/// A copy is made behind the walk from what is ahead of it, which is deleted before the walk comes there.
#[tokio::test]
async fn a_copy_that_dodges_the_walk_is_found() {
    for portion in ["p", "q"] {
        let w = Arc::new(World::new().await);
        let p = w.made("p").await;
        let to = if portion == "p" { p } else { w.made("q").await };
        // A page of the walk, so that `z` is on the next one.
        for number in 0..500 {
            w.put(&format!("c{number}")).await;
        }
        w.put_as("z", under(p), b"z").await.unwrap();
        let mut attacker = Attacker::default();
        attacker.look(&w).await;
        let below = w.rekey(p).await;
        let other = w.clone();
        let dodge = async move {
            other.copy("z", "a", under(to)).await.unwrap();
            other.delete("z").await;
        };
        *w.meta.before_objects.lock() = Some((1, Box::pin(dodge)));
        let done = w.store.rewrap().await.unwrap();
        assert_eq!((done.moved, done.lost, done.held), (0, 0, 1), "the walk found nothing");
        assert_eq!(attacker.opens(&w, p, below).await, ["a"]);
        let told = w.store.workers().into_iter().find(|worker| worker.name == "rekey").unwrap();
        assert!(told.queue == 1 && told.last_error.is_some_and(|error| error.contains("the part ")));
        w.store.wake_rewrap();
        w.finish().await;
        assert_eq!(attacker.opens(&w, p, below).await, Vec::<String>::new(), "{portion}");
        assert_eq!(w.get("a").await.unwrap(), b"z");
    }
}

/// A copy of many parts is staged before a rekey and becomes visible after the walk.
#[tokio::test]
async fn a_rekey_waits_for_staged_copies() {
    for portion in ["p", "q"] {
        let w = Arc::new(World::new().await);
        let p = w.made("p").await;
        let to = if portion == "p" { p } else { w.made("q").await };
        w.rules(r#"{"rules": [{"portion": "p"}]}"#).await;
        w.upload("m", &[vec![1; 5 << 20], b"m".to_vec()]).await;
        let mut attacker = Attacker::default();
        attacker.look(&w).await;
        let (other, below) = (w.clone(), Arc::new(AtomicU32::new(0)));
        let told = below.clone();
        // The second batch that touches the drop record makes the copy visible.
        let mut seen = 0;
        let mut first = Some(async move {
            told.store(other.rekey(p).await, Ordering::Relaxed);
            for _ in 0..3 {
                other.store.rewrap().await.unwrap();
                other.clock.advance_ms(DAY_MS / 2);
            }
            other.store.wake_rewrap();
            other.store.rewrap().await.unwrap();
        });
        *w.meta.hook.lock() = Some(Box::new(move |batches| {
            let hit = batches.iter().flat_map(|batch| &batch.writes).any(|write| match write {
                Write::Put(key, _) | Write::Delete(key) => key.starts_with(b"x/"),
            });
            seen += u32::from(hit);
            let first = if seen == 2 { first.take() } else { None }?;
            Some(Box::pin(async move {
                first.await;
                Ok(())
            }))
        }));
        w.copy("m", "n", under(to)).await.unwrap();
        *w.meta.hook.lock() = None;
        let below = below.load(Ordering::Relaxed);
        assert!(below > 1, "the rekey came in between");
        attacker.look(&w).await;
        // Under the old version of the same key it was refused, and made anew of what is sealed anew.
        assert_eq!(w.rekeys().await.is_empty(), portion == "p");
        w.store.wake_rewrap();
        w.finish().await;
        assert_eq!(attacker.opens(&w, p, below).await, Vec::<String>::new(), "{portion}");
        for key in ["m", "n"] {
            assert_eq!(w.get(key).await.unwrap().len(), (5 << 20) + 1);
        }
    }
}

/// A pack that is worth keeping is rewritten without the bytes whose DEK leaked.
#[tokio::test]
async fn leaked_bytes_leave_packs() {
    let w = World::new().await;
    let (p, q) = (w.made("p").await, w.made("q").await);
    let blob_of = async |name: &str| {
        let id = live(&w).await.into_iter().find(|one| one.name == name).unwrap().part.id;
        DataRecord::decode(&w.value(&key::data_key(id)).await).unwrap().blob
    };
    let name = |number| format!("k{number}");
    let puts = (0..20).map(|number| {
        let portion = if number == 19 { p } else { q };
        let w = &w;
        async move { w.put_as(&name(number), under(portion), b"some bytes").await.unwrap() }
    });
    futures::future::join_all(puts).await;
    let blob = blob_of("k19").await;
    assert_eq!(blob, blob_of("k10").await, "they are in one pack");
    w.copy("k19", "copy", under(q)).await.unwrap();
    let below = w.rekey(p).await;
    w.store.rewrap().await.unwrap();
    let progress = w.store.rekey_progress(p);
    assert_eq!((progress.parts, progress.bytes, progress.seen, below), (2, 20, 21, 2));
    for _ in 0..3 {
        w.clock.advance_ms(120_000);
        w.store.collect_garbage().await.unwrap();
    }
    let row = w.meta.get(&[key::blob_key(blob)]).await.unwrap().remove(0);
    assert!(row.is_none(), "the pack is gone from the sites");
    for number in 0..20 {
        assert_eq!(w.get(&name(number)).await.unwrap(), b"some bytes");
    }
}

/// No sequence of writes, copies, rotations and rekeys leaves a live part that opens with a DEK which was under versions
/// that a finished rekey emptied.
#[tokio::test]
async fn no_sequence_leaves_a_leaked_dek() {
    let mut finished = 0;
    for seed in 0..40 {
        let w = World::new().await;
        let rng = SeededRng::new(seed);
        let draw = |n: u64| {
            let mut bytes = [0; 8];
            rng.fill(&mut bytes);
            u64::from_be_bytes(bytes) % n
        };
        if seed % 2 == 1 {
            w.version(Versioning::Enabled).await;
        }
        let account = w.store.account();
        let mut portions = Vec::new();
        for name in ["p", "q", "r"] {
            portions.push(w.made(name).await);
        }
        let mut attacker = Attacker::default();
        // Bodies by key, and whether they are under the customer's key.
        let mut objects: BTreeMap<String, (Vec<u8>, bool)> = BTreeMap::new();
        let mut done: BTreeMap<PortionId, u32> = BTreeMap::new();
        for turn in 0..80_u64 {
            let key = format!("k{}", draw(6));
            let id = portions[draw(3) as usize];
            let step = format!("seed {seed}, turn {turn}");
            let rekeys = w.rekeys().await;
            match draw(16) {
                0..3 => {
                    if w.put_as(&key, under(id), step.as_bytes()).await.is_ok() {
                        objects.insert(key, (step.clone().into_bytes(), false));
                    }
                }
                3 => {
                    w.upload(&key, &[step.clone().into_bytes()]).await;
                    objects.insert(key, (step.clone().into_bytes(), false));
                }
                4..8 => {
                    let copied = copy_some(&w, &objects, &draw, id).await;
                    objects.extend(copied);
                }
                8 => {
                    w.delete(&key).await;
                    objects.remove(&key);
                }
                9 => drop(w.store.portions().rotate(account, id, draw(2) == 0).await),
                10..12 => drop(w.store.portions().rekey(account, id).await),
                12 => {
                    let switch = if draw(3) == 0 { Switch::Disable } else { Switch::Enable };
                    let _ = w.store.portions().switch(account, id, switch).await;
                }
                13 => {
                    let copies = async {
                        for _ in 0..3 {
                            let copied = copy_some(&w, &objects, &draw, id).await;
                            objects.extend(copied);
                            // What was copied may go while the copy is on its way to be sealed anew.
                            if draw(3) == 0 {
                                w.delete(&key).await;
                                objects.remove(&key);
                            }
                            tokio::task::yield_now().await;
                        }
                    };
                    let _ = futures::join!(w.store.rewrap(), copies);
                }
                _ => {
                    w.clock.advance_ms(DAY_MS * draw(2));
                    w.store.collect_garbage().await.unwrap();
                    w.store.wake_rewrap();
                    let _ = w.store.rewrap().await;
                }
            }
            finished += note_finished(&w, &rekeys, &mut done).await;
            attacker.look(&w).await;
            for (portion, below) in &done {
                assert_eq!(attacker.opens(&w, *portion, *below).await, Vec::<String>::new(), "{step}");
            }
        }
        for portion in &portions {
            let _ = w.store.portions().switch(account, *portion, Switch::Enable).await;
            w.rekey(*portion).await;
        }
        attacker.look(&w).await;
        let rekeys = w.rekeys().await;
        w.store.wake_rewrap();
        w.finish().await;
        finished += note_finished(&w, &rekeys, &mut done).await;
        assert_eq!(done.len(), 3);
        for (portion, below) in &done {
            assert_eq!(attacker.opens(&w, *portion, *below).await, Vec::<String>::new(), "seed {seed}");
        }
        for (key, (body, is_customers)) in &objects {
            match w.get(key).await {
                Ok(found) => assert!(!is_customers && found == *body, "seed {seed}: {key}"),
                Err(error) => assert!(*is_customers, "seed {seed}: {key}: {error}"),
            }
        }
    }
    assert!(finished > 150, "{finished}");
}

/// Copies one object somewhere, under a portion's key or the customer's; what there is then.
async fn copy_some(
    w: &World,
    objects: &BTreeMap<String, (Vec<u8>, bool)>,
    draw: &impl Fn(u64) -> u64,
    id: PortionId,
) -> Option<(String, (Vec<u8>, bool))> {
    let (from, to) = (format!("k{}", draw(6)), format!("k{}", draw(6)));
    let to_customer = draw(8) == 0;
    let (body, is_customers) = objects.get(&from)?;
    let encrypt = if to_customer { Encrypt::Customer(customer()) } else { under(id) };
    let copied =
        if *is_customers { w.copy_of_customers(&from, &to, encrypt).await } else { w.copy(&from, &to, encrypt).await };
    copied.is_ok().then(|| (to, (body.clone(), to_customer)))
}

/// Notes the rekeys that are finished since these were not; how many.
async fn note_finished(w: &World, were: &BTreeMap<PortionId, u32>, done: &mut BTreeMap<PortionId, u32>) -> u32 {
    let now = w.rekeys().await;
    let mut finished = 0;
    for (portion, below) in were {
        if !now.contains_key(portion) {
            done.insert(*portion, *below);
            finished += 1;
        }
    }
    finished
}
