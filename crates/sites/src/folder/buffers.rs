//! Read buffers that are used again, so that hot reads neither clear memory nor ask for it.

use std::sync::Arc;

use parking_lot::Mutex;

/// Sizes are rounded up to this.
const STEP: usize = 4096;
/// Larger buffers are not kept.
const KEPT_MAX: usize = 1 << 20;
/// Bytes kept idle per site.
const IDLE_MAX: usize = 8 << 20;

/// Idle buffers of one site.
#[derive(Default)]
pub(super) struct Buffers {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    bytes: usize,
    buffers: Vec<Vec<u8>>,
}

/// A buffer of a given length that goes back when dropped. Its contents are whatever an earlier
/// read left there: sealed bytes of the same site.
pub(super) struct Buffer {
    memory: Vec<u8>,
    len: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// A buffer of `len` bytes.
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let size = len.next_multiple_of(STEP);
        let memory = self.idle.lock().take(size).unwrap_or_else(|| vec![0; size]);
        Buffer { memory, len, home: self.clone() }
    }
}

impl Idle {
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        // From the end: the one used last is the one still in the processor's cache. Few sizes
        // are in use at a time, so the search is short.
        let found = self.buffers.iter().rposition(|buffer| buffer.len() == size)?;
        self.bytes -= size;
        Some(self.buffers.swap_remove(found))
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() > KEPT_MAX {
            return;
        }
        // The oldest make room, so that a size no longer asked for does not stay for ever.
        while self.bytes + buffer.len() > IDLE_MAX && !self.buffers.is_empty() {
            self.bytes -= self.buffers.swap_remove(0).len();
        }
        self.bytes += buffer.len();
        self.buffers.push(buffer);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.idle.lock().give(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_again_and_bounded() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(5000);
        buffer.as_mut().fill(7);
        assert_eq!(buffer.as_ref().len(), 5000);
        drop(buffer);
        assert_eq!(buffers.take(8192).as_ref()[..5000], [7; 5000], "the same memory");
        assert_eq!(buffers.take(0).as_ref(), b"");

        let many: Vec<_> = (1..300).map(|n| buffers.take(n * STEP)).collect();
        drop(many);
        let idle = buffers.idle.lock();
        assert!(idle.bytes <= IDLE_MAX);
        assert_eq!(idle.bytes, idle.buffers.iter().map(Vec::len).sum::<usize>());
    }
}
