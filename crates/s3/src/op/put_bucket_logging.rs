//! PutBucketLogging: it is off, and may be put off.

use s3s::dto::{PutBucketLoggingInput, PutBucketLoggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::{answer, not_implemented};
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketLoggingInput>,
) -> S3Result<S3Response<PutBucketLoggingOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    if req.input.bucket_logging_status.logging_enabled.is_some() {
        return Err(not_implemented("logging to a bucket"));
    }
    Ok(S3Response::new(PutBucketLoggingOutput {}))
}
