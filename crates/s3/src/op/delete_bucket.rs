//! DeleteBucket.

use s3s::dto::{DeleteBucketInput, DeleteBucketOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(at: &Service, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
    at.store.delete_bucket(&req.input.bucket).await.map_err(answer)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}
