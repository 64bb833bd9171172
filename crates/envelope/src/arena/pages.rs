//! Pages that the system keeps from others. The only file of this crate with unsafe code: mapping memory has no safe
//! way, and what is mapped here is never unmapped, so that references into it are good for ever.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};

use rustix::fs::ftruncate;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};

use super::Keeping;

/// `len` zeroed bytes (whole pages), as well kept as the system does; nothing when it locks no more.
pub(super) fn map(len: usize) -> Option<(Keeping, &'static mut [u8])> {
    let by = |keeping| move |bytes| (keeping, bytes);
    secret(len).map(by(Keeping::Secret)).or_else(|| locked(len).map(by(Keeping::Locked)))
}

/// Linux 5.14 and later (before 6.5 only with `secretmem.enable=1`): pages that the kernel takes out of its own map.
/// They count as locked, are never dumped, and no debugger reads them.
pub(super) fn secret(len: usize) -> Option<&'static mut [u8]> {
    // SAFETY: the call takes flags, and gives a descriptor that is ours alone, or -1.
    let fd = unsafe {
        let fd = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        OwnedFd::from_raw_fd(i32::try_from(fd).ok().filter(|fd| *fd >= 0)?)
    };
    ftruncate(&fd, len as u64).ok()?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at a place that the kernel chooses; the descriptor that is closed below was its only
    // other end.
    let start = unsafe { mmap(null_mut(), len, access, MapFlags::SHARED, &fd, 0) }.ok()?;
    // Shared mappings cannot be wiped in a child; they can be left out of it.
    // SAFETY: advice about the whole of a mapping that is ours.
    let advised = unsafe { madvise(start, len, Advice::LinuxDontFork) };
    // SAFETY: mapped just now for reading and writing, and referred to from nowhere else.
    unsafe { kept(start, len, advised.is_ok()) }
}

/// Private pages that are not swapped, dumped, or seen by a forked child.
pub(super) fn locked(len: usize) -> Option<&'static mut [u8]> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let start = unsafe { mmap_anonymous(null_mut(), len, access, MapFlags::PRIVATE) }.ok()?;
    // SAFETY: a lock of, and advice about, the whole of a mapping that is ours; neither changes its bytes here.
    let done = unsafe {
        mlock(start, len)
            .and_then(|()| madvise(start, len, Advice::LinuxDontDump))
            .and_then(|()| madvise(start, len, Advice::LinuxWipeOnFork))
    };
    // SAFETY: mapped just now for reading and writing, and referred to from nowhere else.
    unsafe { kept(start, len, done.is_ok()) }
}

/// The mapping for good, or no mapping.
///
/// # Safety
/// `start` must begin a mapping of `len` zeroed bytes, readable and writable, that nothing refers to.
unsafe fn kept(start: *mut core::ffi::c_void, len: usize, good: bool) -> Option<&'static mut [u8]> {
    let first = NonNull::new(start.cast::<u8>())?;
    if !good {
        // SAFETY: by the contract nothing refers to it. Where it fails the mapping stays, unused.
        let _ = unsafe { munmap(start, len) };
        return None;
    }
    // SAFETY: by the contract; it is never unmapped after this.
    Some(unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 64 << 10;

    /// What the kernel says of the mapping that an address is in: its name and its flags.
    fn mapping(at: *const u8) -> (String, Vec<String>) {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let at = at as usize;
        let mut found = None;
        for line in smaps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((Ok(from), Ok(to))) =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)))
            {
                found = (from..to).contains(&at).then(|| line.to_owned());
            } else if let (Some(name), Some(flags)) = (&found, line.strip_prefix("VmFlags: ")) {
                return (name.clone(), flags.split_whitespace().map(str::to_owned).collect());
            }
        }
        panic!("no mapping at {at:x}");
    }

    fn has(flags: &[String], wanted: &[&str]) -> bool {
        wanted.iter().all(|flag| flags.iter().any(|found| found == flag))
    }

    /// lo: locked, dd: not dumped, wf: wiped in a child.
    #[test]
    fn locked_pages_are_what_they_are_called() {
        let bytes = locked(LEN).expect("64 KiB can be locked");
        let (_, flags) = mapping(bytes.as_ptr());
        assert!(has(&flags, &["lo", "dd", "wf"]), "{flags:?}");
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    /// lo: locked, dd: not dumped, dc: not in a child.
    #[test]
    #[allow(clippy::print_stdout)]
    fn secret_pages_are_read_by_nobody_else() {
        let Some(bytes) = secret(LEN) else {
            println!("SKIPPED secret_pages_are_read_by_nobody_else: no memfd_secret");
            return;
        };
        bytes.fill(7);
        let (name, flags) = mapping(bytes.as_ptr());
        assert!(name.contains("secretmem"), "{name}");
        assert!(has(&flags, &["lo", "dd", "dc"]), "{flags:?}");
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let read = std::os::unix::fs::FileExt::read_at(&memory, &mut [0; 32], bytes.as_ptr() as u64);
        assert!(read.is_err(), "{read:?}");
    }
}
