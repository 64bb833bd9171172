//! What people decide: releases that wait for them, and shreddings without delay.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU64;

use base::{AccountId, PortionId};
use meta::record::{ApprovalRecord, Matter, PortionState, Record, SpentRecord, key};
use meta::{Batch, Check, Range, Version, Write, after, each_row};
use release::Pend;

use super::standing::{RequestId, Standing, asks_the_same, standing};
use super::{Caller, Refusal};
use crate::error::PortionError;
use crate::lease::caller::Who;
use crate::portions::{ATTEMPTS, DAY_MS, Portions};

/// Digits of a request's id that its like are told by in commands, at least.
const PREFIX_MIN: usize = 4;
/// Requests that a principal makes in an hour, at most.
const ASKED_MAX: NonZeroU64 = NonZeroU64::new(100).unwrap();
/// What makes a shredding without delay happen: one more person, who says so within an hour of it.
const SHRED: Pend = Pend { approvals: 1, approvers: Vec::new(), after_ms: None, floor_ms: 0, valid_ms: 3_600_000 };
/// Rows looked at in one step of a cleaning: the batch has two operations for each.
const CLEANED: usize = 50;

/// A request, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What was asked, and by whom it was decided. Approvals of who is denied are left out: they do not count.
    pub record: ApprovalRecord,
    /// How it stands.
    pub standing: Standing,
}

/// What somebody says to a request.
#[derive(Debug, Clone, Copy)]
pub struct Ruling<'a> {
    /// Its id, or how that begins.
    pub request: &'a str,
    /// When what was seen of it was asked, milliseconds since the Unix epoch: one that was asked anew is another one.
    pub asked_ms: u64,
    /// Yes or no.
    pub approve: bool,
}

/// Who says so.
#[derive(Clone, Copy)]
pub struct Approver<'a> {
    /// The user, or a root.
    pub who: &'a Who,
    /// When the user, or what it signs with, was made, milliseconds since the Unix epoch, whichever was later.
    pub since_ms: u64,
    /// Whether it may decide a request, beside what the request asks for. Asked about what is ruled on, as it is then.
    pub may: &'a (dyn Fn(&Approval) -> bool + Send + Sync),
}

/// A request's row.
struct Found {
    id: RequestId,
    version: Version,
    /// As it is stored.
    record: ApprovalRecord,
    standing: Standing,
}

impl Found {
    /// As people see it.
    fn told(self, denied: &BTreeSet<String>) -> Approval {
        let Self { id, mut record, standing, .. } = self;
        record.approved.retain(|(known, ..)| !denied.contains(known));
        Approval { id: id.text(), record, standing }
    }
}

/// A refusal counts against all requests about its matter, on whatever terms: who is refused does not ask again otherwise.
fn refuse_all_about(all: &mut [Found]) {
    let mut refused = HashMap::new();
    for one in all.iter() {
        if let Standing::Refused(until_ms) = one.standing {
            let latest = refused.entry(about(&one.record)).or_insert(until_ms);
            *latest = until_ms.max(*latest);
        }
    }
    for one in all.iter_mut().filter(|one| one.standing != Standing::Lapsed) {
        if let Some(until_ms) = refused.get(&about(&one.record)) {
            one.standing = Standing::Refused(*until_ms);
        }
    }
}

fn about(record: &ApprovalRecord) -> (Matter, String) {
    (record.matter, record.principal.clone())
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
    ) -> Result<u64, PortionError> {
        self.settle(account, matter, portion, (caller.id(), caller.name()), pend).await
    }

    async fn settle(
        &self,
        account: AccountId,
        matter: Matter,
        portion: &str,
        (principal, name): (&str, &str),
        pend: &Pend,
    ) -> Result<u64, PortionError> {
        let pending =
            |id: RequestId, record: &ApprovalRecord| Refusal::Pending { matter: words(record), request: id.text() };
        for _ in 0..ATTEMPTS {
            let now = self.now_ms();
            let (all, _) = self.asked_about(account, matter, principal).await?;
            if let Some(Found { id, record, .. }) =
                all.iter().find(|one| one.record.refused.is_some() && is_refused(one))
            {
                let by = record.refused.as_ref().map(|(by, _)| by.clone()).unwrap_or_default();
                return Err(Refusal::Refused { matter: words(record), request: id.text(), by }.into());
            }
            let mut same: Vec<&Found> = all.iter().filter(|one| asks_the_same(&one.record, pend)).collect();
            for one in &same {
                match one.standing {
                    Standing::Granted(until_ms) => return Ok(until_ms),
                    Standing::Waiting => return Err(pending(one.id, &one.record).into()),
                    Standing::Refused(_) | Standing::Lapsed => {}
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
                floor_ms: pend.floor_ms,
            };
            let id = RequestId::of(matter, principal, pend);
            let mut batch = Batch::default();
            let known = same.iter().position(|one| one.id == id).map(|at| same.swap_remove(at).version);
            batch.replace(id.row_key(account), known, record.encode());
            // What lapsed under the id that requests had before terms were in it.
            for old in same {
                batch.checks.push(Check::Is(old.id.row_key(account), old.version));
                batch.writes.push(Write::Delete(old.id.row_key(account)));
            }
            let turn = self.queues.turn(account, principal).await;
            self.count_request(account, (principal, name), now, &mut batch).await?;
            let event = self.by(name).about(account, "approval:ask", &id.text(), &record);
            match self.commit_and_tell(batch, event, turn).await {
                Ok(()) => {
                    tracing::warn!(request = id.text(), "{} waits for approval", words(&record));
                    return Err(pending(id, &record).into());
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
        let mut spent = self.of_hour(account, (principal, name), found.as_ref().map(|(spent, _)| spent), now);
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
    ) -> Result<bool, PortionError> {
        let (all, _) = self.asked_about(account, matter, caller.id()).await?;
        let granted = |one: &Found| asks_the_same(&one.record, pend) && matches!(one.standing, Standing::Granted(_));
        Ok(all.iter().any(granted))
    }

    /// That a second person agrees that `who` shreds a portion without delay; asks for it where nobody does yet.
    ///
    /// # Errors
    /// [`Refusal::Pending`], [`Refusal::Refused`], [`PortionError::NoSuchPortion`], or a metadata error.
    pub async fn second_person(&self, account: AccountId, id: PortionId, who: &Who) -> Result<(), PortionError> {
        let portion = self.get(account, id).await?.record.name;
        let who = (who.id.as_str(), who.name.as_deref().unwrap_or_default());
        self.settle(account, Matter::Shred(id), &portion, who, &SHRED).await.map(|_| ())
    }

    /// All requests of a principal about a matter, and who is denied of those that approved them. A row that cannot be
    /// read may be a refusal.
    async fn asked_about(
        &self,
        account: AccountId,
        matter: Matter,
        principal: &str,
    ) -> Result<(Vec<Found>, BTreeSet<String>), PortionError> {
        let mut rows = Vec::new();
        each_row(self.meta.as_ref(), RequestId::all_about(account, matter, principal), |row_key, row| {
            let record = ApprovalRecord::decode(&row.value)?;
            let id = RequestId::of_row(row_key).filter(|_| record.matter == matter && record.principal == principal);
            rows.extend(id.map(|id| (id, row.version, record)));
            Ok::<_, PortionError>(())
        })
        .await?;
        self.weighed(account, rows).await
    }

    /// How requests stand now, when what the denied approved does not count.
    async fn weighed(
        &self,
        account: AccountId,
        rows: Vec<(RequestId, Version, ApprovalRecord)>,
    ) -> Result<(Vec<Found>, BTreeSet<String>), PortionError> {
        let people: BTreeSet<String> =
            rows.iter().flat_map(|(_, _, record)| &record.approved).map(|(id, ..)| id.clone()).collect();
        let keys: Vec<_> = people.iter().map(|id| key::denial_key(account, id)).collect();
        let denials = if keys.is_empty() { Vec::new() } else { self.meta.get(&keys).await? };
        let denied = people.into_iter().zip(denials).filter_map(|(id, denial)| denial.map(|_| id)).collect();
        let now = self.now_ms();
        let found = |(id, version, record)| {
            let standing = standing(&record, now, &denied);
            Found { id, version, record, standing }
        };
        let mut all: Vec<Found> = rows.into_iter().map(found).collect();
        refuse_all_about(&mut all);
        Ok((all, denied))
    }

    /// All requests of an account that are not lapsed, those that wait first, then by time. Rows that cannot be read are
    /// told in the log and passed over.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn approvals(&self, account: AccountId) -> Result<Vec<Approval>, PortionError> {
        let mut rows = Vec::new();
        each_row(self.meta.as_ref(), key::approvals(account), |row_key, row| {
            match (RequestId::of_row(row_key), ApprovalRecord::decode(&row.value)) {
                (Some(id), Ok(record)) => rows.push((id, row.version, record)),
                (_, unread) => {
                    let error = unread.err().map(|error| error.to_string()).unwrap_or_default();
                    tracing::error!(row = %row_key.escape_ascii(), error, "a request for approval cannot be read");
                }
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        let (all, denied) = self.weighed(account, rows).await?;
        let all = all.into_iter().filter(|one| one.standing != Standing::Lapsed);
        let mut all: Vec<Approval> = all.map(|one| one.told(&denied)).collect();
        all.sort_by_key(|one| (one.standing != Standing::Waiting, one.record.asked_ms));
        Ok(all)
    }

    /// The request with this id, or with the only id that begins so.
    ///
    /// # Errors
    /// [`PortionError::NoSuchRequest`], or a metadata error.
    pub async fn approval(&self, account: AccountId, id: &str) -> Result<Approval, PortionError> {
        let (found, denied) = self.request(account, id).await?;
        Ok(found.told(&denied))
    }

    async fn request(&self, account: AccountId, text: &str) -> Result<(Found, BTreeSet<String>), PortionError> {
        let none = || PortionError::NoSuchRequest(text.to_owned());
        let text = text.to_ascii_lowercase();
        let id = match RequestId::parse(&text) {
            Some(id) => id,
            None if text.len() < PREFIX_MIN => return Err(none()),
            None => {
                let mut found = self.approvals(account).await?;
                found.retain(|one| one.id.starts_with(&text));
                let only = if found.len() == 1 { found.pop() } else { None };
                only.and_then(|only| RequestId::parse(&only.id)).ok_or_else(none)?
            }
        };
        let (record, _) = self.record::<ApprovalRecord>(id.row_key(account)).await?.ok_or_else(none)?;
        let (all, denied) = self.asked_about(account, record.matter, &record.principal).await?;
        let counts = |one: &Found| one.id == id && one.standing != Standing::Lapsed;
        Ok((all.into_iter().find(counts).ok_or_else(none)?, denied))
    }

    /// Approves or refuses a request in the name of a person, who must be another one than asked, and not denied. A refusal
    /// counts for the matter on whatever terms.
    ///
    /// # Errors
    /// [`PortionError::NoSuchRequest`], [`PortionError::AskedAnew`], [`PortionError::NotApprover`],
    /// [`PortionError::Unrecorded`], or a metadata error.
    pub async fn rule_on(
        &self,
        account: AccountId,
        ruling: Ruling<'_>,
        approver: &Approver<'_>,
    ) -> Result<Approval, PortionError> {
        let (seen, _) = self.ruled(account, ruling, approver).await?;
        let request = seen.id.text();
        let (announced, done) = match ruling.approve {
            true => ("approval:approving", "approval:approve"),
            false => ("approval:refusing", "approval:refuse"),
        };
        let by = self.by(approver.who.name.as_deref().unwrap_or_default());
        self.announce(by.about(account, announced, &request, &seen.record)).await?;
        let ruling = Ruling { request: &request, ..ruling };
        let ruled = self.put_ruling(account, ruling, approver).await;
        self.caches.forget_leases(account);
        self.tell_end(&ruled, by.about(account, done, &request, &seen.record)).await;
        ruled
    }

    async fn put_ruling(
        &self,
        account: AccountId,
        ruling: Ruling<'_>,
        approver: &Approver<'_>,
    ) -> Result<Approval, PortionError> {
        for _ in 0..ATTEMPTS {
            let (found, denied) = self.ruled(account, ruling, approver).await?;
            let mut batch = Batch::default();
            batch.replace(found.id.row_key(account), Some(found.version), found.record.encode());
            batch.checks.push(Check::Absent(key::denial_key(account, &approver.who.id)));
            match self.commit_once(batch).await {
                Ok(()) => {
                    let standing = standing(&found.record, self.now_ms(), &denied);
                    return Ok(Found { standing, ..found }.told(&denied));
                }
                Err(PortionError::Contended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PortionError::Contended)
    }

    /// A request as it would be with what somebody says to it, if that one may.
    async fn ruled(
        &self,
        account: AccountId,
        ruling: Ruling<'_>,
        approver: &Approver<'_>,
    ) -> Result<(Found, BTreeSet<String>), PortionError> {
        let Approver { who, since_ms, may } = approver;
        if self.meta.get(&[key::denial_key(account, &who.id)]).await?.pop().flatten().is_some() {
            return Err(PortionError::NotApprover("who is denied decides nothing"));
        }
        let (mut found, denied) = self.request(account, ruling.request).await?;
        let Found { id, record, standing, .. } = &mut found;
        if !self.is_about_what_is_there(account, record.matter).await? {
            return Err(PortionError::NoSuchRequest(id.text()));
        }
        if !may(&Approval { id: id.text(), record: record.clone(), standing: *standing }) {
            return Err(PortionError::NotApprover(
                "you may not decide that request: it takes a member of the groups that it names, or the permission \
                 holdfast:Approve",
            ));
        }
        if record.asked_ms != ruling.asked_ms {
            return Err(PortionError::AskedAnew(id.text()));
        }
        if who.id == record.principal {
            return Err(PortionError::NotApprover("who asks cannot approve: it takes somebody else"));
        }
        if !record.approvers.iter().all(|group| who.groups.contains(group)) {
            return Err(PortionError::NotApprover("only members of the groups that the request names decide it"));
        }
        let said = (who.name.clone().unwrap_or_default(), self.now_ms());
        match ruling.approve {
            true if matches!(standing, Standing::Refused(_)) => {
                return Err(PortionError::Invalid("the request was refused already"));
            }
            true if record.approved.iter().any(|(known, ..)| *known == who.id) => {
                return Err(PortionError::NotApprover("you have approved it already: it takes somebody else"));
            }
            // Else who asks makes somebody else, who approves.
            true if *since_ms >= record.asked_ms => {
                return Err(PortionError::NotApprover(
                    "your user or access key is younger than the request: it takes somebody who was there before",
                ));
            }
            true => record.approved.push((who.id.clone(), said.0, said.1)),
            // Also what was granted: a refusal takes it back.
            false => record.refused = Some(said),
        }
        Ok((found, denied))
    }

    /// Whether the portion that it is about has its name still: once it is shredded another one may have it, and rights by
    /// that name are rights to the other.
    async fn is_about_what_is_there(&self, account: AccountId, matter: Matter) -> Result<bool, PortionError> {
        let (Matter::Open(id) | Matter::Seal(id) | Matter::Shred(id)) = matter else { return Ok(true) };
        match self.get(account, id).await {
            Ok(portion) => Ok(!matches!(portion.record.state, PortionState::Shredded(_))),
            Err(PortionError::NoSuchPortion(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes requests of all accounts that lapsed a day ago or earlier: clocks of gateways differ. Returns how many.
    /// Rows that cannot be read stay.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn remove_lapsed_requests(&self) -> Result<u64, PortionError> {
        let then = self.now_ms().saturating_sub(DAY_MS);
        let (mut from, to) = key::all_approvals();
        let mut removed = 0;
        loop {
            let page = self.meta.range(Range { from, to: to.clone(), limit: CLEANED }).await?;
            let mut batch = Batch::default();
            for (row_key, row) in &page.rows {
                let record = ApprovalRecord::decode(&row.value).ok();
                if record.is_some_and(|record| standing(&record, then, &BTreeSet::new()) == Standing::Lapsed) {
                    batch.checks.push(Check::Is(row_key.clone(), row.version));
                    batch.writes.push(Write::Delete(row_key.clone()));
                }
            }
            let lapsed = batch.writes.len() as u64;
            if lapsed > 0 {
                match self.commit_once(batch).await {
                    Ok(()) => removed += lapsed,
                    // One of them was asked anew: the next time.
                    Err(PortionError::Contended) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(removed),
            }
        }
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

fn is_refused(one: &Found) -> bool {
    matches!(one.standing, Standing::Refused(_))
}
