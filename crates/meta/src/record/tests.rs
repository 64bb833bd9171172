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
