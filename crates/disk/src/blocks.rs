//! Bytes of a disk, wherever they come from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes at offsets. All readers of partitions and file systems go by this.
pub trait Blocks: Send + Sync {
    /// Bytes.
    fn len(&self) -> u64;

    /// Fills `out` from the offset `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] beyond the end; else those of what it is read from.
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<()>;

    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Blocks + ?Sized> Blocks for &T {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        (**self).read_at(out, at)
    }
}

impl Blocks for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self.get(at..).and_then(|bytes| bytes.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A raw image, or a disk.
#[derive(Debug)]
pub struct Raw {
    file: File,
    len: u64,
}

impl Raw {
    /// One that is as long as it is now.
    ///
    /// # Errors
    /// The system's.
    pub fn new(file: File) -> io::Result<Self> {
        use std::io::{Seek, SeekFrom};
        // Devices have no length of their own.
        let len = (&file).seek(SeekFrom::End(0))?;
        Ok(Self { file, len })
    }
}

impl Blocks for Raw {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(out, at)
    }
}

/// A piece of another one.
#[derive(Debug, Clone, Copy)]
pub struct Part<B> {
    whole: B,
    start: u64,
    len: u64,
}

impl<B: Blocks> Part<B> {
    /// The bytes from `start` on, `len` of them, as far as they are there.
    pub fn new(whole: B, start: u64, len: u64) -> Self {
        let start = start.min(whole.len());
        let len = len.min(whole.len() - start);
        Self { whole, start, len }
    }
}

impl<B: Blocks> Blocks for Part<B> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let is_within = at.checked_add(out.len() as u64).is_some_and(|end| end <= self.len);
        if !is_within {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.whole.read_at(out, self.start + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_where_it_ends_and_where_the_whole_does() {
        let bytes = &b"0123456789"[..];
        let part = Part::new(bytes, 4, 3);
        let mut out = [0; 2];
        part.read_at(&mut out, 1).expect("it is within");
        assert_eq!((part.len(), &out), (3, b"56"));
        for at in [2, 3, u64::MAX] {
            assert_eq!(part.read_at(&mut out, at).expect_err("it is beyond").kind(), io::ErrorKind::UnexpectedEof);
        }
        assert_eq!(Part::new(bytes, 8, 100).len(), 2);
        assert_eq!(Part::new(bytes, 100, 100).len(), 0);
    }
}
