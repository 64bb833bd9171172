//! A process of a data centre: started, killed, stopped for a while.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A process, which ends with the test.
pub struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts it; what it says goes to `NAME.out`, which begins anew, and `NAME.err`.
    pub fn spawn(mut command: Command, dir: &Path, name: &str) -> Self {
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        command.stdout(File::create(&out).expect("a log"));
        command.stderr(File::options().create(true).append(true).open(&err).expect("a log"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not run: {error}"));
        Self { child, out, err }
    }

    /// What it wrote to stdout since it was started.
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// The end of what it wrote to stderr.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.err).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits until `ready`, for so long at most. `false` also where the process ends before.
    pub fn wait_until(&mut self, within: Duration, mut ready: impl FnMut(&Self) -> bool) -> bool {
        let begun = Instant::now();
        loop {
            if ready(self) {
                return true;
            }
            if self.has_ended() || begun.elapsed() > within {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it has ended by itself, or was killed.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().ok().flatten().is_some()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        // It may have ended meanwhile.
        let _ = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).output();
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
