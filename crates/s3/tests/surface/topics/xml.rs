//! Documents that are none, in each operation that takes one.

use crate::common::{checksum, md5_base64};
use crate::row::{Row, Scene, call, get, post, put, scene};

/// Method and target, and a document that the operation takes.
#[rustfmt::skip]
const TAKERS: &[(&str, &str, &str)] = &[
    ("POST", "/{b}?delete", "<Delete><Object><Key>other</Key></Object></Delete>"),
    ("PUT", "/{c}", "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"),
    ("PUT", "/{b}?versioning", super::ENABLED),
    ("PUT", "/{b}?tagging", "<Tagging><TagSet></TagSet></Tagging>"),
    ("PUT", "/{b}?cors", "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"),
    ("PUT", "/{b}?lifecycle", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"),
    ("PUT", "/{b}?website", "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"),
    ("PUT", "/{b}?encryption", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"),
    ("PUT", "/{b}?ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"),
    ("PUT", "/{b}?publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"),
    ("PUT", "/{b}?object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"),
    ("PUT", "/{b}/k?tagging", "<Tagging><TagSet></TagSet></Tagging>"),
    ("PUT", "/{b}/k?retention", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2090-01-01T00:00:00Z</RetainUntilDate></Retention>"),
    ("PUT", "/{b}/k?legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>"),
    ("POST", "/{b}/k?uploadId={id}", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{one}</ETag></Part></CompleteMultipartUpload>"),
];

fn refused(method: &'static str, target: &str, document: &str) -> Row {
    let row = call(method, target).sends(document).fails(400, "MalformedXML");
    // A digest is of the text that is sent: of a variable's value, not of its name.
    if document.contains('{') { row } else { row.with("content-md5", md5_base64(document.as_bytes())) }
}

/// A bucket in which each of the documents has something to be about.
fn prepared() -> Vec<Row> {
    vec![
        put("/{b}?versioning").sends(super::ENABLED),
        put("/{b}/k").sends("x"),
        post("/{b}/k?uploads").keep("id", "<UploadId>"),
        put("/{b}/k?partNumber=1&uploadId={id}").sends("x").keep("one", "etag"),
    ]
}

/// Each document cut short, in another's place, and no document.
fn wrong() -> Vec<Row> {
    let mut rows = prepared();
    for (method, target, document) in TAKERS {
        let cut: String = document.chars().take(document.len() - 4).collect();
        rows.push(refused(method, target, &cut));
        rows.push(refused(method, target, "<Other><A>1</A></Other>"));
        rows.push(refused(method, target, "no document"));
    }
    rows
}

/// Each document as some clients write it.
fn right() -> Vec<Row> {
    let mut rows = prepared();
    rows.push(put("/{b}?object-lock").sends(TAKERS[10].2));
    for (method, target, document) in TAKERS {
        let document = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a comment -->\n{document}\n");
        rows.push(call(method, *target).sends(&document));
    }
    rows
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]><Delete><Object><Key>&c;</Key></Object></Delete>";
    let outside = "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&f;</Key></Object></Delete>";
    let deep = format!("{}{}", "<Delete>".repeat(10_000), "</Delete>".repeat(10_000));
    vec![
        scene("documents that are none", wrong()),
        scene("documents as they come", right()),
        scene("documents that would do harm", [
            refused("POST", "/{b}?delete", laughs),
            refused("POST", "/{b}?delete", outside),
            refused("POST", "/{b}?delete", &deep),
            refused("POST", "/{b}?delete", "<Delete><Object><Key>a</Key></Object><Delete>"),
            refused("POST", "/{b}?delete", "<Delete><Object></Object></Delete>"),
            refused("POST", "/{b}?delete", "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>"),
            get("/{b}").is(200),
        ]),
        scene("documents in other clothes", [
            put("/{b}?versioning").sends("<VersioningConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\n  <Status>Enabled</Status>\n</VersioningConfiguration>"),
            put("/{b}?versioning").sends("<VersioningConfiguration><Status><![CDATA[Enabled]]></Status></VersioningConfiguration>").differs(400, "MalformedXML", "the framework does not read CDATA"),
            put("/{b}?versioning").sends("<a:VersioningConfiguration xmlns:a=\"http://s3.amazonaws.com/doc/2006-03-01/\"><a:Status>Enabled</a:Status></a:VersioningConfiguration>").differs(400, "MalformedXML", "the framework knows no prefixes"),
            post("/{b}?delete").sends("<Delete><Object><Key><![CDATA[a]]></Key></Object></Delete>").has("<Deleted>").differs(200, "", "the framework does not read CDATA: the entry is refused"),
            get("/{b}?versioning").tag("Status", "Enabled"),
            put("/{b}?versioning").sends("\u{feff}<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
            get("/{b}?versioning").tag("Status", "Enabled"),
        ]),
        scene("digests of documents", [
            put("/{b}?versioning").sends(super::ENABLED).with("content-md5", md5_base64(b"other")).fails(400, "BadDigest"),
            put("/{b}?versioning").sends(super::ENABLED).with("x-amz-checksum-crc32", checksum("crc32", b"other")).fails(400, "BadDigest"),
            put("/{b}?versioning").sends(super::ENABLED).with("content-md5", "no digest").fails(400, "InvalidDigest"),
            get("/{b}?versioning").lacks("Status"),
            put("/{b}?versioning").sends(super::ENABLED).with("content-md5", md5_base64(super::ENABLED.as_bytes())),
            get("/{b}?versioning").tag("Status", "Enabled"),
        ]),
    ]
}
