//! The messages, as `apis/v2/api.proto` of k8s.io/kms numbers their fields.
//!
//! Written by hand: three requests need no compiler of protocol buffers. What holds a plaintext cannot be printed.

use std::collections::HashMap;
use std::fmt;

use prost::Message;

/// Asked for nothing.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatusResponse {
    /// `v2`.
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    /// `ok`, or why not.
    #[prost(string, tag = "2")]
    pub(crate) healthz: String,
    /// What is sealed from now on is under this one.
    #[prost(string, tag = "3")]
    pub(crate) key_id: String,
}

#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct EncryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) plaintext: Vec<u8>,
    /// For logs.
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EncryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) key_id: String,
    #[prost(map = "string, bytes", tag = "3")]
    pub(crate) annotations: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DecryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) ciphertext: Vec<u8>,
    /// For logs.
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    /// What [`EncryptResponse`] said.
    #[prost(string, tag = "3")]
    pub(crate) key_id: String,
    /// The same.
    #[prost(map = "string, bytes", tag = "4")]
    pub(crate) annotations: HashMap<String, Vec<u8>>,
}

#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct DecryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) plaintext: Vec<u8>,
}

impl fmt::Debug for EncryptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptRequest").field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl fmt::Debug for DecryptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecryptResponse(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another implementation writes, byte for byte: field number and kind, length, value.
    #[test]
    fn fields_have_their_numbers() {
        let request = DecryptRequest {
            ciphertext: vec![1, 2],
            uid: "u".to_owned(),
            key_id: "k".to_owned(),
            annotations: [("a".to_owned(), vec![9])].into(),
        };
        let bytes = b"\x0a\x02\x01\x02\x12\x01u\x1a\x01k\x22\x06\x0a\x01a\x12\x01\x09";
        assert_eq!(request.encode_to_vec(), bytes);
        assert_eq!(DecryptRequest::decode(&bytes[..]).unwrap(), request);
        let status = StatusResponse { version: "v2".to_owned(), healthz: "ok".to_owned(), key_id: "k".to_owned() };
        assert_eq!(status.encode_to_vec(), b"\x0a\x02v2\x12\x02ok\x1a\x01k");
        let sealed = EncryptResponse { ciphertext: vec![7], key_id: "k".to_owned(), annotations: HashMap::new() };
        assert_eq!(sealed.encode_to_vec(), b"\x0a\x01\x07\x12\x01k");
        let request = EncryptRequest { plaintext: vec![7], uid: "u".to_owned() };
        assert_eq!(request.encode_to_vec(), b"\x0a\x01\x07\x12\x01u");
        assert_eq!(format!("{request:?}"), "EncryptRequest { uid: \"u\", .. }");
        let opened = DecryptResponse { plaintext: vec![7] };
        assert_eq!(
            (opened.encode_to_vec().as_slice(), format!("{opened:?}").as_str()),
            (&b"\x0a\x01\x07"[..], "DecryptResponse(..)")
        );
    }
}
