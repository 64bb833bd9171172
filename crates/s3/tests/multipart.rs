//! Multipart uploads.

mod common;

use common::{Answer, Form, World, checksum};

const MIN: usize = 5 << 20;

fn completion(parts: &[(u16, &str)]) -> String {
    let parts: String =
        parts.iter().map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>")).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

async fn part(w: &World, key: &str, id: &str, number: u16, body: &[u8]) -> String {
    let target = format!("{key}?partNumber={number}&uploadId={id}");
    w.put(&target).form(Form::Loose).body(body).send(w).await.expect(200).header("etag").to_owned()
}

async fn complete(w: &World, key: &str, id: &str, parts: &[(u16, &str)]) -> Answer {
    w.post(&format!("{key}?uploadId={id}")).body(completion(parts)).send(w).await
}

#[tokio::test]
async fn whole_life() {
    let w = World::with_bucket().await;
    let id = w.upload("/bbb/k", &[("x-amz-meta-a", "1"), ("content-type", "x/y")]).await;
    assert!(!w.exists("/bbb/k").await);
    let (one, two) = (vec![1u8; MIN], vec![2u8; 100]);
    let a = part(&w, "/bbb/k", &id, 2, &one).await;
    let b = part(&w, "/bbb/k", &id, 5, &two).await;
    let listed = w.get(&format!("/bbb/k?uploadId={id}")).send(&w).await.expect(200);
    assert_eq!(listed.all("PartNumber"), ["2", "5"]);
    assert_eq!(listed.all("Size"), [MIN.to_string(), "100".to_owned()]);
    let page = w.get(&format!("/bbb/k?uploadId={id}&max-parts=1")).send(&w).await.expect(200);
    assert_eq!((page.all("PartNumber"), page.tag("NextPartNumberMarker")), (vec!["2".to_owned()], "2".to_owned()));
    let page = w.get(&format!("/bbb/k?uploadId={id}&part-number-marker=2")).send(&w).await.expect(200);
    assert_eq!(page.all("PartNumber"), ["5"]);
    assert_eq!(w.get("/bbb?uploads").send(&w).await.expect(200).all("UploadId"), [id.as_str()]);

    let done = complete(&w, "/bbb/k", &id, &[(2, &a), (5, &b)]).await.expect(200);
    assert!(done.tag("ETag").ends_with("-2\""), "{}", done.text());
    assert!(done.tag("Location").ends_with("/bbb/k"));
    let got = w.get("/bbb/k").send(&w).await.expect(200);
    assert_eq!(got.body.len(), MIN + 100);
    assert!(got.body[..MIN] == one && got.body[MIN..] == two);
    assert_eq!((got.header("x-amz-meta-a"), got.header("content-type")), ("1", "x/y"));
    for method in ["GET", "HEAD"] {
        let second = w.call(method, "/bbb/k?partNumber=5").send(&w).await.expect(206);
        assert_eq!(second.header("content-range"), format!("bytes {MIN}-{}/{}", MIN + 99, MIN + 100));
        assert_eq!(second.header("x-amz-mp-parts-count"), "2");
        assert_eq!(second.header("content-length"), "100");
    }
    w.get("/bbb/k?partNumber=1").send(&w).await.refused(416, "InvalidPartNumber");
    let across = w.get("/bbb/k").header("range", &format!("bytes={}-{}", MIN - 1, MIN)).send(&w).await.expect(206);
    assert_eq!(across.body.as_ref(), [1, 2]);
    assert!(w.get("/bbb?uploads").send(&w).await.expect(200).all("UploadId").is_empty());
    // A client that lost the answer may ask again, as long as what it made stands.
    complete(&w, "/bbb/k", &id, &[(2, &a)]).await.expect(200);
    w.stored("/bbb/k", b"newer").await;
    complete(&w, "/bbb/k", &id, &[(2, &a)]).await.refused(404, "NoSuchUpload");
}

#[tokio::test]
async fn refusals() {
    let w = World::with_bucket().await;
    let id = w.upload("/bbb/k", &[]).await;
    let a = part(&w, "/bbb/k", &id, 1, b"small").await;
    let b = part(&w, "/bbb/k", &id, 2, b"small too").await;
    complete(&w, "/bbb/k", &id, &[(1, &a), (2, &b)]).await.refused(400, "EntityTooSmall");
    complete(&w, "/bbb/k", &id, &[(2, &b), (1, &a)]).await.refused(400, "InvalidPartOrder");
    complete(&w, "/bbb/k", &id, &[(1, "\"other\"")]).await.refused(400, "InvalidPart");
    complete(&w, "/bbb/k", &id, &[(3, &a)]).await.refused(400, "InvalidPart");
    complete(&w, "/bbb/k", &id, &[]).await.refused(400, "MalformedXML");
    complete(&w, "/bbb/other", &id, &[(1, &a)]).await.refused(404, "NoSuchUpload");
    let other = "0".repeat(32);
    for unknown in [other.as_str(), "not-an-id"] {
        complete(&w, "/bbb/k", unknown, &[(1, &a)]).await.refused(404, "NoSuchUpload");
        w.put(&format!("/bbb/k?partNumber=1&uploadId={unknown}")).body("x").send(&w).await.refused(404, "NoSuchUpload");
        w.get(&format!("/bbb/k?uploadId={unknown}")).send(&w).await.refused(404, "NoSuchUpload");
        w.delete(&format!("/bbb/k?uploadId={unknown}")).send(&w).await.refused(404, "NoSuchUpload");
    }
    for number in ["0", "10001", "-1"] {
        w.put(&format!("/bbb/k?partNumber={number}&uploadId={id}"))
            .body("x")
            .send(&w)
            .await
            .refused(400, "InvalidArgument");
    }
    let size =
        w.post(&format!("/bbb/k?uploadId={id}")).header("x-amz-mp-object-size", "6").body(completion(&[(1, &a)]));
    size.send(&w).await.refused(400, "InvalidRequest");
    let exists = w.stored("/bbb/k", b"x").await;
    let condition = w.post(&format!("/bbb/k?uploadId={id}")).header("if-none-match", "*").body(completion(&[(1, &a)]));
    condition.send(&w).await.refused(412, "PreconditionFailed");
    let matching = w.post(&format!("/bbb/k?uploadId={id}")).header("if-match", &exists).body(completion(&[(1, &a)]));
    matching.send(&w).await.expect(200);
    assert_eq!(w.get("/bbb/k").send(&w).await.body, "small");

    let id = w.upload("/bbb/gone", &[]).await;
    part(&w, "/bbb/gone", &id, 1, b"x").await;
    w.delete("/bbb").send(&w).await.refused(409, "BucketNotEmpty");
    w.delete(&format!("/bbb/gone?uploadId={id}")).send(&w).await.expect(204);
    w.get(&format!("/bbb/gone?uploadId={id}")).send(&w).await.refused(404, "NoSuchUpload");
}

#[tokio::test]
async fn copied_parts() {
    let w = World::with_bucket().await;
    let source: Vec<u8> = (0..MIN + 1000).map(|i| (i % 249) as u8).collect();
    w.put("/bbb/s").form(Form::Loose).body(&source).send(&w).await.expect(200);
    let id = w.upload("/bbb/k", &[]).await;
    let copy = |number: u16, range: Option<String>| {
        let mut call =
            w.put(&format!("/bbb/k?partNumber={number}&uploadId={id}")).header("x-amz-copy-source", "/bbb/s");
        if let Some(range) = range {
            call = call.header("x-amz-copy-source-range", &range);
        }
        call
    };
    let a = copy(1, Some(format!("bytes=0-{}", MIN - 1))).send(&w).await.expect(200).tag("ETag");
    let b = copy(2, Some(format!("bytes={MIN}-{}", MIN + 999))).send(&w).await.expect(200).tag("ETag");
    for bad in ["bytes=0-99999999", "bytes=5-", "bytes=-5", "0-5", "bytes=9-3"] {
        copy(3, Some(bad.to_owned())).send(&w).await.refused(400, "InvalidArgument");
    }
    let stale = copy(3, None).header("x-amz-copy-source-if-match", "\"x\"");
    stale.send(&w).await.refused(412, "PreconditionFailed");
    complete(&w, "/bbb/k", &id, &[(1, &a), (2, &b)]).await.expect(200);
    assert!(w.get("/bbb/k").send(&w).await.expect(200).body == source);
}

#[tokio::test]
async fn checksums() {
    let w = World::with_bucket().await;
    let (one, two) = (vec![1u8; MIN], vec![2u8; 100]);
    let whole = [one.clone(), two.clone()].concat();
    let table = [("CRC32", None), ("CRC32", Some("FULL_OBJECT")), ("CRC64NVME", None), ("SHA256", None)];
    for (algorithm, kind) in table {
        let mut headers = vec![("x-amz-checksum-algorithm", algorithm)];
        headers.extend(kind.map(|kind| ("x-amz-checksum-type", kind)));
        let lower = algorithm.to_ascii_lowercase();
        let header = format!("x-amz-checksum-{lower}");
        let full = kind.is_some() || algorithm == "CRC64NVME";
        let id = w.upload("/bbb/k", &headers).await;
        // One part brings its checksum; the other's is computed for it.
        let target = |number| format!("/bbb/k?partNumber={number}&uploadId={id}");
        let first = w.put(&target(1)).form(Form::LooseTrailer(65_536)).trailer(&header, &checksum(&lower, &one));
        let a = first.body(&one).send(&w).await.expect(200).header("etag").to_owned();
        let second = w.put(&target(2)).form(Form::Loose).body(&two).send(&w).await.expect(200);
        assert_eq!(second.header(&header), checksum(&lower, &two));
        let b = second.header("etag").to_owned();
        let other = w.put(&target(3)).header("x-amz-checksum-sha1", &checksum("sha1", b"x")).body("x");
        other.send(&w).await.refused(400, "InvalidRequest");

        let wrong = checksum(&lower, b"other");
        let wrong = if full { wrong } else { format!("{wrong}-2") };
        let call =
            w.post(&format!("/bbb/k?uploadId={id}")).header(&header, &wrong).body(completion(&[(1, &a), (2, &b)]));
        call.send(&w).await.refused(400, "BadDigest");
        let done = complete(&w, "/bbb/k", &id, &[(1, &a), (2, &b)]).await.expect(200);
        let tag = format!("Checksum{algorithm}");
        let told = done.tag(&tag);
        if full {
            assert_eq!(told, checksum(&lower, &whole), "{algorithm}");
        } else {
            assert!(told.ends_with("-2"), "{told}");
        }
        let head = w.head("/bbb/k").header("x-amz-checksum-mode", "ENABLED").send(&w).await.expect(200);
        assert_eq!(
            (head.header(&header), head.header("x-amz-checksum-type")),
            (told.as_str(), if full { "FULL_OBJECT" } else { "COMPOSITE" })
        );
        let part = w.head("/bbb/k?partNumber=2").header("x-amz-checksum-mode", "ENABLED").send(&w).await.expect(206);
        assert_eq!(part.header(&header), checksum(&lower, &two));
    }
}

#[tokio::test]
async fn uploads_listed() {
    let w = World::with_bucket().await;
    let mut all = Vec::new();
    for key in ["a", "d/1", "d/2", "e"] {
        for _ in 0..2 {
            all.push((key.to_owned(), w.upload(&format!("/bbb/{key}"), &[]).await));
        }
    }
    all.sort();
    for size in ["1", "3", "100"] {
        let (mut seen, mut marker) = (Vec::new(), None::<(String, String)>);
        loop {
            let mut call = w.get("/bbb?uploads").query("max-uploads", size);
            if let Some((key, id)) = &marker {
                call = call.query("key-marker", key).query("upload-id-marker", id);
            }
            let page = call.send(&w).await.expect(200);
            seen.extend(page.all("Key").into_iter().zip(page.all("UploadId")));
            if page.tag("IsTruncated") == "false" {
                break;
            }
            marker = Some((page.tag("NextKeyMarker"), page.tag("NextUploadIdMarker")));
        }
        assert_eq!(seen, all, "pages of {size}");
    }
    let page = w.get("/bbb?uploads&delimiter=/").send(&w).await.expect(200);
    assert_eq!(page.all("Key"), ["a", "a", "e", "e"]);
    assert_eq!(page.all("CommonPrefixes"), ["<Prefix>d/</Prefix>"]);
    assert_eq!(w.get("/bbb?uploads&prefix=d/2").send(&w).await.expect(200).all("Key"), ["d/2", "d/2"]);
}
