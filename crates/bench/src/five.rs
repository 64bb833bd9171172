//! Five sites: Holdfast with real etcd beside Garage with five nodes, whole and with two of the five killed.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;

use crate::error::Error;
use crate::fleet::{Fleet, SITES, Terms, Used};
use crate::process;
use crate::report;
use crate::run::Bench;
use crate::target::Target;
use crate::workload::{ALL, Unit, Verb, Workload};
use crate::wrk::{self, Figures, Pressure};

/// Places that are killed.
const KILLED: usize = 2;
/// Copies that Garage keeps while all live, as its manual says.
const COPIES: usize = 3;
/// Copies with which Garage loses two nodes of five without losing anything, and goes on.
const COPIES_FOR_TWO: usize = 5;
/// What is measured: name, keys (of each gateway for writes, of all for reads), and how many times Garage's rate it is to be.
const WORKLOADS: [(&str, usize, f64); 4] =
    [("4k-put", 12_000, 3.0), ("1m-put", 2_000, 2.0), ("4k-get", 1_000, 1.5), ("1m-get", 128, 1.5)];

/// One workload on one store.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Which store.
    pub target: &'static str,
    /// Whether two of the five were killed.
    pub two_killed: bool,
    /// Which workload.
    pub workload: Workload,
    /// In the workload's unit, all gateways together.
    pub rate: f64,
    /// CPU microseconds of all servers for each request.
    pub cpu_us_per_request: f64,
    /// Cores that all servers kept busy.
    pub server_cores: f64,
    /// Cores that the load kept busy.
    pub client_cores: f64,
    /// Cores that all else kept busy.
    pub other_cores: f64,
    /// What all of `wrk` saw.
    pub figures: Figures,
}

/// What objects of 1 MiB take on disk.
#[derive(Debug, Clone, Serialize)]
pub struct Storage {
    /// Which store, on which terms.
    pub target: String,
    /// Bytes on disk for each byte of an object.
    pub data: f64,
    /// Bytes of metadata on disk for each byte of an object.
    pub meta: f64,
}

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: report::Machine,
    pressure: (u32, u32),
    terms: Vec<String>,
    lines: Vec<Line>,
    storage: Vec<Storage>,
}

impl Report {
    /// Requests that did not succeed.
    pub fn failed(&self) -> u64 {
        self.lines.iter().map(|line| line.figures.refused + line.figures.broken).sum()
    }
}

/// What a run is made with.
pub struct Plan<'a> {
    /// Holdfast's binary.
    pub holdfast: &'a Path,
    /// Garage's; `None`: Holdfast alone.
    pub garage: Option<PathBuf>,
    /// How Holdfast is run.
    pub terms: Terms,
    /// Names of workloads; none: all.
    pub only: &'a [String],
    /// Whether the second half, with two killed, is left out.
    pub skip_killed: bool,
}

/// Measures.
pub fn measure(bench: &Bench, plan: &Plan<'_>) -> Result<Report, Error> {
    let mut report = Report {
        machine: report::machine(&bench.work),
        pressure: (bench.pressure.connections, bench.pressure.seconds),
        terms: Vec::new(),
        lines: Vec::new(),
        storage: Vec::new(),
    };
    let dir = bench.work.join("holdfast");
    let mut fleet = Fleet::holdfast(plan.holdfast, &dir, plan.terms)?;
    one(bench, plan, &mut fleet, &mut report, false)?;
    if !plan.skip_killed {
        two_killed(bench, plan, &mut fleet, &mut report)?;
    }
    drop(fleet);
    remove(&dir)?;
    let Some(garage) = &plan.garage else { return Ok(report) };
    for copies in [COPIES, COPIES_FOR_TWO] {
        let dir = bench.work.join(format!("garage{copies}"));
        if copies == COPIES_FOR_TWO && plan.skip_killed {
            continue;
        }
        let mut fleet = Fleet::garage(garage, &dir, copies)?;
        if copies == COPIES {
            one(bench, plan, &mut fleet, &mut report, false)?;
        } else {
            report.terms.push(format!("{}: {}", fleet.name, fleet.terms));
            preload(bench, plan, &fleet, &mut report)?;
            two_killed(bench, plan, &mut fleet, &mut report)?;
        }
        drop(fleet);
        remove(&dir)?;
    }
    Ok(report)
}

fn one(bench: &Bench, plan: &Plan<'_>, fleet: &mut Fleet, report: &mut Report, killed: bool) -> Result<(), Error> {
    if !killed {
        report.terms.push(format!("{}: {}", fleet.name, fleet.terms));
        preload(bench, plan, fleet, report)?;
    }
    for workload in chosen(plan) {
        eprintln!("{}{}: {}", fleet.name, if killed { ", two killed" } else { "" }, workload.name);
        report.lines.push(line(bench, fleet, &workload, killed)?);
    }
    Ok(())
}

fn two_killed(bench: &Bench, plan: &Plan<'_>, fleet: &mut Fleet, report: &mut Report) -> Result<(), Error> {
    fleet.kill(KILLED);
    // What is measured is the state after, not the moment of it: elections and time-outs are over.
    let begun = std::time::Instant::now();
    let probe = *chosen(plan).iter().find(|workload| workload.verb == Verb::Get).unwrap_or(&ALL[3]);
    for place in 0..fleet.live() {
        let target = fleet.target(place);
        let path = target.presign_object("GET", &probe, 0);
        let mut last = None;
        while begun.elapsed().as_secs() < 60 {
            last = crate::http::Connection::open(target.endpoint).and_then(|mut to| to.expect("GET", &path, &[])).err();
            if last.is_none() {
                break;
            }
            thread::sleep(std::time::Duration::from_millis(200));
        }
        if let Some(error) = last {
            return Err(error);
        }
    }
    thread::sleep(std::time::Duration::from_secs(5));
    one(bench, plan, fleet, report, true)
}

/// The workloads that were asked for.
fn chosen(plan: &Plan<'_>) -> Vec<Workload> {
    let wanted = |name: &str| plan.only.is_empty() || plan.only.iter().any(|only| only == name);
    let known = WORKLOADS.iter().filter(|(name, ..)| wanted(name));
    known
        .filter_map(|(name, keys, _)| Some(Workload { keys: *keys, ..*ALL.iter().find(|w| w.name == *name)? }))
        .collect()
}

/// Puts what is read, and sees what that takes on disk.
fn preload(bench: &Bench, plan: &Plan<'_>, fleet: &Fleet, report: &mut Report) -> Result<(), Error> {
    for workload in chosen(plan).iter().filter(|workload| workload.verb == Verb::Get) {
        eprintln!("{}: putting {} objects for {}", fleet.name, workload.keys, workload.name);
        let before = fleet.used()?;
        bench.preload(&fleet.target(0), workload)?;
        if workload.unit == Unit::Megabytes {
            let Used { data, meta } = fleet.used()?;
            let bytes = (workload.keys * workload.size) as f64;
            report.storage.push(Storage {
                target: format!("{}: {}", fleet.name, fleet.terms),
                data: data.saturating_sub(before.data) as f64 / bytes,
                meta: meta.saturating_sub(before.meta) as f64 / bytes,
            });
        }
    }
    Ok(())
}

/// One workload over all gateways that live, each with a `wrk` of its own.
fn line(bench: &Bench, fleet: &Fleet, workload: &Workload, two_killed: bool) -> Result<Line, Error> {
    let method = if workload.verb == Verb::Put { "PUT" } else { "GET" };
    let places: Vec<(PathBuf, Target)> =
        (0..fleet.live()).map(|place| (bench.work.join(format!("wrk{place}")), fleet.target(place))).collect();
    for (place, (folder, target)) in places.iter().enumerate() {
        crate::target::folder(folder)?;
        let path = |index: usize| match workload.verb {
            // Each its own keys, also after some were killed.
            Verb::Put => {
                let state = if two_killed { "three" } else { "five" };
                target.presign(method, &format!("/{}/{state}{place}/{}", crate::target::BUCKET, workload.key(index)))
            }
            Verb::Get => {
                let index = (index + place * workload.keys / SITES) % workload.keys;
                target.presign_object(method, workload, index)
            }
        };
        let paths: Vec<String> = (0..workload.keys).map(path).collect();
        wrk::prepare(folder, workload, &paths, &bench.random)?;
        if workload.verb == Verb::Get {
            bench.warm(target, workload)?;
        }
    }
    rustix::fs::sync();
    let each = Pressure { connections: (bench.pressure.connections / places.len() as u32).max(1), ..bench.pressure };
    let (all_before, before) = (process::machine_cpu_seconds()?, fleet.cpu_seconds()?);
    let ran: Vec<Result<(Figures, f64), Error>> = thread::scope(|scope| {
        let threads: Vec<_> = places
            .iter()
            .map(|(folder, target)| scope.spawn(move || wrk::run(folder, workload, &target.endpoint.to_string(), each)))
            .collect();
        let died = || Err(Error::Unreadable("a thread of the load ended".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
    });
    let cpu_s = fleet.cpu_seconds()? - before;
    let all_cpu_s = process::machine_cpu_seconds()? - all_before;
    let ran = ran.into_iter().collect::<Result<Vec<_>, _>>()?;
    let client_cpu_s: f64 = ran.iter().map(|(_, cpu)| cpu).sum();
    let figures = together(ran.iter().map(|(figures, _)| figures));
    let seconds = figures.duration_us as f64 / 1e6;
    Ok(Line {
        target: fleet.name,
        two_killed,
        workload: *workload,
        rate: workload.rate(figures.requests, seconds),
        cpu_us_per_request: cpu_s * 1e6 / figures.requests.max(1) as f64,
        server_cores: cpu_s / seconds,
        client_cores: client_cpu_s / seconds,
        other_cores: (all_cpu_s - cpu_s - client_cpu_s).max(0.0) / seconds,
        figures,
    })
}

/// Several loads at the same time as one. The median is the mean of medians, by requests; the rest is the worst.
fn together<'a>(all: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut sum =
        Figures { duration_us: 0, requests: 0, bytes: 0, refused: 0, broken: 0, p50_us: 0, p99_us: 0, max_us: 0 };
    let mut medians = 0;
    for one in all {
        sum.duration_us = sum.duration_us.max(one.duration_us);
        sum.requests += one.requests;
        sum.bytes += one.bytes;
        sum.refused += one.refused;
        sum.broken += one.broken;
        medians += one.p50_us * one.requests;
        sum.p99_us = sum.p99_us.max(one.p99_us);
        sum.max_us = sum.max_us.max(one.max_us);
    }
    sum.p50_us = medians / sum.requests.max(1);
    sum
}

/// The report as Markdown.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_table(report, &mut out);
    out
}

fn write_table(report: &Report, out: &mut String) -> std::fmt::Result {
    let machine = &report.machine;
    let (connections, seconds) = report.pressure;
    let (cores, processor, disk) = (machine.cores, &machine.processor, &machine.disk);
    writeln!(
        out,
        "{cores} cores of {processor}, {disk}; {connections} connections over the gateways, {seconds} s each\n"
    )?;
    report.terms.iter().try_for_each(|terms| writeln!(out, "* {terms}"))?;
    writeln!(out, "\n| workload | holdfast | garage | times garage | goal |\n|---|---|---|---|---|")?;
    for two_killed in [false, true] {
        for (name, _, goal) in &WORKLOADS {
            let find = |target: &str| {
                let is_it = |line: &&Line| line.target == target && line.two_killed == two_killed;
                report.lines.iter().filter(is_it).find(|line| line.workload.name == *name)
            };
            let Some(ours) = find("holdfast") else { continue };
            let rate = |line: &Line| match line.workload.unit {
                Unit::PerSecond => format!("{:.0}/s", line.rate),
                Unit::Megabytes => format!("{:.0} MB/s", line.rate),
            };
            let theirs = find("garage");
            let times = theirs.filter(|line| line.rate > 0.0).map(|line| format!("{:.2}", ours.rate / line.rate));
            writeln!(
                out,
                "| {}{name} | {} | {} | {} | {goal} |",
                if two_killed { "two killed: " } else { "" },
                rate(ours),
                theirs.map_or_else(|| "-".to_owned(), rate),
                times.unwrap_or_else(|| "-".to_owned()),
            )?;
        }
    }
    writeln!(out, "\n| store | workload | p50 ms | p99 ms | CPU us/request | server, wrk, other cores | failed |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for line in &report.lines {
        writeln!(
            out,
            "| {} | {}{} | {:.2} | {:.2} | {:.0} | {:.2}, {:.2}, {:.2} | {} |",
            line.target,
            if line.two_killed { "two killed: " } else { "" },
            line.workload.name,
            line.figures.p50_us as f64 / 1e3,
            line.figures.p99_us as f64 / 1e3,
            line.cpu_us_per_request,
            line.server_cores,
            line.client_cores,
            line.other_cores,
            line.figures.refused + line.figures.broken,
        )?;
    }
    writeln!(out, "\n| 1 MiB objects on disk | data | metadata |\n|---|---|---|")?;
    for storage in &report.storage {
        writeln!(out, "| {} | {:.2} | {:.3} |", storage.target, storage.data, storage.meta)?;
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(dir).map_err(Error::path("remove", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workloads_are_known() {
        let terms = Terms { journal: true, read_cache: true };
        let plan = Plan { holdfast: Path::new(""), garage: None, terms, only: &[], skip_killed: false };
        let names: Vec<&str> = chosen(&plan).iter().map(|workload| workload.name).collect();
        assert_eq!(names, WORKLOADS.map(|(name, ..)| name));
    }

    #[test]
    fn loads_at_the_same_time_are_one() {
        let one = Figures {
            duration_us: 10,
            requests: 1,
            bytes: 5,
            refused: 1,
            broken: 0,
            p50_us: 10,
            p99_us: 20,
            max_us: 30,
        };
        let other = Figures { duration_us: 12, requests: 3, broken: 2, p50_us: 2, p99_us: 9, ..one };
        let sum = together([one, other].iter());
        assert_eq!((sum.duration_us, sum.requests, sum.bytes, sum.refused, sum.broken), (12, 4, 10, 2, 2));
        assert_eq!((sum.p50_us, sum.p99_us, sum.max_us), (4, 20, 30));
    }
}
