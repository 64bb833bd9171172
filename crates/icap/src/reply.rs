//! What is answered, and how it is written (RFC 3507, section 4.3.3); pure.
//!
//! `Encapsulated` is the last header of every answer: files_antivirus of Nextcloud before 2023 reads no further.

use std::fmt::Write as _;

use base::{Classify, ErrorKind};
use scan::{Reason, ScanError, Verdict};

use crate::limits::{NAME_MAX, OPTIONS_TTL};
use crate::request::{Method, Refusal};
use crate::service::{Incomplete, Options, Service, Unavailable};

/// What the client says it waits for before it sends what is behind the preview. As short as the RFC has it (section 4.5), without headers: it is
/// no answer yet.
pub const CONTINUE: &[u8] = b"ICAP/1.0 100 Continue\r\n\r\n";
/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub code: u16,
    /// Its words. Never none: Nextcloud takes a status without words for no answer.
    pub words: &'static str,
}

const fn status(code: u16, words: &'static str) -> Status {
    Status { code, words }
}

/// An answer with a message in it.
const OK: Status = status(200, "OK");
/// The message passes as it is.
const NO_CONTENT: Status = status(204, "No Content");
const FAILED: Status = status(500, "Server Error");
const OVERLOADED: Status = status(503, "Service Overloaded");

impl Refusal {
    /// The status for it (section 4.3.3).
    pub fn status(self) -> Status {
        match self {
            Self::Service => status(404, "ICAP Service Not Found"),
            Self::NotAllowed => status(405, "Method Not Allowed For Service"),
            Self::Slow => status(408, "Request Timeout"),
            Self::Method => status(501, "Method Not Implemented"),
            Self::Version => status(505, "ICAP Version Not Supported"),
            _ => status(400, "Bad Request"),
        }
    }
}

/// A header beyond those that every answer has.
pub type Note = (&'static str, String);

/// What is answered to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// It passes as it came.
    Pass(Vec<Note>),
    /// A page takes its place, which says this.
    Block(String, Vec<Note>),
    /// There is nothing to say about it.
    Fail(Status, Vec<Note>),
}

impl Say {
    /// Of a message without a body.
    pub fn of_nothing() -> Self {
        Self::Pass(Vec::new())
    }

    /// Of a verdict.
    pub fn of_verdict(verdict: &Verdict, incomplete: Incomplete) -> Self {
        match verdict {
            Verdict::Clean => Self::Pass(Vec::new()),
            Verdict::Infected(names) => {
                let name = name(names.first().map_or("", String::as_str));
                let notes = infection(0, &name);
                Self::Block(format!("The scan found {name} in it."), notes)
            }
            Verdict::Incomplete(reasons) => Self::of_incomplete(reasons, incomplete),
        }
    }

    /// Of a content that could not be looked at as a whole.
    pub fn of_incomplete(reasons: &[Reason], incomplete: Incomplete) -> Self {
        let words = reasons.iter().map(Reason::word).collect::<Vec<_>>().join(", ");
        let why = ("X-Holdfast-Incomplete", words.clone());
        match incomplete {
            Incomplete::Pass => Self::Pass(vec![why]),
            Incomplete::Error => Self::Fail(FAILED, vec![("X-Error-Code", error_code(reasons).to_owned()), why]),
            Incomplete::Block => {
                let word = reasons.first().map_or("unreadable", Reason::word);
                let mut notes = infection(2, &format!("Holdfast.Incomplete.{word}"));
                notes.push(why);
                Self::Block(format!("The scan could not look into all of it ({words})."), notes)
            }
        }
    }

    /// Of a content of which there is no verdict.
    pub fn of_failure(error: &ScanError, unavailable: Unavailable) -> Self {
        if unavailable == Unavailable::Pass {
            return Self::Pass(vec![("X-Holdfast-Degraded", "unscanned".to_owned())]);
        }
        let mut notes = vec![reason(error)];
        if let ScanError::Busy { retry_after } = error {
            notes.push(("Retry-After", retry_after.as_secs().max(1).to_string()));
        }
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Full => Self::Fail(OVERLOADED, notes),
            _ => Self::Fail(FAILED, notes),
        }
    }

    /// Of a message that passes and cannot be given back, to a client that has not kept it.
    pub fn of_lost(notes: Vec<Note>) -> Self {
        let why =
            "the message passes, but is not kept to be sent back; clients that send `Allow: 204` need not have it";
        Self::Fail(FAILED, [vec![reason(&why)], notes].concat())
    }

    /// What happened, for counts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Block(..) => "block",
            Self::Fail(..) => "fail",
        }
    }
}

/// Why, in words for people.
fn reason(why: &impl ToString) -> Note {
    ("X-Holdfast-Reason", printable(&why.to_string()))
}

/// The headers by which clients know a find: `X-Infection-Found` and `X-Virus-ID` (draft-stecher-icap-subid; c-icap sends both). Type 0 is a
/// virus, 2 a container that could not be looked into; resolution 2: it was kept back. Nextcloud looks at the one that it was configured for,
/// and takes a content for clean if that is the other one: so it gets both, and a 403 as well.
fn infection(kind: u8, name: &str) -> Vec<Note> {
    vec![("X-Infection-Found", format!("Type={kind}; Resolution=2; Threat={name};")), ("X-Virus-ID", name.to_owned())]
}

/// What Nextcloud takes for "cannot be scanned" instead of "the scanner is broken" (files_antivirus, `lib/Scanner/ICAP.php`).
fn error_code(reasons: &[Reason]) -> &'static str {
    if reasons.contains(&Reason::Encrypted) {
        "password_protected"
    } else if reasons.iter().any(|reason| matches!(reason, Reason::TooDeep | Reason::TooMany)) {
        "max_archive_layers_exceeded"
    } else {
        "decode_error"
    }
}

/// A name of a threat as it can stand in a header and on a page: engines take theirs from files that anybody may have written.
fn name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+/:@!".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(NAME_MAX).collect();
    if plain.is_empty() { "unnamed".to_owned() } else { plain }
}

/// Words as they can stand in a header.
fn printable(words: &str) -> String {
    words.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(4 * NAME_MAX).collect()
}

/// What all answers on a connection have.
#[derive(Debug, Clone)]
pub struct Voice {
    /// The epoch of what is said (section 4.7): clients drop what they keep when it changes.
    pub istag: String,
    /// The connection ends after this answer.
    pub close: bool,
}

impl Voice {
    /// A head, with `Encapsulated` as its last header.
    fn head(&self, status: Status, notes: &[Note], encapsulated: &str) -> Vec<u8> {
        // The quotes count among the 32 bytes that c-icap keeps of it.
        let tag: String = self.istag.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(30).collect();
        let connection = if self.close { "close" } else { "keep-alive" };
        let Status { code, words } = status;
        let mut head = format!("ICAP/1.0 {code} {words}\r\nISTag: \"{tag}\"\r\nConnection: {connection}\r\n");
        for (name, value) in notes {
            // Writing to a string does not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Encapsulated: {encapsulated}\r\n\r\n");
        head.into_bytes()
    }

    /// An answer without a message in it.
    pub fn plain(&self, status: Status, notes: &[Note]) -> Vec<u8> {
        self.head(status, notes, "null-body=0")
    }

    /// The answer to what is no request.
    pub fn refused(&self, refusal: Refusal) -> Vec<u8> {
        self.plain(refusal.status(), &[reason(&refusal)])
    }

    /// The message passes; the client has it.
    pub fn unmodified(&self, notes: &[Note]) -> Vec<u8> {
        self.plain(NO_CONTENT, notes)
    }

    /// What there is (section 4.10.2).
    pub fn options(&self, service: Service, options: &Options) -> Vec<u8> {
        let notes = [
            ("Methods", service.methods().to_owned()),
            ("Service", "Holdfast scan".to_owned()),
            ("Max-Connections", options.connections.to_string()),
            ("Options-TTL", OPTIONS_TTL.to_string()),
            ("Allow", "204".to_owned()),
            ("Preview", options.preview.to_string()),
            ("Transfer-Preview", "*".to_owned()),
        ];
        self.plain(OK, &notes)
    }

    /// The message passes, and follows: its head, if it had one, and its body, if it had one, of which only the beginning is here. What it has
    /// to be followed by: chunks and [`LAST_CHUNK`].
    pub fn echo(&self, method: Method, head: Option<&[u8]>, body: bool, notes: &[Note]) -> Vec<u8> {
        let (head_part, body_part) = match method {
            Method::Respmod => ("res-hdr", "res-body"),
            _ => ("req-hdr", "req-body"),
        };
        let body_part = if body { body_part } else { "null-body" };
        let encapsulated = match head {
            Some(head) => format!("{head_part}=0, {body_part}={}", head.len()),
            None => format!("{body_part}=0"),
        };
        [self.head(OK, notes, &encapsulated).as_slice(), head.unwrap_or_default()].concat()
    }

    /// A page that takes the message's place, whole: Nextcloud reads the encapsulated head in one piece.
    pub fn blocked(&self, why: &str, notes: &[Note]) -> Vec<u8> {
        let why = why.replace('&', "&amp;").replace('<', "&lt;");
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Blocked</title></head>\n\
             <body><h1>Blocked</h1><p>This content is kept back. {why}</p></body>\n</html>\n"
        );
        let http = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n\r\n",
            page.len()
        );
        let mut answer = self.head(OK, notes, &format!("res-hdr=0, res-body={}", http.len()));
        answer.extend_from_slice(http.as_bytes());
        answer.extend_from_slice(format!("{:x}\r\n{page}\r\n", page.len()).as_bytes());
        answer.extend_from_slice(LAST_CHUNK);
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const VOICE: fn() -> Voice = || Voice { istag: "e-1".to_owned(), close: false };

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("heads are text")
    }

    #[test]
    fn what_is_said_of_verdicts() {
        use Incomplete::{Block, Error, Pass};
        let infected = Verdict::Infected(vec!["Win.Test.EICAR_HDB-1".to_owned(), "Z".to_owned()]);
        let find = |kind, name: &str| infection(kind, name);
        for policy in [Error, Block, Pass] {
            assert_eq!(Say::of_verdict(&Verdict::Clean, policy), Say::Pass(Vec::new()));
            let block =
                Say::Block("The scan found Win.Test.EICAR_HDB-1 in it.".to_owned(), find(0, "Win.Test.EICAR_HDB-1"));
            assert_eq!(Say::of_verdict(&infected, policy), block);
        }
        assert_eq!(find(0, "a")[0], ("X-Infection-Found", "Type=0; Resolution=2; Threat=a;".to_owned()));
        let codes: [(&[Reason], &str); 7] = [
            (&[Reason::Encrypted], "password_protected"),
            (&[Reason::TooDeep, Reason::Encrypted], "password_protected"),
            (&[Reason::TooDeep], "max_archive_layers_exceeded"),
            (&[Reason::TooMany, Reason::TooSlow], "max_archive_layers_exceeded"),
            (&[Reason::TooLarge], "decode_error"),
            (&[Reason::Unreadable("x\r\nEvil: 1".to_owned())], "decode_error"),
            (&[], "decode_error"),
        ];
        for (reasons, code) in codes {
            let words = reasons.iter().map(Reason::word).collect::<Vec<_>>().join(", ");
            let why = ("X-Holdfast-Incomplete", words);
            let verdict = Verdict::Incomplete(reasons.to_vec());
            let fail = Say::Fail(FAILED, vec![("X-Error-Code", code.to_owned()), why.clone()]);
            assert_eq!(Say::of_verdict(&verdict, Error), fail);
            assert_eq!(Say::of_verdict(&verdict, Pass), Say::Pass(vec![why.clone()]));
            let Say::Block(_, notes) = Say::of_verdict(&verdict, Block) else { panic!("it is blocked") };
            assert!(notes[0].1.starts_with("Type=2; Resolution=2; Threat=Holdfast.Incomplete."), "{notes:?}");
            assert_eq!(notes.last(), Some(&why));
        }
    }

    #[test]
    fn what_is_said_without_a_verdict() {
        let spool = |kind: std::io::ErrorKind| ScanError::Spool(Arc::new(kind.into()));
        let table = [
            (ScanError::Busy { retry_after: Duration::from_millis(1) }, 503, Some("1")),
            (ScanError::Busy { retry_after: Duration::from_secs(9) }, 503, Some("9")),
            (ScanError::Unavailable("down\r\nEvil: 1".to_owned()), 503, None),
            (ScanError::Late(Duration::from_secs(1)), 503, None),
            (spool(std::io::ErrorKind::StorageFull), 503, None),
        ];
        for (error, code, retry) in table {
            let Say::Fail(status, notes) = Say::of_failure(&error, Unavailable::Refuse) else { panic!("it fails") };
            assert_eq!(status.code, code, "{error}");
            assert_eq!(notes.iter().find(|(name, _)| *name == "Retry-After").map(|(_, value)| value.as_str()), retry);
            assert!(notes.iter().all(|(_, value)| !value.contains(['\r', '\n'])), "{notes:?}");
            let pass = Say::Pass(vec![("X-Holdfast-Degraded", "unscanned".to_owned())]);
            assert_eq!(Say::of_failure(&error, Unavailable::Pass), pass);
        }
    }

    #[test]
    fn names_are_plain() {
        for (given, plain) in [
            ("Win.Trojan-1/x:y@z!", "Win.Trojan-1/x:y@z!"),
            ("a; Threat=b\r\nX: 1", "a__Threat_b__X:_1"),
            ("<script>", "_script_"),
            ("\u{fc}", "_"),
            ("", "unnamed"),
        ] {
            assert_eq!(name(given), plain);
        }
        assert_eq!(name(&"a".repeat(1000)).len(), NAME_MAX);
    }

    #[test]
    fn heads() {
        let open = VOICE();
        let unmodified =
            "ICAP/1.0 204 No Content\r\nISTag: \"e-1\"\r\nConnection: keep-alive\r\nEncapsulated: null-body=0\r\n\r\n";
        assert_eq!(text(open.unmodified(&[])), unmodified);
        let closing = Voice { close: true, istag: format!("\"\r\n{}", "x".repeat(99)) };
        let refused = text(closing.refused(Refusal::Service));
        assert_eq!(
            refused,
            format!(
                "ICAP/1.0 404 ICAP Service Not Found\r\nISTag: \"{}\"\r\nConnection: close\r\n\
                 X-Holdfast-Reason: no such service\r\nEncapsulated: null-body=0\r\n\r\n",
                "x".repeat(30)
            )
        );
        let options = text(open.options(Service { requests: true, responses: false }, &Options::default()));
        for line in ["Methods: REQMOD", "Preview: 1024", "Allow: 204", "Transfer-Preview: *", "Max-Connections: 512"] {
            assert!(options.contains(&format!("\r\n{line}\r\n")), "{line} in {options}");
        }
    }

    #[test]
    fn echoes() {
        let parts = |method, head: Option<&str>, body| {
            let answer = text(VOICE().echo(method, head.map(str::as_bytes), body, &[]));
            let (icap, rest) = answer.split_once("\r\n\r\n").expect("a head ends");
            assert_eq!(rest, head.unwrap_or_default());
            icap.rsplit_once("Encapsulated: ").expect("it is the last").1.to_owned()
        };
        let head = Some("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(parts(Method::Reqmod, head, true), "req-hdr=0, req-body=18");
        assert_eq!(parts(Method::Reqmod, head, false), "req-hdr=0, null-body=18");
        assert_eq!(parts(Method::Respmod, head, true), "res-hdr=0, res-body=18");
        assert_eq!(parts(Method::Respmod, None, true), "res-body=0");
        assert_eq!(parts(Method::Reqmod, None, false), "null-body=0");
    }

    #[test]
    fn pages() {
        let answer = text(VOICE().blocked("<b> & c", &infection(0, "x")));
        let (icap, rest) = answer.split_once("\r\n\r\n").expect("a head ends");
        let (http, body) = rest.split_once("\r\n\r\n").expect("a head ends");
        assert!(icap.ends_with(&format!("\r\nEncapsulated: res-hdr=0, res-body={}", http.len() + 4)), "{icap}");
        assert!(http.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{http}");
        let (size, chunk) = body.split_once("\r\n").expect("a chunk's line");
        let size = usize::from_str_radix(size, 16).expect("a size");
        assert!(http.contains(&format!("\r\nContent-Length: {size}\r\n")), "{http}");
        assert_eq!(chunk.get(size..), Some("\r\n0\r\n\r\n"));
        assert!(chunk.contains("&lt;b> &amp; c"), "{chunk}");
    }
}
