//! One pass over what one tenant has, by one client, with what each of its answers says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::Serialize;

use super::corpus::{PLANTED, PLANTED_EACH, Tenant};
use super::server::{Kind, Service};
use super::signatures::EICAR_NAME;
use super::wire;
use crate::error::Error;
use crate::process;

const HINT: &str = "install it: apt-get install clamdscan";
/// Connections of the bench's own client.
const CONNECTIONS: usize = 2;
/// What is found in a content of which not all was looked at begins with one of these.
const INCOMPLETE: [&str; 3] = ["Heuristics.Limits.", "Heuristics.Encrypted.", "Holdfast.Incomplete."];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asks {
    /// `clamdscan --fdpass --multiscan`: one thread, one connection; it tells only what is not clean.
    Clamdscan,
    /// The bench: two threads, two connections; each answer is read.
    Own,
}

impl Asks {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clamdscan => "clamdscan",
            Self::Own => "own client",
        }
    }
}

/// What the answers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Planted ones that were found.
    pub found: usize,
    /// Files of which not all was looked at, as Holdfast says.
    pub incomplete: usize,
    /// Others that something was found in, and errors.
    pub wrong: usize,
}

impl Tally {
    fn add(&mut self, path: &Path, said: &str) {
        let is_planted = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PLANTED));
        match said.strip_suffix(" FOUND") {
            Some(name) if is_planted && name.starts_with(EICAR_NAME) => self.found += 1,
            Some(name) if INCOMPLETE.iter().any(|begins| name.starts_with(begins)) => self.incomplete += 1,
            None if said == "OK" && !is_planted => {}
            _ => self.wrong += 1,
        }
    }

    /// What clamdscan printed; of a folder in which all is clean it says so in one line.
    fn read(printed: &str) -> Self {
        let mut tally = Self::default();
        for line in printed.lines() {
            if let Some((path, said)) = line.rsplit_once(": ")
                && (said.ends_with(" FOUND") || said.ends_with(" ERROR"))
            {
                tally.add(Path::new(path), said);
            } else if line.starts_with("ERROR") {
                tally.wrong += 1;
            }
        }
        tally
    }
}

/// One pass, or several one after the other.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Pass {
    /// Tenants that were gone through.
    pub tenants: usize,
    /// Files.
    pub files: usize,
    /// Bytes.
    pub bytes: u64,
    /// Seconds.
    pub seconds: f64,
    /// Processor seconds of the service.
    pub service_s: f64,
    /// Processor seconds of the engine that it asks.
    pub engine_s: f64,
    /// Processor seconds of the client.
    pub client_s: f64,
    /// What was said.
    pub tally: Tally,
    /// Answers that are not what they should be.
    pub failed: usize,
}

impl Pass {
    /// Processor seconds of all.
    pub fn cpu_s(&self) -> f64 {
        self.service_s + self.engine_s + self.client_s
    }

    /// Both, one after the other.
    pub fn and(self, other: Self) -> Self {
        Self {
            tenants: self.tenants + other.tenants,
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
            seconds: self.seconds + other.seconds,
            service_s: self.service_s + other.service_s,
            engine_s: self.engine_s + other.engine_s,
            client_s: self.client_s + other.client_s,
            tally: Tally {
                found: self.tally.found + other.tally.found,
                incomplete: self.tally.incomplete + other.tally.incomplete,
                wrong: self.tally.wrong + other.tally.wrong,
            },
            failed: self.failed + other.failed,
        }
    }

    /// What one of them is on average.
    pub fn each(self) -> Self {
        let each = 1.0 / self.tenants.max(1) as f64;
        Self {
            tenants: 1,
            files: self.files / self.tenants.max(1),
            bytes: self.bytes / self.tenants.max(1) as u64,
            seconds: self.seconds * each,
            service_s: self.service_s * each,
            engine_s: self.engine_s * each,
            client_s: self.client_s * each,
            ..self
        }
    }

    /// So many like it.
    pub fn times(self, count: usize) -> Self {
        let times = count as f64;
        Self {
            tenants: self.tenants * count,
            files: self.files * count,
            bytes: self.bytes * count as u64,
            seconds: self.seconds * times,
            service_s: self.service_s * times,
            engine_s: self.engine_s * times,
            client_s: self.client_s * times,
            ..self
        }
    }
}

/// Goes through what a tenant has.
pub fn run(service: &Service, asks: Asks, tenant: &Tenant<'_>, dir: &Path) -> Result<Pass, Error> {
    let list = if asks == Asks::Own { tenant.list()? } else { Vec::new() };
    let (before, asked) = (service.used()?, service.asked()?);
    let begun = Instant::now();
    let (tally, client_s) = match asks {
        Asks::Clamdscan => clamdscan(service, tenant, dir)?,
        Asks::Own => own(service, &list)?,
    };
    let seconds = begun.elapsed().as_secs_f64();
    let (after, asked_then) = (service.used()?, service.asked()?);
    let missed = match (asked, asked_then) {
        (Some(before), Some(after)) => (tenant.files as u64).abs_diff(after - before) as usize,
        _ => 0,
    };
    // clamd by itself calls clean whatever it did not look at.
    let unexpected = if service.kind == Kind::Holdfast { 0 } else { tally.incomplete };
    Ok(Pass {
        tenants: 1,
        files: tenant.files,
        bytes: tenant.bytes,
        seconds,
        service_s: after.service - before.service,
        engine_s: after.engine - before.engine,
        client_s,
        tally,
        failed: tally.wrong + PLANTED_EACH.abs_diff(tally.found) + missed + unexpected,
    })
}

fn clamdscan(service: &Service, tenant: &Tenant<'_>, dir: &Path) -> Result<(Tally, f64), Error> {
    let out = dir.join("clamdscan.out");
    let printed = File::create(&out).map_err(Error::path("create", &out))?;
    let errors = printed.try_clone().map_err(Error::path("share", &out))?;
    let mut command = Command::new("clamdscan");
    command.args(["--fdpass", "--multiscan", "--no-summary", "--config-file"]).arg(&service.config);
    command.args(tenant.folders).stdin(Stdio::null()).stdout(printed).stderr(errors);
    let child = command.spawn();
    let program = PathBuf::from("clamdscan");
    let mut child = child.map_err(|source| engines::Error::Program { program, hint: HINT.to_owned(), source })?;
    // Its processor time is told as long as nobody has waited for it.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let ended = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        ended.map_err(|error| Error::io("cannot wait for clamdscan")(error.into()))?;
    }
    let cpu_s = process::cpu_seconds(child.id())?;
    let status = child.wait().map_err(Error::io("cannot wait for clamdscan"))?;
    let printed = std::fs::read(&out).map_err(Error::path("read", &out))?;
    let printed = String::from_utf8_lossy(&printed);
    // 1: something was found. 2: there were errors, which are counted.
    if !matches!(status.code(), Some(0..=2)) {
        let output = format!("{status}: {}", process::tail(&printed));
        return Err(engines::Error::Failed { program: "clamdscan".to_owned(), output }.into());
    }
    let mut tally = Tally::read(&printed);
    tally.wrong += usize::from(status.code() == Some(2) && tally.wrong == 0);
    Ok((tally, cpu_s))
}

fn own(service: &Service, list: &[PathBuf]) -> Result<(Tally, f64), Error> {
    let before = process::cpu_seconds(std::process::id())?;
    let said = wire::scan(&service.socket, list, CONNECTIONS)?;
    let cpu_s = process::cpu_seconds(std::process::id())? - before;
    let mut tally = Tally::default();
    list.iter().zip(&said).for_each(|(path, said)| tally.add(path, said));
    Ok((tally, cpu_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_right_or_counts() {
        let printed = "/c/shared: OK\n/t/eicar-own: Test.Eicar.UNOFFICIAL FOUND\n/t/a.gz: Heuristics.Limits.Exceeded.MaxFiles FOUND\n\
                       /t/b: Win.Worm.Agent-1.UNOFFICIAL FOUND\n/t/c: Access denied. ERROR\nERROR: Could not connect\n";
        assert_eq!(Tally::read(printed), Tally { found: 1, incomplete: 1, wrong: 3 });
        let mut tally = Tally::default();
        tally.add(Path::new("/t/eicar-own"), "OK");
        tally.add(Path::new("/t/other"), "OK");
        tally.add(Path::new("/t/other"), "Test.Eicar.UNOFFICIAL FOUND");
        assert_eq!(tally, Tally { found: 0, incomplete: 0, wrong: 2 });
    }

    #[test]
    fn passes_add_up() {
        let one = Pass { tenants: 1, files: 3, bytes: 10, seconds: 2.0, service_s: 1.0, failed: 1, ..Pass::default() };
        let all = one.and(one.times(31));
        assert_eq!((all.tenants, all.files, all.bytes, all.failed), (32, 96, 320, 2));
        assert!((all.seconds - 64.0).abs() < 1e-9 && (all.cpu_s() - 32.0).abs() < 1e-9);
        let each = all.each();
        assert!((each.tenants, each.files, each.bytes) == (1, 3, 10) && (each.seconds - 2.0).abs() < 1e-9);
    }
}
