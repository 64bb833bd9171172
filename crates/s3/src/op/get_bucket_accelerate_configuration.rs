//! GetBucketAccelerateConfiguration: off, which S3 says with an empty answer.

use s3s::dto::{GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
}
