//! A server under test: Holdfast or a peer, reachable over S3 on loopback.

use std::net::SocketAddr;
use std::time::Duration;

pub use engines::{Credentials, REGION, first_answer, folder, free_port};

use crate::error::Error;
use crate::http::Connection;
use crate::process::{self, Memory, Server};
use crate::workload::Workload;

/// The bucket that every workload uses.
pub const BUCKET: &str = "bench";
/// Presigned paths live longer than any bench.
const PRESIGNED_FOR: Duration = Duration::from_secs(6 * 3600);

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
