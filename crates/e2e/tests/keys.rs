//! The root key in the hands of people: shares that bring it back, a passphrase that seals it. What was done with keys.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::Server;

const PASSPHRASE: &str = "correct horse battery staple";

/// How a command on the data directory ended.
struct Told {
    code: i32,
    out: String,
    err: String,
}

impl Told {
    fn is(&self, code: i32, words: &[&str]) {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{all}");
        assert!(words.iter().all(|word| all.contains(word)), "{words:?} in {all}");
    }
}

/// Runs the binary on the server's data directory, with what it shall read from stdin. There is no terminal.
fn run(server: &Server, args: &[&str], stdin: &str, passphrase: Option<&str>) -> Told {
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(std::env::var("HOLDFAST_E2E_BIN").expect("the binary")).args(args);
    command.arg("--data-dir").arg(server.dir().join("data")).current_dir(server.dir());
    command.env_remove("HOLDFAST_ROOT_PASSPHRASE");
    if let Some(passphrase) = passphrase {
        command.env("HOLDFAST_ROOT_PASSPHRASE", passphrase);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // It may end without reading.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Told { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

fn root(server: &Server, args: &[&str], stdin: &str) -> Told {
    run(server, &[&["key", "root"], args].concat(), stdin, None)
}

/// A start that must fail.
fn refused(server: &Server, args: &[&str], passphrase: Option<&str>) -> String {
    let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let told = run(server, &[&ports, args].concat(), "", passphrase);
    assert_eq!(told.code, 2, "{}{}", told.out, told.err);
    told.err
}

fn key_file(server: &Server) -> PathBuf {
    server.dir().join("data/root.key")
}

fn private(server: &Server, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = server.dir().join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    path.to_str().expect("a path").to_owned()
}

fn put(server: &Server) {
    std::fs::write(server.dir().join("object"), e2e::noise(1, 100_000)).expect("a file");
    server.run("aws", &["s3", "mb", "s3://kept"]);
    server.run("aws", &["s3", "cp", "object", "s3://kept/object"]);
}

fn comes_back(server: &Server) {
    server.run("aws", &["s3", "cp", "s3://kept/object", "again"]);
    let [object, again] = ["object", "again"].map(|name| std::fs::read(server.dir().join(name)).expect("a file"));
    assert_eq!(object, again);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_lost_root_key_comes_back_from_three_shares() {
    let mut server = Server::start();
    put(&server);
    let split = root(&server, &["split"], "");
    split.is(0, &["5 shares", "Any 3 of them"]);
    let shares: Vec<&str> = split.out.lines().collect();
    assert!(shares.len() == 5 && shares.iter().all(|share| share.starts_with("hfs1-")), "{}", split.out);
    assert!(!split.err.contains("hfs1-"), "shares go to stdout only");
    let json: serde_json::Value =
        serde_json::from_str(&root(&server, &["split", "--shares", "3", "--threshold", "2", "--json"], "").out)
            .expect("JSON");
    assert_eq!((json["threshold"].as_u64(), json["shares"].as_array().map(Vec::len)), (Some(2), Some(3)));
    root(&server, &["split", "--threshold", "6"], "").is(64, &["6 of 5 shares cannot be"]);
    let pick = |numbers: &[usize]| numbers.iter().map(|at| shares[at - 1].to_owned() + "\n").collect::<String>();

    // A drill, while the server runs.
    root(&server, &["check"], &pick(&[5, 1, 3])).is(0, &["give this root key"]);
    root(&server, &["check"], &pick(&[5, 1])).is(2, &["there are 2 shares and it takes 3"]);
    let text = std::fs::read_to_string(key_file(&server)).expect("the root key");
    server.kill();
    std::fs::remove_file(key_file(&server)).expect("the root key");
    let told = refused(&server, &[], None);
    assert!(told.contains("root.key") && told.contains("key root recover"), "{told}");

    // What people get wrong: told, and nothing written.
    let other = json["shares"][0].as_str().expect("a share");
    let mistyped = shares[0].replacen("hfs1-", "hfs1-zz", 1);
    let table = [
        (pick(&[1, 2]), "there are 2 shares and it takes 3"),
        (pick(&[1, 2, 2]), "share 2 was given twice"),
        (pick(&[1, 2]) + other, "only shares of one set go together"),
        (format!("# two papers\n\n{mistyped}\n{}", pick(&[2, 3])), "line 3: this share has 98 characters"),
        (String::new(), "there are 0 shares"),
    ];
    for (typed, expected) in &table {
        root(&server, &["recover"], typed).is(2, &[expected]);
        assert!(!key_file(&server).exists());
    }
    let done = root(&server, &["recover"], &pick(&[2, 4, 5]).to_uppercase());
    done.is(0, &["it opens the buckets of this installation"]);
    assert_eq!(std::fs::read_to_string(key_file(&server)).expect("the root key"), text);
    server.boot();
    comes_back(&server);

    root(&server, &["recover"], &pick(&[1, 2, 3])).is(0, &["it is there already"]);
    let another = Server::start();
    root(&another, &["check"], &pick(&[1, 2, 3])).is(1, &["another root key"]);
    root(&another, &["recover"], &pick(&[1, 2, 3])).is(2, &["holds another root key", "move the file away"]);
    // Nor where the file is gone, but the metadata is another's.
    put(&another);
    let mut another = another;
    another.kill();
    std::fs::remove_file(key_file(&another)).expect("the root key");
    root(&another, &["recover"], &pick(&[1, 2, 3])).is(2, &["opens no bucket of this installation"]);
    assert!(!key_file(&another).exists());
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_sealed_root_key_takes_its_passphrase() {
    let mut server = Server::start();
    put(&server);
    let shares = root(&server, &["split"], "").out;
    let right = private(&server, "right", &format!("{PASSPHRASE}\n"));
    let wrong = private(&server, "wrong", "another passphrase\n");
    let plain = std::fs::read_to_string(key_file(&server)).expect("the root key");
    let digits = plain.lines().nth(1).expect("a key");

    root(&server, &["seal"], "").is(64, &["no terminal", "--passphrase-file"]);
    root(&server, &["seal", "--passphrase-file", &right, "--dry-run"], "").is(0, &["nothing was written"]);
    assert_eq!(std::fs::read_to_string(key_file(&server)).expect("the root key"), plain);
    root(&server, &["seal", "--passphrase-file", &right], "").is(0, &["at its next start"]);
    let sealed = std::fs::read_to_string(key_file(&server)).expect("the root key");
    assert!(sealed.starts_with("holdfast root key v2\n") && !sealed.contains(digits), "{sealed}");
    root(&server, &["seal", "--passphrase-file", &right], "").is(2, &["is sealed already"]);

    server.kill();
    let told = refused(&server, &[], None);
    assert!(told.contains("--passphrase-file") && told.contains("HOLDFAST_ROOT_PASSPHRASE"), "{told}");
    for told in [refused(&server, &["--passphrase-file", &wrong], None), refused(&server, &[], Some("wrong"))] {
        assert!(told.contains("this is not its passphrase") && told.contains("key root recover"), "{told}");
    }
    server.boot_with(&["--passphrase-file", &right]);
    comes_back(&server);

    // Shares are those of the key, however it is sealed; a recovered one is sealed again.
    root(&server, &["check", "--passphrase-file", &right], &shares).is(0, &["give this root key"]);
    server.kill();
    std::fs::remove_file(key_file(&server)).expect("the root key");
    let words = ["key", "root", "recover"];
    run(&server, &words, &shares, Some(PASSPHRASE)).is(0, &["it opens the buckets"]);
    let again = std::fs::read_to_string(key_file(&server)).expect("the root key");
    assert!(again.starts_with("holdfast root key v2\n"), "{again}");
    let config = private(&server, "config.toml", &format!("root_passphrase_file = {right:?}\n"));
    server.boot_with(&["--config", &config]);
    comes_back(&server);

    root(&server, &["unseal", "--passphrase-file", &wrong], "").is(2, &["not its passphrase"]);
    root(&server, &["unseal", "--passphrase-file", &right], "").is(0, &["lies in clear"]);
    assert_eq!(std::fs::read_to_string(key_file(&server)).expect("the root key"), plain);
    server.kill();
    // Configured before it is sealed, or still.
    server.boot_with(&["--passphrase-file", &right]);
    assert!(server.log().contains("the root key lies in clear"), "{}", server.log());
    comes_back(&server);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn what_is_done_with_portions_is_in_the_audit_log() {
    let mut server = Server::start();
    for args in [
        &["portion", "create", "ledger"][..],
        &["portion", "rotate", "ledger"],
        &["portion", "disable", "ledger"],
        &["portion", "enable", "ledger"],
        &["portion", "shred", "ledger", "--days", "7"],
        &["portion", "keep", "ledger"],
    ] {
        let (code, out) = server.holdfast(args);
        assert_eq!(code, 0, "{args:?}: {out}");
    }
    let expected = [
        "site:key",
        "site:key",
        "site:key",
        "site:key",
        "site:key",
        "portion:create",
        "portion:rotate",
        "portion:disable",
        "portion:enable",
        "portion:shred-scheduling",
        "portion:shred-scheduled",
        "portion:kept",
    ];
    let audit = |server: &Server, args: &[&str]| run(server, &[&["audit"], args].concat(), "", None);
    // The checkpoint that covers the last entry comes within a second or at the stop.
    server.stop();
    let told = audit(&server, &["list", "--json"]);
    told.is(0, &[]);
    let entries: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    let entries = entries.as_array().expect("entries");
    let actions: Vec<&str> = entries.iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, expected);
    let of_portion = |entry: &serde_json::Value| entry["principal"] == "root" && entry["resource"] == "portion/ledger";
    assert!(entries[5..].iter().all(of_portion));
    audit(&server, &["list", "--from", "6", "--limit", "1"]).is(0, &["portion:rotate", "version=2"]);

    let key = audit(&server, &["key"]).out;
    let key = key.trim();
    audit(&server, &["verify"]).is(0, &["whole: 12 entries, 12 of them signed", "only against the key"]);
    audit(&server, &["verify", "--key", key]).is(0, &["whole", "against the key given"]);
    audit(&server, &["verify", "--key", "nonsense"]).is(64, &["not a verifier key"]);
    // Where the tests' disk has room for less than a month, it says so.
    let stood = audit(&server, &["status"]);
    assert!([0, 1].contains(&stood.code), "{}", stood.out);
    stood.is(stood.code, &["entries     12, 12 a day", "set aside   64.0 MiB"]);
    audit(&server, &["prove", "3"]).is(0, &["c2sp.org/tlog-proof@v1\nindex 3\n"]);
    audit(&server, &["prove", "12"]).is(2, &["12 is not among them"]);

    // It goes on after a restart; a copy elsewhere has no root key beside it.
    server.boot();
    server.kill();
    let copy = server.dir().join("copy");
    let copied = Command::new("cp").arg("-r").arg(server.dir().join("data/audit")).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    let at = copy.to_str().expect("a path");
    audit(&server, &["verify", at]).is(0, &["whole: 12 entries", "only chain and tree"]);
    audit(&server, &["verify", at, "--key", key]).is(0, &["whole: 12 entries"]);

    let segment = std::fs::read_dir(copy.join("entries")).expect("segments").next().expect("one").expect("one").path();
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let text = String::from_utf8(bytes.clone()).expect("text");
    bytes[text.find("portion:enable").expect("the entry") + 8] ^= 1;
    std::fs::write(&segment, bytes).expect("a segment");
    for args in [&["verify", at, "--key", key][..], &["verify", at]] {
        audit(&server, args).is(1, &["not whole: entry 8 is the first", "entry 8 was altered"]);
    }
}
