//! Headers that are told or kept: expirations, owners, redirections, classes.
//!
//! A row is (method and target, headers, body, status, what the answer has). An answer has a text if
//! its body contains it; `!text`: it must not; `name: value`: a header with that value.

mod common;

use common::{Form, World};

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
