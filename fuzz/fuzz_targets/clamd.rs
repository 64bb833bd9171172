//! Commands and chunks of any bytes are refused or read, and nothing is read twice or beyond them.
#![no_main]
use clamd::chunks::{Chunks, Then};
use clamd::parse::{Command, Next, next};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut bytes, mut at) = (bytes.to_vec(), 0);
    while let Next::Line(line, used) = next(&bytes[at..], false) {
        assert!(used > 0 && at + used <= bytes.len());
        at += used;
        if let Command::Path { path, .. } = &line.command {
            assert!(!path.is_empty() && !path.contains(&0));
        }
        if matches!(line.command, Command::Stream { .. }) {
            let gathered = Chunks::new(1 << 20).gather(&mut bytes[at..]);
            assert!(gathered.content.end <= gathered.used);
            at += gathered.used;
            if gathered.then != Then::End {
                return;
            }
        }
    }
    let _ = next(&bytes[at..], true);
});
