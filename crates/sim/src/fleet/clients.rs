//! What clients do, and what they see.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use history::{Op, Record};
use keys::Caller;
use release::Via;
use store::api::{DeleteRequest, NewObject, ReadRange, VersionId, WriteCondition};
use store::{Cause, Error, Origin, Store, stale};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::world::{GATEWAYS, PLAIN, SHUT, TAKEN, Taking, World};
use crate::Whole;

/// Clients of [`PLAIN`].
const WORKERS: usize = 3;
/// Keys that they share.
const KEYS: usize = 3;
/// Requests of a key before another one takes its place, and those of unknown outcome: a history has to be searched.
const KEY_REQUESTS: usize = 40;
const KEY_UNKNOWN: usize = 6;
/// A client gives up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest pause of a client, milliseconds.
const THINKS_MS: usize = 600;
/// Sizes of bodies: in packs, and not.
const SIZES: [usize; 5] = [8, 100, 5_000, 20_000, 90_000];
/// How soon a gateway that is well knows of what was taken away: a look each half second, and what messages take.
const SOON: u64 = 1_500_000_000;
/// How long after its ways are well again a gateway may be waiting for an answer that was lost.
const RECOVERS: u64 = 12_000_000_000;
/// A lease of ten seconds by the slowest clock, and what is on its way.
const LEASE: u64 = 11_000_000_000;

/// The bytes of a value.
pub(super) fn body(value: u64) -> Bytes {
    let size = SIZES[value as usize % SIZES.len()];
    let noise = (8..size).map(|at| ((at as u64 * 31) ^ (at as u64 >> 8) ^ value) as u8);
    value.to_be_bytes().into_iter().chain(noise).collect()
}

/// The value of a body, all its bytes looked at.
pub(super) fn value(bytes: &[u8]) -> u64 {
    let number = bytes.get(..8).and_then(|head| head.try_into().ok()).map(u64::from_be_bytes).expect("a value");
    assert!(body(number) == bytes, "wrong bytes of value {number}");
    number
}

/// Puts a body under no condition.
pub(super) async fn put(store: &Store, bucket: &str, key: &str, body: Bytes) -> Result<(), Error> {
    let size = body.len() as u64;
    let condition = WriteCondition::default();
    store.put(bucket, key, NewObject::default(), size, &condition, &mut Whole(Some(body))).await.map(drop)
}

/// Reads an object whole.
pub(super) async fn get(store: &Store, bucket: &str, key: &str) -> Result<Bytes, Error> {
    get_version(store, bucket, key, None).await
}

/// Reads a version whole; `None`: the newest.
pub(super) async fn get_version(
    store: &Store,
    bucket: &str,
    key: &str,
    version: Option<VersionId>,
) -> Result<Bytes, Error> {
    let mut stream = store.open_object(bucket, key, version, None).await?.read(ReadRange::All).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.into())
}

/// What a gateway answers who accepts old answers, and how old it may be, milliseconds.
async fn accepting<T>(work: impl Future<Output = T>) -> (T, Option<u64>) {
    let answer = Arc::new(stale::Answer::default());
    let done = stale::accepting(answer.clone(), work).await;
    (done, answer.age_ms())
}

/// A gateway's store on somebody's behalf, as a request of theirs has it.
pub(super) async fn acting_for(store: &Store, access_key: &str) -> Result<Store, Error> {
    let Some((_, principal)) = store.authenticate(access_key).await? else {
        return Err(Error::Invalid("the access key does not exist"));
    };
    let caller = Caller::new(store.account(), principal.who(), Via::S3, false, None);
    Ok(store.acting_for(Origin {
        principal: principal.who().name.unwrap_or_default(),
        address: None,
        request: None,
        cause: Cause::Request,
        caller: Some(Arc::new(caller)),
        access_key: Some(access_key.into()),
    }))
}

pub(super) fn spawn(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let mut clients: Vec<JoinHandle<()>> = (0..WORKERS).map(|_| tokio::spawn(work(world.clone()))).collect();
    clients.push(tokio::spawn(write_at_islands(world.clone())));
    clients.extend((0..GATEWAYS).map(|index| tokio::spawn(read_secret(world.clone(), index))));
    clients
}

impl World {
    /// Lets a gateway do something; `None`: no answer came. When it was asked, nanoseconds.
    async fn ask<T, F: Future<Output = T>>(&self, index: usize, work: impl FnOnce(Store) -> F) -> (u64, Option<T>) {
        let start = self.now();
        let Some((store, link)) = self.gateways[index].life() else {
            sleep(Duration::from_millis(100)).await;
            return (start, None);
        };
        (start, timeout(PATIENCE, link.inside(work(store))).await.ok())
    }

    async fn think(&self) {
        sleep(Duration::from_millis(self.chance.below(THINKS_MS) as u64)).await;
    }

    fn is_over(&self) -> bool {
        self.seen.lock().over
    }

    fn new_value(&self) -> u64 {
        let mut seen = self.seen.lock();
        seen.values += 1;
        // Those of one run have nothing in common with another's.
        self.seed << 20 | seen.values
    }
}

/// Reads and writes a few keys.
async fn work(world: Arc<World>) {
    while !world.is_over() {
        let slot = world.chance.below(KEYS);
        let key = {
            let seen = world.seen.lock();
            let has_room = |generation: &usize| {
                let known = seen.histories.get(&format!("{slot}-{generation}"));
                known.is_none_or(|known| known.len() < KEY_REQUESTS && unknown(known) < KEY_UNKNOWN)
            };
            let generation = (0..).find(has_room).unwrap_or_default();
            format!("{slot}-{generation}")
        };
        let new = world.new_value();
        let op = match world.chance.below(10) {
            0..4 => Op::Get(None),
            4..7 => Op::Put(new),
            7 => Op::Delete,
            _ => Op::PutIfAbsent(new, false),
        };
        one(&world, key, op, world.chance.below(GATEWAYS)).await;
        world.think().await;
    }
}

/// Writes that may have been done, or be done yet.
fn unknown(records: &[Record]) -> usize {
    records.iter().filter(|record| record.end.is_none() && !matches!(record.op, Op::Get(_))).count()
}

/// One request for a key of [`PLAIN`], which becomes a part of its history.
pub(super) async fn one(world: &World, key: String, op: Op, gateway: usize) -> bool {
    let name = key.clone();
    let (start, answer) = world
        .ask(gateway, async move |store| match op {
            Op::Get(_) => {
                let reads = async {
                    let read = get(&store, PLAIN, &name).await;
                    store.must_tell_old(PLAIN, &name).await?;
                    read
                };
                let (read, age_ms) = accepting(reads).await;
                let found = match read {
                    Ok(bytes) => Some(value(&bytes)),
                    Err(Error::NoSuchKey) => None,
                    Err(error) => return Err(error),
                };
                Ok((Op::Get(found), age_ms))
            }
            Op::Delete => store.delete(PLAIN, &name, &DeleteRequest::default()).await.map(|_| (op, None)),
            Op::PutIfAbsent(new, _) => {
                let (bytes, condition) = (body(new), WriteCondition { absent: true, etag_is: None });
                let size = bytes.len() as u64;
                let mut source = Whole(Some(bytes));
                match store.put(PLAIN, &name, NewObject::default(), size, &condition, &mut source).await {
                    Ok(_) => Ok((Op::PutIfAbsent(new, true), None)),
                    Err(Error::PreconditionFailed) => Ok((Op::PutIfAbsent(new, false), None)),
                    Err(error) => Err(error),
                }
            }
            Op::Put(new) | Op::PutIfMatch(_, new, _) => {
                put(&store, PLAIN, &name, body(new)).await.map(|()| (Op::Put(new), None))
            }
        })
        .await;
    let end = world.now();
    let record = match answer {
        Some(Ok((op, age_ms))) => {
            let mut seen = world.seen.lock();
            seen.told.answered += 1;
            seen.told.old += u64::from(age_ms.is_some());
            // What is so old was all there was at some moment since then.
            // Its clock may be slow.
            let since = start.saturating_sub(age_ms.map_or(0, |ms| (ms + ms / 50 + 2) * 1_000_000));
            Record { start: since, end: Some(end), op, gateway }
        }
        _ => Record { start, end: None, op, gateway },
    };
    world.seen.lock().histories.entry(key).or_default().push(record);
    record.end.is_some()
}

/// Writes versions of two keys, also where a gateway is cut off.
async fn write_at_islands(world: Arc<World>) {
    while !world.is_over() {
        let key = format!("k{}", world.chance.below(2));
        let new = world.new_value();
        world.seen.lock().taken.entry(key.clone()).or_default().1.push(new);
        let (name, access_key) = (key.clone(), world.keys[0].clone());
        let (_, answer) = world
            .ask(world.chance.below(GATEWAYS), async move |store| {
                accepting(async {
                    let store = acting_for(&store, &access_key).await?;
                    if stale::age_ms().is_none() {
                        return put(&store, TAKEN, &name, body(new)).await.map(|()| None);
                    }
                    let (bytes, condition) = (body(new), WriteCondition::default());
                    let (size, new) = (bytes.len() as u64, NewObject::default());
                    let mut source = Whole(Some(bytes));
                    store
                        .put_at_island(TAKEN, &name, new, size, &condition, &mut source)
                        .await
                        .map(|taken| Some(taken.id))
                })
                .await
                .0
            })
            .await;
        if let Some(Ok(id)) = answer {
            let mut seen = world.seen.lock();
            seen.told.answered += 1;
            seen.told.taken += u64::from(id.is_some());
            seen.entries.extend(id);
            seen.taken.entry(key).or_default().0.push(new);
        }
        world.think().await;
    }
}

/// Reads what may be taken away, at one gateway, again and again.
async fn read_secret(world: Arc<World>, index: usize) {
    while !world.is_over() {
        let access_key = world.keys[1].clone();
        let (_, read) = world
            .ask(index, async move |store| {
                accepting(async {
                    let store = acting_for(&store, &access_key).await?;
                    store.must_tell_old(SHUT, "secret").await?;
                    get(&store, SHUT, "secret").await
                })
                .await
                .0
            })
            .await;
        if let Some(Ok(bytes)) = read {
            assert!(bytes == world.secret, "other bytes than the secret's");
            world.gave(index);
        }
        world.think().await;
    }
}

impl World {
    /// A gateway gave the secret, now.
    fn gave(&self, index: usize) {
        let now = self.now();
        let Some(taken) = self.seen.lock().taken_away.filter(|_| self.taking != Taking::Nothing) else { return };
        let told =
            || format!("{:?} was taken away {} ms ago, and gateway {index}", self.taking, (now - taken) / 1_000_000);
        let is_strict = self.class == keys::CutOff::Strict;
        assert!(!is_strict || now <= taken + LEASE, "{} gives it past any lease", told());
        if let Some(well) = self.gateways[index].well_since() {
            assert!(now <= taken.max(well + RECOVERS) + SOON, "{}, which nothing ails, gives it", told());
        }
        self.seen.lock().told.given_late += 1;
    }
}
