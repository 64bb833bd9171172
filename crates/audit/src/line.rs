//! A line of a segment: an entry between the hash of the one before and its own.

use aws_lc_rs::digest;

use crate::entry::ENTRY_MAX;
use crate::tree::Hash;

const PREV: &[u8] = b"{\"prev\":\"";
const HASH: &[u8] = b"\",\"hash\":\"";
const ENTRY: &[u8] = b"\",\"entry\":";
const END: &[u8] = b"}\n";
/// Hexadecimal digits of a hash.
const HEX: usize = 64;

/// Bytes of the longest line, its newline included.
pub(crate) const LINE_MAX: usize = PREV.len() + HEX + HASH.len() + HEX + ENTRY.len() + ENTRY_MAX + END.len();

/// What the first entry names as the hash of the one before.
pub(crate) const GENESIS: Hash = [0; 32];

/// A line, taken apart. Nothing is checked but its shape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) prev: Hash,
    pub(crate) hash: Hash,
    pub(crate) canonical: &'a [u8],
}

/// The hash of an entry, which the next one names.
pub(crate) fn chain(prev: &Hash, canonical: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(prev);
    context.update(canonical);
    crate::tree::finish(context)
}

/// Appends the entry's line to `out`; returns the entry's hash.
pub(crate) fn write(out: &mut Vec<u8>, prev: &Hash, canonical: &[u8]) -> Hash {
    let hash = chain(prev, canonical);
    for piece in [PREV, hex::encode(prev).as_bytes(), HASH, hex::encode(hash).as_bytes(), ENTRY, canonical, END] {
        out.extend_from_slice(piece);
    }
    hash
}

/// Takes a line apart, its newline included.
pub(crate) fn read(line: &[u8]) -> Option<Line<'_>> {
    let (prev, rest) = hash_after(line, PREV)?;
    let (hash, rest) = hash_after(rest, HASH)?;
    let canonical = rest.strip_prefix(ENTRY)?.strip_suffix(END)?;
    Some(Line { prev, hash, canonical })
}

fn hash_after<'a>(bytes: &'a [u8], label: &[u8]) -> Option<(Hash, &'a [u8])> {
    let (digits, rest) = bytes.strip_prefix(label)?.split_first_chunk::<HEX>()?;
    // `hex` takes upper case too; a line must have one spelling.
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some((hash, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_read_as_it_was_written(prev: [u8; 32], canonical in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = Vec::new();
            let hash = write(&mut bytes, &prev, &canonical);
            prop_assert!(bytes.len() <= LINE_MAX);
            prop_assert_eq!(read(&bytes), Some(Line { prev, hash, canonical: &canonical }));
            prop_assert_eq!(hash, chain(&prev, &canonical));
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(read(&bytes), None);
        }

        #[test]
        fn a_line_has_one_spelling(at: prop::sample::Index, byte: u8) {
            let mut bytes = Vec::new();
            write(&mut bytes, &[0xab; 32], b"{}");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(line) = read(&bytes) {
                let mut again = [PREV, hex::encode(line.prev).as_bytes(), HASH].concat();
                again.extend([hex::encode(line.hash).as_bytes(), ENTRY, line.canonical, END].concat());
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
