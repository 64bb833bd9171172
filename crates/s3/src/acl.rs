//! ACLs are off: the bucket's owner owns every object and policies say who else may do what, as
//! in every bucket that AWS makes since 2023.

use s3s::dto::{AccessControlPolicy, Grant, Grantee, Permission, Type};
use s3s::{S3Result, s3_error};

use crate::error::custom;

/// The only grant there is.
pub(crate) fn full_control(owner: &str) -> Grant {
    let grantee = Grantee {
        display_name: Some(owner.to_owned()),
        email_address: None,
        id: Some(owner.to_owned()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }
}

/// # Errors
/// `AccessControlListNotSupported` for an ACL that would change who may do what.
pub(crate) fn must_change_nothing(
    canned: Option<&str>,
    policy: Option<&AccessControlPolicy>,
    owner: &str,
) -> S3Result<()> {
    match (canned, policy) {
        (None, None) => Err(s3_error!(MissingSecurityHeader, "Your request was missing a required header")),
        (Some("private" | "bucket-owner-full-control"), None) => Ok(()),
        (None, Some(policy)) => {
            let own = full_control(owner);
            let same = |grant: &Grant| {
                grant.permission == own.permission
                    && grant.grantee.as_ref().and_then(|grantee| grantee.id.as_deref()) == Some(owner)
            };
            if policy.grants.as_ref().is_some_and(|grants| grants.iter().all(same) && !grants.is_empty()) {
                Ok(())
            } else {
                Err(not_supported())
            }
        }
        _ => Err(not_supported()),
    }
}

/// ACLs are off.
pub(crate) fn not_supported() -> s3s::S3Error {
    custom("AccessControlListNotSupported", "The bucket does not allow ACLs")
}
