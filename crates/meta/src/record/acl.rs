//! Access control lists of objects.

use serde::{Deserialize, Serialize};

/// Who besides the owner may do what with an object, or a bucket, by its ACL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(pub Vec<AclGrant>);

/// One line of an ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclGrant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: AclPermission,
}

/// Whom an ACL grants something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// A user, by name.
    User(String),
    /// Everybody, signed or not.
    AllUsers,
    /// Everybody who has an access key.
    AuthenticatedUsers,
    /// What delivers access logs: nothing here does.
    LogDelivery,
}

/// What an ACL grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclPermission {
    /// All of the others.
    FullControl,
    /// Read the object, or list the bucket.
    Read,
    /// Write and delete objects of the bucket.
    Write,
    /// Read the ACL.
    ReadAcp,
    /// Write the ACL.
    WriteAcp,
}
