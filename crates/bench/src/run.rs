//! One target through its workloads.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use crate::error::Error;
use crate::http::Connection;
use crate::process;
use crate::profile;
use crate::target::Target;
use crate::workload::{Verb, Workload};
use crate::wrk::{self, Figures, Pressure};

/// Connections that put the objects to be read.
const LOADERS: usize = 8;
/// Objects of a read workload that are read back and compared before it is measured.
const COMPARED: usize = 3;

/// The result of one workload on one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// Which server.
    pub target: &'static str,
    /// Which workload.
    pub workload: Workload,
    /// In the workload's unit.
    pub rate: f64,
    /// CPU seconds of the server per GB (10^9) of object data.
    pub cpu_per_gb: f64,
    /// CPU microseconds of the server per request.
    pub cpu_us_per_request: f64,
    /// Cores that the server kept busy.
    pub server_cores: f64,
    /// Cores that `wrk` kept busy.
    pub client_cores: f64,
    /// Cores that all else kept busy: the kernel's own threads (write-back, journal), and whatever
    /// disturbed the run.
    pub other_cores: f64,
    /// What `wrk` saw.
    pub figures: Figures,
}

impl Measurement {
    /// Requests that did not succeed; one when none was answered at all. Anything but 0 makes the
    /// bench fail.
    pub fn failed(&self) -> u64 {
        let answered_bytes = match self.workload.verb {
            Verb::Put => 0,
            Verb::Get => self.figures.requests.saturating_mul(self.workload.size as u64),
        };
        // A read that comes back short with a 200 is a failure that only the byte count shows.
        let short = u64::from(self.figures.bytes < answered_bytes);
        let none = u64::from(self.figures.requests == 0);
        self.figures.refused + self.figures.broken + short + none
    }
}

/// What all runs share.
pub struct Bench {
    /// Folder for scripts and outputs.
    pub work: PathBuf,
    /// Random bytes that bodies are cut from.
    pub random: Vec<u8>,
    /// How hard `wrk` presses.
    pub pressure: Pressure,
    /// Where `perf` puts what it finds, when asked.
    pub profiles: Option<PathBuf>,
}

impl Bench {
    /// The body of object `index`: a slice of the random bytes, another one for each.
    pub fn body(&self, workload: &Workload, index: usize) -> &[u8] {
        let slack = self.random.len().saturating_sub(workload.size).max(1);
        let from = index.wrapping_mul(4099) % slack;
        self.random.get(from..from + workload.size).unwrap_or_default()
    }

    /// Puts the objects that a read workload reads.
    pub fn preload(&self, target: &Target, workload: &Workload) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..LOADERS {
                scope.spawn(|| {
                    if let Err(error) = self.load_some(target, workload, &next) {
                        next.store(workload.keys, Ordering::Relaxed);
                        failure.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
    }

    fn load_some(&self, target: &Target, workload: &Workload, next: &AtomicUsize) -> Result<(), Error> {
        let mut connection = Connection::open(target.endpoint)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= workload.keys {
                return Ok(());
            }
            let path = target.presign_object("PUT", workload, index);
            connection.expect("PUT", &path, self.body(workload, index))?;
        }
    }

    /// Reads all objects of a workload once, so that the page cache holds what it can, and compares
    /// some of them with what was put.
    pub fn warm(&self, target: &Target, workload: &Workload) -> Result<(), Error> {
        let mut connection = Connection::open(target.endpoint)?;
        for index in 0..workload.keys {
            let body = connection.expect("GET", &target.presign_object("GET", workload, index), &[])?;
            if index < COMPARED && body != self.body(workload, index) {
                return Err(Error::Corrupt(workload.key(index)));
            }
        }
        Ok(())
    }

    /// Measures one workload.
    pub fn measure(&self, target: &Target, workload: &Workload) -> Result<Measurement, Error> {
        let method = if workload.verb == Verb::Put { "PUT" } else { "GET" };
        let paths: Vec<String> = (0..workload.keys).map(|i| target.presign_object(method, workload, i)).collect();
        wrk::prepare(&self.work, workload, &paths, &self.random)?;
        if workload.verb == Verb::Get {
            self.warm(target, workload)?;
        }
        // What earlier workloads left dirty in the page cache is not this one's to write.
        rustix::fs::sync();

        let profiler = self.profiler(target, workload)?;
        let all_before = process::machine_cpu_seconds()?;
        let before = target.cpu_seconds()?;
        let (figures, client_cpu_s) = wrk::run(&self.work, workload, &target.endpoint.to_string(), self.pressure)?;
        let cpu_s = target.cpu_seconds()? - before;
        let all_cpu_s = process::machine_cpu_seconds()? - all_before;
        if let Some(profiler) = profiler {
            profiler.finish()?;
        }

        let seconds = figures.duration_us as f64 / 1e6;
        let requests = figures.requests.max(1) as f64;
        Ok(Measurement {
            target: target.name,
            workload: *workload,
            rate: workload.rate(figures.requests, seconds),
            cpu_per_gb: cpu_s / (requests * workload.size as f64 / 1e9),
            cpu_us_per_request: cpu_s * 1e6 / requests,
            server_cores: cpu_s / seconds,
            client_cores: client_cpu_s / seconds,
            other_cores: (all_cpu_s - cpu_s - client_cpu_s).max(0.0) / seconds,
            figures,
        })
    }

    fn profiler(&self, target: &Target, workload: &Workload) -> Result<Option<profile::Profiler>, Error> {
        let Some(folder) = &self.profiles else { return Ok(None) };
        let pids: Vec<u32> = target.servers.iter().map(|server| server.pid()).collect();
        let name = format!("{}-{}", target.name, workload.name);
        profile::Profiler::start(folder, &name, &pids, self.pressure.seconds_of(workload)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::ALL;

    fn measurement(workload: Workload, figures: Figures) -> Measurement {
        Measurement {
            target: "x",
            workload,
            rate: 0.0,
            cpu_per_gb: 0.0,
            cpu_us_per_request: 0.0,
            server_cores: 0.0,
            client_cores: 0.0,
            other_cores: 0.0,
            figures,
        }
    }

    #[test]
    fn a_short_answer_with_a_200_counts_as_failed() {
        let get = *ALL.iter().find(|w| w.name == "1m-get").unwrap();
        let whole = Figures {
            duration_us: 1,
            requests: 2,
            bytes: 2 * get.size as u64 + 500,
            refused: 0,
            broken: 0,
            p50_us: 0,
            p99_us: 0,
            max_us: 0,
        };
        assert_eq!(measurement(get, whole).failed(), 0);
        assert_eq!(measurement(get, Figures { bytes: get.size as u64, ..whole }).failed(), 1);
        assert_eq!(measurement(get, Figures { requests: 0, bytes: 0, ..whole }).failed(), 1);
        assert_eq!(measurement(get, Figures { refused: 3, broken: 2, ..whole }).failed(), 5);
    }

    #[test]
    fn bodies_differ_and_have_the_workloads_size() {
        let random: Vec<u8> =
            (0..ALL[0].size + 100_000).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        let pressure = Pressure { connections: 1, seconds: 1 };
        let bench = Bench { work: PathBuf::new(), random, pressure, profiles: None };
        let bodies: std::collections::BTreeSet<&[u8]> = (0..20).map(|i| bench.body(&ALL[0], i)).collect();
        assert_eq!(bodies.len(), 20);
        assert!(bodies.iter().all(|body| body.len() == ALL[0].size));
    }
}
