//! GetBucketReplication: no bucket is replicated to another. The five sites are below what S3 tells.

use s3s::dto::{GetBucketReplicationInput, GetBucketReplicationOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::Error;

use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketReplicationInput>,
) -> S3Result<S3Response<GetBucketReplicationOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    Err(answer(Error::NoSuchConfig("replication")))
}
