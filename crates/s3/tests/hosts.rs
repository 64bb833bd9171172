//! Buckets by their host: virtual-hosted style, and websites.

mod common;

use common::{Answer, Form, World};

#[tokio::test]
async fn a_host_names_a_bucket() {
    let w = World::start().await;
    let at = |method, target: &str| w.call(method, target).header("host", "bbb.localhost:9000");
    at("PUT", "/").send(&w).await.expect(200);
    let long = vec![b'x'; 3 << 20];
    at("PUT", "/k").body(&long).send(&w).await.expect(200);
    at("PUT", "/a/b").form(Form::Presigned(60)).body("ab").send(&w).await.expect(200);
    at("PUT", "/?versioning")
        .body("<VersioningConfiguration/>")
        .send(&w)
        .await
        .refused(400, "IllegalVersioningConfigurationException");
    assert_eq!(at("GET", "/").send(&w).await.expect(200).all("Key"), ["a/b", "k"]);
    assert_eq!(w.get("/bbb/a/b").send(&w).await.expect(200).body, "ab");
    assert!(at("GET", "/k").send(&w).await.expect(200).body == long);
    at("GET", "/bbb/k").send(&w).await.refused(404, "NoSuchKey");
    at("DELETE", "/a/b").send(&w).await.expect(204);
    // What is told of where it is leads there.
    for (host, path) in [("bbb.localhost:9000", "/m"), ("localhost:9000", "/bbb/m")] {
        let at = |method, target: &str| w.call(method, target).header("host", host);
        let id = at("POST", &format!("{path}?uploads")).send(&w).await.expect(200).tag("UploadId");
        let part = at("PUT", path).query("partNumber", "1").query("uploadId", &id).body("x").send(&w).await;
        let etag = part.expect(200).header("etag").to_owned();
        let parts = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        );
        let done = at("POST", path).query("uploadId", &id).body(parts).send(&w).await.expect(200);
        assert_eq!(done.tag("Location"), format!("http://{host}{path}"));
    }
    let form = "--xx\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nf\r\n--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--xx--\r\n";
    let open =
        r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bbb/*"}}"#;
    at("PUT", "/?policy").body(open).send(&w).await.expect(204);
    let posted = at("POST", "/").form(Form::Anonymous).header("content-type", "multipart/form-data; boundary=xx");
    assert_eq!(posted.body(form).send(&w).await.expect(204).header("location"), "http://bbb.localhost:9000/f");
    w.get("/k").header("host", "ccc.localhost").send(&w).await.refused(404, "NoSuchBucket");
}

async fn visit(w: &World, method: &'static str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut call = w.call(method, target).form(Form::Anonymous).header("host", "bbb.web.localhost:9000");
    for (name, value) in headers {
        call = call.header(name, value);
    }
    call.send(w).await
}

/// Method, path, headers; status, what the page has, where it sends.
type Visit<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);

const SITE: &str = "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>error.html</Key></ErrorDocument><RoutingRules><RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith><HttpRedirectCode>302</HttpRedirectCode></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>";
const PUBLIC: &str = "{\"Statement\": [{\"Effect\": \"Allow\", \"Principal\": \"*\", \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::bbb/*\"}]}";

#[tokio::test]
async fn a_bucket_is_a_website() {
    let w = World::with_bucket().await;
    for (key, body) in [("index.html", "home"), ("a/index.html", "a"), ("a b+c&d=e", "odd"), ("secret", "s")] {
        w.put(&format!("/bbb/{key}")).header("content-type", "text/html").body(body).send(&w).await.expect(200);
    }
    w.put("/bbb/moved").header("x-amz-website-redirect-location", "/a/").body("").send(&w).await.expect(200);
    let nothing = visit(&w, "GET", "/", &[]).await.expect(404);
    assert!(nothing.text().contains("Code: NoSuchWebsiteConfiguration"), "{}", nothing.text());
    w.put("/bbb?website").body(SITE).send(&w).await.expect(200);
    // Not public: not shown, and the error document is not either.
    assert!(visit(&w, "GET", "/", &[]).await.expect(403).text().contains("Code: AccessDenied"));
    w.put("/bbb?policy").body(PUBLIC).send(&w).await.expect(204);
    let table: [Visit<'_>; 16] = [
        ("GET", "/", &[], 200, "home", ""),
        ("HEAD", "/", &[], 200, "", ""),
        ("GET", "/index.html", &[], 200, "home", ""),
        ("GET", "/a/", &[], 200, "a", ""),
        ("GET", "/a", &[], 302, "", "/a/"),
        ("GET", "/a b+c&d=e", &[], 200, "odd", ""),
        ("GET", "/?x=1&versionId=null", &[], 200, "home", ""),
        ("GET", "/", &[("range", "bytes=1-2")], 206, "om", ""),
        ("GET", "/", &[("if-none-match", "*")], 304, "", ""),
        ("GET", "/old/x y", &[], 302, "", "http://bbb.web.localhost:9000/new/x%20y"),
        ("GET", "/moved", &[], 301, "", "/a/"),
        ("GET", "/none", &[], 404, "Code: NoSuchKey", ""),
        ("GET", "/none/", &[], 404, "Code: NoSuchKey", ""),
        ("PUT", "/x", &[], 405, "Code: MethodNotAllowed", ""),
        ("DELETE", "/index.html", &[], 405, "Code: MethodNotAllowed", ""),
        ("GET", "/?website", &[], 200, "home", ""),
    ];
    for (method, target, headers, status, body, location) in table {
        let method = ["GET", "HEAD", "PUT", "DELETE"].into_iter().find(|known| *known == method).unwrap();
        let answer = visit(&w, method, target, headers).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {target}: {}", answer.text());
        assert!(answer.text().contains(body), "{method} {target}: {}", answer.text());
        assert_eq!(answer.maybe("location").unwrap_or_default(), location, "{method} {target}");
        assert!(answer.maybe("x-amz-request-id").is_some());
    }
    w.put("/bbb/error.html").body("our own words").send(&w).await.expect(200);
    assert_eq!(visit(&w, "GET", "/none", &[]).await.expect(404).text(), "our own words");
    // A visitor's signature is not looked at, and a website shows no listing.
    let signed = w.get("/").header("host", "bbb.web.localhost").send(&w).await.expect(200);
    assert_eq!(signed.text(), "home");
    let other = w.get("/").form(Form::Anonymous).header("host", "none.web.localhost").send(&w).await.expect(404);
    // As of a bucket that is no website: nobody learns which there are.
    assert!(other.text().contains("Code: NoSuchWebsiteConfiguration"));
    visit(&w, "GET", "/", &[("user-agent", &"a".repeat(2_048))]).await.expect(200);
    visit(&w, "GET", "/", &[("user-agent", &"a".repeat(2_049))]).await.expect(400);
    let all = "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>o.org</HostName><Protocol>https</Protocol></RedirectAllRequestsTo></WebsiteConfiguration>";
    w.put("/bbb?website").body(all).send(&w).await.expect(200);
    let sent = visit(&w, "GET", "/a/b", &[]).await.expect(301);
    assert_eq!(sent.header("location"), "https://o.org/a/b");
}
