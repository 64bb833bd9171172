//! What lies at the sites so that metadata can be made anew: entries of the journal and pieces of checkpoints, sealed. Pure.
//!
//! Layout and why it is so: `docs/spec/recovery.md`, `docs/design/0022-recovery.md`.

use base::{GatewayId, Rng};
use bytes::Bytes;
use envelope::{BodyHeader, Dek, HEADER_LEN, Opener, Sealer, chunk_count, plain_len, sealed_len};
use meta::{Batch, Check, Key, Version, Write};
use serde::{Deserialize, Serialize};

use base::limits::{CHUNK, SEALED_CHUNK};

/// The first byte of everything that is sealed here.
const FORMAT: u8 = 1;
/// Where entries lie.
pub(crate) const JOURNAL: &str = "journal/";
/// Where pieces of checkpoints lie.
pub(crate) const CHECKPOINTS: &str = "checkpoint/";
/// The last piece of a checkpoint.
const END: &str = "end";

/// An entry's, or a piece's, bytes are not what was put there under this name with this root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not open: it is damaged, of another root key, or belongs elsewhere")]
pub(crate) struct Unopened;

/// What one writer does and did, in the order of its numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Of the engine that the rows were in.
    pub(crate) era: u64,
    /// What became of intents before.
    pub(crate) outcomes: Vec<Outcome>,
    /// What is about to be committed.
    pub(crate) intents: Vec<Intent>,
}

/// A batch on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The writer's number for it.
    pub(crate) number: u64,
    /// Milliseconds since the Unix epoch by the writer's clock. Decides only between two that exclude each other and of which nothing else
    /// is known.
    pub(crate) now_ms: u64,
    checks: Vec<StoredCheck>,
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) number: u64,
    /// The version that its rows have; `None`: nothing happened.
    pub(crate) version: Option<u128>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum StoredCheck {
    Absent(Vec<u8>),
    Present(Vec<u8>),
    Is(Vec<u8>, u128),
    Empty(Vec<u8>, Vec<u8>),
}

/// A row in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredRow {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) version: u128,
}

/// The last piece of a checkpoint: with it the others are all there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Of the engine that the rows were in. Entries of earlier eras are in it.
    pub(crate) era: u64,
    /// The version of a row that was written before the first row was read: what has that version or a smaller one is in it, whatever
    /// else is found of it.
    pub(crate) floor: u128,
    pub(crate) pieces: u64,
    pub(crate) rows: u64,
    /// Milliseconds since the Unix epoch when it was begun.
    pub(crate) began_ms: u64,
    /// The highest number of each writer's entries that there was long enough before that: what they meant to do is done, and in it, or
    /// never will be.
    pub(crate) journals: Vec<(GatewayId, u64)>,
}

impl Intent {
    /// `era`: as of the engine's versions that the batch names.
    pub(crate) fn of(number: u64, now_ms: u64, batch: &Batch, era: u64) -> Self {
        let checks = batch.checks.iter().map(|check| match check {
            Check::Absent(key) => StoredCheck::Absent(key.to_vec()),
            Check::Present(key) => StoredCheck::Present(key.to_vec()),
            Check::Is(key, version) => StoredCheck::Is(key.to_vec(), of_era(era, *version)),
            Check::Empty(from, to) => StoredCheck::Empty(from.to_vec(), to.to_vec()),
        });
        let writes = batch.writes.iter().map(|write| match write {
            Write::Put(key, value) => (key.to_vec(), Some(value.to_vec())),
            Write::Delete(key) => (key.to_vec(), None),
        });
        Self { number, now_ms, checks: checks.collect(), writes: writes.collect() }
    }

    /// The batch that it was.
    pub(crate) fn batch(self) -> Batch {
        let checks = self.checks.into_iter().map(|check| match check {
            StoredCheck::Absent(key) => Check::Absent(key.into()),
            StoredCheck::Present(key) => Check::Present(key.into()),
            StoredCheck::Is(key, version) => Check::Is(key.into(), Version(version)),
            StoredCheck::Empty(from, to) => Check::Empty(from.into(), to.into()),
        });
        let writes = self.writes.into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put(Key::from(key), value.into()),
            None => Write::Delete(Key::from(key)),
        });
        Batch { checks: checks.collect(), writes: writes.collect() }
    }
}

/// A version that is larger than all of earlier eras: whenever the rows come into another engine, that numbers them anew.
pub(crate) fn of_era(era: u64, version: Version) -> u128 {
    u128::from(era) << 64 | version.0 & u128::from(u64::MAX)
}

/// The name of an entry.
pub(crate) fn entry_name(writer: GatewayId, sequence: u64) -> String {
    format!("{JOURNAL}{writer}/{sequence:020}")
}

/// Writer and sequence in a name made by [`entry_name`].
pub(crate) fn parse_entry_name(name: &str) -> Option<(GatewayId, u64)> {
    let (writer, sequence) = name.strip_prefix(JOURNAL)?.split_once('/')?;
    let number = sequence.parse().ok().filter(|_| sequence.len() == 20)?;
    Some((writer.parse().ok()?, number))
}

/// The name of a piece of a checkpoint.
pub(crate) fn piece_name(checkpoint: u64, piece: u64) -> String {
    format!("{CHECKPOINTS}{checkpoint:020}/{piece:08}")
}

/// The name of a checkpoint's last piece.
pub(crate) fn end_name(checkpoint: u64) -> String {
    format!("{CHECKPOINTS}{checkpoint:020}/{END}")
}

/// The checkpoint in a name of a piece, and whether it is its last one.
pub(crate) fn parse_piece_name(name: &str) -> Option<(u64, bool)> {
    let (checkpoint, piece) = name.strip_prefix(CHECKPOINTS)?.split_once('/')?;
    Some((checkpoint.parse().ok().filter(|_| checkpoint.len() == 20)?, piece == END))
}

/// Seals a record for the place that `name` is.
pub(crate) fn seal<T: Serialize>(dek: &Dek, name: &str, record: &T, rng: &dyn Rng) -> Result<Bytes, Unopened> {
    let plain = postcard::to_stdvec(record).map_err(|_| Unopened)?;
    let (mut sealer, header) = Sealer::new(dek, &context(name), rng);
    let mut sealed = Vec::with_capacity(1 + HEADER_LEN + sealed_len(plain.len() as u64) as usize);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&header.0);
    for chunk in plain.chunks(CHUNK) {
        let start = sealed.len();
        sealed.extend_from_slice(chunk);
        sealed.extend_from_slice(&[0; SEALED_CHUNK - CHUNK]);
        sealer.seal_chunk(&mut sealed[start..]).map_err(|_| Unopened)?;
    }
    Ok(sealed.into())
}

/// Opens what [`seal`] sealed for the place that `name` is.
///
/// # Errors
/// [`Unopened`] for anything else.
pub(crate) fn open<T: for<'de> Deserialize<'de>>(dek: &Dek, name: &str, sealed: &[u8]) -> Result<T, Unopened> {
    let (FORMAT, rest) = sealed.split_first().map(|(format, rest)| (*format, rest)).ok_or(Unopened)? else {
        return Err(Unopened);
    };
    let (header, body) = rest.split_first_chunk::<HEADER_LEN>().ok_or(Unopened)?;
    let opener = Opener::new(dek, &BodyHeader(*header), &context(name)).map_err(|_| Unopened)?;
    let len = plain_len(body.len() as u64).map_err(|_| Unopened)?;
    let last = chunk_count(len).checked_sub(1).ok_or(Unopened)?;
    let mut plain = vec![0; usize::try_from(len).map_err(|_| Unopened)?];
    for (index, (chunk, out)) in (0..).zip(body.chunks(SEALED_CHUNK).zip(plain.chunks_mut(CHUNK))) {
        opener.open_chunk(index, index == last, chunk, out).map_err(|_| Unopened)?;
    }
    postcard::from_bytes(&plain).map_err(|_| Unopened)
}

fn context(name: &str) -> Vec<u8> {
    [b"hf-meta1/", name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    fn entry(size: usize) -> Entry {
        let batch = Batch {
            checks: vec![
                Check::Absent(Key::from_static(b"a")),
                Check::Present(Key::from_static(b"p")),
                Check::Is(Key::from_static(b"b"), Version(7)),
                Check::Empty(Key::from_static(b"c"), Key::from_static(b"d")),
            ],
            writes: vec![
                Write::Put(Key::from_static(b"k"), vec![7; size].into()),
                Write::Delete(Key::from_static(b"x")),
            ],
        };
        Entry {
            era: 3,
            outcomes: vec![Outcome { number: 1, version: Some(3) }],
            intents: vec![Intent::of(2, 5, &batch, 0)],
        }
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let (rng, dek) = (SeededRng::new(1), Dek::from_bytes([1; 32]));
        let writer = GatewayId::random(&rng);
        for size in [0, 1, CHUNK, 3 * CHUNK + 5] {
            let name = entry_name(writer, 9);
            let sealed = seal(&dek, &name, &entry(size), &rng).unwrap();
            let opened: Entry = open(&dek, &name, &sealed).unwrap();
            assert_eq!(format!("{opened:?}"), format!("{:?}", entry(size)));
            assert_eq!(
                format!("{:?}", opened.intents[0].clone().batch()),
                format!("{:?}", entry(size).intents[0].clone().batch())
            );
            let refused = |dek: &Dek, name: &str, sealed: &[u8]| open::<Entry>(dek, name, sealed).is_err();
            assert!(refused(&dek, &entry_name(writer, 10), &sealed), "another place");
            assert!(refused(&Dek::from_bytes([2; 32]), &name, &sealed), "another root");
            for cut in [0, 1, HEADER_LEN, sealed.len() - 1] {
                assert!(refused(&dek, &name, &sealed[..cut]), "cut at {cut}");
            }
            for at in [0, 1, HEADER_LEN, sealed.len() - 1] {
                let mut flipped = sealed.to_vec();
                flipped[at] ^= 1;
                assert!(refused(&dek, &name, &flipped), "flipped at {at}");
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        let writer = GatewayId::from_bytes([7; 16]);
        assert_eq!(parse_entry_name(&entry_name(writer, 42)), Some((writer, 42)));
        assert_eq!(parse_piece_name(&piece_name(3, 8)), Some((3, false)));
        assert_eq!(parse_piece_name(&end_name(3)), Some((3, true)));
        for wrong in ["journal/x/1", "journal/", "checkpoint/1/2", "shards/0", ""] {
            assert_eq!((parse_entry_name(wrong), parse_piece_name(wrong)), (None, None), "{wrong}");
        }
    }
}
