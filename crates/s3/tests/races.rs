//! Many clients at one object or one upload at once: one of them wins, and what it made is whole.

mod common;

use common::{Answer, Form, World};
use futures::future::join_all;

/// The smallest part that is not the last, bytes.
const MIN: usize = 5 << 20;
/// Times that a race is run: each runs in another order.
const ROUNDS: usize = 12;
const RACERS: usize = 8;

async fn part(w: &World, id: &str, number: u16, body: &[u8]) -> String {
    let target = format!("/bbb/k?partNumber={number}&uploadId={id}");
    w.put(&target).form(Form::Loose).body(body).send(w).await.expect(200).header("etag").to_owned()
}

async fn complete(w: &World, id: &str, parts: &[(u16, &str)]) -> Answer {
    let parts: String =
        parts.iter().map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>")).collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    w.post(&format!("/bbb/k?uploadId={id}")).body(document).send(w).await
}

fn succeeded(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

/// Clients repeat a completion whose answer they did not get: each is told of the same object.
#[tokio::test]
async fn the_same_completion_many_times() {
    let w = World::with_bucket().await;
    let (one, two) = (vec![1; MIN], vec![2; 10]);
    for round in 0..3 {
        let id = w.upload("/bbb/k", &[]).await;
        let tags = [part(&w, &id, 1, &one).await, part(&w, &id, 2, &two).await];
        let parts = [(1, tags[0].as_str()), (2, tags[1].as_str())];
        let answers = join_all((0..RACERS).map(|_| complete(&w, &id, &parts))).await;
        assert!(succeeded(&answers) >= 1, "round {round}");
        let got = w.get("/bbb/k").send(&w).await.expect(200);
        assert_eq!(got.body.len(), MIN + 10, "round {round}");
        for answer in answers {
            match answer.status.as_u16() {
                200 => assert_eq!(answer.tag("ETag"), got.header("etag"), "round {round}"),
                _ => _ = answer.refused(404, "NoSuchUpload"),
            }
        }
    }
}

/// Completions that name different parts: the object is that of one of them, all of it.
#[tokio::test]
async fn different_completions() {
    let w = World::with_bucket().await;
    for round in 0..ROUNDS {
        let id = w.upload("/bbb/k", &[]).await;
        let mut tags = Vec::new();
        for number in 1..=RACERS as u16 {
            tags.push(part(&w, &id, number, format!("part {number} of {round}").as_bytes()).await);
        }
        let calls = (1..=RACERS as u16).zip(&tags).map(|(number, tag)| {
            let (w, id) = (&w, &id);
            async move { complete(w, id, &[(number, tag)]).await }
        });
        let answers = join_all(calls).await;
        let got = w.get("/bbb/k").send(&w).await.expect(200);
        let wins: Vec<usize> = (1..=RACERS).filter(|number| got.body == format!("part {number} of {round}")).collect();
        assert_eq!(wins.len(), 1, "round {round}: {}", got.text());
        assert_eq!(answers[wins[0] - 1].status, 200, "round {round}");
        for answer in answers {
            match answer.status.as_u16() {
                200 => assert_eq!(answer.tag("ETag"), got.header("etag"), "round {round}"),
                _ => _ = answer.refused(404, "NoSuchUpload"),
            }
        }
    }
}

/// An upload is completed or aborted, never a bit of both.
#[tokio::test]
async fn an_abort_in_the_middle_of_a_completion() {
    let w = World::with_bucket().await;
    for round in 0..ROUNDS {
        let id = w.upload("/bbb/k", &[]).await;
        let tag = part(&w, &id, 1, b"whole").await;
        let abort = w.delete(&format!("/bbb/k?uploadId={id}"));
        let parts = [(1, tag.as_str())];
        let (done, aborted) = if round % 2 == 0 {
            futures::join!(complete(&w, &id, &parts), abort.send(&w))
        } else {
            let (aborted, done) = futures::join!(abort.send(&w), complete(&w, &id, &parts));
            (done, aborted)
        };
        let got = w.get("/bbb/k").send(&w).await;
        if done.status == 200 {
            assert_eq!(got.expect(200).body, "whole", "round {round}");
            w.delete("/bbb/k").send(&w).await.expect(204);
        } else {
            done.refused(404, "NoSuchUpload");
            aborted.expect(204);
            got.refused(404, "NoSuchKey");
        }
        w.get(&format!("/bbb/k?uploadId={id}")).send(&w).await.refused(404, "NoSuchUpload");
    }
    w.delete("/bbb").send(&w).await.expect(204);
}

/// A part that arrives while its upload is completed is in the object or is refused or is dropped:
/// the object has the ETag's bytes.
#[tokio::test]
async fn a_part_in_the_middle_of_a_completion() {
    let w = World::with_bucket().await;
    for round in 0..ROUNDS {
        let id = w.upload("/bbb/k", &[]).await;
        let tag = part(&w, &id, 1, b"old").await;
        let parts = [(1, tag.as_str())];
        let again = w.put(&format!("/bbb/k?partNumber=1&uploadId={id}")).body("new");
        let (done, put) = futures::join!(complete(&w, &id, &parts), again.send(&w));
        assert!([200, 404].contains(&put.status.as_u16()), "round {round}: {}", put.text());
        match done.status.as_u16() {
            200 => assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body, "old", "round {round}"),
            _ => _ = done.refused(400, "InvalidPart"),
        }
        w.delete(&format!("/bbb/k?uploadId={id}")).send(&w).await;
    }
}

/// Of many parts with one number, one stays, and it is what its ETag says.
#[tokio::test]
async fn one_part_number_many_times() {
    let w = World::with_bucket().await;
    let id = w.upload("/bbb/k", &[]).await;
    let bodies: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
    let tags = join_all(bodies.iter().map(|body| part(&w, &id, 1, body.as_bytes()))).await;
    let listed = w.get(&format!("/bbb/k?uploadId={id}")).send(&w).await.expect(200);
    assert_eq!(listed.all("PartNumber"), ["1"]);
    let kept = listed.tag("ETag");
    let racer = tags.iter().position(|tag| *tag == kept).unwrap();
    complete(&w, &id, &[(1, &kept)]).await.expect(200);
    assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body, bodies[racer]);
}

/// Of many who overwrite the same state, one may.
#[tokio::test]
async fn one_of_many_overwrites() {
    let w = World::with_bucket().await;
    let mut tag = w.stored("/bbb/k", b"first").await;
    for round in 0..ROUNDS {
        let calls = (0..RACERS).map(|racer| w.put("/bbb/k").header("if-match", &tag).body(format!("{round}/{racer}")));
        let answers = join_all(calls.map(|call| call.send(&w))).await;
        assert_eq!(succeeded(&answers), 1, "round {round}");
        assert!(answers.iter().all(|answer| [200, 409, 412].contains(&answer.status.as_u16())), "round {round}");
        let racer = answers.iter().position(|answer| answer.status == 200).unwrap();
        assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body, format!("{round}/{racer}"));
        tag = answers[racer].header("etag").to_owned();
    }
}

/// One deletion or one overwriting of the same state, not both.
#[tokio::test]
async fn a_deletion_and_an_overwriting() {
    let w = World::with_bucket().await;
    for round in 0..ROUNDS {
        let tag = w.stored("/bbb/k", b"old").await;
        let put = w.put("/bbb/k").header("if-match", &tag).body("new");
        let (deleted, put) = futures::join!(w.delete("/bbb/k").header("if-match", &tag).send(&w), put.send(&w));
        let told = (deleted.status.as_u16(), put.status.as_u16());
        assert!(matches!(told, (204, 404 | 409 | 412) | (404 | 409 | 412, 200)), "round {round}: {told:?}");
        assert_eq!(w.exists("/bbb/k").await, told.1 == 200, "round {round}");
    }
}

/// What is read while it is overwritten is one of the two, whole.
#[tokio::test]
async fn reads_of_what_is_overwritten() {
    let w = World::with_bucket().await;
    let size = 3 << 20;
    w.stored("/bbb/k", &vec![0; size]).await;
    let write = async {
        for byte in 1..=6u8 {
            w.put("/bbb/k").form(Form::Loose).body(vec![byte; size]).send(&w).await.expect(200);
        }
    };
    let read = async {
        for _ in 0..12 {
            let got = w.get("/bbb/k").send(&w).await.expect(200);
            assert_eq!(got.body.len(), size);
            assert!(got.body.iter().all(|byte| *byte == got.body[0]), "a mixture");
        }
    };
    futures::join!(write, read, read_ranges(&w, size));
}

async fn read_ranges(w: &World, size: usize) {
    for _ in 0..12 {
        let got = w.get("/bbb/k").header("range", &format!("bytes=0-{}", size - 2)).send(w).await.expect(206);
        assert!(got.body.iter().all(|byte| *byte == got.body[0]), "a mixture");
    }
}

/// The most parts that an upload can have, listed in pages; a completion that names them all is
/// taken, and judged by their sizes.
#[tokio::test]
async fn ten_thousand_parts() {
    let w = World::with_bucket().await;
    let id = w.upload("/bbb/k", &[]).await;
    let mut tags = Vec::new();
    let numbers: Vec<u16> = (1..=10_000).collect();
    for some in numbers.chunks(500) {
        let calls = some.iter().map(|number| {
            let (w, id) = (&w, &id);
            async move { part(w, id, *number, &number.to_be_bytes()).await }
        });
        tags.extend(join_all(calls).await);
    }
    let (mut listed, mut marker) = (Vec::new(), "0".to_owned());
    loop {
        let page = w.get(&format!("/bbb/k?uploadId={id}&part-number-marker={marker}")).send(&w).await.expect(200);
        listed.extend(page.all("ETag"));
        if page.tag("IsTruncated") == "false" {
            break;
        }
        assert_eq!(page.all("PartNumber").len(), 1000);
        marker = page.tag("NextPartNumberMarker");
    }
    assert_eq!(listed, tags);
    let all: Vec<(u16, &str)> = numbers.iter().copied().zip(tags.iter().map(String::as_str)).collect();
    complete(&w, &id, &all).await.refused(400, "EntityTooSmall");
    complete(&w, &id, &all[9999..]).await.expect(200);
    assert_eq!(w.get("/bbb/k").send(&w).await.expect(200).body.as_ref(), 10_000u16.to_be_bytes());
}
