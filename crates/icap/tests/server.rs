//! The server by TCP.

mod common;

use std::time::Duration;

use common::{ALLOW, Answer, Rig, respmod_of};
use icap::{Options, serve};
use listener::bind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LOCAL: &str = "127.0.0.1:0";

async fn answer(stream: &mut TcpStream, said: &[u8]) -> Answer {
    stream.write_all(said).await.expect("it is read");
    let mut told = vec![0; 4096];
    let read = stream.read(&mut told).await.expect("an answer");
    Answer::first(&told[..read]).0
}

#[tokio::test]
async fn it_serves_as_many_as_it_should_until_it_is_stopped() {
    let rig = Rig::new(Options { connections: 1, ..Options::default() });
    let listener = bind(LOCAL.parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(serve(listener, rig.icap.clone(), rig.stop.clone()));
    let request = respmod_of(b"hello", &[ALLOW]);
    let mut first = TcpStream::connect(address).await.expect("it listens");
    assert_eq!(answer(&mut first, &request).await.code, 204);
    // The kernel takes the second connection; the server has no place for it.
    let mut second = TcpStream::connect(address).await.expect("it listens");
    second.write_all(&request).await.expect("it is kept");
    let waits = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(waits.is_err(), "one at once");
    drop(first);
    assert_eq!(second.read_u8().await.expect("its turn"), b'I');
    rig.stop.cancel();
    drop(second);
    server.await.expect("no panic").expect("it was stopped");
    TcpStream::connect(address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn an_answer_is_not_lost_to_what_the_client_still_sends() {
    let rig = Rig::new(Options::default());
    let listener = bind(LOCAL.parse().expect("an address")).expect("a free port");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
    tokio::spawn(serve(listener, rig.icap.clone(), rig.stop.clone()));
    // Far more than the sockets hold: a server that closed at once would reset the connection.
    let long = [b"REQMOD icap://h/nothing ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n".to_vec(), vec![b'x'; 32 << 20]]
        .concat();
    client.write_all(&long).await.expect("it is read");
    client.shutdown().await.expect("it ends");
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.expect("no reset");
    assert_eq!(Answer::first(&told).0.code, 404);
}
