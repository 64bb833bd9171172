//! Signatures that are digests of whole contents: `.hdb` (MD5, SHA-1, SHA-256) and `.hsb` (SHA-1, SHA-256), a line each: `digest:length:name`, with
//! `*` for any length (ClamAV's manual, "Hash-based signatures"). Those in containers (`.cvd`, `.cld`) are not read here.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use meta::record::{ContentId, VerdictRecord};

/// Bytes of a line: a digest, a length, a name.
const LINE_MAX: u64 = 4096;

/// A digest by its length: MD5, SHA-1 or SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Digest {
    Md5([u8; 16]),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

/// Digests, each with the length that it goes with, and the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashes {
    named: HashMap<Digest, (Option<u64>, String)>,
    /// What is not called infected, whatever names it: `.fp` and `.sfp`.
    innocent: HashMap<Digest, (Option<u64>, String)>,
    /// Names that do not count: `.ign` and `.ign2`.
    ignored: HashSet<String>,
}

impl Hashes {
    /// All of a folder of definitions. What is no such line is passed over: the engine judges its definitions. Blocks.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let mut hashes = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            let lines = || File::open(&path).map(BufReader::new);
            match ending {
                Some("hdb" | "hsb") => read(lines()?, |line| hashes.named.extend(parse(line)))?,
                Some("fp" | "sfp") => read(lines()?, |line| hashes.innocent.extend(parse(line)))?,
                // `database:line:name`, or the name alone.
                Some("ign" | "ign2") => read(lines()?, |line| {
                    let mut fields = line.trim().split(':');
                    let name = fields.clone().nth(2).or_else(|| fields.next());
                    hashes.ignored.extend(name.map(str::to_owned));
                })?,
                _ => {}
            }
        }
        Ok(hashes)
    }

    /// Those that `before` had not.
    #[must_use]
    pub(crate) fn without(mut self, before: &Self) -> Self {
        self.named.retain(|digest, of| before.named.get(digest) != Some(of));
        self
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// What they call a content.
    pub fn name_of(&self, content: ContentId, known: &VerdictRecord) -> Option<String> {
        let digests = [Digest::Sha256(known.sha256), Digest::Sha1(known.sha1), Digest::Md5(known.md5)];
        let of = |all: &'_ HashMap<Digest, (Option<u64>, String)>| {
            let found = digests.iter().filter_map(|digest| all.get(digest));
            found.filter(|(len, _)| len.is_none_or(|len| len == content.len)).map(|(_, name)| name.clone()).next()
        };
        of(&self.named).filter(|name| of(&self.innocent).is_none() && !self.ignored.contains(name))
    }
}

fn read(mut from: impl BufRead, mut see: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut from, LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        std::str::from_utf8(&line).into_iter().for_each(&mut see);
    }
}

fn parse(line: &str) -> Option<(Digest, (Option<u64>, String))> {
    let mut fields = line.trim_end().split(':');
    let (digest, len, name) = (fields.next()?, fields.next()?, fields.next()?);
    let bytes = hex::decode(digest).ok()?;
    let digest = match bytes.len() {
        16 => Digest::Md5(bytes.try_into().ok()?),
        20 => Digest::Sha1(bytes.try_into().ok()?),
        32 => Digest::Sha256(bytes.try_into().ok()?),
        _ => return None,
    };
    let len = if len == "*" { None } else { Some(len.parse().ok()?) };
    (!name.is_empty()).then(|| (digest, (len, name.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str) -> Hashes {
        let mut hashes = Hashes::default();
        read(text.as_bytes(), |line| hashes.named.extend(parse(line))).expect("lines");
        hashes
    }

    #[test]
    fn a_content_is_found_by_any_of_its_digests_and_by_its_length() {
        let content = ContentId { blake3: [0; 32], len: 3 };
        let known = VerdictRecord { sha256: [1; 32], sha1: [2; 20], md5: [3; 16], said: vec![] };
        let digest = |byte: u8, count: usize| hex::encode(vec![byte; count]);
        for (line, expected) in [
            (format!("{}:3:A", digest(1, 32)), Some("A")),
            (format!("{}:*:B:73", digest(2, 20)), Some("B")),
            (format!("{}:3:C\r", digest(3, 16)), Some("C")),
            (format!("{}:4:A", digest(1, 32)), None),
            (format!("{}:3:A", digest(9, 32)), None),
            (format!("{}:3:A", digest(1, 31)), None),
            (format!("{}:3:", digest(1, 32)), None),
            ("no:line".to_owned(), None),
            (format!("x\n\n# y\n{}:3:A\n", digest(1, 32)), Some("A")),
        ] {
            assert_eq!(hashes(&line).name_of(content, &known).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn what_operators_say_is_no_malware_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("a file");
        let (content, digest) = (ContentId { blake3: [0; 32], len: 3 }, hex::encode([3; 16]));
        let known = VerdictRecord { sha256: [1; 32], sha1: [2; 20], md5: [3; 16], said: vec![] };
        let name = || Hashes::of(folder.path()).expect("a folder").name_of(content, &known);
        write("a.hdb", format!("{digest}:3:A\n"));
        assert_eq!(name().as_deref(), Some("A"));
        write("a.fp", format!("{digest}:4:not this length\n"));
        assert_eq!(name().as_deref(), Some("A"));
        write("a.ign2", "A\n".to_owned());
        assert_eq!(name(), None);
        write("a.ign2", "B\n".to_owned());
        write("a.fp", format!("{digest}:3:fine\n"));
        assert_eq!(name(), None);
    }

    #[test]
    fn what_is_new_is_what_was_not_there_or_otherwise() {
        let [a, b] = [1, 2].map(|byte| hex::encode([byte; 16]));
        let before = hashes(&format!("{a}:3:A\n{b}:3:B\n"));
        assert!(before.clone().without(&before).is_empty());
        let after = hashes(&format!("{a}:3:A\n{b}:*:B\n{}:1:C\n", hex::encode([3; 16])));
        assert_eq!(after.without(&before).len(), 2);
    }
}
