//! Signature version 4 as a client makes it, in all forms: header, query, chunked, trailers.
//! Source: Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".

use aws_lc_rs::{digest, hmac};
use time::OffsetDateTime;
use time::macros::format_description;

pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
pub const REGION: &str = "us-east-1";

pub fn sha256_hex(data: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, data))
}

fn mac(key: &[u8], data: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes()).as_ref().to_vec()
}

/// Percent-encodes as SigV4 wants it; `slash` keeps `/`.
pub fn encode(text: &str, slash: bool) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (slash && b == b'/');
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub fn query_string(pairs: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = pairs.iter().map(|(n, v)| (encode(n, false), encode(v, false))).collect();
    pairs.sort();
    pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
}

pub struct Signer {
    pub access: String,
    pub secret: String,
    pub region: String,
    pub service: String,
    pub at: OffsetDateTime,
}

impl Signer {
    pub fn stamp(&self) -> String {
        self.at.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap()
    }

    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.stamp()[..8], self.region, self.service)
    }

    fn key(&self) -> Vec<u8> {
        let day = mac(format!("AWS4{}", self.secret).as_bytes(), &self.stamp()[..8]);
        mac(&mac(&mac(&day, &self.region), &self.service), "aws4_request")
    }

    fn seal(&self, kind: &str, rest: &str) -> String {
        hex::encode(mac(&self.key(), &format!("{kind}\n{}\n{}\n{rest}", self.stamp(), self.scope())))
    }

    /// Signs headers (lower-case names, sorted) and says the signature and the signed names.
    pub fn sign(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(String, String)],
        hash: &str,
    ) -> (String, String) {
        // Spaces count once, and a header that is given twice has one line (SigV4, "Create a canonical
        // request").
        let mut lines: Vec<(&str, String)> = Vec::new();
        for (name, value) in headers {
            let value = value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            match lines.last_mut() {
                Some((last, values)) if last == name => values.push_str(&format!(",{value}")),
                _ => lines.push((name, value)),
            }
        }
        let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = lines.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
        (self.seal("AWS4-HMAC-SHA256", &sha256_hex(canonical.as_bytes())), names)
    }

    /// The signature of a chunk after the signature `before`.
    pub fn chunk(&self, before: &str, data: &[u8]) -> String {
        self.seal("AWS4-HMAC-SHA256-PAYLOAD", &format!("{before}\n{}\n{}", sha256_hex(b""), sha256_hex(data)))
    }

    /// The signature of trailers, in canonical form, after the last chunk's.
    pub fn trailer(&self, before: &str, lines: &str) -> String {
        self.seal("AWS4-HMAC-SHA256-TRAILER", &format!("{before}\n{}", sha256_hex(lines.as_bytes())))
    }
}
