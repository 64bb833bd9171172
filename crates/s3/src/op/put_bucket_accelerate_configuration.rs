//! PutBucketAccelerateConfiguration: it is off, and may be put off.

use s3s::dto::{BucketAccelerateStatus, PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::{answer, malformed, not_implemented};
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<PutBucketAccelerateConfigurationOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    let status = req.input.accelerate_configuration.status;
    match status.as_ref().map(BucketAccelerateStatus::as_str) {
        Some(BucketAccelerateStatus::SUSPENDED) => {}
        Some(BucketAccelerateStatus::ENABLED) => return Err(not_implemented("transfer acceleration")),
        _ => return Err(malformed()),
    }
    Ok(S3Response::new(PutBucketAccelerateConfigurationOutput {}))
}
