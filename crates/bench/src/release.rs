//! What releases cost a small read: the same objects, without policies and with them, in turns.
//!
//! The audit log is on throughout. Turns alternate, so that what else the machine does falls on all of them.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::component;
use crate::error::Error;
use crate::holdfast::Holdfast;
use crate::run::{Bench, Measurement};
use crate::target::Target;
use crate::workload::ALL;

/// Turns of each kind.
const TURNS: usize = 5;
/// Policies of the document that is put: as many as one document has room for.
const POLICIES: usize = 500;
/// The document's name.
const NAME: &str = "bench";
/// What to keep of the rate without policies.
const SHARE_MIN: f64 = 0.9;
/// The server looks at changed policies at once, at its leases when they end: both are over by then.
const SETTLE: Duration = Duration::from_secs(1);

/// What is in force in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rules {
    /// No policy: every portion is released to whom IAM lets in.
    None,
    /// [`POLICIES`] policies.
    Policies,
    /// The same, with a budget of objects and of bytes, and each first release in the log before it is used.
    Budget,
}

impl Rules {
    const ALL: [Self; 3] = [Self::None, Self::Policies, Self::Budget];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no policies",
            Self::Policies => "500 policies",
            Self::Budget => "500 policies, a budget, recorded first",
        }
    }

    /// The policies; the last one permits everything on its terms.
    fn document(self) -> Option<String> {
        let terms = match self {
            Self::None => return None,
            Self::Policies => "",
            Self::Budget => "@objects(\"5000000\") @bytes(\"40GiB\") @record(\"first\") ",
        };
        Some(component::policies(POLICIES) + terms + "permit(principal, action, resource);\n")
    }
}

/// All turns under one kind of rules.
#[derive(Debug, Serialize)]
pub struct Turns {
    /// What was in force.
    pub rules: Rules,
    /// Each turn.
    pub measurements: Vec<Measurement>,
}

impl Turns {
    /// The turn in the middle.
    fn median(&self, value: impl Fn(&Measurement) -> f64) -> f64 {
        let mut values: Vec<f64> = self.measurements.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// Requests that did not succeed.
    pub fn failed(&self) -> u64 {
        self.measurements.iter().map(Measurement::failed).sum()
    }
}

/// Measures all kinds in turns.
pub fn measure(bench: &Bench, binary: &Path) -> Result<Vec<Turns>, Error> {
    let mut workload = ALL.into_iter().find(|workload| workload.name == "4k-get").ok_or_else(no_workload)?;
    workload.goal = None;
    let dir = bench.work.join("release");
    let holdfast = Holdfast::new(binary, &dir)?;
    let (target, _) = holdfast.start(&dir.join("log"))?;
    target.create_bucket()?;
    bench.preload(&target, &workload)?;
    let mut all: Vec<Turns> = Rules::ALL.map(|rules| Turns { rules, measurements: Vec::new() }).into();
    for turn in 1..=TURNS {
        for turns in &mut all {
            eprintln!("turn {turn} of {TURNS}: {}", turns.rules.name());
            put(&holdfast, &target, &dir, turns.rules)?;
            thread::sleep(SETTLE);
            turns.measurements.push(bench.measure(&target, &workload)?);
            if turns.rules != Rules::None {
                holdfast.run(&target, &["policy", "delete", NAME])?;
            }
        }
    }
    Ok(all)
}

fn no_workload() -> Error {
    Error::Unreadable("the list of workloads: it has no 4k-get".to_owned())
}

fn put(holdfast: &Holdfast, target: &Target, dir: &Path, rules: Rules) -> Result<(), Error> {
    let Some(document) = rules.document() else { return Ok(()) };
    let path = dir.join("bench.cedar");
    std::fs::write(&path, document).map_err(Error::path("write", &path))?;
    holdfast.run(target, &["policy", "put", NAME, &path.to_string_lossy()])
}

/// The turns as Markdown.
pub fn table(all: &[Turns]) -> String {
    let rate = |turns: &Turns| turns.median(|one| one.rate);
    let plain = all.first().map(rate).unwrap_or_default();
    let mut out = format!(
        "4 KiB GET, the median of {TURNS} turns; goal: {SHARE_MIN} of the rate without policies\n\n\
         | | GET/s | of it | CPU us/request | p99 ms |\n|---|---|---|---|---|\n"
    );
    for turns in all {
        let (rate, cpu) = (rate(turns), turns.median(|one| one.cpu_us_per_request));
        let p99 = turns.median(|one| one.figures.p99_us as f64 / 1000.0);
        out.push_str(&format!("| {} | {rate:.0} | {:.2} | {cpu:.1} | {p99:.2} |\n", turns.rules.name(), rate / plain));
    }
    out
}
