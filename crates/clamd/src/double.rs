//! A scan service for tests: it finds `evil` and `bad`, and says of what begins with `die!` that it is incomplete.

use std::sync::Arc;

use scan::Scanner;
use scan::double::Words;

use crate::Options;
use crate::session::Door;

pub(crate) struct World {
    pub(crate) engine: Arc<Words>,
    pub(crate) scanner: Scanner,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Words::new("words", &["evil", "bad"]);
        let scanner = Scanner::new(scan::Options {
            engines: vec![engine.clone()],
            meta: Arc::new(meta::Memory::new()),
            folder: folder.path().to_owned(),
            slots: 2,
            clock: Arc::new(base::SystemClock),
        });
        Self { engine, scanner, _folder: folder }
    }

    pub(crate) fn door(&self, options: Options) -> Arc<Door> {
        Arc::new(Door { scanner: self.scanner.clone(), options })
    }
}

/// A stream in chunks of this size.
pub(crate) fn chunks(bytes: &[u8], size: usize) -> Vec<u8> {
    let chunk = |chunk: &[u8]| [&u32::try_from(chunk.len()).expect("a small chunk").to_be_bytes(), chunk].concat();
    let mut all: Vec<u8> = bytes.chunks(size).flat_map(chunk).collect();
    all.extend([0; 4]);
    all
}
