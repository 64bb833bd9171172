//! Checksums of objects ("Checking object integrity in Amazon S3").

use crate::common::{ALGORITHMS, Form, checksum};
use crate::row::{Row, Scene, delete, get, head, put, scene};

const BODY: &str = "some data";

fn each(algorithm: &str) -> Scene {
    let name = format!("x-amz-checksum-{algorithm}");
    let (right, wrong) = (checksum(algorithm, BODY.as_bytes()), checksum(algorithm, b"other"));
    let short = "AAA=";
    let upper = algorithm.to_ascii_uppercase();
    let element = format!("Checksum{upper}");
    let enabled = |row: Row| row.with("x-amz-checksum-mode", "ENABLED");
    let with = |value: &str| put("/{b}/k").sends(BODY).with(&name, value);
    let trailing = |form, value: &str| put("/{b}/k").sends(BODY).form(form).trailer(&name, value);
    let rows = [
        with(&wrong).fails(400, "BadDigest"),
        with(short).fails(400, "InvalidRequest"),
        with("no base64!").fails(400, "InvalidRequest"),
        with("").fails(400, "InvalidRequest"),
        trailing(Form::LooseTrailer(4), &wrong).fails(400, "BadDigest"),
        trailing(Form::ChunksTrailer(8192), &wrong).fails(400, "BadDigest"),
        head("/{b}/k").is(404),
        with(&right).says(&name, &right).says("x-amz-checksum-type", "FULL_OBJECT"),
        enabled(get("/{b}/k")).says(&name, &right).says("x-amz-checksum-type", "FULL_OBJECT"),
        enabled(head("/{b}/k")).says(&name, &right),
        get("/{b}/k").hides(&name),
        enabled(get("/{b}/k")).with("range", "bytes=0-1").is(206).hides(&name),
        get("/{b}/k?attributes").with("x-amz-object-attributes", "Checksum").tag(&element, &right),
        get("/{b}").tag("ChecksumAlgorithm", &upper),
        get("/{b}?versions").tag("ChecksumAlgorithm", &upper),
        delete("/{b}/k").is(204),
        trailing(Form::LooseTrailer(4), &right).says(&name, &right),
        trailing(Form::ChunksTrailer(8192), &right).says(&name, &right),
        trailing(Form::LooseTrailer(4), &right).with("x-amz-sdk-checksum-algorithm", upper.clone()).says(&name, &right),
        enabled(head("/{b}/k")).says(&name, &right),
    ];
    scene(format!("{algorithm} right and wrong"), rows)
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    let mut scenes: Vec<Scene> = ALGORITHMS.into_iter().map(each).collect();
    let (crc, sha) = (checksum("crc32", b"x"), checksum("sha1", b"x"));
    let of_hello = checksum("crc32", b"hello");
    scenes.extend([
        scene("promises that cannot be kept", [
            put("/{b}/k").sends("x").with("x-amz-checksum-crc32", &crc).with("x-amz-checksum-sha1", &sha).fails(400, "InvalidRequest"),
            put("/{b}/k").sends("x").with("x-amz-sdk-checksum-algorithm", "CRC32").fails(400, "InvalidRequest"),
            put("/{b}/k").sends("x").with("x-amz-sdk-checksum-algorithm", "SHA1").with("x-amz-checksum-crc32", &crc).fails(400, "InvalidRequest"),
            put("/{b}/k").sends("x").with("x-amz-sdk-checksum-algorithm", "MD4").with("x-amz-checksum-crc32", &crc).fails(400, "InvalidRequest"),
            put("/{b}/k").sends("x").form(Form::LooseTrailer(9)).trailer("x-amz-meta-late", "1").fails(400, "InvalidRequest"),
            put("/{b}/k").sends("x").form(Form::LooseTrailer(9)).trailer("x-amz-checksum-crc32", "no sum").fails(400, "InvalidRequest").differs(400, "BadDigest", "a trailer that is no checksum is a checksum that is wrong"),
            head("/{b}/k").is(404),
        ]),
        scene("the body is the same in every form", [
            put("/{b}/k").sends("hello").form(Form::Loose),
            get("/{b}/k").gives("hello"),
            put("/{b}/k").sends("hello1").form(Form::Presigned(60)),
            get("/{b}/k").gives("hello1"),
            put("/{b}/k").sends("hello2").form(Form::Chunks(8192)),
            get("/{b}/k").gives("hello2").hides("content-encoding"),
            put("/{b}/k").sends("hello").form(Form::LooseTrailer(2)).trailer("x-amz-checksum-crc32", &of_hello),
            get("/{b}/k").gives("hello"),
            put("/{b}/k").form(Form::Chunks(8192)),
            get("/{b}/k").gives(""),
        ]),
        scene("a checksum goes with a copy", [
            put("/{b}/k").sends("x").with("x-amz-checksum-crc32", &crc),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").tag("ChecksumCRC32", &crc),
            head("/{b}/copy").with("x-amz-checksum-mode", "ENABLED").says("x-amz-checksum-crc32", &crc),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-checksum-algorithm", "SHA256").differs(501, "NotImplemented", "a copy is not read, so no other sum of it is known"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").with("x-amz-checksum-algorithm", "CRC32").tag("ChecksumCRC32", &crc),
        ]),
    ]);
    scenes
}
