//! Conversations, over the real scan service with an engine that finds words.

mod common;

use std::time::Duration;

use common::{ALLOW, Answer, EVIL, REQUEST, RESPONSE, Rig, chunked, respmod, respmod_of};
use icap::{Incomplete, Options, Unavailable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

fn rig() -> Rig {
    Rig::new(Options::default())
}

fn body_of(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn options_tell_what_there_is() {
    let rig = rig();
    let ask = |path: &str| format!("OPTIONS icap://localhost{path} ICAP/1.0\r\nHost: localhost\r\n\r\n").into_bytes();
    for (path, methods) in
        [("/scan", "RESPMOD, REQMOD"), ("/reqmod", "REQMOD"), ("/avscan?mode=simple", "RESPMOD, REQMOD")]
    {
        let answer = rig.answer(&ask(path)).await;
        assert_eq!((answer.code, answer.header("Methods")), (200, Some(methods)), "{path}");
        assert_eq!(answer.header("Preview"), Some("1024"));
    }
    let tag = |answer: &Answer| answer.header("ISTag").expect("a tag").to_owned();
    let before = tag(&rig.answer(&ask("/scan")).await);
    assert!(before.len() <= 32 && before.starts_with('"') && before.ends_with('"'), "{before}");
    rig.engine.learn(&["OTHER"]);
    assert_ne!(tag(&rig.answer(&ask("/scan")).await), before);
    // A body of theirs is read and means nothing.
    let with_body = b"OPTIONS icap://h/scan ICAP/1.0\r\nEncapsulated: opt-body=0\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let both = [with_body.as_slice(), &ask("/scan")].concat();
    assert_eq!(rig.answers(&both).await.iter().map(|answer| answer.code).collect::<Vec<_>>(), [200, 200]);
}

#[tokio::test]
async fn clean_messages_pass() {
    let rig = rig();
    // More than a buffer, and more than the spool has in one.
    for len in [1, 5, 65_536, 300_000] {
        let body = body_of(len);
        let answer = rig.answer(&respmod_of(&body, &[ALLOW])).await;
        assert_eq!((answer.code, answer.body), (204, None));
        let answer = rig.answer(&respmod_of(&body, &[])).await;
        assert_eq!((answer.code, answer.head.as_str()), (200, RESPONSE));
        assert!(answer.body.as_deref() == Some(&body), "{len} bytes come back as they went");
    }
    assert_eq!(rig.engine.scans(), 4, "each content once");
    // A request goes back as a request.
    let reqmod = format!(
        "REQMOD icap://h/avscan ICAP/1.0\r\nEncapsulated: req-hdr=0, req-body={}\r\n\r\n{REQUEST}",
        REQUEST.len()
    );
    let answer = rig.answer(&[reqmod.as_bytes(), &chunked(b"form", 2)].concat()).await;
    assert_eq!((answer.code, answer.head.as_str(), answer.body.as_deref()), (200, REQUEST, Some(b"form".as_slice())));
    assert_eq!(answer.header("Encapsulated"), Some(format!("req-hdr=0, req-body={}", REQUEST.len()).as_str()));
}

#[tokio::test]
async fn what_is_found_is_blocked_with_all_that_clients_look_at() {
    let rig = rig();
    for headers in [&[][..], &[ALLOW]] {
        let answer = rig.answer(&respmod_of(format!("x{EVIL}y").as_bytes(), headers)).await;
        assert_eq!(answer.code, 200);
        assert_eq!(answer.header("X-Infection-Found"), Some("Type=0; Resolution=2; Threat=EVIL;"));
        assert_eq!(answer.header("X-Virus-ID"), Some("EVIL"));
        assert_eq!(answer.headers.last().map(|(name, _)| name.as_str()), Some("Encapsulated"));
        assert!(answer.head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", answer.head);
        assert!(String::from_utf8(answer.body.expect("a page")).expect("text").contains("EVIL"));
    }
}

#[tokio::test]
async fn nothing_needs_no_scan() {
    let rig = rig();
    let head = |headers: &str| {
        let at = REQUEST.len();
        format!("REQMOD icap://h/scan ICAP/1.0\r\n{headers}Encapsulated: req-hdr=0, null-body={at}\r\n\r\n{REQUEST}")
    };
    // Squid announces a preview of nothing as well.
    let answers = rig.answers([head("Allow: 204\r\nPreview: 0\r\n"), head("Preview: 0\r\n")].concat().as_bytes()).await;
    assert_eq!((answers[0].code, answers[1].code), (204, 200));
    assert_eq!((answers[1].head.as_str(), &answers[1].body), (REQUEST, &None));
    let answers = rig.answers(&[respmod_of(b"", &[ALLOW]), respmod_of(b"", &[])].concat()).await;
    assert_eq!((answers[0].code, answers[1].code), (204, 200));
    assert_eq!(answers[1].body.as_deref(), Some(b"".as_slice()));
    assert_eq!(rig.engine.scans(), 0);
}

/// Sends a preview, waits for what is said, sends the rest if that is asked for, and tells all that was said.
async fn with_preview(rig: &Rig, head: &[u8], preview: &[u8], rest: &[u8]) -> Vec<Answer> {
    let (mut client, _) = rig.connect();
    client.write_all(&[head, preview].concat()).await.expect("it is read");
    let mut said = vec![0; 1 << 20];
    let mut len = client.read(&mut said).await.expect("an answer");
    if said.starts_with(b"ICAP/1.0 100 Continue\r\n\r\n") {
        client.write_all(rest).await.expect("it is read");
    }
    client.shutdown().await.expect("it ends");
    loop {
        match client.read(&mut said[len..]).await.expect("an answer") {
            0 => return Answer::all(&said[..len]),
            read => len += read,
        }
    }
}

#[tokio::test]
async fn previews() {
    let rig = rig();
    let codes = |answers: &[Answer]| answers.iter().map(|answer| answer.code).collect::<Vec<_>>();
    // All of it is in the preview: a 204 is allowed without being asked for.
    let all = with_preview(&rig, &respmod(&["Preview: 1024"]), b"5\r\nhello\r\n0; ieof\r\n\r\n", b"").await;
    assert_eq!(codes(&all), [204]);
    let found = with_preview(&rig, &respmod(&["Preview: 4"]), b"4\r\nEVIL\r\n0; ieof\r\n\r\n", b"").await;
    assert_eq!(codes(&found), [200]);
    let empty = with_preview(&rig, &respmod(&["Preview: 0"]), b"0; ieof\r\n\r\n", b"").await;
    assert_eq!(codes(&empty), [204]);
    // More follows: it is asked for, and a 204 must have been allowed.
    let first = b"4\r\nwha \r\n0\r\n\r\n";
    let more = with_preview(&rig, &respmod(&["Preview: 4"]), first, &chunked(b"t EV", 3)).await;
    assert_eq!((codes(&more), more[1].body.as_deref()), (vec![100, 200], Some(b"wha t EV".as_slice())));
    let more = with_preview(&rig, &respmod(&["Preview: 4", ALLOW]), first, &chunked(b"t EV", 3)).await;
    assert_eq!(codes(&more), [100, 204]);
    // What is found lies across the seam.
    let seam = with_preview(&rig, &respmod(&["Preview: 2", ALLOW]), b"2\r\nEV\r\n0\r\n\r\n", &chunked(b"IL", 1)).await;
    assert_eq!((codes(&seam), seam[1].header("X-Virus-ID")), (vec![100, 200], Some(EVIL)));
    let none = with_preview(&rig, &respmod(&["Preview: 0", ALLOW]), b"0\r\n\r\n", &chunked(b"EVIL", 9)).await;
    assert_eq!(codes(&none), [100, 200]);
    // A preview that lies.
    let lies = with_preview(&rig, &respmod(&["Preview: 2"]), b"4\r\nEVIL\r\n0\r\n\r\n", b"").await;
    assert_eq!(codes(&lies), [400]);
}

#[tokio::test]
async fn one_connection_has_many_requests() {
    let rig = rig();
    let said = [
        respmod_of(b"one", &[ALLOW]),
        b"\r\n".to_vec(),
        respmod_of(b"EVIL", &[ALLOW]),
        respmod_of(b"three", &[]),
        respmod_of(b"four", &["Connection: close"]),
        respmod_of(b"five", &[]),
    ];
    let answers = rig.answers(&said.concat()).await;
    let told: Vec<_> =
        answers.iter().map(|answer| (answer.code, answer.header("Connection").unwrap_or_default())).collect();
    assert_eq!(told, [(204, "keep-alive"), (200, "keep-alive"), (200, "keep-alive"), (200, "close")]);
    assert_eq!(answers[2].body.as_deref(), Some(b"three".as_slice()));
}

#[tokio::test]
async fn nextcloud() {
    let rig = rig();
    let request = "PUT / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    let said = |chunks: &str| {
        let at = request.len();
        format!(
            "REQMOD icap://av/avscan ICAP/1.0\r\nAllow: 204\r\nHost: av\r\nUser-Agent: NC-ICAP-CLIENT/0.5.0\r\n\
             Connection: close\r\nEncapsulated: req-hdr=0, req-body={at}\r\n\r\n{request}{chunks}0\r\n\r\n"
        )
    };
    assert_eq!(rig.answer(said("5\r\nhello\r\n").as_bytes()).await.code, 204);
    // Of an empty file it sends an empty chunk, which is the end, and then the end.
    assert_eq!(rig.answer(said("0\r\n\r\n").as_bytes()).await.code, 204);
    // Its older status line has no status.
    let respmod =
        "RESPMOD icap://av/avscan ICAP/1.0\r\nAllow: 204\r\nEncapsulated: req-hdr=0, res-hdr=35, res-body=50\r\n\r\n";
    let old = format!("{respmod}GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\nHTTP/1.0 OK\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n");
    let found = rig.answer(old.as_bytes()).await;
    assert_eq!((found.code, found.header("X-Virus-ID")), (200, Some(EVIL)));
}

#[tokio::test]
async fn what_is_no_request_is_told_and_the_connection_ends() {
    let rig = rig();
    let next = respmod_of(b"next", &[ALLOW]);
    let null = "Encapsulated: null-body=0";
    let table: [(String, u16); 14] = [
        (format!("RESPMOD icap://h/nothing ICAP/1.0\r\n{null}\r\n\r\n"), 404),
        ("OPTIONS icap://h/ ICAP/1.0\r\n\r\n".to_owned(), 404),
        (format!("RESPMOD icap://h/reqmod ICAP/1.0\r\n{null}\r\n\r\n"), 405),
        (format!("REQMOD icap://h/respmod ICAP/1.0\r\n{null}\r\n\r\n"), 405),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
        ("REQMOD icap://h/scan ICAP/2.0\r\n\r\n".to_owned(), 505),
        ("LOGMOD icap://h/scan ICAP/1.0\r\n\r\n".to_owned(), 501),
        ("REQMOD icap://h/scan ICAP/1.0\r\nHost: h\r\n\r\n".to_owned(), 400),
        ("REQMOD icap://h/scan ICAP/1.0\r\nEncapsulated: req-hdr=0, req-body=4\r\n\r\nGET \r\n\r\n".to_owned(), 400),
        ("REQMOD icap://h/scan ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\nhello".to_owned(), 400),
        ("REQMOD icap://h/scan ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n4\r\nabcdef".to_owned(), 400),
        (format!("REQMOD icap://h/scan ICAP/1.0\r\nX: {}\r\n\r\n", "x".repeat(20_000)), 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\n\n".to_owned(), 400),
        ("\0".repeat(20_000), 400),
    ];
    for (said, code) in table {
        let answer = rig.answer(&[said.as_bytes(), &next].concat()).await;
        assert_eq!((answer.code, answer.header("Connection")), (code, Some("close")), "{said:.60}");
        assert!(answer.header("X-Holdfast-Reason").is_some() && answer.header("ISTag").is_some());
    }
    // The client ends in the middle, and still reads.
    let whole = respmod_of(b"hello", &[]);
    for cut in [1, 20, 150, whole.len() - 20, whole.len() - 8, whole.len() - 1] {
        assert_eq!(rig.answer(&whole[..cut]).await.code, 400, "cut at {cut}");
    }
    assert!(rig.say(b"").await.is_empty());
    assert!(rig.say(b"\r\n").await.is_empty());
}

#[tokio::test]
async fn what_could_not_be_looked_into_is_said_by_policy() {
    let told = async |incomplete, headers: &[&str], body: &[u8]| {
        let rig = Rig::new(Options { incomplete, body_max: 100, ..Options::default() });
        // What is too long is read to its end, and the next request is one.
        let answers = rig.answers(&[respmod_of(body, headers), respmod_of(b"next", &[ALLOW])].concat()).await;
        if answers[0].code == 500 {
            // Some clients wait for a body behind an error until the connection ends.
            assert_eq!((answers.len(), answers[0].header("Connection")), (1, Some("close")), "{answers:?}");
        } else {
            assert_eq!((answers.len(), answers[1].code), (2, 204), "{answers:?}");
        }
        answers[0].clone()
    };
    let long = [b'x'; 200_000].as_slice();
    for (body, word) in [(long, "too-large"), (b"die! now", "engine-crash")] {
        let error = told(Incomplete::Error, &[ALLOW], body).await;
        assert_eq!((error.code, error.header("X-Error-Code")), (500, Some("decode_error")));
        assert_eq!(error.header("X-Holdfast-Incomplete"), Some(word));
        let block = told(Incomplete::Block, &[ALLOW], body).await;
        assert_eq!(block.code, 200);
        assert!(block.head.starts_with("HTTP/1.1 403 "), "{}", block.head);
        assert!(block.header("X-Infection-Found").is_some_and(|value| value.contains(word)));
        let pass = told(Incomplete::Pass, &[ALLOW], body).await;
        assert_eq!((pass.code, pass.header("X-Holdfast-Incomplete")), (204, Some(word)));
    }
    // It may pass, but only what is kept can go back.
    let kept = told(Incomplete::Pass, &[], b"die! now").await;
    assert_eq!((kept.code, kept.body.as_deref()), (200, Some(b"die! now".as_slice())));
    let lost = told(Incomplete::Pass, &[], long).await;
    assert_eq!(lost.code, 500);
    assert!(lost.header("X-Holdfast-Reason").is_some_and(|why| why.contains("Allow: 204")), "{lost:?}");
}

#[tokio::test]
async fn a_long_body_is_known_for_it_within_the_preview() {
    let rig = Rig::new(Options { incomplete: Incomplete::Pass, body_max: 3, ..Options::default() });
    // Not asked for the rest, and told by a 204 although that was not allowed outside of a preview.
    let answers = with_preview(&rig, &respmod(&["Preview: 4"]), b"4\r\nabcd\r\n0\r\n\r\n", b"never sent").await;
    assert_eq!((answers.len(), answers[0].code), (1, 204), "{answers:?}");
}

#[tokio::test]
async fn without_a_verdict_nothing_passes_unless_that_is_wanted() {
    let told = async |unavailable, headers: &[&str]| {
        let rig = Rig::new(Options { unavailable, ..Options::default() });
        rig.engine.set_down(true);
        rig.answer(&respmod_of(b"hello", headers)).await
    };
    for headers in [&[][..], &[ALLOW]] {
        let refused = told(Unavailable::Refuse, headers).await;
        assert_eq!(refused.code, 503);
        assert!(refused.header("X-Holdfast-Reason").is_some() && refused.header("X-Holdfast-Degraded").is_none());
    }
    let passed = told(Unavailable::Pass, &[ALLOW]).await;
    assert_eq!((passed.code, passed.header("X-Holdfast-Degraded")), (204, Some("unscanned")));
    let lost = told(Unavailable::Pass, &[]).await;
    assert_eq!((lost.code, lost.header("X-Holdfast-Degraded")), (500, Some("unscanned")));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_is_late_is_refused() {
    let rig = Rig::new(Options { deadline: Duration::from_secs(3), ..Options::default() });
    let _held = rig.engine.hold();
    let began = Instant::now();
    let late = rig.answer(&respmod_of(b"hello", &[ALLOW])).await;
    assert_eq!((late.code, began.elapsed().as_secs()), (503, 3));
}

#[tokio::test(start_paused = true)]
async fn slow_clients_end() {
    let rig = rig();
    // What it sends at once, what it sends every second, after how many seconds it is cut, and what it is told.
    let body = respmod(&[ALLOW]);
    let table = [
        (b"".as_slice(), b"".as_slice(), 120, None),
        (b"REQMOD ", b"x", 30, Some(408)),
        (&body[..body.len() - 80], b"x", 30, Some(408)),
        (&[body.as_slice(), b"ffff\r\n"].concat(), b"x", 60, None),
    ];
    for (first, then, seconds, code) in table {
        let (mut client, served) = rig.connect();
        let began = Instant::now();
        client.write_all(first).await.expect("it is read");
        let (mut from, mut to) = tokio::io::split(client);
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if to.write_all(then).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            () = trickle => {}
            read = from.read_to_end(&mut answer) => { read.expect("a duplex does not fail"); }
        }
        let took = began.elapsed().as_secs();
        assert!((seconds..seconds + 2).contains(&took), "{took} s instead of {seconds}");
        assert_eq!(Answer::all(&answer).first().map(|answer| answer.code), code);
        drop((from, to));
        served.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_echo_is_cut() {
    let rig = rig();
    let (mut client, served) = rig.connect();
    client.write_all(&respmod_of(&body_of(300_000), &[])).await.expect("it is read");
    let began = Instant::now();
    served.await.expect("no panic");
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_shutdown_ends_what_is_idle_and_answers_what_is_under_way() {
    let rig = rig();
    let (mut idle, idle_served) = rig.connect();
    let (mut busy, busy_served) = rig.connect();
    let held = rig.engine.hold();
    busy.write_all(&respmod_of(b"hello", &[ALLOW])).await.expect("it is read");
    while rig.engine.scans() == 0 {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    let mut said = Vec::new();
    idle.read_to_end(&mut said).await.expect("it ends");
    assert!(said.is_empty());
    drop(idle);
    idle_served.await.expect("no panic");
    held.add_permits(1);
    busy.read_to_end(&mut said).await.expect("it ends");
    let (answer, _) = Answer::first(&said);
    assert_eq!((answer.code, answer.header("Connection")), (204, Some("close")));
    drop(busy);
    busy_served.await.expect("no panic");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn where_a_conversation_is_cut_makes_no_difference(piece in 1usize..200) {
        let said = [
            respmod_of(b"one", &[]),
            respmod_of(&body_of(30_000), &[]),
            respmod_of(b"EVIL", &[ALLOW]),
            b"REQMOD icap://h/scan ICAP/1.0\r\nPreview: 9\r\nEncapsulated: req-body=0\r\n\r\n1;a=b\r\nx\r\n0; ieof\r\nT: t\r\n\r\n".to_vec(),
            b"nonsense\r\n\r\n".to_vec(),
        ]
        .concat();
        run(async {
            let rig = rig();
            let whole = rig.say(&said).await;
            proptest::prop_assert_eq!(Answer::all(&whole).len(), 5);
            proptest::prop_assert!(rig.say_in_pieces(&said, piece).await == whole);
            Ok(())
        })?;
    }

    #[test]
    fn no_bytes_panic(
        kept in 0usize..400,
        noise in proptest::collection::vec(proptest::sample::select(b"0123;:=,-RQ \t\r\n\r\n\0\xff".to_vec()), 0..200),
    ) {
        let mut said = respmod_of(b"hello", &["Preview: 3"]);
        said.truncate(kept);
        said.extend(noise);
        run(async { rig().say(&said).await });
    }
}

#[tokio::test]
async fn a_body_that_no_engine_can_look_into_is_not_clean() {
    let rig = Rig::new(Options::default());
    let of = |coding: &str| {
        let heads = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        let encapsulated = format!("Allow: 204\r\nEncapsulated: res-hdr=0, res-body={}", heads.len());
        format!("RESPMOD icap://h/scan ICAP/1.0\r\nHost: h\r\n{encapsulated}\r\n\r\n{heads}5\r\nhello\r\n0\r\n\r\n")
    };
    assert_eq!(rig.answer(of("gzip").as_bytes()).await.code, 204);
    let opaque = rig.answer(of("br").as_bytes()).await;
    assert_eq!((opaque.code, opaque.header("X-Holdfast-Incomplete")), (500, Some("unreadable")));
}
