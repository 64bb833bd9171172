//! `aws-chunked` bodies on their way to the framework, which holds each chunk whole before it
//! passes it on, however long the chunk says it is.
//!
//! A signed chunk must be held until its signature is known to be right, so it is bounded. An
//! unsigned one need not be: some clients send a whole body as one chunk, and it is cut here into
//! chunks as they arrive.
//!
//! Format: Amazon S3 API reference, "Signature calculations for the authorization header:
//! transferring payload in multiple chunks".

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use s3s::StdError;

use crate::limits::{CHUNK_LINE_MAX, SIGNED_CHUNK_MAX};

/// Why a chunked body is refused. The text is how `body` knows it again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("aws-chunked: a chunk declares {0} bytes, at most {SIGNED_CHUNK_MAX} are taken")]
    TooLarge(u64),
    #[error("aws-chunked: malformed chunk")]
    Malformed,
}

/// Whether chunks carry signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    Signed,
    Unsigned,
}

/// A chunked body made safe to hand on.
pub(crate) struct Chunked<B> {
    inner: B,
    parser: Parser,
}

impl<B> Chunked<B> {
    pub(crate) fn new(inner: B, chunks: Chunks) -> Self {
        Self { inner, parser: Parser { chunks, state: State::Line(Vec::new()), out: VecDeque::new() } }
    }
}

impl<B> Body for Chunked<B>
where
    B: Body<Data = Bytes> + Unpin,
    StdError: From<B::Error>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        loop {
            if let Some(bytes) = self.parser.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => frame,
            };
            if let Ok(bytes) = frame.into_data()
                && let Err(error) = self.parser.feed(bytes)
            {
                return Poll::Ready(Some(Err(Box::new(error))));
            }
        }
    }
}

enum State {
    /// Inside a chunk's header line; what arrived of it.
    Line(Vec<u8>),
    /// Inside a chunk's data; bytes left.
    Data(u64),
    /// Between a chunk's data and the next line; of CR LF so many are left.
    Gap(&'static [u8]),
    /// After the last chunk: trailers, which the framework bounds.
    Tail,
}

struct Parser {
    chunks: Chunks,
    state: State,
    out: VecDeque<Bytes>,
}

impl Parser {
    fn feed(&mut self, mut bytes: Bytes) -> Result<(), ChunkError> {
        if self.chunks == Chunks::Signed {
            // Signatures cover the chunks as they are: look, do not touch.
            self.out.push_back(bytes.clone());
        }
        while !bytes.is_empty() {
            self.step(&mut bytes)?;
        }
        Ok(())
    }

    fn step(&mut self, bytes: &mut Bytes) -> Result<(), ChunkError> {
        match &mut self.state {
            State::Line(line) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let piece = bytes.split_to(end.map_or(bytes.len(), |end| end + 1));
                if line.len() + piece.len() > CHUNK_LINE_MAX {
                    return Err(ChunkError::Malformed);
                }
                line.extend_from_slice(&piece);
                if end.is_some() {
                    let size = chunk_size(line, self.chunks)?;
                    self.open(size)?;
                }
            }
            State::Data(left) => {
                let take = (bytes.len() as u64).min(*left);
                let data = bytes.split_to(take as usize);
                *left -= take;
                if *left == 0 {
                    self.state = State::Gap(b"\r\n");
                }
                self.emit(data);
            }
            State::Gap(gap) => {
                let expected = gap.first().copied();
                if Some(bytes.get_u8()) != expected {
                    return Err(ChunkError::Malformed);
                }
                *gap = gap.get(1..).unwrap_or_default();
                if gap.is_empty() {
                    self.state = State::Line(Vec::new());
                }
            }
            State::Tail => {
                let rest = std::mem::take(bytes);
                if self.chunks == Chunks::Unsigned {
                    self.out.push_back(rest);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, size: u64) -> Result<(), ChunkError> {
        if self.chunks == Chunks::Signed && size > SIGNED_CHUNK_MAX {
            return Err(ChunkError::TooLarge(size));
        }
        self.state = if size == 0 { State::Tail } else { State::Data(size) };
        if size == 0 && self.chunks == Chunks::Unsigned {
            self.out.push_back(Bytes::from_static(b"0\r\n"));
        }
        Ok(())
    }

    /// Passes a piece of an unsigned chunk on as a chunk of its own.
    fn emit(&mut self, data: Bytes) {
        if self.chunks == Chunks::Unsigned {
            self.out.push_back(Bytes::from(format!("{:x}\r\n", data.len())));
            self.out.push_back(data);
            self.out.push_back(Bytes::from_static(b"\r\n"));
        }
    }
}

/// The size in a chunk's header line, `HEX CRLF` or `HEX;chunk-signature=... CRLF`.
fn chunk_size(line: &[u8], chunks: Chunks) -> Result<u64, ChunkError> {
    let text =
        std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix("\r\n")).ok_or(ChunkError::Malformed)?;
    let size = match (chunks, text.split_once(';')) {
        (Chunks::Unsigned, None) => text,
        (Chunks::Signed, Some((size, _))) => size,
        _ => return Err(ChunkError::Malformed),
    };
    // `from_str_radix` would take a sign; the format has none.
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ChunkError::Malformed);
    }
    u64::from_str_radix(size, 16).map_err(|_| ChunkError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(chunks: Chunks, frames: &[&[u8]]) -> Result<Vec<u8>, ChunkError> {
        let mut parser = Parser { chunks, state: State::Line(Vec::new()), out: VecDeque::new() };
        for frame in frames {
            parser.feed(Bytes::copy_from_slice(frame))?;
        }
        Ok(parser.out.into_iter().flatten().collect())
    }

    #[test]
    fn refused_lines() {
        let signed = format!("{:x};chunk-signature=0\r\n", SIGNED_CHUNK_MAX + 1);
        let long = [b'0'; CHUNK_LINE_MAX + 1];
        let table: [(Chunks, &[u8], ChunkError); 8] = [
            (Chunks::Signed, signed.as_bytes(), ChunkError::TooLarge(SIGNED_CHUNK_MAX + 1)),
            (Chunks::Signed, b"10\r\n", ChunkError::Malformed),
            (Chunks::Unsigned, b"10;chunk-signature=0\r\n", ChunkError::Malformed),
            (Chunks::Unsigned, b"+1\r\n", ChunkError::Malformed),
            (Chunks::Unsigned, b"\r\n", ChunkError::Malformed),
            (Chunks::Unsigned, b"10\n", ChunkError::Malformed),
            (Chunks::Unsigned, b"1\r\nabc", ChunkError::Malformed),
            (Chunks::Unsigned, &long, ChunkError::Malformed),
        ];
        for (chunks, bytes, expected) in table {
            assert_eq!(run(chunks, &[bytes]), Err(expected), "{}", String::from_utf8_lossy(bytes));
        }
    }

    /// aws-sdk-go-v2 sends a body of known length as one unsigned chunk, 5 GiB if need be; held
    /// whole it would take all memory.
    #[test]
    fn one_huge_unsigned_chunk_is_cut_as_it_arrives() {
        let told = run(Chunks::Unsigned, &[b"140000000\r\n", b"abc", b"defgh"]);
        assert_eq!(told, Ok(b"3\r\nabc\r\n5\r\ndefgh\r\n".to_vec()));
    }

    proptest! {
        /// However the bytes are cut into frames, the data and the trailers come out the same.
        #[test]
        fn frames_do_not_matter(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
            cuts in prop::collection::vec(1usize..20, 0..60),
        ) {
            let mut wire = Vec::new();
            for body in &bodies {
                wire.extend(format!("{:x}\r\n", body.len()).into_bytes());
                wire.extend(body);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
            let mut frames = Vec::new();
            let mut rest = wire.as_slice();
            for cut in cuts {
                let (frame, after) = rest.split_at(cut.min(rest.len()));
                frames.push(frame);
                rest = after;
            }
            frames.push(rest);
            let told = run(Chunks::Unsigned, &frames).unwrap();
            // Read what came out with the same parser, as one frame: the data must be equal.
            let mut parser = Parser { chunks: Chunks::Unsigned, state: State::Line(Vec::new()), out: VecDeque::new() };
            parser.feed(told.into()).unwrap();
            let out: Vec<Bytes> = parser.out.into();
            let data: Vec<u8> = out.chunks(3).filter(|chunk| chunk.len() == 3).flat_map(|chunk| chunk[1].to_vec()).collect();
            prop_assert_eq!(data, bodies.concat());
            prop_assert!(out.last().unwrap().ends_with(b"AAAAAA==\r\n\r\n"));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), signed: bool) {
            let chunks = if signed { Chunks::Signed } else { Chunks::Unsigned };
            let _ = run(chunks, &[&bytes]);
        }
    }
}
