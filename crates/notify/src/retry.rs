//! How long to wait before a message is sent again.

/// The pause after the first failure, milliseconds.
pub const PAUSE_MIN_MS: u64 = 200;
/// The longest pause, milliseconds.
pub const PAUSE_MAX_MS: u64 = 60_000;

/// The pause after `failures` failures in a row (at least 1), milliseconds: doubling from [`PAUSE_MIN_MS`] to
/// [`PAUSE_MAX_MS`], its second half by `chance` (any number), so that those who failed together do not come
/// back together.
pub fn pause_ms(failures: u32, chance: u64) -> u64 {
    let doublings = failures.saturating_sub(1).min(20);
    let whole = (PAUSE_MIN_MS << doublings).min(PAUSE_MAX_MS);
    let half = whole / 2;
    half + chance % (half + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        // (failures, least, most)
        let table = [(0, 100, 200), (1, 100, 200), (2, 200, 400), (5, 1_600, 3_200), (9, 25_600, 51_200)];
        for (failures, least, most) in table.into_iter().chain([(10, 30_000, 60_000), (u32::MAX, 30_000, 60_000)]) {
            assert_eq!(pause_ms(failures, 0), least, "{failures}");
            assert_eq!(pause_ms(failures, most - least), most, "{failures}");
            for chance in [1, 77, u64::MAX] {
                assert!((least..=most).contains(&pause_ms(failures, chance)), "{failures} {chance}");
            }
        }
    }
}
