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
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::set_of(info.meta.tags), version_id }))
}
