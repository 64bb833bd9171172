//! Five data centres, three processes in each, and what may befall them.
//!
//! `HOLDFAST_FIVE_DC=long`: single faults too, more requests, latency. `HOLDFAST_FIVE_DC_OPS`: requests during each fault.
//! `HOLDFAST_FIVE_DC_ONLY`: the scenarios with this in their names. `HOLDFAST_FIVE_DC_DELAY_MS`: how long a packet takes.
//! `HOLDFAST_FIVE_DC_HOLD_S`: how long each fault lasts at least.
//! `HOLDFAST_FIVE_DC_LOGS`: a folder for what the processes said. `HOLDFAST_SEED`: what a failure names.

use std::time::{Duration, Instant};

use base::{Rng, SeededRng, SystemRng};
use e2e::dc::client::{Client, Reply};
use e2e::dc::fault::{Fault, Part, Scenario, Way, scenarios};
use e2e::dc::workload::{BUCKET, Load};
use e2e::dc::{Cluster, Dc, has_faketime, say};

/// One cluster at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Sends a request that must be answered with `expected`; the body.
fn ask(cluster: &Cluster, dc: Dc, method: &str, path: &str, body: &[u8], expected: u16) -> Vec<u8> {
    let client = Client::new(Duration::from_secs(30));
    match runtime().block_on(client.send(&cluster.s3(dc), method, path, &[], body)) {
        Reply::Answer { status, body, stale: None, .. } if status == expected => body,
        other => panic!("{method} {path} at {dc}: {other:?}"),
    }
}

/// What one gateway has acknowledged, every other one has.
#[test]
#[ignore = "needs etcd and root; run `cargo xtask e2e`"]
fn fifteen_processes_are_one_store() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let cluster = Cluster::start(0);
    ask(&cluster, Dc(1), "PUT", "/first", b"", 200);
    for from in Dc::all() {
        let path = format!("/first/{from}");
        for (round, size) in [10, 300_000, 2_000_000].into_iter().enumerate() {
            let body = e2e::noise(round as u64, size);
            ask(&cluster, from, "PUT", &path, &body, 200);
            for to in Dc::all() {
                assert!(ask(&cluster, to, "GET", &path, b"", 200) == body, "{size} bytes of {from} read at {to}");
            }
        }
        ask(&cluster, from, "DELETE", &path, b"", 204);
        for to in Dc::all() {
            ask(&cluster, to, "GET", &path, b"", 404);
        }
    }
    say("five_dc: what one gateway has acknowledged, every other one has");
}

/// Requests of which the middle one counts.
const TIMED: usize = 15;

/// The middle of how long requests take at a gateway, milliseconds: a PUT of a new object, a GET of one that it knows.
fn times(cluster: &Cluster, dc: Dc, round: &str) -> [f64; 2] {
    let (client, runtime, host) = (Client::new(Duration::from_secs(30)), runtime(), cluster.s3(dc));
    let body = e2e::noise(1, 4096);
    let timed = |method: &str, path: &str, body: &[u8]| {
        let begun = Instant::now();
        let reply = runtime.block_on(client.send(&host, method, path, &[], body));
        assert!(matches!(reply, Reply::Answer { status: 200, .. }), "{method} {path} at {dc}: {reply:?}");
        begun.elapsed().as_secs_f64() * 1e3
    };
    let middle = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    // Connections, room under keys, and what is looked up once in a while.
    for turn in 0..5 {
        timed("PUT", &format!("/far/{round}-{dc}-warm{turn}"), &body);
    }
    let puts = (0..TIMED).map(|turn| timed("PUT", &format!("/far/{round}-{dc}-{turn}"), &body)).collect();
    let path = format!("/far/{round}-{dc}-0");
    [middle(puts), middle((0..TIMED).map(|_| timed("GET", &path, b"")).collect())]
}

/// What 20 ms there and back between data centres add to a PUT and to a GET, in round trips, at each gateway. The fewest are those of the
/// one beside etcd's leader. How many calls there are is counted by `store/tests/round_trips.rs`; this is what etcd makes of them.
#[test]
#[ignore = "needs etcd and root; run `cargo xtask e2e`"]
fn what_distance_costs() {
    if std::env::var("HOLDFAST_FIVE_DC").ok().as_deref() != Some("long") {
        e2e::skip(
            "what_distance_costs",
            "it takes a machine for itself: HOLDFAST_FIVE_DC=long cargo xtask e2e what_distance",
        );
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let cluster = Cluster::start(0);
    if !cluster.has_wires() {
        say("five_dc: without wires there is no distance");
        return;
    }
    ask(&cluster, Dc(0), "PUT", "/far", b"", 200);
    let near: Vec<[f64; 2]> = Dc::all().map(|dc| times(&cluster, dc, "near")).collect();
    cluster.delay(10);
    let far: Vec<[f64; 2]> = Dc::all().map(|dc| times(&cluster, dc, "far")).collect();
    for ((dc, near), far) in Dc::all().zip(near).zip(far) {
        let [put, get] = [0, 1].map(|which| (far[which] - near[which]) / 20.0);
        say(&format!(
            "five_dc: at {dc} 20 ms add {put:.1} round trips to a PUT, {get:.1} to a GET ({near:.1?} and {far:.1?} ms)"
        ));
        // Eight reads one after the other, as it once was, are 16 at most gateways. The rest is room for a busy machine.
        assert!(put < 8.0 && get < 8.0, "at {dc}: {put} {get}");
    }
}

/// How a run is to be.
struct Run {
    seed: u64,
    long: bool,
    /// Requests during each fault.
    requests: usize,
    delay_ms: u64,
    /// Seconds that each fault lasts at least: past half a minute a gateway that is not heard of is out.
    hold_s: u64,
    only: String,
}

impl Run {
    fn wanted() -> Self {
        let given = |name: &str| std::env::var(name).ok();
        let number = |name: &str| {
            given(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
        };
        let mut fresh = [0; 4];
        SystemRng.fill(&mut fresh);
        let long = given("HOLDFAST_FIVE_DC").is_some_and(|form| form == "long");
        Self {
            seed: number("HOLDFAST_SEED").unwrap_or_else(|| u64::from(u32::from_be_bytes(fresh))),
            long,
            requests: number("HOLDFAST_FIVE_DC_OPS").unwrap_or(if long { 2000 } else { 100 }) as usize,
            delay_ms: number("HOLDFAST_FIVE_DC_DELAY_MS").unwrap_or(if long { 10 } else { 1 }),
            hold_s: number("HOLDFAST_FIVE_DC_HOLD_S").unwrap_or(if long { 40 } else { 3 }),
            only: given("HOLDFAST_FIVE_DC_ONLY").unwrap_or_default(),
        }
    }

    fn again(&self) -> String {
        format!(
            "HOLDFAST_SEED={} HOLDFAST_FIVE_DC={} HOLDFAST_FIVE_DC_OPS={} HOLDFAST_FIVE_DC_DELAY_MS={} HOLDFAST_FIVE_DC_HOLD_S={} HOLDFAST_FIVE_DC_ONLY={:?} \
             cargo xtask e2e whatever_befalls_two",
            self.seed,
            if self.long { "long" } else { "short" },
            self.requests,
            self.delay_ms,
            self.hold_s,
            self.only
        )
    }

    /// Two data centres, others for each scenario.
    fn two(&self, scenario: usize) -> (Dc, Dc) {
        let mut bytes = [0; 2];
        SeededRng::new(self.seed.wrapping_add(scenario as u64)).fill(&mut bytes);
        let first = usize::from(bytes[0]) % 5;
        (Dc(first), Dc((first + 1 + usize::from(bytes[1]) % 4) % 5))
    }
}

/// Whether the machine can do it.
fn possible(cluster: &Cluster, scenario: &Scenario) -> bool {
    scenario.faults.iter().all(|fault| match fault {
        Fault::DiskFull(..) => cluster.has_disks(),
        Fault::ClockWrong(..) => has_faketime(),
        other => cluster.has_wires() || !other.needs_wires(),
    })
}

/// Lets it happen to a cluster with clients; what it came to.
fn play(cluster: &mut Cluster, run: &Run, index: usize, scenario: &Scenario) -> Result<String, String> {
    let second = Duration::from_secs(1);
    let gateways = Dc::all().map(|dc| cluster.s3(dc)).collect();
    // The long form waits long enough to tell what hangs from what is late.
    let within = second * if run.long { 12 } else { 5 };
    let load = Load::start(gateways, format!("s{index}"), run.seed.wrapping_add(index as u64), 8, within);
    load.wait_for(run.requests / 2, second);
    let before = load.now();
    for fault in &scenario.faults {
        cluster.inject(fault);
    }
    let during = load.now();
    load.wait_for(run.requests, Duration::from_secs(run.hold_s));
    let after = load.now();
    for fault in &scenario.faults {
        cluster.heal(fault);
    }
    let healed = load.now();
    load.wait_for(run.requests / 4, Duration::ZERO);
    let whole = cluster.wait_whole();
    let dead = cluster.dead();
    let spared = |gateway| {
        let own = |fault: &Fault| fault.dc() == Dc(gateway) && !fault.spares_gateways();
        !scenario.faults.iter().any(own)
    };
    let healthy = load.span(0, before, spared);
    // The first second is for noticing.
    let hurt = load.span(during + 1_000_000_000, after, spared);
    let all = load.span(0, u64::MAX, spared);
    let (failures, late) = (load.failures(spared), load.late(spared));
    let verdict = load.finish();
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let line = format!(
        "{:<22} {:?}: {} requests, {} retries, {} failed; reads p50 {:.0} ms ({:.1} x healthy), p99 {:.0} ms ({:.1} x); writes p50 {:.0} ms \
         ({:.1} x), p99 {:.0} ms ({:.1} x); fault {:.1} s, healed in \
         {:.1} s, whole after {:.1} s more",
        scenario.name,
        scenario.faults.iter().map(|fault| fault.dc().to_string()).collect::<Vec<_>>(),
        all.requests,
        all.retries,
        all.failed,
        hurt.read_ms[0],
        ratio(hurt.read_ms[0], healthy.read_ms[0]),
        hurt.read_ms[1],
        ratio(hurt.read_ms[1], healthy.read_ms[1]),
        hurt.write_ms[0],
        ratio(hurt.write_ms[0], healthy.write_ms[0]),
        hurt.write_ms[1],
        ratio(hurt.write_ms[1], healthy.write_ms[1]),
        (after - during) as f64 / 1e9,
        (healed - after) as f64 / 1e9,
        whole.as_secs_f64(),
    );
    let told = |verdict: &dyn std::fmt::Display| format!("{line}; {verdict}\n{failures}");
    if !dead.is_empty() {
        return Err(told(&format!("{dead:?} ended by themselves")));
    }
    if run.long && late > 0 {
        return Err(told(&format!("{late} requests hung at gateways that nothing had befallen")));
    }
    match verdict {
        Ok(verdict) => Ok(told(&format!(
            "{} keys, {} attempts of which {} of unknown outcome and {} as old as they said, linearizable",
            verdict.keys, verdict.records, verdict.unknown, verdict.stale
        ))),
        Err(wrong) => Err(told(&wrong)),
    }
}

/// Whatever befalls two of five: clients that try another gateway see no error, every write that was acknowledged is there, and
/// what all saw of a key could have been seen of one object on one machine.
#[test]
#[ignore = "needs etcd and root; run `cargo xtask e2e`"]
fn whatever_befalls_two_clients_do_not_see() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let run = Run::wanted();
    say(&format!("five_dc: {}", run.again()));
    let mut cluster = Cluster::start(run.delay_ms);
    ask(&cluster, Dc(0), "PUT", &format!("/{BUCKET}"), b"", 200);
    let mut wrong = Vec::new();
    // How many there are does not depend on where they happen.
    for index in 0..scenarios(Dc(0), Dc(1), run.long).len() {
        let (a, b) = run.two(index);
        let scenario = scenarios(a, b, run.long).swap_remove(index);
        if !scenario.name.contains(&run.only) {
            continue;
        }
        if !possible(&cluster, &scenario) {
            say(&format!("five_dc: {} cannot be played here", scenario.name));
            continue;
        }
        match play(&mut cluster, &run, index, &scenario) {
            Ok(told) => say(&format!("five_dc: {told}")),
            Err(told) => {
                say(&format!("five_dc: WRONG: {told}"));
                wrong.push(told);
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nagain: {}", wrong.join("\n"), run.again());
}

/// What is left of it where no namespaces can be made.
#[test]
#[ignore = "needs etcd; run `cargo xtask e2e`"]
fn without_namespaces_processes_on_loopback_do() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let run = Run { requests: 60, hold_s: 1, ..Run::wanted() };
    let mut cluster = Cluster::start_on_loopback();
    ask(&cluster, Dc(0), "PUT", &format!("/{BUCKET}"), b"", 200);
    let mut played = 0;
    for (index, scenario) in scenarios(Dc(1), Dc(4), false).into_iter().enumerate() {
        let can = possible(&cluster, &scenario);
        assert!(!can || !scenario.faults.iter().any(Fault::needs_wires), "{} was to be played", scenario.name);
        if can && ["power off", "site server paused"].contains(&scenario.name) {
            say(&format!(
                "five_dc: {}",
                play(&mut cluster, &run, index, &scenario).unwrap_or_else(|told| panic!("{told}"))
            ));
            played += 1;
        }
    }
    assert_eq!(played, 2);
}

/// A denial at one gateway counts at the others within a second, and at one that is cut off when its lease ends.
#[test]
#[ignore = "needs etcd and root; run `cargo xtask e2e`"]
fn a_denial_counts_everywhere() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut cluster = Cluster::start(1);
    let done = |cluster: &Cluster, args: &[&str]| {
        let (code, text) = cluster.holdfast(Dc(0), &[args, &["--json"]].concat());
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    };
    ask(&cluster, Dc(0), "PUT", "/data", b"", 200);
    ask(&cluster, Dc(0), "PUT", "/data/record", b"a record", 200);
    let made = done(&cluster, &["user", "create", "app"]);
    let made = serde_json::Deserializer::from_str(&made).into_iter().next();
    let made: serde_json::Value = made.and_then(Result::ok).expect("JSON");
    done(&cluster, &["user", "grant", "app", "*", "admin"]);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    let app = Client::with_keys(Duration::from_secs(2), &text("access_key"), &text("secret_key"));

    let cut = cluster.has_wires().then_some(Dc(4));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    // When each gateway was last seen to give it, as of when it was asked.
    let watchers: Vec<_> = Dc::all()
        .map(|dc| {
            let (app, host, stop) = (app.clone(), cluster.s3(dc), stop.clone());
            std::thread::spawn(move || {
                let runtime = runtime();
                let (mut last, mut refused) = (None, None);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let asked = Instant::now();
                    match runtime.block_on(app.send(&host, "GET", "/data/record", &[], b"")) {
                        Reply::Answer { status: 200, .. } => (last, refused) = (Some(asked), None),
                        Reply::NotDone(_) if refused.is_none() => refused = Some(asked),
                        _ => {}
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                (last, refused)
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    if let Some(dc) = cut {
        cluster.inject(&Fault::Cut(dc, Way::Both));
    }
    done(&cluster, &["release", "deny", "app", "--reason", "lost"]);
    let denied = Instant::now();
    std::thread::sleep(Duration::from_secs(15));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for (dc, watcher) in Dc::all().zip(watchers) {
        let (last, refused) = watcher.join().expect("a watcher");
        let last = last.unwrap_or_else(|| panic!("{dc} never gave it"));
        let late = last.saturating_duration_since(denied);
        say(&format!("five_dc: {dc} gave it last {:.3} s after the denial", late.as_secs_f64()));
        // Three times what is promised: the machine may be busy.
        let promised = Duration::from_secs(if cut == Some(dc) { 11 } else { 1 });
        assert!(late < 3 * promised, "{dc} gave it for {late:?} after the denial");
        assert!(refused.is_some() || cut == Some(dc), "{dc} never refused it");
    }
}

/// What curl was told: the status, the headers in lower case, and the body.
struct Told {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

fn curl(cluster: &Cluster, dc: Dc, method: &str, path: &str, body: &[u8]) -> Told {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("in"), body).expect("a file");
    let mut command = std::process::Command::new("curl");
    command.args(["--silent", "--max-time", "30", "--request", method, "--output"]).arg(file("out"));
    command.arg("--dump-header").arg(file("headers"));
    command.args([
        "--aws-sigv4",
        "aws:amz:us-east-1:s3",
        "--user",
        &format!("{}:{}", e2e::ACCESS_KEY, e2e::SECRET_KEY),
    ]);
    command.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    if method == "PUT" {
        command.arg("--data-binary").arg(format!("@{}", file("in").display()));
    }
    let done = command.arg(format!("http://{}{path}", cluster.s3(dc))).output().expect("curl runs");
    assert!(done.status.success(), "{method} {path} at {dc}: {done:?}");
    let headers = std::fs::read_to_string(file("headers")).expect("headers").to_lowercase();
    let last = headers.rsplit("http/1.1 ").next().unwrap_or_default().to_owned();
    let status = last.get(..3).and_then(|status| status.parse().ok()).expect("a status");
    Told { status, headers: last, body: std::fs::read(file("out")).unwrap_or_default() }
}

/// Three members of etcd are gone: what can be read is, and says how old it is; what a bucket has taken is taken, and told afterwards.
#[test]
#[ignore = "needs etcd and root; run `cargo xtask e2e`"]
fn a_minority_reads_on_and_takes_what_it_may() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut cluster = Cluster::start(0);
    let (here, there) = (Dc(0), Dc(4));
    for bucket in ["/taking", "/plain"] {
        ask(&cluster, here, "PUT", bucket, b"", 200);
    }
    let versioned = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(curl(&cluster, here, "PUT", "/taking?versioning=", versioned).status, 200);
    let (code, told) = cluster.holdfast(here, &["island", "accept", "taking"]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = cluster.holdfast(here, &["island", "accept", "plain"]);
    assert!(code == 2 && told.contains("enable versioning first"), "{code}: {told}");
    let before = e2e::noise(1, 2_000_000);
    for path in ["/taking/k", "/plain/k"] {
        ask(&cluster, here, "PUT", path, &before, 200);
        // In use here, when the cut comes.
        ask(&cluster, here, "GET", path, b"", 200);
    }
    let gone: Vec<Fault> = [1, 2, 3].map(|dc| Fault::Kill(Dc(dc), Part::Etcd)).into();
    gone.iter().for_each(|fault| cluster.inject(fault));
    let began = Instant::now();
    let stale = loop {
        let told = curl(&cluster, here, "GET", "/plain/k", b"");
        if told.status == 200 && told.headers.contains("holdfast-degraded: stale;age=") {
            break told;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{} {}", told.status, told.headers);
    };
    assert!(stale.body == before, "what was acknowledged is read");
    let listed = curl(&cluster, here, "GET", "/plain?list-type=2", b"");
    assert!(listed.status == 200 && listed.headers.contains("holdfast-degraded: stale"), "{}", listed.headers);
    // Nobody here may say what a bucket that does not take it would do with it.
    let asked = Instant::now();
    let refused = curl(&cluster, here, "PUT", "/plain/k", b"other");
    assert_eq!(refused.status, 503, "{}", String::from_utf8_lossy(&refused.body));
    assert!(refused.headers.contains("retry-after:"), "{}", refused.headers);
    assert!(refused.headers.contains("holdfast-degraded: refuse;dependency=meta"), "{}", refused.headers);
    say(&format!("five_dc: a minority refuses a write in {:.2} s", asked.elapsed().as_secs_f64()));
    let during = e2e::noise(2, 3_000_000);
    let taken = curl(&cluster, here, "PUT", "/taking/k", &during);
    assert_eq!(taken.status, 200, "{}", String::from_utf8_lossy(&taken.body));
    assert!(taken.headers.contains("holdfast-degraded: deferred;dependency=meta"), "{}", taken.headers);
    let hidden = curl(&cluster, here, "GET", "/taking/k", b"");
    assert_eq!(hidden.status, 503, "it does not show what it knows to be overwritten");
    // Long after any lease: what is of class strict opens no more, the rest does.
    while began.elapsed() < Duration::from_secs(12) {
        let told = curl(&cluster, here, "GET", "/plain/k", b"");
        assert!(told.status == 200 && told.body == before, "{} {}", told.status, told.headers);
    }
    let (code, told) = cluster.holdfast(here, &["status"]);
    assert!(code == 75 && told.contains("cut off from the metadata"), "{code}: {told}");
    let (code, told) = cluster.holdfast(here, &["island", "list"]);
    assert!(code == 0 && told.contains("taking/k") && told.contains("cut off"), "{code}: {told}");
    say(&told);
    gone.iter().for_each(|fault| cluster.heal(fault));
    cluster.wait_whole();
    let healed = Instant::now();
    loop {
        let told = curl(&cluster, there, "GET", "/taking/k", b"");
        if told.status == 200 && told.body == during {
            break;
        }
        assert!(healed.elapsed() < Duration::from_secs(60), "{} {}", told.status, told.headers);
    }
    let (_, told) = cluster.holdfast(here, &["island", "list"]);
    assert!(told.contains("Nothing waits here") && told.contains("No version came late"), "{told}");
    let plain = curl(&cluster, there, "GET", "/plain/k", b"");
    assert!(plain.body == before && !plain.headers.contains("holdfast-degraded"), "{}", plain.headers);
}
