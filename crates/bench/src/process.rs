//! Child processes: those of [`engines::process`], watched through `/proc` or bounded in time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use engines::process::{Server, run, tail};

use crate::error::Error;

/// A program that ran to its end, or was killed at its limit.
pub struct Ended {
    /// Everything it printed on stdout.
    pub stdout: String,
    /// CPU seconds, user and system, that it used.
    pub cpu_s: f64,
}

/// Runs `command` for at most `limit`, and tells what CPU time it took.
pub fn run_bounded(mut command: Command, limit: Duration, stdout: &Path, hint: &str) -> Result<Ended, Error> {
    let out = File::create(stdout).map_err(Error::path("create", stdout))?;
    let err = out.try_clone().map_err(Error::path("share", stdout))?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let program = PathBuf::from(command.get_program());
    let child = command.spawn();
    let mut child = child.map_err(|source| engines::Error::Program { program, hint: hint.to_owned(), source })?;
    let deadline = Instant::now() + limit;
    // A zombie still shows its CPU time in /proc; after `wait` nobody does. So look first, reap after.
    while !is_zombie(child.id())? && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let in_time = is_zombie(child.id())?;
    let cpu_s = cpu_seconds(child.id())?;
    let _ = child.kill();
    let status = child.wait().map_err(Error::io("cannot wait for a child"))?;
    let printed = fs::read_to_string(stdout).map_err(Error::path("read", stdout))?;
    if !in_time || !status.success() {
        let why = if in_time { status.to_string() } else { format!("still running after {} s", limit.as_secs()) };
        let output = format!("{why}: {}", tail(&printed));
        return Err(engines::Error::Failed { program: format!("{command:?}"), output }.into());
    }
    Ok(Ended { stdout: printed, cpu_s })
}

/// CPU seconds, user and system, of process `pid` since its start.
pub fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let stat = read_proc(pid, "stat")?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| Error::Unreadable(format!("/proc/{pid}/stat")))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// CPU seconds that all cores together have spent on anything but waiting, since boot.
pub fn machine_cpu_seconds() -> Result<f64, Error> {
    let path = Path::new("/proc/stat");
    let stat = fs::read_to_string(path).map_err(Error::path("read", path))?;
    let ticks = busy_ticks(&stat).ok_or_else(|| Error::Unreadable("/proc/stat".to_owned()))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The first line of proc_stat(5) without idle and iowait (4th and 5th) and without guest time, which
/// user time includes (from the 9th on).
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields = line.split_whitespace().take(8).map(|field| field.parse::<u64>().ok());
    let fields: Vec<u64> = fields.collect::<Option<_>>()?;
    Some(fields.iter().enumerate().filter(|(index, _)| ![3, 4].contains(index)).map(|(_, ticks)| ticks).sum())
}

/// Resident memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// At most, since its start.
    pub peak: u64,
}

/// The memory of process `pid`.
pub fn memory(pid: u32) -> Result<Memory, Error> {
    let status = read_proc(pid, "status")?;
    let field = |name| status_bytes(&status, name).ok_or_else(|| Error::Unreadable(format!("/proc/{pid}/status")));
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

fn read_proc(pid: u32, file: &str) -> Result<String, Error> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    fs::read_to_string(&path).map_err(Error::path("read", &path))
}

fn is_zombie(pid: u32) -> Result<bool, Error> {
    let stat = read_proc(pid, "stat")?;
    Ok(after_name(&stat).and_then(|rest| rest.split_whitespace().next()) == Some("Z"))
}

/// The fields after the process's name, which is in brackets and may hold spaces and brackets.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest)
}

/// utime + stime: fields 14 and 15 of proc_pid_stat(5); the name is field 2.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = after_name(stat)?.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 700 55 0 0 20 0";
        assert_eq!(cpu_ticks(stat), Some(755));
        assert_eq!(cpu_ticks("42 (x) S 1 2"), None);
    }

    #[test]
    fn a_busy_machine_is_neither_idle_nor_waiting_nor_a_guest_twice() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 5000 5000\ncpu0 1\n"), Some(63));
        assert_eq!(busy_ticks("cpu  1 x\n"), None);
        assert_eq!(busy_ticks("intr 1\n"), None);
    }

    #[test]
    fn status_fields_are_bytes() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t     12 kB\n";
        assert_eq!(status_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(status_bytes(status, "VmRSS:"), Some(12 << 10));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn a_bounded_run_counts_the_cpu_of_a_child_that_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done"]);
        let ended = run_bounded(command, Duration::from_secs(60), &out, "").unwrap();
        assert_eq!(ended.stdout, "done\n");
        assert!(ended.cpu_s > 0.0);
    }

    #[test]
    fn a_run_over_its_limit_is_killed_and_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let result = run_bounded(command, Duration::from_millis(100), &folder.path().join("out"), "");
        assert!(matches!(result, Err(Error::Engine(engines::Error::Failed { .. }))));
    }
}
