//! Tenants: what one of them has, another can neither reach, nor name, nor see.

mod common;

use std::collections::BTreeMap;

use common::{Call, Form, World};
use store::api::Right;
use store::{Error, Store};

struct Tenant {
    store: Store,
    access: String,
    secret: String,
}

impl Tenant {
    async fn new(w: &World, name: &str) -> Self {
        let (_, access, secret) = w.store.create_tenant(name).await.unwrap();
        Self { store: w.store.tenant(name).await.unwrap(), access, secret }
    }

    fn call(&self, method: &'static str, target: &str) -> Call {
        Call::new(method, target).with_key(&self.access, &self.secret)
    }

    /// A bucket `data` with an object `k` in two versions, and an upload that is open; its id.
    async fn fill(&self, w: &World, body: &str) -> String {
        self.call("PUT", "/data").send(w).await.expect(200);
        let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.call("PUT", "/data?versioning").body(enabled).send(w).await.expect(200);
        self.call("PUT", "/data/k").body("before").send(w).await.expect(200);
        self.call("PUT", "/data/k").header("x-amz-tagging", "a=b").body(body).send(w).await.expect(200);
        self.call("POST", "/data/k?uploads").send(w).await.expect(200).tag("UploadId")
    }

    /// All that can be seen of the bucket `data`.
    async fn seen(&self, w: &World) -> Vec<String> {
        let mut seen = Vec::new();
        for target in
            ["/", "/data?versions", "/data?uploads", "/data/k", "/data?versioning", "/data/k?tagging", "/data?policy"]
        {
            let answer = self.call("GET", target).send(w).await;
            let text = answer.text();
            // Errors name the request.
            let text = text.split("<RequestId>").next().unwrap_or_default();
            seen.push(format!("{target} {} {text}", answer.status));
        }
        seen
    }
}

/// `METHOD /{Bucket}/{Key+}?query` lines of S3's service model.
fn operations() -> Vec<(&'static str, &'static str, String)> {
    let lines = include_str!("../src/operations.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let (name, method, target) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            // A copy onto itself is refused for its name.
            (name, method, target.replace("{Key+}", if name == "CopyObject" { "copy" } else { "k" }))
        })
        .filter(|(_, _, target)| target.contains("{Bucket}"))
        .collect()
}

/// A document that makes the operation go on to the bucket, where it takes one.
fn body_of(name: &str) -> &'static str {
    match name {
        "DeleteObjects" => "<Delete><Object><Key>k</Key></Object></Delete>",
        "PutBucketVersioning" => "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
        "PutBucketTagging" | "PutObjectTagging" => {
            "<Tagging><TagSet><Tag><Key>a</Key><Value>c</Value></Tag></TagSet></Tagging>"
        }
        "PutBucketPolicy" => {
            r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::BUCKET/*"}}"#
        }
        "PutBucketCors" => {
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"
        }
        "PutBucketLifecycle" | "PutBucketLifecycleConfiguration" => {
            "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
        }
        "PutPublicAccessBlock" => {
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
        }
        "PutBucketEncryption" => {
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
        }
        "PutBucketOwnershipControls" => {
            "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"
        }
        "PutBucketWebsite" => {
            "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"
        }
        "PutBucketNotification" | "PutBucketNotificationConfiguration" => "<NotificationConfiguration/>",
        "PutObject" | "UploadPart" => "stolen",
        _ => "",
    }
}

/// Every operation there is, by the administrator of one tenant and by a stranger, on another tenant's
/// bucket: the answer is the one for a bucket that nobody has, and nothing of it changes.
#[tokio::test]
async fn buckets_never_meet() {
    let w = World::start().await;
    let (a, b) = (Tenant::new(&w, "a").await, Tenant::new(&w, "b").await);
    let upload = a.fill(&w, "of a").await;
    let before = a.seen(&w).await;
    let ask = async |call: Call, name: &str, bucket: &str| {
        let mut call = call.body(body_of(name).replace("BUCKET", bucket));
        if ["ListParts", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "UploadPartCopy"]
            .contains(&name)
        {
            call = call.query("uploadId", &upload);
        }
        if name.starts_with("UploadPart") {
            call = call.query("partNumber", "1");
        }
        if name.ends_with("Copy") || name == "CopyObject" {
            call = call.header("x-amz-copy-source", "data/k");
        }
        let answer = call.send(&w).await;
        (answer.status.as_u16(), answer.code(), answer.text().contains("of a"), bucket.len())
    };
    let mut missing = BTreeMap::new();
    for (name, method, target) in operations() {
        for form in [Form::Hashed, Form::Anonymous] {
            // Not what would make the bucket for the caller.
            if name == "CreateBucket" && matches!(form, Form::Hashed) {
                continue;
            }
            let call = |bucket: &str| b.call(leak(method), &target.replace("{Bucket}", bucket)).form(form);
            let (theirs, nobodys) = (ask(call("data"), name, "data").await, ask(call("none"), name, "none").await);
            assert_eq!(theirs, nobodys, "{name} {form:?}");
            *missing.entry(theirs.1).or_insert(0) += 1;
        }
    }
    assert!(missing["NoSuchBucket"] >= 30, "the requests are such that the bucket is looked for: {missing:?}");
    assert_eq!(a.seen(&w).await, before);
}

fn leak(method: &str) -> &'static str {
    ["GET", "PUT", "POST", "DELETE", "HEAD"].into_iter().find(|known| *known == method).unwrap()
}

/// Two tenants and the default one, each with a bucket of the same name.
#[tokio::test]
async fn the_same_names() {
    let w = World::start().await;
    let (a, b) = (Tenant::new(&w, "a").await, Tenant::new(&w, "b").await);
    let upload = a.fill(&w, "of a").await;
    b.fill(&w, "of b").await;
    w.put("/data").send(&w).await.expect(200);
    w.stored("/data/k", b"of the default").await;
    assert_eq!(a.call("GET", "/data/k").send(&w).await.body, "of a");
    assert_eq!(b.call("GET", "/data/k").send(&w).await.body, "of b");
    assert_eq!(w.get("/data/k").send(&w).await.body, "of the default");
    // A version and an upload of one are not to be found in another's.
    let version = a.call("HEAD", "/data/k").send(&w).await.expect(200).header("x-amz-version-id").to_owned();
    let stolen = b.call("GET", "/data/k").query("versionId", &version).send(&w).await;
    stolen.refused(404, "NoSuchVersion");
    for (method, more) in [("PUT", Some("1")), ("POST", None), ("GET", None), ("DELETE", None)] {
        let call = b.call(method, "/data/k").query("uploadId", &upload);
        let call = if let Some(number) = more { call.query("partNumber", number).body("x") } else { call };
        let call = if method == "POST" {
            call.body("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"x\"</ETag></Part></CompleteMultipartUpload>")
        } else {
            call
        };
        call.send(&w).await.refused(404, "NoSuchUpload");
    }
    // A copy takes from the caller's own.
    let copy = b.call("PUT", "/data/copy").header("x-amz-copy-source", "data/k").send(&w).await;
    copy.expect(200);
    assert_eq!(b.call("GET", "/data/copy").send(&w).await.body, "of b");
    // Cluster root is root of the default tenant only, as far as S3 goes.
    let account = a.store.account().to_string();
    w.get("/data").header("x-amz-expected-bucket-owner", &account).send(&w).await.refused(403, "AccessDenied");
    a.call("GET", "/data").header("x-amz-expected-bucket-owner", &account).send(&w).await.expect(200);
    // Deleting one leaves the others.
    w.delete("/data/k").send(&w).await.expect(204);
    w.delete("/data").send(&w).await.expect(204);
    assert_eq!(a.call("GET", "/data/k").send(&w).await.body, "of a");
}

/// What a tenant opens to everybody is open to everybody in it.
#[tokio::test]
async fn nothing_is_open_to_others() {
    let w = World::start().await;
    let (a, b) = (Tenant::new(&w, "a").await, Tenant::new(&w, "b").await);
    a.fill(&w, "of a").await;
    let (user, secret) = b.store.create_user("u", None).await.unwrap();
    let account = b.store.account();
    for principal in [
        "\"*\"".to_owned(),
        format!("{{\"AWS\":\"arn:aws:iam::{account}:user/u\"}}"),
        format!("{{\"AWS\":\"{account}\"}}"),
    ] {
        let policy = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":{principal},"Action":"s3:*","Resource":["arn:aws:s3:::data","arn:aws:s3:::data/*"]}}}}"#
        );
        a.call("PUT", "/data?policy").body(policy).send(&w).await.expect(204);
        w.get("/data/k").form(Form::Anonymous).send(&w).await.refused(403, "AccessDenied");
        w.get("/data/k").send(&w).await.refused(404, "NoSuchBucket");
        b.call("GET", "/data/k").send(&w).await.refused(404, "NoSuchBucket");
        let of_user = Call::new("GET", "/data/k").with_key(&user.access_key, &secret);
        of_user.send(&w).await.refused(403, "AccessDenied");
    }
    let controls =
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
    a.call("DELETE", "/data?policy").send(&w).await.expect(204);
    a.call("PUT", "/data?ownershipControls").body(controls).send(&w).await.expect(200);
    a.call("PUT", "/data?acl").header("x-amz-acl", "public-read-write").send(&w).await.expect(200);
    a.call("PUT", "/data/open").header("x-amz-acl", "public-read").body("x").send(&w).await.expect(200);
    w.get("/data/open").form(Form::Anonymous).send(&w).await.refused(403, "AccessDenied");
    b.call("GET", "/data/open").send(&w).await.refused(404, "NoSuchBucket");
    // Within, it is open.
    let (user, secret) = a.store.create_user("u", None).await.unwrap();
    Call::new("GET", "/data/open").with_key(&user.access_key, &secret).send(&w).await.expect(200);
    Call::new("GET", "/data/k").with_key(&user.access_key, &secret).send(&w).await.refused(403, "AccessDenied");
}

/// Users and groups of the same names, and what ends with the tenant.
#[tokio::test]
async fn users_never_meet() {
    let w = World::start().await;
    let (a, b) = (Tenant::new(&w, "a").await, Tenant::new(&w, "b").await);
    let (in_a, secret_a) = a.store.create_user("u", None).await.unwrap();
    let (in_b, secret_b) = b.store.create_user("u", None).await.unwrap();
    for tenant in [&a, &b] {
        tenant.store.create_group("g").await.unwrap();
        tenant.call("PUT", "/data").send(&w).await.expect(200);
    }
    a.store.grant("u", "data", Some(Right::Read)).await.unwrap();
    Call::new("GET", "/data").with_key(&in_a.access_key, &secret_a).send(&w).await.expect(200);
    Call::new("GET", "/data").with_key(&in_b.access_key, &secret_b).send(&w).await.refused(403, "AccessDenied");
    assert!(matches!(b.store.delete_access_key("u", &in_a.access_key).await, Err(Error::NoSuchAccessKey(_))));
    let taken = b.store.create_user("v", Some((in_a.access_key.clone(), secret_a.clone()))).await;
    assert!(matches!(taken, Err(Error::UserExists(_))), "access keys are unique among all tenants");
    assert!(w.store.users().await.unwrap().is_empty() && w.store.groups().await.unwrap().is_empty());
    assert!(matches!(w.store.tenant("none").await, Err(Error::NoSuchTenant(_))));
    assert!(matches!(w.store.create_tenant("a").await, Err(Error::TenantExists(_))));
    for name in ["", "default", "A", "a/b"] {
        assert!(matches!(w.store.create_tenant(name).await, Err(Error::Invalid(_))), "{name}");
    }
    // A tenant goes when nothing is left in it.
    for step in 0..3 {
        assert!(matches!(w.store.delete_tenant("a").await, Err(Error::TenantNotEmpty(_))), "{step}");
        match step {
            0 => a.store.delete_user("u").await.unwrap(),
            1 => a.store.delete_group("g").await.unwrap(),
            _ => a.store.delete_bucket("data").await.unwrap(),
        }
    }
    w.store.delete_tenant("a").await.unwrap();
    a.call("GET", "/").send(&w).await.refused(403, "InvalidAccessKeyId");
    assert!(a.store.create_bucket("late", "root", false).await.is_err(), "a handle that outlived it");
    assert!(a.store.create_user("late", None).await.is_err());
    b.call("GET", "/data").send(&w).await.expect(200);
    let names: Vec<String> = w.store.tenants().await.unwrap().into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(names, ["b"]);
}

/// A visitor of a website names no tenant, whatever key it has.
#[tokio::test]
async fn websites_are_of_the_default_tenant() {
    let w = World::start().await;
    let a = Tenant::new(&w, "a").await;
    a.call("PUT", "/data").send(&w).await.expect(200);
    a.call("PUT", "/data?cors").body(body_of("PutBucketCors")).send(&w).await.expect(200);
    let told = async |host: Option<&str>| {
        let mut call = a.call("GET", "/data").header("origin", "https://example.com");
        if let Some(host) = host {
            call = call.header("host", host);
        }
        call.send(&w).await.maybe("access-control-allow-origin").is_some()
    };
    assert!(told(None).await, "its own rules, on the endpoint");
    assert!(!told(Some("data.web.localhost")).await, "and not on the website of that name");
}
