//! Where plaintext key encryption keys live: slots of 32 bytes in locked pages, handed out one owner at a time.
//!
//! The pages are never swapped, never in a core file, never seen by a forked child; where the kernel has secret memory
//! (`memfd_secret`), nobody but this process reads them, the kernel's own reads for a debugger included. When no more
//! can be locked, keys go to ordinary memory, zeroed all the same: a server without a limit raised should serve.
//! [`arena_status`] tells, so that somebody can be told.

mod pages;

use parking_lot::Mutex;
use zeroize::Zeroize;

use crate::key::KEY_LEN;

/// Bytes that are locked at once: 2,048 keys, and no more than the smallest limits there are (64 KiB).
const CHUNK: usize = 64 << 10;
/// Most that is locked.
const CHUNKS_MAX: usize = 64;
/// Keys that locked memory has room for, where the system's limit lets it grow so far. Who keeps keys keeps fewer in all.
pub const LOCKED_KEYS_MAX: usize = CHUNKS_MAX * CHUNK / KEY_LEN;
/// Slots that are made at once in ordinary memory.
const ORDINARY_SLOTS: usize = 64;

type Slot = &'static mut [u8; KEY_LEN];
/// Zeroed bytes for good, and how well they are kept; nothing when no more are to be had.
type Map = fn(usize) -> Option<(Keeping, &'static mut [u8])>;

/// How well memory is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// `memfd_secret`: in no other address space, the kernel's own included.
    Secret,
    /// `mlock`: not swapped, not dumped, not inherited.
    Locked,
    /// Memory like any other.
    Ordinary,
}

/// Keys in memory now, by how well they are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArenaStatus {
    /// In memory that is this process's secret.
    pub secret: usize,
    /// In locked memory.
    pub locked: usize,
    /// In ordinary memory, since no more could be locked.
    pub ordinary: usize,
    /// Whether the system refused to lock more. If not, there were more keys than [`LOCKED_KEYS_MAX`].
    pub is_refused: bool,
}

/// Counts the plaintext keys of this process. A look, no I/O.
pub fn arena_status() -> ArenaStatus {
    ARENA.status()
}

static ARENA: Arena = Arena::new(pages::map);

/// Free slots, and how to get more.
struct Arena {
    state: Mutex<State>,
    map: Map,
}

struct State {
    /// By [`Keeping`]. What is free is zeros.
    free: [Vec<Slot>; 3],
    used: [usize; 3],
    chunks: usize,
    is_refused: bool,
}

impl Arena {
    const fn new(map: Map) -> Self {
        let free = [Vec::new(), Vec::new(), Vec::new()];
        Self { state: Mutex::new(State { free, used: [0; 3], chunks: 0, is_refused: false }), map }
    }

    fn take(&'static self) -> Locked {
        let mut state = self.state.lock();
        let (keeping, slot) = match state.take() {
            Some(taken) => taken,
            None => {
                self.grow(&mut state);
                // Only where growing gave nothing at all, which it never does.
                state.take().unwrap_or_else(|| (Keeping::Ordinary, Box::leak(Box::new([0; KEY_LEN]))))
            }
        };
        state.used[keeping as usize] += 1;
        Locked { slot: Some(slot), keeping, home: self }
    }

    /// Slots are for the life of the process: what is locked is not given back, and no slot can outlive its page.
    fn grow(&self, state: &mut State) {
        let mapped = if state.chunks < CHUNKS_MAX { (self.map)(CHUNK) } else { None };
        let (keeping, bytes) = mapped.unwrap_or_else(|| {
            state.is_refused |= state.chunks < CHUNKS_MAX;
            // Failing once is failing for good: each try is a few calls of the system.
            state.chunks = CHUNKS_MAX;
            (Keeping::Ordinary, Box::leak(vec![0; ORDINARY_SLOTS * KEY_LEN].into_boxed_slice()))
        });
        state.chunks = (state.chunks + 1).min(CHUNKS_MAX);
        state.free[keeping as usize].extend(bytes.as_chunks_mut::<KEY_LEN>().0);
    }

    fn give_back(&self, slot: Slot, keeping: Keeping) {
        slot.zeroize();
        let mut state = self.state.lock();
        state.used[keeping as usize] -= 1;
        state.free[keeping as usize].push(slot);
    }

    fn status(&self) -> ArenaStatus {
        let state = self.state.lock();
        let [secret, locked, ordinary] = state.used;
        ArenaStatus { secret, locked, ordinary, is_refused: state.is_refused }
    }
}

impl State {
    /// The best that is free. Ordinary slots that are free are used up before more of them are made.
    fn take(&mut self) -> Option<(Keeping, Slot)> {
        let best_first = [Keeping::Secret, Keeping::Locked, Keeping::Ordinary];
        let can_lock = self.chunks < CHUNKS_MAX;
        let mut kinds = best_first.into_iter().filter(|kind| !can_lock || *kind != Keeping::Ordinary);
        kinds.find_map(|kind| Some((kind, self.free[kind as usize].pop()?)))
    }
}

/// 32 secret bytes in a slot of their own. Cannot be printed, cloned or serialised; zeroed when dropped.
///
/// ```compile_fail
/// fn printed<T: std::fmt::Debug>() {}
/// printed::<envelope::Locked>();
/// ```
///
/// ```compile_fail
/// fn cloned<T: Clone>() {}
/// cloned::<envelope::Kek>();
/// ```
pub struct Locked {
    /// Until it is dropped.
    slot: Option<Slot>,
    keeping: Keeping,
    home: &'static Arena,
}

impl Locked {
    /// A slot of zeros, to be filled in place: bytes that are made elsewhere leave copies there.
    pub fn zeros() -> Self {
        ARENA.take()
    }

    /// A copy of bytes; zeroing those is the caller's matter.
    pub fn copy_of(bytes: &[u8; KEY_LEN]) -> Self {
        let mut locked = Self::zeros();
        locked.bytes_mut().copy_from_slice(bytes);
        locked
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; KEY_LEN] {
        self.slot.as_deref().expect("a slot is held until it is dropped")
    }

    /// The bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8; KEY_LEN] {
        self.slot.as_deref_mut().expect("a slot is held until it is dropped")
    }

    /// How well they are kept.
    pub fn keeping(&self) -> Keeping {
        self.keeping
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.home.give_back(slot, self.keeping);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    fn arena(map: Map) -> &'static Arena {
        Box::leak(Box::new(Arena::new(map)))
    }

    /// Four slots a chunk, so that chunks and ordinary memory are reached soon.
    fn small(_: usize) -> Option<(Keeping, &'static mut [u8])> {
        Some((Keeping::Locked, Box::leak(vec![0; 4 * KEY_LEN].into_boxed_slice())))
    }

    fn none(_: usize) -> Option<(Keeping, &'static mut [u8])> {
        None
    }

    #[test]
    fn what_cannot_be_locked_is_ordinary_and_counted() {
        let arena = arena(none);
        let held: Vec<Locked> = (0..200).map(|_| arena.take()).collect();
        assert_eq!(arena.status(), ArenaStatus { ordinary: 200, is_refused: true, ..ArenaStatus::default() });
        assert!(held.iter().all(|locked| locked.keeping() == Keeping::Ordinary && *locked.bytes() == [0; KEY_LEN]));
        drop(held);
        assert_eq!(arena.status(), ArenaStatus { is_refused: true, ..ArenaStatus::default() });
    }

    #[test]
    fn a_full_arena_spills_and_locks_again_what_is_freed() {
        let arena = arena(small);
        let mut held: Vec<Locked> = (0..4 * CHUNKS_MAX).map(|_| arena.take()).collect();
        assert_eq!(arena.status(), ArenaStatus { locked: 4 * CHUNKS_MAX, ..ArenaStatus::default() });
        let spilled = arena.take();
        assert_eq!(spilled.keeping(), Keeping::Ordinary);
        assert!(!arena.status().is_refused, "the system would have locked more");
        held.pop();
        assert_eq!(arena.take().keeping(), Keeping::Locked, "a slot that came back goes before ordinary memory");
    }

    /// Slots are shared between threads by nothing but the arena.
    #[test]
    fn threads_never_hold_the_same_slot() {
        let arena = arena(small);
        std::thread::scope(|scope| {
            for thread in 1..=4_u8 {
                scope.spawn(move || {
                    for round in 0..500 {
                        let mut held: Vec<Locked> = (0..round % 7).map(|_| arena.take()).collect();
                        held.iter_mut().for_each(|locked| locked.bytes_mut().fill(thread));
                        assert!(held.iter().all(|locked| *locked.bytes() == [thread; KEY_LEN]));
                    }
                });
            }
        });
        assert_eq!(arena.status(), ArenaStatus::default());
    }

    proptest! {
        /// Against a map of what each owner wrote: nobody sees another's bytes, and what is taken anew is zeros.
        #[test]
        fn slots_have_one_owner(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..600)) {
            let arena = arena(small);
            let mut held: Vec<(Locked, u16)> = Vec::new();
            for (at, (takes, which)) in (1_u16..).zip(steps) {
                if takes || held.is_empty() {
                    let mut locked = arena.take();
                    prop_assert_eq!(*locked.bytes(), [0; KEY_LEN]);
                    locked.bytes_mut()[..2].copy_from_slice(&at.to_be_bytes());
                    held.push((locked, at));
                } else {
                    held.swap_remove(which.index(held.len()));
                }
                let places: HashMap<_, _> = held.iter().map(|(locked, _)| (locked.bytes().as_ptr(), ())).collect();
                prop_assert_eq!(places.len(), held.len());
                for (locked, wrote) in &held {
                    prop_assert_eq!(locked.bytes()[..2].to_vec(), wrote.to_be_bytes().to_vec());
                }
                let ArenaStatus { secret, locked, ordinary, .. } = arena.status();
                prop_assert_eq!(secret + locked + ordinary, held.len());
            }
        }
    }
}
