//! NATS: a publisher of few words. Each message is acknowledged before the next one of its connection: by a
//! stream (JetStream), or by the server's PONG to a PING that followed it.
//!
//! Source: NATS client protocol reference (INFO, CONNECT, SUB, PUB, HPUB, MSG, HMSG, PING, PONG, -ERR), ADR-4
//! (headers), ADR-6 (no subject with wildcards is published to), JetStream wire API (publish acknowledgements).

mod creds;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use store::{Message, Target, TargetError};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use url::Url;

use self::wire::{Wire, Word};
use crate::OptionError;
pub use creds::{Creds, CredsError};

/// The port of NATS.
const PORT: u16 = 4222;
/// Bytes of a subject.
const SUBJECT_MAX: usize = 255;

/// Who logs in, and how.
pub enum Login {
    /// Nobody is asked for.
    None,
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// By a token.
    Token(String),
    /// By a JWT and a signature.
    Creds(Creds),
}

/// A subject of a NATS server, as configured.
pub struct NatsOptions {
    /// `nats://host:port`; without a port 4222.
    pub url: String,
    /// Who logs in.
    pub login: Login,
    /// Where messages are published.
    pub subject: String,
    /// Whether a stream must acknowledge.
    pub jetstream: bool,
    /// For connection and acknowledgement together.
    pub timeout: Duration,
}

/// Publishes to a subject.
pub struct Nats {
    host: String,
    port: u16,
    options: NatsOptions,
    /// Kept between messages; taken out while one is under way, so that a failure closes it.
    connection: Mutex<Option<Connection>>,
}

/// A connection that is logged in.
struct Connection {
    wire: Wire,
    max_payload: usize,
    /// Acknowledgements come to subjects under this.
    inbox: String,
    /// Numbers them.
    next: u64,
}

/// What the server says of itself.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    max_payload: usize,
    #[serde(default)]
    headers: bool,
    #[serde(default)]
    tls_required: bool,
    nonce: Option<String>,
}

/// A stream's answer to a message.
#[derive(Deserialize)]
struct Ack {
    stream: Option<String>,
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    description: String,
}

fn refused(what: impl Into<String>) -> TargetError {
    TargetError::Refused(what.into())
}

/// Whether messages can be published to a subject: words between dots, no wildcards.
fn is_subject(subject: &str) -> bool {
    let fine = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>');
    subject.len() <= SUBJECT_MAX && subject.split('.').all(fine)
}

impl Nats {
    /// A publisher; nothing is connected yet.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: NatsOptions) -> Result<Self, OptionError> {
        let wrong = || OptionError::Url(options.url.clone(), "nats://host:4222");
        let url = Url::parse(&options.url).map_err(|_| wrong())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OptionError::Secrets);
        }
        if url.scheme() != "nats" || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(wrong());
        }
        if !is_subject(&options.subject) {
            return Err(OptionError::Subject(options.subject.clone()));
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: url.port().unwrap_or(PORT), options, connection: Mutex::new(None) })
    }

    async fn connect(&self) -> Result<Connection, TargetError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| TargetError::Unreachable(error.to_string()))?;
        let mut wire = Wire::new(stream);
        let Word::Info(info) = wire.word().await? else { return Err(refused("it does not speak NATS")) };
        let info: Info = serde_json::from_slice(&info).map_err(|_| refused("its INFO is not understood"))?;
        if info.tls_required {
            return Err(refused("it demands TLS, which is not spoken here"));
        }
        if self.options.jetstream && !info.headers {
            return Err(refused("it knows no headers, which JetStream needs; its version is older than 2.2"));
        }
        let inbox = format!("_INBOX.{}", hex::encode(random()?));
        let mut hello = format!("CONNECT {}\r\n", self.hello(info.nonce.as_deref())?);
        if self.options.jetstream {
            hello.push_str(&format!("SUB {inbox}.* 1\r\n"));
        }
        hello.push_str("PING\r\n");
        wire.write(hello.as_bytes()).await?;
        wire.pong().await?;
        Ok(Connection { wire, max_payload: info.max_payload, inbox, next: 0 })
    }

    /// The document of CONNECT.
    fn hello(&self, nonce: Option<&str>) -> Result<String, TargetError> {
        let mut hello = json!({
            "verbose": false,
            "pedantic": false,
            "tls_required": false,
            "name": "holdfast",
            "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
            "headers": true,
            "no_responders": true,
            "echo": false,
        });
        match &self.options.login {
            Login::None => {}
            Login::Password { user, password } => {
                hello["user"] = user.as_str().into();
                hello["pass"] = password.as_str().into();
            }
            Login::Token(token) => hello["auth_token"] = token.as_str().into(),
            Login::Creds(creds) => {
                let nonce = nonce.ok_or_else(|| refused("it asks for no signature; its accounts are not by JWT"))?;
                hello["jwt"] = creds.jwt().into();
                hello["sig"] = creds.sign(nonce).into();
            }
        }
        Ok(hello.to_string())
    }

    async fn publish(&self, connection: &mut Connection, message: &Message) -> Result<(), TargetError> {
        let max = connection.max_payload;
        if max > 0 && message.body.len() + 256 > max {
            return Err(refused(format!("it takes messages of {max} bytes only; raise its max_payload")));
        }
        if self.options.jetstream {
            return self.publish_to_stream(connection, message).await;
        }
        let head = format!("PUB {} {}\r\n", self.options.subject, message.body.len());
        connection.wire.write_message(head.as_bytes(), &message.body, b"\r\nPING\r\n").await?;
        connection.wire.pong().await
    }

    async fn publish_to_stream(&self, connection: &mut Connection, message: &Message) -> Result<(), TargetError> {
        connection.next += 1;
        let reply = format!("{}.{}", connection.inbox, connection.next);
        // The stream drops what it has already, within its window.
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", message.id);
        let whole = headers.len() + message.body.len();
        let head = format!("HPUB {} {reply} {} {whole}\r\n{headers}", self.options.subject, headers.len());
        connection.wire.write_message(head.as_bytes(), &message.body, b"\r\n").await?;
        loop {
            match connection.wire.word().await? {
                Word::Message { subject, status, payload } if subject == reply => {
                    return self.judge_ack(status.as_deref(), &payload);
                }
                Word::Error(error) => return Err(refused(error)),
                _ => {}
            }
        }
    }

    fn judge_ack(&self, status: Option<&str>, payload: &[u8]) -> Result<(), TargetError> {
        let subject = &self.options.subject;
        match status {
            Some("503") => return Err(refused(format!("no stream takes the subject {subject}; add one to JetStream"))),
            Some(status) => return Err(refused(format!("the stream answers {status}"))),
            None => {}
        }
        let ack: Ack = serde_json::from_slice(payload)
            .map_err(|_| refused(format!("what answers on {subject} is no stream of JetStream")))?;
        match ack {
            Ack { error: Some(error), .. } => Err(refused(format!("the stream says: {}", error.description))),
            Ack { stream: Some(_), error: None } => Ok(()),
            Ack { stream: None, error: None } => Err(refused("an acknowledgement without a stream")),
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), TargetError> {
        let mut kept = self.connection.lock().await;
        if let Some(mut connection) = kept.take() {
            match self.publish(&mut connection, message).await {
                Ok(()) => {
                    *kept = Some(connection);
                    return Ok(());
                }
                // The server may have closed it while nothing was sent: a new one decides.
                Err(TargetError::Unreachable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = self.connect().await?;
        self.publish(&mut connection, message).await?;
        *kept = Some(connection);
        Ok(())
    }
}

fn random() -> Result<[u8; 16], TargetError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| TargetError::Unreachable("no randomness".to_owned()))?;
    Ok(bytes)
}

#[async_trait]
impl Target for Nats {
    async fn send(&self, message: &Message) -> Result<(), TargetError> {
        let timeout = self.options.timeout;
        tokio::time::timeout(timeout, self.deliver(message)).await.unwrap_or(Err(TargetError::Late(timeout)))
    }

    fn kind(&self) -> &'static str {
        "nats"
    }

    fn address(&self) -> String {
        let stream = if self.options.jetstream { " (JetStream)" } else { "" };
        format!("{} {}{stream}", self.options.url, self.options.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        let table =
            [("events", true), ("a.b-c_d.$E", true), ("", false), ("a..b", false), (".a", false), ("a.", false)];
        for (subject, fine) in
            table.into_iter().chain([("a b", false), ("a.*", false), (">", false), ("a\r\nPUB", false)])
        {
            assert_eq!(is_subject(subject), fine, "{subject:?}");
        }
        assert!(!is_subject(&"a".repeat(256)));
    }

    #[test]
    fn urls() {
        let new = |url: &str| {
            let (url, subject) = (url.to_owned(), "s".to_owned());
            let login = Login::None;
            Nats::new(NatsOptions { url, login, subject, jetstream: false, timeout: Duration::from_secs(1) })
        };
        for (url, port) in [("nats://h", 4222), ("nats://h:1/", 1), ("nats://[::1]:5", 5)] {
            assert_eq!(new(url).map(|nats| nats.port).ok(), Some(port), "{url}");
        }
        assert_eq!(new("nats://[::1]:5").map(|nats| nats.host).ok().as_deref(), Some("::1"));
        for url in ["h:4222", "tls://h", "nats://", "nats://h/x", "nats://h?x", "http://h"] {
            assert!(matches!(new(url), Err(OptionError::Url(..))), "{url}");
        }
        assert!(matches!(new("nats://u:p@h"), Err(OptionError::Secrets)));
    }
}
