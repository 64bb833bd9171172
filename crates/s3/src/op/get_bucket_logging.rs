//! GetBucketLogging: off, which S3 says with an empty answer.

use s3s::dto::{GetBucketLoggingInput, GetBucketLoggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketLoggingInput>,
) -> S3Result<S3Response<GetBucketLoggingOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    Ok(S3Response::new(GetBucketLoggingOutput::default()))
}
