//! Who may use the key that an object is under: named by the request, by the bucket, or fixed when an upload began.

mod common;

use std::collections::BTreeMap;

use common::{Call, World};
use keys::{Constraints, NewGrant, NewPortion};
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
    assert_eq!(n.status(n.call("HEAD", "/bbb/k")).await, 403);
    assert_eq!(n.status(n.call("DELETE", "/bbb/k")).await, 204, "deleting opens nothing");
    n.w.put("/bbb/k").body("text").send(&n.w).await.expect(200);
    assert_eq!(n.w.get("/bbb/k").send(&n.w).await.expect(200).text(), "text");
    let holders = portions.holders(account, None, None, 10).await.unwrap().0;
    let mut names: Vec<_> = holders.into_iter().map(|holder| holder.record.name).collect();
    names.sort();
    assert_eq!(names, ["root", "u"]);
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
