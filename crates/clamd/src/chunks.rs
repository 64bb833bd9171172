//! The chunks of `INSTREAM`: a length of 32 bits, most significant byte first, and so many bytes; a length of zero ends the stream. Pure.

use std::ops::Range;

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// Bytes that are missing of the chunk at hand.
    left: u64,
    /// Bytes that may still come in chunks that are not begun.
    room: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More of the chunk at hand, so many bytes, or of a length (0).
    More(u64),
    /// Nothing: that was the stream.
    End,
    /// A chunk by which the stream is longer than it may be.
    TooLong,
}

/// What some bytes of a stream have in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// Where the content in them is now.
    pub content: Range<usize>,
    /// So many of them are done with.
    pub used: usize,
    /// What comes next.
    pub then: Then,
}

impl Chunks {
    /// The beginning of a stream of at most `most` bytes.
    pub fn new(most: u64) -> Self {
        Self { left: 0, room: most }
    }

    /// Takes the lengths out of `bytes`, so that the content in them is in one piece: to hash a dozen small pieces takes twice the time of one.
    pub fn gather(&mut self, bytes: &mut [u8]) -> Gathered {
        let (mut content, mut used) = (0..0, 0);
        let then = loop {
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - used);
            if content.is_empty() {
                content = used..used;
            } else {
                bytes.copy_within(used..used + here, content.end);
            }
            content.end += here;
            used += here;
            self.left -= here as u64;
            if self.left > 0 {
                break Then::More(self.left);
            }
            let Some(length) = bytes[used..].first_chunk::<4>() else { break Then::More(0) };
            let length = u64::from(u32::from_be_bytes(*length));
            used += 4;
            match self.room.checked_sub(length) {
                _ if length == 0 => break Then::End,
                // Before it comes: what is refused is not read.
                None => break Then::TooLong,
                Some(room) => (self.left, self.room) = (length, room),
            }
        };
        Gathered { content, used, then }
    }

    /// So many bytes of the chunk at hand came by another way.
    pub fn came(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::double::chunks;

    /// What came, how much may come, what of it is content, how much is used, what comes next.
    type Row = (&'static [u8], u64, &'static [u8], usize, Then);

    #[test]
    fn content_is_in_one_piece() {
        let table: &[Row] = &[
            (b"", 9, b"", 0, Then::More(0)),
            (b"\0\0\0", 9, b"", 0, Then::More(0)),
            (b"\0\0\0\0rest", 9, b"", 4, Then::End),
            (b"\0\0\0\x02ab", 9, b"ab", 6, Then::More(0)),
            (b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\0zPING", 9, b"abc", 15, Then::End),
            (b"\0\0\0\x02ab\0\0\0\x05cd", 9, b"abcd", 12, Then::More(3)),
            (b"\0\0\0\x02ab\0\0\0\x05cd", 6, b"ab", 10, Then::TooLong),
            (b"\xff\xff\xff\xff", u64::MAX, b"", 4, Then::More(u32::MAX.into())),
            (b"\xff\xff\xff\xff", 9, b"", 4, Then::TooLong),
        ];
        for (bytes, most, content, used, then) in table {
            let mut bytes = bytes.to_vec();
            let gathered = Chunks::new(*most).gather(&mut bytes);
            assert_eq!(&bytes[gathered.content], *content);
            assert_eq!((gathered.used, gathered.then), (*used, *then));
        }
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_changes_nothing(
            content in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..50, sizes in proptest::collection::vec(1_usize..30, 1..8),
        ) {
            let sent = chunks(&content, size);
            let (mut stream, mut all, mut here, mut at) = (Chunks::new(content.len() as u64), vec![], vec![], 0);
            for size in sizes.iter().cycle() {
                let next = sent.len().min(at + size);
                here.extend_from_slice(&sent[at..next]);
                at = next;
                let gathered = stream.gather(&mut here);
                all.extend_from_slice(&here[gathered.content]);
                here.drain(..gathered.used);
                match gathered.then {
                    Then::More(_) => prop_assert!(at < sent.len()),
                    then => {
                        prop_assert_eq!(then, Then::End);
                        break;
                    }
                }
            }
            prop_assert_eq!((all, at), (content, sent.len()));
        }

        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>, most: u64) {
            let mut chunks = Chunks::new(most);
            let gathered = chunks.gather(&mut bytes);
            prop_assert!(gathered.content.end <= gathered.used && gathered.used <= bytes.len());
        }
    }
}
