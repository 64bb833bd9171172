//! `holdfast scan serve` in a folder of the test's, with signatures that a test knows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, ended, env, told};

/// What [`eicar`] is found as.
pub const EICAR_NAME: &str = "Test.Eicar.UNOFFICIAL";
/// What the files of Debian's clamav-testfiles, and all that they are packed into, are found as.
pub const TESTFILE_NAME: &str = "ClamAV-Test-File.UNOFFICIAL";
/// What is looked for in the first of them: MD5 and length.
const TESTFILE: &str = "aa15bcf478d165efd2065190eb473bcb:544:ClamAV-Test-File";
/// Listens where nobody does.
const ANYWHERE: &str = "127.0.0.1:0";

/// eicar.org's test file: no malware, and found by every engine that is asked to. In two pieces, so that no scanner takes this file for it.
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// A signature, as a line of an `.ndb` file: whatever has these bytes somewhere is found by this name.
pub fn signature(name: &str, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}:0:*:{hex}\n")
}

/// A scan service, which ends with the test.
pub struct ScanServer {
    dir: TempDir,
    child: Option<Child>,
    program: Option<PathBuf>,
    /// `host:port` of clamd's protocol.
    pub clamd: String,
    /// `host:port` of ICAP.
    pub icap: String,
}

impl ScanServer {
    /// Knows [`eicar`] and clamav-testfiles, and is ready to scan.
    pub fn start() -> Self {
        Self::with(|_| None)
    }

    /// The same, with another program for `clamd`, if one is made in its folder.
    pub fn with(program: impl FnOnce(&Path) -> Option<PathBuf>) -> Self {
        let mut server = Self::new();
        server.program = program(server.dir());
        // A pattern that is not in the first bytes: those may be taken for a file's kind.
        std::fs::write(server.definitions().join("own.ndb"), signature("Test.Eicar", &eicar()[28..])).expect("a file");
        std::fs::write(server.definitions().join("own.hdb"), format!("{TESTFILE}\n")).expect("a file");
        server.boot();
        server.wait_ready();
        server
    }

    /// Has no definitions.
    pub fn without_definitions() -> Self {
        let mut server = Self::new();
        server.boot();
        server
    }

    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        std::fs::create_dir(dir.path().join("definitions")).expect("a folder");
        Self { dir, child: None, program: None, clamd: ANYWHERE.to_owned(), icap: ANYWHERE.to_owned() }
    }

    /// The directory that holds data, logs and whatever the test puts there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a file there; its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path.to_str().expect("a path").to_owned()
    }

    /// What freshclam would fill.
    pub fn definitions(&self) -> PathBuf {
        self.dir().join("definitions")
    }

    /// The socket of clamd's protocol.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("clamd.socket")
    }

    fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Starts the process on what is there, where it was; waits until it tells its addresses.
    pub fn boot(&mut self) {
        let out = File::create(self.dir().join("out.txt")).expect("a log");
        let err = File::options().create(true).append(true).open(self.dir().join("err.txt")).expect("a log");
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        command
            .args(["scan", "serve", "--clamd-listen", &self.clamd, "--icap-listen", &self.icap])
            .arg("--clamd-socket")
            .arg(self.socket())
            .arg("--definitions")
            .arg(self.definitions())
            .arg("--data-dir")
            .arg(self.data())
            .stdout(out)
            .stderr(err);
        if let Some(program) = &self.program {
            command.arg("--clamd").arg(program);
        }
        self.child = Some(command.spawn().expect("the binary runs"));
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.dir().join("out.txt")).unwrap_or_default();
            if text.contains("look into it") {
                let of = |door: &str| {
                    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                    let of_door = words.filter(|words| words.first() == Some(&door));
                    let address = of_door.filter_map(|words| {
                        let address = words.get(1)?.trim_start_matches("icap://").split('/').next()?;
                        Some(address.to_owned())
                    });
                    address.into_iter().find(|address| !address.is_empty()).unwrap_or_else(|| panic!("{door}: {text}"))
                };
                (self.clamd, self.icap) = (of("clamd"), of("ICAP"));
                return;
            }
            let gone = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(gone.is_none() && begun.elapsed() < PATIENCE, "the scan service did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9`, to it alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; waits until it has wound down, which must succeed.
    pub fn stop(&mut self) {
        let ended = self.end();
        assert!(ended, "{}", self.log());
    }

    /// Whether it ended as it should, if it ran.
    fn end(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                ended => return ended.ok().flatten().is_some_and(|status| status.success()),
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("err.txt")).unwrap_or_default()
    }

    fn scan(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        command.arg("scan").args(args).arg("--data-dir").arg(self.data()).current_dir(self.dir());
        command
    }

    /// Runs `holdfast scan` with these arguments against this service; gives its exit code and output.
    pub fn holdfast(&self, args: &[&str]) -> (i32, String) {
        ended(&mut self.scan(args))
    }

    /// `holdfast scan status --json`, whatever it says.
    pub fn status(&self) -> Value {
        let output = self.scan(&["status", "--json"]).output().expect("the binary runs");
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
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until its engine can be asked.
    pub fn wait_ready(&self) -> Value {
        self.wait_for("ready", |status| status["engines"][0]["down"].is_null())
    }

    /// A client, in the directory; of the Python environment, if it is there. It has nothing to read.
    pub fn command(&self, program: &str) -> Command {
        let tool = Path::new(&env("HOLDFAST_E2E_TOOLS")).join("bin").join(program);
        let mut command = Command::new(if tool.exists() { tool } else { program.into() });
        command.current_dir(self.dir()).env("HOME", self.dir()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a client to its end; gives its exit code and output.
    pub fn run(&self, program: &str, args: &[&str]) -> (i32, String) {
        ended(self.command(program).args(args))
    }

    /// `clamdscan` over TCP or, with `local`, by the socket.
    pub fn clamdscan(&self, local: bool) -> Command {
        let config = self.dir().join(if local { "local.conf" } else { "tcp.conf" });
        let text = match self.clamd.split_once(':') {
            _ if local => format!("LocalSocket {}\n", self.socket().display()),
            Some((host, port)) => format!("TCPSocket {port}\nTCPAddr {host}\n"),
            None => panic!("{} is no address", self.clamd),
        };
        std::fs::write(&config, text).expect("a configuration");
        let mut command = self.command("clamdscan");
        command.arg("--config-file").arg(config);
        command
    }
}

impl Drop for ScanServer {
    /// Not by a signal that leaves it no time to end its engine.
    fn drop(&mut self) {
        self.end();
    }
}
