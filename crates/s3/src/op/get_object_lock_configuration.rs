//! GetObjectLockConfiguration.

use s3s::dto::{
    DefaultRetention, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockRule,
};
use s3s::{S3Request, S3Response, S3Result};
use store::api::RetentionPeriod;

use crate::error::answer;
use crate::lock;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let state = at.store.bucket_state(&req.input.bucket).await.map_err(answer)?;
    if !state.object_lock {
        return Err(answer(store::Error::NoSuchConfig("object-lock")));
    }
    let rule = state.default_retention.map(|retention| {
        let (days, years) = match retention.period {
            RetentionPeriod::Days(days) => (i32::try_from(days).ok(), None),
            RetentionPeriod::Years(years) => (None, i32::try_from(years).ok()),
        };
        let default = DefaultRetention { days, mode: Some(lock::retention_mode(retention.mode)), years };
        ObjectLockRule { default_retention: Some(default) }
    });
    let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
    let config = ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(config) }))
}
