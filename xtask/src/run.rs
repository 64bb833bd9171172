//! Running cargo, and counting what its tests tell.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// Runs tests, passes their output on, and adds up their result lines. A run that fails without
/// a failed test (it did not build) is an error.
pub fn tests(args: &[&str], env: &[(&str, &str)]) -> Result<Tally, String> {
    eprintln!("== cargo {}", args.join(" "));
    let mut command = command(args);
    command.envs(env.iter().copied()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cargo does not run: {e}"))?;
    let mut tally = Tally::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            println!("{line}");
            tally.add(count(&line));
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
    fn the_last_line_tells_what_was_skipped() {
        let tally = Tally { passed: 3, failed: 0, skipped: 0 };
        assert_eq!(tally.to_string(), "3 passed, 0 failed");
        assert_eq!(Tally { skipped: 2, ..tally }.to_string(), "3 passed, 0 failed, 2 skipped");
    }
}
