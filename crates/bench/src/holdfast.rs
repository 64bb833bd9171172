//! Holdfast itself: the release binary, five folder sites under one data folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{self, Server};
use crate::target::{self, Credentials, Target};

const HINT: &str = "build it: cargo build --release -p holdfast";
/// The sites that `serve` makes without a configuration; the bench removes the first two.
const SITES_TO_REMOVE: [&str; 2] = ["dc1", "dc2"];

/// The binary and its folder.
pub struct Holdfast {
    binary: PathBuf,
    data: PathBuf,
    endpoint: SocketAddr,
    admin: SocketAddr,
    kms: SocketAddr,
    tls: Option<[PathBuf; 2]>,
}

impl Holdfast {
    /// Chooses ports and a data folder below `dir`.
    pub fn new(binary: &Path, dir: &Path) -> Result<Self, Error> {
        target::folder(dir)?;
        Ok(Self {
            binary: binary.to_owned(),
            data: dir.join("data"),
            endpoint: target::free_port()?,
            admin: target::free_port()?,
            kms: target::free_port()?,
            tls: None,
        })
    }

    /// Where the KMS API is.
    pub fn kms(&self) -> SocketAddr {
        self.kms
    }

    /// Starts have this certificate and its key from now on.
    pub fn certified(&mut self, tls: [PathBuf; 2]) {
        self.tls = Some(tls);
    }

    /// Starts it, again or for the first time, and gives the time to its first answer.
    pub fn start(&self, log: &Path) -> Result<(Target, Duration), Error> {
        let credentials = Credentials {
            access_key: "HOLDFASTBENCH".to_owned(),
            secret_key: "bench/on-loopback-only/0123456789abcdef".to_owned(),
        };
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen", &self.endpoint.to_string()])
            .args(["--admin-listen", &self.admin.to_string(), "--kms-listen", &self.kms.to_string()])
            // A configuration of the caller's would name other sites.
            .env_remove("HOLDFAST_CONFIG")
            .env("HOLDFAST_ACCESS_KEY", &credentials.access_key)
            .env("HOLDFAST_SECRET_KEY", &credentials.secret_key);
        if let Some([cert, key]) = &self.tls {
            command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        }
        let start = Instant::now();
        let mut server = Server::start(command, log, HINT)?;
        let took = target::first_answer("holdfast", &mut server, self.endpoint, start)?;
        let target = Target {
            name: "holdfast",
            terms: "five sites, 3+2, sealed, fsynced",
            endpoint: self.endpoint,
            credentials,
            servers: vec![server],
        };
        Ok((target, took))
    }

    /// Runs a command of the binary's against the running server.
    pub fn run(&self, target: &Target, arguments: &[&str]) -> Result<(), Error> {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .args(["--admin", &format!("http://{}", self.admin)])
            .env("HOLDFAST_ACCESS_KEY", &target.credentials.access_key)
            .env("HOLDFAST_SECRET_KEY", &target.credentials.secret_key);
        Ok(process::run(command, HINT).map(drop)?)
    }

    /// Deletes two site folders under the running server.
    pub fn remove_two_sites(&self) -> Result<(), Error> {
        for site in SITES_TO_REMOVE {
            let path = self.data.join("sites").join(site);
            // The server may still write into the folder while it goes: then it is not empty, so again.
            let mut tries = 0;
            while let Err(error) = std::fs::remove_dir_all(&path) {
                tries += 1;
                if error.kind() == std::io::ErrorKind::NotFound && tries > 1 {
                    break;
                }
                if tries == 20 {
                    return Err(Error::path("remove", &path)(error));
                }
            }
        }
        Ok(())
    }
}
