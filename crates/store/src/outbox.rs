//! The outbox: an event is a row of the batch that makes the change, and waits there for its target.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use keys::Caller;
use meta::record::{BucketConfig, BucketRecord, BucketState, ObjectRecord, QueueRecord, Record, key};
use meta::{Batch, Check, CommitError, Engine, Key, MetaError, Page, Range, Row, Write, each_row};
use notify::{Event, EventName, Object, Rules};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::VersionId;
use crate::bucket::CONFIG_MAX;
use crate::credential::owner;
use crate::worker::readable;
use crate::{Error, Store};

/// The name of the configuration among a bucket's sub-resources.
pub const NOTIFICATION: &str = "notification";
/// Events that wait for a target that is no longer configured.
const QUEUE_MAX: u64 = 100_000;
/// What stands for the client in events that no client caused.
const ITSELF: &str = "s3.amazonaws.com";
/// Sequences per millisecond: one process commits far fewer.
const SEQUENCES_PER_MS: u64 = 1 << 20;

/// Who caused a change, and how: events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The user's name.
    pub principal: String,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request's id.
    pub request: Option<String>,
    /// What kind of cause.
    pub cause: Cause,
    /// To whom keys are released; `None`: the store acts for itself.
    pub caller: Option<Arc<Caller>>,
    /// The access key that the request was signed with, or that the temporary credentials were made with.
    pub access_key: Option<Arc<str>>,
}

/// What kind of cause a change has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A request of the API.
    Request,
    /// An upload by HTML form.
    Form,
    /// A lifecycle rule.
    Lifecycle,
}

impl Origin {
    /// The store itself, for this cause.
    pub(crate) fn itself(cause: Cause) -> Self {
        Self { principal: ITSELF.to_owned(), address: None, request: None, cause, caller: None, access_key: None }
    }

    /// What a change is called when this is its origin.
    fn name(&self, change: EventName) -> EventName {
        match (self.cause, change) {
            (Cause::Form, EventName::Put | EventName::CompleteMultipartUpload) => EventName::Post,
            (Cause::Lifecycle, EventName::Delete) => EventName::Expired,
            (Cause::Lifecycle, EventName::DeleteMarkerCreated) => EventName::ExpiredMarker,
            (_, change) => change,
        }
    }
}

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Message {
    /// Unique among the messages of a target; the same when it is sent again. ASCII.
    pub id: String,
    /// JSON.
    pub body: Bytes,
}

/// Why a target did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It cannot be reached.
    #[error("the target cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and does not take the message.
    #[error("the target refuses the message: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("the target did not answer within {} ms", .0.as_millis())]
    Late(Duration),
}

/// Where events go.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// Sends a message; `Ok` when the receiver said that it has it. Bounds its own time. May be called for
    /// several messages at once; dropping the call leaves open whether the message arrived.
    async fn send(&self, message: &Message) -> Result<(), TargetError>;
    /// What it is: `webhook`, `nats`.
    fn kind(&self) -> &'static str;
    /// Where it is, for people; without secrets.
    fn address(&self) -> String;
}

/// A target as configured.
#[derive(Clone)]
pub struct TargetOptions {
    /// The name that ARNs end in.
    pub name: String,
    /// The target.
    pub target: Arc<dyn Target>,
    /// Events that may wait for it; past that the oldest are dropped. At least 10.
    pub queue_max: u64,
    /// Names of the tenants whose buckets may name it.
    pub tenants: Vec<String>,
}

/// Where events go, and what they say of this server.
#[derive(Clone, Default)]
pub struct EventOptions {
    /// The region that buckets say they are in.
    pub region: String,
    /// The targets.
    pub targets: Vec<TargetOptions>,
}

/// One target's queue.
pub(crate) struct Lane {
    pub(crate) name: String,
    /// `None`: there are events for it, and it is not configured.
    pub(crate) target: Option<Arc<dyn Target>>,
    pub(crate) queue_max: u64,
    /// Names of the tenants whose buckets may name it.
    pub(crate) tenants: Vec<String>,
    /// Rows in the outbox, as far as known: a commit of unknown outcome is not counted.
    pub(crate) queued: AtomicU64,
    /// Wakes the target's task.
    pub(crate) wake: Notify,
    pub(crate) told: Mutex<Told>,
}

impl Lane {
    /// So many rows were counted when so many were known. What was written or removed meanwhile is known
    /// since.
    pub(crate) fn recount(&self, known: u64, rows: u64) {
        let right = |queued: u64| Some((queued + rows).saturating_sub(known));
        let _ = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, right);
    }
}

/// What is told of a lane.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) record: QueueRecord,
    /// Since the start.
    pub(crate) failed: u64,
    /// Failures since the last success.
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
}

/// All lanes, and the counter that orders events.
pub(crate) struct Outbox {
    pub(crate) region: String,
    lanes: Mutex<BTreeMap<String, Arc<Lane>>>,
    sequence: AtomicU64,
}

impl Outbox {
    pub(crate) fn new(options: &EventOptions) -> Self {
        let outbox = Self { region: options.region.clone(), lanes: Mutex::default(), sequence: AtomicU64::new(0) };
        for TargetOptions { name, target, queue_max, tenants } in &options.targets {
            let lane = lane(name, Some(target.clone()), *queue_max, tenants.clone());
            outbox.lanes.lock().insert(name.clone(), lane);
        }
        outbox
    }

    pub(crate) fn lane(&self, name: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        lanes.entry(name.to_owned()).or_insert_with(|| lane(name, None, QUEUE_MAX, Vec::new())).clone()
    }

    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().values().cloned().collect()
    }

    /// Reads what an earlier process left.
    pub(crate) async fn restore(&self, meta: &dyn Engine) -> Result<(), Error> {
        let mut highest = 0;
        each_row(meta, key::queues(), |row_key, row| {
            let Some(name) = key::queue_of(row_key) else { return Ok(()) };
            // A damaged one costs what was counted; the server starts all the same.
            let record = readable::<QueueRecord>(row_key, &row.value).unwrap_or_default();
            highest = highest.max(record.sequence);
            self.lane(name).told.lock().record = record;
            Ok::<_, Error>(())
        })
        .await?;
        each_row(meta, key::events(), |row_key, _| {
            let Some((name, sequence)) = key::event_of(row_key) else { return Ok(()) };
            highest = highest.max(sequence);
            self.lane(name).queued.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Error>(())
        })
        .await?;
        self.sequence.fetch_max(highest, Ordering::Relaxed);
        Ok(())
    }

    /// Draws a sequence: above all drawn before, also when the clock goes back.
    fn draw(&self, now_ms: u64) -> u64 {
        let floor = now_ms.saturating_mul(SEQUENCES_PER_MS);
        let next = |last: u64| floor.max(last.saturating_add(1));
        let last = self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }

    /// A commit wrote this row.
    fn written(&self, row_key: &[u8]) {
        let Some((name, _)) = key::event_of(row_key) else { return };
        let lane = self.lane(name);
        lane.queued.fetch_add(1, Ordering::Relaxed);
        lane.wake.notify_one();
    }
}

fn lane(name: &str, target: Option<Arc<dyn Target>>, queue_max: u64, tenants: Vec<String>) -> Arc<Lane> {
    Arc::new(Lane {
        name: name.to_owned(),
        target,
        queue_max,
        tenants,
        queued: AtomicU64::new(0),
        wake: Notify::new(),
        told: Mutex::default(),
    })
}

/// The engine, watched for events: what is committed is counted, and wakes its target.
pub(crate) struct Watched {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) outbox: Arc<Outbox>,
}

#[async_trait]
impl Engine for Watched {
    fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.engine.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.engine.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        // An empty list costs nothing, and most are.
        let events: Vec<Vec<Key>> =
            batches.iter().map(|batch| batch.writes.iter().filter_map(event_put).collect()).collect();
        let answers = self.engine.commit_group(batches).await;
        for (answer, events) in answers.iter().zip(&events) {
            if answer.is_ok() {
                events.iter().for_each(|row_key| self.outbox.written(row_key));
            }
        }
        answers
    }
}

fn event_put(write: &Write) -> Option<Key> {
    match write {
        Write::Put(row_key, _) if key::event_of(row_key).is_some() => Some(row_key.clone()),
        _ => None,
    }
}

/// A change, as an event tells it.
pub(crate) struct Happened<'a> {
    pub(crate) bucket: &'a BucketRecord,
    pub(crate) state: &'a BucketState,
    pub(crate) origin: &'a Origin,
    pub(crate) name: EventName,
    pub(crate) key: &'a str,
    /// The version that was made or removed.
    pub(crate) version: Option<VersionId>,
    /// What stands there now; `None` where nothing does.
    pub(crate) stored: Option<&'a ObjectRecord>,
    /// Its place in the order of what happens to the key.
    pub(crate) order: u64,
}

impl Store {
    /// The same store, acting for this origin.
    pub fn acting_for(&self, origin: Origin) -> Self {
        Self(self.0.clone(), Arc::new(origin), self.2)
    }

    /// Adds to `batch` the event that tells a change, if the bucket's configuration asks for it. The batch
    /// must check the bucket's state: a configuration that changes then makes it fail.
    pub(crate) async fn tell(&self, happened: &Happened<'_>, batch: &mut Batch) -> Result<(), Error> {
        if !happened.state.notifies {
            return Ok(());
        }
        let Some(rules) = self.rules_of(happened.bucket).await? else { return Ok(()) };
        let name = happened.origin.name(happened.name);
        let Some(rule) = rules.find(name, happened.key) else { return Ok(()) };
        let version = happened.version.filter(|_| happened.state.versioning != meta::record::Versioning::Off);
        let object = Object {
            key: happened.key.to_owned(),
            size: happened.stored.map(|record| record.size),
            etag: happened.stored.map(|record| record.etag.clone()),
            version: version.map(|version| version.to_string()),
        };
        let event = Event {
            configuration: rule.id.clone(),
            object: Some(object),
            ..self.event(name, &rules.bucket, happened.bucket, happened.origin)
        };
        let target =
            rule.target().map_err(|_| Error::Corrupt("a stored notification rule has no target".to_owned()))?;
        if self.may_send_to(target).await? {
            self.put_event(target, &event, happened.order, batch);
        }
        Ok(())
    }

    /// Whether the tenant's events go to a target. It may have been taken off the target's list since its
    /// buckets named it; events for a target that is not configured wait until it is again.
    async fn may_send_to(&self, target: &str) -> Result<bool, Error> {
        let lane = self.0.outbox.lane(target);
        if lane.target.is_none() {
            return Ok(true);
        }
        Ok(self.tenant_name().await?.is_some_and(|tenant| lane.tenants.contains(&tenant)))
    }

    fn event(&self, name: EventName, bucket: &str, record: &BucketRecord, origin: &Origin) -> Event {
        Event {
            name,
            time_ms: self.now_ms(),
            bucket: bucket.to_owned(),
            owner: owner(self.account(), &record.owner),
            configuration: String::new(),
            object: None,
            principal: origin.principal.clone(),
            source: origin.address.map_or_else(|| ITSELF.to_owned(), |address| address.to_string()),
            request: origin.request.clone(),
        }
    }

    /// `after_ms`: events of one key are in order though gateways' clocks differ.
    fn put_event(&self, target: &str, event: &Event, after_ms: u64, batch: &mut Batch) {
        let row_key = key::event_key(target, self.0.outbox.draw(self.now_ms().max(after_ms)));
        batch.checks.push(Check::Absent(row_key.clone()));
        batch.writes.push(Write::Put(row_key, event.encode()));
    }

    async fn rules_of(&self, bucket: &BucketRecord) -> Result<Option<Rules>, Error> {
        let row_key = key::bucket_config_key(bucket.id, NOTIFICATION);
        // A batch is checked by the bucket's state, which changes with these rules: they must not be older.
        let Some(row) = self.0.meta.get(&[row_key]).await?.pop().flatten() else { return Ok(None) };
        let config = BucketConfig::decode(&row.value)?;
        let rules = postcard::from_bytes(&config.document);
        rules.map(Some).map_err(|_| Error::Corrupt("the stored notification rules cannot be read".to_owned()))
    }

    /// A bucket's notification configuration; empty where none was put.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn notification(&self, bucket: &str) -> Result<Rules, Error> {
        let bucket = self.bucket_record(bucket).await?;
        Ok(self.rules_of(&bucket).await?.unwrap_or_default())
    }

    /// Puts a notification configuration that was found valid; an empty one removes what is there. Every
    /// change acknowledged after this is told by it. With `test`, each target is sent a test event.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::TooLarge`], or a metadata error.
    pub async fn put_notification(&self, rules: &Rules, test: bool) -> Result<(), Error> {
        let bucket = self.bucket_record(&rules.bucket).await?;
        let document = postcard::to_allocvec(rules);
        let document = document.map_err(|_| Error::Invalid("the notification rules cannot be written"))?;
        if document.len() > CONFIG_MAX {
            return Err(Error::TooLarge { what: "the configuration", max: CONFIG_MAX as u64 });
        }
        let config = BucketConfig { document, modified_ms: self.now_ms() }.encode();
        let row_key = key::bucket_config_key(bucket.id, NOTIFICATION);
        self.until_won(|| async {
            let mut batch = Batch::default();
            let mut state = self.bucket_state_for(&bucket, &rules.bucket, &mut batch).await?;
            state.notifies = !rules.rules.is_empty();
            batch.writes.push(Write::Put(key::bucket_state_key(bucket.id), state.encode()));
            batch.writes.push(match state.notifies {
                true => Write::Put(row_key.clone(), config.clone()),
                false => Write::Delete(row_key.clone()),
            });
            for target in rules.targets().into_iter().filter(|_| test) {
                let event = self.event(EventName::Test, &rules.bucket, &bucket, &self.1);
                self.put_event(target, &event, 0, &mut batch);
            }
            Ok((batch, ()))
        })
        .await
    }

    /// The names of the targets that are configured for the tenant.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn target_names(&self) -> Result<Vec<String>, Error> {
        let Some(tenant) = self.tenant_name().await? else { return Ok(Vec::new()) };
        let lanes = self.0.outbox.lanes();
        let named = |lane: &&Arc<Lane>| lane.target.is_some() && lane.tenants.contains(&tenant);
        Ok(lanes.iter().filter(named).map(|lane| lane.name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_only_rise() {
        let outbox = Outbox::new(&EventOptions::default());
        let drawn: Vec<u64> = [5, 5, 9, 2, 9].map(|now_ms| outbox.draw(now_ms)).to_vec();
        let ms = SEQUENCES_PER_MS;
        assert_eq!(drawn, [5 * ms, 5 * ms + 1, 9 * ms, 9 * ms + 1, 9 * ms + 2]);
    }

    #[test]
    fn causes_name_changes() {
        let table = [
            (Cause::Request, EventName::Put, EventName::Put),
            (Cause::Form, EventName::Put, EventName::Post),
            (Cause::Form, EventName::Copy, EventName::Copy),
            (Cause::Lifecycle, EventName::Delete, EventName::Expired),
            (Cause::Lifecycle, EventName::DeleteMarkerCreated, EventName::ExpiredMarker),
            (Cause::Request, EventName::Delete, EventName::Delete),
        ];
        for (cause, change, expected) in table {
            assert_eq!(Origin::itself(cause).name(change), expected, "{cause:?} {change:?}");
        }
    }
}
