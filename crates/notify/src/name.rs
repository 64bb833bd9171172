//! The names of events, and the patterns that configurations list.

use serde::{Deserialize, Serialize};

/// What happened. The order is part of the stored format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventName {
    /// PutObject.
    Put,
    /// An upload by HTML form.
    Post,
    /// CopyObject.
    Copy,
    /// CompleteMultipartUpload.
    CompleteMultipartUpload,
    /// An object or a version was removed for good.
    Delete,
    /// A delete marker hides the object now.
    DeleteMarkerCreated,
    /// PutObjectTagging.
    TaggingPut,
    /// DeleteObjectTagging.
    TaggingDelete,
    /// PutObjectAcl changed the ACL.
    AclPut,
    /// A lifecycle rule removed an object or a version for good.
    Expired,
    /// A lifecycle rule hid the object by a delete marker.
    ExpiredMarker,
    /// A configuration was put; no rule asks for it.
    Test,
}

impl EventName {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Put,
        Self::Post,
        Self::Copy,
        Self::CompleteMultipartUpload,
        Self::Delete,
        Self::DeleteMarkerCreated,
        Self::TaggingPut,
        Self::TaggingDelete,
        Self::AclPut,
        Self::Expired,
        Self::ExpiredMarker,
        Self::Test,
    ];

    /// As configurations spell it. Messages leave the `s3:` out.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "s3:ObjectCreated:Put",
            Self::Post => "s3:ObjectCreated:Post",
            Self::Copy => "s3:ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "s3:ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "s3:ObjectRemoved:Delete",
            Self::DeleteMarkerCreated => "s3:ObjectRemoved:DeleteMarkerCreated",
            Self::TaggingPut => "s3:ObjectTagging:Put",
            Self::TaggingDelete => "s3:ObjectTagging:Delete",
            Self::AclPut => "s3:ObjectAcl:Put",
            Self::Expired => "s3:LifecycleExpiration:Delete",
            Self::ExpiredMarker => "s3:LifecycleExpiration:DeleteMarkerCreated",
            Self::Test => "s3:TestEvent",
        }
    }

    /// The version of the message's structure: 2.3 for tags, ACLs and lifecycle, else 2.1.
    pub(crate) fn message_version(self) -> &'static str {
        match self {
            Self::TaggingPut | Self::TaggingDelete | Self::AclPut | Self::Expired | Self::ExpiredMarker => "2.3",
            _ => "2.1",
        }
    }
}

/// What a configuration may list ("Supported event types for SQS, SNS, and Lambda").
const KNOWN: [&str; 27] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:ObjectAcl:Put",
];

/// Whether S3 has the event or family of events.
pub(crate) fn is_known(pattern: &str) -> bool {
    KNOWN.contains(&pattern)
}

/// Whether `pattern` asks for the event `name`.
pub(crate) fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => pattern == name,
    }
}

/// Whether some event is asked for by both patterns.
pub(crate) fn share(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_once() {
        for (i, name) in EventName::ALL.iter().enumerate() {
            assert_eq!(is_known(name.as_str()), *name != EventName::Test, "{name:?}");
            assert!(EventName::ALL[..i].iter().all(|other| other.as_str() != name.as_str()));
        }
    }

    #[test]
    fn patterns() {
        // (pattern, other, covers, share)
        let table = [
            ("s3:ObjectCreated:*", "s3:ObjectCreated:Put", true, true),
            ("s3:ObjectCreated:Put", "s3:ObjectCreated:*", false, true),
            ("s3:ObjectCreated:*", "s3:ObjectCreated:*", true, true),
            ("s3:ObjectCreated:Put", "s3:ObjectCreated:Post", false, false),
            ("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", false, false),
            ("s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated", false, false),
            ("s3:LifecycleTransition", "s3:LifecycleTransition", true, true),
        ];
        for (a, b, expected, both) in table {
            assert_eq!((covers(a, b), share(a, b)), (expected, both), "{a} {b}");
        }
    }
}
