//! What an operator sees.

use serde::{Deserialize, Serialize};

use crate::engine::EngineState;
use crate::hunt::Hunted;
use crate::queue::Lane;

/// The service at one moment; counts are since it started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// All that must agree before something is called clean.
    pub engines: Vec<EngineState>,
    /// Scans that run.
    pub running: usize,
    /// Scans at once.
    pub slots: usize,
    /// Scans that wait: on access, inline, images, re-scans.
    pub waiting: [usize; 4],
    /// Contents that were asked about.
    pub asked: u64,
    /// Of those, answered by what was known.
    pub known: u64,
    /// Of those, answered by a scan that somebody else had asked for.
    pub shared: u64,
    /// Scans that an engine did.
    pub scanned: u64,
    /// Bytes that no engine read since the verdict was known or shared.
    pub bytes_saved: u64,
    /// Bytes that engines read.
    pub bytes_scanned: u64,
    /// Contents that ended an engine, or for which one ended: by now known to be the cause, or not.
    pub engine_deaths: u64,
    /// Verdicts in memory.
    pub remembered: usize,
    /// The last search for new signatures among what is known.
    pub hunted: Option<Hunted>,
}

impl Status {
    /// Answers without a scan of their own, of all; `None` before anything was asked.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.asked > 0).then(|| (self.known + self.shared) as f64 / self.asked as f64)
    }

    /// The same as gauges, for scrapers.
    pub fn gauge(&self) {
        for (lane, waiting) in Lane::ALL.iter().zip(self.waiting) {
            metrics::gauge!("holdfast_scan_waiting", "lane" => lane.word()).set(waiting as f64);
        }
        metrics::gauge!("holdfast_scan_running").set(self.running as f64);
        metrics::gauge!("holdfast_scan_verdicts_remembered").set(self.remembered as f64);
        for engine in &self.engines {
            let (name, epoch) = (engine.name.clone(), engine.epoch.unwrap_or_default());
            metrics::gauge!("holdfast_scan_engine_up", "engine" => name.clone())
                .set(f64::from(u8::from(engine.down.is_none())));
            metrics::gauge!("holdfast_scan_epoch", "engine" => name).set(epoch as f64);
        }
    }

    /// One line.
    pub fn summary(&self) -> String {
        let down: Vec<&str> =
            self.engines.iter().filter(|one| one.down.is_some()).map(|one| one.name.as_str()).collect();
        match down.as_slice() {
            [] if self.engines.is_empty() => "no engine: nothing can be scanned".to_owned(),
            [] => "scanning".to_owned(),
            down => format!("only what is known is answered: {} cannot be asked", down.join(", ")),
        }
    }
}
