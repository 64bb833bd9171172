//! Grants over the engine in memory, against a model of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{AccountId, Doors, ManualClock, PortionId, SeededRng};
use keys::{
    Constraints, EncryptionContext, EndGrant, GRANTS_OF_PRINCIPAL_MAX, Keyring, NewGrant, PortionError, Portions,
    Switch,
};
use meta::record::{GrantPrincipal, KeyGrantCount, KeyGrantId, KeyOperation, Record, key};
use meta::{Engine, Memory, Range, prefix_end};
use proptest::prelude::*;

const HOME: AccountId = AccountId::DEFAULT;

struct World {
    clock: Arc<ManualClock>,
    meta: Arc<Memory>,
    one: Portions,
    two: Portions,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let (meta, rng) = (Arc::new(Memory::new()), Arc::new(SeededRng::new(1)));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let doors = Doors { clock: clock.clone(), rng };
        let process = || Portions::new(meta.clone(), ring.clone(), doors.clone());
        Self { one: process(), two: process(), clock, meta }
    }

    async fn rows(&self, prefix: &str) -> usize {
        let from = bytes_of(prefix);
        let to = prefix_end(&from);
        self.meta.range(Range { from, to, limit: 10_000 }).await.unwrap().rows.len()
    }
}

fn bytes_of(text: &str) -> meta::Key {
    text.as_bytes().to_vec().into()
}

fn user(name: &str) -> GrantPrincipal {
    GrantPrincipal { arn: format!("arn:aws:iam::000000000000:user/{name}"), id: format!("ID-{name}") }
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn new(grantee: &str, operations: &[KeyOperation]) -> NewGrant {
    NewGrant {
        name: None,
        grantee: user(grantee),
        retiring: None,
        operations: operations.iter().copied().collect(),
        constraints: Constraints::default(),
    }
}

const NO_CONTEXT: EncryptionContext = BTreeMap::new();

#[tokio::test]
async fn a_grant_counts_everywhere_at_once_and_ends_at_once() {
    let w = World::new();
    let (id, other) = (w.one.named(HOME, "p").await.unwrap(), w.one.named(HOME, "q").await.unwrap());
    let grant = w.one.create_grant(HOME, id, new("ann", &[KeyOperation::Decrypt])).await.unwrap();
    for (portion, by, action, expected) in [
        (id, user("ann"), "kms:Decrypt", true),
        (id, user("ann"), "kms:Encrypt", false),
        (id, user("ann"), "kms:ScheduleKeyDeletion", false),
        (id, user("ann"), "Decrypt", false),
        (id, user("bob"), "kms:Decrypt", false),
        (other, user("ann"), "kms:Decrypt", false),
        // Another one of the same name, and the same one under another name.
        (id, GrantPrincipal { id: "ID-2".to_owned(), ..user("ann") }, "kms:Decrypt", false),
        (id, GrantPrincipal { arn: "arn:aws:iam::000000000000:root".to_owned(), ..user("ann") }, "kms:Decrypt", false),
    ] {
        assert_eq!(w.two.granted(portion, &by, action, &NO_CONTEXT).await.unwrap(), expected, "{by:?} {action}");
    }
    let elsewhere = AccountId::random(&SeededRng::new(7));
    let ended = w.two.end_grant(elsewhere, id, grant, EndGrant::Revoke).await;
    assert!(matches!(ended, Err(PortionError::NoSuchPortion(_))));
    w.two.end_grant(HOME, id, grant, EndGrant::Revoke).await.unwrap();
    assert!(!w.one.granted(id, &user("ann"), "kms:Decrypt", &NO_CONTEXT).await.unwrap());
    let again = w.one.end_grant(HOME, id, grant, EndGrant::Retire).await;
    assert!(matches!(again, Err(PortionError::NoSuchGrant(_))));
}

#[tokio::test]
async fn the_same_grant_under_one_name_is_one() {
    let w = World::new();
    let (id, other) = (w.one.named(HOME, "p").await.unwrap(), w.one.named(HOME, "q").await.unwrap());
    let named = NewGrant { name: Some("n".to_owned()), ..new("ann", &[KeyOperation::Decrypt]) };
    let first = w.one.create_grant(HOME, id, named.clone()).await.unwrap();
    w.clock.advance_ms(1000);
    assert_eq!(w.two.create_grant(HOME, id, named.clone()).await.unwrap(), first);
    assert_eq!(w.two.grant(id, first).await.unwrap().record.created_ms, 1_000_000);
    let different = [
        NewGrant { name: Some("m".to_owned()), ..named.clone() },
        NewGrant { name: None, ..named.clone() },
        NewGrant { retiring: Some(user("bob")), ..named.clone() },
        NewGrant { operations: [KeyOperation::Encrypt].into(), ..named.clone() },
        NewGrant { constraints: Constraints { equals: Some(NO_CONTEXT), subset: None }, ..named.clone() },
        NewGrant { constraints: Constraints { equals: None, subset: Some(NO_CONTEXT) }, ..named.clone() },
    ];
    let mut ids = BTreeSet::from([first]);
    for asked in different {
        assert!(ids.insert(w.one.create_grant(HOME, id, asked.clone()).await.unwrap()), "{asked:?}");
    }
    assert!(ids.insert(w.one.create_grant(HOME, other, named).await.unwrap()), "of another key");
}

#[tokio::test]
async fn grants_of_one_principal_are_bounded_whoever_makes_them() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    for at in 0..GRANTS_OF_PRINCIPAL_MAX - 1 {
        let process = if at % 2 == 0 { &w.one } else { &w.two };
        process.create_grant(HOME, id, new("ann", &[KeyOperation::Decrypt])).await.unwrap();
    }
    // One of two that come at once.
    let make = || w.one.create_grant(HOME, id, new("ann", &[KeyOperation::Decrypt]));
    let (a, b) = tokio::join!(make(), make());
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let bound = if a.is_ok() { b } else { a };
    assert!(matches!(bound, Err(PortionError::TooManyGrants(_))), "{bound:?}");
    assert!(w.one.create_grant(HOME, id, new("bob", &[KeyOperation::Decrypt])).await.is_ok());
}

#[tokio::test]
async fn a_row_that_finds_no_grant_hides_none_behind_it() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let bob = user("bob");
    for name in ["ann", "cid", "dan"] {
        let asked = NewGrant { retiring: Some(bob.clone()), ..new(name, &[KeyOperation::Decrypt]) };
        w.one.create_grant(HOME, id, asked).await.unwrap();
    }
    let all = w.one.retirable_grants(HOME, &bob, None, 10).await.unwrap().0;
    let gone = vec![meta::Write::Delete(key::key_grant_key(id, all[1].id))];
    w.meta.commit(meta::Batch { checks: vec![], writes: gone }).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..3 {
        let some;
        (some, after) = w.one.retirable_grants(HOME, &bob, after, 1).await.unwrap();
        found.extend(some.into_iter().map(|grant| grant.id));
    }
    assert_eq!((found, after), (vec![all[0].id, all[2].id], None));
}

#[tokio::test]
async fn grants_of_a_key_are_bounded() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let count = |count: u32| KeyGrantCount { count }.encode();
    let put = |value| meta::Write::Put(key::key_grant_count_key(id), value);
    let batch = |value| meta::Batch { checks: vec![], writes: vec![put(value)] };
    w.meta.commit(batch(count(keys::GRANTS_MAX - 1))).await.unwrap();
    let last = w.one.create_grant(HOME, id, new("ann", &[KeyOperation::Decrypt])).await.unwrap();
    let over = w.one.create_grant(HOME, id, new("bob", &[KeyOperation::Decrypt])).await;
    assert!(matches!(over, Err(PortionError::TooManyGrants(_))), "{over:?}");
    w.one.end_grant(HOME, id, last, EndGrant::Retire).await.unwrap();
    assert!(w.one.create_grant(HOME, id, new("bob", &[KeyOperation::Decrypt])).await.is_ok());
}

#[tokio::test]
async fn a_shredded_key_leaves_no_grants_and_no_aliases() {
    let w = World::new();
    let (id, kept) = (w.one.named(HOME, "p").await.unwrap(), w.one.named(HOME, "q").await.unwrap());
    for at in 0..120 {
        let asked = NewGrant { retiring: Some(user("bob")), ..new(&format!("u{at}"), &[KeyOperation::Decrypt]) };
        w.one.create_grant(HOME, id, asked.clone()).await.unwrap();
        w.one.create_alias(HOME, &format!("a{at}"), id).await.unwrap();
        if at < 3 {
            w.one.create_grant(HOME, kept, asked).await.unwrap();
            w.one.create_alias(HOME, &format!("b{at}"), kept).await.unwrap();
        }
    }
    w.one.switch(HOME, id, Switch::Disable).await.unwrap();
    let disabled = w.one.create_grant(HOME, id, new("ann", &[KeyOperation::Decrypt])).await;
    assert!(matches!(disabled, Err(PortionError::Disabled(_))));
    w.one.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    let late = w.two.create_grant(HOME, id, new("ann", &[KeyOperation::Decrypt])).await;
    assert!(matches!(late, Err(PortionError::PendingShred { .. })));
    let late = w.two.create_alias(HOME, "late", id).await;
    assert!(matches!(late, Err(PortionError::PendingShred { .. })));
    let late = w.two.update_alias(HOME, "b0", id).await;
    assert!(matches!(late, Err(PortionError::PendingShred { .. })));
    assert!(w.two.shred(HOME, id).await.unwrap());
    assert_eq!((w.rows("F/").await, w.rows("J/").await, w.rows("U/").await, w.rows("l/").await), (3, 1, 3, 3));
    // Their names are free.
    w.one.create_alias(HOME, "a0", kept).await.unwrap();
    assert_eq!(w.two.find(HOME, "alias/a0").await.unwrap().id, kept);
}

/// What is done, by numbers that stand for keys, users, shapes.
#[derive(Debug, Clone)]
enum Act {
    Create { key: usize, grantee: usize, shape: usize, named: bool, retiring: Option<usize> },
    End { which: usize, how: EndGrant },
}

const USERS: [&str; 3] = ["ann", "bob", "eve"];

fn act() -> impl Strategy<Value = Act> {
    let create = (0..2_usize, 0..3_usize, 0..5_usize, any::<bool>(), proptest::option::of(0..3_usize))
        .prop_map(|(key, grantee, shape, named, retiring)| Act::Create { key, grantee, shape, named, retiring });
    let end = (any::<usize>(), any::<bool>())
        .prop_map(|(which, retire)| Act::End { which, how: if retire { EndGrant::Retire } else { EndGrant::Revoke } });
    prop_oneof![3 => create, 2 => end]
}

fn shaped(shape: usize) -> (BTreeSet<KeyOperation>, Constraints) {
    use KeyOperation::{CreateGrant, Decrypt, DescribeKey, Encrypt, RetireGrant};
    let (operations, equals, subset): (&[KeyOperation], _, _) = match shape {
        0 => (&[Decrypt], None, None),
        1 => (&[Decrypt, Encrypt], Some(context(&[("a", "1")])), None),
        2 => (&[Encrypt, DescribeKey], None, Some(context(&[("a", "1")]))),
        3 => (&[CreateGrant, RetireGrant], None, None),
        _ => (&[Decrypt], Some(NO_CONTEXT), None),
    };
    (operations.iter().copied().collect(), Constraints { equals, subset })
}

/// The rule once more, by other means: what the model holds of each grant.
fn expected(
    operations: &BTreeSet<KeyOperation>,
    constraints: &Constraints,
    action: &str,
    given: &[(&str, &str)],
) -> bool {
    let has = operations.iter().any(|operation| format!("kms:{}", operation.name()) == action);
    let bound = !["kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"].contains(&action);
    let pairs = |map: &EncryptionContext| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeSet<_>>();
    let given = pairs(&context(given));
    has && (!bound
        || (constraints.equals.as_ref().is_none_or(|map| pairs(map) == given)
            && constraints.subset.as_ref().is_none_or(|map| pairs(map).is_subset(&given))))
}

type Model = BTreeMap<(PortionId, KeyGrantId), NewGrant>;

async fn compare(w: &World, keys: [PortionId; 2], model: &Model) {
    let mut retirable = 0;
    for portion in keys {
        let of_key: Vec<_> = model.iter().filter(|((of, _), _)| *of == portion).collect();
        let count = w.meta.get(&[key::key_grant_count_key(portion)]).await.unwrap().pop().flatten();
        let count = count.map_or(0, |row| KeyGrantCount::decode(&row.value).unwrap().count);
        assert_eq!(count as usize, of_key.len());
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let (page, more) = w.two.grants(portion, None, after, 2).await.unwrap();
            after = page.last().map(|grant| grant.id);
            listed.extend(page.into_iter().map(|grant| grant.id));
            if !more {
                break;
            }
        }
        assert_eq!(listed, of_key.iter().map(|((_, id), _)| *id).collect::<Vec<_>>());
        for name in USERS {
            let me = user(name);
            let mine = of_key.iter().filter(|(_, grant)| grant.grantee == me);
            let (page, more) = w.one.grants(portion, Some(&me), None, 1000).await.unwrap();
            assert_eq!((page.len(), more), (mine.clone().count(), false));
            for action in ["kms:Decrypt", "kms:Encrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:RevokeGrant"] {
                for given in [&[][..], &[("a", "1")], &[("a", "1"), ("b", "2")], &[("a", "2")]] {
                    let found = w.two.granted(portion, &me, action, &context(given)).await.unwrap();
                    let fits =
                        mine.clone().any(|(_, grant)| expected(&grant.operations, &grant.constraints, action, given));
                    assert_eq!(found, fits, "{name} {action} {given:?}");
                }
            }
        }
    }
    for name in USERS {
        let me = user(name);
        let (page, next) = w.two.retirable_grants(HOME, &me, None, 1000).await.unwrap();
        let found: BTreeSet<_> = page.iter().map(|grant| (grant.portion, grant.id)).collect();
        let wanted = model.iter().filter(|(_, grant)| grant.retiring.as_ref() == Some(&me));
        assert_eq!(found, wanted.map(|(at, _)| *at).collect::<BTreeSet<_>>());
        assert!(next.is_none());
        retirable += found.len();
    }
    assert_eq!(w.rows("U/").await, retirable, "rows that find nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn grants_are_what_was_made_and_not_ended(acts in proptest::collection::vec(act(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let w = World::new();
            let keys = [w.one.named(HOME, "p").await.unwrap(), w.one.named(HOME, "q").await.unwrap()];
            let mut model = Model::new();
            let mut ended = Vec::new();
            for act in acts {
                match act {
                    Act::Create { key, grantee, shape, named, retiring } => {
                        let (operations, constraints) = shaped(shape);
                        let asked = NewGrant {
                            name: named.then(|| "n".to_owned()),
                            grantee: user(USERS[grantee]),
                            retiring: retiring.map(|at| user(USERS[at])),
                            operations,
                            constraints,
                        };
                        let id = w.one.create_grant(HOME, keys[key], asked.clone()).await.unwrap();
                        let before = model.insert((keys[key], id), asked.clone());
                        assert!(before.is_none_or(|before| named && before == asked), "another's id");
                    }
                    Act::End { which, how } => {
                        // One that lives, or one that ended before.
                        let all: Vec<_> = model.keys().copied().chain(ended.iter().copied()).collect();
                        let Some(&(portion, id)) = all.get(which % all.len().max(1)) else { continue };
                        let done = w.two.end_grant(HOME, portion, id, how).await;
                        assert_eq!(done.is_ok(), model.remove(&(portion, id)).is_some(), "{done:?}");
                        ended.push((portion, id));
                    }
                }
                compare(&w, keys, &model).await;
            }
        });
    }
}
