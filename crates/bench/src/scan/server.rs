//! What is measured: Holdfast's scan service, and clamd by itself, each in a folder of its own and with the same definitions.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;

use super::wire::Client;
use crate::error::Error;
use crate::process::{self, Server};
use crate::target;

const CLAMD_HINT: &str = "install it: apt-get install clamav-daemon";
const HOLDFAST_HINT: &str = "build it: cargo build --release -p holdfast";
/// One with a million signatures loads for some seconds.
const START: Duration = Duration::from_secs(120);
/// One that is told to stop does so within this.
const STOP: Duration = Duration::from_secs(20);

/// Who scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `holdfast scan serve`.
    Holdfast,
    /// clamd as Debian's package sets it up, which keeps the hashes of 65,536 clean contents.
    Clamd,
    /// clamd with `DisableCache yes`: as if each tenant had his own.
    Unshared,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "Holdfast",
            Self::Clamd => "one clamd, its own cache",
            Self::Unshared => "a clamd for each tenant",
        }
    }
}

/// Processor seconds since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Of the service itself.
    pub service: f64,
    /// Of an engine that it asks.
    pub engine: f64,
}

/// One that runs. It is told to stop when it is dropped, so that it ends its engine.
pub struct Service {
    /// Which.
    pub kind: Kind,
    /// Where clients come.
    pub socket: PathBuf,
    /// The same over TCP, where it listens there.
    pub tcp: Option<SocketAddr>,
    /// For clamdscan.
    pub config: PathBuf,
    server: Server,
    engine: Option<u32>,
    status: Option<Status>,
}

/// How Holdfast is asked what it did.
struct Status {
    binary: PathBuf,
    data: PathBuf,
}

impl Service {
    /// Holdfast, without verdicts. `slots`: other than it takes by itself.
    pub fn holdfast(binary: &Path, dir: &Path, definitions: &Path, slots: Option<u16>) -> Result<Self, Error> {
        target::folder(dir)?;
        let (tcp, icap) = (target::free_port()?, target::free_port()?);
        let (socket, data) = (dir.join("socket"), dir.join("data"));
        let mut command = Command::new(binary);
        command.args(["scan", "serve", "--clamd-listen", &tcp.to_string(), "--icap-listen", &icap.to_string()]);
        command.arg("--clamd-socket").arg(&socket).arg("--definitions").arg(definitions).arg("--data-dir").arg(&data);
        if let Some(slots) = slots {
            command.args(["--slots", &slots.to_string()]);
        }
        let server = Server::start(command, &dir.join("log"), HOLDFAST_HINT)?;
        let config = config(dir, &socket, "")?;
        let status = Status { binary: binary.to_owned(), data };
        let mut service =
            Self { kind: Kind::Holdfast, socket, tcp: Some(tcp), config, server, engine: None, status: Some(status) };
        service.wait(|service| {
            let engine = service.status().map(|status| status["engines"][0].clone());
            service.engine = engine.ok().filter(|engine| engine["down"].is_null()).and_then(|engine| pid(&engine));
            service.engine.is_some()
        })?;
        Ok(service)
    }

    /// clamd.
    pub fn clamd(kind: Kind, dir: &Path, definitions: &Path) -> Result<Self, Error> {
        target::folder(dir)?;
        let socket = dir.join("socket");
        let cache = if kind == Kind::Unshared { "DisableCache yes\n" } else { "" };
        let settings = format!("Foreground yes\nDatabaseDirectory {}\n{cache}", definitions.display());
        let config = config(dir, &socket, &settings)?;
        let mut command = Command::new("clamd");
        command.arg("--config-file").arg(&config);
        let server = Server::start(command, &dir.join("log"), CLAMD_HINT)?;
        let mut service = Self { kind, socket, tcp: None, config, server, engine: None, status: None };
        service.wait(|service| Client::local(&service.socket).and_then(|mut client| client.ping()).is_ok())?;
        Ok(service)
    }

    fn wait(&mut self, is_ready: impl Fn(&mut Self) -> bool) -> Result<(), Error> {
        let begun = Instant::now();
        while !is_ready(self) {
            if self.server.has_ended() || begun.elapsed() > START {
                let log = std::fs::read_to_string(self.server.log()).unwrap_or_default();
                let output = format!("it did not start: {}", process::tail(&log));
                return Err(engines::Error::Failed { program: self.kind.name().to_owned(), output }.into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn status(&self) -> Result<Value, Error> {
        let Some(status) = &self.status else { return Ok(Value::Null) };
        let mut command = Command::new(&status.binary);
        command.args(["scan", "status", "--json", "--data-dir"]).arg(&status.data);
        let text = process::run(command, HOLDFAST_HINT)?;
        serde_json::from_str(&text).map_err(|error| Error::Unreadable(format!("the status: {error}")))
    }

    /// Files that were asked about, where it tells.
    pub fn asked(&self) -> Result<Option<u64>, Error> {
        Ok(self.status()?["asked"].as_u64())
    }

    /// Processor time so far.
    pub fn used(&self) -> Result<Used, Error> {
        Ok(Used {
            service: process::cpu_seconds(self.server.pid())?,
            engine: self.engine.map_or(Ok(0.0), process::cpu_seconds)?,
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = i32::try_from(self.server.pid()).ok().and_then(Pid::from_raw);
        let is_told = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let begun = Instant::now();
        while is_told && !self.server.has_ended() && begun.elapsed() < STOP {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn pid(engine: &Value) -> Option<u32> {
    engine["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}

fn config(dir: &Path, socket: &Path, more: &str) -> Result<PathBuf, Error> {
    let path = dir.join("clamd.conf");
    // By default clamdscan leaves out what lies deeper than 15 folders.
    let text = format!("LocalSocket {}\nMaxDirectoryRecursion 100\n{more}", socket.display());
    std::fs::write(&path, text).map_err(Error::path("write", &path))?;
    Ok(path)
}
