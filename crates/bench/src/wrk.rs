//! The load: `wrk` (a Debian package) with a script that rotates over presigned paths.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::process;
use crate::workload::{Verb, Workload};

const SCRIPT: &str = include_str!("load.lua");
const HINT: &str = "install it: apt-get install wrk";
/// How much longer than a body the random file is: so many different bodies are cut from it.
const SLACK: usize = 4 << 20;
/// Room for a request's head in front of a body; the script's `HEAD_MAX`.
const HEAD_MAX: usize = 4096;
/// How long a run may take beyond its duration: reading the script, the slowest answers.
const GRACE: Duration = Duration::from_secs(60);

/// What one run showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Length of the run, microseconds.
    pub duration_us: u64,
    /// Answers that came whole.
    pub requests: u64,
    /// Bytes that came back, heads included.
    pub bytes: u64,
    /// Answers that were not 2xx or 3xx.
    pub refused: u64,
    /// Connections that failed, and answers later than wrk's time-out.
    pub broken: u64,
    /// Half of the answers came within this, microseconds.
    pub p50_us: u64,
    /// 99 of 100 answers came within this, microseconds.
    pub p99_us: u64,
    /// The slowest, microseconds.
    pub max_us: u64,
}

/// How `wrk` is used.
#[derive(Debug, Clone, Copy)]
pub struct Pressure {
    /// Open connections, each with one request at a time.
    pub connections: u32,
    /// Length of a run; [`Workload::stretch`] multiplies it.
    pub seconds: u32,
}

impl Pressure {
    /// How long `workload` runs.
    pub fn seconds_of(&self, workload: &Workload) -> u32 {
        self.seconds.saturating_mul(workload.stretch)
    }
}

/// Puts the files that the script reads into `folder`.
pub fn prepare(folder: &Path, workload: &Workload, paths: &[String], random: &[u8]) -> Result<(), Error> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(Error::path("write", &path))
    };
    write("load.lua", SCRIPT.as_bytes())?;
    write("paths", paths.join("\n").as_bytes())?;
    if workload.verb == Verb::Put {
        let length = (HEAD_MAX + workload.size + SLACK).min(random.len());
        write("random", random.get(..length).unwrap_or(random))?;
    }
    Ok(())
}

/// Bytes of randomness that [`prepare`] wants for the largest of `workloads`.
pub fn random_len(workloads: &[Workload]) -> usize {
    HEAD_MAX + SLACK + workloads.iter().map(|w| w.size).max().unwrap_or(0)
}

/// Runs the load. Gives its figures and the CPU seconds that `wrk` itself used.
pub fn run(folder: &Path, workload: &Workload, host: &str, pressure: Pressure) -> Result<(Figures, f64), Error> {
    let verb = match workload.verb {
        Verb::Put => "PUT",
        Verb::Get => "GET",
    };
    let pressure = Pressure { seconds: pressure.seconds_of(workload), ..pressure };
    let args = [&*folder.to_string_lossy(), host, verb, &workload.size.to_string()];
    press(folder, &folder.join("load.lua"), &format!("http://{host}/"), &args, pressure)
}

/// Runs a script for `pressure.seconds` against one address. Gives its figures and the CPU seconds that `wrk` itself used.
pub fn press(
    folder: &Path,
    script: &Path,
    url: &str,
    args: &[&str],
    pressure: Pressure,
) -> Result<(Figures, f64), Error> {
    let seconds = pressure.seconds;
    let mut command = Command::new("wrk");
    // One thread: the client shares the machine with the server.
    command
        .args(["--threads", "1", "--timeout", "30s"])
        .args(["--connections", &pressure.connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(script)
        .arg(url)
        .arg("--")
        .args(args);
    let limit = Duration::from_secs(seconds.into()) + GRACE;
    let ended = process::run_bounded(command, limit, &folder.join("wrk.out"), HINT)?;
    let figures = parse(&ended.stdout)
        .ok_or_else(|| Error::Unreadable(format!("wrk's output: {}", process::tail(&ended.stdout))))?;
    Ok((figures, ended.cpu_s))
}

fn parse(printed: &str) -> Option<Figures> {
    let json = printed.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_is_found_among_wrks_own_words() {
        let printed = "Running 10s test\n  Thread Stats\n\nRESULT {\"duration_us\":10,\"requests\":2,\"bytes\":3,\
            \"refused\":4,\"broken\":5,\"p50_us\":6,\"p99_us\":7,\"max_us\":8}\n";
        let figures = parse(printed).unwrap();
        assert_eq!((figures.requests, figures.refused, figures.broken, figures.max_us), (2, 4, 5, 8));
        assert_eq!(parse("Running 10s test\n"), None);
    }

    #[test]
    fn the_script_has_the_head_room_that_the_random_file_has() {
        assert!(SCRIPT.contains(&format!("HEAD_MAX = {HEAD_MAX}")));
    }
}
