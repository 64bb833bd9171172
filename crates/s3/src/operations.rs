//! The operations that Holdfast has. What is not here answers `NotImplemented`.

use store::api::Right::{self, Admin, Read, Write};

use self::Level::{Bucket, Keys, Object, Service};

/// What an operation is about, and so what a policy must allow it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// All buckets.
    Service,
    /// One bucket.
    Bucket,
    /// One object.
    Object,
    /// Objects named in the request's document, each judged by itself.
    Keys,
}

/// An operation.
pub(crate) struct Operation {
    /// As S3 calls it.
    pub name: &'static str,
    /// As policies call it.
    pub action: &'static str,
    /// As policies call it when the request names a version.
    pub versioned: Option<&'static str>,
    /// On what.
    pub level: Level,
    /// The granted right that also allows it; `None`: any principal may ask and is told what it may see.
    pub right: Option<Right>,
    /// Query parameters that it understands, besides those of signing.
    pub query: &'static [&'static str],
}

/// The operation that S3 calls `name`.
pub(crate) fn find(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

/// The granted right that allows an action, as `s3:GetObject`; `Some(None)` for one that no grant
/// allows, `None` for one that there is not.
pub fn right_for(action: &str) -> Option<Option<Right>> {
    let named = |operation: &&Operation| operation.action == action || operation.versioned == Some(action);
    let operation = OPERATIONS.iter().find(named).map(|operation| operation.right);
    let read = [false, true].iter().any(|versioned| more("GetObjectAttributes", *versioned) == Some(action));
    operation
        .or(read.then_some(Some(Read)))
        .or_else(|| EXTRA.iter().find(|extra| extra.1 == action).map(|extra| Some(extra.2)))
}

/// An action beside the operation's own that a policy must allow.
pub(crate) fn more(operation: &str, versioned: bool) -> Option<&'static str> {
    match (operation, versioned) {
        ("GetObjectAttributes", false) => Some("s3:GetObjectAttributes"),
        ("GetObjectAttributes", true) => Some("s3:GetObjectVersionAttributes"),
        _ => None,
    }
}

/// The header that lifts a governance retention.
pub(crate) const BYPASS: &str = "x-amz-bypass-governance-retention";

/// What headers ask for beyond the operation has actions of its own: header, action, right.
pub(crate) const EXTRA: [(&str, &str, Right); 10] = [
    ("x-amz-tagging", "s3:PutObjectTagging", Write),
    ("x-amz-acl", "s3:PutObjectAcl", Write),
    ("x-amz-grant-full-control", "s3:PutObjectAcl", Write),
    ("x-amz-grant-read", "s3:PutObjectAcl", Write),
    ("x-amz-grant-write", "s3:PutObjectAcl", Write),
    ("x-amz-grant-read-acp", "s3:PutObjectAcl", Write),
    ("x-amz-grant-write-acp", "s3:PutObjectAcl", Write),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention", Write),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold", Write),
    // Lifting a retention is for those who administer the bucket.
    (BYPASS, "s3:BypassGovernanceRetention", Admin),
];

const fn op(
    name: &'static str,
    action: &'static str,
    level: Level,
    right: Right,
    query: &'static [&'static str],
) -> Operation {
    Operation { name, action, versioned: None, level, right: Some(right), query }
}

const fn versioned(operation: Operation, action: &'static str) -> Operation {
    Operation { versioned: Some(action), ..operation }
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

pub(crate) const OPERATIONS: [Operation; 71] = [
    Operation {
        name: "ListBuckets",
        action: "s3:ListAllMyBuckets",
        versioned: None,
        level: Service,
        right: None,
        query: &["prefix", "max-buckets", "continuation-token", "bucket-region"],
    },
    op("CreateBucket", "s3:CreateBucket", Bucket, Admin, &[]),
    op("DeleteBucket", "s3:DeleteBucket", Bucket, Admin, &[]),
    op("HeadBucket", "s3:ListBucket", Bucket, Read, &[]),
    op("GetBucketLocation", "s3:GetBucketLocation", Bucket, Read, &["location"]),
    op("GetBucketVersioning", "s3:GetBucketVersioning", Bucket, Read, &["versioning"]),
    op("PutBucketVersioning", "s3:PutBucketVersioning", Bucket, Admin, &["versioning"]),
    op("ListObjects", "s3:ListBucket", Bucket, Read, &["prefix", "delimiter", "marker", "max-keys", "encoding-type"]),
    op(
        "ListObjectsV2",
        "s3:ListBucket",
        Bucket,
        Read,
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
    op(
        "ListObjectVersions",
        "s3:ListBucketVersions",
        Bucket,
        Read,
        &["versions", "prefix", "delimiter", "key-marker", "version-id-marker", "max-keys", "encoding-type"],
    ),
    op(
        "ListMultipartUploads",
        "s3:ListBucketMultipartUploads",
        Bucket,
        Read,
        &["uploads", "prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"],
    ),
    versioned(op("GetObject", "s3:GetObject", Object, Read, RESPONSE), "s3:GetObjectVersion"),
    versioned(op("HeadObject", "s3:GetObject", Object, Read, RESPONSE), "s3:GetObjectVersion"),
    versioned(
        op("GetObjectAttributes", "s3:GetObject", Object, Read, &["attributes", "versionId"]),
        "s3:GetObjectVersion",
    ),
    op("PutObject", "s3:PutObject", Object, Write, &[]),
    op("CopyObject", "s3:PutObject", Object, Write, &[]),
    versioned(op("DeleteObject", "s3:DeleteObject", Object, Write, &["versionId"]), "s3:DeleteObjectVersion"),
    op("DeleteObjects", "s3:DeleteObject", Keys, Write, &["delete"]),
    op("CreateMultipartUpload", "s3:PutObject", Object, Write, &["uploads"]),
    op("UploadPart", "s3:PutObject", Object, Write, &["partNumber", "uploadId"]),
    op("UploadPartCopy", "s3:PutObject", Object, Write, &["partNumber", "uploadId"]),
    op("CompleteMultipartUpload", "s3:PutObject", Object, Write, &["uploadId"]),
    op("AbortMultipartUpload", "s3:AbortMultipartUpload", Object, Write, &["uploadId"]),
    op("ListParts", "s3:ListMultipartUploadParts", Object, Read, &["uploadId", "max-parts", "part-number-marker"]),
    versioned(
        op("GetObjectTagging", "s3:GetObjectTagging", Object, Read, &["tagging", "versionId"]),
        "s3:GetObjectVersionTagging",
    ),
    versioned(
        op("PutObjectTagging", "s3:PutObjectTagging", Object, Write, &["tagging", "versionId"]),
        "s3:PutObjectVersionTagging",
    ),
    versioned(
        op("DeleteObjectTagging", "s3:DeleteObjectTagging", Object, Write, &["tagging", "versionId"]),
        "s3:DeleteObjectVersionTagging",
    ),
    op("GetObjectRetention", "s3:GetObjectRetention", Object, Read, &["retention", "versionId"]),
    op("PutObjectRetention", "s3:PutObjectRetention", Object, Write, &["retention", "versionId"]),
    op("GetObjectLegalHold", "s3:GetObjectLegalHold", Object, Read, &["legal-hold", "versionId"]),
    op("PutObjectLegalHold", "s3:PutObjectLegalHold", Object, Write, &["legal-hold", "versionId"]),
    versioned(op("GetObjectAcl", "s3:GetObjectAcl", Object, Read, &["acl", "versionId"]), "s3:GetObjectVersionAcl"),
    versioned(op("PutObjectAcl", "s3:PutObjectAcl", Object, Write, &["acl", "versionId"]), "s3:PutObjectVersionAcl"),
    op("GetBucketAcl", "s3:GetBucketAcl", Bucket, Read, &["acl"]),
    op("PutBucketAcl", "s3:PutBucketAcl", Bucket, Admin, &["acl"]),
    op("GetBucketCors", "s3:GetBucketCORS", Bucket, Admin, &["cors"]),
    op("PutBucketCors", "s3:PutBucketCORS", Bucket, Admin, &["cors"]),
    op("DeleteBucketCors", "s3:PutBucketCORS", Bucket, Admin, &["cors"]),
    op("GetBucketEncryption", "s3:GetEncryptionConfiguration", Bucket, Admin, &["encryption"]),
    op("PutBucketEncryption", "s3:PutEncryptionConfiguration", Bucket, Admin, &["encryption"]),
    op("DeleteBucketEncryption", "s3:PutEncryptionConfiguration", Bucket, Admin, &["encryption"]),
    op("GetBucketNotificationConfiguration", "s3:GetBucketNotification", Bucket, Admin, &["notification"]),
    op("PutBucketNotificationConfiguration", "s3:PutBucketNotification", Bucket, Admin, &["notification"]),
    op("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", Bucket, Admin, &["ownershipControls"]),
    op("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls", Bucket, Admin, &["ownershipControls"]),
    op("DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls", Bucket, Admin, &["ownershipControls"]),
    op("GetBucketPolicy", "s3:GetBucketPolicy", Bucket, Admin, &["policy"]),
    op("PutBucketPolicy", "s3:PutBucketPolicy", Bucket, Admin, &["policy"]),
    op("DeleteBucketPolicy", "s3:DeleteBucketPolicy", Bucket, Admin, &["policy"]),
    op("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", Bucket, Admin, &["policyStatus"]),
    op("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", Bucket, Admin, &["publicAccessBlock"]),
    op("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", Bucket, Admin, &["publicAccessBlock"]),
    op("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock", Bucket, Admin, &["publicAccessBlock"]),
    op("GetBucketTagging", "s3:GetBucketTagging", Bucket, Read, &["tagging"]),
    op("PutBucketTagging", "s3:PutBucketTagging", Bucket, Admin, &["tagging"]),
    op("DeleteBucketTagging", "s3:PutBucketTagging", Bucket, Admin, &["tagging"]),
    op("GetBucketWebsite", "s3:GetBucketWebsite", Bucket, Admin, &["website"]),
    op("PutBucketWebsite", "s3:PutBucketWebsite", Bucket, Admin, &["website"]),
    op("DeleteBucketWebsite", "s3:DeleteBucketWebsite", Bucket, Admin, &["website"]),
    op("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", Bucket, Admin, &["lifecycle"]),
    op("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", Bucket, Admin, &["lifecycle"]),
    op("DeleteBucketLifecycle", "s3:PutLifecycleConfiguration", Bucket, Admin, &["lifecycle"]),
    op("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration", Bucket, Read, &["object-lock"]),
    op("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", Bucket, Admin, &["object-lock"]),
    op("GetBucketReplication", "s3:GetReplicationConfiguration", Bucket, Read, &["replication"]),
    op("GetBucketRequestPayment", "s3:GetBucketRequestPayment", Bucket, Read, &["requestPayment"]),
    op("PutBucketRequestPayment", "s3:PutBucketRequestPayment", Bucket, Admin, &["requestPayment"]),
    op("GetBucketLogging", "s3:GetBucketLogging", Bucket, Admin, &["logging"]),
    op("PutBucketLogging", "s3:PutBucketLogging", Bucket, Admin, &["logging"]),
    op("GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration", Bucket, Admin, &["accelerate"]),
    op("PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration", Bucket, Admin, &["accelerate"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation of S3's API, in its order: a line has its name, its method and its target.
    const KNOWN: &str = include_str!("operations.txt");

    fn known() -> impl Iterator<Item = &'static str> {
        KNOWN.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next())
    }

    fn page() -> String {
        let mut page = String::from(
            "# S3 operations\n\nMade from the code: `HOLDFAST_BLESS=1 cargo test -p s3 reference`. What is not implemented answers 501\n`NotImplemented`. Action: what a bucket policy must allow; right: the granted right that also allows it. The operations are those of\nbotocore's service model (`crates/s3/src/operations.txt`).\n\nBeside them: uploads by HTML form (POST on a bucket: `s3:PutObject`, write), buckets as websites (`s3:GetObject` for anybody), and on\n`/` the token service's AssumeRole, GetSessionToken and GetCallerIdentity. Copies also ask `s3:GetObject` of their source, and\n`s3:GetObjectTagging` when they take its tags along, which asks `s3:PutObjectTagging` of their target; GetObjectAttributes asks\n`s3:GetObjectAttributes` too; headers that tag, lock, bypass or give ACLs ask for the action of their own operation. Reads tell the\nnumber of tags and the lock to those who may ask for them.\n\n| operation | | action | right |\n|---|---|---|---|\n",
        );
        for name in known() {
            let row = match find(name) {
                None => format!("| {name} | not implemented | | |\n"),
                Some(operation) => {
                    let action = match operation.versioned {
                        Some(versioned) => format!("`{}`, `{versioned}`", operation.action),
                        None => format!("`{}`", operation.action),
                    };
                    let right = match operation.right {
                        None => "any",
                        Some(Read) => "read",
                        Some(Write) => "write",
                        Some(Admin) => "admin",
                    };
                    format!("| {name} | yes | {action} | {right} |\n")
                }
            };
            page.push_str(&row);
        }
        page
    }

    #[test]
    fn the_reference_is_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/s3.md");
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page(), "HOLDFAST_BLESS=1 writes it anew");
    }

    #[test]
    fn operations_are_of_s3_and_named_once() {
        for operation in &OPERATIONS {
            assert!(known().any(|name| name == operation.name), "{}", operation.name);
            assert_eq!(OPERATIONS.iter().filter(|other| other.name == operation.name).count(), 1);
        }
    }
}
