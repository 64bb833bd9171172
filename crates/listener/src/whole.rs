//! Requests that run to their end, whether or not who sent them still waits.

use std::future::Future;
use std::pin::Pin;

use http::Request;
use hyper::service::Service;

/// Runs each request of a service in a task of its own. A connection that ends drops what it waits for: without this, a client that hangs
/// up between a change and the record of it in the audit log would leave no record.
#[derive(Debug, Clone)]
pub struct Whole<S>(pub S);

impl<S, R> Service<Request<R>> for Whole<S>
where
    S: Service<Request<R>>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn call(&self, request: Request<R>) -> Self::Future {
        let running = tokio::spawn(self.0.call(request));
        Box::pin(async move {
            match running.await {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The process ends, and this with it.
                    Err(_) => std::future::pending().await,
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::service::service_fn;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn who_hangs_up_ends_nothing_that_was_begun() {
        let go_on = Arc::new(Notify::new());
        let (done, ended) = oneshot::channel();
        let done = std::sync::Mutex::new(Some(done));
        let service = Whole(service_fn(|_: Request<Empty<Bytes>>| {
            let (go_on, done) = (go_on.clone(), done.lock().unwrap().take());
            async move {
                go_on.notified().await;
                if let Some(done) = done {
                    let _ = done.send("told");
                }
                Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
            }
        }));
        let mut call = service.call(Request::new(Empty::new()));
        tokio::select! {
            biased;
            _ = &mut call => panic!("it waits"),
            () = std::future::ready(()) => {}
        }
        drop(call);
        go_on.notify_one();
        assert_eq!(ended.await, Ok("told"));
    }
}
