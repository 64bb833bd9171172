//! Requests: where a head ends, its start line and headers (RFC 3507, section 4.3), and the `Encapsulated` header (section 4.4.1); pure.

use std::ops::Range;

use crate::limits::{BLANK_MAX, ENCAPSULATED_MAX, HEAD_MAX, HEADERS_MAX, PREVIEW_MAX};

/// Why a request is not served. Each has its status (RFC 3507, section 4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head does not end.
    #[error("the head has more than {HEAD_MAX} bytes")]
    LongHead,
    /// The start line is none of ICAP's.
    #[error("no start line of ICAP; is this an ICAP client?")]
    StartLine,
    /// The address has no path.
    #[error("no address like icap://host/service")]
    Address,
    /// The headers are no headers, or too many.
    #[error("no headers, or more than {HEADERS_MAX}")]
    Headers,
    /// A header that may be there once is there twice.
    #[error("more than one header {0}")]
    Twice(&'static str),
    /// `Encapsulated` is not there.
    #[error("no Encapsulated header")]
    NotEncapsulated,
    /// `Encapsulated` is not a list of parts that follow each other and end with a body.
    #[error("the Encapsulated header is no list of rising offsets that begins with 0 and ends with a body")]
    Encapsulated,
    /// `Encapsulated` has parts that the method has not.
    #[error("the Encapsulated header has parts that the method has not")]
    WrongPart,
    /// The encapsulated heads are too long.
    #[error("the encapsulated heads have more than {ENCAPSULATED_MAX} bytes")]
    LongEncapsulated,
    /// An encapsulated head does not end where the next part begins.
    #[error("an encapsulated head does not end with an empty line where the next part begins")]
    Unfinished,
    /// `Preview` is no number, or a large one.
    #[error("the Preview header is no number of at most {PREVIEW_MAX}")]
    Preview,
    /// There is more in the preview than was announced.
    #[error("the preview has more bytes than the Preview header says")]
    LongPreview,
    /// The body does not end.
    #[error("the body has more bytes than are read")]
    LongBody,
    /// The body is not chunked as it should be.
    #[error(transparent)]
    Chunk(#[from] crate::chunk::ChunkError),
    /// The client ended the connection within the request.
    #[error("the request ends in its middle")]
    Cut,
    /// The head took too long.
    #[error("the head did not arrive in time")]
    Slow,
    /// No such service.
    #[error("no such service")]
    Service,
    /// The service has other methods.
    #[error("the service does not have this method")]
    NotAllowed,
    /// ICAP has no such method.
    #[error("ICAP has no such method")]
    Method,
    /// The version is another one.
    #[error("only ICAP/1.0 is spoken here")]
    Version,
}

/// The methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// What is there?
    Options,
    /// May this request go out?
    Reqmod,
    /// May this response come in?
    Respmod,
}

impl Method {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS",
            Self::Reqmod => "REQMOD",
            Self::Respmod => "RESPMOD",
        }
    }
}

/// Where the parts of an encapsulated message are: offsets in the bytes behind the head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The head of an HTTP request.
    pub request: Option<Range<usize>>,
    /// The head of an HTTP response.
    pub response: Option<Range<usize>>,
    /// Whether a chunked body follows the heads.
    pub body: bool,
    /// Bytes of all heads: where the body begins.
    pub heads: usize,
}

/// What the head of a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path in the address, with what follows it.
    pub path: String,
    /// The parts behind the head.
    pub layout: Layout,
    /// Bytes of the preview, if the body begins with one.
    pub preview: Option<u64>,
    /// The client takes a 204 for any body (section 4.6); within a preview all do.
    pub allow_204: bool,
    /// The client sends nothing more on this connection.
    pub close: bool,
}

/// Gathers the bytes of a head, up to and with its empty line.
#[derive(Debug, Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    /// Where its last line begins.
    line: usize,
    /// Bytes of empty lines before it.
    blank: usize,
}

impl Gathered {
    /// Takes what it needs of the input: how many bytes, and whether the head is whole.
    ///
    /// # Errors
    /// [`Refusal::LongHead`]; [`Refusal::StartLine`] when there are only empty lines.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        for line in input.split_inclusive(|byte| *byte == b'\n') {
            if self.bytes.len() + line.len() > HEAD_MAX {
                return Err(Refusal::LongHead);
            }
            self.bytes.extend_from_slice(line);
            used += line.len();
            if line.last() != Some(&b'\n') {
                break;
            }
            let is_blank = matches!(self.bytes.get(self.line..), Some(b"\n" | b"\r\n"));
            if is_blank && self.line > 0 {
                return Ok((used, true));
            }
            if is_blank {
                self.blank += self.bytes.len();
                self.bytes.clear();
            }
            if self.blank > BLANK_MAX {
                return Err(Refusal::StartLine);
            }
            self.line = self.bytes.len();
        }
        Ok((used, false))
    }

    /// Whether nothing of a head is there yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What the head says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(&self) -> Result<Head, Refusal> {
        parse(&self.bytes)
    }
}

/// Reads a head, from its start line to its empty line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(head: &[u8]) -> Result<Head, Refusal> {
    let end = head.iter().position(|byte| *byte == b'\n').ok_or(Refusal::StartLine)?;
    let (line, rest) = head.split_at(end + 1);
    let (method, path) = start_line(line.trim_ascii_end())?;
    let fields = Fields::read(rest)?;
    let layout = match (fields.encapsulated, method) {
        (Some(list), _) => encapsulated(list, method)?,
        // Section 4.4.1 wants it in every message, but c-icap's client leaves it out where nothing is encapsulated.
        (None, Method::Options) => Layout::default(),
        (None, _) => return Err(Refusal::NotEncapsulated),
    };
    // Without a body there is nothing to see of it beforehand.
    let preview = fields.preview.map(preview).transpose()?.filter(|_| layout.body && method != Method::Options);
    Ok(Head { method, path, layout, preview, allow_204: fields.allow_204, close: fields.close })
}

/// `REQMOD icap://host/path ICAP/1.0`: method and path.
fn start_line(line: &[u8]) -> Result<(Method, String), Refusal> {
    let line = std::str::from_utf8(line).map_err(|_| Refusal::StartLine)?;
    if line.chars().any(char::is_control) {
        return Err(Refusal::StartLine);
    }
    let mut words = line.split(' ');
    let (Some(method), Some(address), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::StartLine);
    };
    match version.strip_prefix("ICAP/") {
        Some("1.0") => {}
        Some(_) => return Err(Refusal::Version),
        None => return Err(Refusal::StartLine),
    }
    let method = match method {
        "OPTIONS" => Method::Options,
        "REQMOD" => Method::Reqmod,
        "RESPMOD" => Method::Respmod,
        _ => return Err(Refusal::Method),
    };
    Ok((method, path(address)?.to_owned()))
}

/// The path of an address. Whole ones are demanded (section 4.2), but a path alone says as much.
fn path(address: &str) -> Result<&str, Refusal> {
    if address.starts_with('/') {
        return Ok(address);
    }
    let (scheme, rest) = address.split_once("://").ok_or(Refusal::Address)?;
    if !scheme.eq_ignore_ascii_case("icap") && !scheme.eq_ignore_ascii_case("icaps") {
        return Err(Refusal::Address);
    }
    match rest.find('/') {
        Some(at) if at > 0 => rest.get(at..).ok_or(Refusal::Address),
        _ => Err(Refusal::Address),
    }
}

/// The headers that mean something here.
#[derive(Default)]
struct Fields<'a> {
    encapsulated: Option<&'a [u8]>,
    preview: Option<&'a [u8]>,
    allow_204: bool,
    close: bool,
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let Ok(httparse::Status::Complete((end, headers))) = httparse::parse_headers(bytes, &mut headers) else {
            return Err(Refusal::Headers);
        };
        if end != bytes.len() {
            return Err(Refusal::Headers);
        }
        let mut fields = Self::default();
        for header in headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("Encapsulated") {
                once("Encapsulated", &mut fields.encapsulated, header.value)?;
            } else if is("Preview") {
                once("Preview", &mut fields.preview, header.value)?;
            } else if is("Allow") {
                fields.allow_204 |= lists(header.value, b"204");
            } else if is("Connection") {
                fields.close |= lists(header.value, b"close");
            }
        }
        Ok(fields)
    }
}

fn once<'a>(name: &'static str, field: &mut Option<&'a [u8]>, value: &'a [u8]) -> Result<(), Refusal> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::Twice(name)),
    }
}

/// Whether a list, separated by commas, has a word.
fn lists(value: &[u8], word: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(word))
}

fn preview(value: &[u8]) -> Result<u64, Refusal> {
    number(value.trim_ascii()).filter(|bytes| *bytes <= PREVIEW_MAX).ok_or(Refusal::Preview)
}

/// Decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A part that `Encapsulated` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    RequestHead,
    ResponseHead,
    RequestBody,
    ResponseBody,
    OptionsBody,
    NoBody,
}

impl Part {
    fn named(name: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 6] = [
            (b"req-hdr", Self::RequestHead),
            (b"res-hdr", Self::ResponseHead),
            (b"req-body", Self::RequestBody),
            (b"res-body", Self::ResponseBody),
            (b"opt-body", Self::OptionsBody),
            (b"null-body", Self::NoBody),
        ];
        names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, part)| *part)
    }

    /// Whether a request with this method may have it (section 4.4.1).
    fn is_of(self, method: Method) -> bool {
        match method {
            Method::Options => matches!(self, Self::OptionsBody | Self::NoBody),
            Method::Reqmod => matches!(self, Self::RequestHead | Self::RequestBody | Self::NoBody),
            Method::Respmod => {
                matches!(self, Self::RequestHead | Self::ResponseHead | Self::ResponseBody | Self::NoBody)
            }
        }
    }
}

/// `req-hdr=0, res-hdr=137, res-body=296`: heads in this order, each behind the one before, and then one body.
fn encapsulated(list: &[u8], method: Method) -> Result<Layout, Refusal> {
    let mut layout = Layout::default();
    let mut open: Option<(Part, usize)> = None;
    for item in list.split(|byte| *byte == b',') {
        let (part, at) = item_of(item)?;
        if !part.is_of(method) {
            return Err(Refusal::WrongPart);
        }
        match open {
            // The first begins where the heads do.
            None if at != 0 => return Err(Refusal::Encapsulated),
            None => {}
            Some((head, from)) => layout.close(head, from..at)?,
        }
        open = Some((part, at));
    }
    let Some((last, heads)) = open else { return Err(Refusal::Encapsulated) };
    if matches!(last, Part::RequestHead | Part::ResponseHead) {
        return Err(Refusal::Encapsulated);
    }
    Ok(Layout { body: last != Part::NoBody, heads, ..layout })
}

fn item_of(item: &[u8]) -> Result<(Part, usize), Refusal> {
    let equals = item.iter().position(|byte| *byte == b'=').ok_or(Refusal::Encapsulated)?;
    let (name, offset) = item.split_at(equals);
    let part = Part::named(name.trim_ascii()).ok_or(Refusal::Encapsulated)?;
    let offset = offset.get(1..).unwrap_or_default().trim_ascii();
    let at = number(offset).and_then(|at| usize::try_from(at).ok()).ok_or(Refusal::Encapsulated)?;
    if at > ENCAPSULATED_MAX { Err(Refusal::LongEncapsulated) } else { Ok((part, at)) }
}

impl Layout {
    /// A head ends where the next part begins.
    fn close(&mut self, head: Part, range: Range<usize>) -> Result<(), Refusal> {
        if range.is_empty() {
            return Err(Refusal::Encapsulated);
        }
        let place = match head {
            Part::RequestHead if self.response.is_none() => &mut self.request,
            Part::ResponseHead => &mut self.response,
            // A body is last, and a request comes before its response.
            _ => return Err(Refusal::Encapsulated),
        };
        if place.replace(range).is_some() { Err(Refusal::Encapsulated) } else { Ok(()) }
    }

    /// Checks that the heads end where they should: each with an empty line. What is in them is the business of who sent them, and goes back
    /// as it came; Nextcloud's are not even heads of HTTP in all versions.
    ///
    /// # Errors
    /// [`Refusal::Unfinished`].
    pub fn check(&self, heads: &[u8]) -> Result<(), Refusal> {
        let is_whole = |range: &Range<usize>| {
            heads.get(range.clone()).is_some_and(|head| head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n"))
        };
        let whole = [&self.request, &self.response].into_iter().flatten().all(is_whole);
        if whole { Ok(()) } else { Err(Refusal::Unfinished) }
    }

    /// The part that goes back to the client in an echo: the response of RESPMOD, the request of REQMOD.
    pub fn echoed(&self, method: Method) -> Option<Range<usize>> {
        match method {
            Method::Respmod => self.response.clone(),
            _ => self.request.clone(),
        }
    }
}

/// What a message's body is encoded by, of its head, if that is nothing that engines look into (RFC 9110, section 8.4): they unpack gzip.
pub fn opaque_encoding(head: &[u8]) -> Option<&str> {
    let is_open =
        |coding: &str| ["", "identity", "gzip", "x-gzip"].iter().any(|open| coding.eq_ignore_ascii_case(open));
    let values = std::str::from_utf8(head).ok()?.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-encoding").then_some(value.trim())
    });
    let opaque = { values }.find(|value| !value.split(',').all(|coding| is_open(coding.trim())))?;
    let is_plain = opaque.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    Some(if is_plain { opaque } else { "unknown" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(start: &str, headers: &[&str]) -> Vec<u8> {
        format!("{start}\r\n{}\r\n", headers.iter().map(|line| format!("{line}\r\n")).collect::<String>()).into_bytes()
    }

    const REQMOD: &str = "REQMOD icap://av.example:1344/scan ICAP/1.0";
    const RESPMOD: &str = "RESPMOD icap://av.example/scan?x=1 ICAP/1.0";

    #[test]
    fn encodings_that_no_engine_looks_into() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\ncontent-encoding:identity, GZIP\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", Some("br")),
            ("HTTP/1.1 200 OK\r\nCONTENT-ENCODING: gzip, zstd\r\n\r\n", Some("gzip, zstd")),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: \u{e9}\r\n\r\n", Some("unknown")),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\n\r\n", Some("br")),
            ("POST / HTTP/1.1\r\nContent-Encoding: deflate\r\n\r\n", Some("deflate")),
            ("Content-Encoding: br", None),
        ] {
            assert_eq!(opaque_encoding(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn heads() {
        let full = head(
            RESPMOD,
            &[
                "Host: av.example",
                "allow:  206 , 204",
                "PREVIEW: 1024",
                "Connection: TE, Close",
                "Encapsulated: req-hdr=0, res-hdr=137,res-body = 296",
            ],
        );
        let layout = Layout { request: Some(0..137), response: Some(137..296), body: true, heads: 296 };
        assert_eq!(layout.echoed(Method::Respmod), Some(137..296));
        assert_eq!(layout.echoed(Method::Reqmod), Some(0..137));
        let path = "/scan?x=1".to_owned();
        let expected =
            Head { method: Method::Respmod, path, layout, preview: Some(1024), allow_204: true, close: true };
        assert_eq!(parse(&full), Ok(expected));
        // Nextcloud's: no preview, a header of HTTP's framing that means nothing here.
        let nextcloud =
            head(REQMOD, &["Allow: 204", "Transfer-Encoding: chunked", "Encapsulated: req-hdr=0, req-body=40"]);
        let parsed = parse(&nextcloud).expect("it is one");
        assert_eq!((parsed.preview, parsed.allow_204, parsed.close, parsed.layout.body), (None, true, false, true));
        // c-icap's client, asking for options.
        let options = parse(&head("OPTIONS icap://h/avscan ICAP/1.0", &["Host: h"])).expect("it is one");
        assert_eq!(
            (options.method, options.path.as_str(), options.layout),
            (Method::Options, "/avscan", Layout::default())
        );
        // A preview of nothing is none.
        let get = parse(&head(REQMOD, &["Preview: 0", "Encapsulated: req-hdr=0, null-body=9"])).expect("it is one");
        assert_eq!((get.preview, get.layout.body, get.layout.heads), (None, false, 9));
    }

    #[test]
    fn start_lines() {
        let table: [(&str, Result<&str, Refusal>); 17] = [
            (REQMOD, Ok("/scan")),
            ("REQMOD ICAP://[::1]:1344/a/b ICAP/1.0", Ok("/a/b")),
            ("REQMOD icaps://h/ ICAP/1.0", Ok("/")),
            ("REQMOD /scan ICAP/1.0", Ok("/scan")),
            ("REQMOD icap://h ICAP/1.0", Err(Refusal::Address)),
            ("REQMOD icap:///scan ICAP/1.0", Err(Refusal::Address)),
            ("REQMOD http://h/scan ICAP/1.0", Err(Refusal::Address)),
            ("REQMOD scan ICAP/1.0", Err(Refusal::Address)),
            ("REQMOD icap://h/scan ICAP/1.1", Err(Refusal::Version)),
            ("REQMOD icap://h/scan HTTP/1.1", Err(Refusal::StartLine)),
            ("GET / HTTP/1.1", Err(Refusal::StartLine)),
            ("REQMOD  icap://h/scan ICAP/1.0", Err(Refusal::StartLine)),
            ("REQMOD icap://h/scan ICAP/1.0 x", Err(Refusal::StartLine)),
            ("REQMOD icap://h/\0 ICAP/1.0", Err(Refusal::StartLine)),
            ("reqmod icap://h/scan ICAP/1.0", Err(Refusal::Method)),
            ("FILEMOD icap://h/scan ICAP/1.0", Err(Refusal::Method)),
            ("", Err(Refusal::StartLine)),
        ];
        for (line, expected) in table {
            let parsed = parse(&head(line, &["Encapsulated: null-body=0"]));
            assert_eq!(parsed.map(|head| head.path), expected.map(str::to_owned), "{line:?}");
        }
    }

    #[test]
    fn headers() {
        let with = |lines: &[&str]| parse(&head(REQMOD, lines)).map(drop);
        let null = "Encapsulated: null-body=0";
        let table: [(&[&str], Result<(), Refusal>); 12] = [
            (&[null], Ok(())),
            (&[], Err(Refusal::NotEncapsulated)),
            (&[null, null], Err(Refusal::Twice("Encapsulated"))),
            (&[null, "Preview: 1", "preview: 1"], Err(Refusal::Twice("Preview"))),
            (&[null, "Preview: -1"], Err(Refusal::Preview)),
            (&[null, "Preview: +1"], Err(Refusal::Preview)),
            (&[null, "Preview:"], Err(Refusal::Preview)),
            (&[null, "Preview: 1048577"], Err(Refusal::Preview)),
            (&[null, "Preview: 99999999999999999999"], Err(Refusal::Preview)),
            (&[null, "no colon"], Err(Refusal::Headers)),
            (&[null, " folded: line"], Err(Refusal::Headers)),
            (&[null, "na me: x"], Err(Refusal::Headers)),
        ];
        for (lines, expected) in table {
            assert_eq!(with(lines), expected, "{lines:?}");
        }
        let many = vec!["x: y"; HEADERS_MAX];
        assert_eq!(with(&many[1..]), Err(Refusal::NotEncapsulated));
        assert_eq!(with(&[many.as_slice(), &[null]].concat()), Err(Refusal::Headers));
    }

    #[test]
    fn encapsulated_lists() {
        use Method::{Options, Reqmod, Respmod};
        use Refusal::{Encapsulated, LongEncapsulated, WrongPart};
        let parts = |request, response, body, heads| Ok(Layout { request, response, body, heads });
        let table: [(Method, &str, Result<Layout, Refusal>); 27] = [
            (Reqmod, "req-hdr=0, req-body=40", parts(Some(0..40), None, true, 40)),
            (Reqmod, "REQ-HDR=0 ,\treq-body = 40", parts(Some(0..40), None, true, 40)),
            (Reqmod, "req-hdr=0, null-body=40", parts(Some(0..40), None, false, 40)),
            (Reqmod, "req-body=0", parts(None, None, true, 0)),
            (Reqmod, "null-body=0", parts(None, None, false, 0)),
            (Respmod, "req-hdr=0, res-hdr=1, res-body=3", parts(Some(0..1), Some(1..3), true, 3)),
            (Respmod, "res-hdr=0, res-body=3", parts(None, Some(0..3), true, 3)),
            (Respmod, "res-body=0", parts(None, None, true, 0)),
            (Options, "opt-body=0", parts(None, None, true, 0)),
            (Options, "null-body=0", parts(None, None, false, 0)),
            (Options, "req-hdr=0, opt-body=1", Err(WrongPart)),
            (Reqmod, "req-hdr=0, res-body=1", Err(WrongPart)),
            (Reqmod, "req-hdr=0, res-hdr=1, req-body=2", Err(WrongPart)),
            (Respmod, "res-hdr=0, req-body=1", Err(WrongPart)),
            (Respmod, "res-hdr=0, req-hdr=1, res-body=2", Err(Encapsulated)),
            (Respmod, "res-hdr=0, res-hdr=1, res-body=2", Err(Encapsulated)),
            (Respmod, "res-body=0, res-body=1", Err(Encapsulated)),
            (Reqmod, "req-hdr=0", Err(Encapsulated)),
            (Reqmod, "req-hdr=1, req-body=2", Err(Encapsulated)),
            (Reqmod, "req-hdr=0, req-body=0", Err(Encapsulated)),
            (Respmod, "req-hdr=0, res-hdr=9, res-body=8", Err(Encapsulated)),
            (Reqmod, "req-hdr=0, req-body=1,", Err(Encapsulated)),
            (Reqmod, "req-hdr=0x0, req-body=1", Err(Encapsulated)),
            (Reqmod, "req-hdr, req-body=1", Err(Encapsulated)),
            (Reqmod, "", Err(Encapsulated)),
            (Reqmod, "req-hdr=0, req-body=99999999999999999999", Err(Encapsulated)),
            (Reqmod, "req-hdr=0, req-body=163841", Err(LongEncapsulated)),
        ];
        for (method, list, expected) in table {
            assert_eq!(encapsulated(list.as_bytes(), method), expected, "{} {list}", method.name());
        }
    }

    #[test]
    fn encapsulated_heads_end_where_they_say() {
        let layout = Layout { request: Some(0..5), response: Some(5..9), body: true, heads: 9 };
        for (heads, expected) in [
            ("a\r\n\r\nbb\n\n", Ok(())),
            ("a\r\n\r\nbbb\n", Err(Refusal::Unfinished)),
            ("aa\r\n\r\nb\n\n", Err(Refusal::Unfinished)),
            ("a\r\n\r\n", Err(Refusal::Unfinished)),
        ] {
            assert_eq!(layout.check(heads.as_bytes()), expected, "{heads:?}");
        }
        assert_eq!(Layout::default().check(b""), Ok(()));
    }

    /// Feeds all in pieces: how much was used, and the head.
    fn gather(input: &[u8], piece: usize) -> Result<(usize, Option<Vec<u8>>), Refusal> {
        let mut gathered = Gathered::default();
        let mut used = 0;
        for piece in input.chunks(piece) {
            let (taken, whole) = gathered.feed(piece)?;
            used += taken;
            if whole {
                return Ok((used, Some(gathered.bytes)));
            }
            assert_eq!(taken, piece.len());
        }
        Ok((used, None))
    }

    /// How much was used, and the head if it is whole.
    type Ends = Result<(usize, Option<&'static [u8]>), Refusal>;

    #[test]
    fn where_heads_end() {
        let table: [(&[u8], Ends); 8] = [
            (b"a\r\nb\r\n\r\nrest", Ok((8, Some(b"a\r\nb\r\n\r\n")))),
            (b"a\n\nrest", Ok((3, Some(b"a\n\n")))),
            (b"\r\n\r\na\r\n\r\n", Ok((9, Some(b"a\r\n\r\n")))),
            (b"a\r\nb\r\n\r", Ok((7, None))),
            (b"a\r\n \r\n", Ok((6, None))),
            (b"", Ok((0, None))),
            (b"\n\n\n\n\n\n\n\n\n", Err(Refusal::StartLine)),
            (b"\r\n\r\n\r\n\r\n\r\n", Err(Refusal::StartLine)),
        ];
        for (input, expected) in table {
            for piece in [1, 2, 3, 100] {
                let gathered = gather(input, piece);
                let expected = expected.map(|(used, head)| (used, head.map(<[u8]>::to_vec)));
                assert_eq!(gathered, expected, "{} in pieces of {piece}", input.escape_ascii());
            }
        }
        assert_eq!(gather(&[b'a'; HEAD_MAX + 1], 1000), Err(Refusal::LongHead));
        assert_eq!(gather(&b"a\r\n".repeat(HEAD_MAX), 1000), Err(Refusal::LongHead));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_pieces_make_no_difference(
            input in proptest::collection::vec(proptest::sample::select(b"REQMOD icap://h/ ICAP/1.0:=,\r\n\r\n\n0-\xff".to_vec()), 0..300),
            piece in 1usize..40,
        ) {
            let whole = gather(&input, usize::MAX);
            proptest::prop_assert_eq!(gather(&input, piece), whole.clone());
            if let Ok((_, Some(head))) = whole {
                let _ = parse(&head);
            }
            let _ = parse(&input);
            for method in [Method::Options, Method::Reqmod, Method::Respmod] {
                let _ = encapsulated(&input, method);
            }
        }

        #[test]
        fn a_layout_covers_what_it_says(list in "((req|res|opt|null)-(hdr|body)=[0-9]{1,3},? ?){0,4}") {
            for method in [Method::Options, Method::Reqmod, Method::Respmod] {
                let Ok(layout) = encapsulated(list.as_bytes(), method) else { continue };
                let heads: usize = [&layout.request, &layout.response].into_iter().flatten().map(|range| range.len()).sum();
                proptest::prop_assert_eq!(heads, layout.heads, "{}", list);
            }
        }
    }
}
