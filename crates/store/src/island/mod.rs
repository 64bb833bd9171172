//! What a gateway takes while it is cut off from the metadata, where the bucket says `island = accept`: it lies sealed in a folder of its
//! own, and is told when the metadata are in reach again ([`merge`]). Why it is so: `docs/design/0024-islands.md`.

mod entry;
mod merge;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::limits::{PART_SIZE_MAX, SEALED_CHUNK};
use base::{BodyId, BucketId};
use envelope::{Dek, Sealer};
use meta::record::{BucketState, Checksum, ConflictRecord, Lock, ObjectRecord, Record, Versioning, key};
use meta::{Range, stale};
use parking_lot::Mutex;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

use crate::api::{BodySource, Encrypt, NewObject, WriteCondition};
use crate::part::Chunker;
use crate::put::check_name;
use crate::{Error, Store};

pub(crate) use entry::EntryId;
use entry::{BODY, ENTRY, ENTRY_MAX, Secret, Taken};
pub(crate) use merge::{Late, Place};

/// How old what is known may be for something to be taken by it, milliseconds.
const OLD_MAX_MS: u64 = 24 * 3600 * 1000;
/// How the name of what is not finished ends.
const TEMPORARY: &str = ".tmp";
/// Sealed bytes that are written at once.
const WRITE: usize = 64 * SEALED_CHUNK;
/// Conflicts that are listed at once.
const CONFLICTS_MAX: usize = 1_000;

/// Where what is taken lies, and how much there may be.
#[derive(Debug, Clone)]
pub struct IslandOptions {
    /// A folder of this process's own.
    pub folder: PathBuf,
    /// Bytes that may lie there.
    pub bytes_max: u64,
}

/// What was taken and not told yet.
pub(crate) struct Island {
    options: IslandOptions,
    state: Mutex<State>,
    /// Held by whoever tells or drops an entry.
    telling: tokio::sync::Mutex<()>,
    /// Held by whoever acknowledges one: the time that the last one has in its name.
    keeping: tokio::sync::Mutex<u64>,
}

#[derive(Default)]
struct State {
    /// Acknowledged.
    waiting: BTreeMap<EntryId, Waiting>,
    /// Bytes of what is on its way.
    coming: u64,
}

impl State {
    fn bytes(&self) -> u64 {
        self.coming + self.waiting.values().map(|one| one.bytes).sum::<u64>()
    }

    /// The one of a key that was acknowledged last.
    fn last_of(&self, bucket: BucketId, key: &str) -> Option<EntryId> {
        let named = |one: &Waiting| one.name.as_ref().is_some_and(|(of, _, named)| *of == bucket && named == key);
        self.waiting.iter().rev().find(|(_, one)| named(one)).map(|(id, _)| *id)
    }
}

/// A version that was taken and is not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Bytes on disk.
    bytes: u64,
    /// Bucket and key; `None`: nobody could open it since this process began.
    name: Option<(BucketId, String, String)>,
    /// Why it could not be told, how often in a row, and when it is tried again, by the time that never goes back.
    trouble: Option<(String, u32, u64)>,
}

/// A version that was taken and is not told yet, for operators.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WaitingReport {
    /// Names it.
    pub id: String,
    /// Bucket and key, where they are known.
    pub bucket: Option<String>,
    /// The object's key.
    pub key: Option<String>,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it was taken, milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// Why it could not be told so far; `None`: it was not tried, or the metadata are out of reach.
    pub trouble: Option<String>,
}

/// Two versions of one key of which neither writer knew the other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConflictReport {
    /// Names it.
    pub id: String,
    /// What is known of it.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The version that was taken by a cut-off gateway.
    pub version: String,
    /// The version that was written meanwhile; empty: a delete marker was.
    pub other: String,
    /// Who wrote the former.
    pub principal: String,
    /// Where.
    pub gateway: String,
    /// When, milliseconds since the Unix epoch.
    pub taken_ms: u64,
}

/// What became of a write at an island.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    /// Names what was taken.
    pub id: String,
    /// The ETag that it will have.
    pub etag: String,
    /// Its checksum, verified.
    pub checksum: Option<Checksum>,
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::Full(format!("what is taken while cut off: {what}: {error}"))
        }
        _ => Error::Island(format!("{what}: {error}")),
    }
}

impl Island {
    /// Finds what lies there from before. Bodies without an entry were never acknowledged.
    pub(crate) fn open(options: IslandOptions) -> Result<Self, Error> {
        std::fs::create_dir_all(&options.folder).map_err(io("its folder"))?;
        let mut waiting = BTreeMap::new();
        let mut bodies = BTreeMap::new();
        for file in std::fs::read_dir(&options.folder).map_err(io("its folder"))? {
            let file = file.map_err(io("its folder"))?;
            let name = file.file_name();
            let bytes = file.metadata().map_err(io("a file"))?.len();
            match name.to_str().and_then(EntryId::of_file) {
                Some((id, true)) => drop(waiting.insert(id, Waiting { bytes, name: None, trouble: None })),
                Some((id, false)) => drop(bodies.insert(id, bytes)),
                None if name.to_str().is_some_and(|name| name.ends_with(TEMPORARY)) => {
                    std::fs::remove_file(file.path()).map_err(io("a file that was never finished"))?;
                }
                None => {}
            }
        }
        for (id, bytes) in bodies {
            match waiting.get_mut(&id) {
                Some(one) => one.bytes += bytes,
                None => std::fs::remove_file(options.folder.join(id.body_file())).map_err(io("a body"))?,
            }
        }
        let keeping = waiting.last_key_value().map_or(0, |(id, _)| id.taken_ms);
        let state = Mutex::new(State { waiting, coming: 0 });
        let (telling, keeping) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::new(keeping));
        let island = Self { options, state, telling, keeping };
        island.measure();
        Ok(island)
    }

    fn measure(&self) {
        let state = self.state.lock();
        metrics::gauge!("holdfast_island_waiting").set(state.waiting.len() as f64);
        metrics::gauge!("holdfast_island_bytes").set(state.bytes() as f64);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.folder.join(name)
    }

    /// Takes room, or says that there is none.
    fn room(self: &Arc<Self>, body: BodyId, bytes: u64) -> Result<Room, Error> {
        let mut state = self.state.lock();
        let there = state.bytes();
        if there.saturating_add(bytes) > self.options.bytes_max {
            return Err(Error::Island(format!(
                "{there} bytes wait here already, and {} may (`island_max_mib`)",
                self.options.bytes_max
            )));
        }
        state.coming += bytes;
        Ok(Room { island: self.clone(), body, id: None, bytes, is_kept: false })
    }

    /// Where something lies that has no name of its own yet.
    fn temporary(&self, body: BodyId, what: &str) -> PathBuf {
        self.path(&format!("{body}{what}{TEMPORARY}"))
    }

    /// Makes an entry durable. Its body is already, without its name.
    async fn write_entry(&self, id: EntryId, bytes: &[u8]) -> std::io::Result<()> {
        tokio::fs::rename(self.temporary(id.body, BODY), self.path(&id.body_file())).await?;
        // Only whole entries have the name of one.
        let temporary = self.temporary(id.body, ENTRY);
        let mut file = File::create_new(&temporary).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        tokio::fs::rename(&temporary, self.path(&id.entry_file())).await?;
        File::open(&self.options.folder).await?.sync_all().await
    }

    /// To be called by who holds `telling`.
    async fn remove(&self, id: EntryId) -> Result<(), Error> {
        // The entry first: a body alone is nothing.
        for name in [id.entry_file(), id.body_file()] {
            match tokio::fs::remove_file(self.path(&name)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("what was told")(error)),
                _ => {}
            }
        }
        self.state.lock().waiting.remove(&id);
        self.measure();
        Ok(())
    }
}

/// Room that is given back, with the files, unless what it is for is there.
struct Room {
    island: Arc<Island>,
    body: BodyId,
    /// Once it has one.
    id: Option<EntryId>,
    bytes: u64,
    is_kept: bool,
}

impl Room {
    fn keep(mut self, id: EntryId, name: (BucketId, String, String)) {
        self.is_kept = true;
        let waiting = Waiting { bytes: self.bytes, name: Some(name), trouble: None };
        self.island.state.lock().waiting.insert(id, waiting);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.island.state.lock().coming -= self.bytes;
        self.island.measure();
        if self.is_kept {
            return;
        }
        let temporary = [BODY, ENTRY].map(|what| self.island.temporary(self.body, what));
        let named =
            self.id.iter().flat_map(|id| [self.island.path(&id.entry_file()), self.island.path(&id.body_file())]);
        for path in temporary.into_iter().chain(named) {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Store {
    /// Takes an object while the metadata are out of reach, for who was let in by what was known before ([`stale`]): sealed, durable here,
    /// and told when they are in reach again.
    ///
    /// # Errors
    /// [`Error::Island`] where the bucket does not have it so, or the request asks for what nobody can say now; [`Error::Full`];
    /// what is wrong with the body.
    pub async fn put_at_island(
        &self,
        bucket_name: &str,
        key: &str,
        new: NewObject,
        size: u64,
        condition: &WriteCondition,
        body: &mut dyn BodySource,
    ) -> Result<Deferred, Error> {
        // What no commit checks is judged by rows that were read.
        if self.goes_by_memory() {
            return Err(self.overtaken(&[]));
        }
        let island = self.0.island.as_ref().ok_or_else(|| Error::Island("nothing is taken here".to_owned()))?;
        check_name(key, &new.meta)?;
        if size > PART_SIZE_MAX {
            return Err(Error::TooLarge { what: "a body", max: PART_SIZE_MAX });
        }
        let bucket = self.bucket_record(bucket_name).await?;
        let state = self.bucket_state(bucket_name).await?;
        may_take(&state, &new, condition)?;
        if stale::age_ms().is_none_or(|age_ms| age_ms > OLD_MAX_MS) {
            return Err(Error::Island("what is known of the bucket is too old".to_owned()));
        }
        let base = self.newest_order(bucket.id, key).await?;
        let unknown = || Error::Island("nothing is taken of who is not known".to_owned());
        let caller = self.1.caller.as_ref().ok_or_else(unknown)?;
        if self.1.access_key.is_none() && caller.id() != self.root_of_account().id() {
            return Err(unknown());
        }
        let rng = self.0.options.doors.rng.as_ref();
        let id = BodyId::random(rng);
        let room = island.room(id, envelope::sealed_len(size) + ENTRY_MAX as u64)?;
        let mut dek = Zeroizing::new([0; 32]);
        rng.fill(dek.as_mut_slice());
        let context = entry::context(self.account(), id);
        let (sealer, header) = Sealer::new(&Dek::from_bytes(*dek), &context, rng);
        write_body(&island.temporary(id, BODY), sealer, size, body).await?;
        let facts = body.finish()?;
        let etag = facts.md5_hex.clone().unwrap_or_else(|| crate::put::opaque_etag(id, 1));
        let checksum = facts.checksum.clone();
        let taken = Taken {
            bucket: bucket.id,
            bucket_name: bucket_name.to_owned(),
            key: key.to_owned(),
            base,
            after: None,
            size,
            md5_hex: facts.md5_hex,
            checksum: facts.checksum,
            headers: new.meta.headers,
            user_metadata: new.meta.user_metadata,
            tags: new.meta.tags,
            access_key: self.1.access_key.as_ref().map(ToString::to_string),
            principal_id: caller.id().to_owned(),
            principal: self.1.principal.clone(),
            request: self.1.request.clone(),
        };
        let secret = Secret { dek, header: header.0, taken };
        // In a task of its own: who hangs up now must leave all of it behind, or nothing.
        let store = self.clone();
        let kept = self.0.tasks.spawn(async move { store.keep_taken(room, secret).await });
        let id = kept.await.unwrap_or_else(|_| Err(Error::Island("the gateway is stopping".to_owned())))?;
        tracing::info!(bucket = bucket_name, entry = %id, "taken while the metadata are out of reach");
        Ok(Deferred { id: id.to_string(), etag, checksum })
    }

    async fn keep_taken(&self, mut room: Room, mut secret: Secret) -> Result<EntryId, Error> {
        let island = room.island.clone();
        // One at a time, so that they are told as they were acknowledged, and of two of a key each knows which came first.
        let mut last_ms = island.keeping.lock().await;
        let id = EntryId { taken_ms: self.now_ms().max(last_ms.saturating_add(1)), body: room.body };
        *last_ms = id.taken_ms;
        room.id = Some(id);
        let taken = &mut secret.taken;
        let before = island.state.lock().last_of(taken.bucket, &taken.key);
        taken.after = before.map(|before| before.body);
        let name = (taken.bucket, taken.bucket_name.clone(), taken.key.clone());
        let opened = secret.encode().map_err(|error| Error::Island(error.to_string()))?;
        let context = entry::context(self.account(), id.body);
        let sealed = self.0.portions.seal_at_island(self.account(), &context, &opened)?;
        let bytes = entry::file_of(self.account(), &sealed);
        if bytes.len() > ENTRY_MAX {
            return Err(Error::TooLarge { what: "what is told of an object", max: ENTRY_MAX as u64 });
        }
        island.write_entry(id, &bytes).await.map_err(io("an entry"))?;
        room.keep(id, name);
        Ok(id)
    }

    /// The order of a key's newest version; `None`: it has none.
    async fn newest_order(&self, bucket: BucketId, name: &str) -> Result<Option<u64>, Error> {
        let row_key = key::object_key(bucket, name);
        // What this process has written itself may not have come to the copy any more.
        let own = self.0.rows.seen(&row_key).and_then(|row| ObjectRecord::decode(&row.value).ok());
        let current = self.record::<ObjectRecord>(row_key).await?.map(|(record, _)| record);
        let (from, to) = key::versions_of_key(bucket, name);
        let page = self.0.meta.range(Range { from, to, limit: 1 }).await?;
        let kept = page.rows.first().map(|(row_key, _)| key::version_of(row_key)).transpose()?;
        let orders = [own.map(|record| record.order), current.map(|record| record.order), kept.map(|(_, order)| order)];
        Ok(orders.into_iter().max().flatten())
    }

    /// Refuses to tell of a key of which something newer waits here: what would be told is not what was acknowledged.
    ///
    /// # Errors
    /// [`Error::Island`].
    pub(crate) async fn nothing_newer_waits(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let Some(island) = &self.0.island else { return Ok(()) };
        if island.state.lock().waiting.is_empty() {
            return Ok(());
        }
        let bucket = self.bucket_record(bucket).await?.id;
        match island.state.lock().last_of(bucket, key) {
            Some(_) => Err(Error::Island("a newer version was taken here and is sealed until then".to_owned())),
            None => Ok(()),
        }
    }

    /// Says whether gateways that are cut off take new versions for a bucket.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::BucketState`] for one that keeps no versions, or a metadata error.
    pub async fn set_island(&self, bucket: &str, accept: bool) -> Result<(), Error> {
        self.change_bucket_state(bucket, |state| {
            if accept && state.versioning != Versioning::Enabled {
                return Err(Error::BucketState(
                    "the bucket keeps no versions, so what is told late would overwrite: enable versioning first",
                ));
            }
            state.island = accept;
            Ok(())
        })
        .await
    }

    /// What was taken here and is not told yet, the oldest first.
    pub fn island_waiting(&self) -> Vec<WaitingReport> {
        let Some(island) = &self.0.island else { return Vec::new() };
        let state = island.state.lock();
        let told = |(id, one): (&EntryId, &Waiting)| WaitingReport {
            id: id.to_string(),
            bucket: one.name.as_ref().map(|(_, bucket, _)| bucket.clone()),
            key: one.name.as_ref().map(|(_, _, key)| key.clone()),
            bytes: one.bytes,
            taken_ms: id.taken_ms,
            trouble: one.trouble.as_ref().map(|(why, ..)| why.clone()),
        };
        state.waiting.iter().map(told).collect()
    }

    /// Versions that were taken by cut-off gateways, and are not the newest of their keys; up to a thousand.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn conflicts(&self) -> Result<Vec<ConflictReport>, Error> {
        let (from, to) = key::conflicts();
        let page = self.0.meta.range(Range { from, to, limit: CONFLICTS_MAX }).await?;
        let mut conflicts = Vec::with_capacity(page.rows.len());
        for (row_key, row) in page.rows {
            let Some(body) = key::conflict_of(&row_key) else { continue };
            let record = ConflictRecord::decode(&row.value)?;
            if record.account != self.account() {
                continue;
            }
            let ConflictRecord { bucket, key, version, other, principal, gateway, taken_ms, .. } = record;
            let id = body.to_string();
            conflicts.push(ConflictReport { id, bucket, key, version, other, principal, gateway, taken_ms });
        }
        conflicts.sort_by_key(|conflict| conflict.taken_ms);
        Ok(conflicts)
    }
}

/// Whether something may be taken at all: what can be judged only by what is known now may not.
fn may_take(state: &BucketState, new: &NewObject, condition: &WriteCondition) -> Result<(), Error> {
    let why = match () {
        () if !state.island => "the bucket does not say `island = accept`",
        () if state.versioning != Versioning::Enabled => "the bucket keeps no versions",
        () if *condition != WriteCondition::default() => "a condition on what is there cannot be judged now",
        () if !matches!(new.encrypt, Encrypt::Default | Encrypt::Said(_) | Encrypt::Bucket) => {
            "a key that the request names cannot be used now"
        }
        () if new.acl.is_some() => "an access control list cannot be judged now",
        () if new.meta.lock != Lock::default() => "a lock cannot be set now",
        () => return Ok(()),
    };
    Err(Error::Island(why.to_owned()))
}

async fn write_body(at: &Path, sealer: Sealer, size: u64, body: &mut dyn BodySource) -> Result<(), Error> {
    let mut file = File::create_new(at).await.map_err(io("a body"))?;
    let mut chunker = Chunker::new(sealer, size, body);
    let mut sealed = Vec::with_capacity(WRITE);
    for index in 1..=envelope::chunk_count(size) {
        chunker.next_chunk(&mut sealed).await?;
        if sealed.len() >= WRITE || index == envelope::chunk_count(size) {
            file.write_all(&sealed).await.map_err(io("a body"))?;
            sealed.clear();
        }
    }
    chunker.end().await?;
    file.sync_all().await.map_err(io("a body"))
}
