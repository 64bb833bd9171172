//! GetObjectRetention.

use s3s::dto::{GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockRetention};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{lock, wire};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let input = req.input;
    lock::needs_lock(at, &input.bucket).await?;
    let version = wire::version_id(input.version_id)?;
    let info = at.store.head(&input.bucket, &input.key, version).await.map_err(answer)?;
    let retention = info.meta.lock.retention.ok_or_else(lock::none_set)?;
    let retention = ObjectLockRetention {
        mode: Some(lock::retention_mode(retention.mode)),
        retain_until_date: Some(wire::exact(retention.until_ms)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}
