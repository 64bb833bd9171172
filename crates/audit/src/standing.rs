//! How much there is of a log, how fast it grows, and how much room is left for it: read from its folder, whether
//! somebody writes it or not.

use std::io;
use std::path::Path;

use crate::folder::Folder;
use crate::{AuditError, entry, size};

/// How a log stands, as far as its folder tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Entries under the newest checkpoint.
    pub signed: u64,
    /// When the first of them was made, in milliseconds since 1970.
    pub first_ms: Option<u64>,
    /// When the last of them was made.
    pub last_ms: Option<u64>,
    /// How many of them were made since the moment that was asked for.
    pub lately: u64,
    /// Bytes of the disk that the folder takes, but for the reserve.
    pub bytes: u64,
    /// Bytes set aside for the time when the disk is full; 0 when they were given up.
    pub reserve_bytes: u64,
    /// Bytes of its disk that are free for this user, the reserve not counted.
    pub free_bytes: u64,
}

/// How the log in a folder stands, and how many of its entries are from `since_ms` on. Reads some dozen entries: their
/// times rise but for the clock's steps, so it searches by halves. Signatures and the chain are not looked at.
///
/// # Errors
/// [`AuditError::Damaged`] when there is no checkpoint or an entry cannot be read, [`AuditError::BadCheckpoint`],
/// [`AuditError::Io`].
pub fn standing(dir: &Path, since_ms: u64) -> Result<Standing, AuditError> {
    let signed = size(dir)?;
    let made_ms = |number: u64| entry(dir, number).map(|entry| entry.event.time_ms);
    let first_ms = (signed > 0).then(|| made_ms(0)).transpose()?;
    let last_ms = signed.checked_sub(1).map(made_ms).transpose()?;
    let (mut older, mut from) = (0, signed);
    while older < from {
        let middle = older + (from - older) / 2;
        if made_ms(middle)? < since_ms {
            older = middle + 1;
        } else {
            from = middle;
        }
    }
    let folder = Folder::at(dir);
    let reserve_bytes = folder.reserved();
    let bytes = taken(dir).map_err(|error| AuditError::io(dir, error))?.saturating_sub(reserve_bytes);
    Ok(Standing { signed, first_ms, last_ms, lately: signed - from, bytes, reserve_bytes, free_bytes: free(dir)? })
}

/// Bytes that are free for this user on the disk of a log's folder.
///
/// # Errors
/// [`AuditError::Io`].
pub fn free(dir: &Path) -> Result<u64, AuditError> {
    Folder::at(dir).free().map_err(|error| AuditError::io(dir, error))
}

/// Bytes of all files below a folder. What goes while it is read counts for nothing: partial tiles come and go.
fn taken(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for found in std::fs::read_dir(dir)? {
        let found = found?;
        let added = match found.metadata() {
            Ok(metadata) if metadata.is_dir() => taken(&found.path()),
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => Err(error),
        };
        match added {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            added => bytes += added?,
        }
    }
    Ok(bytes)
}
