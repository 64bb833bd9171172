//! Objects: what is put is what is got, with its headers.

use crate::common::{Form, md5_base64};
use crate::row::{Scene, call, delete, get, head, post, put, scene};

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("put, get, head, delete", [
            put("/{b}/dir/a b+c").sends("hello").says("etag", "*").says("x-amz-request-id", "*").keep("tag", "etag"),
            get("/{b}/dir/a b+c").gives("hello").says("content-length", "5").says("etag", "{tag}").says("accept-ranges", "bytes").says("last-modified", "*"),
            head("/{b}/dir/a b+c").gives("").says("content-length", "5").says("etag", "{tag}").says("accept-ranges", "bytes").says("last-modified", "*"),
            put("/{b}/dir/a b+c").sends("other words").says("etag", "*"),
            get("/{b}/dir/a b+c").gives("other words").says("content-length", "11"),
            delete("/{b}/dir/a b+c").is(204).gives(""),
            delete("/{b}/dir/a b+c").is(204),
            get("/{b}/dir/a b+c").fails(404, "NoSuchKey").says("content-type", "application/xml").has("<RequestId>"),
            head("/{b}/dir/a b+c").is(404).gives(""),
        ]),
        scene("nothing at all is an object too", [
            put("/{b}/empty").with("content-md5", md5_base64(b"")).says("etag", "\"d41d8cd98f00b204e9800998ecf8427e\""),
            get("/{b}/empty").gives("").says("content-length", "0"),
            head("/{b}/empty").says("content-length", "0"),
        ]),
        scene("the ETag is the MD5", [
            put("/{b}/k").sends("hello").with("content-md5", md5_base64(b"hello")).says("etag", "\"5d41402abc4b2a76b9719d911017c592\""),
            head("/{b}/k").says("etag", "\"5d41402abc4b2a76b9719d911017c592\""),
        ]),
        scene("no such bucket", [
            put("/{c}/k").sends("x").fails(404, "NoSuchBucket"),
            get("/{c}/k").fails(404, "NoSuchBucket"),
            head("/{c}/k").is(404),
            delete("/{c}/k").fails(404, "NoSuchBucket"),
        ]),
        scene("content type of its own", [
            put("/{b}/k").sends("x"),
            get("/{b}/k").says("content-type", "binary/octet-stream"),
            put("/{b}/k").sends("x").with("content-type", "text/html; charset=utf-8"),
            get("/{b}/k").says("content-type", "text/html; charset=utf-8"),
            put("/{b}/k").sends("x").with("content-type", "nonsense"),
            get("/{b}/k").says("content-type", "nonsense"),
        ]),
        scene("headers that are kept", [
            put("/{b}/k").sends("x").with("cache-control", "no-store, max-age=0").with("content-disposition", "attachment; filename=\"a b\"")
                .with("content-encoding", "gzip").with("content-language", "de, en").with("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
            get("/{b}/k").says("cache-control", "no-store, max-age=0").says("content-disposition", "attachment; filename=\"a b\"")
                .says("content-encoding", "gzip").says("content-language", "de, en").says("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
            head("/{b}/k").says("cache-control", "no-store, max-age=0").says("content-encoding", "gzip").says("content-language", "de, en"),
            put("/{b}/k").sends("x"),
            head("/{b}/k").hides("cache-control").hides("content-encoding").hides("expires"),
            put("/{b}/k").sends("x").with("content-encoding", "aws-chunked"),
            head("/{b}/k").hides("content-encoding"),
            put("/{b}/k").sends("x").with("content-encoding", "aws-chunked,gzip"),
            head("/{b}/k").says("content-encoding", "gzip"),
        ]),
        scene("metadata of the user", [
            put("/{b}/k").sends("x").with("x-amz-meta-color", "blue").with("x-amz-meta-a-b", "1, 2"),
            get("/{b}/k").says("x-amz-meta-color", "blue").says("x-amz-meta-a-b", "1, 2"),
            head("/{b}/k").says("x-amz-meta-color", "blue"),
            put("/{b}/k").sends("x").with("x-amz-meta-empty", ""),
            get("/{b}/k").says("x-amz-meta-empty", "").hides("x-amz-meta-color"),
            put("/{b}/k").sends("x").with("x-amz-meta-spaces", "  a   b  "),
            get("/{b}/k").says("x-amz-meta-spaces", "a   b"),
        ]),
        scene("what the answer's headers are to be", [
            put("/{b}/k").sends("x").with("content-type", "a/b").with("cache-control", "c").with("content-language", "de"),
            get("/{b}/k?response-content-type=text/x").says("content-type", "text/x").says("cache-control", "c"),
            get("/{b}/k?response-content-language=en").says("content-language", "en"),
            get("/{b}/k?response-cache-control=private").says("cache-control", "private"),
            get("/{b}/k?response-content-disposition=inline").says("content-disposition", "inline"),
            get("/{b}/k?response-content-encoding=br").says("content-encoding", "br"),
            get("/{b}/k?response-expires=Fri, 01 Jan 2100 00:00:00 GMT").says("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
            head("/{b}/k?response-content-type=text/x").says("content-type", "text/x"),
            head("/{b}/k?response-content-disposition=inline").says("content-disposition", "inline"),
            get("/{b}/k?response-content-type=text/x").form(Form::Presigned(60)).says("content-type", "text/x"),
            get("/{b}/k").says("content-type", "a/b").hides("content-disposition"),
        ]),
        scene("a stranger does not choose the answer's headers", [
            put("/{b}/k").sends("x"),
            put("/{b}?policy").sends(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}]}"#).is(204),
            get("/{b}/k").anonymous(),
            get("/{b}/k?response-content-type=text/html").anonymous().fails(400, "InvalidRequest"),
        ]),
        scene("bodies that are not as declared", [
            put("/{b}/k").sends("hello").streamed().fails(501, "NotImplemented").differs(411, "MissingContentLength", "the missing length is named, not the encoding that was used instead"),
            put("/{b}/k").sends("hello").with("content-md5", md5_base64(b"other")).fails(400, "BadDigest"),
            put("/{b}/k").sends("hello").with("content-md5", "no digest").fails(400, "InvalidDigest"),
            put("/{b}/k").sends("hello").with("content-md5", "AAAA").fails(400, "InvalidDigest"),
            put("/{b}/k").sends("hello").with("content-md5", "").fails(400, "InvalidDigest"),
            get("/{b}/k").fails(404, "NoSuchKey"),
        ]),
        scene("storage classes", [
            put("/{b}/k").sends("x").with("x-amz-storage-class", "STANDARD"),
            head("/{b}/k").hides("x-amz-storage-class"),
            put("/{b}/k").sends("x").with("x-amz-storage-class", "BRONZE").fails(400, "InvalidStorageClass"),
            put("/{b}/k").sends("x").with("x-amz-storage-class", "GLACIER").differs(501, "NotImplemented", "nothing is archived"),
            put("/{b}/k").sends("x").with("x-amz-storage-class", "STANDARD_IA"),
        ]),
        scene("what is asked of whom", [
            put("/{b}/k").sends("x").with("x-amz-expected-bucket-owner", "111122223333").fails(403, "AccessDenied"),
            put("/{b}/k").sends("x").with("x-amz-request-payer", "requester"),
            put("/{b}/k").sends("x").with("x-amz-what-comes-next", "1").differs(501, "NotImplemented", "what is not understood is refused"),
        ]),
        scene("attributes", [
            put("/{b}/k").with("x-amz-checksum-crc32c", "AAAAAA=="),
            get("/{b}/k?attributes").with("x-amz-object-attributes", "ETag,ObjectSize,StorageClass,Checksum").tag("ObjectSize", "0").tag("StorageClass", "STANDARD").tag("ChecksumCRC32C", "AAAAAA==").has("<ETag>").lacks("<ETag>\"").lacks("&quot;"),
            get("/{b}/k?attributes").with("x-amz-object-attributes", "ObjectSize").tag("ObjectSize", "0").lacks("<ETag>").says("last-modified", "*"),
            get("/{b}/k?attributes").with("x-amz-object-attributes", "Colour").fails(400, "InvalidArgument"),
            get("/{b}/k?attributes").is(400),
            get("/{b}/none?attributes").with("x-amz-object-attributes", "ETag").fails(404, "NoSuchKey"),
            get("/{c}/k?attributes").with("x-amz-object-attributes", "ETag").fails(404, "NoSuchBucket"),
        ]),
        scene("what no object has", [
            put("/{b}/k").sends("x"),
            post("/{b}/k?restore").sends("<RestoreRequest><Days>1</Days></RestoreRequest>").fails(403, "InvalidObjectState").differs(501, "NotImplemented", "nothing is archived"),
            post("/{b}/k?select&select-type=2").sends("<SelectObjectContentRequest/>").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "S3 itself gives it up"),
            get("/{b}/k?torrent").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "S3 itself has given it up"),
            post("/{b}/k").sends("x").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            call("PATCH", "/{b}/k").sends("x").fails(405, "MethodNotAllowed"),
            get("/{b}/k").gives("x"),
        ]),
    ]
}
