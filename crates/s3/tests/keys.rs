//! Who may use the key that an object is under: named by the request, by the bucket, or fixed when an upload began.

mod common;

use std::collections::BTreeMap;

use common::{Call, World};
use keys::{Constraints, NewGrant, NewPortion, Switch};
use meta::record::{DenialReason, KeyOperation, Maker, PortionRecord};

const ALL_OF_S3: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
const METHOD: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";

struct Named {
    w: World,
    access: String,
    secret: String,
    key: String,
    id: base::PortionId,
}

impl Named {
    /// A user who may do all of S3, and a key with the tag `team=red`.
    async fn new() -> Self {
        let w = World::with_bucket().await;
        let (entry, secret) = w.store.create_user("u", None).await.unwrap();
        w.store.put_user_policy("u", "s3", ALL_OF_S3).await.unwrap();
        let tags = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
        let new = NewPortion { name: Some("p".to_owned()), tags, ..NewPortion::default() };
        let id = w.store.portions().create(w.store.account(), new, Maker::Customer).await.unwrap().id;
        Self { access: entry.access_key, secret, key: keys::dashed(id), id, w }
    }

    /// What the user may do with keys besides; nothing: `None`.
    async fn may(&self, statement: Option<&str>) {
        match statement {
            Some(statement) => {
                let document = format!(r#"{{"Statement":{statement}}}"#);
                self.w.store.put_user_policy("u", "keys", &document).await.unwrap();
            }
            None => _ = self.w.store.delete_user_policy("u", "keys").await,
        }
    }

    fn call(&self, method: &'static str, target: &str) -> Call {
        Call::new(method, target).with_key(&self.access, &self.secret)
    }

    async fn status(&self, call: Call) -> u16 {
        call.send(&self.w).await.status.as_u16()
    }

    /// Who had a key at its service, by name.
    async fn holders(&self) -> Vec<String> {
        let holders = self.w.store.portions().holders(self.w.store.account(), None, None, 10).await.unwrap().0;
        let mut names: Vec<_> = holders.into_iter().map(|holder| holder.record.name).collect();
        names.sort();
        names
    }

    async fn default_of_bucket(&self) {
        let document = format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{}</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
            self.key
        );
        self.w.put("/bbb?encryption").body(document).send(&self.w).await.expect(200);
    }
}

fn allow(action: &str, condition: &str) -> String {
    let condition = if condition.is_empty() { String::new() } else { format!(r#","Condition":{condition}"#) };
    format!(r#"{{"Effect":"Allow","Action":"kms:{action}","Resource":"*"{condition}}}"#)
}

#[tokio::test]
async fn the_key_that_the_bucket_names_is_asked_for_too() {
    let n = Named::new().await;
    n.default_of_bucket().await;
    assert_eq!(n.status(n.call("PUT", "/bbb/k").body("x")).await, 403);
    assert_eq!(n.status(n.call("POST", "/bbb/k?uploads")).await, 403);
    assert_eq!(n.status(n.call("PUT", "/bbb/k").header("x-amz-copy-source", "/bbb/none")).await, 403);
    // Another key, which is not asked for.
    assert_eq!(n.status(n.call("PUT", "/bbb/k").header(METHOD, "AES256").body("x")).await, 200);
    n.may(Some(&allow("GenerateDataKey", ""))).await;
    assert_eq!(n.status(n.call("PUT", "/bbb/k").body("x")).await, 200);
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 403, "writing is not reading");
    n.may(Some(&allow("Decrypt", ""))).await;
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 200);
    assert_eq!(n.status(n.call("PUT", "/bbb/k").body("x")).await, 403);
}

#[tokio::test]
async fn parts_of_an_upload_are_asked_for_too() {
    let n = Named::new().await;
    n.w.put("/bbb/plain").body("plain").send(&n.w).await.expect(200);
    let id = n.w.upload("/bbb/k", &[(METHOD, "aws:kms"), (KEY_ID, &n.key)]).await;
    let part = |number| format!("/bbb/k?partNumber={number}&uploadId={id}");
    let copy = || n.call("PUT", &part(2)).header("x-amz-copy-source", "/bbb/plain");
    assert_eq!(n.status(n.call("PUT", &part(1)).body("x")).await, 403);
    assert_eq!(n.status(copy()).await, 403);
    n.may(Some(&allow("GenerateDataKey", ""))).await;
    assert_eq!(n.status(n.call("PUT", &part(1)).body("x")).await, 200);
    assert_eq!(n.status(copy()).await, 200);
}

#[tokio::test]
async fn conditions_find_the_key_and_what_it_is_used_for() {
    let n = Named::new().await;
    let rows = [
        (r#"{"StringEquals":{"aws:ResourceTag/team":"red"}}"#, 200),
        (r#"{"StringEquals":{"aws:ResourceTag/team":"blue"}}"#, 403),
        (r#"{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}"#, 200),
        (r#"{"StringEquals":{"kms:ViaService":"ec2.us-east-1.amazonaws.com"}}"#, 403),
        (r#"{"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::bbb/k"}}"#, 200),
        (r#"{"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::bbb/other"}}"#, 403),
        (r#"{"StringEquals":{"kms:EncryptionContext:a":"b"}}"#, 200),
        (r#"{"StringEquals":{"kms:EncryptionContext:a":"c"}}"#, 403),
        (r#"{"StringEquals":{"kms:CallerAccount":"000000000000","kms:KeySpec":"SYMMETRIC_DEFAULT"}}"#, 200),
        (r#"{"StringEquals":{"aws:UserAgent":"nobody"}}"#, 403),
    ];
    // {"a":"b"}, and one that lies about the object.
    let contexts = ["eyJhIjoiYiJ9", "eyJhIjoiYiIsImF3czpzMzphcm4iOiJhcm46YXdzOnMzOjo6YmJiL290aGVyIn0="];
    for context in contexts {
        for (condition, expected) in rows {
            n.may(Some(&allow("*", condition))).await;
            let put = n.call("PUT", "/bbb/k").header(METHOD, "aws:kms").header(KEY_ID, &n.key);
            let put = put.header("x-amz-server-side-encryption-context", context).body("x");
            assert_eq!(n.status(put).await, expected, "PUT {condition}");
            if expected == 200 {
                assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 200, "GET {condition}");
            }
        }
    }
    // Tags that are changed count at once here.
    n.may(Some(&allow("*", r#"{"StringEquals":{"aws:ResourceTag/team":"blue"}}"#))).await;
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 403);
    let blue = |record: &mut PortionRecord| {
        record.tags.insert("team".to_owned(), "blue".to_owned());
        Ok(())
    };
    n.w.store.portions().describe(n.w.store.account(), n.id, blue).await.unwrap();
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 200);
}

/// What is not released, S3 refuses, whatever IAM says; the caller is who signed.
#[tokio::test]
async fn releases_are_asked_for() {
    let n = Named::new().await;
    n.w.put("/bbb/k").body("text").send(&n.w).await.expect(200);
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 200);
    let (portions, account) = (n.w.store.portions(), n.w.store.account());
    let who = n.w.store.principal_of("u").await.unwrap().who();
    portions.deny(account, &who, DenialReason::Quarantined, "").await.unwrap();
    let refused = n.call("GET", "/bbb/k").send(&n.w).await.expect(403);
    assert!(refused.text().contains("AccessDenied") && refused.text().contains("in quarantine"), "{}", refused.text());
    assert_eq!(n.status(n.call("PUT", "/bbb/k").body("x")).await, 403);
    assert_eq!(n.status(n.call("PUT", "/bbb/copy").header("x-amz-copy-source", "/bbb/k")).await, 403);
    assert_eq!(n.status(n.call("HEAD", "/bbb/k")).await, 200, "looking opens nothing");
    assert_eq!(n.status(n.call("DELETE", "/bbb/k")).await, 204, "deleting opens nothing");
    n.w.put("/bbb/k").body("text").send(&n.w).await.expect(200);
    assert_eq!(n.w.get("/bbb/k").send(&n.w).await.expect(200).text(), "text");
    assert_eq!(n.holders().await, ["root", "u"]);
}

/// Who is refused, or only looks, has taken no key: no row says that it had one.
#[tokio::test]
async fn what_is_not_read_is_not_released() {
    let n = Named::new().await;
    n.may(Some(&allow("GenerateDataKey", ""))).await;
    let put = n.call("PUT", "/bbb/k").header(METHOD, "aws:kms").header(KEY_ID, &n.key).body("text");
    let etag = put.send(&n.w).await.expect(200).header("etag").to_owned();
    let looks = [
        (n.call("HEAD", "/bbb/k"), 200),
        (n.call("HEAD", "/bbb/k").header("range", "bytes=0-0"), 206),
        (n.call("GET", "/bbb/k?attributes").header("x-amz-object-attributes", "ETag"), 200),
        (n.call("GET", "/bbb/k"), 403),
    ];
    for (at, (look, expected)) in looks.into_iter().enumerate() {
        assert_eq!((n.status(look).await, n.holders().await), (expected, Vec::new()), "row {at}, without the key");
    }
    n.may(Some(&allow("Decrypt", ""))).await;
    let looks = [
        (n.call("GET", "/bbb/k").header("if-none-match", &etag), 304),
        (n.call("GET", "/bbb/k").header("if-match", "\"other\""), 412),
        (n.call("GET", "/bbb/k").header("range", "bytes=4-"), 416),
        (
            n.call("PUT", "/bbb/copy").header("x-amz-copy-source", "/bbb/k").header("x-amz-copy-source-if-match", "no"),
            412,
        ),
    ];
    for (at, (look, expected)) in looks.into_iter().enumerate() {
        assert_eq!((n.status(look).await, n.holders().await), (expected, Vec::new()), "row {at}, with the key");
    }
    assert_eq!(n.call("GET", "/bbb/k").send(&n.w).await.expect(200).text(), "text");
    assert_eq!(n.holders().await, ["u"]);
}

/// A key's own policy decides beside IAM, whose permission is not enough.
#[tokio::test]
async fn the_policy_of_the_key_is_asked_too() {
    let n = Named::new().await;
    let under = |call: Call| call.header(METHOD, "aws:kms").header(KEY_ID, &n.key);
    let copy = |from: &str| n.call("PUT", "/bbb/copy").header("x-amz-copy-source", from);
    n.may(Some(&allow("*", ""))).await;
    assert_eq!(n.status(under(n.call("PUT", "/bbb/k")).body("x")).await, 200);
    n.w.put("/bbb/plain").body("plain").send(&n.w).await.expect(200);
    let id = n.w.upload("/bbb/up", &[(METHOD, "aws:kms"), (KEY_ID, &n.key)]).await;
    let part = format!("/bbb/up?partNumber=1&uploadId={id}");
    let from = |key: &str| n.call("PUT", &part).header("x-amz-copy-source", key);
    n.w.store.create_user("v", None).await.unwrap();
    let user = |name: &str, effect: &str, action: &str| {
        let who = format!("arn:aws:iam::{}:user/{name}", n.w.store.account());
        format!(r#"{{"Effect":"{effect}","Principal":{{"AWS":"{who}"}},"Action":"{action}","Resource":"*"}}"#)
    };
    let all = format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{}:root"}},"Action":"kms:*","Resource":"*"}}"#,
        n.w.store.account()
    );
    // The key's policy, whether IAM says yes, and whether the user may read and write.
    let rows = [
        (vec![all.clone()], true, (200, 200)),
        (vec![all.clone()], false, (403, 403)),
        (vec![user("v", "Allow", "kms:*")], true, (403, 403)),
        (vec![user("v", "Allow", "kms:*"), user("u", "Allow", "kms:GenerateDataKey")], true, (403, 200)),
        (vec![user("u", "Allow", "kms:Decrypt")], true, (200, 403)),
        (vec![user("u", "Allow", "kms:Decrypt"), user("u", "Allow", "kms:GenerateDataKey")], false, (200, 200)),
        (vec![all.clone(), user("u", "Deny", "kms:Decrypt")], true, (403, 200)),
    ];
    for (statements, by_iam, (read, write)) in rows {
        n.may(by_iam.then(|| allow("*", "")).as_deref()).await;
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
        n.w.store.portions().put_key_policy(n.w.store.account(), n.id, &policy).await.unwrap();
        let both = read.max(write);
        let calls = [
            ("read", n.call("GET", "/bbb/k"), read),
            ("a copy elsewhere", copy("/bbb/k"), read),
            ("a part copied from it", from("/bbb/k"), both),
            ("write", under(n.call("PUT", "/bbb/new")).body("x"), write),
            ("a copy to it", under(copy("/bbb/plain")), write),
            ("a copy within it", under(copy("/bbb/k")), both),
            ("a part", n.call("PUT", &part).body("x"), write),
            ("a part copied to it", from("/bbb/plain"), write),
            ("look", n.call("HEAD", "/bbb/k"), 200),
        ];
        for (what, call, expected) in calls {
            assert_eq!(n.status(call).await, expected, "{what}, IAM {by_iam}, {policy}");
        }
    }
    // Not even the account's root, whom the policy does not name (AWS: "Default key policy").
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, user("u", "Allow", "kms:*"));
    n.w.store.portions().put_key_policy(n.w.store.account(), n.id, &policy).await.unwrap();
    n.w.get("/bbb/k").send(&n.w).await.expect(403);
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 200);
}

/// What AWS S3 says of keys that it cannot use (`x-amz-server-side-encryption-aws-kms-key-id`, "Troubleshooting").
#[tokio::test]
async fn keys_that_cannot_be_used_are_told_as_aws_tells_them() {
    let n = Named::new().await;
    let (portions, account) = (n.w.store.portions(), n.w.store.account());
    let named = |target: &str, key: &str| n.w.put(target).header(METHOD, "aws:kms").header(KEY_ID, key).body("x");
    named("/bbb/k", &n.key).send(&n.w).await.expect(200);
    n.w.put("/bbb/plain").body("plain").send(&n.w).await.expect(200);
    let unknown = [
        "0d3a5c1e-0000-4000-8000-000000000000",
        "alias/none",
        "arn:aws:kms:us-east-1:000000000000:key/0d3a5c1e-0000-4000-8000-000000000000",
        "arn:aws:kms:us-east-1:999999999999:key/0d3a5c1e-0000-4000-8000-000000000000",
    ];
    for key in unknown {
        let copy = named("/bbb/new", key).header("x-amz-copy-source", "/bbb/plain").body("");
        let upload = n.w.post("/bbb/new?uploads").header(METHOD, "aws:kms").header(KEY_ID, key);
        for call in [named("/bbb/new", key), copy, upload] {
            let told = call.send(&n.w).await.expect(400);
            assert_eq!(told.tag("Code"), "KMS.NotFoundException", "{key}: {}", told.text());
        }
    }
    let states =
        [(Switch::Disable, "KMS.DisabledException"), (Switch::Shred { days: 7 }, "KMS.KMSInvalidStateException")];
    for (switch, code) in states {
        portions.switch(account, n.id, switch).await.unwrap();
        let calls = [
            named("/bbb/new", &n.key),
            named("/bbb/new", &n.key).header("x-amz-copy-source", "/bbb/plain").body(""),
            n.w.get("/bbb/k"),
            n.w.put("/bbb/new").header("x-amz-copy-source", "/bbb/k"),
        ];
        for call in calls {
            let told = call.send(&n.w).await.expect(400);
            assert_eq!(told.tag("Code"), code, "{}", told.text());
        }
        assert!(n.w.exists("/bbb/k").await, "what there is, and how large, takes no key");
        assert!(!n.w.exists("/bbb/new").await);
    }
    portions.switch(account, n.id, Switch::KeepAfterAll).await.unwrap();
    portions.switch(account, n.id, Switch::Enable).await.unwrap();
    assert_eq!(n.w.get("/bbb/k").send(&n.w).await.expect(200).text(), "x");
}

/// What a grant of the KMS API lets a user do with a key, it lets it do through S3; a policy that denies wins.
#[tokio::test]
async fn grants_of_the_key_count_too() {
    let n = Named::new().await;
    let portions = n.w.store.portions();
    let who = n.w.store.principal_of("u").await.unwrap().in_grants();
    let context = BTreeMap::from([("aws:s3:arn".to_owned(), "arn:aws:s3:::bbb/k".to_owned())]);
    let new = NewGrant {
        name: None,
        grantee: who.clone(),
        retiring: None,
        operations: [KeyOperation::GenerateDataKey].into(),
        constraints: Constraints { equals: None, subset: Some(context) },
    };
    portions.create_grant(n.w.store.account(), n.id, new).await.unwrap();
    let put = |key| n.call("PUT", key).header(METHOD, "aws:kms").header(KEY_ID, &n.key).body("x");
    assert_eq!(n.status(put("/bbb/k")).await, 200);
    assert_eq!(n.status(put("/bbb/other")).await, 403, "another context");
    assert_eq!(n.status(n.call("GET", "/bbb/k")).await, 403, "another operation");
    n.may(Some(r#"{"Effect":"Deny","Action":"kms:*","Resource":"*"}"#)).await;
    assert_eq!(n.status(put("/bbb/k")).await, 403);
}
