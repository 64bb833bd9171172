//! The S3 endpoint on a listener.

use listener::{Bounds, Listener, ServeError};
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::limits::{FRAME_MAX, HEAD_MAX};
use crate::{Endpoint, S3Options};

const BOUNDS: Bounds = Bounds { head_max: HEAD_MAX, frame_max: FRAME_MAX, gauge: "holdfast_s3_connections" };

/// Serves until `shutdown` is cancelled; then lets requests under way finish.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve(
    listener: Listener,
    store: Store,
    options: S3Options,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let endpoint = Endpoint::new(store, options);
    listener::serve(listener, BOUNDS, |peer| endpoint.of(peer), shutdown).await
}
