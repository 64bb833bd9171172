//! What a gateway takes while it is cut off from the metadata, where the bucket says `island = accept`: it lies sealed in a folder of its
//! own, and is told when the metadata are in reach again ([`merge`]). Why it is so: `docs/design/0024-islands.md`.

mod entry;
mod merge;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
use entry::{ENTRY_MAX, Secret, Taken};
pub(crate) use merge::Late;

/// How old what is known may be for something to be taken by it, milliseconds.
const OLD_MAX_MS: u64 = 24 * 3600 * 1000;
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
    waiting: Mutex<BTreeMap<EntryId, Waiting>>,
}

/// A version that was taken and is not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Bytes on disk.
    bytes: u64,
    /// Bucket and key; `None`: nobody could open it since this process began.
    name: Option<(BucketId, String, String)>,
    /// Why it cannot be told.
    trouble: Option<String>,
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
    /// The version that was taken by a cut-off gateway: it is there, and is not the newest.
    pub version: String,
    /// The version that is the newest; empty: a delete marker was.
    pub newest: String,
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
                None if name.to_str().is_some_and(|name| name.ends_with(".tmp")) => {
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
        let island = Self { options, waiting: Mutex::new(waiting) };
        island.measure();
        Ok(island)
    }

    fn measure(&self) {
        let waiting = self.waiting.lock();
        metrics::gauge!("holdfast_island_waiting").set(waiting.len() as f64);
        metrics::gauge!("holdfast_island_bytes").set(waiting.values().map(|one| one.bytes).sum::<u64>() as f64);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.folder.join(name)
    }

    /// Whether something newer of a key waits.
    fn has(&self, bucket: BucketId, key: &str) -> bool {
        let named = |one: &Waiting| one.name.as_ref().is_some_and(|(of, _, named)| *of == bucket && named == key);
        self.waiting.lock().values().any(named)
    }

    /// Takes room, or says that there is none.
    fn room(&self, id: EntryId, waiting: Waiting) -> Result<Room<'_>, Error> {
        let mut all = self.waiting.lock();
        let bytes: u64 = all.values().map(|one| one.bytes).sum();
        if bytes.saturating_add(waiting.bytes) > self.options.bytes_max {
            return Err(Error::Full(format!(
                "{bytes} bytes wait until the metadata are in reach again, and {} may (`island_max_mib`)",
                self.options.bytes_max
            )));
        }
        // Without a name it hides nothing yet: it was not acknowledged.
        all.insert(id, Waiting { name: None, ..waiting.clone() });
        Ok(Room { island: self, id, waiting: Some(waiting) })
    }

    async fn sync_folder(&self) -> std::io::Result<()> {
        File::open(&self.options.folder).await?.sync_all().await
    }

    async fn remove(&self, id: EntryId) -> Result<(), Error> {
        // The entry first: a body alone is nothing.
        for name in [id.entry_file(), id.body_file()] {
            match tokio::fs::remove_file(self.path(&name)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("what was told")(error)),
                _ => {}
            }
        }
        self.waiting.lock().remove(&id);
        self.measure();
        Ok(())
    }
}

/// Room that is given back, with the files, unless what it is for is there.
struct Room<'a> {
    island: &'a Island,
    id: EntryId,
    waiting: Option<Waiting>,
}

impl Room<'_> {
    fn keep(mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.island.waiting.lock().insert(self.id, waiting);
        }
        self.island.measure();
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.waiting.is_some() {
            self.island.waiting.lock().remove(&self.id);
            let temporary = format!("{}.tmp", self.id);
            for name in [self.id.entry_file(), self.id.body_file(), temporary] {
                let _ = std::fs::remove_file(self.island.path(&name));
            }
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
        let id = EntryId { taken_ms: self.now_ms(), body: BodyId::random(rng) };
        let named = Some((bucket.id, bucket_name.to_owned(), key.to_owned()));
        let bytes = envelope::sealed_len(size) + ENTRY_MAX as u64;
        let room = island.room(id, Waiting { bytes, name: named, trouble: None })?;
        let mut dek = Zeroizing::new([0; 32]);
        rng.fill(dek.as_mut_slice());
        let context = id.context(self.account());
        let (sealer, header) = Sealer::new(&Dek::from_bytes(*dek), &context, rng);
        let facts = {
            let mut file = File::create_new(island.path(&id.body_file())).await.map_err(io("a body"))?;
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
            file.sync_all().await.map_err(io("a body"))?;
            body.finish()?
        };
        let etag = facts.md5_hex.clone().unwrap_or_else(|| crate::put::opaque_etag(id.body, 1));
        let checksum = facts.checksum.clone();
        let taken = Taken {
            bucket: bucket.id,
            bucket_name: bucket_name.to_owned(),
            key: key.to_owned(),
            base,
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
        let secret =
            Secret { dek, header: header.0, taken }.encode().map_err(|error| Error::Island(error.to_string()))?;
        let sealed = self.0.portions.seal_at_island(self.account(), &context, &secret)?;
        let entry = entry::file_of(self.account(), &sealed);
        if entry.len() > ENTRY_MAX {
            return Err(Error::TooLarge { what: "what is told of an object", max: ENTRY_MAX as u64 });
        }
        // Only whole entries have the name of one.
        let (temporary, at) = (island.path(&format!("{id}.tmp")), island.path(&id.entry_file()));
        write_whole(&temporary, &at, &entry).await.map_err(io("an entry"))?;
        island.sync_folder().await.map_err(io("its folder"))?;
        room.keep();
        tracing::info!(bucket = bucket_name, entry = %id, "taken while the metadata are out of reach");
        Ok(Deferred { id: id.to_string(), etag, checksum })
    }

    /// The order of a key's newest version; `None`: it has none.
    async fn newest_order(&self, bucket: BucketId, name: &str) -> Result<Option<u64>, Error> {
        let current = self.record::<ObjectRecord>(key::object_key(bucket, name)).await?;
        let (from, to) = key::versions_of_key(bucket, name);
        let page = self.0.meta.range(Range { from, to, limit: 1 }).await?;
        let kept = page.rows.first().map(|(row_key, _)| key::version_of(row_key)).transpose()?;
        Ok(current.map(|(record, _)| record.order).max(kept.map(|(_, order)| order)))
    }

    /// Refuses to tell of a key of which something newer waits here: what would be told is not what was acknowledged.
    ///
    /// # Errors
    /// [`Error::Island`].
    pub(crate) async fn nothing_newer_waits(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let Some(island) = &self.0.island else { return Ok(()) };
        if island.waiting.lock().is_empty() {
            return Ok(());
        }
        match island.has(self.bucket_record(bucket).await?.id, key) {
            true => Err(Error::Island("a newer version was taken here and is sealed until then".to_owned())),
            false => Ok(()),
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
        let waiting = island.waiting.lock();
        let told = |(id, one): (&EntryId, &Waiting)| WaitingReport {
            id: id.to_string(),
            bucket: one.name.as_ref().map(|(_, bucket, _)| bucket.clone()),
            key: one.name.as_ref().map(|(_, _, key)| key.clone()),
            bytes: one.bytes,
            taken_ms: id.taken_ms,
            trouble: one.trouble.clone(),
        };
        waiting.iter().map(told).collect()
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
            let ConflictRecord { bucket, key, version, newest, principal, gateway, taken_ms, .. } = record;
            let id = body.to_string();
            conflicts.push(ConflictReport { id, bucket, key, version, newest, principal, gateway, taken_ms });
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

async fn write_whole(temporary: &Path, at: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(temporary).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    tokio::fs::rename(temporary, at).await
}
