//! Small secrets sealed whole: the standard's ciphertext under a key derived for the purpose.

use base::Rng;
use base::limits::{CHUNK, SEALED_CHUNK};
use zeroize::Zeroizing;

use crate::body::{BodyHeader, HEADER_LEN, Opener, Sealer, chunk_count, plain_len, sealed_len};
use crate::{Dek, EnvelopeError, Kek};

const PURPOSE: &[u8] = b"holdfast/small/v1";
/// Largest secret: bounds memory for sealed bytes from outside.
const SECRET_MAX: usize = 1 << 20;

/// Seals a small secret for a context: salt, commitment and chunks in a row.
///
/// # Errors
/// [`EnvelopeError::TooLong`] for a secret above 1 MiB. [`EnvelopeError::Refused`] never in
/// practice; the primitive can report failure.
pub fn seal_small(kek: &Kek, context: &[u8], secret: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, EnvelopeError> {
    if secret.len() > SECRET_MAX {
        return Err(EnvelopeError::TooLong { len: secret.len(), max: SECRET_MAX });
    }
    let dek = Dek::from_bytes(*kek.derive(PURPOSE, context)?);
    let (mut sealer, header) = Sealer::new(&dek, context, rng);
    let mut sealed = Vec::with_capacity(HEADER_LEN + sealed_len(secret.len() as u64) as usize);
    sealed.extend_from_slice(&header.0);
    for index in 0..chunk_count(secret.len() as u64) as usize {
        let (start, from) = (sealed.len(), index * CHUNK);
        sealed.extend_from_slice(&secret[from..secret.len().min(from + CHUNK)]);
        sealed.extend_from_slice(&[0; SEALED_CHUNK - CHUNK]);
        sealer.seal_chunk(&mut sealed[start..])?;
    }
    Ok(sealed)
}

/// Opens what [`seal_small`] sealed under the same key and context.
///
/// # Errors
/// [`EnvelopeError`] when it does not open.
pub fn open_small(kek: &Kek, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (header, chunks) = sealed.split_first_chunk::<HEADER_LEN>().ok_or(EnvelopeError::Truncated)?;
    let len = plain_len(chunks.len() as u64)?;
    if len > SECRET_MAX as u64 {
        return Err(EnvelopeError::Truncated);
    }
    let dek = Dek::from_bytes(*kek.derive(PURPOSE, context)?);
    let opener = Opener::new(&dek, &BodyHeader(*header), context)?;
    let mut plain = Zeroizing::new(vec![0; len as usize]);
    let last = chunk_count(len) - 1;
    // A body of whole chunks ends in an empty one, which has a tag and no room of its own.
    let rooms = plain.chunks_mut(CHUNK).map(Some).chain(std::iter::repeat_with(|| None));
    for ((index, chunk), room) in (0..).zip(chunks.chunks(SEALED_CHUNK)).zip(rooms) {
        opener.open_chunk(index, index == last, chunk, room.unwrap_or_default())?;
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;
    use proptest::prelude::*;

    #[test]
    fn round_trip_and_context() {
        let rng = SeededRng::new(1);
        let kek = Kek::generate(&rng);
        for size in [0, 1, 40, CHUNK - 1, CHUNK, CHUNK + 1, SECRET_MAX] {
            let sealed = seal_small(&kek, b"a", &vec![5; size], &rng).unwrap();
            assert_eq!(*open_small(&kek, b"a", &sealed).unwrap(), vec![5; size]);
            assert!(open_small(&kek, b"b", &sealed).is_err());
            assert!(open_small(&kek, b"a", &sealed[..sealed.len() - 1]).is_err());
        }
    }

    /// Sealing once took secrets that opening then refused for their length.
    #[test]
    fn what_would_not_open_is_not_sealed() {
        let rng = SeededRng::new(1);
        let kek = Kek::generate(&rng);
        let sealed = seal_small(&kek, b"a", &vec![5; SECRET_MAX + 1], &rng);
        assert_eq!(sealed, Err(EnvelopeError::TooLong { len: SECRET_MAX + 1, max: SECRET_MAX }));
        let forged = vec![0; HEADER_LEN + sealed_len(SECRET_MAX as u64 + 1) as usize];
        assert_eq!(open_small(&kek, b"a", &forged), Err(EnvelopeError::Truncated));
    }

    /// The vector of `docs/spec/wrap.md`.
    #[test]
    fn secrets_are_sealed_as_specified() {
        struct Salt;
        impl base::Rng for Salt {
            fn fill(&self, out: &mut [u8]) {
                out.iter_mut().zip(0x20..).for_each(|(byte, next)| *byte = next);
            }
        }
        let kek = Kek::from_bytes(std::array::from_fn(|i| 0x80 + i as u8));
        let sealed = seal_small(&kek, b"secret/1alice", b"s3cret", &Salt).unwrap();
        let expected = concat!(
            "202122232425262728292a2b2c2d2e2f3031323334353637",
            "3dc890c2c03fde42553b981c1c88d33d497ed5529a40ee91417823a049e60f00",
            "8733cb31a32764d0f37e9cccc6d1af971769d8bf7493",
        );
        assert_eq!(hex::encode(sealed), expected);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(size in 0usize..100, at: prop::sample::Index, bit in 0u8..8) {
            let rng = SeededRng::new(2);
            let kek = Kek::generate(&rng);
            let mut sealed = seal_small(&kek, b"a", &vec![5; size], &rng).unwrap();
            let position = at.index(sealed.len());
            sealed[position] ^= 1 << bit;
            prop_assert_eq!(open_small(&kek, b"a", &sealed), Err(EnvelopeError::Refused));
        }

        #[test]
        fn no_bytes_make_it_panic(sealed: Vec<u8>) {
            prop_assert!(open_small(&Kek::from_bytes([1; 32]), b"", &sealed).is_err());
        }
    }
}
