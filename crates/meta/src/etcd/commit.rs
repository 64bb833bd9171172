//! Groups and the lanes that take them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd::CallError;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::lane::{Lane, nothing_written};
use super::plan::{self, Joined};
use super::{ANSWER_WITHIN, Inner};
use crate::{Batch, Check, CommitError, Version};

type Outcome = Result<Version, CommitError>;

/// Batches in order, and who waits for their answers.
pub(crate) struct Group {
    /// With their place in the answers.
    batches: VecDeque<(usize, Batch)>,
    answers: Vec<Option<Outcome>>,
    done: oneshot::Sender<Vec<Option<Outcome>>>,
    deadline: Instant,
}

/// What waits for a lane, and the lanes.
pub(crate) struct Lanes {
    all: Vec<OneLane>,
    state: Mutex<State>,
}

struct OneLane {
    /// Locked while a transaction is under way.
    lane: tokio::sync::Mutex<Lane>,
    /// Whether something of it is lost, for those who do not hold it.
    lost: AtomicBool,
}

struct State {
    waiting: VecDeque<Group>,
    /// Lanes that nobody drives.
    idle: Vec<usize>,
}

impl Lanes {
    pub(crate) fn new(lanes: impl Iterator<Item = Lane>) -> Self {
        let all: Vec<_> =
            lanes.map(|lane| OneLane { lane: tokio::sync::Mutex::new(lane), lost: AtomicBool::new(false) }).collect();
        let state = State { waiting: VecDeque::new(), idle: (0..all.len()).collect() };
        Self { all, state: Mutex::new(state) }
    }
}

impl Inner {
    /// As [`crate::Engine::commit_group`]. What is under way goes on when the caller gives up.
    pub(crate) async fn commit_group(self: &Arc<Self>, batches: Vec<Batch>) -> Vec<Outcome> {
        let mut answers = vec![None; batches.len()];
        let mut fine = VecDeque::with_capacity(batches.len());
        for (index, batch) in batches.into_iter().enumerate() {
            match batch.check_limits() {
                Ok(()) => fine.push_back((index, batch)),
                Err(error) => answers[index] = Some(Err(error)),
            }
        }
        if !fine.is_empty() {
            let count = answers.len();
            let (done, answered) = oneshot::channel();
            self.enqueue(Group { batches: fine, answers, done, deadline: Instant::now() + ANSWER_WITHIN });
            let lost = || Some(Err(CommitError::Unknown("the task that commits ended".into())));
            answers = answered.await.unwrap_or_else(|_| (0..count).map(|_| lost()).collect());
        }
        let unanswered = || Err(CommitError::Unknown("a batch without an answer".into()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }

    fn enqueue(self: &Arc<Self>, group: Group) {
        let lanes = &self.lanes;
        let mut state = lanes.state.lock();
        state.waiting.push_back(group);
        // A lane of which nothing is lost before one that must settle first; the last that was used, which has its marker.
        let sound = state.idle.iter().rposition(|lane| !lanes.all[*lane].lost.load(Ordering::SeqCst));
        if let Some(at) = sound.or_else(|| state.idle.len().checked_sub(1)) {
            let lane = state.idle.remove(at);
            tokio::spawn(Arc::clone(self).drive(lane));
        }
    }

    /// Takes groups until none waits.
    async fn drive(self: Arc<Self>, number: usize) {
        let lane = &self.lanes.all[number];
        let mut groups: Vec<Group> = Vec::new();
        loop {
            let parts = {
                let mut state = self.lanes.state.lock();
                let parts = join(&mut groups, &mut state.waiting);
                if parts.is_empty() {
                    state.idle.push(number);
                    return;
                }
                parts
            };
            // What was answered as unknown before these came must have happened or never happen, before any of them does: who makes up for
            // something that failed must not be overtaken by it. No lane is held while others are waited for.
            let settled = self.settle_lost(Instant::now() + ANSWER_WITHIN).await;
            let mut held = lane.lane.lock().await;
            match settled {
                Ok(()) => self.commit_parts(&mut held, &mut groups, &parts).await,
                Err(error) => refuse_parts(&mut groups, &parts, &error),
            }
            lane.lost.store(held.is_lost(), Ordering::SeqCst);
            drop(held);
            for group in groups.extract_if(.., |group| group.batches.is_empty()) {
                // Whoever asked may be gone.
                let _ = group.done.send(group.answers);
            }
        }
    }

    /// Commits the first `parts[i]` batches of each group in one transaction.
    async fn commit_parts(&self, lane: &mut Lane, groups: &mut [Group], parts: &[usize]) {
        let now = Instant::now();
        let taken: Vec<Vec<(usize, Batch)>> =
            groups.iter_mut().zip(parts).map(|(group, count)| group.batches.drain(..*count).collect()).collect();
        let deadline = groups.iter().map(|group| group.deadline).max().unwrap_or(now).max(now + ANSWER_WITHIN / 5);
        let mut places = Vec::new();
        let mut batches: Vec<&Batch> = Vec::new();
        for (group, part) in taken.iter().enumerate() {
            for (place, batch) in part {
                match self.refused(batch, deadline).await {
                    Some(error) => groups[group].answers[*place] = Some(Err(error)),
                    None => {
                        places.push((group, *place));
                        batches.push(batch);
                    }
                }
            }
        }
        if batches.is_empty() {
            return;
        }
        let outcomes = lane.commit(self, &batches, deadline).await;
        for ((group, place), outcome) in places.into_iter().zip(outcomes) {
            let group = &mut groups[group];
            let stop =
                matches!(outcome, Err(CommitError::Unknown(_) | CommitError::Unavailable(_) | CommitError::Full));
            if let (true, Err(error)) = (stop, &outcome) {
                // What comes later in the group may be durable only if this is.
                let said = error.to_string();
                for (place, _) in group.batches.drain(..) {
                    group.answers[place] = Some(Err(CommitError::Unavailable(format!("not tried after: {said}"))));
                }
            }
            group.answers[place] = Some(outcome);
        }
    }

    /// Evaluates a batch with an interval to be empty by reads first: etcd loads all rows of it to compare.
    async fn refused(&self, batch: &Batch, deadline: Instant) -> Option<CommitError> {
        let intervals = batch.checks.iter().filter(|check| matches!(check, Check::Empty(..)));
        if intervals.count() == 0 {
            return None;
        }
        match self.evidence(batch, 0, deadline).await {
            Ok(found) => plan::first_failed(&self.space, batch, &found).map(|check| CommitError::Failed { check }),
            Err(error) => Some(nothing_written(error)),
        }
    }

    /// Before a read: what was lost must have happened or never happen, so that who was told "unknown" can read which.
    pub(crate) async fn settle_lost(&self, deadline: Instant) -> Result<(), CallError> {
        for lane in self.lanes.all.iter().filter(|lane| lane.lost.load(Ordering::SeqCst)) {
            let Ok(mut held) = timeout_at(deadline, lane.lane.lock()).await else {
                return Err(CallError::Refused("what became of a commit is not settled yet; try again".into()));
            };
            let settled = held.settled(self, deadline).await;
            lane.lost.store(held.is_lost(), Ordering::SeqCst);
            settled?;
        }
        Ok(())
    }
}

/// Answers the first `parts[i]` batches of each group, and with them what comes later in it, when nothing of them was tried.
fn refuse_parts(groups: &mut [Group], parts: &[usize], error: &CallError) {
    for group in groups.iter_mut().zip(parts).filter_map(|(group, count)| (*count > 0).then_some(group)) {
        for (place, _) in group.batches.drain(..) {
            group.answers[place] = Some(Err(CommitError::Unavailable(error.to_string())));
        }
    }
}

/// How many batches of each group the next transaction takes. Groups that wait are taken while there is room: their order
/// among each other is free, that within a group is not.
fn join(groups: &mut Vec<Group>, waiting: &mut VecDeque<Group>) -> Vec<usize> {
    let mut joined = Joined::default();
    let prefix =
        |group: &Group, joined: &mut Joined| group.batches.iter().take_while(|(_, batch)| joined.take(batch)).count();
    let mut parts: Vec<usize> = groups.iter().map(|group| prefix(group, &mut joined)).collect();
    while let Some(group) = waiting.pop_front() {
        let count = prefix(&group, &mut joined);
        let whole = count == group.batches.len();
        parts.push(count);
        groups.push(group);
        if !whole {
            break;
        }
    }
    parts
}
