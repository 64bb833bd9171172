//! On what terms a `permit` releases: its annotations.

use std::num::NonZeroU64;

/// How long an approval counts where `@valid` says nothing: 8 hours, a shift.
const VALID_MS: u64 = 8 * 3_600_000;
/// Longest `@after` and `@valid`: 30 days.
const DURATION_MAX_MS: u64 = 30 * 24 * 3_600_000;
/// Most people whose approval can be asked for.
const APPROVALS_MAX: u8 = 9;

/// The terms of a release. The default: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The release waits, for people or for time.
    pub pend: Option<Pend>,
    /// How much may be opened in an hour.
    pub budget: Budget,
    /// Whether the release is in the audit log before anything is opened (`@record("first")`).
    pub record_first: bool,
}

/// A release that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pend {
    /// People who must approve (`@approvals("2")`); 0: none, it waits for time alone.
    pub approvals: u8,
    /// Groups, of each of which an approver must be a member (`@approvers("security")`).
    pub approvers: Vec<String>,
    /// Milliseconds after which it is released though not all have approved (`@after("30m")`).
    pub after_ms: Option<u64>,
    /// Milliseconds that pass in any case, whoever approved before: what a permit that waits for time alone asks for
    /// where another one that holds asks for people. 0: none.
    pub floor_ms: u64,
    /// Milliseconds for which it is released then (`@valid("8h")`).
    pub valid_ms: u64,
}

/// What a principal may open in an hour of the clock, over all portions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Portions (`@portions("10")`).
    pub portions: Option<NonZeroU64>,
    /// Objects, or messages of the KMS API (`@objects("1000")`).
    pub objects: Option<NonZeroU64>,
    /// Bytes (`@bytes("10GiB")`).
    pub bytes: Option<NonZeroU64>,
    /// Whether what goes beyond waits for one approval (`@over("pend")`) instead of being refused (`@over("refuse")`).
    pub step_up: bool,
}

impl Budget {
    /// Whether there is a limit at all.
    pub fn is_limited(&self) -> bool {
        self.portions.or(self.objects).or(self.bytes).is_some()
    }
}

/// The smaller limit.
fn least(one: Option<NonZeroU64>, other: Option<NonZeroU64>) -> Option<NonZeroU64> {
    one.into_iter().chain(other).min()
}

impl Terms {
    /// What two permits that both hold ask for: whatever either does.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        // Where only one has a budget, that one says what becomes of what goes beyond.
        let step_up = match (self.budget.is_limited(), other.budget.is_limited()) {
            (true, true) => self.budget.step_up && other.budget.step_up,
            (true, false) => self.budget.step_up,
            (false, _) => other.budget.step_up,
        };
        let budget = Budget {
            portions: least(self.budget.portions, other.budget.portions),
            objects: least(self.budget.objects, other.budget.objects),
            bytes: least(self.budget.bytes, other.budget.bytes),
            step_up,
        };
        let pend = match (self.pend, other.pend) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
        Self { pend, budget, record_first: self.record_first || other.record_first }
    }

    /// The terms that annotations say: name and value of each.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn of<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut terms = Self::default();
        let (mut approvals, mut approvers, mut after, mut valid, mut over) = (None, None, None, None, None);
        for (name, value) in annotations {
            let wrong = |what: &str| format!("@{name}(\"{value}\"): {what}");
            match name {
                "id" | "description" => {}
                "approvals" => {
                    let count = value.parse::<u8>().ok().filter(|count| (1..=APPROVALS_MAX).contains(count));
                    approvals = Some(count.ok_or_else(|| wrong("1 to 9 people"))?);
                }
                "approvers" if !value.is_empty() => approvers = Some(value.to_owned()),
                "approvers" => return Err(wrong("the name of a group")),
                "after" => {
                    after = Some(duration(value).ok_or_else(|| wrong("a time like 30m, 8h or 2d, at most 30d"))?)
                }
                "valid" => {
                    valid = Some(duration(value).ok_or_else(|| wrong("a time like 30m, 8h or 2d, at most 30d"))?)
                }
                "portions" => terms.budget.portions = Some(count(value).ok_or_else(|| wrong("a number from 1"))?),
                "objects" => terms.budget.objects = Some(count(value).ok_or_else(|| wrong("a number from 1"))?),
                "bytes" => {
                    terms.budget.bytes = Some(size(value).ok_or_else(|| wrong("a size like 500MiB or 10GiB"))?);
                }
                "over" => over = Some(matches_word(value, "pend", "refuse").ok_or_else(|| wrong("pend or refuse"))?),
                "record" if value == "first" => terms.record_first = true,
                "record" => return Err(wrong("it can be \"first\"")),
                _ => {
                    return Err(format!(
                        "@{name} is not known; there are id, description, approvals, approvers, after, valid, portions, \
                         objects, bytes, over and record"
                    ));
                }
            }
        }
        if over.is_some() && !terms.budget.is_limited() {
            return Err("@over needs @portions, @objects or @bytes beside it".to_owned());
        }
        terms.budget.step_up = over.unwrap_or(false);
        terms.pend = match (approvals, after) {
            (None, None) if approvers.is_some() || valid.is_some() => {
                return Err("@approvers and @valid need @approvals or @after beside them".to_owned());
            }
            (None, None) => None,
            (None, Some(_)) if approvers.is_some() => {
                return Err("@approvers needs @approvals beside it".to_owned());
            }
            (approvals, after_ms) => Some(Pend {
                approvals: approvals.unwrap_or(0),
                approvers: approvers.into_iter().collect(),
                after_ms,
                floor_ms: 0,
                valid_ms: valid.unwrap_or(VALID_MS),
            }),
        };
        Ok(terms)
    }
}

impl Pend {
    fn and(self, other: Self) -> Self {
        let (floor_of_one, floor_of_other) = (self.floor(), other.floor());
        let mut approvers = self.approvers;
        approvers.extend(other.approvers);
        approvers.sort();
        approvers.dedup();
        // Time alone releases only what time alone would release by both.
        let after_ms = match (self.after_ms, other.after_ms) {
            (Some(one), Some(other)) => Some(one.max(other)),
            _ => None,
        };
        let approvals = self.approvals.max(other.approvals);
        // One of the two waits for time alone: people do not shorten that.
        let floor_ms = if approvals == 0 { 0 } else { floor_of_one.max(floor_of_other) };
        Self { approvals, approvers, after_ms, floor_ms, valid_ms: self.valid_ms.min(other.valid_ms) }
    }

    /// What passes in any case, once others ask for people.
    fn floor(&self) -> u64 {
        if self.approvals == 0 { self.after_ms.unwrap_or_default() } else { self.floor_ms }
    }
}

fn matches_word(value: &str, yes: &str, no: &str) -> Option<bool> {
    if value == yes { Some(true) } else { (value == no).then_some(false) }
}

fn count(text: &str) -> Option<NonZeroU64> {
    text.parse().ok()
}

/// The number before a unit, and the unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..at].parse().ok()?, &text[at..]))
}

fn duration(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).filter(|ms| (1..=DURATION_MAX_MS).contains(ms))
}

fn size(text: &str) -> Option<NonZeroU64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor).and_then(NonZeroU64::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600_000;

    fn pend(annotations: &[(&str, &str)]) -> Terms {
        Terms::of(annotations.iter().copied()).unwrap()
    }

    #[test]
    fn people_do_not_shorten_a_wait_for_time_alone() {
        let day = || pend(&[("after", "1d"), ("valid", "1h")]);
        let two_days = || pend(&[("after", "2d"), ("valid", "1h")]);
        let one = || pend(&[("approvals", "1"), ("valid", "1h")]);
        let soon = || pend(&[("approvals", "2"), ("after", "30m"), ("valid", "1h")]);
        // all that hold: approvals, when time alone decides, what passes in any case
        let rows = [
            (vec![day(), two_days()], (0, Some(2 * DAY), 0)),
            (vec![day(), one()], (1, None, DAY)),
            (vec![one(), soon()], (2, None, 0)),
            (vec![day(), soon()], (2, Some(DAY), DAY)),
            (vec![day(), one(), two_days()], (1, None, 2 * DAY)),
            (vec![day(), two_days(), soon()], (2, Some(2 * DAY), 2 * DAY)),
        ];
        for (all, (approvals, after_ms, floor_ms)) in rows {
            let approvers = Vec::new();
            let expected = Pend { approvals, approvers, after_ms, floor_ms, valid_ms: 3_600_000 };
            let forth = all.iter().cloned().reduce(Terms::and).unwrap();
            let back = all.iter().rev().cloned().reduce(Terms::and).unwrap();
            assert_eq!(forth.pend, Some(expected), "{all:?}");
            assert_eq!(forth, back, "whichever comes first");
        }
    }
}
