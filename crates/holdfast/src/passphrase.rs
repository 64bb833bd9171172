//! The passphrase of a sealed root key: from a file, the environment, or a terminal.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use keys::{PASSPHRASE_MAX, Passphrase};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::PassphraseArgs;
use crate::exit::Failure;

const VARIABLE: &str = "HOLDFAST_ROOT_PASSPHRASE";

/// What the command line names, or what the environment holds.
pub(crate) fn given(args: &PassphraseArgs) -> Result<Option<Passphrase>, Failure> {
    if let Some(path) = &args.passphrase_file {
        return from_file(path).map(Some);
    }
    match std::env::var(VARIABLE).map(Zeroizing::new) {
        Ok(text) if !text.is_empty() => made(&text, VARIABLE).map(Some),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::usage(format!("{VARIABLE}: {error}"))),
    }
}

/// The same, or what a person types.
pub(crate) fn given_or_typed(args: &PassphraseArgs, twice: bool) -> Result<Passphrase, Failure> {
    if let Some(passphrase) = given(args)? {
        return Ok(passphrase);
    }
    let mut terminal = Terminal::open()?;
    let passphrase = terminal.ask("passphrase of the root key: ")?;
    if twice && !terminal.ask("the same again: ")?.is(&passphrase) {
        return Err(Failure::usage("the passphrases differ").hint("run it again"));
    }
    Ok(passphrase)
}

/// The passphrase in a file, which only its owner may read.
pub(crate) fn from_file(path: &Path) -> Result<Passphrase, Failure> {
    let name = format!("passphrase file {}", path.display());
    made(&private_text(&name, path)?, &name)
}

/// What a file holds that only its owner may read: as much as a passphrase may have, and a little more.
pub(crate) fn private_text(name: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let file = File::open(path).map_err(Failure::io(name))?;
    let mode = file.metadata().map_err(Failure::io(name))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "{name} is open to others (mode {mode:o}); run: chmod 600 {}",
            path.display()
        )));
    }
    let mut text = room();
    file.take(ROOM as u64).read_to_string(&mut text).map_err(Failure::io(name))?;
    Ok(text)
}

/// Bytes that are read: some more than the longest, so that it shows.
const ROOM: usize = PASSPHRASE_MAX + 8;

/// With room for all that is read: what grows leaves copies behind.
fn room() -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(2 * ROOM))
}

fn made(text: &str, from: &str) -> Result<Passphrase, Failure> {
    Passphrase::new(text).map_err(|error| Failure::usage(format!("{from}: {error}")))
}

/// The terminal, whatever stdin and stdout are. Shows what is typed again when dropped.
struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    fn open() -> Result<Self, Failure> {
        let missing = || {
            Failure::usage("there is no passphrase, and no terminal to ask for one")
                .hint(format!("give --passphrase-file FILE, or set {VARIABLE}"))
        };
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| missing())?;
        let before = tcgetattr(&file).map_err(|_| missing())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&file, OptionalActions::Flush, &silent).map_err(|_| missing())?;
        Ok(Self { file, before })
    }

    fn ask(&mut self, what: &str) -> Result<Passphrase, Failure> {
        let failed = Failure::io("the terminal");
        self.file.write_all(what.as_bytes()).map_err(&failed)?;
        let mut text = room();
        // A terminal gives a line at a time: one byte of buffer keeps nothing back.
        BufReader::with_capacity(1, &self.file).take(ROOM as u64).read_line(&mut text).map_err(&failed)?;
        self.file.write_all(b"\n").map_err(&failed)?;
        made(&text, "the terminal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(&self.file, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_the_owners_and_holds_a_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let long = "x".repeat(PASSPHRASE_MAX + 1);
        // (bytes, mode, what is told)
        let table = [
            (b"correct horse\n".as_slice(), 0o600, None),
            (b"correct horse", 0o400, None),
            (b"correct horse", 0o640, Some("chmod 600")),
            (b"\n", 0o600, Some("has 12 to 1024 bytes")),
            (b"\xff\xfe", 0o600, Some("passphrase file")),
            (long.as_bytes(), 0o600, Some("has 12 to 1024 bytes")),
        ];
        for (bytes, mode, told) in table {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match (from_file(&path), told) {
                (Ok(found), None) => assert!(found.is(&Passphrase::new("correct horse").unwrap())),
                (Err(failure), Some(told)) => assert!(failure.error.contains(told), "{}", failure.error),
                (Ok(_), Some(told)) => panic!("taken, and not {told}"),
                (Err(failure), None) => panic!("{}", failure.error),
            }
        }
        assert!(from_file(&dir.path().join("none")).is_err());
    }
}
