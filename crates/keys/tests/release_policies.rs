//! How stored documents become policies, in a language of the tests': each line is a policy, which permits or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use base::{AccountId, Doors, ManualClock, PortionId, SeededRng};
use futures::future::join_all;
use keys::{Ask, Caller, Keyring, LEASE_MS, PortionError, Portions, Refusal, Who};
use meta::record::{Record, ReleasePolicyRecord, key};
use meta::{Batch, Engine, Memory, Write};
use parking_lot::Mutex;
use release::{Action, Decision, Language, Mistake, Mistakes, Outcome, Policies, Question, Terms, Via};

const HOME: AccountId = AccountId::DEFAULT;

type Step = Box<dyn Fn() + Send>;

/// Knows how often it parsed, and where; does something meanwhile.
#[derive(Default)]
struct Lines {
    parsed: AtomicUsize,
    threads: Mutex<Vec<ThreadId>>,
    meanwhile: Mutex<Option<Step>>,
}

impl Language for Lines {
    fn parse(&self, documents: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes> {
        self.parsed.fetch_add(1, Ordering::SeqCst);
        self.threads.lock().push(std::thread::current().id());
        if let Some(step) = self.meanwhile.lock().as_ref() {
            step();
        }
        let lines = documents.iter().flat_map(|(name, text)| text.lines().map(|line| ((*name).to_owned(), line)));
        let lines: Vec<_> = lines.map(|(name, line)| (name, line.to_owned())).collect();
        let bad = lines.iter().filter(|(_, line)| line != "permit" && line != "forbid");
        let mistake = |(name, line): &(String, String)| Mistake {
            document: name.clone(),
            line: Some(1),
            message: format!("what is {line}?"),
        };
        let mistakes: Vec<_> = bad.map(mistake).collect();
        if mistakes.is_empty() { Ok(Arc::new(Parsed(lines))) } else { Err(Mistakes(mistakes)) }
    }
}

struct Parsed(Vec<(String, String)>);

impl Policies for Parsed {
    fn decide(&self, _: &Question<'_>) -> Decision {
        let forbids: Vec<_> =
            self.0.iter().filter(|(_, line)| line == "forbid").map(|(name, _)| name.clone()).collect();
        let outcome = if forbids.is_empty() { Outcome::Release(Terms::default()) } else { Outcome::Deny };
        Decision { outcome, by: forbids, failed: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct World {
    clock: Arc<ManualClock>,
    meta: Arc<Memory>,
    lines: Arc<Lines>,
    portions: Portions,
    id: PortionId,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let (meta, rng) = (Arc::new(Memory::new()), Arc::new(SeededRng::new(1)));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let lines = Arc::new(Lines::default());
        let portions = Portions::new(meta.clone(), ring, Doors { clock: clock.clone(), rng }).speaking(lines.clone());
        let id = portions.named(HOME, "p").await.unwrap();
        Self { clock, meta, lines, portions, id }
    }

    /// As an older version of the server, or a hand in the metadata, left it.
    async fn stored(&self, name: &str, document: &str) {
        let record = ReleasePolicyRecord { document: document.to_owned(), modified_ms: 0 };
        let writes = vec![Write::Put(key::release_policy_key(HOME, name), record.encode())];
        self.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    }

    async fn open(&self, by: &str) -> Result<(), PortionError> {
        self.portions.release(&caller(by), HOME, self.id, Action::Open).await.map(drop)
    }

    fn parsed(&self) -> usize {
        self.lines.parsed.swap(0, Ordering::SeqCst)
    }
}

fn caller(name: &str) -> Caller {
    let who = Who { name: Some(name.to_owned()), id: format!("id-{name}"), groups: Vec::new(), is_root: false };
    Caller::new(HOME, who, Via::S3, false, None)
}

#[tokio::test]
async fn one_parses_for_all_on_no_thread_that_serves() {
    let w = World::new().await;
    w.stored("doc", "permit").await;
    let callers: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    assert!(join_all(callers.iter().map(|name| w.open(name))).await.iter().all(Result::is_ok));
    assert_eq!(w.parsed(), 1);
    assert!(!w.lines.threads.lock().contains(&std::thread::current().id()));
    // Not again for what has not changed.
    w.clock.advance_ms(LEASE_MS);
    w.open("user-0").await.unwrap();
    assert_eq!(w.parsed(), 0);
}

#[tokio::test]
async fn what_was_parsed_is_kept_though_the_account_changes_meanwhile() {
    let w = World::new().await;
    w.stored("doc", "permit").await;
    let (portions, id, runtime) = (w.portions.clone(), w.id, tokio::runtime::Handle::current());
    let describe: Step = Box::new(move || {
        let described = portions.describe(HOME, id, |record| {
            record.description.push('x');
            Ok(())
        });
        runtime.block_on(described).unwrap();
    });
    *w.lines.meanwhile.lock() = Some(describe);
    w.open("ann").await.unwrap();
    w.open("bob").await.unwrap();
    assert_eq!(w.parsed(), 1);
    // A document that is put counts at once nevertheless.
    *w.lines.meanwhile.lock() = None;
    w.portions.put_release_policy(HOME, "doc", "forbid").await.unwrap();
    assert!(matches!(w.open("ann").await, Err(PortionError::Release(_))));
}

/// A lease counts for ten seconds whatever happens in another account.
#[tokio::test]
async fn what_others_change_is_nothing_to_an_account() {
    let w = World::new().await;
    w.stored("doc", "permit").await;
    let (portions, runtime) = (w.portions.clone(), tokio::runtime::Handle::current());
    let elsewhere: Step = Box::new(move || {
        let other = AccountId::random(&SeededRng::new(5));
        runtime.block_on(portions.put_rules(other, r#"{"rules": []}"#)).unwrap();
    });
    *w.lines.meanwhile.lock() = Some(elsewhere);
    w.open("ann").await.unwrap();
    // By a hand that this process does not see: what is remembered counts on.
    w.stored("doc", "forbid").await;
    w.open("ann").await.unwrap();
    w.open("bob").await.unwrap();
    assert_eq!(w.parsed(), 1);
}

#[tokio::test]
async fn documents_that_cannot_be_read_release_nothing_and_tell_clients_nothing() {
    let w = World::new().await;
    w.stored("secret-doc", "permit\nsomething of tomorrow").await;
    for _ in 0..3 {
        let refused = w.open("ann").await.unwrap_err();
        assert!(matches!(refused, PortionError::UnreadablePolicies), "{refused}");
        let said = refused.to_string();
        assert!(!said.contains("secret-doc") && !said.contains("tomorrow"), "{said}");
        w.clock.advance_ms(LEASE_MS);
    }
    assert_eq!(w.parsed(), 1, "not once for each request");
    // Who may put it right is told.
    let caller = caller("ann");
    let ask = Ask { caller: &caller, portion: w.id, action: Action::Open, at_ms: None };
    let told = w.portions.would_release(HOME, &ask, None).await.unwrap_err();
    assert!(told.to_string().contains("secret-doc:1: what is something of tomorrow?"), "{told}");
    w.portions.put_release_policy(HOME, "secret-doc", "permit").await.unwrap();
    w.open("ann").await.unwrap();
}

#[tokio::test]
async fn a_document_has_a_policy_and_who_is_refused_is_not_told_which() {
    let w = World::new().await;
    for told in [
        w.portions.put_release_policy(HOME, "doc", "").await,
        w.portions.release_rules_with(HOME, "doc", Some("")).await.map(drop),
    ] {
        assert!(told.unwrap_err().to_string().contains("doc: there is no policy in it"));
    }
    w.open("ann").await.unwrap();
    w.portions.put_release_policy(HOME, "secret-doc", "forbid").await.unwrap();
    let refused = w.open("ann").await.unwrap_err();
    assert!(!refused.to_string().contains("secret-doc"), "{refused}");
    let PortionError::Release(Refusal::NotPermitted { by, .. }) = refused else { panic!("{refused}") };
    assert_eq!(by, ["secret-doc"], "the audit log has it");
}
