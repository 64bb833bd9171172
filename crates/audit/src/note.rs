//! Signed notes (C2SP signed-note) with Ed25519, and their verifier keys.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::AuditError;

/// Bytes of a key's name: it stands in every checkpoint, and a host and a path are shorter.
pub(crate) const NAME_MAX: usize = 255;
/// Bytes of a note: the text and sixteen signatures, which verifiers must take, of the largest kind in use, which is
/// below 7 KB.
pub(crate) const NOTE_MAX: usize = 128 * 1024;
/// The signature type of Ed25519.
const TYPE_ED25519: u8 = 1;
/// Bytes of an Ed25519 public key.
const PUBLIC_LEN: usize = 32;
/// Bytes of a key's id.
const ID_LEN: usize = 4;
/// What a signature's line begins with: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";

/// The log's signing key, and its name, which is also the log's. Cannot be printed.
pub struct Signer {
    key: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl Signer {
    /// The key that follows from 32 random bytes, which the caller keeps and keeps secret. The name should be an
    /// address without a scheme, like `holdfast.example/audit/site-1`: two logs must not have the same.
    ///
    /// # Errors
    /// [`AuditError::BadName`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, AuditError> {
        check_name(name)?;
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| AuditError::BadKey)?;
        let mut public = [0; PUBLIC_LEN];
        public.copy_from_slice(key.public_key().as_ref());
        Ok(Self { key, verifier: VerifierKey { name: name.to_owned(), public } })
    }

    /// What others verify with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The note of a text that ends with a newline and has no other control characters.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes());
        let signature = STANDARD.encode([&self.verifier.id(), signature.as_ref()].concat());
        format!("{text}\n{SIGNATURE}{} {signature}\n", self.verifier.name)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// A public key with its name. As text it is a note's verifier key, `name+id+key`: made to be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; PUBLIC_LEN],
}

impl VerifierKey {
    /// The name of the key, and of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; ID_LEN] {
        let hash = digest(&SHA256, &[self.name.as_bytes(), b"\n", &[TYPE_ED25519], &self.public].concat());
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&hash.as_ref()[..ID_LEN]);
        id
    }

    /// The text of a note that this key signed. Signatures of others are left alone; one that claims to be of this
    /// key and is not makes the note worthless.
    ///
    /// # Errors
    /// [`AuditError::BadCheckpoint`] for what is no note, [`AuditError::Signature`] where this key's is missing or false.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, AuditError> {
        let (text, signatures) = split(note)?;
        let mut signed = false;
        for line in signatures.lines() {
            let (name, id, signature) = signature(line).ok_or(AuditError::BadCheckpoint("a signature is none"))?;
            if name != self.name || id != self.id() {
                continue;
            }
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            key.verify(text.as_bytes(), &signature).map_err(|_| AuditError::Signature { name: self.name.clone() })?;
            signed = true;
        }
        if signed { Ok(text) } else { Err(AuditError::Signature { name: self.name.clone() }) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[TYPE_ED25519], &self.public[..]].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id()))
    }
}

impl FromStr for VerifierKey {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        // The key is in base64, which has plus signs of its own.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(AuditError::BadKey);
        };
        check_name(name)?;
        let key = STANDARD.decode(key).map_err(|_| AuditError::BadKey)?;
        let Some((&TYPE_ED25519, public)) = key.split_first() else { return Err(AuditError::BadKey) };
        let public = public.try_into().map_err(|_| AuditError::BadKey)?;
        let read = Self { name: name.to_owned(), public };
        // The id is a sum of the rest: compared as text, so that a key has one spelling.
        if read.to_string() == text { Ok(read) } else { Err(AuditError::BadKey) }
    }
}

fn check_name(name: &str) -> Result<(), AuditError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > NAME_MAX || name.contains(bad) {
        return Err(AuditError::BadName { max: NAME_MAX });
    }
    Ok(())
}

/// A note's text, its last newline included, and its lines of signatures.
pub(crate) fn split(note: &str) -> Result<(&str, &str), AuditError> {
    if note.len() > NOTE_MAX {
        return Err(AuditError::BadCheckpoint("it is too long"));
    }
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(AuditError::BadCheckpoint("it has control characters"));
    }
    let at = note.rfind("\n\n").ok_or(AuditError::BadCheckpoint("it has no signatures"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(AuditError::BadCheckpoint("it is cut short"));
    }
    Ok((text, signatures))
}

/// Name, key id and signature of a line.
fn signature(line: &str) -> Option<(&str, [u8; ID_LEN], Vec<u8>)> {
    let (name, bytes) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (id, signature) = bytes.split_first_chunk::<ID_LEN>()?;
    Some((name, *id, signature.to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_format() {
        // The key and the note of golang.org/x/mod/sumdb/note's documentation.
        let key: VerifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let note = format!("{text}\n\u{2014} PeterNeumann {signature}\n");
        assert_eq!(key.open(&note).unwrap(), text);
    }

    #[test]
    fn signatures_of_others_are_left_alone_and_false_ones_refused() {
        let ours = Signer::from_seed("log.example/a", &[1; 32]).unwrap();
        let other = Signer::from_seed("log.example/a", &[2; 32]).unwrap();
        let note = ours.sign("text\n");
        let theirs = other.sign("text\n");
        let both = format!("{note}{}", theirs.rsplit_once("\n\n").unwrap().1);
        assert_eq!(ours.verifier().open(&both).unwrap(), "text\n");
        assert_eq!(other.verifier().open(&both).unwrap(), "text\n");
        assert!(matches!(ours.verifier().open(&theirs), Err(AuditError::Signature { .. })));
        let bent = both.replacen("text", "test", 1);
        assert!(matches!(ours.verifier().open(&bent), Err(AuditError::Signature { .. })));
    }

    #[test]
    fn only_a_note_is_opened() {
        let signer = Signer::from_seed("log.example/a", &[1; 32]).unwrap();
        let note = signer.sign("text\n");
        let long = format!("{}{note}", "x".repeat(NOTE_MAX));
        let bad: Vec<String> = vec![
            String::new(),
            "text\n".into(),
            "text\n\n".into(),
            note.trim_end().into(),
            note.replace("\n\n", "\n"),
            note.replace("text", "te\txt"),
            note.replace('\u{2014}', "-"),
            format!("{note}more\n"),
            long,
        ];
        for note in bad {
            assert!(signer.verifier().open(&note).is_err(), "{:?}", &note[..note.len().min(80)]);
        }
    }

    #[test]
    fn a_key_has_one_spelling() {
        let key = Signer::from_seed("log.example/a", &[1; 32]).unwrap().verifier().clone();
        let text = key.to_string();
        assert_eq!(text.parse::<VerifierKey>().unwrap(), key);
        for bad in [
            "".to_owned(),
            "log.example/a".to_owned(),
            text.replacen("log", "lag", 1),
            text.replacen('+', "++", 1),
            text.to_uppercase(),
            format!("{text} "),
            text[..text.len() - 1].to_owned(),
            format!("+{text}"),
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_break_a_note_are_refused() {
        for bad in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\0b", &"a".repeat(NAME_MAX + 1)] {
            assert!(matches!(Signer::from_seed(bad, &[1; 32]), Err(AuditError::BadName { .. })), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "[\\PC\\n\u{2014} +=]{0,200}") {
            let key = Signer::from_seed("log.example/a", &[1; 32]).unwrap().verifier().clone();
            prop_assert!(key.open(&text).is_err());
            prop_assert!(text.parse::<VerifierKey>().is_err());
        }
    }
}
