//! `holdfast serve`: open, serve, wait, stop in reverse.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::Doors;
use base::limits::COLUMNS;
use keys::{RootFile, RootKey, SiteKey, SiteKeyFile};
use meta::Engine;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sites::{Pool, PoolOptions, SiteSpec};
use store::{EventOptions, IslandOptions, Options, RepairOptions, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::audit_log::{self, AuditLog};
use crate::cli::{LogFormat, ServeArgs};
use crate::command::root::{Opens, opens_any};
use crate::command::rotate;
use crate::config::{self, Config, Mistakes};
use crate::credentials::{self, Credentials, Source};
use crate::exit::{Exit, Failure, chain};
use crate::harden;
use crate::metadata::{self, Place};
use crate::scan::{self, Scanning};
use crate::seals::{self, RootSeals};

/// Memory for cached metadata pages.
const META_CACHE: usize = 64 << 20;
/// Time between two rounds of upkeep of the metrics.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Time that a stop waits for what is under way.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn serve(args: ServeArgs) -> Result<Exit, Failure> {
    log_to_stderr(args.log_format);
    ladder::Ladder::compiled()?;
    raise_open_files();
    harden::tell_keeping();
    let mut config = config::load(&args).map_err(mistaken)?;
    let doors = Doors::system();
    make_private_dir(&config.data_dir)?;
    let _lock = lock(&config.data_dir)?;
    let (root, source) = credentials::obtain(&config.data_dir.join("credentials"), doors.rng.as_ref())?;
    let stop = CancellationToken::new();
    let (store, audit, scanning) = open_store(&mut config, &doors, &root, &stop).await?;
    let recorder = PrometheusBuilder::new().install_recorder().map_err(|e| Failure::new(format!("metrics: {e}")))?;

    let s3_listener = s3::bind(config.listen).map_err(|e| cannot_listen(&e, "--listen"))?;
    let admin_listener = s3::bind(config.admin_listen).map_err(|e| cannot_listen(&e, "--admin-listen"))?;
    let kms_listener = s3::bind(config.kms_listen).map_err(|e| cannot_listen(&e, "--kms-listen"))?;
    let k8s_socket = config.k8s.as_ref().map(|(path, _)| k8s::Socket::bind(path)).transpose();
    let k8s_socket = k8s_socket.map_err(|e| Failure::new(chain(&e)).hint("give another path with --k8s-kms-socket"))?;
    let [s3_listener, admin_listener, kms_listener] =
        [s3_listener, admin_listener, kms_listener].map(|listener| listener.with_tls(config.tls.clone()));
    let s3_address = s3_listener.local_addr().map_err(Failure::io("the S3 listener"))?;
    let admin_address = admin_listener.local_addr().map_err(Failure::io("the admin listener"))?;
    let kms_address = kms_listener.local_addr().map_err(Failure::io("the KMS listener"))?;
    tokio::spawn(keep_up(recorder.clone(), stop.clone()));
    tokio::spawn(audit.clone().watch_disk(stop.clone()));
    match &config.tls {
        Some(tls) => drop(tokio::spawn(tls.clone().follow(stop.clone()))),
        None => warn_of_plain_keys(kms_address),
    }
    let s3_options = s3::S3Options {
        region: config.region.clone(),
        domains: config.domains.clone(),
        website_domains: config.website_domains.clone(),
    };
    let mut s3_server = tokio::spawn(s3::serve(s3_listener, store.clone(), s3_options, stop.clone()));
    let mut kms_server = tokio::spawn(kms::serve(kms_listener, store.clone(), config.region.clone(), stop.clone()));
    let mut k8s_server = match (k8s_socket, &config.k8s) {
        (Some(socket), Some((_, key))) => {
            let portions = store.portions().by("kubernetes");
            tokio::spawn(k8s::serve(socket, portions, key.clone(), stop.clone()))
        }
        // Nothing to serve, and nothing that ends.
        _ => tokio::spawn(std::future::pending()),
    };
    let keys = (root.access_key.clone(), root.secret_key.clone());
    let endpoint = admin::Judging { right_for: s3::right_for, circumstances: s3::circumstances };
    let mut admin_server =
        tokio::spawn(admin::serve(admin_listener, store.clone(), keys, recorder, endpoint, stop.clone()));
    let doors = scanning.as_ref().map(|scanning| scanning.told.as_slice()).unwrap_or_default();
    greet([s3_address, admin_address, kms_address], doors, &config, &root, source);

    let mut scanning = scanning;
    let door_ended = async {
        match &mut scanning {
            Some(scanning) => scanning.ended().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        () = told_to_stop() => None,
        ended = door_ended => Some(ended),
        () = store.outdated() => Some("the root key or the metadata changed while this gateway was out of reach: start it again".to_owned()),
        done = &mut s3_server => Some(format!("the S3 endpoint stopped: {done:?}")),
        done = &mut kms_server => Some(format!("the KMS endpoint stopped: {done:?}")),
        done = &mut k8s_server => Some(format!("the KMS plugin of Kubernetes stopped: {done:?}")),
        done = &mut admin_server => Some(format!("the admin API stopped: {done:?}")),
    };
    tracing::info!("stopping");
    stop.cancel();
    let wind_down = async {
        // It is the one that ended if there is an error to tell.
        if !s3_server.is_finished() {
            let _ = s3_server.await;
        }
        if !kms_server.is_finished() {
            let _ = kms_server.await;
        }
        if config.k8s.is_some() && !k8s_server.is_finished() {
            let _ = k8s_server.await;
        }
        store.shutdown().await;
        if let Some(scanning) = scanning {
            scanning.close().await;
        }
    };
    if tokio::time::timeout(STOP_WITHIN, wind_down).await.is_err() {
        tracing::warn!("some requests were still under way; nothing acknowledged is lost");
    }
    audit.close().await;
    ended.map_or(Ok(Exit::Ok), |error| Err(Failure::new(error)))
}

async fn open_store(
    config: &mut Config,
    doors: &Doors,
    root: &Credentials,
    stop: &CancellationToken,
) -> Result<(Store, Arc<AuditLog>, Option<Scanning>), Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::new(chain(error));
    let etcd = match &config.meta {
        Place::Embedded => None,
        Place::Etcd(options) => Some(metadata::etcd(options).await?),
    };
    // Before anything is made: what is there already has a root key somewhere.
    let first_start = match &etcd {
        None => !metadata::embedded_file(&config.data_dir).exists(),
        Some(etcd) => !metadata::has_cluster(etcd).await?,
    };
    let key_path = config.data_dir.join("root.key");
    if !first_start && !key_path.exists() {
        return Err(Failure::new(format!("the root key {} is missing", key_path.display())).hint(
            "restore it from your backup, or from shares with `holdfast key root recover`; \
                 without it no stored object can be opened",
        ));
    }
    rotate::none_under_way(&config.data_dir)?;
    let key_file = RootFile::new(key_path);
    let seals = config.seals.take().ok_or_else(|| Failure::new("what seals the root key was taken before"))?;
    let opened = open_root(&key_file, seals, doors)?;
    if first_start {
        make_site_folders(config)?;
    }
    let specs = open_sites(config).await?;
    let pool = Arc::new(Pool::new(specs, doors.clock.clone(), PoolOptions::default()));
    let meta: Arc<dyn Engine> = match etcd {
        None => metadata::open(&Place::Embedded, &config.data_dir, META_CACHE).await?,
        Some(etcd) => {
            tokio::spawn(etcd.clone().keep_up());
            Arc::new(etcd)
        }
    };
    metadata::whole(meta.as_ref()).await?;
    let root_key = follow(&config.data_dir, &key_file, opened, meta.as_ref()).await?;
    if meta.is_shared() {
        if opens_any(meta.as_ref(), &root_key).await.map_err(|error| failed(&error))? == Opens::No {
            let folder = config.data_dir.display();
            return Err(Failure::new(format!("the root key in {folder} opens nothing of what is in the metadata")).hint(
                "all gateways share one root key: copy root.key from a gateway that serves, or wrap it to this machine with \
                 `holdfast key root wrap`",
            ));
        }
        audit_log::name_gateway(&config.data_dir, &config.gateway)?;
    }
    let keyring = audit_log::keyring_of(&config.data_dir, &root_key)?;
    let audit = AuditLog::open(config.data_dir.join("audit"), &keyring).await?;
    let folder = config.data_dir.join("island");
    let island = IslandOptions { folder: folder.clone(), bytes_max: config.island_bytes };
    // What was taken before is told, whatever the configuration says by now.
    let island = (meta.is_shared() && config.island_bytes > 0 || folder.exists()).then_some(island);
    let scanning = match &config.scan {
        None => None,
        Some(args) => {
            let folder = scan::folder(&config.data_dir);
            make_private_dir(&folder)?;
            Some(scan::start(args, &folder, meta.clone(), stop)?)
        }
    };
    let options = Options {
        island,
        scanner: scanning.as_ref().map(|scanning| scanning.scanner.clone()),
        language: Arc::new(cedar::Cedar),
        auditor: Some(audit.clone()),
        keepers: Arc::new(seals::Customers),
        epochs: Some(config.sites.each_ref().map(|site| site.epochs.clone())),
        gateway: config.gateway.clone(),
        journal: config.journal,
        gc_grace_ms: config.collect_after_ms,
        rekey_bytes_per_s: config.rekey_bytes_per_s,
        repair: RepairOptions { bounds: config.repair, ..RepairOptions::default() },
        lifecycle_day: config.lifecycle_day,
        buffer_bytes: config.body_memory,
        read_cache_bytes: config.read_cache,
        events: EventOptions { region: config.region.clone(), targets: config.targets.clone() },
        ..Options::new(doors.clone())
    };
    let keys = (root.access_key.clone(), root.secret_key.clone());
    let store = Store::open(meta, pool, keyring, keys, options)
        .await
        .map_err(|e| failed(&e).hint("on the first start every site must answer; later any of them may be missing"))?;
    Ok((store, audit, scanning))
}

/// The root key, and this machine's site key where the root is wrapped to that.
struct Opened {
    root: RootKey,
    site: Option<SiteKey>,
}

/// With a token, a TPM or a passphrase a first start makes a sealed root key. One that is sealed otherwise is opened all the
/// same, so that what will seal it may be configured before. Passphrase and PIN are gone from memory afterwards: what can read it months
/// later should not find them.
fn open_root(file: &RootFile, seals: RootSeals, doors: &Doors) -> Result<Opened, Failure> {
    let sealing = file.sealing()?;
    if sealing.as_ref().is_some_and(seals::is_wrapped) {
        let beside = SiteKeyFile::beside(file);
        let site = seals::site_key(&beside, seals.of(beside.sealing()?.as_ref(), "site"))?;
        let root = file.open_or_make(&site.seal(), doors.rng.as_ref())?;
        return Ok(Opened { root, site: Some(site) });
    }
    let seal = seals.of(sealing.as_ref(), "root");
    Ok(Opened { root: file.open_or_make(seal, doors.rng.as_ref())?, site: None })
}

/// A site whose root key is of before a rotation takes the one that the rotation left for it in the metadata.
async fn follow(data_dir: &Path, file: &RootFile, opened: Opened, engine: &dyn Engine) -> Result<RootKey, Failure> {
    let Opened { root, site: Some(site) } = opened else { return Ok(opened.root) };
    let Some(next) = keys::inherited(engine, &root, &site.fingerprint()).await? else { return Ok(root) };
    let failed = |error: meta::MetaError| Failure::new(chain(&error));
    let Some(wrap) = next.wrap else {
        if opens_any(engine, &root).await.map_err(failed)? == Opens::No {
            return Err(Failure::new(format!(
                "there is another root key, {}, and the one here does not vouch for it: it is more than one rotation behind, or \
                 somebody else wrote it",
                next.root
            ))
            .hint("where the new root key is: `holdfast key root wrap`; and here: `holdfast key root accept --replace`"));
        }
        tracing::warn!(
            site = next.name,
            root = next.root,
            "the metadata has a wrap of another root key for this site, which is not taken: the one here does not vouch for it"
        );
        return Ok(root);
    };
    let seal = site.seal();
    let new = file.taken(&wrap, &seal)?;
    if opens_any(engine, &new).await.map_err(failed)? == Opens::No {
        return Err(Failure::new(format!("the root key {} that was left for this site opens nothing here", next.root))
            .hint("the metadata is a copy from the middle of a rotation, or damaged: copy it again"));
    }
    // As in a rotation: a start that is cut off between is done again by the next.
    let [old_ring, new_ring] = [&root, &new].map(|root| audit_log::keyring_of(data_dir, root));
    audit_log::hand_over(data_dir, &old_ring?, &new_ring?).await?;
    file.put(&wrap, &seal, true)?;
    tracing::info!(
        site = next.name,
        root = next.root,
        "the root key was rotated: this site took the wrap that was left for it, and its root.key is of the new root key"
    );
    Ok(new)
}

/// Samples of histograms are kept one by one until they are read: without this they would pile up
/// on a server that nobody scrapes.
pub(crate) async fn keep_up(recorder: PrometheusHandle, stop: CancellationToken) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {
                recorder.run_upkeep();
                harden::gauge();
            }
            () = stop.cancelled() => return,
        }
    }
}

/// Opens the five at once: a folder reads its indexes, which takes a while on a cold disk.
async fn open_sites(config: &Config) -> Result<[SiteSpec; COLUMNS], Failure> {
    let opening = config.sites.iter().cloned().map(|site| {
        tokio::task::spawn_blocking(move || {
            let opened = sites::open(&site.url, &site.options).map_err(|error| Failure::new(chain(&error)))?;
            Ok::<_, Failure>(SiteSpec { name: site.name, url: site.url, site: opened })
        })
    });
    let mut specs = Vec::with_capacity(COLUMNS);
    for opened in futures::future::join_all(opening).await {
        specs.push(opened.map_err(|error| Failure::new(format!("opening a site: {error}")))??);
    }
    specs.try_into().map_err(|_| Failure::new("there must be five sites"))
}

/// Sockets and site files need more descriptors than the soft limit that shells hand down.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(errno) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%errno, "the limit on open files stays as it is");
    }
}

/// The first start makes the folders of `file://` sites. Never again: a folder that is missing
/// later is a lost site, not one to be made up.
fn make_site_folders(config: &Config) -> Result<(), Failure> {
    for site in &config.sites {
        if let Ok(url) = url::Url::parse(&site.url)
            && url.scheme() == "file"
            && let Ok(path) = url.to_file_path()
        {
            make_private_dir(&path)?;
        }
    }
    Ok(())
}

pub(crate) fn make_private_dir(path: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Failure::io(format!("directory {}", path.display())))
}

/// Plaintexts and data keys are what the KMS API is for.
fn warn_of_plain_keys(kms: SocketAddr) {
    if !kms.ip().is_loopback() {
        tracing::warn!(%kms, "the KMS listener is reachable without TLS: keys pass it in clear; give --tls-cert and --tls-key");
    }
}

/// Held until the process ends: two servers on one data directory would destroy it.
pub(crate) fn lock(data_dir: &Path) -> Result<std::fs::File, Failure> {
    let path = data_dir.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Failure::io(format!("lock file {}", path.display())))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::new(format!("another holdfast serves {}", data_dir.display()))
            .hint("stop it, or give this one another --data-dir")
    })?;
    Ok(file)
}

fn mistaken(mistakes: Mistakes) -> Failure {
    Failure::from(mistakes).hint("`holdfast config example` prints a commented one")
}

fn cannot_listen(error: &s3::ServeError, flag: &str) -> Failure {
    Failure::new(chain(error)).hint(format!("give another address with {flag}"))
}

pub(crate) async fn told_to_stop() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

pub(crate) fn log_to_stderr(format: LogFormat) {
    // `s3s` logs each refused request as an error of its own, some with the whole document; the
    // metrics count them. Who wants to see them names the target.
    let asked = std::env::var("HOLDFAST_LOG").ok().filter(|asked| !asked.trim().is_empty());
    let asked = asked.unwrap_or_else(|| "info".to_owned());
    let words = if asked.contains("s3s") { asked } else { format!("{asked},s3s=off") };
    let filter = EnvFilter::try_new(&words).unwrap_or_else(|_| EnvFilter::new("info,s3s=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process is refused; the first one stays.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// What to paste next. A closed pipe is no error.
fn greet(
    [s3, admin, kms]: [SocketAddr; 3],
    doors: &[(&'static str, String)],
    config: &Config,
    root: &Credentials,
    source: Source,
) {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let (access, secret) = (&root.access_key, &root.secret_key);
    let region = &config.region;
    let (access, secret, origin) = match source {
        // What is no terminal is a log, and logs are read by many.
        Source::File if !std::io::stdout().is_terminal() => {
            let file = config.data_dir.join("credentials").display().to_string();
            (access.as_str(), "$HOLDFAST_SECRET_KEY", format!("{file} (mode 0600), which has the secret key"))
        }
        Source::File => (access.as_str(), secret.as_str(), config.data_dir.join("credentials").display().to_string()),
        Source::Environment => ("$HOLDFAST_ACCESS_KEY", "$HOLDFAST_SECRET_KEY", "the environment".to_owned()),
    };
    let k8s = config.k8s.as_ref().map(|(socket, key)| {
        format!("Kubernetes (KMS v2)\n  endpoint: unix://{}   # sealed under {key}\n\n", socket.display())
    });
    let doors: String = doors.iter().map(|(name, at)| format!("  {name:8} {at}\n")).collect();
    let text = format!(
        "Holdfast {version} is serving {data}

  S3       {scheme}://{s3}
  admin    {scheme}://{admin}   (metrics at /metrics)
  KMS      {scheme}://{kms}   (aws --endpoint-url {scheme}://{kms} kms ...)
{doors}  keys     {access}  {secret}
           from {origin}

aws CLI
  export AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret}
  export AWS_DEFAULT_REGION={region} AWS_ENDPOINT_URL={scheme}://{s3}
  aws s3 mb s3://first && aws s3 cp README.md s3://first/
  (before aws CLI 2.13 or 1.29: aws --endpoint-url {scheme}://{s3} s3 ...)

boto3
  boto3.client(\"s3\", endpoint_url=\"{scheme}://{s3}\", region_name=\"{region}\",
               aws_access_key_id=\"{access}\", aws_secret_access_key=\"{secret}\")

rclone
  rclone config create holdfast s3 provider=Other endpoint={scheme}://{s3} region={region} \\
      access_key_id={access} secret_access_key={secret}

{k8s}next: holdfast status
",
        version = env!("CARGO_PKG_VERSION"),
        data = config.data_dir.display(),
        k8s = k8s.unwrap_or_default(),
    );
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
