//! Five sites as processes on one machine: Holdfast with etcd, and Garage with as many nodes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::peer::garage;
use crate::process::{self, Server};
use crate::target::{self, Credentials, Target};

/// Sites, members and gateways.
pub const SITES: usize = 5;
const HOLDFAST_HINT: &str = "build it: cargo build --release -p holdfast";
const ETCD_HINT: &str = "install it: apt-get install etcd-server";
/// The access key and the secret of all site servers.
const SITE_KEYS: [&str; 2] = ["BENCHSITEACCESSKEY", "bench-site-secret-key-0123456789ab"];
/// etcd's members talk to each other for so long before the first gateway starts, at most.
const ETCD_WITHIN: Duration = Duration::from_secs(60);

/// One of five places: everything in it ends together.
struct Place {
    api: SocketAddr,
    /// Where objects' bytes are.
    data: PathBuf,
    /// Where the metadata are.
    meta: PathBuf,
    servers: Vec<Server>,
}

/// How Holdfast is run.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whether the metadata's journal is written.
    pub journal: bool,
    /// Whether gateways keep what was read lately.
    pub read_cache: bool,
}

/// A store in five places.
pub struct Fleet {
    /// What the table calls it.
    pub name: &'static str,
    /// What it promises here.
    pub terms: String,
    credentials: Credentials,
    places: Vec<Place>,
}

/// Bytes on disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Of objects.
    pub data: u64,
    /// Of what tells where they are.
    pub meta: u64,
}

impl Fleet {
    /// Garage with five nodes that keep so many copies.
    pub fn garage(binary: &Path, dir: &Path, copies: usize) -> Result<Self, Error> {
        let engine = garage::cluster(binary, dir, copies)?;
        let credentials = engine.credentials.clone();
        let place = |(index, (api, server)): (usize, (SocketAddr, Server))| {
            let home = dir.join(format!("node{}", index + 1));
            Place { api, data: home.join("data"), meta: home.join("meta"), servers: vec![server] }
        };
        let fleet = Self {
            name: "garage",
            terms: format!("five nodes, {copies} copies, plain, no fsync"),
            credentials,
            places: engine.into_nodes().into_iter().enumerate().map(place).collect(),
        };
        fleet.target(0).create_bucket()?;
        Ok(fleet)
    }

    /// Holdfast: in each place a member of etcd, a site server and a gateway.
    pub fn holdfast(binary: &Path, dir: &Path, terms: Terms) -> Result<Self, Error> {
        let credentials = Credentials {
            access_key: "HOLDFASTBENCH".to_owned(),
            secret_key: "bench/on-loopback-only/0123456789abcdef".to_owned(),
        };
        let ports = || (0..SITES).map(|_| target::free_port()).collect::<Result<Vec<_>, _>>();
        let (members, peers, sites) = (ports()?, ports()?, ports()?);
        let mut places = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            let home = dir.join(format!("dc{}", index + 1));
            let (data, meta) = (home.join("site"), home.join("etcd"));
            target::folder(&data)?;
            let etcd = start_etcd(&home, index, &members, &peers)?;
            let site = start_site(binary, &home, *site)?;
            places.push(Place { api: target::free_port()?, data, meta, servers: vec![etcd, site] });
        }
        for ((place, member), address) in places.iter_mut().zip(&members).zip(&sites) {
            let log = place.servers[0].log().to_owned();
            wait_for_etcd(*member, &log)?;
            let begun = Instant::now();
            if let Some(site) = place.servers.get_mut(1) {
                target::first_answer("a site server", site, *address, begun)?;
            }
        }
        let mut fleet = Self {
            name: "holdfast",
            terms: format!(
                "five sites, five gateways, etcd with five members; 3+2, sealed, fsynced{}{}",
                if terms.journal { "" } else { "; without the journal of the metadata" },
                if terms.read_cache { "; what was read lately is kept in memory, sealed" } else { "; no read cache" }
            ),
            credentials,
            places,
        };
        for index in 0..SITES {
            let home = dir.join(format!("dc{}", index + 1));
            let data = home.join("gateway");
            target::folder(&data)?;
            if index > 0 {
                let (from, to) = (dir.join("dc1/gateway/root.key"), data.join("root.key"));
                std::fs::copy(&from, &to).map_err(Error::path("copy", &from))?;
            }
            let near = (0..SITES).map(|step| members[(index + step) % SITES].to_string());
            let config = gateway_config(&data, fleet.places[index].api, near.collect(), &sites, terms)?;
            let path = home.join("holdfast.toml");
            std::fs::write(&path, config).map_err(Error::path("write", &path))?;
            let gateway = start_gateway(binary, &home, &path, fleet.places[index].api, &fleet.credentials)?;
            fleet.places[index].servers.push(gateway);
        }
        fleet.target(0).create_bucket()?;
        Ok(fleet)
    }

    /// The endpoint of a place that lives, for requests to be signed for.
    pub fn target(&self, place: usize) -> Target {
        Target {
            name: self.name,
            terms: "",
            endpoint: self.places[place].api,
            credentials: self.credentials.clone(),
            servers: Vec::new(),
        }
    }

    /// Places that live.
    pub fn live(&self) -> usize {
        self.places.iter().take_while(|place| !place.servers.is_empty()).count()
    }

    /// `kill -9` of everything in the last so many places.
    pub fn kill(&mut self, places: usize) {
        for place in self.places.iter_mut().rev().take(places) {
            place.servers.clear();
        }
    }

    /// CPU seconds of all processes that live.
    pub fn cpu_seconds(&self) -> Result<f64, Error> {
        let servers = self.places.iter().flat_map(|place| &place.servers);
        servers.map(|server| process::cpu_seconds(server.pid())).sum()
    }

    /// What all places have on disk.
    pub fn used(&self) -> Result<Used, Error> {
        rustix::fs::sync();
        let mut used = Used::default();
        for place in &self.places {
            used.data += blocks(&place.data)?;
            used.meta += blocks(&place.meta)?;
        }
        Ok(used)
    }
}

/// Bytes of disk that a folder takes.
fn blocks(folder: &Path) -> Result<u64, Error> {
    let mut command = Command::new("du");
    command.args(["--summarize", "--block-size=1"]).arg(folder);
    let printed = process::run(command, "")?;
    let bytes = printed.split_whitespace().next().and_then(|word| word.parse().ok());
    bytes.ok_or_else(|| Error::Unreadable(format!("du's output: {printed}")))
}

fn start_etcd(home: &Path, index: usize, members: &[SocketAddr], peers: &[SocketAddr]) -> Result<Server, Error> {
    let all: Vec<String> = peers.iter().enumerate().map(|(index, peer)| format!("m{index}=http://{peer}")).collect();
    let (member, peer) = (format!("http://{}", members[index]), format!("http://{}", peers[index]));
    let mut command = Command::new("etcd");
    command.args(["--name", &format!("m{index}"), "--initial-cluster", &all.join(",")]);
    command.arg("--data-dir").arg(home.join("etcd"));
    command.args(["--listen-client-urls", &member, "--advertise-client-urls", &member]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--quota-backend-bytes", &(8_u64 << 30).to_string(), "--logger", "zap"]);
    Ok(Server::start(command, &home.join("etcd.log"), ETCD_HINT)?)
}

/// A member answers `/health` with `true` when there is a leader.
fn wait_for_etcd(member: SocketAddr, log: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + ETCD_WITHIN;
    while Instant::now() < deadline {
        let asked = crate::http::Connection::open(member).and_then(|mut to| to.expect("GET", "/health", &[]));
        if asked.is_ok_and(|body| String::from_utf8_lossy(&body).contains("true")) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(engines::Error::NoAnswer { server: "etcd".to_owned(), seconds: ETCD_WITHIN.as_secs(), log: log.to_owned() }
        .into())
}

fn start_site(binary: &Path, home: &Path, address: SocketAddr) -> Result<Server, Error> {
    let mut command = Command::new(binary);
    command.args(["site", "serve"]).arg(home.join("site")).args(["--listen", &address.to_string()]);
    command.env("HOLDFAST_SITE_ACCESS_KEY", SITE_KEYS[0]).env("HOLDFAST_SITE_SECRET_KEY", SITE_KEYS[1]);
    Ok(Server::start(command, &home.join("site.log"), HOLDFAST_HINT)?)
}

fn start_gateway(
    binary: &Path,
    home: &Path,
    config: &Path,
    api: SocketAddr,
    credentials: &Credentials,
) -> Result<Server, Error> {
    let mut command = Command::new(binary);
    command.args(["serve", "--config"]).arg(config);
    command.env("HOLDFAST_ACCESS_KEY", &credentials.access_key).env("HOLDFAST_SECRET_KEY", &credentials.secret_key);
    let begun = Instant::now();
    let mut server = Server::start(command, &home.join("gateway.log"), HOLDFAST_HINT)?;
    target::first_answer("a gateway", &mut server, api, begun)?;
    Ok(server)
}

fn gateway_config(
    data: &Path,
    api: SocketAddr,
    members: Vec<String>,
    sites: &[SocketAddr],
    terms: Terms,
) -> Result<String, Error> {
    let journal = terms.journal;
    let no_cache = if terms.read_cache { "" } else { "read_cache_mib = 0\n" };
    let (admin, kms) = (target::free_port()?, target::free_port()?);
    let sites: String = (1..)
        .zip(sites)
        .map(|(number, address)| {
            format!(
                "[[site]]\nname = \"dc{number}\"\nurl = \"s3://site/\"\n[site.options]\nendpoint = \"http://{address}\"\n\
                 allow_http = \"true\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
                SITE_KEYS[0], SITE_KEYS[1]
            )
        })
        .collect();
    Ok(format!(
        "data_dir = {data:?}\nmeta = \"etcd://{}/bench\"\nmeta_journal = {journal}\nlisten = \"{api}\"\n\
         admin_listen = \"{admin}\"\nkms_listen = \"{kms}\"\n{no_cache}{sites}",
        members.join(","),
    ))
}
