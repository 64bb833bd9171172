//! Who may do what. Nothing is allowed that is not in the table.

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::{S3Request, S3Result, s3_error};
use std::sync::Arc;

use store::Store;
use store::api::{Principal, Right};

use crate::notes::Notes;
use crate::{error, unsupported};

/// Judges each request after its signature was found right.
pub(crate) struct Access(pub Store);

/// An operation that Holdfast has.
pub(crate) struct Operation {
    /// As S3 calls it.
    pub name: &'static str,
    /// The right needed on the bucket; `None`: any principal may ask and is told what it may see.
    pub right: Option<Right>,
    /// Query parameters that it understands, besides those of signing.
    pub query: &'static [&'static str],
}

const fn op(name: &'static str, right: Right, query: &'static [&'static str]) -> Operation {
    Operation { name, right: Some(right), query }
}

const RESPONSE: &[&str] = &[
    "partNumber",
    "versionId",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

const OPERATIONS: [Operation; 21] = [
    Operation {
        name: "ListBuckets",
        right: None,
        query: &["prefix", "max-buckets", "continuation-token", "bucket-region"],
    },
    op("CreateBucket", Right::Admin, &[]),
    op("DeleteBucket", Right::Admin, &[]),
    op("HeadBucket", Right::Read, &[]),
    op("GetBucketLocation", Right::Read, &["location"]),
    op("GetBucketVersioning", Right::Read, &["versioning"]),
    op("ListObjects", Right::Read, &["prefix", "delimiter", "marker", "max-keys", "encoding-type"]),
    op(
        "ListObjectsV2",
        Right::Read,
        &[
            "list-type",
            "prefix",
            "delimiter",
            "start-after",
            "continuation-token",
            "max-keys",
            "encoding-type",
            "fetch-owner",
        ],
    ),
    op("GetObject", Right::Read, RESPONSE),
    op("HeadObject", Right::Read, RESPONSE),
    op("PutObject", Right::Write, &[]),
    op("CopyObject", Right::Write, &[]),
    op("DeleteObject", Right::Write, &["versionId"]),
    op("DeleteObjects", Right::Write, &["delete"]),
    op("CreateMultipartUpload", Right::Write, &["uploads"]),
    op("UploadPart", Right::Write, &["partNumber", "uploadId"]),
    op("UploadPartCopy", Right::Write, &["partNumber", "uploadId"]),
    op("CompleteMultipartUpload", Right::Write, &["uploadId"]),
    op("AbortMultipartUpload", Right::Write, &["uploadId"]),
    op("ListParts", Right::Read, &["uploadId", "max-parts", "part-number-marker"]),
    op(
        "ListMultipartUploads",
        Right::Read,
        &["uploads", "prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"],
    ),
];

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = OPERATIONS.iter().find(|operation| operation.name == cx.s3_op().name());
        let name = operation.map_or("other", |operation| operation.name);
        if let Some(notes) = cx.extensions_mut().get::<Arc<Notes>>() {
            let _ = notes.operation.set(name);
        }
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        };
        let found = self.0.authenticate(&credentials.access_key).await.map_err(error::answer)?;
        // The user may have been deleted since the signature was checked.
        let (_, principal) = found.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        let Some(operation) = operation else {
            return Err(error::not_implemented(cx.s3_op().name()));
        };
        let allowed = match (operation.right, cx.s3_path().get_bucket_name()) {
            (None, None) => true,
            (Some(right), Some(bucket)) => principal.may(right, bucket),
            _ => false,
        };
        if !allowed {
            return Err(denied());
        }
        unsupported::check(operation, cx.uri(), cx.headers())?;
        cx.extensions_mut().insert(principal);
        Ok(())
    }

    async fn copy_object(&self, req: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        may_read_source(principal(req)?, &req.input.copy_source)
    }

    async fn upload_part_copy(&self, req: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        may_read_source(principal(req)?, &req.input.copy_source)
    }
}

/// Whom the request acts for.
pub(crate) fn principal<T>(req: &S3Request<T>) -> S3Result<&Principal> {
    req.extensions.get::<Principal>().ok_or_else(denied)
}

fn may_read_source(principal: &Principal, source: &CopySource) -> S3Result<()> {
    match source {
        CopySource::Bucket { bucket, .. } if principal.may(Right::Read, bucket) => Ok(()),
        CopySource::Bucket { .. } => Err(denied()),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(error::not_implemented("copying from an access point or outpost"))
        }
    }
}

fn denied() -> s3s::S3Error {
    s3_error!(AccessDenied, "access denied")
}
