//! The root key wrapped to another machine's key: made there, carried, accepted, served with, and followed when it is rotated.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::Server;
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery staple";

fn all(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn data(server: &Server) -> PathBuf {
    server.dir().join("data")
}

/// A command without a terminal, on a data directory.
fn on(home: &Path, args: &[&str], code: i32, words: &[&str]) -> String {
    let binary = std::env::var("HOLDFAST_E2E_BIN").expect("the binary");
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(binary).args(args).arg("--data-dir").arg(home).stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    let told = all(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
    told
}

fn refused(server: &Server, args: &[&str], words: &[&str]) {
    let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--kms-listen", "127.0.0.1:0"];
    on(&data(server), &[&ports, args].concat(), 2, words);
}

fn listed(home: &Path) -> Vec<Value> {
    let told = on(home, &["key", "site", "list", "--json"], 0, &[]);
    serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"))
}

fn comes_back(server: &Server) {
    server.run("aws", &["s3", "cp", "s3://kept/object", "again"]);
    let again = std::fs::read(server.dir().join("again")).expect("a file");
    assert_eq!(again, e2e::noise(1, 100_000));
}

/// Copies what a backup has to another home, in the place of what it has.
fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        let _ = std::fs::remove_dir_all(to.join(name));
        let done = Command::new("cp").arg("-a").arg(from.join(name)).arg(to.join(name)).status().expect("cp runs");
        assert!(done.success(), "{name}");
    }
}

fn root_key(home: &Path) -> String {
    std::fs::read_to_string(home.join("root.key")).expect("a root key")
}

/// Two homes: the second has no root key but by its own site key, and follows a rotation at the first.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_site_has_the_root_key_by_its_own_key_and_follows_a_rotation() {
    let (mut first, mut second) = (Server::start(), Server::start());
    std::fs::write(first.dir().join("object"), e2e::noise(1, 100_000)).expect("a file");
    first.run("aws", &["s3", "mb", "s3://kept"]);
    first.run("aws", &["s3", "cp", "object", "s3://kept/object"]);
    second.stop();
    let (a, b) = (data(&first), data(&second));
    std::fs::remove_dir_all(&b).expect("a folder");
    let phrase = second.dir().join("phrase");
    std::fs::write(&phrase, PASSPHRASE).expect("a file");
    std::fs::set_permissions(&phrase, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let phrase = ["--passphrase-file", phrase.to_str().expect("a path")];
    let here = first.dir().to_owned();
    let file = |name: &str| here.join(name).display().to_string();

    // Its own key pair, once.
    let create = |name| [&["key", "site", "create", name], phrase.as_slice()].concat();
    on(&b, &create("Stand By"), 64, &["a site's name has"]);
    let told = on(&b, &[create("standby"), vec!["--json"]].concat(), 0, &[]);
    let made: Value = serde_json::from_str(&told).expect("JSON");
    let fingerprint = made["fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert!(std::fs::read_to_string(b.join("site.key")).expect("a key").starts_with("holdfast site key v2\n"));
    on(&b, &create("standby"), 2, &["is there already"]);
    std::fs::remove_file(b.join("site.pub")).expect("a public key");
    on(&b, &create("standby"), 0, &[&fingerprint]);
    let public = b.join("site.pub").display().to_string();

    // The wrap takes the metadata, and the right root key.
    let out = file("root.wrap");
    let wrap = ["key", "root", "wrap", public.as_str(), "--out", out.as_str(), "--fingerprint", fingerprint.as_str()];
    let mut swapped = wrap;
    swapped[7] = "SHA256:another";
    on(&a, &swapped, 2, &[&fingerprint, "nothing was wrapped"]);
    on(&a, &wrap, 2, &["another holdfast serves", "stop the server"]);
    first.stop();
    on(&a, &wrap, 0, &["wrapped to site standby", &fingerprint]);
    on(&a, &wrap, 2, &["root.wrap", "--out"]);
    assert_eq!(listed(&a).iter().map(|site| &site["fingerprint"]).collect::<Vec<_>>(), [fingerprint.as_str()]);
    let text = std::fs::read_to_string(&out).expect("a wrap");
    assert!(text.starts_with("holdfast root key v3\nsite place="), "{text}");

    // What is no wrap for this site is not taken.
    let accept = |from: &str| [&["key", "root", "accept", from], phrase.as_slice()].concat().join("\n");
    let accepts = |home: &Path, from: &str, more: &[&str], code, words: &[&str]| {
        let args = accept(from);
        on(home, &[args.lines().collect::<Vec<_>>(), more.to_vec()].concat(), code, words)
    };
    let bent = file("bent.wrap");
    let digit = if text.trim_end().ends_with('0') { "1" } else { "0" };
    std::fs::write(&bent, format!("{}{digit}\n", &text.trim_end()[..text.trim_end().len() - 1])).expect("a file");
    accepts(&b, &bent, &[], 2, &["bent.wrap", "does not open"]);
    accepts(&b, &public, &[], 2, &["this is not a root key"]);
    accepts(&b, &a.join("root.key").display().to_string(), &[], 2, &["no root key that was wrapped to a site"]);
    let third = second.dir().join("third");
    on(&third, &[&["key", "site", "create", "third"], phrase.as_slice()].concat(), 0, &["fingerprint"]);
    accepts(&third, &out, &[], 2, &["it is sealed by site key", &fingerprint]);
    accepts(&a, &out, &[], 2, &["there is no site key"]);
    assert!(!b.join("root.key").exists() && !third.join("root.key").exists());

    // With the metadata here it is tried on it.
    let everything = ["meta", "audit", "sites", "epochs"];
    copy(&a, &b, &everything);
    accepts(&b, &out, &[], 0, &["it opens what is in this installation"]);
    accepts(&b, &out, &[], 0, &["it is there already"]);
    assert_eq!(root_key(&b), text);
    refused(&second, &[], &["it is sealed: give its passphrase"]);
    second.boot_with(&phrase);
    comes_back(&second);
    second.stop();
    on(&b, &["audit", "key", phrase[0], phrase[1]], 0, &["holdfast/"]);

    on(&b, &["key", "site", "unseal", phrase[0], phrase[1], "--dry-run"], 0, &["nothing was written"]);
    on(&b, &["key", "site", "unseal", phrase[0], phrase[1]], 0, &["site.key", "lies in clear"]);
    on(&b, &["key", "site", "unseal"], 2, &["is not sealed"]);
    on(&a, &["key", "site", "seal"], 2, &["there is no site key"]);
    on(&b, &["key", "site", "seal", phrase[0], phrase[1]], 0, &["it is sealed"]);

    // Another root key at the first: the second finds its wrap in the metadata. Its audit log is its own, and handed over.
    on(&a, &["key", "root", "rotate", "--dry-run"], 0, &["for 1 sites: standby", "nothing was written"]);
    on(&a, &["key", "root", "rotate"], 0, &["for 1 sites: standby", "takes its wrap from the metadata"]);
    copy(&a, &b, &["meta"]);
    second.boot_with(&phrase);
    let took = "this site took the wrap that was left for it";
    assert_eq!(second.log().matches(took).count(), 1, "{}", second.log());
    comes_back(&second);
    second.stop();
    assert_ne!(root_key(&b), text);
    on(&b, &["audit", "verify", phrase[0], phrase[1]], 0, &["whole"]);
    on(&b, &["audit", "list"], 0, &["root:rotate"]);
    second.boot_with(&phrase);
    comes_back(&second);
    assert_eq!(second.log().matches(took).count(), 1, "once");
    second.stop();
    first.boot();
    comes_back(&first);
    first.stop();

    // Two rotations behind, it is told what to do; and another root key is not put in place of one unasked.
    for _ in 0..2 {
        on(&a, &["key", "root", "rotate"], 0, &["standby"]);
    }
    copy(&a, &b, &["meta"]);
    let before = root_key(&b);
    refused(&second, &phrase, &["more than one rotation behind", "key root accept --replace"]);
    assert_eq!(root_key(&b), before);
    let newest = file("newest.wrap");
    on(&a, &["key", "root", "wrap", &public, "--out", &newest, "--fingerprint", &fingerprint], 0, &[&fingerprint]);
    accepts(&b, &out, &["--replace"], 2, &["opens nothing of this installation"]);
    accepts(&b, &newest, &[], 2, &["another root key", "--replace"]);
    accepts(&b, &newest, &["--replace"], 0, &["what was there is gone"]);
    second.boot_with(&phrase);
    comes_back(&second);
    second.stop();

    // Removed, it gets no other.
    on(&a, &["key", "site", "remove", "nobody"], 2, &["there is no site"]);
    on(&a, &["key", "site", "remove", "standby"], 0, &["key root rotate"]);
    assert!(listed(&a).is_empty());
    let told = on(&a, &["key", "root", "rotate"], 0, &["there is a new root key"]);
    assert!(!told.contains("sites"), "{told}");
}
