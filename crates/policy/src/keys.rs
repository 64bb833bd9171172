//! The condition keys of S3 and of keys.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3", and the same of AWS KMS. Names
//! are in small letters, as conditions have them.

use crate::Kind;

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

/// The condition keys of AWS KMS that a request for a key can have here; of the others a denial might never fire.
const KMS: &[&str] = &[
    "calleraccount",
    "customermasterkeyspec",
    "customermasterkeyusage",
    "encryptionalgorithm",
    "encryptioncontextkeys",
    "grantconstrainttype",
    "granteeprincipal",
    "grantoperations",
    "keyorigin",
    "keyspec",
    "keyusage",
    "multiregion",
    "requestalias",
    "retiringprincipal",
    "rotationperiodindays",
    "schedulekeydeletionpendingwindowindays",
    "viaservice",
];

/// Whether a policy of this kind may ask about a key: one of its service's, or of another's, which is not for these
/// lists to say.
pub(crate) fn is_known(kind: Kind<'_>, key: &str) -> bool {
    let (vendor, name) = key.split_once(':').unwrap_or_default();
    match (kind, vendor, name.split_once('/')) {
        // The name of a pair follows a colon, and may have slashes.
        (Kind::Key { .. }, "kms", _) => KMS.contains(&name) || name.starts_with("encryptioncontext:"),
        (Kind::Key { .. }, _, _) => vendor == "aws",
        (_, "s3", Some((name, tag))) => TAGGED.contains(&name) && !tag.is_empty(),
        (_, "s3", None) => PLAIN.contains(&name),
        _ => true,
    }
}
