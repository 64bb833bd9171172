//! PutObjectRetention.

use s3s::dto::{PutObjectRetentionInput, PutObjectRetentionOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{lock, wire};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let input = req.input;
    lock::needs_lock(at, &input.bucket).await?;
    let version = wire::version_id(input.version_id)?;
    let wanted = lock::of_document(input.retention)?;
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let changed = at.store.change_object(&input.bucket, &input.key, version, |object| {
        lock::may_change(object.lock.retention, wanted, bypass, object.now_ms)?;
        object.lock.retention = wanted;
        Ok(())
    });
    changed.await.map_err(answer)?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}
