//! A shard file of any bytes is refused or read, and never more.
#![no_main]
use erasure::{ShardHeader, check, shard_len};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = ShardHeader::decode(bytes) {
        // What decodes says what it is: written again, it is the same.
        assert_eq!(header.encode()[..], bytes[..erasure::HEADER_LEN]);
    }
    if let Ok(header) = check(bytes) {
        assert_eq!(bytes.len() as u64, shard_len(&header.geometry));
    }
});
