//! Access control lists: off, on, and what they let whom do.

mod common;

use common::{Answer, Form, World};

const ON: &str = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
const OFF: &str =
    "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
const ALL: &str = "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"";

fn policy(grants: &[(&str, &str)]) -> String {
    let grants = grants.iter().map(|(grantee, permission)| {
        format!(
            "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" {grantee}</Grantee><Permission>{permission}</Permission></Grant>"
        )
    });
    let grants: String = grants.collect();
    format!(
        "<AccessControlPolicy><Owner><ID>root</ID></Owner><AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    )
}

fn user(name: &str) -> String {
    format!("xsi:type=\"CanonicalUser\"><ID>{name}</ID>")
}

async fn anonymous(w: &World, method: &'static str, target: &str) -> Answer {
    w.call(method, target).form(Form::Anonymous).send(w).await
}

#[tokio::test]
async fn acls_are_off_until_they_are_turned_on() {
    let w = World::with_bucket().await;
    for (name, value) in [("x-amz-acl", "public-read"), ("x-amz-grant-read", ALL), ("x-amz-acl", "authenticated-read")]
    {
        let refused = [
            w.put("/bbb/k").header(name, value).body("x"),
            w.post("/bbb/k?uploads").header(name, value),
            w.put("/bbb?acl").header(name, value),
        ];
        for call in refused {
            call.send(&w).await.refused(400, "AccessControlListNotSupported");
        }
        w.put("/ccc").header(name, value).send(&w).await.refused(400, "InvalidBucketAclWithObjectOwnership");
        w.get("/ccc").send(&w).await.refused(404, "NoSuchBucket");
    }
    assert!(!w.exists("/bbb/k").await);
    // What is so anyway may be said.
    for value in ["private", "bucket-owner-full-control"] {
        w.put("/bbb/k").header("x-amz-acl", value).body("x").send(&w).await.expect(200);
        w.put("/bbb/k?acl").header("x-amz-acl", value).send(&w).await.expect(200);
    }
    w.put("/bbb/k?acl").body(policy(&[(&user("root"), "FULL_CONTROL")])).send(&w).await.expect(200);
    w.put("/bbb/k?acl").send(&w).await.refused(400, "MissingSecurityHeader");
    assert_eq!(w.get("/bbb/k?acl").send(&w).await.expect(200).all("Permission"), ["FULL_CONTROL"]);
    // A bucket made with them on.
    let made = w.put("/ddd").header("x-amz-object-ownership", "ObjectWriter").header("x-amz-acl", "public-read");
    made.send(&w).await.expect(200);
    anonymous(&w, "GET", "/ddd").await.expect(200);
    w.put("/ddd?ownershipControls").body(OFF).send(&w).await.refused(400, "InvalidBucketAclWithObjectOwnership");
    w.put("/ddd?acl").header("x-amz-grant-read", "id=ann").send(&w).await.expect(200);
    w.put("/ddd?ownershipControls").body(OFF).send(&w).await.refused(400, "InvalidBucketAclWithObjectOwnership");
    w.put("/ddd?acl").header("x-amz-acl", "private").send(&w).await.expect(200);
    w.put("/ddd?ownershipControls").body(OFF).send(&w).await.expect(200);
}

/// What a policy denies of ACLs, in each of the headers.
#[tokio::test]
async fn conditions_on_grants() {
    let w = World::with_bucket().await;
    w.put("/bbb?ownershipControls").body(ON).send(&w).await.expect(200);
    let (ann, secret) = w.store.create_user("ann", None).await.unwrap();
    w.store.grant("ann", "bbb", Some(store::api::Right::Write)).await.unwrap();
    for name in ["full-control", "read", "write", "read-acp", "write-acp"] {
        let name = format!("x-amz-grant-{name}");
        let deny = format!(
            r#"{{"Statement":{{"Effect":"Deny","Principal":"*","Action":"s3:PutObject*","Resource":"arn:aws:s3:::bbb/*","Condition":{{"Null":{{"s3:{name}":"false"}}}}}}}}"#
        );
        w.put("/bbb?policy").body(deny).send(&w).await.expect(204);
        let put = || w.put("/bbb/k").with_key(&ann.access_key, &secret).body("x");
        put().header(&name, "id=bob").send(&w).await.refused(403, "AccessDenied");
        put().send(&w).await.expect(200);
        let deny = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObjectAcl","Resource":"arn:aws:s3:::bbb/*"}}"#;
        w.put("/bbb?policy").body(deny).send(&w).await.expect(204);
        put().header(&name, "id=bob").send(&w).await.refused(403, "AccessDenied");
        put().send(&w).await.expect(200);
    }
}

#[tokio::test]
async fn acls_let_in() {
    let w = World::with_bucket().await;
    w.put("/bbb?ownershipControls").body(ON).send(&w).await.expect(200);
    let (ann, secret) = w.store.create_user("ann", None).await.unwrap();
    for (key, acl) in [("private", "private"), ("public", "public-read"), ("members", "authenticated-read")] {
        w.put(&format!("/bbb/{key}")).header("x-amz-acl", acl).body("x").send(&w).await.expect(200);
    }
    w.put("/bbb/anns").header("x-amz-grant-read", "id=\"ann\", id=bob").body("x").send(&w).await.expect(200);
    for (key, nobody, member) in
        [("private", 403, 403), ("public", 200, 200), ("members", 403, 200), ("anns", 403, 200)]
    {
        let target = format!("/bbb/{key}");
        assert_eq!(anonymous(&w, "GET", &target).await.status, nobody, "{key}");
        let read = w.get(&target).with_key(&ann.access_key, &secret).send(&w).await;
        assert_eq!(read.status, member, "{key}");
        let acl = w.get(&format!("{target}?acl")).with_key(&ann.access_key, &secret).send(&w).await;
        assert_eq!(acl.status, 403, "{key}");
    }
    anonymous(&w, "PUT", "/bbb/public").await.refused(403, "AccessDenied");
    anonymous(&w, "GET", "/bbb").await.refused(403, "AccessDenied");
    // A copy does not bring the ACL of its source along.
    w.put("/bbb/copy").header("x-amz-copy-source", "/bbb/public").send(&w).await.expect(200);
    anonymous(&w, "GET", "/bbb/copy").await.refused(403, "AccessDenied");
    // By document; ACLs can be read and written by whom they let.
    let grants = policy(&[(&user("root"), "FULL_CONTROL"), (&user("ann"), "READ_ACP"), (&user("ann"), "WRITE_ACP")]);
    w.put("/bbb/private?acl").body(&grants).send(&w).await.expect(200);
    let told = w.get("/bbb/private?acl").with_key(&ann.access_key, &secret).send(&w).await.expect(200);
    assert_eq!(told.all("Permission"), ["FULL_CONTROL", "READ_ACP", "WRITE_ACP"]);
    let open = w.put("/bbb/private?acl").header("x-amz-acl", "public-read").with_key(&ann.access_key, &secret);
    open.send(&w).await.expect(200);
    anonymous(&w, "GET", "/bbb/private").await.expect(200);
    // Buckets have theirs.
    w.put("/bbb?acl").header("x-amz-acl", "public-read-write").send(&w).await.expect(200);
    assert_eq!(w.get("/bbb?acl").send(&w).await.expect(200).all("Permission"), ["FULL_CONTROL", "READ", "WRITE"]);
    anonymous(&w, "GET", "/bbb").await.expect(200);
    anonymous(&w, "PUT", "/bbb/new").await.expect(200);
    // To write is not to delete what is the owner's.
    anonymous(&w, "DELETE", "/bbb/new").await.refused(403, "AccessDenied");
    anonymous(&w, "GET", "/bbb?policy").await.refused(403, "AccessDenied");
    // A policy that denies has the last word, and so have the blocks.
    let deny = "{\"Statement\": [{\"Effect\": \"Deny\", \"Principal\": \"*\", \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::bbb/public\"}]}";
    w.put("/bbb?policy").body(deny).send(&w).await.expect(204);
    anonymous(&w, "GET", "/bbb/public").await.refused(403, "AccessDenied");
    anonymous(&w, "GET", "/bbb/private").await.expect(200);
    let block =
        |name: &str| format!("<PublicAccessBlockConfiguration><{name}>true</{name}></PublicAccessBlockConfiguration>");
    w.put("/bbb?publicAccessBlock").body(block("IgnorePublicAcls")).send(&w).await.expect(200);
    anonymous(&w, "GET", "/bbb/private").await.refused(403, "AccessDenied");
    w.get("/bbb/anns").with_key(&ann.access_key, &secret).send(&w).await.expect(200);
    w.put("/bbb?publicAccessBlock").body(block("BlockPublicAcls")).send(&w).await.expect(200);
    w.put("/bbb/public?acl").header("x-amz-acl", "public-read").send(&w).await.refused(403, "AccessDenied");
    anonymous(&w, "GET", "/bbb/private").await.expect(200);
    // Turned off, they let nobody in.
    w.put("/bbb?acl").header("x-amz-acl", "private").send(&w).await.expect(200);
    w.put("/bbb?ownershipControls").body(OFF).send(&w).await.expect(200);
    anonymous(&w, "GET", "/bbb/private").await.refused(403, "AccessDenied");
    w.get("/bbb/anns").with_key(&ann.access_key, &secret).send(&w).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn what_is_no_acl() {
    let w = World::with_bucket().await;
    w.put("/bbb?ownershipControls").body(ON).send(&w).await.expect(200);
    w.stored("/bbb/k", b"x").await;
    let table = [
        ("x-amz-acl", "everybody", "InvalidArgument"),
        ("x-amz-acl", "log-delivery-write", "InvalidArgument"),
        ("x-amz-grant-read", "ann", "InvalidArgument"),
        ("x-amz-grant-read", "id=", "InvalidArgument"),
        ("x-amz-grant-read", "name=\"x\"", "InvalidArgument"),
        ("x-amz-grant-read", "uri=\"http://example.org\"", "InvalidArgument"),
        ("x-amz-grant-read", "emailAddress=\"a@example.org\"", "UnresolvableGrantByEmailAddress"),
    ];
    for (name, value, code) in table {
        w.put("/bbb/k?acl").header(name, value).send(&w).await.refused(400, code);
        w.put("/bbb/n").header(name, value).body("x").send(&w).await.refused(400, code);
    }
    let both = w.put("/bbb/k?acl").header("x-amz-acl", "private").header("x-amz-grant-read", "id=ann");
    both.send(&w).await.refused(400, "InvalidRequest");
    let documents = [
        (policy(&[(&user("ann"), "ALL")]), "MalformedACLError"),
        (policy(&[("xsi:type=\"Group\"><URI>nowhere</URI>", "READ")]), "InvalidArgument"),
        (policy(&[("xsi:type=\"CanonicalUser\">", "READ")]), "MalformedACLError"),
        (policy(&[(user("ann").as_str(), "READ"); 101]), "MalformedACLError"),
        ("<AccessControlPolicy>".to_owned(), "MalformedXML"),
    ];
    for (document, code) in documents {
        w.put("/bbb/k?acl").body(&document).send(&w).await.refused(400, code);
    }
    w.put("/bbb?acl").header("x-amz-acl", "log-delivery-write").send(&w).await.expect(200);
    w.put("/bbb/none?acl").header("x-amz-acl", "private").send(&w).await.refused(404, "NoSuchKey");
    let many = vec!["id=ann"; 101].join(", ");
    w.put("/bbb?acl").header("x-amz-grant-read", &many).send(&w).await.refused(400, "MalformedACLError");
    w.put("/bbb/n").header("x-amz-grant-read", &many).body("x").send(&w).await.refused(400, "MalformedACLError");
    // A bucket whose ACL is none is not made.
    for (name, value, code) in
        [("x-amz-acl", "bogus", "InvalidArgument"), ("x-amz-grant-read", &many, "MalformedACLError")]
    {
        let new = w.put("/new").header("x-amz-object-ownership", "ObjectWriter").header(name, value);
        new.send(&w).await.refused(400, code);
        w.head("/new").send(&w).await.expect(404);
    }
    assert!(!w.exists("/bbb/n").await);
}
