//! Members that die, stop or vanish, answers that are lost: nothing is lost, nothing happens twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meta::{Batch, Check, CommitError, Engine, EtcdOptions, MetaError, Row, Write};

use crate::cluster::{Cluster, PASSWORD};
use crate::group::{key, put};
use crate::proxy::Proxy;

/// What became of increments.
#[derive(Default)]
struct Count {
    done: AtomicU64,
    unknown: AtomicU64,
}

async fn counted(engine: &dyn Engine) -> u64 {
    loop {
        match engine.get(&[key("count")]).await {
            Ok(rows) => return number(rows[0].as_ref()),
            Err(MetaError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn number(row: Option<&Row>) -> u64 {
    row.map_or(0, |row| std::str::from_utf8(&row.value).expect("digits").parse().expect("a number"))
}

/// Adds one. A refusal, after which nothing is written, is tried again.
async fn increment(engine: &dyn Engine, count: &Count) {
    loop {
        let rows = match engine.get(&[key("count")]).await {
            Ok(rows) => rows,
            Err(MetaError::Unavailable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        let mut batch = Batch::default();
        batch.replace(
            key("count"),
            rows[0].as_ref().map(|row| row.version),
            (number(rows[0].as_ref()) + 1).to_string().into(),
        );
        match engine.commit(batch).await {
            Ok(()) => {
                count.done.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Err(CommitError::Failed { .. } | CommitError::Unavailable(_)) => {}
            Err(CommitError::Unknown(_)) => {
                count.unknown.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Increments by several tasks until told to stop.
fn incrementing(
    engine: Arc<dyn Engine>,
    tasks: usize,
) -> (Arc<Count>, Arc<AtomicBool>, Vec<tokio::task::JoinHandle<()>>) {
    let (count, stop) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
    let task = || {
        let (engine, count, stop) = (Arc::clone(&engine), Arc::clone(&count), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                increment(engine.as_ref(), &count).await;
            }
        })
    };
    let tasks = (0..tasks).map(|_| task()).collect();
    (count, stop, tasks)
}

async fn ended(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("a task");
    }
}

/// Until so many more increments are done.
async fn more(count: &Count, by: u64) {
    let until = count.done.load(Ordering::SeqCst) + by;
    while count.done.load(Ordering::SeqCst) < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The leader's place, as etcd's own client sees it.
async fn leader(cluster: &Cluster) -> usize {
    loop {
        let health = cluster.open().await.health().await;
        if let Some(leader) = health.members.iter().position(|member| member.leader) {
            return leader;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_five_are_killed_the_leader_among_them() {
    let mut cluster = Cluster::five().await;
    let engine: Arc<dyn Engine> = Arc::new(cluster.open().await);
    let (count, stop, tasks) = incrementing(Arc::clone(&engine), 8);
    more(&count, 50).await;
    for round in 0..2 {
        let first = leader(&cluster).await;
        let second = (first + 1 + round) % 5;
        cluster.kill(first);
        cluster.kill(second);
        more(&count, 50).await;
        cluster.restart(first);
        cluster.restart(second);
        more(&count, 50).await;
    }
    stop.store(true, Ordering::SeqCst);
    ended(tasks).await;
    let (done, unknown, found) =
        (count.done.load(Ordering::SeqCst), count.unknown.load(Ordering::SeqCst), counted(engine.as_ref()).await);
    eprintln!("done {done}, unknown {unknown}, found {found}");
    assert!(found >= done, "an acknowledged increment is lost: {done} acknowledged, {found} found");
    assert!(
        found <= done + unknown,
        "an increment happened twice: {done} acknowledged, {unknown} unknown, {found} found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stops_costs_its_readers_once() {
    let cluster = Cluster::five().await;
    let engine = cluster.open().await;
    engine.commit(Batch { checks: vec![], writes: vec![put("row", "1")] }).await.expect("a commit");
    for _ in 0..40 {
        engine.get(&[key("row")]).await.expect("a read");
    }
    // The first of the address, which is asked first. Should it lead, the others elect another.
    cluster.pause(0);
    let mut slow = 0;
    for _ in 0..200 {
        let began = Instant::now();
        let rows = engine.get(&[key("row")]).await.expect("a read");
        assert_eq!(number(rows[0].as_ref()), 1);
        slow += u32::from(began.elapsed() > Duration::from_millis(1000));
    }
    // With room for an election, and for a machine that does much else.
    assert!(slow <= 20, "{slow} of 200 reads waited for a member that is paused");
    engine.commit(Batch { checks: vec![], writes: vec![put("row", "2")] }).await.expect("a commit");
    cluster.go_on(0);
    assert_eq!(number(engine.get(&[key("row")]).await.expect("a read")[0].as_ref()), 2);
    let health = engine.health().await;
    assert_eq!(health.members.len(), 5);
}

/// Requests arrive and answers do not: what happened is known all the same, to the last one.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_found_again() {
    let cluster = Cluster::one().await;
    let proxy = Proxy::start(cluster.port(0)).await;
    let engine: Arc<dyn Engine> =
        Arc::new(meta::Etcd::open(cluster.options_at(&[proxy.port])).await.expect("etcd answers"));
    let (count, stop, tasks) = incrementing(Arc::clone(&engine), 4);
    for _ in 0..60 {
        more(&count, 3).await;
        proxy.lose_next_answer();
    }
    stop.store(true, Ordering::SeqCst);
    ended(tasks).await;
    assert!(proxy.lost() >= 30, "{} answers were lost: the test does not test", proxy.lost());
    assert_eq!(count.unknown.load(Ordering::SeqCst), 0, "a majority answered all the time");
    assert_eq!(counted(engine.as_ref()).await, count.done.load(Ordering::SeqCst));
}

/// The outcome of each batch of a lost transaction: of those without writes, those that failed, those that delete.
#[tokio::test(flavor = "multi_thread")]
async fn each_batch_of_a_lost_answer_gets_its_own() {
    let cluster = Cluster::one().await;
    let proxy = Proxy::start(cluster.port(0)).await;
    let engine = meta::Etcd::open(cluster.options_at(&[proxy.port])).await.expect("etcd answers");
    for round in 0..10 {
        let at = |name: &str| key(format!("{round}/{name}"));
        engine
            .commit(Batch { checks: vec![], writes: vec![Write::Put(at("old"), "".into())] })
            .await
            .expect("a commit");
        let batch = |checks, writes| Batch { checks, writes };
        let before = proxy.lost();
        proxy.lose_next_answer();
        let answers = engine
            .commit_group(vec![
                batch(vec![Check::Absent(at("a"))], vec![Write::Put(at("a"), "1".into())]),
                batch(vec![Check::Present(at("old")), Check::Present(at("b"))], vec![Write::Put(at("b"), "1".into())]),
                batch(vec![Check::Present(at("old"))], vec![]),
                batch(vec![Check::Absent(at("c")), Check::Absent(at("d")), Check::Absent(at("old"))], vec![]),
                batch(vec![], vec![Write::Delete(at("never"))]),
                // Not in the same transaction.
                batch(vec![Check::Present(at("a"))], vec![Write::Delete(at("a"))]),
            ])
            .await;
        assert_eq!(proxy.lost(), before + 1, "round {round}");
        let said = format!("round {round}: {answers:?}");
        use CommitError::Failed;
        assert!(
            matches!(&answers[..], [Ok(_), Err(Failed { check: 1 }), Ok(_), Err(Failed { check: 2 }), Ok(_), Ok(_)]),
            "{said}"
        );
        let rows = engine.get(&[at("a"), at("b"), at("old")]).await.expect("a read");
        assert_eq!(rows.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true], "{said}");
    }
}

/// Without a majority a commit's outcome is unknown, and whoever reads afterwards learns it for good.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_settled_before_the_next_read() {
    let cluster = Cluster::one().await;
    let proxy = Proxy::start(cluster.port(0)).await;
    let engine = meta::Etcd::open(cluster.options_at(&[proxy.port])).await.expect("etcd answers");
    for swallowed in [true, false] {
        let name = key(format!("unknown/{swallowed}"));
        engine.commit(Batch { checks: vec![], writes: vec![put("other", "")] }).await.expect("a commit");
        // Requests come through and answers do not, or requests are held.
        let mut tries = 0;
        loop {
            if swallowed {
                proxy.hold_answers()
            } else {
                proxy.hold_requests()
            }
            let batch = Batch { checks: vec![], writes: vec![Write::Put(name.clone(), "1".into())] };
            match engine.commit(batch).await {
                Err(CommitError::Unknown(_)) => break,
                // By a lane without a marker yet: it never came to the batch.
                Err(CommitError::Unavailable(_)) if tries < 4 => tries += 1,
                answer => panic!("{answer:?}"),
            }
            proxy.let_through();
            engine.commit(Batch { checks: vec![], writes: vec![put("other", "1")] }).await.expect("a commit");
        }
        let error = engine.get(std::slice::from_ref(&name)).await.expect_err("nobody answers");
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port)), "{error}");
        proxy.let_through();
        let read = async || loop {
            if let Ok(rows) = engine.get(std::slice::from_ref(&name)).await {
                return rows[0].clone();
            }
        };
        let first = read().await;
        if swallowed {
            assert!(first.is_some(), "it was committed");
        }
        for _ in 0..20 {
            assert_eq!(read().await, first, "what was read once stays so");
        }
        engine.commit(Batch { checks: vec![], writes: vec![put("other", "2")] }).await.expect("lanes work again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_is_renewed_and_a_wrong_password_told() {
    let mut cluster = Cluster::start(1, false, true, &["--auth-token-ttl", "1"]).await;
    let engine = cluster.open().await;
    engine.commit(Batch { checks: vec![], writes: vec![put("row", "1")] }).await.expect("a commit");
    // A member that was started anew has forgotten all tokens.
    cluster.restart(0);
    let began = Instant::now();
    while engine.get(&[key("row")]).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "the member does not come back");
    }
    engine.commit(Batch { checks: vec![], writes: vec![put("row", "2")] }).await.expect("a commit");

    let refused = async |user: &str, password: &str| {
        let file = cluster.secret("other", password);
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let mut options = std::collections::BTreeMap::new();
        if !user.is_empty() {
            options.insert("password_file".to_owned(), file);
        }
        let url = format!("etcd://{user}127.0.0.1:{}", cluster.port(0));
        let options = EtcdOptions::parse(&url, &options).expect("options");
        meta::Etcd::open(options).await.expect_err("it is refused").to_string()
    };
    let told = refused("holdfast", "battery staple").await;
    assert!(told.contains("\"holdfast\"") && told.contains("password_file") && !told.contains("staple"), "{told}");
    assert!(refused("", "").await.contains("name a user"));
    assert!(cluster.etcdctl(&["user", "add", &format!("stranger:{PASSWORD}")]));
    let told = refused("stranger", PASSWORD).await;
    assert!(told.contains("grant its role readwrite"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_is_told_and_what_was_refused_is_not_there() {
    let cluster = Cluster::start(1, false, false, &["--quota-backend-bytes", "16777216"]).await;
    let engine = cluster.open().await;
    let big = |i: usize| Batch { checks: vec![], writes: vec![put(format!("big/{i:04}"), vec![7; 100_000])] };
    let mut done = 0;
    let refused = loop {
        match engine.commit(big(done)).await {
            Ok(()) => done += 1,
            Err(error) => break error,
        }
        assert!(done < 1000, "the quota does not fill");
    };
    assert!(matches!(refused, CommitError::Full), "{refused}");
    for _ in 0..3 {
        let again = engine.commit(big(done)).await;
        assert!(matches!(again, Err(CommitError::Full)), "{again:?}");
    }
    let all: Vec<_> = (0..=done).map(|i| key(format!("big/{i:04}"))).collect();
    let rows = engine.get(&all).await.expect("reads go on");
    assert!(rows[..done].iter().all(Option::is_some), "what was acknowledged is there");
    assert!(rows[done].is_none(), "what was refused is not");
    let health = engine.health().await;
    assert_eq!(health.members[0].alarms, ["NOSPACE"], "{health:?}");
    assert!(health.warnings.iter().any(|told| told.contains("NOSPACE")), "{:?}", health.warnings);
    // The cure that the warning names.
    assert!(cluster.etcdctl(&["del", "--prefix", "holdfast/r/big/"]));
    let revision = cluster.etcdctl_prints(&["get", "x", "-w", "json"]);
    let revision =
        revision.split("\"revision\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).expect("a revision");
    assert!(cluster.etcdctl(&["compact", revision]));
    engine.defragment(0).await.expect("defragmented");
    assert!(cluster.etcdctl(&["alarm", "disarm"]));
    engine.commit(big(0)).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_forgets_what_was_and_nothing_else() {
    let cluster = Cluster::one().await;
    let engine = cluster.open().await;
    for round in 0..30 {
        let writes = vec![put("row", round.to_string())];
        engine.commit(Batch { checks: vec![], writes }).await.expect("a commit");
    }
    assert_eq!(engine.compact().await.expect("upkeep"), None, "nothing is ten minutes old");
    let revision = engine.compact_keeping(Duration::ZERO).await.expect("upkeep").expect("a revision");
    assert_eq!(engine.compact_keeping(Duration::ZERO).await.expect("once more"), Some(revision), "harmless twice");
    assert!(!cluster.etcdctl(&["get", "x", &format!("--rev={}", revision - 1)]), "what was is forgotten");
    assert_eq!(number(engine.get(&[key("row")]).await.expect("a read")[0].as_ref()), 29);
    engine.commit(Batch { checks: vec![Check::Present(key("row"))], writes: vec![] }).await.expect("a commit");
    let health = engine.health().await;
    assert_eq!((health.reachable(), health.members[0].leader), (1, true));
    assert!(health.warnings.iter().any(|told| told.contains("1 members: 0 may be lost")), "{:?}", health.warnings);
}

/// With three of five members gone nothing strong is answered, and what the other two have still is.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_a_copy_answers() {
    let mut cluster = Cluster::five().await;
    let engine = cluster.open().await;
    // More than one transaction reads, and more than one page has.
    let keys: Vec<_> = (0..250).map(|number| key(format!("row/{number:03}").as_str())).collect();
    for some in keys.chunks(50) {
        let writes = some.iter().map(|row_key| Write::Put(row_key.clone(), row_key.clone())).collect();
        engine.commit(Batch { checks: vec![], writes }).await.expect("all members are there");
    }
    let interval = || meta::Range { from: key("row/"), to: key("row0"), limit: 200 };
    let strong = engine.get(&keys).await.expect("all members are there");
    let page = engine.range(interval()).await.expect("all members are there");
    // What a member that answers next does not have yet comes with the next beat of the leader.
    while engine.nearby(&keys, None).await.map(|found| found.rows != strong).unwrap_or(true) {}
    for index in 0..3 {
        cluster.kill(index);
    }
    let refused = engine.get(&keys[..1]).await.expect_err("there is no majority");
    assert!(matches!(refused, MetaError::Unavailable(_)), "{refused}");
    let mut found = None;
    // The two learn what was committed last together with others' beats, which have ended.
    for _ in 0..100 {
        let one = engine.nearby(&keys, Some(interval())).await.expect("two members have it");
        if one.rows == strong {
            found = Some(one);
            break;
        }
    }
    let found = found.expect("acknowledged rows are at the two");
    assert_eq!((found.page.rows, found.page.more), (page.rows, page.more));
    let commit = engine.commit(Batch { checks: vec![], writes: vec![Write::Put(key("x"), key("x"))] }).await;
    assert!(commit.is_err(), "nothing is written by a copy");
}
