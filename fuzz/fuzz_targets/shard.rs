//! A shard file of any bytes is refused or read, and never more.
#![no_main]
use erasure::{HEADER_LEN, ShardHeader, TrailerBuilder, check, shard_len};
use libfuzzer_sys::fuzz_target;

/// Where the header's own checksum is (docs/spec/shard.md).
const SUM: usize = HEADER_LEN - 8;

fuzz_target!(|bytes: &[u8]| {
    judge(bytes);
    // Random bytes hardly ever sum up right, so a fuzzer alone would never get past the checksum.
    let Some((fields, _)) = bytes.split_at_checked(SUM) else { return };
    let mut forged = bytes.to_vec();
    let mut sum = TrailerBuilder::new();
    sum.push(fields);
    let sum = sum.finish();
    if let (Some(place), Some(sum)) = (forged.get_mut(SUM..HEADER_LEN), sum.get(..8)) {
        place.copy_from_slice(sum);
        judge(&forged);
    }
});

fn judge(bytes: &[u8]) {
    let header = ShardHeader::decode(bytes);
    if let Ok(header) = header {
        // What decodes says what it is: written again, it is the same.
        assert_eq!(header.encode()[..], bytes[..HEADER_LEN]);
    }
    if let Ok(checked) = check(bytes) {
        assert_eq!(Ok(checked), header);
        assert_eq!(bytes.len() as u64, shard_len(&checked.geometry));
    }
}
