//! Garage from its crate: five nodes in five zones, three copies, as its manual sets a cluster up.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use aws_lc_rs::rand;

use crate::error::Error;
use crate::process::{self, Server};
use crate::target::{self, BUCKET, Credentials, Target};

const VERSION: &str = "2.5.0";
const NODES: usize = 5;
const HINT: &str = "it is built with: cargo install garage";

pub(super) fn install(tools: &Path) -> Result<PathBuf, Error> {
    let root = tools.join("garage");
    let binary = root.join("bin/garage");
    if !binary.exists() {
        let mut command = Command::new("cargo");
        command
            .args(["install", "garage", "--version", VERSION, "--locked", "--quiet"])
            .args(["--no-default-features", "--features", "bundled-libs,lmdb", "--root"])
            .arg(&root)
            .env("CARGO_TARGET_DIR", tools.join("garage-build"));
        process::run(command, HINT)?;
    }
    Ok(binary)
}

/// One of the five, each in a zone of its own.
pub(crate) struct Node {
    config: PathBuf,
    /// Everything that it keeps.
    pub(crate) home: PathBuf,
    /// Its S3 endpoint.
    pub(crate) api: SocketAddr,
    pub(crate) server: Server,
}

pub(super) fn start(binary: &Path, dir: &Path) -> Result<Target, Error> {
    let (nodes, credentials) = cluster(binary, dir, 3)?;
    let endpoint = nodes.first().map(|node| node.api);
    Ok(Target {
        name: "garage",
        terms: "five nodes, 3 copies, plain, no fsync",
        endpoint: endpoint.ok_or_else(no_nodes)?,
        credentials,
        servers: nodes.into_iter().map(|node| node.server).collect(),
    })
}

fn no_nodes() -> Error {
    Error::Unreadable("a cluster without nodes".to_owned())
}

/// Five nodes that keep so many copies, with an empty bucket.
pub(crate) fn cluster(binary: &Path, dir: &Path, copies: usize) -> Result<(Vec<Node>, Credentials), Error> {
    let secret = random_hex(32)?;
    let nodes =
        (0..NODES).map(|index| start_node(binary, dir, index, (copies, &secret))).collect::<Result<Vec<_>, _>>()?;
    let garage = |config: &Path, arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.arg("-c").arg(config).args(arguments);
        process::run(command, HINT)
    };
    let mut ids = Vec::new();
    for node in &nodes {
        ids.push(garage(&node.config, &["node", "id", "--quiet"])?.trim().to_owned());
    }
    let config = nodes.first().map(|node| node.config.clone()).ok_or_else(no_nodes)?;
    for id in ids.iter().skip(1) {
        garage(&config, &["node", "connect", id])?;
    }
    for (index, id) in ids.iter().enumerate() {
        let key = id.split('@').next().unwrap_or(id);
        garage(&config, &["layout", "assign", "-z", &format!("dc{}", index + 1), "-c", "50G", key])?;
    }
    garage(&config, &["layout", "apply", "--version", "1"])?;

    let credentials = Credentials { access_key: format!("GK{}", random_hex(12)?), secret_key: random_hex(32)? };
    garage(&config, &["key", "import", "--yes", "-n", "bench", &credentials.access_key, &credentials.secret_key])?;
    garage(&config, &["bucket", "create", BUCKET])?;
    garage(&config, &["bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", &credentials.access_key])?;
    Ok((nodes, credentials))
}

fn start_node(binary: &Path, dir: &Path, index: usize, (copies, secret): (usize, &str)) -> Result<Node, Error> {
    let home = dir.join(format!("node{}", index + 1));
    target::folder(&home)?;
    let (rpc, api) = (target::free_port()?, target::free_port()?);
    let config = home.join("garage.toml");
    fs::write(&config, config_toml(&home, (rpc, api), copies, secret)).map_err(Error::path("write", &config))?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&config).arg("server").env("RUST_LOG", "garage=warn");
    let start = Instant::now();
    let server = Server::start(command, &home.join("log"), HINT)?;
    let mut node = Node { server, config, home, api };
    // Any answer will do: without a layout it is an error.
    target::first_answer("garage", &mut node.server, node.api, start)?;
    Ok(node)
}

fn config_toml(home: &Path, (rpc, api): (SocketAddr, SocketAddr), copies: usize, secret: &str) -> String {
    let home = home.display();
    format!(
        "metadata_dir = \"{home}/meta\"\n\
         data_dir = \"{home}/data\"\n\
         db_engine = \"lmdb\"\n\
         replication_factor = {copies}\n\
         rpc_bind_addr = \"{rpc}\"\n\
         rpc_public_addr = \"{rpc}\"\n\
         rpc_secret = \"{secret}\"\n\
         [s3_api]\n\
         s3_region = \"us-east-1\"\n\
         api_bind_addr = \"{api}\"\n\
         root_domain = \".s3.localhost\"\n"
    )
}

fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random).map_err(|_| Error::Unreadable("the operating system's randomness".to_owned()))?;
    Ok(hex::encode(random))
}
