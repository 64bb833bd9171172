//! `perf record` beside a run: which processes, and which functions of the server, the time goes to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::Error;
use crate::process;

const HINT: &str = "install it: apt-get install linux-perf";
/// Samples per second and core: a prime, so that it does not beat with timers.
const FREQUENCY: &str = "997";

/// A running `perf record`.
pub struct Profiler {
    child: Child,
    data: PathBuf,
    report: PathBuf,
    pids: String,
}

impl Profiler {
    /// Samples the whole machine for `seconds`: the kernel's write-back threads and the client take
    /// part in the bound, so they must be seen. `pids` are the server's processes.
    pub fn start(folder: &Path, name: &str, pids: &[u32], seconds: u32) -> Result<Self, Error> {
        crate::target::folder(folder)?;
        let data = folder.join(format!("{name}.perf"));
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).map_err(Error::path("create", &log))?;
        let err = out.try_clone().map_err(Error::path("share", &log))?;
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let child = Command::new("perf")
            .args(["record", "--all-cpus", "--freq", FREQUENCY, "--output"])
            .arg(&data)
            .args(["--", "sleep", &seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| engines::Error::Program { program: "perf".into(), hint: HINT.to_owned(), source })?;
        Ok(Self { child, data, report: folder.join(format!("{name}.txt")), pids: pids.join(",") })
    }

    /// Waits for the end of the sampling and writes the lists, the costliest first.
    pub fn finish(mut self) -> Result<(), Error> {
        self.child.wait().map_err(Error::io("cannot wait for perf"))?;
        let processes = self.list(&["--sort", "overhead,comm", "--percent-limit", "1"])?;
        let functions = self.list(&["--pid", &self.pids, "--sort", "overhead,symbol", "--percent-limit", "0.3"])?;
        let text = format!("threads of the whole machine\n{processes}\nfunctions of the server\n{functions}");
        fs::write(&self.report, text).map_err(Error::path("write", &self.report))
    }

    fn list(&self, how: &[&str]) -> Result<String, Error> {
        let mut report = Command::new("perf");
        report.arg("report").arg("--input").arg(&self.data);
        report.args(["--stdio", "--no-children", "--no-inline"]).args(how);
        let printed = process::run(report, HINT)?;
        // The columns of branch counters, which a virtual machine does not have, are dashes.
        let lines = printed
            .lines()
            .map(|line| line.trim_end_matches([' ', '-']))
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.fold(String::new(), |text, line| text + line + "\n"))
    }
}
