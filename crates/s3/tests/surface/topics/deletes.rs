//! DeleteObjects: many at once, each with its own outcome.

use crate::common::{checksum, md5_base64};
use crate::row::{Row, Scene, get, post, put, scene};

/// A deletion with the digest that S3 asks for.
fn many(document: &str) -> Row {
    post("/{b}?delete").sends(document).with("content-md5", md5_base64(document.as_bytes()))
}

fn entries(count: usize) -> String {
    let objects: String = (0..count).map(|number| format!("<Object><Key>{number}</Key></Object>")).collect();
    format!("<Delete>{objects}<Quiet>true</Quiet></Delete>")
}

const B: &str = "<Delete><Object><Key>b</Key></Object></Delete>";

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("some there, some not", [
            put("/{b}/a").sends("x"),
            put("/{b}/b").sends("x"),
            many("<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object></Delete>").tags("Key", &["a", "none"]).lacks("<Error>"),
            get("/{b}/a").fails(404, "NoSuchKey"),
            many("<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>").lacks("<Deleted>"),
            get("/{b}/b").fails(404, "NoSuchKey"),
        ]),
        scene("names in XML", [
            put("/{b}/c&<d>\"").sends("x"),
            put("/{b}/ sp ").sends("x"),
            many("<Delete><Object><Key>c&amp;&lt;d&gt;&quot;</Key></Object></Delete>").tag("Key", "c&<d>\""),
            get("/{b}/c&<d>\"").fails(404, "NoSuchKey"),
            many("<Delete><Object><Key> sp </Key></Object></Delete>"),
            get("/{b}/ sp ").fails(404, "NoSuchKey"),
            put("/{b}/\u{e4}").sends("x"),
            many("<Delete><Object><Key>&#xe4;</Key></Object></Delete>"),
            get("/{b}/\u{e4}").fails(404, "NoSuchKey"),
        ]),
        scene("digests", [
            put("/{b}/b").sends("x"),
            post("/{b}?delete").sends(B).with("content-md5", md5_base64(b"other")).fails(400, "BadDigest"),
            post("/{b}?delete").sends(B).with("x-amz-checksum-sha256", checksum("sha256", b"other")).fails(400, "BadDigest"),
            post("/{b}?delete").sends(B).with("content-md5", "no digest").fails(400, "InvalidDigest"),
            get("/{b}/b").gives("x"),
            post("/{b}?delete").sends(B).with("x-amz-checksum-crc32", checksum("crc32", B.as_bytes())),
            get("/{b}/b").fails(404, "NoSuchKey"),
            post("/{b}?delete").sends(B).fails(400, "InvalidRequest").differs(200, "", "no digest is asked for: the signature has one"),
        ]),
        scene("a stranger's", [
            put("/{b}/b").sends("x"),
            post("/{b}?delete").sends(B).anonymous().fails(403, "AccessDenied"),
            post("/{c}?delete").sends(B).anonymous().is(403),
            get("/{b}/b").gives("x"),
        ]),
        scene("how many", [
            many(&entries(1000)).lacks("<Error>"),
            many(&entries(1001)).fails(400, "MalformedXML"),
            many("<Delete></Delete>").fails(400, "MalformedXML"),
            many("<Delete><Quiet>true</Quiet></Delete>").fails(400, "MalformedXML"),
        ]),
        scene("no such bucket", [
            post("/{c}?delete").sends(B).with("content-md5", md5_base64(B.as_bytes())).fails(404, "NoSuchBucket"),
        ]),
        scene("versions and markers", [
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}/k").sends("one").keep("one", "x-amz-version-id"),
            many("<Delete><Object><Key>k</Key></Object></Delete>").tag("DeleteMarker", "true").keep("marker", "<DeleteMarkerVersionId>"),
            get("/{b}/k").fails(404, "NoSuchKey").says("x-amz-delete-marker", "true").says("x-amz-version-id", "{marker}"),
            post("/{b}?delete").sends("<Delete><Object><Key>k</Key><VersionId>{marker}</VersionId></Object></Delete>").fails(400, "InvalidRequest").differs(200, "", "no digest is asked for: the signature has one"),
            get("/{b}/k").gives("one").says("x-amz-version-id", "{one}"),
        ]),
        scene("outcomes of their own", [
            put("/{b}/k").sends("x"),
            many("<Delete><Object><Key>k</Key><ETag>\"0\"</ETag></Object><Object><Key>none</Key></Object></Delete>").tag("Code", "PreconditionFailed").has("<Deleted><Key>none</Key></Deleted>"),
            get("/{b}/k").gives("x"),
            many("<Delete><Object><Key>k</Key><VersionId>nonsense</VersionId></Object></Delete>").tag("Code", "NoSuchVersion").differs(200, "", "the code of the entry is InvalidArgument, S3's NoSuchVersion"),
        ]),
    ]
}
