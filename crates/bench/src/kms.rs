//! The KMS API: Decrypt over HTTP and over TLS, the client beside the server.
//!
//! The key and the ciphertext are made over HTTP; then the server starts again on the same data, with a certificate. Each request is
//! the same one: who signs anew each time does work of the client's that is not measured here. The server verifies each.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::{digest, hmac};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::holdfast::Holdfast;
use crate::http::Connection;
use crate::process;
use crate::target::{Credentials, Target};
use crate::wrk::{self, Figures, Pressure};

const SCRIPT: &str = include_str!("kms.lua");
const REGION: &str = "us-east-1";
/// Bytes that are opened: a data key.
const PLAINTEXT: [u8; 32] = [7; 32];
/// What to reach over TLS: requests a second, and microseconds within which 99 of 100 are answered.
const GOAL: (f64, u64) = (8_000.0, 5_000);

/// Decrypt in one way.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Requests a second.
    pub rate: f64,
    /// What `wrk` saw.
    pub figures: Figures,
    /// Cores that the server used.
    pub server_cores: f64,
    /// Cores that `wrk` used.
    pub client_cores: f64,
    /// Cores that everything else used.
    pub other_cores: f64,
}

impl Measured {
    /// Requests that did not succeed.
    pub fn failed(&self) -> u64 {
        self.figures.refused + self.figures.broken + u64::from(self.figures.requests == 0)
    }
}

/// Measures both ways, in a folder of its own.
pub fn measure(binary: &Path, dir: &Path, pressure: Pressure) -> Result<Vec<Measured>, Error> {
    let mut holdfast = Holdfast::new(binary, dir)?;
    let (target, _) = holdfast.start(&dir.join("log"))?;
    let address = holdfast.kms();
    let made = call(&target, address, "CreateKey", &json!({}))?;
    let key = &made["KeyMetadata"]["KeyId"];
    let plain = base64(&PLAINTEXT);
    let ask = json!({ "KeyId": key, "Plaintext": plain, "EncryptionContext": { "bench": "kms" } });
    let sealed = call(&target, address, "Encrypt", &ask)?;
    let ask = json!({ "CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": { "bench": "kms" } });
    let opened = call(&target, address, "Decrypt", &ask)?;
    if opened["Plaintext"] != plain.as_str() {
        return Err(Error::Corrupt("a plaintext".to_owned()));
    }
    let plainly = press(&target, address, "http", &ask, dir, pressure)?;
    drop(target);
    holdfast.certified(certificate(dir)?);
    let (target, _) = holdfast.start(&dir.join("log-tls"))?;
    let over_tls = press(&target, address, "https", &ask, dir, pressure)?;
    Ok(vec![plainly, over_tls])
}

/// The measurements as Markdown.
pub fn table(measured: &[Measured], pressure: Pressure) -> String {
    let mut out = format!(
        "KMS Decrypt of 32 bytes, wrk with {} connections, {} s each; goal over TLS: {} a second, 99 of 100 within {} ms\n\n\
         | | requests/s | p50 ms | p99 ms | slowest ms | server cores | wrk cores | other cores |\n|---|---|---|---|---|---|---|---|\n",
        pressure.connections,
        pressure.seconds,
        GOAL.0,
        GOAL.1 / 1000
    );
    for one in measured {
        let ms = |us: u64| us as f64 / 1000.0;
        let Figures { p50_us, p99_us, max_us, .. } = one.figures;
        out.push_str(&format!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            one.scheme,
            one.rate,
            ms(p50_us),
            ms(p99_us),
            ms(max_us),
            one.server_cores,
            one.client_cores,
            one.other_cores
        ));
    }
    out
}

fn press(
    target: &Target,
    address: SocketAddr,
    scheme: &'static str,
    ask: &Value,
    dir: &Path,
    pressure: Pressure,
) -> Result<Measured, Error> {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(Error::path("write", &path)).map(|()| path)
    };
    let script = write("kms.lua", SCRIPT.as_bytes())?;
    let (head, body) = signed(&target.credentials, address, "Decrypt", ask);
    let request = write("request", &[head.as_bytes(), &body].concat())?;
    let all_before = process::machine_cpu_seconds()?;
    let before = target.cpu_seconds()?;
    let url = format!("{scheme}://{address}/");
    let (figures, client_s) = wrk::press(dir, &script, &url, &[&request.to_string_lossy()], pressure)?;
    let server_s = target.cpu_seconds()? - before;
    let all_s = process::machine_cpu_seconds()? - all_before;
    let seconds = figures.duration_us as f64 / 1e6;
    Ok(Measured {
        scheme,
        rate: figures.requests as f64 / seconds,
        server_cores: server_s / seconds,
        client_cores: client_s / seconds,
        other_cores: (all_s - server_s - client_s).max(0.0) / seconds,
        figures,
    })
}

fn call(target: &Target, address: SocketAddr, operation: &str, ask: &Value) -> Result<Value, Error> {
    let (head, body) = signed(&target.credentials, address, operation, ask);
    let answer = Connection::open(address)?.send_as(&head, &body)?;
    if answer.status != 200 {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(Error::Refused { request: operation.to_owned(), status: answer.status, body });
    }
    serde_json::from_slice(&answer.body).map_err(|error| Error::Unreadable(format!("{operation}'s answer: {error}")))
}

/// A request's head and body, signed now (AWS Signature Version 4).
fn signed(credentials: &Credentials, address: SocketAddr, operation: &str, ask: &Value) -> (String, Vec<u8>) {
    let body = ask.to_string().into_bytes();
    let date = admin::sigv4::amz_date(admin::sigv4::now_s());
    let day = date.get(..8).unwrap_or_default();
    let target = format!("TrentService.{operation}");
    let hash = |bytes: &[u8]| hex::encode(digest::digest(&digest::SHA256, bytes));
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let names = "host;x-amz-date;x-amz-target";
    let lines = format!("host:{address}\nx-amz-date:{date}\nx-amz-target:{target}\n");
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hash(&body));
    let scope = format!("{day}/{REGION}/kms/aws4_request");
    let words = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
    let key = mac(format!("AWS4{}", credentials.secret_key).as_bytes(), day);
    let key = mac(&mac(&mac(&key, REGION), "kms"), "aws4_request");
    let signature = hex::encode(mac(&key, &words));
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-date: {date}\r\nx-amz-target: {target}\r\n\
         content-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n",
        body.len(),
        credentials.access_key
    );
    (head, body)
}

/// A certificate that signs itself, and its key: an elliptic curve's, as most are today.
fn certificate(dir: &Path) -> Result<[std::path::PathBuf; 2], Error> {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", "/CN=bench"]);
    process::run(command, "install it: apt-get install openssl")?;
    Ok([dir.join("tls.crt"), dir.join("tls.key")])
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_specified() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }

    #[test]
    fn requests_that_failed_count() {
        let figures = Figures {
            duration_us: 1,
            requests: 2,
            bytes: 0,
            refused: 1,
            broken: 2,
            p50_us: 100,
            p99_us: 2_500,
            max_us: 3_000,
        };
        let of = |figures| Measured {
            scheme: "https",
            rate: 2.0,
            figures,
            server_cores: 0.0,
            client_cores: 0.0,
            other_cores: 0.0,
        };
        assert_eq!(of(figures).failed(), 3);
        assert_eq!(of(Figures { requests: 0, refused: 0, broken: 0, ..figures }).failed(), 1);
        let text = table(&[of(figures)], Pressure { connections: 16, seconds: 1 });
        assert!(text.contains("| https | 2 | 0.10 | 2.50 | 3.00 |"), "{text}");
    }
}
