//! GetObjectTagging.

use s3s::dto::{GetObjectTaggingInput, GetObjectTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{tags, wire};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    let info = at.store.head(&input.bucket, &input.key, version).await.map_err(answer)?;
    let (version_id, _) = at.told(&info, false).await?;
    let mut tags = info.meta.tags;
    // As AWS's own scan service does it, so that policies and lifecycle tools see it; it is no tag that anybody set.
    if let Some(told) = &info.scan {
        tags.insert("holdfast-scan".to_owned(), told.word().to_owned());
    }
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::set_of(tags), version_id }))
}
