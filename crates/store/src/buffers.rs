//! Memory for the stripes of large parts in flight, used again and again.
//!
//! A stripe is filled by one thread and let go by another, when the last site has it. An allocator
//! keeps such pieces for the thread that asked for them first, so that a busy server would come to
//! hold several times what its uploads need.

use std::sync::Arc;

use base::limits::{DATA_COLUMNS, PARITY_COLUMNS};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::blob::UNIT;

/// Bytes of a full stripe's data, and of its parity.
const SIZES: [usize; 2] = [UNIT as usize * DATA_COLUMNS, UNIT as usize * PARITY_COLUMNS];

/// Buffers that nobody uses now, by size.
pub(crate) struct Buffers {
    free: [Mutex<Vec<Vec<u8>>>; 2],
    /// Most that are kept of each size.
    keep: usize,
}

impl Buffers {
    /// Keeps buffers for at most so many bytes of stripes.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { free: Default::default(), keep: bytes / SIZES.iter().sum::<usize>() })
    }

    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let kept = SIZES.iter().position(|size| *size == len).and_then(|class| self.free[class].lock().pop());
        kept.unwrap_or_else(|| Vec::with_capacity(len))
    }

    /// A filled buffer as shared bytes. It comes back when the last of them is dropped.
    pub(crate) fn share(self: &Arc<Self>, filled: Vec<u8>) -> Bytes {
        match SIZES.iter().position(|size| *size == filled.capacity()) {
            Some(class) => Bytes::from_owner(Lent { bytes: filled, class, home: self.clone() }),
            None => filled.into(),
        }
    }
}

/// A buffer that others read.
struct Lent {
    bytes: Vec<u8>,
    class: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.free[self.class].lock();
        if free.len() < self.home.keep {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_nobody_reads_it() {
        let buffers = Buffers::new(SIZES.iter().sum::<usize>());
        let mut filled = buffers.take(SIZES[0]);
        filled.resize(SIZES[0], 7);
        let place = filled.as_ptr();
        let shared = buffers.share(filled);
        let slice = shared.slice(10..20);
        drop(shared);
        let other = buffers.take(SIZES[0]);
        assert_ne!(other.as_ptr(), place, "somebody reads it");
        assert_eq!(&slice[..], &[7; 10]);
        drop(slice);
        let again = buffers.take(SIZES[0]);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn no_more_are_kept_than_said_and_no_other_sizes() {
        let buffers = Buffers::new(SIZES.iter().sum::<usize>());
        let shared = [0; 3].map(|_| buffers.share(buffers.take(SIZES[1])));
        drop(shared);
        drop(buffers.share(buffers.take(100)));
        assert_eq!(buffers.free.each_ref().map(|free| free.lock().len()), [0, 1]);
    }
}
