//! Who is let in: signatures, tokens, and the shape of requests and errors.

use serde_json::json;

use crate::world::{Answer, Call, ROOT, World};

type Change = fn(Call) -> Call;

fn no(answer: &Answer, code: &str, words: &str, row: &str) {
    let json = &answer.json;
    let message = json["message"].as_str().unwrap_or_default();
    assert!(
        answer.status == 400 && json["__type"] == code && message.contains(words),
        "{row}: {} {json}, expected {code} {words}",
        answer.status
    );
    assert!(answer.head.contains("x-amzn-requestid: ") && answer.head.contains("application/x-amz-json-1.1"), "{row}");
}

#[tokio::test]
async fn signatures() {
    let world = World::start().await;
    const WRONG: (&str, &str) = ("InvalidSignatureException", "does not match the signature you provided");
    const SKEWED: (&str, &str) = ("InvalidSignatureException", "Signature expired or not yet current");
    const INCOMPLETE: &str = "IncompleteSignatureException";
    const UNKNOWN: (&str, &str) = ("UnrecognizedClientException", "security token included in the request is invalid");
    let table: [(&str, Change, (&str, &str)); 17] = [
        (
            "no signature",
            |mut call| {
                call.tamper = |headers, _| headers.retain(|(name, _)| name != "authorization");
                call
            },
            ("MissingAuthenticationTokenException", "missing Authentication Token"),
        ),
        (
            "no signature of version 4",
            |mut call| {
                call.tamper = |headers, _| headers.last_mut().unwrap().1 = "Basic eA==".to_owned();
                call
            },
            (INCOMPLETE, "'Credential'"),
        ),
        (
            "two signatures",
            |mut call| {
                call.tamper = |headers, _| headers.push(headers.last().unwrap().clone());
                call
            },
            (INCOMPLETE, ""),
        ),
        ("wrong secret", |call| call.by(ROOT.0, "another"), WRONG),
        ("unknown access key", |call| call.by("NOBODY", ROOT.1), UNKNOWN),
        ("unknown temporary key", |call| call.by("HFTSAAAAAAAAAAAAAAAA", ROOT.1), UNKNOWN),
        ("a token that belongs to nothing", |call| call.with("x-amz-security-token", "x"), UNKNOWN),
        (
            "another service",
            |mut call| {
                call.service = "s3";
                call
            },
            ("InvalidSignatureException", "Credential should be scoped to correct service: 'kms'"),
        ),
        (
            "a late clock",
            |mut call| {
                call.skew = -16 * 60;
                call
            },
            SKEWED,
        ),
        (
            "an early clock",
            |mut call| {
                call.skew = 16 * 60;
                call
            },
            SKEWED,
        ),
        (
            "a changed body",
            |mut call| {
                call.tamper = |_, body| *body = br#"{"NumberOfBytes":9}"#.to_vec();
                call
            },
            WRONG,
        ),
        (
            "a changed operation",
            |mut call| {
                call.tamper = |headers, _| {
                    let target = headers.iter_mut().find(|(name, _)| name == "x-amz-target").unwrap();
                    target.1 = "TrentService.ListKeys".to_owned();
                };
                call
            },
            WRONG,
        ),
        (
            "a second operation",
            |mut call| {
                call.tamper =
                    |headers, _| headers.push(("x-amz-target".to_owned(), "TrentService.ListKeys".to_owned()));
                call
            },
            (INCOMPLETE, ""),
        ),
        (
            "an operation that is not signed",
            |mut call| {
                call.unsigned = vec!["x-amz-target"];
                call
            },
            (INCOMPLETE, "'x-amz-target' must be a 'SignedHeader'"),
        ),
        (
            "a host that is not signed",
            |mut call| {
                call.unsigned = vec!["host"];
                call
            },
            (INCOMPLETE, "must be among the signed headers"),
        ),
        (
            "no operation",
            |mut call| {
                call.headers.retain(|(name, _)| name != "x-amz-target");
                call
            },
            ("UnknownOperationException", ""),
        ),
        (
            "another service's operation",
            |mut call| {
                call.headers.retain(|(name, _)| name != "x-amz-target");
                call.with("x-amz-target", "DynamoDB_20120810.ListKeys")
            },
            ("UnknownOperationException", ""),
        ),
    ];
    for (row, change, (code, words)) in table {
        let call = change(Call::new("GenerateRandom", &json!({ "NumberOfBytes": 8 })));
        no(&world.send(call).await, code, words, row);
    }
    for (row, change) in [
        ("as it is", (|call| call) as Change),
        ("another region", |mut call| {
            call.region = "ap-none-9";
            call
        }),
        ("a clock that is nearly right", |mut call| {
            call.skew = 14 * 60;
            call
        }),
        ("a header that nobody signed", |mut call| {
            call.unsigned = vec!["user-agent"];
            call.with("user-agent", "x")
        }),
    ] {
        let call = change(Call::new("GenerateRandom", &json!({ "NumberOfBytes": 8 })));
        let answer = world.send(call).await;
        assert_eq!((answer.status, answer.json["Plaintext"].as_str().map(str::len)), (200, Some(12)), "{row}");
    }
}

#[tokio::test]
async fn temporary_credentials() {
    let world = World::start().await;
    let (_, root) = world.store.authenticate(ROOT.0).await.unwrap().unwrap();
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"kms:GenerateRandom","Resource":"*"}}"#;
    let made = world.store.create_session(ROOT.0, &root, Some(policy), 900).await.unwrap();
    let ended = world.store.create_session(ROOT.0, &root, None, 0).await.unwrap();
    let random = || Call::new("GenerateRandom", &json!({ "NumberOfBytes": 8 }));
    let token = "x-amz-security-token";
    let answer = world.send(random().by(&made.access_key, &made.secret).with(token, &made.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    let call = Call::new("ListKeys", &json!({})).by(&made.access_key, &made.secret).with(token, &made.token);
    no(&world.send(call).await, "AccessDeniedException", "because no session policy allows", "beyond the policy");
    let call = random().by(&made.access_key, &made.secret);
    no(&world.send(call).await, "UnrecognizedClientException", "", "no token");
    let call = random().by(&made.access_key, &made.secret).with(token, &ended.token);
    no(&world.send(call).await, "UnrecognizedClientException", "", "another's token");
    let call = random().by(&made.access_key, "x").with(token, &made.token);
    no(&world.send(call).await, "InvalidSignatureException", "", "a wrong secret");
    let call = random().by(&ended.access_key, &ended.secret).with(token, &ended.token);
    no(&world.send(call).await, "ExpiredTokenException", "expired", "an old token");
    let mut call = random().by(&made.access_key, &made.secret).with(token, &made.token);
    call.unsigned = vec![token];
    no(&world.send(call).await, "IncompleteSignatureException", token, "a token that is not signed");
}

#[tokio::test]
async fn requests_of_the_wrong_shape() {
    let world = World::start().await;
    let mut call = Call::new("ListKeys", &json!({}));
    call.body = b"{".to_vec();
    no(&world.send(call).await, "SerializationException", "", "half a document");
    let mut call = Call::new("ListKeys", &json!({}));
    call.body = b"[1, null]".to_vec();
    no(&world.send(call).await, "SerializationException", "no JSON object", "a list");
    let mut call = Call::new("ListKeys", &json!({}));
    call.body = Vec::new();
    assert_eq!(world.send(call).await.status, 200, "no document is an empty one");
    let mut call = Call::new("ListKeys", &json!({}));
    call.body = format!("{{\"Limit\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000)).into_bytes();
    no(&world.send(call).await, "SerializationException", "", "a deep document");

    // Refused by its length alone: nothing of it is sent. Its signature is looked at later.
    let head = format!(
        "POST / HTTP/1.1\r\nhost: h\r\nx-amz-date: 20250101T000000Z\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={}/20250101/x/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=0\r\n\r\n",
        kms::limits::BODY_MAX + 1,
        ROOT.0
    );
    let answer = world.exchange(head.as_bytes()).await;
    assert_eq!((answer.status, answer.json["__type"].as_str()), (413, Some("RequestEntityTooLargeException")));
    assert!(answer.head.contains("connection: close"));

    for (method, target) in [("GET", "/"), ("POST", "/x"), ("PUT", "/")] {
        let mut call = Call::new("ListKeys", &json!({}));
        (call.method, call.target) = (method, target);
        let answer = world.send(call).await;
        assert_eq!((answer.status, answer.json["__type"].as_str()), (404, Some("UnknownOperationException")));
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_nobody_idle() {
    let world = World::start().await;
    let idle = tokio::net::TcpStream::connect(world.address).await.unwrap();
    assert_eq!(world.ask("ListKeys", &json!({})).await.status, 200);
    world.shutdown.cancel();
    world.server.await.unwrap().unwrap();
    drop(idle);
}
