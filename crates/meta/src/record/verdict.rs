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
    /// What it was: its build, settings and definitions. Who has the same is answered by it.
    pub by: Epoch,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Microseconds that it took.
    pub cost_us: u64,
    /// Its word.
    pub verdict: Verdict,
}

/// What an engine is, together with its settings and definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// BLAKE3 of all of it, the first bytes.
    pub manifest: [u8; 16],
    /// Counts up: which of two was taken into use later, by anybody.
    pub number: u64,
    /// When the newest of its definitions was written, seconds since the Unix epoch.
    pub dated_s: u64,
}

/// Verdicts of one engine that are kept: gateways do not all change their definitions in the same moment.
const KEPT: usize = 2;

/// All that is known of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// SHA-256 of the bytes: by these three others name what they know.
    pub sha256: [u8; 32],
    /// SHA-1 of the bytes.
    pub sha1: [u8; 20],
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// By engine, the one of the latest epoch first.
    pub said: Vec<EngineVerdict>,
}

impl Record for VerdictRecord {
    const NAME: &'static str = "verdict";
}

impl VerdictRecord {
    /// What all engines say together, each by what it was last. A find by definitions that are newer by their date stands: a gateway that comes
    /// back with old ones does not take it away. `None`: none has said anything.
    pub fn verdict(&self) -> Option<Verdict> {
        let of_each = self.said.chunk_by(|a, b| a.engine == b.engine).filter_map(|said| {
            let last = said.first()?;
            let is_find = |one: &&EngineVerdict| matches!(one.verdict, Verdict::Infected(_));
            let found = said.iter().filter(is_find).find(|one| one.by.dated_s > last.by.dated_s);
            Some(found.unwrap_or(last).verdict.clone())
        });
        of_each.reduce(Verdict::and)
    }

    /// What an engine said when it was what it is now.
    pub fn said_by(&self, engine: &str, epoch: Epoch) -> Option<&EngineVerdict> {
        self.said.iter().find(|one| one.engine == engine && one.by.manifest == epoch.manifest)
    }

    /// Takes over what an engine says.
    pub fn learn(&mut self, new: EngineVerdict) {
        self.said.retain(|one| one.engine != new.engine || one.by.manifest != new.by.manifest);
        self.said.push(new);
        self.said.sort_by(|a, b| (&a.engine, b.by.number).cmp(&(&b.engine, a.by.number)));
        let (mut last, mut count) = (String::new(), 0);
        self.said.retain(|one| {
            count = if one.engine == last { count + 1 } else { 1 };
            last.clone_from(&one.engine);
            count <= KEPT
        });
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

/// What an engine is, taken into use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionsRecord {
    /// What it is.
    pub epoch: Epoch,
    /// When it was taken into use first, milliseconds since the Unix epoch.
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
pub fn definitions_key(engine: &str, manifest: &[u8; 16]) -> Bytes {
    join(b"Y/", &[engine.as_bytes(), &[0], manifest])
}

fn merged<T: Ord>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
    a.into_iter().chain(b).collect::<BTreeSet<T>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(engine: &str, number: u64, dated_s: u64, verdict: Verdict) -> EngineVerdict {
        let manifest = [u8::try_from(number).expect("a small number"); 16];
        let by = Epoch { manifest, number, dated_s };
        EngineVerdict { engine: engine.to_owned(), by, at_ms: 0, cost_us: 0, verdict }
    }

    fn record(said: &[EngineVerdict]) -> VerdictRecord {
        let mut record = VerdictRecord { sha256: [0; 32], sha1: [0; 20], md5: [0; 16], said: vec![] };
        said.iter().for_each(|one| record.learn(one.clone()));
        record
    }

    #[test]
    fn the_last_word_of_each_engine_counts_but_old_definitions_take_no_find_away() {
        let infected = || Verdict::Infected(vec!["x".to_owned()]);
        let clean = || Verdict::Clean;
        for (said, expected) in [
            (vec![], None),
            (vec![word("a", 1, 10, clean())], Some(clean())),
            (vec![word("a", 1, 10, infected()), word("a", 2, 20, clean())], Some(clean())),
            (vec![word("a", 2, 20, clean()), word("a", 1, 10, infected())], Some(clean())),
            // A gateway with definitions that are older by their date came later.
            (vec![word("a", 1, 20, infected()), word("a", 2, 10, clean())], Some(infected())),
            (vec![word("a", 1, 10, clean()), word("b", 9, 1, infected())], Some(infected())),
        ] {
            assert_eq!(record(&said).verdict(), expected, "{said:?}");
        }
        let record = record(&[1, 2, 3, 1].map(|number| word("a", number, 0, clean())));
        let numbers: Vec<u64> = record.said.iter().map(|one| one.by.number).collect();
        assert_eq!(numbers, [3, 2], "two are kept");
        assert!(record.said_by("a", record.said[1].by).is_some() && record.said_by("b", record.said[1].by).is_none());
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
