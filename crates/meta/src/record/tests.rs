//! Keys and values: what survives, what is refused.

use base::{BucketId, SeededRng, UploadId};

use super::*;

#[test]
fn upload_keys_survive_any_name() {
    let rng = SeededRng::new(7);
    let (bucket, upload) = (BucketId::random(&rng), UploadId::random(&rng));
    for name in ["a", "", "a\0b", "\0\0", "a\0", "é/ü", "a\u{ff}"] {
        let key = key::upload_key(bucket, name, upload);
        assert_eq!(key::upload_of(&key), Ok((name.to_owned(), upload)), "{name:?}");
    }
}

/// `a` must not list the uploads of `a\0…` or of `ab`.
#[test]
fn uploads_of_one_name_only() {
    let rng = SeededRng::new(8);
    let (bucket, upload) = (BucketId::random(&rng), UploadId::random(&rng));
    let (from, to) = key::uploads_of_key(bucket, "a");
    for (name, inside) in [("a", true), ("ab", false), ("a\0", false), ("a\0\0", false), ("", false)] {
        let key = key::upload_key(bucket, name, upload);
        assert_eq!(key >= from && key < to, inside, "{name:?}");
    }
}

#[test]
fn a_newer_record_is_named_as_such() {
    let mut bytes = DropRecord { dropped_ms: 1 }.encode().to_vec();
    bytes[0] = 2;
    assert_eq!(DropRecord::decode(&bytes), Err(RecordError::Newer { record: "drop", found: 2, known: 1 }));
}

#[test]
fn trailing_and_missing_bytes_are_corrupt() {
    let whole = DropRecord { dropped_ms: 77_777 }.encode().to_vec();
    let corrupt = Err(RecordError::Corrupt { record: "drop" });
    assert_eq!(DropRecord::decode(&whole[..whole.len() - 1]), corrupt);
    assert_eq!(DropRecord::decode(&[whole.clone(), vec![0]].concat()), corrupt);
    assert_eq!(DropRecord::decode(&[]), corrupt);
}

/// A unit of 0 would be divided by, a part outside its blob would be read for ever.
#[test]
fn numbers_that_make_no_sense_are_corrupt() {
    let rng = SeededRng::new(9);
    let blob = base::BlobId::random(&rng);
    let good = DataRecord { refs: 1, blob, offset: 10, len: 90, blob_len: 100, segment: 100, unit: 64, align: 64 };
    assert_eq!(DataRecord::decode(&good.encode()), Ok(good.clone()));
    let bad = [
        DataRecord { unit: 0, ..good.clone() },
        DataRecord { align: 0, ..good.clone() },
        DataRecord { unit: 65, ..good.clone() },
        DataRecord { segment: 0, ..good.clone() },
        DataRecord { len: 91, ..good.clone() },
        DataRecord { offset: u64::MAX, ..good.clone() },
        DataRecord { blob_len: u64::MAX, ..good.clone() },
    ];
    for record in bad {
        assert_eq!(DataRecord::decode(&record.encode()), Err(RecordError::Corrupt { record: "data" }), "{record:?}");
    }
}

/// What version 1 wrote, byte for byte: before SSE-KMS and SSE-C.
#[test]
fn version_1_is_read() {
    let object = "01\
        0102030405060708090a0b0c0d0e0f10e80701e90703026162010c636f6e74656e742d7479706503782f79000000000000";
    let object = ObjectRecord::decode(&unhex(object)).unwrap();
    assert_eq!((object.order, object.size, object.etag.as_str()), (1000, 3, "ab"));
    assert_eq!((object.headers["content-type"].as_str(), object.body), ("x/y", Body::Empty));
    assert_eq!(object.encryption, Encryption::Bucket);
    let upload = UploadRecord::decode(&unhex("01e80704726f6f74000000000000 01")).unwrap();
    assert_eq!((upload.owner.as_str(), upload.staging, upload.encryption), ("root", true, Encryption::Bucket));
    let state = BucketState::decode(&unhex("01010100")).unwrap();
    let expected = BucketState { versioning: Versioning::Enabled, object_lock: true, ..BucketState::default() };
    assert_eq!(state, expected);
    assert!(BucketState::decode(&unhex("0101010000")).is_err());
    assert!(BucketState::decode(&unhex("02010100")).is_err());
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn events_lie_by_target_and_sequence() {
    let (from, to) = key::events_of("a");
    for (target, sequence, inside) in
        [("a", 0, true), ("a", u64::MAX, true), ("a-b", 1, false), ("ab", 1, false), ("b", 1, false)]
    {
        let row_key = key::event_key(target, sequence);
        assert_eq!(key::event_of(&row_key), Some((target, sequence)));
        assert_eq!(row_key >= from && row_key < to, inside, "{target}");
    }
    assert!(key::event_key("a", 255) < key::event_key("a", 256));
    for bad in [&b"e/"[..], b"e/a1234567", b"q/a\x001234567", b"e/\xff\x0012345678"] {
        assert_eq!(key::event_of(bad), None, "{bad:?}");
    }
}
