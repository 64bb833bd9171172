//! The wider surface as tables of requests, one after the other on one server: versions, locks, tags,
//! bucket sub-resources, policies, CORS.
//!
//! A row is (method and target, headers, body, status, what the answer has). An answer has a text if
//! its body contains it; `!text`: it must not; `name: value`: a header with that value.

mod common;

use common::{Form, World};
use store::api::Right;

type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str, u16, &'static [&'static str]);

const NONE: &[(&str, &str)] = &[];

async fn play(w: &World, form: Form, key: Option<(&str, &str)>, rows: &[Row]) {
    for (line, headers, body, status, wanted) in rows {
        let (method, target) = line.split_once(' ').unwrap();
        let mut call = w.call(method, target).form(form).body(body);
        if let Some((access, secret)) = key {
            call = call.with_key(access, secret);
        }
        for (name, value) in *headers {
            call = call.header(name, value);
        }
        let answer = call.send(w).await;
        let text = answer.text();
        assert_eq!(answer.status.as_u16(), *status, "{line} {headers:?}: {text}");
        for want in *wanted {
            if let Some(unwanted) = want.strip_prefix('!') {
                let absent = !text.contains(unwanted) && !answer.headers.contains_key(unwanted);
                assert!(absent, "{line}: {unwanted} is there: {text} {:?}", answer.headers);
            } else if let Some((name, value)) = want.split_once(": ") {
                let told = answer.headers.get(name).map(|told| told.to_str().unwrap());
                assert_eq!(told, Some(value), "{line}: {name}");
            } else {
                assert!(text.contains(want), "{line}: {want} is missing: {text}");
            }
        }
    }
}

const fn versioning(status: &'static str) -> &'static str {
    match status.as_bytes()[0] {
        b'E' => {
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>"
        }
        _ => "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    }
}

#[tokio::test]
async fn versions_are_switched() {
    let w = World::with_bucket().await;
    play(&w, Form::Hashed, None, &[
        ("GET /bbb?versioning", NONE, "", 200, &["VersioningConfiguration", "!Status"]),
        ("PUT /bbb/k", NONE, "before", 200, &["!x-amz-version-id"]),
        ("GET /bbb/k", NONE, "", 200, &["before", "!x-amz-version-id"]),
        ("PUT /bbb?versioning", NONE, "<VersioningConfiguration/>", 400, &["IllegalVersioningConfigurationException"]),
        ("PUT /bbb?versioning", NONE, "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", 400, &[]),
        ("PUT /bbb?versioning", NONE, "<Versioning", 400, &["MalformedXML"]),
        ("PUT /bbb?versioning", NONE, "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", 501, &["NotImplemented"]),
        ("PUT /none?versioning", NONE, versioning("E"), 404, &["NoSuchBucket"]),
        ("GET /none?versioning", NONE, "", 404, &["NoSuchBucket"]),
        ("PUT /bbb?versioning", NONE, versioning("E"), 200, &[]),
        ("GET /bbb?versioning", NONE, "", 200, &["<Status>Enabled</Status>"]),
        // What was there before is the version null.
        ("GET /bbb/k", NONE, "", 200, &["before", "x-amz-version-id: null"]),
        ("GET /bbb/k?versionId=null", NONE, "", 200, &["before"]),
        ("HEAD /bbb/k?versionId=null", NONE, "", 200, &["x-amz-version-id: null"]),
        ("GET /bbb/k?versionId=", NONE, "", 200, &["before"]),
        ("GET /bbb/k?versionId=xyz", NONE, "", 400, &["InvalidArgument", "Invalid version id specified"]),
        ("GET /bbb/k?versionId=00000000000000000000000000000000", NONE, "", 404, &["NoSuchVersion"]),
        ("DELETE /bbb/k?versionId=00000000000000000000000000000000", NONE, "", 204, &[]),
        ("DELETE /bbb/k?versionId=xyz", NONE, "", 400, &["InvalidArgument"]),
        ("PUT /bbb?versioning", NONE, versioning("S"), 200, &[]),
        ("GET /bbb?versioning", NONE, "", 200, &["<Status>Suspended</Status>"]),
        ("PUT /bbb/k", NONE, "again", 200, &["x-amz-version-id: null"]),
        ("GET /bbb?versions", NONE, "", 200, &["<VersionId>null</VersionId>", "<IsLatest>true</IsLatest>", "!<IsLatest>false</IsLatest>"]),
        ("DELETE /bbb/k", NONE, "", 204, &["x-amz-delete-marker: true", "x-amz-version-id: null"]),
        ("GET /bbb/k", NONE, "", 404, &["NoSuchKey", "x-amz-delete-marker: true", "x-amz-version-id: null"]),
        ("GET /bbb/k?versionId=null", NONE, "", 405, &["MethodNotAllowed", "x-amz-delete-marker: true"]),
        ("GET /bbb?versions", NONE, "", 200, &["<DeleteMarker>", "!<Version>"]),
        ("GET /bbb", NONE, "", 200, &["!<Key>"]),
        ("DELETE /bbb", NONE, "", 409, &["BucketNotEmpty"]),
        ("DELETE /bbb/k?versionId=null", NONE, "", 204, &["x-amz-delete-marker: true"]),
        ("GET /bbb/k", NONE, "", 404, &["NoSuchKey", "!x-amz-delete-marker"]),
        ("GET /bbb?versions", NONE, "", 200, &["!<DeleteMarker>", "!<Version>"]),
        ("DELETE /bbb", NONE, "", 204, &[]),
    ]).await;
}

/// Every version stays, in order, until it is removed; what is below the newest comes back.
#[tokio::test]
async fn versions_come_and_go() {
    let w = World::with_bucket().await;
    w.put("/bbb?versioning").body(versioning("E")).send(&w).await.expect(200);
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        ids.push(w.put("/bbb/k").body(body).send(&w).await.expect(200).header("x-amz-version-id").to_owned());
    }
    for (id, body) in ids.iter().zip(["one", "two", "three"]) {
        let got = w.get(&format!("/bbb/k?versionId={id}")).send(&w).await.expect(200);
        assert_eq!((got.header("x-amz-version-id"), got.text().as_str()), (id.as_str(), body));
    }
    let marker = w.delete("/bbb/k").send(&w).await.expect(204).header("x-amz-version-id").to_owned();
    w.get("/bbb/k").send(&w).await.refused(404, "NoSuchKey");
    assert_eq!(w.get("/bbb").send(&w).await.expect(200).all("Key"), Vec::<String>::new());
    let listed = w.get("/bbb?versions").send(&w).await.expect(200);
    assert_eq!(listed.all("VersionId").len(), 4);
    // A page at a time, each going on where the one before ended.
    let (mut seen, mut key, mut version) = (Vec::new(), String::new(), String::new());
    loop {
        let mut call = w.get("/bbb?versions&max-keys=1");
        if !key.is_empty() {
            call = call.query("key-marker", &key).query("version-id-marker", &version);
        }
        let page = call.send(&w).await.expect(200);
        seen.extend(page.all("VersionId"));
        if page.tag("IsTruncated") == "false" {
            break;
        }
        (key, version) = (page.tag("NextKeyMarker"), page.tag("NextVersionIdMarker"));
    }
    assert_eq!(seen, [marker.as_str(), &ids[2], &ids[1], &ids[0]]);
    // A copy of an old version makes it the newest.
    let source = format!("/bbb/k?versionId={}", ids[0]);
    let copied = w.put("/bbb/k").header("x-amz-copy-source", &source).send(&w).await.expect(200);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), ids[0]);
    assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body, "one");
    let newest = copied.header("x-amz-version-id").to_owned();
    // Removing what is newest brings back what was below: first the marker, then the object.
    w.delete(&format!("/bbb/k?versionId={newest}")).send(&w).await.expect(204);
    w.get("/bbb/k").send(&w).await.refused(404, "NoSuchKey");
    let gone = w.delete(&format!("/bbb/k?versionId={marker}")).send(&w).await.expect(204);
    assert_eq!(gone.header("x-amz-delete-marker"), "true");
    assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body, "three");
    w.delete(&format!("/bbb/k?versionId={}", ids[1])).send(&w).await.expect(204);
    w.delete(&format!("/bbb/k?versionId={}", ids[2])).send(&w).await.expect(204);
    assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body, "one");
    let document = format!(
        "<Delete><Object><Key>k</Key><VersionId>{}</VersionId></Object><Object><Key>none</Key></Object></Delete>",
        ids[0]
    );
    let deleted = w.post("/bbb?delete").body(document).send(&w).await.expect(200);
    assert!(deleted.text().contains("<DeleteMarkerVersionId>"), "{}", deleted.text());
    let left = w.get("/bbb?versions").send(&w).await.expect(200);
    assert_eq!(left.all("Key"), ["none"]);
}

#[tokio::test]
async fn locks_hold() {
    let w = World::start().await;
    w.put("/lock").header("x-amz-bucket-object-lock-enabled", "true").send(&w).await.expect(200);
    w.put("/free").send(&w).await.expect(200);
    play(&w, Form::Hashed, None, &[
        ("GET /lock?versioning", NONE, "", 200, &["Enabled"]),
        ("GET /lock?object-lock", NONE, "", 200, &["<ObjectLockEnabled>Enabled</ObjectLockEnabled>", "!Rule"]),
        ("GET /free?object-lock", NONE, "", 404, &["ObjectLockConfigurationNotFoundError"]),
        ("PUT /free?object-lock", NONE, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>", 409, &["InvalidBucketState"]),
        ("PUT /lock?versioning", NONE, versioning("S"), 409, &["InvalidBucketState"]),
        ("PUT /free/k", &[("x-amz-object-lock-legal-hold", "ON")], "x", 400, &["InvalidArgument", "Bucket is missing Object Lock Configuration"]),
        ("PUT /lock/k", &[("x-amz-object-lock-mode", "GOVERNANCE")], "x", 400, &["InvalidArgument"]),
        ("PUT /lock/k", &[("x-amz-object-lock-mode", "SOMETIMES"), ("x-amz-object-lock-retain-until-date", "2999-01-01T00:00:00Z")], "x", 400, &["InvalidArgument"]),
        ("PUT /lock/k", &[("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", "2001-01-01T00:00:00Z")], "x", 400, &["InvalidArgument"]),
        ("PUT /lock/k", &[("x-amz-object-lock-legal-hold", "MAYBE")], "x", 400, &["InvalidArgument"]),
        ("PUT /lock/plain", NONE, "x", 200, &[]),
        ("GET /lock/plain?retention", NONE, "", 404, &["NoSuchObjectLockConfiguration"]),
        ("GET /lock/plain?legal-hold", NONE, "", 200, &["<Status>OFF</Status>"]),
        ("GET /free/k?retention", NONE, "", 400, &["InvalidRequest"]),
        ("PUT /lock/plain?legal-hold", NONE, "<LegalHold><Status>ON</Status></LegalHold>", 200, &[]),
        ("HEAD /lock/plain", NONE, "", 200, &["x-amz-object-lock-legal-hold: ON"]),
        ("PUT /lock/plain?legal-hold", NONE, "<LegalHold><Status>PERHAPS</Status></LegalHold>", 400, &["MalformedXML"]),
        ("PUT /lock/plain?retention", NONE, "<Retention><Mode>GOVERNANCE</Mode></Retention>", 400, &["MalformedXML"]),
        ("PUT /lock?object-lock", NONE, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>0</Days></DefaultRetention></Rule></ObjectLockConfiguration>", 400, &["InvalidArgument"]),
        ("PUT /lock?object-lock", NONE, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years></DefaultRetention></Rule></ObjectLockConfiguration>", 400, &["MalformedXML"]),
        ("PUT /lock?object-lock", NONE, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>", 200, &[]),
        ("GET /lock?object-lock", NONE, "", 200, &["<Days>3</Days>", "<Mode>GOVERNANCE</Mode>"]),
        ("PUT /lock/default", NONE, "x", 200, &[]),
        ("HEAD /lock/default", NONE, "", 200, &["x-amz-object-lock-mode: GOVERNANCE"]),
        ("GET /lock/default?retention", NONE, "", 200, &["<Mode>GOVERNANCE</Mode>", "<RetainUntilDate>"]),
    ]).await;
    let id = w.head("/lock/default").send(&w).await.header("x-amz-version-id").to_owned();
    let version = format!("/lock/default?versionId={id}");
    let shorter =
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>";
    let longer =
        "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>";
    w.delete(&version).send(&w).await.refused(403, "AccessDenied");
    // A marker hides it and harms nothing.
    w.delete("/lock/default").send(&w).await.expect(204);
    w.get(&version).send(&w).await.expect(200);
    let at = format!("/lock/default?retention&versionId={id}");
    w.put(&at).body(longer).send(&w).await.expect(200);
    w.put(&at).body(shorter).send(&w).await.refused(403, "AccessDenied");
    w.put(&at)
        .header("x-amz-bypass-governance-retention", "true")
        .body(shorter)
        .send(&w)
        .await
        .refused(403, "AccessDenied");
    w.delete(&version).header("x-amz-bypass-governance-retention", "true").send(&w).await.refused(403, "AccessDenied");
    let other = w.put("/lock/other").body("x").send(&w).await.expect(200).header("x-amz-version-id").to_owned();
    let other = format!("/lock/other?versionId={other}");
    w.delete(&other).send(&w).await.refused(403, "AccessDenied");
    w.delete(&other).header("x-amz-bypass-governance-retention", "true").send(&w).await.expect(204);
    let held = w.head("/lock/plain").send(&w).await.header("x-amz-version-id").to_owned();
    let held = format!("/lock/plain?versionId={held}");
    w.delete(&held).header("x-amz-bypass-governance-retention", "true").send(&w).await.refused(403, "AccessDenied");
    w.put("/lock/plain?legal-hold").body("<LegalHold><Status>OFF</Status></LegalHold>").send(&w).await.expect(200);
    w.delete(&held).send(&w).await.expect(204);
}

#[tokio::test]
async fn tags() {
    let w = World::with_bucket().await;
    play(&w, Form::Hashed, None, &[
        ("PUT /bbb/k", &[("x-amz-tagging", "a=1&b=two%20words")], "x", 200, &[]),
        ("HEAD /bbb/k", NONE, "", 200, &["x-amz-tagging-count: 2"]),
        ("GET /bbb/k", NONE, "", 200, &["x-amz-tagging-count: 2"]),
        ("GET /bbb/k?tagging", NONE, "", 200, &["<Key>a</Key><Value>1</Value>", "<Value>two words</Value>"]),
        ("PUT /bbb/bad", &[("x-amz-tagging", "a=1&a=2")], "x", 400, &["InvalidArgument"]),
        ("PUT /bbb/bad", &[("x-amz-tagging", "=1")], "x", 400, &["InvalidTag"]),
        ("PUT /bbb/bad", &[("x-amz-tagging", "a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1")], "x", 400, &["BadRequest"]),
        ("PUT /bbb/bad", &[("x-amz-tagging", "a=%7B")], "x", 400, &["InvalidTag"]),
        ("GET /bbb/bad", NONE, "", 404, &["NoSuchKey"]),
        ("PUT /bbb/k?tagging", NONE, "<Tagging><TagSet><Tag><Key>c</Key><Value></Value></Tag></TagSet></Tagging>", 200, &[]),
        ("GET /bbb/k?tagging", NONE, "", 200, &["<Key>c</Key>", "!<Key>a</Key>"]),
        ("PUT /bbb/k?tagging", NONE, "<Tagging><TagSet><Tag><Key>c</Key><Value>1</Value></Tag><Tag><Key>c</Key><Value>2</Value></Tag></TagSet></Tagging>", 400, &["InvalidTag"]),
        ("PUT /bbb/k?tagging", NONE, "<Tagging>", 400, &["MalformedXML"]),
        ("PUT /bbb/none?tagging", NONE, "<Tagging><TagSet></TagSet></Tagging>", 404, &["NoSuchKey"]),
        ("GET /bbb/none?tagging", NONE, "", 404, &["NoSuchKey"]),
        ("PUT /bbb/copy", &[("x-amz-copy-source", "/bbb/k")], "", 200, &[]),
        ("GET /bbb/copy?tagging", NONE, "", 200, &["<Key>c</Key>"]),
        ("PUT /bbb/copy", &[("x-amz-copy-source", "/bbb/k"), ("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "z=9")], "", 200, &[]),
        ("GET /bbb/copy?tagging", NONE, "", 200, &["<Key>z</Key>", "!<Key>c</Key>"]),
        ("DELETE /bbb/k?tagging", NONE, "", 204, &[]),
        ("GET /bbb/k?tagging", NONE, "", 200, &["!<Tag>"]),
        ("HEAD /bbb/k", NONE, "", 200, &["!x-amz-tagging-count"]),
        ("GET /bbb?tagging", NONE, "", 404, &["NoSuchTagSet"]),
        ("PUT /bbb?tagging", NONE, "<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>", 200, &[]),
        ("GET /bbb?tagging", NONE, "", 200, &["<Key>team</Key><Value>red</Value>"]),
        ("DELETE /bbb?tagging", NONE, "", 204, &[]),
        ("GET /bbb?tagging", NONE, "", 404, &["NoSuchTagSet"]),
    ]).await;
}

#[tokio::test]
async fn bucket_sub_resources() {
    let w = World::with_bucket().await;
    play(&w, Form::Hashed, None, &[
        ("GET /bbb?cors", NONE, "", 404, &["NoSuchCORSConfiguration"]),
        ("PUT /bbb?cors", NONE, "<CORSConfiguration></CORSConfiguration>", 400, &["MalformedXML"]),
        ("PUT /bbb?cors", NONE, "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule></CORSConfiguration>", 400, &["InvalidRequest", "PATCH"]),
        ("PUT /bbb?cors", NONE, "<CORSConfiguration><CORSRule><AllowedOrigin>http://*.a.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>", 400, &["InvalidRequest", "more than one wildcard"]),
        ("PUT /bbb?cors", NONE, "<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>", 200, &[]),
        ("GET /bbb?cors", NONE, "", 200, &["<AllowedOrigin>https://a.example</AllowedOrigin>", "<MaxAgeSeconds>60</MaxAgeSeconds>"]),
        ("GET /bbb?website", NONE, "", 404, &["NoSuchWebsiteConfiguration"]),
        ("PUT /bbb?website", NONE, "<WebsiteConfiguration></WebsiteConfiguration>", 400, &["InvalidArgument"]),
        ("PUT /bbb?website", NONE, "<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument></WebsiteConfiguration>", 400, &["InvalidArgument"]),
        ("PUT /bbb?website", NONE, "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>", 200, &[]),
        ("GET /bbb?website", NONE, "", 200, &["<Suffix>index.html</Suffix>"]),
        ("DELETE /bbb?website", NONE, "", 204, &[]),
        ("GET /bbb?website", NONE, "", 404, &["NoSuchWebsiteConfiguration"]),
        ("GET /bbb?encryption", NONE, "", 200, &["<SSEAlgorithm>AES256</SSEAlgorithm>"]),
        ("PUT /bbb?encryption", NONE, "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>", 200, &[]),
        ("PUT /bbb?encryption", NONE, "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>ROT13</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>", 400, &["MalformedXML"]),
        ("DELETE /bbb?encryption", NONE, "", 204, &[]),
        ("GET /bbb?ownershipControls", NONE, "", 404, &["OwnershipControlsNotFoundError"]),
        ("PUT /bbb?ownershipControls", NONE, "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>", 200, &[]),
        ("GET /bbb?ownershipControls", NONE, "", 200, &["BucketOwnerEnforced"]),
        ("PUT /bbb?ownershipControls", NONE, "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>", 200, &[]),
        ("DELETE /bbb?ownershipControls", NONE, "", 204, &[]),
        ("GET /bbb?publicAccessBlock", NONE, "", 404, &["NoSuchPublicAccessBlockConfiguration"]),
        ("PUT /bbb?publicAccessBlock", NONE, "<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>", 200, &[]),
        ("GET /bbb?publicAccessBlock", NONE, "", 200, &["<BlockPublicPolicy>true</BlockPublicPolicy>"]),
        ("DELETE /bbb?publicAccessBlock", NONE, "", 204, &[]),
        ("GET /bbb?acl", NONE, "", 200, &["FULL_CONTROL", "<ID>root</ID>"]),
        ("PUT /bbb?acl", &[("x-amz-acl", "private")], "", 200, &[]),
        ("PUT /bbb?acl", NONE, "<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>", 400, &["AccessControlListNotSupported"]),
        ("GET /bbb?requestPayment", NONE, "", 200, &["<Payer>BucketOwner</Payer>"]),
        ("GET /bbb?logging", NONE, "", 200, &["BucketLoggingStatus", "!LoggingEnabled"]),
        ("GET /bbb?accelerate", NONE, "", 200, &["AccelerateConfiguration"]),
        ("GET /bbb?notification", NONE, "", 200, &["NotificationConfiguration"]),
        ("GET /bbb?lifecycle", NONE, "", 404, &["NoSuchLifecycleConfiguration"]),
        ("PUT /bbb?lifecycle", NONE, "<LifecycleConfiguration><Rule><ID>old</ID><Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter><Expiration><Days>0</Days></Expiration></Rule></LifecycleConfiguration>", 400, &["InvalidArgument"]),
        ("PUT /bbb?lifecycle", NONE, "<LifecycleConfiguration><Rule><ID>old</ID><Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>", 501, &["NotImplemented"]),
        ("PUT /bbb?lifecycle", NONE, "<LifecycleConfiguration><Rule><ID>old</ID><Status>Enabled</Status><Filter><And><Prefix>log/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter><Expiration><Days>7</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>", 200, &[]),
        ("GET /bbb?lifecycle", NONE, "", 200, &["<ID>old</ID>", "<And>", "<Days>7</Days>", "<NoncurrentDays>3</NoncurrentDays>"]),
        ("DELETE /bbb?lifecycle", NONE, "", 204, &[]),
        ("GET /bbb?lifecycle", NONE, "", 404, &["NoSuchLifecycleConfiguration"]),
        // Sub-resources do not keep a bucket from being deleted, and do not outlive it.
        ("DELETE /bbb", NONE, "", 204, &[]),
        ("PUT /bbb", NONE, "", 200, &[]),
        ("GET /bbb?cors", NONE, "", 404, &["NoSuchCORSConfiguration"]),
    ]).await;
}

#[tokio::test]
async fn policies_allow_and_deny() {
    let w = World::with_bucket().await;
    w.stored("/bbb/open/a", b"open").await;
    w.stored("/bbb/shut/a", b"shut").await;
    let (access, secret) = ("READERKEY00000000000", "reader-secret-reader-secret");
    w.store.create_user("reader", Some((access.to_owned(), secret.to_owned()))).await.unwrap();
    w.store.grant("reader", "bbb", Some(Right::Read)).await.unwrap();
    let (stranger, word) = ("STRANGERKEY000000000", "stranger-secret-stranger");
    w.store.create_user("stranger", Some((stranger.to_owned(), word.to_owned()))).await.unwrap();
    play(&w, Form::Hashed, None, &[
        ("GET /bbb?policy", NONE, "", 404, &["NoSuchBucketPolicy"]),
        ("GET /bbb?policyStatus", NONE, "", 404, &["NoSuchBucketPolicy"]),
        ("PUT /bbb?policy", NONE, "{", 400, &["MalformedPolicy"]),
        ("PUT /bbb?policy", NONE, r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*"}]}"#, 400, &["MalformedPolicy"]),
        ("PUT /bbb?policy", NONE, r#"{"Version":"2012-10-17","Statement":[{"Sid":"1","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/open/*"},{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/reader"},"Action":"s3:*","Resource":"arn:aws:s3:::bbb/shut/*"},{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/stranger"},"Action":["s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::bbb","arn:aws:s3:::bbb/drop/*"]}]}"#, 204, &[]),
        ("GET /bbb?policy", NONE, "", 200, &[r#""Sid":"1""#]),
        ("GET /bbb?policyStatus", NONE, "", 200, &["<IsPublic>true</IsPublic>"]),
    ]).await;
    play(
        &w,
        Form::Anonymous,
        None,
        &[
            ("GET /bbb/open/a", NONE, "", 200, &["open"]),
            ("GET /bbb/open/none", NONE, "", 404, &[]),
            ("GET /bbb/shut/a", NONE, "", 403, &["AccessDenied"]),
            ("PUT /bbb/open/b", NONE, "x", 403, &["AccessDenied"]),
            ("DELETE /bbb/open/a", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb", NONE, "", 403, &["AccessDenied"]),
            ("GET /", NONE, "", 403, &["AccessDenied"]),
            ("GET /none/a", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb?policy", NONE, "", 403, &["AccessDenied"]),
        ],
    )
    .await;
    play(
        &w,
        Form::Hashed,
        Some((access, secret)),
        &[
            ("GET /bbb/open/a", NONE, "", 200, &[]),
            ("GET /bbb/shut/a", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb/other", NONE, "", 404, &["NoSuchKey"]),
            ("PUT /bbb/drop/a", NONE, "x", 403, &["AccessDenied"]),
            ("PUT /bbb/open/x", &[("x-amz-copy-source", "/bbb/open/a")], "", 403, &["AccessDenied"]),
            ("PUT /bbb?policy", NONE, "{}", 403, &["AccessDenied"]),
        ],
    )
    .await;
    play(
        &w,
        Form::Hashed,
        Some((stranger, word)),
        &[
            ("PUT /bbb/drop/a", NONE, "x", 200, &[]),
            ("PUT /bbb/else/a", NONE, "x", 403, &["AccessDenied"]),
            ("GET /bbb/drop/a", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb", NONE, "", 200, &["drop/a"]),
            ("PUT /bbb/drop/b", &[("x-amz-copy-source", "/bbb/open/a")], "", 200, &[]),
            ("PUT /bbb/drop/c", &[("x-amz-copy-source", "/bbb/shut/a")], "", 403, &["AccessDenied"]),
            (
                "POST /bbb?delete",
                NONE,
                "<Delete><Object><Key>drop/a</Key></Object></Delete>",
                200,
                &["<Code>AccessDenied</Code>"],
            ),
        ],
    )
    .await;
    play(&w, Form::Hashed, None, &[
        ("GET /bbb/drop/a", NONE, "", 200, &[]),
        ("GET /bbb/drop/c", NONE, "", 404, &[]),
        ("PUT /bbb?publicAccessBlock", NONE, "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>", 200, &[]),
        ("PUT /bbb?policy", NONE, r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/*"}]}"#, 403, &["AccessDenied"]),
    ]).await;
    play(&w, Form::Anonymous, None, &[("GET /bbb/open/a", NONE, "", 403, &["AccessDenied"])]).await;
    // Nobody can shut out the owner for good.
    play(&w, Form::Hashed, None, &[
        ("PUT /bbb?policy", NONE, r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bbb","arn:aws:s3:::bbb/*"]}]}"#, 204, &[]),
        ("GET /bbb/open/a", NONE, "", 403, &["AccessDenied"]),
        ("GET /bbb?policy", NONE, "", 200, &["Deny"]),
        ("DELETE /bbb?policy", NONE, "", 204, &[]),
        ("GET /bbb/open/a", NONE, "", 200, &["open"]),
    ]).await;
}

#[tokio::test]
async fn conditions_of_policies_are_asked() {
    let w = World::with_bucket().await;
    w.put("/bbb/red").header("x-amz-tagging", "team=red").body("x").send(&w).await.expect(200);
    w.put("/bbb/blue").header("x-amz-tagging", "team=blue").body("x").send(&w).await.expect(200);
    w.put("/bbb?policy").body(r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"red"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}},
        {"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bbb","Condition":{"StringLike":{"s3:prefix":"pub/*"}}},
        {"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bbb/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}"#).send(&w).await.expect(204);
    play(
        &w,
        Form::Anonymous,
        None,
        &[
            ("GET /bbb/red", NONE, "", 200, &[]),
            ("GET /bbb/blue", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb/none", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb?prefix=pub/", NONE, "", 200, &[]),
            ("GET /bbb?list-type=2&prefix=pub/x", NONE, "", 200, &[]),
            ("GET /bbb", NONE, "", 403, &["AccessDenied"]),
            ("GET /bbb?prefix=priv/", NONE, "", 403, &["AccessDenied"]),
            ("PUT /bbb/new", NONE, "x", 403, &["AccessDenied"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn browsers_are_told() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    play(
        &w,
        Form::Anonymous,
        None,
        &[(
            "OPTIONS /bbb/k",
            &[("origin", "https://a.example"), ("access-control-request-method", "GET")],
            "",
            403,
            &["AccessForbidden", "CORS is not enabled"],
        )],
    )
    .await;
    w.put("/bbb?cors").body("<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>").send(&w).await.expect(200);
    play(
        &w,
        Form::Anonymous,
        None,
        &[
            (
                "OPTIONS /bbb/k",
                &[
                    ("origin", "https://a.example"),
                    ("access-control-request-method", "PUT"),
                    ("access-control-request-headers", "X-Amz-Date, x-amz-meta-a"),
                ],
                "",
                200,
                &[
                    "access-control-allow-origin: https://a.example",
                    "access-control-max-age: 60",
                    "access-control-allow-headers: x-amz-date, x-amz-meta-a",
                    "access-control-allow-methods: GET, PUT",
                ],
            ),
            (
                "OPTIONS /bbb/k",
                &[
                    ("origin", "https://a.example"),
                    ("access-control-request-method", "PUT"),
                    ("access-control-request-headers", "authorization"),
                ],
                "",
                403,
                &["AccessForbidden"],
            ),
            (
                "OPTIONS /bbb/k",
                &[("origin", "https://a.example"), ("access-control-request-method", "DELETE")],
                "",
                403,
                &["AccessForbidden"],
            ),
            (
                "OPTIONS /bbb/k",
                &[("origin", "http://a.example"), ("access-control-request-method", "GET")],
                "",
                403,
                &["AccessForbidden"],
            ),
            (
                "OPTIONS /bbb/k",
                &[("origin", "http://x.org"), ("access-control-request-method", "HEAD")],
                "",
                200,
                &["access-control-allow-origin: *", "!access-control-allow-credentials"],
            ),
        ],
    )
    .await;
    play(
        &w,
        Form::Hashed,
        None,
        &[
            (
                "GET /bbb/k",
                &[("origin", "https://b.example")],
                "",
                200,
                &["access-control-allow-origin: https://b.example", "access-control-expose-headers: ETag"],
            ),
            ("GET /bbb/k", &[("origin", "http://b.other")], "", 200, &["!access-control-allow-origin"]),
            (
                "GET /bbb/none",
                &[("origin", "https://b.example")],
                "",
                404,
                &["access-control-allow-origin: https://b.example"],
            ),
            ("GET /bbb/k", NONE, "", 200, &["!access-control-allow-origin"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn attributes() {
    let w = World::with_bucket().await;
    w.put("/bbb/k").header("x-amz-checksum-crc32c", "AAAAAA==").body("").send(&w).await.expect(200);
    play(
        &w,
        Form::Hashed,
        None,
        &[
            (
                "GET /bbb/k?attributes",
                &[("x-amz-object-attributes", "ETag,ObjectSize,StorageClass,Checksum")],
                "",
                200,
                &[
                    "<ObjectSize>0</ObjectSize>",
                    "<StorageClass>STANDARD</StorageClass>",
                    "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>",
                    "<ETag>",
                ],
            ),
            (
                "GET /bbb/k?attributes",
                &[("x-amz-object-attributes", "ObjectSize")],
                "",
                200,
                &["<ObjectSize>0</ObjectSize>", "!<ETag>"],
            ),
            ("GET /bbb/k?attributes", &[("x-amz-object-attributes", "Colour")], "", 400, &["InvalidArgument"]),
            ("GET /bbb/none?attributes", &[("x-amz-object-attributes", "ETag")], "", 404, &["NoSuchKey"]),
        ],
    )
    .await;
}

/// What rules will do is told with the object, and with the upload.
#[tokio::test]
async fn lifecycle_is_told() {
    let w = World::with_bucket().await;
    let rules = "<LifecycleConfiguration><Rule><ID>old one</ID><Filter><Prefix>a/</Prefix></Filter><Status>Enabled</Status><Expiration><Date>2100-01-02T00:00:00Z</Date></Expiration></Rule><Rule><ID>half</ID><Filter><Prefix>a/</Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>";
    const DUE: &str = "x-amz-expiration: expiry-date=\"Sat, 02 Jan 2100 00:00:00 GMT\", rule-id=\"old%20one\"";
    play(
        &w,
        Form::Hashed,
        None,
        &[
            ("PUT /bbb/a/k", NONE, "x", 200, &["!x-amz-expiration"]),
            ("PUT /bbb?lifecycle", NONE, rules, 200, &[]),
            ("PUT /bbb/a/k", NONE, "x", 200, &[DUE]),
            ("GET /bbb/a/k", NONE, "", 200, &[DUE]),
            ("HEAD /bbb/a/k", NONE, "", 200, &[DUE]),
            ("GET /bbb/a/k?versionId=null", NONE, "", 200, &["!x-amz-expiration"]),
            ("PUT /bbb/a/c", &[("x-amz-copy-source", "/bbb/a/k")], "", 200, &[DUE]),
            ("PUT /bbb/b/c", &[("x-amz-copy-source", "/bbb/a/k")], "", 200, &["!x-amz-expiration"]),
            ("GET /bbb/b/c", NONE, "", 200, &["!x-amz-expiration"]),
            ("POST /bbb/a/m?uploads", NONE, "", 200, &["x-amz-abort-rule-id: half"]),
            ("POST /bbb/b/m?uploads", NONE, "", 200, &["!x-amz-abort-rule-id"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_bucket_has_the_owner_that_is_expected() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    const RIGHT: &str = "000000000000";
    const WRONG: &str = "111122223333";
    play(
        &w,
        Form::Hashed,
        None,
        &[
            ("GET /bbb/k", &[("x-amz-expected-bucket-owner", RIGHT)], "", 200, &[]),
            ("GET /bbb/k", &[("x-amz-expected-bucket-owner", WRONG)], "", 403, &["AccessDenied"]),
            ("PUT /bbb/k", &[("x-amz-expected-bucket-owner", WRONG)], "y", 403, &["AccessDenied"]),
            ("HEAD /bbb", &[("x-amz-expected-bucket-owner", WRONG)], "", 403, &[]),
            (
                "PUT /bbb/c",
                &[("x-amz-copy-source", "/bbb/k"), ("x-amz-source-expected-bucket-owner", WRONG)],
                "",
                403,
                &["AccessDenied"],
            ),
            (
                "PUT /bbb/c",
                &[("x-amz-copy-source", "/bbb/k"), ("x-amz-source-expected-bucket-owner", RIGHT)],
                "",
                200,
                &[],
            ),
            ("GET /bbb/k", NONE, "", 200, &["x"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn website_redirections_are_kept() {
    let w = World::with_bucket().await;
    const NAME: &str = "x-amz-website-redirect-location";
    let long = "/".repeat(2049);
    for bad in ["page", "ftp://x/", long.as_str()] {
        w.put("/bbb/k").header(NAME, bad).body("x").send(&w).await.refused(400, "InvalidRedirectLocation");
    }
    play(
        &w,
        Form::Hashed,
        None,
        &[
            ("PUT /bbb/k", &[(NAME, "/other")], "x", 200, &[]),
            ("GET /bbb/k", NONE, "", 200, &["x-amz-website-redirect-location: /other"]),
            ("HEAD /bbb/k", NONE, "", 200, &["x-amz-website-redirect-location: /other"]),
        ],
    )
    .await;
}

/// A class is told, and a copy has its own.
#[tokio::test]
async fn storage_classes_are_told() {
    let w = World::with_bucket().await;
    const CLASS: &str = "x-amz-storage-class";
    const FROM: (&str, &str) = ("x-amz-copy-source", "/bbb/k");
    play(
        &w,
        Form::Hashed,
        None,
        &[
            ("PUT /bbb/k", &[(CLASS, "STANDARD_IA")], "x", 200, &[]),
            ("GET /bbb/k", NONE, "", 200, &["x-amz-storage-class: STANDARD_IA"]),
            ("HEAD /bbb/k", NONE, "", 200, &["x-amz-storage-class: STANDARD_IA"]),
            ("GET /bbb", NONE, "", 200, &["<StorageClass>STANDARD_IA</StorageClass>"]),
            ("GET /bbb?versions", NONE, "", 200, &["<StorageClass>STANDARD_IA</StorageClass>"]),
            ("GET /bbb/k?attributes", &[("x-amz-object-attributes", "StorageClass")], "", 200, &["STANDARD_IA"]),
            ("PUT /bbb/c", &[FROM], "", 200, &[]),
            ("HEAD /bbb/c", NONE, "", 200, &["!x-amz-storage-class"]),
            ("PUT /bbb/c", &[FROM, (CLASS, "GLACIER_IR")], "", 200, &[]),
            ("HEAD /bbb/c", NONE, "", 200, &["x-amz-storage-class: GLACIER_IR"]),
            ("PUT /bbb/k", &[FROM, (CLASS, "STANDARD")], "", 200, &[]),
            ("HEAD /bbb/k", NONE, "", 200, &["!x-amz-storage-class"]),
            ("PUT /bbb/k", &[(CLASS, "DEEP_ARCHIVE")], "x", 501, &["NotImplemented"]),
        ],
    )
    .await;
}
