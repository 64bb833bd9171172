//! A key in shares: any `threshold` of them give it back, fewer tell nothing about it (Shamir's
//! scheme, byte by byte over the field of AES).
//!
//! Shares are for people: each has a text of one line that can be printed and typed. What is wrong
//! with shares is told by name before any are combined. The format is `docs/spec/root.md`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::Rng;
use zeroize::Zeroizing;

use crate::key::KEY_LEN;
use crate::points::{at, choices, draw, value_at};
use crate::text::{self, Fields};
use crate::{Kek, ShareError};

/// Most shares of a key. Sixteen people are more than a root key has; it bounds the search for altered
/// shares at 12,870 choices.
pub const SHARES_MAX: u8 = 16;
/// Fewest shares that may give the key: with one, each share is the key.
pub const THRESHOLD_MIN: u8 = 2;
/// Bytes that name a set: eight letters, which people compare.
pub(crate) const SET_LEN: usize = 5;
/// Bytes of the commitment: nobody finds another key with the same one.
pub(crate) const COMMITMENT_LEN: usize = 16;

/// The name of all shares that were made at once. Printed as they begin: `abcd-efgh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetId(pub(crate) [u8; SET_LEN]);

impl std::fmt::Display for SetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text::groups(&self.0))
    }
}

/// One share. Cannot be printed by accident; zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Share(pub(crate) Fields);

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} of set {})", self.number(), self.set())
    }
}

impl Share {
    /// The set it belongs to.
    pub fn set(&self) -> SetId {
        self.0.set
    }

    /// How many shares give the key.
    pub fn threshold(&self) -> u8 {
        self.0.threshold
    }

    /// How many shares the set has.
    pub fn count(&self) -> u8 {
        self.0.count
    }

    /// Which of the set it is, from 1.
    pub fn number(&self) -> u8 {
        self.0.number
    }

    /// The line that a person keeps.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::write(&self.0)
    }

    /// Reads a line that a person typed. Case, spaces and hyphens do not count.
    ///
    /// # Errors
    /// [`ShareError`] that says what is wrong with the line.
    pub fn from_text(line: &str) -> Result<Self, ShareError> {
        let fields = text::read(line)?;
        possible(fields.threshold, fields.count)?;
        if fields.number == 0 || fields.number > fields.count {
            return Err(ShareError::Impossible { threshold: fields.threshold, count: fields.count });
        }
        Ok(Self(fields))
    }

    /// Whether two shares were made at once. The name of a set is short: what else they have in common counts too.
    fn goes_with(&self, other: &Self) -> bool {
        let common = |share: &Self| (share.0.set, share.0.threshold, share.0.count, share.0.commitment);
        common(self) == common(other)
    }
}

pub(crate) fn possible(threshold: u8, count: u8) -> Result<(), ShareError> {
    if (THRESHOLD_MIN..=count).contains(&threshold) && count <= SHARES_MAX {
        Ok(())
    } else {
        Err(ShareError::Impossible { threshold, count })
    }
}

/// Cuts a key into `count` shares, any `threshold` of which give it back.
///
/// # Errors
/// [`ShareError::Impossible`] for other than 2 <= threshold <= count <= 16. [`ShareError::Envelope`] never in
/// practice.
pub fn split(key: &[u8; KEY_LEN], threshold: u8, count: u8, rng: &dyn Rng) -> Result<Vec<Share>, ShareError> {
    possible(threshold, count)?;
    let mut set = SetId([0; SET_LEN]);
    rng.fill(&mut set.0);
    let coefficients = draw(key, threshold, rng);
    let commitment = commitment(key, set, threshold, count)?;
    let share = |number| {
        let value = at(&coefficients, number);
        Share(Fields { set, threshold, count, number, commitment, value })
    };
    Ok((1..=count).map(share).collect())
}

/// Gives the key of which these are shares. All that are given must fit; more than are needed tell
/// which of them does not.
///
/// # Errors
/// [`ShareError`] that names what is wrong.
pub fn combine(shares: &[Share]) -> Result<Zeroizing<[u8; KEY_LEN]>, ShareError> {
    let first = shares.first().ok_or(ShareError::TooFew { have: 0, need: THRESHOLD_MIN })?;
    for (at, share) in shares.iter().enumerate() {
        if !share.goes_with(first) {
            let sets = [first, share].map(|of| (of.number(), of.set()));
            return Err(ShareError::Mixed { first: sets[0].0, set: sets[0].1, other: sets[1].0, other_set: sets[1].1 });
        }
        if shares[..at].iter().any(|before| before.number() == share.number()) {
            return Err(ShareError::Twice { number: share.number() });
        }
    }
    let need = usize::from(first.threshold());
    if shares.len() < need {
        return Err(ShareError::TooFew { have: shares.len() as u8, need: first.threshold() });
    }
    for chosen in choices(shares.len(), need) {
        let chosen: Vec<_> = chosen.iter().map(|at| (shares[*at].number(), &*shares[*at].0.value)).collect();
        let key = value_at(&chosen, 0);
        let found = commitment(&key, first.set(), first.threshold(), first.count())?;
        if verify_slices_are_equal(&found, &first.0.commitment).is_err() {
            continue;
        }
        let fits = |share: &Share| {
            let there = value_at(&chosen, share.number());
            verify_slices_are_equal(there.as_ref(), share.0.value.as_ref()).is_ok()
        };
        let unfitting: Vec<u8> = shares.iter().filter(|share| !fits(share)).map(Share::number).collect();
        return if unfitting.is_empty() { Ok(key) } else { Err(ShareError::Unfitting { numbers: unfitting }) };
    }
    Err(ShareError::DoNotFit { have: shares.len() as u8, need: first.threshold() })
}

/// What tells the key from others, and nothing else about it.
fn commitment(key: &[u8; KEY_LEN], set: SetId, threshold: u8, count: u8) -> Result<[u8; COMMITMENT_LEN], ShareError> {
    let context = [b"shares/1".as_slice(), &set.0, &[threshold, count]].concat();
    let verifier = Kek::from_bytes(*key).verifier(&context)?;
    let mut commitment = [0; COMMITMENT_LEN];
    commitment.copy_from_slice(&verifier[..COMMITMENT_LEN]);
    Ok(commitment)
}

#[cfg(test)]
mod tests;
