//! `holdfast site serve` on a folder of the test's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use crate::{PATIENCE, ended, env};

/// A site server, which ends with the test.
pub struct SiteServer {
    name: String,
    folder: PathBuf,
    /// The authority of its certificate, where it speaks TLS.
    authority: Option<PathBuf>,
    args: Vec<String>,
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl SiteServer {
    /// Makes a folder `name` in `dir` and serves it.
    pub fn start(dir: &Path, name: &str) -> Self {
        Self::with(dir, name, None, Vec::new())
    }

    /// The same over TLS, by the certificate that [`crate::certificate`] made in `dir` under the name `certificate`.
    pub fn secure(dir: &Path, name: &str, certificate: &str) -> Self {
        let path = |kind: &str| dir.join(format!("{certificate}{kind}")).display().to_string();
        let args = ["--tls-cert".to_owned(), path(".crt"), "--tls-key".to_owned(), path(".key")];
        Self::with(dir, name, Some(path("-ca.crt").into()), args.into())
    }

    fn with(dir: &Path, name: &str, authority: Option<PathBuf>, args: Vec<String>) -> Self {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let (child, address) = spawn(&folder, "127.0.0.1:0", &args);
        Self { name: name.to_owned(), folder, authority, args, child, address }
    }

    /// Starts it again where it was.
    pub fn boot(&mut self) {
        (self.child, self.address) = spawn(&self.folder, &self.address, &self.args);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// SIGTERM; waits until it has wound down, which must succeed.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.child.wait().expect("it ends").success(), "{}", self.log());
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.with_extension("err")).unwrap_or_default()
    }

    /// The file with its access key and secret, which it made.
    pub fn credentials(&self) -> PathBuf {
        self.folder.with_extension("credentials")
    }

    /// The access key and the secret.
    pub fn keys(&self) -> [String; 2] {
        let text = std::fs::read_to_string(self.credentials()).expect("credentials");
        ["access_key", "secret_key"].map(|name| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            line.split('"').nth(1).unwrap_or_default().to_owned()
        })
    }

    /// What a gateway's configuration has for it.
    pub fn table(&self) -> String {
        let way = match &self.authority {
            Some(authority) => {
                format!("endpoint = \"https://{}\"\nca_certificate_file = {authority:?}\n", self.address)
            }
            None => format!("endpoint = \"http://{}\"\nallow_http = \"true\"\n", self.address),
        };
        format!(
            "[[site]]\nname = {:?}\nurl = \"s3://site/\"\n[site.options]\n{way}credentials_file = {:?}\n",
            self.name,
            self.credentials()
        )
    }
}

impl Drop for SiteServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &Path, listen: &str, args: &[String]) -> (Child, String) {
    let (told, log) = (folder.with_extension("out"), folder.with_extension("err"));
    let out = File::create(&told).expect("a log");
    let err = File::options().create(true).append(true).open(&log).expect("a log");
    let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
    command.args(["site", "serve"]).arg(folder).args(["--listen", listen]).args(args).stdout(out).stderr(err);
    let mut child = command.spawn().expect("the binary runs");
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        if text.contains("look into it") {
            let line = text.lines().find(|line| line.trim_start().starts_with("S3")).unwrap_or_default();
            let address = line.split("://").nth(1).and_then(|rest| rest.split_whitespace().next());
            return (child, address.unwrap_or_else(|| panic!("no address: {text}")).to_owned());
        }
        let gone = child.try_wait().ok().flatten();
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(gone.is_none() && begun.elapsed() < PATIENCE, "the site server did not start:\n{log}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Runs `holdfast site serve` where it must end by itself; gives its exit code and output.
pub fn site_serve(args: &[&str]) -> (i32, String) {
    ended(Command::new(env("HOLDFAST_E2E_BIN")).args(["site", "serve"]).args(args))
}

/// Runs `holdfast serve` with a configuration, where it must end by itself; gives its exit code and output.
pub fn serve(data_dir: &Path, config: &str) -> (i32, String) {
    let file = data_dir.with_extension("toml");
    std::fs::write(&file, config).expect("a configuration");
    let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--kms-listen", "127.0.0.1:0"]);
    ended(command.arg("--data-dir").arg(data_dir).arg("--config").arg(file))
}
