//! PutBucketTagging. S3 answers 204, the framework 200; clients take either.

use s3s::dto::{PutBucketTaggingInput, PutBucketTaggingOutput, Tagging};
use s3s::{S3Request, S3Response, S3Result};

use crate::service::Service;
use crate::{config, tags};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let tags = tags::of_set(req.input.tagging.tag_set, tags::BUCKET_MAX)?;
    let tagging = Tagging { tag_set: tags::set_of(tags) };
    config::put(&at.store, &req.input.bucket, config::TAGGING, &tagging).await?;
    Ok(S3Response::new(PutBucketTaggingOutput {}))
}
