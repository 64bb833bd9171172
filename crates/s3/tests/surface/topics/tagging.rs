//! Tags of objects and of buckets.

use crate::common::sign::sha256_hex;
use crate::common::{Form, checksum, md5_base64};
use crate::row::{Row, Scene, delete, get, head, put, scene};

fn document(pairs: &[(&str, &str)]) -> String {
    let tags: String =
        pairs.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")).collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

fn tag(key: &str, value: &str) -> Row {
    put("/{b}/k?tagging").sends(document(&[(key, value)]))
}

fn numbered(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
    document(&names.iter().map(|name| (name.as_str(), "v")).collect::<Vec<_>>())
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("of an object, by header", [
            put("/{b}/k").sends("x").with("x-amz-tagging", "a=1&b=two%20words&c"),
            head("/{b}/k").says("x-amz-tagging-count", "3"),
            get("/{b}/k").says("x-amz-tagging-count", "3"),
            get("/{b}/k?tagging").tags("Key", &["a", "b", "c"]).tags("Value", &["1", "two words", ""]),
            put("/{b}/bad").sends("x").with("x-amz-tagging", "a=1&a=2").fails(400, "InvalidArgument"),
            put("/{b}/bad").sends("x").with("x-amz-tagging", "=1").fails(400, "InvalidTag"),
            put("/{b}/bad").sends("x").with("x-amz-tagging", "a=%7B").fails(400, "InvalidTag"),
            put("/{b}/bad").sends("x").with("x-amz-tagging", "a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1").fails(400, "BadRequest"),
            get("/{b}/bad").fails(404, "NoSuchKey"),
            put("/{b}/k").sends("y"),
            head("/{b}/k").hides("x-amz-tagging-count"),
        ]),
        scene("of an object, by document", [
            put("/{b}/k").sends("x"),
            get("/{b}/k?tagging").has("<TagSet").lacks("<Tag>"),
            tag("c", ""),
            get("/{b}/k?tagging").tag("Key", "c").tag("Value", ""),
            put("/{b}/k?tagging").sends(document(&[("a", "1"), ("b", "2")])),
            get("/{b}/k?tagging").tags("Key", &["a", "b"]),
            put("/{b}/k?tagging").sends(document(&[])),
            get("/{b}/k?tagging").lacks("<Tag>"),
            tag("a", "1"),
            delete("/{b}/k?tagging").is(204),
            get("/{b}/k?tagging").lacks("<Tag>"),
            head("/{b}/k").hides("x-amz-tagging-count"),
            delete("/{b}/k?tagging").is(204),
        ]),
        scene("a document is as promised, or nothing is changed", [
            put("/{b}/k").sends("x"),
            tag("a", "1").with("content-md5", md5_base64(b"other")).fails(400, "BadDigest"),
            tag("a", "1").with("content-md5", "no digest").fails(400, "InvalidDigest"),
            tag("a", "1").with("x-amz-checksum-sha256", checksum("sha256", b"other")).fails(400, "BadDigest"),
            tag("a", "1").hash(sha256_hex(b"other")).fails(400, "XAmzContentSHA256Mismatch"),
            get("/{b}/k?tagging").lacks("<Tag>"),
            tag("a", "1").with("content-md5", md5_base64(document(&[("a", "1")]).as_bytes())).with("x-amz-checksum-crc32", checksum("crc32", document(&[("a", "1")]).as_bytes())),
            tag("a", "2").form(Form::Loose),
            tag("a", "3").form(Form::LooseTrailer(9)).trailer("x-amz-checksum-crc32", checksum("crc32", b"x")).fails(400, "InvalidArgument"),
            get("/{b}/k?tagging").tag("Value", "2"),
            put("/{b}/k?acl").sends("<AccessControlPolicy/>").with("content-md5", md5_base64(b"other")).fails(400, "BadDigest"),
        ]),
        scene("what a tag may be", [
            put("/{b}/k").sends("x"),
            tag("c-+=._:/@ 1", "v-+=._:/@ 1"),
            tag("\u{e4}\u{4e2d}", "\u{e4}"),
            get("/{b}/k?tagging").tag("Key", "\u{e4}\u{4e2d}"),
            tag(&"k".repeat(128), &"v".repeat(256)),
            tag(&"k".repeat(129), "v").fails(400, "InvalidTag"),
            tag("k", &"v".repeat(257)).fails(400, "InvalidTag"),
            tag("", "v").fails(400, "InvalidTag"),
            tag("a#b", "v").fails(400, "InvalidTag"),
            tag("a", "{{}").fails(400, "InvalidTag"),
            tag("aws:mine", "v").fails(400, "InvalidTag"),
            put("/{b}/k?tagging").sends(document(&[("c", "1"), ("c", "2")])).fails(400, "InvalidTag"),
            put("/{b}/k?tagging").sends(numbered(10)),
            put("/{b}/k?tagging").sends(numbered(11)).fails(400, "BadRequest"),
            put("/{b}/k?tagging").sends("<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>").fails(400, "MalformedXML"),
            put("/{b}/k?tagging").sends("<Tagging></Tagging>").fails(400, "MalformedXML"),
        ]),
        scene("of what is not there", [
            get("/{b}/none?tagging").fails(404, "NoSuchKey"),
            put("/{b}/none?tagging").sends(document(&[])).fails(404, "NoSuchKey"),
            delete("/{b}/none?tagging").fails(404, "NoSuchKey"),
            get("/{c}/k?tagging").fails(404, "NoSuchBucket"),
        ]),
        scene("of versions", [
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}/k").sends("one").keep("one", "x-amz-version-id"),
            put("/{b}/k").sends("two").keep("two", "x-amz-version-id"),
            put("/{b}/k?tagging&versionId={one}").sends(document(&[("a", "1")])).says("x-amz-version-id", "{one}"),
            get("/{b}/k?tagging&versionId={one}").tag("Key", "a").says("x-amz-version-id", "{one}"),
            get("/{b}/k?tagging").lacks("<Tag>").says("x-amz-version-id", "{two}"),
            delete("/{b}/k?tagging&versionId={one}").is(204).says("x-amz-version-id", "{one}"),
            get("/{b}/k?tagging&versionId={one}").lacks("<Tag>"),
            delete("/{b}/k").is(204).keep("marker", "x-amz-version-id"),
            get("/{b}/k?tagging").fails(404, "NoSuchKey"),
            get("/{b}/k?tagging&versionId={marker}").fails(405, "MethodNotAllowed"),
        ]),
        scene("of a bucket", [
            get("/{b}?tagging").fails(404, "NoSuchTagSet"),
            delete("/{b}?tagging").is(204),
            put("/{b}?tagging").sends(document(&[("team", "red")])),
            get("/{b}?tagging").tag("Key", "team").tag("Value", "red"),
            put("/{b}?tagging").sends(numbered(50)),
            put("/{b}?tagging").sends(numbered(51)).fails(400, "BadRequest"),
            put("/{b}?tagging").sends(document(&[("a", "1"), ("a", "2")])).fails(400, "InvalidTag"),
            delete("/{b}?tagging").is(204),
            get("/{b}?tagging").fails(404, "NoSuchTagSet"),
        ]),
    ]
}
