//! Other S3 engines: got from the package registries, and run on loopback as their manuals say.
//!
//! For `bench`, which measures beside them; for `e2e`, whose sites they are; for `xtask`, which installs them.

mod error;
pub mod garage;
pub mod process;
pub mod seaweedfs;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub use error::Error;
use process::Server;

/// Longest wait for a server's first answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What may do everything in an engine.
#[derive(Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
}

/// How an engine keeps what it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As it comes: the page cache has it.
    AsItComes,
    /// What it acknowledges outlives a power cut, by the options that its manual has for that.
    Synced,
}

/// A running engine: one process or more. They end with it.
pub struct Engine {
    /// For people.
    pub name: &'static str,
    /// Where it speaks S3: the first node's address.
    pub endpoint: SocketAddr,
    /// Its region is [`REGION`].
    pub credentials: Credentials,
    nodes: Vec<Node>,
}

/// The region that every engine is told.
pub const REGION: &str = "us-east-1";

/// A process of an engine, and how it is started.
struct Node {
    make: Box<dyn Fn() -> Command + Send>,
    api: SocketAddr,
    hint: &'static str,
    server: Server,
}

impl Node {
    fn start(
        log: &Path,
        api: SocketAddr,
        hint: &'static str,
        make: Box<dyn Fn() -> Command + Send>,
    ) -> Result<Self, Error> {
        let server = Server::start(make(), log, hint)?;
        let mut node = Self { make, api, hint, server };
        node.wait()?;
        Ok(node)
    }

    fn wait(&mut self) -> Result<(), Error> {
        first_answer(self.hint, &mut self.server, self.api, Instant::now()).map(drop)
    }
}

impl Engine {
    /// `kill -9` to all its processes; waits until they are gone.
    pub fn kill(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.server.kill());
    }

    /// Starts it again, after [`Engine::kill`], on what it has on its disk, where it was.
    ///
    /// # Errors
    /// It does not start, or gives no answer.
    pub fn boot(&mut self) -> Result<(), Error> {
        for node in &mut self.nodes {
            let log = node.server.log().to_owned();
            node.server = Server::start((node.make)(), &log, node.hint)?;
        }
        self.nodes.iter_mut().try_for_each(Node::wait)
    }

    /// The ids of its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.server.pid()).collect()
    }

    /// What its processes said since their last start.
    pub fn log(&self) -> String {
        self.nodes.iter().map(|node| std::fs::read_to_string(node.server.log()).unwrap_or_default()).collect()
    }

    /// Its processes and where each speaks S3, to be watched or ended one by one.
    pub fn into_nodes(self) -> Vec<(SocketAddr, Server)> {
        self.nodes.into_iter().map(|node| (node.api, node.server)).collect()
    }
}

/// Waits until `server` answers HTTP at `endpoint`, whatever the answer; gives the time since `start`.
///
/// # Errors
/// It ended by itself, or a minute went by.
pub fn first_answer(name: &str, server: &mut Server, endpoint: SocketAddr, start: Instant) -> Result<Duration, Error> {
    let deadline = start + START_LIMIT;
    while Instant::now() < deadline && !server.has_ended() {
        if answers(endpoint) {
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

/// Whether there is somebody who speaks HTTP.
fn answers(endpoint: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&endpoint, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(&start == b"HTTP/")
    };
    asked().unwrap_or(false)
}

/// A port of loopback that is free now. Somebody else may take it before the server does; then the
/// server says so and does not start.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<SocketAddr, Error> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("no free port on loopback"))?;
    probe.local_addr().map_err(Error::io("no address of a free port"))
}

/// Creates a folder and its parents.
///
/// # Errors
/// The operating system's.
pub fn folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::path("create", path))
}
