//! GetBucketEncryption: a bucket without one has SSE-S3, as everything here.

use s3s::dto::{
    GetBucketEncryptionInput, GetBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let stored =
        config::find::<ServerSideEncryptionConfiguration>(&at.store, &req.input.bucket, config::ENCRYPTION).await?;
    let config = stored.unwrap_or_else(by_default);
    Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(config) }))
}

fn by_default() -> ServerSideEncryptionConfiguration {
    let sse_algorithm = ServerSideEncryption::from_static(ServerSideEncryption::AES256);
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
            kms_master_key_id: None,
            sse_algorithm,
        }),
        bucket_key_enabled: Some(false),
    };
    ServerSideEncryptionConfiguration { rules: vec![rule] }
}
