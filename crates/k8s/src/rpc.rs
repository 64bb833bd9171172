//! gRPC over HTTP/2: paths to calls.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::limits::{MESSAGE_MAX, REQUEST_TIMEOUT};
use crate::plugin::Plugin;

type Answering<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

/// A call of the plugin as `tonic` knows one.
struct Call<F>(F);

impl<Q, A, F, R> UnaryService<Q> for Call<F>
where
    F: FnOnce(Q) -> R + Clone,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = A;
    type Future = Answering<tonic::Response<A>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let answer = self.0.clone()(request.into_inner());
        Box::pin(async move { answer.await.map(tonic::Response::new) })
    }
}

/// The plugin as a hyper service.
#[derive(Clone)]
pub(crate) struct Endpoint(pub(crate) Plugin);

impl Endpoint {
    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let plugin = self.0;
        let (name, response) = match request.uri().path() {
            "/v2.KeyManagementService/Status" => ("Status", unary(request, |asked| plugin.status(asked)).await),
            "/v2.KeyManagementService/Encrypt" => ("Encrypt", unary(request, |asked| plugin.encrypt(asked)).await),
            "/v2.KeyManagementService/Decrypt" => ("Decrypt", unary(request, |asked| plugin.decrypt(asked)).await),
            _ => {
                let words = "there is no such call; the plugin speaks v2.KeyManagementService";
                ("other", Status::unimplemented(words).into_http())
            }
        };
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        let labels = [("operation", name.to_owned()), ("code", format!("{code:?}"))];
        metrics::counter!("holdfast_k8s_requests_total", &labels).increment(1);
        metrics::histogram!("holdfast_k8s_request_seconds", "operation" => name).record(started.elapsed());
        response
    }
}

async fn unary<Q, A, R>(request: Request<Incoming>, call: impl FnOnce(Q) -> R + Clone) -> Response<Body>
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    let codec = ProstCodec::<A, Q>::default();
    let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(MESSAGE_MAX), Some(MESSAGE_MAX));
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, grpc.unary(Call(call), request)).await;
    answered.unwrap_or_else(|_| Status::deadline_exceeded("the request did not come in time").into_http())
}

impl hyper::service::Service<Request<Incoming>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let endpoint = self.clone();
        Box::pin(async move { Ok(endpoint.answer(request).await) })
    }
}
