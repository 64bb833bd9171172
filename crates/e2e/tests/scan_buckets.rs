//! Buckets of a server with a scan service of its own, by the aws CLI, ClamAV behind it.

use e2e::Server;
use e2e::scan::{EICAR_NAME, eicar, signature};

/// A server that knows EICAR, with a bucket of these rules.
fn server(mode: &[&str]) -> Server {
    let server = Server::with_config(|dir| {
        let definitions = dir.join("definitions");
        std::fs::create_dir(&definitions).expect("a folder");
        std::fs::write(definitions.join("own.ndb"), signature("Test.Eicar", &eicar()[28..])).expect("a file");
        let scan = format!("[scan]\nclamd_listen = \"off\"\nicap_listen = \"off\"\ndefinitions = {definitions:?}\n\n");
        scan + &e2e::folders(dir)
    });
    std::fs::write(server.dir().join("eicar"), eicar()).expect("a file");
    std::fs::write(server.dir().join("good"), "a text that is good").expect("a file");
    ready(&server);
    server.run("aws", &["s3", "mb", "s3://box"]);
    let (code, text) = server.holdfast(&[&["scan", "bucket", "box"], mode].concat());
    assert_eq!(code, 0, "{text}");
    server
}

/// Waits until ClamAV is loaded.
fn ready(server: &Server) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while server.holdfast_on_data(&["scan", "status"]).0 != 0 {
        assert!(std::time::Instant::now() < until, "ClamAV does not come: {}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// What the aws CLI said, and whether it was content.
fn aws(server: &Server, args: &[&str]) -> (bool, String) {
    let out = server.command("aws").args(args).output().expect("aws runs");
    let text = [out.stdout.as_slice(), out.stderr.as_slice()].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn is_refused(done: (bool, String)) {
    assert!(!done.0 && done.1.contains("AccessDenied") && done.1.contains(EICAR_NAME), "{}", done.1);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_bucket_that_blocks_takes_nothing_infected() {
    let mut server = server(&["--mode", "block"]);
    is_refused(aws(&server, &["s3", "cp", "eicar", "s3://box/bad"]));
    server.run("aws", &["s3", "cp", "good", "s3://box/good"]);
    assert!(server.run("aws", &["s3", "cp", "s3://box/good", "-"]).contains("a text that is good"));
    let listed = server.run("aws", &["s3", "ls", "s3://box/"]);
    assert!(listed.contains("good") && !listed.contains("bad"), "{listed}");
    // In parts: neither is infected by itself, and their whole is.
    let bytes = [vec![b'x'; (8 << 20) - 40], eicar()].concat();
    std::fs::write(server.dir().join("parts"), &bytes).expect("a file");
    server.run("aws", &["s3", "cp", "parts", "s3://box/parts"]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !server.holdfast(&["scan", "list", "box"]).1.contains("infected") {
        assert!(!aws(&server, &["s3", "cp", "s3://box/parts", "got"]).0, "it is kept back");
        assert!(std::time::Instant::now() < until, "it is not looked at");
    }
    is_refused(aws(&server, &["s3", "cp", "s3://box/parts", "got"]));
    // What was found is known after a restart, before ClamAV is there.
    server.stop();
    server.boot();
    is_refused(aws(&server, &["s3", "cp", "s3://box/parts", "got"]));
    assert!(server.run("aws", &["s3", "cp", "s3://box/good", "-"]).contains("a text that is good"));
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_quarantine_holds_what_is_infected_until_it_is_released() {
    let server = server(&["--mode", "quarantine"]);
    server.run("aws", &["s3", "cp", "eicar", "s3://box/bad"]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let (code, listed) = server.holdfast(&["scan", "list", "box"]);
        assert_eq!(code, 1, "{listed}");
        if listed.contains(EICAR_NAME) {
            break;
        }
        assert!(std::time::Instant::now() < until, "it is not looked at: {listed}");
    }
    is_refused(aws(&server, &["s3", "cp", "s3://box/bad", "-"]));
    let tags = server.run("aws", &["s3api", "get-object-tagging", "--bucket", "box", "--key", "bad"]);
    assert!(tags.contains("holdfast-scan") && tags.contains("infected"), "{tags}");
    let copied =
        aws(&server, &["s3api", "copy-object", "--copy-source", "box/bad", "--bucket", "box", "--key", "copy"]);
    is_refused(copied);
    assert_eq!(server.holdfast(&["scan", "release", "box", "bad"]).0, 0);
    assert!(server.run("aws", &["s3", "cp", "s3://box/bad", "-"]).contains("ANTIVIRUS"));
    assert_eq!(server.holdfast(&["scan", "release", "box", "bad", "--undo"]).0, 0);
    is_refused(aws(&server, &["s3", "cp", "s3://box/bad", "-"]));
    assert_eq!(server.holdfast(&["scan", "bucket", "box", "--mode", "advise"]).0, 0);
    assert!(server.run("aws", &["s3", "cp", "s3://box/bad", "-"]).contains("ANTIVIRUS"));
}
