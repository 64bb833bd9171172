//! GetBucketOwnershipControls.

use s3s::dto::{GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, OwnershipControls};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let config: OwnershipControls = config::get(&at.store, &req.input.bucket, config::OWNERSHIP).await?;
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(config) }))
}
