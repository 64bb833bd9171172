//! Sessions over a pipe, as clients have them.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, ReadHalf, duplex, split};
use tokio::task::JoinHandle;

use super::*;
use crate::Incomplete;
use crate::double::{World, chunks};
use crate::limits::{AHEAD, COMMAND_MAX, PACE_WINDOW, STRAIGHT};

impl Wire for ReadHalf<DuplexStream> {}

const PATHS: Rights = Rights { paths: true, descriptors: false };

fn options() -> Options {
    Options::new("t")
}

/// A client's end, and the connection at the other one.
fn connect(door: Arc<Door>, rights: Rights, room: usize) -> (DuplexStream, CancellationToken, JoinHandle<()>) {
    let (client, server) = duplex(room);
    let (reader, writer) = split(server);
    let stop = CancellationToken::new();
    (client, stop.clone(), tokio::spawn(serve(door, rights, reader, writer, stop)))
}

async fn rest(client: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.expect("the connection ends");
    String::from_utf8(all).expect("words")
}

/// What is said to somebody who sends this and then nothing more.
async fn said(door: &Arc<Door>, rights: Rights, sent: &[u8]) -> String {
    let (client, _, served) = connect(door.clone(), rights, 1 << 20);
    let (mut reader, mut writer) = split(client);
    let sending = async {
        // It may be told off before it has sent everything.
        let _ = writer.write_all(sent).await;
        let _ = writer.shutdown().await;
    };
    let ((), all) = tokio::join!(sending, rest(&mut reader));
    served.await.expect("it does not panic");
    all
}

async fn line(client: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    loop {
        match client.read_u8().await.expect("a line") {
            0 => return String::from_utf8(line).expect("words"),
            byte => line.push(byte),
        }
    }
}

fn stream(bytes: &[u8]) -> Vec<u8> {
    [&b"zINSTREAM\0"[..], &chunks(bytes, 5)].concat()
}

#[tokio::test]
async fn one_command_has_one_answer() {
    let world = World::new();
    let door = world.door(options());
    let table: &[(&[u8], &str)] = &[
        (b"zPING\0", "PONG\0"),
        (b"nPING\n", "PONG\n"),
        (b"PING", "PONG\n"),
        (b"zPING\0zPING\0", "PONG\0"),
        (b"zVERSION\0", "ClamAV words 1\0"),
        (b"zSHUTDOWN\0", "COMMAND UNAVAILABLE\0"),
        (b"RELOAD\n", "COMMAND UNAVAILABLE\n"),
        (b"nEND\n", "UNKNOWN COMMAND\n"),
        (b"zNOSUCH\0", "UNKNOWN COMMAND\0"),
        (b"zFILDES\0\0", "No file descriptor received. ERROR\0"),
        (b"zFILDES\0", "No file descriptor received. ERROR\0"),
        (b"", ""),
        (b"zPING", ""),
        (b"zIDSESSION\0", ""),
        (b"zIDSESSION\0zPING\0nVERSION\nzEND\0zPING\0", "1: PONG\x002: ClamAV words 1\n"),
        (b"nIDSESSION\nnPING\n", "1: PONG\n"),
        (b"zIDSESSION\0zRELOAD\0zPING\0", "1: Command invalid inside IDSESSION. ERROR\0"),
        (b"zIDSESSION\0zIDSESSION\0", "1: Command invalid inside IDSESSION. ERROR\0"),
        (b"zIDSESSION\0zCONTSCAN /\0", "1: Command invalid inside IDSESSION. ERROR\0"),
        (b"zIDSESSION\0PING\n", "1: Only nCMDS\\n and zCMDS\\0 are accepted inside IDSESSION. ERROR\n"),
    ];
    for (sent, answer) in table {
        assert_eq!(said(&door, PATHS, sent).await, *answer, "{}", sent.escape_ascii());
    }
    let stats = said(&door, PATHS, b"nSTATS\n").await;
    assert!(stats.starts_with("POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 0  idle 2 max 2 "), "{stats}");
    assert!(stats.contains("\nQUEUE: 0 items\n") && stats.ends_with("\nEND\n"), "{stats}");
    let long = [&b"zSCAN "[..], &[b'/'; COMMAND_MAX]].concat();
    assert_eq!(said(&door, PATHS, &long).await, "Command too long. ERROR\0");
}

#[tokio::test]
async fn a_stream_is_judged_however_it_is_cut() {
    let world = World::new();
    let door = world.door(options());
    assert_eq!(said(&door, PATHS, &stream(b"")).await, "stream: OK\0");
    assert_eq!(said(&door, PATHS, &stream(b"so good")).await, "stream: OK\0");
    assert_eq!(said(&door, PATHS, &stream(b"so evil, so bad")).await, "stream: bad FOUND\0");
    let all = [&b"zOPTSCAN ALLMATCH INSTREAM \0"[..], &chunks(b"so evil, so bad", 5)].concat();
    assert_eq!(said(&door, PATHS, &all).await, "stream: bad FOUND\0stream: evil FOUND\0");
    let newline = [&b"nINSTREAM\n"[..], &chunks(b"evil", 4)].concat();
    assert_eq!(said(&door, PATHS, &newline).await, "stream: evil FOUND\n");

    let content: Vec<u8> = (0..3_u32 << 20).map(|i| (i.wrapping_mul(i) / 77) as u8).chain(*b"evil").collect();
    let before = world.engine.scans();
    for size in [999, 8188, STRAIGHT as usize - 1, STRAIGHT as usize, AHEAD - 4, AHEAD, AHEAD + 1, content.len()] {
        let sent = [&b"zINSTREAM\0"[..], &chunks(&content, size)].concat();
        assert_eq!(said(&door, PATHS, &sent).await, "stream: evil FOUND\0", "{size}");
    }
    // It was the same content each time, to the last byte.
    assert_eq!(world.engine.scans() - before, 1);
}

#[tokio::test]
async fn where_the_wire_cuts_changes_nothing() {
    let world = World::new();
    let door = world.door(options());
    let sent = [&b"zIDSESSION\0zPING\0"[..], &stream(b"evil"), b"nVERSION\n", &stream(b"good"), b"zEND\0"].concat();
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.split_inclusive(['\0', '\n']).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let whole = sorted(said(&door, PATHS, &sent).await);
    assert_eq!(whole, ["1: PONG\0", "2: stream: evil FOUND\0", "3: ClamAV words 1\n", "4: stream: OK\0"]);
    for room in [1, 2, 3, 7] {
        let (client, _, _) = connect(door.clone(), PATHS, room);
        let (mut reader, mut writer) = split(client);
        let (_, all) = tokio::join!(writer.write_all(&sent), rest(&mut reader));
        assert_eq!(sorted(all), whole, "{room}");
    }
}

#[tokio::test]
async fn what_is_not_clean_is_never_called_so() {
    let world = World::new();
    let door = world.door(options());
    let error = world.door(Options { incomplete: Incomplete::Error, ..options() });
    assert_eq!(said(&door, PATHS, &stream(b"die!")).await, "stream: Holdfast.Incomplete.engine-crash FOUND\0");
    let why = "stream: Not all of it could be looked at (engine-crash) ERROR\0";
    assert_eq!(said(&error, PATHS, &stream(b"die!")).await, why);
    // It ends where nothing says that it is whole.
    let cut = stream(b"good");
    for len in "zINSTREAM\0".len()..cut.len() {
        let why = "stream: The stream ended before its last chunk. ERROR\0";
        assert_eq!(said(&door, PATHS, &cut[..len]).await, why, "{len}");
    }
    let straight = [&b"zINSTREAM\0"[..], &chunks(&[7; 100_000], 100_000)].concat();
    let said_of_half = said(&door, PATHS, &straight[..60_000]).await;
    assert!(said_of_half.ends_with("before its last chunk. ERROR\0"), "{said_of_half}");
    world.engine.set_down(true);
    let down = "stream: the scan engine is not available; it is down ERROR\0";
    assert_eq!(said(&door, PATHS, &stream(b"never seen")).await, down);
}

#[tokio::test]
async fn a_stream_has_a_bound() {
    let world = World::new();
    let door = world.door(Options { stream_max: 10, ..options() });
    assert_eq!(said(&door, PATHS, &stream(b"0123456789")).await, "stream: OK\0");
    assert_eq!(said(&door, PATHS, &stream(b"0123456789a")).await, "INSTREAM size limit exceeded. ERROR\0");
    let huge = [&b"zINSTREAM\0\xff\xff\xff\xff"[..], &[0; 1 << 20]].concat();
    assert_eq!(said(&door, PATHS, &huge).await, "INSTREAM size limit exceeded. ERROR\0");
    let in_session = [&b"nIDSESSION\nnINSTREAM\n"[..], &chunks(b"0123456789a", 11), b"nPING\n"].concat();
    assert_eq!(said(&door, PATHS, &in_session).await, "1: INSTREAM size limit exceeded. ERROR\n");
}

#[tokio::test]
async fn who_waits_for_one_answer_gets_others_meanwhile() {
    let world = World::new();
    let gate = world.engine.hold();
    let (mut client, _, served) = connect(world.door(options()), PATHS, 1 << 20);
    let sent = [&b"zIDSESSION\0"[..], &stream(b"evil"), b"zPING\0zVERSION\0"].concat();
    client.write_all(&sent).await.unwrap();
    assert_eq!(line(&mut client).await, "2: PONG");
    assert_eq!(line(&mut client).await, "3: ClamAV words 1");
    client.write_all(b"zEND\0").await.unwrap();
    gate.add_permits(1);
    assert_eq!(rest(&mut client).await, "1: stream: evil FOUND\0");
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn so_many_commands_are_under_way_and_no_more() {
    let world = World::new();
    let gate = world.engine.hold();
    let asker = Asker { deadline: Duration::from_secs(1 << 20), ..Asker::inline("t") };
    let (mut client, _, _) = connect(world.door(Options { asker, ..options() }), PATHS, 1 << 20);
    let mut sent = b"zIDSESSION\0".to_vec();
    (0..=IN_FLIGHT_MAX).for_each(|i| sent.extend(stream(i.to_string().as_bytes())));
    sent.extend(b"zPING\0zEND\0");
    client.write_all(&sent).await.unwrap();
    // Nobody is cut who waits for answers, and the last stream waits for a place.
    let silence = timeout(100 * COMMAND_TIMEOUT, client.read_u8()).await;
    assert!(silence.is_err(), "{silence:?}");
    gate.add_permits(1);
    let first = line(&mut client).await;
    assert!(first.ends_with(": stream: OK"), "{first}");
    assert_eq!(line(&mut client).await, format!("{}: PONG", IN_FLIGHT_MAX + 2));
    gate.add_permits(IN_FLIGHT_MAX);
    assert_eq!(rest(&mut client).await.matches("stream: OK\0").count(), IN_FLIGHT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_cut() {
    let world = World::new();
    // Each sends a byte at a time, with a pause: what it hears, and when at the latest.
    let pace = PACE_WINDOW + Duration::from_secs(10);
    let table: &[(&[u8], Duration)] =
        &[(b"", COMMAND_TIMEOUT), (b"zSCAN /", COMMAND_TIMEOUT), (b"zINSTREAM\0\0\0\xff\xff", pace)];
    for (first, within) in table {
        let began = Instant::now();
        let (client, _, served) = connect(world.door(options()), PATHS, 1 << 20);
        let (mut reader, mut writer) = split(client);
        let dripping = async {
            let _ = writer.write_all(first).await;
            while !first.is_empty() && writer.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(5)).await;
            }
            std::future::pending().await
        };
        let heard = tokio::select! {
            () = dripping => unreachable!(),
            heard = rest(&mut reader) => heard,
        };
        assert_eq!(heard, "COMMAND READ TIMED OUT\n", "{}", first.escape_ascii());
        assert!(began.elapsed() <= *within, "{}: {:?}", first.escape_ascii(), began.elapsed());
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut() {
    let world = World::new();
    let (mut client, _, served) = connect(world.door(options()), PATHS, 64);
    client.write_all(b"zSTATS\0").await.unwrap();
    let began = Instant::now();
    served.await.unwrap();
    assert!(began.elapsed() >= WRITE_TIMEOUT && began.elapsed() < 2 * WRITE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_command_without_an_end_is_whole_when_nothing_follows() {
    let world = World::new();
    let (mut client, _, _) = connect(world.door(options()), PATHS, 1 << 20);
    client.write_all(b"PI").await.unwrap();
    sleep(PLAIN_PAUSE / 2).await;
    client.write_all(b"NG").await.unwrap();
    assert_eq!(rest(&mut client).await, "PONG\n");
}

#[tokio::test]
async fn a_server_that_stops_answers_what_is_under_way() {
    let world = World::new();
    let gate = world.engine.hold();
    let (mut client, stop, served) = connect(world.door(options()), PATHS, 1 << 20);
    client.write_all(&[&b"zIDSESSION\0"[..], &stream(b"evil"), b"zPING\0"].concat()).await.unwrap();
    assert_eq!(line(&mut client).await, "2: PONG");
    stop.cancel();
    gate.add_permits(1);
    assert_eq!(rest(&mut client).await, "1: stream: evil FOUND\0");
    served.await.unwrap();
    let (mut client, stop, _) = connect(world.door(options()), PATHS, 1 << 20);
    client.write_all(b"zSCA").await.unwrap();
    stop.cancel();
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn files_are_told_one_by_one_and_a_clean_path_as_a_whole() {
    let world = World::new();
    let door = world.door(options());
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let write = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).unwrap();
    let ask = async |command: &str, name: &str| {
        let text = said(&door, PATHS, format!("z{command} {root}{name}\0").as_bytes()).await;
        let mut lines: Vec<String> = text.split_terminator('\0').map(|line| line.replace(root, "")).collect();
        lines.sort();
        lines
    };
    write("good", "good");
    for command in ["SCAN", "CONTSCAN", "MULTISCAN", "ALLMATCHSCAN"] {
        assert_eq!(ask(command, "").await, [": OK"], "{command}");
        assert_eq!(ask(command, "/good").await, ["/good: OK"], "{command}");
        let none = ["/none: File path check failure; No such file or directory. ERROR"];
        assert_eq!(ask(command, "/none").await, none, "{command}");
    }
    write("evil", "evil and bad");
    write("bad", "bad");
    std::fs::create_dir(dir.path().join("in")).unwrap();
    write("in/die", "die!");
    let all = ["/bad: bad FOUND", "/evil: bad FOUND", "/in/die: Holdfast.Incomplete.engine-crash FOUND"];
    assert_eq!(ask("CONTSCAN", "").await, all);
    assert_eq!(ask("MULTISCAN", "/").await, all);
    // It ends with the first.
    assert_eq!(ask("SCAN", "").await.len(), 1);
    assert_eq!(ask("ALLMATCHSCAN", "/evil").await, ["/evil: bad FOUND", "/evil: evil FOUND"]);
    assert_eq!(ask("OPTSCAN ALLMATCH CONTSCAN", "/evil").await, ["/evil: bad FOUND", "/evil: evil FOUND"]);
    world.engine.set_down(true);
    write("good", "never seen");
    std::fs::remove_dir_all(dir.path().join("in")).unwrap();
    std::fs::remove_file(dir.path().join("evil")).unwrap();
    std::fs::remove_file(dir.path().join("bad")).unwrap();
    // A folder of which a file could not be judged is not called clean.
    assert_eq!(ask("CONTSCAN", "").await, ["/good: the scan engine is not available; it is down ERROR"]);
}

#[tokio::test]
async fn who_may_not_name_files_learns_nothing_of_them() {
    let world = World::new();
    let door = world.door(options());
    for command in ["SCAN", "CONTSCAN", "MULTISCAN", "ALLMATCHSCAN", "OPTSCAN CONTSCAN", "OPTSCAN ALLMATCH MULTISCAN"] {
        let there = said(&door, Rights::default(), format!("z{command} /etc/passwd\0").as_bytes()).await;
        assert!(there.starts_with("/etc/passwd: Access denied. ") && there.ends_with(" ERROR\0"), "{there}");
        let none = said(&door, Rights::default(), format!("z{command} /etc/none\0").as_bytes()).await;
        assert_eq!(none.replace("none", "passwd"), there);
    }
    let in_session = said(&door, Rights::default(), b"zIDSESSION\0zSCAN /\0zPING\0").await;
    assert!(
        in_session.starts_with("1: /: Access denied. ") && in_session.ends_with("ERROR\x002: PONG\0"),
        "{in_session}"
    );
    assert_eq!(world.engine.scans(), 0);
}

#[tokio::test]
async fn a_walk_notices_that_nobody_listens() {
    let (here, there) = tokio::net::UnixStream::pair().unwrap();
    let (to, lines) = channel(1);
    let speaking = tokio::spawn(speak(here, lines));
    to.send(Vec::new()).await.unwrap();
    drop(there);
    // The first may be on its way.
    while to.send(Vec::new()).await.is_ok() {}
    assert_eq!(speaking.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_sent_the_connection_ends(
        parts in proptest::collection::vec(
            prop_oneof![
                Just(b"zIDSESSION\0".to_vec()),
                Just(b"zINSTREAM\0".to_vec()),
                Just(b"zINSTREAM\0\0\0\0\x05evil!\0\0\0\0".to_vec()),
                Just(b"zPING\0".to_vec()),
                Just(b"nFILDES\n\0".to_vec()),
                Just(b"nSTATS\n".to_vec()),
                Just(b"zSCAN /proc/none\0".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..50),
            ],
            0..20,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            said(&world.door(options()), PATHS, &parts.concat()).await;
        });
    }
}
