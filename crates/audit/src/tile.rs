//! Where tiles and bundles are, and what is in them (C2SP tlog-tiles). Pure.

use crate::entry::ENTRY_MAX;
use crate::tree::{Hash, TILE_WIDTH};

/// Bytes of a hash.
const HASH_LEN: usize = 32;
/// Bytes of a full tile.
pub(crate) const TILE_MAX: usize = TILE_WIDTH * HASH_LEN;
/// Bytes of a full bundle of the longest entries.
pub(crate) const BUNDLE_MAX: usize = TILE_WIDTH * (2 + ENTRY_MAX);

/// A row of tiles: hashes of a level, or the entries themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Hashes(u8),
    Entries,
}

/// The path of a full tile in the log's folder.
pub(crate) fn path(row: Row, index: u64) -> String {
    let mut path = match row {
        Row::Hashes(level) => format!("tile/{level}"),
        Row::Entries => "tile/entries".to_owned(),
    };
    let digits = index.to_string();
    // Three digits a folder, so that none gets more than some thousand names.
    let padded = format!("{}{digits}", "0".repeat((3 - digits.len() % 3) % 3));
    for at in (0..padded.len()).step_by(3) {
        let last = at + 3 == padded.len();
        path.push_str(if last { "/" } else { "/x" });
        path.push_str(&padded[at..at + 3]);
    }
    path
}

/// The folder of the partial tiles of an index.
pub(crate) fn partials(row: Row, index: u64) -> String {
    path(row, index) + ".p"
}

/// The path of a partial tile of `width` hashes.
pub(crate) fn partial(row: Row, index: u64, width: usize) -> String {
    format!("{}/{width}", partials(row, index))
}

/// A tile's bytes.
pub(crate) fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hash at a place of a tile's bytes.
pub(crate) fn hash_at(tile: &[u8], at: usize) -> Option<Hash> {
    tile.get(at * HASH_LEN..)?.first_chunk().copied()
}

/// Bytes of a tile of `width` hashes.
pub(crate) fn len(width: usize) -> usize {
    width * HASH_LEN
}

/// Appends an entry to a bundle: two bytes of length, big endian, and its bytes.
pub(crate) fn bundle(out: &mut Vec<u8>, canonical: &[u8]) {
    // An entry's bound is a quarter of what two bytes tell.
    let len = u16::try_from(canonical.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(canonical);
}

/// The entry at a place of a bundle. `None` where the bundle is damaged or ends before.
pub(crate) fn unbundle(bundle: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bundle.get(bundle_len(bundle, at)..)?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// Bytes of a bundle's first `width` entries, or of all that it has.
pub(crate) fn bundle_len(bundle: &[u8], width: usize) -> usize {
    let mut at: usize = 0;
    for _ in 0..width {
        let Some(len) = bundle.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { break };
        at += 2 + usize::from(u16::from_be_bytes(*len));
    }
    at.min(bundle.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (row, index, expected) in [
            (Row::Hashes(0), 0, "tile/0/000"),
            (Row::Hashes(0), 7, "tile/0/007"),
            (Row::Hashes(1), 999, "tile/1/999"),
            (Row::Hashes(2), 1000, "tile/2/x001/000"),
            (Row::Entries, 1_234_067, "tile/entries/x001/x234/067"),
            (Row::Hashes(63), u64::MAX, "tile/63/x018/x446/x744/x073/x709/x551/615"),
        ] {
            assert_eq!(path(row, index), expected);
        }
        assert_eq!(partial(Row::Entries, 273, 112), "tile/entries/273.p/112");
    }

    proptest! {
        #[test]
        fn a_bundle_is_read_as_it_was_written(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let mut bytes = Vec::new();
            entries.iter().for_each(|entry| bundle(&mut bytes, entry));
            for (at, entry) in entries.iter().enumerate() {
                prop_assert_eq!(unbundle(&bytes, at), Some(&entry[..]));
            }
            prop_assert_eq!(unbundle(&bytes, entries.len()), None);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..100), at in 0usize..300) {
            if let Some(entry) = unbundle(&bytes, at) {
                prop_assert!(entry.len() < bytes.len());
            }
            if let Some(hash) = hash_at(&bytes, at) {
                prop_assert_eq!(&bytes[at * HASH_LEN..(at + 1) * HASH_LEN], &hash[..]);
            }
        }
    }
}
