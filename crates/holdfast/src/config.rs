//! Configuration: what the file says, then what it means. All mistakes are reported at once.

mod notify;
mod repair;
mod scan;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base::limits::COLUMNS;
use listener::Tls;
use serde::Deserialize;
use store::{RepairBounds, TargetOptions};

use crate::cli::scan::DoorArgs;
use crate::cli::{K8sArgs, PassphraseArgs, ServeArgs, TlsArgs, TokenArgs, TpmArgs};
use crate::credentials::{self, Credentials};
use crate::exit::{Failure, chain};
use crate::metadata::Place;
use crate::passphrase;
use crate::seals::{self, RootSeals};

const DEFAULT_DATA_DIR: &str = "./holdfast-data";
/// Names of the sites that `serve` makes without a configuration.
const DEFAULT_SITES: [&str; COLUMNS] = ["dc1", "dc2", "dc3", "dc4", "dc5"];
/// Where the epoch keys of sites lie that say no other place: below the data directory.
const EPOCHS_DIR: &str = "epochs";
/// Memory for what was read lately, unless the file says otherwise, MiB.
const READ_CACHE_MIB: u32 = 128;
/// An option that ends in this names a file that holds the value.
const FROM_FILE: &str = "_file";
/// An option that names a file with an access key and its secret.
const CREDENTIALS_FILE: &str = "credentials_file";
/// An option that names a file with certificates, which are no secrets.
const CA_CERTIFICATE_FILE: &str = "ca_certificate_file";

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    data_dir: Option<PathBuf>,
    meta: Option<String>,
    #[serde(default)]
    meta_options: BTreeMap<String, String>,
    listen: Option<String>,
    admin_listen: Option<String>,
    kms_listen: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    k8s_kms_socket: Option<PathBuf>,
    k8s_kms_key: Option<String>,
    gateway: Option<String>,
    meta_journal: Option<bool>,
    region: Option<String>,
    domains: Option<Vec<String>>,
    website_domains: Option<Vec<String>>,
    root_passphrase_file: Option<PathBuf>,
    root_pkcs11: Option<RawToken>,
    root_tpm: Option<RawTpm>,
    body_memory_mib: Option<u32>,
    read_cache_mib: Option<u32>,
    collect_after_s: Option<u64>,
    rekey_mib_per_s: Option<u32>,
    island_max_mib: Option<u64>,
    #[serde(default)]
    repair: repair::RawRepair,
    lifecycle_day_s: Option<u64>,
    scan: Option<scan::RawScan>,
    #[serde(default)]
    site: Vec<RawSite>,
    #[serde(default)]
    notify: BTreeMap<String, notify::RawTarget>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    name: String,
    url: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    epochs: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    module: PathBuf,
    token: String,
    key: String,
    pin_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTpm {
    pcrs: Option<String>,
    tcti: Option<String>,
}

/// The configuration as it counts.
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Which engine keeps the metadata.
    pub(crate) meta: Place,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) kms_listen: SocketAddr,
    /// What the listeners' connections begin with.
    pub(crate) tls: Option<Tls>,
    /// Kubernetes' socket, and the key for it.
    pub(crate) k8s: Option<(PathBuf, String)>,
    /// Whether what is committed is told at the sites.
    pub(crate) journal: bool,
    /// What this process is called among those that serve the same metadata.
    pub(crate) gateway: String,
    pub(crate) region: String,
    /// Domains that have buckets as subdomains.
    pub(crate) domains: Vec<String>,
    /// Domains that have the websites of buckets as subdomains.
    pub(crate) website_domains: Vec<String>,
    /// What opens the root key: taken, and gone when it is open.
    pub(crate) seals: Option<RootSeals>,
    /// Bytes.
    pub(crate) body_memory: usize,
    /// Bytes; 0: nothing that was read is kept.
    pub(crate) read_cache: u64,
    pub(crate) collect_after_ms: u64,
    /// Most bytes that rekeys seal anew in a second.
    pub(crate) rekey_bytes_per_s: Option<NonZeroU64>,
    /// Bytes that may be taken while this gateway is cut off; 0: nothing is.
    pub(crate) island_bytes: u64,
    /// How fast repair may go.
    pub(crate) repair: RepairBounds,
    pub(crate) lifecycle_day: lifecycle::Day,
    pub(crate) sites: [SiteConfig; COLUMNS],
    /// The scan service of this process.
    pub(crate) scan: Option<DoorArgs>,
    /// Where events go.
    pub(crate) targets: Vec<TargetOptions>,
}

/// A site as configured.
#[derive(Clone)]
pub(crate) struct SiteConfig {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) options: BTreeMap<String, String>,
    /// The file of the site's epoch keys.
    pub(crate) epochs: PathBuf,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<String>);

impl From<Mistakes> for Failure {
    fn from(Mistakes(mistakes): Mistakes) -> Self {
        Self::usage(format!("the configuration has {} mistake(s):\n  {}", mistakes.len(), mistakes.join("\n  ")))
    }
}

/// A commented example.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// The command line over the file over the defaults.
pub(crate) fn load(args: &ServeArgs) -> Result<Config, Mistakes> {
    let raw = match &args.config {
        None => Raw::default(),
        Some(path) => read(path)?,
    };
    check(raw, args)
}

/// Checks a file by itself.
pub(crate) fn check_file(path: &Path) -> Result<Config, Mistakes> {
    let args = ServeArgs {
        data_dir: None,
        listen: None,
        admin_listen: None,
        kms_listen: None,
        config: None,
        tls: TlsArgs::default(),
        k8s: K8sArgs::default(),
        passphrase: PassphraseArgs::default(),
        log_format: crate::cli::LogFormat::Text,
    };
    check(read(path)?, &args)
}

/// The sites that a file names, or those that are there without one.
pub(crate) fn sites_of(path: Option<&Path>, data_dir: &Path) -> Result<[SiteConfig; COLUMNS], Mistakes> {
    let raw = path.map(read).transpose()?.unwrap_or_default();
    let mut mistakes = Vec::new();
    let found = sites(raw.site, data_dir, &mut mistakes);
    found.filter(|_| mistakes.is_empty()).ok_or(Mistakes(mistakes))
}

/// What a file says of the data directory and the metadata; the rest of it is not looked at.
pub(crate) fn installation(path: &Path) -> Result<(Option<PathBuf>, Place), Mistakes> {
    let raw = read(path)?;
    let place = Place::parse(raw.meta.as_deref(), &raw.meta_options).map_err(Mistakes)?;
    Ok((raw.data_dir, place))
}

fn read(path: &Path) -> Result<Raw, Mistakes> {
    let named = |error: &dyn std::fmt::Display| Mistakes(vec![format!("{}: {error}", path.display())]);
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    toml::from_str(&text).map_err(|error| named(&error))
}

fn check(raw: Raw, args: &ServeArgs) -> Result<Config, Mistakes> {
    let mut mistakes = Vec::new();
    let data_dir = args.data_dir.clone().or(raw.data_dir).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let listen = address(&mut mistakes, "listen", args.listen, raw.listen.as_deref(), "127.0.0.1:9000");
    let admin_listen =
        address(&mut mistakes, "admin_listen", args.admin_listen, raw.admin_listen.as_deref(), "127.0.0.1:9001");
    let kms_listen = address(&mut mistakes, "kms_listen", args.kms_listen, raw.kms_listen.as_deref(), "127.0.0.1:9002");
    let doors = [("listen", listen), ("admin_listen", admin_listen), ("kms_listen", kms_listen)];
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        if doors[a].1 == doors[b].1 && doors[a].1.is_some_and(|address| address.port() != 0) {
            mistakes.push(format!("{} and {} are the same address", doors[a].0, doors[b].0));
        }
    }
    let meta = Place::parse(raw.meta.as_deref(), &raw.meta_options).map_err(|wrong| mistakes.extend(wrong)).ok();
    let tls = tls(&mut mistakes, &args.tls, raw.tls_cert, raw.tls_key);
    let k8s = k8s(&mut mistakes, &args.k8s, raw.k8s_kms_socket, raw.k8s_kms_key);
    let region = raw.region.unwrap_or_else(|| "us-east-1".to_owned());
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        mistakes.push(format!("region: {region:?} is not a region name like us-east-1"));
    }
    let gateway = raw.gateway.unwrap_or_else(hostname);
    if !keys::is_site_name(&gateway) {
        mistakes.push("gateway: a name has 1 to 32 characters of a-z 0-9 -".to_owned());
    }
    let domains = domains_of(&mut mistakes, "domains", raw.domains, "localhost");
    let website_domains = domains_of(&mut mistakes, "website_domains", raw.website_domains, "web.localhost");
    // The command line and the environment over the file.
    let given = match passphrase::given(&args.passphrase) {
        Ok(None) => raw.root_passphrase_file.as_deref().map(passphrase::from_file).transpose(),
        given => given,
    };
    let passphrase = given.unwrap_or_else(|failure| {
        mistakes.push(failure.error);
        None
    });
    let token = seals::token(&token_args(&args.passphrase.token, raw.root_pkcs11)).unwrap_or_else(|failure| {
        mistakes.push(failure.error);
        None
    });
    let tpm_args = tpm_args(&args.passphrase.tpm, raw.root_tpm);
    if token.is_some() && tpm_args.tpm {
        mistakes.push("there are both root_pkcs11 and root_tpm: the root key is sealed by one of them".to_owned());
    }
    let tpm = seals::tpm(&tpm_args).map_err(|failure| mistakes.push(failure.error)).ok();
    let body_memory_mib = raw.body_memory_mib.unwrap_or(112);
    if !(32..=65_536).contains(&body_memory_mib) {
        mistakes.push(format!("body_memory_mib: {body_memory_mib} is not between 32 and 65536"));
    }
    // On one machine the sites are folders, and what is read often is in the kernel's memory already.
    let is_embedded = matches!(meta, Some(Place::Embedded));
    let read_cache_mib = raw.read_cache_mib.unwrap_or(if is_embedded { 0 } else { READ_CACHE_MIB });
    if read_cache_mib > 65_536 {
        mistakes.push(format!("read_cache_mib: {read_cache_mib} is more than 65536"));
    }
    let collect_after_s = raw.collect_after_s.unwrap_or(60);
    if collect_after_s == 0 {
        // Readers and writers hold what they use; this time is for what they are about to hold.
        mistakes.push("collect_after_s: 0 is too short; the least is 1".to_owned());
    }
    let rekey_bytes_per_s = raw.rekey_mib_per_s.map(|mib| NonZeroU64::new(u64::from(mib) << 20));
    if rekey_bytes_per_s == Some(None) {
        mistakes.push("rekey_mib_per_s: 0 would end no rekey; leave it out for as fast as it goes".to_owned());
    }
    let repair = repair::bounds(&raw.repair, &mut mistakes);
    let scan = raw.scan.map(|raw| scan::doors(raw, &mut mistakes));
    let sites = sites(raw.site, &data_dir, &mut mistakes);
    let targets = notify::targets(raw.notify, &mut mistakes);
    let (Some(listen), Some(admin_listen), Some(kms_listen), Some(sites), Some(tpm), Some(meta)) =
        (listen, admin_listen, kms_listen, sites, tpm, meta)
    else {
        return Err(Mistakes(mistakes));
    };
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    Ok(Config {
        data_dir,
        meta,
        listen,
        admin_listen,
        kms_listen,
        tls,
        k8s,
        journal: raw.meta_journal.unwrap_or(true),
        gateway,
        region,
        domains,
        website_domains,
        seals: Some(RootSeals { passphrase, token, tpm, tpm_seals: tpm_args.tpm }),
        body_memory: body_memory_mib as usize * 1024 * 1024,
        read_cache: u64::from(read_cache_mib) * 1024 * 1024,
        lifecycle_day: raw
            .lifecycle_day_s
            .and_then(|seconds| std::num::NonZeroU64::new(seconds.saturating_mul(1000)))
            .map_or(lifecycle::Day::UTC, lifecycle::Day::of_ms),
        collect_after_ms: collect_after_s.saturating_mul(1000),
        rekey_bytes_per_s: rekey_bytes_per_s.flatten(),
        island_bytes: raw.island_max_mib.unwrap_or(10_240).saturating_mul(1 << 20),
        repair,
        scan,
        sites,
        targets,
    })
}

/// The first label of the machine's name, as far as that is a name here.
fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let label: String =
        name.chars().take_while(|c| *c != '.').filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let label: String = label.trim_start_matches('-').chars().take(keys::SITE_NAME_MAX).collect();
    if label.is_empty() { "gateway".to_owned() } else { label }
}

/// Opened here, so that what is wrong with the files is told with all else that is wrong.
fn tls(mistakes: &mut Vec<String>, typed: &TlsArgs, cert: Option<PathBuf>, key: Option<PathBuf>) -> Option<Tls> {
    let (cert, key) =
        if typed.tls_cert.is_some() { (typed.tls_cert.clone(), typed.tls_key.clone()) } else { (cert, key) };
    let opened = match (cert, key) {
        (None, None) => return None,
        (Some(cert), Some(key)) => Tls::open(&cert, &key).map_err(|error| chain(&error)),
        (Some(_), None) => Err("there is tls_cert, and no tls_key".to_owned()),
        (None, Some(_)) => Err("there is tls_key, and no tls_cert".to_owned()),
    };
    opened.map_err(|mistake| mistakes.push(mistake)).ok()
}

/// Where kube-apiserver comes, and the key for it.
fn k8s(
    mistakes: &mut Vec<String>,
    typed: &K8sArgs,
    socket: Option<PathBuf>,
    key: Option<String>,
) -> Option<(PathBuf, String)> {
    let typed_one = typed.k8s_kms_socket.is_some();
    let (socket, key) =
        if typed_one { (typed.k8s_kms_socket.clone(), typed.k8s_kms_key.clone()) } else { (socket, key) };
    let mistake = match (socket, key) {
        (None, None) => return None,
        (Some(_), None) => "there is k8s_kms_socket, and no k8s_kms_key".to_owned(),
        (None, Some(_)) => "there is k8s_kms_key, and no k8s_kms_socket".to_owned(),
        (_, Some(key)) if key.is_empty() => {
            "k8s_kms_key: it is empty; give a key's id, a portion's name, or alias/NAME".to_owned()
        }
        (Some(socket), _) if socket.as_os_str().len() > k8s::PATH_MAX => {
            format!("k8s_kms_socket: {} has more than {} bytes", socket.display(), k8s::PATH_MAX)
        }
        (Some(socket), Some(key)) => return Some((socket, key)),
    };
    mistakes.push(mistake);
    None
}

/// The command line and the environment over the file.
fn token_args(given: &TokenArgs, raw: Option<RawToken>) -> TokenArgs {
    let mut args = given.clone();
    if let Some(RawToken { module, token, key, pin_file }) = raw {
        args.pkcs11_module.get_or_insert(module);
        args.pkcs11_token.get_or_insert(token);
        args.pkcs11_key.get_or_insert(key);
        args.pkcs11_pin_file = args.pkcs11_pin_file.or(pin_file);
    }
    args
}

/// The command line and the environment over the file.
fn tpm_args(given: &TpmArgs, raw: Option<RawTpm>) -> TpmArgs {
    let mut args = given.clone();
    if let Some(RawTpm { pcrs, tcti }) = raw {
        args.tpm = true;
        args.tpm_pcrs = args.tpm_pcrs.or(pcrs);
        args.tpm_tcti = args.tpm_tcti.or(tcti);
    }
    args
}

/// Names below which buckets are found: without port, in lower case.
fn domains_of(mistakes: &mut Vec<String>, name: &str, given: Option<Vec<String>>, default: &str) -> Vec<String> {
    let given = given.unwrap_or_else(|| vec![default.to_owned()]);
    for domain in &given {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !domain.split('.').all(label) {
            mistakes.push(format!("{name}: {domain:?} is not a domain like s3.example.com (lower case, no port)"));
        }
    }
    given
}

fn address(
    mistakes: &mut Vec<String>,
    name: &str,
    typed: Option<SocketAddr>,
    written: Option<&str>,
    default: &str,
) -> Option<SocketAddr> {
    if typed.is_some() {
        return typed;
    }
    let text = written.unwrap_or(default);
    let parsed = text.parse().ok();
    if parsed.is_none() {
        mistakes.push(format!("{name}: {text:?} is not an address like {default}"));
    }
    parsed
}

fn sites(raw: Vec<RawSite>, data_dir: &Path, mistakes: &mut Vec<String>) -> Option<[SiteConfig; COLUMNS]> {
    if raw.is_empty() {
        return default_sites(data_dir, mistakes);
    }
    if raw.len() != COLUMNS {
        mistakes.push(format!("{} sites are configured; there must be exactly {COLUMNS} [[site]] tables", raw.len()));
    }
    let mut checked: Vec<SiteConfig> = Vec::new();
    for mut site in raw {
        if !is_name(&site.name) {
            mistakes.push(format!("site {:?}: a name has 1 to 32 characters of a-z 0-9 -", site.name));
        }
        let again = |text: &str, what: &str| format!("site {}: its {what} {text:?} is used twice", site.name);
        if checked.iter().any(|other| other.name == site.name) {
            mistakes.push(again(&site.name, "name"));
        }
        // The same bucket behind two endpoints is two places.
        if checked.iter().any(|other| other.url == site.url && other.options == site.options) {
            mistakes.push(again(&site.url, "url"));
        }
        resolve_files(&mut site, mistakes);
        if let Err(error) = sites_open(&site) {
            mistakes.push(error);
        }
        let epochs = site.epochs.unwrap_or_else(|| data_dir.join(EPOCHS_DIR)).join(&site.name);
        checked.push(SiteConfig { name: site.name, url: site.url, options: site.options, epochs });
    }
    checked.try_into().ok()
}

fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 32 && name.chars().all(fine)
}

/// Opens and drops a site that is not a folder, to find what is wrong with its options. Folders
/// are checked when they are used: opening one takes its lock.
fn sites_open(site: &RawSite) -> Result<(), String> {
    if let Some(path) = site.url.strip_prefix("file://") {
        return if path.starts_with('/') {
            Ok(())
        } else {
            Err(format!("site {}: write file:///absolute/path, with three slashes", site.name))
        };
    }
    sites::open(&site.url, &site.options).map(drop).map_err(|error| error.to_string())
}

/// `secret_access_key_file = "/path"` becomes `secret_access_key = <what the file holds>`. Options
/// that end in `token_file` are the object store's own: it reads such a file again and again. `credentials_file` names one that
/// `site serve` made, or a copy.
fn resolve_files(site: &mut RawSite, mistakes: &mut Vec<String>) {
    let ours = |name: &&String| name.ends_with(FROM_FILE) && !name.ends_with("token_file");
    let files: Vec<String> = site.options.keys().filter(ours).cloned().collect();
    for name in files {
        let path = site.options.remove(&name).unwrap_or_default();
        if name == CREDENTIALS_FILE {
            match credentials::from_file(Path::new(&path)) {
                Ok(Some(Credentials { access_key, secret_key })) => {
                    site.options.insert("access_key_id".to_owned(), access_key);
                    site.options.insert("secret_access_key".to_owned(), secret_key);
                }
                Ok(None) => mistakes.push(format!("site {}: {name}: {path} is not there", site.name)),
                Err(failure) => mistakes.push(format!("site {}: {}", site.name, failure.error)),
            }
            continue;
        }
        if name == CA_CERTIFICATE_FILE {
            match std::fs::read_to_string(&path) {
                Ok(value) => drop(site.options.insert(name.trim_end_matches(FROM_FILE).to_owned(), value)),
                Err(error) => mistakes.push(format!("site {}: {name}: {path}: {error}", site.name)),
            }
            continue;
        }
        match secret_file(Path::new(&path)) {
            Ok(value) => drop(site.options.insert(name.trim_end_matches(FROM_FILE).to_owned(), value)),
            Err(error) => mistakes.push(format!("site {}: {name}: {path}: {error}", site.name)),
        }
    }
}

fn secret_file(path: &Path) -> Result<String, String> {
    let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("open to others (mode {mode:o}); run: chmod 600 {}", path.display()));
    }
    Ok(std::fs::read_to_string(path).map_err(|error| error.to_string())?.trim_end().to_owned())
}

fn default_sites(data_dir: &Path, mistakes: &mut Vec<String>) -> Option<[SiteConfig; COLUMNS]> {
    let root = std::path::absolute(data_dir).ok()?.join("sites");
    let sites = DEFAULT_SITES.map(|name| {
        let url = url::Url::from_file_path(root.join(name)).map(String::from).unwrap_or_default();
        let epochs = data_dir.join(EPOCHS_DIR).join(name);
        SiteConfig { name: name.to_owned(), url, options: BTreeMap::new(), epochs }
    });
    if sites.iter().any(|site| site.url.is_empty()) {
        mistakes.push(format!("data_dir: {} cannot be written as a file URL", data_dir.display()));
    }
    Some(sites)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Config, Mistakes> {
        let args = ServeArgs {
            data_dir: None,
            listen: None,
            admin_listen: None,
            kms_listen: None,
            config: None,
            tls: TlsArgs::default(),
            k8s: K8sArgs::default(),
            passphrase: PassphraseArgs::default(),
            log_format: crate::cli::LogFormat::Text,
        };
        check(toml::from_str(text).map_err(|e| Mistakes(vec![e.to_string()]))?, &args)
    }

    fn five(change: impl Fn(usize) -> String) -> String {
        (0..5).map(change).collect()
    }

    fn site(name: &str, url: &str) -> String {
        format!("[[site]]\nname = {name:?}\nurl = {url:?}\n")
    }

    #[test]
    fn nothing_is_a_configuration() {
        let config = checked("").unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(config.sites.each_ref().map(|site| site.name.as_str()), DEFAULT_SITES);
        assert!(config.sites.iter().all(|site| site.url.starts_with("file:///")));
    }

    #[test]
    fn the_example_is_a_configuration() {
        assert!(checked(EXAMPLE).is_ok(), "{:?}", checked(EXAMPLE).err());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = format!(
            "listen = \"here\"\nregion = \"Über\"\ndomains = [\"x:80\"]\nbody_memory_mib = 1\n{}",
            five(|i| site(["a", "a", "B", "c", "d"][i], &format!("file:///{}", i.max(1))))
        );
        let Err(Mistakes(mistakes)) = checked(&text) else { panic!("accepted") };
        for word in ["listen", "region", "domains: \"x:80\"", "body_memory_mib", "name \"a\"", "\"B\"", "file:///1"] {
            assert!(mistakes.iter().any(|mistake| mistake.contains(word)), "{word} in {mistakes:#?}");
        }
    }

    /// What `site serve` made, or a copy, is all that a site of it needs.
    #[test]
    fn files_of_options() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dc0.credentials");
        std::fs::write(&path, "access_key = \"AK\"\nsecret_key = \"hushhush\"\n").unwrap();
        let text = five(|i| {
            let site = format!("[[site]]\nname = \"s{i}\"\nurl = \"s3://site/{i}\"\n[site.options]\n");
            site + &format!("endpoint = \"https://h{i}:9100\"\ncredentials_file = {path:?}\n")
        });
        let Err(Mistakes(mistakes)) = checked(&text) else { panic!("open to others, and taken") };
        assert!(mistakes.iter().all(|mistake| mistake.contains("is open to others")), "{mistakes:?}");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let Ok(config) = checked(&text) else { panic!("not taken") };
        let option = |name: &str| config.sites[0].options.get(name).map(String::as_str);
        assert_eq!((option("access_key_id"), option("secret_access_key")), (Some("AK"), Some("hushhush")));
        assert_eq!(option("credentials_file"), None);
        for missing in ["credentials_file", "ca_certificate_file"] {
            let text = text.replace("credentials_file", missing).replace("dc0", "none");
            let Err(Mistakes(mistakes)) = checked(&text) else { panic!("{missing} is not there, and taken") };
            assert!(mistakes.iter().any(|mistake| mistake.contains(missing)), "{mistakes:?}");
        }
    }

    #[test]
    fn single_mistakes() {
        let table = [
            ("[notify.a]\nkind = \"nats\"\nurl = \"nats://h\"\ntopic = \"x\"".to_owned(), "unknown field"),
            ("datadir = \"x\"".to_owned(), "unknown field"),
            ("gateway = \"Über\"".to_owned(), "gateway: a name has"),
            ("root_passphrase_file = \"/nonexistent\"".to_owned(), "passphrase file /nonexistent"),
            ("[root_pkcs11]\nmodule = \"m\"\ntoken = \"t\"".to_owned(), "missing field `key`"),
            ("[root_tpm]\npcrs = \"sha256:99\"".to_owned(), "names no registers of a TPM"),
            ("[root_tpm]\nregisters = \"sha256:7\"".to_owned(), "unknown field `registers`"),
            (
                "[root_pkcs11]\nmodule = \"m\"\ntoken = \"t\"\nkey = \"k\"\npin_file = \"/nonexistent\"".to_owned(),
                "PIN file /nonexistent",
            ),
            (site("a", "file:///a"), "exactly 5"),
            ("[repair]\nmax_mib_per_s = 0".to_owned(), "repair: max_mib_per_s: 0 would end no repair"),
            ("[repair]\nshare_percent = 0".to_owned(), "repair: share_percent: 0 is not between 1 and 1000"),
            ("[repair]\nshare_percent = 200".to_owned(), "repair: urgent_percent: 100 is less than share_percent"),
            ("repair = { mib_per_s = 1 }".to_owned(), "unknown field"),
            (five(|i| site(&format!("s{i}"), &format!("ftp://h/{i}"))), "unknown scheme ftp"),
            (five(|i| site(&format!("s{i}"), &format!("file://{i}"))), "three slashes"),
            ("listen = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:1\"".to_owned(), "same address"),
            ("tls_cert = \"/x\"".to_owned(), "no tls_key"),
            ("tls_key = \"/x\"".to_owned(), "no tls_cert"),
            ("k8s_kms_socket = \"/x\"".to_owned(), "no k8s_kms_key"),
            ("k8s_kms_key = \"x\"".to_owned(), "no k8s_kms_socket"),
            ("k8s_kms_socket = \"/x\"\nk8s_kms_key = \"\"".to_owned(), "it is empty"),
            (
                format!("k8s_kms_socket = \"/{}\"\nk8s_kms_key = \"x\"", "x".repeat(k8s::PATH_MAX)),
                "has more than 103 bytes",
            ),
            (
                "tls_cert = \"/nonexistent.crt\"\ntls_key = \"/nonexistent.key\"".to_owned(),
                "the TLS certificate /nonexistent.crt cannot be read: No such file",
            ),
            ("kms_listen = \"127.0.0.1:9001\"".to_owned(), "admin_listen and kms_listen are the same address"),
        ];
        for (text, expected) in table {
            let Err(Mistakes(mistakes)) = checked(&text) else { panic!("accepted: {text}") };
            assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{expected} in {mistakes:?}");
        }
    }
}
