//! How long a day is, and when days are over.

use std::num::NonZeroU64;

/// Milliseconds of a day of UTC, which knows no leap seconds.
const UTC_MS: u64 = 86_400_000;

/// The length of a day that rules count in.
///
/// [`Day::UTC`] outside of tests. An operator's test mode may make a day ten seconds, so that a rule of
/// three days can be watched; midnights are then the multiples of ten seconds since 1970. What a rule
/// names by its date stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(NonZeroU64);

impl Day {
    /// A day of 24 hours.
    pub const UTC: Self = Self(NonZeroU64::new(UTC_MS).expect("a day has a length"));

    /// A day of this many milliseconds.
    pub const fn of_ms(ms: NonZeroU64) -> Self {
        Self(ms)
    }

    /// How long it is.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.get())
    }

    /// The midnight that follows `days` days after `from_ms`.
    ///
    /// "Expiring objects": S3 adds the days and rounds to the next day's midnight. A sum that is
    /// midnight already moves on by a whole day: the next midnight is never the present one, and a day
    /// late is better than a moment early.
    pub(crate) fn after(self, from_ms: u64, days: u32) -> u64 {
        let sum = from_ms.saturating_add(self.0.get().saturating_mul(u64::from(days)));
        (sum - sum % self.0).saturating_add(self.0.get())
    }
}

impl Default for Day {
    fn default() -> Self {
        Self::UTC
    }
}

/// Whether a date is at midnight UTC; of real days, whatever a test mode counts in.
pub(crate) fn is_midnight(ms: i64) -> bool {
    ms.rem_euclid(UTC_MS.cast_signed()) == 0
}
