//! Bytes to commands. Pure.
//!
//! A command begins with `z` and ends with a zero byte, or begins with `n` and ends with a newline; or it has no prefix and ends with a newline,
//! or where the client stops (clamd(8), "COMMANDS").

use crate::limits::COMMAND_MAX;

/// How a command is marked off; its answers end in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `z`: by a zero byte.
    Zero,
    /// `n`: by a newline.
    Newline,
    /// Without a prefix: by a newline, or by the end. Sessions take none, and some commands are not known in it.
    Plain,
}

impl Framing {
    /// What its answers end with.
    pub fn end(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::Newline | Self::Plain => b'\n',
        }
    }
}

/// Which files of a path are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// One after the other, until something is found in one (`SCAN`).
    First,
    /// One after the other (`CONTSCAN`).
    Each,
    /// Several at once (`MULTISCAN`).
    Several,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `PING`.
    Ping,
    /// `VERSION`.
    Version,
    /// `VERSIONCOMMANDS`.
    VersionCommands,
    /// `STATS`.
    Stats,
    /// `IDSESSION`: more commands follow, and answers have numbers.
    Session,
    /// `END` of a session.
    End,
    /// `INSTREAM`: chunks follow.
    Stream {
        /// All names are asked for.
        all: bool,
    },
    /// `FILDES`: a descriptor came with the byte after it, which is part of it.
    Descriptor {
        /// All names are asked for.
        all: bool,
    },
    /// `SCAN`, `CONTSCAN`, `MULTISCAN`, `ALLMATCHSCAN`.
    Path {
        /// Which files.
        walk: Walk,
        /// All names are asked for.
        all: bool,
        /// The path, as it came; never empty.
        path: Vec<u8>,
    },
    /// What is not a client's to ask for: `SHUTDOWN`, `QUIT`, `RELOAD`.
    Refused,
    /// Anything else.
    Unknown,
}

impl Command {
    /// Its word, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Version => "VERSION",
            Self::VersionCommands => "VERSIONCOMMANDS",
            Self::Stats => "STATS",
            Self::Session => "IDSESSION",
            Self::End => "END",
            Self::Stream { .. } => "INSTREAM",
            Self::Descriptor { .. } => "FILDES",
            Self::Path { walk: Walk::First, all: false, .. } => "SCAN",
            Self::Path { walk: Walk::First, all: true, .. } => "ALLMATCHSCAN",
            Self::Path { walk: Walk::Each, .. } => "CONTSCAN",
            Self::Path { walk: Walk::Several, .. } => "MULTISCAN",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A command, and how it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What is asked for.
    pub command: Command,
    /// How it was marked off.
    pub framing: Framing,
}

/// What some bytes begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A command, of so many bytes.
    Line(Line, usize),
    /// A part of one.
    More,
    /// A command of more than [`COMMAND_MAX`] bytes.
    TooLong(Framing),
}

/// What `bytes` begin with. `ended`: nothing follows them, or not soon, which ends a command without prefix.
pub fn next(bytes: &[u8], ended: bool) -> Next {
    let Some(first) = bytes.first() else { return Next::More };
    let (framing, prefix) = match first {
        b'z' => (Framing::Zero, 1),
        b'n' => (Framing::Newline, 1),
        _ => (Framing::Plain, 0),
    };
    let within = &bytes[..bytes.len().min(COMMAND_MAX + 1)];
    let (end, after) = match within.iter().position(|byte| *byte == framing.end()) {
        Some(end) => (end, end + 1),
        None if within.len() > COMMAND_MAX => return Next::TooLong(framing),
        None if ended && framing == Framing::Plain => (bytes.len(), bytes.len()),
        None => return Next::More,
    };
    let words = &bytes[prefix..end];
    let command = command(if framing == Framing::Zero { words } else { chomped(words) }, framing);
    let descriptor = matches!(command, Command::Descriptor { .. });
    match (descriptor, after < bytes.len()) {
        // The byte that carries the descriptor is not there yet.
        (true, false) if !ended => Next::More,
        (true, true) => Next::Line(Line { command, framing }, after + 1),
        _ => Next::Line(Line { command, framing }, after),
    }
}

/// Without the line's end: a carriage return is no part of a name.
fn chomped(words: &[u8]) -> &[u8] {
    let kept = words.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    &words[..kept]
}

fn command(words: &[u8], framing: Framing) -> Command {
    // A zero byte ends a path for the system, so that what is behind it would be left out silently.
    if words.contains(&0) {
        return Command::Unknown;
    }
    if let Some(options) = words.strip_prefix(b"OPTSCAN ") {
        return with_options(options);
    }
    let (word, rest) = split(words);
    if !rest.is_empty() {
        return path_command(word, rest, framing);
    }
    let command = match word {
        b"PING" => Command::Ping,
        b"VERSION" => Command::Version,
        b"STATS" => Command::Stats,
        b"FILDES" => Command::Descriptor { all: false },
        b"SHUTDOWN" | b"QUIT" | b"RELOAD" => Command::Refused,
        // clamd knows these with a prefix alone.
        _ if framing == Framing::Plain => Command::Unknown,
        b"VERSIONCOMMANDS" => Command::VersionCommands,
        b"IDSESSION" => Command::Session,
        b"END" => Command::End,
        b"INSTREAM" => Command::Stream { all: false },
        _ => Command::Unknown,
    };
    // `PING ` is none.
    if word.len() == words.len() { command } else { Command::Unknown }
}

fn path_command(word: &[u8], path: &[u8], framing: Framing) -> Command {
    let (walk, all) = match word {
        b"SCAN" => (Walk::First, false),
        b"CONTSCAN" => (Walk::Each, false),
        b"MULTISCAN" => (Walk::Several, false),
        b"ALLMATCHSCAN" if framing != Framing::Plain => (Walk::First, true),
        _ => return Command::Unknown,
    };
    Command::Path { walk, all, path: path.to_owned() }
}

/// `OPTSCAN [ALLMATCH ]COMMAND ARGUMENT`, by which clients later than 1.5 ask. The argument of commands without one is empty.
fn with_options(words: &[u8]) -> Command {
    let (words, all) = words.strip_prefix(b"ALLMATCH ").map_or((words, false), |rest| (rest, true));
    match split(words) {
        (b"FILDES", b"") if words.ends_with(b" ") => Command::Descriptor { all },
        (b"INSTREAM", b"") if words.ends_with(b" ") => Command::Stream { all },
        (b"CONTSCAN", path) if !path.is_empty() => Command::Path { walk: Walk::Each, all, path: path.to_owned() },
        (b"MULTISCAN", path) if !path.is_empty() => Command::Path { walk: Walk::Several, all, path: path.to_owned() },
        _ => Command::Unknown,
    }
}

/// The first word, and what is behind the space after it.
fn split(words: &[u8]) -> (&[u8], &[u8]) {
    match words.iter().position(|byte| *byte == b' ') {
        Some(space) => (&words[..space], &words[space + 1..]),
        None => (words, b""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(walk: Walk, all: bool, path: &str) -> Command {
        Command::Path { walk, all, path: path.into() }
    }

    #[test]
    fn commands_are_known_as_clamd_knows_them() {
        let table: &[(&[u8], Command, usize)] = &[
            (b"zPING\0", Command::Ping, 6),
            (b"nPING\n", Command::Ping, 6),
            (b"nPING\r\n", Command::Ping, 7),
            (b"PING\n", Command::Ping, 5),
            (b"PING\r\nrest", Command::Ping, 6),
            (b"zPING\n\0", Command::Unknown, 7),
            (b"zPING \0", Command::Unknown, 7),
            (b"zping\0", Command::Unknown, 7 - 1),
            (b"zPING\0zVERSION\0", Command::Ping, 6),
            (b"zVERSION\0", Command::Version, 9),
            (b"zVERSIONCOMMANDS\0", Command::VersionCommands, 17),
            (b"VERSIONCOMMANDS\n", Command::Unknown, 16),
            (b"zSTATS\0", Command::Stats, 7),
            (b"zIDSESSION\0", Command::Session, 11),
            (b"IDSESSION\n", Command::Unknown, 10),
            (b"zEND\0", Command::End, 5),
            (b"END\n", Command::Unknown, 4),
            (b"zINSTREAM\0\0\0\0\x01x", Command::Stream { all: false }, 10),
            (b"nINSTREAM\n", Command::Stream { all: false }, 10),
            (b"INSTREAM\n", Command::Unknown, 9),
            (b"zFILDES\0\0", Command::Descriptor { all: false }, 9),
            (b"nFILDES\nxzPING\0", Command::Descriptor { all: false }, 9),
            (b"FILDES\n\0", Command::Descriptor { all: false }, 8),
            (b"zSCAN /a b\0", path(Walk::First, false, "/a b"), 11),
            (b"SCAN /a\n", path(Walk::First, false, "/a"), 8),
            (b"nSCAN /a\r\n", path(Walk::First, false, "/a"), 10),
            (b"zSCAN /a\r\n\0", path(Walk::First, false, "/a\r\n"), 11),
            (b"zCONTSCAN /a\0", path(Walk::Each, false, "/a"), 13),
            (b"zMULTISCAN /a\0", path(Walk::Several, false, "/a"), 14),
            (b"zALLMATCHSCAN /a\0", path(Walk::First, true, "/a"), 17),
            (b"ALLMATCHSCAN /a\n", Command::Unknown, 16),
            (b"zSCAN\0", Command::Unknown, 6),
            (b"zSCAN \0", Command::Unknown, 7),
            (b"zSCAN/a\0", Command::Unknown, 8),
            (b"nSCAN /a\0b\n", Command::Unknown, 11),
            (b"zOPTSCAN FILDES \0\0", Command::Descriptor { all: false }, 18),
            (b"zOPTSCAN ALLMATCH FILDES \0\0", Command::Descriptor { all: true }, 27),
            (b"zOPTSCAN ALLMATCH INSTREAM \0", Command::Stream { all: true }, 28),
            (b"zOPTSCAN INSTREAM\0", Command::Unknown, 18),
            (b"zOPTSCAN CONTSCAN /a b\0", path(Walk::Each, false, "/a b"), 23),
            (b"zOPTSCAN ALLMATCH MULTISCAN /a\0", path(Walk::Several, true, "/a"), 31),
            (b"zOPTSCAN CONTSCAN \0", Command::Unknown, 19),
            (b"zOPTSCAN NOSUCH CONTSCAN /a\0", Command::Unknown, 28),
            (b"zSHUTDOWN\0", Command::Refused, 10),
            (b"RELOAD\n", Command::Refused, 7),
            (b"nQUIT\n", Command::Refused, 6),
            (b"zSTREAM\0", Command::Unknown, 8),
            (b"z\0", Command::Unknown, 2),
            (b"\n", Command::Unknown, 1),
            (b"\xff\xfe\n", Command::Unknown, 3),
        ];
        for (bytes, command, used) in table {
            match next(bytes, false) {
                Next::Line(line, taken) => {
                    assert_eq!((&line.command, taken), (command, *used), "{}", bytes.escape_ascii());
                }
                other => panic!("{}: {other:?}", bytes.escape_ascii()),
            }
        }
    }

    #[test]
    fn a_part_of_a_command_waits_for_the_rest() {
        for part in [&b""[..], b"z", b"zPING", b"nPING\0", b"PING", b"zFILDES\0", b"FILDES\n"] {
            assert_eq!(next(part, false), Next::More, "{}", part.escape_ascii());
        }
        let line = |command, framing| Line { command, framing };
        assert_eq!(next(b"PING", true), Next::Line(line(Command::Ping, Framing::Plain), 4));
        assert_eq!(next(b"SCAN /a", true), Next::Line(line(path(Walk::First, false, "/a"), Framing::Plain), 7));
        // With a prefix it would have an end.
        assert_eq!(next(b"zPING", true), Next::More);
        assert_eq!(next(b"nPING", true), Next::More);
        // No descriptor will come: the answer says so.
        let alone = Next::Line(line(Command::Descriptor { all: false }, Framing::Zero), 8);
        assert_eq!(next(b"zFILDES\0", true), alone);
    }

    #[test]
    fn a_command_has_a_bound() {
        let most = [&b"zSCAN "[..], &vec![b'/'; COMMAND_MAX - 6], b"\0"].concat();
        assert!(matches!(next(&most, false), Next::Line(..)));
        for prefix in [b"z", b"n", b"S"] {
            let long = [&prefix[..], &vec![b'/'; COMMAND_MAX], b"\0\n"].concat();
            assert!(matches!(next(&long, false), Next::TooLong(_)));
            assert_eq!(next(&long[..COMMAND_MAX], false), Next::More);
        }
    }

    /// The commands of `bytes` when they come in pieces of these sizes, over and over.
    fn commands(bytes: &[u8], sizes: &[usize]) -> Vec<Line> {
        let (mut seen, mut start, mut found) = (0, 0, Vec::new());
        let mut sizes = sizes.iter().cycle();
        loop {
            match next(&bytes[start..seen], seen == bytes.len()) {
                Next::Line(line, used) => {
                    assert!(used > 0 && used <= seen - start);
                    start += used;
                    found.push(line);
                }
                Next::TooLong(_) => return found,
                Next::More if seen == bytes.len() => return found,
                Next::More => seen = bytes.len().min(seen + sizes.next().copied().unwrap_or(1).max(1)),
            }
        }
    }

    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let words: Vec<&[u8]> = vec![
            b"z",
            b"n",
            b"PING",
            b"VERSION",
            b"SCAN ",
            b"CONTSCAN ",
            b"OPTSCAN ",
            b"ALLMATCH ",
            b"FILDES",
            b"INSTREAM",
            b"IDSESSION",
            b"END",
            b"RELOAD",
            b"/",
            b"a",
            b" ",
            b"\0",
            b"\n",
            b"\r\n",
        ];
        proptest::collection::vec(proptest::sample::select(words), 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2 * COMMAND_MAX), ended: bool) {
            let _ = next(&bytes, ended);
        }

        #[test]
        fn where_the_input_is_cut_changes_nothing(
            bytes in likely(), sizes in proptest::collection::vec(1_usize..20, 1..8),
        ) {
            prop_assert_eq!(commands(&bytes, &sizes), commands(&bytes, &[bytes.len()]));
        }
    }
}
