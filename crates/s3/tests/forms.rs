//! Uploads by HTML forms.

mod common;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Form, ROOT, World};
use store::api::Right;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn document(fields: &[(String, String)], file: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    if let Some((name, bytes)) = file {
        let head = format!(
            "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n"
        );
        body.extend(head.bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--xx--\r\n");
    body
}

async fn post(w: &World, target: &str, body: &[u8]) -> Answer {
    let call = w.post(target).form(Form::Anonymous).header("content-type", "multipart/form-data; boundary=xx");
    call.body(body).send(w).await
}

/// A form signed by `key`, with a policy of `conditions` and those that signing needs.
fn signed((access, secret): (&str, &str), fields: Fields<'_>, conditions: &str, minutes: i64) -> Vec<(String, String)> {
    let now = OffsetDateTime::now_utc();
    let date = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap();
    let credential = format!("{access}/{}/us-east-1/s3/aws4_request", &date[..8]);
    let until = (now + time::Duration::minutes(minutes)).format(&Rfc3339).unwrap();
    let policy = STANDARD.encode(format!(
        "{{\"expiration\": \"{until}\", \"conditions\": [{conditions}, {{\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"}}, {{\"x-amz-credential\": \"{credential}\"}}, {{\"x-amz-date\": \"{date}\"}}]}}"
    ));
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut key = sign(format!("AWS4{secret}").as_bytes(), &date[..8]);
    for step in ["us-east-1", "s3", "aws4_request"] {
        key = sign(key.as_ref(), step);
    }
    let signature = hex::encode(sign(key.as_ref(), &policy));
    let signing = [
        ("policy", policy),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", credential),
        ("X-Amz-Date", date),
        ("X-Amz-Signature", signature),
    ];
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    fields.chain(signing.map(|(name, value)| (name.to_owned(), value))).collect()
}

const KEY: &str = "[\"starts-with\", \"$key\", \"up/\"]";

#[tokio::test]
async fn a_form_uploads_a_file() {
    let w = World::with_bucket().await;
    let fields: Fields<'_> = &[
        ("key", "up/${filename}"),
        ("Content-Type", "image/png"),
        ("x-amz-meta-who", "me"),
        ("Expires", "0"),
        ("tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
        ("acl", "private"),
        ("success_action_status", "201"),
        ("x-ignore-this", "1"),
    ];
    let conditions = format!(
        "{KEY}, {{\"bucket\": \"bbb\"}}, {{\"acl\": \"private\"}}, [\"starts-with\", \"$Content-Type\", \"image/\"], [\"starts-with\", \"$x-amz-meta-who\", \"\"], {{\"expires\": \"0\"}}, [\"starts-with\", \"$tagging\", \"\"], {{\"success_action_status\": \"201\"}}"
    );
    let form = signed(ROOT, fields, &conditions, 5);
    let answer = post(&w, "/bbb", &document(&form, Some(("dir/a.png", b"bytes")))).await.expect(201);
    assert_eq!((answer.tag("Bucket"), answer.tag("Key")), ("bbb".to_owned(), "up/a.png".to_owned()));
    assert_eq!(answer.header("x-amz-server-side-encryption"), "AES256");
    assert!(answer.header("location").ends_with("/bbb/up/a.png"));
    let got = w.get("/bbb/up/a.png").send(&w).await.expect(200);
    assert_eq!((got.text().as_str(), got.header("content-type")), ("bytes", "image/png"));
    assert_eq!((got.header("x-amz-meta-who"), got.header("x-amz-tagging-count")), ("me", "1"));
    assert_eq!(got.header("expires"), "0");
    // The same form with the file's end cut off stores nothing.
    let mut cut = document(&form, Some(("cut.png", b"bytes")));
    cut.truncate(cut.len() - 10);
    post(&w, "/bbb", &cut).await.refused(400, "MalformedPOSTRequest");
    assert!(!w.exists("/bbb/up/cut.png").await);
}

#[tokio::test]
async fn a_form_says_where_to_go_next() {
    let w = World::with_bucket().await;
    let redirect = "http://example.org/done?x=1";
    let table: [(Fields<'_>, u16, Option<&str>); 6] = [
        (&[], 204, None),
        (&[("success_action_status", "200")], 200, None),
        (&[("success_action_status", "418")], 204, None),
        (
            &[("success_action_redirect", redirect)],
            303,
            Some("http://example.org/done?x=1&bucket=bbb&key=up%2Fk&etag="),
        ),
        (
            &[("redirect", redirect), ("success_action_status", "201")],
            303,
            Some("http://example.org/done?x=1&bucket=bbb"),
        ),
        (&[("success_action_redirect", "javascript:alert(1)")], 204, None),
    ];
    for (fields, status, place) in table {
        let fields = [&[("key", "up/k")], fields].concat();
        let free: String =
            fields[1..].iter().map(|(name, _)| format!(", [\"starts-with\", \"${name}\", \"\"]")).collect();
        let form = signed(ROOT, &fields, &format!("{KEY}{free}"), 5);
        let answer = post(&w, "/bbb", &document(&form, Some(("f", b"x")))).await.expect(status);
        let location = answer.header("location");
        assert!(location.starts_with(place.unwrap_or("http://127.0.0.1")), "{fields:?}: {location}");
        assert!(answer.maybe("etag").is_some());
    }
}

#[tokio::test]
async fn a_policy_is_kept_to() {
    let w = World::with_bucket().await;
    let key: Fields<'_> = &[("key", "up/k")];
    let length = |range: &str| format!("{KEY}, [\"content-length-range\", {range}]");
    let file: Option<(&str, &[u8])> = Some(("f", b"12345"));
    let good = signed(ROOT, key, KEY, 5);
    let tampered: Vec<(String, String)> = good
        .iter()
        .map(|(name, value)| {
            let other = STANDARD.encode("{\"expiration\": \"2100-01-01T00:00:00Z\", \"conditions\": []}");
            (name.clone(), if name == "policy" { other } else { value.clone() })
        })
        .collect();
    let plain = |fields: Fields<'_>| signed(ROOT, fields, KEY, 5);
    let table = [
        ("expired", signed(ROOT, key, KEY, -1), file, 403, "AccessDenied"),
        ("another key", plain(&[("key", "k")]), file, 403, "AccessDenied"),
        ("a field without a condition", plain(&[("key", "up/k"), ("x-amz-meta-a", "b")]), file, 403, "AccessDenied"),
        ("another bucket", signed(ROOT, key, &format!("{KEY}, {{\"bucket\": \"ccc\"}}"), 5), file, 403, "AccessDenied"),
        ("too long", signed(ROOT, key, &length("0, 4"), 5), file, 400, "EntityTooLarge"),
        ("too short", signed(ROOT, key, &length("6, 9"), 5), file, 400, "EntityTooSmall"),
        ("a wrong secret", signed((ROOT.0, "wrong"), key, KEY, 5), file, 403, "SignatureDoesNotMatch"),
        ("a wrong access key", signed(("nobody", "x"), key, KEY, 5), file, 403, "InvalidAccessKeyId"),
        ("another policy", tampered, file, 403, "SignatureDoesNotMatch"),
        ("no file", plain(key), None, 400, "InvalidArgument"),
        ("no key", signed(ROOT, &[], KEY, 5), file, 400, "InvalidArgument"),
        ("not signed", vec![("key".to_owned(), "up/k".to_owned())], file, 403, "AccessDenied"),
        (
            "a checksum",
            signed(
                ROOT,
                &[("key", "up/k"), ("x-amz-checksum-crc32", "x")],
                &format!("{KEY}, [\"starts-with\", \"$x-amz-checksum-crc32\", \"\"]"),
                5,
            ),
            file,
            501,
            "NotImplemented",
        ),
        (
            "a public ACL",
            signed(
                ROOT,
                &[("key", "up/k"), ("acl", "public-read")],
                &format!("{KEY}, {{\"acl\": \"public-read\"}}"),
                5,
            ),
            file,
            400,
            "AccessControlListNotSupported",
        ),
    ];
    for (story, form, file, status, code) in table {
        let answer = post(&w, "/bbb", &document(&form, file)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code.to_owned()), "{story}: {}", answer.text());
        assert!(!w.exists("/bbb/up/k").await, "{story}");
    }
    post(&w, "/bbb", &document(&good, file)).await.expect(204);
    post(&w, "/none", &document(&good, file)).await.refused(404, "NoSuchBucket");
    post(&w, "/bbb/k", &document(&good, file)).await.refused(405, "MethodNotAllowed");
    post(&w, "/bbb", b"--yy\r\n\r\nno form").await.refused(400, "MalformedPOSTRequest");
    // Fields have a bound, and so has what is not even a field.
    let many: Vec<(String, String)> = (0..9).map(|i| (format!("x-ignore-{i}"), "x".repeat(100_000))).collect();
    post(&w, "/bbb", &document(&many, file)).await.refused(400, "MaxPostPreDataLengthExceeded");
    let endless = [b"--xx\r\nX: ".as_slice(), &vec![b'x'; 2 << 20]].concat();
    post(&w, "/bbb", &endless).await.refused(400, "MaxPostPreDataLengthExceeded");
}

/// Conditions look at what is stored, not at what the request's own headers say.
#[tokio::test]
async fn conditions_look_at_the_form() {
    let w = World::with_bucket().await;
    let tagged =
        |value: &str| format!("<Tagging><TagSet><Tag><Key>scan</Key><Value>{value}</Value></Tag></TagSet></Tagging>");
    let (pending, clean) = (tagged("pending"), tagged("clean"));
    let encrypted = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bbb/*",
        "Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}}}"#;
    let scanned = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bbb/*",
        "Condition":{"StringEquals":{"s3:RequestObjectTag/scan":"clean"}}}}"#;
    let version_4 = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bbb/*",
        "Condition":{"StringNotEquals":{"s3:authType":"POST","s3:signatureversion":"AWS4-HMAC-SHA256"}}}}"#;
    let table: [(&str, &str, Fields<'_>, u16); 8] = [
        ("not as the policy wants it", encrypted, &[], 403),
        ("as it wants it", encrypted, &[("x-amz-server-side-encryption", "aws:kms")], 204),
        ("no tags", scanned, &[], 204),
        ("tags by document", scanned, &[("tagging", &pending)], 204),
        ("tags that are denied", scanned, &[("tagging", &clean)], 403),
        ("the same in the other field", scanned, &[("x-amz-tagging", "scan=clean")], 403),
        (
            "one for the policy, one for the object",
            scanned,
            &[("x-amz-tagging", "scan=pending"), ("tagging", &clean)],
            400,
        ),
        ("how it is signed", version_4, &[], 204),
    ];
    for (story, policy, more, expected) in table {
        w.put("/bbb?policy").body(policy).send(&w).await.expect(204);
        let fields = [&[("key", "up/k")], more].concat();
        let free: String = more.iter().map(|(name, _)| format!(", [\"starts-with\", \"${name}\", \"\"]")).collect();
        let form = document(&signed(ROOT, &fields, &format!("{KEY}{free}"), 5), Some(("f", b"x")));
        let call = w.post("/bbb").form(Form::Anonymous).header("content-type", "multipart/form-data; boundary=xx");
        // Nobody vouches for these.
        let call = call.header("x-amz-server-side-encryption", "aws:kms").header("x-amz-tagging", "scan=pending");
        let answer = call.body(form).send(&w).await;
        assert_eq!(answer.status, expected, "{story}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_form_is_bounded_before_it_is_known() {
    let w = World::with_bucket().await;
    let bomb = [("key".to_owned(), "${filename}".repeat(2_900))];
    let name = "x".repeat(20_000);
    post(&w, "/bbb", &document(&bomb, Some((&name, b"x")))).await.refused(400, "KeyTooLongError");
    let foreign = [("key".to_owned(), "k".to_owned()), ("x-amz-copy-source".to_owned(), "bbb/k".to_owned())];
    post(&w, "/bbb", &document(&foreign, Some(("f", b"x")))).await.refused(501, "NotImplemented");
    let fields: Fields<'_> = &[("key", "up/k"), ("x-amz-expected-bucket-owner", "111122223333")];
    let form = signed(ROOT, fields, &format!("{KEY}, [\"starts-with\", \"$x-amz-expected-bucket-owner\", \"\"]"), 5);
    post(&w, "/bbb", &document(&form, Some(("f", b"x")))).await.refused(403, "AccessDenied");
}

/// Temporary credentials sign forms too, with their token in a field.
#[tokio::test]
async fn temporary_credentials_sign_forms() {
    let w = World::with_bucket().await;
    let (_, root) = w.store.authenticate(ROOT.0).await.unwrap().unwrap();
    let made = w.store.create_session(ROOT.0, &root, None, 900).await.unwrap();
    let token = [("key", "up/k"), ("x-amz-security-token", made.token.as_str())];
    let conditions = format!("{KEY}, [\"starts-with\", \"$x-amz-security-token\", \"\"]");
    let form = signed((&made.access_key, &made.secret), &token, &conditions, 5);
    post(&w, "/bbb", &document(&form, Some(("f", b"x")))).await.expect(204);
    let form = signed((&made.access_key, &made.secret), &token[..1], KEY, 5);
    post(&w, "/bbb", &document(&form, Some(("f", b"x")))).await.refused(400, "InvalidToken");
    let form = signed((&made.access_key, "wrong"), &token, &conditions, 5);
    post(&w, "/bbb", &document(&form, Some(("f", b"x")))).await.refused(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn the_signer_needs_the_right() {
    let w = World::with_bucket().await;
    let (user, secret) = w.store.create_user("reader", None).await.unwrap();
    w.store.grant("reader", "bbb", Some(Right::Read)).await.unwrap();
    let form = signed((&user.access_key, &secret), &[("key", "up/k")], KEY, 5);
    let form = document(&form, Some(("f", b"x")));
    post(&w, "/bbb", &form).await.refused(403, "AccessDenied");
    w.store.grant("reader", "bbb", Some(Right::Write)).await.unwrap();
    post(&w, "/bbb", &form).await.expect(204);
}

/// A file longer than a piece is stored in parts, and not at all when it is too long in the end.
#[tokio::test]
async fn long_files() {
    let w = World::with_bucket().await;
    let file: Vec<u8> = (0..(11u32 << 20)).map(|i| (i % 251) as u8).collect();
    let ssec: Fields<'_> = &[
        ("key", "up/k"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key", "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="),
        ("x-amz-server-side-encryption-customer-key-md5", "GoDL8oWeAZVZNl1r5Hh5Tg=="),
    ];
    let free: String = ssec[1..].iter().map(|(name, _)| format!(", [\"starts-with\", \"${name}\", \"\"]")).collect();
    let form = signed(ROOT, ssec, &format!("{KEY}{free}"), 5);
    post(&w, "/bbb", &document(&form, Some(("f", &file)))).await.expect(204);
    w.get("/bbb/up/k").send(&w).await.refused(400, "InvalidRequest");
    let mut call = w.get("/bbb/up/k");
    for (name, value) in &ssec[1..] {
        call = call.header(name, value);
    }
    assert!(call.send(&w).await.expect(200).body == file);
    let short = signed(ROOT, &[("key", "up/l")], &format!("{KEY}, [\"content-length-range\", 0, 10000000]"), 5);
    post(&w, "/bbb", &document(&short, Some(("f", &file)))).await.refused(400, "EntityTooLarge");
    assert!(!w.exists("/bbb/up/l").await);
    assert!(!w.get("/bbb?uploads").send(&w).await.expect(200).text().contains("<Upload>"));
}
