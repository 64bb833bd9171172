//! Server-side encryption: SSE-S3, SSE-KMS and SSE-C, on every operation that reads or writes bytes.

mod common;

use common::World;

type Headers<'a> = &'a [(&'a str, &'a str)];

type Row<'a> = (&'a str, [Headers<'a>; 2], &'a str, u16, &'a [&'a str]);

const NONE: Headers<'static> = &[];
const ONE: &[(&str, &str)] = &[
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="),
    ("x-amz-server-side-encryption-customer-key-md5", "GoDL8oWeAZVZNl1r5Hh5Tg=="),
];
const TWO: &[(&str, &str)] = &[
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="),
    ("x-amz-server-side-encryption-customer-key-md5", "oFtXsRxLYfZk2uJ4988rUg=="),
];
const FROM_ONE: &[(&str, &str)] = &[
    ("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-copy-source-server-side-encryption-customer-key", "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="),
    ("x-amz-copy-source-server-side-encryption-customer-key-md5", "GoDL8oWeAZVZNl1r5Hh5Tg=="),
];

const KMS: &str = "arn:aws:kms:us-east-1:000000000000:key/default";

/// What is sent: method and target, headers of two kinds, body; and what comes: status, and texts of
/// the body, `name: value` headers, `!name` for none.
async fn play(w: &World, rows: &[Row<'_>]) {
    for (line, headers, body, status, wanted) in rows {
        let (method, target) = line.split_once(' ').unwrap();
        let method = ["GET", "PUT", "HEAD", "POST", "DELETE"].into_iter().find(|known| *known == method).unwrap();
        let mut call = w.call(method, target).body(body);
        for (name, value) in headers.concat() {
            call = call.header(name, value);
        }
        let answer = call.send(w).await;
        let text = answer.text();
        assert_eq!(answer.status.as_u16(), *status, "{line} {headers:?}: {text}");
        for want in *wanted {
            match (want.strip_prefix('!'), want.split_once(": ")) {
                (Some(absent), _) => assert!(answer.maybe(absent).is_none(), "{line}: {absent} is there"),
                (None, Some((name, value))) => assert_eq!(answer.maybe(name), Some(value), "{line}: {name}"),
                (None, None) => assert!(text.contains(want), "{line}: {want} is missing: {text}"),
            }
        }
    }
}

const METHOD: &str = "x-amz-server-side-encryption";
const TOLD: &str = "x-amz-server-side-encryption-customer-key-md5: GoDL8oWeAZVZNl1r5Hh5Tg==";

#[tokio::test]
async fn a_customers_key_opens_what_it_sealed_and_nothing_else() {
    let w = World::with_bucket().await;
    let inapplicable = "The encryption parameters are not applicable to this object.";
    let needed = "The correct parameters must be provided to retrieve the object.";
    play(
        &w,
        &[
            (
                "PUT /bbb/k",
                [ONE, NONE],
                "text",
                200,
                &["x-amz-server-side-encryption-customer-algorithm: AES256", TOLD, "!x-amz-server-side-encryption"],
            ),
            ("GET /bbb/k", [ONE, NONE], "", 200, &["text", TOLD, "!x-amz-server-side-encryption"]),
            ("GET /bbb/k", [ONE, &[("range", "bytes=1-2")]], "", 206, &["ex", TOLD]),
            ("HEAD /bbb/k", [ONE, NONE], "", 200, &[TOLD, "x-amz-server-side-encryption-customer-algorithm: AES256"]),
            ("GET /bbb/k", [NONE, NONE], "", 400, &["InvalidRequest", needed]),
            ("HEAD /bbb/k", [NONE, NONE], "", 400, &[]),
            ("GET /bbb/k", [TWO, NONE], "", 403, &["AccessDenied"]),
            ("HEAD /bbb/k", [TWO, NONE], "", 403, &[]),
            ("GET /bbb/k?attributes", [NONE, &[("x-amz-object-attributes", "ETag")]], "", 400, &["InvalidRequest"]),
            (
                "GET /bbb/k?attributes",
                [ONE, &[("x-amz-object-attributes", "ObjectSize")]],
                "",
                200,
                &["<ObjectSize>4<"],
            ),
            // Tags and deletion need no key.
            ("GET /bbb/k?tagging", [NONE, NONE], "", 200, &[]),
            // An object without bytes has its key as well.
            ("PUT /bbb/empty", [ONE, NONE], "", 200, &[TOLD]),
            ("GET /bbb/empty", [ONE, NONE], "", 200, &[TOLD]),
            ("GET /bbb/empty", [TWO, NONE], "", 403, &["AccessDenied"]),
            ("GET /bbb/empty", [NONE, NONE], "", 400, &["InvalidRequest"]),
            (
                "PUT /bbb/plain",
                [NONE, NONE],
                "plain",
                200,
                &["x-amz-server-side-encryption: AES256", "!x-amz-server-side-encryption-customer-algorithm"],
            ),
            ("GET /bbb/plain", [ONE, NONE], "", 400, &["InvalidRequest", inapplicable]),
            ("HEAD /bbb/plain", [ONE, NONE], "", 400, &[]),
            ("DELETE /bbb/k", [NONE, NONE], "", 204, &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn malformed_keys_are_refused() {
    let w = World::with_bucket().await;
    let (algorithm, key, md5) = (ONE[0], ONE[1], ONE[2]);
    let other = (md5.0, TWO[2].1);
    play(
        &w,
        &[
            ("PUT /bbb/k", [&[algorithm, key], NONE], "x", 400, &["InvalidArgument", "client calculated MD5"]),
            ("PUT /bbb/k", [&[algorithm, md5], NONE], "x", 400, &["InvalidArgument", "appropriate secret key"]),
            ("PUT /bbb/k", [&[key, md5], NONE], "x", 400, &["InvalidArgument", "valid encryption algorithm"]),
            (
                "PUT /bbb/k",
                [&[("x-amz-server-side-encryption-customer-algorithm", "aws:kms"), key, md5], NONE],
                "x",
                400,
                &["InvalidEncryptionAlgorithmError"],
            ),
            ("PUT /bbb/k", [&[algorithm, key, other], NONE], "x", 400, &["InvalidArgument", "did not match the hash"]),
            (
                "PUT /bbb/k",
                [&[algorithm, ("x-amz-server-side-encryption-customer-key", "c2hvcnQ="), md5], NONE],
                "x",
                400,
                &["InvalidArgument", "The secret key was invalid"],
            ),
            (
                "PUT /bbb/k",
                [&[algorithm, ("x-amz-server-side-encryption-customer-key", "***"), md5], NONE],
                "x",
                400,
                &["InvalidArgument", "The secret key was invalid"],
            ),
            ("PUT /bbb/k", [ONE, &[(METHOD, "AES256")]], "x", 400, &["InvalidArgument", "incompatible"]),
            ("GET /bbb/k", [&[algorithm, key], NONE], "", 400, &["InvalidArgument"]),
            ("POST /bbb/k?uploads", [&[algorithm, key], NONE], "", 400, &["InvalidArgument"]),
            // Nothing of it was stored.
            ("GET /bbb/k", [ONE, NONE], "", 404, &["NoSuchKey"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn copies_change_keys() {
    let w = World::with_bucket().await;
    let from: (&str, &str) = ("x-amz-copy-source", "/bbb/k");
    let replace = ("x-amz-metadata-directive", "REPLACE");
    play(
        &w,
        &[
            ("PUT /bbb/k", [ONE, NONE], "text", 200, &[]),
            ("PUT /bbb/c", [&[from], NONE], "", 400, &["InvalidRequest"]),
            ("PUT /bbb/c", [&[from], &[FROM_ONE[0], FROM_ONE[1]]], "", 400, &["InvalidArgument"]),
            ("PUT /bbb/c", [&[from], FROM_ONE], "", 200, &["x-amz-server-side-encryption: AES256"]),
            ("GET /bbb/c", [NONE, NONE], "", 200, &["text"]),
            (
                "PUT /bbb/c2",
                [&[from, TWO[0], TWO[1], TWO[2]], FROM_ONE],
                "",
                200,
                &["x-amz-server-side-encryption-customer-algorithm: AES256"],
            ),
            ("GET /bbb/c2", [TWO, NONE], "", 200, &["text"]),
            ("GET /bbb/c2", [ONE, NONE], "", 403, &[]),
            // Onto itself: another key, then none, without and with versions.
            ("PUT /bbb/k", [&[from, TWO[0], TWO[1], TWO[2]], FROM_ONE], "", 200, &[]),
            ("GET /bbb/k", [ONE, NONE], "", 403, &[]),
            ("GET /bbb/k", [TWO, NONE], "", 200, &["text"]),
            ("PUT /bbb/k", [&[("x-amz-copy-source", "/bbb/c"), ONE[0], ONE[1], ONE[2]], NONE], "", 200, &[]),
            ("GET /bbb/k", [ONE, NONE], "", 200, &["text"]),
            ("PUT /bbb/k", [&[from, replace], FROM_ONE], "", 200, &[]),
            ("GET /bbb/k", [NONE, NONE], "", 200, &["text"]),
            ("PUT /bbb/k", [&[from, (METHOD, "aws:kms")], NONE], "", 200, &["x-amz-server-side-encryption: aws:kms"]),
            ("GET /bbb/k", [NONE, NONE], "", 200, &["text", "x-amz-server-side-encryption: aws:kms"]),
            ("PUT /bbb/k", [&[from], NONE], "", 400, &["InvalidRequest"]),
            ("PUT /bbb/k", [&[from], FROM_ONE], "", 400, &["InvalidRequest"]),
            // What the copies shared is still there when the source is gone.
            ("DELETE /bbb/k", [NONE, NONE], "", 204, &[]),
            ("DELETE /bbb/c", [NONE, NONE], "", 204, &[]),
            ("GET /bbb/c2", [TWO, NONE], "", 200, &["text"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn uploads_keep_to_their_key() {
    let w = World::with_bucket().await;
    w.stored("/bbb/source", b"from elsewhere").await;
    let id = w.upload("/bbb/k", ONE).await;
    let (part, copy) =
        (format!("PUT /bbb/k?partNumber=1&uploadId={id}"), format!("PUT /bbb/k?partNumber=2&uploadId={id}"));
    let source: Headers<'_> = &[("x-amz-copy-source", "/bbb/source")];
    let large = "x".repeat(5 << 20);
    play(
        &w,
        &[
            (&part, [NONE, NONE], "x", 400, &["InvalidRequest", "did not match the ones used originally"]),
            (&part, [TWO, NONE], "x", 400, &["InvalidRequest"]),
            (&part, [NONE, &[(METHOD, "AES256")]], "x", 400, &["InvalidArgument"]),
            (&part, [ONE, NONE], &large, 200, &[TOLD, "!x-amz-server-side-encryption"]),
            (&copy, [source, NONE], "", 400, &["InvalidRequest"]),
            (&copy, [source, ONE], "", 200, &[TOLD]),
        ],
    )
    .await;
    let parts = w.get(&format!("/bbb/k?uploadId={id}")).send(&w).await.expect(200).all("ETag");
    let mut document = String::from("<CompleteMultipartUpload>");
    for (number, tag) in (1..).zip(&parts) {
        document += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    document += "</CompleteMultipartUpload>";
    w.post(&format!("/bbb/k?uploadId={id}")).body(&document).send(&w).await.expect(200);
    let end: Headers<'_> = &[("range", "bytes=5242879-")];
    let copied: Headers<'_> = &[("x-amz-copy-source", "/bbb/k")];
    play(
        &w,
        &[
            ("GET /bbb/k", [ONE, end], "", 206, &["xfrom elsewhere", TOLD]),
            ("GET /bbb/k", [TWO, end], "", 403, &[]),
            ("GET /bbb/k", [NONE, end], "", 400, &["InvalidRequest"]),
            ("PUT /bbb/c", [copied, FROM_ONE], "", 200, &["x-amz-server-side-encryption: AES256"]),
            ("GET /bbb/c", [NONE, end], "", 206, &["xfrom elsewhere"]),
            ("PUT /bbb/k", [copied, &[FROM_ONE[0], FROM_ONE[1], FROM_ONE[2], TWO[0], TWO[1], TWO[2]]], "", 200, &[]),
            ("GET /bbb/k", [TWO, end], "", 206, &["xfrom elsewhere"]),
            ("GET /bbb/k", [ONE, end], "", 403, &[]),
        ],
    )
    .await;
    let plain = w.upload("/bbb/p", &[]).await;
    play(&w, &[(&format!("PUT /bbb/p?partNumber=1&uploadId={plain}"), [ONE, NONE], "x", 400, &["InvalidRequest"])])
        .await;
}

#[tokio::test]
async fn kms_names_one_key() {
    let w = World::with_bucket().await;
    let kms = (METHOD, "aws:kms");
    let id = |name| ("x-amz-server-side-encryption-aws-kms-key-id", name);
    let context = |text| ("x-amz-server-side-encryption-context", text);
    let told =
        &["x-amz-server-side-encryption: aws:kms", &format!("x-amz-server-side-encryption-aws-kms-key-id: {KMS}")];
    play(
        &w,
        &[
            ("PUT /bbb/k", [&[kms], NONE], "text", 200, told),
            ("GET /bbb/k", [NONE, NONE], "", 200, told),
            ("HEAD /bbb/k", [NONE, NONE], "", 200, told),
            ("PUT /bbb/k", [&[kms, id(KMS)], NONE], "text", 200, told),
            ("PUT /bbb/k", [&[kms, id("alias/aws/s3")], NONE], "text", 200, told),
            ("PUT /bbb/k", [&[kms, id("default")], NONE], "text", 200, told),
            ("PUT /bbb/k", [&[kms, id("another")], NONE], "text", 400, &["KMS.NotFoundException", "another"]),
            ("PUT /bbb/k", [&[id(KMS)], NONE], "text", 400, &["InvalidArgument", "aws:kms"]),
            ("PUT /bbb/k", [&[(METHOD, "AES256"), id(KMS)], NONE], "text", 400, &["InvalidArgument"]),
            ("PUT /bbb/k", [&[(METHOD, "rot13")], NONE], "text", 400, &["InvalidArgument"]),
            ("PUT /bbb/k", [&[(METHOD, "aws:kms:dsse")], NONE], "text", 501, &["NotImplemented"]),
            (
                "PUT /bbb/k",
                [&[kms, context("eyJhIjoiYiJ9")], NONE],
                "text",
                200,
                &["x-amz-server-side-encryption-context: eyJhIjoiYiJ9"],
            ),
            ("PUT /bbb/k", [&[kms, context("eyJhIjoxfQ==")], NONE], "text", 400, &["InvalidArgument"]),
            ("PUT /bbb/k", [&[kms, context("!")], NONE], "text", 400, &["InvalidArgument"]),
            (
                "PUT /bbb/k",
                [&[kms, ("x-amz-server-side-encryption-bucket-key-enabled", "true")], NONE],
                "text",
                200,
                &["x-amz-server-side-encryption-bucket-key-enabled: true"],
            ),
            ("GET /bbb/k", [&[kms], NONE], "", 400, &["InvalidArgument"]),
            ("HEAD /bbb/k", [&[kms], NONE], "", 400, &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_bucket_has_a_default() {
    let w = World::with_bucket().await;
    let rule = |algorithm: &str, more: &str, key: bool| {
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{more}</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>{key}</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
        )
    };
    let named = |name: &str| format!("<KMSMasterKeyID>{name}</KMSMasterKeyID>");
    let kms = "x-amz-server-side-encryption: aws:kms";
    let aes = "x-amz-server-side-encryption: AES256";
    play(
        &w,
        &[
            ("GET /bbb?encryption", [NONE, NONE], "", 200, &["<SSEAlgorithm>AES256<"]),
            (
                "PUT /bbb?encryption",
                [NONE, NONE],
                &rule("aws:kms", &named("another"), false),
                400,
                &["KMS.NotFoundException"],
            ),
            ("PUT /bbb?encryption", [NONE, NONE], &rule("aws:kms", &named(KMS), true), 200, &[]),
            ("GET /bbb?encryption", [NONE, NONE], "", 200, &["<SSEAlgorithm>aws:kms<", KMS, "<BucketKeyEnabled>true<"]),
            ("PUT /bbb/k", [NONE, NONE], "x", 200, &[kms, "x-amz-server-side-encryption-bucket-key-enabled: true"]),
            ("GET /bbb/k", [NONE, NONE], "", 200, &[kms]),
            ("PUT /bbb/k", [&[(METHOD, "AES256")], NONE], "x", 200, &[aes]),
            (
                "PUT /bbb/k",
                [&[(METHOD, "aws:kms")], NONE],
                "x",
                200,
                &[kms, "x-amz-server-side-encryption-bucket-key-enabled: true"],
            ),
            ("PUT /bbb/k", [ONE, NONE], "x", 200, &[TOLD, "!x-amz-server-side-encryption"]),
            ("PUT /bbb/c", [&[("x-amz-copy-source", "/bbb/k")], FROM_ONE], "", 200, &[kms]),
            ("POST /bbb/m?uploads", [NONE, NONE], "", 200, &[kms]),
            ("DELETE /bbb?encryption", [NONE, NONE], "", 204, &[]),
            ("GET /bbb?encryption", [NONE, NONE], "", 200, &["<SSEAlgorithm>AES256<"]),
            ("PUT /bbb/k", [NONE, NONE], "x", 200, &[aes]),
            ("GET /bbb/c", [NONE, NONE], "", 200, &[kms]),
        ],
    )
    .await;
}
