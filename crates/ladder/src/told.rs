//! What a degraded answer says: `Holdfast-Degraded: stale;age=12;dependency=meta`.
//!
//! A structured item (RFC 9651, section 3.3): the rung as a token, and as parameters what was not to be had, and in whole seconds how old at
//! most what is told may be.

use std::fmt;

use crate::Rung;

/// The header, in lower case.
pub const HEADER: &str = "holdfast-degraded";

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    /// Never [`Rung::Same`]: such an answer says nothing.
    pub rung: Rung,
    /// Seconds, of a stale one.
    pub age_s: Option<u64>,
    /// What was not to be had.
    pub dependency: &'a str,
}

impl<'a> Told<'a> {
    /// Of an answer that lacks what was acknowledged in the last milliseconds.
    pub fn stale(age_ms: u64, dependency: &'a str) -> Self {
        Self { rung: Rung::Stale, age_s: Some(age_ms.div_ceil(1000)), dependency }
    }

    /// Of a refusal.
    pub fn refused(dependency: &'a str) -> Self {
        Self { rung: Rung::Refuse, age_s: None, dependency }
    }

    /// Reads a header; `None` for what this does not write. Parameters that are not known are passed over.
    pub fn read(value: &'a str) -> Option<Self> {
        let mut parts = value.split(';');
        let rung = Rung::named(parts.next()?).filter(|rung| *rung != Rung::Same)?;
        let (mut age_s, mut dependency) = (None, None);
        for part in parts {
            match part.trim_start().split_once('=')? {
                ("age", age) => age_s = Some(age.parse().ok()?),
                ("dependency", name) => dependency = Some(name),
                _ => {}
            }
        }
        Some(Self { rung, age_s, dependency: dependency? })
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rung.name())?;
        if let Some(age_s) = self.age_s {
            write!(f, ";age={age_s}")?;
        }
        write!(f, ";dependency={}", self.dependency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read() {
        for (told, text) in [
            (Told::stale(11_001, "meta"), "stale;age=12;dependency=meta"),
            (Told::stale(0, "meta"), "stale;age=0;dependency=meta"),
            (Told::refused("sites"), "refuse;dependency=sites"),
        ] {
            assert_eq!(told.to_string(), text);
            assert_eq!(Told::read(text), Some(told));
        }
        let more = Told::read("deferred; dependency=meta; more=1").expect("it is read");
        assert_eq!((more.rung, more.dependency), (Rung::Deferred, "meta"));
        for text in ["", "same;dependency=meta", "stale", "stale;age=x;dependency=meta", "else;dependency=meta"] {
            assert_eq!(Told::read(text), None, "{text}");
        }
    }
}
