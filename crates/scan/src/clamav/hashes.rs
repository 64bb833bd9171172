//! Signatures that are digests of whole contents: `.hdb` (MD5, SHA-1, SHA-256) and `.hsb` (SHA-1, SHA-256), a line each: `digest:length:name`, with
//! `*` for any length (ClamAV's manual, "Hash-based signatures"). Those in containers (`.cvd`, `.cld`) are not read here.

use std::collections::HashMap;
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
pub struct Hashes(HashMap<Digest, (Option<u64>, String)>);

impl Hashes {
    /// All of a folder of definitions. What is no such line is passed over: the engine judges its definitions. Blocks.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let mut hashes = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("hdb" | "hsb" | "hdu" | "hsu")) {
                hashes.read(BufReader::new(File::open(&path)?))?;
            }
        }
        Ok(hashes)
    }

    fn read(&mut self, mut from: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if io::Read::take(&mut from, LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if let Some((digest, of)) = std::str::from_utf8(&line).ok().and_then(parse) {
                self.0.insert(digest, of);
            }
        }
    }

    /// Those that `before` had not.
    #[must_use]
    pub(crate) fn without(mut self, before: &Self) -> Self {
        self.0.retain(|digest, of| before.0.get(digest) != Some(of));
        self
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they call a content.
    pub fn name_of(&self, content: ContentId, known: &VerdictRecord) -> Option<&str> {
        let digests = [Digest::Sha256(known.sha256), Digest::Sha1(known.sha1), Digest::Md5(known.md5)];
        let found = digests.iter().filter_map(|digest| self.0.get(digest));
        let mut of_length = found.filter(|(len, _)| len.is_none_or(|len| len == content.len));
        of_length.next().map(|(_, name)| name.as_str())
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
        hashes.read(text.as_bytes()).expect("lines");
        hashes
    }

    #[test]
    fn a_content_is_found_by_any_of_its_digests_and_by_its_length() {
        let content = ContentId { blake3: [0; 32], len: 3 };
        let known = VerdictRecord { sha256: [1; 32], sha1: [2; 20], md5: [3; 16], by: vec![] };
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
            assert_eq!(hashes(&line).name_of(content, &known), expected, "{line}");
        }
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
