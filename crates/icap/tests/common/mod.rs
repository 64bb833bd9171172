//! A scan service with an engine that finds words, and a client that says what it is told.
//!
//! The client is ours because it must say what no client says. A stranger's, the crate icap-rs, belongs in `strangers/`: as a dependency of tests
//! here it would be in the server's lock file.
#![allow(dead_code)]

use std::sync::Arc;

use base::SystemClock;
use icap::{Icap, Options, serve_connection};
use scan::Scanner;
use scan::double::Words;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the engine finds.
pub const EVIL: &str = "EVIL";

/// A server without a socket.
pub struct Rig {
    pub engine: Arc<Words>,
    pub icap: Icap,
    pub stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Rig {
    pub fn new(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Words::new("words", &[EVIL]);
        let scanner = Scanner::new(scan::Options {
            engines: vec![engine.clone()],
            meta: Arc::new(meta::Memory::default()),
            folder: folder.path().to_owned(),
            slots: 2,
            clock: Arc::new(SystemClock),
        });
        Self { engine, icap: Icap::new(scanner, options), stop: CancellationToken::new(), _folder: folder }
    }

    /// A connection, and the task that serves it.
    pub fn connect(&self) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(64 * 1024);
        let (icap, stop) = (self.icap.clone(), self.stop.clone());
        (client, tokio::spawn(async move { serve_connection(server, &icap, &stop).await }))
    }

    /// Sends all in pieces of so many bytes, then ends its side of the connection, and reads what is answered until the server ends its own.
    pub async fn say_in_pieces(&self, said: &[u8], piece: usize) -> Vec<u8> {
        let (client, served) = self.connect();
        let (mut from, mut to) = tokio::io::split(client);
        let sends = async {
            for piece in said.chunks(piece.max(1)) {
                // A server that has heard enough reads no more.
                if to.write_all(piece).await.is_err() {
                    break;
                }
            }
            let _ = to.shutdown().await;
        };
        let mut answer = Vec::new();
        let (_, read) = tokio::join!(sends, from.read_to_end(&mut answer));
        read.expect("a duplex does not fail");
        served.await.expect("no panic");
        answer
    }

    pub async fn say(&self, said: &[u8]) -> Vec<u8> {
        self.say_in_pieces(said, usize::MAX).await
    }

    /// The answers to requests that were sent in one piece.
    pub async fn answers(&self, said: &[u8]) -> Vec<Answer> {
        Answer::all(&self.say(said).await)
    }

    pub async fn answer(&self, said: &[u8]) -> Answer {
        let mut answers = self.answers(said).await;
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }
}

/// An answer, taken apart by its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub headers: Vec<(String, String)>,
    /// The encapsulated head.
    pub head: String,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
}

impl Answer {
    pub fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        while !bytes.is_empty() {
            let (answer, used) = Self::first(bytes);
            answers.push(answer);
            bytes = &bytes[used..];
        }
        answers
    }

    /// The first answer, and how long it is. Panics where it does not end.
    pub fn first(bytes: &[u8]) -> (Self, usize) {
        let end = find(bytes, b"\r\n\r\n").expect("a head ends") + 4;
        let text = std::str::from_utf8(&bytes[..end - 4]).expect("a head is text");
        let mut lines = text.split("\r\n");
        let status = lines.next().expect("a status line").strip_prefix("ICAP/1.0 ").expect("a version");
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Self { code: status[..3].parse().expect("a code"), headers, head: String::new(), body: None };
        let Some(encapsulated) = answer.header("Encapsulated").map(str::to_owned) else { return (answer, end) };
        let (part, at) = encapsulated.rsplit(", ").next().and_then(|last| last.split_once('=')).expect("a body");
        let body = end + at.parse::<usize>().expect("an offset");
        answer.head = String::from_utf8(bytes[end..body].to_vec()).expect("text");
        if part == "null-body" {
            return (answer, body);
        }
        let (content, used) = unchunked(&bytes[body..]);
        answer.body = Some(content);
        (answer, body + used)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn unchunked(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line = find(&bytes[at..], b"\r\n").expect("a chunk's line");
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        at += line + 2;
        content.extend_from_slice(&bytes[at..at + size]);
        assert_eq!(&bytes[at + size..at + size + 2], b"\r\n");
        at += size + 2;
        if size == 0 {
            return (content, at);
        }
    }
}

/// A body in chunks of at most `size` bytes.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        wire.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
    }
    wire.extend(b"0\r\n\r\n");
    wire
}

pub const REQUEST: &str = "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n";
pub const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";

/// The head of a RESPMOD with both heads and a body, and these headers.
pub fn respmod(headers: &[&str]) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let (first, second) = (REQUEST.len(), REQUEST.len() + RESPONSE.len());
    format!(
        "RESPMOD icap://localhost/scan ICAP/1.0\r\nHost: localhost\r\n{headers}\
         Encapsulated: req-hdr=0, res-hdr={first}, res-body={second}\r\n\r\n{REQUEST}{RESPONSE}"
    )
    .into_bytes()
}

/// A whole RESPMOD.
pub fn respmod_of(body: &[u8], headers: &[&str]) -> Vec<u8> {
    [respmod(headers), chunked(body, 10_000)].concat()
}

pub const ALLOW: &str = "Allow: 204";
