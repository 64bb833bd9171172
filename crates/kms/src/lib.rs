//! The AWS KMS protocol over [`store::Store`] and its portions' keys; one file an operation.
//!
//! `POST /` with JSON 1.1 and the operation in `X-Amz-Target`, signed for the service `kms`. A KMS key is
//! a portion's key, whoever made it. Source: AWS Key Management Service API reference, version 2014-11-01.

mod auth;
mod call;
mod endpoint;
mod error;
mod grants;
mod key_policy;
pub mod limits;
mod metadata;
mod name;
mod op;
mod operations;
mod page;
mod token;
mod validate;
mod wire;

use listener::{Bounds, Listener, ServeError, Whole};
use store::Store;
use tokio_util::sync::CancellationToken;

pub use endpoint::Endpoint;
use limits::{FRAME_MAX, HEAD_MAX};

const BOUNDS: Bounds = Bounds { head_max: HEAD_MAX, frame_max: FRAME_MAX, gauge: "holdfast_kms_connections" };

/// Serves until `shutdown` is cancelled; then lets requests under way finish. `region`: the one that
/// ARNs name; requests signed for any are taken.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve(
    listener: Listener,
    store: Store,
    region: String,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let endpoint = Endpoint::new(store, region);
    listener::serve(listener, BOUNDS, |peer| Whole(endpoint.of(peer)), shutdown).await
}

/// The KMS service over a store, without a socket.
pub fn service(store: Store, region: String) -> Endpoint {
    Endpoint::new(store, region)
}
