//! Access control lists. They are off unless the bucket's ownership controls turn them on, as in
//! buckets that AWS makes since 2023. There is one account: the bucket's owner owns all objects in
//! it, and ids of grantees are names of users.

use http::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, Grant, Grantee as WireGrantee, ObjectOwnership, OwnershipControls, Permission,
    PublicAccessBlockConfiguration, Type,
};
use s3s::{S3ErrorCode, S3Result, s3_error};
use store::api::{Acl, AclGrant, AclPermission, Grantee};
use store::{Error, Store};

use crate::error::{answer, custom};
use crate::{config, wire};

const CANNED: &str = "x-amz-acl";
const HEADERS: [(&str, AclPermission); 5] = [
    ("x-amz-grant-full-control", AclPermission::FullControl),
    ("x-amz-grant-read", AclPermission::Read),
    ("x-amz-grant-write", AclPermission::Write),
    ("x-amz-grant-read-acp", AclPermission::ReadAcp),
    ("x-amz-grant-write-acp", AclPermission::WriteAcp),
];
const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
/// Most grants of an ACL (S3: 100).
const GRANTS_MAX: usize = 100;

/// What an ACL is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Bucket,
    Object,
}

/// The ACL that a request's headers give to something new.
///
/// # Errors
/// `AccessControlListNotSupported`, `AccessDenied` for a public one that is blocked,
/// `InvalidArgument`, `InvalidRequest`, `UnresolvableGrantByEmailAddress`.
pub(crate) async fn of_new(store: &Store, bucket: &str, headers: &HeaderMap, of: Of) -> S3Result<Option<Acl>> {
    match given(headers)? {
        None => Ok(None),
        Some(given) => allowed(store, bucket, given, of).await,
    }
}

/// The ACL that a PutBucketAcl or PutObjectAcl puts.
///
/// # Errors
/// As [`of_new`], and `MissingSecurityHeader`, `MalformedACLError`.
pub(crate) async fn of_put(
    store: &Store,
    bucket: &str,
    headers: &HeaderMap,
    document: Option<AccessControlPolicy>,
    of: Of,
) -> S3Result<Option<Acl>> {
    let given = match (given(headers)?, document) {
        (Some(_), Some(_)) => {
            return Err(s3_error!(UnexpectedContent, "This request does not support content"));
        }
        (Some(given), None) => given,
        (None, Some(document)) => Given::Grants(of_document(document)?),
        (None, None) => {
            return Err(s3_error!(MissingSecurityHeader, "Your request was missing a required header"));
        }
    };
    allowed(store, bucket, given, of).await
}

/// Judges the ACL of a bucket that is to be made, before it is.
///
/// # Errors
/// As [`of_new`].
pub(crate) fn check_new_bucket(headers: &HeaderMap) -> S3Result<()> {
    match given(headers)? {
        Some(Given::Canned(name)) => canned(&name, "", Of::Bucket).map(|_| ()),
        Some(Given::Grants(grants)) if grants.len() > GRANTS_MAX => Err(malformed_acl()),
        _ => Ok(()),
    }
}

/// Whether a new bucket with this request's ACL needs ACLs to be on.
pub(crate) fn needs_to_be_on(headers: &HeaderMap) -> bool {
    let canned = headers.get(CANNED).is_some_and(|value| value != "private");
    canned || HEADERS.iter().any(|(name, _)| headers.contains_key(*name))
}

/// What a request gives.
enum Given {
    Canned(String),
    Grants(Vec<AclGrant>),
}

fn given(headers: &HeaderMap) -> S3Result<Option<Given>> {
    let mut grants = Vec::new();
    for (name, permission) in HEADERS {
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| invalid_id())?;
            for grantee in value.split(',') {
                grants.push(AclGrant { grantee: of_header(grantee.trim())?, permission });
            }
        }
    }
    let canned = headers.get(CANNED).map(|value| value.to_str().unwrap_or_default().to_owned());
    match canned {
        Some(_) if !grants.is_empty() => {
            Err(s3_error!(InvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed"))
        }
        Some(canned) => Ok(Some(Given::Canned(canned))),
        None if grants.is_empty() => Ok(None),
        None => Ok(Some(Given::Grants(grants))),
    }
}

/// `id="name"`, `uri="group"` or `emailAddress="address"`.
fn of_header(text: &str) -> S3Result<Grantee> {
    let (kind, value) = text.split_once('=').ok_or_else(invalid_id)?;
    let value = value.trim().trim_matches('"');
    match kind.trim() {
        "id" => of_id(value),
        "uri" => of_uri(value),
        "emailAddress" => Err(by_email()),
        _ => Err(s3_error!(InvalidArgument, "Argument format not recognized")),
    }
}

fn of_id(id: &str) -> S3Result<Grantee> {
    if id.is_empty() || id.len() > 64 { Err(invalid_id()) } else { Ok(Grantee::User(id.to_owned())) }
}

fn of_uri(uri: &str) -> S3Result<Grantee> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED => Ok(Grantee::AuthenticatedUsers),
        LOG_DELIVERY => Ok(Grantee::LogDelivery),
        _ => Err(s3_error!(InvalidArgument, "Invalid group uri")),
    }
}

fn invalid_id() -> s3s::S3Error {
    s3_error!(InvalidArgument, "Invalid id")
}

fn by_email() -> s3s::S3Error {
    custom("UnresolvableGrantByEmailAddress", "The email address you provided does not match any account on record.")
}

fn of_document(document: AccessControlPolicy) -> S3Result<Vec<AclGrant>> {
    let grants = document.grants.ok_or_else(malformed_acl)?;
    if grants.len() > GRANTS_MAX {
        return Err(malformed_acl());
    }
    grants.into_iter().map(of_grant).collect()
}

fn of_grant(grant: Grant) -> S3Result<AclGrant> {
    let grantee = grant.grantee.ok_or_else(malformed_acl)?;
    let permission = match grant.permission.as_ref().map(Permission::as_str) {
        Some(Permission::FULL_CONTROL) => AclPermission::FullControl,
        Some(Permission::READ) => AclPermission::Read,
        Some(Permission::WRITE) => AclPermission::Write,
        Some(Permission::READ_ACP) => AclPermission::ReadAcp,
        Some(Permission::WRITE_ACP) => AclPermission::WriteAcp,
        _ => return Err(malformed_acl()),
    };
    let grantee = match (grantee.id, grantee.uri, grantee.email_address) {
        (Some(id), None, None) => of_id(&id)?,
        (None, Some(uri), None) => of_uri(&uri)?,
        (None, None, Some(_)) => return Err(by_email()),
        _ => return Err(malformed_acl()),
    };
    Ok(AclGrant { grantee, permission })
}

fn malformed_acl() -> s3s::S3Error {
    custom(
        "MalformedACLError",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// The ACL to keep, where the bucket takes ACLs; `None` for one that says what is so anyway.
async fn allowed(store: &Store, bucket: &str, given: Given, of: Of) -> S3Result<Option<Acl>> {
    let owner = store.bucket(bucket).await.map_err(answer)?.owner;
    let acl = match given {
        Given::Canned(name) => canned(&name, &owner, of)?,
        Given::Grants(grants) if grants.len() > GRANTS_MAX => return Err(malformed_acl()),
        Given::Grants(grants) => Acl(grants),
    };
    let own = |grant: &AclGrant| grant.grantee == Grantee::User(owner.clone());
    if !are_on(store, bucket).await? {
        let nothing_new =
            !acl.0.is_empty() && acl.0.iter().all(|grant| own(grant) && grant.permission == AclPermission::FullControl);
        return if nothing_new { Ok(None) } else { Err(not_supported()) };
    }
    let block = public_block(store, bucket).await?;
    if block.is_some_and(|block| block.block_public_acls == Some(true)) && is_public(&acl) {
        return Err(s3_error!(
            AccessDenied,
            "public access control lists are blocked by the BlockPublicAcls block public access setting"
        ));
    }
    Ok(Some(acl))
}

/// "Canned ACL" in the user guide of S3.
fn canned(name: &str, owner: &str, of: Of) -> S3Result<Acl> {
    use AclPermission::{FullControl, Read, ReadAcp, Write};
    let more: &[(Grantee, AclPermission)] = match (name, of) {
        // The last two say something of objects only; of a bucket they are passed over.
        ("private" | "aws-exec-read" | "bucket-owner-read" | "bucket-owner-full-control", _) => &[],
        ("public-read", _) => &[(Grantee::AllUsers, Read)],
        ("public-read-write", _) => &[(Grantee::AllUsers, Read), (Grantee::AllUsers, Write)],
        ("authenticated-read", _) => &[(Grantee::AuthenticatedUsers, Read)],
        ("log-delivery-write", Of::Bucket) => &[(Grantee::LogDelivery, Write), (Grantee::LogDelivery, ReadAcp)],
        _ => return Err(s3_error!(InvalidArgument, "{name:?} is not a canned ACL for this")),
    };
    let own = (Grantee::User(owner.to_owned()), FullControl);
    let grants = std::iter::once(own).chain(more.iter().cloned());
    Ok(Acl(grants.map(|(grantee, permission)| AclGrant { grantee, permission }).collect()))
}

/// A bucket's ACL and ownership controls that turn ACLs off.
pub(crate) fn with_enforced() -> s3s::S3Error {
    custom(
        "InvalidBucketAclWithObjectOwnership",
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

/// ACLs are off.
pub(crate) fn not_supported() -> s3s::S3Error {
    custom("AccessControlListNotSupported", "The bucket does not allow ACLs")
}

/// Whether the bucket's ownership controls have turned ACLs on.
///
/// # Errors
/// The store's.
pub(crate) async fn are_on(store: &Store, bucket: &str) -> S3Result<bool> {
    let controls = config::find::<OwnershipControls>(store, bucket, config::OWNERSHIP).await?;
    let rules = controls.iter().flat_map(|controls| &controls.rules);
    Ok(rules.into_iter().any(|rule| rule.object_ownership.as_str() != ObjectOwnership::BUCKET_OWNER_ENFORCED))
}

async fn public_block(store: &Store, bucket: &str) -> S3Result<Option<PublicAccessBlockConfiguration>> {
    config::find(store, bucket, config::PUBLIC_ACCESS).await
}

/// Whether an ACL lets in who is not named.
pub(crate) fn is_public(acl: &Acl) -> bool {
    acl.0.iter().any(|grant| matches!(grant.grantee, Grantee::AllUsers | Grantee::AuthenticatedUsers))
}

/// Whether an ACL lets in anybody but the owner.
pub(crate) fn lets_others_in(acl: &Acl, owner: &str) -> bool {
    acl.0.iter().any(|grant| !matches!(&grant.grantee, Grantee::User(name) if name == owner))
}

/// What an action needs of an ACL, and of whose.
pub(crate) fn needed(action: &str) -> Option<(Of, AclPermission)> {
    Some(match action {
        "s3:GetObject" | "s3:GetObjectVersion" => (Of::Object, AclPermission::Read),
        "s3:GetObjectAcl" | "s3:GetObjectVersionAcl" => (Of::Object, AclPermission::ReadAcp),
        "s3:PutObjectAcl" | "s3:PutObjectVersionAcl" => (Of::Object, AclPermission::WriteAcp),
        "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => {
            (Of::Bucket, AclPermission::Read)
        }
        // Deletion is for who owns the objects, and that is the bucket's owner.
        "s3:PutObject" => (Of::Bucket, AclPermission::Write),
        "s3:GetBucketAcl" => (Of::Bucket, AclPermission::ReadAcp),
        "s3:PutBucketAcl" => (Of::Bucket, AclPermission::WriteAcp),
        _ => return None,
    })
}

/// Whether an ACL gives `permission` to a user, or to somebody unknown.
fn gives(acl: &Acl, user: Option<&str>, permission: AclPermission, groups: bool) -> bool {
    acl.0.iter().any(|grant| {
        let enough = grant.permission == AclPermission::FullControl || grant.permission == permission;
        let him = match &grant.grantee {
            Grantee::User(name) => user == Some(name.as_str()),
            Grantee::AllUsers => groups,
            Grantee::AuthenticatedUsers => groups && user.is_some(),
            Grantee::LogDelivery => false,
        };
        enough && him
    })
}

/// Whether ACLs let `user` do `action`. Only asked when nothing else has let him, or denied it.
///
/// # Errors
/// The store's.
pub(crate) async fn allow(
    store: &Store,
    action: &str,
    bucket: &str,
    object: Option<(&str, Option<&str>)>,
    user: Option<&str>,
) -> S3Result<bool> {
    let Some((of, permission)) = needed(action) else { return Ok(false) };
    let acl = match (of, object) {
        (Of::Bucket, _) => of_bucket(store, bucket).await,
        (Of::Object, Some((key, version))) => match store.head(bucket, key, wire::version_id(version)?).await {
            Ok(info) => Ok(info.acl),
            Err(Error::NoSuchKey | Error::NoSuchVersion | Error::DeleteMarker { .. }) => Ok(None),
            Err(error) => Err(answer(error)),
        },
        (Of::Object, None) => return Ok(false),
    };
    let acl = match acl {
        Ok(acl) => acl,
        // What is not there is for others to say.
        Err(error) if *error.code() == S3ErrorCode::NoSuchBucket => None,
        Err(error) => return Err(error),
    };
    let Some(acl) = acl else { return Ok(false) };
    if !are_on(store, bucket).await? {
        return Ok(false);
    }
    let block = public_block(store, bucket).await?;
    let ignored = block.is_some_and(|block| block.ignore_public_acls == Some(true));
    Ok(gives(&acl, user, permission, !ignored))
}

/// A bucket's own ACL, if one was put.
///
/// # Errors
/// The store's.
pub(crate) async fn of_bucket(store: &Store, bucket: &str) -> S3Result<Option<Acl>> {
    let document = config::find::<AccessControlPolicy>(store, bucket, config::ACL).await?;
    document.map(|document| of_document(document).map(Acl)).transpose()
}

/// Puts a bucket's ACL.
///
/// # Errors
/// `NoSuchBucket`.
pub(crate) async fn put_bucket(store: &Store, bucket: &str, acl: &Acl) -> S3Result<()> {
    let owner = store.bucket(bucket).await.map_err(answer)?.owner;
    let document = AccessControlPolicy { grants: Some(told(Some(acl), &owner)), owner: Some(wire::owner(&owner)) };
    config::put(store, bucket, config::ACL, &document).await
}

/// An ACL as the wire has it; without one the owner has full control.
pub(crate) fn told(acl: Option<&Acl>, owner: &str) -> Vec<Grant> {
    let own = AclGrant { grantee: Grantee::User(owner.to_owned()), permission: AclPermission::FullControl };
    let grants = acl.map_or(std::slice::from_ref(&own), |acl| &acl.0);
    grants.iter().map(wire_grant).collect()
}

fn wire_grant(grant: &AclGrant) -> Grant {
    let group = |uri: &str| WireGrantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: Type::from_static(Type::GROUP),
        uri: Some(uri.to_owned()),
    };
    let grantee = match &grant.grantee {
        Grantee::User(name) => WireGrantee {
            display_name: Some(name.clone()),
            email_address: None,
            id: Some(name.clone()),
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        },
        Grantee::AllUsers => group(ALL_USERS),
        Grantee::AuthenticatedUsers => group(AUTHENTICATED),
        Grantee::LogDelivery => group(LOG_DELIVERY),
    };
    let permission = Permission::from_static(match grant.permission {
        AclPermission::FullControl => Permission::FULL_CONTROL,
        AclPermission::Read => Permission::READ,
        AclPermission::Write => Permission::WRITE,
        AclPermission::ReadAcp => Permission::READ_ACP,
        AclPermission::WriteAcp => Permission::WRITE_ACP,
    });
    Grant { grantee: Some(grantee), permission: Some(permission) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_reach_whom_they_name() {
        let acl = |grantee: Grantee, permission| Acl(vec![AclGrant { grantee, permission }]);
        let named = || Grantee::User("ann".to_owned());
        let table = [
            (acl(named(), AclPermission::Read), Some("ann"), AclPermission::Read, true),
            (acl(named(), AclPermission::Read), Some("ann"), AclPermission::ReadAcp, false),
            (acl(named(), AclPermission::FullControl), Some("ann"), AclPermission::WriteAcp, true),
            (acl(named(), AclPermission::Read), Some("bob"), AclPermission::Read, false),
            (acl(named(), AclPermission::Read), None, AclPermission::Read, false),
            (acl(Grantee::AllUsers, AclPermission::Read), None, AclPermission::Read, true),
            (acl(Grantee::AllUsers, AclPermission::Read), None, AclPermission::Write, false),
            (acl(Grantee::AuthenticatedUsers, AclPermission::Read), None, AclPermission::Read, false),
            (acl(Grantee::AuthenticatedUsers, AclPermission::Read), Some("bob"), AclPermission::Read, true),
            (acl(Grantee::LogDelivery, AclPermission::Write), Some("bob"), AclPermission::Write, false),
        ];
        for (acl, user, permission, expected) in table {
            assert_eq!(gives(&acl, user, permission, true), expected, "{acl:?} {user:?} {permission:?}");
            let named = user == Some("ann") && expected;
            assert_eq!(gives(&acl, user, permission, false), named, "public ones ignored: {acl:?} {user:?}");
        }
    }

    #[test]
    fn headers_name_grantees() {
        let good = [
            ("id=\"ann\"", Grantee::User("ann".to_owned())),
            ("id=ann", Grantee::User("ann".to_owned())),
            ("uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"", Grantee::AllUsers),
        ];
        for (text, expected) in good {
            assert_eq!(of_header(text).ok(), Some(expected), "{text}");
        }
        for bad in ["ann", "id=", "uri=\"x\"", "emailAddress=\"a@b\"", "name=ann", ""] {
            assert!(of_header(bad).is_err(), "{bad}");
        }
    }
}
