//! Shares as people keep them: `hfs1-` and 24 groups of four letters, in base32 (RFC 4648, lower case).

use aws_lc_rs::digest::{SHA512, digest};
use zeroize::Zeroizing;

use crate::ShareError;
use crate::key::KEY_LEN;
use crate::shamir::{COMMITMENT_LEN, SET_LEN, SetId};

/// Every share of this format begins so.
const PREFIX: &str = "hfs1";
/// What all formats begin with.
const FAMILY: &str = "hfs";
#[cfg(test)]
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Letters in a group: as many as one keeps in mind from paper to keyboard.
const GROUP: usize = 4;
/// Bytes of the check: one mistake in four thousand million is missed.
const CHECK_LEN: usize = 4;
/// Bytes that the check is of.
const CHECKED: usize = SET_LEN + 3 + COMMITMENT_LEN + KEY_LEN;
/// Bytes of a share: a multiple of five, so that there is one text for each.
const SHARE_LEN: usize = CHECKED + CHECK_LEN;
/// Letters of a share.
const LETTERS: usize = SHARE_LEN / 5 * 8;
const _: () = assert!(SHARE_LEN.is_multiple_of(5) && LETTERS.is_multiple_of(GROUP));

/// What a share says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) set: SetId,
    pub(crate) threshold: u8,
    pub(crate) count: u8,
    pub(crate) number: u8,
    pub(crate) commitment: [u8; COMMITMENT_LEN],
    pub(crate) value: Zeroizing<[u8; KEY_LEN]>,
}

impl Fields {
    fn to_bytes(&self) -> Zeroizing<[u8; SHARE_LEN]> {
        let mut bytes = Zeroizing::new([0; SHARE_LEN]);
        let numbers = [self.threshold, self.count, self.number];
        let fields: [&[u8]; 4] = [&self.set.0, &numbers, &self.commitment, self.value.as_ref()];
        let mut at = 0;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        let check = check(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&check);
        bytes
    }

    fn from_bytes(bytes: &[u8; SHARE_LEN]) -> Option<Self> {
        let (set, rest) = bytes.split_first_chunk()?;
        let ([threshold, count, number], rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        (rest == check(&bytes[..CHECKED])).then(|| Self {
            set: SetId(*set),
            threshold: *threshold,
            count: *count,
            number: *number,
            commitment: *commitment,
            value: Zeroizing::new(*value),
        })
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut message = Zeroizing::new(Vec::with_capacity(64 + bytes.len()));
    message.extend_from_slice(b"holdfast/share/v1");
    message.extend_from_slice(bytes);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&digest(&SHA512, &message).as_ref()[..CHECK_LEN]);
    check
}

pub(crate) fn write(fields: &Fields) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + LETTERS + LETTERS / GROUP));
    text.push_str(PREFIX);
    text.push('-');
    push_groups(&mut text, fields.to_bytes().as_ref());
    text
}

/// Base32 in groups, of bytes that are no secret.
pub(crate) fn groups(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_groups(&mut text, bytes);
    text
}

/// Five bytes are eight letters; all that is written here has a multiple of five.
fn push_groups(text: &mut String, bytes: &[u8]) {
    let mut written = 0;
    for five in bytes.chunks(5) {
        let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for letter in (0..8).rev() {
            if written > 0 && written % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(letter_of((bits >> (5 * letter)) as u8 & 31)));
            written += 1;
        }
    }
}

/// The letter of five bits, by comparison: a table would be read at a secret place.
fn letter_of(bits: u8) -> u8 {
    // All ones from 26 on, where digits follow letters.
    let digit = (25u8.wrapping_sub(bits) >> 7).wrapping_neg();
    (b'a' + bits) & !digit | (b'2'.wrapping_add(bits).wrapping_sub(26)) & digit
}

/// The five bits of a letter, by comparison as well. Only that a character is none shows.
fn bits_of(letter: u8) -> Option<u8> {
    let (is_letter, is_digit) = (between(letter, b'a', b'z'), between(letter, b'2', b'7'));
    let bits = letter.wrapping_sub(b'a') & is_letter | letter.wrapping_sub(b'2').wrapping_add(26) & is_digit;
    (is_letter | is_digit != 0).then_some(bits)
}

/// All ones when the byte is in the range, else zero.
fn between(byte: u8, first: u8, last: u8) -> u8 {
    let [byte, first, last] = [byte, first, last].map(u16::from);
    let inside = (first - 1).wrapping_sub(byte) & byte.wrapping_sub(last + 1);
    (inside >> 8) as u8
}

pub(crate) fn read(line: &str) -> Result<Fields, ShareError> {
    let line = line.trim();
    let (prefix, rest) = line.split_once('-').ok_or(ShareError::NotAShare)?;
    let prefix = prefix.trim();
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        let other = prefix.get(..FAMILY.len()).is_some_and(|family| family.eq_ignore_ascii_case(FAMILY));
        return Err(if other { ShareError::Version } else { ShareError::NotAShare });
    }
    let mut bytes = Zeroizing::new([0; SHARE_LEN]);
    let (mut bits, mut letters) = (Zeroizing::new(0u64), 0);
    for letter in rest.chars().filter(|letter| *letter != '-' && !letter.is_whitespace()) {
        letters += 1;
        let found = u8::try_from(letter.to_ascii_lowercase()).ok().and_then(bits_of);
        let found = found.ok_or(ShareError::Letter { at: letters, found: letter })?;
        *bits = *bits << 5 | u64::from(found);
        if letters % 8 == 0 && letters <= LETTERS {
            let at = letters / 8 * 5;
            bytes[at - 5..at].copy_from_slice(&bits.to_be_bytes()[3..]);
            *bits = 0;
        }
    }
    if letters != LETTERS {
        return Err(ShareError::Length { letters, expected: LETTERS });
    }
    Fields::from_bytes(&bytes).ok_or(ShareError::Mistyped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_the_alphabet() {
        for (bits, letter) in (0..).zip(ALPHABET) {
            assert_eq!(letter_of(bits), *letter);
            assert_eq!(bits_of(*letter), Some(bits));
        }
        assert_eq!((0..=u8::MAX).filter(|letter| bits_of(*letter).is_some()).count(), ALPHABET.len());
    }

    /// RFC 4648, section 10; the test without padding.
    #[test]
    fn base32_is_the_standards() {
        assert_eq!(groups(b"fooba"), "mzxw-6ytb");
    }
}
