//! A site for others: a [`sites::Site`] behind the part of the S3 protocol that the `object_store` crate needs of a bucket, so
//! that a gateway reaches the folder of another data centre by `s3://site/`, and any S3 client can look into it.
//!
//! Path style, one bucket, one access key, Signature Version 4 in headers. What is not here (multipart uploads, versions, access
//! control lists, presigned URLs) is answered 501 `NotImplemented`.

mod answer;
mod ask;
mod auth;
mod body;
mod endpoint;
mod fault;
pub mod limits;
mod list;

use std::sync::Arc;

use listener::{Bounds, Listener, ServeError};
use sites::Site;
use tokio_util::sync::CancellationToken;

pub use auth::Keys;

use endpoint::Endpoint;
use limits::{FRAME_MAX, HEAD_MAX};

/// The one bucket there is.
pub const BUCKET: &str = "site";

const BOUNDS: Bounds = Bounds { head_max: HEAD_MAX, frame_max: FRAME_MAX, gauge: "holdfast_site_server_connections" };

/// How a site is served.
pub struct Options {
    /// Who may do everything. There is nobody else.
    pub keys: Keys,
    /// Bytes of bodies in flight, all connections together; at least [`limits::MEMORY_MIN`].
    pub memory: u64,
}

/// Serves `site` until `shutdown` is cancelled; then lets requests under way finish.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve(
    listener: Listener,
    site: Arc<dyn Site>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let endpoint = Endpoint::new(site, options);
    listener::serve(listener, BOUNDS, |peer| endpoint.of(peer), shutdown).await
}
