//! DeleteObject: deleting what is not there is a success.

use s3s::dto::{DeleteObjectInput, DeleteObjectOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::api::DeleteRequest;

use crate::error::answer;
use crate::service::Service;
use crate::wire;

pub(crate) async fn run(at: &Service, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = req.input;
    let request = DeleteRequest {
        version: wire::version_id(input.version_id)?,
        etag_is: wire::delete_condition(input.if_match),
        bypass_governance: input.bypass_governance_retention.unwrap_or(false),
    };
    let deleted = at.store.delete(&input.bucket, &input.key, &request).await.map_err(answer)?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        request_charged: None,
        version_id: deleted.version.map(|version| version.to_string()),
    }))
}
