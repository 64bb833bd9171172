//! Event notifications of the real binary, to a real web server and a real NATS server.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Server, folders};
use serde_json::Value;

/// Bounds every wait. Generous: it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program beside the server; it ends with the test.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn secret(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a secret");
}

fn until<T>(what: &str, server: &Server, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "still no {what}: {}\n{}", targets(server), server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn targets(server: &Server) -> Value {
    let (_, text) = server.holdfast(&["notify", "list", "--json"]);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn configure(server: &Server, bucket: &str, target: &str) {
    server.run("aws", &["s3", "mb", &format!("s3://{bucket}")]);
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{target}");
    let document = format!(r#"{{"QueueConfigurations":[{{"QueueArn":"{arn}","Events":["s3:ObjectCreated:*"]}}]}}"#);
    let put = ["s3api", "put-bucket-notification-configuration", "--bucket", bucket, "--notification-configuration"];
    server.run("aws", &[&put[..], &[&document]].concat());
}

/// Makes each of the keys grow from `first` to `last` bytes.
fn change(server: &Server, bucket: &str, first: u64, last: u64) {
    server.py("changes.py", &[bucket, &first.to_string(), &last.to_string(), "5"]);
}

/// Every change is told at least once, and those of one key in their order.
fn is_all(lines: &str, last: u64) -> bool {
    let messages: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let objects: Vec<&Value> = messages.iter().map(|message| &message["Records"][0]["s3"]["object"]).collect();
    (0..5).all(|key| {
        let key = format!("key+{key}");
        let mut sizes: Vec<u64> = Vec::new();
        let mut sequencer = "";
        for object in objects.iter().filter(|object| object["key"] == key.as_str()) {
            let (size, next) = (object["size"].as_u64().unwrap_or(0), object["sequencer"].as_str().unwrap_or(""));
            // A repetition has the sequencer of what it repeats.
            if next > sequencer {
                sizes.push(size);
                sequencer = next;
            }
        }
        sizes == (1..=last).collect::<Vec<_>>()
    })
}

fn hook(server: &Server, port: u16) -> Beside {
    let out = server.dir().join("hook.lines");
    let args = [&port.to_string(), out.to_str().expect("a path"), "s3cret"];
    Beside(server.script("hook.py", &args).stdout(Stdio::null()).spawn().expect("python3 runs"))
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_webhook_that_was_away_is_told_all_after_kill_9() {
    let port = free_port();
    let mut server = Server::with_config(|dir| {
        secret(&dir.join("secret"), "s3cret\n");
        let secret = dir.join("secret").display().to_string();
        let hook = format!(
            "[notify.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret_file = \"{secret}\"\n"
        );
        hook + &folders(dir)
    });
    configure(&server, "events", "hook");
    let (code, text) = server.holdfast(&["notify", "test", "hook"]);
    assert!(code == 1 && text.contains("cannot be reached"), "{code} {text}");
    change(&server, "events", 1, 4);
    server.kill();
    server.boot();
    assert!(targets(&server)[0]["queued"].as_u64() >= Some(20), "{}", targets(&server));
    change(&server, "events", 5, 6);
    let (_, status) = server.holdfast(&["status"]);
    assert!(status.contains("events        hook: "), "{status}");

    let lines = || std::fs::read_to_string(server.dir().join("hook.lines")).unwrap_or_default();
    let first = hook(&server, port);
    until("event", &server, || is_all(&lines(), 6).then_some(()));
    until("empty queue", &server, || (targets(&server)[0]["queued"] == 0).then_some(()));
    let (code, text) = server.holdfast(&["notify", "test", "hook"]);
    assert!(code == 0 && text.contains("took the test event"), "{code} {text}");
    drop(first);
    change(&server, "events", 7, 8);
    let _second = hook(&server, port);
    until("event", &server, || is_all(&lines(), 8).then_some(()));
    assert!(lines().contains("s3:TestEvent"));
    server.py("notifications.py", &["hook"]);
    let (code, text) = server.holdfast(&["notify", "test", "none"]);
    assert!(code != 0 && text.contains("no target named none"), "{code} {text}");
}

fn nats(server: &Server, port: u16) -> Beside {
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "--auth", "t0ken", "-js", "-sd"]);
    command.arg(server.dir().join("jetstream")).stderr(Stdio::null());
    Beside(command.spawn().expect("nats-server runs; `cargo xtask e2e` installs it"))
}

fn stream(server: &Server, port: u16, what: &str) -> Option<String> {
    let output = server.script("jetstream.py", &[&port.to_string(), "t0ken", what]).output().expect("python3 runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_stream_of_nats_has_every_event_though_both_sides_die() {
    let port = free_port();
    let mut server = Server::with_config(|dir| {
        secret(&dir.join("token"), "t0ken\n");
        let token = dir.join("token").display().to_string();
        let target = |name: &str, more: &str| {
            format!(
                "[notify.{name}]\nkind = \"nats\"\nurl = \"nats://127.0.0.1:{port}\"\ntoken_file = \"{token}\"\ntimeout_s = 5\n{more}\n"
            )
        };
        let bus = target("bus", "subject = \"s3.events\"\njetstream = true");
        let lost = target("lost", "subject = \"nobody.listens\"\njetstream = true");
        bus + &lost + &target("core", "subject = \"nobody.listens\"") + &folders(dir)
    });
    let first = nats(&server, port);
    until("stream", &server, || stream(&server, port, "make"));
    configure(&server, "events", "bus");
    change(&server, "events", 1, 3);
    drop(first);
    change(&server, "events", 4, 6);
    server.kill();
    server.boot();
    let _second = nats(&server, port);
    change(&server, "events", 7, 8);
    until("event", &server, || stream(&server, port, "read").filter(|lines| is_all(lines, 8)));
    // The stream knows repetitions: each event is there once.
    let lines =
        until("end", &server, || (targets(&server)[0]["queued"] == 0).then(|| stream(&server, port, "read"))?);
    assert_eq!(lines.lines().filter(|line| line.contains("ObjectCreated:Put")).count(), 40, "{lines}");
    let (code, text) = server.holdfast(&["notify", "test", "lost"]);
    assert!(code == 1 && text.contains("no stream takes the subject"), "{code} {text}");
    let (code, text) = server.holdfast(&["notify", "test", "core"]);
    assert!(code == 0, "{code} {text}");
}
