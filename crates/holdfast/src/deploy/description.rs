//! The description of five sites: what the file says, then what it means. All mistakes are reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base::limits::COLUMNS;
use serde::Deserialize;

use super::Mistakes;

/// The most that etcd's authors advise for a member's file, MiB.
const QUOTA_MIB_MAX: u64 = 8192;
/// What options of a site's bucket that are no secrets end in, and names of files; any other may be one, and belongs in a file.
const OPEN_OPTIONS: [&str; 10] = [
    "_file",
    "endpoint",
    "region",
    "access_key_id",
    "allow_http",
    "virtual_hosted_style_request",
    "unsigned_payload",
    "account_name",
    "use_emulator",
    "skip_signature",
];
/// Names of folders beside the sites' own.
const TAKEN: [&str; 2] = ["ca", "compose"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(default = "us_east_1")]
    region: String,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    website_domains: Vec<String>,
    #[serde(default = "holdfast")]
    user: String,
    #[serde(default = "program")]
    program: PathBuf,
    #[serde(default = "config_dir")]
    config_dir: PathBuf,
    #[serde(default = "data_dir")]
    data_dir: PathBuf,
    tls: Option<toml::Value>,
    #[serde(default)]
    ports: Ports,
    #[serde(default)]
    etcd: RawEtcd,
    #[serde(default)]
    site: Vec<RawSite>,
}

/// Ports of the roles, the same at every site.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ports {
    pub(crate) s3: u16,
    pub(crate) admin: u16,
    pub(crate) kms: u16,
    pub(crate) blob: u16,
    pub(crate) metrics: u16,
    pub(crate) etcd: u16,
    pub(crate) peer: u16,
    pub(crate) etcd_metrics: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEtcd {
    version: String,
    user: String,
    program: PathBuf,
    config_dir: PathBuf,
    data_dir: PathBuf,
    prefix: String,
    quota_mib: u64,
    snapshot_count: u64,
    heartbeat_ms: u64,
    election_ms: u64,
    rtt_ms: Option<u64>,
    cluster: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    name: String,
    host: String,
    blob: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    addresses: Addresses,
    config_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    etcd_config_dir: Option<PathBuf>,
    etcd_data_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Addresses {
    gateway: Option<String>,
    blob: Option<String>,
    etcd: Option<String>,
    admin: Option<String>,
}

/// Files of an authority of the operator's own, where they lie on each machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsPaths {
    pub(crate) ca: PathBuf,
    pub(crate) peer_ca: PathBuf,
    pub(crate) gateway_cert: PathBuf,
    pub(crate) gateway_key: PathBuf,
    pub(crate) blob_cert: PathBuf,
    pub(crate) blob_key: PathBuf,
    pub(crate) etcd_cert: PathBuf,
    pub(crate) etcd_key: PathBuf,
    pub(crate) peer_cert: PathBuf,
    pub(crate) peer_key: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
}

/// The description as it counts.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) domains: Vec<String>,
    pub(crate) website_domains: Vec<String>,
    pub(crate) user: String,
    pub(crate) program: PathBuf,
    /// `None`: certificates are made.
    pub(crate) tls: Option<TlsPaths>,
    pub(crate) ports: Ports,
    pub(crate) etcd: EtcdPlan,
    pub(crate) sites: [SitePlan; COLUMNS],
    /// What is allowed and not advised, a sentence each.
    pub(crate) advice: Vec<String>,
}

/// What all members of etcd have in common.
#[derive(Debug)]
pub(crate) struct EtcdPlan {
    /// The minor version of etcd 3: 4, 5 or 6.
    pub(crate) minor: u8,
    pub(crate) user: String,
    pub(crate) program: PathBuf,
    pub(crate) prefix: String,
    pub(crate) quota_bytes: u64,
    pub(crate) snapshot_count: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) election_ms: u64,
    /// `new` or `existing`.
    pub(crate) cluster: String,
}

/// One site and its machine.
#[derive(Debug)]
pub(crate) struct SitePlan {
    pub(crate) name: String,
    pub(crate) gateway: Host,
    pub(crate) blob_host: Host,
    pub(crate) etcd_host: Host,
    /// Where the admin API and metrics listen.
    pub(crate) admin: IpAddr,
    pub(crate) blob: Blob,
    /// More names for this machine's certificates.
    pub(crate) names: Vec<String>,
    pub(crate) config_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) etcd_config_dir: PathBuf,
    pub(crate) etcd_data_dir: PathBuf,
}

/// Where a site's shards lie.
#[derive(Debug)]
pub(crate) enum Blob {
    /// A folder of the machine, which `holdfast site serve` serves.
    Folder(PathBuf),
    /// Somebody's object store.
    Bucket { url: String, options: BTreeMap<String, String> },
}

/// How others reach a machine in some role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host(String);

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        (bare.parse::<IpAddr>().is_ok() || is_dns_name(bare)).then(|| Self(bare.to_owned()))
    }

    /// The name or address itself.
    pub(crate) fn bare(&self) -> &str {
        &self.0
    }

    /// As it stands in an address with a port.
    pub(crate) fn with_port(&self, port: u16) -> String {
        match self.0.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).to_string(),
            Err(_) => format!("{}:{port}", self.0),
        }
    }

    /// Where to listen: on the address; behind a name on all of the machine's, since that name may be another machine's idea of it.
    pub(crate) fn listen(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.0.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port)
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self { s3: 9000, admin: 9001, kms: 9002, blob: 9100, metrics: 9101, etcd: 2379, peer: 2380, etcd_metrics: 2381 }
    }
}

impl Default for RawEtcd {
    fn default() -> Self {
        Self {
            version: "3.4".to_owned(),
            user: "etcd".to_owned(),
            program: PathBuf::from("/usr/bin/etcd"),
            config_dir: PathBuf::from("/etc/holdfast-etcd"),
            data_dir: PathBuf::from("/var/lib/holdfast-etcd"),
            prefix: "holdfast".to_owned(),
            quota_mib: 4096,
            snapshot_count: 10_000,
            heartbeat_ms: 100,
            election_ms: 1000,
            rtt_ms: None,
            cluster: "new".to_owned(),
        }
    }
}

fn us_east_1() -> String {
    "us-east-1".to_owned()
}

fn holdfast() -> String {
    "holdfast".to_owned()
}

fn program() -> PathBuf {
    PathBuf::from("/usr/bin/holdfast")
}

fn config_dir() -> PathBuf {
    PathBuf::from("/etc/holdfast")
}

fn data_dir() -> PathBuf {
    PathBuf::from("/var/lib/holdfast")
}

impl Description {
    /// Reads the text of a description.
    ///
    /// # Errors
    /// All mistakes at once; those of TOML itself come alone, with their line.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistakes> {
        let raw: Raw = toml::from_str(text).map_err(|error| Mistakes(vec![error.to_string()]))?;
        check(raw)
    }
}

fn check(raw: Raw) -> Result<Description, Mistakes> {
    let mut mistakes = Vec::new();
    let mut wrong = |is_wrong: bool, text: String| {
        if is_wrong {
            mistakes.push(text);
        }
    };
    wrong(!is_label(&raw.name), format!("name: {:?} has not 1 to 32 characters of a-z 0-9 -", raw.name));
    let region_fine =
        !raw.region.is_empty() && raw.region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    wrong(!region_fine, format!("region: {:?} is not a region name like us-east-1", raw.region));
    for (key, domains) in [("domains", &raw.domains), ("website_domains", &raw.website_domains)] {
        for domain in domains {
            let fine = is_dns_name(domain) && !domain.bytes().any(|b| b.is_ascii_uppercase());
            wrong(!fine, format!("{key}: {domain:?} is not a domain like s3.example.com (lower case, no port)"));
        }
    }
    for (key, user) in [("user", &raw.user), ("etcd.user", &raw.etcd.user)] {
        wrong(!is_user(user), format!("{key}: {user:?} is no name of a user"));
    }
    let etcd = &raw.etcd;
    let minor = ["3.4", "3.5", "3.6"].iter().position(|known| *known == etcd.version);
    wrong(minor.is_none(), format!("etcd.version: {:?} is none of 3.4, 3.5 and 3.6", etcd.version));
    let quota_fine = (64..=QUOTA_MIB_MAX).contains(&etcd.quota_mib);
    wrong(!quota_fine, format!("etcd.quota_mib: {} is not between 64 and {QUOTA_MIB_MAX}", etcd.quota_mib));
    let snapshots_fine = (1000..=1_000_000).contains(&etcd.snapshot_count);
    wrong(!snapshots_fine, format!("etcd.snapshot_count: {} is not between 1000 and 1000000", etcd.snapshot_count));
    let heart_fine = (10..=5000).contains(&etcd.heartbeat_ms);
    wrong(!heart_fine, format!("etcd.heartbeat_ms: {} is not between 10 and 5000", etcd.heartbeat_ms));
    let election_fine = etcd.election_ms >= etcd.heartbeat_ms.saturating_mul(5) && etcd.election_ms <= 50_000;
    wrong(
        !election_fine,
        format!(
            "etcd.election_ms: {} is not at least five times heartbeat_ms, and at most 50000: etcd would not start",
            etcd.election_ms
        ),
    );
    let cluster_fine = ["new", "existing"].contains(&etcd.cluster.as_str());
    wrong(!cluster_fine, format!("etcd.cluster: {:?} is neither new nor existing", etcd.cluster));
    let prefix_fine = !etcd.prefix.is_empty()
        && etcd.prefix.len() <= 256
        && etcd.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    wrong(!prefix_fine, format!("etcd.prefix: {:?} has not 1 to 256 of a-z A-Z 0-9 - _ .", etcd.prefix));
    for (key, path) in [
        ("program", &raw.program),
        ("config_dir", &raw.config_dir),
        ("data_dir", &raw.data_dir),
        ("etcd.program", &etcd.program),
        ("etcd.config_dir", &etcd.config_dir),
        ("etcd.data_dir", &etcd.data_dir),
    ] {
        wrong(!is_path(path), path_mistake(key, path));
    }
    let tls = tls(raw.tls.as_ref(), &mut mistakes);
    let mut sites = Vec::new();
    if raw.site.len() != COLUMNS {
        mistakes
            .push(format!("{} sites are described; there must be exactly {COLUMNS} [[site]] tables", raw.site.len()));
    }
    for site in &raw.site {
        sites.extend(site_plan(site, &raw, &mut mistakes));
    }
    if mistakes.is_empty() {
        crowded(&sites, raw.ports, &mut mistakes);
    }
    let advice = advice(&raw.etcd, &raw.ports);
    let sites: Result<[SitePlan; COLUMNS], _> = sites.try_into();
    let (Ok(sites), true, Some(minor)) = (sites, mistakes.is_empty(), minor) else { return Err(Mistakes(mistakes)) };
    Ok(Description {
        name: raw.name,
        region: raw.region,
        domains: raw.domains,
        website_domains: raw.website_domains,
        user: raw.user,
        program: raw.program,
        tls,
        ports: raw.ports,
        etcd: EtcdPlan {
            minor: [4, 5, 6][minor],
            user: raw.etcd.user,
            program: raw.etcd.program,
            prefix: raw.etcd.prefix,
            quota_bytes: raw.etcd.quota_mib << 20,
            snapshot_count: raw.etcd.snapshot_count,
            heartbeat_ms: raw.etcd.heartbeat_ms,
            election_ms: raw.etcd.election_ms,
            cluster: raw.etcd.cluster,
        },
        sites,
        advice,
    })
}

fn tls(given: Option<&toml::Value>, mistakes: &mut Vec<String>) -> Option<TlsPaths> {
    match given {
        None => None,
        Some(toml::Value::String(word)) if word == "make" => None,
        Some(table @ toml::Value::Table(_)) => match table.clone().try_into::<TlsPaths>() {
            Ok(paths) => {
                for path in paths.all() {
                    if !is_path(path) {
                        mistakes.push(path_mistake("tls", path));
                    }
                }
                Some(paths)
            }
            Err(error) => {
                mistakes.push(format!("tls: {}", error.to_string().trim_end()));
                None
            }
        },
        Some(_) => {
            mistakes.push("tls: give \"make\", or a table with the paths of your own certificates".to_owned());
            None
        }
    }
}

impl TlsPaths {
    fn all(&self) -> [&Path; 12] {
        [
            &self.ca,
            &self.peer_ca,
            &self.gateway_cert,
            &self.gateway_key,
            &self.blob_cert,
            &self.blob_key,
            &self.etcd_cert,
            &self.etcd_key,
            &self.peer_cert,
            &self.peer_key,
            &self.client_cert,
            &self.client_key,
        ]
    }
}

fn site_plan(raw: &RawSite, all: &Raw, mistakes: &mut Vec<String>) -> Option<SitePlan> {
    let name = &raw.name;
    let before = mistakes.len();
    if !is_label(name) || TAKEN.contains(&name.as_str()) {
        mistakes.push(format!("site {name:?}: a name has 1 to 32 characters of a-z 0-9 -, and is not ca or compose"));
    }
    if all.site.iter().filter(|other| other.name == *name).count() > 1 {
        mistakes.push(format!("site {name}: its name is used twice"));
    }
    let mut host = |key: &str, text: &str| {
        let host = Host::parse(text);
        if host.is_none() {
            mistakes
                .push(format!("site {name}: {key}: {text:?} is no address and no name of a machine (without port)"));
        }
        host
    };
    let own = host("host", &raw.host);
    let mut role = |key: &str, given: &Option<String>| match given {
        Some(text) => host(key, text),
        None => own.clone(),
    };
    let (gateway, blob_host, etcd_host) = (
        role("addresses.gateway", &raw.addresses.gateway),
        role("addresses.blob", &raw.addresses.blob),
        role("addresses.etcd", &raw.addresses.etcd),
    );
    let admin = match &raw.addresses.admin {
        None => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(text) => text.parse().ok(),
    };
    if admin.is_none() {
        mistakes.push(format!("site {name}: addresses.admin is an IP address of the machine"));
    }
    for more in &raw.names {
        let bare = more.strip_prefix("*.").unwrap_or(more);
        if Host::parse(bare).is_none() {
            mistakes.push(format!("site {name}: names: {more:?} is no name and no address"));
        }
    }
    let blob = blob(raw, mistakes);
    let path = |key: &str, own: &Option<PathBuf>, shared: &Path, mistakes: &mut Vec<String>| {
        if let Some(path) = own.as_ref().filter(|path| !is_path(path)) {
            mistakes.push(path_mistake(&format!("site {name}: {key}"), path));
        }
        own.clone().unwrap_or_else(|| shared.to_owned())
    };
    let config_dir = path("config_dir", &raw.config_dir, &all.config_dir, mistakes);
    let data_dir = path("data_dir", &raw.data_dir, &all.data_dir, mistakes);
    let etcd_config_dir = path("etcd_config_dir", &raw.etcd_config_dir, &all.etcd.config_dir, mistakes);
    let etcd_data_dir = path("etcd_data_dir", &raw.etcd_data_dir, &all.etcd.data_dir, mistakes);
    let mut folders = vec![&config_dir, &data_dir, &etcd_config_dir, &etcd_data_dir];
    if let Some(Blob::Folder(folder)) = &blob {
        folders.push(folder);
    }
    for (index, folder) in folders.iter().enumerate() {
        if folders[..index].iter().any(|other| folder.starts_with(other) || other.starts_with(folder)) {
            mistakes.push(format!("site {name}: {} is, holds or lies in another of its folders", folder.display()));
        }
    }
    if mistakes.len() > before {
        return None;
    }
    Some(SitePlan {
        name: name.clone(),
        gateway: gateway?,
        blob_host: blob_host?,
        etcd_host: etcd_host?,
        admin: admin?,
        blob: blob?,
        names: raw.names.iter().map(|name| name.trim_matches(['[', ']']).to_owned()).collect(),
        config_dir,
        data_dir,
        etcd_config_dir,
        etcd_data_dir,
    })
}

fn blob(raw: &RawSite, mistakes: &mut Vec<String>) -> Option<Blob> {
    let name = &raw.name;
    if let Some(folder) = raw.blob.strip_prefix("folder:") {
        let path = PathBuf::from(folder);
        if !is_path(&path) || path.parent().is_none() {
            mistakes.push(path_mistake(&format!("site {name}: blob"), &path));
            return None;
        }
        if !raw.options.is_empty() {
            mistakes.push(format!("site {name}: options are for buckets, and its blob is a folder"));
        }
        return Some(Blob::Folder(path));
    }
    if !["s3://", "gs://", "az://"].iter().any(|scheme| raw.blob.starts_with(scheme)) {
        mistakes.push(format!(
            "site {name}: blob: give folder:/absolute/path, or the URL of a bucket as s3://bucket/prefix"
        ));
        return None;
    }
    for option in raw.options.keys() {
        if !OPEN_OPTIONS.iter().any(|open| option.ends_with(open)) {
            mistakes.push(format!(
                "site {name}: options: {option} is a secret, or not known not to be one; give {option}_file, or credentials_file"
            ));
        }
    }
    Some(Blob::Bucket { url: raw.blob.clone(), options: raw.options.clone() })
}

/// Two that would listen at one address, or write into one folder: sites that share a machine by mistake, or on purpose for a trial.
fn crowded(sites: &[SitePlan], ports: Ports, mistakes: &mut Vec<String>) {
    let mut taken: BTreeMap<(String, u16), String> = BTreeMap::new();
    let mut folders: BTreeMap<(String, PathBuf), String> = BTreeMap::new();
    for site in sites {
        let host = |host: &Host| host.bare().to_owned();
        // A loopback address is each machine's own.
        let admin = if site.admin.is_loopback() {
            format!("{} of {}", site.admin, site.gateway.bare())
        } else {
            site.admin.to_string()
        };
        for (address, port, role) in [
            (host(&site.gateway), ports.s3, "s3"),
            (host(&site.gateway), ports.kms, "kms"),
            (admin.clone(), ports.admin, "admin"),
            (admin.clone(), ports.metrics, "metrics"),
            (admin, ports.etcd_metrics, "etcd_metrics"),
            (host(&site.blob_host), ports.blob, "blob"),
            (host(&site.etcd_host), ports.etcd, "etcd"),
            (host(&site.etcd_host), ports.peer, "peer"),
        ] {
            let who = format!("{role} of site {}", site.name);
            if let Some(other) = taken.insert((address.clone(), port), who.clone()) {
                mistakes.push(format!("{who} and {other} are both at {address}, port {port}"));
            }
        }
        let mut own = vec![&site.config_dir, &site.data_dir, &site.etcd_config_dir, &site.etcd_data_dir];
        if let Blob::Folder(folder) = &site.blob {
            own.push(folder);
        }
        for folder in own {
            if let Some(other) = folders.insert((host(&site.gateway), folder.clone()), site.name.clone()) {
                mistakes.push(format!(
                    "sites {other} and {} share {} of {}",
                    site.name,
                    folder.display(),
                    site.gateway.bare()
                ));
            }
        }
    }
    let urls: Vec<_> = sites
        .iter()
        .filter_map(|site| match &site.blob {
            Blob::Bucket { url, options } => Some((url, options)),
            Blob::Folder(_) => None,
        })
        .collect();
    if urls.iter().collect::<BTreeSet<_>>().len() < urls.len() {
        mistakes.push("two sites have the same bucket with the same options".to_owned());
    }
}

/// What etcd's authors advise, in numbers.
fn advice(etcd: &RawEtcd, ports: &Ports) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(rtt_ms) = etcd.rtt_ms {
        let (heartbeat, election) = (rtt_ms.max(100), (rtt_ms * 5).max(heartbeat_floor(rtt_ms)));
        if etcd.heartbeat_ms < rtt_ms || etcd.election_ms < election {
            advice.push(format!(
                "etcd: sites that are {rtt_ms} ms apart want heartbeat_ms = {heartbeat} and election_ms = {election} at least, or \
                 leaders change for nothing"
            ));
        }
    }
    if etcd.election_ms > 5000 {
        advice.push("etcd.election_ms above 5000: after the loss of a leader writes wait that long".to_owned());
    }
    if ports.etcd != 2379 || ports.peer != 2380 {
        advice.push("etcd is not on its usual ports: mind firewalls and monitoring".to_owned());
    }
    advice
}

/// Ten heartbeats: fewer make elections of a lost packet.
fn heartbeat_floor(rtt_ms: u64) -> u64 {
    rtt_ms.max(100) * 10
}

fn path_mistake(key: &str, path: &Path) -> String {
    format!("{key}: {:?} is no absolute path of a-z A-Z 0-9 / . _ - without . and .. in it", path.display().to_string())
}

/// Paths go into units, scripts and YAML as they are, so nothing in them may mean something there.
fn is_path(path: &Path) -> bool {
    let Some(text) = path.to_str() else { return false };
    text.starts_with('/')
        && text.len() > 1
        && !text.ends_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
        && text[1..].split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_user(text: &str) -> bool {
    text.len() <= 32
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !numeric && text.split('.').all(label)
}
