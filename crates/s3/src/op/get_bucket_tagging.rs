//! GetBucketTagging.

use s3s::dto::{GetBucketTaggingInput, GetBucketTaggingOutput, Tagging};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let config: Tagging = config::get(&at.store, &req.input.bucket, config::TAGGING).await?;
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: config.tag_set }))
}
