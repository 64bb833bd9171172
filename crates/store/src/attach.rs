//! What hangs on users and groups: grants and inline policies. Pure.

use meta::record::{Grant, InlinePolicy, Right};
use policy::{Kind, Policy};

use crate::Error;

/// Most grants of a user or group.
const GRANTS_MAX: usize = 1_000;
/// Most inline policies of a user or group.
const POLICIES_MAX: usize = 20;
/// Bytes of all inline policies of a user or group together. IAM takes 2,048 for a user and 5,120
/// for a group; here as much as for a bucket, which still fits in a row beside the grants.
const POLICY_BYTES_MAX: usize = policy::DOCUMENT_BYTES_MAX;

/// Whether a text can name a policy (IAM API reference, `PutUserPolicy`): 1 to 128 characters.
fn check_policy_name(name: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(fine) {
        return Err(Error::Invalid("a policy name has 1 to 128 characters of A-Z a-z 0-9 _ + = , . @ -"));
    }
    Ok(())
}

/// Sets or takes away the right on a bucket, or on `*`.
pub(crate) fn set_grant(grants: &mut Vec<Grant>, bucket: &str, right: Option<Right>) -> Result<(), Error> {
    if bucket.is_empty() || bucket.len() > 63 {
        return Err(Error::Invalid("a grant names a bucket, or * for all"));
    }
    grants.retain(|grant| grant.bucket != bucket);
    grants.extend(right.map(|right| Grant { bucket: bucket.to_owned(), right }));
    if grants.len() > GRANTS_MAX {
        return Err(Error::Invalid("a user or group has at most 1,000 grants; use * or another group"));
    }
    Ok(())
}

/// Puts an inline policy, in place of one of the same name.
pub(crate) fn put_policy(policies: &mut Vec<InlinePolicy>, name: &str, document: &str) -> Result<(), Error> {
    check_policy_name(name)?;
    Policy::parse(document.as_bytes(), Kind::Identity)?;
    policies.retain(|policy| policy.name != name);
    policies.push(InlinePolicy { name: name.to_owned(), document: document.to_owned() });
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    let bytes: usize = policies.iter().map(|policy| policy.document.len()).sum();
    if policies.len() > POLICIES_MAX || bytes > POLICY_BYTES_MAX {
        return Err(Error::Invalid("a user or group has at most 20 policies, of 20,480 bytes together"));
    }
    Ok(())
}

/// Takes an inline policy away.
pub(crate) fn delete_policy(policies: &mut Vec<InlinePolicy>, name: &str) -> Result<(), Error> {
    let before = policies.len();
    policies.retain(|policy| policy.name != name);
    if policies.len() == before { Err(Error::NoSuchPolicy(name.to_owned())) } else { Ok(()) }
}

/// An inline policy's document.
pub(crate) fn find_policy(policies: &[InlinePolicy], name: &str) -> Result<String, Error> {
    let found = policies.iter().find(|policy| policy.name == name);
    found.map(|policy| policy.document.clone()).ok_or_else(|| Error::NoSuchPolicy(name.to_owned()))
}
