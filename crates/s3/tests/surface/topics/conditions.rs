//! Preconditions: of reads, of writes, of deletes (RFC 9110 section 13; S3 "Conditional requests").

use super::{FUTURE, PAST};
use crate::common::Form;
use crate::row::{Row, Scene, Who, delete, get, head, put, scene};

/// A condition on an object whose ETag is `{tag}` and date `{date}`; the status of a read.
type Condition = (&'static [(&'static str, &'static str)], u16);

const OTHER: &str = "\"00000000000000000000000000000000\"";

#[rustfmt::skip]
const READS: &[Condition] = &[
    (&[("if-match", "{tag}")], 200),
    (&[("if-match", "*")], 200),
    (&[("if-match", OTHER)], 412),
    (&[("if-none-match", "{tag}")], 304),
    (&[("if-none-match", "W/{tag}")], 304),
    (&[("if-none-match", "*")], 304),
    (&[("if-none-match", OTHER)], 200),
    (&[("if-modified-since", "{date}")], 304),
    (&[("if-modified-since", PAST)], 200),
    (&[("if-unmodified-since", PAST)], 412),
    (&[("if-unmodified-since", "{date}")], 200),
    (&[("if-unmodified-since", FUTURE)], 200),
    // A tag that matches outweighs a date that does not.
    (&[("if-match", "{tag}"), ("if-unmodified-since", PAST)], 200),
    (&[("if-match", OTHER), ("if-unmodified-since", FUTURE)], 412),
    (&[("if-none-match", OTHER), ("if-modified-since", "{date}")], 200),
    (&[("if-none-match", "{tag}"), ("if-modified-since", PAST)], 304),
    (&[("if-match", "{tag}"), ("if-none-match", "{tag}")], 304),
    (&[("if-match", OTHER), ("if-none-match", "{tag}")], 412),
];

fn reads() -> Vec<Row> {
    let mut rows = vec![put("/{b}/k").sends("x").keep("tag", "etag"), head("/{b}/k").keep("date", "last-modified")];
    for (headers, status) in READS {
        for method in [get, head] {
            let row = headers.iter().fold(method("/{b}/k"), |row, (name, value)| row.with(name, *value)).is(*status);
            rows.push(if *status == 304 { row.gives("").says("etag", "{tag}") } else { row });
        }
    }
    rows
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("reads", reads()),
        scene("reads in unusual words", [
            put("/{b}/k").sends("x").keep("tag", "etag"),
            get("/{b}/k").with("if-match", OTHER).fails(412, "PreconditionFailed"),
            get("/{b}/k").with("if-modified-since", "yesterday").gives("x"),
            get("/{b}/k").with("if-unmodified-since", "yesterday").gives("x"),
            get("/{b}/k").with("if-modified-since", "Mon, 1 Jan 2001 00:00:00 GMT").gives("x"),
            get("/{b}/k").with("if-unmodified-since", "Mon, 1 Jan 2001 00:00:00 GMT").fails(412, "PreconditionFailed"),
            get("/{b}/k").with("if-unmodified-since", "Monday, 01-Jan-01 00:00:00 GMT").fails(412, "PreconditionFailed"),
            head("/{b}/k").with("if-unmodified-since", "Mon Jan  1 00:00:00 2001").is(412),
            get("/{b}/k").form(Form::Presigned(60)).with("if-unmodified-since", "Mon Jan  1 00:00:00 2001").fails(412, "PreconditionFailed"),
            get("/{b}/k").with("if-none-match", "a b").gives("x"),
            get("/{b}/k").anonymous().with("if-none-match", "a b").fails(403, "AccessDenied"),
            get("/{b}/k").with("if-none-match", "a b").by(Who::Key(None, Some("wrong".to_owned()))).fails(403, "SignatureDoesNotMatch"),
            get("/{b}/k").form(Form::Presigned(60)).loose("if-modified-since", "yesterday").gives("x"),
            get("/{b}/k").form(Form::Presigned(60)).loose("if-unmodified-since", "yesterday").gives("x"),
            get("/{b}/none").with("if-match", "{tag}").fails(404, "NoSuchKey"),
            get("/{b}/none").with("if-none-match", "*").fails(404, "NoSuchKey"),
            head("/{b}/none").with("if-match", "*").is(404),
            get("/{b}/k").with("if-none-match", "{tag}").with("range", "bytes=0-0").is(304),
            get("/{b}/k").with("if-match", "{tag}").with("range", "bytes=0-0").is(206),
            get("/{b}/k").with("if-match", OTHER).with("range", "bytes=9-").fails(412, "PreconditionFailed"),
        ]),
        scene("creation: If-None-Match", [
            put("/{b}/k").with("if-none-match", "*").sends("1").keep("tag", "etag"),
            put("/{b}/k").with("if-none-match", "*").sends("2").fails(412, "PreconditionFailed"),
            put("/{b}/k").with("if-none-match", "{tag}").sends("2").fails(501, "NotImplemented"),
            get("/{b}/k").gives("1"),
            delete("/{b}/k").is(204),
            put("/{b}/k").with("if-none-match", "*").sends("3"),
            get("/{b}/k").gives("3"),
        ]),
        scene("overwriting: If-Match", [
            put("/{b}/k").with("if-match", OTHER).sends("0").fails(404, "NoSuchKey"),
            put("/{b}/k").sends("1").keep("tag", "etag"),
            put("/{b}/k").with("if-match", OTHER).sends("2").fails(412, "PreconditionFailed"),
            put("/{b}/k").with("if-match", "{tag}").sends("2").keep("new", "etag"),
            put("/{b}/k").with("if-match", "{tag}").sends("3").fails(412, "PreconditionFailed"),
            get("/{b}/k").gives("2"),
            delete("/{b}/k").is(204),
            put("/{b}/k").with("if-match", "{new}").sends("3").fails(404, "NoSuchKey"),
        ]),
        scene("a marker is no object", [
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}/k").with("if-none-match", "*").sends("1").keep("tag", "etag"),
            put("/{b}/k").with("if-none-match", "*").sends("2").fails(412, "PreconditionFailed"),
            delete("/{b}/k").is(204),
            put("/{b}/k").with("if-match", "{tag}").sends("2").fails(404, "NoSuchKey"),
            put("/{b}/k").with("if-none-match", "*").sends("2"),
            get("/{b}/k").gives("2"),
        ]),
        scene("deleting: If-Match", [
            put("/{b}/k").sends("1").keep("tag", "etag"),
            delete("/{b}/k").with("if-match", OTHER).fails(412, "PreconditionFailed"),
            get("/{b}/k").gives("1"),
            delete("/{b}/k").with("if-match", "{tag}").is(204),
            get("/{b}/k").fails(404, "NoSuchKey"),
            put("/{b}/k").sends("1"),
            delete("/{b}/k").with("if-match", "*").is(204),
            get("/{b}/k").fails(404, "NoSuchKey"),
            delete("/{b}/k").with("if-match", "*").fails(404, "NoSuchKey"),
            delete("/{b}/k").with("if-match", "{tag}").fails(404, "NoSuchKey"),
        ]),
        scene("If-Range", [
            put("/{b}/k").sends("0123456789").keep("tag", "etag"),
            head("/{b}/k").keep("date", "last-modified"),
            get("/{b}/k").with("range", "bytes=0-1").with("if-range", "{tag}").is(206).gives("01"),
            get("/{b}/k").with("range", "bytes=0-1").with("if-range", OTHER).is(200).gives("0123456789"),
            get("/{b}/k").with("range", "bytes=0-1").with("if-range", "{date}").is(206).gives("01"),
            get("/{b}/k").with("range", "bytes=0-1").with("if-range", PAST).is(200).gives("0123456789"),
        ]),
    ]
}
