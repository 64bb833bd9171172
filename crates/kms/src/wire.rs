//! JSON as AWS KMS writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::{Code, Fault};
use crate::limits::ANSWER_ROOM;

/// Bytes that travel as base64, and are wiped when they are done with: it may be a key.
#[derive(Default)]
pub(crate) struct Blob(pub(crate) Zeroizing<Vec<u8>>);

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for Blob {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(text.as_bytes()).map(Self::from).map_err(|_| D::Error::custom("a blob is no base64"))
    }
}

/// A tag of a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) tag_key: String,
    pub(crate) tag_value: String,
}

/// A time, as seconds since the Unix epoch.
pub(crate) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Reads a request. No body is an empty one.
///
/// # Errors
/// `SerializationException`.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    // The reader would take a list of the members, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Fault::new(Code::Serialization, "the request is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Fault::new(Code::Serialization, error.to_string()))
}

/// Writes an answer; of `()` nothing is written.
///
/// # Errors
/// Never in practice.
pub(crate) fn write<T: Serialize>(answer: &T) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut text = Zeroizing::new(Vec::with_capacity(ANSWER_ROOM));
    serde_json::to_writer(&mut *text, answer).map_err(|error| Fault::internal(&error))?;
    if *text == b"null" {
        text.clear();
    }
    Ok(text)
}
