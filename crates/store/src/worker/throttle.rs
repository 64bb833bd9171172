//! How fast repair may go. Pure: fed with what clients waited for and with times, asked for a limit.
//!
//! What clients wait for is told in windows of some seconds: how many pieces of requests of a kind there were, and their 99th
//! percentile. Windows without any repair make the one mean, windows with it the other one; what the second is above the first is
//! what repair costs the clients. So that the first stays true, repair rests for some seconds in a while, as long as there are clients.

use std::collections::HashMap;
use std::num::NonZeroU64;

use base::GatewayId;
use meta::record::Latency;

use super::plan::Risk;

/// Repair may always have so many bytes in a second, unless it only moves home what is durable.
const FLOOR: f64 = (1 << 20) as f64;
/// Milliseconds between two rests, while there are clients.
const REST_EVERY_MS: u64 = 81_000;
/// Milliseconds between two rests where nothing is known of the time without repair.
const FIRST_RESTS_EVERY_MS: u64 = 27_000;
/// How long a rest is: so that the windows of all gateways, which end at times of their own, have one within it.
pub(super) const REST_MS: u64 = 9_000;
/// What was told longer ago than this is not of now.
const FRESH_MS: u64 = 10_000;
/// Of a mean, this is left at the next window.
const KEEP: f64 = 0.7;
/// Pieces of requests that a mean must stand for.
const WEIGHT_MIN: f64 = 20.0;
/// A window with more counts as one with so many.
const COUNT_MAX: u32 = 200;
/// Below so much of the share it goes faster.
const ROOM: f64 = 0.6;
/// Bytes in a second for each blob that is worked on.
const BYTES_PER_BLOB: u64 = 16 << 20;
/// Most blobs that are worked on at once.
const AT_ONCE_MAX: u64 = 8;

/// What repair keeps within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairBounds {
    /// Most bytes that it moves in a second, read or written, whatever the clients do.
    pub max_bytes_per_s: NonZeroU64,
    /// By how many percent the 99th percentile of what clients wait for may rise.
    pub share_percent: u32,
    /// The same while blobs are mended of which one more loss would lose data.
    pub urgent_percent: u32,
}

impl Default for RepairBounds {
    fn default() -> Self {
        Self { max_bytes_per_s: const { NonZeroU64::new(256 << 20).unwrap() }, share_percent: 25, urgent_percent: 100 }
    }
}

/// Why the limit is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// There is nothing to do.
    Nothing,
    /// Nobody else wants anything.
    NoClients,
    /// It is as fast as it may be.
    Ceiling,
    /// It finds out what it may.
    Rising,
    /// Clients would wait longer.
    Clients,
    /// Too few requests to tell.
    Measuring,
    /// It rests, to see what clients wait for without it.
    Resting,
    /// Even at its slowest clients waited too long: it leaves them alone for a while.
    Yielding,
    /// An operator said so.
    Paused,
}

impl Why {
    /// For operators.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing to do",
            Self::NoClients => "no clients",
            Self::Ceiling => "ceiling",
            Self::Rising => "rising",
            Self::Clients => "clients",
            Self::Measuring => "measuring",
            Self::Resting => "resting",
            Self::Yielding => "yielding",
            Self::Paused => "paused",
        }
    }
}

/// When a window was, beside repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was moved in it.
    Quiet,
    /// Something was.
    Busy,
    /// In part of it, or it is not known.
    Unclear,
}

/// A mean in which what was long ago counts little.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: f64, weight: f64) {
        self.sum = self.sum * KEEP + value * weight;
        self.weight = self.weight * KEEP + weight;
    }

    fn value(self) -> Option<f64> {
        (self.weight >= WEIGHT_MIN && self.sum > 0.0).then(|| self.sum / self.weight)
    }
}

/// What is known of the requests of one kind at one gateway.
#[derive(Debug, Clone, Copy, Default)]
struct Compared {
    quiet: Mean,
    busy: Mean,
    seen_ms: u64,
}

impl Compared {
    fn ratio(&self) -> Option<f64> {
        Some(self.busy.value()? / self.quiet.value()?)
    }
}

/// Decides how fast repair may go.
#[derive(Debug)]
pub(super) struct Throttle {
    bounds: RepairBounds,
    paused: bool,
    limit: f64,
    why: Why,
    /// By gateway (`None`: this one) and kind.
    seen: HashMap<(Option<GatewayId>, u8), Compared>,
    rest_until_ms: Option<u64>,
    /// When the last rest ended, or work began; `None`: there is none.
    since_ms: Option<u64>,
    ratio: Option<f64>,
}

impl Throttle {
    pub(super) fn new(bounds: RepairBounds) -> Self {
        let mut throttle = Self {
            bounds,
            paused: false,
            limit: 0.0,
            why: Why::Nothing,
            seen: HashMap::new(),
            rest_until_ms: None,
            since_ms: None,
            ratio: None,
        };
        throttle.limit = throttle.start();
        throttle
    }

    fn max(&self) -> f64 {
        self.bounds.max_bytes_per_s.get() as f64
    }

    /// What is tried while nothing is known.
    fn start(&self) -> f64 {
        (self.max() / 8.0).max(FLOOR).min(self.max())
    }

    /// Bytes that may be moved in a second; `None`: nothing may be moved now.
    pub(super) fn limit(&self) -> Option<NonZeroU64> {
        let stopped = self.paused || self.rest_until_ms.is_some();
        NonZeroU64::new(self.limit as u64).filter(|_| !stopped)
    }

    /// Blobs that may be worked on at once.
    pub(super) fn at_once(&self) -> usize {
        (1 + self.limit as u64 / BYTES_PER_BLOB).min(AT_ONCE_MAX) as usize
    }

    pub(super) fn why(&self) -> Why {
        self.why
    }

    /// What clients wait for, as a multiple of what it is without repair.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.ratio
    }

    /// Other bounds from now on.
    pub(super) fn steer(&mut self, bounds: RepairBounds, paused: bool) {
        self.bounds = bounds;
        self.limit = self.limit.min(self.max());
        if self.paused != paused {
            self.paused = paused;
            self.why = if paused { Why::Paused } else { Why::Measuring };
        }
    }

    /// Takes in a window of a gateway.
    pub(super) fn saw(&mut self, who: Option<GatewayId>, window: &[Latency], phase: Phase, now_ms: u64) {
        for latency in window.iter().filter(|latency| latency.count > 0) {
            let compared = self.seen.entry((who, latency.kind)).or_default();
            compared.seen_ms = now_ms;
            let (value, weight) = (f64::from(latency.p99_us), f64::from(latency.count.min(COUNT_MAX)));
            match phase {
                Phase::Quiet => compared.quiet.add(value, weight),
                Phase::Busy => compared.busy.add(value, weight),
                Phase::Unclear => {}
            }
        }
    }

    /// Decides anew; to be asked after each window. `risk`: what is worked on; `None`: there is nothing to do.
    pub(super) fn step(&mut self, now_ms: u64, risk: Option<Risk>) {
        self.seen.retain(|_, compared| now_ms.saturating_sub(compared.seen_ms) < 100 * FRESH_MS);
        let Some(risk) = risk else {
            (self.limit, self.why, self.ratio) = (self.start(), Why::Nothing, None);
            (self.rest_until_ms, self.since_ms) = (None, None);
            self.forget_busy();
            return;
        };
        if self.paused {
            self.why = Why::Paused;
            return;
        }
        match self.rest_until_ms {
            Some(until) if now_ms < until => return,
            Some(_) => (self.rest_until_ms, self.since_ms) = (None, Some(now_ms)),
            None => {}
        }
        // With what was known before the first moved byte there is no need to rest at once.
        let rested = now_ms.saturating_sub(*self.since_ms.get_or_insert(now_ms));
        let live: Vec<&Compared> =
            self.seen.values().filter(|compared| now_ms.saturating_sub(compared.seen_ms) < FRESH_MS).collect();
        let unknown = live.iter().any(|compared| compared.quiet.value().is_none());
        self.ratio = live.iter().filter_map(|compared| compared.ratio()).max_by(f64::total_cmp);
        if live.is_empty() {
            self.limit = (self.limit * 2.0).min(self.max());
            self.why = if self.limit < self.max() { Why::NoClients } else { Why::Ceiling };
            return;
        }
        if rested >= REST_EVERY_MS || (unknown && rested >= FIRST_RESTS_EVERY_MS) {
            return self.rest(now_ms, Why::Resting);
        }
        let percent = if risk == Risk::Last { self.bounds.urgent_percent } else { self.bounds.share_percent };
        let share = f64::from(percent) / 100.0;
        match self.ratio.map(|ratio| ratio - 1.0) {
            None => (self.limit, self.why) = (self.limit.min(self.start()), Why::Measuring),
            Some(above) if above > share => {
                self.forget_busy();
                self.why = Why::Clients;
                self.limit /= 2.0;
                if self.limit < FLOOR {
                    self.limit = FLOOR.min(self.max());
                    // What is durable has time.
                    if risk == Risk::Away {
                        self.rest(now_ms, Why::Yielding);
                    }
                }
            }
            Some(above) if above <= share * ROOM => {
                self.limit = (self.limit * 1.25).min(self.max());
                self.why = if self.limit < self.max() { Why::Rising } else { Why::Ceiling };
            }
            Some(_) => self.why = Why::Clients,
        }
    }

    fn rest(&mut self, now_ms: u64, why: Why) {
        (self.rest_until_ms, self.why) = (Some(now_ms + REST_MS), why);
    }

    /// What was measured at another limit says nothing of this one.
    fn forget_busy(&mut self) {
        self.seen.values_mut().for_each(|compared| compared.busy = Mean::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const STEP: u64 = 3_000;

    /// Time goes on in windows; what clients wait for follows from the limit.
    struct Play {
        throttle: Throttle,
        now_ms: u64,
        risk: Option<Risk>,
        /// Requests in a window.
        count: u32,
        /// Microseconds without repair.
        quiet_us: f64,
        /// What each MiB in a second adds to them, as a share.
        cost: f64,
    }

    impl Play {
        fn new(max_mib: u64, count: u32, cost: f64, risk: Risk) -> Self {
            let bounds =
                RepairBounds { max_bytes_per_s: NonZeroU64::new(max_mib * MIB).unwrap(), ..RepairBounds::default() };
            let throttle = Throttle::new(bounds);
            Self { throttle, now_ms: 1_000_000, risk: Some(risk), count, quiet_us: 2_000.0, cost }
        }

        fn mib(&self) -> f64 {
            self.throttle.limit().map_or(0.0, |limit| limit.get() as f64 / MIB as f64)
        }

        /// One window later. Returns the limit, MiB in a second.
        fn step(&mut self) -> f64 {
            let mib = if self.risk.is_some() { self.mib() } else { 0.0 };
            self.now_ms += STEP;
            let phase = if mib > 0.0 { Phase::Busy } else { Phase::Quiet };
            let p99_us = (self.quiet_us * (1.0 + self.cost * mib)) as u32;
            let window = [Latency { kind: 0, count: self.count, p99_us }];
            self.throttle.saw(None, &window, phase, self.now_ms);
            self.throttle.step(self.now_ms, self.risk);
            self.mib()
        }

        fn steps(&mut self, steps: usize) -> Vec<f64> {
            (0..steps).map(|_| self.step()).collect()
        }

        /// Clients without repair first, then the limits of ten minutes, rests left out.
        fn run(mut self) -> (Vec<f64>, Self) {
            let risk = self.risk.take();
            self.steps(10);
            self.risk = risk;
            let mut limits = self.steps(200);
            limits.retain(|mib| *mib > 0.0);
            (limits, self)
        }
    }

    /// What repair costs the clients stays about within the share, whatever a MiB costs, once it has found out.
    #[test]
    fn what_it_settles_at() {
        // (MiB/s at most, requests in a window, share that a MiB/s costs, risk) -> (least, most) MiB/s after the first minute
        let table = [
            // Nobody else is there, or repair costs nothing.
            (256, 0, 0.0, Risk::Away, (256.0, 256.0)),
            (256, 500, 0.0, Risk::Away, (256.0, 256.0)),
            // 25 % are 50 MiB/s at 0.5 % each; 12.5 at 2 %; it stays somewhere between half of that and a little above.
            (256, 500, 0.005, Risk::Away, (25.0, 63.0)),
            (256, 500, 0.02, Risk::Thin, (6.0, 16.0)),
            // Data at risk may cost four times as much.
            (256, 500, 0.02, Risk::Last, (25.0, 63.0)),
            // Even the least costs too much: what is at risk goes on with that, what is durable yields.
            (256, 500, 3.0, Risk::Last, (1.0, 1.0)),
            (256, 500, 3.0, Risk::Away, (1.0, 1.0)),
            // Too few requests to tell: gently.
            (256, 2, 0.02, Risk::Away, (32.0, 32.0)),
            (4, 500, 0.0, Risk::Away, (4.0, 4.0)),
        ];
        for (max, count, cost, risk, (least, most)) in table {
            let (limits, _) = Play::new(max, count, cost, risk).run();
            let settled = &limits[limits.len().min(20)..];
            let case = format!("{max} {count} {cost} {risk:?}: {settled:?}");
            assert!(!settled.is_empty(), "{case}");
            assert!(settled.iter().all(|mib| (least..=most).contains(mib)), "{case}");
        }
    }

    #[test]
    fn the_words() {
        let (_, play) = Play::new(256, 0, 0.0, Risk::Away).run();
        assert_eq!((play.throttle.why(), play.throttle.ratio()), (Why::Ceiling, None));
        let mut play = Play::new(256, 0, 0.0, Risk::Away);
        play.step();
        assert_eq!(play.throttle.why(), Why::NoClients);
        let (limits, play) = Play::new(256, 500, 3.0, Risk::Last).run();
        assert_eq!(play.throttle.why(), Why::Clients, "{limits:?}");
        // What is durable is mostly left alone where it hurts.
        let mut play = Play::new(256, 500, 3.0, Risk::Away);
        play.risk = None;
        play.steps(10);
        assert_eq!(play.throttle.why(), Why::Nothing);
        play.risk = Some(Risk::Away);
        let limits = play.steps(200);
        let moving = limits.iter().filter(|mib| **mib > 0.0).count();
        assert!((20..=110).contains(&moving), "{moving} of 200 windows");
    }

    /// With clients it rests in a while; so it notices that they wait longer for another reason.
    #[test]
    fn it_is_not_to_blame_for_everything() {
        let (_, mut play) = Play::new(256, 500, 0.001, Risk::Away).run();
        let before = play.steps(60);
        let rests = before.iter().filter(|mib| **mib == 0.0).count();
        assert!((3..=12).contains(&rests), "{before:?}");
        play.quiet_us *= 3.0;
        let slow = play.steps(15).into_iter().filter(|mib| *mib > 0.0).fold(f64::MAX, f64::min);
        assert!(slow < 100.0, "at first it takes itself for the cause: {slow}");
        let after = play.steps(200);
        assert!(after[150..].iter().any(|mib| *mib > 150.0), "{after:?}");
    }

    /// The worst of all gateways and kinds counts.
    #[test]
    fn every_gateway_counts() {
        let mut throttle = Throttle::new(RepairBounds::default());
        let other = Some(GatewayId::from_bytes([7; 16]));
        let window = |kind, p99_us| [Latency { kind, count: 100, p99_us }];
        throttle.saw(None, &window(0, 1_000), Phase::Quiet, 0);
        throttle.saw(other, &window(3, 9_000), Phase::Quiet, 0);
        throttle.step(1_000, Some(Risk::Away));
        throttle.saw(None, &window(0, 1_000), Phase::Busy, 3_000);
        throttle.saw(other, &window(3, 20_000), Phase::Unclear, 3_000);
        throttle.step(4_000, Some(Risk::Away));
        assert_eq!(throttle.why(), Why::Rising, "nothing follows from a window that is unclear");
        throttle.saw(other, &window(3, 20_000), Phase::Busy, 6_000);
        let limit = throttle.limit();
        throttle.step(7_000, Some(Risk::Away));
        assert_eq!(throttle.why(), Why::Clients);
        assert!(throttle.limit() < limit);
        assert!(throttle.ratio().is_some_and(|ratio| (2.0..2.5).contains(&ratio)), "{:?}", throttle.ratio());
    }

    #[test]
    fn a_pause_is_a_pause() {
        let mut play = Play::new(256, 0, 0.0, Risk::Last);
        play.steps(5);
        play.throttle.steer(RepairBounds::default(), true);
        assert_eq!(play.steps(3), [0.0; 3]);
        assert_eq!(play.throttle.why(), Why::Paused);
        let max_bytes_per_s = NonZeroU64::new(5 * MIB).unwrap();
        play.throttle.steer(RepairBounds { max_bytes_per_s, ..RepairBounds::default() }, false);
        assert!(play.steps(3).iter().all(|mib| *mib == 5.0));
    }
}
