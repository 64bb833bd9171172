//! A server under test: Holdfast or a peer, reachable over S3 on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::http::Connection;
use crate::process::{self, Memory, Server};
use crate::workload::Workload;

/// The bucket that every workload uses.
pub const BUCKET: &str = "bench";
/// The region that every server is told.
const REGION: &str = "us-east-1";
/// Presigned paths live longer than any bench.
const PRESIGNED_FOR: Duration = Duration::from_secs(6 * 3600);
/// Longest wait for a server's first answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Credentials for a server under test.
#[derive(Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
}

/// A running server.
pub struct Target {
    /// What the table calls it.
    pub name: &'static str,
    /// What it promises here, for the reader of the table.
    pub terms: &'static str,
    /// Its S3 endpoint.
    pub endpoint: SocketAddr,
    /// Keys that may do everything in [`BUCKET`].
    pub credentials: Credentials,
    /// All its processes: CPU and memory are their sums.
    pub servers: Vec<Server>,
}

impl Target {
    /// A path of the endpoint with a presigned query.
    pub fn presign(&self, method: &str, path: &str) -> String {
        let request = admin::sigv4::Presign {
            method,
            host: &self.endpoint.to_string(),
            path,
            region: REGION,
            service: "s3",
            expires: PRESIGNED_FOR,
        };
        request.sign(&self.credentials.access_key, &self.credentials.secret_key)
    }

    /// The presigned path of object `index` of a workload.
    pub fn presign_object(&self, method: &str, workload: &Workload, index: usize) -> String {
        self.presign(method, &format!("/{BUCKET}/{}", workload.key(index)))
    }

    /// Makes [`BUCKET`].
    pub fn create_bucket(&self) -> Result<(), Error> {
        let path = self.presign("PUT", &format!("/{BUCKET}"));
        Connection::open(self.endpoint)?.expect("PUT", &path, &[]).map(drop)
    }

    /// CPU seconds of all processes since their start.
    pub fn cpu_seconds(&self) -> Result<f64, Error> {
        self.servers.iter().map(|server| process::cpu_seconds(server.pid())).sum()
    }

    /// Memory of all processes.
    pub fn memory(&self) -> Result<Memory, Error> {
        let mut sum = Memory::default();
        for server in &self.servers {
            let one = process::memory(server.pid())?;
            sum.resident += one.resident;
            sum.peak += one.peak;
        }
        Ok(sum)
    }
}

/// Waits until `server` answers HTTP at `endpoint`, whatever the answer; gives the time since `start`.
pub fn first_answer(name: &str, server: &mut Server, endpoint: SocketAddr, start: Instant) -> Result<Duration, Error> {
    let deadline = start + START_LIMIT;
    while Instant::now() < deadline && !server.has_ended() {
        if Connection::open(endpoint).and_then(|mut it| it.send("GET", "/", &[])).is_ok() {
            return Ok(start.elapsed());
        }
        thread::sleep(Duration::from_millis(2));
    }
    if server.has_ended() {
        let output = std::fs::read_to_string(server.log()).unwrap_or_default();
        return Err(Error::Failed { program: name.to_owned(), output: process::tail(&output) });
    }
    Err(Error::NoAnswer { server: name.to_owned(), seconds: START_LIMIT.as_secs(), log: server.log().to_owned() })
}

/// A port of loopback that is free now. Somebody else may take it before the server does; then the
/// server says so and the bench fails.
pub fn free_port() -> Result<SocketAddr, Error> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("no free port on loopback"))?;
    probe.local_addr().map_err(Error::io("no address of a free port"))
}

/// Creates a folder and its parents.
pub fn folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::path("create", path))
}
