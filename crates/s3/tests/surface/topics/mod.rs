//! The table, a file a topic. A row whose answer is other than S3's is marked `differs`.

mod acl;
mod buckets;
mod checksums;
mod conditions;
mod configs;
mod copies;
mod cors;
mod deletes;
mod lifecycle;
mod limits;
mod listing;
mod lock;
mod methods;
mod multipart;
mod names;
mod objects;
mod operations;
mod policies;
mod ranges;
mod signatures;
mod tagging;
mod uploads;
mod versions;
mod xml;

use crate::row::Scene;

/// Every topic and its scenes.
pub fn all() -> Vec<(&'static str, Vec<Scene>)> {
    vec![
        ("acl", acl::scenes()),
        ("buckets", buckets::scenes()),
        ("checksums", checksums::scenes()),
        ("conditions", conditions::scenes()),
        ("configs", configs::scenes()),
        ("copies", copies::scenes()),
        ("cors", cors::scenes()),
        ("deletes", deletes::scenes()),
        ("lifecycle", lifecycle::scenes()),
        ("limits", limits::scenes()),
        ("listing", listing::scenes()),
        ("lock", lock::scenes()),
        ("methods", methods::scenes()),
        ("multipart", multipart::scenes()),
        ("names", names::scenes()),
        ("objects", objects::scenes()),
        ("operations", operations::scenes()),
        ("policies", policies::scenes()),
        ("ranges", ranges::scenes()),
        ("signatures", signatures::scenes()),
        ("tagging", tagging::scenes()),
        ("uploads", uploads::scenes()),
        ("versions", versions::scenes()),
        ("xml", xml::scenes()),
    ]
}

/// A bucket's versions switched on, and off again.
const ENABLED: &str = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>";
const SUSPENDED: &str = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";

/// Dates of HTTP long before and long after any run.
const PAST: &str = "Mon, 01 Jan 2001 00:00:00 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
