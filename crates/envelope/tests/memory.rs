//! Plaintext keys are found nowhere in the memory of a process but on its stack and in the locked pages.
//!
//! The program runs itself again as a child that holds keys, and reads that one's memory. Without a harness, so that
//! the child works on the stack of `main`, which the kernel names.
#![allow(clippy::print_stdout)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA512, digest};
use envelope::{Dek, Keeping, Kek, Locked, WrappedKey};
use zeroize::Zeroizing;

const KEYS: usize = 40;

/// The key of a number: both processes know it, and no buffer of a generator holds it.
fn bytes_of(number: usize) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(&digest(&SHA512, &number.to_be_bytes()).as_ref()[..32]);
    bytes
}

fn main() {
    if std::env::args().any(|arg| arg == "--holds-keys") {
        hold_keys();
        return;
    }
    // Who lists tests, or asks for others, is not kept.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    keys_are_on_the_stack_and_in_locked_pages();
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// A hierarchy as the server has it: a root that unwraps keys, which unwrap DEKs. And one key as it must not be kept,
/// by which the parent sees that it can see.
fn hold_keys() {
    let root = Kek::from_locked(Locked::copy_of(&bytes_of(0)));
    let wrapped = |number: usize| {
        root.wrap_kek(b"a", &Kek::from_locked(Locked::copy_of(&bytes_of(number)))).expect("a key is wrapped")
    };
    let wraps: Vec<WrappedKey> = (1..KEYS).map(wrapped).collect();
    let keys: Vec<Kek> = wraps.iter().map(|wrap| root.unwrap_kek(b"a", wrap).expect("a key is unwrapped")).collect();
    for key in &keys {
        let dek = key.wrap_dek(b"b", &Dek::from_bytes([7; 32])).expect("a DEK is wrapped");
        key.unwrap_dek(b"b", &dek).expect("a DEK is unwrapped");
        key.combined(&[9; 32]).expect("a key is combined");
    }
    // Behind a wall, or it is never put there.
    let exposed = std::hint::black_box(Box::new(*bytes_of(KEYS)));
    let secret = Locked::zeros().keeping() == Keeping::Secret;
    println!("{}", if secret { "secret" } else { "locked" });
    std::io::stdout().flush().expect("the parent listens");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the parent lets it end");
    assert_eq!((exposed.len(), keys.len()), (32, KEYS - 1));
}

struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mapping of another process.
struct Mapping {
    name: String,
    /// Whether it never goes to a disk (`VmFlags: lo`, proc_pid_smaps(5)). A lock splits mappings: all of this one is.
    is_locked: bool,
    /// If they can be read.
    bytes: Option<Vec<u8>>,
}

/// The mappings that another process itself can read.
fn mappings(pid: u32) -> Vec<Mapping> {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be opened");
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("its mappings are known");
    let mapping = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let is_readable = words.next()?.starts_with('r');
        let mut bytes = vec![0; if is_readable { (to - from) as usize } else { 0 }];
        let bytes = memory.read_exact_at(&mut bytes, from).ok().map(|()| bytes);
        let name = words.nth(3).unwrap_or("anonymous").to_owned();
        Some((is_readable, Mapping { name, is_locked: false, bytes }))
    };
    let mut found: Vec<(bool, Mapping)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("VmFlags:"), found.last_mut()) {
            (Some(flags), Some((_, last))) => last.is_locked = flags.split_whitespace().any(|flag| flag == "lo"),
            _ => found.extend(mapping(line)),
        }
    }
    found.into_iter().filter(|(is_readable, _)| *is_readable).map(|(_, mapping)| mapping).collect()
}

fn keys_are_on_the_stack_and_in_locked_pages() {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.arg("--holds-keys").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Held(command.spawn().expect("it runs again"));
    let mut keeping = String::new();
    let out = child.0.stdout.take().expect("stdout is a pipe");
    BufReader::new(out).read_line(&mut keeping).expect("the child tells when it holds keys");
    let secret = keeping.trim() == "secret";
    let mappings = mappings(child.0.id());

    let places = |number: usize| -> Vec<&Mapping> {
        let key = bytes_of(number);
        let holds = |bytes: &Vec<u8>| bytes.windows(32).any(|window| window[0] == key[0] && window == key.as_slice());
        let found = mappings.iter().filter(|mapping| mapping.bytes.as_ref().is_some_and(holds));
        found.filter(|mapping| mapping.name != "[stack]").collect()
    };
    let exposed = places(KEYS);
    assert!(exposed.iter().any(|mapping| !mapping.is_locked), "a key on the heap is found");
    assert!(exposed.iter().all(|mapping| !mapping.is_locked), "the heap is not locked");
    for number in 0..KEYS {
        let found = places(number);
        let names: Vec<&str> = found.iter().map(|mapping| mapping.name.as_str()).collect();
        if secret {
            assert!(found.is_empty(), "key {number} is in {names:?}");
        } else {
            assert!(!found.is_empty(), "key {number} is found");
            assert!(found.iter().all(|mapping| mapping.is_locked), "key {number} is in locked pages only: {names:?}");
        }
    }
    let hidden = |mapping: &&Mapping| mapping.name.contains("secretmem") && mapping.bytes.is_none();
    let unreadable = mappings.iter().filter(hidden).count();
    assert_eq!(unreadable > 0, secret, "the secret pages cannot be read: {keeping}");
}
