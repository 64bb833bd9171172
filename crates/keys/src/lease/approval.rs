//! What people decide: releases that wait for them, and shreddings without delay.

use std::num::NonZeroU64;

use aws_lc_rs::digest::{SHA256, digest};
use base::{AccountId, PortionId};
use meta::record::{ApprovalRecord, Matter, Record, SpentRecord, key};
use meta::{Batch, Version, each_row};
use release::Pend;

use super::{ATTEMPTS, Caller, HOUR_MS, Refusal, spend};
use crate::error::PortionError;
use crate::lease::caller::Who;
use crate::portions::Portions;

/// How long a request waits before it has to be asked for anew: a week.
const WAITS_MS: u64 = 7 * 24 * 3_600_000;
/// Digits of a request's id that its like are told by in commands, at least.
const PREFIX_MIN: usize = 4;
/// Requests that a principal makes in an hour, at most.
const ASKED_MAX: NonZeroU64 = NonZeroU64::new(100).unwrap();
/// What makes a shredding without delay happen: one more person, who says so within an hour of it.
const SHRED: Pend = Pend { approvals: 1, approvers: Vec::new(), after_ms: None, valid_ms: 3_600_000 };

/// A request, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What was asked, and by whom it was decided.
    pub record: ApprovalRecord,
    /// How it stands.
    pub standing: Standing,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Waiting,
    /// It is granted until then, milliseconds since the Unix epoch.
    Granted(u64),
    /// It was refused; until then, milliseconds since the Unix epoch, it cannot be asked for again.
    Refused(u64),
    /// It was granted, refused, or left alone too long ago to count.
    Lapsed,
}

/// How a request stands at a time.
fn standing(record: &ApprovalRecord, now: u64) -> Standing {
    if let Some((_, at_ms)) = record.refused {
        let until_ms = at_ms.saturating_add(record.valid_ms);
        return if now < until_ms { Standing::Refused(until_ms) } else { Standing::Lapsed };
    }
    let last = usize::from(record.approvals).checked_sub(1);
    let by_people = last.and_then(|last| record.approved.get(last)).map(|(_, _, at_ms)| *at_ms);
    let by_time = record.after_ms.map(|after| record.asked_ms.saturating_add(after)).filter(|at_ms| *at_ms <= now);
    let granted = by_people.into_iter().chain(by_time).min();
    match granted.map(|at_ms| at_ms.saturating_add(record.valid_ms)) {
        Some(until_ms) if now < until_ms => Standing::Granted(until_ms),
        Some(_) => Standing::Lapsed,
        None if now < record.asked_ms.saturating_add(WAITS_MS) => Standing::Waiting,
        None => Standing::Lapsed,
    }
}

/// The same for the same principal and matter, so that one that asks again and again has one request.
fn id_of(matter: Matter, principal: &str) -> [u8; 16] {
    let (kind, portion) = match matter {
        Matter::Open(portion) => (0, Some(portion)),
        Matter::Seal(portion) => (1, Some(portion)),
        Matter::StepUp => (2, None),
        Matter::Shred(portion) => (3, Some(portion)),
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(portion.unwrap_or(PortionId::from_bytes([0; 16])).as_bytes());
    bytes.extend_from_slice(principal.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..16]);
    id
}

fn words(record: &ApprovalRecord) -> String {
    let ApprovalRecord { name, portion, .. } = record;
    match record.matter {
        Matter::Open(_) => format!("the release of portion {portion} to {name}"),
        Matter::Seal(_) => format!("the release of portion {portion} to {name}, for writing,"),
        Matter::StepUp => format!("that {name} opens more than its budget"),
        Matter::Shred(_) => format!("that {name} shreds portion {portion} at once"),
    }
}

impl Portions {
    /// Until when the matter is granted; asks for it where it is not.
    ///
    /// # Errors
    /// [`Refusal::Pending`], [`Refusal::Refused`], or a metadata error.
    pub(crate) async fn settled(
        &self,
        caller: &Caller,
        account: AccountId,
        matter: Matter,
        portion: &str,
        pend: &Pend,
        now: u64,
    ) -> Result<u64, PortionError> {
        self.settle(account, matter, portion, (caller.id(), caller.name()), pend, now).await
    }

    async fn settle(
        &self,
        account: AccountId,
        matter: Matter,
        portion: &str,
        (principal, name): (&str, &str),
        pend: &Pend,
        now: u64,
    ) -> Result<u64, PortionError> {
        let id = id_of(matter, principal);
        let request = hex::encode(id);
        let pending = |record: &ApprovalRecord| Refusal::Pending { matter: words(record), request: request.clone() };
        for _ in 0..ATTEMPTS {
            let row_key = key::approval_key(account, &id);
            let found = self.record::<ApprovalRecord>(row_key.clone()).await?;
            if let Some((record, _)) = found.as_ref().filter(|(record, _)| asks_the_same(record, pend)) {
                match standing(record, now) {
                    Standing::Granted(until_ms) => return Ok(until_ms),
                    Standing::Waiting => return Err(pending(record).into()),
                    Standing::Refused(_) => {
                        let by = record.refused.as_ref().map(|(by, _)| by.clone()).unwrap_or_default();
                        return Err(Refusal::Refused { matter: words(record), request, by }.into());
                    }
                    Standing::Lapsed => {}
                }
            }
            let record = ApprovalRecord {
                matter,
                portion: portion.to_owned(),
                principal: principal.to_owned(),
                name: name.to_owned(),
                asked_ms: now,
                approvals: pend.approvals,
                approvers: pend.approvers.clone(),
                after_ms: pend.after_ms,
                valid_ms: pend.valid_ms,
                approved: Vec::new(),
                refused: None,
            };
            let mut batch = Batch { checks: vec![], writes: vec![] };
            batch.replace(row_key, found.map(|(_, version)| version), record.encode());
            self.count_request(account, (principal, name), now, &mut batch).await?;
            match self.commit_once(batch).await {
                Ok(()) => {
                    tracing::warn!(request, "{} waits for approval", words(&record));
                    self.tell(self.by(name).about(account, "approval:ask", &request, &record)).await;
                    return Err(pending(&record).into());
                }
                Err(PortionError::Contended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PortionError::Contended)
    }

    /// Counts a request in its hour: who tries everything once buries nobody in requests.
    async fn count_request(
        &self,
        account: AccountId,
        (principal, name): (&str, &str),
        now: u64,
        batch: &mut Batch,
    ) -> Result<(), PortionError> {
        let row_key = key::spent_key(account, principal);
        let found = self.record::<SpentRecord>(row_key.clone()).await?;
        let mut spent = spend::of_hour(found.as_ref().map(|(spent, _)| spent), now - now % HOUR_MS);
        if spent.asked >= ASKED_MAX.get() {
            let what = "requests for approval";
            return Err(Refusal::OverBudget { name: name.to_owned(), what, limit: ASKED_MAX }.into());
        }
        spent.asked += 1;
        batch.replace(row_key, found.map(|(_, version)| version), spent.encode());
        Ok(())
    }

    /// Whether the matter is granted; does not ask for it.
    pub(crate) async fn is_settled(
        &self,
        caller: &Caller,
        account: AccountId,
        matter: Matter,
        pend: &Pend,
        now: u64,
    ) -> Result<bool, PortionError> {
        let row_key = key::approval_key(account, &id_of(matter, caller.id()));
        let found = self.record::<ApprovalRecord>(row_key).await?.map(|(record, _)| record);
        let granted = |record: &ApprovalRecord| {
            asks_the_same(record, pend) && matches!(standing(record, now), Standing::Granted(_))
        };
        Ok(found.as_ref().is_some_and(granted))
    }

    /// That a second person agrees that `who` shreds a portion without delay; asks for it where nobody does yet.
    ///
    /// # Errors
    /// [`Refusal::Pending`], [`Refusal::Refused`], [`PortionError::NoSuchPortion`], or a metadata error.
    pub async fn second_person(&self, account: AccountId, id: PortionId, who: &Who) -> Result<(), PortionError> {
        let portion = self.get(account, id).await?.record.name;
        let who = (who.id.as_str(), who.name.as_deref().unwrap_or_default());
        self.settle(account, Matter::Shred(id), &portion, who, &SHRED, self.now_ms()).await.map(|_| ())
    }

    /// All requests of an account that are not lapsed, those that wait first, then by time.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn approvals(&self, account: AccountId) -> Result<Vec<Approval>, PortionError> {
        let now = self.now_ms();
        let mut all = Vec::new();
        each_row(self.meta.as_ref(), key::approvals(account), |row_key, row| {
            let record = ApprovalRecord::decode(&row.value)?;
            let standing = standing(&record, now);
            if standing != Standing::Lapsed {
                let id = hex::encode(key::after_account(row_key).unwrap_or_default());
                all.push(Approval { id, record, standing });
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        all.sort_by_key(|one| (one.standing != Standing::Waiting, one.record.asked_ms));
        Ok(all)
    }

    /// The request with this id, or with the only id that begins so.
    ///
    /// # Errors
    /// [`PortionError::NoSuchRequest`], or a metadata error.
    pub async fn approval(&self, account: AccountId, id: &str) -> Result<Approval, PortionError> {
        let none = || PortionError::NoSuchRequest(id.to_owned());
        if id.len() < PREFIX_MIN {
            return Err(none());
        }
        let mut found = self.approvals(account).await?;
        found.retain(|one| one.id.starts_with(&id.to_ascii_lowercase()));
        match found.len() {
            1 => found.pop().ok_or_else(none),
            _ => Err(none()),
        }
    }

    /// Approves or refuses a request in the name of a person, who must be another one than asked.
    ///
    /// # Errors
    /// [`PortionError::NoSuchRequest`], [`PortionError::NotApprover`], [`PortionError::Unrecorded`], or a metadata error.
    pub async fn rule_on(
        &self,
        account: AccountId,
        id: &str,
        person: &Who,
        approve: bool,
    ) -> Result<Approval, PortionError> {
        for _ in 0..ATTEMPTS {
            let Approval { id, .. } = self.approval(account, id).await?;
            let mut bytes = [0; 16];
            hex::decode_to_slice(&id, &mut bytes).map_err(|_| PortionError::NoSuchRequest(id.clone()))?;
            let row_key = key::approval_key(account, &bytes);
            let found = self.record::<ApprovalRecord>(row_key.clone()).await?;
            let (mut record, version) = found.ok_or_else(|| PortionError::NoSuchRequest(id.clone()))?;
            let now = self.now_ms();
            if standing(&record, now) == Standing::Lapsed {
                return Err(PortionError::NoSuchRequest(id));
            }
            may_rule(&record, person)?;
            let name = person.name.clone().unwrap_or_default();
            match approve {
                true if record.refused.is_some() => {
                    return Err(PortionError::Invalid("the request was refused already"));
                }
                true if record.approved.iter().any(|(known, ..)| *known == person.id) => {
                    return Err(PortionError::NotApprover("you have approved it already: it takes somebody else"));
                }
                true => record.approved.push((person.id.clone(), name.clone(), now)),
                // Also what was granted: a refusal takes it back.
                false => record.refused = Some((name.clone(), now)),
            }
            let action = if approve { "approval:approve" } else { "approval:refuse" };
            let event = self.by(&name).about(account, action, &id, &record);
            self.announce(event).await?;
            match self.put_approval(row_key, version, &record).await {
                Ok(()) => {
                    self.caches.forget_leases(account);
                    let standing = standing(&record, now);
                    return Ok(Approval { id, record, standing });
                }
                Err(PortionError::Contended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PortionError::Contended)
    }

    async fn put_approval(
        &self,
        row_key: meta::Key,
        version: Version,
        record: &ApprovalRecord,
    ) -> Result<(), PortionError> {
        let mut batch = Batch { checks: vec![], writes: vec![] };
        batch.replace(row_key, Some(version), record.encode());
        self.commit_once(batch).await
    }

    fn about(
        &self,
        account: AccountId,
        action: &'static str,
        request: &str,
        record: &ApprovalRecord,
    ) -> crate::audit::AuditEvent {
        self.event(account, action, format!("approval/{request}")).with("matter", words(record))
    }
}

/// Whether a request is the one that the policies ask for now: what was asked for on other terms does not count.
fn asks_the_same(record: &ApprovalRecord, pend: &Pend) -> bool {
    (record.approvals, &record.approvers, record.after_ms, record.valid_ms)
        == (pend.approvals, &pend.approvers, pend.after_ms, pend.valid_ms)
}

fn may_rule(record: &ApprovalRecord, person: &Who) -> Result<(), PortionError> {
    if person.id == record.principal {
        return Err(PortionError::NotApprover("who asks cannot approve: it takes somebody else"));
    }
    if !record.approvers.iter().all(|group| person.groups.contains(group)) {
        return Err(PortionError::NotApprover("only members of the groups that the request names decide it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(approvals: u8, after_ms: Option<u64>) -> ApprovalRecord {
        ApprovalRecord {
            matter: Matter::StepUp,
            portion: String::new(),
            principal: "a".to_owned(),
            name: "alice".to_owned(),
            asked_ms: 1_000,
            approvals,
            approvers: Vec::new(),
            after_ms,
            valid_ms: 500,
            approved: Vec::new(),
            refused: None,
        }
    }

    fn approved(mut record: ApprovalRecord, at_ms: u64) -> ApprovalRecord {
        record.approved.push((format!("p{at_ms}"), format!("p{at_ms}"), at_ms));
        record
    }

    #[test]
    fn time_and_people_grant() {
        let refused = |record: ApprovalRecord| ApprovalRecord { refused: Some(("eve".to_owned(), 1_200)), ..record };
        let week = 1_000 + WAITS_MS;
        let rows = [
            (asked(1, None), 1_000, Standing::Waiting),
            (asked(1, None), week - 1, Standing::Waiting),
            (asked(1, None), week, Standing::Lapsed),
            (approved(asked(1, None), 1_100), 1_100, Standing::Granted(1_600)),
            (approved(asked(1, None), 1_100), 1_600, Standing::Lapsed),
            (approved(asked(2, None), 1_100), 1_100, Standing::Waiting),
            (approved(approved(asked(2, None), 1_100), 1_300), 1_300, Standing::Granted(1_800)),
            (asked(0, Some(200)), 1_199, Standing::Waiting),
            (asked(0, Some(200)), 1_200, Standing::Granted(1_700)),
            (asked(0, Some(200)), 1_700, Standing::Lapsed),
            (asked(2, Some(200)), 1_250, Standing::Granted(1_700)),
            (approved(asked(1, Some(200)), 1_100), 1_150, Standing::Granted(1_600)),
            (refused(approved(asked(1, None), 1_100)), 1_300, Standing::Refused(1_700)),
            (refused(asked(0, Some(100))), 1_300, Standing::Refused(1_700)),
            (refused(asked(1, None)), 1_700, Standing::Lapsed),
        ];
        for (record, now, expected) in rows {
            assert_eq!(standing(&record, now), expected, "{record:?} at {now}");
        }
    }

    #[test]
    fn matters_and_principals_share_no_request() {
        let (one, other) = (PortionId::from_bytes([1; 16]), PortionId::from_bytes([2; 16]));
        let matters = [Matter::Open(one), Matter::Open(other), Matter::Seal(one), Matter::StepUp, Matter::Shred(one)];
        let ids: std::collections::HashSet<_> =
            matters.iter().flat_map(|matter| [id_of(*matter, "a"), id_of(*matter, "b")]).collect();
        assert_eq!(ids.len(), 10);
    }
}
