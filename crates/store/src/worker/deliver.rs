//! Delivery: takes events from the outbox to their targets, a task a target.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use meta::record::{QueueRecord, Record, key};
use meta::{Batch, Check, Range, Write, after, each_row};
use notify::{Event, EventName, pause_ms};
use serde::{Deserialize, Serialize};

use crate::outbox::{Lane, Message, Target, TargetError};
use crate::status::TargetReport;
use crate::worker::readable;
use crate::{Error, Store};

/// Events looked at in one pass.
const PAGE: usize = 64;
/// Pages looked at in one pass while events are refused: those of one key, however many wait, must not keep
/// back all others.
const PAGES_MAX: usize = 16;
/// Keys whose events are under way at once.
const AT_ONCE: usize = 8;
/// Refused keys past which a target that took nothing is left alone until the next pass.
const REFUSED_MAX: usize = 8;
/// Rows removed in one batch, beside the queue's record.
const REMOVE_MAX: usize = 90;
/// The pause of a task that nothing wakes: a commit of unknown outcome is found after it.
const IDLE: Duration = Duration::from_secs(5);
/// Pause between looks at the queues' lengths.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Why rows leave the outbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Delivered,
    Dropped,
}

/// What a test of a target found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// The target's name.
    pub name: String,
    /// Whether it said that it has the message.
    pub delivered: bool,
    /// Why not.
    pub error: Option<String>,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

impl Store {
    pub(crate) fn spawn_delivery(&self) {
        for lane in self.0.outbox.lanes() {
            let Some(target) = lane.target.clone() else { continue };
            self.spawn_led(worker_name(&lane), move |store| {
                let (lane, target) = (lane.clone(), target.clone());
                async move { store.deliver_step(&lane, target.as_ref()).await }
            });
        }
        self.spawn_led("outbox", |store| async move {
            let done = store.trim_outbox().await;
            tokio::time::sleep(TRIM_EVERY).await;
            done
        });
    }

    /// One pass, and the pause after it.
    async fn deliver_step(&self, lane: &Lane, target: &dyn Target) -> Result<(), Error> {
        let pass = self.deliver_pass(lane, target).await?;
        let queued = lane.queued.load(Ordering::Relaxed);
        self.0.workers.report(&worker_name(lane), |report| {
            report.queue = queued;
            report.done += pass.delivered;
            report.last_error = pass.error.as_ref().map(TargetError::to_string);
            report.state = if pass.error.is_some() { "waiting" } else { "idle" }.to_owned();
        });
        if pass.error.is_some() {
            let failures = lane.told.lock().failures;
            tokio::time::sleep(Duration::from_millis(pause_ms(failures, self.chance()))).await;
        } else if pass.seen == 0 {
            // A wake that came since the pass began is not lost: it is kept until it is asked for.
            let _ = tokio::time::timeout(IDLE, lane.wake.notified()).await;
        }
        Ok(())
    }

    /// Sends the oldest events; those of one key one after the other, until one fails. Where a target refuses
    /// some and takes others, it is offered those behind them as well.
    pub(crate) async fn deliver_pass(&self, lane: &Lane, target: &dyn Target) -> Result<Pass, Error> {
        let (mut from, to) = key::events_of(&lane.name);
        let mut pass = Pass::default();
        let mut failed = HashSet::new();
        for _ in 0..PAGES_MAX {
            let known = lane.queued.load(Ordering::Relaxed);
            let page = self.0.meta.range(Range { from, to: to.clone(), limit: PAGE }).await?;
            if !page.more {
                lane.recount(known, pass.left + page.rows.len() as u64);
            }
            let (mut groups, damaged) = by_key(&page.rows);
            groups.retain(|(subject, _)| !failed.contains(subject));
            let sent = futures::stream::iter(groups).map(|group| self.deliver_group(target, group));
            let outcomes: Vec<Sent> = sent.buffer_unordered(AT_ONCE).collect().await;
            let mut delivered = Vec::new();
            for Sent { subject, sequences, error } in outcomes {
                delivered.extend(sequences);
                if let Some(error) = error {
                    failed.insert(subject);
                    pass.away |= !matches!(error, TargetError::Refused(_));
                    pass.error = pass.error.or(Some(error));
                }
            }
            pass.seen += page.rows.len();
            pass.delivered += delivered.len() as u64;
            pass.left += (page.rows.len() - delivered.len() - damaged.len()) as u64;
            self.remove_events(lane, &delivered, Gone::Delivered).await?;
            self.remove_events(lane, &damaged, Gone::Dropped).await?;
            let takes = !pass.away && (pass.delivered > 0 || failed.len() <= REFUSED_MAX);
            match page.rows.last() {
                Some((last, _)) if page.more && pass.error.is_some() && takes => from = after(last),
                _ => break,
            }
        }
        self.note_pass(lane, &pass, failed.len() as u64);
        Ok(pass)
    }

    async fn deliver_group(&self, target: &dyn Target, (subject, events): Group) -> Sent {
        let mut sent = Sent { subject, sequences: Vec::with_capacity(events.len()), error: None };
        for (sequence, event) in events {
            if let Err(error) = target.send(&self.message(&event, sequence)).await {
                sent.error = Some(error);
                break;
            }
            sent.sequences.push(sequence);
        }
        sent
    }

    fn message(&self, event: &Event, sequence: u64) -> Message {
        let body = notify::render(event, sequence, &self.0.outbox.region);
        // Two clusters may draw one sequence, and a stream drops what has the id of an earlier message.
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
        let tag = hash.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Message { id: format!("{}-{tag:016X}", notify::sequencer(sequence)), body: body.into() }
    }

    fn note_pass(&self, lane: &Lane, pass: &Pass, failed: u64) {
        let mut told = lane.told.lock();
        told.failed += failed;
        if let Some(error) = &pass.error {
            if told.last_error.is_none() {
                tracing::warn!(target_name = %lane.name, %error, "an event was not delivered; it is sent again");
            }
            told.failures = if pass.delivered > 0 { 1 } else { told.failures.saturating_add(1) };
        } else if pass.seen > 0 {
            told.failures = 0;
        }
        if pass.error.is_some() || pass.seen > 0 {
            told.last_error = pass.error.as_ref().map(TargetError::to_string);
        }
        metrics::counter!("holdfast_notify_failed_total", "target" => lane.name.clone()).increment(failed);
    }

    /// Drops the oldest events of queues that are too long.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn trim_outbox(&self) -> Result<(), Error> {
        for lane in self.0.outbox.lanes() {
            let queued = lane.queued.load(Ordering::Relaxed);
            if queued <= lane.queue_max {
                continue;
            }
            // The number is what is known. What goes is decided by what is there.
            let mut rows = 0;
            each_row(self.0.meta.as_ref(), key::events_of(&lane.name), |_, _| {
                rows += 1;
                Ok::<_, Error>(())
            })
            .await?;
            lane.recount(queued, rows);
            if rows <= lane.queue_max {
                continue;
            }
            let mut left = rows - lane.queue_max / 10 * 9;
            tracing::warn!(target_name = %lane.name, events = left, "the queue is full: its oldest events are dropped");
            let (from, to) = key::events_of(&lane.name);
            while left > 0 {
                let limit = REMOVE_MAX.min(usize::try_from(left).unwrap_or(REMOVE_MAX));
                let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit }).await?;
                let oldest: Vec<u64> =
                    page.rows.iter().filter_map(|(row_key, _)| key::event_of(row_key)).map(|(_, at)| at).collect();
                if oldest.is_empty() {
                    break;
                }
                self.remove_events(&lane, &oldest, Gone::Dropped).await?;
                left = left.saturating_sub(oldest.len() as u64);
            }
        }
        Ok(())
    }

    /// Removes events, and counts them in the queue's record by the same batch. What another removed
    /// meanwhile is not counted twice: both change the record.
    async fn remove_events(&self, lane: &Lane, sequences: &[u64], gone: Gone) -> Result<(), Error> {
        let queue_key = key::queue_key(&lane.name);
        for sequences in sequences.chunks(REMOVE_MAX) {
            let keys: Vec<meta::Key> = sequences.iter().map(|at| key::event_key(&lane.name, *at)).collect();
            let highest = sequences.iter().copied().max().unwrap_or(0);
            let (record, count) = self
                .until_won(|| async {
                    let found = self.row(queue_key.clone()).await?;
                    let rows = self.0.meta.get(&keys).await?;
                    let there = keys.iter().zip(rows).filter(|(_, row)| row.is_some());
                    let mut writes: Vec<Write> = there.map(|(row_key, _)| Write::Delete(row_key.clone())).collect();
                    let count = writes.len() as u64;
                    let check = Check::unchanged(queue_key.clone(), found.as_ref().map(|row| row.version));
                    // A damaged one begins anew: what was delivered must not be sent for ever because of it.
                    let record = found.and_then(|row| readable::<QueueRecord>(&queue_key, &row.value));
                    let mut record = record.unwrap_or_default();
                    record.sequence = record.sequence.max(highest);
                    match gone {
                        Gone::Delivered => {
                            (record.delivered, record.delivered_ms) = (record.delivered + count, self.now_ms())
                        }
                        Gone::Dropped => record.dropped += count,
                    }
                    writes.push(Write::Put(queue_key.clone(), record.encode()));
                    Ok((Batch { checks: vec![check], writes }, (record, count)))
                })
                .await?;
            let counter = match gone {
                Gone::Delivered => "holdfast_notify_delivered_total",
                Gone::Dropped => "holdfast_notify_dropped_total",
            };
            metrics::counter!(counter, "target" => lane.name.clone()).increment(count);
            let less = |queued: u64| Some(queued.saturating_sub(count));
            let _ = lane.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            lane.told.lock().record = record;
        }
        Ok(())
    }

    /// The targets, and what became of their events.
    pub fn targets(&self) -> Vec<TargetReport> {
        self.0.outbox.lanes().iter().map(target_report).collect()
    }

    /// Sends a test event at once, past the outbox.
    ///
    /// # Errors
    /// [`Error::NoSuchTarget`]. That the target does not take it is no error but the answer.
    pub async fn test_target(&self, name: &str) -> Result<TestReport, Error> {
        let lanes = self.0.outbox.lanes();
        let lane = lanes.iter().find(|lane| lane.name == name);
        let target = lane.and_then(|lane| lane.target.clone()).ok_or_else(|| Error::NoSuchTarget(name.to_owned()))?;
        let event = Event {
            name: EventName::Test,
            time_ms: self.now_ms(),
            bucket: String::new(),
            owner: String::new(),
            configuration: String::new(),
            object: None,
            principal: self.1.principal.clone(),
            source: String::new(),
            request: None,
        };
        let begun = Instant::now();
        // An id of its own: a stream drops what it takes for a repetition.
        let message = Message { id: format!("test-{:016x}", self.chance()), ..self.message(&event, 0) };
        let sent = target.send(&message).await;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = sent.err().map(|error| error.to_string());
        Ok(TestReport { name: name.to_owned(), delivered: error.is_none(), error, took_ms })
    }

    fn chance(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.options.doors.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// Whose order events keep: a bucket and a key; a test event has none.
type Subject = (String, Option<String>);

/// A subject's events and their sequences, in order.
type Group = (Subject, Vec<(u64, Event)>);

/// What became of one subject's events.
struct Sent {
    subject: Subject,
    /// Those that the target has.
    sequences: Vec<u64>,
    /// Why not the others.
    error: Option<TargetError>,
}

/// Events by key, each key's in their order; and the sequences of rows that cannot be read.
fn by_key(rows: &[(meta::Key, meta::Row)]) -> (Vec<Group>, Vec<u64>) {
    let (mut groups, mut damaged) = (Vec::<Group>::new(), Vec::new());
    let mut places = HashMap::new();
    for (row_key, row) in rows {
        let Some((_, sequence)) = key::event_of(row_key) else { continue };
        let Some(event) = readable::<Event>(row_key, &row.value) else {
            damaged.push(sequence);
            continue;
        };
        let subject = (event.bucket.clone(), event.object.as_ref().map(|object| object.key.clone()));
        let place = *places.entry(subject.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push((sequence, event)),
            None => groups.push((subject, vec![(sequence, event)])),
        }
    }
    (groups, damaged)
}

/// What a pass did.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// Rows that were there.
    pub(crate) seen: usize,
    pub(crate) delivered: u64,
    /// Rows that were there and stay.
    left: u64,
    /// The first failure.
    pub(crate) error: Option<TargetError>,
    /// Whether the target did not answer at some time.
    away: bool,
}

fn worker_name(lane: &Lane) -> String {
    format!("notify {}", lane.name)
}

fn target_report(lane: &Arc<Lane>) -> TargetReport {
    let told = lane.told.lock().clone();
    TargetReport {
        name: lane.name.clone(),
        kind: lane.target.as_ref().map_or("not configured", |target| target.kind()).to_owned(),
        address: lane.target.as_ref().map_or_else(String::new, |target| target.address()),
        queued: lane.queued.load(Ordering::Relaxed),
        queue_max: lane.queue_max,
        delivered: told.record.delivered,
        failed: told.failed,
        dropped: told.record.dropped,
        last_error: told.last_error,
        last_delivery_ms: Some(told.record.delivered_ms).filter(|ms| *ms > 0),
    }
}

#[cfg(test)]
mod tests;
