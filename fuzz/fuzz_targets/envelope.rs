//! Sealed bytes of any kind do not open under a key that did not seal them.
#![no_main]
use envelope::{BodyHeader, Dek, Kek, Opener, Sealer, WrappedKey, open_small};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(open_small(&Kek::from_bytes([7; 32]), b"fuzz", bytes).is_err());
    if let Some((header, rest)) = bytes.split_first_chunk::<56>() {
        assert!(Opener::new(&Dek::from_bytes([7; 32]), &BodyHeader(*header), rest).is_err());
    }
    if let Some((wrapped, context)) = bytes.split_first_chunk::<40>() {
        assert!(Kek::from_bytes([7; 32]).unwrap_dek(context, &WrappedKey(*wrapped)).is_err());
    }
    // With a good header: chunks of any length and number.
    if let Some((index, chunk)) = bytes.split_first_chunk::<8>() {
        let dek = Dek::from_bytes([7; 32]);
        let (_, header) = Sealer::new(&dek, b"fuzz", &base::SeededRng::new(7));
        let opener = Opener::new(&dek, &header, b"fuzz").expect("the header just made");
        let mut out = vec![0; chunk.len().saturating_sub(16)];
        for last in [false, true] {
            assert!(opener.open_chunk(u64::from_be_bytes(*index), last, chunk, &mut out).is_err());
        }
    }
});
