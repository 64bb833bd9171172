//! What S3 answers, as a table: each row a request and its answer, in files by topic.
//!
//! Without environment it runs against a server in this process. `HOLDFAST_S3_ENDPOINT`,
//! `HOLDFAST_S3_ACCESS_KEY` and `HOLDFAST_S3_SECRET_KEY` name another server, any that speaks S3
//! over HTTP; buckets get random names and are removed. `HOLDFAST_S3_IS_HOLDFAST` holds that server to
//! the known differences. Arguments choose scenes by topic or title.

#[path = "../common/mod.rs"]
mod common;
mod endpoint;
mod row;
mod run;
mod topics;

use std::io::Write as _;
use std::process::ExitCode;

use futures::StreamExt as _;

use endpoint::Endpoint;
use row::Scene;
use run::Outcome;

/// Scenes played at once.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // The harness's own options mean nothing here, except that a list of tests is wanted.
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let values_too = |arg: &str| matches!(arg, "--test-threads" | "--format" | "--color" | "--skip" | "-Z");
    let mut filters = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if values_too(arg) {
            rest.next();
        } else if !arg.starts_with('-') {
            filters.push(arg.clone());
        }
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(run_all(&filters)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Plays all scenes that the filters choose; whether every row passed.
async fn run_all(filters: &[String]) -> Result<bool, String> {
    let endpoint = Endpoint::of_environment().await?;
    let mut out = std::io::stdout();
    let mut say = |line: String| writeln!(out, "{line}").map_err(|error| error.to_string());
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (topic, scenes) in topics::all() {
        let named = |scene: &Scene| {
            let name = format!("{topic}: {}", scene.title);
            filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
        };
        let (chosen, left): (Vec<Scene>, Vec<Scene>) =
            scenes.into_iter().filter(named).partition(|scene| endpoint.can_play(scene));
        let left: usize = left.iter().map(|scene| scene.rows.len()).sum();
        if chosen.is_empty() && left == 0 {
            continue;
        }
        let endpoint = &endpoint;
        let outcomes = chosen.iter().map(|scene| async move { (scene, run::play(endpoint, scene).await) });
        let outcomes: Vec<(&Scene, Outcome)> = futures::stream::iter(outcomes).buffered(AT_ONCE).collect().await;
        let good: usize = outcomes.iter().map(|(_, outcome)| outcome.passed).sum();
        let bad: usize = outcomes.iter().map(|(_, outcome)| outcome.failures.len()).sum();
        for (scene, outcome) in outcomes {
            for failure in outcome.failures {
                say(format!("FAILED {topic}: {}\n  {failure}\n", scene.title))?;
            }
        }
        let unplayed = if left == 0 { String::new() } else { format!(", {left} skipped") };
        say(format!("{topic}: {good} passed, {bad} failed{unplayed}"))?;
        (passed, failed, skipped) = (passed + good, failed + bad, skipped + left);
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    say(format!("test result: {word}. {passed} passed; {failed} failed; {skipped} ignored"))?;
    if passed + failed + skipped == 0 {
        return Err(format!("no scene is named by {filters:?}"));
    }
    Ok(failed == 0)
}
