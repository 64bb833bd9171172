//! Object lock: retention, legal holds, the default of a bucket.

use crate::common::{Form, checksum, md5_base64};
use crate::row::{Row, Scene, delete, get, head, put, scene};

const UNTIL: &str = "2090-01-01T00:00:00Z";

fn retention(mode: &str, until: &str) -> String {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
}

fn default(inner: &str) -> Row {
    put("/{c}?object-lock").sends(format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{inner}</DefaultRetention></Rule></ObjectLockConfiguration>"
    ))
}

fn locking() -> Row {
    put("/{c}").with("x-amz-bucket-object-lock-enabled", "true")
}

/// The date is `UNTIL`'s, with or without milliseconds.
fn kept(mode: &str) -> Row {
    get("/{c}/k?retention").tag("Mode", mode).has("<RetainUntilDate>2090-01-01T00:00:00")
}

fn bypass(row: Row) -> Row {
    row.with("x-amz-bypass-governance-retention", "true")
}

/// Nobody can take it off, not even to clean up behind a test.
#[rustfmt::skip]
fn compliance() -> Scene {
    let mut compliance = scene("compliance", [
        locking(),
        put("/{c}/k").sends("x").keep("id", "x-amz-version-id"),
        put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL)),
        // Stricter, and not shorter.
        put("/{c}/k?retention").sends(retention("COMPLIANCE", UNTIL)),
        kept("COMPLIANCE"),
        put("/{c}/k?retention").sends(retention("COMPLIANCE", "2080-01-01T00:00:00Z")).fails(403, "AccessDenied"),
        put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL)).fails(403, "AccessDenied"),
        put("/{c}/k?retention").sends("<Retention></Retention>").fails(403, "AccessDenied"),
        bypass(put("/{c}/k?retention").sends(retention("COMPLIANCE", "2080-01-01T00:00:00Z"))).fails(403, "AccessDenied"),
        bypass(put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL))).fails(403, "AccessDenied"),
        delete("/{c}/k?versionId={id}").fails(403, "AccessDenied"),
        bypass(delete("/{c}/k?versionId={id}")).fails(403, "AccessDenied"),
        put("/{c}/k?retention").sends(retention("COMPLIANCE", "2091-01-01T00:00:00Z")),
        get("/{c}/k?versionId={id}").gives("x"),
    ]);
    compliance.holdfast_only = true;
    compliance
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        compliance(),
        scene("buckets with and without", [
            locking(),
            get("/{c}?versioning").tag("Status", "Enabled"),
            get("/{c}?object-lock").tag("ObjectLockEnabled", "Enabled").lacks("<Rule>"),
            put("/{c}?versioning").sends(super::SUSPENDED).fails(409, "InvalidBucketState"),
            get("/{b}?object-lock").fails(404, "ObjectLockConfigurationNotFoundError"),
            put("/{b}?object-lock").sends("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>").fails(409, "InvalidBucketState"),
            put("/{b}/k").sends("x"),
            get("/{b}/k?retention").fails(400, "InvalidRequest"),
            get("/{b}/k?legal-hold").fails(400, "InvalidRequest"),
            put("/{b}/k?retention").sends(retention("GOVERNANCE", UNTIL)).fails(400, "InvalidRequest"),
            put("/{b}/k?legal-hold").sends("<LegalHold><Status>ON</Status></LegalHold>").fails(400, "InvalidRequest"),
            put("/{b}/k").sends("x").with("content-md5", md5_base64(b"x")).with("x-amz-object-lock-legal-hold", "ON").fails(400, "InvalidRequest").differs(400, "InvalidArgument", "the code of every lock header that cannot be kept"),
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}?object-lock").sends("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"),
            get("/{b}?object-lock").tag("ObjectLockEnabled", "Enabled"),
        ]),
        scene("headers of a write", [
            locking(),
            put("/{c}/k").sends("x").with("x-amz-object-lock-mode", "GOVERNANCE").fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-retain-until-date", UNTIL).fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-mode", "SOMETIMES").with("x-amz-object-lock-retain-until-date", UNTIL).fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-mode", "governance").with("x-amz-object-lock-retain-until-date", UNTIL).fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-mode", "GOVERNANCE").with("x-amz-object-lock-retain-until-date", "2001-01-01T00:00:00Z").fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-mode", "GOVERNANCE").with("x-amz-object-lock-retain-until-date", "tomorrow").fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-legal-hold", "MAYBE").fails(400, "InvalidArgument"),
            put("/{c}/k").sends("x").with("x-amz-object-lock-legal-hold", "ON").fails(400, "InvalidRequest"),
            get("/{c}/k").fails(404, "NoSuchKey"),
            put("/{c}/sum").sends("x").with("x-amz-object-lock-legal-hold", "ON").with("x-amz-checksum-crc32", checksum("crc32", b"x")),
            put("/{c}/trailer").sends("x").with("x-amz-object-lock-legal-hold", "ON").form(Form::LooseTrailer(9)).trailer("x-amz-checksum-crc32", checksum("crc32", b"x")),
            put("/{c}/k").sends("x").with("content-md5", md5_base64(b"x")).with("x-amz-object-lock-mode", "GOVERNANCE").with("x-amz-object-lock-retain-until-date", UNTIL).with("x-amz-object-lock-legal-hold", "ON").keep("id", "x-amz-version-id"),
            head("/{c}/k").says("x-amz-object-lock-mode", "GOVERNANCE").says("x-amz-object-lock-retain-until-date", "*").says("x-amz-object-lock-legal-hold", "ON"),
            get("/{c}/k").says("x-amz-object-lock-mode", "GOVERNANCE").says("x-amz-object-lock-legal-hold", "ON"),
            kept("GOVERNANCE"),
            // A copy has no lock of its source's.
            put("/{c}/copy").with("x-amz-copy-source", "/{c}/k"),
            head("/{c}/copy").hides("x-amz-object-lock-mode").hides("x-amz-object-lock-legal-hold"),
        ]),
        scene("retention", [
            locking(),
            put("/{c}/k").sends("x").keep("id", "x-amz-version-id"),
            get("/{c}/k?retention").fails(404, "NoSuchObjectLockConfiguration"),
            get("/{c}/none?retention").fails(404, "NoSuchKey"),
            put("/{c}/k?retention").sends("<Retention><Mode>GOVERNANCE</Mode></Retention>").fails(400, "MalformedXML"),
            put("/{c}/k?retention").sends(retention("SOMETIMES", UNTIL)).fails(400, "MalformedXML"),
            put("/{c}/k?retention").sends(retention("GOVERNANCE", "2001-01-01T00:00:00Z")).fails(400, "InvalidArgument"),
            put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL)).with("content-md5", md5_base64(b"other")).fails(400, "BadDigest"),
            get("/{c}/k?retention").fails(404, "NoSuchObjectLockConfiguration"),
            put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL)),
            kept("GOVERNANCE"),
            delete("/{c}/k?versionId={id}").fails(403, "AccessDenied"),
            put("/{c}/k?retention").sends(retention("GOVERNANCE", "2091-01-01T00:00:00Z")),
            put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL)).fails(403, "AccessDenied"),
            bypass(put("/{c}/k?retention").sends(retention("GOVERNANCE", UNTIL))),
            kept("GOVERNANCE"),
            // A marker hides it and harms nothing.
            delete("/{c}/k").is(204).says("x-amz-delete-marker", "true").keep("marker", "x-amz-version-id"),
            get("/{c}/k?versionId={id}").gives("x"),
            put("/{c}/k?retention&versionId={marker}").sends(retention("GOVERNANCE", UNTIL)).fails(405, "MethodNotAllowed"),
            bypass(delete("/{c}/k?versionId={id}")).is(204),
            get("/{c}/k?versionId={id}").fails(404, "NoSuchVersion"),
        ]),
        scene("legal hold", [
            locking(),
            put("/{c}/k").sends("x").keep("id", "x-amz-version-id"),
            get("/{c}/k?legal-hold").fails(404, "NoSuchObjectLockConfiguration").differs(200, "", "S3 answers 404 NoSuchObjectLockConfiguration until one was put"),
            put("/{c}/k?legal-hold").sends("<LegalHold><Status>PERHAPS</Status></LegalHold>").fails(400, "MalformedXML"),
            put("/{c}/k?legal-hold").sends("<LegalHold><Status>ON</Status></LegalHold>").with("x-amz-checksum-sha1", checksum("sha1", b"other")).fails(400, "BadDigest"),
            head("/{c}/k").hides("x-amz-object-lock-legal-hold"),
            put("/{c}/k?legal-hold").sends("<LegalHold><Status>ON</Status></LegalHold>"),
            get("/{c}/k?legal-hold").tag("Status", "ON"),
            head("/{c}/k").says("x-amz-object-lock-legal-hold", "ON"),
            delete("/{c}/k?versionId={id}").fails(403, "AccessDenied"),
            bypass(delete("/{c}/k?versionId={id}")).fails(403, "AccessDenied"),
            put("/{c}/k?legal-hold").sends("<LegalHold><Status>OFF</Status></LegalHold>"),
            get("/{c}/k?legal-hold").tag("Status", "OFF"),
            delete("/{c}/k?versionId={id}").is(204),
            get("/{c}/k?legal-hold").fails(404, "NoSuchKey"),
        ]),
        scene("the default of a bucket", [
            locking(),
            default("<Mode>GOVERNANCE</Mode><Days>0</Days>").fails(400, "InvalidArgument"),
            default("<Mode>GOVERNANCE</Mode><Days>-1</Days>").fails(400, "InvalidArgument"),
            default("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>").fails(400, "MalformedXML"),
            default("<Mode>GOVERNANCE</Mode>").fails(400, "MalformedXML"),
            default("<Days>1</Days>").fails(400, "MalformedXML"),
            default("<Mode>SOMETIMES</Mode><Days>1</Days>").fails(400, "MalformedXML"),
            put("/{c}?object-lock").sends("<ObjectLockConfiguration><ObjectLockEnabled>Perhaps</ObjectLockEnabled></ObjectLockConfiguration>").fails(400, "MalformedXML"),
            default("<Mode>GOVERNANCE</Mode><Days>3</Days>"),
            get("/{c}?object-lock").tag("Days", "3").tag("Mode", "GOVERNANCE"),
            put("/{c}/k").sends("x").keep("id", "x-amz-version-id"),
            head("/{c}/k").says("x-amz-object-lock-mode", "GOVERNANCE").says("x-amz-object-lock-retain-until-date", "*"),
            get("/{c}/k?retention").tag("Mode", "GOVERNANCE").has("<RetainUntilDate>"),
            delete("/{c}/k?versionId={id}").fails(403, "AccessDenied"),
            default("<Mode>GOVERNANCE</Mode><Years>1</Years>"),
            get("/{c}?object-lock").tag("Years", "1").lacks("<Days>"),
        ]),
    ]
}
