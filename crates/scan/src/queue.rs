//! Who is scanned next. Pure: time comes in as milliseconds.
//!
//! * Lanes in their order; within a lane the tenant that had least; of that one's the shortest first, of which each grows shorter while it waits.
//! * One slot of several is only for what is on access and short. So neither a full scan nor a slow file is ever in the way of a process that opens
//!   one: what a desktop does in a storm is short.
//! * What has waited longer than its lane should gets every other of the slots that all share, so that nothing waits for ever.
//! * A content that was in the engine when the engine died is scanned with nothing beside it: if the engine dies again it is known why.

use std::collections::HashMap;

use crate::limits::SLOW_MS;

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A process waits in `open`.
    OnAccess,
    /// An upload, a mail or a page waits.
    Inline,
    /// Somebody looks at a progress bar.
    Image,
    /// Nobody waits.
    Rescan,
}

impl Lane {
    /// All, most urgent first.
    pub const ALL: [Self; 4] = [Self::OnAccess, Self::Inline, Self::Image, Self::Rescan];

    /// The word for it in metrics and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::OnAccess => "on-access",
            Self::Inline => "inline",
            Self::Image => "image",
            Self::Rescan => "rescan",
        }
    }

    /// Milliseconds after which a scan has waited too long.
    fn patience_ms(self) -> u64 {
        match self {
            Self::OnAccess => 1_000,
            Self::Inline => 10_000,
            Self::Image => 60_000,
            Self::Rescan => 600_000,
        }
    }
}

/// A scan that is to be done.
#[derive(Debug, Clone)]
pub struct Job {
    /// The most urgent of those who wait for it.
    pub lane: Lane,
    /// Who asked first.
    pub tenant: String,
    /// Milliseconds that it is expected to take.
    pub cost_ms: u64,
    /// Nothing may run beside it.
    pub alone: bool,
}

impl Job {
    fn is_short_on_access(&self) -> bool {
        self.lane == Lane::OnAccess && self.cost_ms <= SLOW_MS
    }
}

/// What names a job in its queue.
pub type JobId = u64;

#[derive(Debug)]
struct Waiting {
    id: JobId,
    job: Job,
    since_ms: u64,
}

/// The queue, and what runs.
#[derive(Debug)]
pub struct Queue {
    slots: usize,
    next: JobId,
    waiting: Vec<Waiting>,
    running: HashMap<JobId, Job>,
    /// Milliseconds that each tenant was given, of those that have anything here.
    given: HashMap<String, u64>,
    /// The last choice of a shared slot was one that had waited too long.
    patience_was_last: bool,
}

impl Queue {
    /// One for so many scans at once, at least 1.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: slots.max(1),
            next: 0,
            waiting: Vec::new(),
            running: HashMap::new(),
            given: HashMap::new(),
            patience_was_last: false,
        }
    }

    /// Adds a job at the time `now_ms`.
    pub fn push(&mut self, job: Job, now_ms: u64) -> JobId {
        // Who was away begins where the others are: time not used is not saved up.
        let floor = self.given.values().min().copied().unwrap_or_default();
        let given = self.given.entry(job.tenant.clone()).or_insert(floor);
        *given = (*given).max(floor);
        let id = self.next;
        self.next += 1;
        self.waiting.push(Waiting { id, job, since_ms: now_ms });
        id
    }

    /// Somebody more urgent waits for it as well.
    pub fn raise(&mut self, id: JobId, lane: Lane) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == id) {
            waiting.job.lane = waiting.job.lane.min(lane);
        }
    }

    /// It runs no more, or is not wanted any more.
    pub fn remove(&mut self, id: JobId) {
        let running = self.running.remove(&id);
        let waiting = self.waiting.iter().position(|waiting| waiting.id == id);
        let waiting = waiting.map(|at| self.waiting.remove(at).job);
        let Some(Job { tenant, .. }) = running.or(waiting) else { return };
        let has_more = |job: &Job| job.tenant == tenant;
        if !self.running.values().any(has_more) && !self.waiting.iter().any(|waiting| has_more(&waiting.job)) {
            self.given.remove(&tenant);
        }
    }

    /// What starts now, if anything may.
    pub fn start(&mut self, now_ms: u64) -> Option<JobId> {
        if self.running.values().any(|job| job.alone) {
            return None;
        }
        let at = match self.waiting.iter().position(|waiting| waiting.job.alone) {
            Some(_) if !self.running.is_empty() => return None,
            Some(at) => at,
            None if self.running.len() >= self.slots => return None,
            None => self.choose(now_ms)?,
        };
        let Waiting { id, job, .. } = self.waiting.remove(at);
        *self.given.entry(job.tenant.clone()).or_default() += job.cost_ms.max(1);
        self.running.insert(id, job);
        Some(id)
    }

    fn choose(&mut self, now_ms: u64) -> Option<usize> {
        let sharing = self.running.values().filter(|job| !job.is_short_on_access()).count();
        let may_share = self.slots == 1 || sharing + 1 < self.slots;
        let may = |waiting: &&Waiting| may_share || waiting.job.is_short_on_access();
        let waited = |waiting: &Waiting| now_ms.saturating_sub(waiting.since_ms);
        if may_share && !self.patience_was_last {
            let late = |waiting: &Waiting| waited(waiting).checked_sub(waiting.job.lane.patience_ms());
            let latest = self.waiting.iter().enumerate().filter_map(|(at, waiting)| Some((late(waiting)?, at))).max();
            if let Some((_, at)) = latest {
                self.patience_was_last = true;
                return Some(at);
            }
        }
        self.patience_was_last = false;
        let rank = |waiting: &Waiting| {
            let given = self.given.get(&waiting.job.tenant).copied().unwrap_or_default();
            (waiting.job.lane, given, waiting.job.cost_ms.saturating_sub(waited(waiting)), waiting.id)
        };
        let all = self.waiting.iter().enumerate().filter(|(_, waiting)| may(waiting));
        all.min_by_key(|(_, waiting)| rank(waiting)).map(|(at, _)| at)
    }

    /// How many wait in each lane.
    pub fn depths(&self) -> [usize; 4] {
        Lane::ALL.map(|lane| self.waiting.iter().filter(|waiting| waiting.job.lane == lane).count())
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Milliseconds of work that wait in this lane and in more urgent ones, for each slot.
    pub fn backlog_ms(&self, lane: Lane) -> u64 {
        let before = self.waiting.iter().filter(|waiting| waiting.job.lane <= lane);
        before.map(|waiting| waiting.job.cost_ms).sum::<u64>() / self.slots as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use base::SeededRng;
    use proptest::prelude::*;

    use super::*;

    fn job(lane: Lane, tenant: &str, cost_ms: u64) -> Job {
        Job { lane, tenant: tenant.to_owned(), cost_ms, alone: false }
    }

    #[test]
    fn one_slot_is_for_what_is_on_access_and_short() {
        let mut queue = Queue::new(2);
        let slow = queue.push(job(Lane::OnAccess, "a", SLOW_MS + 1), 0);
        let rescan = queue.push(job(Lane::Rescan, "a", 1), 0);
        assert_eq!(queue.start(0), Some(slow));
        assert_eq!(queue.start(0), None, "a full scan does not take the other slot");
        let short = queue.push(job(Lane::OnAccess, "a", 1), 0);
        assert_eq!(queue.start(0), Some(short));
        queue.remove(slow);
        assert_eq!(queue.start(0), Some(rescan));
    }

    #[test]
    fn the_shortest_is_first_until_another_one_has_waited_for_the_difference() {
        let mut queue = Queue::new(1);
        let long = queue.push(job(Lane::Inline, "a", 300), 0);
        let short = queue.push(job(Lane::Inline, "a", 100), 0);
        assert_eq!(queue.start(0), Some(short));
        queue.remove(short);
        let newer = queue.push(job(Lane::Inline, "a", 100), 250);
        assert_eq!(queue.start(250), Some(long));
        queue.remove(long);
        assert_eq!(queue.start(250), Some(newer));
    }

    #[test]
    fn tenants_get_the_same_however_much_they_ask() {
        let mut queue = Queue::new(1);
        let of_a: Vec<JobId> = (0..100).map(|_| queue.push(job(Lane::Inline, "a", 10), 0)).collect();
        let of_b: Vec<JobId> = (0..3).map(|_| queue.push(job(Lane::Inline, "b", 10), 0)).collect();
        let mut order = Vec::new();
        for _ in 0..6 {
            let id = queue.start(0).expect("a job");
            order.push(of_b.contains(&id));
            queue.remove(id);
        }
        assert_eq!(order.iter().filter(|is_b| **is_b).count(), 3, "{order:?}, of {}", of_a.len());
    }

    #[test]
    fn who_was_in_a_dying_engine_is_alone_in_the_next() {
        let mut queue = Queue::new(4);
        let first = queue.push(job(Lane::Inline, "a", 10), 0);
        assert_eq!(queue.start(0), Some(first));
        let suspect = queue.push(Job { alone: true, ..job(Lane::Rescan, "a", 10) }, 0);
        let other = queue.push(job(Lane::OnAccess, "a", 10), 0);
        assert_eq!(queue.start(0), None, "not beside what runs");
        queue.remove(first);
        assert_eq!(queue.start(0), Some(suspect));
        assert_eq!(queue.start(0), None, "nothing beside it");
        queue.remove(suspect);
        assert_eq!(queue.start(0), Some(other));
    }

    #[test]
    fn a_raised_one_goes_with_its_new_lane() {
        let mut queue = Queue::new(1);
        let image = queue.push(job(Lane::Image, "a", 10), 0);
        let rescan = queue.push(job(Lane::Rescan, "a", 10), 0);
        queue.raise(rescan, Lane::OnAccess);
        assert_eq!(queue.start(0), Some(rescan));
        queue.remove(rescan);
        assert_eq!(queue.start(0), Some(image));
    }

    /// Milliseconds that scans on access took, worst last, while a full scan goes on; `fifo`: all in one lane, as they come.
    fn storm(fifo: bool) -> Vec<u64> {
        let rng = SeededRng::new(7);
        let draw = |below: u64| {
            let mut bytes = [0; 8];
            base::Rng::fill(&rng, &mut bytes);
            u64::from_le_bytes(bytes) % below
        };
        let mut arrivals: Vec<(u64, Lane, u64)> = (0..3_000).map(|_| (0, Lane::Image, 1 + draw(40))).collect();
        arrivals.extend((0..20).map(|i| (i * 900, Lane::OnAccess, 6_000)));
        arrivals.extend((0..2_000).map(|i| (i * 15, Lane::OnAccess, 1 + draw(4))));
        arrivals.sort();
        let mut queue = Queue::new(2);
        let mut came = HashMap::new();
        let mut ends: BinaryHeap<std::cmp::Reverse<(u64, JobId)>> = BinaryHeap::new();
        let (mut now, mut next, mut took) = (0, 0, Vec::new());
        let mut in_order = std::collections::VecDeque::new();
        let mut busy = 0;
        while next < arrivals.len() || !ends.is_empty() {
            let arrives = arrivals.get(next).map_or(u64::MAX, |(at, ..)| *at);
            let ended = ends.peek().map_or(u64::MAX, |end| end.0.0);
            now = now.max(arrives.min(ended));
            if ended <= arrives {
                let Some(std::cmp::Reverse((at, id))) = ends.pop() else { continue };
                queue.remove(id);
                busy -= 1;
                let (since, lane, cost) = came[&id];
                if lane == Lane::OnAccess && cost <= SLOW_MS {
                    took.push(at - since);
                }
            } else {
                let (at, lane, cost) = arrivals[next];
                let id = queue.push(job(lane, "a", cost), at);
                came.insert(id, (at, lane, cost));
                in_order.push_back(id);
                next += 1;
            }
            while busy < 2 {
                let started = if fifo { in_order.pop_front() } else { queue.start(now) };
                let Some(id) = started else { break };
                busy += 1;
                ends.push(std::cmp::Reverse((now + came[&id].2, id)));
            }
        }
        took.sort_unstable();
        took
    }

    #[test]
    fn in_a_storm_what_is_on_access_is_answered_a_hundred_times_sooner_than_in_order() {
        let [ours, fifo] = [storm(false), storm(true)];
        assert_eq!((ours.len(), fifo.len()), (2_000, 2_000));
        let p99 = |took: &[u64]| took[took.len() * 99 / 100];
        assert!(p99(&ours) * 100 <= p99(&fifo), "{} ms, in order {} ms", p99(&ours), p99(&fifo));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_slot_is_used_twice(
            jobs in prop::collection::vec((0usize..4, 0u8..3, 1u64..2_000, any::<bool>()), 1..60),
            slots in 1usize..4,
        ) {
            let mut queue = Queue::new(slots);
            let mut left: Vec<JobId> = Vec::new();
            for (lane, tenant, cost_ms, alone) in jobs {
                let job = Job { lane: Lane::ALL[lane], tenant: tenant.to_string(), cost_ms, alone: alone && cost_ms < 100 };
                left.push(queue.push(job, 0));
            }
            let (mut running, mut now) = (Vec::new(), 0);
            while !left.is_empty() {
                while let Some(id) = queue.start(now) {
                    running.push(id);
                    prop_assert!(running.len() <= slots);
                }
                prop_assert!(!running.is_empty(), "{} wait and nothing runs", left.len());
                let id = running.remove(0);
                queue.remove(id);
                left.retain(|other| *other != id);
                now += 50;
            }
            prop_assert!(queue.given.is_empty() && queue.waiting() == 0 && queue.running() == 0);
        }
    }
}
