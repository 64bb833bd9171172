//! The repair queue: what is put into it, and how it is worked off, those blobs first that are nearest to loss.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::BlobId;
use base::limits::COLUMNS;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meta::record::{BlobRecord, Record, RepairReason, RepairRecord, key};
use meta::{Batch, Check, Range, Write, after};
use parking_lot::Mutex;
use sites::SiteState;
use tokio::time::Instant;

use super::pace::{LOOK_AGAIN, RepairOptions};
use super::plan::{Item, Plan, Queued};
use super::progress::Told;
use crate::commit::is;
use crate::worker::mend::{Look, Mended};
use crate::{Error, Store};

/// Blobs remembered as queued already, so that a hot damaged blob costs one row, not thousands.
const RECENT_MAX: usize = 10_000;
/// How long they are remembered.
const RECENT_MS: u64 = 60_000;
/// A plan is made anew after this at the earliest: another gateway may have queued what is nearer to loss.
const PLAN_FOR_MIN: Duration = Duration::from_secs(1);
/// And after so many times as long as it took to make it, so that little of the time goes into plans.
const PLAN_FOR: u32 = 20;
/// But after this at the latest: what took long may have been a process that stood still, or metadata that did not answer, and not the plan.
const PLAN_FOR_MAX: Duration = Duration::from_secs(120);

/// What the repair worker remembers.
#[derive(Default)]
pub(crate) struct Repairs {
    /// Blobs that were queued, and when, by the time that never goes back.
    recent: Mutex<HashMap<BlobId, u64>>,
    /// Blobs to walk for a running resync.
    pub(crate) resync_total: Mutex<u64>,
    /// What waited when the queue was read last, less what was done since.
    pub(super) queued: Mutex<Queued>,
    pub(super) told: Mutex<Told>,
    /// How long it took to read the queue the last time.
    planned_in: Mutex<Duration>,
}

/// What was tried in a pass and is not whole.
#[derive(Default)]
struct Tried {
    stuck: HashSet<BlobId>,
    /// All items up to this one were tried, where they are too many to remember.
    floor: Option<Item>,
}

impl Tried {
    fn add(&mut self, item: Item, options: &RepairOptions) {
        self.stuck.insert(item.blob);
        if self.stuck.len() > 2 * options.plan {
            self.stuck.clear();
            self.floor = self.floor.max(Some(item));
        }
    }
}

/// The sites as they are, and the generation of what is to be filled.
type States = ([SiteState; COLUMNS], u64);

/// Whether a plan is still the one to follow: to make another takes minutes where the queue is long.
struct Holds {
    planned_with: States,
    /// How long the sites must be as they are before it is worth a new plan: as long as it takes to make one. One that comes and goes
    /// all the time is no reason.
    settles_in: Duration,
    /// Other than planned with, and since when.
    other: Option<(States, Instant)>,
    /// Whether they ever were.
    has_flipped: bool,
}

impl Holds {
    fn of(plan: &Plan, settles_in: Duration) -> Self {
        Self { planned_with: (plan.sites.states, plan.sites.generation), settles_in, other: None, has_flipped: false }
    }

    fn is_other(&self, states: States) -> bool {
        states != self.planned_with
    }

    fn with(&mut self, states: States, now: Instant) -> bool {
        if !self.is_other(states) {
            self.other = None;
            return true;
        }
        self.has_flipped = true;
        // Which sites are to be filled is in the plan.
        if states.1 != self.planned_with.1 {
            return false;
        }
        let since = match self.other {
            Some((known, since)) if known == states => since,
            _ => self.other.insert((states, now)).1,
        };
        now.saturating_duration_since(since) < self.settles_in
    }
}

/// How a plan ended.
#[derive(PartialEq, Eq)]
enum Followed {
    /// Nothing is left that can be done now.
    ToTheEnd,
    /// There is more, or it may be another one now.
    Again,
}

impl Store {
    pub(crate) fn repair_record(&self, reason: RepairReason, columns: u8, bytes: u64) -> RepairRecord {
        RepairRecord { since_ms: self.now_ms(), reason, columns, bytes }
    }

    /// Queues a blob that a reader found wanting, in the background.
    pub(crate) fn queue_repair(&self, blob: BlobId, reason: RepairReason) {
        let now = self.0.options.doors.clock.passed_ms();
        {
            let mut recent = self.0.workers.repair.recent.lock();
            if recent.len() >= RECENT_MAX {
                recent.clear();
            }
            // Another gateway may have mended it since, and it may be damaged anew.
            if recent.insert(blob, now).is_some_and(|then| now.saturating_sub(then) < RECENT_MS) {
                return;
            }
        }
        let store = self.clone();
        self.0.tasks.spawn(async move {
            if let Err(error) = store.put_repair(blob, reason, 1).await {
                tracing::warn!(%blob, %error, "repair could not be queued");
                store.0.workers.repair.recent.lock().remove(&blob);
            }
            store.0.workers.wake_repair.notify_one();
        });
    }

    /// Queues a blob of which so many columns are wrong, as far as is known. With what is queued already, the stronger word
    /// stays: damage is only found by reading the bytes.
    pub(super) async fn put_repair(&self, blob: BlobId, reason: RepairReason, columns: u8) -> Result<(), Error> {
        let Some((record, _)) = self.record::<BlobRecord>(key::blob_key(blob)).await? else { return Ok(()) };
        if self.is_collected(blob, &record, |garbage| self.is_due(garbage.since_ms)).await? {
            return Ok(());
        }
        let row_key = key::repair_key(blob);
        self.until_won(|| async {
            let (check, repair) = match self.record::<RepairRecord>(row_key.clone()).await? {
                None => (Check::Absent(row_key.clone()), self.repair_record(reason, columns, record.len)),
                Some((queued, version)) => {
                    let stronger = stronger(&queued, reason, columns);
                    if stronger == queued {
                        return Ok((Batch::default(), ()));
                    }
                    (is(row_key.clone(), version), stronger)
                }
            };
            Ok((Batch { checks: vec![check], writes: vec![Write::Put(row_key.clone(), repair.encode())] }, ()))
        })
        .await
    }

    /// One pass over the queue and over replaced sites, in the order of risk, until nothing is left that can be done now.
    ///
    /// All that it follows from is in rows: cut off anywhere, by the end of the process or of its turn to lead, the next pass
    /// goes on with what is not done.
    ///
    /// # Errors
    /// A metadata error. What sites refuse stays queued.
    pub async fn repair_pass(&self) -> Result<(), Error> {
        self.0.workers.report("repair", |report| report.state = "running".to_owned());
        let errors_before = self.0.workers.repair.told.lock().errors;
        let done = self.work_off().await;
        *self.0.workers.paced.risk.lock() = None;
        let is_clean = done.is_ok() && self.0.workers.repair.told.lock().errors == errors_before;
        self.0.workers.report("repair", |report| {
            report.state = "idle".to_owned();
            report.progress = None;
            if is_clean {
                report.last_error = None;
            }
        });
        let told = self.tell_progress().await;
        done.and(told)
    }

    /// How long to wait until the next pass where nothing wakes it.
    pub(super) fn repair_pause(&self, least: Duration) -> Duration {
        pause(*self.0.workers.repair.planned_in.lock(), least)
    }

    async fn work_off(&self) -> Result<(), Error> {
        let mut tried = Tried::default();
        let mut states: Option<States> = None;
        loop {
            // What could not be done may be possible now.
            let current = Some(self.states());
            if states != current {
                (tried, states) = (Tried::default(), current);
            }
            let begun = Instant::now();
            let plan = self.plan(&tried.stuck, tried.floor).await?;
            let (planned, took) = (Instant::now(), begun.elapsed());
            *self.0.workers.repair.planned_in.lock() = took;
            let until = planned + self.repair_pause(PLAN_FOR_MIN);
            self.note_queue(plan.queued);
            self.tell_progress_in_a_while().await?;
            if self.follow(plan, &mut tried, until).await? == Followed::ToTheEnd {
                return Ok(());
            }
            // However often sites come and go: at most half of the time goes into plans.
            while self.0.options.background && Instant::now() < planned + took {
                if !self.may_go_on() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    async fn follow(&self, plan: Plan, tried: &mut Tried, until: Instant) -> Result<Followed, Error> {
        let at_home = plan.sites.risk_at_home();
        let mut holds = Holds::of(&plan, *self.0.workers.repair.planned_in.lock());
        let mut walks = self.can_walk(&plan.sites);
        let mut items = plan.items.into_iter().peekable();
        let mut running = FuturesUnordered::new();
        loop {
            // Who does not lead any more ends what is under way.
            let mut is_good =
                || self.may_go_on() && Instant::now() < until && holds.with(self.states(), Instant::now());
            while is_good() && running.len() < self.0.workers.paced.throttle.lock().at_once() {
                let is_next = items.peek().is_some_and(|item| !walks || item.risk <= at_home);
                if let Some(item) = items.next_if(|_| is_next) {
                    *self.0.workers.paced.risk.lock() = Some(item.risk);
                    running.push(async move { (item, self.mend(item.blob, look(&item), true).await) });
                } else if walks && running.is_empty() {
                    *self.0.workers.paced.risk.lock() = Some(at_home);
                    walks = self.walk_page().await?;
                } else {
                    break;
                }
            }
            match running.next().await {
                Some((item, mended)) => self.note_mended(item, mended, tried),
                None if !self.may_go_on() => return Ok(Followed::ToTheEnd),
                None if holds.has_flipped => {
                    // What was tried meanwhile may be possible now.
                    *tried = Tried::default();
                    return Ok(Followed::Again);
                }
                None if holds.is_other(self.states()) || plan.more || walks || items.peek().is_some() => {
                    return Ok(Followed::Again);
                }
                None => return Ok(Followed::ToTheEnd),
            }
        }
    }

    fn note_mended(&self, item: Item, mended: Result<Mended, Error>, tried: &mut Tried) {
        self.0.workers.repair.recent.lock().remove(&item.blob);
        match mended {
            Ok(mended) if mended.whole => {
                self.count_done(u64::from(mended.mended > 0));
                let mut queued = *self.0.workers.repair.queued.lock();
                let (blobs, bytes) = &mut queued[item.risk as usize];
                (*blobs, *bytes) = (blobs.saturating_sub(1), bytes.saturating_sub(item.bytes));
                self.note_queue(queued);
                return;
            }
            Ok(mended) => {
                tracing::debug!(blob = %item.blob, ?mended, "not whole yet");
                self.count_done(u64::from(mended.mended > 0));
            }
            Err(Error::Contended) => tracing::debug!(blob = %item.blob, "left: somebody changes or collects it"),
            Err(error) => self.note_failed(item.blob, &error),
        }
        tried.add(item, &self.0.options.repair);
    }

    pub(super) fn note_failed(&self, blob: BlobId, error: &Error) {
        tracing::warn!(%blob, %error, "blob not repaired; it stays queued");
        self.0.workers.repair.told.lock().errors += 1;
        self.0.workers.report("repair", |report| report.last_error = Some(error.to_string()));
    }

    pub(super) fn count_done(&self, mended: u64) {
        self.0.workers.paced.done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.workers.report("repair", |report| report.done += mended);
    }

    fn note_queue(&self, queued: Queued) {
        *self.0.workers.repair.queued.lock() = queued;
        self.0.workers.report("repair", |report| report.queue = queued.iter().map(|(blobs, _)| blobs).sum());
    }

    /// Rows in an interval.
    pub(crate) async fn count(&self, (mut from, to): (meta::Key, meta::Key)) -> Result<u64, Error> {
        let mut count = 0;
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 5000 }).await?;
            count += page.rows.len() as u64;
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(count),
            }
        }
    }
}

/// How long a plan that took so long to make is followed.
fn pause(planned_in: Duration, least: Duration) -> Duration {
    (planned_in * PLAN_FOR).min(PLAN_FOR_MAX).max(least)
}

/// What is queued, with what is found now.
fn stronger(queued: &RepairRecord, reason: RepairReason, columns: u8) -> RepairRecord {
    let reason = match (queued.reason, reason) {
        (RepairReason::Damaged, _) | (_, RepairReason::Damaged) => RepairReason::Damaged,
        // What was handed off is durable; what is missing is not.
        (RepairReason::HandedOff, found) => found,
        (known, _) => known,
    };
    let columns = if queued.reason == RepairReason::HandedOff { columns } else { columns.max(queued.columns) };
    RepairRecord { reason, columns, ..queued.clone() }
}

/// A damaged shard has the right size; only its bytes tell.
fn look(item: &Item) -> Look {
    if item.damaged { Look::Bytes } else { Look::Sizes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_holds_until_the_sites_have_settled() {
        let up = [SiteState::Up; COLUMNS];
        let mut down = up;
        down[3] = SiteState::Down;
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut holds = Holds { planned_with: (up, 1), settles_in: 10 * second, other: None, has_flipped: false };
        for flip in 0..100 {
            let states = if flip % 2 == 0 { down } else { up };
            assert!(holds.with((states, 1), begun + flip * 9 * second), "{flip}");
        }
        let begun = begun + 1000 * second;
        assert!(holds.with((down, 1), begun) && holds.with((down, 1), begun + 9 * second));
        assert!(!holds.with((down, 1), begun + 10 * second), "it stays down");
        assert!(!holds.with((up, 2), begun), "another site is to be filled");
    }

    #[test]
    fn a_plan_is_followed_for_longer_than_it_took_and_never_for_long() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(Duration::ZERO, PLAN_FOR_MIN), PLAN_FOR_MIN);
        assert_eq!(pause(2 * second, PLAN_FOR_MIN), 40 * second);
        assert_eq!(pause(600 * second, PLAN_FOR_MIN), PLAN_FOR_MAX, "the process stood still for ten minutes");
    }

    #[test]
    fn the_stronger_word_stays() {
        use RepairReason::{Damaged, HandedOff, Missing, Replaced};
        // (queued, columns, found, columns) -> (reason, columns)
        for (queued, had, found, columns, expected) in [
            (HandedOff, 2, Missing, 1, (Missing, 1)),
            (HandedOff, 2, HandedOff, 1, (HandedOff, 1)),
            (Missing, 2, HandedOff, 1, (Missing, 2)),
            (Missing, 1, Replaced, 2, (Missing, 2)),
            (Missing, 1, Damaged, 1, (Damaged, 1)),
            (Damaged, 1, Missing, 2, (Damaged, 2)),
        ] {
            let before = RepairRecord { since_ms: 5, reason: queued, columns: had, bytes: 9 };
            let after = stronger(&before, found, columns);
            assert_eq!((after.reason, after.columns), expected, "{queued:?} {found:?}");
            assert_eq!((after.since_ms, after.bytes), (5, 9));
        }
    }
}
