//! DeleteBucketEncryption.

use s3s::dto::{DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::api::{BucketState, DefaultEncryption};

use crate::config;
use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    let change = |state: &mut BucketState| {
        state.encryption = DefaultEncryption::Bucket;
        Ok(())
    };
    at.store.change_bucket_state(&req.input.bucket, change).await.map_err(answer)?;
    config::delete(&at.store, &req.input.bucket, config::ENCRYPTION).await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput {}))
}
