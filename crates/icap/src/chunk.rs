//! Chunked bodies (RFC 3507, section 4.4.4, as in RFC 9112, section 7.1) and the end of a preview, `0; ieof` (section 4.5); pure.
//!
//! The decoder sees lines and counts; a chunk's bytes it never touches: whoever reads moves them to where they belong, and says how many.

use crate::limits::{CHUNK_LINE_MAX, TRAILER_MAX};

/// Why a body is no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A line is longer than any that means something.
    #[error("a chunk's line has more than {CHUNK_LINE_MAX} bytes")]
    Long,
    /// The size is no hexadecimal number below 2^64, or something else than an extension follows it.
    #[error("a chunk's size is no hexadecimal number with extensions behind it")]
    Size,
    /// A chunk has more bytes than its size says.
    #[error("no line end where a chunk's size says that its bytes end")]
    Overrun,
    /// A line does not end with CR and LF, or has control characters.
    #[error("a chunk's line has a control character or no CR at its end")]
    Control,
    /// The trailer does not end.
    #[error("the trailer has more than {TRAILER_MAX} bytes")]
    Trailer,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More input is needed.
    More,
    /// So many bytes of the body follow.
    Data(u64),
    /// The body is over.
    End {
        /// Its last chunk said that all of the content was in the preview.
        ieof: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailer { ieof: bool },
    Done { ieof: bool },
}

/// Decodes one body. Where the input is cut into pieces makes no difference.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The line that is not over yet.
    line: Vec<u8>,
    /// Bytes of the trailer.
    trailer: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Size, line: Vec::new(), trailer: 0 }
    }
}

impl Decoder {
    /// Reads lines, up to the next bytes of the body or its end. Tells how much of the input it used; of a chunk's own bytes it uses none.
    ///
    /// # Errors
    /// [`ChunkError`]; where the body ends is not known from then on.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Step), ChunkError> {
        let mut used = 0;
        loop {
            match self.state {
                State::Data(left) => return Ok((used, Step::Data(left))),
                State::Done { ieof } => return Ok((used, Step::End { ieof })),
                State::Size | State::DataEnd | State::Trailer { .. } => {}
            }
            let rest = input.get(used..).unwrap_or_default();
            let (taken, whole) = self.gather(rest)?;
            used += taken;
            if !whole {
                return Ok((used, Step::More));
            }
            self.state = self.turn()?;
            self.line.clear();
        }
    }

    /// So many bytes of the chunk were read.
    pub fn took(&mut self, bytes: u64) {
        if let State::Data(left) = self.state {
            self.state = match left.saturating_sub(bytes) {
                0 => State::DataEnd,
                left => State::Data(left),
            };
        }
    }

    /// Adds to the line; whether it is whole.
    fn gather(&mut self, input: &[u8]) -> Result<(usize, bool), ChunkError> {
        let end = input.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(input.len());
        if self.line.len() + taken > CHUNK_LINE_MAX {
            return Err(ChunkError::Long);
        }
        self.line.extend_from_slice(input.get(..taken).unwrap_or_default());
        Ok((taken, end.is_some()))
    }

    /// The state after a whole line.
    fn turn(&mut self) -> Result<State, ChunkError> {
        let line = self.line.strip_suffix(b"\r\n").ok_or(ChunkError::Control)?;
        match self.state {
            State::Size => match size(line)? {
                (0, ieof) => Ok(State::Trailer { ieof }),
                (bytes, _) => Ok(State::Data(bytes)),
            },
            State::DataEnd if line.is_empty() => Ok(State::Size),
            State::DataEnd => Err(ChunkError::Overrun),
            State::Trailer { ieof } if line.is_empty() => Ok(State::Done { ieof }),
            State::Trailer { ieof } => {
                self.trailer += self.line.len();
                if self.trailer > TRAILER_MAX { Err(ChunkError::Trailer) } else { Ok(State::Trailer { ieof }) }
            }
            // `feed` reads no lines in these.
            state @ (State::Data(_) | State::Done { .. }) => Ok(state),
        }
    }
}

/// The size, and whether an extension is `ieof`. Others mean nothing (RFC 9112, section 7.1.1).
fn size(line: &[u8]) -> Result<(u64, bool), ChunkError> {
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(ChunkError::Control);
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let digits = std::str::from_utf8(digits).map_err(|_| ChunkError::Size)?;
    // Also what has no digits; and more than 16 would be leading zeros, which nobody sends.
    let bytes = if digits.len() > 16 { None } else { u64::from_str_radix(digits, 16).ok() };
    let bytes = bytes.ok_or(ChunkError::Size)?;
    match rest.trim_ascii() {
        [] => Ok((bytes, false)),
        [b';', extensions @ ..] => Ok((
            bytes,
            extensions.split(|byte| *byte == b';').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"ieof")),
        )),
        _ => Err(ChunkError::Size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in a body, whether `ieof` was said if it ended, and what was left over.
    type Decoded = Result<(Vec<u8>, Option<bool>, Vec<u8>), ChunkError>;

    /// The whole body in pieces of `piece` bytes.
    fn decode(input: &[u8], piece: usize) -> Decoded {
        let mut decoder = Decoder::default();
        let (mut body, mut ended, mut left) = (Vec::new(), None, Vec::new());
        for piece in input.chunks(piece.max(1)) {
            let mut rest = piece;
            while ended.is_none() {
                let (used, step) = decoder.feed(rest)?;
                rest = &rest[used..];
                match step {
                    Step::More => break,
                    Step::End { ieof } => ended = Some(ieof),
                    Step::Data(bytes) => {
                        let here = rest.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
                        if here == 0 {
                            break;
                        }
                        body.extend_from_slice(&rest[..here]);
                        decoder.took(here as u64);
                        rest = &rest[here..];
                    }
                }
            }
            left.extend_from_slice(rest);
        }
        Ok((body, ended, left))
    }

    #[test]
    fn bodies() {
        let whole = |body: &str, ieof, left: &str| Ok((body.into(), Some(ieof), left.into()));
        let cut = |body: &str| Ok((body.into(), None, Vec::new()));
        let table: [(&[u8], Decoded); 22] = [
            (b"0\r\n\r\n", whole("", false, "")),
            (b"0; ieof\r\n\r\n", whole("", true, "")),
            (b"0;ieof\r\n\r\nNEXT", whole("", true, "NEXT")),
            (b"0;a=b ; IEOF;c\r\n\r\n", whole("", true, "")),
            (b"0;ieofs\r\n\r\n", whole("", false, "")),
            (b"3\r\nabc\r\n0\r\n\r\n0\r\n\r\n", whole("abc", false, "0\r\n\r\n")),
            (b"3;ieof\r\nabc\r\n0\r\n\r\n", whole("abc", false, "")),
            (b"003 \t\r\nabc\r\n2\r\n\r\n\r\n0\r\n\r\n", whole("abc\r\n", false, "")),
            (b"A\r\n0123456789\r\n0\r\nx: y\r\nz: w\r\n\r\n", whole("0123456789", false, "")),
            (b"5\r\nab", cut("ab")),
            (b"ffffffffffffffff\r\nab", cut("ab")),
            (b"10000000000000000\r\n", Err(ChunkError::Size)),
            (b"00000000000000001\r\n", Err(ChunkError::Size)),
            (b"\r\n", Err(ChunkError::Size)),
            (b"-1\r\n", Err(ChunkError::Size)),
            (b"+1\r\n", Err(ChunkError::Size)),
            (b"0x1\r\n", Err(ChunkError::Size)),
            (b"1 2\r\n", Err(ChunkError::Size)),
            (b"1\na", Err(ChunkError::Control)),
            (b"1;\0\r\n", Err(ChunkError::Control)),
            (b"1;\r;\r\n", Err(ChunkError::Control)),
            (b"2\r\nabc\r\n", Err(ChunkError::Overrun)),
        ];
        for (input, expected) in table {
            for piece in [1, 2, 3, 7, usize::MAX] {
                assert_eq!(decode(input, piece), expected, "{} in pieces of {piece}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn lines_and_trailers_end() {
        let long = vec![b'0'; CHUNK_LINE_MAX + 1];
        assert_eq!(decode(&long, 100), Err(ChunkError::Long));
        let trailer = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(TRAILER_MAX / 6 + 1)].concat();
        assert_eq!(decode(&trailer, 100), Err(ChunkError::Trailer));
    }

    proptest::proptest! {
        #[test]
        fn bytes_of_any_kind_decode_to_the_same_wherever_they_are_cut(
            input in proptest::collection::vec(proptest::sample::select(b"013aF;ieof \t\r\n\0:x".to_vec()), 0..200),
            piece in 1usize..20,
        ) {
            let (whole, pieces) = (decode(&input, usize::MAX), decode(&input, piece));
            // What was read before an error may differ; the error does not.
            proptest::prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn what_is_cut_into_chunks_comes_out_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(0u8.., 1..300), 0..8),
            piece in 1usize..50,
        ) {
            let mut wire: Vec<u8> = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
            }
            wire.extend(b"0\r\n\r\nrest");
            proptest::prop_assert_eq!(decode(&wire, piece), Ok((chunks.concat(), Some(false), b"rest".to_vec())));
        }
    }
}
