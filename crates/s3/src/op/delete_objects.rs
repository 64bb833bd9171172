//! DeleteObjects: up to 1,000 at once, each with its own outcome.

use base::limits::{KEY_LEN_MAX, PAGE_MAX};
use futures::StreamExt;
use s3s::dto::{DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ObjectIdentifier};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use store::api::{DeleteRequest, Deleted, EtagSet, Right};

use crate::access::{Authority, authority};
use crate::error::{answer, not_implemented};
use crate::service::Service;
use crate::wire;

/// Deletes under way at once for one request; they share metadata commits.
const AT_ONCE: usize = 16;

pub(crate) async fn run(at: &Service, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let authority = authority(&req)?.clone();
    let DeleteObjectsInput { bucket, delete, bypass_governance_retention, .. } = req.input;
    let bypass = bypass_governance_retention.unwrap_or(false);
    if delete.objects.is_empty() || delete.objects.len() > PAGE_MAX {
        return Err(s3_error!(MalformedXML, "between 1 and {PAGE_MAX} objects are deleted at once"));
    }
    let outcomes = futures::stream::iter(delete.objects)
        .map(|object| async {
            let key = object.key.clone();
            let version = object.version_id.clone();
            // Judging a thousand keys must not keep the thread from others.
            tokio::task::yield_now().await;
            (key, version, one(at, &authority, &bucket, object, bypass).await)
        })
        .buffered(AT_ONCE);
    let mut output = DeleteObjectsOutput::default();
    let quiet = delete.quiet.unwrap_or(false);
    let mut outcomes = std::pin::pin!(outcomes);
    while let Some((key, version, outcome)) = outcomes.next().await {
        match outcome {
            Ok(_) if quiet => {}
            Ok(done) => {
                let made = done.version.map(|version| version.to_string()).filter(|_| done.marker);
                let deleted = DeletedObject {
                    delete_marker: done.marker.then_some(true),
                    delete_marker_version_id: made,
                    key: Some(key),
                    version_id: version,
                };
                output.deleted.get_or_insert_default().push(deleted);
            }
            // A bucket that does not exist fails the request, not each key. Who may delete nothing in it is not
            // told so.
            Err(error) if *error.code() == S3ErrorCode::NoSuchBucket => return Err(error),
            Err(error) => output.errors.get_or_insert_default().push(told(key, version, &error)),
        }
    }
    Ok(S3Response::new(output))
}

async fn one(
    at: &Service,
    authority: &Authority,
    bucket: &str,
    object: ObjectIdentifier,
    bypass_governance: bool,
) -> S3Result<Deleted> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(not_implemented("deleting on a condition other than the ETag"));
    }
    if object.key.is_empty() || object.key.len() > KEY_LEN_MAX {
        return Err(s3_error!(KeyTooLongError, "a key has between 1 and {KEY_LEN_MAX} bytes"));
    }
    let named = object.version_id.as_deref();
    let version = wire::version_id(named)?;
    let action = if named.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
    authority.check(action, Some(Right::Write), bucket, Some((&object.key, named))).await?;
    if bypass_governance {
        let bypass = "s3:BypassGovernanceRetention";
        authority.check(bypass, Some(Right::Admin), bucket, Some((&object.key, named))).await?;
    }
    let condition = object.e_tag.map(|tag| match tag.into_value() {
        any if any == "*" => EtagSet::Any,
        tag => EtagSet::Of(vec![tag]),
    });
    let request = DeleteRequest { version, etag_is: condition, bypass_governance };
    at.store.delete(bucket, &object.key, &request).await.map_err(answer)
}

fn told(key: String, version_id: Option<String>, error: &S3Error) -> s3s::dto::Error {
    let code: &S3ErrorCode = error.code();
    s3s::dto::Error {
        code: Some(code.as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id,
    }
}
