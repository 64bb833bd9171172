//! Keeps a secret under a key of AWS KMS, or of what speaks its API (AWS KMS API Reference, `Encrypt` and `Decrypt`): a
//! customer's own key, which the customer can take away.
//!
//! [`AwsKms`] is a [`Keeper`]. It waits for its answers on a thread of its own, so it may be asked from anywhere.

mod answer;
mod credentials;
mod options;

use std::collections::BTreeMap;
use std::time::Duration;

use base::chain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use keys::{Keeper, KeeperError};
use reqwest::{Certificate, Client, redirect};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::answer::{Answer, Output};
use crate::credentials::Credentials;
pub use crate::options::{KIND, KmsOptions};

/// For connection and answer of one try.
const TRY_WITHIN: Duration = Duration::from_secs(2);
/// Tries: what did not answer is asked once more.
const TRIES: usize = 2;
/// Bytes that are made room for in a request: a key's name, a context, and what is kept (1,024 bytes as base64) are fewer.
const JSON_ROOM: usize = 8 << 10;
/// Bytes of an answer.
const ANSWER_MAX: u64 = 64 << 10;
/// The service's name in signatures.
const SERVICE: &str = "kms";
/// The API's name in `X-Amz-Target`.
const API: &str = "TrentService";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// A file of certificates to trust beside the system's, as the AWS CLI and SDKs have it.
const AUTHORITIES: &str = "AWS_CA_BUNDLE";

/// A key of a KMS that keeps secrets, for one purpose.
pub struct AwsKms {
    options: KmsOptions,
    /// Bound to what is kept: in the KMS' own log and in its key's policy it says what for.
    context: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Input<'a> {
    key_id: &'a str,
    encryption_context: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_blob: Option<&'a str>,
}

impl AwsKms {
    /// A key; nothing is asked yet. `context` is the encryption context of all that it keeps.
    pub fn new(options: KmsOptions, context: BTreeMap<String, String>) -> Self {
        Self { options, context }
    }

    fn call(&self, operation: &str, plain: Option<&[u8]>, sealed: Option<&[u8]>) -> Result<Output, KeeperError> {
        let plain = plain.map(|bytes| Zeroizing::new(STANDARD.encode(bytes)));
        let sealed = sealed.map(|bytes| STANDARD.encode(bytes));
        let input = Input {
            key_id: &self.options.key,
            encryption_context: &self.context,
            plaintext: plain.as_ref().map(|text| text.as_str()),
            ciphertext_blob: sealed.as_deref(),
        };
        let failed = |error: &dyn std::error::Error| KeeperError::Failed(chain(error));
        let body = secret_json(&input).map_err(|error| failed(&error))?;
        // Read each time: they may be renewed while this process runs.
        let credentials = Credentials::find(self.options.profile.as_deref()).map_err(|error| failed(&error))?;
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| failed(&error))?.block_on(self.ask(operation, &body, &credentials))
        };
        // Who asks may be in a runtime, where nothing may block on another.
        std::thread::scope(|scope| scope.spawn(ask).join())
            .unwrap_or_else(|_| Err(KeeperError::Failed("the client of the KMS broke".to_owned())))
    }

    async fn ask(&self, operation: &str, body: &Bytes, credentials: &Credentials) -> Result<Output, KeeperError> {
        // A redirect would send the half where nobody said; a proxy of the environment is not the configuration's.
        let mut client = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(TRY_WITHIN);
        if let Some(path) = std::env::var_os(AUTHORITIES).filter(|path| !path.is_empty()) {
            let unread = |why: String| KeeperError::Failed(format!("{AUTHORITIES}: {}: {why}", path.display()));
            let pem = std::fs::read(&path).map_err(|error| unread(error.to_string()))?;
            let found = Certificate::from_pem_bundle(&pem).map_err(|error| unread(chain(&error)))?;
            client = client.tls_certs_merge(found);
        }
        let client = client.build().map_err(|error| KeeperError::Failed(chain(&error)))?;
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.once(&client, operation, body, credentials).await {
                Ok(Answer::Done(output)) => return Ok(output),
                Ok(Answer::Refused(why)) => return Err(KeeperError::Refused(why)),
                Ok(Answer::Later(why)) => last = why,
                Err(error) => last = chain(&error.without_url()),
            }
        }
        Err(KeeperError::Unreachable(format!("{} does not answer: {last}", self.options.endpoint)))
    }

    async fn once(
        &self,
        client: &Client,
        operation: &str,
        body: &Bytes,
        credentials: &Credentials,
    ) -> Result<Answer, reqwest::Error> {
        let target = format!("{API}.{operation}");
        let host = self.options.host();
        let mut covered = vec![("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
        if let Some(token) = &credentials.session_token {
            covered.push(("x-amz-security-token", token.as_str()));
        }
        let signed = sigv4::Request { method: "POST", path: "/", query: "", host: &host, body: &body[..] }.sign_with(
            &covered,
            &credentials.access_key,
            &credentials.secret_key,
            &self.options.region,
            SERVICE,
            sigv4::now_s(),
        );
        let mut request = client.post(self.options.endpoint.clone());
        for (name, value) in covered {
            request = request.header(name, value);
        }
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let mut response = request.body(body.clone()).send().await?;
        let status = response.status().as_u16();
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > ANSWER_MAX {
                return Ok(Answer::Later("its answer is too long for a KMS".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer::of(status, &bytes))
    }
}

impl Keeper for AwsKms {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn place(&self) -> String {
        self.options.key.clone()
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        let output = self.call("Encrypt", Some(secret), None)?;
        decoded(output.ciphertext_blob.as_deref()).map(|kept| kept.to_vec())
    }

    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let output = self.call("Decrypt", None, Some(kept))?;
        decoded(output.plaintext.as_ref().map(|text| text.as_str()))
    }
}

/// JSON that may have a secret in it: it is overwritten when the last who sends it lets go. What the client of HTTP and TLS
/// make of it, they do not overwrite.
fn secret_json(input: &Input<'_>) -> Result<Bytes, serde_json::Error> {
    // With room for all of it: what grows leaves copies behind.
    let mut json = Zeroizing::new(Vec::with_capacity(JSON_ROOM));
    serde_json::to_writer(&mut *json, input)?;
    Ok(Bytes::from_owner(json))
}

fn decoded(text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
    let bytes = text.and_then(|text| STANDARD.decode(text).ok());
    bytes.map(Zeroizing::new).ok_or_else(|| KeeperError::Failed("the KMS' answer is not understood".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers each connection with the next of these, and the last for ever; `None` is silence.
    fn kms(answers: Vec<Option<(u16, &'static str)>>) -> (KmsOptions, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = [
            ("key", "1234".to_owned()),
            ("region", "us-east-1".to_owned()),
            ("endpoint", format!("http://{}", listener.local_addr().unwrap())),
        ];
        let options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let Some((status, body)) = answers[number.min(answers.len() - 1)] else {
                    silent.push(stream);
                    continue;
                };
                let mut heard = Vec::new();
                let mut piece = [0; 4096];
                while !heard.windows(2).any(|end| end == b"}}") && !heard.ends_with(b"\"}") {
                    match stream.read(&mut piece) {
                        Ok(len) if len > 0 => heard.extend_from_slice(&piece[..len]),
                        _ => break,
                    }
                }
                let text = String::from_utf8_lossy(&heard).to_lowercase();
                let covered = "signedheaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target,";
                for word in ["x-amz-target: trentservice.decrypt", covered, "\"why\":\"test\"", "\"keyid\":\"1234\""] {
                    assert!(text.contains(word), "{word}: {text}");
                }
                let close = "connection: close";
                let _ =
                    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{close}\r\n\r\n{body}", body.len());
            }
        });
        (KmsOptions::of(&options).unwrap(), asked)
    }

    async fn given(answers: Vec<Option<(u16, &'static str)>>) -> (Result<Zeroizing<Vec<u8>>, KeeperError>, usize) {
        let (options, asked) = kms(answers);
        let context = BTreeMap::from([("why".to_owned(), "test".to_owned())]);
        let credentials = Credentials {
            access_key: "A".to_owned(),
            secret_key: Zeroizing::new("S".to_owned()),
            session_token: Some("T".to_owned()),
        };
        let kms = AwsKms::new(options, context.clone());
        let input =
            Input { key_id: "1234", encryption_context: &context, plaintext: None, ciphertext_blob: Some("AA==") };
        let output = kms.ask("Decrypt", &secret_json(&input).unwrap(), &credentials).await;
        let given = output.and_then(|output| decoded(output.plaintext.as_ref().map(|text| text.as_str())));
        (given, asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_does_not_answer_is_asked_twice_and_what_says_no_once() {
        let done = Some((200, r#"{"Plaintext":"AQI=","KeyId":"1234"}"#));
        let later = Some((500, r#"{"__type":"KMSInternalException","message":"soon"}"#));
        let refused = Some((400, r#"{"__type":"DisabledException","message":"off"}"#));
        // (answers, what comes of it, times asked)
        let table = [
            (vec![done], "1,2", 1),
            (vec![later, done], "1,2", 2),
            (vec![None, done], "1,2", 2),
            (vec![later, later, done], "unreachable", 2),
            (vec![None], "unreachable", 2),
            (vec![refused, done], "refused", 1),
            (vec![later, refused], "refused", 2),
            (vec![Some((302, "")), refused], "refused", 2),
            (vec![Some((200, r#"{"KeyId":"1234"}"#))], "failed", 1),
        ];
        for (answers, expected, times) in table {
            let told = format!("{answers:?}");
            let (given, asked) = given(answers).await;
            let found = match &given {
                Ok(bytes) => format!("{},{}", bytes[0], bytes[1]),
                Err(KeeperError::Refused(why)) if why == "DisabledException: off" => "refused".to_owned(),
                Err(KeeperError::Unreachable(why)) if why.contains("127.0.0.1") => "unreachable".to_owned(),
                Err(KeeperError::Failed(_)) => "failed".to_owned(),
                other => format!("{other:?}"),
            };
            assert_eq!((found.as_str(), asked), (expected, times), "{told}");
        }
    }
}
