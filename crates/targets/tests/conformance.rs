//! Both targets, each against a receiver that speaks its protocol as written down, not as the target does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use store::{Message, Target, TargetError};
use targets::conformance::{Mood, Receiver, suite};
use targets::{Login, Nats, NatsOptions, Webhook, WebhookOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What a protocol makes of a connection.
type Serve = fn(TcpStream, Arc<Shared>) -> std::pin::Pin<Box<dyn Future<Output = Option<()>> + Send>>;

struct Shared {
    mood: Mutex<Mood>,
    taken: Mutex<Vec<Bytes>>,
    /// Heads of requests, or lines of commands.
    heads: Mutex<Vec<String>>,
}

impl Shared {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn take(&self, body: Vec<u8>) {
        self.taken.lock().unwrap().push(body.into());
    }

    fn head(&self, head: &str) {
        self.heads.lock().unwrap().push(head.to_owned());
    }
}

/// A listener that comes and goes, always at one address.
struct Fake {
    address: SocketAddr,
    serve: Serve,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Fake {
    async fn new(serve: Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Shared { mood: Mutex::new(Mood::Fine), taken: Mutex::default(), heads: Mutex::default() };
        let address = listener.local_addr().unwrap();
        let mut fake = Self { address, serve, shared: Arc::new(shared), tasks: JoinSet::new() };
        fake.listen(listener);
        fake
    }

    fn listen(&mut self, listener: TcpListener) {
        let (serve, shared) = (self.serve, self.shared.clone());
        self.tasks.spawn(async move {
            // The connections end with the listener.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
    }
}

#[async_trait]
impl Receiver for Fake {
    async fn be(&mut self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
        if mood == Mood::Away {
            self.tasks.shutdown().await;
        } else if self.tasks.is_empty() {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address).unwrap();
            let listener = socket.listen(64).unwrap();
            self.listen(listener);
        }
    }

    async fn taken(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut *self.shared.taken.lock().unwrap())
    }
}

/// HTTP/1.1 with Content-Length, kept alive.
fn http(stream: TcpStream, shared: Arc<Shared>) -> std::pin::Pin<Box<dyn Future<Output = Option<()>> + Send>> {
    Box::pin(async move {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                (stream.read_line(&mut head).await.ok()? > 0).then_some(())?;
            }
            let lower = head.to_ascii_lowercase();
            let length = lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
            shared.head(&lower);
            let answer: &[u8] = match shared.mood() {
                Mood::Fine => {
                    shared.take(body);
                    b"HTTP/1.1 204 No Content\r\n\r\n"
                }
                Mood::Refusing => b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n",
                Mood::Silent | Mood::Away => continue,
            };
            stream.write_all(answer).await.ok()?;
        }
    })
}

/// A NATS server with one stream, on the subject `events`.
fn nats(stream: TcpStream, shared: Arc<Shared>) -> std::pin::Pin<Box<dyn Future<Output = Option<()>> + Send>> {
    Box::pin(async move {
        let mut stream = BufReader::new(stream);
        let info = b"INFO {\"server_id\":\"x\",\"max_payload\":1048576,\"headers\":true,\"auth_required\":true}\r\n";
        stream.write_all(info).await.ok()?;
        // The server asks first whether somebody is there.
        stream.write_all(b"PING\r\n").await.ok()?;
        loop {
            let mut line = String::new();
            (stream.read_line(&mut line).await.ok()? > 0).then_some(())?;
            shared.head(line.trim_end());
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if shared.mood() == Mood::Silent && !matches!(words.first(), Some(&("PUB" | "HPUB"))) {
                continue;
            }
            match *words.as_slice() {
                ["CONNECT", _] if line.contains("\"auth_token\":\"wrong\"") => {
                    stream.write_all(b"-ERR 'Authorization Violation'\r\n").await.ok()?;
                    return None;
                }
                ["PING"] if shared.mood() == Mood::Refusing => {
                    stream.write_all(b"-ERR 'Permissions Violation'\r\n").await.ok()?;
                }
                ["PING"] => stream.write_all(b"PONG\r\n").await.ok()?,
                ["PUB", subject, length] => {
                    let body = exactly(&mut stream, length).await?;
                    if shared.mood() == Mood::Fine && subject == "events" {
                        shared.take(body);
                    }
                }
                ["HPUB", subject, reply, headers, length] => {
                    let mut body = exactly(&mut stream, length).await?;
                    let body = body.split_off(headers.parse().ok()?);
                    let ack = match (shared.mood(), subject) {
                        (Mood::Silent, _) => continue,
                        (_, "nowhere") => format!("HMSG {reply} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
                        (Mood::Refusing, _) => {
                            message(reply, "{\"error\":{\"code\":503,\"description\":\"maximum bytes exceeded\"}}")
                        }
                        _ => {
                            shared.take(body);
                            message(reply, "{\"stream\":\"EVENTS\",\"seq\":7}")
                        }
                    };
                    // Words that are nobody's business come in between.
                    stream
                        .write_all(format!("+OK\r\nPING\r\n{}{ack}", message("_INBOX.other", "x")).as_bytes())
                        .await
                        .ok()?;
                }
                _ => {}
            }
        }
    })
}

fn message(subject: &str, body: &str) -> String {
    format!("MSG {subject} 1 {}\r\n{body}\r\n", body.len())
}

async fn exactly(stream: &mut BufReader<TcpStream>, length: &str) -> Option<Vec<u8>> {
    let mut body = vec![0; length.parse::<usize>().ok()? + 2];
    stream.read_exact(&mut body).await.ok()?;
    assert!(body.ends_with(b"\r\n"));
    body.truncate(body.len() - 2);
    Some(body)
}

/// Long enough for any answer that comes, since those that come come at once.
const TIMEOUT: Duration = Duration::from_secs(2);

fn webhook(fake: &Fake, secret: Option<&str>) -> Webhook {
    let options = WebhookOptions {
        url: format!("http://{}/hook?key=1", fake.address),
        bearer_token: secret.map(|_| "token".to_owned()),
        secret: secret.map(str::to_owned),
        timeout: TIMEOUT,
    };
    Webhook::new(options).unwrap()
}

fn publisher(fake: &Fake, subject: &str, jetstream: bool, login: Login) -> Nats {
    let (url, subject) = (format!("nats://{}", fake.address), subject.to_owned());
    Nats::new(NatsOptions { url, login, subject, jetstream, timeout: TIMEOUT }).unwrap()
}

#[tokio::test]
async fn webhooks_conform() {
    let mut fake = Fake::new(http).await;
    suite(&webhook(&fake, None), &mut fake).await;
}

#[tokio::test]
async fn nats_conforms() {
    let mut fake = Fake::new(nats).await;
    suite(&publisher(&fake, "events", false, Login::None), &mut fake).await;
}

#[tokio::test]
async fn jetstream_conforms() {
    let mut fake = Fake::new(nats).await;
    suite(&publisher(&fake, "events", true, Login::None), &mut fake).await;
}

fn one() -> Message {
    Message { id: "00A1".to_owned(), body: Bytes::from_static(b"{\"a\":1}") }
}

#[tokio::test]
async fn a_webhook_is_signed() {
    let fake = Fake::new(http).await;
    webhook(&fake, Some("key")).send(&one()).await.unwrap();
    let head = fake.shared.heads.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("post /hook?key=1 http/1.1\r\n"), "{head}");
    // printf '{"a":1}' | openssl dgst -sha256 -hmac key
    let expected = [
        "authorization: bearer token\r\n",
        "content-type: application/json\r\n",
        "x-holdfast-delivery: 00a1\r\n",
        "x-hub-signature-256: sha256=88a67f24bbcdaed0e6c997404bb79a743baf44c6bab2f4c27328e3009d22e342\r\n",
    ];
    for line in expected {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[tokio::test]
async fn a_stream_knows_repetitions() {
    let fake = Fake::new(nats).await;
    publisher(&fake, "events", true, Login::Token("good".to_owned())).send(&one()).await.unwrap();
    let heads = fake.shared.heads.lock().unwrap().join("\n");
    assert!(heads.contains("\"auth_token\":\"good\"") && heads.contains("HPUB events _INBOX."), "{heads}");
}

#[tokio::test]
async fn refusals_say_why() {
    let fake = Fake::new(nats).await;
    let table = [
        (publisher(&fake, "nowhere", true, Login::None), "no stream takes the subject nowhere"),
        (publisher(&fake, "events", false, Login::Token("wrong".to_owned())), "Authorization Violation"),
    ];
    for (target, expected) in table {
        match target.send(&one()).await {
            Err(TargetError::Refused(words)) => assert!(words.contains(expected), "{words}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
