//! `V/<blake3><length>`: what is known of a content, and `Y/<engine>`: which definitions of an engine have which epoch.
//!
//! A verdict has three words: clean, infected, incomplete. Who asks has to say what each of them means to him; none stands for two.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Record, join, under};

/// What a content is known by: BLAKE3 of its bytes, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentId {
    /// BLAKE3-256 of the bytes.
    pub blake3: [u8; 32],
    /// How many bytes.
    pub len: u64,
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blake3.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "+{}", self.len)
    }
}

/// Why a content was not looked at as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// More bytes than an engine takes, or than it unpacks.
    TooLarge,
    /// Archives in archives, deeper than an engine goes.
    TooDeep,
    /// More members than an engine looks at.
    TooMany,
    /// Encrypted: nobody can look into it.
    Encrypted,
    /// It took longer than an engine may.
    TooSlow,
    /// It ended the engine twice.
    EngineCrash,
    /// The engine found that it could not read it, in its own words.
    Unreadable(String),
}

impl Reason {
    /// The word for it in protocols and reports; stays the same between versions.
    pub fn word(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::TooDeep => "too-deep",
            Self::TooMany => "too-many",
            Self::Encrypted => "encrypted",
            Self::TooSlow => "too-slow",
            Self::EngineCrash => "engine-crash",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(words) => write!(f, "unreadable: {words}"),
            other => f.write_str(other.word()),
        }
    }
}

/// What is known of a content by definitions of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// All of it was looked at, and nothing was found.
    Clean,
    /// What was found, by the engines' names for it; sorted, never empty.
    Infected(Vec<String>),
    /// Nothing was found in what could be looked at. Sorted, never empty.
    Incomplete(Vec<Reason>),
}

impl Verdict {
    /// The word for it in protocols and reports.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Infected(_) => "infected",
            Self::Incomplete(_) => "incomplete",
        }
    }

    /// What follows from what two engines said: a find is a find, whatever the other one could not read; and clean is only what all read.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Infected(a), Self::Infected(b)) => Self::Infected(merged(a, b)),
            (Self::Infected(names), _) | (_, Self::Infected(names)) => Self::Infected(names),
            (Self::Incomplete(a), Self::Incomplete(b)) => Self::Incomplete(merged(a, b)),
            (Self::Incomplete(reasons), Self::Clean) | (Self::Clean, Self::Incomplete(reasons)) => {
                Self::Incomplete(reasons)
            }
            (Self::Clean, Self::Clean) => Self::Clean,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("clean"),
            Self::Infected(names) => write!(f, "infected ({})", names.join(", ")),
            Self::Incomplete(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
                write!(f, "incomplete ({})", reasons.join(", "))
            }
        }
    }
}

/// What one engine said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVerdict {
    /// The engine's name.
    pub engine: String,
    /// Of its definitions and settings.
    pub epoch: u64,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Microseconds that it took.
    pub cost_us: u64,
    /// Its word.
    pub verdict: Verdict,
}

/// All that is known of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// SHA-256 of the bytes: by these three others name what they know.
    pub sha256: [u8; 32],
    /// SHA-1 of the bytes.
    pub sha1: [u8; 20],
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// One of each engine, in the order of their names.
    pub by: Vec<EngineVerdict>,
}

impl Record for VerdictRecord {
    const NAME: &'static str = "verdict";
}

impl VerdictRecord {
    /// What all engines say together, each by the newest definitions that it said anything by. `None`: none has said anything.
    pub fn verdict(&self) -> Option<Verdict> {
        self.by.iter().map(|by| by.verdict.clone()).reduce(Verdict::and)
    }

    /// Takes over what an engine says, unless what it said by newer definitions is known.
    pub fn learn(&mut self, new: EngineVerdict) {
        match self.by.binary_search_by(|known| known.engine.cmp(&new.engine)) {
            Ok(at) if self.by[at].epoch <= new.epoch => self.by[at] = new,
            Ok(_) => {}
            Err(at) => self.by.insert(at, new),
        }
    }
}

/// `V/<blake3><length>`.
pub fn verdict_key(content: ContentId) -> Bytes {
    join(b"V/", &[&content.blake3, &content.len.to_be_bytes()])
}

/// All verdicts.
pub fn verdicts() -> (Bytes, Bytes) {
    under(Bytes::from_static(b"V/"))
}

/// The content in a key made by [`verdict_key`].
pub fn verdict_of(key: &[u8]) -> Option<ContentId> {
    let (blake3, len) = key.strip_prefix(b"V/")?.split_first_chunk::<32>()?;
    Some(ContentId { blake3: *blake3, len: u64::from_be_bytes(len.try_into().ok()?) })
}

/// Definitions of an engine, together with its build and its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionsRecord {
    /// BLAKE3 of all of it.
    pub manifest: [u8; 32],
    /// Counts up from 1: which of two was met later.
    pub epoch: u64,
    /// When it was met first, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

impl Record for DefinitionsRecord {
    const NAME: &'static str = "definitions";
}

/// `Y/<engine>00`: the newest definitions of an engine.
pub fn newest_definitions_key(engine: &str) -> Bytes {
    join(b"Y/", &[engine.as_bytes(), &[0]])
}

/// `Y/<engine>00<manifest>`.
pub fn definitions_key(engine: &str, manifest: &[u8; 32]) -> Bytes {
    join(b"Y/", &[engine.as_bytes(), &[0], manifest])
}

fn merged<T: Ord>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
    a.into_iter().chain(b).collect::<BTreeSet<T>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_newer_definitions_said_is_not_forgotten_for_what_older_ones_say() {
        let word = |engine: &str, epoch: u64, verdict: Verdict| EngineVerdict {
            engine: engine.to_owned(),
            epoch,
            at_ms: 0,
            cost_us: 0,
            verdict,
        };
        let mut record = VerdictRecord { sha256: [0; 32], sha1: [0; 20], md5: [0; 16], by: vec![] };
        let infected = Verdict::Infected(vec!["x".to_owned()]);
        record.learn(word("yara", 7, Verdict::Clean));
        record.learn(word("clamav", 2, infected.clone()));
        record.learn(word("clamav", 1, Verdict::Clean));
        record.learn(word("yara", 8, Verdict::Clean));
        let known: Vec<_> = record.by.iter().map(|by| (by.engine.as_str(), by.epoch, by.verdict.clone())).collect();
        assert_eq!(known, [("clamav", 2, infected), ("yara", 8, Verdict::Clean)]);
    }

    #[test]
    fn a_find_outweighs_what_could_not_be_read_and_that_outweighs_clean() {
        let infected = |names: &[&str]| Verdict::Infected(names.iter().map(|name| (*name).to_owned()).collect());
        let incomplete = |reasons: &[Reason]| Verdict::Incomplete(reasons.to_vec());
        let table = [
            (Verdict::Clean, Verdict::Clean, Verdict::Clean),
            (Verdict::Clean, incomplete(&[Reason::TooDeep]), incomplete(&[Reason::TooDeep])),
            (incomplete(&[Reason::TooSlow]), infected(&["a"]), infected(&["a"])),
            (infected(&["b"]), infected(&["a", "b"]), infected(&["a", "b"])),
            (
                incomplete(&[Reason::Encrypted]),
                incomplete(&[Reason::TooLarge]),
                incomplete(&[Reason::TooLarge, Reason::Encrypted]),
            ),
        ];
        for (a, b, both) in table {
            assert_eq!(a.clone().and(b.clone()), both, "{a} and {b}");
            assert_eq!(b.clone().and(a.clone()), both, "{b} and {a}");
        }
    }
}
