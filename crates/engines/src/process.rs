//! Child processes: started with a log, ended with their owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Error;

/// A server. Killed when dropped, so that nobody leaves one behind.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with its output in `log`. `hint` says how to get the program.
    ///
    /// # Errors
    /// The log cannot be made, or the program does not start.
    pub fn start(mut command: Command, log: &Path, hint: &str) -> Result<Self, Error> {
        let out = File::create(log).map_err(Error::path("create", log))?;
        let err = out.try_clone().map_err(Error::path("share", log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(|source| Error::Program { program, hint: hint.to_owned(), source })?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True once it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end and gives back what it printed on stdout. `hint` says how to get the program.
///
/// # Errors
/// It does not start, or fails.
pub fn run(mut command: Command, hint: &str) -> Result<String, Error> {
    command.stdin(Stdio::null());
    finish(command, hint)
}

/// The same for a program that reads `input` on stdin.
///
/// # Errors
/// As of [`run`], and where `input` cannot be opened.
pub fn run_on(mut command: Command, input: &Path, hint: &str) -> Result<String, Error> {
    command.stdin(File::open(input).map_err(Error::path("open", input))?);
    finish(command, hint)
}

fn finish(mut command: Command, hint: &str) -> Result<String, Error> {
    let program = PathBuf::from(command.get_program());
    let said = command.output().map_err(|source| Error::Program { program, hint: hint.to_owned(), source })?;
    let stdout = String::from_utf8_lossy(&said.stdout).into_owned();
    if said.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&said.stderr);
    Err(Error::Failed { program: format!("{command:?}"), output: tail(&format!("{stdout}{stderr}")) })
}

/// The last lines of a long output, for an error message.
pub fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.trim().lines().collect();
    let from = lines.len().saturating_sub(12);
    lines.get(from..).unwrap_or_default().join("\n")
}
