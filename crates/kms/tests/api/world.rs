//! A server over five sites in memory, and a client that signs by its own lights, and can lie.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use base::{Clock as _, Doors};
use serde_json::Value;
use sites::Pool;
use store::{Options, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub const ROOT: (&str, &str) = ("ROOTKEY0000000000000", "rootsecretrootsecretrootsecret0000000000");
pub const REGION: &str = "eu-test-1";

pub struct World {
    pub address: SocketAddr,
    pub store: Store,
    pub shutdown: CancellationToken,
    pub server: tokio::task::JoinHandle<Result<(), listener::ServeError>>,
}

/// A request, right in every way until something is changed.
pub struct Call {
    pub method: &'static str,
    pub target: &'static str,
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub access: String,
    pub secret: String,
    pub service: &'static str,
    pub region: &'static str,
    /// Seconds that the client's clock is off.
    pub skew: i64,
    /// Headers that are sent and not signed.
    pub unsigned: Vec<&'static str>,
    /// What is done to the request after it was signed.
    pub tamper: fn(&mut Vec<(String, String)>, &mut Vec<u8>),
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub json: Value,
}

impl World {
    pub async fn start() -> Self {
        let doors = Doors::system();
        let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
        let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
        let options = Options { background: false, ..Options::new(doors) };
        let root = (ROOT.0.to_owned(), ROOT.1.to_owned());
        let store = Store::open(Arc::new(meta::Memory::new()), pool, keyring, root, options).await.unwrap();
        let listener = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(kms::serve(listener, store.clone(), REGION.to_owned(), shutdown.clone()));
        Self { address, store, shutdown, server }
    }

    pub async fn send(&self, call: Call) -> Answer {
        let now = i64::try_from(base::SystemClock.now_ms() / 1000).unwrap() + call.skew;
        let date = sigv4::amz_date(u64::try_from(now).unwrap());
        let mut headers = call.headers.clone();
        headers.push(("host".to_owned(), self.address.to_string()));
        headers.push(("x-amz-date".to_owned(), date.clone()));
        headers.sort();
        let signed: Vec<_> =
            headers.iter().filter(|(name, _)| !call.unsigned.contains(&name.as_str())).cloned().collect();
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let hash = |bytes: &[u8]| hex::encode(digest::digest(&digest::SHA256, bytes));
        let (method, target) = (call.method, call.target);
        let canonical = format!("{method}\n{target}\n\n{lines}\n{names}\n{}", hash(&call.body));
        let scope = format!("{}/{}/{}/aws4_request", &date[..8], call.region, call.service);
        let mac = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let key = mac(format!("AWS4{}", call.secret).as_bytes(), &date[..8]);
        let key = mac(&mac(&mac(&key, call.region), call.service), "aws4_request");
        let words = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
        let signature = hex::encode(mac(&key, &words));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            call.access
        );
        headers.push(("authorization".to_owned(), authorization));
        let mut body = call.body;
        (call.tamper)(&mut headers, &mut body);
        let mut wire = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in &headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        self.exchange(&[wire.as_bytes(), b"\r\n", &body].concat()).await
    }

    /// Sends bytes as they are, and reads until the server closes.
    pub async fn exchange(&self, wire: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A request that is refused early may not be read to its end.
        let _ = stream.write_all(wire).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let at = text.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8_lossy(&text[..at]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let json = serde_json::from_slice(&text[at + 4..]).unwrap_or(Value::Null);
        Answer { status, head, json }
    }

    /// As root.
    pub async fn ask(&self, operation: &str, body: &Value) -> Answer {
        self.send(Call::new(operation, body)).await
    }

    /// The same; it must succeed.
    pub async fn done(&self, operation: &str, body: Value) -> Value {
        let answer = self.ask(operation, &body).await;
        assert_eq!(answer.status, 200, "{operation} {body}: {}", answer.json);
        answer.json
    }

    /// A new key's id.
    pub async fn key(&self) -> String {
        text(&self.done("CreateKey", serde_json::json!({})).await["KeyMetadata"]["KeyId"])
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Call {
    pub fn new(operation: &str, body: &Value) -> Self {
        let headers = [
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("TrentService.{operation}")),
        ];
        Self {
            method: "POST",
            target: "/",
            body: body.to_string().into_bytes(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            access: ROOT.0.to_owned(),
            secret: ROOT.1.to_owned(),
            service: "kms",
            region: REGION,
            skew: 0,
            unsigned: Vec::new(),
            tamper: |_, _| {},
        }
    }

    pub fn by(mut self, access: &str, secret: &str) -> Self {
        (self.access, self.secret) = (access.to_owned(), secret.to_owned());
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}
