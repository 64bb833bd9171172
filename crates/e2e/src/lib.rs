//! Runs the real binary and the clients that people have.
//!
//! `cargo xtask e2e` installs the clients and sets `HOLDFAST_E2E_BIN` (the binary) and
//! `HOLDFAST_E2E_TOOLS` (a Python environment with boto3 and the aws CLI) and `HOLDFAST_E2E_STRANGERS` (the
//! program of `strangers/`).

pub mod dc;
mod engine;
mod halfway;
pub mod scan;
mod site;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub use engine::Foreign;
pub use halfway::Halfway;
pub use scan::ScanServer;
use serde_json::Value;
pub use site::{SiteServer, serve, site_serve};
use tempfile::TempDir;

/// The root credentials of every server here.
pub const ACCESS_KEY: &str = "E2EROOTACCESSKEY";
/// See [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "e2e-root-secret-key-0123456789";
/// Bounds every wait. Generous: it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run these tests with `cargo xtask e2e`"))
}

/// A server on a directory of its own.
pub struct Server {
    dir: TempDir,
    child: Option<Child>,
    config: Option<PathBuf>,
    halfway: Option<Halfway>,
    /// `host:port` of the S3 endpoint.
    pub s3: String,
    /// `host:port` of the admin API.
    pub admin: String,
    /// `host:port` of the KMS API.
    pub kms: String,
    kms_listen: String,
}

impl Server {
    /// Five folders, made by the server.
    pub fn start() -> Self {
        Self::on(TempDir::new().expect("a directory"), None)
    }

    /// The same, with its clients' bytes counted.
    pub fn counted() -> Self {
        Self::start().counts()
    }

    /// Clients come by a way on which bytes are counted, for [`Server::lose_after`].
    pub fn counts(mut self) -> Self {
        let halfway = Halfway::to(&self.s3);
        self.s3 = halfway.at.to_string();
        self.halfway = Some(halfway);
        self
    }

    /// Sites named by a configuration made for the directory.
    pub fn with_config(config: impl FnOnce(&Path) -> String) -> Self {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("holdfast.toml");
        std::fs::write(&path, config(dir.path())).expect("a configuration");
        Self::on(dir, Some(path))
    }

    fn on(dir: TempDir, config: Option<PathBuf>) -> Self {
        let mut server = Self {
            dir,
            child: None,
            config,
            halfway: None,
            s3: String::new(),
            admin: String::new(),
            kms: String::new(),
            kms_listen: "127.0.0.1:0".to_owned(),
        };
        server.boot();
        server
    }

    /// The directory that holds data, logs and whatever the test puts there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of a site that the server made.
    pub fn site(&self, name: &str) -> PathBuf {
        self.dir().join("data/sites").join(name)
    }

    /// A site is gone: its folder is removed while the server may be writing into it.
    pub fn lose(&self, name: &str) {
        vanish(&self.site(name));
    }

    fn way(&self) -> &Halfway {
        self.halfway.as_ref().expect("a server made by `counted`")
    }

    /// Two sites vanish when clients have sent and received so many more bytes, in the middle of whatever they do.
    pub fn lose_after(&self, bytes: u64, names: [&str; 2]) {
        let folders = names.map(|name| if self.config.is_some() { self.dir().join(name) } else { self.site(name) });
        assert!(folders.iter().all(|folder| folder.is_dir()), "{names:?} are no sites");
        self.way().arm(bytes, folders.to_vec());
    }

    /// Fails unless the sites of [`Server::lose_after`] have vanished by now.
    pub fn was_lost(&self) {
        let (carried, lost) = self.way().told();
        assert!(lost, "the client was done after {carried} bytes, before the sites would vanish");
    }

    /// Starts the process on what is there; waits until it tells its addresses.
    pub fn boot(&mut self) {
        self.boot_with(&[]);
    }

    /// The same, with more arguments.
    pub fn boot_with(&mut self, args: &[&str]) {
        self.boot_in(args, &[]);
    }

    /// The same, with more in its environment.
    pub fn boot_in(&mut self, args: &[&str], environment: &[(&str, &str)]) {
        let out = File::create(self.dir().join("out.txt")).expect("a log");
        let err = File::options().create(true).append(true).open(self.dir().join("err.txt")).expect("a log");
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--kms-listen", &self.kms_listen, "--data-dir"])
            .arg(self.dir().join("data"))
            .args(args)
            .env("HOLDFAST_ACCESS_KEY", ACCESS_KEY)
            .env("HOLDFAST_SECRET_KEY", SECRET_KEY)
            .envs(environment.iter().copied())
            .stdout(out)
            .stderr(err);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        self.child = Some(command.spawn().expect("the binary runs"));
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.dir().join("out.txt")).unwrap_or_default();
            let address = |word: &str| {
                let line = text.lines().find(|line| line.trim_start().starts_with(word))?;
                Some(line.split("://").nth(1)?.split_whitespace().next()?.to_owned())
            };
            let told = (address("S3"), address("admin"), address("KMS"));
            if let ((Some(s3), Some(admin), Some(kms)), true) = (told, text.contains("next:")) {
                (self.s3, self.admin, self.kms) = (s3, admin, kms);
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "the server did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// From now on its KMS API is found at the address that it has now, whenever it is started.
    pub fn keeps_its_kms_address(&mut self) {
        self.kms_listen.clone_from(&self.kms);
    }

    /// What the server wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("err.txt")).unwrap_or_default()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits until it has wound down.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            assert!(sent.expect("kill runs").success());
            let _ = child.wait();
        }
    }

    /// Runs a `holdfast` command against this server; gives its exit code and output.
    pub fn holdfast(&self, args: &[&str]) -> (i32, String) {
        self.holdfast_as(ACCESS_KEY, SECRET_KEY, args)
    }

    /// The same, signed with these keys.
    pub fn holdfast_as(&self, access_key: &str, secret_key: &str, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        command.args(args).args(["--admin", &format!("http://{}", self.admin)]);
        let command = self.with_keys(&mut command);
        ended(command.env("HOLDFAST_ACCESS_KEY", access_key).env("HOLDFAST_SECRET_KEY", secret_key))
    }

    /// Runs a `holdfast` command that works on the data directory, whether the server runs or not.
    pub fn holdfast_on_data(&self, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        ended(command.args(args).arg("--data-dir").arg(self.dir().join("data")))
    }

    /// `holdfast status --json`.
    pub fn status(&self) -> Value {
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        command.args(["status", "--json", "--admin", &format!("http://{}", self.admin)]);
        let output = self.with_keys(&mut command).output().expect("the binary runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("status: {e}: {}", told(&output)))
    }

    /// Waits until the status satisfies `good`.
    pub fn wait_for(&self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if good(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "still not {what}: {status:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the server says it is whole.
    pub fn wait_whole(&self) {
        self.wait_for("whole", |status| status["state"] == "whole");
    }

    fn with_keys<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("HOLDFAST_ACCESS_KEY", ACCESS_KEY)
            .env("HOLDFAST_SECRET_KEY", SECRET_KEY)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.s3))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_CA_BUNDLE")
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .env("AWS_ENDPOINT_URL_KMS", format!("http://{}", self.kms))
            .env("HF_ENDPOINT", format!("http://{}", self.s3))
            .env("HF_KMS", format!("http://{}", self.kms))
            .env("HOME", self.dir())
            .current_dir(self.dir())
    }

    /// A command with this server's keys and addresses in its environment.
    pub fn command(&self, program: &str) -> Command {
        let tool = Path::new(&env("HOLDFAST_E2E_TOOLS")).join("bin").join(program);
        let mut command = Command::new(if tool.exists() { tool } else { program.into() });
        self.with_keys(&mut command);
        command
    }

    /// Runs a client to its end; it must succeed.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output();
        let output = output.unwrap_or_else(|e| panic!("{program} does not run: {e}; `cargo xtask e2e` installs it"));
        assert!(output.status.success(), "{program} {args:?} failed\n{}\nserver:\n{}", told(&output), self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A Python script of `crates/e2e/py`, ready to run.
    pub fn script(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.command("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("py").join(name)).args(args);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Runs a script to its end; it must succeed.
    pub fn py(&self, name: &str, args: &[&str]) -> String {
        let output = self.script(name, args).output().expect("python3 runs");
        assert!(output.status.success(), "{name} {args:?} failed\n{}\nserver:\n{}", told(&output), self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Lets software of `strangers/` use a new bucket; it must succeed.
    pub fn stranger(&self, software: &str, bucket: &str) {
        self.run("aws", &["s3", "mb", &format!("s3://{bucket}")]);
        self.run(&env("HOLDFAST_E2E_STRANGERS"), &[software, bucket]);
    }
}

/// The exit code of the binary, and what it said on both ways.
fn ended(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Removes a folder while others may be writing into it.
fn vanish(folder: &Path) {
    let begun = Instant::now();
    // New files appear while others go; the next round takes them.
    while std::fs::remove_dir_all(folder).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound) {
        assert!(begun.elapsed() < PATIENCE, "{} cannot be removed", folder.display());
    }
}

/// Tells that a test cannot run here, past libtest's capture, so that `cargo xtask` counts it as skipped.
pub fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stdout(), "\nSKIPPED {test}: {reason}");
}

/// The half of what [`tree`] makes, in bytes.
pub const HALF_A_TREE: u64 = 6_000_000;

fn openssl(dir: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority, and a certificate of it for 127.0.0.1: `NAME-ca.crt`, `NAME.crt`, `NAME.key`.
pub fn certificate(dir: &Path, name: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout {name}-ca.key -out {name}-ca.crt -days 2 -subj /CN={name}"));
    let san = "-addext subjectAltName=IP:127.0.0.1";
    openssl(dir, &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN=server {san}"));
    let sign = format!("-CA {name}-ca.crt -CAkey {name}-ca.key -CAcreateserial -copy_extensions copy");
    openssl(dir, &format!("x509 -req -in {name}.csr {sign} -days 2 -out {name}.crt"));
}

/// Bytes that nothing compresses or finds twice.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// A tree of files of many sizes, 12.6 MB in all; returns its folder.
pub fn tree(server: &Server) -> String {
    let root = server.dir().join("tree");
    for i in 0..40usize {
        let dir = root.join(format!("d{}", i % 4));
        std::fs::create_dir_all(&dir).expect("a folder");
        let size = [0, 1, 1000, 16_384, 100_000, 2_000_000][i % 6];
        std::fs::write(dir.join(format!("file {i}")), noise(i as u64, size)).expect("a file");
    }
    root.to_str().expect("a path").to_owned()
}

/// Fails unless two trees have the same files.
pub fn same_trees(a: &str, b: &Path) {
    let diff = Command::new("diff").args(["-r", a]).arg(b).output().expect("diff runs");
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

/// Two sites are gone.
pub fn lose(server: &Server, names: [&str; 2]) {
    for name in names {
        server.lose(name);
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A script that runs beside the test until it is told to stop by a file.
pub struct Load {
    child: Child,
    stop: PathBuf,
    /// What it acknowledged so far, a line each.
    pub acks: PathBuf,
}

impl Load {
    /// Starts `load.py` on a bucket.
    pub fn start(server: &Server, name: &str) -> Self {
        Self::of(server, "load.py", name)
    }

    /// Starts a script that is told to stop, and tells what was acknowledged, as `load.py` does.
    pub fn of(server: &Server, script: &str, name: &str) -> Self {
        let (stop, acks) = (server.dir().join(format!("{name}.stop")), server.dir().join(format!("{name}.acks")));
        // An earlier load of the same name may have been stopped.
        let _ = std::fs::remove_file(&stop);
        let args = [name, acks.to_str().expect("a path"), stop.to_str().expect("a path")];
        let child = server.script(script, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let load = Self { child: child.expect("python3 runs"), stop, acks };
        load.wait_for_acks(20);
        load
    }

    /// Waits until so many writes are acknowledged.
    pub fn wait_for_acks(&self, count: usize) {
        let begun = Instant::now();
        while self.count() < count {
            assert!(begun.elapsed() < PATIENCE, "only {} of {count} writes were acknowledged", self.count());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes acknowledged so far.
    pub fn count(&self) -> usize {
        std::fs::read_to_string(&self.acks).unwrap_or_default().lines().count()
    }

    /// Stops it. With `clean`, no request of it may have failed.
    pub fn finish(self, clean: bool) {
        std::fs::write(&self.stop, "").expect("a file");
        // Reads while it waits: a script with much to say would wait for a reader.
        let output = self.child.wait_with_output().expect("it ends");
        assert!(!clean || output.status.success(), "requests failed under load:\n{}", told(&output));
    }
}

/// Five `file://` sites under `dir`.
pub fn folders(dir: &Path) -> String {
    (1..=5).map(|i| format!("[[site]]\nname = \"dc{i}\"\nurl = \"file://{}/s{i}\"\n", dir.display())).collect()
}
