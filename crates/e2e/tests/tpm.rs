//! The root key sealed by a TPM 2.0, of which swtpm is one in software.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use e2e::Server;

const PASSPHRASE: &str = "correct horse battery staple";

fn all(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A TPM of its own for a test. Stopped and started again it is the same TPM after a reboot.
struct Swtpm {
    dir: PathBuf,
    child: Child,
}

impl Swtpm {
    fn start(dir: PathBuf) -> Self {
        std::fs::create_dir_all(dir.join("state")).expect("a folder");
        let child = Self::spawn(&dir);
        Self { dir, child }
    }

    fn spawn(dir: &Path) -> Child {
        let _ = std::fs::remove_file(dir.join("socket"));
        let path = |name: &str| dir.join(name).display().to_string();
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.args(["--tpmstate", &format!("dir={}", path("state"))]);
        command.args(["--server", &format!("type=unixio,path={}", path("socket"))]);
        command.args(["--ctrl", &format!("type=unixio,path={}", path("socket.ctrl"))]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("swtpm: {e}; `cargo xtask test` installs it"));
        let begun = Instant::now();
        while !dir.join("socket").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "swtpm did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn reboot(&mut self) {
        self.stop();
        self.child = Self::spawn(&self.dir);
    }

    fn tcti(&self) -> String {
        format!("swtpm:path={}", self.dir.join("socket").display())
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = Command::new(program).args(args).env("TPM2TOOLS_TCTI", self.tcti()).output().expect("it runs");
        assert!(output.status.success(), "{program} {args:?}: {}", all(&output));
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Home {
    server: Server,
    scratch: PathBuf,
}

impl Home {
    fn command(&self, tcti: &str, args: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--wait").arg(std::env::var("HOLDFAST_E2E_BIN").expect("the binary")).args(args);
        command.arg("--data-dir").arg(self.server.dir().join("data")).stdin(Stdio::null());
        command.env("TPM2TOOLS_TCTI", tcti).env("TMPDIR", &self.scratch);
        command
    }

    fn root(&self, tcti: &str, args: &[&str], code: i32, words: &[&str]) {
        let output = self.command(tcti, &[&["key", "root"], args].concat()).output().expect("the binary runs");
        let told = all(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
        assert_eq!(std::fs::read_dir(&self.scratch).expect("a folder").count(), 0, "something was left behind");
    }

    fn refused(&self, tcti: &str, words: &[&str]) {
        let ports =
            ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--kms-listen", "127.0.0.1:0"];
        let output = self.command(tcti, &ports).output().expect("the binary runs");
        let told = all(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.server.dir().join("data/root.key")).expect("a root key")
    }

    fn boot(&mut self, tcti: &str, args: &[&str]) {
        self.server.boot_in(args, &[("TPM2TOOLS_TCTI", tcti)]);
    }

    fn comes_back(&self) {
        self.server.run("aws", &["s3", "cp", "s3://kept/object", "again"]);
        let again = std::fs::read(self.server.dir().join("again")).expect("a file");
        assert_eq!(again, e2e::noise(1, 100_000));
    }
}

fn home() -> Home {
    let server = Server::start();
    let scratch = server.dir().join("scratch");
    std::fs::create_dir(&scratch).expect("a folder");
    Home { server, scratch }
}

/// Made sealed on the first start, opened at each other, and by no other TPM.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_tpm_seals_the_root_key() {
    let mut home = home();
    let (mut tpm, other) =
        (Swtpm::start(home.server.dir().join("tpm")), Swtpm::start(home.server.dir().join("other-tpm")));
    home.server.stop();
    std::fs::remove_dir_all(home.server.dir().join("data")).expect("a folder");
    home.boot(&tpm.tcti(), &["--tpm"]);
    assert!(home.text().starts_with("holdfast root key v3\ntpm2 place="), "{}", home.text());
    std::fs::write(home.server.dir().join("object"), e2e::noise(1, 100_000)).expect("a file");
    home.server.run("aws", &["s3", "mb", "s3://kept"]);
    home.server.run("aws", &["s3", "cp", "object", "s3://kept/object"]);
    home.server.kill();

    // The file says itself what opens it; the machine is booted between.
    tpm.reboot();
    home.boot(&tpm.tcti(), &[]);
    home.comes_back();
    home.server.stop();
    home.refused(&other.tcti(), &["another TPM sealed it", "key root recover"]);
    home.refused("swtpm:path=/nonexistent", &["there is no TPM at swtpm:path=/nonexistent", "--tpm-tcti"]);
    let output = home.command(&tpm.tcti(), &["audit", "key"]).env("PATH", "/nonexistent").output().expect("it runs");
    assert!(all(&output).contains("apt-get install tpm2-tools"), "{}", all(&output));

    // To a passphrase and back, and in clear; never what seals it already.
    let phrase = home.server.dir().join("phrase");
    std::fs::write(&phrase, PASSPHRASE).expect("a file");
    std::fs::set_permissions(&phrase, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let phrase = phrase.display().to_string();
    let tcti = tpm.tcti();
    home.root(&tcti, &["seal", "--tpm"], 2, &["sealed already, by a TPM"]);
    home.root(&tcti, &["seal", "--passphrase-file", &phrase, "--to", "passphrase"], 0, &["it is sealed"]);
    assert!(home.text().starts_with("holdfast root key v2\n"));
    home.root(&tcti, &["seal", "--passphrase-file", &phrase, "--tpm"], 0, &["it is sealed"]);
    assert!(home.text().starts_with("holdfast root key v3\ntpm2 "));
    home.root(&tcti, &["seal", "--tpm-pcrs", "sha256:7"], 64, &["no TPM to seal by"]);
    home.root(&tcti, &["unseal"], 0, &["lies in clear"]);
    home.root(&tcti, &["seal", "--tpm", "--tpm-pcrs", "sha256:99"], 64, &["names no registers"]);
    home.root("swtpm:path=/nonexistent", &["seal", "--tpm"], 2, &["there is no TPM"]);
    assert!(home.text().starts_with("holdfast root key v1\n"));
    home.root("swtpm:path=/nonexistent", &["seal", "--tpm", "--tpm-tcti", &tcti], 0, &["it is sealed"]);
    // What is sealed does not open when it was changed.
    let text = home.text();
    let at = text.trim_end().len() - 1;
    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
    std::fs::write(home.server.dir().join("data/root.key"), format!("{}{digit}\n", &text[..at])).expect("a file");
    home.refused(&tcti, &["does not open"]);
    std::fs::write(home.server.dir().join("data/root.key"), &text).expect("a file");
    tpm.reboot();
    home.boot(&tcti, &[]);
    home.comes_back();
    home.server.stop();
    // A TPM that was cleared is another one.
    tpm.run("tpm2_clear", &["-c", "p"]);
    home.refused(&tcti, &["another TPM sealed it, or this one was cleared"]);
}

/// Bound to a register, it opens while that is as it was, and after a reboot that makes it so again.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn registers_that_changed_keep_the_root_key() {
    let mut home = home();
    let mut tpm = Swtpm::start(home.server.dir().join("tpm"));
    let tcti = tpm.tcti();
    std::fs::write(home.server.dir().join("object"), e2e::noise(1, 100_000)).expect("a file");
    home.server.run("aws", &["s3", "mb", "s3://kept"]);
    home.server.run("aws", &["s3", "cp", "object", "s3://kept/object"]);
    home.root(&tcti, &["seal", "--tpm", "--tpm-pcrs", "sha256:7"], 0, &["it is sealed"]);
    home.server.stop();
    let extend =
        |tpm: &Swtpm, register: &str| tpm.run("tpm2_pcrextend", &[&format!("{register}:sha256={}", "5a".repeat(32))]);
    extend(&tpm, "8");
    home.boot(&tcti, &[]);
    home.comes_back();
    home.server.stop();
    extend(&tpm, "7");
    home.refused(&tcti, &["registers sha256:7 are not as they were", "with shares"]);
    tpm.reboot();
    home.boot(&tcti, &[]);
    home.comes_back();
    home.server.stop();
    // Another root key is bound to the same.
    home.root(&tcti, &["rotate"], 0, &["there is a new root key"]);
    home.boot(&tcti, &[]);
    home.comes_back();
    home.server.stop();
    extend(&tpm, "7");
    home.refused(&tcti, &["registers sha256:7 are not as they were"]);
}
