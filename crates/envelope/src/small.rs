//! Small secrets sealed whole: the standard's ciphertext under a key derived for the purpose.

use base::Rng;
use base::limits::{CHUNK, SEALED_CHUNK};
use zeroize::Zeroizing;

use crate::body::{BodyHeader, HEADER_LEN, Opener, Sealer, chunk_count, plain_len, sealed_len};
use crate::{Dek, EnvelopeError, Kek};

const PURPOSE: &[u8] = b"holdfast/small/v1";
/// Largest sealed secret that is opened: bounds memory for bytes from outside.
const SEALED_MAX: usize = 1 << 20;

/// Seals a small secret for a context: salt, commitment and chunks in a row.
///
/// # Errors
/// [`EnvelopeError::Refused`] never in practice; the primitive can report failure.
pub fn seal_small(kek: &Kek, context: &[u8], secret: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, EnvelopeError> {
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
    if sealed.len() > SEALED_MAX {
        return Err(EnvelopeError::Truncated);
    }
    let (header, chunks) = sealed.split_first_chunk::<HEADER_LEN>().ok_or(EnvelopeError::Truncated)?;
    let len = plain_len(chunks.len() as u64)?;
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
        for size in [0, 1, 40, CHUNK, CHUNK + 1] {
            let sealed = seal_small(&kek, b"a", &vec![5; size], &rng).unwrap();
            assert_eq!(*open_small(&kek, b"a", &sealed).unwrap(), vec![5; size]);
            assert!(open_small(&kek, b"b", &sealed).is_err());
            assert!(open_small(&kek, b"a", &sealed[..sealed.len() - 1]).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(sealed: Vec<u8>) {
            prop_assert!(open_small(&Kek::from_bytes([1; 32]), b"", &sealed).is_err());
        }
    }
}
