//! HeadBucket.

use s3s::dto::{HeadBucketInput, HeadBucketOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(at: &Service, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(at.region.clone()), ..Default::default() }))
}
