//! The promises, each by killing things under the real binary.

use std::path::Path;
use std::process::Command;

use e2e::{ACCESS_KEY, Load, SECRET_KEY, Server, folders};

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).mode() & 0o777
}

fn states(server: &Server) -> Vec<String> {
    let sites = server.status()["sites"].as_array().cloned().unwrap_or_default();
    sites.iter().map(|site| site["state"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn kill_9_under_load_loses_no_acknowledged_write() {
    let mut server = Server::start();
    assert_eq!(mode(&server.dir().join("data/root.key")), 0o600);
    for round in 1..=3 {
        // A bucket of its own: an unacknowledged write that landed must not hide an earlier one.
        let name = format!("load{round}");
        let load = Load::start(&server, &name);
        load.wait_for_acks(round * 60);
        server.kill();
        let acks = load.acks.clone();
        load.finish(false);
        server.boot();
        server.py("verify.py", &[&name, acks.to_str().expect("a path")]);
    }
    server.wait_whole();
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn two_sites_vanish_under_load_and_come_back_empty() {
    let server = Server::start();
    let load = Load::start(&server, "load");
    let acks = load.acks.clone();
    let verify = |server: &Server| server.py("verify.py", &["load", acks.to_str().expect("a path")]);
    load.wait_for_acks(100);
    server.lose("dc2");
    server.lose("dc5");
    load.wait_for_acks(load.count() + 100);
    load.finish(true);
    verify(&server);
    let status = server.wait_for("degraded", |status| status["state"] == "degraded");
    let summary = status["summary"].as_str().unwrap_or_default().to_owned();
    assert!(summary.contains("dc2") && summary.contains("dc5"), "{summary}");
    let (code, text) = server.holdfast(&["status"]);
    assert!(code == 75 && text.starts_with("degraded:"), "{code} {text}");

    // New objects, written with two sites down, survive a third.
    let fresh = Load::start(&server, "fresh");
    let fresh_acks = fresh.acks.clone();
    fresh.finish(true);
    let third = server.site("dc1");
    let hidden = server.dir().join("hidden");
    std::fs::rename(&third, &hidden).expect("a third site to hide");
    server.py("verify.py", &["fresh", fresh_acks.to_str().expect("a path")]);
    std::fs::rename(&hidden, &third).expect("the third site back");
    server.wait_for("dc1 up", |status| status["sites"][0]["state"] == "up");

    // Empty folders take their places; then the other way round.
    for lost in [["dc2", "dc5"], ["dc1", "dc3"]] {
        for name in lost {
            server.lose(name);
            std::fs::create_dir(server.site(name)).expect("an empty folder");
        }
        for name in lost {
            let (code, text) = server.holdfast(&["site", "replace", name]);
            assert_eq!(code, 0, "{text}");
        }
        server.wait_whole();
        verify(&server);
    }
    server.lose("dc4");
    server.lose("dc5");
    verify(&server);
}

fn mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).status().is_ok_and(|status| status.success())
}

/// Unmounts when dropped, so that a failed test leaves nothing behind.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Nothing can be created in a folder tree that is immutable, not even by root.
fn set_immutable(dir: &Path, sign: char) {
    let done = Command::new("chattr").args(["-R", &format!("{sign}i")]).arg(dir).status().expect("chattr runs");
    assert!(done.success(), "chattr {sign}i {}", dir.display());
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_full_and_a_read_only_site_cost_nothing() {
    let mut mounts = Vec::new();
    let server = Server::with_config(|dir| {
        let path = dir.join("s2");
        std::fs::create_dir(&path).expect("a mount point");
        assert!(mount(&["-t", "tmpfs", "-o", "size=24m", "tmpfs", path.to_str().expect("a path")]), "mount needs root");
        mounts.push(Mounted(path));
        folders(dir)
    });
    let s4 = server.dir().join("s4");
    let load = Load::start(&server, "load");
    let acks = load.acks.clone();
    load.wait_for_acks(60);
    set_immutable(&s4, '+');
    server.wait_for("full and read-only", |status| {
        status["sites"][1]["state"] == "full" && status["sites"][3]["state"] == "read-only"
    });
    load.wait_for_acks(load.count() + 60);
    load.finish(true);
    server.py("verify.py", &["load", acks.to_str().expect("a path")]);

    // Space and permission come back, and with them everything home.
    let s2 = server.dir().join("s2");
    assert!(mount(&["-o", "remount,size=900m", s2.to_str().expect("a path")]));
    set_immutable(&s4, '-');
    server.wait_whole();
    server.py("verify.py", &["load", acks.to_str().expect("a path")]);
    drop(server);
    drop(mounts);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn scrub_finds_and_mends_silent_corruption() {
    let server = Server::start();
    let load = Load::start(&server, "load");
    let acks = load.acks.clone();
    load.wait_for_acks(80);
    load.finish(true);
    let mut bent = 0;
    for name in ["dc1", "dc3"] {
        for file in shards(&server.site(name)) {
            let size = std::fs::metadata(&file).expect("a shard").len();
            flip(&file, size / 2);
            bent += 1;
        }
        for file in segments(&server.site(name)) {
            for at in bodies(&std::fs::read(&file).expect("a segment")) {
                flip(&file, at);
                bent += 1;
            }
        }
    }
    assert!(bent > 4, "{bent} shards were bent");
    server.py("verify.py", &["load", acks.to_str().expect("a path")]);
    let (code, text) = server.holdfast(&["scrub", "--json"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = server.holdfast(&["scrub", "--json"]);
    assert_eq!(code, 0, "{text}");
    let again: serde_json::Value =
        serde_json::from_str(text.split_inclusive('}').next().unwrap_or_default()).expect("JSON");
    assert_eq!((again["damaged"].as_u64(), again["missing"].as_u64()), (Some(0), Some(0)), "{text}");
    server.wait_whole();
    for name in ["dc2", "dc4"] {
        server.lose(name);
    }
    server.py("verify.py", &["load", acks.to_str().expect("a path")]);
}

/// Changes one bit in place.
fn flip(file: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(file).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("a bent byte");
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Shards that are files of their own.
fn shards(site: &Path) -> Vec<std::path::PathBuf> {
    files(&site.join("shards")).iter().flat_map(|dir| files(dir)).collect()
}

/// The files that small shards share (`docs/spec/site.md`).
fn segments(site: &Path) -> Vec<std::path::PathBuf> {
    files(&site.join("segments")).into_iter().filter(|file| file.metadata().is_ok_and(|m| m.len() > 1 << 20)).collect()
}

/// The middle of every put's body in a segment.
fn bodies(segment: &[u8]) -> Vec<u64> {
    let number = |at: usize, len: usize| (0..len).map(|i| usize::from(segment[at + i]) << (8 * i)).sum::<usize>();
    let records = (4096..segment.len()).step_by(4096).filter(|at| segment[*at..].starts_with(b"HFSREC1\n"));
    records
        .filter(|at| number(at + 24, 2) == 1)
        .map(|at| (at + 40 + number(at + 26, 2) + number(at + 28, 4) / 2) as u64)
        .collect()
}

/// Plaintext, names and keys must be nowhere at the sites, nor in the log.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn sites_and_logs_hold_no_secret() {
    let server = Server::start();
    let (bucket, key, text) = ("planted-bucket-name", "planted-object-name", "PLANTED-PLAINTEXT-0123456789");
    let file = server.dir().join("planted");
    for (suffix, times) in [("small", 10), ("large", 100_000)] {
        std::fs::write(&file, text.repeat(times)).expect("a file");
        if suffix == "small" {
            server.run("aws", &["s3", "mb", &format!("s3://{bucket}")]);
        }
        let to = format!("s3://{bucket}/{key}-{suffix}");
        server.run("aws", &["s3", "cp", "--metadata", "note=PLANTED-METADATA", "planted", &to]);
    }
    let root = std::fs::read_to_string(server.dir().join("data/root.key")).expect("the root key");
    let hex = root.lines().nth(1).expect("a key").to_owned();
    let raw: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal")).collect();
    let mut needles: Vec<Vec<u8>> =
        [text, key, bucket, "PLANTED-METADATA", ACCESS_KEY, SECRET_KEY, &hex].map(|s| s.as_bytes().to_vec()).into();
    needles.push(raw);
    let mut looked = 0;
    let mut files = vec![server.dir().join("err.txt")];
    let mut dirs = vec![server.dir().join("data/sites")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            if entry.path().is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    for file in files {
        let bytes = std::fs::read(&file).expect("a file");
        looked += bytes.len();
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_slice());
            let named = file.to_string_lossy().contains(&*String::from_utf8_lossy(needle));
            assert!(!found && !named, "{} gives away {:?}", file.display(), String::from_utf8_lossy(needle));
        }
    }
    assert!(looked > 4_000_000, "only {looked} bytes were looked at");
    // The same search finds what is really there.
    assert!(std::fs::read(&file).expect("a file").windows(text.len()).any(|window| window == text.as_bytes()));
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn rights_are_what_was_granted() {
    let server = Server::start();
    let (code, text) =
        server.holdfast(&["user", "create", "eve", "--access-key", "EVEKEY", "--secret-key", "eve-secret-key"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(server.holdfast(&["user", "create", "eve"]).0, 2, "names are unique");
    server.py("grants.py", &["EVEKEY", "eve-secret-key", "none"]);
    for right in ["read", "write", "admin"] {
        assert_eq!(server.holdfast(&["user", "grant", "eve", "granted", right]).0, 0);
        server.py("grants.py", &["EVEKEY", "eve-secret-key", right]);
    }
    assert_eq!(server.holdfast(&["user", "revoke", "eve", "granted"]).0, 0);
    server.py("grants.py", &["EVEKEY", "eve-secret-key", "none"]);
    assert_eq!(server.holdfast(&["user", "delete", "eve"]).0, 0);
    assert!(
        !server.script("grants.py", &["EVEKEY", "eve-secret-key", "none"]).output().expect("python3").status.success()
    );
}

/// Peak memory stays bounded whatever passes through.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn sixteen_connections_stream_in_bounded_memory() {
    let server = Server::start();
    let memory = |field: &str| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    };
    let idle = memory("VmRSS:");
    let mib = if std::env::var_os("HOLDFAST_E2E_BIG").is_some() { "5120" } else { "1024" };
    server.py("stream.py", &[mib]);
    let grown = (memory("VmHWM:") - idle) / 1024;
    assert!(grown < 300, "memory grew by {grown} MiB over {} MiB idle", idle / 1024);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn wrong_files_are_named_with_their_cure() {
    let mut server = Server::start();
    server.run("aws", &["s3", "mb", "s3://kept"]);
    let serve = |server: &Server| {
        let mut command = Command::new(std::env::var("HOLDFAST_E2E_BIN").expect("the binary"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--kms-listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(server.dir().join("data"));
        let output = command.env("HOLDFAST_ACCESS_KEY", ACCESS_KEY).env("HOLDFAST_SECRET_KEY", SECRET_KEY).output();
        String::from_utf8_lossy(&output.expect("the binary runs").stderr).into_owned()
    };
    assert!(serve(&server).contains("another holdfast serves"), "two servers on one directory");
    server.kill();
    let (key, away) = (server.dir().join("data/root.key"), server.dir().join("root.key"));
    std::fs::rename(&key, &away).expect("the root key");
    let text = serve(&server);
    assert!(text.contains("root.key") && text.contains("backup"), "{text}");
    std::fs::rename(&away, &key).expect("the root key");
    let meta = server.dir().join("data/meta/meta.redb");
    let good = std::fs::read(&meta).expect("metadata");
    std::fs::write(&meta, vec![0x55; good.len()]).expect("garbage");
    let text = serve(&server);
    assert!(text.contains("meta.redb") && text.contains("error:"), "{text}");
    std::fs::write(&meta, good).expect("metadata");
    server.boot();
    assert!(server.run("aws", &["s3", "ls"]).contains("kept"));
    assert!(states(&server).iter().all(|state| state == "up"), "{:?}", states(&server));
}
