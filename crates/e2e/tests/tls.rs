//! TLS on all listeners, with an authority of the test's own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{ACCESS_KEY, SECRET_KEY, Server, certificate};

/// As a renewal does it: one file, then the other.
fn install(dir: &Path, name: &str) {
    for kind in ["key", "crt"] {
        let fresh = dir.join("fresh");
        std::fs::copy(dir.join(format!("{name}.{kind}")), &fresh).expect("a file");
        std::fs::rename(&fresh, dir.join(format!("tls.{kind}"))).expect("a file");
    }
}

fn trusts(server: &Server, name: &str, address: &str) -> bool {
    let authority = server.dir().join(format!("{name}-ca.crt"));
    let output = server.script("tls.py", &["trusted", address]).env("AWS_CA_BUNDLE", authority).output();
    let output = output.expect("python3 runs");
    match output.status.code() {
        Some(0) => true,
        Some(3) => false,
        _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(120), "still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn all_listeners_speak_tls_and_a_renewal_needs_no_restart() {
    let server = Server::with_config(|dir| {
        certificate(dir, "one");
        certificate(dir, "two");
        install(dir, "one");
        format!("tls_cert = \"{0}/tls.crt\"\ntls_key = \"{0}/tls.key\"\n", dir.display())
    });
    let dir = server.dir().to_owned();
    let addresses = [server.s3.as_str(), &server.kms, &server.admin];
    let output = server.script("tls.py", &addresses).env("AWS_CA_BUNDLE", dir.join("one-ca.crt")).output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), server.log());

    let holdfast = |authority: &str| {
        let mut command = Command::new(std::env::var("HOLDFAST_E2E_BIN").expect("the binary"));
        command.args(["status", "--admin", &format!("https://{}", server.admin), "--admin-ca", authority]);
        command.env("HOLDFAST_ACCESS_KEY", ACCESS_KEY).env("HOLDFAST_SECRET_KEY", SECRET_KEY).current_dir(&dir);
        let output = command.output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(holdfast("one-ca.crt").0, Some(0), "{}", server.log());
    let (code, words) = holdfast("two-ca.crt");
    assert!(code != Some(0) && words.contains("certificate"), "{words}");
    let (code, words) = holdfast("one.key");
    assert!(code == Some(64) && words.contains("one.key holds no certificate"), "{code:?} {words}");

    // A key that does not belong to the certificate changes nothing, and is told.
    std::fs::copy(dir.join("two.key"), dir.join("tls.key")).expect("a file");
    wait("told", || server.log().contains("does not belong to the first certificate"));
    for address in addresses {
        assert!(trusts(&server, "one", address), "{}", server.log());
    }
    install(&dir, "two");
    for address in addresses {
        wait("renewed", || trusts(&server, "two", address));
        assert!(!trusts(&server, "one", address));
    }
    // On SIGHUP as well, whether or not the files changed, and the process lives.
    let read = |log: String| log.matches("the TLS certificate was read again").count();
    let before = read(server.log());
    let sent = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    wait("read again", || read(server.log()) > before);
    assert!(trusts(&server, "two", addresses[0]));
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_certificate_that_is_none_is_a_mistake_of_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    certificate(dir.path(), "one");
    certificate(dir.path(), "two");
    let serve = |cert: &str, key: &str| {
        let mut command = Command::new(std::env::var("HOLDFAST_E2E_BIN").expect("the binary"));
        command.args(["serve", "--data-dir", "data", "--tls-cert", cert, "--tls-key", key]).current_dir(dir.path());
        let output = command.output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (cert, key, words) in [
        ("none.crt", "one.key", "the TLS certificate none.crt cannot be read"),
        ("one.crt", "two.key", "the TLS key two.key does not belong to the first certificate of one.crt"),
        ("one.key", "one.key", "one.key holds no certificate"),
    ] {
        let (code, told) = serve(cert, key);
        assert!(code == Some(64) && told.contains(words), "{code:?} {told}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}
