//! Files below a path, opened one after the other. Blocks: it has a thread of its own.
//!
//! No link is followed, also none that takes a folder's place meanwhile: each folder is opened from the one above. What is no plain file is not
//! opened at all, since to open a device or a pipe may do something.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, Dir, FileType, FsWord, Mode, OFlags, fstat, fstatfs, openat, statat};
use tokio::sync::mpsc::Sender;

use crate::limits::DEPTH_MAX;

/// File systems in which a file is no content: to read some of them never ends. Linux's `include/uapi/linux/magic.h`: proc, sysfs, debugfs,
/// tracefs, cgroup2, securityfs.
const NO_CONTENTS: [FsWord; 6] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163, 0x6367_7270, 0x7363_6673];

/// A file that is to be judged, or why it is not.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: Vec<u8>,
    pub(crate) file: Result<File, String>,
    /// It is in a folder that was asked for.
    pub(crate) in_folder: bool,
}

/// Nobody wants to know any more.
struct Gone;

/// Goes through `path` and what is in it, and tells `to` of each plain file and of each failure.
pub(crate) fn walk(path: &[u8], to: &Sender<Found>) {
    let mut walk = Walk { to, in_folder: false };
    let mut path = path.to_owned();
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    // Whoever asks has ended when it fails.
    let _: Result<(), Gone> = if path.starts_with(b"/") {
        let name = path.clone();
        walk.look(CWD, &name, &mut path, 0)
    } else {
        walk.tell(&path, Err("File path check failure; the path must begin with /.".to_owned()))
    };
}

struct Walk<'a> {
    to: &'a Sender<Found>,
    in_folder: bool,
}

impl Walk<'_> {
    fn tell(&self, path: &[u8], file: Result<File, String>) -> Result<(), Gone> {
        let found = Found { path: path.to_owned(), file, in_folder: self.in_folder };
        self.to.blocking_send(found).map_err(|_| Gone)
    }

    /// What is called `name` in a folder, and `path` as a whole.
    fn look(&mut self, at: BorrowedFd<'_>, name: &[u8], path: &mut Vec<u8>, depth: usize) -> Result<(), Gone> {
        let kind = statat(at, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
        match kind.map(|found| FileType::from_raw_mode(found.st_mode)) {
            Ok(FileType::RegularFile) => self.file(at, name, path),
            Ok(FileType::Directory) => self.folder(at, name, path, depth),
            Ok(_) if self.in_folder => Ok(()),
            Ok(FileType::Symlink) => self.tell(path, Err("Symbolic links are not followed.".to_owned())),
            Ok(_) => self.tell(path, Err("Not supported file type".to_owned())),
            // It was removed since its folder was read.
            Err(rustix::io::Errno::NOENT) if self.in_folder => Ok(()),
            Err(error) => self.tell(path, Err(why(error.into()))),
        }
    }

    fn file(&self, at: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), Gone> {
        // Should it be another file by now, opening it must not wait for somebody, nor make it the terminal.
        let opened = open(at, name, OFlags::NONBLOCK | OFlags::NOCTTY).and_then(|fd| {
            let is_file = FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::RegularFile;
            if is_file { Ok(File::from(fd)) } else { Err(io::Error::other("it is no plain file any more")) }
        });
        self.tell(path, opened.map_err(why))
    }

    fn folder(&mut self, at: BorrowedFd<'_>, name: &[u8], path: &mut Vec<u8>, depth: usize) -> Result<(), Gone> {
        if depth == DEPTH_MAX {
            return self.tell(path, Err("Directory recursion limit reached".to_owned()));
        }
        self.in_folder = true;
        let opened = open(at, name, OFlags::DIRECTORY).and_then(|fd| {
            let kind = fstatfs(fd.as_fd())?.f_type;
            Ok(if NO_CONTENTS.contains(&kind) { None } else { Some(Dir::new(fd)?) })
        });
        let mut dir = match opened {
            Ok(Some(dir)) => dir,
            Ok(None) => return Ok(()),
            Err(error) => return self.tell(path, Err(why(error))),
        };
        let len = path.len();
        while let Some(entry) = dir.read() {
            let (entry, at) = match entry.and_then(|entry| Ok((entry, dir.fd()?))) {
                Ok(next) => next,
                Err(error) => return self.tell(path, Err(why(error.into()))),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let looked = self.look(at, name, path, depth + 1);
            path.truncate(len);
            looked?;
        }
        Ok(())
    }
}

fn open(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, OsStr::from_bytes(name), flags, Mode::empty())?)
}

/// In clamd's words.
fn why(error: io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "Access denied.".to_owned();
    }
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    format!("File path check failure; {words}.")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    async fn found(path: &Path) -> Vec<(String, Result<(), String>)> {
        let (to, mut from) = tokio::sync::mpsc::channel(4);
        let path = path.as_os_str().as_bytes().to_owned();
        let walking = tokio::task::spawn_blocking(move || walk(&path, &to));
        let mut all = Vec::new();
        while let Some(found) = from.recv().await {
            all.push((String::from_utf8_lossy(&found.path).into_owned(), found.file.map(drop)));
        }
        walking.await.expect("it does not panic");
        all.sort();
        all
    }

    #[tokio::test]
    async fn plain_files_are_found_and_nothing_else_is_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        let text = |name: &str| at(name).to_str().expect("plain names").to_owned();
        std::fs::create_dir_all(at("in/deep")).expect("folders");
        std::fs::write(at("in/a"), "a").expect("a file");
        std::fs::write(at("in/deep/b"), "").expect("a file");
        std::fs::write(at("outside"), "x").expect("a file");
        symlink(at("outside"), at("in/link")).expect("a link");
        symlink(dir.path(), at("in/loop")).expect("a link");
        // To open it would wait for a writer.
        rustix::fs::mknodat(CWD, at("in/pipe"), FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        let plain = vec![(text("in/a"), Ok(())), (text("in/deep/b"), Ok(()))];
        assert_eq!(found(&at("in")).await, plain);
        assert_eq!(found(&at("in///")).await, plain);
        assert_eq!(found(&at("in/a")).await, plain[..1]);

        let refused = |name: &str, why: &str| vec![(text(name), Err(why.to_owned()))];
        assert_eq!(found(&at("in/link")).await, refused("in/link", "Symbolic links are not followed."));
        assert_eq!(found(&at("in/pipe")).await, refused("in/pipe", "Not supported file type"));
        let none = "File path check failure; No such file or directory.";
        assert_eq!(found(&at("none")).await, refused("none", none));
        let relative = found(Path::new("in/a")).await;
        assert!(matches!(relative.as_slice(), [(_, Err(why))] if why.contains("begin with /")), "{relative:?}");
        assert_eq!(found(Path::new("/proc/sys")).await, []);
    }

    #[tokio::test]
    async fn folders_in_folders_have_a_bound_that_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut deep = dir.path().to_owned();
        deep.extend(std::iter::repeat_n("d", DEPTH_MAX));
        std::fs::create_dir_all(&deep).expect("folders");
        std::fs::write(deep.join("hidden"), "").expect("a file");
        let found = found(dir.path()).await;
        let [(path, Err(why))] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((Path::new(path), why.as_str()), (deep.as_path(), "Directory recursion limit reached"));
    }

    #[tokio::test]
    async fn it_ends_when_nobody_listens() {
        let dir = tempfile::tempdir().expect("a folder");
        for i in 0..100 {
            std::fs::write(dir.path().join(i.to_string()), "").expect("a file");
        }
        let (to, mut from) = tokio::sync::mpsc::channel(1);
        let path = dir.path().as_os_str().as_bytes().to_owned();
        let walking = tokio::task::spawn_blocking(move || walk(&path, &to));
        assert!(from.recv().await.is_some());
        drop(from);
        walking.await.expect("it ends");
    }
}
