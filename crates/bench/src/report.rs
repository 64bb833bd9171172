//! What the bench prints: a table for people, JSON for programs.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::component::Component;
use crate::process::{self, Memory};
use crate::run::Measurement;
use crate::workload::{ALL, Unit, Workload};

/// The machine that the figures belong to.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Model name of the processor.
    pub processor: String,
    /// Instruction sets that matter here.
    pub features: Vec<String>,
    /// Cores.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Kernel release.
    pub kernel: String,
    /// File system and device of the data folder.
    pub disk: String,
}

/// Start-up and memory of Holdfast.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Footprint {
    /// Milliseconds from exec to the first HTTP answer, in an empty data folder.
    pub first_start_ms: f64,
    /// The same after `kill -9` with the bench's data in place.
    pub restart_ms: Option<f64>,
    /// Memory before the first request.
    pub idle: Memory,
    /// Memory at the end of the load.
    pub loaded: Memory,
}

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Connections of `wrk`.
    pub connections: u32,
    /// Seconds of each workload.
    pub seconds: u32,
    /// Each server's name and what it promises in this run.
    pub terms: Vec<(&'static str, &'static str)>,
    /// Parts of the data path alone.
    pub components: Vec<Component>,
    /// Start-up and memory of Holdfast.
    pub footprint: Option<Footprint>,
    /// All workloads of all servers.
    pub measurements: Vec<Measurement>,
}

impl Report {
    /// Requests that did not succeed, over everything.
    pub fn failed(&self) -> u64 {
        self.measurements.iter().map(Measurement::failed).sum()
    }

    /// The report as Markdown.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_table(&mut out);
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        writeln!(
            out,
            "{} cores of {} ({}), {} GiB, Linux {}, {}; wrk with {} connections, {} s each (16 MiB: three times that)\n",
            machine.cores,
            machine.processor,
            machine.features.join(" "),
            machine.memory >> 30,
            machine.kernel,
            machine.disk,
            self.connections,
            self.seconds,
        )?;
        for (name, terms) in &self.terms {
            writeln!(out, "* {name}: {terms}")?;
        }
        writeln!(out)?;
        self.write_rates(out)?;
        self.write_details(out)?;
        self.write_components(out)?;
        self.write_footprint(out)
    }

    fn peers(&self) -> impl Iterator<Item = &'static str> {
        self.terms.iter().map(|(name, _)| *name).filter(|name| *name != "holdfast")
    }

    fn find(&self, target: &str, workload: &Workload) -> Option<&Measurement> {
        self.measurements.iter().find(|m| m.target == target && m.workload.name == workload.name)
    }

    /// Rates side by side, CPU seconds per GB in brackets, as in the project's goals.
    fn write_rates(&self, out: &mut String) -> std::fmt::Result {
        write!(out, "| workload | goal | holdfast | of goal |")?;
        self.peers().try_for_each(|peer| write!(out, " {peer} | times {peer} |"))?;
        write!(out, "\n|---|---|---|---|")?;
        self.peers().try_for_each(|_| write!(out, "---|---|"))?;
        writeln!(out)?;
        for workload in &ALL {
            let ours = self.find("holdfast", workload);
            if ours.is_none() && self.peers().all(|peer| self.find(peer, workload).is_none()) {
                continue;
            }
            let goal = workload.goal();
            write!(out, "| {} |", workload.name)?;
            match goal {
                Some(goal) => write!(out, " {} |", rate(goal.rate_min, goal.cpu_per_gb_max, workload.unit))?,
                None => write!(out, " - |")?,
            }
            let share = goal.and_then(|goal| ratio(ours?.rate, goal.rate_min));
            write!(out, " {} | {} |", cell(ours), share.unwrap_or_else(|| "-".to_owned()))?;
            for peer in self.peers() {
                let theirs = self.find(peer, workload);
                let times = ours.zip(theirs).and_then(|(ours, theirs)| ratio(ours.rate, theirs.rate));
                write!(out, " {} | {} |", cell(theirs), times.unwrap_or_else(|| "-".to_owned()))?;
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn write_details(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "| server | workload | p50 ms | p99 ms | CPU us/request | server cores | wrk cores | other cores | failed |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
        for m in &self.measurements {
            writeln!(
                out,
                "| {} | {} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} | {} |",
                m.target,
                m.workload.name,
                m.figures.p50_us as f64 / 1e3,
                m.figures.p99_us as f64 / 1e3,
                m.cpu_us_per_request,
                m.server_cores,
                m.client_cores,
                m.other_cores,
                m.failed(),
            )?;
        }
        writeln!(out)
    }

    fn write_components(&self, out: &mut String) -> std::fmt::Result {
        if self.components.is_empty() {
            return Ok(());
        }
        writeln!(out, "| one core, one part | |")?;
        writeln!(out, "|---|---|")?;
        for component in &self.components {
            writeln!(out, "| {} | {:.2} {} |", component.name, component.value, component.unit)?;
        }
        writeln!(out)
    }

    fn write_footprint(&self, out: &mut String) -> std::fmt::Result {
        let Some(footprint) = &self.footprint else { return Ok(()) };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(out, "First answer {:.0} ms after the first start", footprint.first_start_ms)?;
        if let Some(restart) = footprint.restart_ms {
            write!(out, ", {restart:.0} ms after kill -9 under data")?;
        }
        writeln!(
            out,
            "; memory {:.0} MiB idle, {:.0} MiB after the load, {:.0} MiB at its peak.",
            mib(footprint.idle.resident),
            mib(footprint.loaded.resident),
            mib(footprint.loaded.peak),
        )
    }
}

fn cell(measurement: Option<&Measurement>) -> String {
    measurement.map_or_else(
        || "-".to_owned(),
        |m| {
            let failed = if m.failed() == 0 { String::new() } else { format!(" **{} failed**", m.failed()) };
            format!("{}{failed}", rate(m.rate, Some(m.cpu_per_gb), m.workload.unit))
        },
    )
}

fn rate(rate: f64, cpu_per_gb: Option<f64>, unit: Unit) -> String {
    match (unit, cpu_per_gb) {
        (Unit::PerSecond, _) => format!("{rate:.0}/s"),
        (Unit::Megabytes, Some(cpu)) => format!("{rate:.0} MB/s ({cpu:.1})"),
        (Unit::Megabytes, None) => format!("{rate:.0} MB/s"),
    }
}

fn ratio(ours: f64, theirs: f64) -> Option<String> {
    (theirs > 0.0).then(|| format!("{:.2}", ours / theirs))
}

/// Looks the machine up. What cannot be found is left empty: it only describes.
pub fn machine(dir: &Path) -> Machine {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let flags = field("flags");
    let has = |flag: &&str| flags.split(' ').any(|it| it == *flag);
    let wanted = ["avx2", "avx512f", "vaes", "vpclmulqdq", "gfni", "sha_ni"];
    Machine {
        processor: field("model name"),
        features: wanted.into_iter().filter(has).map(str::to_owned).collect(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory: total_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        disk: disk(dir),
    }
}

fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

fn disk(dir: &Path) -> String {
    let mut command = Command::new("df");
    command.args(["--output=fstype,source"]).arg(dir);
    let printed = process::run(command, "").unwrap_or_default();
    let words: Vec<&str> = printed.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    words.join(" on ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrk::Figures;

    fn measurement(target: &'static str, workload: Workload, rate: f64, refused: u64) -> Measurement {
        let figures =
            Figures { duration_us: 1, requests: 9, bytes: 0, refused, broken: 0, p50_us: 1_500, p99_us: 0, max_us: 0 };
        Measurement {
            target,
            workload,
            rate,
            cpu_per_gb: 2.5,
            cpu_us_per_request: 0.0,
            server_cores: 0.0,
            client_cores: 0.0,
            other_cores: 0.0,
            figures,
        }
    }

    fn report(measurements: Vec<Measurement>) -> Report {
        Report {
            machine: machine(Path::new("/")),
            connections: 16,
            seconds: 10,
            terms: vec![("holdfast", "sealed"), ("garage", "plain")],
            components: Vec::new(),
            footprint: None,
            measurements,
        }
    }

    #[test]
    fn a_row_holds_the_goal_both_rates_and_their_ratios() {
        let put = ALL[1];
        let report = report(vec![measurement("holdfast", put, 150.0, 0), measurement("garage", put, 75.0, 0)]);
        let row = "| 1m-put | 200 MB/s (3.5) | 150 MB/s (2.5) | 0.75 | 75 MB/s (2.5) | 2.00 |";
        assert!(report.table().lines().any(|line| line == row), "{}", report.table());
        assert_eq!(report.failed(), 0);
    }

    #[test]
    fn failures_show_in_the_table_and_in_the_sum() {
        let report = report(vec![measurement("holdfast", ALL[0], 150.0, 7)]);
        assert!(report.table().contains("150/s **7 failed**"), "{}", report.table());
        assert_eq!(report.failed(), 7);
    }

    #[test]
    fn memory_of_the_machine() {
        assert_eq!(total_memory("MemTotal:       1024 kB\nMemFree: 1 kB\n"), 1 << 20);
        assert_eq!(total_memory(""), 0);
    }
}
