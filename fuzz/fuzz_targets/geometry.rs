//! Pieces of any range of any geometry lie inside their column and cover the range.
#![no_main]
use erasure::Geometry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, u16, u8, u32, u32)| {
    let (len, unit, align, from, to) = input;
    let align = u32::from(align).max(1);
    let geometry = Geometry { len: u64::from(len), unit: u32::from(unit).max(1).next_multiple_of(align), align };
    let mut covered = 0;
    // A bound on work, not on validity: a tiny unit cuts a huge range into many pieces.
    for piece in geometry.locate(u64::from(from)..u64::from(to)).take(10_000) {
        assert!(piece.column < 3 && piece.len > 0);
        assert!(piece.column_offset + u64::from(piece.len) <= geometry.column_len());
        covered += u64::from(piece.len);
    }
    assert!(covered <= u64::from(to).saturating_sub(u64::from(from)));
});
