//! The operations that Holdfast has, each in its own file under `op`. What is not here answers
//! `NotImplemented`, by the framework's defaults.

use std::net::IpAddr;
use std::sync::Arc;

use base::AccountId;
use http::Extensions;
use keys::{Caller, Who};
use release::Via;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use store::api::{ObjectInfo, Principal};
use store::{Cause, Origin, Store};

use crate::access::Peer;
use crate::error::answer;
use crate::notes::Notes;
use crate::{op, relaxed};

/// What the operations work with.
#[derive(Clone)]
pub(crate) struct Service {
    pub store: Store,
    /// The region that buckets say they are in.
    pub region: String,
}

impl Service {
    /// The service on behalf of a request: what it changes is told as the request's doing.
    fn acting_for<T>(&self, req: &S3Request<T>) -> Self {
        self.acting(req.extensions.get::<Principal>(), &req.extensions, Cause::Request)
    }

    /// The service on behalf of somebody, in whose tenant's buckets it acts; the request's `extensions` say the rest.
    pub(crate) fn acting(&self, principal: Option<&Principal>, extensions: &Extensions, cause: Cause) -> Self {
        let account = principal.map(Principal::account).unwrap_or_default();
        let address = extensions.get::<Peer>().map(|peer| peer.address);
        let origin = Origin {
            principal: principal.map_or("Anonymous", Principal::name).to_owned(),
            address,
            request: extensions.get::<Arc<Notes>>().map(|notes| notes.id.clone()),
            cause,
            caller: Some(Arc::new(caller(account, principal, address))),
            access_key: principal.and_then(Principal::access_key),
        };
        Self { store: self.store.of(account).acting_for(origin), region: self.region.clone() }
    }

    /// What the ARNs of the account's KMS keys begin with.
    pub(crate) fn kms(&self) -> String {
        format!("arn:aws:kms:{}:{}:", self.region, self.store.account())
    }

    /// `x-amz-version-id`, told of buckets that have or had versions, and `x-amz-expiration`, told of
    /// what is the `newest` of its key.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn told(&self, info: &ObjectInfo, newest: bool) -> S3Result<(Option<String>, Option<String>)> {
        let told = self.store.told(info, newest).await.map_err(answer)?;
        Ok((told.version.map(|version| version.to_string()), told.expiration))
    }
}

/// To whom keys are released.
fn caller(account: AccountId, principal: Option<&Principal>, address: Option<IpAddr>) -> Caller {
    let who = principal.map_or_else(Who::anonymous, Principal::who);
    let temporary = principal.is_some_and(|principal| principal.session().is_some());
    Caller::new(account, who, Via::S3, temporary, address)
}

/// Sends each operation to its file.
macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(
                async fn $name(&self, mut req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    relaxed::restore(&mut req);
                    op::$name::run(&self.acting_for(&req), req).await
                }
            )*
        }
    };
}

operations! {
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    create_bucket: CreateBucketInput => CreateBucketOutput,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    delete_bucket: DeleteBucketInput => DeleteBucketOutput,
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput,
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput,
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput,
    delete_bucket_ownership_controls: DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput,
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput,
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput,
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput,
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput,
    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput,
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput,
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput,
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput,
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput,
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput,
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput,
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput,
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput,
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput,
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput,
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput,
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
    get_object: GetObjectInput => GetObjectOutput,
    get_object_acl: GetObjectAclInput => GetObjectAclOutput,
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput,
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput,
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput,
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput,
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput,
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    list_buckets: ListBucketsInput => ListBucketsOutput,
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    list_parts: ListPartsInput => ListPartsOutput,
    put_bucket_accelerate_configuration: PutBucketAccelerateConfigurationInput => PutBucketAccelerateConfigurationOutput,
    put_bucket_acl: PutBucketAclInput => PutBucketAclOutput,
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput,
    put_bucket_encryption: PutBucketEncryptionInput => PutBucketEncryptionOutput,
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput,
    put_bucket_logging: PutBucketLoggingInput => PutBucketLoggingOutput,
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput,
    put_bucket_ownership_controls: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput,
    put_bucket_policy: PutBucketPolicyInput => PutBucketPolicyOutput,
    put_bucket_request_payment: PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput,
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput,
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput,
    put_bucket_website: PutBucketWebsiteInput => PutBucketWebsiteOutput,
    put_object: PutObjectInput => PutObjectOutput,
    put_object_acl: PutObjectAclInput => PutObjectAclOutput,
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput,
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput,
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput,
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput,
    put_public_access_block: PutPublicAccessBlockInput => PutPublicAccessBlockOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput,
}
