//! Budgets of an hour: room is taken from the metadata in blocks, and used from memory.

use std::num::NonZeroU64;

use base::AccountId;
use meta::Batch;
use meta::record::{Matter, Record, SpentRecord, key};
use release::{Budget, Pend, Terms};

use super::{ATTEMPTS, Caller, HOUR_MS, Lease, Refusal};
use crate::error::PortionError;
use crate::portions::Portions;

/// A block of room is this part of the limit: a process that stops loses no more of it.
const BLOCK: u64 = 64;
/// How long one approval lets a principal go beyond its budget: to the end of the hour, and the next one.
const STEP_UP_MS: u64 = 2 * HOUR_MS;

/// What a process knows of a principal's hour.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    /// As it was written last: all that was taken, by anybody.
    pub(crate) taken: SpentRecord,
    /// Objects of that that this process did not use yet.
    pub(crate) objects: u64,
    /// Bytes of that.
    pub(crate) bytes: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    Done,
    Over(&'static str, NonZeroU64),
    /// More room is to be taken first.
    NoRoom,
}

/// What the row says of this hour.
pub(crate) fn of_hour(row: Option<&SpentRecord>, hour_ms: u64) -> SpentRecord {
    row.filter(|spent| spent.hour_ms == hour_ms).cloned().unwrap_or(SpentRecord { hour_ms, ..SpentRecord::default() })
}

impl Room {
    /// Uses room that was taken.
    pub(crate) fn spend(&mut self, budget: &Budget, hour_ms: u64, objects: u64, bytes: u64) -> Spent {
        if self.taken.hour_ms != hour_ms {
            return Spent::NoRoom;
        }
        let rows = [
            ("objects", budget.objects, self.taken.objects.saturating_sub(self.objects), objects),
            ("bytes", budget.bytes, self.taken.bytes.saturating_sub(self.bytes), bytes),
        ];
        for (what, limit, used, more) in rows {
            if let Some(limit) = limit
                && used.saturating_add(more) > limit.get()
            {
                return Spent::Over(what, limit);
            }
        }
        let wants = |limit: Option<NonZeroU64>, left: u64, more: u64| limit.is_some() && left < more;
        if wants(budget.objects, self.objects, objects) || wants(budget.bytes, self.bytes, bytes) {
            return Spent::NoRoom;
        }
        // What has no limit here may have one elsewhere, and was not taken for this.
        if budget.objects.is_some() {
            self.objects -= objects;
        }
        if budget.bytes.is_some() {
            self.bytes -= bytes;
        }
        Spent::Done
    }
}

/// How much to take: a block, but never beyond the limit. `None`: the limit leaves not even `more`.
fn block(limit: NonZeroU64, taken: u64, left: u64, more: u64) -> Option<u64> {
    let missing = more.saturating_sub(left);
    let free = limit.get().saturating_sub(taken);
    (missing <= free).then(|| missing.max(limit.get() / BLOCK).min(free))
}

impl Portions {
    /// Counts objects and bytes that are opened by a lease.
    ///
    /// # Errors
    /// [`PortionError::Release`] with [`Refusal::OverBudget`] or [`Refusal::Pending`], or a metadata error.
    pub async fn spend(&self, lease: &Lease, caller: &Caller, objects: u64, bytes: u64) -> Result<(), PortionError> {
        let budget = &lease.budget;
        if budget.objects.is_none() && budget.bytes.is_none() {
            return Ok(());
        }
        let now = self.now_ms();
        let hour_ms = now - now % HOUR_MS;
        for _ in 0..ATTEMPTS {
            let (what, limit) = match self.caches.spend(lease, hour_ms, objects, bytes) {
                Spent::Done => return Ok(()),
                Spent::Over(what, limit) => (what, limit),
                Spent::NoRoom => match self.take_room_in_hour(lease, hour_ms, objects, bytes).await {
                    Ok(None) | Err(PortionError::Contended) => continue,
                    Ok(Some(over)) => over,
                    Err(error) => return Err(error),
                },
            };
            let terms = Terms { budget: *budget, ..Terms::default() };
            if self.asks_to_step_up(caller, lease.account, &terms, now).await? {
                return Ok(());
            }
            let refusal = Refusal::OverBudget { name: lease.name.clone(), what, limit };
            self.alarm(caller, lease, hour_ms, &refusal).await;
            return Err(PortionError::Release(refusal));
        }
        Err(PortionError::Contended)
    }

    /// Takes a block; `Some`: the limit that leaves none.
    async fn take_room_in_hour(
        &self,
        lease: &Lease,
        hour_ms: u64,
        objects: u64,
        bytes: u64,
    ) -> Result<Option<(&'static str, NonZeroU64)>, PortionError> {
        let row_key = key::spent_key(lease.account, &lease.principal);
        let found = self.record::<SpentRecord>(row_key.clone()).await?;
        let mut taken = of_hour(found.as_ref().map(|(spent, _)| spent), hour_ms);
        let room = self.caches.room_in_hour(lease, hour_ms);
        let (mut more_objects, mut more_bytes) = (0, 0);
        if let Some(limit) = lease.budget.objects {
            match block(limit, taken.objects, room.objects, objects) {
                Some(more) => more_objects = more,
                None => return Ok(Some(("objects", limit))),
            }
        }
        if let Some(limit) = lease.budget.bytes {
            match block(limit, taken.bytes, room.bytes, bytes) {
                Some(more) => more_bytes = more,
                None => return Ok(Some(("bytes", limit))),
            }
        }
        taken.objects += more_objects;
        taken.bytes += more_bytes;
        let mut batch = Batch { checks: vec![], writes: vec![] };
        batch.replace(row_key, found.map(|(_, version)| version), taken.encode());
        self.commit_once(batch).await?;
        self.caches.took_room_in_hour(lease, taken, more_objects, more_bytes);
        Ok(None)
    }

    /// Whether somebody lets the caller go beyond its budget now.
    pub(crate) async fn stepped_up(
        &self,
        caller: &Caller,
        account: AccountId,
        terms: &Terms,
        now: u64,
    ) -> Result<bool, PortionError> {
        if !terms.budget.step_up || !terms.budget.is_limited() {
            return Ok(false);
        }
        self.is_settled(caller, account, Matter::StepUp, &step_up(), now).await
    }

    /// The same where the budget is spent: asks for it if nobody did.
    pub(crate) async fn asks_to_step_up(
        &self,
        caller: &Caller,
        account: AccountId,
        terms: &Terms,
        now: u64,
    ) -> Result<bool, PortionError> {
        if !terms.budget.step_up {
            return Ok(false);
        }
        self.settled(caller, account, Matter::StepUp, "", &step_up(), now).await.map(|_| true)
    }

    async fn alarm(&self, caller: &Caller, lease: &Lease, hour_ms: u64, refusal: &Refusal) {
        metrics::counter!("holdfast_release_refused_total", "reason" => "release:over-budget").increment(1);
        if self.caches.first_alarm(lease, hour_ms) {
            tracing::warn!(principal = lease.name, "{refusal}");
            let resource = format!("user/{}", lease.name);
            let event = self.by(caller.name()).event(lease.account, "release:over-budget", resource);
            self.tell(event.with("why", refusal).denied()).await;
        }
    }
}

fn step_up() -> Pend {
    Pend { approvals: 1, approvers: Vec::new(), after_ms: None, valid_ms: STEP_UP_MS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(number: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(number)
    }

    #[test]
    fn blocks_never_pass_the_limit() {
        // limit, taken, left, wanted: the block
        let rows = [
            ((640, 0, 0, 1), Some(10)),
            ((640, 0, 0, 100), Some(100)),
            ((640, 635, 0, 1), Some(5)),
            ((640, 640, 0, 1), None),
            ((640, 640, 3, 3), Some(0)),
            ((10, 0, 0, 1), Some(1)),
            ((10, 0, 0, 11), None),
        ];
        for ((limit, taken, left, more), expected) in rows {
            assert_eq!(
                block(NonZeroU64::new(limit).unwrap(), taken, left, more),
                expected,
                "{limit} {taken} {left} {more}"
            );
        }
    }

    #[test]
    fn only_what_was_taken_is_used() {
        let budget = Budget { objects: limit(3), bytes: limit(100), ..Budget::default() };
        let mut room = Room::default();
        assert_eq!(room.spend(&budget, HOUR_MS, 1, 1), Spent::NoRoom, "of another hour");
        room.taken = SpentRecord { hour_ms: HOUR_MS, objects: 2, bytes: 60, ..SpentRecord::default() };
        (room.objects, room.bytes) = (2, 60);
        assert_eq!(room.spend(&budget, HOUR_MS, 1, 50), Spent::Done);
        assert_eq!(room.spend(&budget, HOUR_MS, 1, 20), Spent::NoRoom);
        assert_eq!(room.spend(&budget, HOUR_MS, 1, 51), Spent::Over("bytes", limit(100).unwrap()));
        assert_eq!(room.spend(&budget, HOUR_MS, 3, 0), Spent::Over("objects", limit(3).unwrap()));
        assert_eq!(room.spend(&budget, HOUR_MS, 1, 10), Spent::Done);
        assert_eq!(room.spend(&budget, HOUR_MS, 1, 0), Spent::NoRoom);
        assert_eq!(room.spend(&budget, 2 * HOUR_MS, 1, 0), Spent::NoRoom);
        let no_bytes = Budget { objects: limit(9), ..Budget::default() };
        assert_eq!(room.spend(&no_bytes, HOUR_MS, 0, 1 << 40), Spent::Done, "bytes have no limit there");
    }
}
