//! The operations that Holdfast has, each in its own file under `op`. What is not here answers
//! `NotImplemented`, by the framework's defaults.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};
use store::Store;

use crate::notes::Notes;
use crate::op;

/// What the operations work with.
pub(crate) struct Service {
    pub store: Store,
    /// The region that buckets say they are in.
    pub region: String,
}

/// The request's notes, to name its id in an error.
fn notes<T>(req: &S3Request<T>) -> Option<Arc<Notes>> {
    req.extensions.get::<Arc<Notes>>().cloned()
}

fn named(mut error: S3Error, notes: Option<Arc<Notes>>) -> S3Error {
    if let Some(notes) = notes {
        error.set_request_id(notes.id.clone());
    }
    error
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let notes = notes(&req);
        op::abort_multipart_upload::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let notes = notes(&req);
        op::complete_multipart_upload::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let notes = notes(&req);
        op::copy_object::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let notes = notes(&req);
        op::create_bucket::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let notes = notes(&req);
        op::create_multipart_upload::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let notes = notes(&req);
        op::delete_bucket::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let notes = notes(&req);
        op::delete_object::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let notes = notes(&req);
        op::delete_objects::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let notes = notes(&req);
        op::get_bucket_location::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let notes = notes(&req);
        op::get_bucket_versioning::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let notes = notes(&req);
        op::get_object::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let notes = notes(&req);
        op::head_bucket::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let notes = notes(&req);
        op::head_object::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let notes = notes(&req);
        op::list_buckets::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let notes = notes(&req);
        op::list_multipart_uploads::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let notes = notes(&req);
        op::list_objects::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let notes = notes(&req);
        op::list_objects_v2::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let notes = notes(&req);
        op::list_parts::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let notes = notes(&req);
        op::put_object::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let notes = notes(&req);
        op::upload_part::run(self, req).await.map_err(|error| named(error, notes))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let notes = notes(&req);
        op::upload_part_copy::run(self, req).await.map_err(|error| named(error, notes))
    }
}
