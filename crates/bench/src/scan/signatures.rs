//! Signatures as an engine has them, made up: the same ones from the same seed.
//!
//! What is in the official databases by kind, in round numbers: half of it hashes of sections of Windows programs, most of the rest hashes of whole
//! files, and a tenth byte patterns, of which most are looked for in Windows programs only. None of it is in any file; what is, is the test file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::Error;

/// What the test file is found as.
pub const EICAR_NAME: &str = "Test.Eicar";
/// Of each hundred signatures so many are hashes of sections, SHA-256 of files, MD5 of files. The rest are patterns.
const SHARES: [usize; 3] = [50, 25, 15];
/// Bytes of a pattern.
const PATTERN: (u64, u64) = (16, 40);
/// Where a pattern is looked for, of ten: Windows programs, everywhere, HTML, Linux programs.
const TARGETS: [u8; 10] = [1, 1, 1, 1, 1, 1, 0, 0, 3, 6];
const FAMILIES: [&str; 6] = ["Agent", "Banker", "Dropper", "Generic", "Locker", "Miner"];

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Signatures {
    /// `.mdb`: MD5 and length of a section.
    pub sections: usize,
    /// `.hsb`: SHA-256 and length of a file.
    pub sha256: usize,
    /// `.hdb`: MD5 and length of a file.
    pub md5: usize,
    /// `.ndb`: bytes.
    pub patterns: usize,
}

impl Signatures {
    /// So many in all.
    pub fn of(count: usize) -> Self {
        let [sections, sha256, md5] = SHARES.map(|share| count / 100 * share);
        Self { sections, sha256, md5, patterns: count - sections - sha256 - md5 }
    }

    /// All of them.
    pub fn count(self) -> usize {
        self.sections + self.sha256 + self.md5 + self.patterns
    }

    /// Writes a file of each kind, and the test file's signature.
    pub fn write(self, dir: &Path, seed: u64) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(Error::path("create", dir))?;
        let mut draw = Draw::new(seed);
        file(&dir.join("bench.mdb"), self.sections, |number| {
            let len = draw.size() / 512 * 512;
            format!("{len}:{}:Win.Trojan.{}", draw.hex(16), name(number))
        })?;
        file(&dir.join("bench.hsb"), self.sha256, |number| {
            format!("{}:{}:Win.Malware.{}", draw.hex(32), draw.size(), name(number))
        })?;
        file(&dir.join("bench.hdb"), self.md5, |number| {
            format!("{}:{}:Win.Virus.{}", draw.hex(16), draw.size(), name(number))
        })?;
        file(&dir.join("bench.ndb"), self.patterns, |number| {
            let len = draw.between(PATTERN.0, PATTERN.1) as usize;
            format!("Win.Worm.{}:{}:*:{}", name(number), TARGETS[number % TARGETS.len()], draw.hex(len))
        })?;
        // A pattern that is not in the first bytes: those may be taken for a file's kind.
        let eicar = format!("{EICAR_NAME}:0:*:{}\n", hex::encode(&eicar()[28..]));
        let path = dir.join("own.ndb");
        std::fs::write(&path, eicar).map_err(Error::path("write", &path))
    }
}

/// eicar.org's test file. In two pieces, so that no scanner takes this program for it.
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

fn name(number: usize) -> String {
    format!("{}-{number}", FAMILIES[number % FAMILIES.len()])
}

fn file(path: &Path, count: usize, mut line: impl FnMut(usize) -> String) -> Result<(), Error> {
    let mut out = BufWriter::new(File::create(path).map_err(Error::path("create", path))?);
    let mut write = || {
        (0..count).try_for_each(|number| writeln!(out, "{}", line(number)))?;
        out.flush()
    };
    write().map_err(Error::path("write", path))
}

/// Bytes from a seed: BLAKE3's output for as long as one likes.
pub struct Draw(blake3::OutputReader);

impl Draw {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof())
    }

    /// The next ones.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }

    fn hex(&mut self, len: usize) -> String {
        hex::encode(self.bytes(len))
    }

    /// One of `least` to `most`.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        least + u64::from_be_bytes(bytes) % (most - least + 1)
    }

    /// A file's length: as many of 1 to 2 KiB as of 1 to 2 MiB.
    fn size(&mut self) -> u64 {
        let least = 1 << self.between(9, 21);
        self.between(least, 2 * least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_signatures_and_as_many_as_were_asked_for() {
        let signatures = Signatures::of(1_234);
        assert_eq!(signatures, Signatures { sections: 600, sha256: 300, md5: 180, patterns: 154 });
        assert_eq!(signatures.count(), 1_234);
        let read = |seed: u64| {
            let dir = tempfile::tempdir().unwrap();
            signatures.write(dir.path(), seed).unwrap();
            ["mdb", "hsb", "hdb", "ndb"]
                .map(|kind| std::fs::read_to_string(dir.path().join(format!("bench.{kind}"))).unwrap())
        };
        let all = read(1);
        assert_eq!(all, read(1));
        assert_ne!(all, read(2));
        assert_eq!(all.each_ref().map(|text| text.lines().count()), [600, 300, 180, 154]);
        for line in all[3].lines() {
            let hex = line.rsplit(':').next().unwrap();
            assert!((32..=80).contains(&hex.len()), "{line}");
        }
        let fields: Vec<&str> = all[1].lines().next().unwrap().split(':').collect();
        assert_eq!((fields.len(), fields[0].len()), (3, 64));
    }
}
