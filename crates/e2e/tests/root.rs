//! The root key in a token, in the memory of the server, and another root key instead of it.

use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::Server;

const PASSPHRASE: &str = "correct horse battery staple";
const PIN: &str = "93461";

fn private(path: PathBuf, text: &str) -> String {
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    path.to_str().expect("a path").to_owned()
}

fn binary() -> String {
    std::env::var("HOLDFAST_E2E_BIN").expect("the binary")
}

fn all(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A command without a terminal, on the server's data directory.
fn command(server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(binary()).args(args).arg("--data-dir").arg(server.dir().join("data"));
    command.stdin(Stdio::null()).current_dir(server.dir());
    command
}

fn root(server: &Server, args: &[&str], code: i32, words: &[&str]) -> String {
    let output = command(server, &[&["key", "root"], args].concat()).output().expect("the binary runs");
    let told = all(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
    told
}

/// The same, with shares on stdin.
fn with_shares(server: &Server, args: &[&str], shares: &str, code: i32, words: &[&str]) {
    let mut command = command(server, &[&["key", "root"], args].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(shares.as_bytes()).expect("shares are read");
    let output = child.wait_with_output().expect("it ends");
    let told = all(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
}

/// A start that must fail.
fn refused(server: &Server, args: &[&str]) -> String {
    let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--kms-listen", "127.0.0.1:0"];
    let output = command(server, &[&ports, args].concat()).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2), "{}", all(&output));
    all(&output)
}

fn put(server: &Server, bucket: &str) {
    std::fs::write(server.dir().join("object"), e2e::noise(1, 100_000)).expect("a file");
    server.run("aws", &["s3", "mb", &format!("s3://{bucket}")]);
    server.run("aws", &["s3", "cp", "object", &format!("s3://{bucket}/object")]);
}

fn comes_back(server: &Server, bucket: &str) {
    server.run("aws", &["s3", "cp", &format!("s3://{bucket}/object"), "again"]);
    let [object, again] = ["object", "again"].map(|name| std::fs::read(server.dir().join(name)).expect("a file"));
    assert_eq!(object, again);
}

fn key_file(server: &Server) -> PathBuf {
    server.dir().join("data/root.key")
}

fn first_line(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a root key").lines().next().unwrap_or_default().to_owned()
}

/// A software token of its own for a test: everything it needs is in the environment of who uses it.
struct SoftToken {
    module: &'static str,
    conf: String,
}

impl SoftToken {
    fn new(dir: &Path) -> Self {
        let modules = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
        let module = modules.into_iter().find(|path| Path::new(path).exists());
        let module = module.expect("softhsm2 is installed; `cargo xtask test` does it");
        std::fs::create_dir(dir.join("tokens")).expect("a folder");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", dir.join("tokens").display());
        let token = Self { module, conf: private(dir.join("softhsm2.conf"), &text) };
        for label in ["holdfast", "other"] {
            let words = ["--init-token", "--free", "--label", label, "--so-pin", "81726", "--pin", PIN];
            token.run("softhsm2-util", &words);
        }
        token.make_key("root");
        token
    }

    fn make_key(&self, label: &str) {
        let words = ["--token-label", "holdfast", "--login", "--pin", PIN, "--keygen", "--key-type", "AES:32"];
        self.run("pkcs11-tool", &[&["--module", self.module], words.as_slice(), &["--label", label]].concat());
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = Command::new(program).args(args).env("SOFTHSM2_CONF", &self.conf).output();
        let output = output.unwrap_or_else(|e| panic!("{program}: {e}; `cargo xtask test` installs it"));
        assert!(output.status.success(), "{program} {args:?}: {}", all(&output));
    }
}

/// From clear to the token, restarted, to a passphrase, back, and to clear; and every way in which it fails.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_token_seals_the_root_key() {
    let mut server = Server::start();
    let token = SoftToken::new(server.dir());
    let pin = private(server.dir().join("pin"), &format!("{PIN}\n"));
    let wrong_pin = private(server.dir().join("wrong-pin"), "00000");
    let phrase = private(server.dir().join("phrase"), PASSPHRASE);
    let words = |label: &'static str, key: &'static str, pin: &str| -> Vec<String> {
        let words =
            ["--pkcs11-module", token.module, "--pkcs11-token", label, "--pkcs11-key", key, "--pkcs11-pin-file", pin];
        words.map(str::to_owned).to_vec()
    };
    let seal = |how: &str, words: &[String], more: &[&str], code: i32, expected: &[&str]| {
        let mut args = vec!["key", "root", how];
        args.extend(words.iter().map(String::as_str));
        args.extend(more);
        let output = command(&server, &args).env("SOFTHSM2_CONF", &token.conf).output().expect("the binary runs");
        let told = all(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(expected.iter().all(|word| told.contains(word)), "{expected:?} in {told}");
        assert!(!told.contains(PIN), "{told}");
    };
    put(&server, "kept");
    let plain = std::fs::read_to_string(key_file(&server)).expect("the root key");

    // (token, key, PIN, what is told)
    let table = [
        ("holdfast", "root", &wrong_pin, "this is not the PIN of token \"holdfast\""),
        ("absent", "root", &pin, "there is no token \"absent\""),
        ("holdfast", "absent", &pin, "there is no AES key \"absent\""),
        ("other", "root", &pin, "there is no AES key \"root\" on token \"other\""),
    ];
    for (label, key, pin, told) in table {
        seal("seal", &words(label, key, pin), &[], 2, &[told]);
    }
    let mut no_module = words("holdfast", "root", &pin);
    no_module[1] = "/nonexistent.so".to_owned();
    seal("seal", &no_module, &[], 2, &["there is no PKCS#11 module /nonexistent.so"]);
    no_module[1] = "/bin/sh".to_owned();
    seal("seal", &no_module, &[], 2, &["/bin/sh is no PKCS#11 module"]);
    seal("seal", &words("holdfast", "root", &pin)[..4], &[], 64, &["--pkcs11-key"]);
    assert_eq!(std::fs::read_to_string(key_file(&server)).expect("the root key"), plain, "nothing was written");

    let right = words("holdfast", "root", &pin);
    seal("seal", &right, &["--dry-run"], 0, &["nothing was written"]);
    seal("seal", &right, &[], 0, &["it is sealed"]);
    let sealed = std::fs::read_to_string(key_file(&server)).expect("the root key");
    assert!(sealed.starts_with("holdfast root key v3\npkcs11 place="), "{sealed}");
    seal("seal", &right, &[], 2, &["sealed already, by a PKCS#11 token"]);

    // The server: without the token, and with it from a configuration.
    server.stop();
    assert!(refused(&server, &[]).contains("it is sealed by pkcs11"));
    let away = server.dir().join("away");
    let tokens = server.dir().join("tokens");
    let config = format!(
        "[root_pkcs11]\nmodule = {:?}\ntoken = \"holdfast\"\nkey = \"root\"\npin_file = {pin:?}\n",
        token.module
    );
    let config = private(server.dir().join("token.toml"), &config);
    let start = |server: &Server| {
        let ports =
            ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--kms-listen", "127.0.0.1:0"];
        let mut command = command(server, &[&ports, ["--config", config.as_str()].as_slice()].concat());
        command.env("SOFTHSM2_CONF", &token.conf).output().expect("the binary runs")
    };
    std::fs::rename(&tokens, &away).expect("the token is unplugged");
    std::fs::create_dir(&tokens).expect("an empty slot");
    let told = all(&start(&server));
    assert!(told.contains("there is no token \"holdfast\""), "{told}");
    std::fs::remove_dir(&tokens).expect("an empty slot");
    std::fs::rename(&away, &tokens).expect("the token is plugged in");
    server.boot_in(&["--config", &config], &[("SOFTHSM2_CONF", &token.conf)]);
    comes_back(&server, "kept");
    server.kill();
    server.boot_in(&["--config", &config], &[("SOFTHSM2_CONF", &token.conf)]);
    comes_back(&server, "kept");

    // To a passphrase, back, and in clear.
    let seal = |how: &str, words: &[String], more: &[&str], code: i32, expected: &[&str]| {
        let mut args = vec!["key", "root", how];
        args.extend(words.iter().map(String::as_str));
        args.extend(more);
        let output = command(&server, &args).env("SOFTHSM2_CONF", &token.conf).output().expect("the binary runs");
        let told = all(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(expected.iter().all(|word| told.contains(word)), "{expected:?} in {told}");
    };
    let to_passphrase = ["--passphrase-file", phrase.as_str(), "--to", "passphrase"];
    seal("seal", &right, &to_passphrase, 0, &["it is sealed by a passphrase"]);
    assert_eq!(first_line(&key_file(&server)), "holdfast root key v2");
    seal("seal", &right, &to_passphrase, 2, &["sealed already, by a passphrase"]);
    let both = ["--passphrase-file", phrase.as_str()];
    seal("seal", &right, &both, 0, &["it is sealed by a PKCS#11 token"]);
    // The same again does not take it out of the token.
    seal("seal", &right, &both, 2, &["sealed already, by a PKCS#11 token", "--to passphrase"]);
    seal("seal", &right, &[&both[..], &["--to", "pkcs11"]].concat(), 2, &["sealed already, by a PKCS#11 token"]);
    assert_eq!(first_line(&key_file(&server)), "holdfast root key v3");
    // Another key of the same token did not seal it.
    token.make_key("second");
    seal("unseal", &words("holdfast", "second", &pin), &[], 2, &["it is sealed by token \"holdfast\", key \"root\""]);
    seal("unseal", &words("holdfast", "root", &wrong_pin), &[], 2, &["find the right one before you try again"]);
    seal("unseal", &right, &[], 0, &["lies in clear"]);
    assert_eq!(std::fs::read_to_string(key_file(&server)).expect("the root key"), plain);
}

/// A mapping of a process.
struct Mapping {
    /// The line that names it.
    line: String,
    range: std::ops::Range<u64>,
    /// Whether it never goes to a disk (`VmFlags: lo`, proc_pid_smaps(5)). A lock splits mappings: all of this one is.
    is_locked: bool,
}

/// The mappings that a process itself can read.
fn mappings(pid: u32) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("its mappings");
    let mut found: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            found.last_mut().expect("flags follow a mapping").is_locked =
                flags.split_whitespace().any(|flag| flag == "lo");
            continue;
        }
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        let address = |digits| u64::from_str_radix(digits, 16).ok();
        if let Some((Some(from), Some(to))) = range.map(|(from, to)| (address(from), address(to))) {
            found.push(Mapping { line: line.to_owned(), range: from..to, is_locked: false });
        }
    }
    found.retain(|mapping| mapping.line.split_whitespace().nth(1).is_some_and(|rights| rights.starts_with('r')));
    found
}

/// What the server has in memory of its root key is on no page that others can read, but for stacks; where the kernel
/// has no secret memory, on none that goes to a disk.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_root_key_is_in_no_readable_page() {
    let mut server = Server::start();
    put(&server, "kept");
    let text = std::fs::read_to_string(key_file(&server)).expect("the root key");
    // What opens it is as good as the key.
    let phrase = private(server.dir().join("phrase"), PASSPHRASE);
    root(&server, &["seal", "--passphrase-file", &phrase], 0, &["it is sealed by a passphrase"]);
    server.stop();
    server.boot_in(&["--passphrase-file", &phrase], &[]);
    comes_back(&server, "kept");
    let digits = text.lines().nth(1).expect("a key in clear");
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
    let key: Vec<u8> = (0..digits.len()).step_by(2).map(pair).collect();

    let pid = server.pid();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");

    // The registers of each thread tell where its stack is.
    let stacks: Vec<u64> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("its threads")
        .filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("syscall")).ok()?;
            let pointer = text.split_whitespace().rev().nth(1)?;
            u64::from_str_radix(pointer.trim_start_matches("0x"), 16).ok()
        })
        .collect();
    assert!(!stacks.is_empty(), "threads that wait tell their stack");
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let only_locked = server.log().contains("kept in locked memory");
    let (mut looked, mut secret) = (0, 0);
    let (mut locked, mut kept) = (0, 0);
    for Mapping { line, range, is_locked } in mappings(pid) {
        if stacks.iter().any(|at| range.contains(at)) {
            continue;
        }
        let std::ops::Range { start: from, end: to } = range;
        locked += u32::from(is_locked);
        // In pieces that overlap by a key's digits: some mappings are huge.
        let step = 1 << 20;
        for at in (from..to).step_by(step) {
            let mut bytes = vec![0; (to - at).min(step as u64 + 64) as usize];
            if memory.read_exact_at(&mut bytes, at).is_err() {
                secret += u32::from(line.contains("secretmem"));
                break;
            }
            looked += bytes.len();
            let holds =
                |wanted: &[u8]| bytes.windows(wanted.len()).any(|found| found[0] == wanted[0] && found == wanted);
            let holds_key = holds(&key);
            assert!(!holds_key || (only_locked && is_locked), "the key is in {line}");
            kept += u32::from(holds_key);
            assert!(!holds(digits.as_bytes()), "the key's digits are in {line}");
            assert!(!holds(PASSPHRASE.as_bytes()), "the passphrase is in {line}");
        }
    }
    assert!(looked > 1 << 20, "{looked} bytes were read");
    assert_eq!(secret > 0, server.log().contains("kept in secret memory"), "{}", server.log());
    // Where it is to be seen, it is seen: this test would notice it elsewhere.
    assert_eq!((locked > 0, kept > 0), (true, only_locked), "{}", server.log());
}

/// Killed again and again in the middle, it ends with everything under the new key and nothing under the old one.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn another_root_key_takes_over_whatever_happens_meanwhile() {
    let mut server = Server::start();
    put(&server, "kept");
    for number in 0..30 {
        server.run("aws", &["s3api", "create-bucket", "--bucket", &format!("more{number}")]);
    }
    let (access, secret) = ("ANNSOWNACCESSKEY", "ann-secret-key-0123456789");
    let words = ["user", "create", "ann", "--access-key", access, "--secret-key", secret];
    for args in [words.as_slice(), &["user", "grant", "ann", "kept", "read"]] {
        let (code, told) = server.holdfast(args);
        assert_eq!(code, 0, "{told}");
    }
    let audit_key = server.holdfast_on_data(&["audit", "key"]).1.trim().to_owned();
    let shares = server.holdfast_on_data(&["key", "root", "split", "--shares", "2", "--threshold", "2"]).1;
    let shares: String =
        shares.lines().filter(|line| line.starts_with("hfs1-")).map(|line| format!("{line}\n")).collect();
    root(&server, &["rotate"], 2, &["another holdfast serves"]);
    server.stop();
    let old = std::fs::read_to_string(key_file(&server)).expect("the root key");

    root(
        &server,
        &["rotate", "--dry-run"],
        0,
        &["31 keys of buckets", "1 secret keys of users", "nothing was written"],
    );
    let next = server.dir().join("data/root.next");
    assert!(!next.exists() && std::fs::read_to_string(key_file(&server)).expect("the root key") == old);
    let phrase = private(server.dir().join("phrase"), PASSPHRASE);
    // Killed as soon as there is a new key, and from then on wherever it is.
    let mut cut_off = 0;
    for round in 0..6 {
        let mut child = command(&server, &["key", "root", "rotate", "--passphrase-file", &phrase])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        while !next.exists() && child.try_wait().expect("it runs").is_none() {
            std::thread::yield_now();
        }
        for _ in 0..round * 2_000 {
            std::thread::yield_now();
        }
        let _ = child.kill();
        let _ = child.wait();
        if next.exists() {
            cut_off += 1;
            assert!(refused(&server, &[]).contains("key root rotate"));
            root(&server, &["unseal"], 2, &["is not finished", "Do not remove root.next"]);
            // The old key is lost in the middle of it, and comes back from its shares.
            std::fs::remove_file(key_file(&server)).expect("the old key");
            root(&server, &["rotate"], 2, &["key root recover"]);
            with_shares(&server, &["recover"], &shares, 0, &["root.key"]);
            assert_eq!(std::fs::read_to_string(key_file(&server)).expect("the root key"), old);
            // Sealed otherwise than the one that follows.
            std::fs::remove_file(key_file(&server)).expect("the old key");
            with_shares(&server, &["recover", "--passphrase-file", &phrase], &shares, 0, &["root.key"]);
            assert_eq!(first_line(&key_file(&server)), "holdfast root key v2");
        }
        if !next.exists() {
            break;
        }
    }
    assert!(cut_off > 0, "it was never cut off");
    if next.exists() {
        let told = ["there is a new root key", "key root split", "session tokens have ended"];
        root(&server, &["rotate", "--passphrase-file", &phrase], 0, &told);
    }
    assert!(!next.exists());
    let new = std::fs::read_to_string(key_file(&server)).expect("the root key");
    assert_ne!(new, old);

    // The old key opens nothing.
    std::fs::write(key_file(&server), &old).expect("the old key");
    root(&server, &["rotate", "--dry-run"], 2, &["rows that this root key does not open", "and 23 more"]);
    std::fs::write(key_file(&server), &new).expect("the new key");
    server.boot();
    comes_back(&server, "kept");
    let mut as_ann = server.command("aws");
    as_ann.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret).args(["s3", "ls", "s3://kept"]);
    let output = as_ann.output().expect("aws runs");
    assert!(output.status.success() && all(&output).contains("object"), "{}", all(&output));

    // Old shares are void; both logs are whole, each under its own key.
    with_shares(&server, &["check"], &shares, 1, &["another root key"]);
    let new_key = server.holdfast_on_data(&["audit", "key"]).1.trim().to_owned();
    assert_ne!(new_key, audit_key);
    let (code, told) = server.holdfast_on_data(&["audit", "verify", "--key", &new_key]);
    assert_eq!(code, 0, "{told}");
    let ended = std::fs::read_dir(server.dir().join("data")).expect("a folder").flatten();
    let ended: Vec<_> = ended.filter(|entry| entry.file_name().to_string_lossy().starts_with("audit-until-")).collect();
    assert_eq!(ended.len(), 1);
    let ended = ended[0].path().display().to_string();
    let (code, told) = server.holdfast_on_data(&["audit", "verify", &ended, "--key", &audit_key]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = server.holdfast_on_data(&["audit", "list", "--json"]);
    assert!(code == 0 && told.contains("root:rotate") && told.contains(&audit_key), "{told}");
}
