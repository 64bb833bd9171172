//! What is measured: size, verb, number of keys, and the figure that the project wants to reach.

use serde::Serialize;

/// The verb of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Writes over rotating keys.
    Put,
    /// Reads over a set that was written before and fits the page cache.
    Get,
}

/// How a result is spoken of: small objects by their number, large ones by their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Requests per second.
    #[serde(rename = "req/s")]
    PerSecond,
    /// Megabytes (10^6) of object data per second.
    #[serde(rename = "MB/s")]
    Megabytes,
}

/// What the project set itself for a workload.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Goal {
    /// At least this, in the workload's unit.
    pub rate_min: f64,
    /// At most this many CPU seconds of the server per GB (10^9) of object data.
    pub cpu_per_gb_max: Option<f64>,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Workload {
    /// The name that `--only` takes.
    pub name: &'static str,
    /// What each request does.
    pub verb: Verb,
    /// Bytes of an object.
    pub size: usize,
    /// How many keys the requests rotate over.
    pub keys: usize,
    /// How the rate is given.
    pub unit: Unit,
    /// How many times longer than asked this runs. A request that is under way at the end counts for
    /// nothing though the server worked for it: with sixteen large ones that must stay a small share.
    pub stretch: u32,
    /// Whether two of the five sites are gone. Peers are not asked these.
    pub two_gone: bool,
    /// What to reach.
    pub goal: Option<Goal>,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// All workloads, in the order in which they run: writes first, so that reads find a store that
/// holds something; those with two sites gone last, because the bench does not heal it.
pub const ALL: [Workload; 9] = [
    // More keys than a run writes: each PUT makes a new object.
    put("4k-put", 4 * KIB, 60_000, Unit::PerSecond, goal(3_000.0, None)),
    put("1m-put", MIB, 8_000, Unit::Megabytes, goal(200.0, Some(3.5))),
    put("16m-put", 16 * MIB, 600, Unit::Megabytes, goal(220.0, Some(3.0))),
    get("4k-get", 4 * KIB, 5_000, Unit::PerSecond, goal(6_000.0, None)),
    get("1m-get", MIB, 256, Unit::Megabytes, goal(1_000.0, Some(1.3))),
    get("16m-get", 16 * MIB, 32, Unit::Megabytes, goal(1_200.0, Some(1.1))),
    // The goal for these is a share of the healthy figure: see `TWO_GONE_SHARE`.
    without_two("4k-get-two-gone", get("4k-get", 4 * KIB, 5_000, Unit::PerSecond, None)),
    without_two("1m-get-two-gone", get("1m-get", MIB, 256, Unit::Megabytes, None)),
    without_two("16m-get-two-gone", get("16m-get", 16 * MIB, 32, Unit::Megabytes, None)),
];

/// With two sites gone a GET keeps at least this share of its *goal* rate.
const TWO_GONE_SHARE: f64 = 0.7;

const fn goal(rate_min: f64, cpu_per_gb_max: Option<f64>) -> Option<Goal> {
    Some(Goal { rate_min, cpu_per_gb_max })
}

const fn stretch(size: usize) -> u32 {
    if size > 4 * MIB { 3 } else { 1 }
}

const fn put(name: &'static str, size: usize, keys: usize, unit: Unit, goal: Option<Goal>) -> Workload {
    Workload { name, verb: Verb::Put, size, keys, unit, stretch: stretch(size), two_gone: false, goal }
}

const fn get(name: &'static str, size: usize, keys: usize, unit: Unit, goal: Option<Goal>) -> Workload {
    Workload { name, verb: Verb::Get, size, keys, unit, stretch: stretch(size), two_gone: false, goal }
}

const fn without_two(name: &'static str, healthy: Workload) -> Workload {
    Workload { name, two_gone: true, ..healthy }
}

impl Workload {
    /// The goal, for a workload with two sites gone derived from the healthy one's.
    pub fn goal(&self) -> Option<Goal> {
        if !self.two_gone {
            return self.goal;
        }
        let healthy = ALL.iter().find(|w| !w.two_gone && w.verb == self.verb && w.size == self.size)?;
        Some(Goal { rate_min: healthy.goal?.rate_min * TWO_GONE_SHARE, cpu_per_gb_max: None })
    }

    /// The key of object `index`. Reads of one size share their objects, with or without two sites.
    pub fn key(&self, index: usize) -> String {
        match self.verb {
            Verb::Put => format!("put/{}/{index:06}", self.size),
            Verb::Get => format!("get/{}/{index:06}", self.size),
        }
    }

    /// `requests` in `seconds`, in the workload's unit.
    pub fn rate(&self, requests: u64, seconds: f64) -> f64 {
        let per_second = requests as f64 / seconds;
        match self.unit {
            Unit::PerSecond => per_second,
            Unit::Megabytes => per_second * self.size as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_workload_has_a_goal() {
        for (index, workload) in ALL.iter().enumerate() {
            assert!(workload.goal().is_some(), "{}", workload.name);
            assert!(ALL.iter().skip(index + 1).all(|other| other.name != workload.name), "{}", workload.name);
        }
    }

    #[test]
    fn reads_with_two_sites_gone_use_the_objects_of_the_healthy_reads() {
        for workload in ALL.iter().filter(|w| w.two_gone) {
            let healthy = ALL.iter().find(|w| !w.two_gone && w.verb == Verb::Get && w.size == workload.size);
            let healthy = healthy.expect("a healthy twin");
            assert_eq!(healthy.key(7), workload.key(7));
            assert_eq!(healthy.keys, workload.keys);
        }
    }

    #[test]
    fn rates() {
        assert_eq!(ALL[0].rate(30_000, 10.0), 3_000.0);
        assert_eq!(ALL[1].rate(1_000, 10.0), 104.857_6);
    }
}
