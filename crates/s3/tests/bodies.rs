//! What is promised of a body holds, or nothing is stored.

mod common;

use common::{ALGORITHMS, Form, World, checksum, md5_base64};

fn data() -> Vec<u8> {
    (0..200_000u32).map(|i| (i % 253) as u8).collect()
}

/// A bit in the middle: of data, not of framing.
const FLIP: fn(&mut Vec<u8>) = |wire| {
    let at = wire.len() / 2;
    wire[at] ^= 1;
};

/// A bit of the first chunk's length.
const FLIP_FIRST: fn(&mut Vec<u8>) = |wire| wire[0] ^= 1;

#[tokio::test]
async fn every_form_stores_the_same() {
    let w = World::with_bucket().await;
    let body = data();
    let sum = checksum("crc64nvme", &body);
    let forms = [
        Form::Hashed,
        Form::Loose,
        Form::Presigned(60),
        Form::Chunks(65_536),
        Form::Chunks(8_192),
        Form::ChunksTrailer(65_536),
        Form::LooseTrailer(65_536),
        Form::LooseTrailer(1 << 30),
    ];
    for (i, form) in forms.into_iter().enumerate() {
        let mut call = w.put("/bbb/k").form(form).body(&body);
        let trailer = matches!(form, Form::ChunksTrailer(_) | Form::LooseTrailer(_));
        if trailer {
            call = call.trailer("x-amz-checksum-crc64nvme", &sum).header("x-amz-sdk-checksum-algorithm", "CRC64NVME");
        }
        let put = call.send(&w).await.expect(200);
        assert_eq!(put.maybe("x-amz-checksum-crc64nvme"), trailer.then_some(sum.as_str()), "form {i}");
        let got = w.get("/bbb/k").header("x-amz-checksum-mode", "ENABLED").send(&w).await.expect(200);
        assert_eq!(got.body, body, "form {i}");
        assert_eq!(got.maybe("content-encoding"), None, "form {i}");
        assert_eq!(got.maybe("x-amz-checksum-crc64nvme"), trailer.then_some(sum.as_str()), "form {i}");
        w.delete("/bbb/k").send(&w).await.expect(204);
    }
}

/// Servers have taken the word STREAMING for a signature and checked no chunk.
#[tokio::test]
async fn a_flipped_byte_is_refused() {
    let w = World::with_bucket().await;
    let body = data();
    let sum = checksum("crc32", &body);
    let trailed = |form| w.put("/bbb/k").form(form).trailer("x-amz-checksum-crc32", &sum);
    let table = [
        (w.put("/bbb/k"), "XAmzContentSHA256Mismatch"),
        (w.put("/bbb/k").form(Form::Chunks(65_536)), "SignatureDoesNotMatch"),
        (trailed(Form::ChunksTrailer(65_536)), "SignatureDoesNotMatch"),
        (trailed(Form::LooseTrailer(65_536)), "BadDigest"),
        (w.put("/bbb/k").form(Form::Loose).header("content-md5", &md5_base64(&body)), "BadDigest"),
        (w.put("/bbb/k").form(Form::Presigned(9)).header("x-amz-checksum-crc32", &sum), "BadDigest"),
    ];
    for (call, code) in table {
        let answer = call.body(&body).tamper(FLIP).send(&w).await;
        assert_eq!(answer.code(), code, "{}", answer.text());
        assert!((400..=403).contains(&answer.status.as_u16()), "{code}");
        assert!(!w.exists("/bbb/k").await, "{code}");
    }
}

#[tokio::test]
async fn checksums() {
    let w = World::with_bucket().await;
    let body = b"some data";
    for algorithm in ALGORITHMS {
        let header = format!("x-amz-checksum-{algorithm}");
        let (right, wrong) = (checksum(algorithm, body), checksum(algorithm, b"other"));
        let put = w.put("/bbb/k").header(&header, &right).body(body).send(&w).await.expect(200);
        assert_eq!(put.header(&header), right);
        assert_eq!(put.header("x-amz-checksum-type"), "FULL_OBJECT");
        let head = w.head("/bbb/k").header("x-amz-checksum-mode", "ENABLED").send(&w).await.expect(200);
        assert_eq!(head.header(&header), right);
        assert_eq!(w.head("/bbb/k").send(&w).await.maybe(&header), None, "not asked for");
        let part = w.get("/bbb/k").header("x-amz-checksum-mode", "ENABLED").header("range", "bytes=0-1").send(&w).await;
        assert_eq!(part.expect(206).maybe(&header), None, "a range has another checksum");
        w.delete("/bbb/k").send(&w).await.expect(204);

        w.put("/bbb/k").header(&header, &wrong).body(body).send(&w).await.refused(400, "BadDigest");
        w.put("/bbb/k").header(&header, "AAA=").body(body).send(&w).await.refused(400, "InvalidRequest");
        for form in [Form::LooseTrailer(4), Form::ChunksTrailer(8_192)] {
            w.put("/bbb/k").form(form).trailer(&header, &wrong).body(body).send(&w).await.refused(400, "BadDigest");
        }
        assert!(!w.exists("/bbb/k").await, "{algorithm}");
        for form in [Form::LooseTrailer(4), Form::ChunksTrailer(8_192)] {
            w.put("/bbb/k").form(form).trailer(&header, &right).body(body).send(&w).await.expect(200);
            w.delete("/bbb/k").send(&w).await.expect(204);
        }
    }
}

#[tokio::test]
async fn promises_that_cannot_hold() {
    let w = World::with_bucket().await;
    let (a, b) = (checksum("crc32", b"x"), checksum("sha1", b"x"));
    let put = || w.put("/bbb/k").body("x");
    put()
        .header("x-amz-checksum-crc32", &a)
        .header("x-amz-checksum-sha1", &b)
        .send(&w)
        .await
        .refused(400, "InvalidRequest");
    put().header("x-amz-sdk-checksum-algorithm", "CRC32").send(&w).await.refused(400, "InvalidRequest");
    put()
        .header("x-amz-sdk-checksum-algorithm", "MD4")
        .header("x-amz-checksum-crc32", &a)
        .send(&w)
        .await
        .refused(400, "InvalidRequest");
    put().header("content-md5", "x").send(&w).await.refused(400, "InvalidDigest");
    put().header("content-md5", &md5_base64(b"y")).send(&w).await.refused(400, "BadDigest");
    put().form(Form::LooseTrailer(9)).trailer("x-amz-meta-late", "1").send(&w).await.refused(400, "InvalidRequest");
    // The trailer that was announced does not come.
    fn cut(wire: &mut Vec<u8>) {
        let at = wire.windows(5).position(|w| w == b"x-amz").unwrap();
        wire.truncate(at);
    }
    let call = put().form(Form::LooseTrailer(9)).trailer("x-amz-checksum-crc32", &a);
    call.tamper(cut).send(&w).await.refused(400, "MalformedTrailerError");
    assert!(!w.exists("/bbb/k").await);
    put().header("content-md5", &md5_base64(b"x")).send(&w).await.expect(200);
    assert_eq!(w.head("/bbb/k").send(&w).await.header("etag"), format!("\"{}\"", hex::encode(md5(b"x"))));
}

fn md5(data: &[u8]) -> Vec<u8> {
    use md5::Digest as _;
    md5::Md5::digest(data).to_vec()
}

#[tokio::test]
async fn chunks_that_lie() {
    let w = World::with_bucket().await;
    fn shorter(wire: &mut Vec<u8>) {
        // Without the last chunks of data.
        wire.truncate(8_192);
    }
    fn huge(wire: &mut Vec<u8>) {
        wire.splice(0..wire.iter().position(|b| *b == b';').unwrap(), b"ffffffff".iter().copied());
    }
    fn no_signature(wire: &mut Vec<u8>) {
        let start = wire.iter().position(|b| *b == b';').unwrap();
        let end = wire.iter().position(|b| *b == b'\r').unwrap();
        wire.drain(start..end);
    }
    let body = vec![1u8; 30_000];
    let call = || w.put("/bbb/k").form(Form::Chunks(10_000)).body(&body);
    call().tamper(shorter).send(&w).await.refused(400, "IncompleteBody");
    call().tamper(huge).send(&w).await.refused(400, "InvalidRequest");
    call().tamper(no_signature).send(&w).await.refused(400, "InvalidRequest");
    call().tamper(FLIP_FIRST).send(&w).await.expect(400);
    assert!(!w.exists("/bbb/k").await);
    // More data than the decoded length says, in unsigned chunks.
    fn more(wire: &mut Vec<u8>) {
        let mut longer = b"5\r\nhello\r\n".to_vec();
        longer.append(wire);
        *wire = longer;
    }
    let sum = checksum("crc32", b"hello");
    let call = w.put("/bbb/k").form(Form::LooseTrailer(9)).trailer("x-amz-checksum-crc32", &sum).body("hello");
    call.tamper(more).send(&w).await.refused(400, "IncompleteBody");
    assert!(!w.exists("/bbb/k").await);
}

/// A client that dies in the middle of an upload leaves nothing behind.
#[tokio::test]
async fn a_lost_client_stores_nothing() {
    use tokio::io::AsyncWriteExt;
    let w = World::with_bucket().await;
    let (request, wire) = w.put("/bbb/k").form(Form::Loose).body(data()).sign(w.address);
    let head = request.body(()).unwrap();
    let mut text = format!("PUT {} HTTP/1.1\r\ncontent-length: {}\r\n", head.uri(), wire.len());
    for (name, value) in head.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    text.push_str("\r\n");
    let mut stream = tokio::net::TcpStream::connect(w.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.write_all(&wire[..wire.len() / 2]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
    assert!(!w.exists("/bbb/k").await);
}

/// A client that was answered before all of its body was read is told not to come back on the same
/// connection; so is one that asked for a `100 Continue` for nothing.
#[tokio::test]
async fn connections_that_cannot_go_on_are_closed() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    let close = |call: common::Call| async { call.send(&w).await.maybe("connection").map(str::to_owned) };
    let closed = Some("close".to_owned());
    let large = vec![0; 3 << 20];
    assert_eq!(close(w.put("/bbb/n").body("text")).await, None);
    assert_eq!(close(w.put("/bbb/n").body(&large)).await, None);
    assert_eq!(close(w.put("/bbb/n").body("")).await, None);
    assert_eq!(close(w.put("/bbb/n").form(Form::Chunks(8192)).body("text")).await, None);
    assert_eq!(close(w.get("/bbb/k")).await, None);
    assert_eq!(close(w.put("/bbb/n").header("expect", "100-continue").body("text")).await, None);
    assert_eq!(close(w.put("/bbb/n").header("expect", "100-continue").body("")).await, closed);
    assert_eq!(close(w.put("/bbb/k").header("if-none-match", "*").body("text")).await, closed);
    assert_eq!(close(w.put("/none/k").body("text")).await, closed);
}

/// What a stranger says of itself must not make the server wait for more of it.
#[tokio::test]
async fn a_stranger_is_answered_before_its_document() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let w = World::with_bucket().await;
    for hash in ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let mut stream = tokio::net::TcpStream::connect(w.address).await.unwrap();
        let head = format!(
            "POST /bbb?delete HTTP/1.1\r\nhost: {}\r\nx-amz-content-sha256: {hash}\r\ncontent-length: 1000\r\n\r\n<",
            w.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server ends the connection: the rest of the body is not wanted.
        let read = tokio::time::timeout(std::time::Duration::from_secs(50), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{hash}: not answered");
        assert!(answer.starts_with(b"HTTP/1.1 40"), "{}", String::from_utf8_lossy(&answer));
    }
}
