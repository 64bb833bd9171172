//! DeleteObjectTagging.

use s3s::dto::{DeleteObjectTaggingInput, DeleteObjectTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::api::EventName;

use crate::error::answer;
use crate::service::Service;
use crate::wire;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    let changed = at.store.change_object(&input.bucket, &input.key, version, |object| {
        object.tags.clear();
        object.told = Some(EventName::TaggingDelete);
        Ok(())
    });
    let info = changed.await.map_err(answer)?;
    let (version_id, _) = at.told(&info, false).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}
