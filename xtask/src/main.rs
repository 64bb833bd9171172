//! The project's chores: `cargo xtask help`.

mod run;
mod setup;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use run::{Tally, cargo};

const HELP: &str = "\
cargo xtask <chore>

  check          the daily loop: format, clippy, unit tests
  test           everything: installs what the tests need, then tidy, format, clippy, unit tests,
                 1,200 simulation seeds, and the real binary against real clients
  e2e [FILTER]   only the real binary against real clients
  sim [SEEDS]    only the simulation; 1,000 seeds of one gateway and 200 of several by default
  tidy           the rules a script can check
  fuzz           build the fuzz targets; to run one: RUSTC_BOOTSTRAP=1 cargo fuzz run -s none TARGET
  deny           licences and advisories (needs cargo-deny)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => check(),
        ["test"] => test(),
        ["e2e"] => e2e(None),
        ["e2e", filter] => e2e(Some(filter)),
        ["sim"] => sim("1000", "200"),
        ["sim", seeds] => sim(seeds, seeds),
        ["tidy"] => tidy::run().map(|()| Tally::default()),
        ["fuzz"] => cargo(&["check", "--manifest-path", "fuzz/Cargo.toml"]).map(|()| Tally::default()),
        ["deny"] => cargo(&["deny", "check"]).map(|()| Tally::default()),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(tally) => {
            if tally != Tally::default() {
                println!("{tally}");
            }
            if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn lint() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["fmt", "--manifest-path", "strangers/Cargo.toml", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
}

fn unit() -> Result<Tally, String> {
    run::tests(&["test", "--workspace", "--no-fail-fast"], &[("HOLDFAST_SIM_SEEDS", "20")])
}

fn check() -> Result<Tally, String> {
    tidy::run()?;
    lint()?;
    unit()
}

/// One gateway over failing sites, and several of which everything fails.
fn sim(seeds: &str, fleets: &str) -> Result<Tally, String> {
    let mut tally = run::tests(&["test", "-p", "sim", "--test", "seeds"], &[("HOLDFAST_SIM_SEEDS", seeds)])?;
    tally.add(run::tests(&["test", "-p", "sim", "--test", "fleet"], &[("HOLDFAST_SIM_SEEDS", fleets)])?);
    Ok(tally)
}

fn e2e(filter: Option<&str>) -> Result<Tally, String> {
    let tools = setup::tools()?;
    cargo(&["build", "-p", "holdfast"])?;
    let strangers = run::target_dir().join("strangers");
    let into = strangers.display().to_string();
    cargo(&["build", "--locked", "--manifest-path", "strangers/Cargo.toml", "--target-dir", &into])?;
    let strangers = absolute(strangers.join("debug/strangers"))?;
    let binary = absolute(run::target_dir().join("debug/holdfast"))?;
    let binary = std::env::var("HOLDFAST_E2E_BIN").unwrap_or(binary);
    let mut args = vec!["test", "-p", "e2e", "--no-fail-fast"];
    args.extend(["--", "--include-ignored", "--test-threads", "2"]);
    args.extend(filter);
    let tools = tools.display().to_string();
    let env =
        [("HOLDFAST_E2E_BIN", &*binary), ("HOLDFAST_E2E_TOOLS", &*tools), ("HOLDFAST_E2E_STRANGERS", &*strangers)];
    run::tests(&args, &env)
}

/// Tests run in folders of their own.
fn absolute(path: PathBuf) -> Result<String, String> {
    std::path::absolute(path).map(|path| path.display().to_string()).map_err(|e| e.to_string())
}

/// All of it goes on after a failure, so that one run tells everything that is wrong.
fn test() -> Result<Tally, String> {
    setup::packages()?;
    setup::tools()?;
    let mut tally = Tally::default();
    for looked in [tidy::run(), lint()] {
        if let Err(error) = looked {
            eprintln!("error: {error}");
            tally.add(Tally { failed: 1, ..Tally::default() });
        }
    }
    for part in [unit()?, sim("1000", "200")?, e2e(None)?] {
        tally.add(part);
    }
    Ok(tally)
}
