//! PutObjectTagging.

use s3s::dto::{PutObjectTaggingInput, PutObjectTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::api::EventName;

use crate::error::answer;
use crate::service::Service;
use crate::{tags, wire};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    let tags = tags::of_set(input.tagging.tag_set, tags::OBJECT_MAX)?;
    let changed = at.store.change_object(&input.bucket, &input.key, version, |object| {
        object.tags.clone_from(&tags);
        object.told = Some(EventName::TaggingPut);
        Ok(())
    });
    let info = changed.await.map_err(answer)?;
    let (version_id, _) = at.told(&info, false).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}
