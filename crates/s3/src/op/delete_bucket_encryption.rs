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
    let change = |state: &mut BucketState| state.encryption = DefaultEncryption::Bucket;
    let put = at.store.put_bucket_config_and_state(&req.input.bucket, config::ENCRYPTION, None, change).await;
    put.map_err(answer)?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput {}))
}
