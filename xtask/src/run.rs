//! Running cargo, and counting what its tests tell.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Tests passed, failed, and skipped because the machine lacks what they need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs cargo; it must succeed.
pub fn cargo(args: &[&str]) -> Result<(), String> {
    eprintln!("== cargo {}", args.join(" "));
    let status = command(args).status().map_err(|e| format!("cargo does not run: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", args.join(" "))) }
}

/// Longest silence of tests that have begun: they wait for nothing longer than a few minutes.
const SILENCE: Duration = Duration::from_secs(12 * 60);
/// The same before that: all of them are built first.
const BUILD: Duration = Duration::from_secs(3600);

/// Runs tests, passes their output on, and adds up their result lines. A run that fails without
/// a failed test (it did not build) is an error. Tests that hang are ended, as failed ones, and what they were at is told.
pub fn tests(args: &[&str], env: &[(&str, &str)]) -> Result<Tally, String> {
    eprintln!("== cargo {}", args.join(" "));
    let mut command = command(args);
    command.envs(env.iter().copied()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cargo does not run: {e}"))?;
    let mut tally = Tally::default();
    let (tell, lines) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| tell.send(line).ok())
        });
    }
    let mut patience = BUILD;
    loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                patience = SILENCE;
                println!("{line}");
                tally.add(count(&line));
            }
            Err(RecvTimeoutError::Timeout) => {
                let ended = end_all_below(child.id());
                println!("no word for {} minutes, ended:\n{ended}", patience.as_secs() / 60);
                tally.failed += 1;
                if ended.is_empty() {
                    // It is cargo that hangs, or whoever holds its output is nobody's child any more.
                    let _ = child.kill();
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // To libtest a test that ended early has passed.
    tally.passed = tally.passed.saturating_sub(tally.skipped);
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() && tally.failed == 0 {
        return Err(format!("cargo {} failed without a failed test", args.join(" ")));
    }
    Ok(tally)
}

/// `kill -9` to all that a process has started, and to what these have; not to itself: cargo goes on with the next tests. Their command
/// lines; nothing where `ps` does not run.
fn end_all_below(parent: u32) -> String {
    let listed = Command::new("ps").args(["-eo", "pid=,ppid=,etimes=,stat=,args="]).output();
    let listed = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned()).unwrap_or_default();
    let below = below(&listed, parent);
    for pid in below.keys() {
        // It may have ended with another one.
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    }
    below.into_values().map(|line| format!("  {line}\n")).collect()
}

/// Of lines that begin with a process's id and its parent's: those of the descendants.
fn below(listed: &str, parent: u32) -> BTreeMap<u32, &str> {
    let mut found = BTreeMap::new();
    let mut known = 0;
    loop {
        for line in listed.lines() {
            let mut ids = line.split_whitespace().map_while(|word| word.parse::<u32>().ok());
            let (Some(pid), Some(of)) = (ids.next(), ids.next()) else { continue };
            if of == parent || found.contains_key(&of) {
                found.insert(pid, line.trim());
            }
        }
        if found.len() == known {
            return found;
        }
        known = found.len();
    }
}

/// `test result: ok. 3 passed; 0 failed; …`, or `SKIPPED name: reason`.
fn count(line: &str) -> Tally {
    if line.starts_with("SKIPPED ") {
        return Tally { skipped: 1, ..Tally::default() };
    }
    let Some(rest) = line.strip_prefix("test result: ") else { return Tally::default() };
    let number = |word: &str| {
        let before = rest.split(word).next()?;
        before.rsplit([' ', ';', '.']).find(|piece| !piece.is_empty())?.parse().ok()
    };
    Tally { passed: number(" passed").unwrap_or(0), failed: number(" failed").unwrap_or(0), skipped: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(count(line), Tally { passed: 12, failed: 3, skipped: 0 });
        assert_eq!(count("test a ... ok"), Tally::default());
        assert_eq!(count("SKIPPED a: no /dev/fuse").skipped, 1);
    }

    #[test]
    fn descendants_are_found_whatever_the_order() {
        let listed = "  9 7 1 S deeper\n  5 1 1 S cargo\n 7 5 1 S test\n 8 1 1 S other\n";
        assert_eq!(below(listed, 5).into_iter().collect::<Vec<_>>(), [(7, "7 5 1 S test"), (9, "9 7 1 S deeper")]);
    }

    #[test]
    fn the_last_line_tells_what_was_skipped() {
        let tally = Tally { passed: 3, failed: 0, skipped: 0 };
        assert_eq!(tally.to_string(), "3 passed, 0 failed");
        assert_eq!(Tally { skipped: 2, ..tally }.to_string(), "3 passed, 0 failed, 2 skipped");
    }
}
