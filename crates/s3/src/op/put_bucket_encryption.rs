//! PutBucketEncryption.

use s3s::dto::{
    PutBucketEncryptionInput, PutBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionConfiguration,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{BucketState, DefaultEncryption};

use crate::error::{answer, malformed, not_implemented};
use crate::service::Service;
use crate::{access, config, encryption};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    let config = &req.input.server_side_encryption_configuration;
    let mut encryption = validate(config)?;
    if let (DefaultEncryption::Kms { bucket_key }, Some(name)) = (encryption, key_of(config))
        && let Some(portion) =
            encryption::usable_key(at, access::authority(&req)?, &req.input.bucket, Some(name)).await?
    {
        encryption = DefaultEncryption::Portion { portion, bucket_key };
    }
    let document = Some(config::write(config)?);
    let change = |state: &mut BucketState| state.encryption = encryption;
    let put = at.store.put_bucket_config_and_state(&req.input.bucket, config::ENCRYPTION, document, change).await;
    put.map_err(answer)?;
    Ok(S3Response::new(PutBucketEncryptionOutput {}))
}

fn key_of(config: &ServerSideEncryptionConfiguration) -> Option<&str> {
    config.rules.first()?.apply_server_side_encryption_by_default.as_ref()?.kms_master_key_id.as_deref()
}

fn validate(config: &ServerSideEncryptionConfiguration) -> S3Result<DefaultEncryption> {
    let [rule] = config.rules.as_slice() else {
        return Err(malformed());
    };
    let Some(default) = &rule.apply_server_side_encryption_by_default else { return Ok(DefaultEncryption::Bucket) };
    match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 if default.kms_master_key_id.is_some() => Err(s3_error!(
            InvalidArgument,
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
        )),
        ServerSideEncryption::AES256 => Ok(DefaultEncryption::Bucket),
        ServerSideEncryption::AWS_KMS => {
            Ok(DefaultEncryption::Kms { bucket_key: rule.bucket_key_enabled == Some(true) })
        }
        ServerSideEncryption::AWS_KMS_DSSE => Err(not_implemented("dual-layer encryption")),
        _ => Err(malformed()),
    }
}
