//! Answers to bytes. Pure.
//!
//! A line is `NUMBER: SUBJECT: WORDS STATUS`, without the number outside of a session. Clients look for the status (`OK`, `FOUND`, `ERROR`) at the
//! end, and for the words behind the last colon or the first one: words of ours have none.

use scan::{Reason, ScanError, Status, Verdict};

use crate::Incomplete;
use crate::limits::WORDS_MAX;
use crate::parse::Framing;
use crate::session::Rights;

/// What a stream is called.
pub(crate) const STREAM: &[u8] = b"stream";
/// The answer to what a client may not ask for.
pub(crate) const UNAVAILABLE: &str = "COMMAND UNAVAILABLE";
/// The answer to what nobody knows.
pub(crate) const UNKNOWN: &str = "UNKNOWN COMMAND";
/// The answer to a client that is too slow. It is all that clamd says in this case, without a status.
pub(crate) const TIMED_OUT: &str = "COMMAND READ TIMED OUT";

/// How a command is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Voice {
    number: Option<u64>,
    framing: Framing,
}

impl Voice {
    /// In a session with the command's number, from 1 on.
    pub(crate) fn new(number: Option<u64>, framing: Framing) -> Self {
        Self { number, framing }
    }

    /// A line of words of ours.
    pub(crate) fn say(self, words: &str) -> Vec<u8> {
        self.line(None, words.as_bytes())
    }

    /// A line that says that something did not go well, in words of ours.
    pub(crate) fn error(self, why: &str) -> Vec<u8> {
        self.line(None, format!("{why} ERROR").as_bytes())
    }

    /// The same of a stream, a descriptor or a path.
    pub(crate) fn error_of(self, subject: &[u8], why: &str) -> Vec<u8> {
        self.line(Some(subject), format!("{} ERROR", plain(why)).as_bytes())
    }

    /// Why there is no verdict.
    pub(crate) fn failed(self, subject: &[u8], error: &ScanError) -> Vec<u8> {
        self.error_of(subject, &base::chain(error))
    }

    /// What is at hand: some clients look whether it begins with `ClamAV`, and take the rest as it comes.
    pub(crate) fn version(self, version: &str) -> Vec<u8> {
        self.say(&version_line(version))
    }

    /// The same, and the commands that are answered.
    pub(crate) fn commands(self, version: &str, rights: Rights) -> Vec<u8> {
        let mut commands =
            vec!["PING", "VERSIONCOMMANDS", "VERSION", "END", "STATS", "IDSESSION", "INSTREAM", "OPTSCAN"];
        if rights.descriptors {
            commands.push("FILDES");
        }
        if rights.paths {
            commands.extend(["SCAN", "CONTSCAN", "MULTISCAN", "ALLMATCHSCAN"]);
        }
        self.say(&format!("{}| COMMANDS: {}", version_line(version), commands.join(" ")))
    }

    /// That nothing was found.
    pub(crate) fn clean(self, subject: &[u8]) -> Vec<u8> {
        self.line(Some(subject), b"OK")
    }

    /// A verdict that is not clean, by a line or, when `all` names are asked for, several; `None` of one that is.
    pub(crate) fn bad(self, subject: &[u8], verdict: &Verdict, all: bool, incomplete: Incomplete) -> Option<Vec<u8>> {
        let found = |name: &str| self.line(Some(subject), format!("{} FOUND", plain(name)).as_bytes());
        match verdict {
            Verdict::Clean => None,
            Verdict::Infected(names) => {
                let most = if all { names.len() } else { 1 };
                let lines: Vec<u8> = names.iter().take(most).flat_map(|name| found(name)).collect();
                // A find without a name is one all the same.
                Some(if lines.is_empty() { found("Holdfast.Unnamed") } else { lines })
            }
            Verdict::Incomplete(reasons) => Some(match incomplete {
                Incomplete::Found => found(&reasons.first().map_or("Holdfast.Incomplete".to_owned(), name_of)),
                Incomplete::Error => self.error_of(subject, &unread(reasons)),
            }),
        }
    }

    /// What `STATS` shows, in the shape that is taken apart by monitoring (`clamdtop`, exporters).
    pub(crate) fn stats(self, status: &Status) -> Vec<u8> {
        let [live, idle, most] = [status.running, status.slots.saturating_sub(status.running), status.slots];
        let text = format!(
            "POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live {live}  idle {idle} max {most} idle-timeout 30\n\
            QUEUE: {} items\n\nMEMSTATS: heap N/A mmap N/A used N/A free N/A releasable N/A pools 0 pools_used N/A \
            pools_total N/A\nEND",
            status.waiting.iter().sum::<usize>(),
        );
        self.line(None, text.as_bytes())
    }

    fn line(self, subject: Option<&[u8]>, words: &[u8]) -> Vec<u8> {
        let mut line = self.number.map(|number| format!("{number}: ")).unwrap_or_default().into_bytes();
        if let Some(subject) = subject {
            // A name with the mark in it would end the line, and begin another one that says what its maker likes.
            let end = self.framing.end();
            line.extend(
                subject.iter().map(|byte| if *byte == end || *byte == b'\r' && end != 0 { b'?' } else { *byte }),
            );
            line.extend_from_slice(b": ");
        }
        line.extend_from_slice(words);
        line.push(self.framing.end());
        line
    }
}

fn version_line(version: &str) -> String {
    let version = version.replace(|letter: char| letter.is_control(), "?");
    if version.starts_with("ClamAV ") { version } else { format!("ClamAV {version}") }
}

/// Words of others in an answer: one line, no colon, not long.
fn plain(words: &str) -> String {
    let plain = words.chars().take(WORDS_MAX).map(|letter| match letter {
        ':' => ';',
        letter if letter.is_control() => '?',
        letter => letter,
    });
    plain.collect()
}

/// What a content that could not be looked at as a whole is found to be. Limits and encryption have the names that ClamAV gives them
/// (`AlertExceedsMax`, `AlertEncrypted`), by which mail filters tell them from viruses.
fn name_of(reason: &Reason) -> String {
    let family = match reason {
        Reason::TooLarge | Reason::TooDeep | Reason::TooMany | Reason::TooSlow => "Heuristics.Limits.Exceeded.Holdfast",
        Reason::Encrypted => "Heuristics.Encrypted.Holdfast",
        Reason::EngineCrash | Reason::Unreadable(_) => "Holdfast.Incomplete",
    };
    format!("{family}.{}", reason.word())
}

fn unread(reasons: &[Reason]) -> String {
    let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
    format!("Not all of it could be looked at ({})", reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("words")
    }

    fn infected(names: &[&str]) -> Verdict {
        Verdict::Infected(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn lines_are_those_that_clamd_says() {
        let zero = Voice::new(None, Framing::Zero);
        let newline = Voice::new(None, Framing::Newline);
        let third = Voice::new(Some(3), Framing::Zero);
        let busy = ScanError::Busy { retry_after: Duration::from_secs(7) };
        let table = [
            (zero.clean(STREAM), "stream: OK\0"),
            (newline.clean(STREAM), "stream: OK\n"),
            (third.clean(b"fd[9]"), "3: fd[9]: OK\0"),
            (third.say("PONG"), "3: PONG\0"),
            (newline.say(UNKNOWN), "UNKNOWN COMMAND\n"),
            (newline.error("INSTREAM size limit exceeded."), "INSTREAM size limit exceeded. ERROR\n"),
            (zero.error_of(b"/a", "Access denied."), "/a: Access denied. ERROR\0"),
            (zero.failed(STREAM, &busy), "stream: the scan service is busy; try again in 7 s ERROR\0"),
            (zero.version("ClamAV 1.4.6/5/Sat"), "ClamAV 1.4.6/5/Sat\0"),
            (zero.version("none\nat all"), "ClamAV none?at all\0"),
        ];
        for (said, expected) in table {
            assert_eq!(text(said), expected);
        }
    }

    #[test]
    fn what_is_not_clean_never_reads_ok() {
        let voice = Voice::new(None, Framing::Newline);
        let incomplete = |reason| Verdict::Incomplete(vec![reason]);
        let found = "Not all of it could be looked at";
        let table = [
            (infected(&["A", "B"]), false, "s: A FOUND\n", "s: A FOUND\n".to_owned()),
            (infected(&["A", "B"]), true, "s: A FOUND\ns: B FOUND\n", "s: A FOUND\ns: B FOUND\n".to_owned()),
            (infected(&[]), false, "s: Holdfast.Unnamed FOUND\n", "s: Holdfast.Unnamed FOUND\n".to_owned()),
            (infected(&["A: OK\ns"]), false, "s: A; OK?s FOUND\n", "s: A; OK?s FOUND\n".to_owned()),
            (
                incomplete(Reason::TooLarge),
                false,
                "s: Heuristics.Limits.Exceeded.Holdfast.too-large FOUND\n",
                format!("s: {found} (too-large) ERROR\n"),
            ),
            (
                incomplete(Reason::Encrypted),
                true,
                "s: Heuristics.Encrypted.Holdfast.encrypted FOUND\n",
                format!("s: {found} (encrypted) ERROR\n"),
            ),
            (
                incomplete(Reason::Unreadable("bad: header".to_owned())),
                false,
                "s: Holdfast.Incomplete.unreadable FOUND\n",
                format!("s: {found} (unreadable; bad; header) ERROR\n"),
            ),
            (Verdict::Incomplete(vec![]), false, "s: Holdfast.Incomplete FOUND\n", format!("s: {found} () ERROR\n")),
        ];
        for (verdict, all, as_found, as_error) in table {
            let said = |incomplete| voice.bad(b"s", &verdict, all, incomplete).map(text);
            assert_eq!(said(Incomplete::Found).as_deref(), Some(as_found));
            assert_eq!(said(Incomplete::Error), Some(as_error));
        }
        assert_eq!(voice.bad(b"s", &Verdict::Clean, true, Incomplete::Error), None);
    }

    #[test]
    fn a_name_cannot_say_something_else() {
        let path = b"/in/a: OK\n/in/b";
        assert_eq!(text(Voice::new(None, Framing::Newline).clean(path)), "/in/a: OK?/in/b: OK\n");
        // A newline ends nothing here, and who removes what is found needs the name as it is.
        assert_eq!(text(Voice::new(None, Framing::Zero).clean(path)), "/in/a: OK\n/in/b: OK\0");
    }

    #[test]
    fn a_door_tells_the_commands_that_it_answers() {
        let voice = Voice::new(None, Framing::Zero);
        let told = |paths, descriptors| text(voice.commands("ClamAV 1", Rights { paths, descriptors }));
        assert!(told(true, true).starts_with("ClamAV 1| COMMANDS: PING "));
        assert!(told(true, true).contains(" FILDES SCAN CONTSCAN"));
        assert!(!told(false, false).contains("FILDES") && !told(false, false).contains("CONTSCAN"));
    }

    proptest! {
        #[test]
        fn an_answer_is_one_line(
            subject: Vec<u8>, name: String, zero: bool, number: Option<u64>, incomplete: bool,
        ) {
            let voice = Voice::new(number, if zero { Framing::Zero } else { Framing::Newline });
            let end = if zero { 0 } else { b'\n' };
            let verdict = match incomplete {
                true => Verdict::Incomplete(vec![Reason::Unreadable(name)]),
                false => Verdict::Infected(vec![name]),
            };
            for how in [Incomplete::Found, Incomplete::Error] {
                let line = voice.bad(&subject, &verdict, true, how).expect("it is not clean");
                prop_assert_eq!(line.iter().position(|byte| *byte == end), Some(line.len() - 1));
                let line = &line[..line.len() - 1];
                prop_assert!(line.ends_with(b" FOUND") || line.ends_with(b" ERROR"));
            }
        }
    }
}
