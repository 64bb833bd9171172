//! What a scan will take, from what others took. Pure.

use parking_lot::Mutex;

/// Kinds of content that engines spend different time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Has others in it.
    Container,
    Program,
    Text,
    Other,
}

/// First bytes of what is unpacked: ZIP, gzip, 7z, RAR, xz, zstd, bzip2, PDF, OLE2.
const CONTAINERS: [&[u8]; 9] = [
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"%PDF",
    b"\xd0\xcf\x11\xe0",
];

impl Kind {
    fn of(head: &[u8]) -> Self {
        if CONTAINERS.iter().any(|magic| head.starts_with(magic)) {
            Self::Container
        } else if head.starts_with(b"\x7fELF") || head.starts_with(b"MZ") {
            Self::Program
        } else if head.contains(&0) {
            Self::Other
        } else {
            Self::Text
        }
    }
}

/// Nanoseconds for each byte, by kind.
#[derive(Debug)]
pub(crate) struct Rates(Mutex<[f64; 4]>);

/// Before anything was seen: 25 MB/s, as ClamAV with millions of signatures on one core.
const FIRST: f64 = 40.0;
/// Share of the newest scan in a rate.
const WEIGHT: f64 = 0.05;
/// Milliseconds that an engine needs for nothing.
const LEAST_MS: f64 = 0.5;

impl Rates {
    pub(crate) fn new() -> Self {
        Self(Mutex::new([FIRST; 4]))
    }

    /// Milliseconds that a scan of so many bytes is expected to take.
    pub(crate) fn expect_ms(&self, head: &[u8], len: u64) -> u64 {
        let rate = self.0.lock()[Kind::of(head) as usize];
        (LEAST_MS + len as f64 * rate / 1e6).ceil() as u64
    }

    pub(crate) fn took(&self, head: &[u8], len: u64, us: u64) {
        // What is small tells of the engine's start, not of its rate.
        if len >= 64 << 10 {
            let rate = &mut self.0.lock()[Kind::of(head) as usize];
            *rate += (us as f64 * 1e3 / len as f64 - *rate) * WEIGHT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_expected_to_take_what_its_like_took() {
        let rates = Rates::new();
        let before = rates.expect_ms(b"text", 1 << 20);
        for _ in 0..200 {
            rates.took(b"PK\x03\x04...", 1 << 20, 1_000_000);
            rates.took(b"plain", 100, 1_000_000);
        }
        assert_eq!(rates.expect_ms(b"text", 1 << 20), before);
        assert!((990..=1001).contains(&rates.expect_ms(b"PK\x03\x04", 1 << 20)));
    }
}
