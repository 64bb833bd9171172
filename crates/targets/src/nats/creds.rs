//! Credentials files of NATS: a JWT, and the seed of the key that it is for.
//!
//! A seed is base32 (RFC 4648, no padding) of two bytes that say what it is, 32 bytes of an Ed25519 seed, and a
//! CRC-16 (XMODEM, little endian) of all before it (NATS ADR-14 and `nkeys`).

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Two bytes, a seed, a checksum.
const SEED_LEN: usize = 36;

/// A JWT, and what signs for it.
pub struct Creds {
    jwt: String,
    key: Ed25519KeyPair,
}

/// Why a text is no credentials file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredsError {
    /// A block is missing.
    #[error("it has no block {0}; is it a .creds file of a NATS user?")]
    Block(&'static str),
    /// The seed is damaged, or not a user's.
    #[error("its seed is damaged or not that of a user")]
    Seed,
}

impl Creds {
    /// Reads the text of a `.creds` file.
    ///
    /// # Errors
    /// [`CredsError`].
    pub fn parse(text: &str) -> Result<Self, CredsError> {
        let jwt = block(text, "NATS USER JWT").ok_or(CredsError::Block("NATS USER JWT"))?;
        let seed = block(text, "USER NKEY SEED").ok_or(CredsError::Block("USER NKEY SEED"))?;
        let seed = user_seed(seed).ok_or(CredsError::Seed)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| CredsError::Seed)?;
        Ok(Self { jwt: jwt.to_owned(), key })
    }

    pub(super) fn jwt(&self) -> &str {
        &self.jwt
    }

    /// The signature of what the server asks to sign, as CONNECT has it.
    pub(super) fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(nonce.as_bytes()).as_ref())
    }
}

/// The line below `-----BEGIN <name>-----`.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("BEGIN {name}");
    let mut lines = text.lines().skip_while(|line| !(line.starts_with("---") && line.contains(&begin)));
    lines.nth(1).map(str::trim).filter(|line| !line.is_empty())
}

fn user_seed(text: &str) -> Option<[u8; 32]> {
    let bytes = base32(text)?;
    let (body, sum) = bytes.split_last_chunk::<2>()?;
    // `S` for a seed, `U` for a user's, spread over 5 bits each.
    let is_user = bytes.len() == SEED_LEN && text.starts_with("SU");
    if !is_user || crc16(body) != u16::from_le_bytes(*sum) {
        return None;
    }
    body.get(2..)?.try_into().ok()
}

fn base32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(SEED_LEN);
    let (mut held, mut bits) = (0u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        held = (held << 5 | u32::from(digit)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
    }
    Some(out)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(bytes: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        let digit = |bits: &[u8]| (0..5).fold(0, |digit, i| digit << 1 | bits.get(i).copied().unwrap_or(0));
        bits.chunks(5).map(|bits| char::from(alphabet[usize::from(digit(bits))])).collect()
    }

    fn seed(prefix: [u8; 2]) -> String {
        let mut bytes = [&prefix[..], &[7; 32]].concat();
        let sum = crc16(&bytes);
        bytes.extend(sum.to_le_bytes());
        encode(&bytes)
    }

    fn file(seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn checksums() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn files() {
        // 18 << 3 says seed; 20 << 3 says user, and is split over the bytes.
        let user = [18 << 3 | 20 >> 2, (20 & 3) << 6];
        let account = [18 << 3, 0];
        let creds = Creds::parse(&file(&seed(user))).unwrap_or_else(|error| panic!("{error}"));
        let expected = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().sign(b"nonce");
        assert_eq!((creds.jwt(), creds.sign("nonce")), ("abc.def", URL_SAFE_NO_PAD.encode(expected)));
        let mut damaged = seed(user);
        damaged.replace_range(20..21, if &damaged[20..21] == "A" { "B" } else { "A" });
        let table = [
            (file(&damaged), CredsError::Seed),
            (file(&seed(account)), CredsError::Seed),
            (file("SU"), CredsError::Seed),
            (file("su!"), CredsError::Seed),
            (file(""), CredsError::Block("USER NKEY SEED")),
            ("token".to_owned(), CredsError::Block("NATS USER JWT")),
        ];
        for (text, expected) in table {
            assert_eq!(Creds::parse(&text).err(), Some(expected), "{text}");
        }
    }
}
