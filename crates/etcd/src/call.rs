//! One call to one member: gRPC over HTTP/2.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use prost::Message;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

/// Bytes of an answer: 1,001 rows of the largest size that `meta` has, with room.
const ANSWER_MAX: usize = 160 << 20;

pub(crate) type Channel = Http<HttpsConnector<HttpConnector>, Body>;

/// What is sent is encoded once, however many members get it.
pub(crate) struct Encoded<A>(std::marker::PhantomData<fn() -> A>);

impl<A> Default for Encoded<A> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<A: Message + Default + 'static> Codec for Encoded<A> {
    type Encode = Bytes;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<A> Encoder for Encoded<A> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.len());
        out.put(item);
        Ok(())
    }
}

impl<A: Message + Default> Decoder for Encoded<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        let whole = from.copy_to_bytes(from.remaining());
        A::decode(whole).map(Some).map_err(|error| Status::internal(format!("an answer that is none: {error}")))
    }
}

/// Sends and waits; how long is the caller's affair.
pub(crate) async fn unary<A: Message + Default + 'static>(
    channel: Channel,
    origin: http::Uri,
    path: PathAndQuery,
    request: Bytes,
    token: Option<MetadataValue<Ascii>>,
) -> Result<A, Status> {
    let mut grpc = Grpc::with_origin(channel, origin).max_decoding_message_size(ANSWER_MAX);
    let mut request = Request::new(request);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    grpc.unary(request, path, Encoded::default()).await.map(tonic::Response::into_inner)
}

/// Whether the member cannot have seen the request: there was no connection.
pub(crate) fn never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        source = error.source();
    }
    false
}

/// A status with all its causes, on one line.
pub(crate) fn told(status: &Status) -> String {
    let mut said = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !said.contains(&more) {
            said = if said.is_empty() { more } else { format!("{said}: {more}") };
        }
        source = error.source();
    }
    if said.is_empty() { format!("{:?}", status.code()) } else { said }
}
