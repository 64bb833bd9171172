//! Who asks ("Authenticating Requests: AWS Signature Version 4"): signatures right and wrong,
//! clocks, presigned URLs.

use crate::common::sign::sha256_hex;
use crate::common::{Form, checksum, md5_base64};
use crate::row::{Row, Scene, Who, get, post, put, scene};

/// A bit in the middle: of data, not of framing.
const FLIP: fn(&mut Vec<u8>) = |wire| {
    let at = wire.len() / 2;
    wire[at] ^= 1;
};

fn presigned(seconds: i64) -> Row {
    get("/{b}/k").form(Form::Presigned(seconds))
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    let sent = "0".repeat(20_000);
    let sum = checksum("crc32", sent.as_bytes());
    vec![
        scene("keys", [
            put("/{b}/k").sends("x"),
            get("/{b}/k").by(Who::Key(Some("NOSUCHKEY00000000000".to_owned()), None)).fails(403, "InvalidAccessKeyId"),
            get("/{b}/k").by(Who::Key(None, Some("wrong".to_owned()))).fails(403, "SignatureDoesNotMatch").has("<RequestId>").has("<HostId>"),
            presigned(60).by(Who::Key(Some("NOSUCHKEY00000000000".to_owned()), None)).fails(403, "InvalidAccessKeyId"),
            presigned(60).by(Who::Key(None, Some("wrong".to_owned()))).fails(403, "SignatureDoesNotMatch"),
            get("/{b}/k").anonymous().fails(403, "AccessDenied").has("<RequestId>").has("<HostId>").says("x-amz-id-2", "*"),
            put("/{b}/k").sends("y").anonymous().fails(403, "AccessDenied"),
            get("/{b}").anonymous().fails(403, "AccessDenied"),
            put("/{b}/k").sends("y").anonymous().with("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER").fails(403, "AccessDenied").differs(501, "NotImplemented", "chunks are taken apart for who signs only"),
            get("/{b}/k").form(Form::Loose).gives("x"),
        ]),
        scene("clocks", [
            put("/{b}/k").sends("x"),
            get("/{b}/k").clock(14 * 60),
            get("/{b}/k").clock(-14 * 60),
            get("/{b}/k").clock(16 * 60).fails(403, "RequestTimeTooSkewed"),
            get("/{b}/k").clock(-16 * 60).fails(403, "RequestTimeTooSkewed"),
            get("/{b}/k").clock(365 * 86_400).fails(403, "RequestTimeTooSkewed"),
            put("/{b}/k").sends("y").clock(-86_400).fails(403, "RequestTimeTooSkewed"),
            get("/{b}/k").gives("x"),
        ]),
        scene("scopes", [
            put("/{b}/k").sends("x"),
            get("/{b}/k").region("mars-north-1").fails(400, "AuthorizationHeaderMalformed").differs(200, "", "any region is taken: the five sites are in none"),
            get("/{b}/k").service("sts").fails(400, "AuthorizationHeaderMalformed"),
            presigned(60).service("sts").fails(400, "AuthorizationQueryParametersError").differs(400, "AuthorizationHeaderMalformed", "one code for both ways of signing"),
        ]),
        scene("headers that were changed on the way", [
            put("/{b}/k").sends("y").loose("x-amz-meta-evil", "1").fails(403, "AccessDenied"),
            put("/{b}/k").sends("y").with("x-amz-meta-a", "1").set_header("x-amz-meta-a", "2").fails(403, "SignatureDoesNotMatch"),
            put("/{b}/k").sends("y").with("x-amz-meta-a", "1").drop_header("x-amz-meta-a").fails(403, "SignatureDoesNotMatch").differs(400, "AuthorizationHeaderMalformed", "a header that is named and not there is told"),
            put("/{b}/k").sends("y").set_query("acl", "").fails(403, "SignatureDoesNotMatch"),
            put("/{b}/k").sends("y").wire_path("/{b}/other").fails(403, "SignatureDoesNotMatch"),
            get("/{b}/k").set_header("range", "bytes=0-0").fails(404, "NoSuchKey"),
            presigned(60).loose("x-amz-acl", "private").fails(403, "AccessDenied"),
            get("/{b}/k").fails(404, "NoSuchKey"),
        ]),
        scene("headers that are no signature", [
            get("/{b}/k").anonymous().with("authorization", "AWS AK:c2ln").with("date", "x").fails(400, "InvalidRequest"),
            get("/{b}/k").anonymous().with("authorization", "Bearer x").fails(400, "InvalidArgument").differs(400, "InvalidRequest", "one code for all that is not version 4"),
            get("/{b}/k").anonymous().with("authorization", "AWS4-HMAC-SHA256").fails(400, "AuthorizationHeaderMalformed"),
            get("/{b}/k").anonymous().with("authorization", "AWS4-HMAC-SHA256 Credential=AK, SignedHeaders=host, Signature=0").fails(400, "AuthorizationHeaderMalformed"),
            get("/{b}/k").set_header("authorization", "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date").fails(400, "AuthorizationHeaderMalformed").differs(400, "InvalidRequest", "the framework's code for a header that it cannot read"),
            get("/{b}/k").set_header("x-amz-date", "yesterday").fails(403, "AccessDenied").differs(400, "InvalidRequest", "the framework's code for a header that it cannot read"),
            get("/{b}/k").form(Form::Presigned(60)).with("authorization", "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0").fails(400, "InvalidArgument"),
        ]),
        scene("bodies that were changed on the way", [
            put("/{b}/k").sends(&sent).tamper(FLIP).fails(400, "XAmzContentSHA256Mismatch"),
            put("/{b}/k").sends(&sent).hash(sha256_hex(b"other")).fails(400, "XAmzContentSHA256Mismatch"),
            put("/{b}/k").sends(&sent).hash("no hash").fails(400, "InvalidArgument").differs(403, "SignatureDoesNotMatch", "the framework's code for a hash that it cannot read"),
            put("/{b}/k").sends(&sent).form(Form::Chunks(8192)).tamper(FLIP).fails(403, "SignatureDoesNotMatch"),
            put("/{b}/k").sends(&sent).form(Form::ChunksTrailer(8192)).trailer("x-amz-checksum-crc32", &sum).tamper(FLIP).fails(403, "SignatureDoesNotMatch"),
            put("/{b}/k").sends(&sent).form(Form::LooseTrailer(8192)).trailer("x-amz-checksum-crc32", &sum).tamper(FLIP).fails(400, "BadDigest"),
            put("/{b}/k").sends(&sent).form(Form::Loose).with("content-md5", md5_base64(sent.as_bytes())).tamper(FLIP).fails(400, "BadDigest"),
            put("/{b}/k").sends(&sent).form(Form::Presigned(60)).with("x-amz-checksum-crc32", &sum).tamper(FLIP).fails(400, "BadDigest"),
            get("/{b}/k").fails(404, "NoSuchKey"),
            post("/{b}?delete").sends("<Delete><Object><Key>k</Key></Object></Delete>").hash(sha256_hex(b"other")).fails(400, "XAmzContentSHA256Mismatch"),
            put("/{b}?versioning").sends(super::ENABLED).hash(sha256_hex(b"other")).fails(400, "XAmzContentSHA256Mismatch"),
            get("/{b}?versioning").lacks("Status"),
        ]),
        scene("presigned", [
            put("/{b}/k").sends("hello").form(Form::Presigned(60)),
            presigned(604_800).gives("hello"),
            presigned(1).gives("hello"),
            presigned(60).with("range", "bytes=1-2").is(206).gives("el"),
            presigned(60).clock(-30).gives("hello"),
            presigned(60).clock(-120).fails(403, "AccessDenied").has("expired"),
            presigned(60).clock(3600).fails(403, "AccessDenied").differs(403, "RequestTimeTooSkewed", "a clock that is ahead is told as such"),
            presigned(0).fails(400, "AuthorizationQueryParametersError"),
            presigned(-1).fails(400, "AuthorizationQueryParametersError"),
            presigned(604_801).fails(400, "AuthorizationQueryParametersError"),
            presigned(60).set_query("X-Amz-Expires", "soon").fails(400, "AuthorizationQueryParametersError"),
            presigned(60).set_query("X-Amz-Expires", "3600").fails(403, "SignatureDoesNotMatch"),
            presigned(60).set_query("X-Amz-Signature", "0000000000000000000000000000000000000000000000000000000000000000").fails(403, "SignatureDoesNotMatch"),
            presigned(60).set_query("X-Amz-Algorithm", "AWS4-HMAC-MD5").fails(400, "AuthorizationQueryParametersError"),
            presigned(60).drop_query("X-Amz-Signature").fails(400, "AuthorizationQueryParametersError"),
            presigned(60).drop_query("X-Amz-Credential").fails(400, "AuthorizationQueryParametersError"),
            presigned(60).drop_query("X-Amz-Date").fails(400, "AuthorizationQueryParametersError"),
            presigned(60).drop_query("X-Amz-Expires").fails(400, "AuthorizationQueryParametersError"),
            presigned(60).set_query("response-content-type", "text/html").fails(403, "SignatureDoesNotMatch"),
            get("/{b}/other").form(Form::Presigned(60)).fails(404, "NoSuchKey"),
            presigned(60).wire_path("/{b}/other").fails(403, "SignatureDoesNotMatch"),
            get("/{b}/k?AWSAccessKeyId=AK&Signature=c2ln&Expires=99999999999").anonymous().fails(403, "InvalidAccessKeyId").differs(400, "InvalidRequest", "version 2 is not spoken"),
        ]),
    ]
}
