//! Clients that do what clients do, on few keys at once, through any gateway; and what they saw.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::{Rng, SeededRng};
use history::{Op, Record};
use parking_lot::Mutex;

use super::client::{Client, Reply};
use crate::{PATIENCE, noise};

/// The bucket.
pub const BUCKET: &str = "five";
/// Keys in use at once: few, so that requests meet.
const KEYS: usize = 6;
/// Requests of a key, about: a history has to be searched.
const KEY_REQUESTS: usize = 36;
/// Time for a request with all its attempts. Past it the client has failed.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// A gateway that did not do it is not asked for so long by any client, while there are others: as a balancer before them would see to.
const AVOIDED_FOR: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// Sizes of objects: one is taken by chance.
const SIZES: [usize; 5] = [100, 100, 5_000, 20_000, 300_000];

/// The bytes of a value: its number, then noise.
fn bytes(value: u64) -> Vec<u8> {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.extend(noise(value, SIZES[value as usize % SIZES.len()]));
    bytes
}

/// The value of a body that must have one, all its bytes.
fn value(body: &[u8]) -> Result<u64, String> {
    let number: Option<[u8; 8]> = body.get(..8).and_then(|head| head.try_into().ok());
    let number = number.map(u64::from_be_bytes).ok_or_else(|| format!("a body of {} bytes", body.len()))?;
    if body == bytes(number) { Ok(number) } else { Err(format!("wrong bytes of value {number}")) }
}

/// A request with all its attempts.
#[derive(Debug, Clone)]
struct Done {
    /// Nanoseconds from the beginning.
    start: u64,
    /// That of the last attempt.
    gateway: usize,
    /// The attempt that succeeded: its nanoseconds.
    last: u64,
    /// Whether it was a read.
    read: bool,
    /// Attempts.
    attempts: usize,
    /// Why it failed in the end.
    failed: Option<String>,
}

#[derive(Default)]
struct Seen {
    /// By key.
    histories: HashMap<String, Vec<Record>>,
    requests: Vec<Done>,
    /// What no outage explains.
    wrong: Vec<String>,
    /// Attempts that were not answered in time, by gateway.
    late: [usize; 5],
    /// The same, one by one.
    late_ones: Vec<(usize, String)>,
    /// Answers that said of themselves that they may be old.
    stale: usize,
    /// How often, by its beginning, an attempt failed.
    failures: HashMap<String, usize>,
    /// By ETag: the value.
    values: HashMap<String, u64>,
    /// By value: in how many attempts it was put. Each that succeeds has an ETag of its own.
    puts: HashMap<u64, usize>,
    /// By key: the ETag that was seen last.
    etags: HashMap<String, String>,
    /// By slot: the generation of its key, and how often it was used.
    slots: [(usize, usize); KEYS],
}

struct Shared {
    gateways: Vec<String>,
    name: String,
    client: Client,
    begun: Instant,
    seed: u64,
    stop: AtomicBool,
    count: AtomicUsize,
    values: AtomicU64,
    /// By gateway: until when it is not asked.
    avoided: Mutex<[Option<Instant>; 5]>,
    seen: Mutex<Seen>,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What was done between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// Requests.
    pub requests: usize,
    /// Attempts beyond the first.
    pub retries: usize,
    /// Those that failed in the end.
    pub failed: usize,
    /// Of reads, of the attempts that succeeded: the median and the 99th percentile, milliseconds.
    pub read_ms: [f64; 2],
    /// The same for the rest.
    pub write_ms: [f64; 2],
}

impl Load {
    /// Starts so many clients, on keys that begin with `name`. The bucket must be there. An attempt that takes longer than `within` is
    /// tried at another gateway, and its outcome is unknown.
    pub fn start(gateways: Vec<String>, name: String, seed: u64, clients: u64, within: Duration) -> Self {
        let shared = Arc::new(Shared {
            gateways,
            name,
            client: Client::new(within),
            begun: Instant::now(),
            seed,
            stop: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            values: AtomicU64::new(1),
            avoided: Mutex::default(),
            seen: Mutex::default(),
        });
        let all = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let tasks: Vec<_> = (0..clients).map(|client| tokio::spawn(all.clone().run(client))).collect();
                for task in tasks {
                    task.await.expect("a client");
                }
                all.read_all().await;
            });
        });
        Self { shared, thread }
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Requests that have ended.
    pub fn count(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests have ended, and so much time has passed.
    pub fn wait_for(&self, more: usize, at_least: Duration) {
        let (begun, goal) = (Instant::now(), self.count() + more);
        while self.count() < goal || begun.elapsed() < at_least {
            assert!(
                begun.elapsed() < PATIENCE + at_least,
                "only {} of {goal} requests ended: {:?}",
                self.count(),
                self.shared.seen.lock().failures
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What was done from one moment to another, both in nanoseconds; of times, those at gateways of `spared`.
    pub fn span(&self, from: u64, to: u64, spared: impl Fn(usize) -> bool) -> Span {
        let seen = self.shared.seen.lock();
        let (mut span, mut reads, mut writes) = (Span::default(), Vec::new(), Vec::new());
        for done in seen.requests.iter().filter(|done| (from..to).contains(&done.start)) {
            span.requests += 1;
            span.retries += done.attempts.saturating_sub(1);
            span.failed += usize::from(done.failed.is_some());
            if done.failed.is_none() && spared(done.gateway) {
                let of = if done.read { &mut reads } else { &mut writes };
                of.push(done.last);
            }
        }
        let both = |mut all: Vec<u64>| {
            all.sort_unstable();
            [50, 99].map(|percent| all.get(all.len() * percent / 100).map_or(0.0, |ns| *ns as f64 / 1e6))
        };
        (span.read_ms, span.write_ms) = (both(reads), both(writes));
        span
    }

    /// Attempts so far that were not answered in time at gateways of `spared`.
    pub fn late(&self, spared: impl Fn(usize) -> bool) -> usize {
        self.shared.seen.lock().late_ones.iter().filter(|(gateway, _)| spared(*gateway)).count()
    }

    /// How attempts failed so far; those that were late at gateways of `spared` one by one.
    pub fn failures(&self, spared: impl Fn(usize) -> bool) -> String {
        let seen = self.shared.seen.lock();
        let late = seen.late_ones.iter().filter(|(gateway, _)| spared(*gateway));
        let late: String = late.map(|(_, what)| format!("    {what}\n")).collect();
        let mut failures: Vec<_> =
            seen.failures.iter().map(|(what, count)| format!("    {count} x {what}\n")).collect();
        failures.sort_unstable();
        format!("    not answered in time, by gateway: {:?}\n{late}{}", seen.late, failures.concat())
    }

    /// Ends the clients, reads every key through every gateway, and checks all that was seen.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn finish(self) -> Result<Verdict, String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the clients".to_owned())?;
        let seen = std::mem::take(&mut *self.shared.seen.lock());
        let mut wrong = seen.wrong;
        let mut verdict = Verdict { keys: seen.histories.len(), stale: seen.stale, ..Verdict::default() };
        for (key, records) in &seen.histories {
            verdict.records += records.len();
            verdict.unknown += records.iter().filter(|record| record.end.is_none()).count();
            verdict.longest = verdict.longest.max(records.len());
            if !history::is_linearizable(records) {
                wrong.push(format!("the history of {key} is not linearizable:\n{}", history::told(records)));
            }
        }
        wrong.extend(seen.requests.iter().filter_map(|done| {
            let failed = done.failed.as_ref()?;
            Some(format!(
                "at {} ms a request failed after {} attempts: {failed}",
                done.start / 1_000_000,
                done.attempts
            ))
        }));
        if wrong.is_empty() { Ok(verdict) } else { Err(wrong.join("\n")) }
    }
}

/// What was checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict {
    /// Keys.
    pub keys: usize,
    /// Attempts in their histories.
    pub records: usize,
    /// Those of unknown outcome.
    pub unknown: usize,
    /// The longest history.
    pub longest: usize,
    /// Answers that said how old they may be, and were no older.
    pub stale: usize,
}

/// Chance, for one client.
struct Chance(SeededRng);

impl Chance {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_be_bytes(bytes) % bound as u64) as usize
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    async fn run(self: Arc<Self>, client: u64) {
        let chance = Chance(SeededRng::new(self.seed.wrapping_mul(1_000_003).wrapping_add(client)));
        while !self.stop.load(Ordering::Relaxed) {
            let key = self.key(chance.below(KEYS));
            let op = self.choose(&chance, &key);
            self.request(&key, op, &chance).await;
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn key(&self, slot: usize) -> String {
        let mut seen = self.seen.lock();
        let (generation, used) = &mut seen.slots[slot];
        *used += 1;
        if *used > KEY_REQUESTS {
            (*generation, *used) = (*generation + 1, 1);
        }
        format!("{}-{slot}-{generation}", self.name)
    }

    fn choose(&self, chance: &Chance, key: &str) -> Op {
        let new = self.values.fetch_add(1, Ordering::Relaxed);
        match chance.below(100) {
            0..45 => Op::Get(None),
            45..70 => Op::Put(new),
            70..78 => Op::Delete,
            78..86 => Op::PutIfAbsent(new, false),
            _ => {
                let seen = self.seen.lock();
                let old = seen.etags.get(key).and_then(|etag| seen.values.get(etag));
                old.map_or(Op::Put(new), |old| Op::PutIfMatch(*old, new, false))
            }
        }
    }

    /// Tries until a gateway has answered.
    async fn request(&self, key: &str, op: Op, chance: &Chance) {
        let start = self.now();
        let begun = Instant::now();
        let mut attempts = 0;
        let (gateway, last, failed) = loop {
            let gateway = pick(chance, &*self.avoided.lock());
            attempts += 1;
            let sent = self.now();
            let answer = self.attempt(key, op, gateway).await;
            let ended = self.now();
            match answer {
                Ok(_) => break (gateway, ended - sent, None),
                Err(why) => {
                    self.avoided.lock()[gateway] = Some(Instant::now() + AVOIDED_FOR);
                    if begun.elapsed() > REQUEST_WITHIN {
                        break (gateway, ended - sent, Some(format!("{op:?} of {key}: {why}")));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let read = matches!(op, Op::Get(_));
        self.seen.lock().requests.push(Done { start, gateway, last, read, attempts, failed });
    }

    /// Asks one gateway once; how old the answer may be, where it says so.
    async fn attempt(&self, key: &str, op: Op, gateway: usize) -> Result<Option<Duration>, String> {
        let path = format!("/{BUCKET}/{key}");
        let host = &self.gateways[gateway];
        let etag_of = |wanted: u64| {
            let seen = self.seen.lock();
            seen.values.iter().find(|(_, value)| **value == wanted).map(|(etag, _)| etag.clone()).unwrap_or_default()
        };
        if let Op::Put(new) | Op::PutIfAbsent(new, _) | Op::PutIfMatch(_, new, _) = op {
            *self.seen.lock().puts.entry(new).or_default() += 1;
        }
        let start = self.now();
        let reply = match op {
            Op::Get(_) => self.client.send(host, "GET", &path, &[], b"").await,
            Op::Put(new) => self.client.send(host, "PUT", &path, &[], &bytes(new)).await,
            Op::Delete => self.client.send(host, "DELETE", &path, &[], b"").await,
            Op::PutIfAbsent(new, _) => {
                self.client.send(host, "PUT", &path, &[("if-none-match", "*")], &bytes(new)).await
            }
            Op::PutIfMatch(old, new, _) => {
                let etag = etag_of(old);
                self.client.send(host, "PUT", &path, &[("if-match", &etag)], &bytes(new)).await
            }
        };
        let end = self.now();
        let mut seen = self.seen.lock();
        let (record, outcome) = match reply {
            Reply::NotDone(why) => {
                seen.failed(gateway, &why);
                (None, Err(why))
            }
            Reply::Unknown(why) => {
                seen.failed(gateway, &why);
                if why.contains("TimedOut") {
                    let what = format!("dc{} late at {} ms: {op:?} of {key}", gateway + 1, start / 1_000_000);
                    seen.late_ones.push((gateway, what));
                }
                (Some(Record { start, end: None, op, gateway }), Err(why))
            }
            Reply::Answer { status, stale, .. } if stale.is_some() && !may_be_old(op, status) => {
                seen.wrong.push(format!("dc{}, {op:?} of {key}: {status}, by what may be {stale:?} old", gateway + 1));
                (Some(Record { start, end: None, op, gateway }), Ok(stale))
            }
            Reply::Answer { status, etag, stale, body } => match read_answer(op, status, &body) {
                // The same value stood there, perhaps, but put by another attempt: with another ETag. That tells nothing.
                Ok(Op::PutIfMatch(old, _, false)) if seen.puts.get(&old).is_some_and(|count| *count > 1) => {
                    (None, Ok(stale))
                }
                Ok(op) => {
                    // What is so old was all there was at some moment since then.
                    seen.stale += usize::from(stale.is_some());
                    let start = start.saturating_sub(stale.map_or(0, |age| age.as_nanos() as u64));
                    let value = match op {
                        Op::Get(value) => value,
                        Op::Put(new) | Op::PutIfAbsent(new, true) | Op::PutIfMatch(_, new, true) => Some(new),
                        _ => None,
                    };
                    if let (Some(value), Some(etag)) = (value, etag) {
                        seen.values.insert(etag.clone(), value);
                        seen.etags.insert(key.to_owned(), etag);
                    }
                    (Some(Record { start, end: Some(end), op, gateway }), Ok(stale))
                }
                Err(why) => {
                    seen.wrong.push(format!("dc{}, {op:?} of {key}: {why}", gateway + 1));
                    (Some(Record { start, end: None, op, gateway }), Ok(None))
                }
            },
        };
        if let Some(record) = record {
            seen.histories.entry(key.to_owned()).or_default().push(record);
        }
        outcome
    }

    /// Every key, through every gateway, which must all have it as it is now.
    async fn read_all(&self) {
        let mut keys: Vec<String> = self.seen.lock().histories.keys().cloned().collect();
        keys.sort_unstable();
        let begun = Instant::now();
        for key in keys {
            for gateway in 0..self.gateways.len() {
                let asked = Instant::now();
                loop {
                    let why = match self.attempt(&key, Op::Get(None), gateway).await {
                        Ok(None) => break,
                        Ok(Some(age)) => format!("what it has may be {age:?} old"),
                        Err(why) => why,
                    };
                    // Many that cannot be read are as telling as one.
                    if begun.elapsed() > PATIENCE || asked.elapsed() > REQUEST_WITHIN {
                        let text = format!("in the end {key} cannot be read through dc{}: {why}", gateway + 1);
                        self.seen.lock().wrong.push(text);
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Seen {
    fn failed(&mut self, gateway: usize, why: &str) {
        if why.contains("TimedOut") {
            self.late[gateway] += 1;
        }
        // Without what makes each one another: ids of requests, names of keys.
        let what = why.split("<RequestId>").next().unwrap_or_default();
        let what = what.split_once("source:").map_or(what, |(_, source)| source);
        let what: String = what.chars().take(160).collect();
        *self.failures.entry(format!("dc{}: {what}", gateway + 1)).or_default() += 1;
    }
}

/// Whether an answer may come from old metadata: it only shows what was there.
fn may_be_old(op: Op, status: u16) -> bool {
    matches!(op, Op::Get(_)) && matches!(status, 200 | 404)
}

/// What an answer says was done.
fn read_answer(op: Op, status: u16, body: &[u8]) -> Result<Op, String> {
    let told = || format!("{status} {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    match (op, status) {
        (Op::Get(_), 200) => value(body).map(|value| Op::Get(Some(value))),
        (Op::Get(_), 404) => Ok(Op::Get(None)),
        (Op::Put(_), 200) | (Op::Delete, 204) => Ok(op),
        (Op::PutIfAbsent(new, _), 200) => Ok(Op::PutIfAbsent(new, true)),
        (Op::PutIfAbsent(new, _), 412) => Ok(Op::PutIfAbsent(new, false)),
        (Op::PutIfMatch(old, new, _), 200) => Ok(Op::PutIfMatch(old, new, true)),
        (Op::PutIfMatch(old, new, _), 404 | 412) => Ok(Op::PutIfMatch(old, new, false)),
        _ => Err(told()),
    }
}

/// A gateway by chance, of those that are not avoided.
fn pick(chance: &Chance, avoided: &[Option<Instant>]) -> usize {
    let now = Instant::now();
    let good: Vec<usize> =
        (0..avoided.len()).filter(|gateway| avoided[*gateway].is_none_or(|until| until < now)).collect();
    if good.is_empty() { chance.below(avoided.len()) } else { good[chance.below(good.len())] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for number in 0..6 {
            let mut body = bytes(number);
            assert_eq!(value(&body), Ok(number));
            *body.last_mut().unwrap() ^= 1;
            assert!(value(&body).is_err());
            body.pop();
            assert!(value(&body).is_err());
        }
        assert!(value(b"").is_err());
    }

    #[test]
    fn one_that_failed_is_avoided_while_there_are_others() {
        let chance = Chance(SeededRng::new(1));
        let later = Some(Instant::now() + Duration::from_secs(100));
        for _ in 0..100 {
            assert_eq!(pick(&chance, &[later, None, later]), 1);
        }
        assert!(pick(&chance, &[later, later]) < 2);
    }
}
