//! Why keys and sealed bytes are refused.

use base::{Classify, ErrorKind};

/// Why something was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes were not made under this key and context, or are not what was made. Which of
    /// these it is cannot be told.
    #[error("the sealed bytes do not open under this key and context")]
    Refused,
    /// The sealed bytes end too early, too late or out of order.
    #[error("the sealed bytes have an impossible length or order")]
    Truncated,
    /// A chunk after the last one, or more chunks than the format counts.
    #[error("the body has ended; no chunk may follow")]
    Ended,
    /// More than is sealed in one piece.
    #[error("a secret of {len} bytes is too long to be sealed in one piece (at most {max}); seal it as a body")]
    TooLong {
        /// Bytes of the secret.
        len: usize,
        /// Most bytes.
        max: usize,
    },
}

impl Classify for EnvelopeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused | Self::Truncated => ErrorKind::Corrupt,
            Self::Ended | Self::TooLong { .. } => ErrorKind::Internal,
        }
    }
}

/// Why shares of a key are not taken. Nothing here tells what a share holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The line does not begin as a share does.
    #[error("this is no share; a share is one line that begins with hfs1-")]
    NotAShare,
    /// A share of a format that this program does not know.
    #[error("this share is of another version; a newer holdfast reads it")]
    Version,
    /// A character that no share has.
    #[error("character {at} after hfs1- is {found:?}; a share has letters and the digits 2 to 7, and no 0, 1, 8 or 9")]
    Letter {
        /// Which, from 1, hyphens and spaces not counted.
        at: usize,
        /// The character.
        found: char,
    },
    /// Too short or too long.
    #[error("this share has {letters} characters after hfs1- and should have {expected}, hyphens not counted")]
    Length {
        /// Characters found.
        letters: usize,
        /// Characters of every share.
        expected: usize,
    },
    /// The check does not hold.
    #[error("this share is mistyped: its check does not hold; compare it with the paper, group by group")]
    Mistyped,
    /// No such division of a key.
    #[error("{threshold} of {count} shares cannot be; it takes at least 2 of at most 16")]
    Impossible {
        /// Shares that would give the key.
        threshold: u8,
        /// Shares in all.
        count: u8,
    },
    /// The shares were not made at once.
    #[error("share {first} is of set {set} and share {other} of set {other_set}; only shares of one set go together")]
    Mixed {
        /// A share.
        first: u8,
        /// Its set.
        set: crate::SetId,
        /// Another share.
        other: u8,
        /// Its set.
        other_set: crate::SetId,
    },
    /// A share came again, or two of a set carry one number.
    #[error("share {number} was given twice; leave one of them out")]
    Twice {
        /// Its number.
        number: u8,
    },
    /// Too few to tell anything.
    #[error("there are {have} shares and it takes {need}; bring more of the same set")]
    TooFew {
        /// Shares given.
        have: u8,
        /// Shares that give the key.
        need: u8,
    },
    /// The others give the key; these do not fit them. Two people who alter their shares together can
    /// make others' look so, and never another key.
    #[error("these shares do not fit the others, which give the key: {}; leave them out", list(numbers))]
    Unfitting {
        /// The numbers of those that do not fit.
        numbers: Vec<u8>,
    },
    /// No `need` of the shares give the key.
    #[error("no {need} of the {have} shares give the key: one or more were altered; bring others of the same set")]
    DoNotFit {
        /// Shares given.
        have: u8,
        /// Shares that give the key.
        need: u8,
    },
    /// The primitive failed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

fn list(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

impl Classify for ShareError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unfitting { .. } | Self::DoNotFit { .. } => ErrorKind::Corrupt,
            Self::Envelope(error) => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }
}
