//! Temporary credentials: made by the token service, used, and ended.

mod common;

use std::sync::Arc;

use base::{Clock, ManualClock, SystemClock};
use common::{Answer, Call, Edit, Form, ROOT, World, sign};
use store::api::Right;

const ROLE: &str = "arn:aws:iam::000000000000:role/any";
const NARROW: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/open/*"}}"#;

struct Temporary {
    access: String,
    secret: String,
    token: String,
}

impl Temporary {
    fn call(&self, method: &'static str, target: &str) -> Call {
        Call::new(method, target).with_key(&self.access, &self.secret).header("x-amz-security-token", &self.token)
    }
}

/// A call of the token service.
fn ask(fields: &[(&str, &str)]) -> Call {
    let version = [("Version", "2011-06-15")];
    let pairs: Vec<String> = version
        .iter()
        .chain(fields)
        .map(|(name, value)| format!("{}={}", sign::encode(name, false), sign::encode(value, false)))
        .collect();
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    Call::new("POST", "/").service("sts").header("content-type", form).body(pairs.join("&"))
}

fn assume(more: &[(&str, &str)]) -> Call {
    let fields = [("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "me")];
    ask(&[&fields, more].concat())
}

fn made(answer: &Answer) -> Temporary {
    Temporary {
        access: answer.tag("AccessKeyId"),
        secret: answer.tag("SecretAccessKey"),
        token: answer.tag("SessionToken"),
    }
}

/// A world with a clock of its own, which begins now; a user `u` who may read `bbb`.
async fn world() -> (World, Arc<ManualClock>, (String, String)) {
    let clock = Arc::new(ManualClock::new(SystemClock.now_ms()));
    let own = clock.clone();
    let w = World::start_with(|options| options.doors.clock = own).await;
    w.put("/bbb").send(&w).await.expect(200);
    for key in ["/bbb/open/k", "/bbb/k"] {
        w.stored(key, b"x").await;
    }
    let (entry, secret) = w.store.create_user("u", None).await.unwrap();
    w.store.grant("u", "bbb", Some(Right::Read)).await.unwrap();
    (w, clock, (entry.access_key, secret))
}

#[tokio::test]
async fn a_session_is_narrower_than_its_maker() {
    let (w, _, (access, secret)) = world().await;
    let own = assume(&[]).with_key(&access, &secret).send(&w).await.expect(200);
    assert_eq!(own.tag("Arn"), "arn:aws:sts::000000000000:assumed-role/any/me");
    let own = made(&own);
    let narrow = made(&assume(&[("Policy", NARROW)]).with_key(&access, &secret).send(&w).await.expect(200));
    let root = made(&assume(&[("Policy", NARROW)]).send(&w).await.expect(200));
    let wide = made(&ask(&[("Action", "GetSessionToken")]).send(&w).await.expect(200));
    for (story, who, method, target, status) in [
        ("as its maker", &own, "GET", "/bbb/k", 200),
        ("no more than its maker", &own, "PUT", "/bbb/k", 403),
        ("within the policy", &narrow, "GET", "/bbb/open/k", 200),
        ("outside the policy", &narrow, "GET", "/bbb/k", 403),
        ("a grant is outside too", &narrow, "GET", "/bbb", 403),
        ("root within a policy", &root, "GET", "/bbb/open/k", 200),
        ("root outside of it", &root, "PUT", "/bbb/open/k", 403),
        ("root outside of it", &root, "GET", "/bbb?policy", 403),
        ("root", &wide, "PUT", "/bbb/new", 200),
    ] {
        assert_eq!(who.call(method, target).send(&w).await.status, status, "{story}");
    }
    // A policy of the bucket, or a list, lets nobody out of the session's.
    let policy =
        r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/*"}}"#;
    w.put("/bbb?policy").body(policy).send(&w).await.expect(204);
    w.get("/bbb/k").form(Form::Anonymous).send(&w).await.expect(200);
    narrow.call("GET", "/bbb/k").send(&w).await.refused(403, "AccessDenied");
    w.delete("/bbb?policy").send(&w).await.expect(204);
    let controls =
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
    w.put("/bbb?ownershipControls").body(controls).send(&w).await.expect(200);
    w.put("/bbb/listed").header("x-amz-acl", "public-read").body("x").send(&w).await.expect(200);
    w.get("/bbb/listed").form(Form::Anonymous).send(&w).await.expect(200);
    narrow.call("GET", "/bbb/listed").send(&w).await.refused(403, "AccessDenied");
    // Conditions may ask when the token was made.
    let old = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*",
        "Condition":{"DateLessThan":{"aws:TokenIssueTime":"2099-01-01T00:00:00Z"}}}}"#;
    w.store.put_user_policy("u", "no-old-tokens", old).await.unwrap();
    own.call("GET", "/bbb/k").send(&w).await.refused(403, "AccessDenied");
    w.get("/bbb/k").with_key(&access, &secret).send(&w).await.expect(200);
}

#[tokio::test]
async fn the_token_belongs_to_the_key() {
    let (w, _, (access, secret)) = world().await;
    let one = made(&assume(&[]).with_key(&access, &secret).send(&w).await.expect(200));
    let two = made(&assume(&[]).send(&w).await.expect(200));
    let with = |who: &Temporary| Call::new("GET", "/bbb/k").with_key(&who.access, &who.secret);
    with(&one).send(&w).await.refused(400, "InvalidToken");
    with(&one).header("x-amz-security-token", &two.token).send(&w).await.refused(400, "InvalidToken");
    with(&one).header("x-amz-security-token", "x").send(&w).await.refused(400, "InvalidToken");
    with(&one).header("x-amz-security-token", &"x".repeat(20_000)).send(&w).await.refused(400, "InvalidToken");
    let mut changed = one.token.clone().into_bytes();
    changed[30] ^= 1;
    let changed = String::from_utf8(changed).unwrap();
    with(&one).header("x-amz-security-token", &changed).send(&w).await.refused(400, "InvalidToken");
    // The right token, and the wrong secret.
    let wrong = Call::new("GET", "/bbb/k").with_key(&one.access, "x").header("x-amz-security-token", &one.token);
    wrong.send(&w).await.refused(403, "SignatureDoesNotMatch");
    let loose = with(&one).loose_header("x-amz-security-token", &one.token);
    loose.send(&w).await.refused(403, "AccessDenied");
    // A token beside a key that needs none.
    let root = w.get("/bbb/k").header("x-amz-security-token", &one.token);
    root.send(&w).await.refused(400, "InvalidToken");
    w.get("/bbb/k")
        .form(Form::Anonymous)
        .header("x-amz-security-token", &one.token)
        .send(&w)
        .await
        .refused(400, "InvalidToken");
    // In the query of a presigned URL, signed with the rest; not twice.
    let presigned = || with(&one).form(Form::Presigned(60));
    presigned().query("X-Amz-Security-Token", &one.token).send(&w).await.expect(200);
    presigned().send(&w).await.refused(400, "InvalidToken");
    let late = presigned().edit(Edit::SetQuery("X-Amz-Security-Token".to_owned(), one.token.clone()));
    late.send(&w).await.refused(403, "SignatureDoesNotMatch");
    let twice = presigned().query("X-Amz-Security-Token", &one.token).header("x-amz-security-token", &one.token);
    twice.send(&w).await.refused(400, "InvalidToken");
    for form in [Form::Chunks(100), Form::ChunksTrailer(100), Form::Loose] {
        let put = two.call("PUT", "/bbb/chunks").form(form).body(vec![7; 300]);
        let put =
            if matches!(form, Form::ChunksTrailer(_)) { put.trailer("x-amz-checksum-crc32", "AAAAAA==") } else { put };
        let answer = put.send(&w).await;
        assert_ne!(answer.status, 403, "{form:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn sessions_end() {
    let (w, clock, (access, secret)) = world().await;
    let short = made(&assume(&[("DurationSeconds", "900")]).with_key(&access, &secret).send(&w).await.expect(200));
    let long = made(&assume(&[]).with_key(&access, &secret).send(&w).await.expect(200));
    clock.advance_ms(899_000);
    short.call("GET", "/bbb/k").send(&w).await.expect(200);
    clock.advance_ms(1_000);
    short.call("GET", "/bbb/k").send(&w).await.refused(400, "ExpiredToken");
    let late = ask(&[("Action", "GetCallerIdentity")]).with_key(&short.access, &short.secret);
    late.header("x-amz-security-token", &short.token).send(&w).await.refused(400, "ExpiredToken");
    long.call("GET", "/bbb/k").send(&w).await.expect(200);
    // With the key that made it, with the user, and with the user's rights.
    w.store.enable_access_key("u", &access, false).await.unwrap();
    long.call("GET", "/bbb/k").send(&w).await.refused(400, "InvalidToken");
    w.store.enable_access_key("u", &access, true).await.unwrap();
    long.call("GET", "/bbb/k").send(&w).await.expect(200);
    w.store.grant("u", "bbb", None).await.unwrap();
    long.call("GET", "/bbb/k").send(&w).await.refused(403, "AccessDenied");
    w.store.delete_user("u").await.unwrap();
    long.call("GET", "/bbb/k").send(&w).await.refused(400, "InvalidToken");
    // A namesake with the same access key is somebody else.
    w.store.create_user("u", Some((access, secret))).await.unwrap();
    w.store.grant("u", "bbb", Some(Right::Read)).await.unwrap();
    long.call("GET", "/bbb/k").send(&w).await.refused(400, "InvalidToken");
}

#[tokio::test]
async fn the_service_answers_as_it_should() {
    let (w, _, (access, secret)) = world().await;
    let me = ask(&[("Action", "GetCallerIdentity")]);
    let told = me.with_key(&access, &secret).send(&w).await.expect(200);
    assert_eq!(
        (told.tag("Arn").as_str(), told.tag("Account").as_str()),
        ("arn:aws:iam::000000000000:user/u", "000000000000")
    );
    assert_eq!(
        ask(&[("Action", "GetCallerIdentity")]).send(&w).await.expect(200).tag("Arn"),
        "arn:aws:iam::000000000000:root"
    );
    let session = made(&assume(&[]).with_key(&access, &secret).send(&w).await.expect(200));
    let by_session =
        |call: Call| call.with_key(&session.access, &session.secret).header("x-amz-security-token", &session.token);
    let told = by_session(ask(&[("Action", "GetCallerIdentity")])).send(&w).await.expect(200);
    assert_eq!(told.tag("Arn"), "arn:aws:iam::000000000000:user/u");
    let long = format!(r#"{{"Statement":{{"Effect":"Allow","Action":"s3:*","Resource":"{}"}}}}"#, "x".repeat(2_100));
    #[rustfmt::skip]
    let table = [
        ("temporary ones make no others", by_session(assume(&[])),                       403, "AccessDenied"),
        ("nor by the other call", by_session(ask(&[("Action", "GetSessionToken")])),     403, "AccessDenied"),
        ("no such action", ask(&[("Action", "AssumeRoleWithSAML")]),                     400, "InvalidAction"),
        ("no action", ask(&[]),                                                          400, "InvalidAction"),
        ("too short", assume(&[("DurationSeconds", "899")]),                             400, "ValidationError"),
        ("too long", assume(&[("DurationSeconds", "43201")]),                            400, "ValidationError"),
        ("no number", assume(&[("DurationSeconds", "1h")]),                              400, "ValidationError"),
        ("no policy", assume(&[("Policy", "x")]),                                        400, "MalformedPolicyDocument"),
        ("a bucket's policy", assume(&[("Policy", r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}"#)]), 400, "MalformedPolicyDocument"),
        ("a policy too long", assume(&[("Policy", &long)]),                              400, "ValidationError"),
        ("what would narrow is not passed over", assume(&[("PolicyArns.member.1.arn", "x")]), 400, "ValidationError"),
        ("twice", assume(&[("RoleArn", ROLE)]),                                          400, "ValidationError"),
        ("no role", ask(&[("Action", "AssumeRole"), ("RoleSessionName", "me")]),         400, "ValidationError"),
        ("no name", ask(&[("Action", "AssumeRole"), ("RoleArn", ROLE)]),                 400, "ValidationError"),
        ("not signed", assume(&[]).form(Form::Anonymous),                                403, "MissingAuthenticationToken"),
        ("signed for S3", assume(&[]).service("s3"),                                     400, "IncompleteSignature"),
        ("nobody", assume(&[]).with_key("nobody", "x"),                                  403, "InvalidClientTokenId"),
        ("a wrong secret", assume(&[]).with_key(ROOT.0, "x"),                            403, "SignatureDoesNotMatch"),
        ("another body", assume(&[]).tamper(|body| body.extend(b"&x=y")),                403, "SignatureDoesNotMatch"),
        ("too much", assume(&[("Policy", &"x".repeat(40_000))]),                         400, "ValidationError"),
    ];
    for (story, call, status, code) in table {
        let answer = call.send(&w).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{story}: {}", answer.text());
    }
    let no = r#"{"Statement":{"Effect":"Deny","Action":"sts:*","Resource":"*"}}"#;
    w.store.put_user_policy("u", "no", no).await.unwrap();
    assume(&[]).with_key(&access, &secret).send(&w).await.refused(403, "AccessDenied");
    let life = ask(&[("Action", "GetSessionToken"), ("DurationSeconds", "129600")]);
    life.send(&w).await.expect(200);
}
