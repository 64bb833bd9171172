//! What is in a log file. Pure.
//!
//! A log file has a fixed size and is overwritten in place, so that making a record durable costs
//! one flush and no change of file system metadata. All numbers little-endian.
//!
//! ```text
//! block 0       header   magic "HFSLOG1\n", epoch u64, CRC-64/NVME of the 16 bytes before
//! block 1...    records  each padded with zeros to a multiple of 4096 bytes:
//!    0  8  magic "HFSREC1\n"
//!    8  8  epoch of the header under which it was written
//!   16  8  sequence: 0, 1, 2, ... in this file and epoch
//!   24  2  kind: 1 put, 2 delete
//!   26  2  length of the name, bytes; 0 for a delete
//!   28  4  length of the body, bytes
//!   32  8  CRC-64/NVME of bytes 0 to 31, name and body
//!   40     name, body: the bytes of a put, or the deleted names, one a line
//! ```
//!
//! A record counts if its magic, epoch, sequence and checksum are right; the first that does not
//! count ends the file. Raising the header's epoch empties the file at a stroke. The header is
//! shorter than any disk's sector, so it is never torn.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

/// Everything in a log file begins at a multiple of this.
pub(super) const BLOCK: usize = 4096;
/// Size of a log file, bytes. Small enough to be read back at start, large enough that the
/// checkpoints that empty it are rare.
pub(super) const LOG_SIZE: u64 = 16 << 20;
/// Largest body that goes through the log, bytes. Above, writing twice costs more than it saves:
/// at 120 KB the log was measured to be slower than a direct write of 350 KB.
pub(super) const SMALL_MAX: usize = 64 << 10;
/// Largest record, padding included. Names are at most 512 bytes.
pub(super) const RECORD_MAX: usize = SMALL_MAX + BLOCK;

const HEADER_MAGIC: [u8; 8] = *b"HFSLOG1\n";
const RECORD_MAGIC: [u8; 8] = *b"HFSREC1\n";
const HEADER_LEN: usize = 24;
const PREFIX_LEN: usize = 40;
const PUT: u16 = 1;
const DELETE: u16 = 2;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// `name` holds exactly `body`.
    Put { name: String, body: Bytes },
    /// These names are gone.
    Delete { names: Vec<String> },
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn checksum(pieces: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize()
}

/// The header that gives a file this epoch. One block.
pub(super) fn header(epoch: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend(HEADER_MAGIC);
    block.extend(epoch.to_le_bytes());
    block.extend(checksum(&[&block]).to_le_bytes());
    block.resize(BLOCK, 0);
    block
}

/// The epoch that a header gives, unless it is none.
pub(super) fn epoch_of(block: &[u8]) -> Option<u64> {
    let (fields, rest) = block.split_at_checked(HEADER_LEN - 8)?;
    let ours = fields.starts_with(&HEADER_MAGIC) && u64_at(rest, 0)? == checksum(&[fields]);
    if ours { u64_at(fields, 8) } else { None }
}

/// Bytes that a put takes in the log.
pub(super) fn put_len(name: &str, body: &[Bytes]) -> usize {
    let len: usize = body.iter().map(Bytes::len).sum();
    (PREFIX_LEN + name.len() + len).next_multiple_of(BLOCK)
}

/// Appends a put to `out`. `body` is at most [`SMALL_MAX`] bytes and `name` a site's name.
pub(super) fn encode_put(epoch: u64, sequence: u64, name: &str, body: &[Bytes], out: &mut Vec<u8>) {
    let mut pieces = Vec::with_capacity(body.len() + 1);
    pieces.push(name.as_bytes());
    pieces.extend(body.iter().map(|slice| &slice[..]));
    encode(epoch, sequence, PUT, name.len(), &pieces, out);
}

/// Appends a delete to `out`. The names, joined, are at most [`SMALL_MAX`] bytes.
pub(super) fn encode_delete(epoch: u64, sequence: u64, names: &[String], out: &mut Vec<u8>) {
    encode(epoch, sequence, DELETE, 0, &[names.join("\n").as_bytes()], out);
}

fn encode(epoch: u64, sequence: u64, kind: u16, name_len: usize, pieces: &[&[u8]], out: &mut Vec<u8>) {
    let start = out.len();
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    debug_assert!(name_len < BLOCK / 2 && len - name_len <= SMALL_MAX);
    out.extend(RECORD_MAGIC);
    out.extend(epoch.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((name_len as u16).to_le_bytes());
    out.extend(((len - name_len) as u32).to_le_bytes());
    out.extend([0; 8]);
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    let record = &mut out[start..];
    let (fields, rest) = record.split_at_mut(PREFIX_LEN - 8);
    let (sum, payload) = rest.split_at_mut(8);
    sum.copy_from_slice(&checksum(&[fields, payload]).to_le_bytes());
    out.resize(start + (out.len() - start).next_multiple_of(BLOCK), 0);
}

/// Reads the record at the start of `bytes`, and how many bytes it takes. `None`: there is none
/// of this epoch and sequence.
pub(super) fn decode(bytes: &[u8], epoch: u64, sequence: u64) -> Option<(Record, usize)> {
    let (fields, rest) = bytes.split_at_checked(PREFIX_LEN - 8)?;
    if !fields.starts_with(&RECORD_MAGIC) || u64_at(fields, 8)? != epoch || u64_at(fields, 16)? != sequence {
        return None;
    }
    let kind = u16::from_le_bytes(*fields.get(24..)?.first_chunk()?);
    let name_len = usize::from(u16::from_le_bytes(*fields.get(26..)?.first_chunk()?));
    let body_len = usize::try_from(u32::from_le_bytes(*fields.get(28..)?.first_chunk()?)).ok()?;
    if body_len > SMALL_MAX {
        return None;
    }
    let payload = rest.get(8..8 + name_len + body_len)?;
    if u64_at(rest, 0)? != checksum(&[fields, payload]) {
        return None;
    }
    let (name, body) = payload.split_at_checked(name_len)?;
    let record = match kind {
        PUT => Record::Put { name: String::from_utf8(name.to_vec()).ok()?, body: Bytes::copy_from_slice(body) },
        DELETE => Record::Delete { names: std::str::from_utf8(body).ok()?.lines().map(str::to_owned).collect() },
        _ => return None,
    };
    Some((record, (PREFIX_LEN + name_len + body_len).next_multiple_of(BLOCK)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(epoch: u64, sequence: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        encode_put(epoch, sequence, "a/b", &[Bytes::from(vec![9; len])], &mut out);
        out
    }

    #[test]
    fn round_trips() {
        for len in [0, 1, BLOCK - PREFIX_LEN - 3, BLOCK - PREFIX_LEN - 2, SMALL_MAX] {
            let log = put(7, 3, len);
            assert!(log.len().is_multiple_of(BLOCK) && log.len() <= RECORD_MAX);
            assert_eq!(log.len(), put_len("a/b", &[Bytes::from(vec![0; len])]));
            let expected = Record::Put { name: "a/b".into(), body: vec![9; len].into() };
            assert_eq!(decode(&log, 7, 3), Some((expected, log.len())));
        }
        let mut log = Vec::new();
        let names = vec!["a".to_owned(), "b/c".to_owned()];
        encode_delete(1, 0, &names, &mut log);
        assert_eq!(decode(&log, 1, 0), Some((Record::Delete { names }, BLOCK)));
    }

    #[test]
    fn only_this_epoch_and_sequence() {
        let log = put(7, 3, 10);
        assert_eq!(decode(&log, 8, 3), None);
        assert_eq!(decode(&log, 7, 4), None);
    }

    #[test]
    fn headers() {
        assert_eq!(epoch_of(&header(5)), Some(5));
        assert_eq!(epoch_of(&[0; BLOCK]), None);
        assert_eq!(epoch_of(b"HFS"), None);
        let mut bad = header(5);
        bad[9] ^= 1;
        assert_eq!(epoch_of(&bad), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>, epoch: u64, sequence: u64) {
            let _ = epoch_of(&bytes);
            let _ = decode(&bytes, epoch, sequence);
            // The same behind a head that passes the first checks.
            let head = put(epoch, sequence, 1);
            bytes.splice(0..0, head[..24].iter().copied());
            prop_assert_eq!(decode(&bytes, epoch, sequence), None);
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(len in 0usize..6000, bit: prop::sample::Index, cut: prop::sample::Index) {
            let used = PREFIX_LEN + 3 + len;
            let whole = put(1, 2, len);
            let mut flipped = whole.clone();
            let bit = bit.index(used * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&flipped, 1, 2), None);
            prop_assert_eq!(decode(&whole[..cut.index(used)], 1, 2), None);
        }
    }
}
