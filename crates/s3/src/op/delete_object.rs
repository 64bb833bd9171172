//! DeleteObject: deleting what is not there is a success.

use s3s::dto::{DeleteObjectInput, DeleteObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::wire;

pub(crate) async fn run(at: &Service, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = req.input;
    let condition = wire::delete_condition(input.if_match);
    at.store.delete(&input.bucket, &input.key, condition.as_ref()).await.map_err(answer)?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}
