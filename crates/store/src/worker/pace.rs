//! What clients wait for, told to the throttle; and what the throttle says, kept to.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use base::GatewayId;
use meta::Version;
use meta::record::{Latency, RepairControlRecord, key};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::plan::Risk;
use super::reseal::Pace;
use super::throttle::{Phase, RepairBounds, Throttle};
use crate::gateway::BEAT_MS;
use crate::{Error, Store};

/// Steps of a histogram for each doubling of a time: 7 % apart.
const STEPS: f64 = 10.0;
/// Up to a minute.
const BUCKETS: usize = 261;
/// Read or written, small or large.
const KINDS: usize = 4;
/// From so many bytes on a piece is large.
const LARGE: u64 = 64 << 10;
/// What an operation at a site costs beside its bytes, in bytes.
const OPERATION: u64 = 16 << 10;
/// Until it is looked again whether repair may go on.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Of a rate, this share is replaced at the next window.
const NEWS: f64 = 0.2;

/// How repair behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairOptions {
    /// What it keeps within.
    pub bounds: RepairBounds,
    /// Blobs whose order is held in memory at a time, some 64 bytes each; at least 1.
    pub plan: usize,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self { bounds: RepairBounds::default(), plan: 50_000 }
    }
}

/// How long pieces of clients' requests took since it was emptied last.
pub(crate) struct Foreground(Mutex<Box<[[u32; BUCKETS]; KINDS]>>);

impl Default for Foreground {
    fn default() -> Self {
        Self(Mutex::new(Box::new([[0; BUCKETS]; KINDS])))
    }
}

impl Foreground {
    fn note(&self, kind: usize, micros: f64) {
        let bucket = (micros.max(1.0).log2() * STEPS) as usize;
        let mut all = self.0.lock();
        let count = &mut all[kind % KINDS][bucket.min(BUCKETS - 1)];
        *count = count.saturating_add(1);
    }

    /// A client was given `bytes` in the time since `begun`.
    pub(crate) fn read(&self, bytes: u64, begun: Instant) {
        self.note(usize::from(bytes >= LARGE) << 1, begun.elapsed().as_micros() as f64);
    }

    /// `bytes` of a client's were made durable in the time since `begun`.
    pub(crate) fn wrote(&self, bytes: u64, begun: Instant) {
        self.note(usize::from(bytes >= LARGE) << 1 | 1, begun.elapsed().as_micros() as f64);
    }

    fn take(&self) -> Vec<Latency> {
        let all = std::mem::replace(&mut *self.0.lock(), Box::new([[0; BUCKETS]; KINDS]));
        (0..).zip(all.iter()).filter_map(|(kind, counts)| summary(kind, counts)).collect()
    }
}

fn summary(kind: u8, counts: &[u32]) -> Option<Latency> {
    let count: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let mut above = count - count * 99 / 100;
    let bucket = (0..counts.len()).rev().find(|bucket| {
        above = above.saturating_sub(u64::from(counts[*bucket]));
        above == 0
    })?;
    let p99_us = ((bucket as f64 + 0.5) / STEPS).exp2() as u32;
    (count > 0).then(|| Latency { kind, count: u32::try_from(count).unwrap_or(u32::MAX), p99_us })
}

/// The throttle, and what is known of repair.
pub(crate) struct Paced {
    pub(super) throttle: Mutex<Throttle>,
    pub(crate) foreground: Foreground,
    turns: Pace,
    /// This process's last window, for the others to read.
    told: Mutex<Vec<Latency>>,
    /// The others' windows that were taken in.
    others: Mutex<HashMap<GatewayId, Version>>,
    window_ms: AtomicU64,
    in_flight: AtomicUsize,
    /// When the last operation of repair ended.
    last_ms: AtomicU64,
    /// Bytes moved since start.
    pub(super) moved: AtomicU64,
    /// Blobs done since start.
    pub(super) done: AtomicU64,
    /// What is worked on.
    pub(super) risk: Mutex<Option<Risk>>,
    rates: Mutex<Rates>,
}

#[derive(Clone, Copy, Default)]
struct Rates {
    moved: u64,
    done: u64,
    bytes_per_s: f64,
    blobs_per_s: f64,
}

impl Paced {
    pub(crate) fn new(bounds: RepairBounds) -> Self {
        Self {
            throttle: Mutex::new(Throttle::new(bounds)),
            foreground: Foreground::default(),
            turns: Pace::default(),
            told: Mutex::default(),
            others: Mutex::default(),
            window_ms: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            done: AtomicU64::new(0),
            risk: Mutex::new(None),
            rates: Mutex::default(),
        }
    }

    /// The last window, for the others.
    pub(crate) fn told(&self) -> Vec<Latency> {
        self.told.lock().clone()
    }

    /// Bytes and blobs in a second, of late.
    pub(super) fn rates(&self) -> (f64, f64) {
        let rates = self.rates.lock();
        (rates.bytes_per_s, rates.blobs_per_s)
    }
}

/// An operation of repair at a site, while it runs.
pub(crate) struct Moving<'a>(Option<&'a Store>);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        if let Some(store) = self.0 {
            let paced = &store.0.workers.paced;
            paced.last_ms.store(store.0.options.doors.clock.passed_ms(), Ordering::Relaxed);
            paced.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Store {
    /// Waits until repair may move so many bytes more. Driven by hand, it need not wait.
    ///
    /// # Errors
    /// [`Error::Contended`] as soon as this gateway does not lead any more: another one repairs now, and who waits here for an end
    /// of a pause would hold blobs for as long.
    pub(crate) async fn repair_turn(&self, bytes: u64) -> Result<Moving<'_>, Error> {
        let paced = &self.0.workers.paced;
        if self.0.options.background {
            self.wait_for_turn(bytes).await?;
        }
        paced.in_flight.fetch_add(1, Ordering::Relaxed);
        paced.moved.fetch_add(bytes, Ordering::Relaxed);
        Ok(Moving(Some(self)))
    }

    async fn wait_for_turn(&self, bytes: u64) -> Result<(), Error> {
        let paced = &self.0.workers.paced;
        loop {
            self.must_go_on()?;
            let limit = paced.throttle.lock().limit();
            let Some(limit) = limit else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            let turn = paced.turns.turn(bytes + OPERATION, limit, Instant::now());
            while Instant::now() < turn {
                tokio::time::sleep_until(turn.min(Instant::now() + LOOK_AGAIN)).await;
                self.must_go_on()?;
            }
            // It may have begun to rest meanwhile.
            if paced.throttle.lock().limit().is_some() {
                return Ok(());
            }
        }
    }

    /// Whether repair is this process's to do: who drives it by hand knows.
    pub(super) fn may_go_on(&self) -> bool {
        !self.0.options.background || self.leads()
    }

    fn must_go_on(&self) -> Result<(), Error> {
        if self.may_go_on() { Ok(()) } else { Err(Error::Contended) }
    }

    /// Ends a window of what clients waited for.
    pub(crate) fn end_window(&self) {
        *self.0.workers.paced.told.lock() = self.0.workers.paced.foreground.take();
    }

    /// Tells the throttle of the windows of all gateways that ended, and lets it decide.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn pace_repair(&self) -> Result<(), Error> {
        let paced = &self.0.workers.paced;
        let now = self.0.options.doors.clock.passed_ms();
        let begun = paced.window_ms.swap(now, Ordering::Relaxed);
        self.note_rates(now.saturating_sub(begun));
        let (leads, risk) = (self.leads(), *paced.risk.lock());
        if !leads && risk.is_none() {
            return Ok(());
        }
        let control = self.record::<RepairControlRecord>(key::repair_control_key()).await?;
        let control = control.map_or_else(RepairControlRecord::default, |(control, _)| control);
        let configured = self.0.options.repair.bounds;
        let max = control.max_bytes_per_s.and_then(NonZeroU64::new).unwrap_or(configured.max_bytes_per_s);
        paced.throttle.lock().steer(RepairBounds { max_bytes_per_s: max, ..configured }, control.paused);
        if !leads {
            // What is under way ends, and nothing is begun.
            paced.throttle.lock().step(now, None);
            return Ok(());
        }
        let (moves, last) = (paced.in_flight.load(Ordering::Relaxed) > 0, paced.last_ms.load(Ordering::Relaxed));
        let phase = |window_ms: u64, older_ms: u64| match now.saturating_sub(last) {
            _ if moves => Phase::Busy,
            // Nothing was moved for as long as this window and, where it is another's, the time that it took to come here.
            idle if last == 0 || idle >= window_ms + older_ms => Phase::Quiet,
            idle if idle < window_ms => Phase::Busy,
            _ => Phase::Unclear,
        };
        let windows = self.windows_of_others(&mut paced.others.lock());
        {
            let mut throttle = paced.throttle.lock();
            throttle.saw(None, &paced.told(), phase(now.saturating_sub(begun), 0), now);
            for (id, window) in windows {
                throttle.saw(Some(id), &window, phase(BEAT_MS, BEAT_MS + BEAT_MS / 3), now);
            }
            throttle.step(now, risk);
        }
        self.tell_metrics();
        if risk.is_some() { self.tell_progress_in_a_while().await } else { Ok(()) }
    }

    fn note_rates(&self, passed_ms: u64) {
        let paced = &self.0.workers.paced;
        let (moved, done) = (paced.moved.load(Ordering::Relaxed), paced.done.load(Ordering::Relaxed));
        let mut rates = paced.rates.lock();
        let seconds = passed_ms.max(1) as f64 / 1000.0;
        let mix = |rate: f64, more: u64| {
            let now = more as f64 / seconds;
            if rate == 0.0 { now } else { rate * (1.0 - NEWS) + now * NEWS }
        };
        *rates = match *paced.risk.lock() {
            None => Rates { moved, done, ..Rates::default() },
            Some(_) => Rates {
                bytes_per_s: mix(rates.bytes_per_s, moved.saturating_sub(rates.moved)),
                blobs_per_s: mix(rates.blobs_per_s, done.saturating_sub(rates.done)),
                moved,
                done,
            },
        };
    }

    fn tell_metrics(&self) {
        let paced = &self.0.workers.paced;
        let (bytes_per_s, blobs_per_s) = paced.rates();
        let throttle = paced.throttle.lock();
        metrics::gauge!("holdfast_repair_bytes_per_second").set(bytes_per_s);
        metrics::gauge!("holdfast_repair_blobs_per_second").set(blobs_per_s);
        metrics::gauge!("holdfast_repair_limit_bytes_per_second")
            .set(throttle.limit().map_or(0.0, |limit| limit.get() as f64));
        // Without repair, or without clients, nobody waits for it.
        metrics::gauge!("holdfast_repair_p99_ratio").set(throttle.ratio().unwrap_or(1.0));
        metrics::counter!("holdfast_repair_bytes_total").absolute(paced.moved.load(Ordering::Relaxed));
        metrics::counter!("holdfast_repair_blobs_total").absolute(paced.done.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_windows() {
        // (times in microseconds, how many of each) -> 99th percentile, about
        let table: [(&[(f64, usize)], f64); 5] = [
            (&[(1_000.0, 1)], 1_000.0),
            (&[(1_000.0, 99), (50_000.0, 1)], 50_000.0),
            (&[(1_000.0, 991), (50_000.0, 9)], 1_000.0),
            (&[(1_000.0, 500), (2_000.0, 500)], 2_000.0),
            (&[(0.0, 10), (1e12, 10)], 67e6),
        ];
        for (times, expected) in table {
            let foreground = Foreground::default();
            for (micros, count) in times {
                (0..*count).for_each(|_| foreground.note(3, *micros));
            }
            let window = foreground.take();
            let [Latency { kind: 3, count, p99_us }] = window[..] else { panic!("{window:?}") };
            assert_eq!(count as usize, times.iter().map(|(_, count)| count).sum::<usize>());
            assert!((f64::from(p99_us) / expected - 1.0).abs() < 0.08, "{p99_us} {expected}");
            assert_eq!(foreground.take(), []);
        }
    }
}
