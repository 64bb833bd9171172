//! What is known of a site's health. Pure: fed with outcomes and times, asked for decisions.

use crate::SiteError;

/// A site's state, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteState {
    /// Takes reads and writes.
    Up,
    /// Answers late: reads go on (hedged), writes go elsewhere.
    Slow,
    /// No space: reads go on, writes go elsewhere.
    Full,
    /// Refuses writes: reads go on, writes go elsewhere.
    ReadOnly,
    /// Does not answer.
    Down,
    /// There, but without this cluster's marker: empty, or its contents were removed.
    Empty,
    /// Holds the marker of another cluster or slot.
    Foreign,
}

impl SiteState {
    /// Whether a read is worth trying.
    pub fn readable(self) -> bool {
        matches!(self, Self::Up | Self::Slow | Self::Full | Self::ReadOnly)
    }

    /// Whether new shards go here.
    pub fn writable(self) -> bool {
        self == Self::Up
    }

    /// The word shown to operators.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Down => "down",
            Self::Empty => "empty",
            Self::Foreign => "foreign",
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// The right marker, and a trial write worked where one was asked for.
    Good,
    /// No marker.
    Empty,
    /// Another cluster's or slot's marker.
    Foreign,
}

/// A site's health over time.
#[derive(Debug, Clone)]
pub struct Health {
    state: SiteState,
    since_ms: u64,
    error: Option<String>,
}

impl Health {
    /// A site not heard of yet counts as up: the first operation will tell.
    pub fn new(now_ms: u64) -> Self {
        Self { state: SiteState::Up, since_ms: now_ms, error: None }
    }

    /// The state.
    pub fn state(&self) -> SiteState {
        self.state
    }

    /// When the state began, milliseconds since the Unix epoch.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// The site's own words about what is wrong.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn go(&mut self, state: SiteState, error: Option<String>, now_ms: u64) -> bool {
        let changed = self.state != state;
        if changed {
            self.state = state;
            self.since_ms = now_ms;
        }
        self.error = error;
        changed
    }

    /// An operation failed. Returns whether the state changed. Only a probe brings a site back:
    /// one lucky operation must not flap it.
    pub fn failed(&mut self, error: &SiteError, now_ms: u64) -> bool {
        let next = match error {
            // The site answered, about this name: says nothing of the site.
            SiteError::NotFound { .. } | SiteError::Short { .. } => return false,
            SiteError::Full(_) => SiteState::Full,
            SiteError::Denied(_) => SiteState::ReadOnly,
            SiteError::Down(_) => SiteState::Down,
            SiteError::Slow => SiteState::Slow,
        };
        // A site known to be empty or foreign stays so until a probe says otherwise.
        if matches!(self.state, SiteState::Empty | SiteState::Foreign) {
            return false;
        }
        self.go(next, Some(error.to_string()), now_ms)
    }

    /// A probe came back. Returns whether the state changed.
    pub fn probed(&mut self, result: &Result<ProbeResult, SiteError>, now_ms: u64) -> bool {
        match result {
            Ok(ProbeResult::Good) => self.go(SiteState::Up, None, now_ms),
            Ok(ProbeResult::Empty) => {
                self.go(SiteState::Empty, Some("the site's marker is missing".to_owned()), now_ms)
            }
            Ok(ProbeResult::Foreign) => {
                self.go(SiteState::Foreign, Some("the site carries another cluster's marker".to_owned()), now_ms)
            }
            Err(error) => self.failed(error, now_ms),
        }
    }
}

/// A running estimate of a latency's 95th percentile: one number, nudged by each sample
/// (stochastic approximation, Robbins and Monro 1951).
#[derive(Debug, Clone, Copy)]
pub struct P95 {
    micros: f64,
}

impl Default for P95 {
    fn default() -> Self {
        Self { micros: 1_000.0 }
    }
}

impl P95 {
    /// Takes a sample.
    pub fn add(&mut self, micros: f64) {
        // Up 19 times as fast as down: in balance when 1 in 20 samples is above.
        let factor = if micros > self.micros { 1.0 + 0.19 } else { 1.0 - 0.01 };
        self.micros = (self.micros * factor).clamp(1.0, 60e6);
    }

    /// The estimate, microseconds.
    pub fn micros(self) -> f64 {
        self.micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_move_and_only_probes_return() {
        let mut health = Health::new(10);
        assert!(health.failed(&SiteError::Full("disk".into()), 20));
        assert_eq!((health.state(), health.since_ms()), (SiteState::Full, 20));
        assert!(!health.failed(&SiteError::Full("disk".into()), 30));
        assert_eq!(health.since_ms(), 20, "the beginning is kept");
        assert!(health.state().readable() && !health.state().writable());
        assert!(health.probed(&Ok(ProbeResult::Good), 40));
        assert_eq!(health.state(), SiteState::Up);
    }

    /// A missing shard must not take a whole site out.
    #[test]
    fn a_missing_name_is_no_ill_health() {
        let mut health = Health::new(0);
        assert!(!health.failed(&SiteError::NotFound { name: "x".into() }, 1));
        assert_eq!(health.state(), SiteState::Up);
    }

    /// A folder put back empty answers every put; it must stay out until an operator says so.
    #[test]
    fn an_empty_site_stays_empty() {
        let mut health = Health::new(0);
        health.probed(&Ok(ProbeResult::Empty), 1);
        assert!(!health.failed(&SiteError::Slow, 2));
        assert_eq!(health.state(), SiteState::Empty);
        assert!(!health.state().readable());
    }

    #[test]
    fn p95_settles_where_one_in_twenty_is_above() {
        let mut p95 = P95::default();
        for i in 0..100_000u64 {
            p95.add(((i * 7919) % 1000) as f64);
        }
        assert!((900.0..=1000.0).contains(&p95.micros()), "{}", p95.micros());
    }
}
