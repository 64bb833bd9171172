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
    let mut set = info.meta.tags;
    // For people and tools that know it of other scan services. It is no tag: nobody sets it, and no policy sees it.
    if let Some(told) = &info.scan {
        set.insert(tags::SCAN.to_owned(), told.word().to_owned());
    }
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::set_of(set), version_id }))
}
