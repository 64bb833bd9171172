//! Real file systems, made by `mke2fs` from a folder: what is read is what is in the folder, by path, size and hash.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::blocks::Raw;

type Found = BTreeMap<Vec<u8>, (u64, blake3::Hash)>;

/// Files of all sorts that have gone wrong somewhere: holes at the beginning, in the middle and at the end, many pieces, odd names, deep trees.
fn tree(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("empty", b"");
    write("short", b"x");
    write("inline", &[b'i'; 59]);
    write("inline-more", &[b'j'; 120]);
    write("block", &[7; 4096]);
    write("large", &(0..3_000_000u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect::<Vec<u8>>());
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"odd \xff\n name")), b"odd").unwrap();
    let sparse = |name: &str, pieces: &[u64], end: u64| {
        let mut file = File::create(folder.join(name)).unwrap();
        for at in pieces {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.write_all(&at.to_le_bytes()).unwrap();
        }
        file.set_len(end).unwrap();
    };
    sparse("all-hole", &[], 5_000_000);
    sparse("hole-first", &[1 << 20], (1 << 20) + 8);
    sparse("hole-last", &[0], 3_000_001);
    sparse("hole-within", &[0, 1 << 22], (1 << 22) + 100);
    // More than fit into one node, so that the tree has a level.
    sparse("many", &(0..2000).map(|i| i * 16384).collect::<Vec<u64>>(), 1999 * 16384 + 8);
    let mut deep = folder.to_owned();
    for level in 0..60 {
        deep.push(format!("level-{level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), b"deep").unwrap();
    fs::create_dir(folder.join("wide")).unwrap();
    for number in 0..3000 {
        fs::write(folder.join(format!("wide/a name that is long enough to fill blocks {number}")), number.to_string())
            .unwrap();
    }
    fs::create_dir(folder.join("small-folder")).unwrap();
    write("small-folder/one", b"1");
    fs::hard_link(folder.join("large"), folder.join("small-folder/the same")).unwrap();
    std::os::unix::fs::symlink("short", folder.join("link")).unwrap();
    std::os::unix::fs::symlink("long/".repeat(30), folder.join("long-link")).unwrap();
}

fn on_host(folder: &Path) -> Found {
    let (mut found, mut left) = (Found::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let (entry, path) = entry.map(|entry| (entry.file_type().unwrap(), entry.path())).unwrap();
            if entry.is_dir() {
                left.push(path);
            } else if entry.is_file() {
                let bytes = fs::read(&path).unwrap();
                let name = path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
                found.insert(name, (bytes.len() as u64, blake3::hash(&bytes)));
            }
        }
    }
    found
}

fn in_image(image: &Path) -> Found {
    let ext4 = Ext4::open(Raw::new(File::open(image).unwrap()).unwrap()).unwrap();
    let (mut files, mut found) = (Vec::new(), Found::new());
    ext4.walk(|entry| {
        let inode = entry.inode.unwrap();
        if inode.kind() == Some(Kind::File) {
            let runs = ext4.runs(&inode).unwrap();
            files.push((entry.path, inode, runs));
        }
    });
    files.sort_by_key(|(_, _, runs)| runs.first().map_or(0, |run| run.physical));
    let mut window = Window::default();
    for (path, inode, runs) in files {
        let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
        let see = |bytes: &[u8]| {
            hasher.update(bytes);
            len += bytes.len() as u64;
        };
        ext4.read(&inode, &runs, &mut window, see).unwrap();
        assert_eq!(len, inode.size());
        found.insert(path, (len, hasher.finalize()));
    }
    found
}

fn mke2fs(folder: &Path, image: &Path, more: &[&str]) {
    let made =
        Command::new("/sbin/mke2fs").args(["-q", "-F", "-d"]).arg(folder).args(more).arg(image).arg("1G").output();
    let made = made.expect("e2fsprogs is installed");
    assert!(made.status.success(), "{more:?}: {}", String::from_utf8_lossy(&made.stderr));
}

fn images() -> (tempfile::TempDir, Vec<(String, PathBuf)>, Found) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tree");
    fs::create_dir(&folder).unwrap();
    tree(&folder);
    let kinds: [&[&str]; 9] = [
        &["-t", "ext4"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "65536"],
        &["-t", "ext4", "-O", "inline_data", "-I", "256"],
        &["-t", "ext4", "-O", "^64bit,^metadata_csum"],
        &["-t", "ext4", "-O", "meta_bg,^resize_inode", "-b", "1024"],
        &["-t", "ext4", "-O", "sparse_super2", "-I", "1024"],
        &["-t", "ext3"],
        &["-t", "ext2", "-b", "1024", "-O", "^filetype"],
    ];
    let make = |(number, more): (usize, &&[&str])| {
        let image = dir.path().join(format!("{number}.raw"));
        mke2fs(&folder, &image, more);
        (more.join(" "), image)
    };
    let images = kinds.iter().enumerate().map(make).collect();
    let host = on_host(&folder);
    (dir, images, host)
}

#[test]
fn all_files_are_there_with_all_their_bytes_and_nothing_else() {
    let (_dir, images, host) = images();
    assert!(host.len() > 3010);
    for (kind, image) in images {
        let found = in_image(&image);
        let differ: Vec<_> = host
            .iter()
            .filter(|(path, file)| found.get(*path) != Some(file))
            .map(|(path, _)| String::from_utf8_lossy(path))
            .collect();
        assert!(differ.is_empty(), "{kind}: {differ:?}");
        assert_eq!(found.len(), host.len(), "{kind}");
    }
}

/// Bytes of a real file system are changed at random: whatever that makes of it, the walk and all reads end, and nothing panics.
#[test]
fn damage_of_any_kind_is_told_and_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tree");
    fs::create_dir(&folder).unwrap();
    for number in 0..20 {
        fs::create_dir(folder.join(format!("{number}"))).unwrap();
        fs::write(folder.join(format!("{number}/file")), vec![number; 3000 * usize::from(number)]).unwrap();
    }
    for more in [&["-t", "ext4", "-O", "inline_data"][..], &["-t", "ext2", "-b", "1024"]] {
        let image = dir.path().join("image");
        let made = Command::new("/sbin/mke2fs")
            .args(["-q", "-F", "-d"])
            .arg(&folder)
            .args(more)
            .arg(&image)
            .arg("2M")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let whole = fs::read(&image).unwrap();
        // What is in use, so that most changes meet something.
        let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
        let mut random = 1u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let (mut told, mut read) = (0, 0);
        for _ in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..=next(8) {
                let at = used[next(used.len())] & !3;
                let word = [0, 1, 0xff, 0xffff, 0x8000_0000, 0xffff_ffff, u32::MAX / 3][next(7)] ^ next(16) as u32;
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            let Ok(ext4) = Ext4::open(&bytes[..]) else {
                told += 1;
                continue;
            };
            let mut window = Window::default();
            ext4.walk(|entry| {
                let is_small = |inode: &Inode| inode.kind() == Some(Kind::File) && inode.size() < 1 << 24;
                let Some(inode) = entry.inode.ok().filter(is_small) else {
                    told += 1;
                    return;
                };
                let done = ext4.runs(&inode).and_then(|runs| {
                    let mut len = 0;
                    ext4.read(&inode, &runs, &mut window, |bytes| len += bytes.len() as u64)?;
                    assert_eq!(len, inode.size());
                    Ok(())
                });
                if done.is_ok() { read += 1 } else { told += 1 }
            });
        }
        assert!(told > 100 && read > 10_000, "{told} {read}");
    }
}
