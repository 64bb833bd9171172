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
