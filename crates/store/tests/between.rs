//! What others do between two steps of one operation, and what must not come of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::{Doors, ManualClock, SeededRng, SystemRng};
use bytes::Bytes;
use futures::future::BoxFuture;
use keys::Keyring;
use lifecycle::{Expiration, Noncurrent};
use meta::record::{Record, key};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Range, Row, Write};
use parking_lot::Mutex;
use sites::Pool;
use store::api::{
    BodyError, BodyFacts, BodySource, CompletePart, CopyChanges, CopySource, DeleteRequest, Expected, ListRequest,
    Lock, NewObject, NewPart, ObjectInfo, ObjectMeta, ReadCondition, ReadRange, Versioning, WriteCondition,
};
use store::{Error, EventOptions, Message, Options, Store, Target, TargetError, TargetOptions};

/// Bounds every wait; it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// A day of lifecycle rules.
const DAY_MS: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Get,
    Range,
    Delete,
}

/// Something to be done before a call.
struct Hook {
    call: Call,
    /// How a key of the call begins.
    prefix: &'static str,
    /// Such calls that pass before.
    skip: usize,
    run: BoxFuture<'static, ()>,
}

/// An engine in memory that others get at between two calls.
#[derive(Default)]
struct Between {
    inner: Memory,
    hook: Mutex<Option<Hook>>,
    /// Batches that removed rows of parts.
    part_batches: AtomicUsize,
}

impl Between {
    fn before(&self, call: Call, prefix: &'static str, skip: usize, run: impl Future<Output = ()> + Send + 'static) {
        *self.hook.lock() = Some(Hook { call, prefix, skip, run: Box::pin(run) });
    }

    fn ran(&self) -> bool {
        self.hook.lock().is_none()
    }

    fn due(&self, call: Call, keys: &[Key]) -> Option<BoxFuture<'static, ()>> {
        let mut hook = self.hook.lock();
        let set = hook.as_mut()?;
        if set.call != call || !keys.iter().any(|key| key.starts_with(set.prefix.as_bytes())) {
            return None;
        }
        if set.skip > 0 {
            set.skip -= 1;
            return None;
        }
        hook.take().map(|hook| hook.run)
    }

    async fn called(&self, call: Call, keys: &[Key]) {
        if let Some(run) = self.due(call, keys) {
            run.await;
        }
    }
}

#[async_trait]
impl Engine for Between {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.called(Call::Get, keys).await;
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.called(Call::Range, std::slice::from_ref(&range.from)).await;
        self.inner.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        let deleted = |batch: &Batch| -> Vec<Key> {
            let deletes = batch.writes.iter().filter_map(|write| match write {
                Write::Delete(key) => Some(key.clone()),
                Write::Put(..) => None,
            });
            deletes.collect()
        };
        for keys in batches.iter().map(deleted) {
            self.called(Call::Delete, &keys).await;
            if keys.iter().any(|key| key.starts_with(b"p/")) {
                self.part_batches.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.inner.commit_group(batches).await
    }
}

struct World {
    meta: Arc<Between>,
    clock: Arc<ManualClock>,
    store: Store,
}

impl World {
    /// With the bucket `bbb`.
    async fn new(versioning: Versioning) -> Self {
        let (meta, clock) = (Arc::new(Between::default()), Arc::new(ManualClock::new(1_700_000_000_000)));
        let store = open(&meta, &clock, EventOptions::default()).await;
        let world = Self { meta, clock, store };
        world.store.create_bucket("bbb", "root", false).await.unwrap();
        world.version(versioning).await;
        world
    }

    async fn version(&self, versioning: Versioning) {
        let change = |state: &mut meta::record::BucketState| {
            state.versioning = versioning;
            Ok(())
        };
        self.store.change_bucket_state("bbb", change).await.unwrap();
    }

    /// Rules under which everything is old after a day.
    async fn rules(&self, bucket: &str, expiration: Expiration) {
        let rule = lifecycle::Rule {
            id: "old".to_owned(),
            enabled: true,
            expiration: Some(expiration),
            noncurrent: Some(Noncurrent { days: Some(1), newer_versions: None }),
            abort_uploads_days: Some(1),
            ..Default::default()
        };
        self.store.put_lifecycle(bucket, &lifecycle::Rules(vec![rule])).await.unwrap();
    }

    fn days(&self, days: u64) {
        self.clock.advance_ms(days * DAY_MS);
    }

    async fn is_there(&self, version: &ObjectInfo) -> bool {
        self.store.open_object("bbb", &version.key, Some(version.version), None).await.is_ok()
    }
}

async fn open(meta: &Arc<Between>, clock: &Arc<ManualClock>, events: EventOptions) -> Store {
    let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let lifecycle_day = lifecycle::Day::of_ms(DAY_MS.try_into().unwrap());
    let options = Options { background: false, lifecycle_day, events, ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    // The root key is the same in every life of the process.
    Store::open(meta.clone(), pool, Keyring::ephemeral(&SeededRng::new(1)), root, options).await.unwrap()
}

struct Body(Option<Bytes>);

#[async_trait]
impl BodySource for Body {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(self.0.take())
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

async fn put(store: &Store, bucket: &str, key: &str, body: &'static str) -> ObjectInfo {
    let mut source = Body(Some(Bytes::from_static(body.as_bytes())).filter(|body| !body.is_empty()));
    let condition = WriteCondition::default();
    store.put(bucket, key, ObjectMeta::default(), body.len() as u64, &condition, &mut source).await.unwrap()
}

/// Removes a version for good, or with `None` the object.
async fn delete(store: &Store, key: &str, version: Option<store::api::VersionId>) -> Option<store::api::VersionId> {
    let request = DeleteRequest { version, ..DeleteRequest::default() };
    store.delete("bbb", key, &request).await.unwrap().version
}

async fn copy_onto_itself(store: &Store, changes: &CopyChanges) -> Result<ObjectInfo, Error> {
    let from = CopySource {
        bucket: "bbb".to_owned(),
        key: "k".to_owned(),
        version: None,
        condition: ReadCondition::default(),
        customer: None,
        judged: None,
    };
    store.copy(&from, "bbb", "k", changes, &WriteCondition::default()).await
}

#[tokio::test]
async fn a_version_that_moves_while_it_is_listed_is_listed_once() {
    for overwrites in [1, 2] {
        let w = World::new(Versioning::Enabled).await;
        let first = put(&w.store, "bbb", "k", "1").await;
        let store = w.store.clone();
        w.meta.before(Call::Range, "v/", 0, async move {
            for _ in 0..overwrites {
                put(&store, "bbb", "k", "2").await;
            }
        });
        let request = ListRequest { limit: 1000, ..ListRequest::default() };
        let page = w.store.list_versions("bbb", &request, None).await.unwrap();
        assert!(w.meta.ran());
        let told: Vec<_> = page.versions.iter().map(|version| (version.info.version, version.latest)).collect();
        assert_eq!(told, [(first.version, true)], "{overwrites}");
    }
}

#[tokio::test]
async fn rules_keep_a_version_that_is_overwritten_while_it_is_listed() {
    let w = World::new(Versioning::Enabled).await;
    w.rules("bbb", Expiration::delete_marker()).await;
    let first = put(&w.store, "bbb", "k", "1").await;
    w.days(10);
    let store = w.store.clone();
    w.meta.before(Call::Range, "v/", 0, async move {
        put(&store, "bbb", "k", "2").await;
    });
    let done = w.store.expire().await.unwrap();
    assert!(w.meta.ran());
    assert!(done.versions == 0 && w.is_there(&first).await, "it is an old one since just now: {done:?}");
}

#[tokio::test]
async fn rules_keep_a_version_that_became_current_again() {
    let w = World::new(Versioning::Enabled).await;
    w.rules("bbb", Expiration::delete_marker()).await;
    let first = put(&w.store, "bbb", "k", "1").await;
    let marker = delete(&w.store, "k", None).await;
    w.days(10);
    let store = w.store.clone();
    w.meta.before(Call::Get, "i/", 0, async move {
        delete(&store, "k", marker).await;
    });
    let done = w.store.expire().await.unwrap();
    assert!(w.meta.ran());
    assert_eq!((done.versions, done.kept), (0, 1));
    assert_eq!(w.store.open_object("bbb", "k", None, None).await.unwrap().info.version, first.version);
}

#[tokio::test]
async fn rules_keep_a_version_whose_successor_went() {
    let w = World::new(Versioning::Enabled).await;
    w.rules("bbb", Expiration::delete_marker()).await;
    let first = put(&w.store, "bbb", "k", "1").await;
    let second = put(&w.store, "bbb", "k", "2").await;
    w.days(10);
    put(&w.store, "bbb", "k", "3").await;
    let (store, version) = (w.store.clone(), second.version);
    w.meta.before(Call::Get, "i/", 0, async move {
        delete(&store, "k", Some(version)).await;
    });
    let done = w.store.expire().await.unwrap();
    assert!(w.meta.ran());
    assert_eq!((done.versions, done.kept), (0, 1));
    assert!(w.is_there(&first).await, "the third one made it an old one, just now");
    // What the rules themselves remove keeps nothing.
    put(&w.store, "bbb", "k", "4").await;
    w.days(10);
    assert_eq!(w.store.expire().await.unwrap().versions, 2);
}

#[tokio::test]
async fn rules_keep_a_marker_that_is_no_longer_alone() {
    for versioning in [Versioning::Suspended, Versioning::Enabled] {
        let w = World::new(Versioning::Enabled).await;
        w.version(versioning).await;
        w.rules("bbb", Expiration::delete_marker()).await;
        delete(&w.store, "k", None).await;
        w.days(10);
        let store = w.store.clone();
        // In a suspended bucket the object takes the marker's place, and its version id.
        w.meta.before(Call::Get, "i/", 0, async move {
            put(&store, "bbb", "k", "new").await;
        });
        let done = w.store.expire().await.unwrap();
        assert!(w.meta.ran());
        assert_eq!((done.markers, done.kept), (0, 1), "{versioning:?}");
        assert_eq!(w.store.open_object("bbb", "k", None, None).await.unwrap().info.size, 3);
    }
}

#[tokio::test]
async fn rules_keep_an_object_that_was_copied_onto_itself() {
    let w = World::new(Versioning::Off).await;
    w.rules("bbb", Expiration::days(1)).await;
    put(&w.store, "bbb", "k", "1").await;
    w.days(10);
    let store = w.store.clone();
    w.meta.before(Call::Get, "i/", 0, async move {
        copy_onto_itself(&store, &CopyChanges::default()).await.unwrap();
    });
    let done = w.store.expire().await.unwrap();
    assert!(w.meta.ran());
    assert_eq!((done.objects, done.kept), (0, 1));
    assert!(w.store.open_object("bbb", "k", None, None).await.is_ok(), "it was written just now");
}

#[tokio::test]
async fn rules_that_are_taken_away_remove_nothing_more() {
    let w = World::new(Versioning::Off).await;
    w.rules("bbb", Expiration::days(1)).await;
    for i in 0..1100 {
        put(&w.store, "bbb", &format!("{i:04}"), "").await;
    }
    w.days(10);
    let store = w.store.clone();
    w.meta.before(Call::Range, "o/", 1, async move { store.delete_bucket_config("bbb", "lifecycle").await.unwrap() });
    let done = w.store.expire().await.unwrap();
    assert!(w.meta.ran());
    assert_eq!(done.objects, 1000, "one page");
}

#[tokio::test]
async fn a_bucket_made_again_does_not_inherit_rules() {
    let w = World::new(Versioning::Off).await;
    w.rules("bbb", Expiration::days(1)).await;
    let (store, clock) = (w.store.clone(), w.clock.clone());
    w.meta.before(Call::Range, "v/", 0, async move {
        store.delete_bucket("bbb").await.unwrap();
        store.create_bucket("bbb", "root", false).await.unwrap();
        store.create_upload("bbb", "k", ObjectMeta::default(), None, "root").await.unwrap();
        clock.advance_ms(10 * DAY_MS);
    });
    let done = w.store.expire().await.unwrap();
    assert!(w.meta.ran());
    assert_eq!(done.uploads, 0);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other_bucket() {
    let w = World::new(Versioning::Off).await;
    for bucket in ["aaa", "aab"] {
        w.store.create_bucket(bucket, "root", false).await.unwrap();
    }
    let damaged = put(&w.store, "aaa", "1", "").await;
    put(&w.store, "aaa", "2", "").await;
    put(&w.store, "bbb", "3", "").await;
    let mut uploads = Vec::new();
    for key in ["1", "2"] {
        uploads.push(w.store.create_upload("aaa", key, ObjectMeta::default(), None, "root").await.unwrap().upload);
    }
    for bucket in ["aaa", "bbb"] {
        w.rules(bucket, Expiration::days(1)).await;
    }
    let rows = [
        key::object_key(damaged.bucket, "1"),
        key::upload_key(damaged.bucket, "1", uploads[0]),
        key::bucket_key(base::AccountId::DEFAULT, "aab"),
    ];
    let writes = rows.map(|row_key| Write::Put(row_key, Bytes::from_static(&[0xff, 1]))).to_vec();
    w.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    w.days(10);
    let done = w.store.expire().await.unwrap();
    assert_eq!((done.objects, done.uploads), (2, 1));
    let report = w.store.workers().into_iter().find(|worker| worker.name == "lifecycle").unwrap();
    assert!(report.last_error.unwrap().contains("bucket aab"));
    // A client is told: a list without the object would say that it is gone.
    let request = ListRequest { limit: 1000, ..ListRequest::default() };
    assert!(w.store.list_versions("aaa", &request, None).await.is_err());
    assert!(w.store.uploads("aaa", &request, None).await.is_err());
}

#[tokio::test]
async fn a_copy_onto_itself_takes_what_is_there_when_it_commits() {
    let w = World::new(Versioning::Enabled).await;
    put(&w.store, "bbb", "k", "1").await;
    let store = w.store.clone();
    w.meta.before(Call::Get, "i/", 0, async move {
        put(&store, "bbb", "k", "22").await;
    });
    let copied = copy_onto_itself(&w.store, &CopyChanges::default()).await.unwrap();
    assert!(w.meta.ran());
    assert_eq!(copied.size, 2, "the newer object is hidden by none from before");
}

/// Who may read what was there may not read what is there now.
#[tokio::test]
async fn a_copy_takes_the_body_that_was_judged_or_none() {
    let w = World::new(Versioning::Off).await;
    let judged = put(&w.store, "bbb", "k", "1").await;
    let judged = (judged.body_id, judged.encryption);
    let from = |judged| CopySource {
        bucket: "bbb".to_owned(),
        key: "k".to_owned(),
        version: None,
        condition: ReadCondition::default(),
        customer: None,
        judged,
    };
    let copy = async |judged| {
        w.store.copy(&from(judged), "bbb", "c", &CopyChanges::default(), &WriteCondition::default()).await
    };
    copy(Some(judged.clone())).await.unwrap();
    let store = w.store.clone();
    w.meta.before(Call::Get, "o/", 0, async move {
        put(&store, "bbb", "k", "22").await;
    });
    assert!(matches!(copy(Some(judged.clone())).await, Err(Error::SourceChanged)));
    assert!(w.meta.ran());
    copy(None).await.unwrap();
    let upload = w.store.create_upload("bbb", "m", NewObject::default(), None, "root").await.unwrap().upload;
    let new = NewPart { upload, number: 1, customer: None };
    let part = async |judged| w.store.copy_part(&from(judged), ReadRange::All, "bbb", "m", &new).await;
    assert!(matches!(part(Some(judged)).await, Err(Error::SourceChanged)));
    part(None).await.unwrap();
}

#[tokio::test]
async fn a_copy_onto_itself_locks_nothing_in_a_bucket_without_locks() {
    let w = World::new(Versioning::Off).await;
    put(&w.store, "bbb", "k", "1").await;
    let changes = CopyChanges { lock: Lock { hold: true, ..Lock::default() }, ..CopyChanges::default() };
    assert!(matches!(copy_onto_itself(&w.store, &changes).await, Err(Error::Invalid(_))));
    delete(&w.store, "k", None).await;
}

/// An upload of this many parts of one byte, and the last one, named.
async fn upload(store: &Store, parts: u16) -> (base::UploadId, Vec<CompletePart>) {
    let upload = store.create_upload("bbb", "k", ObjectMeta::default(), None, "root").await.unwrap().upload;
    let mut named = Vec::new();
    for number in 1..=parts {
        let new = NewPart { upload, number, customer: None };
        let mut source = Body(Some(Bytes::from_static(b"x")));
        let part = store.put_part("bbb", "k", &new, 1, &mut source).await.unwrap();
        named = vec![CompletePart { number, etag: part.etag, checksum: None }];
    }
    (upload, named)
}

#[tokio::test]
async fn parts_that_a_completion_leaves_out_go_after_the_answer() {
    let w = World::new(Versioning::Off).await;
    let (upload, named) = upload(&w.store, 46).await;
    let (go, going) = tokio::sync::oneshot::channel::<()>();
    w.meta.before(Call::Delete, "p/", 0, async move { drop(going.await) });
    let condition = WriteCondition::default();
    let expected = Expected::default();
    let done = w.store.complete_upload("bbb", "k", upload, &named, &expected, &condition);
    tokio::time::timeout(PATIENCE, done).await.expect("an answer").unwrap();
    go.send(()).unwrap();
    w.store.shutdown().await;
    assert!(w.meta.ran());
    assert_eq!(w.meta.part_batches.load(Ordering::Relaxed), 3);
    let (from, to) = key::parts(upload);
    assert_eq!(w.meta.range(Range { from, to, limit: 100 }).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_completion_that_lost_to_its_own_repetition_has_its_answer() {
    let w = World::new(Versioning::Off).await;
    let (upload, named) = upload(&w.store, 1).await;
    let (store, again) = (w.store.clone(), named.clone());
    w.meta.before(Call::Get, "u/", 1, async move {
        store
            .complete_upload("bbb", "k", upload, &again, &Expected::default(), &WriteCondition::default())
            .await
            .unwrap();
    });
    let done =
        w.store.complete_upload("bbb", "k", upload, &named, &Expected::default(), &WriteCondition::default()).await;
    assert!(w.meta.ran());
    assert_eq!(done.unwrap().size, 1);
}

/// A target that is never sent anything: nothing runs in the background.
struct Nowhere;

#[async_trait]
impl Target for Nowhere {
    async fn send(&self, _: &Message) -> Result<(), TargetError> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "nowhere"
    }

    fn address(&self) -> String {
        String::new()
    }
}

fn hook(tenants: &[&str]) -> EventOptions {
    let tenants = tenants.iter().map(|&tenant| tenant.to_owned()).collect();
    let target = TargetOptions { name: "hook".to_owned(), target: Arc::new(Nowhere), queue_max: 1000, tenants };
    EventOptions { region: String::new(), targets: vec![target] }
}

/// A bucket that tells `hook` of all that is made in it.
async fn notifying_bucket(store: &Store, bucket: &str) {
    store.create_bucket(bucket, "root", false).await.unwrap();
    let rule = notify::Rule {
        id: "all".to_owned(),
        kind: notify::Kind::Queue,
        arn: "arn:aws:sqs:::hook".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        filter: None,
    };
    store.put_notification(&notify::Rules { bucket: bucket.to_owned(), rules: vec![rule] }, false).await.unwrap();
}

async fn events(meta: &Between) -> Vec<notify::Event> {
    let (from, to) = key::events();
    let rows = meta.range(Range { from, to, limit: 100 }).await.unwrap().rows;
    rows.iter().map(|(_, row)| notify::Event::decode(&row.value).unwrap()).collect()
}

#[tokio::test]
async fn events_of_packed_objects_name_their_own_tenant() {
    let (meta, clock) = (Arc::new(Between::default()), Arc::new(ManualClock::new(1_700_000_000_000)));
    let store = open(&meta, &clock, hook(&["default", "other"])).await;
    store.create_tenant("other").await.unwrap();
    let other = store.tenant("other").await.unwrap();
    store.create_bucket("aaa", "root", false).await.unwrap();
    notifying_bucket(&other, "ooo").await;
    // The first two begin a pack each; the third finds its place in one of another tenant.
    tokio::join!(put(&store, "aaa", "1", "1"), put(&store, "aaa", "2", "2"), put(&other, "ooo", "3", "3"));
    let owners: Vec<String> = events(&meta).await.into_iter().map(|event| event.owner).collect();
    assert_eq!(owners, [format!("{}/root", other.account())]);
}

#[tokio::test]
async fn a_tenant_taken_off_a_targets_list_sends_it_nothing_more() {
    let (meta, clock) = (Arc::new(Between::default()), Arc::new(ManualClock::new(1_700_000_000_000)));
    let table = [
        (hook(&["default", "other"]), 1),
        (hook(&["default"]), 1),
        // Events for a target that is not configured wait until it is again.
        (EventOptions::default(), 2),
        (hook(&["other"]), 3),
    ];
    for (at, (options, expected)) in table.into_iter().enumerate() {
        let store = open(&meta, &clock, options).await;
        if at == 0 {
            store.create_tenant("other").await.unwrap();
            notifying_bucket(&store.tenant("other").await.unwrap(), "ooo").await;
        }
        put(&store.tenant("other").await.unwrap(), "ooo", "k", "").await;
        assert_eq!(events(&meta).await.len(), expected, "{at}");
    }
}

/// Parts of `bbb` that the key of its portion opens, by version.
async fn exposed(store: &Store) -> std::collections::BTreeSet<String> {
    let id = store.portions().find(store.account(), "bucket/bbb").await.unwrap().id;
    let (mut told, mut cursor) = (std::collections::BTreeSet::new(), None);
    loop {
        let page = store.exposure(id, None, cursor.as_deref()).await.unwrap();
        told.extend(page.parts.into_iter().filter_map(|part| part.version).map(|version| version.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            return told;
        }
    }
}

#[tokio::test]
async fn a_version_that_is_overwritten_while_exposure_is_told_is_told() {
    let w = World::new(Versioning::Enabled).await;
    let first = put(&w.store, "bbb", "k", "1").await;
    let store = w.store.clone();
    // Older versions were looked at; the current ones are next.
    w.meta.before(Call::Range, "o/", 0, async move {
        put(&store, "bbb", "k", "2").await;
    });
    let told = exposed(&w.store).await;
    assert!(w.meta.ran());
    assert!(told.contains(&first.version.to_string()), "{told:?}");
}
