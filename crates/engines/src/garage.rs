//! Garage from its crate: a node in a zone of its own each, as its manual sets a cluster up.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::{Credentials, Engine, Error, Keep, Node, REGION, folder, free_port};

const VERSION: &str = "2.5.0";
const HINT: &str = "garage; it is built with: cargo install garage";

/// How it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// To be measured.
    Release,
    /// In less time, to be tested with.
    Quick,
}

/// The path of the binary, where it was compiled below `tools` before.
pub fn built(tools: &Path, build: Build) -> Option<PathBuf> {
    let root = tools.join("garage");
    let binary = root.join("bin/garage");
    (root.join(made(build)).exists() && binary.exists()).then_some(binary)
}

fn made(build: Build) -> String {
    format!("holdfast-{VERSION}-{build:?}")
}

/// Compiles it below `tools` unless that was done. Gives the path of the binary.
///
/// # Errors
/// Cargo's.
pub fn install(tools: &Path, build: Build) -> Result<PathBuf, Error> {
    let root = tools.join("garage");
    let binary = root.join("bin/garage");
    if built(tools, build).is_none() {
        let made = root.join(made(build));
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(["install", "garage", "--version", VERSION, "--locked", "--quiet", "--force"])
            .args(["--no-default-features", "--features", "bundled-libs,lmdb", "--root"])
            .arg(&root)
            .env("CARGO_TARGET_DIR", tools.join("garage-build"));
        if build == Build::Quick {
            command.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
        }
        process::run(command, HINT)?;
        fs::write(&made, "").map_err(Error::path("write", &made))?;
        // A gigabyte that nobody needs any more.
        let _ = fs::remove_dir_all(tools.join("garage-build"));
    }
    Ok(binary)
}

/// Starts so many nodes, which keep so many copies, as one cluster: in `node1`, `node2` and so on of `dir`. The key may create buckets.
///
/// # Errors
/// A node does not start, or the cluster does not form.
pub fn start(binary: &Path, dir: &Path, (nodes, copies): (usize, usize), keep: Keep) -> Result<Engine, Error> {
    let secret = random_hex(32)?;
    let mut running = Vec::new();
    let mut configs = Vec::new();
    for index in 1..=nodes {
        let home = dir.join(format!("node{index}"));
        folder(&home)?;
        let (rpc, api) = (free_port()?, free_port()?);
        let config = home.join("garage.toml");
        let text = config_toml(&home, [rpc, api], &secret, copies, keep);
        fs::write(&config, text).map_err(Error::path("write", &config))?;
        let (program, with) = (binary.to_owned(), config.clone());
        let make = move || {
            let mut command = Command::new(&program);
            command.arg("-c").arg(&with).arg("server").env("RUST_LOG", "garage=warn");
            command
        };
        // Any answer will do: without a layout it is an error.
        running.push(Node::start(&home.join("log"), api, HINT, Box::new(make))?);
        configs.push(config);
    }
    let garage = |config: &Path, arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.arg("-c").arg(config).args(arguments);
        process::run(command, HINT)
    };
    let mut ids = Vec::new();
    for config in &configs {
        ids.push(garage(config, &["node", "id", "--quiet"])?.trim().to_owned());
    }
    let (Some(first), Some(config)) = (running.first(), configs.first()) else {
        return Err(Error::Failed { program: "garage".to_owned(), output: "a cluster without nodes".to_owned() });
    };
    let endpoint = first.api;
    for id in ids.iter().skip(1) {
        garage(config, &["node", "connect", id])?;
    }
    for (index, id) in ids.iter().enumerate() {
        let key = id.split('@').next().unwrap_or(id);
        garage(config, &["layout", "assign", "-z", &format!("dc{}", index + 1), "-c", "50G", key])?;
    }
    garage(config, &["layout", "apply", "--version", "1"])?;

    let credentials = Credentials { access_key: format!("GK{}", random_hex(12)?), secret_key: random_hex(32)? };
    garage(config, &["key", "import", "--yes", "-n", "all", &credentials.access_key, &credentials.secret_key])?;
    garage(config, &["key", "allow", "--create-bucket", &credentials.access_key])?;
    Ok(Engine { name: "garage", endpoint, credentials, nodes: running })
}

fn config_toml(home: &Path, [rpc, api]: [SocketAddr; 2], secret: &str, copies: usize, keep: Keep) -> String {
    let home = home.display();
    let synced = keep == Keep::Synced;
    format!(
        "metadata_dir = \"{home}/meta\"\n\
         data_dir = \"{home}/data\"\n\
         db_engine = \"lmdb\"\n\
         metadata_fsync = {synced}\n\
         data_fsync = {synced}\n\
         replication_factor = {copies}\n\
         rpc_bind_addr = \"{rpc}\"\n\
         rpc_public_addr = \"{rpc}\"\n\
         rpc_secret = \"{secret}\"\n\
         [s3_api]\n\
         s3_region = \"{REGION}\"\n\
         api_bind_addr = \"{api}\"\n\
         root_domain = \".s3.localhost\"\n"
    )
}

fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    let source = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random));
    source.map_err(Error::io("cannot read /dev/urandom"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
