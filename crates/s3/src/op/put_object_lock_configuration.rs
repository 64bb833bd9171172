//! PutObjectLockConfiguration: also switches lock on in a bucket that has versions.

use s3s::dto::{
    ObjectLockConfiguration, ObjectLockEnabled, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::Error;
use store::api::{DefaultRetention, RetentionPeriod, Versioning};

use crate::error::{answer, malformed};
use crate::lock;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let default_retention = default_retention(req.input.object_lock_configuration)?;
    let changed = at.store.change_bucket_state(&req.input.bucket, |state| {
        if state.versioning != Versioning::Enabled {
            return Err(Error::BucketState(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            ));
        }
        state.object_lock = true;
        state.default_retention = default_retention;
        Ok(())
    });
    changed.await.map_err(answer)?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default_retention(config: Option<ObjectLockConfiguration>) -> S3Result<Option<DefaultRetention>> {
    let malformed = || malformed();
    let config = config.ok_or_else(malformed)?;
    if config.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed());
    }
    let Some(rule) = config.rule else { return Ok(None) };
    let given = rule.default_retention.ok_or_else(malformed)?;
    let mode = given.mode.ok_or_else(malformed)?;
    let mode = lock::mode_of(mode.as_str()).map_err(|_| malformed())?;
    let positive = |n: i32, max: u32| {
        let n = u32::try_from(n).ok().filter(|n| *n > 0);
        let n =
            n.ok_or_else(|| s3_error!(InvalidArgument, "Default retention period must be a positive integer value."))?;
        if n > max {
            return Err(s3_error!(InvalidArgument, "Default retention period too large"));
        }
        Ok(n)
    };
    let period = match (given.days, given.years) {
        (Some(days), None) => RetentionPeriod::Days(positive(days, 36_500)?),
        (None, Some(years)) => RetentionPeriod::Years(positive(years, 100)?),
        _ => return Err(malformed()),
    };
    Ok(Some(DefaultRetention { mode, period }))
}
