//! Listing a folder in the order of whole names, with bounded memory.

use std::collections::BinaryHeap;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::root::{Root, SEGMENTS_DIR};
use crate::Entry;
use crate::name::is_name;

/// Entries of one directory held at a time. A larger directory is read more than once.
const WINDOW: usize = 4096;

/// Names under `prefix` (empty, or ending in `/`) after `after`, ascending, at most `limit`.
pub(super) fn list(root: &Root, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Errno> {
    let mut found = Vec::new();
    if prefix.split('/').next() == Some(SEGMENTS_DIR) {
        return Ok(found);
    }
    walk(root, prefix, after.unwrap_or(""), limit, &mut found)?;
    Ok(found)
}

fn walk(root: &Root, path: &str, after: &str, limit: usize, found: &mut Vec<Entry>) -> Result<(), Errno> {
    let mut last = String::new();
    loop {
        let window = window(root, path, &last, WINDOW)?;
        for leaf in &window {
            if found.len() >= limit {
                return Ok(());
            }
            let full = format!("{path}{leaf}");
            if leaf.ends_with('/') {
                // Everything below sorts from `full` on.
                if full.as_str() > after || after.starts_with(&full) {
                    walk(root, &full, after, limit, found)?;
                }
            } else if full.as_str() > after {
                found.extend(entry(root, full)?);
            }
        }
        match window.into_iter().next_back() {
            Some(leaf) => last = leaf,
            None => return Ok(()),
        }
    }
}

/// The smallest entries of a directory after `last`. Directories end in `/`, which is how they
/// sort among whole names. What is no name of ours, or gone by now, is passed over.
fn window(root: &Root, path: &str, last: &str, size: usize) -> Result<Vec<String>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = if path.is_empty() { "." } else { path.trim_end_matches('/') };
    let dir = match rustix::fs::openat(root.fd(), place, flags, Mode::empty()) {
        Ok(fd) => Dir::new(fd)?,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut smallest = BinaryHeap::new();
    for item in dir {
        let item = item?;
        let Ok(leaf) = item.file_name().to_str() else { continue };
        if !is_name(&format!("{path}{leaf}")) || (path.is_empty() && leaf == SEGMENTS_DIR) {
            continue;
        }
        let leaf = match kind(root, path, leaf, item.file_type())? {
            Some(FileType::RegularFile) => leaf.to_owned(),
            Some(FileType::Directory) => format!("{leaf}/"),
            _ => continue,
        };
        if leaf.as_str() > last {
            smallest.push(leaf);
            if smallest.len() > size {
                smallest.pop();
            }
        }
    }
    Ok(smallest.into_sorted_vec())
}

/// Not every file system tells the kind in its directories.
fn kind(root: &Root, path: &str, leaf: &str, told: FileType) -> Result<Option<FileType>, Errno> {
    if told != FileType::Unknown {
        return Ok(Some(told));
    }
    match rustix::fs::statat(root.fd(), format!("{path}{leaf}"), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn entry(root: &Root, name: String) -> Result<Option<Entry>, Errno> {
    match rustix::fs::statat(root.fd(), &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
            let modified_ms = seconds.saturating_mul(1000).saturating_add(stat.st_mtime_nsec / 1_000_000);
            Ok(Some(Entry { name, size: u64::try_from(stat.st_size).unwrap_or_default(), modified_ms }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_larger_than_the_window_is_walked_whole() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..50 {
            std::fs::write(folder.path().join(format!("{i:02}")), "x").unwrap();
        }
        std::fs::write(folder.path().join("~torn"), "x").unwrap();
        let root = Root::open(folder.path(), false).unwrap();
        let (mut seen, mut last) = (Vec::new(), String::new());
        loop {
            let some = window(&root, "", &last, 7).unwrap();
            let Some(leaf) = some.last() else { break };
            last = leaf.clone();
            seen.extend(some);
        }
        assert_eq!(seen, (0..50).map(|i| format!("{i:02}")).collect::<Vec<_>>());
    }
}
