//! Grant tokens: the name of a grant, as CreateGrant tells it.
//!
//! `HFG1`, the key's id (16), the grant's id (32) and 16 random bytes, in base64. Since a grant counts from its commit on, a
//! token adds nothing to it and is no secret; RetireGrant takes it for the grant's name.

use base::{PortionId, Rng};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta::record::KeyGrantId;

use crate::error::{Code, Fault};

const MAGIC: &[u8] = b"HFG1";
/// Bytes that make each token another one, as AWS's are.
const NONCE: usize = 16;
/// Characters of a token (AWS KMS).
const TOKEN_MAX: usize = 8_192;

/// A token for a grant.
pub(crate) fn token(portion: PortionId, grant: KeyGrantId, rng: &dyn Rng) -> String {
    let mut nonce = [0; NONCE];
    rng.fill(&mut nonce);
    STANDARD.encode([MAGIC, portion.as_bytes(), &grant.0, &nonce].concat())
}

/// The grant that a token names.
///
/// # Errors
/// `InvalidGrantTokenException`.
pub(crate) fn grant_of(token: &str) -> Result<(PortionId, KeyGrantId), Fault> {
    let invalid = || Fault::new(Code::InvalidGrantToken, "the grant token is invalid");
    let bytes = Some(token).filter(|token| token.len() <= TOKEN_MAX).and_then(|token| STANDARD.decode(token).ok());
    let bytes = bytes.ok_or_else(invalid)?;
    let parse = || {
        let (portion, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
        let (grant, nonce) = rest.split_first_chunk::<32>()?;
        (nonce.len() == NONCE).then_some((PortionId::from_bytes(*portion), KeyGrantId(*grant)))
    };
    parse().ok_or_else(invalid)
}

/// The id of a grant as text: 64 hexadecimal digits in lower case.
///
/// # Errors
/// `InvalidGrantIdException`.
pub(crate) fn parse_grant_id(text: &str) -> Result<KeyGrantId, Fault> {
    let mut id = [0; 32];
    let fine = !text.bytes().any(|byte| byte.is_ascii_uppercase()) && hex::decode_to_slice(text, &mut id).is_ok();
    let invalid = || Fault::new(Code::InvalidGrantId, format!("Invalid grant ID {}", text.escape_debug()));
    fine.then_some(KeyGrantId(id)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    #[test]
    fn tokens_name_grants() {
        let rng = SeededRng::new(1);
        let (portion, grant) = (PortionId::random(&rng), KeyGrantId([7; 32]));
        let made = token(portion, grant, &rng);
        assert_ne!(made, token(portion, grant, &rng));
        assert_eq!(grant_of(&made).unwrap(), (portion, grant));
        let short = STANDARD.encode(&STANDARD.decode(&made).unwrap()[..67]);
        for bad in ["", "x", "é", &made[4..], &short, &"A".repeat(TOKEN_MAX + 4)] {
            assert_eq!(grant_of(bad).unwrap_err().code, Code::InvalidGrantToken, "{bad}");
        }
        assert_eq!(parse_grant_id(&grant.to_string()).unwrap(), grant);
        for bad in ["", "0", &"0".repeat(62), &"AA".repeat(32), &"0".repeat(66)] {
            assert_eq!(parse_grant_id(bad).unwrap_err().code, Code::InvalidGrantId, "{bad}");
        }
    }
}
