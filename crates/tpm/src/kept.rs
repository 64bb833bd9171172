//! What a root key file keeps of a secret that a TPM sealed (`docs/spec/root.md`).

use crate::pcrs::Pcrs;

/// The layout.
const VERSION: u8 = 1;
/// Bytes of a primary key's name: the hash's number (2), SHA-256 (32).
const NAME_LEN: usize = 34;
/// Most bytes of each of the TPM's two structures; of 32 bytes it makes 48 and 160.
const PIECE_MAX: usize = 512;

/// The pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The name of the primary key, which tells one TPM from others.
    pub(crate) primary: Vec<u8>,
    /// The registers that it is bound to.
    pub(crate) pcrs: Option<Pcrs>,
    /// TPM2B_PUBLIC, as the TPM wrote it.
    pub(crate) public: Vec<u8>,
    /// TPM2B_PRIVATE: encrypted by the TPM.
    pub(crate) private: Vec<u8>,
}

impl Held {
    /// Version (1), name (34), then the registers' text, public and private, each after its length (2, big endian).
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.primary);
        let pcrs = self.pcrs.as_ref().map(Pcrs::as_str).unwrap_or_default().as_bytes();
        for piece in [pcrs, &self.public, &self.private] {
            // A piece that is longer is longer than any file takes as well.
            bytes.extend_from_slice(&u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(piece);
        }
        bytes
    }

    /// The same again; nothing of other bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let (VERSION, rest) = bytes.split_first().map(|(version, rest)| (*version, rest))? else { return None };
        let (primary, mut rest) = rest.split_at_checked(NAME_LEN)?;
        let mut piece = || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let len = usize::from(u16::from_be_bytes(*len));
            let (piece, after) = after.split_at_checked(len).filter(|_| len <= PIECE_MAX)?;
            rest = after;
            Some(piece.to_vec())
        };
        let (pcrs, public, private) = (piece()?, piece()?, piece()?);
        let pcrs = match pcrs.as_slice() {
            [] => None,
            text => Some(Pcrs::new(std::str::from_utf8(text).ok()?).ok()?),
        };
        rest.is_empty().then(|| Self { primary: primary.to_vec(), pcrs, public, private })
    }
}
