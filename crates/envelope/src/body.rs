//! Sealed bodies: C2SP chunked-encryption with HKDF-SHA-512 and AES-256-GCM.
//!
//! The 56 bytes of salt and commitment are kept apart from the chunks, in [`BodyHeader`]; the two
//! in a row are the standard's ciphertext.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time;
use base::Rng;
use base::limits::{CHUNK, SEALED_CHUNK};
use zeroize::Zeroizing;

use crate::key::{KEY_LEN, expand};
use crate::{Dek, EnvelopeError};

/// Bytes of salt.
pub const SALT_LEN: usize = 24;
const COMMITMENT_LEN: usize = 32;
/// Bytes of salt and commitment.
pub const HEADER_LEN: usize = SALT_LEN + COMMITMENT_LEN;
const TAG_LEN: usize = SEALED_CHUNK - CHUNK;
/// Chunk numbers stay below this (C2SP).
const CHUNKS_MAX: u64 = 1 << 38;

/// Salt and key commitment of a sealed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHeader(pub [u8; HEADER_LEN]);

/// Sealed bytes, without the header, of a body of `plain` bytes. Saturates: a length from a
/// damaged record must not wrap into a small one.
pub fn sealed_len(plain: u64) -> u64 {
    plain.saturating_add(chunk_count(plain) * TAG_LEN as u64)
}

/// Chunks of a body of `plain` bytes. The last is always short, so there is always one.
pub fn chunk_count(plain: u64) -> u64 {
    plain / CHUNK as u64 + 1
}

/// Plaintext bytes of a sealed body of `sealed` bytes, without the header.
///
/// # Errors
/// [`EnvelopeError::Truncated`] for lengths that no body has.
pub fn plain_len(sealed: u64) -> Result<u64, EnvelopeError> {
    let (full, last) = (sealed / SEALED_CHUNK as u64, sealed % SEALED_CHUNK as u64);
    let last = last.checked_sub(TAG_LEN as u64).ok_or(EnvelopeError::Truncated)?;
    Ok(full * CHUNK as u64 + last)
}

/// The derived key, base nonce and commitment of one body.
struct Derived {
    key: LessSafeKey,
    base_nonce: [u8; NONCE_LEN],
    commitment: [u8; COMMITMENT_LEN],
}

impl Derived {
    fn new(key: &[u8; KEY_LEN], salt: &[u8], context: &[u8]) -> Result<Self, EnvelopeError> {
        const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
        let mut okm = Zeroizing::new([0; KEY_LEN + NONCE_LEN + COMMITMENT_LEN]);
        expand(key, &[LABEL, salt, context], okm.as_mut())?;
        let (aead_key, rest) = okm.split_at(KEY_LEN);
        let (nonce, commitment) = rest.split_at(NONCE_LEN);
        let unbound = UnboundKey::new(&AES_256_GCM, aead_key).map_err(|_| EnvelopeError::Refused)?;
        let mut derived =
            Self { key: LessSafeKey::new(unbound), base_nonce: [0; NONCE_LEN], commitment: [0; COMMITMENT_LEN] };
        derived.base_nonce.copy_from_slice(nonce);
        derived.commitment.copy_from_slice(commitment);
        Ok(derived)
    }

    fn nonce(&self, index: u64) -> Result<Nonce, EnvelopeError> {
        if index >= CHUNKS_MAX {
            return Err(EnvelopeError::Ended);
        }
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals a body chunk by chunk, in order, in place.
pub struct Sealer {
    derived: Derived,
    next: u64,
    ended: bool,
}

impl Sealer {
    /// Begins a body. The context is bound to it: only who names it again opens the body.
    pub fn new(dek: &Dek, context: &[u8], rng: &dyn Rng) -> (Self, BodyHeader) {
        let mut salt = [0; SALT_LEN];
        rng.fill(&mut salt);
        // Deriving fixed lengths from a 32-byte key has no way to fail.
        Self::with_salt(dek, context, salt).expect("HKDF output is within its bounds")
    }

    fn with_salt(dek: &Dek, context: &[u8], salt: [u8; SALT_LEN]) -> Result<(Self, BodyHeader), EnvelopeError> {
        let derived = Derived::new(dek.bytes(), &salt, context)?;
        let mut header = BodyHeader([0; HEADER_LEN]);
        header.0[..SALT_LEN].copy_from_slice(&salt);
        header.0[SALT_LEN..].copy_from_slice(&derived.commitment);
        Ok((Self { derived, next: 0, ended: false }, header))
    }

    /// Seals the next chunk: `buf` is its plaintext and 16 bytes of room for the tag. Chunks are
    /// full (16 KiB) until a shorter one, possibly empty, which is the last.
    ///
    /// # Errors
    /// [`EnvelopeError::Ended`] after the last chunk; [`EnvelopeError::Truncated`] when `buf` has
    /// a length that no chunk has.
    pub fn seal_chunk(&mut self, buf: &mut [u8]) -> Result<(), EnvelopeError> {
        if self.ended {
            return Err(EnvelopeError::Ended);
        }
        let plain = buf.len().checked_sub(TAG_LEN).filter(|plain| *plain <= CHUNK).ok_or(EnvelopeError::Truncated)?;
        let (data, room) = buf.split_at_mut(plain);
        let nonce = self.derived.nonce(self.next)?;
        let tag = self.derived.key.seal_in_place_separate_tag(nonce, Aad::empty(), data);
        room.copy_from_slice(tag.map_err(|_| EnvelopeError::Refused)?.as_ref());
        self.next += 1;
        self.ended = plain < CHUNK;
        Ok(())
    }
}

/// Opens chunks of a body, in any order. The commitment was checked when it was made.
pub struct Opener(Derived);

impl Opener {
    /// Begins to open a body.
    ///
    /// # Errors
    /// [`EnvelopeError::Refused`] when key or context are not the body's.
    pub fn new(dek: &Dek, header: &BodyHeader, context: &[u8]) -> Result<Self, EnvelopeError> {
        let (salt, commitment) = header.0.split_at(SALT_LEN);
        let derived = Derived::new(dek.bytes(), salt, context)?;
        constant_time::verify_slices_are_equal(&derived.commitment, commitment).map_err(|_| EnvelopeError::Refused)?;
        Ok(Self(derived))
    }

    /// Opens chunk `index` into `out`, which has exactly the plaintext's length. `last` says
    /// whether the caller takes it for the last one: only the last chunk is short, and it is.
    ///
    /// # Errors
    /// [`EnvelopeError::Truncated`] for a length that such a chunk does not have,
    /// [`EnvelopeError::Refused`] when it does not open. `out` is then to be thrown away.
    pub fn open_chunk(&self, index: u64, last: bool, sealed: &[u8], out: &mut [u8]) -> Result<usize, EnvelopeError> {
        let plain = sealed.len().checked_sub(TAG_LEN).ok_or(EnvelopeError::Truncated)?;
        if plain > CHUNK || (plain < CHUNK) != last || out.len() != plain {
            return Err(EnvelopeError::Truncated);
        }
        let (data, tag) = sealed.split_at(plain);
        let nonce = self.0.nonce(index)?;
        let opened = self.0.key.open_separate_gather(nonce, Aad::empty(), data, tag, out);
        opened.map_err(|_| EnvelopeError::Refused)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;
    use proptest::prelude::*;

    fn seal(plain: &[u8], rng: &SeededRng) -> (Dek, BodyHeader, Vec<Vec<u8>>) {
        let dek = Dek::generate(rng);
        let (mut sealer, header) = Sealer::new(&dek, b"ctx", rng);
        let mut chunks = Vec::new();
        for index in 0..chunk_count(plain.len() as u64) as usize {
            let from = index * CHUNK;
            let mut chunk = plain[from..plain.len().min(from + CHUNK)].to_vec();
            chunk.extend_from_slice(&[0; TAG_LEN]);
            sealer.seal_chunk(&mut chunk).unwrap();
            chunks.push(chunk);
        }
        assert_eq!(sealer.seal_chunk(&mut [0; TAG_LEN]), Err(EnvelopeError::Ended));
        (dek, header, chunks)
    }

    fn open(dek: &Dek, header: &BodyHeader, chunks: &[Vec<u8>]) -> Result<Vec<u8>, EnvelopeError> {
        let opener = Opener::new(dek, header, b"ctx")?;
        let mut plain = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut out = vec![0; chunk.len().saturating_sub(TAG_LEN)];
            opener.open_chunk(index as u64, index + 1 == chunks.len(), chunk, &mut out)?;
            plain.extend(out);
        }
        Ok(plain)
    }

    const SIZES: [usize; 9] =
        [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 77];

    #[test]
    fn sizes_around_chunk_borders() {
        let rng = SeededRng::new(1);
        for size in SIZES {
            let plain: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let (dek, header, chunks) = seal(&plain, &rng);
            let sealed: usize = chunks.iter().map(Vec::len).sum();
            assert_eq!(sealed as u64, sealed_len(size as u64));
            assert_eq!(plain_len(sealed as u64), Ok(size as u64));
            assert_eq!(open(&dek, &header, &chunks).unwrap(), plain, "{size}");
        }
    }

    /// The vectors of `docs/spec/part.md`.
    #[test]
    fn bodies_are_the_specified_ones() {
        let dek = Dek::from_bytes(std::array::from_fn(|i| i as u8));
        let context: Vec<u8> = b"hf-body1".iter().copied().chain(0x40..0x50).collect();
        let salt = std::array::from_fn(|i| 0x20 + i as u8);

        let (mut sealer, header) = Sealer::with_salt(&dek, &context, salt).unwrap();
        let commitment = "8954e36d75428a6cf8d15bad535e0519fd0b8aff989b346cdb7cb9e5bcac91bf";
        assert_eq!(hex::encode(header.0), format!("{}{commitment}", hex::encode(salt)));
        let mut chunk = [b"hello, holdfast".as_slice(), &[0; TAG_LEN]].concat();
        sealer.seal_chunk(&mut chunk).unwrap();
        assert_eq!(hex::encode(chunk), "933cf8f46b7abc2616e7d8448257d7e842915a5dacd029da2049d2c3da6a2d");

        let (mut sealer, _) = Sealer::with_salt(&dek, &context, salt).unwrap();
        let tags = ["76e54fea8d6cec81dd0f014b2c5891a3", "7853cbd1cb44fcb29f4af6210eb7c29b"];
        for tag in tags {
            let mut chunk = vec![0; SEALED_CHUNK];
            sealer.seal_chunk(&mut chunk).unwrap();
            assert_eq!(hex::encode(&chunk[CHUNK..]), tag);
        }
        let mut empty = [0; TAG_LEN];
        sealer.seal_chunk(&mut empty).unwrap();
        assert_eq!(hex::encode(empty), "6dc80942da55dd83b0fedb6b545f9dcd");
    }

    #[test]
    fn chunks_that_no_body_has() {
        let rng = SeededRng::new(5);
        let dek = Dek::generate(&rng);
        let (mut sealer, header) = Sealer::new(&dek, b"", &rng);
        for len in [0, TAG_LEN - 1, SEALED_CHUNK + 1] {
            assert_eq!(sealer.seal_chunk(&mut vec![0; len]), Err(EnvelopeError::Truncated), "{len}");
        }
        // A refused chunk was not counted: the first one opens as the first.
        let mut first = vec![0; SEALED_CHUNK];
        sealer.seal_chunk(&mut first).unwrap();
        let opener = Opener::new(&dek, &header, b"").unwrap();
        let mut out = vec![1; CHUNK];
        assert_eq!(opener.open_chunk(0, false, &first, &mut out), Ok(CHUNK));
        assert_eq!(out, vec![0; CHUNK]);
        assert_eq!(opener.open_chunk(0, true, &first, &mut out), Err(EnvelopeError::Truncated));
        assert_eq!(opener.open_chunk(0, false, &first, &mut out[1..]), Err(EnvelopeError::Truncated));
        assert_eq!(opener.open_chunk(1, false, &first, &mut out), Err(EnvelopeError::Refused));
        assert_eq!(opener.open_chunk(CHUNKS_MAX, false, &first, &mut out), Err(EnvelopeError::Ended));
    }

    /// A length from a damaged record once wrapped around to a small one.
    #[test]
    fn absurd_lengths_saturate() {
        assert_eq!(sealed_len(u64::MAX), u64::MAX);
    }

    #[test]
    fn impossible_lengths() {
        for sealed in [0, 15, SEALED_CHUNK as u64, SEALED_CHUNK as u64 + 15, 2 * SEALED_CHUNK as u64] {
            assert_eq!(plain_len(sealed), Err(EnvelopeError::Truncated), "{sealed}");
        }
    }

    #[test]
    fn cut_swapped_and_foreign_bodies_are_refused() {
        let rng = SeededRng::new(2);
        let (dek, header, chunks) = seal(&[7; 3 * CHUNK], &rng);
        let cut = &chunks[..3];
        assert_eq!(open(&dek, &header, cut), Err(EnvelopeError::Truncated));
        let swapped = [chunks[1].clone(), chunks[0].clone(), chunks[2].clone(), chunks[3].clone()];
        assert_eq!(open(&dek, &header, &swapped), Err(EnvelopeError::Refused));
        assert_eq!(open(&Dek::generate(&rng), &header, &chunks), Err(EnvelopeError::Refused));
        assert!(Opener::new(&dek, &header, b"other").is_err());
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(size in 0usize..3 * CHUNK, at: prop::sample::Index, bit in 0u8..8) {
            let (dek, mut header, mut chunks) = seal(&vec![9; size], &SeededRng::new(3));
            let total: usize = HEADER_LEN + chunks.iter().map(Vec::len).sum::<usize>();
            let mut position = at.index(total);
            if position < HEADER_LEN {
                header.0[position] ^= 1 << bit;
            } else {
                position -= HEADER_LEN;
                let chunk = position / SEALED_CHUNK;
                chunks[chunk][position % SEALED_CHUNK] ^= 1 << bit;
            }
            prop_assert!(open(&dek, &header, &chunks).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(index: u64, last: bool, sealed: Vec<u8>, room in 0usize..64) {
            let rng = SeededRng::new(4);
            let dek = Dek::generate(&rng);
            let (_, header) = Sealer::new(&dek, b"", &rng);
            let opener = Opener::new(&dek, &header, b"").unwrap();
            prop_assert!(opener.open_chunk(index, last, &sealed, &mut vec![0; room]).is_err());
        }
    }
}
