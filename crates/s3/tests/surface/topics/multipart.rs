//! Multipart uploads: begun, filled, completed, aborted.

use crate::common::{Form, checksum};
use crate::row::{Row, Scene, delete, get, head, post, put, scene};

/// The smallest part that is not the last, bytes.
const MIN: usize = 5 << 20;

fn begin() -> Row {
    post("/{b}/k?uploads").keep("id", "<UploadId>")
}

fn part(number: &str, body: &str) -> Row {
    put(format!("/{{b}}/k?partNumber={number}&uploadId={{id}}")).sends(body)
}

fn complete(parts: &[(&str, &str)]) -> Row {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    post("/{b}/k?uploadId={id}").sends(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"))
}

/// Two parts, of the smallest size and of three bytes, under a checksum algorithm.
fn summed(algorithm: &str, kind: Option<&str>) -> Scene {
    let header = format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase());
    let sum = |data: &[u8]| checksum(&algorithm.to_ascii_lowercase(), data);
    let full = kind == Some("FULL_OBJECT") || algorithm == "CRC64NVME";
    let whole = [vec![b'a'; MIN], b"end".to_vec()].concat();
    let element = format!("Checksum{algorithm}");
    let begin = begin().with("x-amz-checksum-algorithm", algorithm).says("x-amz-checksum-algorithm", algorithm);
    let begin = kind.into_iter().fold(begin, |row, kind| row.with("x-amz-checksum-type", kind));
    let begin = begin.says("x-amz-checksum-type", if full { "FULL_OBJECT" } else { "COMPOSITE" });
    let wrong = if full { sum(b"other") } else { format!("{}-2", sum(b"other")) };
    let both = || complete(&[("1", "{one}"), ("2", "{two}")]);
    let done = both().tag("ChecksumType", if full { "FULL_OBJECT" } else { "COMPOSITE" });
    let done = if full { done.tag(&element, &sum(&whole)) } else { done.has(format!("-2</{element}>")) };
    let told = head("/{b}/k").with("x-amz-checksum-mode", "ENABLED");
    let rows = [
        begin,
        part("1", "").filled(MIN).keep("one", "etag").says(&header, sum(&vec![b'a'; MIN])),
        part("2", "end").with(&header, sum(b"other")).fails(400, "BadDigest"),
        part("2", "end").with(&header, sum(b"end")).keep("two", "etag"),
        part("3", "x")
            .with("x-amz-checksum-sha1", if algorithm == "SHA1" { String::new() } else { checksum("sha1", b"x") })
            .fails(400, "InvalidRequest"),
        get("/{b}/k?uploadId={id}").tag("ChecksumAlgorithm", algorithm).has(format!("<{element}>")),
        both().with(&header, wrong).fails(400, "BadDigest"),
        done,
        told.says("x-amz-checksum-type", if full { "FULL_OBJECT" } else { "COMPOSITE" }).says(&header, "*"),
        head("/{b}/k?partNumber=2").with("x-amz-checksum-mode", "ENABLED").is(206).says(&header, sum(b"end")),
    ];
    scene(format!("{algorithm} {}", kind.unwrap_or("as it comes")), rows)
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    let none = "0".repeat(32);
    let mut scenes = vec![
        scene("whole life", [
            begin().with("x-amz-meta-a", "1").with("content-type", "x/y").with("x-amz-tagging", "t=1"),
            get("/{b}/k").fails(404, "NoSuchKey"),
            part("5", "end").keep("two", "etag"),
            part("2", "").filled(MIN).keep("one", "etag"),
            complete(&[("2", "{one}"), ("5", "{two}")]).tag("Bucket", "{b}").tag("Key", "k").has("-2").has("<Location>http"),
            get("/{b}/k").gives_bytes(MIN + 3).says("x-amz-meta-a", "1").says("content-type", "x/y").says("x-amz-tagging-count", "1"),
            head("/{b}/k").says("content-length", (MIN + 3).to_string()).hides("x-amz-mp-parts-count"),
            get("/{b}/k").with("range", format!("bytes={}-{}", MIN - 1, MIN)).is(206).gives("ae"),
            get("/{b}/k?partNumber=5").is(206).gives("end").says("content-range", format!("bytes {MIN}-{}/{}", MIN + 2, MIN + 3)).says("x-amz-mp-parts-count", "2"),
            head("/{b}/k?partNumber=2").is(206).says("content-length", MIN.to_string()).says("x-amz-mp-parts-count", "2"),
            get("/{b}/k?partNumber=9").fails(416, "InvalidPartNumber"),
            get("/{b}?uploads").lacks("<Upload>"),
            // A client that lost the answer may ask again.
            complete(&[("2", "{one}"), ("5", "{two}")]),
            complete(&[("2", "{one}"), ("5", "{two}")]).with("x-amz-mp-object-size", (MIN + 3).to_string()),
            complete(&[("2", "{one}"), ("5", "{two}")]).with("x-amz-mp-object-size", "3").fails(400, "InvalidRequest"),
            get("/{b}/k?uploadId={id}").fails(404, "NoSuchUpload"),
            part("1", "x").fails(404, "NoSuchUpload"),
            delete("/{b}/k?uploadId={id}").is(204).differs(404, "NoSuchUpload", "what is done cannot be aborted"),
            get("/{b}/k").gives_bytes(MIN + 3),
        ]),
        scene("one small part", [
            begin(),
            part("1", "only").keep("one", "etag"),
            complete(&[("1", "{one}")]).has("-1").keep("tag", "<ETag>"),
            get("/{b}/k").gives("only").says("etag", "{tag}"),
            get("/{b}/k?partNumber=1").is(206).gives("only").says("x-amz-mp-parts-count", "1"),
            get("/{b}/k?attributes").with("x-amz-object-attributes", "ObjectParts,ObjectSize").tag("PartsCount", "1").tag("ObjectSize", "4"),
        ]),
        scene("an empty part", [
            begin(),
            part("1", "").keep("one", "etag"),
            complete(&[("1", "{one}")]),
            get("/{b}/k").gives(""),
        ]),
        scene("completions that are refused", [
            begin(),
            part("1", "small").keep("one", "etag"),
            part("2", "small too").keep("two", "etag"),
            complete(&[("1", "{one}"), ("2", "{two}")]).fails(400, "EntityTooSmall"),
            complete(&[("2", "{two}"), ("1", "{one}")]).fails(400, "InvalidPartOrder"),
            complete(&[("1", "{one}"), ("1", "{one}")]).fails(400, "InvalidPartOrder"),
            complete(&[("1", "\"00000000000000000000000000000000\"")]).fails(400, "InvalidPart"),
            complete(&[("1", "{two}")]).fails(400, "InvalidPart"),
            complete(&[("3", "{one}")]).fails(400, "InvalidPart"),
            complete(&[]).fails(400, "MalformedXML"),
            complete(&[("one", "{one}")]).fails(400, "MalformedXML"),
            complete(&[("0", "{one}")]).fails(400, "InvalidPart").differs(400, "InvalidArgument", "S3 takes it for a part that is not there"),
            post("/{b}/k?uploadId={id}").sends("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>").fails(400, "MalformedXML"),
            post("/{b}/k?uploadId={id}").sends("<CompleteMultipartUpload><Part><ETag>{one}</ETag></Part></CompleteMultipartUpload>").fails(400, "MalformedXML"),
            complete(&[("1", "{one}")]).with("x-amz-mp-object-size", "6").fails(400, "InvalidRequest"),
            complete(&[("1", "{one}")]).with("x-amz-mp-object-size", "-1").fails(400, "InvalidRequest"),
            get("/{b}/k").fails(404, "NoSuchKey"),
            get("/{b}/k?uploadId={id}").tags("PartNumber", &["1", "2"]),
            complete(&[("1", "{one}")]).with("x-amz-mp-object-size", "5"),
            get("/{b}/k").gives("small"),
        ]),
        scene("an ETag is taken without its quotes", [
            begin(),
            part("1", "x").keep("one", "etag"),
            get("/{b}/k?uploadId={id}").keep("listed", "<ETag>"),
            complete(&[("1", "{listed}")]),
            get("/{b}/k").gives("x"),
        ]),
        scene("uploads that are not there", [
            put("/{b}/k?partNumber=1&uploadId={none}").sends("x").fails(404, "NoSuchUpload"),
            put("/{b}/k?partNumber=1&uploadId=not-an-id").sends("x").fails(404, "NoSuchUpload"),
            get("/{b}/k?uploadId={none}").fails(404, "NoSuchUpload"),
            delete("/{b}/k?uploadId={none}").fails(404, "NoSuchUpload"),
            delete("/{b}/k?uploadId=not-an-id").fails(404, "NoSuchUpload"),
            post("/{b}/k?uploadId={none}").sends("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"0\"</ETag></Part></CompleteMultipartUpload>").fails(404, "NoSuchUpload"),
            post("/{c}/k?uploads").fails(404, "NoSuchBucket"),
            begin(),
            put("/{b}/other?partNumber=1&uploadId={id}").sends("x").fails(404, "NoSuchUpload"),
            put("/{c}/k?partNumber=1&uploadId={id}").sends("x").fails(404, "NoSuchBucket"),
            delete("/{b}/other?uploadId={id}").fails(404, "NoSuchUpload"),
            delete("/{b}/k?uploadId={id}").is(204),
            delete("/{b}/k?uploadId={id}").fails(404, "NoSuchUpload"),
            part("1", "x").fails(404, "NoSuchUpload"),
        ]).var("none", none),
        scene("part numbers", [
            begin(),
            part("0", "x").fails(400, "InvalidArgument"),
            part("10001", "x").fails(400, "InvalidArgument"),
            part("-1", "x").fails(400, "InvalidArgument"),
            part("one", "x").fails(400, "InvalidArgument"),
            part("1", "x"),
            part("10000", "x"),
            get("/{b}/k?uploadId={id}").tags("PartNumber", &["1", "10000"]),
        ]),
        scene("conditions on the target", [
            put("/{b}/k").sends("old").keep("tag", "etag"),
            begin(),
            part("1", "new").keep("one", "etag"),
            complete(&[("1", "{one}")]).with("if-none-match", "*").fails(412, "PreconditionFailed"),
            complete(&[("1", "{one}")]).with("if-match", "\"00000000000000000000000000000000\"").fails(412, "PreconditionFailed"),
            get("/{b}/k").gives("old"),
            complete(&[("1", "{one}")]).with("if-match", "{tag}"),
            get("/{b}/k").gives("new"),
            begin(),
            part("1", "newest").keep("one", "etag"),
            delete("/{b}/k").is(204),
            complete(&[("1", "{one}")]).with("if-match", "{tag}").fails(404, "NoSuchKey"),
            complete(&[("1", "{one}")]).with("if-none-match", "*"),
        ]),
        scene("bodies of parts", [
            begin(),
            part("1", "x").with("content-md5", crate::common::md5_base64(b"y")).fails(400, "BadDigest"),
            part("1", "x").with("x-amz-checksum-crc32", checksum("crc32", b"y")).fails(400, "BadDigest"),
            part("1", "x").form(Form::Chunks(8192)),
            part("2", "x").form(Form::LooseTrailer(8192)).trailer("x-amz-checksum-crc32", checksum("crc32", b"x")),
            part("3", "x").form(Form::Presigned(60)),
            get("/{b}/k?uploadId={id}").tags("PartNumber", &["1", "2", "3"]),
        ]),
        scene("parts that are copied", [
            put("/{b}/s").sends("0123456789").keep("tag", "etag"),
            begin(),
            part("1", "").with("x-amz-copy-source", "/{b}/s").keep("one", "<ETag>").has("<LastModified>"),
            part("2", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "bytes=2-4").keep("two", "<ETag>"),
            get("/{b}/k?uploadId={id}").tags("Size", &["10", "3"]),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "bytes=0-10").fails(400, "InvalidArgument"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "bytes=5-").fails(400, "InvalidArgument"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "bytes=-5").fails(400, "InvalidArgument"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "0-5").fails(400, "InvalidArgument"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "bytes=9-3").fails(400, "InvalidArgument"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-range", "bytes=0-1,2-3").fails(400, "InvalidArgument"),
            part("3", "").with("x-amz-copy-source", "/{b}/none").fails(404, "NoSuchKey"),
            part("3", "").with("x-amz-copy-source", "/{c}/s").fails(404, "NoSuchBucket"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-if-match", "\"0\"").fails(412, "PreconditionFailed"),
            part("3", "").with("x-amz-copy-source", "/{b}/s").with("x-amz-copy-source-if-none-match", "{tag}").fails(412, "PreconditionFailed"),
            put("/{b}/k?partNumber=1&uploadId=none").with("x-amz-copy-source", "/{b}/s").fails(404, "NoSuchUpload"),
            complete(&[("2", "{two}")]),
            get("/{b}/k").gives("234"),
        ]),
        scene("checksums that cannot be", [
            begin().with("x-amz-checksum-algorithm", "MD5").fails(400, "InvalidRequest"),
            begin().with("x-amz-checksum-algorithm", "SHA256").with("x-amz-checksum-type", "FULL_OBJECT").fails(400, "InvalidRequest"),
            begin().with("x-amz-checksum-algorithm", "CRC64NVME").with("x-amz-checksum-type", "COMPOSITE").fails(400, "InvalidRequest"),
            begin().with("x-amz-checksum-type", "COMPOSITE").fails(400, "InvalidRequest"),
            begin().with("x-amz-checksum-algorithm", "CRC32").with("x-amz-checksum-type", "HALF").fails(400, "InvalidRequest"),
        ]),
        scene("how the whole was to be summed", [
            begin().with("x-amz-checksum-algorithm", "CRC32").with("x-amz-checksum-type", "FULL_OBJECT"),
            part("1", "x").keep("one", "etag"),
            complete(&[("1", "{one}")]).with("x-amz-checksum-type", "COMPOSITE").fails(400, "BadDigest"),
            complete(&[("1", "{one}")]).with("x-amz-checksum-type", "HALF").fails(400, "InvalidRequest"),
            complete(&[("1", "{one}")]).with("x-amz-checksum-type", "FULL_OBJECT"),
        ]),
        scene("parts without their sums", [
            begin().with("x-amz-checksum-algorithm", "SHA256"),
            part("2", "x").fails(400, "InvalidRequest").differs(200, "", "a sum that was not sent is computed; who sends parts by hand need not know it"),
            get("/{b}/k?uploadId={id}").keep("two", "<ETag>"),
            complete(&[("2", "{two}")]).fails(400, "InvalidRequest").differs(200, "", "parts are known by their ETags; their sums are checked where they are sent"),
        ]),
        scene("versions", [
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}/k").sends("old").keep("old", "x-amz-version-id"),
            begin(),
            part("1", "new").keep("one", "etag"),
            complete(&[("1", "{one}")]).says("x-amz-version-id", "*").keep("new", "x-amz-version-id"),
            get("/{b}?versions").tags("VersionId", &["{new}", "{old}"]),
        ]),
    ];
    scenes.extend([
        summed("CRC32", None), summed("CRC32", Some("FULL_OBJECT")), summed("CRC32C", Some("COMPOSITE")), summed("CRC32C", Some("FULL_OBJECT")),
        summed("CRC64NVME", None), summed("SHA1", None), summed("SHA256", None),
    ]);
    scenes
}
