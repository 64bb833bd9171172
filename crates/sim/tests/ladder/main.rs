//! Every cell of the degradation ladder: the failure is injected, and the answer has to be on the rung, say so in its header, and be counted.
//!
//! The cells are those of the data file: one for which there is no driver or injector fails. The store, its protocols and the sites' pool
//! are the real ones, on a paused clock and one thread.

mod drivers;
mod faults;
mod world;

use std::time::Duration;

use drivers::{Driver, backlog};
use ladder::{Cell, Failure, Ladder, Plan, Rung, Step, Told};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;
use world::{Answer, World};

/// A client that waits longer than this has given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The same of one whose upload is scanned, which may take as long.
const SCANNED_WITHIN: Duration = Duration::from_secs(59);
/// Past the end of a step, for what is only looked at now and then.
const AFTER: u64 = 15;

/// What an answer was: its rung, and what is wrong with how it says so.
struct Seen {
    rung: Option<Rung>,
    wrong: Vec<String>,
    told: String,
}

/// The counter of degraded answers, as the rung has it.
fn counted(metrics: &PrometheusHandle, rung: Rung) -> u64 {
    let label = format!("rung=\"{}\"", rung.name());
    let text = metrics.render();
    let lines =
        text.lines().filter(|line| line.starts_with("holdfast_degraded_answers_total{") && line.contains(&label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn all_counted(metrics: &PrometheusHandle) -> [u64; Rung::ALL.len()] {
    Rung::ALL.map(|rung| counted(metrics, rung))
}

fn see(answer: &Answer, driver: &Driver, told_as: &str, step: Option<&Step>) -> Seen {
    let header = answer.headers.get(ladder::HEADER).map(|value| value.to_str().unwrap_or("?"));
    let told = header.and_then(Told::read);
    let words: String = String::from_utf8_lossy(&answer.body).chars().filter(|c| !c.is_control()).take(300).collect();
    let words = if answer.status.is_success() { String::new() } else { words };
    let mut seen = Seen { rung: None, wrong: Vec::new(), told: format!("{} {header:?} {words}", answer.status) };
    let is_done = answer.status.is_success() && answer.whole;
    seen.rung = match &told {
        Some(told) => Some(told.rung),
        None if header.is_none() && is_done => Some(Rung::Same),
        None => None,
    };
    let mut must = |holds: bool, what: &str| {
        if !holds {
            seen.wrong.push(what.to_owned());
        }
    };
    must(answer.whole, "the body broke off");
    match &told {
        Some(told) => {
            must(told.dependency == told_as, "the header names another dependency");
            let is_answer = !matches!(told.rung, Rung::Refuse);
            must(is_answer == answer.status.is_success(), "status and header differ");
            if told.rung == Rung::Stale {
                let max_s = step.and_then(|step| step.max_s).unwrap_or(0);
                must(told.age_s.is_some_and(|age_s| age_s <= max_s + 10), "older than it may be");
            }
        }
        None => must(is_done, "a failure that says nothing"),
    }
    if answer.status.is_success() {
        must(driver.is_right(answer), "not what it must be");
    }
    if answer.status == 503 {
        must(answer.headers.contains_key("retry-after"), "503 without Retry-After");
    }
    seen
}

/// Goes down the steps of a cell; what is not as the cell says.
async fn prove(cell: &Cell, told_as: &str, metrics: &PrometheusHandle) -> Vec<String> {
    let world = World::new(&cell.dependency, metrics.clone()).await;
    let mut driver = Driver::new(&cell.operation, &world).await;
    world.look().await;
    let can_be = world.inject(&cell.dependency, cell.failure);
    let as_ever = [Step { rung: Rung::Same, max_s: None }];
    // What lasts for ever is looked at again when no lease from before is left.
    let lasts = [Step { rung: Rung::Same, max_s: Some(keys::HOLD_LEASE_MS / 1000) }, as_ever[0]];
    let steps = match &cell.plan {
        Plan::Steps(steps) if can_be && *steps == as_ever && told_as == "keys" => &lasts[..],
        Plan::Steps(steps) if can_be => steps.as_slice(),
        Plan::Steps(_) => return vec!["cannot fail so, and has rungs: none, with the reason".to_owned()],
        Plan::None(_) => &as_ever[..],
    };
    // It is noticed; every second call goes on as it began.
    if cell.failure != Failure::Overloaded {
        world.look().await;
    }
    // With every second call going through no lease comes to its end, so that what is below is not reached.
    let steps = if cell.failure == Failure::Overloaded { &steps[..1] } else { steps };
    let mut wrong = Vec::new();
    for step in steps {
        let before = all_counted(metrics);
        let begun = Instant::now();
        let asked = driver.ask(&world).await;
        let took = begun.elapsed();
        let seen = match &asked {
            Some(answer) => see(answer, &driver, told_as, Some(step)),
            None => {
                world.cure().await;
                let left = backlog(&world).await;
                let rung = if left == 0 { Rung::Same } else { Rung::Deferred };
                let mut wrong = Vec::new();
                let _ = world.store.repair_pass().await;
                if backlog(&world).await > 0 {
                    wrong.push("it is not made up for later".to_owned());
                }
                Seen { rung: Some(rung), wrong, told: format!("{left} left") }
            }
        };
        let mut expected = before;
        if asked.is_some() && step.rung != Rung::Same {
            expected[step.rung as usize] += 1;
        }
        let mut told = |what: String| wrong.push(format!("{step}: {what} ({})", seen.told));
        if seen.rung != Some(step.rung) {
            told(format!("is {}", seen.rung.map_or("nothing that it says", Rung::name)));
        } else if all_counted(metrics) != expected {
            told("is not counted".to_owned());
        }
        seen.wrong.iter().cloned().for_each(&mut told);
        if step.rung == Rung::Deferred && driver.is_made_up(&world).await == Some(false) {
            told("is not made up for later".to_owned());
        }
        let within = if told_as == "scan" { SCANNED_WITHIN } else { ANSWER_WITHIN };
        if asked.is_some() && took > within {
            told(format!("took {took:?}"));
        }
        if let Some(max_s) = step.max_s {
            world.pass(max_s + AFTER).await;
        }
    }
    // What is slow on a thread of its own ends.
    world.cure().await;
    wrong
}

/// Lets time pass while a thread is at work, during which a paused clock stands still.
async fn ticking() {
    loop {
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_micros(200));
        tokio::time::advance(Duration::from_millis(50)).await;
    }
}

/// As the data file has it now: what is compiled in is that of the last build.
fn the_ladder() -> Ladder {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ladder/ladder.toml")).expect("the file");
    Ladder::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn prove_all(operation: &str) {
    let ladder = the_ladder();
    let cells = ladder.cells_of(Some(operation), None);
    assert!(!cells.is_empty(), "{operation} is not in the ladder");
    let mut report = Vec::new();
    for cell in cells {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        let _here = metrics::set_default_local_recorder(&recorder);
        let told_as = ladder.dependencies.iter().find(|it| it.name == cell.dependency).map_or("", |it| &it.told);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        // A keeper is asked on a thread, which is as slow as it is told to be.
        let on_thread = cell.dependency == "half" && cell.failure == Failure::Slow;
        let wrong = runtime.expect("a runtime").block_on(async {
            let proof = prove(cell, told_as, &metrics);
            tokio::select! {
                wrong = proof => wrong,
                () = ticking(), if on_thread => Vec::new(),
            }
        });
        let place = format!("{} x {} x {}", cell.operation, cell.dependency, cell.failure);
        report.extend(wrong.into_iter().map(|wrong| format!("{place}: {wrong}")));
    }
    assert!(report.is_empty(), "{} mistakes:\n{}", report.len(), report.join("\n"));
}

macro_rules! operations {
    ($($test:ident $operation:literal,)*) => {
        $(
            #[test]
            fn $test() {
                prove_all($operation);
            }
        )*

        /// A new operation needs a line here.
        #[test]
        fn every_operation_is_proven() {
            let ladder = the_ladder();
            let names: Vec<&str> = ladder.operations.iter().map(|operation| operation.name.as_str()).collect();
            assert_eq!(names, [$($operation),*]);
        }
    };
}

operations! {
    get "get",
    head "head",
    list "list",
    put "put",
    put_block "put-block",
    put_defer "put-defer",
    put_island "put-island",
    part "part",
    complete "complete",
    delete "delete",
    copy "copy",
    kms_encrypt "kms-encrypt",
    kms_decrypt "kms-decrypt",
    kms_generate "kms-generate",
    kms_manage "kms-manage",
    revoke "revoke",
    deny "deny",
    policy "policy",
    repair "repair",
}
