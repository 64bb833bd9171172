//! Real sockets: descriptors, rights, and how many at once.

use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::double::{World, chunks};
use crate::limits::{DESCRIPTORS_AT_ONCE, DESCRIPTORS_MAX};

struct Local {
    world: World,
    dir: tempfile::TempDir,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Local {
    fn new(options: Options) -> Self {
        let (world, dir, stop) = (World::new(), tempfile::tempdir().unwrap(), CancellationToken::new());
        let socket = LocalSocket::bind(&dir.path().join("clamd.ctl")).unwrap();
        let served = tokio::spawn(serve_local(socket, world.scanner.clone(), options, stop.clone()));
        Self { world, dir, stop, served }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("clamd.ctl")
    }

    fn file(&self, content: &[u8]) -> File {
        let path = self.dir.path().join("content");
        std::fs::write(&path, content).unwrap();
        File::open(path).unwrap()
    }
}

/// What a client sends at once: bytes, and descriptors with them.
type Packet<'a> = (&'a [u8], Vec<BorrowedFd<'a>>);

fn send(client: &StdUnixStream, (bytes, descriptors): &Packet<'_>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(client, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

/// What is said to these packets.
async fn said(path: &Path, packets: &[Packet<'_>]) -> String {
    let mut client = StdUnixStream::connect(path).unwrap();
    packets.iter().for_each(|packet| send(&client, packet));
    client.shutdown(Shutdown::Write).unwrap();
    let read = spawn_blocking(move || {
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    });
    // The number of a descriptor is nobody's business.
    let text = read.await.unwrap().unwrap();
    text.split_inclusive('\0')
        .map(|line| match (line.find("fd["), line.find(']')) {
            (Some(from), Some(to)) => format!("{}{}", &line[..from + 3], &line[to..]),
            _ => line.to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn a_descriptor_is_judged_however_it_is_passed() {
    let local = Local::new(Options::new("t"));
    let path = local.path();
    let evil = local.file(b"so evil");
    // As clamdscan passes it.
    let apart: [Packet; 2] = [(b"zFILDES\0", vec![]), (b"\0", vec![evil.as_fd()])];
    assert_eq!(said(&path, &apart).await, "fd[]: evil FOUND\0");
    assert_eq!(said(&path, &[(b"zFILDES\0\0", vec![evil.as_fd()])]).await, "fd[]: evil FOUND\0");
    assert_eq!(said(&path, &[(b"nFILDES\nx", vec![evil.as_fd()])]).await, "fd[]: evil FOUND\n");
    let optscan: [Packet; 2] = [(b"zOPTSCAN FILDES \0", vec![]), (b"\0", vec![evil.as_fd()])];
    assert_eq!(said(&path, &optscan).await, "fd[]: evil FOUND\0");

    // It was never read from where it is now: others have the same descriptor.
    let mut rest = String::new();
    (&evil).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "so evil");
    assert_eq!(said(&path, &apart).await, "fd[]: evil FOUND\0");

    let folder = File::open(local.dir.path()).unwrap();
    assert_eq!(said(&path, &[(b"zFILDES\0\0", vec![folder.as_fd()])]).await, "fd[]: Not a regular file ERROR\0");
    let unreadable = File::options().append(true).open(local.dir.path().join("content")).unwrap();
    let answer = said(&path, &[(b"zFILDES\0\0", vec![unreadable.as_fd()])]).await;
    assert!(answer.starts_with("fd[]: ") && answer.ends_with(" ERROR\0"), "{answer}");
}

#[tokio::test]
async fn each_descriptor_belongs_to_its_command() {
    let local = Local::new(Options::new("t"));
    let (evil, good) = (local.file(b"so evil"), tempfile::tempfile().unwrap());
    let mut packets: Vec<Packet> = vec![(b"zIDSESSION\0", vec![])];
    for file in [&evil, &good, &good, &evil] {
        packets.extend([(&b"zFILDES\0"[..], vec![]), (&b"\0"[..], vec![file.as_fd()])]);
    }
    packets.push((b"zEND\0", vec![]));
    let text = said(&local.path(), &packets).await;
    let mut lines: Vec<&str> = text.split_terminator('\0').collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1: fd[]: evil FOUND", "2: fd[]: OK", "3: fd[]: OK", "4: fd[]: evil FOUND"]);

    let misused = "PROTOCOL ERROR: ancillary data sent without FILDES. ERROR\0";
    let many = vec![evil.as_fd(); DESCRIPTORS_AT_ONCE + 1];
    assert_eq!(said(&local.path(), &[(b"zFILDES\0\0", many)]).await, misused);
    let mut packets: Vec<Packet> = vec![(b"zFIL", vec![])];
    packets.extend((0..=DESCRIPTORS_MAX).map(|_| (&b"x"[..], vec![evil.as_fd()])));
    let text = said(&local.path(), &packets).await;
    // They are not waited for.
    assert_eq!(text, "");
    packets[0] = (b"zIDSESSION\0zSCAN ", vec![]);
    packets.push((b"\0zFILDES\0\0", vec![]));
    assert!(said(&local.path(), &packets).await.contains(misused));
}

#[tokio::test]
async fn the_servers_user_may_name_files() {
    let local = Local::new(Options::new("t"));
    drop(local.file(b"so evil"));
    let content = local.dir.path().join("content");
    let command = format!("zCONTSCAN {}\0", content.display());
    let answer = said(&local.path(), &[(command.as_bytes(), vec![])]).await;
    assert_eq!(answer, format!("{}: evil FOUND\0", content.display()));
}

#[tokio::test]
async fn nobody_names_files_or_passes_descriptors_over_tcp() {
    let (world, stop) = (World::new(), CancellationToken::new());
    let listener = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(serve_tcp(listener, world.scanner.clone(), Options::new("t"), stop.clone()));
    let said = async |sent: &[u8]| {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    };
    assert_eq!(said(b"zPING\0").await, "PONG\0");
    let stream = [&b"zINSTREAM\0"[..], &chunks(b"so evil", 3)].concat();
    assert_eq!(said(&stream).await, "stream: evil FOUND\0");
    assert!(said(b"zSCAN /etc/passwd\0").await.starts_with("/etc/passwd: Access denied. "));
    assert_eq!(said(b"zFILDES\0\0").await, "No file descriptor received. ERROR\0");
    stop.cancel();
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn so_many_are_served_and_the_rest_waits() {
    let local = Local::new(Options { connections: 1, ..Options::new("t") });
    let gate = local.world.engine.hold();
    let mut first = UnixStream::connect(local.path()).await.unwrap();
    first.write_all(&[&b"zINSTREAM\0"[..], &chunks(b"held", 4)].concat()).await.unwrap();
    while local.world.engine.scans() == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = UnixStream::connect(local.path()).await.unwrap();
    second.write_all(b"zPING\0").await.unwrap();
    gate.add_permits(1);
    let mut text = String::new();
    first.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "stream: OK\0");
    text.clear();
    second.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "PONG\0");
    local.stop.cancel();
    local.served.await.unwrap().unwrap();
    assert!(!local.dir.path().join("clamd.ctl").exists());
}
