//! Releases under skewed clocks and many hands: budgets of an hour, and what people decide. What policies say is given
//! here, so that no language is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use base::{AccountId, Clock, Doors, PortionId, SeededRng};
use keys::{
    Approval, Approver, AuditEvent, AuditOutcome, Auditor, Caller, Keyring, LEASE_MS, Lease, NewPortion, PortionError,
    Portions, Refusal, Ruling, Standing, Switch, Who,
};
use meta::record::{ApprovalRecord, DenialReason, Maker, Matter, Record, key};
use meta::{Batch, Engine, Memory, Write};
use parking_lot::Mutex;
use proptest::prelude::*;
use release::{Action, Budget, Decision, Language, Mistakes, Outcome, Pend, Policies, Question, Terms, Via};

const HOME: AccountId = AccountId::DEFAULT;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const START_MS: u64 = 500_000 * HOUR_MS;

/// A clock that goes wherever it is set.
struct AnyClock(AtomicU64);

impl AnyClock {
    fn at(now_ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now_ms)))
    }

    fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    fn add(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for AnyClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn passed_ms(&self) -> u64 {
        0
    }
}

#[derive(Default)]
struct Recording {
    events: Mutex<Vec<AuditEvent>>,
    full: AtomicBool,
}

#[async_trait]
impl Auditor for Recording {
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(PortionError::Unrecorded { log: "data/audit".into(), reason: "no space is left".into() });
        }
        self.events.lock().push(event);
        Ok(())
    }
}

/// Releases everything: on the first terms by the S3 API, on the second by others.
#[derive(Clone, Default)]
struct Given(Arc<Mutex<[Terms; 2]>>);

impl Given {
    fn set(&self, by_s3: Terms, otherwise: Terms) {
        *self.0.lock() = [by_s3, otherwise];
    }
}

impl Language for Given {
    fn parse(&self, _: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes> {
        Ok(Arc::new(self.clone()))
    }
}

impl Policies for Given {
    fn decide(&self, question: &Question<'_>) -> Decision {
        let [by_s3, otherwise] = self.0.lock().clone();
        let terms = if question.circumstances.via == Via::S3 { by_s3 } else { otherwise };
        Decision { outcome: Outcome::Release(terms), by: Vec::new(), failed: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// What processes share.
struct World {
    told: Arc<Recording>,
    meta: Arc<Memory>,
    ring: Arc<Keyring>,
    given: Given,
}

impl World {
    fn new(terms: Terms) -> Self {
        let given = Given::default();
        given.set(terms.clone(), terms);
        let ring = Arc::new(Keyring::ephemeral(&SeededRng::new(1)));
        Self { told: Arc::default(), meta: Arc::new(Memory::new()), ring, given }
    }

    /// A process that remembers nothing, with a clock of its own.
    fn process(&self, clock: &Arc<AnyClock>, seed: u64) -> Portions {
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SeededRng::new(seed)) };
        let portions = Portions::new(self.meta.clone(), self.ring.clone(), doors);
        portions.audited(Some(self.told.clone())).speaking(Arc::new(self.given.clone()))
    }

    fn count(&self, action: &str) -> usize {
        self.told.events.lock().iter().filter(|event| event.action == action).count()
    }
}

async fn portion(portions: &Portions, name: &str) -> PortionId {
    let new = NewPortion { name: Some(name.to_owned()), ..NewPortion::default() };
    portions.create(HOME, new, Maker::Customer).await.unwrap().id
}

fn who(name: &str) -> Who {
    Who { name: Some(name.to_owned()), id: format!("id-{name}"), groups: Vec::new(), is_root: false }
}

fn caller(name: &str, via: Via) -> Caller {
    Caller::new(HOME, who(name), via, false, None)
}

async fn open_by(portions: &Portions, name: &str, id: PortionId, via: Via) -> Result<Arc<Lease>, Refusal> {
    match portions.release(&caller(name, via), HOME, id, Action::Open).await {
        Ok(lease) => Ok(lease),
        Err(PortionError::Release(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

async fn open(portions: &Portions, name: &str, id: PortionId) -> Result<Arc<Lease>, Refusal> {
    open_by(portions, name, id, Via::S3).await
}

async fn spend(portions: &Portions, lease: &Lease, objects: u64, bytes: u64) -> bool {
    match portions.spend(lease, &caller("app", Via::S3), objects, bytes).await {
        Ok(()) => true,
        Err(PortionError::Release(Refusal::OverBudget { .. })) => false,
        Err(error) => panic!("{error}"),
    }
}

fn asked(opened: Result<Arc<Lease>, Refusal>) -> String {
    match opened {
        Err(Refusal::Pending { request, .. }) => request,
        other => panic!("it does not wait: {other:?}"),
    }
}

fn is_refused(opened: Result<Arc<Lease>, Refusal>) -> bool {
    matches!(opened, Err(Refusal::Refused { .. }))
}

/// Rules on what stands there now.
async fn rule(portions: &Portions, request: &str, name: &str, approve: bool) -> Result<Approval, PortionError> {
    let asked_ms = portions.approval(HOME, request).await.map_or(0, |seen| seen.record.asked_ms);
    let ruling = Ruling { request, asked_ms, approve };
    portions.rule_on(HOME, ruling, &Approver { who: &who(name), since_ms: 0, may: &|_| true }).await
}

fn limit(number: u64) -> Option<std::num::NonZeroU64> {
    std::num::NonZeroU64::new(number)
}

fn objects(number: u64) -> Terms {
    Terms { budget: Budget { objects: limit(number), ..Budget::default() }, ..Terms::default() }
}

fn people(approvals: u8, valid_ms: u64) -> Pend {
    Pend { approvals, approvers: Vec::new(), after_ms: None, floor_ms: 0, valid_ms }
}

fn pending(pend: Pend) -> Terms {
    Terms { pend: Some(pend), ..Terms::default() }
}

/// One clock is over the hour, the other is a second behind: they take turns, and each would begin its hour anew.
#[tokio::test]
async fn two_clocks_at_the_full_hour_share_two_budgets() {
    let w = World::new(objects(640));
    let (early, late) = (AnyClock::at(START_MS + 200), AnyClock::at(START_MS - 800));
    let (one, two) = (w.process(&early, 2), w.process(&late, 3));
    let id = portion(&one, "p").await;
    let (lease_one, lease_two) = (open(&one, "app", id).await.unwrap(), open(&two, "app", id).await.unwrap());
    let mut used = 0;
    for _ in 0..2_000 {
        used += u64::from(spend(&one, &lease_one, 1, 0).await) + u64::from(spend(&two, &lease_two, 1, 0).await);
    }
    assert_eq!(used, 640, "the hour that was begun counts for both");
}

#[tokio::test]
async fn a_clock_that_steps_back_over_the_hour_begins_nothing_anew() {
    let w = World::new(objects(100));
    let clock = AnyClock::at(START_MS + 1_000);
    let portions = w.process(&clock, 2);
    let id = portion(&portions, "p").await;
    for (at_ms, expected) in
        [(START_MS + 1_000, 100), (START_MS - 5_000, 0), (START_MS + 2_000, 0), (START_MS + HOUR_MS, 100)]
    {
        clock.set(at_ms);
        let lease = open(&portions, "app", id).await.unwrap();
        let mut used = 0;
        while spend(&portions, &lease, 1, 0).await {
            used += 1;
        }
        assert_eq!(used, expected, "at {at_ms}");
    }
}

/// A request that began before the full hour is counted after it, when others have counted already.
#[tokio::test]
async fn who_is_late_does_not_undo_what_was_counted_since() {
    let terms = Terms { budget: Budget { portions: limit(2), ..Budget::default() }, ..Terms::default() };
    let w = World::new(terms);
    let (now, then) = (AnyClock::at(START_MS + 800), AnyClock::at(START_MS - 100));
    let (one, late) = (w.process(&now, 2), w.process(&then, 3));
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(portion(&one, name).await);
    }
    open(&one, "app", ids[0]).await.unwrap();
    open(&late, "app", ids[1]).await.unwrap();
    for process in [&one, &late] {
        let over = open(process, "app", ids[2]).await.unwrap_err();
        assert!(matches!(over, Refusal::OverBudget { what: "portions", .. }), "{over}");
    }
    now.add(LEASE_MS);
    open(&one, "app", ids[1]).await.unwrap();
    now.add(HOUR_MS);
    open(&one, "app", ids[2]).await.unwrap();
    open(&one, "app", ids[3]).await.unwrap();
    // The ledger tells each hour once.
    let (holders, _) = one.holders(HOME, Some(ids[1]), None, 10).await.unwrap();
    assert_eq!((holders[0].record.hours, holders[0].record.last_hour_ms), (1, START_MS));
}

#[tokio::test]
async fn clocks_at_the_full_hour_tell_a_holder_once_each_hour() {
    let w = World::new(Terms::default());
    let (early, late) = (AnyClock::at(START_MS + 200), AnyClock::at(START_MS - 100_000));
    let (one, two) = (w.process(&early, 2), w.process(&late, 3));
    let id = portion(&one, "p").await;
    for _ in 0..5 {
        for (process, clock) in [(&one, &early), (&two, &late)] {
            open(process, "app", id).await.unwrap();
            clock.add(LEASE_MS);
        }
    }
    assert_eq!(w.count("release:open"), 1);
    assert_eq!(one.holders(HOME, Some(id), None, 10).await.unwrap().0[0].record.hours, 1);
}

/// A gateway whose clock was a year ahead has counted. Nobody knows which clock is wrong: the hour counts until root says.
#[tokio::test]
async fn an_hour_far_ahead_counts_until_it_is_reset() {
    let terms =
        Terms { budget: Budget { portions: limit(1), objects: limit(10), ..Budget::default() }, ..Terms::default() };
    let w = World::new(terms);
    let (right, wrong) = (AnyClock::at(START_MS), AnyClock::at(START_MS + 365 * DAY_MS));
    let (one, ahead) = (w.process(&right, 2), w.process(&wrong, 3));
    let (first, second) = (portion(&one, "a").await, portion(&one, "b").await);
    let lease = open(&ahead, "app", first).await.unwrap();
    while spend(&ahead, &lease, 1, 0).await {}
    assert!(open(&one, "app", second).await.is_err(), "it fails closed");
    let lease = open(&one, "app", first).await.unwrap();
    assert!(!spend(&one, &lease, 1, 0).await);
    wrong.set(START_MS);
    let root = one.by("root");
    w.told.full.store(true, Ordering::Relaxed);
    assert!(matches!(root.reset_budget(HOME, &who("app")).await, Err(PortionError::Unrecorded { .. })));
    w.told.full.store(false, Ordering::Relaxed);
    root.reset_budget(HOME, &who("app")).await.unwrap();
    assert!(root.reset_budget(HOME, &who("app")).await.is_err(), "nothing is counted");
    assert_eq!(w.count("budget:reset"), 1);
    let mut used = 0;
    for process in [&ahead, &one] {
        let lease = open(process, "app", first).await.unwrap();
        while spend(process, &lease, 1, 0).await {
            used += 1;
        }
    }
    assert_eq!(used, 10, "by either");
    let over = open(&one, "app", second).await;
    assert!(over.is_err(), "the first one counts in the new hour: {over:?}");
}

/// A client that opens many things at once, all of them within its budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_one_principal_at_once_wait_for_each_other() {
    let budget = Budget { portions: limit(60), objects: limit(100), ..Budget::default() };
    let w = World::new(Terms { budget, record_first: true, ..Terms::default() });
    let one = w.process(&AnyClock::at(START_MS), 2);
    let mut ids = Vec::new();
    for number in 0..60 {
        ids.push(portion(&one, &format!("users/{number}")).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for id in ids {
        let one = one.clone();
        tasks.spawn(async move {
            let lease = open(&one, "app", id).await.unwrap();
            assert!(spend(&one, &lease, 1, 0).await);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(w.count("release:open"), 60, "each is told once");
}

#[tokio::test]
async fn who_is_denied_decides_nothing() {
    let w = World::new(pending(people(2, DAY_MS)));
    let clock = AnyClock::at(START_MS);
    let one = w.process(&clock, 2);
    let id = portion(&one, "p").await;
    let request = asked(open(&one, "alice", id).await);
    rule(&one, &request, "ben", true).await.unwrap();
    rule(&one, &request, "carol", true).await.unwrap();
    open(&one, "alice", id).await.unwrap();
    let root = one.by("root");
    // What ben approved does not count any more, here at once.
    root.deny(HOME, &who("ben"), DenialReason::Quarantined, "").await.unwrap();
    assert_eq!(asked(open(&one, "alice", id).await), request);
    let seen = one.approval(HOME, &request).await.unwrap();
    assert_eq!((seen.standing, seen.record.approved.len()), (Standing::Waiting, 1));
    for (name, approve) in [("ben", true), ("ben", false)] {
        let told = rule(&one, &request, name, approve).await.unwrap_err();
        assert!(matches!(told, PortionError::NotApprover("who is denied decides nothing")), "{told}");
    }
    rule(&one, &request, "dora", true).await.unwrap();
    open(&one, "alice", id).await.unwrap();
    root.deny(HOME, &who("dora"), DenialReason::Lost, "").await.unwrap();
    asked(open(&one, "alice", id).await);
    root.readmit(HOME, &who("ben")).await.unwrap();
    open(&one, "alice", id).await.unwrap();
}

/// By S3 an approval or half an hour, by others an approval alone: who was refused asks on the other terms.
#[tokio::test]
async fn a_refusal_holds_on_whatever_terms() {
    let w = World::new(Terms::default());
    let by_s3 = Pend { after_ms: Some(HOUR_MS / 2), ..people(1, 8 * HOUR_MS) };
    w.given.set(pending(by_s3), pending(people(1, HOUR_MS)));
    let clock = AnyClock::at(START_MS);
    let one = w.process(&clock, 2);
    let id = portion(&one, "p").await;
    let by_time = asked(open(&one, "alice", id).await);
    let by_people = asked(open_by(&one, "alice", id, Via::Kms).await);
    assert_ne!(by_time, by_people, "other terms are another request");
    rule(&one, &by_people, "ben", true).await.unwrap();
    open_by(&one, "alice", id, Via::Kms).await.unwrap();
    rule(&one, &by_time, "ben", false).await.unwrap();
    for via in [Via::S3, Via::Kms, Via::Kubernetes, Via::S3] {
        assert!(is_refused(open_by(&one, "alice", id, via).await), "{via:?}");
        clock.add(LEASE_MS);
    }
    let told = rule(&one, &by_people, "carol", true).await.unwrap_err();
    assert!(matches!(told, PortionError::Invalid("the request was refused already")), "{told}");
    clock.add(HOUR_MS / 2);
    assert!(is_refused(open(&one, "alice", id).await), "time alone does not grant what was refused");
    assert!(one.approvals(HOME).await.unwrap().iter().all(|seen| matches!(seen.standing, Standing::Refused(_))));
    assert_eq!(asked(open(&one, "bob", id).await).len(), 32, "it was alice who was refused");
    clock.add(8 * HOUR_MS);
    assert_eq!(asked(open(&one, "alice", id).await), by_time, "and for as long as it says");
}

#[tokio::test]
async fn what_was_seen_is_what_is_ruled_on() {
    let w = World::new(pending(people(1, 60_000)));
    let clock = AnyClock::at(START_MS);
    let one = w.process(&clock, 2);
    let id = portion(&one, "p").await;
    let request = asked(open(&one, "alice", id).await);
    let ben = who("ben");
    let ruling = Ruling { request: &request, asked_ms: START_MS, approve: true };
    let approver = Approver { who: &ben, since_ms: START_MS - 1, may: &|seen| seen.record.approvals == 1 };
    // Who was there when it was asked, and may decide that: asked about what is ruled on.
    for (approver, told) in [
        (Approver { may: &|seen| seen.record.approvals == 2, ..approver }, "you may not decide"),
        (Approver { since_ms: START_MS, ..approver }, "younger than the request"),
    ] {
        let refused = one.rule_on(HOME, ruling, &approver).await.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    one.rule_on(HOME, ruling, &approver).await.unwrap();
    open(&one, "alice", id).await.unwrap();
    clock.add(60_000);
    assert_eq!(asked(open(&one, "alice", id).await), request);
    let replayed = one.rule_on(HOME, ruling, &approver).await.unwrap_err();
    assert!(matches!(&replayed, PortionError::AskedAnew(id) if *id == request), "{replayed}");
    asked(open(&one, "alice", id).await);
    // Who came since may refuse.
    let ruling = Ruling { asked_ms: START_MS + 60_000, approve: false, ..ruling };
    one.rule_on(HOME, ruling, &Approver { since_ms: START_MS + DAY_MS, ..approver }).await.unwrap();
    assert!(is_refused(open(&one, "alice", id).await));
}

/// The name may be another portion's by then, and who may decide about that one may not about this.
#[tokio::test]
async fn nobody_rules_on_what_was_shredded() {
    let w = World::new(pending(people(1, DAY_MS)));
    let one = w.process(&AnyClock::at(START_MS), 2);
    let id = portion(&one, "p").await;
    let request = asked(open(&one, "alice", id).await);
    one.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    rule(&one, &request, "ben", true).await.unwrap();
    one.shred(HOME, id).await.unwrap();
    portion(&one, "p").await;
    let gone = rule(&one, &request, "carol", true).await.unwrap_err();
    assert!(matches!(gone, PortionError::NoSuchRequest(_)), "{gone}");
}

#[tokio::test]
async fn rulings_are_told_before_and_after() {
    let w = World::new(pending(people(1, DAY_MS)));
    let one = w.process(&AnyClock::at(START_MS), 2);
    let id = portion(&one, "p").await;
    let request = asked(open(&one, "alice", id).await);
    w.told.full.store(true, Ordering::Relaxed);
    assert!(matches!(rule(&one, &request, "ben", true).await, Err(PortionError::Unrecorded { .. })));
    w.told.full.store(false, Ordering::Relaxed);
    asked(open(&one, "alice", id).await);
    rule(&one, &request, "ben", true).await.unwrap();
    rule(&one, &request, "ben", false).await.unwrap();
    rule(&one, &request, "carol", true).await.unwrap_err();
    let events = w.told.events.lock();
    let told: Vec<_> = events.iter().filter(|event| event.resource.starts_with("approval/")).collect();
    let actions: Vec<_> = told.iter().map(|event| event.action).collect();
    let expected = ["approval:ask", "approval:approving", "approval:approve", "approval:refusing", "approval:refuse"];
    assert_eq!(actions, expected);
    assert!(told.iter().all(|event| event.outcome == AuditOutcome::Done));
}

#[tokio::test]
async fn lapsed_requests_are_removed_and_damaged_ones_hide_no_others() {
    let w = World::new(pending(people(1, HOUR_MS)));
    let clock = AnyClock::at(START_MS);
    let one = w.process(&clock, 2);
    let (first, second) = (portion(&one, "a").await, portion(&one, "b").await);
    let old = asked(open(&one, "alice", first).await);
    rule(&one, &old, "ben", true).await.unwrap();
    clock.add(DAY_MS);
    let new = asked(open(&one, "alice", second).await);
    let writes = vec![Write::Put(key::approval_key(HOME, &[7; 16]), bytes::Bytes::from_static(b"\x01damaged"))];
    w.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    assert_eq!(one.remove_lapsed_requests().await.unwrap(), 0, "not yet: clocks differ");
    clock.add(HOUR_MS);
    assert_eq!(one.remove_lapsed_requests().await.unwrap(), 1);
    assert!(matches!(one.approval(HOME, &old).await, Err(PortionError::NoSuchRequest(_))));
    for text in [new.as_str(), &new[..8], &new.to_uppercase()] {
        assert_eq!(one.approval(HOME, text).await.unwrap().id, new, "{text}");
    }
    for text in ["abc", "", "zzzzzzzz", &"0".repeat(32)] {
        assert!(matches!(one.approval(HOME, text).await, Err(PortionError::NoSuchRequest(_))), "{text}");
    }
}

/// Requests had ids without terms: the first 16 bytes of the hash of which the first 8 are used still.
#[tokio::test]
async fn requests_of_before_there_were_terms_in_ids_count() {
    let w = World::new(pending(people(1, HOUR_MS)));
    let clock = AnyClock::at(START_MS + 1_000);
    let one = w.process(&clock, 2);
    let id = portion(&one, "p").await;
    let about = [&[0], id.as_bytes().as_slice(), b"id-alice"].concat();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &about);
    let row_key = key::approval_key(HOME, hash.as_ref()[..16].try_into().unwrap());
    let record = ApprovalRecord {
        matter: Matter::Open(id),
        portion: "p".to_owned(),
        principal: "id-alice".to_owned(),
        name: "alice".to_owned(),
        asked_ms: START_MS,
        approvals: 1,
        approvers: Vec::new(),
        after_ms: None,
        valid_ms: HOUR_MS,
        approved: Vec::new(),
        refused: None,
        floor_ms: 0,
    };
    let mut version_1 = record.encode().to_vec();
    (version_1[0], _) = (1, version_1.pop());
    let writes = vec![Write::Put(row_key.clone(), version_1.into())];
    w.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    let old = asked(open(&one, "alice", id).await);
    rule(&one, &old, "ben", true).await.unwrap();
    open(&one, "alice", id).await.unwrap();
    rule(&one, &old, "ben", false).await.unwrap();
    assert!(is_refused(open(&one, "alice", id).await));
    clock.add(HOUR_MS);
    assert_ne!(asked(open(&one, "alice", id).await), old);
    assert_eq!(w.meta.get(&[row_key]).await.unwrap(), [None], "it lapsed, and its successor took its place");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However many processes spend, whatever their clocks say, and whenever they start anew: for each hour that something
    /// was opened in first, never more than the limit, and what is lost to those that stopped is at most a block each.
    #[test]
    fn processes_together_stay_within_the_budget(
        most in 1_u64..3_000,
        skews in prop::array::uniform3(0_u64..5_000),
        steps in prop::collection::vec(
            (0_usize..3, 1_u64..200, prop::bool::weighted(0.2), prop::option::weighted(0.3, -3_000_000_i64..3_000_000)), 1..80
        ),
        far in prop::bool::weighted(0.1),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let budget = Budget { bytes: limit(most), ..Budget::default() };
            let w = World::new(Terms { budget, ..Terms::default() });
            let clocks = skews.map(|skew| AnyClock::at(START_MS - 2_500 + skew));
            let mut processes: Vec<Portions> = clocks.iter().map(|clock| w.process(clock, 10)).collect();
            let id = portion(&processes[0], "p").await;
            if far {
                clocks[2].add(DAY_MS);
            }
            // The hours in which something was opened before it was in a later one.
            let (mut hours, mut latest) = (0, 0);
            let (mut used, mut restarts, mut refused) = (0, 0, None);
            for (at, bytes, restart, step) in steps {
                if restart {
                    processes[at] = w.process(&clocks[at], 20);
                    restarts += 1;
                }
                if let Some(step) = step {
                    clocks[at].set(clocks[at].now_ms().saturating_add_signed(step));
                }
                let lease = open(&processes[at], "app", id).await.unwrap();
                if spend(&processes[at], &lease, 1, bytes).await {
                    used += bytes;
                    // What was refused begins no hour.
                    let hour = clocks[at].now_ms() / HOUR_MS;
                    if hour > latest {
                        (hours, latest) = (hours + 1, hour);
                    }
                } else if hours == 1 {
                    refused = refused.max(Some(most.saturating_sub(used).saturating_sub(bytes)));
                }
                assert!(used <= hours * most, "{used} of {most} in {hours} hours");
            }
            // A refusal tells the truth but for what others hold.
            if let Some(left) = refused {
                assert!(left <= (restarts + 3) * (200 + most / 64), "{left} of {most} were left, {restarts} restarts");
            }
        });
    }
}

/// A log that takes a moment.
struct Slow(Arc<Recording>);

#[async_trait]
impl Auditor for Slow {
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError> {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.0.record(event).await
    }
}

/// Wherever a client hangs up: who had the portion is in the log.
#[tokio::test]
async fn who_hangs_up_is_told_all_the_same() {
    let w = World::new(Terms::default());
    let portions = w.process(&AnyClock::at(START_MS), 1).audited(Some(Arc::new(Slow(w.told.clone()))));
    let id = portion(&portions, "vault").await;
    // Policies are parsed on another thread, once: from here on the points are always the same.
    open(&portions, "first", id).await.unwrap();
    let mut had = 0;
    for polls in 0..20 {
        let name = format!("user{polls}");
        let caller = caller(&name, Via::S3);
        let mut opening = Box::pin(portions.release(&caller, HOME, id, Action::Open));
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = &mut opening => break,
                () = tokio::task::yield_now() => {}
            }
        }
        drop(opening);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        had = portions.holders(HOME, Some(id), None, 100).await.unwrap().0.len();
        assert_eq!(w.count("release:open"), had, "after {polls} looks");
    }
    assert!(had > 10, "{had} of 20 came so far");
}

/// Room of one kind is not used up by what the other kind takes.
#[tokio::test]
async fn what_is_not_short_is_not_taken() {
    let budget = Budget { objects: limit(640), bytes: limit(64 << 30), ..Budget::default() };
    let w = World::new(Terms { budget, ..Terms::default() });
    let clock = AnyClock::at(START_MS);
    let [one, other] = [1, 2].map(|seed| w.process(&clock, seed));
    let id = portion(&one, "vault").await;
    let lease = open(&one, "app", id).await.unwrap();
    for _ in 0..30 {
        assert!(spend(&one, &lease, 1, 1 << 30).await);
    }
    let lease = open(&other, "app", id).await.unwrap();
    for number in 0..30 {
        assert!(spend(&other, &lease, 20, 1 << 20).await, "{number}");
    }
}
