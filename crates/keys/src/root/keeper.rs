//! A root key file of version 3: the key under a secret that something else keeps, such as a token.

use std::fmt::Write;

use base::Rng;
use envelope::{Kek, Locked};
use zeroize::Zeroizing;

use super::RootKey;
use super::seal::{Holds, KEPT, Seal, SealError, Sealing, first_line, of_sealed, push_hex, read_hex, refused, sealing};

/// Bytes of a kept secret. The longest is a site's: X-Wing makes 1,168 of 32, most of them a ciphertext of ML-KEM. Tokens and TPMs
/// make less than a quarter of it.
const KEPT_MAX: usize = 2048;
/// Bytes of what names the place.
const PLACE_MAX: usize = 256;

/// Why a secret is not to be had: in words for a person, with the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// Its keeper says no: whoever rules over it wants it so, and may want otherwise later.
    #[error("{0}")]
    Refused(String),
    /// Its keeper gives no answer that says yes or no.
    #[error("{0}")]
    Unreachable(String),
    /// It cannot work so: wrong settings, or not what this keeper kept.
    #[error("{0}")]
    Failed(String),
}

/// Keeps a secret of 32 bytes so that only itself gives it back.
pub trait Keeper: Send + Sync {
    /// One word for its kind, lower-case ASCII letters and digits: `pkcs11`.
    fn kind(&self) -> &'static str;

    /// Where the secret is kept, for people: at most 256 bytes. The same each time.
    fn place(&self) -> String;

    /// Keeps a secret. What it gives is worthless to others, and has at most 2,048 bytes.
    ///
    /// # Errors
    /// [`KeeperError`].
    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError>;

    /// The secret again.
    ///
    /// # Errors
    /// [`KeeperError`], also for what it did not keep.
    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError>;
}

/// Seals under a fresh secret that a [`Keeper`] keeps. The root key itself never goes there.
pub struct Kept(Box<dyn Keeper>);

impl Kept {
    /// By this keeper.
    pub fn by(keeper: Box<dyn Keeper>) -> Self {
        Self(keeper)
    }

    /// The keeper's kind.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// The keeper's kind and place.
    pub fn name(&self) -> String {
        format!("{}: {}", self.0.kind(), self.0.place())
    }
}

/// The line that says who keeps what is part of what the seal vouches for.
fn context(holds: Holds, line: &str) -> Vec<u8> {
    [&holds.context(KEPT), line.as_bytes()].concat()
}

fn failed(error: KeeperError) -> SealError {
    SealError::Keeper(error)
}

impl Seal for Kept {
    fn seal_as(&self, holds: Holds, key: &RootKey, rng: &dyn Rng) -> Result<Zeroizing<String>, SealError> {
        let mut secret = Locked::zeros();
        rng.fill(secret.bytes_mut());
        let (kept, place) = (self.0.keep(secret.bytes()).map_err(failed)?, self.0.place());
        if kept.len() > KEPT_MAX || place.len() > PLACE_MAX {
            return Err(failed(KeeperError::Failed(format!("{} bytes are too many for a root key file", kept.len()))));
        }
        let mut line = format!("{} place=", self.0.kind());
        push_hex(&mut line, place.as_bytes());
        line.push_str(" kept=");
        push_hex(&mut line, &kept);
        let kek = Kek::from_locked(secret);
        let sealed = envelope::seal_small(&kek, &context(holds, &line), key.0.bytes(), rng).map_err(refused)?;
        let mut text = Zeroizing::new(String::with_capacity(2 * KEPT_MAX + 2 * PLACE_MAX + 512));
        // Writing to a string does not fail.
        let _ = write!(text, "{}\n{line}\n", holds.magic(KEPT));
        push_hex(&mut text, &sealed);
        text.push('\n');
        Ok(text)
    }

    fn open_as(&self, holds: Holds, text: &str) -> Result<RootKey, SealError> {
        match sealing(holds, text)? {
            Sealing::Clear => return Err(SealError::NotSealed),
            Sealing::Passphrase => return Err(SealError::Sealed),
            Sealing::Keeper(kind) if kind != self.0.kind() => return Err(SealError::KeptBy { kind }),
            Sealing::Keeper(_) => {}
        }
        let (_, rest) = first_line(text)?;
        let (line, digits) = rest.split_once('\n').ok_or(SealError::NotAKey)?;
        let mut words = line.split(' ').skip(1);
        let mut word = |name: &str, max: usize| {
            let digits = words.next().and_then(|word| word.strip_prefix(name)).ok_or(SealError::NotAKey)?;
            if digits.len() > 2 * max {
                return Err(SealError::NotAKey);
            }
            let mut bytes = vec![0; digits.len() / 2];
            read_hex(digits, &mut bytes).map(|()| bytes)
        };
        let (place, kept) = (word("place=", PLACE_MAX)?, word("kept=", KEPT_MAX)?);
        if words.next().is_some() {
            return Err(SealError::NotAKey);
        }
        let there = String::from_utf8(place).map_err(|_| SealError::NotAKey)?;
        if there != self.0.place() {
            return Err(SealError::Elsewhere { there, here: self.0.place() });
        }
        let secret = self.0.give(&kept).map_err(failed)?;
        let secret: &[u8; 32] = secret.as_slice().try_into().map_err(|_| SealError::Refused)?;
        of_sealed(&Kek::from_locked(Locked::copy_of(secret)), &context(holds, line), digits)
    }
}
