//! To whom portions are released: policies, denials, people, budgets, and what is written down of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors, ManualClock, PortionId, SeededRng};
use cedar::Cedar;
use keys::{
    Approval, Approver, AuditEvent, AuditOutcome, Auditor, Caller, EncryptionContext, Keyring, LEASE_MS, Lease,
    NewPortion, PortionError, Portions, Refusal, Ruling, Standing, Who,
};
use meta::record::{DenialReason, Maker, Record, ReleasePolicyRecord, key};
use meta::{Batch, Engine, Memory, Write};
use parking_lot::Mutex;
use release::{Action, Via};

const HOME: AccountId = AccountId::DEFAULT;
const HOUR_MS: u64 = 3_600_000;
const START_MS: u64 = 500_000 * HOUR_MS;
const ALL: &str = "permit(principal, action, resource);";

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

/// Two processes over one metadata.
struct World {
    clock: Arc<ManualClock>,
    told: Arc<Recording>,
    meta: Arc<Memory>,
    ring: Arc<Keyring>,
    one: Portions,
    two: Portions,
}

impl World {
    fn new() -> Self {
        let (clock, told) = (Arc::new(ManualClock::new(START_MS)), Arc::new(Recording::default()));
        let ring = Arc::new(Keyring::ephemeral(&SeededRng::new(1)));
        let meta = Arc::new(Memory::new());
        let mut world = Self {
            one: Portions::new(meta.clone(), ring.clone(), doors(&clock, 2)),
            two: Portions::new(meta.clone(), ring.clone(), doors(&clock, 3)),
            clock,
            told,
            meta,
            ring,
        };
        world.one = world.process(4);
        world.two = world.process(5);
        world
    }

    /// Another process, which remembers nothing.
    fn process(&self, seed: u64) -> Portions {
        let portions = Portions::new(self.meta.clone(), self.ring.clone(), doors(&self.clock, seed));
        portions.audited(Some(self.told.clone())).speaking(Arc::new(Cedar))
    }

    async fn portion(&self, name: &str) -> PortionId {
        let new = NewPortion { name: Some(name.to_owned()), ..NewPortion::default() };
        self.one.create(HOME, new, Maker::Customer).await.unwrap().id
    }

    async fn policies(&self, text: &str) {
        self.one.by("root").put_release_policy(HOME, "doc", text).await.unwrap();
    }

    /// Actions told since the last time, of releases alone.
    fn since(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.told.events.lock());
        let wanted =
            |event: &AuditEvent| !event.action.starts_with("portion:") && !event.action.starts_with("release-policy");
        events.into_iter().filter(wanted).map(|event| format!("{} {}", event.actor, event.action)).collect()
    }
}

fn doors(clock: &Arc<ManualClock>, seed: u64) -> Doors {
    Doors { clock: clock.clone(), rng: Arc::new(SeededRng::new(seed)) }
}

fn who(name: &str, groups: &[&str]) -> Who {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Who { name: Some(name.to_owned()), id: format!("id-{name}"), groups, is_root: name == "root" }
}

fn caller(name: &str) -> Caller {
    Caller::new(HOME, who(name, &["apps"]), Via::S3, false, "10.0.0.1".parse().ok())
}

async fn open(portions: &Portions, name: &str, id: PortionId) -> Result<Arc<Lease>, Refusal> {
    match portions.release(&caller(name), HOME, id, Action::Open).await {
        Ok(lease) => Ok(lease),
        Err(PortionError::Release(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

/// Approves or refuses what stands there now.
async fn rule(portions: &Portions, request: &str, who: &Who, approve: bool) -> Result<Approval, PortionError> {
    let asked_ms = portions.approval(HOME, request).await.map_or(0, |seen| seen.record.asked_ms);
    let ruling = Ruling { request, asked_ms, approve };
    portions.rule_on(HOME, ruling, &Approver { who, since_ms: 0, may: &|_| true }).await
}

fn is_pending(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Pending { .. })
}

#[tokio::test]
async fn without_policies_all_is_released_and_written_down_once_an_hour() {
    let w = World::new();
    let id = w.portion("p").await;
    for process in [&w.one, &w.two, &w.one] {
        open(process, "alice", id).await.unwrap();
        w.clock.advance_ms(LEASE_MS);
    }
    assert_eq!(w.since(), ["alice release:open"]);
    w.clock.advance_ms(HOUR_MS);
    open(&w.two, "alice", id).await.unwrap();
    open(&w.one, "bob", id).await.unwrap();
    assert_eq!(w.since(), ["alice release:open", "bob release:open"]);
    let (holders, next) = w.one.holders(HOME, Some(id), None, 10).await.unwrap();
    let rows: Vec<_> = holders.iter().map(|h| (h.record.name.as_str(), h.record.hours, h.record.first_ms)).collect();
    assert_eq!((rows, next), (vec![("alice", 2, START_MS), ("bob", 1, START_MS + HOUR_MS + 3 * LEASE_MS)], None));
    // Who only writes had nothing.
    w.one.release(&caller("carol"), HOME, id, Action::Seal).await.unwrap();
    let (first, next) = w.one.holders(HOME, None, None, 1).await.unwrap();
    let (rest, end) = w.one.holders(HOME, None, next, 10).await.unwrap();
    assert_eq!((first.len(), rest.len(), end), (1, 1, None), "pages");
}

#[tokio::test]
async fn a_policy_counts_here_at_once_and_elsewhere_after_the_lease() {
    let w = World::new();
    let id = w.portion("p").await;
    open(&w.one, "alice", id).await.unwrap();
    open(&w.two, "alice", id).await.unwrap();
    w.policies(r#"permit(principal == User::"bob", action, resource);"#).await;
    let refused = open(&w.one, "alice", id).await.unwrap_err();
    assert!(refused.to_string().contains("no release policy permits it"), "{refused}");
    open(&w.one, "bob", id).await.unwrap();
    open(&w.two, "alice", id).await.unwrap();
    w.clock.advance_ms(LEASE_MS);
    open(&w.two, "alice", id).await.unwrap_err();
    w.one.delete_release_policy(HOME, "doc").await.unwrap();
    open(&w.one, "alice", id).await.unwrap();
    let gone = w.one.delete_release_policy(HOME, "doc").await.unwrap_err();
    assert!(matches!(gone, PortionError::NoSuchPolicy(_)));
    for (name, text) in [("", ALL), ("a/b", ALL), ("doc", "permit(")] {
        assert!(w.one.put_release_policy(HOME, name, text).await.is_err(), "{name} {text}");
    }
    open(&w.one, "alice", id).await.unwrap();
}

/// A document that a later version wrote, or a damaged one: nobody guesses what it says.
#[tokio::test]
async fn stored_policies_that_cannot_be_read_release_nothing() {
    let w = World::new();
    let id = w.portion("p").await;
    let record = ReleasePolicyRecord { document: "permit(everybody);".to_owned(), modified_ms: 1 };
    let writes = vec![Write::Put(key::release_policy_key(HOME, "later"), record.encode())];
    w.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    let refused = w.one.release(&caller("alice"), HOME, id, Action::Open).await.unwrap_err();
    assert!(matches!(refused, PortionError::UnreadablePolicies), "{refused}");
}

#[tokio::test]
async fn a_denial_comes_before_all_policies() {
    let w = World::new();
    let id = w.portion("p").await;
    w.policies(ALL).await;
    open(&w.one, "alice", id).await.unwrap();
    open(&w.two, "alice", id).await.unwrap();
    let alice = who("alice", &[]);
    let root = w.one.by("root");
    root.deny(HOME, &alice, DenialReason::Quarantined, "odd traffic").await.unwrap();
    let denied = Refusal::Denied { name: "alice".to_owned(), reason: DenialReason::Quarantined };
    assert_eq!(open(&w.one, "alice", id).await.unwrap_err(), denied);
    assert!(w.one.release(&caller("alice"), HOME, id, Action::Seal).await.is_err(), "writing, too");
    w.clock.advance_ms(LEASE_MS);
    assert_eq!(open(&w.two, "alice", id).await.unwrap_err(), denied);
    open(&w.one, "bob", id).await.unwrap();
    root.readmit(HOME, &alice).await.unwrap();
    open(&w.one, "alice", id).await.unwrap();
    root.deny(HOME, &alice, DenialReason::Quarantined, "").await.unwrap();
    root.deny(HOME, &alice, DenialReason::Lost, "laptop").await.unwrap();
    let kept = root.deny(HOME, &alice, DenialReason::Quarantined, "").await.unwrap();
    assert_eq!(kept.reason, DenialReason::Lost, "a denial for ever stays one");
    assert!(root.readmit(HOME, &alice).await.is_err());
    open(&w.one, "alice", id).await.unwrap_err();
    let again = Caller::new(HOME, Who { id: "id-alice-2".to_owned(), ..alice }, Via::S3, false, None);
    w.one.release(&again, HOME, id, Action::Open).await.unwrap();
    assert_eq!(w.one.denials(HOME).await.unwrap().len(), 1);
    w.since();
}

#[tokio::test]
async fn people_release_what_waits_for_them() {
    let w = World::new();
    let id = w.portion("p").await;
    w.policies(
        r#"@approvals("2") @approvers("sec") @valid("1h") permit(principal, action == Action::"open", resource);"#,
    )
    .await;
    let Refusal::Pending { request, .. } = open(&w.one, "alice", id).await.unwrap_err() else { panic!("not pending") };
    assert!(is_pending(&open(&w.two, "alice", id).await.unwrap_err()));
    assert_eq!(w.since(), ["alice approval:ask", "alice release:pending", "alice release:pending"]);
    let (bob, carol, eve) = (who("bob", &["sec"]), who("carol", &["sec"]), who("eve", &["apps"]));
    let refused = |result: Result<_, PortionError>| matches!(result, Err(PortionError::NotApprover(_)));
    assert!(refused(rule(&w.one, &request, &who("alice", &["sec"]), true).await), "oneself");
    assert!(refused(rule(&w.one, &request, &eve, true).await), "not of the group");
    let first = rule(&w.one, &request[..6], &bob, true).await.unwrap();
    assert_eq!(first.standing, Standing::Waiting);
    assert!(refused(rule(&w.one, &request, &bob, true).await), "twice");
    assert!(is_pending(&open(&w.one, "alice", id).await.unwrap_err()));
    let second = rule(&w.two, &request, &carol, true).await.unwrap();
    assert_eq!(second.standing, Standing::Granted(START_MS + HOUR_MS));
    open(&w.two, "alice", id).await.unwrap();
    w.clock.advance_ms(LEASE_MS);
    open(&w.one, "alice", id).await.unwrap();
    assert!(is_pending(&open(&w.one, "eve", id).await.unwrap_err()), "for alice alone");
    w.clock.advance_ms(HOUR_MS - LEASE_MS - 1);
    open(&w.one, "alice", id).await.unwrap();
    w.clock.advance_ms(1);
    assert!(is_pending(&open(&w.one, "alice", id).await.unwrap_err()), "to the millisecond, lease or not");
    let again = w.one.approval(HOME, &request).await.unwrap();
    assert!(again.record.approved.is_empty() && again.standing == Standing::Waiting);
    rule(&w.one, &request, &bob, false).await.unwrap();
    assert!(matches!(open(&w.one, "alice", id).await.unwrap_err(), Refusal::Refused { .. }));
    assert!(rule(&w.one, &request, &carol, true).await.is_err(), "refused is refused");
    assert!(matches!(w.one.approval(HOME, "abc").await, Err(PortionError::NoSuchRequest(_))), "too short to mean one");
}

#[tokio::test]
async fn who_tries_everything_buries_nobody_in_requests() {
    let w = World::new();
    w.policies(r#"@approvals("1") permit(principal, action, resource);"#).await;
    for number in 0..100 {
        let id = w.portion(&format!("users/{number}")).await;
        assert!(is_pending(&open(&w.one, "app", id).await.unwrap_err()));
    }
    let id = w.portion("one more").await;
    assert!(matches!(
        open(&w.one, "app", id).await.unwrap_err(),
        Refusal::OverBudget { what: "requests for approval", .. }
    ));
    assert_eq!(w.one.approvals(HOME).await.unwrap().len(), 100);
    w.clock.advance_ms(HOUR_MS);
    assert!(is_pending(&open(&w.one, "app", id).await.unwrap_err()));
}

/// A lease that was given by policies that had been read before is not older than they are.
#[tokio::test]
async fn ages_of_leases_and_policies_do_not_add_up() {
    let w = World::new();
    let (first, second) = (w.portion("a").await, w.portion("b").await);
    open(&w.two, "alice", first).await.unwrap();
    w.clock.advance_ms(LEASE_MS / 2);
    w.policies(r#"permit(principal == User::"bob", action, resource);"#).await;
    open(&w.two, "alice", second).await.unwrap();
    w.clock.advance_ms(LEASE_MS / 2);
    open(&w.two, "alice", second).await.unwrap_err();
}

#[tokio::test]
async fn approvals_on_other_terms_do_not_count() {
    let w = World::new();
    let id = w.portion("p").await;
    w.policies(r#"@approvals("1") permit(principal, action, resource);"#).await;
    let Refusal::Pending { request, .. } = open(&w.one, "alice", id).await.unwrap_err() else { panic!("not pending") };
    rule(&w.one, &request, &who("bob", &[]), true).await.unwrap();
    open(&w.one, "alice", id).await.unwrap();
    w.policies(r#"@approvals("2") permit(principal, action, resource);"#).await;
    assert!(is_pending(&open(&w.one, "alice", id).await.unwrap_err()));
}

#[tokio::test]
async fn time_alone_releases_where_the_policy_says_so() {
    let w = World::new();
    let id = w.portion("p").await;
    w.policies(r#"@after("30m") @valid("1h") permit(principal, action, resource);"#).await;
    assert!(is_pending(&open(&w.one, "alice", id).await.unwrap_err()));
    w.clock.advance_ms(HOUR_MS / 2 - 1);
    assert!(is_pending(&open(&w.two, "alice", id).await.unwrap_err()));
    w.clock.advance_ms(LEASE_MS);
    open(&w.two, "alice", id).await.unwrap();
    w.clock.advance_ms(HOUR_MS);
    assert!(is_pending(&open(&w.two, "alice", id).await.unwrap_err()));
}

#[tokio::test]
async fn portions_of_an_hour_are_bounded() {
    let w = World::new();
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(w.portion(&format!("users/{number}")).await);
    }
    w.policies(r#"@portions("3") permit(principal, action, resource);"#).await;
    for (process, at) in [(&w.one, 0), (&w.two, 1), (&w.one, 1), (&w.two, 2), (&w.one, 0)] {
        open(process, "app", ids[at]).await.unwrap();
    }
    for process in [&w.one, &w.two] {
        let refused = open(process, "app", ids[3]).await.unwrap_err();
        assert!(matches!(refused, Refusal::OverBudget { what: "portions", .. }), "{refused}");
    }
    w.clock.advance_ms(LEASE_MS);
    open(&w.one, "app", ids[2]).await.unwrap();
    open(&w.one, "other", ids[3]).await.unwrap();
    let over = w.told.events.lock().iter().filter(|event| event.action == "release:over-budget").count();
    assert_eq!(over, 2, "once a process and portion");
    assert!(w.told.events.lock().iter().any(|event| event.outcome == AuditOutcome::Denied));
    w.clock.advance_ms(HOUR_MS);
    for id in &ids[3..] {
        open(&w.two, "app", *id).await.unwrap();
    }
    open(&w.two, "app", ids[0]).await.unwrap_err();
}

#[tokio::test]
async fn one_more_person_lets_a_principal_go_on() {
    let w = World::new();
    let (first, second) = (w.portion("a").await, w.portion("b").await);
    w.policies(r#"@portions("1") @objects("2") @over("pend") permit(principal, action, resource);"#).await;
    let lease = open(&w.one, "app", first).await.unwrap();
    let Refusal::Pending { request, .. } = open(&w.one, "app", second).await.unwrap_err() else {
        panic!("not pending")
    };
    rule(&w.one, &request, &who("root", &[]), true).await.unwrap();
    open(&w.one, "app", second).await.unwrap();
    // The old lease still has its budget, which the approval lifts as well.
    for _ in 0..5 {
        w.one.spend(&lease, &caller("app"), 1, 0).await.unwrap();
    }
    w.clock.advance_ms(2 * HOUR_MS);
    open(&w.one, "app", first).await.unwrap();
    assert!(is_pending(&open(&w.one, "app", second).await.unwrap_err()));
}

#[tokio::test]
async fn messages_of_the_kms_api_are_released_and_counted() {
    let w = World::new();
    let id = w.portion("p").await;
    let context = EncryptionContext::new();
    let app = w.one.for_caller(Arc::new(Caller::new(HOME, who("app", &[]), Via::Kms, false, None)));
    let sealed = app.encrypt(HOME, id, &context, b"0123456789").await.unwrap();
    w.policies(r#"@bytes("25B") permit(principal == User::"app", action, resource) when { context.via == "kms" };"#)
        .await;
    for _ in 0..2 {
        app.decrypt(HOME, None, &context, &sealed).await.unwrap();
    }
    let over = app.decrypt(HOME, None, &context, &sealed).await.err().unwrap();
    assert!(matches!(over, PortionError::Release(Refusal::OverBudget { what: "bytes", .. })), "{over}");
    let eve = w.one.for_caller(Arc::new(Caller::new(HOME, who("eve", &[]), Via::Kms, false, None)));
    assert!(matches!(eve.decrypt(HOME, None, &context, &sealed).await.err().unwrap(), PortionError::Release(_)));
    assert!(matches!(eve.encrypt(HOME, id, &context, b"x").await.err().unwrap(), PortionError::Release(_)));
    assert!(w.one.decrypt(HOME, None, &context, &sealed).await.is_ok(), "the server itself");
}

#[tokio::test]
async fn a_full_log_stops_only_what_must_be_recorded_first() {
    let w = World::new();
    let (strict, other) = (w.portion("strict").await, w.portion("other").await);
    w.policies(&format!(r#"{ALL} @record("first") permit(principal, action, resource == Portion::"strict");"#)).await;
    w.told.full.store(true, Ordering::Relaxed);
    let stopped = w.one.release(&caller("alice"), HOME, strict, Action::Open).await.unwrap_err();
    assert!(matches!(stopped, PortionError::Unrecorded { .. }));
    assert!(w.one.holders(HOME, Some(strict), None, 10).await.unwrap().0.is_empty());
    open(&w.one, "alice", other).await.unwrap();
    w.told.full.store(false, Ordering::Relaxed);
    open(&w.one, "alice", strict).await.unwrap();
    // Policies, approvals and readmissions are not changed unrecorded either; who is denied is denied.
    w.told.full.store(true, Ordering::Relaxed);
    assert!(w.one.put_release_policy(HOME, "doc", ALL).await.is_err());
    w.one.deny(HOME, &who("alice", &[]), DenialReason::Quarantined, "").await.unwrap();
    assert!(w.one.readmit(HOME, &who("alice", &[])).await.is_err());
    open(&w.one, "alice", other).await.unwrap_err();
}

#[tokio::test]
async fn a_second_person_is_asked_before_a_shredding_without_delay() {
    let w = World::new();
    let id = w.portion("p").await;
    let (root, bob) = (who("root", &[]), who("bob", &[]));
    let Err(PortionError::Release(Refusal::Pending { request, .. })) = w.one.second_person(HOME, id, &root).await
    else {
        panic!("not pending")
    };
    assert!(rule(&w.one, &request, &root, true).await.is_err());
    rule(&w.two, &request, &bob, true).await.unwrap();
    w.one.second_person(HOME, id, &root).await.unwrap();
    assert!(w.one.second_person(HOME, id, &bob).await.is_err(), "it was root's to do");
    w.clock.advance_ms(HOUR_MS);
    assert!(w.one.second_person(HOME, id, &root).await.is_err(), "for an hour");
}
