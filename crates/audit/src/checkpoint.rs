//! Checkpoints (C2SP tlog-checkpoint): how many entries there are, and the root over them, signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note;
use crate::tree::Hash;
use crate::{AuditError, Signer, VerifierKey};

/// What a log was at a moment, and said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Entries of the log.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a checkpoint that the key signed for the log of its name.
    ///
    /// # Errors
    /// [`AuditError::Signature`] when the key did not sign it, [`AuditError::BadCheckpoint`] when it is none or
    /// another log's.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, AuditError> {
        let checkpoint = Self::parse(key.open(note)?)?;
        if checkpoint.origin != key.name() {
            return Err(AuditError::BadCheckpoint("it is another log's"));
        }
        Ok(checkpoint)
    }

    /// Reads a checkpoint and believes it: only for what is verified by others later.
    pub(crate) fn open_unverified(note: &str) -> Result<Self, AuditError> {
        Self::parse(note::split(note)?.0)
    }

    pub(crate) fn sign(&self, signer: &Signer) -> String {
        signer.sign(&format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root)))
    }

    /// Lines after the third are for extensions; there are none that we know.
    fn parse(text: &str) -> Result<Self, AuditError> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(AuditError::BadCheckpoint("a line is missing"));
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(AuditError::BadCheckpoint("a line is empty"));
        }
        let size = decimal(size).ok_or(AuditError::BadCheckpoint("its size is no number"))?;
        let root = hash(root).ok_or(AuditError::BadCheckpoint("its root is no hash"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// A decimal number in its one spelling.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// A hash in base64.
pub(crate) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("log.example/a", &[1; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_signed() {
        for size in [0, 1, u64::MAX] {
            let checkpoint = Checkpoint { origin: "log.example/a".into(), size, root: [9; 32] };
            let note = checkpoint.sign(&signer());
            assert_eq!(Checkpoint::open(&note, signer().verifier()).unwrap(), checkpoint);
            assert_eq!(Checkpoint::open_unverified(&note).unwrap(), checkpoint);
        }
    }

    #[test]
    fn what_is_signed_is_still_checked() {
        let root = STANDARD.encode([9; 32]);
        let good = format!("log.example/a\n5\n{root}\n");
        assert!(Checkpoint::open(&signer().sign(&good), signer().verifier()).is_ok());
        assert!(Checkpoint::open(&signer().sign(&format!("{good}more\n")), signer().verifier()).is_ok());
        for bad in [
            format!("log.example/b\n5\n{root}\n"),
            format!("log.example/a\n05\n{root}\n"),
            format!("log.example/a\n+5\n{root}\n"),
            format!("log.example/a\n-5\n{root}\n"),
            format!("log.example/a\n18446744073709551616\n{root}\n"),
            format!("log.example/a\n5\n{}\n", &root[1..]),
            format!("log.example/a\n5\n{}\n", STANDARD.encode([9; 31])),
            format!("\n5\n{root}\n"),
            "log.example/a\n5\n".to_owned(),
            format!("{good}\nmore\n"),
        ] {
            let opened = Checkpoint::open(&signer().sign(&bad), signer().verifier());
            assert!(matches!(opened, Err(AuditError::BadCheckpoint(_))), "{bad}: {opened:?}");
        }
    }

    proptest! {
        #[test]
        fn any_lines_are_refused_or_read(text in "[a-z0-9\\n=/]{0,80}") {
            if let Ok(read) = Checkpoint::parse(&text) {
                prop_assert!(text.contains(&read.origin));
            }
        }
    }
}
