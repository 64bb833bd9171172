//! Who is let in, who may do what, and what is not implemented.

mod common;

use common::{Edit, Form, ROOT, World};
use store::api::Right;
use time::Duration;

#[tokio::test]
async fn signatures() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    w.get("/bbb/k").send(&w).await.expect(200);
    w.get("/bbb/k").form(Form::Loose).send(&w).await.expect(200);
    w.get("/bbb/k").form(Form::Anonymous).send(&w).await.refused(403, "AccessDenied");
    w.put("/bbb/k").form(Form::Anonymous).body("y").send(&w).await.refused(403, "AccessDenied");
    w.get("/").form(Form::Anonymous).send(&w).await.refused(403, "AccessDenied");
    w.get("/bbb/k").with_key("nobody", "x").send(&w).await.refused(403, "InvalidAccessKeyId");
    w.get("/bbb/k").with_key(ROOT.0, "wrong").send(&w).await.refused(403, "SignatureDoesNotMatch");
    w.get("/bbb/k").skew(Duration::minutes(14)).send(&w).await.expect(200);
    for skew in [Duration::minutes(16), Duration::minutes(-16)] {
        w.get("/bbb/k").skew(skew).send(&w).await.refused(403, "RequestTimeTooSkewed");
    }
    let v2 = w.get("/bbb/k").form(Form::Anonymous).header("authorization", "AWS AK:c2ln").header("date", "x");
    v2.send(&w).await.refused(400, "InvalidRequest");
    let v2 = w.get("/bbb/k?AWSAccessKeyId=AK&Signature=c2ln&Expires=99999999999").form(Form::Anonymous);
    v2.send(&w).await.refused(400, "InvalidRequest");
    // A header slipped in on the way must not count.
    w.put("/bbb/k").body("y").loose_header("x-amz-meta-evil", "1").send(&w).await.refused(403, "AccessDenied");
    w.get("/bbb/k")
        .form(Form::Presigned(60))
        .loose_header("x-amz-acl", "private")
        .send(&w)
        .await
        .refused(403, "AccessDenied");
    assert_eq!(w.get("/bbb/k").send(&w).await.body, "x");
}

/// Every operation for every right.
#[tokio::test]
async fn grants() {
    let w = World::with_bucket().await;
    w.put("/other").send(&w).await.expect(200);
    w.stored("/bbb/k", b"x").await;
    w.stored("/other/k", b"x").await;
    let id = w.upload("/bbb/mp", &[]).await;
    let mut users = Vec::new();
    for (name, right) in [
        ("nothing", None),
        ("reader", Some(Right::Read)),
        ("writer", Some(Right::Write)),
        ("admin", Some(Right::Admin)),
    ] {
        let (user, secret) = w.store.create_user(name, None).await.unwrap();
        if right.is_some() {
            w.store.grant(name, "bbb", right).await.unwrap();
        }
        users.push((name, right, user.access_key, secret));
    }
    let table: [(&str, &str, Option<&str>, Right); 17] = [
        ("GET", "/bbb", None, Right::Read),
        ("GET", "/bbb?list-type=2", None, Right::Read),
        ("HEAD", "/bbb", None, Right::Read),
        ("GET", "/bbb?location", None, Right::Read),
        ("GET", "/bbb?versioning", None, Right::Read),
        ("GET", "/bbb?uploads", None, Right::Read),
        ("GET", &format!("/bbb/mp?uploadId={id}"), None, Right::Read),
        ("GET", "/bbb/k", None, Right::Read),
        ("HEAD", "/bbb/k", None, Right::Read),
        ("PUT", "/bbb/new", None, Right::Write),
        ("PUT", "/bbb/new", Some("bbb/k"), Right::Write),
        ("PUT", &format!("/bbb/mp?partNumber=1&uploadId={id}"), None, Right::Write),
        ("PUT", &format!("/bbb/mp?partNumber=2&uploadId={id}"), Some("bbb/k"), Right::Write),
        ("POST", "/bbb/mp2?uploads", None, Right::Write),
        ("DELETE", "/bbb/none", None, Right::Write),
        ("PUT", "/bbb", None, Right::Admin),
        ("DELETE", "/bbb", None, Right::Admin),
    ];
    for (name, right, access, secret) in &users {
        for (method, target, copy, needed) in table {
            let mut call = w.call(method, target).with_key(access, secret);
            if let Some(source) = copy {
                call = call.header("x-amz-copy-source", source);
            }
            let answer = call.send(&w).await;
            let allowed = right.is_some_and(|right| right >= needed);
            assert_eq!(answer.status != 403, allowed, "{name} {method} {target}: {}", answer.text());
        }
        // A right on one bucket is none on another, neither direct nor as a copy's source.
        w.get("/other/k").with_key(access, secret).send(&w).await.refused(403, "AccessDenied");
        let copy = w.put("/bbb/stolen").with_key(access, secret).header("x-amz-copy-source", "other/k");
        copy.send(&w).await.refused(403, "AccessDenied");
        let copy = w.put(&format!("/bbb/mp?partNumber=3&uploadId={id}")).with_key(access, secret);
        copy.header("x-amz-copy-source", "other/k").send(&w).await.refused(403, "AccessDenied");
        let seen = w.get("/").with_key(access, secret).send(&w).await.expect(200).all("Name");
        assert_eq!(seen, if right.is_some() { vec!["bbb"] } else { vec![] }, "{name}");
    }
    let (name, _, access, secret) = &users[1];
    w.store.grant(name, "bbb", None).await.unwrap();
    w.get("/bbb/k").with_key(access, secret).send(&w).await.refused(403, "AccessDenied");
    w.store.grant(name, "*", Some(Right::Read)).await.unwrap();
    w.get("/other/k").with_key(access, secret).send(&w).await.expect(200);
    w.store.delete_user(name).await.unwrap();
    w.get("/other/k").with_key(access, secret).send(&w).await.refused(403, "InvalidAccessKeyId");
}

#[tokio::test]
async fn unsupported_headers() {
    let w = World::with_bucket().await;
    let refused = [
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-write-offset-bytes", "0"),
        ("x-amz-checksum-xxhash3", "AAAA"),
        ("x-amz-what-comes-next", "1"),
    ];
    for (name, value) in refused {
        w.put("/bbb/k").header(name, value).body("x").send(&w).await.refused(501, "NotImplemented");
        w.post("/bbb/k?uploads").header(name, value).send(&w).await.refused(501, "NotImplemented");
    }
    assert!(!w.exists("/bbb/k").await);
    let taken = [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-acl", "private"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-storage-class", "STANDARD"),
    ];
    for (name, value) in taken {
        w.put("/bbb/k").header(name, value).body("x").send(&w).await.expect(200);
    }
    w.delete("/bbb/k").header("x-amz-if-match-size", "1").send(&w).await.refused(501, "NotImplemented");
}

/// Sub-resources that the framework does not know fall through to the operation on the bucket or
/// object itself: `DELETE /b?logging` would delete the bucket.
#[tokio::test]
async fn unsupported_queries() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    let bucket = [
        "replication",
        "analytics",
        "inventory",
        "metrics",
        "intelligent-tiering",
        "metadataConfiguration",
        "abac",
        "unheard-of",
    ];
    for name in bucket {
        for method in ["GET", "PUT", "DELETE", "HEAD"] {
            let answer = w.call(method, &format!("/bbb?{name}")).send(&w).await;
            // That there is none is told.
            let expected = if (method, name) == ("GET", "replication") { 404 } else { 501 };
            assert_eq!(answer.status, expected, "{method} {name} {}", answer.text());
        }
    }
    for name in ["torrent", "renameObject", "unheard-of"] {
        for method in ["GET", "PUT", "DELETE", "HEAD"] {
            let answer = w.call(method, &format!("/bbb/k?{name}")).send(&w).await;
            // A read is not another one for a name that S3 does not have.
            let passed = name == "unheard-of" && ["GET", "HEAD"].contains(&method);
            assert_eq!(answer.status, if passed { 200 } else { 501 }, "{method} {name} {}", answer.text());
        }
    }
    for target in ["/bbb/k?select&select-type=2", "/bbb/k?restore", "/bbb/k", "/bbb", "/"] {
        let answer = w.post(target).body("<x/>").send(&w).await;
        assert_eq!(answer.status, 501, "{target} {}", answer.text());
    }
    w.put("/bbb/k?uploads").body("y").send(&w).await.refused(501, "NotImplemented");
    w.put("/bbb/k?partNumber=1").body("y").send(&w).await.refused(501, "NotImplemented");
    w.put("/bbb/k?x-amz-tagging=a").body("y").send(&w).await.refused(501, "NotImplemented");
    w.put("/bbb/k?x-amz-unheard-of=a")
        .form(Form::Presigned(60))
        .body("y")
        .send(&w)
        .await
        .refused(501, "NotImplemented");
    w.call("PATCH", "/bbb/k").send(&w).await.refused(405, "MethodNotAllowed");
    assert_eq!(w.get("/bbb/k?versionId=null").send(&w).await.expect(200).body, "x");
}

/// SDKs for JavaScript and others move headers into the query of a presigned URL.
#[tokio::test]
async fn headers_in_presigned_queries() {
    let w = World::with_bucket().await;
    let put = |more: &str| w.put(&format!("/bbb/k?{more}")).form(Form::Presigned(60)).body("y");
    put("x-amz-acl=private&X-Amz-Meta-Who=me&x-amz-tagging=a=b").send(&w).await.expect(200);
    let told = w.head("/bbb/k").send(&w).await.expect(200);
    assert_eq!((told.header("x-amz-meta-who"), told.header("x-amz-tagging-count")), ("me", "1"));
    let both = put("x-amz-meta-who=me").header("x-amz-meta-who", "you");
    both.send(&w).await.refused(400, "InvalidArgument");
    // What it says is signed, and judged as the header is.
    let changed = put("x-amz-tagging=a=b").edit(Edit::SetQuery("x-amz-tagging".to_owned(), "a=c".to_owned()));
    changed.send(&w).await.refused(403, "SignatureDoesNotMatch");
    let deny = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObjectTagging","Resource":"arn:aws:s3:::bbb/*"}}"#;
    w.put("/bbb?policy").body(deny).send(&w).await.expect(204);
    put("x-amz-tagging=a=b").send(&w).await.refused(403, "AccessDenied");
    // No value of a header is a way around its action.
    w.put("/bbb/k").header("x-amz-tagging", "false").body("y").send(&w).await.refused(403, "AccessDenied");
    w.put("/bbb/k").body("y").send(&w).await.expect(200);
}

/// Actions that a policy may deny beside the operation's own.
#[tokio::test]
async fn actions_beside_the_first() {
    let w = World::with_bucket().await;
    w.put("/bbb/k").header("x-amz-tagging", "a=b").body("x").send(&w).await.expect(200);
    w.stored("/bbb/plain", b"x").await;
    let deny = |action: &str| {
        format!(
            r#"{{"Statement":{{"Effect":"Deny","Principal":"*","Action":"{action}","Resource":"arn:aws:s3:::bbb/*"}}}}"#
        )
    };
    let put = async |action: &str| w.put("/bbb?policy").body(deny(action)).send(&w).await.expect(204);
    let attributes = || w.get("/bbb/k?attributes").header("x-amz-object-attributes", "ETag");
    put("s3:GetObjectAttributes").await;
    attributes().send(&w).await.refused(403, "AccessDenied");
    attributes().query("versionId", "null").send(&w).await.expect(200);
    put("s3:GetObjectVersionAttributes").await;
    attributes().send(&w).await.expect(200);
    attributes().query("versionId", "null").send(&w).await.refused(403, "AccessDenied");
    // A copy takes the tags along, and so tells them.
    put("s3:GetObjectTagging").await;
    let copy = |source: &str| w.put("/bbb/copy").header("x-amz-copy-source", source);
    copy("bbb/k").send(&w).await.refused(403, "AccessDenied");
    copy("bbb/plain").send(&w).await.expect(200);
    copy("bbb/k").header("x-amz-tagging-directive", "REPLACE").send(&w).await.expect(200);
}

/// Lifting a retention has one answer, for one object and for many.
#[tokio::test]
async fn no_way_around_a_denied_bypass() {
    let w = World::start().await;
    w.put("/bbb").header("x-amz-bucket-object-lock-enabled", "true").send(&w).await.expect(200);
    let put = w.put("/bbb/k").header("x-amz-object-lock-mode", "GOVERNANCE");
    let put = put.header("content-md5", &common::md5_base64(b"x"));
    let put = put.header("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z").body("x").send(&w).await;
    let version = put.expect(200).header("x-amz-version-id").to_owned();
    let deny = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::bbb/*"}}"#;
    w.put("/bbb?policy").body(deny).send(&w).await.expect(204);
    let one = || w.delete("/bbb/k").query("versionId", &version).header("x-amz-bypass-governance-retention", "true");
    let document = format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let many = || w.post("/bbb?delete").body(&document).header("x-amz-bypass-governance-retention", "true");
    one().send(&w).await.refused(403, "AccessDenied");
    assert_eq!(many().send(&w).await.expect(200).tag("Code"), "AccessDenied");
    w.delete("/bbb?policy").send(&w).await.expect(204);
    assert!(!many().send(&w).await.expect(200).text().contains("<Error>"));
    one().send(&w).await.expect(204);
}

#[tokio::test]
async fn shutdown_finishes_and_stops() {
    let w = World::with_bucket().await;
    w.shutdown.cancel();
    w.server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(w.address).await.is_err());
}
