//! PutBucketVersioning.

use s3s::dto::{BucketVersioningStatus, MFADelete, PutBucketVersioningInput, PutBucketVersioningOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::Error;
use store::api::Versioning;

use crate::error::{answer, malformed, not_implemented};
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let config = req.input.versioning_configuration;
    if config.mfa_delete.is_some_and(|mfa| mfa.as_str() != MFADelete::DISABLED) {
        return Err(not_implemented("MFA delete"));
    }
    let versioning = match config.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(malformed()),
        None => {
            return Err(s3_error!(IllegalVersioningConfigurationException, "The Versioning element must be specified"));
        }
    };
    let changed = at.store.change_bucket_state(&req.input.bucket, |state| {
        if state.object_lock && versioning != Versioning::Enabled {
            return Err(Error::BucketState(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            ));
        }
        state.versioning = versioning;
        Ok(())
    });
    changed.await.map_err(answer)?;
    Ok(S3Response::new(PutBucketVersioningOutput {}))
}
