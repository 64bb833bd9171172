//! Reads segments entry by entry and checks the chain as it goes.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use crate::Entry;
use crate::error::{AuditError, Fault, Wrong};
use crate::folder::{Folder, segment_name};
use crate::line::{self, GENESIS, LINE_MAX};
use crate::tree::Hash;

/// A place between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment, by its first entry.
    pub(crate) first: u64,
    /// Bytes of the segment before.
    pub(crate) offset: u64,
    /// The number of the entry that follows.
    pub(crate) next: u64,
    /// The hash of the entry before.
    pub(crate) prev: Hash,
}

impl Position {
    pub(crate) const START: Self = Self { first: 0, offset: 0, next: 0, prev: GENESIS };
}

/// A walk over the entries from a position on.
pub(crate) struct Scan<'a> {
    folder: &'a Folder,
    at: Position,
    reader: Option<BufReader<File>>,
    line: Vec<u8>,
    torn: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(folder: &'a Folder, at: Position) -> Self {
        Self { folder, at, reader: None, line: Vec::new(), torn: 0 }
    }

    /// Where the walk is: behind the entry that was given last.
    pub(crate) fn position(&self) -> Position {
        self.at
    }

    /// At the end: bytes of the line that was being written when the log was cut off.
    pub(crate) fn torn(&self) -> u64 {
        self.torn
    }

    /// The canonical bytes of the next entry; `None` at the end.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] at an entry that is not what was written. The walk cannot go on after it.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, AuditError> {
        loop {
            if self.reader.is_none() && !self.open()? {
                return Ok(None);
            }
            match self.read_line()? {
                Piece::Line => break,
                Piece::TooLong => return Err(self.fault(Wrong::Format)),
                Piece::Torn(bytes) => {
                    if self.is_followed()? {
                        return Err(self.fault(Wrong::Torn));
                    }
                    self.torn = bytes;
                    return Ok(None);
                }
                Piece::End => {
                    // A segment without entries has the name that the next one would have.
                    let after = Position { first: self.at.next, offset: 0, ..self.at };
                    let there = after.first != self.at.first && self.folder.open(&segment_name(after.first))?.is_some();
                    if there {
                        self.at = after;
                        self.reader = None;
                    } else if self.is_followed()? {
                        return Err(self.missing());
                    } else {
                        return Ok(None);
                    }
                }
            }
        }
        let hash = self.check()?;
        self.at.offset += self.line.len() as u64;
        self.at.next += 1;
        self.at.prev = hash;
        Ok(line::read(&self.line).map(|line| line.canonical))
    }

    /// Opens the segment of the position. `false` when the log has none at all.
    fn open(&mut self) -> Result<bool, AuditError> {
        let name = segment_name(self.at.first);
        let Some(mut file) = self.folder.open(&name)? else {
            let begun = self.at.offset > 0 || !self.folder.segments()?.is_empty();
            return if begun { Err(self.fault(Wrong::Missing)) } else { Ok(false) };
        };
        file.seek(SeekFrom::Start(self.at.offset)).map_err(|error| self.folder.error(&name, error))?;
        self.reader = Some(BufReader::new(file));
        Ok(true)
    }

    fn is_followed(&self) -> Result<bool, AuditError> {
        Ok(self.folder.segments()?.last().is_some_and(|last| *last > self.at.first))
    }

    /// Reads up to the newline, with bounded memory.
    fn read_line(&mut self) -> Result<Piece, AuditError> {
        self.line.clear();
        let Some(reader) = &mut self.reader else { return Ok(Piece::End) };
        let mut read = || {
            let bytes = std::io::Read::take(&mut *reader, LINE_MAX as u64).read_until(b'\n', &mut self.line)? as u64;
            if self.line.ends_with(b"\n") {
                return Ok(Piece::Line);
            }
            if bytes < LINE_MAX as u64 {
                return Ok(if bytes == 0 { Piece::End } else { Piece::Torn(bytes) });
            }
            // Longer than any line: what a crash leaves has no newline behind it.
            let mut skipped = bytes;
            loop {
                let some = reader.fill_buf()?;
                if some.is_empty() {
                    return Ok(Piece::Torn(skipped));
                }
                if some.contains(&b'\n') {
                    return Ok(Piece::TooLong);
                }
                let count = some.len();
                reader.consume(count);
                skipped += count as u64;
            }
        };
        read().map_err(|error| self.folder.error(&segment_name(self.at.first), error))
    }

    /// Checks the line that was read, from the inside out: the bytes, the place, what is before it.
    fn check(&self) -> Result<Hash, AuditError> {
        let line = line::read(&self.line).ok_or_else(|| self.fault(Wrong::Format))?;
        if line::chain(&line.prev, line.canonical) != line.hash {
            return Err(self.fault(Wrong::Altered));
        }
        let entry = Entry::decode(line.canonical).ok_or_else(|| self.fault(Wrong::Format))?;
        if entry.sequence != self.at.next {
            return Err(self.fault(Wrong::Sequence { found: entry.sequence }));
        }
        if line.prev != self.at.prev {
            return Err(self.fault(Wrong::Chain));
        }
        Ok(line.hash)
    }

    /// Tells that the entry at the position is not there.
    pub(crate) fn missing(&self) -> AuditError {
        self.fault(Wrong::Missing)
    }

    fn fault(&self, wrong: Wrong) -> AuditError {
        Fault { sequence: self.at.next, file: segment_name(self.at.first), wrong }.into()
    }
}

/// What was found where a line should be.
enum Piece {
    Line,
    /// Bytes without a newline, up to the end.
    Torn(u64),
    TooLong,
    End,
}
