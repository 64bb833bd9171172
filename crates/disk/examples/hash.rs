//! How fast files are read out of an image and hashed: `cargo run --release -p disk --example hash -- IMAGE`, a raw one with ext4 on it.
#![allow(clippy::print_stdout, reason = "printing figures is all that it does")]

use std::fs::File;
use std::time::Instant;

use disk::blocks::Raw;
use disk::ext4::{Ext4, Kind, Window};
use disk::volume::{Content, volumes};

fn main() {
    let path = std::env::args().nth(1).expect("an image");
    let disk = Raw::new(File::open(path).expect("it is opened")).expect("its length");
    for volume in volumes(&disk).expect("volumes").iter().filter(|volume| volume.content == Content::Ext) {
        // The first time it comes into memory.
        for _ in 0..6 {
            let begun = Instant::now();
            let ext4 = Ext4::open(volume.of(&disk)).expect("a file system");
            let (mut files, mut told) = (Vec::new(), 0);
            ext4.walk(|entry| match entry.inode.and_then(|inode| Ok((ext4.runs(&inode)?, inode))) {
                Ok((runs, inode)) if inode.kind() == Some(Kind::File) => files.push((runs, inode)),
                Ok(_) => {}
                Err(_) => told += 1,
            });
            // Each is read once, however many names it has.
            files.sort_by_key(|(runs, inode)| (runs.first().map_or(0, |run| run.physical), inode.number));
            files.dedup_by_key(|(_, inode)| inode.number);
            let walked = begun.elapsed();
            let (mut window, mut bytes) = (Window::default(), 0);
            for (runs, inode) in &files {
                let mut hasher = blake3::Hasher::new();
                let read = ext4.read(inode, runs, &mut window, |piece| {
                    hasher.update(piece);
                    bytes += piece.len() as u64;
                });
                told += u64::from(read.is_err());
                std::hint::black_box(hasher.finalize());
            }
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "{} files, {} MB, {told} not read: names in {walked:.3?}, all in {seconds:.3} s, {:.0} MB/s",
                files.len(),
                bytes / 1_000_000,
                bytes as f64 / 1e6 / seconds
            );
        }
    }
}
