//! Secrets sealed to a public key: HPKE (RFC 9180) in base mode with the KEM X-Wing, which is ML-KEM-768 and X25519 together
//! (draft-connolly-cfrg-xwing-kem), HKDF-SHA256 and ChaCha20-Poly1305: the suite that draft-ietf-hpke-pq has
//! vectors of.
//!
//! Who seals is not known to who opens: that is for the caller to vouch for.

use std::convert::Infallible;

use base::Rng;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::{EnvelopeError, Locked};

/// Bytes of a public key: of ML-KEM-768 (1,184), then of X25519 (32).
pub const WING_PUBLIC_LEN: usize = 1216;
/// Bytes of what opens a sealed secret by the private key: a ciphertext of ML-KEM-768 (1,088), then a public key of X25519.
const ENCAPSULATED_LEN: usize = 1120;
/// Bytes of a tag of ChaCha20-Poly1305.
const TAG_LEN: usize = 16;
/// What sealing adds to a secret, in bytes.
pub const WING_OVERHEAD: usize = ENCAPSULATED_LEN + TAG_LEN;

/// Randomness from our door, for the library.
struct Door<'a>(&'a dyn Rng);

impl TryRng for Door<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Door<'_> {}

fn refused<E>(_: E) -> EnvelopeError {
    EnvelopeError::Refused
}

fn private(secret: &Locked) -> Result<<XWing as Kem>::PrivateKey, EnvelopeError> {
    Deserializable::from_bytes(secret.bytes()).map_err(refused)
}

/// The public key of a private one, which is 32 random bytes (the draft's seed).
///
/// # Errors
/// [`EnvelopeError::Refused`] never in practice: all 32 bytes are a private key.
pub fn wing_public(secret: &Locked) -> Result<Vec<u8>, EnvelopeError> {
    Ok(XWing::sk_to_pk(&private(secret)?).to_bytes().to_vec())
}

/// Whether bytes are a public key: of the length, and numbers of ML-KEM in their range (FIPS 203, 7.2).
pub fn is_wing_public(public: &[u8]) -> bool {
    <XWing as Kem>::PublicKey::from_bytes(public).is_ok()
}

/// Seals a secret to a public key: what was encapsulated (1,120 bytes), and the ciphertext with its tag.
///
/// # Errors
/// [`EnvelopeError::Refused`] when that is no public key.
pub fn seal_to(public: &[u8], info: &[u8], aad: &[u8], secret: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, EnvelopeError> {
    let public = <XWing as Kem>::PublicKey::from_bytes(public).map_err(refused)?;
    let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        info,
        secret,
        aad,
        &mut Door(rng),
    )
    .map_err(refused)?;
    Ok([encapsulated.to_bytes().as_slice(), &sealed].concat())
}

/// Opens what [`seal_to`] sealed to the public key of this private one, for the same purpose and data.
///
/// # Errors
/// [`EnvelopeError`] when it does not open.
pub fn open_to(secret: &Locked, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (encapsulated, sealed) = sealed.split_at_checked(ENCAPSULATED_LEN).ok_or(EnvelopeError::Truncated)?;
    let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(refused)?;
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        &private(secret)?,
        &encapsulated,
        info,
        sealed,
        aad,
    );
    opened.map(Zeroizing::new).map_err(refused)
}

#[cfg(test)]
mod tests {
    use base::SeededRng;
    use proptest::prelude::*;

    use super::*;

    fn key(first: u8) -> Locked {
        Locked::copy_of(&std::array::from_fn(|i| first.wrapping_add(i as u8)))
    }

    #[test]
    fn a_secret_opens_by_its_key_and_for_its_purpose_only() {
        let rng = SeededRng::new(1);
        let (right, wrong) = (key(1), key(2));
        let public = wing_public(&right).unwrap();
        assert_eq!(public.len(), WING_PUBLIC_LEN);
        assert_ne!(public, wing_public(&wrong).unwrap());
        let sealed = seal_to(&public, b"info", b"aad", b"secret", &rng).unwrap();
        assert_eq!(sealed.len(), WING_OVERHEAD + 6);
        assert_ne!(sealed, seal_to(&public, b"info", b"aad", b"secret", &rng).unwrap());
        assert_eq!(*open_to(&right, b"info", b"aad", &sealed).unwrap(), b"secret");
        // (key, info, aad, what was sealed)
        let table = [
            (&wrong, b"info".as_slice(), b"aad".as_slice(), sealed.clone()),
            (&right, b"infa", b"aad", sealed.clone()),
            (&right, b"info", b"aae", sealed.clone()),
            (&right, b"info", b"aad", sealed[..sealed.len() - 1].to_vec()),
            (&right, b"info", b"aad", [sealed.as_slice(), &[0]].concat()),
            (&right, b"info", b"aad", sealed[..ENCAPSULATED_LEN].to_vec()),
            (&right, b"info", b"aad", sealed[..10].to_vec()),
            (&right, b"info", b"aad", Vec::new()),
        ];
        for (index, (key, info, aad, sealed)) in table.iter().enumerate() {
            assert!(open_to(key, info, aad, sealed).is_err(), "case {index}");
        }
    }

    /// The vector for this suite (0x647a, 1, 3) of draft-ietf-hpke-pq, as its authors' `hpke-pq` writes it: mode base, first
    /// message. Its text is hexadecimal of hexadecimal.
    #[test]
    fn the_drafts_vector_opens() {
        const PRIVATE: &str = "3ec47fa82dd5689d27c6190e724c74ec8f608df3331ce331929e37b829676630";
        const SEALED: &str = concat!(
            "c5c591f99092d5e38df0a52699af249c66f8275a863423c076de8147a53e65cc584041c963b77a7e59ea93841b1339b5efda8909",
            "b71f74bb0073ad62e899de310c1566dea2fd29eba377",
        );
        let secret = Locked::copy_of(&hex::decode(PRIVATE).unwrap().try_into().unwrap());
        let public = hex::encode(wing_public(&secret).unwrap());
        assert!(public.starts_with("f5fb01a5db909ac907ecc9524de9b9eaf4997dac7d22c961267c9644038251605a10"));
        assert!(public.ends_with("8206650c1d2fc9072220e7f4d4f557f15b33dcf32e5c837"));
        let sealed = hex::decode(format!("{ENCAPSULATED}{SEALED}")).unwrap();
        let info =
            hex::decode("34663634363532303666366532303631323034373732363536333639363136653230353537323665").unwrap();
        let opened = open_to(&secret, &info, b"Count-0", &sealed).unwrap();
        let text = hex::decode(opened.as_slice()).unwrap();
        assert_eq!(text, b"Beauty is truth, truth beauty");
        assert!(open_to(&secret, &info, b"Count-1", &sealed).is_err());
    }

    const ENCAPSULATED: &str = concat!(
        "26759c7b22923ea5cc9c78e3e14c8fc62dcb0a66ce44460966978a7fe9685e0c6d22999d99a3f112c307a6d5b2e63591f41e8a35",
        "16ba62908376d664557206e696ae870305ff6ba08125266bc0765672beca90fd5c6dae0d3ddad1506065a9d4f297e0c3e70bb441",
        "961df26d7a19d79d1ef7e2ac5e53b32a3c7b4e07f2af2ae65830a3e8d1cb2ac1932fc19ec5434303b62c9d010645cf95a475913d",
        "a5d77a282b88402e4a77ab17b09559dce8a96c67a27bea8f653ceaca3d278b6ed150fe936dda28b1726665c946cab30363ef89eb",
        "878ffcc74caa277a5dab1994193a67967125ebd50986dc16997b8f7484d7d0e27c79ff4b68201c1b4102f5a73322fd3da96bf655",
        "d90c9b1e6305e01ab1b3449ea3f458b0e98e1f2d1632825c3b30018bb5eefbcc80f767d0b9e7f9f731e1958083879ebcc1b5bb06",
        "1e89302c444a85eeed169b10d2520fd47b6a111914f3bda2f31d04f250522ba951012a629fa2cd2192583cc9abd75d02b7a11fd1",
        "8056c414b8f0e0936535bf9b637c7e614a1ae9b9e907fe9d14243f13625ec92a97599eaa491b9da918b586e27d34c7279205dd76",
        "cf0ecdbf60b5aea4cfb9dca41069f3e2fc8f371a7cf3b089ea469d8417bda3149159992399ccd5baf776a0f8966d4742cbedaeac",
        "131dde853cb1fbb7b869a4c01cea8a487a2e52e757bf4dfcec23995e5f088804d2cf99c82f087454144cc586845d7cf81249e7ad",
        "919ea1b06001ad13501da118ee19859595015b4b1872912dd2d4f5dd854f144ae07038bd8bb2b498f8edcb1c70c2102af768d508",
        "a1b4237238c0c6e34a9c819b0ebf28f49505d374095b2b58c7a810cf1e806cb3c79af3bc84c8b657787804e374df2b49be6ac510",
        "d43024e65fd031540a7cd45c9348ad9f5511b969be6f9c4d849c1428f611225b0d9a3ae341669ba645baa877cdc34c39f5975f49",
        "91a77f86eca2c25ebee63a06928c1bbc9513f35547645e835544c1e4a8f33d7f29c1cfbde6425fa05aeff69f373aa8a281c92817",
        "cbe5be9305795354efc71a89462e87ce83919d679dcbfded88f7fff9177f4b49e8a959d9aa78b63feb99fa56735df0f4fc253653",
        "a9177f767b307bb2a9e7e4d9042f22cc6c4f177db80efaebfef8a3baa6f1423335c830308c2496118263f0bd361d93f8b4e75a7c",
        "ba94c2af72dd13ee8926524cfe9df14f79165a3498b9fd631cbb874d25b11315f9acb442512561cf7dc6098a08874fcc704cdd5e",
        "84e57811a49e78fbd56e5a8e767617321c295095595ea2b0f4aaca30dd38749ab83532be1bdcf4c32a119e035558bb427dbdb806",
        "b4e15cea8df3c098728c2b5e40209c5138531db1b660777544e6a014477a7d1b93eb0f245fe9e7053997c10504ef692f21639c86",
        "d8926ddce6886d0c39eb7c59357ee54f81871019593713f4a6df37bf7003358694cff59af9872ca02bf762e20499227dba2f5522",
        "03459dcc69780ef08d9bab4140d96e1c478f06b63b60c9bfb10d90e31d47570ea949ab8e9b99db6ec2f8a2a77dcb25cc36b733df",
        "c09b8299a9d7b19e68c09ad82703f9b47d34d1a3cbafe42c73f57d0e",
    );

    #[test]
    fn what_is_no_public_key_is_refused() {
        let public = wing_public(&key(1)).unwrap();
        // Twelve bits of 4095 are no number modulo 3329.
        let mut large = public.clone();
        large[..3].fill(0xff);
        let table = [public[..1215].to_vec(), [public.as_slice(), &[0]].concat(), Vec::new(), large];
        assert!(is_wing_public(&public));
        for bytes in table {
            assert!(!is_wing_public(&bytes));
            assert_eq!(seal_to(&bytes, b"", b"", b"", &SeededRng::new(1)), Err(EnvelopeError::Refused));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_flipped_bit_is_refused(at: prop::sample::Index, bit in 0u8..8) {
            let rng = SeededRng::new(2);
            let mut sealed = seal_to(&wing_public(&key(1)).unwrap(), b"i", b"a", &[7; 32], &rng).unwrap();
            let at = at.index(sealed.len());
            // The last bit of X25519's 32 bytes is ignored (RFC 7748, 5); X-Wing's combiner takes all of them all the same.
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(open_to(&key(1), b"i", b"a", &sealed), Err(EnvelopeError::Refused));
        }

        #[test]
        fn no_bytes_make_it_panic(sealed in prop::collection::vec(any::<u8>(), 0..1300)) {
            prop_assert!(open_to(&key(1), b"", b"", &sealed).is_err());
            prop_assert!(seal_to(&sealed, b"", b"", b"", &SeededRng::new(1)).is_err());
        }
    }
}
