//! The bytes of files.

use super::{Ext4, Inode, Run};
use crate::blocks::Blocks;
use crate::problem::Problem;

/// Bytes that are read at once: what several small files that lie together share.
const WINDOW: usize = 2 << 20;
/// Zeros, for holes.
static ZEROS: [u8; 128 << 10] = [0; 128 << 10];

/// The bytes that were read last. Files that are read in the order of their places on the disk share them.
#[derive(Debug)]
pub struct Window {
    bytes: Vec<u8>,
    start: u64,
    len: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { bytes: vec![0; WINDOW], start: 0, len: 0 }
    }
}

impl Window {
    /// Bytes from the offset `at` on, at most `most`, at least one.
    fn get(&mut self, blocks: &impl Blocks, at: u64, most: u64) -> Result<&[u8], Problem> {
        let is_here = at >= self.start && at - self.start < self.len as u64;
        if !is_here {
            let len = blocks.len().saturating_sub(at).min(WINDOW as u64) as usize;
            if len == 0 {
                return Err(Problem::Damaged("the image ends before it"));
            }
            self.len = 0;
            blocks.read_at(&mut self.bytes[..len], at)?;
            (self.start, self.len) = (at, len);
        }
        let from = (at - self.start) as usize;
        let len = (self.len - from).min(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(&self.bytes[from..from + len])
    }
}

impl<B: Blocks> Ext4<B> {
    /// Shows a file's bytes, in order, as many as its size says: zeros where there are none on the disk.
    ///
    /// # Errors
    /// The map's, and a read's.
    pub fn read(
        &self,
        inode: &Inode,
        runs: &[Run],
        window: &mut Window,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), Problem> {
        let size = inode.size();
        if inode.is_encrypted() {
            return Err(Problem::Encrypted);
        }
        if inode.is_inline() || inode.is_short_link() {
            let bytes = inode.inline();
            let here = usize::try_from(size).map_or(bytes.len(), |size| bytes.len().min(size));
            see(&bytes[..here]);
            // As the kernel reads it; `mke2fs -d` leaves a large hole so.
            zeros(size - here as u64, &mut see);
            return Ok(());
        }
        let mut at = 0;
        for run in runs {
            let start = run.logical.saturating_mul(self.head.block_size).min(size);
            zeros(start.saturating_sub(at), &mut see);
            at = start.max(at);
            let mut left = run.len.saturating_mul(self.head.block_size).min(size - at);
            let mut from =
                run.physical.checked_mul(self.head.block_size).ok_or(Problem::Damaged("a block that lies nowhere"))?;
            while left > 0 {
                let bytes = window.get(&self.blocks, from, left)?;
                see(bytes);
                let count = bytes.len() as u64;
                (at, from, left) = (at + count, from + count, left - count);
            }
        }
        zeros(size - at, &mut see);
        Ok(())
    }
}

fn zeros(mut count: u64, see: &mut impl FnMut(&[u8])) {
    while count > 0 {
        let some = count.min(ZEROS.len() as u64);
        see(&ZEROS[..some as usize]);
        count -= some;
    }
}
