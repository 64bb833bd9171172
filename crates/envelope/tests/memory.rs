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

/// A mapping of another process: its name, and its bytes if they can be read.
fn mappings(pid: u32) -> Vec<(String, Option<Vec<u8>>)> {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be opened");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings are known");
    let mapping = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        if !words.next()?.starts_with('r') {
            return None;
        }
        let mut bytes = vec![0; (to - from) as usize];
        let read = memory.read_exact_at(&mut bytes, from).ok();
        Some((words.nth(3).unwrap_or("anonymous").to_owned(), read.map(|()| bytes)))
    };
    maps.lines().filter_map(mapping).collect()
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

    let places = |number: usize| -> Vec<&str> {
        let key = bytes_of(number);
        let holds = |bytes: &Vec<u8>| bytes.windows(32).any(|window| window[0] == key[0] && window == key.as_slice());
        mappings.iter().filter(|(_, bytes)| bytes.as_ref().is_some_and(holds)).map(|(name, _)| name.as_str()).collect()
    };
    assert!(places(KEYS).iter().any(|place| *place != "[stack]"), "a key on the heap is found");
    for number in 0..KEYS {
        let found: Vec<&str> = places(number).into_iter().filter(|place| *place != "[stack]").collect();
        if secret {
            assert!(found.is_empty(), "key {number} is in {found:?}");
        } else {
            assert_eq!(found, ["anonymous"], "key {number} is in the locked pages only");
        }
    }
    let unreadable = mappings.iter().filter(|(name, bytes)| name.contains("secretmem") && bytes.is_none()).count();
    assert_eq!(unreadable > 0, secret, "the secret pages cannot be read: {keeping}");
}
