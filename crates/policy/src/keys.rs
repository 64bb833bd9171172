//! The condition keys of S3.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3". Names
//! are in small letters, as conditions have them.

/// Keys that the tag's name follows after a slash.
const TAGGED: &[&str] = &["accesspointtag", "buckettag", "existingobjecttag", "requestobjecttag"];

const PLAIN: &[&str] = &[
    "accessgrantscope",
    "accessgrantsinstancearn",
    "accesspointnetworkorigin",
    "authtype",
    "dataaccesspointaccount",
    "dataaccesspointarn",
    "delimiter",
    "destinationregion",
    "existingjoboperation",
    "existingjobpriority",
    "if-match",
    "if-none-match",
    "inventoryaccessibleoptionalfields",
    "isreplicationpauserequest",
    "jobsuspendedcause",
    "locationconstraint",
    "max-keys",
    "object-lock-legal-hold",
    "object-lock-mode",
    "object-lock-remaining-retention-days",
    "object-lock-retain-until-date",
    "objectcreationoperation",
    "prefix",
    "requestjoboperation",
    "requestjobpriority",
    "requestobjecttagkeys",
    "resourceaccount",
    "signatureage",
    "signatureversion",
    "tlsversion",
    "versionid",
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// Whether a key is one of S3's, or of another service, which is not for this list to say.
pub(crate) fn is_known(key: &str) -> bool {
    let Some(name) = key.strip_prefix("s3:") else { return true };
    match name.split_once('/') {
        Some((name, tag)) => TAGGED.contains(&name) && !tag.is_empty(),
        None => PLAIN.contains(&name),
    }
}
