//! Objects over a real socket: happy paths, conditions, ranges, copies, deletes.

mod common;

use common::{Form, World, checksum, md5_base64};
use time::Duration;

#[tokio::test]
async fn put_get_head_delete() {
    let w = World::with_bucket().await;
    for size in [0usize, 1, 4096, 70_000, 1_500_000] {
        let body: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
        let put = w.put("/bbb/dir/a b+c").body(&body).header("content-type", "text/plain");
        let put = put.header("x-amz-meta-color", "blue").header("cache-control", "no-store");
        let put = put.header("content-encoding", "gzip").send(&w).await.expect(200);
        assert!(put.header("etag").starts_with('"'), "{size}");
        let got = w.get("/bbb/dir/a b+c").send(&w).await.expect(200);
        assert_eq!(got.body, body, "{size}");
        let head = w.head("/bbb/dir/a b+c").send(&w).await.expect(200);
        for answer in [&got, &head] {
            assert_eq!(answer.header("content-length"), size.to_string());
            assert_eq!(answer.header("content-type"), "text/plain");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("content-encoding"), "gzip");
            assert_eq!(answer.header("x-amz-meta-color"), "blue");
            assert_eq!(answer.header("etag"), put.header("etag"));
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert_eq!(answer.header("x-amz-server-side-encryption"), "AES256");
            assert!(answer.header("last-modified").ends_with("GMT"));
        }
    }
    w.delete("/bbb/dir/a b+c").send(&w).await.expect(204);
    w.delete("/bbb/dir/a b+c").send(&w).await.expect(204);
    w.get("/bbb/dir/a b+c").send(&w).await.refused(404, "NoSuchKey");
    let gone = w.head("/bbb/dir/a b+c").send(&w).await.expect(404);
    assert!(gone.body.is_empty());
}

#[tokio::test]
async fn defaults_and_names() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    assert_eq!(w.get("/bbb/k").send(&w).await.header("content-type"), "binary/octet-stream");
    let long = "k".repeat(1024);
    w.stored(&format!("/bbb/{long}"), b"x").await;
    assert!(w.exists(&format!("/bbb/{long}")).await);
    w.put(&format!("/bbb/{long}k")).body("x").send(&w).await.refused(400, "KeyTooLongError");
    for key in ["\u{e4}\u{4e2d}\u{1f600}", "a//b", "..", "a/../b", "%41", "x&y=z"] {
        w.stored(&format!("/bbb/{key}"), key.as_bytes()).await;
    }
    let big = "v".repeat(2100);
    w.put("/bbb/m").header("x-amz-meta-a", &big).send(&w).await.refused(400, "MetadataTooLarge");
    w.put("/nowhere/k").body("x").send(&w).await.refused(404, "NoSuchBucket");
    w.get("/nowhere/k").send(&w).await.refused(404, "NoSuchBucket");
}

#[tokio::test]
async fn response_overrides() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    for method in ["GET", "HEAD"] {
        let call = w.call(method, "/bbb/k").query("response-content-type", "a/b");
        let answer = call.query("response-content-disposition", "inline").send(&w).await.expect(200);
        assert_eq!(answer.header("content-type"), "a/b", "{method}");
        assert_eq!(answer.header("content-disposition"), "inline", "{method}");
    }
}

/// (target, range, status, content range, bytes)
type RangeRow<'a> = (&'a str, &'a str, u16, Option<&'a str>, &'a [u8]);

#[tokio::test]
async fn ranges() {
    let w = World::with_bucket().await;
    let body: Vec<u8> = (0..100u8).collect();
    w.stored("/bbb/k", &body).await;
    w.stored("/bbb/empty", b"").await;
    let table: [RangeRow<'_>; 9] = [
        ("/bbb/k", "bytes=0-0", 206, Some("bytes 0-0/100"), &body[..1]),
        ("/bbb/k", "bytes=10-19", 206, Some("bytes 10-19/100"), &body[10..20]),
        ("/bbb/k", "bytes=90-", 206, Some("bytes 90-99/100"), &body[90..]),
        ("/bbb/k", "bytes=90-1000", 206, Some("bytes 90-99/100"), &body[90..]),
        ("/bbb/k", "bytes=-5", 206, Some("bytes 95-99/100"), &body[95..]),
        ("/bbb/k", "bytes=-500", 206, Some("bytes 0-99/100"), &body),
        ("/bbb/k", "bytes=100-", 416, Some("bytes */100"), b""),
        ("/bbb/k", "bytes=-0", 416, Some("bytes */100"), b""),
        ("/bbb/empty", "bytes=0-", 416, Some("bytes */0"), b""),
    ];
    for (key, range, status, content_range, bytes) in table {
        for method in ["GET", "HEAD"] {
            let answer = w.call(method, key).header("range", range).send(&w).await.expect(status);
            assert_eq!(answer.maybe("content-range"), content_range, "{method} {range}");
            if status == 206 {
                assert_eq!(answer.header("content-length"), bytes.len().to_string(), "{method} {range}");
                assert_eq!(answer.body, if method == "GET" { bytes } else { b"" }, "{method} {range}");
            }
        }
    }
    w.get("/bbb/k").header("range", "bytes=100-").send(&w).await.refused(416, "InvalidRange");
    w.get("/bbb/k?partNumber=1").header("range", "bytes=0-").send(&w).await.refused(400, "InvalidRequest");
}

#[tokio::test]
async fn read_conditions() {
    let w = World::with_bucket().await;
    let tag = w.stored("/bbb/k", b"x").await;
    let modified = w.head("/bbb/k").send(&w).await.header("last-modified").to_owned();
    let (past, future) = ("Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let table: [(&[(&str, &str)], u16); 12] = [
        (&[("if-match", &tag)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-none-match", &tag)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", &modified)], 304),
        (&[("if-modified-since", past)], 200),
        (&[("if-unmodified-since", past)], 412),
        (&[("if-unmodified-since", future)], 200),
        (&[("if-match", &tag), ("if-unmodified-since", past)], 200),
        (&[("if-none-match", "\"other\""), ("if-modified-since", future)], 200),
    ];
    for (headers, status) in table {
        for method in ["GET", "HEAD"] {
            let mut call = w.call(method, "/bbb/k");
            for (name, value) in headers {
                call = call.header(name, value);
            }
            let answer = call.send(&w).await.expect(status);
            if status == 304 {
                assert!(answer.body.is_empty());
                assert_eq!(answer.header("etag"), tag);
                assert_eq!(answer.header("last-modified"), modified);
            }
        }
    }
}

#[tokio::test]
async fn write_conditions() {
    let w = World::with_bucket().await;
    w.put("/bbb/k").header("if-match", "\"x\"").body("1").send(&w).await.refused(404, "NoSuchKey");
    w.put("/bbb/k").header("if-none-match", "*").body("1").send(&w).await.expect(200);
    w.put("/bbb/k").header("if-none-match", "*").body("2").send(&w).await.refused(412, "PreconditionFailed");
    w.put("/bbb/k").header("if-none-match", "\"x\"").body("2").send(&w).await.refused(501, "NotImplemented");
    w.put("/bbb/k").header("if-match", "\"x\"").body("2").send(&w).await.refused(412, "PreconditionFailed");
    let tag = w.head("/bbb/k").send(&w).await.header("etag").to_owned();
    let tag = w.put("/bbb/k").header("if-match", &tag).body("2").send(&w).await.expect(200).header("etag").to_owned();
    assert_eq!(w.get("/bbb/k").send(&w).await.body, "2");
    w.delete("/bbb/k").header("if-match", "\"x\"").send(&w).await.refused(412, "PreconditionFailed");
    assert!(w.exists("/bbb/k").await);
    w.delete("/bbb/k").header("if-match", &tag).send(&w).await.expect(204);
    assert!(!w.exists("/bbb/k").await);
}

/// Of many who create the same key at once, one may win. Other stores have let all of them.
#[tokio::test]
async fn one_creator_wins() {
    let w = World::with_bucket().await;
    for round in 0..3 {
        let target = format!("/bbb/race{round}");
        let calls = (0..20).map(|i| w.put(&target).header("if-none-match", "*").body(format!("{i}")).send(&w));
        let answers = futures::future::join_all(calls).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1);
        assert!(answers.iter().all(|answer| [200, 409, 412].contains(&answer.status.as_u16())));
    }
}

/// (target, source, headers, status, code)
type CopyRow<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

#[tokio::test]
async fn copies() {
    let w = World::with_bucket().await;
    w.put("/ccc").send(&w).await.expect(200);
    let body = vec![7u8; 300_000];
    let put = w.put("/bbb/a b").body(&body).header("x-amz-meta-a", "1").header("content-type", "x/y");
    let tag = put.send(&w).await.expect(200).header("etag").to_owned();
    let copied = w.put("/ccc/copy").header("x-amz-copy-source", "/bbb/a%20b").send(&w).await.expect(200);
    assert!(copied.tag("ETag").starts_with('"'));
    let got = w.get("/ccc/copy").send(&w).await.expect(200);
    assert_eq!((got.body.as_ref(), got.header("x-amz-meta-a"), got.header("content-type")), (&body[..], "1", "x/y"));
    let replaced =
        w.put("/ccc/copy2").header("x-amz-copy-source", "bbb/a%20b").header("x-amz-metadata-directive", "REPLACE");
    replaced.header("x-amz-meta-b", "2").header("content-type", "p/q").send(&w).await.expect(200);
    let got = w.head("/ccc/copy2").send(&w).await;
    assert_eq!((got.maybe("x-amz-meta-a"), got.header("x-amz-meta-b"), got.header("content-type")), (None, "2", "p/q"));
    // The copy does not depend on its source.
    w.delete("/bbb/a b").send(&w).await.expect(204);
    assert_eq!(w.get("/ccc/copy").send(&w).await.expect(200).body, body);

    w.stored("/bbb/s", b"s").await;
    let old = "Mon, 01 Jan 2001 00:00:00 GMT";
    let table: [CopyRow<'_>; 10] = [
        ("/bbb/s", "bbb/s", &[], 400, "InvalidRequest"),
        ("/bbb/s", "bbb/s", &[("x-amz-metadata-directive", "REPLACE")], 200, ""),
        ("/bbb/t", "bbb/none", &[], 404, "NoSuchKey"),
        ("/bbb/t", "none/s", &[], 404, "NoSuchBucket"),
        ("/bbb/t", "bbb/s?versionId=3", &[], 400, "InvalidArgument"),
        ("/bbb/t", "bbb/s", &[("x-amz-copy-source-if-match", &tag)], 412, "PreconditionFailed"),
        ("/bbb/t", "bbb/s", &[("x-amz-copy-source-if-none-match", "*")], 412, "PreconditionFailed"),
        ("/bbb/t", "bbb/s", &[("x-amz-copy-source-if-unmodified-since", old)], 412, "PreconditionFailed"),
        ("/bbb/t", "bbb/s", &[("x-amz-checksum-algorithm", "SHA256")], 501, "NotImplemented"),
        ("/bbb/t", "bbb/s", &[("x-amz-copy-source-if-modified-since", old), ("if-none-match", "*")], 200, ""),
    ];
    for (to, from, headers, status, code) in table {
        let mut call = w.put(to).header("x-amz-copy-source", from);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        call.send(&w).await.refused(status, code);
    }
}

#[tokio::test]
async fn delete_many() {
    let w = World::with_bucket().await;
    for key in ["a", "b", "c&<d>"] {
        w.stored(&format!("/bbb/{key}"), b"x").await;
    }
    let doc = |keys: &[&str], quiet: bool| {
        let objects: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
        format!("<Delete>{objects}<Quiet>{quiet}</Quiet></Delete>")
    };
    let body = doc(&["a", "none"], false);
    let told = w
        .post("/bbb?delete")
        .header("content-md5", &md5_base64(body.as_bytes()))
        .body(&body)
        .send(&w)
        .await
        .expect(200);
    assert_eq!(told.all("Key"), ["a", "none"]);
    let body = doc(&["c&amp;&lt;d&gt;"], true);
    let sum = checksum("crc32", body.as_bytes());
    let told = w.post("/bbb?delete").header("x-amz-checksum-crc32", &sum).body(&body).send(&w).await.expect(200);
    assert!(told.all("Key").is_empty());
    assert!(!w.exists("/bbb/c&<d>").await);

    let body = doc(&["b"], false);
    let wrong = md5_base64(b"other");
    w.post("/bbb?delete").header("content-md5", &wrong).body(&body).send(&w).await.refused(400, "BadDigest");
    w.post("/bbb?delete")
        .header("x-amz-checksum-sha256", &checksum("sha256", b"other"))
        .body(&body)
        .send(&w)
        .await
        .refused(400, "BadDigest");
    w.post("/bbb?delete")
        .hash(&common::sign::sha256_hex(b"other"))
        .body(&body)
        .send(&w)
        .await
        .refused(400, "XAmzContentSHA256Mismatch");
    w.post("/bbb?delete").body("<Delete>").send(&w).await.refused(400, "MalformedXML");
    let many: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    let many = doc(&many.iter().map(String::as_str).collect::<Vec<_>>(), false);
    w.post("/bbb?delete").body(many).send(&w).await.refused(400, "MalformedXML");
    w.post("/none?delete").body(&body).send(&w).await.refused(404, "NoSuchBucket");
    assert!(w.exists("/bbb/b").await);
}

#[tokio::test]
async fn presigned() {
    let w = World::with_bucket().await;
    w.put("/bbb/k").form(Form::Presigned(60)).body("hello").send(&w).await.expect(200);
    assert_eq!(w.get("/bbb/k").form(Form::Presigned(604_800)).send(&w).await.expect(200).body, "hello");
    let part = w.get("/bbb/k").form(Form::Presigned(60)).header("range", "bytes=1-2").send(&w).await.expect(206);
    assert_eq!(part.body, "el");
    let ago = Duration::seconds(-120);
    w.get("/bbb/k").form(Form::Presigned(60)).skew(ago).send(&w).await.refused(403, "AccessDenied");
    let ahead = Duration::hours(1);
    w.get("/bbb/k").form(Form::Presigned(60)).skew(ahead).send(&w).await.refused(403, "RequestTimeTooSkewed");
    w.get("/bbb/k").form(Form::Presigned(604_801)).send(&w).await.refused(400, "AuthorizationQueryParametersError");
    w.get("/bbb/k").form(Form::Presigned(0)).send(&w).await.refused(400, "AuthorizationQueryParametersError");
    w.get("/bbb/k")
        .form(Form::Presigned(60))
        .with_key(common::ROOT.0, "wrong")
        .send(&w)
        .await
        .refused(403, "SignatureDoesNotMatch");
}
