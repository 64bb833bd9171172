//! CopyObject: directives, conditions, bad sources.

use super::{FUTURE, PAST};
use crate::row::{Scene, delete, get, head, put, scene};

const OTHER: &str = "\"00000000000000000000000000000000\"";

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("a copy is as its source", [
            put("/{b}/a b").sends("body").with("x-amz-meta-a", "1").with("content-type", "x/y").with("cache-control", "c"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/a%20b").has("<ETag>").has("<LastModified>"),
            get("/{b}/copy").gives("body").says("x-amz-meta-a", "1").says("content-type", "x/y").says("cache-control", "c"),
            put("/{b}/copy2").with("x-amz-copy-source", "{b}/a%20b"),
            get("/{b}/copy2").gives("body"),
            put("/{b}/copy3").with("x-amz-copy-source", "/{b}/a+b").fails(404, "NoSuchKey"),
            put("/{b}/copy3").with("x-amz-copy-source", "%2F{b}%2Fa%20b"),
            get("/{b}/copy3").gives("body"),
            delete("/{b}/a b").is(204),
            get("/{b}/copy").gives("body"),
        ]),
        scene("to another bucket", [
            put("/{c}"),
            put("/{b}/k").sends("body"),
            put("/{c}/k").with("x-amz-copy-source", "/{b}/k"),
            get("/{c}/k").gives("body"),
        ]),
        scene("metadata directives", [
            put("/{b}/k").sends("x").with("x-amz-meta-a", "1").with("content-type", "x/y"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "COPY").with("x-amz-meta-b", "2"),
            head("/{b}/copy").says("x-amz-meta-a", "1").hides("x-amz-meta-b"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "REPLACE").with("x-amz-meta-b", "2").with("content-type", "p/q"),
            head("/{b}/copy").says("x-amz-meta-b", "2").hides("x-amz-meta-a").says("content-type", "p/q"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "REPLACE"),
            head("/{b}/copy").hides("x-amz-meta-a").says("content-type", "binary/octet-stream"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "MERGE").fails(400, "InvalidArgument").differs(501, "NotImplemented", "a header's value that is not understood is refused"),
        ]),
        scene("onto itself", [
            put("/{b}/k").sends("x").with("x-amz-meta-a", "1"),
            put("/{b}/k").with("x-amz-copy-source", "/{b}/k").fails(400, "InvalidRequest"),
            put("/{b}/k").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "COPY").fails(400, "InvalidRequest"),
            put("/{b}/k").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "REPLACE").with("x-amz-meta-a", "2"),
            get("/{b}/k").gives("x").says("x-amz-meta-a", "2"),
        ]),
        scene("tagging directives", [
            put("/{b}/k").sends("x").with("x-amz-tagging", "a=1"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k"),
            get("/{b}/copy?tagging").has("<Key>a</Key>"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-tagging-directive", "REPLACE").with("x-amz-tagging", "z=9"),
            get("/{b}/copy?tagging").has("<Key>z</Key>").lacks("<Key>a</Key>"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-tagging-directive", "REPLACE"),
            get("/{b}/copy?tagging").lacks("<Key>"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-metadata-directive", "REPLACE").with("x-amz-meta-a", "1"),
            get("/{b}/copy?tagging").has("<Key>a</Key>"),
        ]),
        scene("sources that are not there", [
            put("/{b}/k").sends("x"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/none").fails(404, "NoSuchKey"),
            put("/{b}/copy").with("x-amz-copy-source", "/{c}/k").fails(404, "NoSuchBucket"),
            put("/{c}/copy").with("x-amz-copy-source", "/{b}/k").fails(404, "NoSuchBucket"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}").fails(400, "InvalidArgument"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/").fails(400, "InvalidArgument").differs(404, "NoSuchKey", "the framework takes the empty key"),
            put("/{b}/copy").with("x-amz-copy-source", "").fails(400, "InvalidArgument").differs(400, "InvalidRequest", "the framework takes an empty header for none"),
            put("/{b}/copy").with("x-amz-copy-source", "/").fails(400, "InvalidArgument"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k?versionId=3").fails(400, "InvalidArgument"),
            get("/{b}/copy").fails(404, "NoSuchKey"),
        ]),
        scene("conditions on the source", [
            put("/{b}/k").sends("x").keep("tag", "etag"),
            put("/{b}/1").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-match", "{tag}"),
            put("/{b}/2").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-match", OTHER).fails(412, "PreconditionFailed"),
            put("/{b}/2").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-none-match", OTHER),
            put("/{b}/3").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-none-match", "{tag}").fails(412, "PreconditionFailed"),
            put("/{b}/3").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-none-match", "*").fails(412, "PreconditionFailed"),
            put("/{b}/3").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-modified-since", PAST),
            put("/{b}/4").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-unmodified-since", PAST).fails(412, "PreconditionFailed"),
            put("/{b}/4").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-unmodified-since", FUTURE),
            // The two pairs that S3 names: a tag that holds outweighs the date.
            put("/{b}/5").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-match", "{tag}").with("x-amz-copy-source-if-unmodified-since", PAST),
            put("/{b}/6").with("x-amz-copy-source", "/{b}/k").with("x-amz-copy-source-if-none-match", "{tag}").with("x-amz-copy-source-if-modified-since", PAST).fails(412, "PreconditionFailed"),
            head("/{b}/6").is(404),
        ]),
        scene("conditions on the target", [
            put("/{b}/k").sends("new"),
            put("/{b}/t").with("x-amz-copy-source", "/{b}/k").with("if-none-match", "*").keep("tag", "<ETag>"),
            put("/{b}/t").with("x-amz-copy-source", "/{b}/k").with("if-none-match", "*").fails(412, "PreconditionFailed"),
            put("/{b}/t").with("x-amz-copy-source", "/{b}/k").with("if-match", OTHER).fails(412, "PreconditionFailed"),
            put("/{b}/t").with("x-amz-copy-source", "/{b}/k").with("if-match", "{tag}"),
            put("/{b}/none").with("x-amz-copy-source", "/{b}/k").with("if-match", "{tag}").fails(404, "NoSuchKey"),
        ]),
        scene("versions of the source", [
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}/k").sends("one").keep("one", "x-amz-version-id"),
            put("/{b}/k").sends("two").keep("two", "x-amz-version-id"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k?versionId={one}").says("x-amz-copy-source-version-id", "{one}"),
            get("/{b}/copy").gives("one"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").says("x-amz-copy-source-version-id", "{two}").says("x-amz-version-id", "*"),
            // An old version onto its own key makes it the newest.
            put("/{b}/k").with("x-amz-copy-source", "/{b}/k?versionId={one}"),
            get("/{b}/k").gives("one"),
            delete("/{b}/k").is(204).keep("marker", "x-amz-version-id"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").fails(404, "NoSuchKey"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k?versionId={marker}").fails(400, "InvalidRequest"),
        ]),
    ]
}
