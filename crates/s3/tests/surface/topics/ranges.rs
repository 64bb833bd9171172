//! Ranges (RFC 9110 section 14; S3 GetObject "Range" and "partNumber").

use crate::common::Form;
use crate::row::{Row, Scene, get, head, put, scene};

/// A range of the ten bytes 0 to 9, what it means, and its bytes.
type Slice = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const SLICES: &[Slice] = &[
    ("bytes=0-0", "bytes 0-0/10", "0"),
    ("bytes=0-4", "bytes 0-4/10", "01234"),
    ("bytes=3-5", "bytes 3-5/10", "345"),
    ("bytes=9-9", "bytes 9-9/10", "9"),
    ("bytes=5-", "bytes 5-9/10", "56789"),
    ("bytes=0-", "bytes 0-9/10", "0123456789"),
    ("bytes=5-100", "bytes 5-9/10", "56789"),
    ("bytes=0-9223372036854775807", "bytes 0-9/10", "0123456789"),
    ("bytes=-1", "bytes 9-9/10", "9"),
    ("bytes=-4", "bytes 6-9/10", "6789"),
    ("bytes=-10", "bytes 0-9/10", "0123456789"),
    ("bytes=-100", "bytes 0-9/10", "0123456789"),
];

/// What S3 does not take for a range, it passes over.
const NO_RANGES: &[&str] =
    &["bytes=5-2", "bytes=abc", "bytes=", "bytes=-", "bytes=1-x", "5-6", "chars=0-1", "bytes=0-1,3-4", "bytes=0-1, -1"];

fn slices() -> Vec<Row> {
    let mut rows = vec![put("/{b}/k").sends("0123456789")];
    for (range, told, bytes) in SLICES {
        let row = get("/{b}/k").with("range", *range).is(206).says("content-range", *told).gives(*bytes);
        rows.push(row.says("content-length", bytes.len().to_string()));
        let row = head("/{b}/k").with("range", *range).is(206).says("content-range", *told).gives("");
        rows.push(row.says("content-length", bytes.len().to_string()));
    }
    rows
}

fn no_ranges() -> Vec<Row> {
    let mut rows = vec![put("/{b}/k").sends("0123456789")];
    for range in NO_RANGES {
        let whole = |row: Row| row.hides("content-range").gives("0123456789");
        rows.push(whole(get("/{b}/k").with("range", *range)));
        rows.push(whole(get("/{b}/k").form(Form::Presigned(60)).loose("range", range)));
    }
    rows
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("slices", slices()),
        scene("what is no range", no_ranges()),
        scene("nothing there", [
            put("/{b}/k").sends("0123456789"),
            put("/{b}/empty"),
            get("/{b}/k").with("range", "bytes=10-").fails(416, "InvalidRange").says("content-range", "bytes */10"),
            get("/{b}/k").with("range", "bytes=10-20").fails(416, "InvalidRange"),
            get("/{b}/k").with("range", "bytes=-0").fails(416, "InvalidRange"),
            head("/{b}/k").with("range", "bytes=10-").is(416).says("content-range", "bytes */10"),
            get("/{b}/empty").with("range", "bytes=0-").fails(416, "InvalidRange"),
            get("/{b}/empty").with("range", "bytes=0-0").fails(416, "InvalidRange"),
            get("/{b}/empty").with("range", "bytes=-1").fails(416, "InvalidRange"),
        ]),
        scene("parts of what has none", [
            put("/{b}/k").sends("0123456789"),
            get("/{b}/k?partNumber=1").is(206).says("content-range", "bytes 0-9/10").gives("0123456789").hides("x-amz-mp-parts-count"),
            head("/{b}/k?partNumber=1").is(206).says("content-length", "10"),
            get("/{b}/k?partNumber=2").fails(416, "InvalidPartNumber"),
            head("/{b}/k?partNumber=2").is(416),
            get("/{b}/k?partNumber=0").fails(400, "InvalidArgument"),
            get("/{b}/k?partNumber=-1").fails(400, "InvalidArgument"),
            get("/{b}/k?partNumber=10001").fails(400, "InvalidArgument"),
            get("/{b}/k?partNumber=one").fails(400, "InvalidArgument"),
            get("/{b}/k?partNumber=1").with("range", "bytes=0-1").fails(400, "InvalidRequest"),
            head("/{b}/k?partNumber=1").with("range", "bytes=0-1").is(400),
        ]),
        scene("a range keeps its object's headers", [
            put("/{b}/k").sends("0123456789").with("content-type", "a/b").with("x-amz-meta-a", "1").keep("tag", "etag"),
            get("/{b}/k").with("range", "bytes=1-2").is(206).says("content-type", "a/b").says("x-amz-meta-a", "1").says("etag", "{tag}").says("accept-ranges", "bytes"),
            get("/{b}/k?response-content-type=c/d").with("range", "bytes=1-2").is(206).says("content-type", "c/d"),
        ]),
    ]
}
