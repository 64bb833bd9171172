//! What a root key file says: the key in clear (version 1), under a passphrase (version 2), or under what
//! something else keeps (version 3, `keeper.rs`). A site key file (`site.rs`) says the same in its own name.

use std::fmt::Write;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base::{Classify, ErrorKind, Rng};
use envelope::{EnvelopeError, Kek, Locked};
use zeroize::Zeroizing;

use super::RootKey;
use super::keeper::KeeperError;

/// The version of a file with the key in clear.
const PLAIN: u8 = 1;
/// The version of a file with the key under a passphrase.
const SEALED: u8 = 2;
/// The version of a file with the key under a secret that something else keeps.
pub(super) const KEPT: u8 = 3;

/// What the 32 bytes in a file are. The first line says it, and what seals them vouches for it: a file of the one kind
/// never opens as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// The root key.
    Root,
    /// A site's private key.
    Site,
}

impl Holds {
    /// What all first lines begin with.
    fn family(self) -> &'static str {
        match self {
            Self::Root => "holdfast root key v",
            Self::Site => "holdfast site key v",
        }
    }

    /// The first line of a file of a version.
    pub(super) fn magic(self, version: u8) -> String {
        format!("{}{version}", self.family())
    }

    /// What a context of a version begins with.
    pub(super) fn context(self, version: u8) -> Vec<u8> {
        let name = match self {
            Self::Root => "root",
            Self::Site => "site",
        };
        format!("{name}/{version}").into_bytes()
    }

    /// What a text is that holds no such key.
    pub(super) fn none(self) -> SealError {
        match self {
            Self::Root => SealError::NotAKey,
            Self::Site => SealError::NotASiteKey,
        }
    }
}

/// Bytes of a salt: as RFC 9106 recommends.
const SALT_LEN: usize = 16;
/// Bytes of a sealed root key: salt, commitment and tag beside the 32 of the key.
const SEALED_LEN: usize = 104;

/// Fewest bytes of a passphrase that seals: shorter ones are guessed whatever each guess costs.
pub const PASSPHRASE_MIN: usize = 12;
/// Most bytes of a passphrase: it comes from files and terminals, and a wrong file should be an error.
pub const PASSPHRASE_MAX: usize = 1024;

/// Least memory that a file may ask for, in KiB. Tests use it; less is no protection at all.
const MEMORY_MIN: u32 = 1 << 10;
/// Most memory that a file may ask for, in KiB: four times what is written today, and never more than a
/// server has.
const MEMORY_MAX: u32 = 256 << 10;
/// Most passes: with the most memory some ten seconds.
const PASSES_MAX: u32 = 16;
/// Most lanes. They are computed one after the other here, so that more than one helps only who guesses.
const LANES_MAX: u32 = 4;

/// Why a text does not give the root key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No root key, or a damaged one.
    #[error("this is not a root key; restore it from your backup, or from shares by `holdfast key root recover`")]
    NotAKey,
    /// No site key, or a damaged one.
    #[error(
        "this is not a site key; restore it from your backup, or move it away, make another with `holdfast key site create`, \
         and have the root key wrapped to that one"
    )]
    NotASiteKey,
    /// Written by a newer Holdfast.
    #[error("this key is of a version that this program does not know; upgrade it")]
    Newer,
    /// It takes a passphrase, and there is none.
    #[error("it is sealed: give its passphrase with --passphrase-file or HOLDFAST_ROOT_PASSPHRASE")]
    Sealed,
    /// It takes a token or the like, and there is none, or another kind.
    #[error("it is sealed by {kind}{}", cure(kind))]
    KeptBy {
        /// What keeps the secret it is under.
        kind: String,
    },
    /// Another token or key keeps it.
    #[error("it is sealed by {there}, and not by {here}")]
    Elsewhere {
        /// Where the file says it is.
        there: String,
        /// Where it was looked for.
        here: String,
    },
    /// What keeps the secret does not give it.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// There is a passphrase or a token, and it takes none.
    #[error("it is not sealed: run `holdfast key root seal`, or leave the passphrase out")]
    NotSealed,
    /// Another passphrase, or a changed file: which of these, cannot be told.
    #[error(
        "it does not open: this is not its passphrase, or the file is damaged; \
         without the passphrase, move it away and run `holdfast key root recover` with shares"
    )]
    Refused,
    /// More work or memory than is taken from a file.
    #[error(
        "it asks for m={memory} t={passes} p={lanes}, which is not done (m from {MEMORY_MIN} to {MEMORY_MAX}, t to \
         {PASSES_MAX}, p to {LANES_MAX}); restore the file from your backup"
    )]
    Cost {
        /// KiB.
        memory: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// No passphrase that seals anything.
    #[error("a passphrase has {PASSPHRASE_MIN} to {PASSPHRASE_MAX} bytes, and this one has {len}; six random words do")]
    Length {
        /// Its bytes.
        len: usize,
    },
    /// The memory for the passphrase is not to be had.
    #[error("there are not {memory} KiB of memory to open it with; free some")]
    Memory {
        /// KiB.
        memory: u32,
    },
}

impl Classify for SealError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAKey | Self::NotASiteKey | Self::Newer | Self::Cost { .. } => ErrorKind::Corrupt,
            Self::Sealed | Self::KeptBy { .. } | Self::Elsewhere { .. } | Self::NotSealed | Self::Length { .. } => {
                ErrorKind::Invalid
            }
            Self::Refused => ErrorKind::Denied,
            Self::Keeper(_) | Self::Memory { .. } => ErrorKind::Unavailable,
        }
    }
}

/// What a root key file takes to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealing {
    /// Nothing: the key lies there.
    Clear,
    /// A passphrase.
    Passphrase,
    /// A keeper of this kind.
    Keeper(String),
}

/// What a text takes to open, by its first lines.
pub(super) fn sealing(holds: Holds, text: &str) -> Result<Sealing, SealError> {
    let (magic, rest) = first_line(text)?;
    let version = magic.strip_prefix(holds.family()).ok_or(SealError::NotAKey)?;
    match version {
        "1" => Ok(Sealing::Clear),
        "2" => Ok(Sealing::Passphrase),
        "3" => {
            let kind = rest.split(' ').next().filter(|kind| {
                !kind.is_empty()
                    && kind.len() <= 16
                    && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
            kind.map(|kind| Sealing::Keeper(kind.to_owned())).ok_or(SealError::NotAKey)
        }
        _ => Err(SealError::Newer),
    }
}

/// What to do about a file that something else keeps.
fn cure(kind: &str) -> &'static str {
    match kind {
        "pkcs11" => ": name the token with --pkcs11-module, --pkcs11-token, --pkcs11-key and --pkcs11-pin-file",
        "tpm2" => ": only a server or command that has this machine's TPM opens it",
        "site" => ": that takes the site.key beside it, which is the other half; `holdfast key site create` made it",
        _ => ", which this program does not know or was not given",
    }
}

/// Turns the root key into the text of its file and back. Pure, but for what a keeper does.
pub trait Seal: Send + Sync {
    /// The text of a file that holds 32 bytes.
    ///
    /// # Errors
    /// [`SealError`] when this seal cannot hold a key.
    fn seal_as(&self, holds: Holds, key: &RootKey, rng: &dyn Rng) -> Result<Zeroizing<String>, SealError>;

    /// The 32 bytes that a text holds.
    ///
    /// # Errors
    /// [`SealError`] that says what the text is instead.
    fn open_as(&self, holds: Holds, text: &str) -> Result<RootKey, SealError>;

    /// The text of a root key file.
    ///
    /// # Errors
    /// As [`Self::seal_as`].
    fn seal(&self, key: &RootKey, rng: &dyn Rng) -> Result<Zeroizing<String>, SealError> {
        self.seal_as(Holds::Root, key, rng)
    }

    /// The key that the text of a root key file holds.
    ///
    /// # Errors
    /// As [`Self::open_as`].
    fn open(&self, text: &str) -> Result<RootKey, SealError> {
        self.open_as(Holds::Root, text)
    }
}

/// The file itself is the seal: who can read it has the key.
#[derive(Debug, Clone, Copy)]
pub struct PlainFile;

impl Seal for PlainFile {
    fn seal_as(&self, holds: Holds, key: &RootKey, _: &dyn Rng) -> Result<Zeroizing<String>, SealError> {
        let magic = holds.magic(PLAIN);
        let mut text = Zeroizing::new(String::with_capacity(magic.len() + 2 * key.0.bytes().len() + 2));
        text.push_str(&magic);
        text.push('\n');
        push_hex(&mut text, key.0.bytes());
        text.push('\n');
        Ok(text)
    }

    fn open_as(&self, holds: Holds, text: &str) -> Result<RootKey, SealError> {
        match sealing(holds, text)? {
            Sealing::Clear => {
                let mut key = Locked::zeros();
                read_hex(first_line(text)?.1, key.bytes_mut())?;
                Ok(RootKey(key))
            }
            Sealing::Passphrase => Err(SealError::Sealed),
            Sealing::Keeper(kind) => Err(SealError::KeptBy { kind }),
        }
    }
}

/// What each guess of a passphrase costs (argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// RFC 9106's second recommendation, for machines that have other uses for their memory, but for the
    /// lanes, which are computed one after the other here: 64 MiB, three passes.
    pub const DEFAULT: Self = Self { memory: 64 << 10, passes: 3, lanes: 1 };

    /// The least that is taken: for tests.
    pub const LEAST: Self = Self { memory: MEMORY_MIN, passes: 1, lanes: 1 };

    fn of_line(line: &str) -> Result<(Self, [u8; SALT_LEN]), SealError> {
        let mut words = line.split(' ');
        if words.next() != Some("argon2id") {
            return Err(SealError::NotAKey);
        }
        let mut word = |name: &str| words.next().and_then(|word| word.strip_prefix(name)).ok_or(SealError::NotAKey);
        let cost = Self { memory: number(word("m=")?)?, passes: number(word("t=")?)?, lanes: number(word("p=")?)? };
        let mut salt = [0; SALT_LEN];
        read_hex(word("salt=")?, &mut salt)?;
        if words.next().is_some() {
            return Err(SealError::NotAKey);
        }
        let Self { memory, passes, lanes } = cost;
        let bounds = [(memory, MEMORY_MIN..=MEMORY_MAX), (passes, 1..=PASSES_MAX), (lanes, 1..=LANES_MAX)];
        if bounds.iter().all(|(value, bound)| bound.contains(value)) {
            Ok((cost, salt))
        } else {
            Err(SealError::Cost { memory, passes, lanes })
        }
    }

    fn context(&self, holds: Holds, salt: &[u8; SALT_LEN]) -> Vec<u8> {
        let mut context = holds.context(SEALED);
        [self.memory, self.passes, self.lanes].iter().for_each(|cost| context.extend_from_slice(&cost.to_be_bytes()));
        context.extend_from_slice(salt);
        context
    }
}

/// A passphrase: what is sealed by it takes the passphrase to open. Cannot be printed by accident;
/// zeroed when dropped.
pub struct Passphrase {
    phrase: Zeroizing<String>,
    cost: Cost,
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// A passphrase as it came from a file or a terminal; ends of lines after it do not belong to it.
    ///
    /// # Errors
    /// [`SealError::Length`] when it is empty or longer than any.
    pub fn new(text: &str) -> Result<Self, SealError> {
        let phrase = text.trim_end_matches(['\r', '\n']);
        if (1..=PASSPHRASE_MAX).contains(&phrase.len()) {
            Ok(Self { phrase: Zeroizing::new(phrase.to_owned()), cost: Cost::DEFAULT })
        } else {
            Err(SealError::Length { len: phrase.len() })
        }
    }

    /// The same, sealing at another cost.
    pub fn at_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        *self.phrase == *other.phrase
    }

    fn kek(&self, cost: Cost, salt: &[u8; SALT_LEN]) -> Result<Kek, SealError> {
        let Cost { memory, passes, lanes } = cost;
        let failed = || SealError::Memory { memory };
        let params = Params::new(memory, passes, lanes, Some(32)).map_err(|_| SealError::NotAKey)?;
        let mut blocks = Zeroizing::new(Vec::new());
        blocks.try_reserve_exact(params.block_count()).map_err(|_| failed())?;
        blocks.resize(params.block_count(), Block::default());
        let mut key = Locked::zeros();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let phrase = self.phrase.as_bytes();
        let done = argon2.hash_password_into_with_memory(phrase, salt, key.bytes_mut(), blocks.as_mut_slice());
        done.map_err(|_| failed())?;
        Ok(Kek::from_locked(key))
    }
}

impl Seal for Passphrase {
    fn seal_as(&self, holds: Holds, key: &RootKey, rng: &dyn Rng) -> Result<Zeroizing<String>, SealError> {
        if self.phrase.len() < PASSPHRASE_MIN {
            return Err(SealError::Length { len: self.phrase.len() });
        }
        let mut salt = [0; SALT_LEN];
        rng.fill(&mut salt);
        let kek = self.kek(self.cost, &salt)?;
        let sealed =
            envelope::seal_small(&kek, &self.cost.context(holds, &salt), key.0.bytes(), rng).map_err(refused)?;
        let Cost { memory, passes, lanes } = self.cost;
        let mut text = Zeroizing::new(String::with_capacity(512));
        // Writing to a string does not fail.
        let _ = write!(text, "{}\nargon2id m={memory} t={passes} p={lanes} salt=", holds.magic(SEALED));
        push_hex(&mut text, &salt);
        text.push('\n');
        push_hex(&mut text, &sealed);
        text.push('\n');
        Ok(text)
    }

    fn open_as(&self, holds: Holds, text: &str) -> Result<RootKey, SealError> {
        match sealing(holds, text)? {
            Sealing::Passphrase => {}
            Sealing::Clear => return Err(SealError::NotSealed),
            Sealing::Keeper(kind) => return Err(SealError::KeptBy { kind }),
        }
        let (_, rest) = first_line(text)?;
        let (line, digits) = rest.split_once('\n').ok_or(SealError::NotAKey)?;
        let (cost, salt) = Cost::of_line(line)?;
        of_sealed(&self.kek(cost, &salt)?, &cost.context(holds, &salt), digits)
    }
}

/// The root key sealed under a key, in hexadecimal.
pub(super) fn of_sealed(kek: &Kek, context: &[u8], digits: &str) -> Result<RootKey, SealError> {
    let mut sealed = [0; SEALED_LEN];
    read_hex(digits, &mut sealed)?;
    let opened = envelope::open_small(kek, context, &sealed).map_err(refused)?;
    let opened: &[u8; 32] = opened.as_slice().try_into().map_err(|_| SealError::Refused)?;
    Ok(RootKey(Locked::copy_of(opened)))
}

pub(super) fn refused(_: EnvelopeError) -> SealError {
    SealError::Refused
}

pub(super) fn first_line(text: &str) -> Result<(&str, &str), SealError> {
    let (magic, rest) = text.trim_end().split_once('\n').ok_or(SealError::NotAKey)?;
    Ok((magic, rest))
}

/// Decimal digits only: the parser would take a sign as well, and one number would have many texts.
fn number(word: &str) -> Result<u32, SealError> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && !word.starts_with('0');
    word.parse().ok().filter(|_| plain).ok_or(SealError::NotAKey)
}

pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
}

pub(super) fn read_hex(digits: &str, out: &mut [u8]) -> Result<(), SealError> {
    if digits.len() != 2 * out.len() {
        return Err(SealError::NotAKey);
    }
    for (byte, pair) in out.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16).ok_or(SealError::NotAKey));
        *byte = (high? << 4 | low?) as u8;
    }
    Ok(())
}
