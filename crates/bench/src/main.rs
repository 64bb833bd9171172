//! `bench`: Holdfast's speed and cost on this machine, beside other stores in the same run.
//!
//! Starts the servers itself, drives them with `wrk` over presigned URLs on loopback, and fails when
//! a request fails. `docs/bench.md` explains the figures.

mod component;
mod error;
mod five;
mod fleet;
mod holdfast;
mod http;
mod kms;
mod peer;
mod process;
mod profile;
mod release;
mod report;
mod run;
mod scan;
mod target;
mod workload;
mod wrk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use base::{Rng as _, SystemRng};
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::error::Error;
use crate::fleet::Terms;
use crate::holdfast::Holdfast;
use crate::peer::Peer;
use crate::report::{Footprint, Report};
use crate::run::Bench;
use crate::target::Target;
use crate::workload::{ALL, Verb, Workload};
use crate::wrk::Pressure;

/// Verdicts that a service remembers.
const VERDICTS_MAX: u32 = 1_000_000;

/// Measure Holdfast on this machine, and other stores beside it
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Also measure this store; it is installed from its package registry when it is not there
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// Run only these workloads
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(ALL.map(|w| w.name)))]
    only: Vec<String>,
    /// Seconds that each workload runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// The server's binary [default: `holdfast` beside this program]
    #[arg(long)]
    holdfast: Option<PathBuf>,
    /// Folder for the servers' data, removed at the end [default: the build folder's disk]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Folder into which peers are installed [default: `bench-peers` in the build folder]
    #[arg(long)]
    tools: Option<PathBuf>,
    /// Do not measure Holdfast, only the peers
    #[arg(long)]
    skip_holdfast: bool,
    /// Do not measure the parts (sealing, coding, disk) alone
    #[arg(long)]
    skip_components: bool,
    /// Measure the KMS API, over HTTP and over TLS, and nothing else
    #[arg(long, conflicts_with_all = ["peer", "only", "skip_holdfast", "profile"])]
    kms: bool,
    /// Measure what release policies cost a 4 KiB GET, and nothing else
    #[arg(long, conflicts_with_all = ["peer", "only", "skip_holdfast", "kms"])]
    release: bool,
    /// Five sites, five gateways and etcd with five members as processes, beside Garage with five nodes when that is a peer:
    /// whole, then with two of the five killed. Nothing else
    #[arg(long, conflicts_with_all = ["skip_holdfast", "kms", "release", "profile"])]
    five_sites: bool,
    /// With five sites: leave out what is measured with two of them killed
    #[arg(long, requires = "five_sites")]
    skip_killed: bool,
    /// With five sites: do not write the journal of the metadata
    #[arg(long, requires = "five_sites")]
    no_journal: bool,
    /// With five sites: gateways keep nothing of what was read
    #[arg(long, requires = "five_sites")]
    no_read_cache: bool,
    /// Measure the scan service beside clamd by itself, and nothing else
    #[arg(long, conflicts_with_all = ["peer", "only", "skip_holdfast", "kms", "release", "five_sites", "profile"])]
    scan: bool,
    /// With scan: the folder that the tenants' common files are taken from
    #[arg(long, requires = "scan", default_value = "/usr")]
    corpus: PathBuf,
    /// With scan: 10^6 bytes of it
    #[arg(long, requires = "scan", default_value_t = 400)]
    corpus_mb: u64,
    /// With scan: tenants
    #[arg(long, requires = "scan", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=100))]
    tenants: u8,
    /// With scan: signatures, and verdicts that are remembered while they are looked up
    #[arg(long, requires = "scan", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    signatures: u32,
    /// With scan: scans at once [default: as many as Holdfast takes by itself]
    #[arg(long, requires = "scan")]
    slots: Option<u16>,
    /// Run `perf` beside each workload and put its lists of functions into this folder
    #[arg(long)]
    profile: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("error: {failed} requests failed: the figures do not count");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::from(2)
        }
    }
}

/// Runs everything that was asked for. Gives the number of failed requests.
fn bench(arguments: &Arguments) -> Result<u64, Error> {
    let build = build_folder()?;
    let parent = arguments.dir.clone().unwrap_or_else(|| build.clone());
    let dir =
        tempfile::Builder::new().prefix("bench-").tempdir_in(&parent).map_err(Error::path("write into", &parent))?;
    if arguments.kms {
        return bench_kms(arguments, &build, dir.path());
    }
    if arguments.scan {
        return bench_scan(arguments, &build, dir.path());
    }
    let workloads = chosen(&arguments.only);
    let pressure = Pressure { connections: arguments.connections, seconds: arguments.seconds };
    let mut random = vec![0; wrk::random_len(&workloads)];
    SystemRng.fill(&mut random);

    let bench = Bench { work: dir.path().to_owned(), random, pressure, profiles: arguments.profile.clone() };
    let binary = arguments.holdfast.clone().unwrap_or_else(|| build.join("holdfast"));
    if arguments.release {
        let turns = release::measure(&bench, &binary)?;
        say(&turns, &release::table(&turns), arguments.json)?;
        return Ok(turns.iter().map(release::Turns::failed).sum());
    }

    let tools = arguments.tools.clone().unwrap_or_else(|| build.join("../bench-peers"));
    if arguments.five_sites {
        let garage = arguments.peer.contains(&Peer::Garage).then(|| Peer::Garage.install(&tools)).transpose()?;
        let plan = five::Plan {
            holdfast: &binary,
            garage,
            terms: Terms { journal: !arguments.no_journal, read_cache: !arguments.no_read_cache },
            only: &arguments.only,
            skip_killed: arguments.skip_killed,
        };
        let report = five::measure(&bench, &plan)?;
        say(&report, &five::table(&report), arguments.json)?;
        return Ok(report.failed());
    }

    let mut report = Report {
        machine: report::machine(dir.path()),
        connections: pressure.connections,
        seconds: pressure.seconds,
        terms: Vec::new(),
        components: Vec::new(),
        footprint: None,
        measurements: Vec::new(),
    };
    if !arguments.skip_components {
        eprintln!("parts alone");
        report.components = component::processor(&bench.random);
        report.components.extend(component::disk(dir.path(), &bench.random)?);
    }
    if !arguments.skip_holdfast {
        run_holdfast(&bench, &binary, &workloads, &mut report)?;
    }
    for peer in &arguments.peer {
        run_peer(&bench, *peer, &tools, &workloads, &mut report)?;
    }
    say(&report, &report.table(), arguments.json)?;
    Ok(report.failed())
}

fn bench_kms(arguments: &Arguments, build: &Path, dir: &Path) -> Result<u64, Error> {
    let pressure = Pressure { connections: arguments.connections, seconds: arguments.seconds };
    let binary = arguments.holdfast.clone().unwrap_or_else(|| build.join("holdfast"));
    let measured = kms::measure(&binary, &dir.join("kms"), pressure)?;
    say(&measured, &kms::table(&measured, pressure), arguments.json)?;
    Ok(measured.iter().map(kms::Measured::failed).sum())
}

fn bench_scan(arguments: &Arguments, build: &Path, dir: &Path) -> Result<u64, Error> {
    let binary = arguments.holdfast.clone().unwrap_or_else(|| build.join("holdfast"));
    let plan = scan::Plan {
        holdfast: &binary,
        source: &arguments.corpus,
        shared: arguments.corpus_mb * 1_000_000,
        tenants: arguments.tenants.into(),
        signatures: arguments.signatures as usize,
        verdicts: arguments.signatures.min(VERDICTS_MAX) as usize,
        slots: arguments.slots,
    };
    let report = scan::measure(&plan, dir)?;
    say(&report, &scan::table(&report), arguments.json)?;
    Ok(report.failed())
}

fn run_holdfast(bench: &Bench, binary: &Path, workloads: &[Workload], report: &mut Report) -> Result<(), Error> {
    let dir = bench.work.join("holdfast");
    let holdfast = Holdfast::new(binary, &dir)?;
    let (target, first_start) = holdfast.start(&dir.join("log"))?;
    // A moment for what the server does on its own after its first answer.
    thread::sleep(Duration::from_secs(1));
    let mut footprint =
        Footprint { first_start_ms: milliseconds(first_start), idle: target.memory()?, ..Footprint::default() };
    report.terms.push((target.name, target.terms));
    target.create_bucket()?;

    let (two_gone, healthy): (Vec<Workload>, Vec<Workload>) = workloads.iter().partition(|w| w.two_gone);
    preload(bench, &target, workloads)?;
    measure_all(bench, &target, &healthy, report)?;
    footprint.loaded = target.memory()?;
    // Dropping kills with SIGKILL: what comes next is a restart after a crash.
    drop(target);
    let (target, restart) = holdfast.start(&dir.join("log-restart"))?;
    footprint.restart_ms = Some(milliseconds(restart));
    report.footprint = Some(footprint);
    if !two_gone.is_empty() {
        holdfast.remove_two_sites()?;
        measure_all(bench, &target, &two_gone, report)?;
    }
    drop(target);
    remove(&dir)
}

fn run_peer(bench: &Bench, peer: Peer, tools: &Path, workloads: &[Workload], report: &mut Report) -> Result<(), Error> {
    eprintln!("{}: installing unless it is there", peer.name());
    let binary = peer.install(tools)?;
    let dir = bench.work.join(peer.name());
    let target = peer.start(&binary, &dir)?;
    report.terms.push((target.name, target.terms));
    let healthy: Vec<Workload> = workloads.iter().copied().filter(|w| !w.two_gone).collect();
    preload(bench, &target, &healthy)?;
    measure_all(bench, &target, &healthy, report)?;
    drop(target);
    remove(&dir)
}

/// Puts what the reads among `workloads` need; those of one size share their objects.
fn preload(bench: &Bench, target: &Target, workloads: &[Workload]) -> Result<(), Error> {
    let mut sizes = Vec::new();
    for workload in workloads.iter().filter(|w| w.verb == Verb::Get) {
        if !sizes.contains(&workload.size) {
            eprintln!("{}: putting {} objects for {}", target.name, workload.keys, workload.name);
            bench.preload(target, workload)?;
            sizes.push(workload.size);
        }
    }
    Ok(())
}

fn measure_all(bench: &Bench, target: &Target, workloads: &[Workload], report: &mut Report) -> Result<(), Error> {
    for workload in workloads {
        eprintln!("{}: {}", target.name, workload.name);
        report.measurements.push(bench.measure(target, workload)?);
    }
    Ok(())
}

fn chosen(only: &[String]) -> Vec<Workload> {
    ALL.into_iter().filter(|w| only.is_empty() || only.iter().any(|name| name == w.name)).collect()
}

/// The folder that this program was built into.
fn build_folder() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(Error::io("cannot find this program"))?;
    Ok(program.parent().map(Path::to_owned).unwrap_or_default())
}

fn remove(dir: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(dir).map_err(Error::path("remove", dir))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[allow(clippy::print_stdout, reason = "the report is this program's data and belongs on stdout")]
fn say(report: &impl serde::Serialize, table: &str, json: bool) -> Result<(), Error> {
    if !json {
        println!("{table}");
        return Ok(());
    }
    let text =
        serde_json::to_string_pretty(report).map_err(|error| Error::Unreadable(format!("the report: {error}")))?;
    println!("{text}");
    Ok(())
}
