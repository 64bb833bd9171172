//! A store over sites and an engine in memory that counts what is read, with what tests of portions do to it.

#![allow(dead_code, reason = "each test file takes what it needs")]

#[path = "whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base::{BucketId, Doors, ManualClock, PortionId, SeededRng, SystemRng};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use meta::record::{BucketRecord, BucketState, Record, Versioning, key};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Range, Row, Write};
use parking_lot::Mutex;
use sites::Pool;
use store::api::{
    CompletePart, CopyChanges, CopySource, Encrypt, Expected, NewObject, NewPart, ObjectMeta, ReadRange, VersionId,
    WriteCondition,
};
use store::{Error, Options, Store};
pub use whole::Whole;

pub const DAY_MS: u64 = 24 * 3600 * 1000;

type Hook = Box<dyn FnMut(&[Batch]) -> Option<BoxFuture<'static, Result<(), CommitError>>> + Send>;

/// An engine that counts walks over objects, and lets others get at the rows before a group is committed.
#[derive(Default)]
pub struct Counting {
    pub inner: Memory,
    /// Ranges of `o/` rows that were read.
    pub objects_read: AtomicUsize,
    /// How often rows of a kind were read, by the first byte of their keys.
    pub kinds_read: Mutex<BTreeMap<u8, usize>>,
    /// Is asked before each group; what it gives is done first, and fails the group when it fails.
    pub hook: Mutex<Option<Hook>>,
    /// Is done before so many more ranges of `o/` rows were read.
    pub before_objects: Mutex<Option<(usize, BoxFuture<'static, ()>)>>,
}

impl Counting {
    fn count(&self, key: &[u8]) {
        if let Some(kind) = key.first() {
            *self.kinds_read.lock().entry(*kind).or_default() += 1;
        }
    }
}

#[async_trait]
impl Engine for Counting {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        keys.iter().for_each(|key| self.count(key));
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.count(&range.from);
        if range.from.starts_with(b"o/") {
            self.objects_read.fetch_add(1, Ordering::Relaxed);
            let first = {
                let mut before = self.before_objects.lock();
                match before.as_mut() {
                    Some((left @ 1.., _)) => {
                        *left -= 1;
                        None
                    }
                    _ => before.take(),
                }
            };
            if let Some((_, first)) = first {
                first.await;
            }
        }
        self.inner.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        let first = self.hook.lock().as_mut().and_then(|hook| hook(&batches));
        if let Some(first) = first
            && let Err(error) = first.await
        {
            return batches.iter().map(|_| Err(error.clone())).collect();
        }
        self.inner.commit_group(batches).await
    }
}

pub struct World {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub meta: Arc<Counting>,
    pub pool: Arc<Pool>,
}

/// A store over these rows and sites; the root key is the same in every life of the process.
pub async fn open(meta: Arc<dyn Engine>, pool: Arc<Pool>, clock: &Arc<ManualClock>) -> Store {
    let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
    let options = Options { background: false, ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    Store::open(meta, pool, keys::Keyring::ephemeral(&SeededRng::new(1)), root, options).await.unwrap()
}

/// Every row there is.
pub async fn rows(meta: &dyn Engine) -> Vec<(Key, Bytes)> {
    let mut all = Vec::new();
    let range = (Key::from_static(b"\0"), Key::from_static(b"\xff"));
    meta::each_row(meta, range, |row_key, row| {
        all.push((row_key.clone(), row.value.clone()));
        Ok::<_, MetaError>(())
    })
    .await
    .unwrap();
    all
}

/// A copy of all rows.
pub async fn copy_of(meta: &dyn Engine) -> Arc<Memory> {
    let copy = Arc::new(Memory::new());
    for some in rows(meta).await.chunks(50) {
        let writes = some.iter().map(|(row_key, value)| Write::Put(row_key.clone(), value.clone())).collect();
        copy.commit(Batch { checks: vec![], writes }).await.unwrap();
    }
    copy
}

pub async fn read(store: &Store, key: &str, version: Option<VersionId>) -> Result<Vec<u8>, Error> {
    let reader = store.open_object("app", key, version, None).await?;
    let chunks: Vec<Bytes> = reader.read(ReadRange::All).await?.try_collect().await?;
    Ok(chunks.concat())
}

impl World {
    /// With the bucket `app`.
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000));
        let pool = Arc::new(Pool::in_memory(clock.clone()));
        let meta = Arc::new(Counting::default());
        let store = open(meta.clone(), pool.clone(), &clock).await;
        store.create_bucket("app", "root", false).await.unwrap();
        Self { store, clock, meta, pool }
    }

    /// The same after the process died: only rows and sites are left.
    pub async fn reborn(&mut self) {
        self.store = open(self.meta.clone(), self.pool.clone(), &self.clock).await;
    }

    pub async fn version(&self, versioning: Versioning) {
        let change = |state: &mut BucketState| {
            state.versioning = versioning;
            Ok(())
        };
        self.store.change_bucket_state("app", change).await.unwrap();
    }

    pub async fn rules(&self, document: &str) {
        self.store.portions().put_rules(self.store.account(), document).await.unwrap();
    }

    pub async fn put_as(&self, key: &str, encrypt: Encrypt, body: &[u8]) -> Result<VersionId, Error> {
        let new = NewObject { meta: ObjectMeta::default(), encrypt, acl: None };
        let mut source = Whole(Some(Bytes::copy_from_slice(body)).filter(|body| !body.is_empty()));
        let condition = WriteCondition::default();
        let put = self.store.put("app", key, new, body.len() as u64, &condition, &mut source).await?;
        Ok(put.version)
    }

    pub async fn put(&self, key: &str) {
        self.put_as(key, Encrypt::Default, key.as_bytes()).await.unwrap();
    }

    pub async fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        read(&self.store, key, None).await
    }

    pub async fn copy(&self, from: &str, to: &str, encrypt: Encrypt) -> Result<(), Error> {
        let from = CopySource {
            bucket: "app".to_owned(),
            key: from.to_owned(),
            version: None,
            condition: Default::default(),
            customer: None,
            judged: None,
        };
        let changes = CopyChanges { encrypt, ..CopyChanges::default() };
        self.store.copy(&from, "app", to, &changes, &WriteCondition::default()).await.map(drop)
    }

    pub async fn begin_upload(&self, key: &str) -> base::UploadId {
        self.store.create_upload("app", key, NewObject::default(), None, "root").await.unwrap().upload
    }

    pub async fn put_part(&self, key: &str, upload: base::UploadId, number: u16, part: &[u8]) -> CompletePart {
        let mut source = Whole(Some(Bytes::copy_from_slice(part)));
        let new = NewPart { upload, number, customer: None };
        let info = self.store.put_part("app", key, &new, part.len() as u64, &mut source).await.unwrap();
        CompletePart { number, etag: info.etag, checksum: None }
    }

    pub async fn complete(&self, key: &str, upload: base::UploadId, named: &[CompletePart]) {
        let condition = WriteCondition::default();
        self.store.complete_upload("app", key, upload, named, &Expected::default(), &condition).await.unwrap();
    }

    pub async fn upload(&self, key: &str, parts: &[Vec<u8>]) {
        let upload = self.begin_upload(key).await;
        let mut named = Vec::new();
        for (number, part) in (1..).zip(parts) {
            named.push(self.put_part(key, upload, number, part).await);
        }
        self.complete(key, upload, &named).await;
    }

    pub async fn portion(&self, name: &str) -> PortionId {
        self.store.portions().find(self.store.account(), name).await.unwrap().id
    }

    pub async fn rotate(&self, name: &str) {
        let id = self.portion(name).await;
        self.store.portions().rotate(self.store.account(), id, true).await.unwrap();
    }

    /// Versions of a portion's key that there are.
    pub async fn versions(&self, name: &str) -> Vec<u32> {
        let versions = self.store.portions().versions(self.portion(name).await).await.unwrap();
        versions.iter().map(|version| version.version).collect()
    }

    /// Keys of the objects that a portion's key opens, with the versions of the key.
    pub async fn exposed(&self, portion: &str) -> BTreeMap<String, Vec<u32>> {
        let id = self.portion(portion).await;
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.store.exposure(id, None, cursor.as_deref()).await.unwrap();
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

    pub async fn bucket(&self) -> BucketId {
        let row = self.meta.get(&[key::bucket_key(self.store.account(), "app")]).await.unwrap().remove(0).unwrap();
        BucketRecord::decode(&row.value).unwrap().id
    }

    pub async fn value(&self, row_key: &Key) -> Bytes {
        self.meta.get(std::slice::from_ref(row_key)).await.unwrap().remove(0).expect("a row").value
    }

    pub async fn write(&self, row_key: Key, value: Bytes) {
        self.meta.commit(Batch { checks: vec![], writes: vec![Write::Put(row_key, value)] }).await.unwrap();
    }

    /// Adds a byte to an object's row: it cannot be read any more, but what is in it is there.
    pub async fn damage(&self, key: &str) -> (Key, Bytes) {
        let row_key = key::object_key(self.bucket().await, key);
        let sound = self.value(&row_key).await;
        self.write(row_key.clone(), [&sound[..], &[0xff]].concat().into()).await;
        (row_key, sound)
    }
}
