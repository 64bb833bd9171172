//! Pieces of any range of any geometry lie inside their column, one after the other, and cover the
//! range; a geometry that is not valid has none.
#![no_main]
use erasure::Geometry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u32, u32, u64, u64)| {
    let (len, unit, align, from, to) = input;
    let geometry = Geometry { len, unit, align };
    let wanted = to.min(len).saturating_sub(from);
    let mut covered = 0;
    let mut cut_short = false;
    for (count, piece) in geometry.locate(from..to).enumerate() {
        assert!(piece.column < 3 && piece.len > 0 && piece.len <= unit);
        assert!(piece.column_offset + u64::from(piece.len) <= geometry.column_len());
        covered += u64::from(piece.len);
        // A bound on work, not on validity: a tiny unit cuts a huge range into many pieces.
        if count == 10_000 {
            cut_short = true;
            break;
        }
    }
    assert!(covered <= wanted);
    assert!(cut_short || covered == if geometry.is_valid() { wanted } else { 0 });
});
