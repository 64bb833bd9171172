//! Budgets of an hour: room is taken from the metadata in blocks, and used from memory.

use std::num::NonZeroU64;

use base::AccountId;
use meta::record::{Matter, Record, SpentRecord, key};
use meta::{Batch, Write};
use release::{Budget, Pend, Terms};

use super::{Caller, HOUR_MS, Lease, Refusal, Who, hour_of};
use crate::error::PortionError;
use crate::portions::{ATTEMPTS, Portions};

/// A block of room is this part of the limit: a process that stops loses no more of it.
const BLOCK: u64 = 64;
/// Hours that a row may be ahead of this clock before it is told: one is what a second makes at the change of the hour.
const AHEAD: u64 = 2;
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

/// What was spent in the hour that counts: this clock's, or a later one that another clock has begun. An hour that was
/// begun is never gone back from: it would begin anew with each clock that is behind.
fn of_hour(row: Option<&SpentRecord>, hour_ms: u64) -> SpentRecord {
    let begun = row.filter(|spent| spent.hour_ms >= hour_ms).cloned();
    begun.unwrap_or(SpentRecord { hour_ms, ..SpentRecord::default() })
}

impl Room {
    /// Uses room that was taken in this hour or a later one.
    pub(crate) fn spend(&mut self, budget: &Budget, hour_ms: u64, objects: u64, bytes: u64) -> Spent {
        if self.taken.hour_ms < hour_ms {
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
                // An hour that this clock has not reached may have been reset: the row says it.
                let is_known = self.taken.hour_ms == hour_ms;
                return if is_known { Spent::Over(what, limit) } else { Spent::NoRoom };
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

    /// Adds room that was taken; the row is `more.taken` now.
    pub(crate) fn took(&mut self, more: Self) {
        if self.taken.hour_ms != more.taken.hour_ms {
            *self = more;
            return;
        }
        // What was taken later may be told earlier.
        self.taken.objects = self.taken.objects.max(more.taken.objects);
        self.taken.bytes = self.taken.bytes.max(more.taken.bytes);
        self.objects += more.objects;
        self.bytes += more.bytes;
    }
}

/// How much to take: a block, but never beyond the limit. `None`: the limit leaves not even `more`.
fn block(limit: NonZeroU64, taken: u64, left: u64, more: u64) -> Option<u64> {
    let missing = more.saturating_sub(left);
    // The other kind runs short: what is taken and not used is lost to the hour.
    if missing == 0 {
        return Some(0);
    }
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
        let (what, limit) = match self.spend_in_hour(lease, objects, bytes).await? {
            Spent::Done => return Ok(()),
            Spent::Over(what, limit) => (what, limit),
            Spent::NoRoom => return Err(PortionError::Contended),
        };
        let terms = Terms { budget: *budget, ..Terms::default() };
        if self.asks_to_step_up(caller, lease.account, &terms).await? {
            return Ok(());
        }
        let refusal = Refusal::OverBudget { name: lease.name.clone(), what, limit };
        self.alarm(caller, lease, &refusal).await;
        Err(PortionError::Release(refusal))
    }

    /// Uses room that is in memory, or takes more.
    async fn spend_in_hour(&self, lease: &Lease, objects: u64, bytes: u64) -> Result<Spent, PortionError> {
        let spend = || self.caches.spend(lease, hour_of(self.now_ms()), objects, bytes);
        match spend() {
            Spent::NoRoom => {}
            spent => return Ok(spent),
        }
        let _turn = self.queues.turn(lease.account, &lease.principal).await;
        for _ in 0..ATTEMPTS {
            // Who waited finds what those before it took.
            let spent = match spend() {
                Spent::NoRoom => self.take_room_in_hour(lease, objects, bytes).await,
                spent => Ok(spent),
            };
            match spent {
                Ok(Spent::NoRoom) | Err(PortionError::Contended) => {}
                spent => return spent,
            }
        }
        Ok(Spent::NoRoom)
    }

    /// Takes a block and uses of it what is wanted.
    async fn take_room_in_hour(&self, lease: &Lease, objects: u64, bytes: u64) -> Result<Spent, PortionError> {
        let row_key = key::spent_key(lease.account, &lease.principal);
        let found = self.record::<SpentRecord>(row_key.clone()).await?;
        let who = (lease.principal.as_str(), lease.name.as_str());
        let mut taken = self.of_hour(lease.account, who, found.as_ref().map(|(spent, _)| spent), self.now_ms());
        let room = self.caches.room_in_hour(lease, taken.hour_ms);
        let (mut more_objects, mut more_bytes) = (0, 0);
        if let Some(limit) = lease.budget.objects {
            match block(limit, taken.objects, room.objects, objects) {
                Some(more) => more_objects = more,
                None => return Ok(Spent::Over("objects", limit)),
            }
        }
        if let Some(limit) = lease.budget.bytes {
            match block(limit, taken.bytes, room.bytes, bytes) {
                Some(more) => more_bytes = more,
                None => return Ok(Spent::Over("bytes", limit)),
            }
        }
        taken.objects += more_objects;
        taken.bytes += more_bytes;
        let hour_ms = taken.hour_ms;
        let mut batch = Batch::default();
        batch.replace(row_key, found.map(|(_, version)| version), taken.encode());
        self.commit_once(batch).await?;
        let more = Room { taken, objects: more_objects, bytes: more_bytes };
        Ok(self.caches.spend_of(lease, more, hour_ms, objects, bytes))
    }

    /// What a row says of the hour that counts now. One that is far ahead of this clock counts all the same, since nobody
    /// here knows which clock is wrong; it is told once an hour.
    pub(super) fn of_hour(
        &self,
        account: AccountId,
        (principal, name): (&str, &str),
        row: Option<&SpentRecord>,
        now: u64,
    ) -> SpentRecord {
        let hour_ms = hour_of(now);
        let spent = of_hour(row, hour_ms);
        let ahead = (spent.hour_ms - hour_ms) / HOUR_MS;
        if ahead >= AHEAD && self.caches.first_alarm(account, principal, "clock", hour_ms) {
            metrics::counter!("holdfast_budget_clock_total").increment(1);
            tracing::error!(
                principal = name,
                ahead_hours = ahead,
                "another gateway's clock is ahead of this one: what this principal may open until then is what that hour \
                 has left; set the clocks right, then `holdfast release reset-budget {name}`"
            );
        }
        spent
    }

    /// Lets a principal's hour begin anew: for one that a wrong clock has put ahead. What other gateways have taken
    /// already stays theirs.
    ///
    /// # Errors
    /// [`PortionError::Invalid`] where nothing was counted, [`PortionError::Unrecorded`], or a metadata error.
    pub async fn reset_budget(&self, account: AccountId, who: &Who) -> Result<(), PortionError> {
        let row_key = key::spent_key(account, &who.id);
        let none = PortionError::Invalid("nothing of that user is counted");
        self.record::<SpentRecord>(row_key.clone()).await?.ok_or(none)?;
        let name = who.name.as_deref().unwrap_or_default();
        self.announce(self.event(account, "budget:reset", format!("user/{name}"))).await?;
        let _turn = self.queues.turn(account, &who.id).await;
        self.commit_once(Batch { checks: vec![], writes: vec![Write::Delete(row_key)] }).await?;
        self.caches.forget_room(account, &who.id);
        self.caches.forget_leases(account);
        Ok(())
    }

    /// Whether somebody lets the caller go beyond its budget now.
    pub(crate) async fn stepped_up(
        &self,
        caller: &Caller,
        account: AccountId,
        terms: &Terms,
    ) -> Result<bool, PortionError> {
        if !terms.budget.step_up || !terms.budget.is_limited() {
            return Ok(false);
        }
        self.is_settled(caller, account, Matter::StepUp, &step_up()).await
    }

    /// The same where the budget is spent: asks for it if nobody did.
    pub(crate) async fn asks_to_step_up(
        &self,
        caller: &Caller,
        account: AccountId,
        terms: &Terms,
    ) -> Result<bool, PortionError> {
        if !terms.budget.step_up {
            return Ok(false);
        }
        self.settled(caller, account, Matter::StepUp, "", &step_up()).await.map(|_| true)
    }

    async fn alarm(&self, caller: &Caller, lease: &Lease, refusal: &Refusal) {
        metrics::counter!("holdfast_release_refused_total", "reason" => "release:over-budget").increment(1);
        let hour_ms = hour_of(self.now_ms());
        if self.caches.first_alarm(lease.account, &lease.principal, "budget", hour_ms) {
            tracing::warn!(principal = lease.name, "{refusal}");
            let resource = format!("user/{}", lease.name);
            let event = self.by(caller.name()).event(lease.account, "release:over-budget", resource);
            self.tell(event.with("why", refusal).denied()).await;
        }
    }
}

fn step_up() -> Pend {
    Pend { approvals: 1, approvers: Vec::new(), after_ms: None, floor_ms: 0, valid_ms: STEP_UP_MS }
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
    fn an_hour_that_was_begun_is_not_gone_back_from() {
        let row = |hours: u64| SpentRecord { hour_ms: hours * HOUR_MS, portions: 7, ..SpentRecord::default() };
        // the row's hour, this clock's: the hour that counts, and what was spent in it
        for ((row_hour, hour), expected) in [((5, 5), (5, 7)), ((5, 4), (5, 7)), ((5, 6), (6, 0)), ((900, 4), (900, 7))]
        {
            let spent = of_hour(Some(&row(row_hour)), hour * HOUR_MS);
            assert_eq!((spent.hour_ms / HOUR_MS, spent.portions), expected, "{row_hour} at {hour}");
        }
        assert_eq!(of_hour(None, HOUR_MS), SpentRecord { hour_ms: HOUR_MS, ..SpentRecord::default() });
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
        room.took(Room {
            taken: SpentRecord { hour_ms: HOUR_MS, objects: 3, bytes: 60, ..room.taken },
            objects: 1,
            bytes: 0,
        });
        assert_eq!(room.spend(&budget, 0, 2, 0), Spent::NoRoom, "the row tells what is over in an hour ahead");
        assert_eq!(room.spend(&budget, 0, 1, 0), Spent::Done, "what was taken in an hour ahead is there to be used");
        let no_bytes = Budget { objects: limit(9), ..Budget::default() };
        assert_eq!(room.spend(&no_bytes, HOUR_MS, 0, 1 << 40), Spent::Done, "bytes have no limit there");
    }
}
