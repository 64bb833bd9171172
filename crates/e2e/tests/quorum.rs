//! Keys in shares at the sites: they open without two of them, and once shredded they open with no backup.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Server;

const RULES: &str = r#"{"rules": [{"prefix": "secret/", "portion": "secret", "class": "quorum"}]}"#;

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success(), "{} to {}", from.display(), to.display());
}

fn put_back(from: &Path, to: &Path) {
    if to.is_dir() {
        std::fs::remove_dir_all(to).expect("a folder");
    } else {
        std::fs::remove_file(to).expect("a file");
    }
    copy(from, to);
}

fn json(text: &str) -> serde_json::Value {
    // What is said to people may follow.
    let value = serde_json::Deserializer::from_str(text).into_iter().next();
    value.and_then(Result::ok).unwrap_or_else(|| panic!("{text}"))
}

/// A server with secrets of class quorum and other objects.
fn server() -> Server {
    let server = Server::start();
    std::fs::write(server.dir().join("rules.json"), RULES).expect("a file");
    std::fs::write(server.dir().join("object"), e2e::noise(1, 300_000)).expect("a file");
    let (code, out) =
        server.holdfast(&["portion", "rules", "put", server.dir().join("rules.json").to_str().expect("a path")]);
    assert_eq!(code, 0, "{out}");
    server.run("aws", &["s3", "mb", "s3://kept"]);
    server
}

fn put(server: &Server, key: &str) {
    server.run("aws", &["s3", "cp", "object", &format!("s3://kept/{key}")]);
}

fn comes_back(server: &Server, key: &str) {
    server.run("aws", &["s3", "cp", &format!("s3://kept/{key}"), "again"]);
    let [object, again] = ["object", "again"].map(|name| std::fs::read(server.dir().join(name)).expect("a file"));
    assert_eq!(object, again, "{key}");
}

/// What S3 answers where the key is not to be had.
fn refused(server: &Server, key: &str) -> String {
    let mut command = server.command("aws");
    command.args(["s3api", "get-object", "--bucket", "kept", "--key", key, "again"]).env("AWS_MAX_ATTEMPTS", "1");
    let output = command.output().expect("aws runs");
    assert!(!output.status.success(), "{key} came back");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn shares(server: &Server, portion: &str) -> u64 {
    let (code, out) = server.holdfast(&["portion", "show", portion, "--json"]);
    assert_eq!(code, 0, "{out}");
    json(&out)["versions"][0]["shares"].as_u64().expect("shares")
}

/// A shredding without delay, which takes a second person.
fn shred(server: &Server) {
    let (_, out) = server.holdfast(&["user", "create", "ann", "--json"]);
    let ann = json(&out);
    let file = server.dir().join("approve.json");
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"holdfast:Approve","Resource":"*"}}"#;
    std::fs::write(&file, policy).expect("a file");
    let (code, out) = server.holdfast(&["user", "policy", "put", "ann", "approve", &file.to_string_lossy()]);
    assert_eq!(code, 0, "{out}");
    let shred = ["portion", "shred", "secret", "--days", "0", "--confirm", "secret"];
    let (code, out) = server.holdfast(&shred);
    assert!(code == 2 && out.contains("waits for approval"), "{out}");
    let (_, out) = server.holdfast(&["release", "list", "--json"]);
    let id = json(&out)[0]["id"].as_str().expect("an id").to_owned();
    let text = |name: &str| ann[name].as_str().expect("text").to_owned();
    let (code, out) = server.holdfast_as(&text("access_key"), &text("secret_key"), &["release", "approve", &id]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = server.holdfast(&shred);
    assert!(code == 0 && out.contains("portion receipts") && !out.contains("backup"), "{out}");
}

fn waits_for(server: &Server, what: &str, good: impl Fn() -> bool) {
    server.wait_for(what, |_| good());
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn what_two_sites_take_with_them_is_made_anew() {
    let server = server();
    put(&server, "secret/a");
    put(&server, "open/a");
    let (_, shown) = server.holdfast(&["portion", "show", "secret"]);
    assert!(shown.contains("class     quorum") && shown.contains("5 of 5"), "{shown}");

    e2e::lose(&server, ["dc2", "dc5"]);
    // The lease of ten seconds would hide it: another process knows nothing yet.
    let mut server = server;
    server.kill();
    server.boot();
    comes_back(&server, "secret/a");
    put(&server, "secret/b");
    comes_back(&server, "secret/b");
    let (code, out) = server.holdfast(&["portion", "create", "later", "--class", "quorum"]);
    assert_eq!(code, 0, "{out}");
    assert_eq!((shares(&server, "secret"), shares(&server, "later")), (3, 3));
    let id = json(&server.holdfast(&["portion", "show", "secret", "--json"]).1)["portion"]["id"].clone();
    let id = id.as_str().expect("an id").to_owned();

    // A third one: a clear answer, and at once.
    let aside = server.dir().join("aside");
    server.kill();
    std::fs::rename(server.site("dc3"), &aside).expect("a folder");
    server.boot();
    let told = refused(&server, "secret/a");
    assert!(told.contains("503") || told.contains("ServiceUnavailable") || told.contains("SlowDown"), "{told}");
    let mut kms = server.command("aws");
    kms.args(["kms", "generate-data-key", "--key-id", &id, "--key-spec", "AES_256"]).env("AWS_MAX_ATTEMPTS", "1");
    let told = String::from_utf8_lossy(&kms.output().expect("aws runs").stderr).into_owned();
    assert!(told.contains("KeyUnavailableException"), "{told}");
    let (code, out) = server.holdfast(&["portion", "create", "never", "--class", "quorum"]);
    assert!(code != 0 && out.contains("2 came") && out.contains("dc3 is away"), "{out}");
    server.kill();
    std::fs::rename(&aside, server.site("dc3")).expect("a folder");
    server.boot();
    comes_back(&server, "secret/a");

    for site in ["dc2", "dc5"] {
        std::fs::create_dir(server.site(site)).expect("a folder");
        let (code, out) = server.holdfast(&["site", "replace", site]);
        assert_eq!(code, 0, "{out}");
    }
    waits_for(&server, "in five shares", || shares(&server, "secret") == 5 && shares(&server, "later") == 5);
    // Those of the new sites are as good as the others.
    server.kill();
    e2e::lose(&server, ["dc1", "dc3"]);
    server.boot();
    comes_back(&server, "secret/b");
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn what_was_shredded_opens_with_no_backup() {
    let mut server = server();
    put(&server, "secret/a");
    put(&server, "open/a");
    let (_, out) = server.holdfast(&["portion", "create", "lives", "--class", "quorum"]);
    assert!(out.contains("quorum"), "{out}");
    let data = server.dir().join("data");
    let backup = server.dir().join("backup");
    server.stop();
    std::fs::create_dir(&backup).expect("a folder");
    for what in ["meta", "epochs", "sites"] {
        copy(&data.join(what), &backup.join(what));
    }
    server.boot();
    let (_, out) = server.holdfast(&["portion", "show", "secret", "--json"]);
    let id = json(&out)["portion"]["id"].as_str().expect("an id").to_owned();
    let (code, out) = server.holdfast(&["site", "keys"]);
    let keys: Vec<&str> = out.lines().collect();
    assert_eq!((code, keys.len()), (0, 5), "{out}");

    // Two sites are cut off; three are enough.
    let cut: Vec<(PathBuf, PathBuf)> = ["dc4", "dc5"].map(|name| (server.site(name), server.dir().join(name))).into();
    server.kill();
    cut.iter().for_each(|(here, away)| std::fs::rename(here, away).expect("a folder"));
    server.boot();
    shred(&server);
    let receipts = || {
        let (code, out) = server.holdfast(&["portion", "receipts", &id, "--json"]);
        assert_eq!(code, 0, "{out}");
        json(&out)
    };
    waits_for(&server, "three receipts", || receipts()["receipts"].as_array().is_some_and(|all| all.len() >= 3));
    let state = || json(&server.holdfast(&["portion", "show", &id, "--json"]).1)["portion"]["state"].clone();
    waits_for(&server, "shredded", || state() == "shredded");
    let three = receipts();
    assert_eq!(three["waiting_for"], serde_json::json!(["dc4", "dc5"]));
    let file = server.dir().join("receipts.json");
    std::fs::write(&file, three.to_string()).expect("a file");
    let at = file.to_str().expect("a path");
    let verify = |at: &str, keys: &[&str]| {
        let given = keys.iter().flat_map(|key| ["--key", *key]);
        let args: Vec<&str> = ["portion", "verify-receipts", at].into_iter().chain(given).collect();
        server.holdfast(&args)
    };
    let (code, out) = verify(at, &keys);
    assert!(code == 0 && out.contains("destroyed at dc1, dc2, dc3"), "{out}");
    let (code, out) = verify(at, &[]);
    assert!(code == 0 && out.contains("only against the keys in the file"), "{out}");
    assert_eq!(verify(at, &keys[1..]).0, 1);
    std::fs::write(&file, three.to_string().replace("destroyed 1", "destroyed 2")).expect("a file");
    let (code, out) = verify(at, &keys);
    assert!(code == 1 && out.contains("was altered"), "{out}");

    // The two return, and destroy theirs.
    cut.iter().for_each(|(here, away)| std::fs::rename(away, here).expect("a folder"));
    waits_for(&server, "five receipts", || receipts()["receipts"].as_array().is_some_and(|all| all.len() == 5));
    std::fs::write(&file, receipts().to_string()).expect("a file");
    assert_eq!(verify(at, &keys).0, 0);
    comes_back(&server, "open/a");
    server.stop();

    // Two sites from the backup, with their epoch keys, and the metadata of then.
    copy(&data.join("meta"), &backup.join("meta-now"));
    for site in ["dc2", "dc4"] {
        put_back(&backup.join("sites").join(site), &data.join("sites").join(site));
        put_back(&backup.join("epochs").join(site), &data.join("epochs").join(site));
    }
    for meta in ["meta", "meta-now"] {
        put_back(&backup.join(meta), &data.join("meta"));
        server.boot();
        refused(&server, "secret/a");
        comes_back(&server, "open/a");
        if meta == "meta" {
            let (_, out) = server.holdfast(&["portion", "show", "secret", "--json"]);
            assert_eq!(json(&out)["portion"]["state"], "enabled", "the metadata know no better");
            assert!(server.log().contains("fewer than three shares within reach"), "{}", server.log());
        }
        server.stop();
    }
    // It takes a third: this test would notice if nothing opened anyway.
    for site in ["dc2", "dc3", "dc4"] {
        put_back(&backup.join("sites").join(site), &data.join("sites").join(site));
        put_back(&backup.join("epochs").join(site), &data.join("epochs").join(site));
    }
    put_back(&backup.join("meta"), &data.join("meta"));
    server.boot();
    comes_back(&server, "secret/a");
}
