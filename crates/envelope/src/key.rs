//! Keys and their wraps. Plain keys cannot be printed, copied or serialised by accident; wrapped
//! ones are another type and can.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Prk};
use aws_lc_rs::hmac;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use base::Rng;
use zeroize::Zeroizing;

use crate::EnvelopeError;
use crate::arena::Locked;

/// Bytes of every key.
pub(crate) const KEY_LEN: usize = 32;
/// A wrapped key: 8 bytes more than the key (RFC 5649).
const WRAPPED_LEN: usize = KEY_LEN + 8;

/// A data encryption key: seals one part. Zeroed when dropped.
pub struct Dek(Zeroizing<[u8; KEY_LEN]>);

/// A key encryption key: wraps other keys. Lives in locked memory; zeroed when dropped.
pub struct Kek(Locked);

/// A key wrapped by a [`Kek`]; worthless without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey(pub [u8; WRAPPED_LEN]);

impl Dek {
    /// A fresh random key.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        rng.fill(bytes.as_mut());
        Self(bytes)
    }

    /// A key from bytes: for test vectors.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl Kek {
    /// A fresh random key.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut bytes = Locked::zeros();
        rng.fill(bytes.bytes_mut());
        Self(bytes)
    }

    /// A key from bytes: for keys kept outside (the root key file) and test vectors.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Locked::copy_of(&Zeroizing::new(bytes)))
    }

    /// A key from bytes that are kept as well as keys are.
    pub fn from_locked(bytes: Locked) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_LEN] {
        self.0.bytes()
    }

    /// Wraps a data encryption key for a context: it unwraps under the same context only.
    ///
    /// # Errors
    /// [`EnvelopeError::Refused`] never in practice; the primitive can report failure.
    pub fn wrap_dek(&self, context: &[u8], dek: &Dek) -> Result<WrappedKey, EnvelopeError> {
        self.wrap(context, &dek.0)
    }

    /// Reverses [`Self::wrap_dek`].
    ///
    /// # Errors
    /// [`EnvelopeError::Refused`] under another key or context, or when bytes were changed.
    pub fn unwrap_dek(&self, context: &[u8], wrapped: &WrappedKey) -> Result<Dek, EnvelopeError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        self.unwrap(context, wrapped, &mut key)?;
        Ok(Dek(key))
    }

    /// Wraps a key encryption key.
    ///
    /// # Errors
    /// As [`Self::wrap_dek`].
    pub fn wrap_kek(&self, context: &[u8], kek: &Self) -> Result<WrappedKey, EnvelopeError> {
        self.wrap(context, kek.0.bytes())
    }

    /// Reverses [`Self::wrap_kek`].
    ///
    /// # Errors
    /// As [`Self::unwrap_dek`].
    pub fn unwrap_kek(&self, context: &[u8], wrapped: &WrappedKey) -> Result<Self, EnvelopeError> {
        let mut key = Locked::zeros();
        self.unwrap(context, wrapped, key.bytes_mut())?;
        Ok(Self(key))
    }

    /// A key that nobody can make who lacks either this one or `other` (HKDF-SHA-512, RFC 5869:
    /// extract with this key as the salt, which makes HMAC a PRF of both inputs).
    ///
    /// # Errors
    /// [`EnvelopeError::Refused`] never in practice.
    pub fn combined(&self, other: &[u8; KEY_LEN]) -> Result<Self, EnvelopeError> {
        self.both(other, &[b"holdfast/combined/v1"])
    }

    /// The same with another half that is kept elsewhere, for a context: a key of another context, and of
    /// [`Self::combined`], is another one.
    ///
    /// # Errors
    /// As [`Self::combined`].
    pub fn combined_with_half(&self, context: &[u8], half: &Locked) -> Result<Self, EnvelopeError> {
        let len = (context.len() as u64).to_be_bytes();
        self.both(half.bytes(), &[b"holdfast/halves/v1", &len, context])
    }

    fn both(&self, other: &[u8; KEY_LEN], info: &[&[u8]]) -> Result<Self, EnvelopeError> {
        // HKDF-Extract is HMAC; the library's own would keep the salt, this key, on the heap.
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, self.0.bytes()), other);
        let both = Prk::new_less_safe(HKDF_SHA512, extracted.as_ref());
        let mut key = Locked::zeros();
        let okm = both.expand(info, Len(KEY_LEN)).map_err(|_| EnvelopeError::Refused)?;
        okm.fill(key.bytes_mut()).map_err(|_| EnvelopeError::Refused)?;
        Ok(Self(key))
    }

    /// What tells this key from others in a context, and nothing else about it.
    ///
    /// # Errors
    /// [`EnvelopeError::Refused`] never in practice.
    pub fn verifier(&self, context: &[u8]) -> Result<[u8; KEY_LEN], EnvelopeError> {
        Ok(*self.derive(b"holdfast/verifier/v1", context)?)
    }

    /// Whether `verifier` is this key's for the context. Takes the same time for all wrong ones.
    pub fn is_verified_by(&self, context: &[u8], verifier: &[u8]) -> bool {
        let own = self.derive(b"holdfast/verifier/v1", context);
        own.is_ok_and(|own| verify_slices_are_equal(own.as_ref(), verifier).is_ok())
    }

    /// 32 secret bytes that follow from this key and a context; of no use to unwrap or open anything.
    ///
    /// # Errors
    /// [`EnvelopeError::Refused`] never in practice; the primitive can report failure.
    pub fn derive_secret(&self, context: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, EnvelopeError> {
        self.derive(b"holdfast/secret/v1", context)
    }

    /// A key for one purpose and context. The context's length goes before it, so that purpose
    /// and context cannot be cut in two ways.
    pub(crate) fn derive(&self, purpose: &[u8], context: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, EnvelopeError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let len = (context.len() as u64).to_be_bytes();
        expand(self.bytes(), &[purpose, &len, context], key.as_mut())?;
        Ok(key)
    }

    fn wrap(&self, context: &[u8], key: &[u8; KEY_LEN]) -> Result<WrappedKey, EnvelopeError> {
        let wrapping = self.derive(b"holdfast/wrap/v1", context)?;
        let kek = AesKek::new(&AES_256, wrapping.as_ref()).map_err(|_| EnvelopeError::Refused)?;
        let mut wrapped = [0; WRAPPED_LEN];
        let written = kek.wrap_with_padding(key, &mut wrapped).map_err(|_| EnvelopeError::Refused)?.len();
        if written == WRAPPED_LEN { Ok(WrappedKey(wrapped)) } else { Err(EnvelopeError::Refused) }
    }

    fn unwrap(&self, context: &[u8], wrapped: &WrappedKey, key: &mut [u8; KEY_LEN]) -> Result<(), EnvelopeError> {
        let wrapping = self.derive(b"holdfast/wrap/v1", context)?;
        let kek = AesKek::new(&AES_256, wrapping.as_ref()).map_err(|_| EnvelopeError::Refused)?;
        // The primitive wants room for the padded length.
        let mut room = Zeroizing::new([0; WRAPPED_LEN]);
        let plain = kek.unwrap_with_padding(&wrapped.0, room.as_mut()).map_err(|_| EnvelopeError::Refused)?;
        if plain.len() != KEY_LEN {
            return Err(EnvelopeError::Refused);
        }
        key.copy_from_slice(plain);
        Ok(())
    }
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-SHA-512 (RFC 5869) from a uniformly random key.
pub(crate) fn expand(key: &[u8; KEY_LEN], info: &[&[u8]], out: &mut [u8]) -> Result<(), EnvelopeError> {
    let prk = Prk::new_less_safe(HKDF_SHA512, key);
    let okm = prk.expand(info, Len(out.len())).map_err(|_| EnvelopeError::Refused)?;
    okm.fill(out).map_err(|_| EnvelopeError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;
    use proptest::prelude::*;

    /// The vector of `docs/spec/wrap.md`.
    #[test]
    fn wraps_are_the_specified_ones() {
        let kek = Kek::from_bytes(std::array::from_fn(|i| 0x80 + i as u8));
        let key = std::array::from_fn(|i| i as u8);
        let context: Vec<u8> = b"bucket/1".iter().copied().chain(0x40..0x50).collect();
        let wrapped = kek.wrap_kek(&context, &Kek::from_bytes(key)).unwrap();
        let expected = "6cd7e88d04d00f166c7d341373ab467d7b6b26febdbe503b148f13418b9ddc7a0da2e6096db64cb1";
        assert_eq!(hex::encode(wrapped.0), expected);
        assert_eq!(*kek.unwrap_kek(&context, &wrapped).unwrap().0.bytes(), key);
    }

    /// The vector of `docs/spec/wrap.md`.
    #[test]
    fn combined_keys_are_the_specified_ones() {
        let kek = Kek::from_bytes(std::array::from_fn(|i| 0x80 + i as u8));
        let other: [u8; KEY_LEN] = std::array::from_fn(|i| 0xa0 + i as u8);
        let combined = kek.combined(&other).unwrap();
        assert_eq!(hex::encode(combined.0.bytes()), "128e353e59da35953550923051332fc77864ffbe59348d0f2f8d082cee2d8a3d");
        assert_eq!(
            hex::encode(combined.verifier(b"ssec/1").unwrap()),
            "97cb02ba971145671e25b3a01433a3d9d65cad9dbe1178ea51b3e68561823150"
        );
        assert!(combined.is_verified_by(b"ssec/1", &combined.verifier(b"ssec/1").unwrap()));
        // Either half alone, or swapped, is another key; another context, another verifier.
        let swapped = Kek::from_bytes(other).combined(kek.0.bytes()).unwrap();
        let verifier = combined.verifier(b"ssec/1").unwrap();
        for wrong in [&swapped, &kek, &Kek::from_bytes(other)] {
            assert!(!wrong.is_verified_by(b"ssec/1", &verifier));
        }
        assert!(!combined.is_verified_by(b"ssec/2", &verifier));
        assert!(!combined.is_verified_by(b"ssec/1", &verifier[..31]));
    }

    /// The vector of `docs/spec/wrap.md`.
    #[test]
    fn halves_make_the_specified_key() {
        let ours = Kek::from_bytes(std::array::from_fn(|i| 0x80 + i as u8));
        let theirs = Locked::copy_of(&std::array::from_fn(|i| 0xa0 + i as u8));
        let context: Vec<u8> = b"halves/1".iter().copied().chain([0; 8]).collect();
        let key = ours.combined_with_half(&context, &theirs).unwrap();
        assert_eq!(hex::encode(key.0.bytes()), "bf401525c9c1d80eac4f8be2bd0b2369b711ee9770d60f92a2488d2b34bf8147");
        assert_eq!(
            hex::encode(key.verifier(&context).unwrap()),
            "7f33ab90040f13481fd5e5b6ab966bd903d95ce66e06ccd1ff07a5bafd6f0704"
        );
        // Another tenant, another half of either, and what SSE-C would make of the same: other keys.
        let verifier = key.verifier(&context).unwrap();
        let other = Locked::copy_of(&[1; KEY_LEN]);
        for wrong in [
            ours.combined_with_half(b"halves/1", &theirs),
            ours.combined_with_half(&context, &other),
            Kek::from_bytes([1; KEY_LEN]).combined_with_half(&context, &theirs),
            Kek::from_bytes(*theirs.bytes()).combined_with_half(&context, &ours.0),
            ours.combined(theirs.bytes()),
        ] {
            assert!(!wrong.unwrap().is_verified_by(&context, &verifier));
        }
    }

    /// The vector of `docs/spec/wrap.md`.
    #[test]
    fn derived_secrets_are_the_specified_ones() {
        let kek = Kek::from_bytes(std::array::from_fn(|i| 0x80 + i as u8));
        let secret = kek.derive_secret(b"temporary/1HFTSALICE").unwrap();
        assert_eq!(hex::encode(*secret), "8f87e9d3501cfd138127479c263aea681002f2cf9d5039e6216424562e6ecde8");
        let seed = kek.derive_secret(b"audit/1").unwrap();
        assert_eq!(hex::encode(*seed), "e55bf19d24c0b1bb4c007bdc5aad3c1e1d28ef6f8eed4c93a12c7f3def8011c9");
        let name = kek.derive_secret(b"audit-name/1").unwrap();
        assert_eq!(hex::encode(*name), "50e3d3d009ef26c30a2124600529e1ded5489b4507734103046fb9f52b853b38");
    }

    /// KWP itself would unwrap shorter keys: a wrap that is not of 32 bytes is none of ours.
    #[test]
    fn a_wrap_of_a_shorter_key_is_refused() {
        let kek = Kek::from_bytes([1; KEY_LEN]);
        let wrapping = kek.derive(b"holdfast/wrap/v1", b"ctx").unwrap();
        let mut wrapped = [0; WRAPPED_LEN];
        let primitive = AesKek::new(&AES_256, wrapping.as_ref()).unwrap();
        // 25 to 31 bytes are padded to the length of our wraps.
        assert_eq!(primitive.wrap_with_padding(&[7; 31], &mut wrapped).unwrap().len(), WRAPPED_LEN);
        assert!(matches!(kek.unwrap_dek(b"ctx", &WrappedKey(wrapped)), Err(EnvelopeError::Refused)));
    }

    proptest! {
        #[test]
        fn wraps_open_where_they_were_made(seed: u64, context: Vec<u8>, flip in 0usize..320) {
            let rng = SeededRng::new(seed);
            let (kek, dek) = (Kek::generate(&rng), Dek::generate(&rng));
            let wrapped = kek.wrap_dek(&context, &dek).unwrap();
            let opened = kek.unwrap_dek(&context, &wrapped).unwrap();
            prop_assert_eq!(opened.bytes(), dek.bytes());

            let mut other = context.clone();
            other.push(0);
            prop_assert!(kek.unwrap_dek(&other, &wrapped).is_err());
            prop_assert!(Kek::generate(&rng).unwrap_dek(&context, &wrapped).is_err());
            let mut bent = wrapped;
            bent.0[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(kek.unwrap_dek(&context, &bent).is_err());
        }
    }
}
