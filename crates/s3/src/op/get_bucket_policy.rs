//! GetBucketPolicy: exactly what was put.

use http::{HeaderValue, header};
use s3s::dto::{GetBucketPolicyInput, GetBucketPolicyOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let document = config::document(&at.store, &req.input.bucket, config::POLICY).await?;
    let policy = String::from_utf8(document).map_err(|_| s3_error!(InternalError, "the stored policy is not text"))?;
    let mut response = S3Response::new(GetBucketPolicyOutput { policy: Some(policy) });
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
