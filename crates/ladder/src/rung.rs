//! Rungs, and ways to fail.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// How good an answer is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// As if nothing had failed, perhaps later.
    Same,
    /// What was acknowledged lately may be missing.
    Stale,
    /// Less than was asked for.
    Smaller,
    /// Taken, and done once it can be.
    Deferred,
    /// Nothing was done.
    Refuse,
}

impl Rung {
    /// All, best first.
    pub const ALL: [Self; 5] = [Self::Same, Self::Stale, Self::Smaller, Self::Deferred, Self::Refuse];

    /// As headers, metrics and the data file have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Stale => "stale",
            Self::Smaller => "smaller",
            Self::Deferred => "deferred",
            Self::Refuse => "refuse",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.name() == name)
    }
}

/// A rung, and how long it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The rung.
    pub rung: Rung,
    /// Seconds since the failure began, after which the next one counts; `None`: for as long as it lasts.
    pub max_s: Option<u64>,
}

const UNITS: [(char, u64); 3] = [('h', 3600), ('m', 60), ('s', 1)];

impl FromStr for Step {
    type Err = ();

    /// `stale(15m)`, `refuse`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, max) = match text.strip_suffix(')') {
            Some(text) => text.split_once('(').map(|(name, max)| (name, Some(max))).ok_or(())?,
            None => (text, None),
        };
        let max_s = match max {
            None => None,
            Some(max) => {
                let (_, seconds) = UNITS.into_iter().find(|(unit, _)| max.ends_with(*unit)).ok_or(())?;
                let count: u64 = max[..max.len() - 1].parse().map_err(drop)?;
                Some(count.checked_mul(seconds).filter(|max_s| *max_s > 0).ok_or(())?)
            }
        };
        Ok(Self { rung: Rung::named(name).ok_or(())?, max_s })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rung.name())?;
        let Some(max_s) = self.max_s else { return Ok(()) };
        let (unit, seconds) = UNITS.into_iter().find(|(_, seconds)| max_s % seconds == 0).unwrap_or(('s', 1));
        write!(f, "({}{unit})", max_s / seconds)
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// How something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Every call fails at once.
    Down,
    /// Calls take a minute: longer than anybody waits.
    Slow,
    /// Answers come, and are not what was kept.
    Wrong,
    /// Reads are answered and changes are not, or half of a set is there.
    Partial,
    /// Every call is answered by a no: rights, credentials.
    Refused,
    /// Every second call is turned away.
    Overloaded,
}

impl Failure {
    /// All, in the order of the data file.
    pub const ALL: [Self; 6] = [Self::Down, Self::Slow, Self::Wrong, Self::Partial, Self::Refused, Self::Overloaded];

    /// As the data file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Slow => "slow",
            Self::Wrong => "wrong",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.name() == name)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_round_trip() {
        for text in ["same", "same(10s)", "stale(15m)", "stale(24h)", "smaller", "deferred", "refuse", "stale(90s)"] {
            assert_eq!(text.parse::<Step>().map(|step| step.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "sam",
            "stale()",
            "stale(m)",
            "stale(0s)",
            "stale(15)",
            "stale(15m",
            "(15m)",
            "stale(15d)",
            "stale(-1m)",
        ] {
            assert_eq!(text.parse::<Step>(), Err(()), "{text}");
        }
        assert_eq!("stale(99999999999999999999h)".parse::<Step>(), Err(()));
        assert_eq!("stale(18446744073709551615h)".parse::<Step>(), Err(()));
    }

    #[test]
    fn names_are_of_one_each() {
        assert!(Rung::ALL.into_iter().all(|rung| Rung::named(rung.name()) == Some(rung)));
        assert!(Failure::ALL.into_iter().all(|failure| Failure::named(failure.name()) == Some(failure)));
        assert!(Rung::ALL.is_sorted());
    }
}
