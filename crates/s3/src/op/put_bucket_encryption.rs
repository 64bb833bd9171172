//! PutBucketEncryption.

use s3s::dto::{
    PutBucketEncryptionInput, PutBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionConfiguration,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::config;
use crate::error::{malformed, not_implemented};
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    validate(&req.input.server_side_encryption_configuration)?;
    let config = &req.input.server_side_encryption_configuration;
    config::put(&at.store, &req.input.bucket, config::ENCRYPTION, config).await?;
    Ok(S3Response::new(PutBucketEncryptionOutput {}))
}

fn validate(config: &ServerSideEncryptionConfiguration) -> S3Result<()> {
    let [rule] = config.rules.as_slice() else {
        return Err(malformed());
    };
    let Some(default) = &rule.apply_server_side_encryption_by_default else { return Ok(()) };
    match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 if default.kms_master_key_id.is_some() => Err(s3_error!(
            InvalidArgument,
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
        )),
        ServerSideEncryption::AES256 => Ok(()),
        ServerSideEncryption::AWS_KMS | ServerSideEncryption::AWS_KMS_DSSE => {
            Err(not_implemented("a bucket's default encryption with a KMS key"))
        }
        _ => Err(malformed()),
    }
}
