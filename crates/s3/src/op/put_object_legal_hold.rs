//! PutObjectLegalHold.

use s3s::dto::{PutObjectLegalHoldInput, PutObjectLegalHoldOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{lock, wire};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let input = req.input;
    lock::needs_lock(at, &input.bucket).await?;
    let version = wire::version_id(input.version_id)?;
    let hold = lock::hold_of_document(input.legal_hold.as_ref())?;
    let changed = at.store.change_object(&input.bucket, &input.key, version, |object| {
        object.lock.hold = hold;
        Ok(())
    });
    changed.await.map_err(answer)?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}
