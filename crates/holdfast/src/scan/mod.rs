//! The scan service of this process: its engines, its doors, and how the command line reaches it.

pub(crate) mod control;
pub(crate) mod serve;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, SystemClock};
use listener::{LocalSocket, ServeError};
use scan::{Clamav, ClamavOptions, Hunt, Options, Scanner, Yara};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::scan::{ClamdIncomplete, DoorArgs, IcapIncomplete, IcapUnavailable};
use crate::exit::{Failure, chain};

/// Where Debian's freshclam puts what it fetches.
const FRESHCLAM: &str = "/var/lib/clamav";
/// Who asks at a door that does not ask who it is.
const TENANT: &str = "default";

/// Between two times that old verdicts are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Between two times that gauges are set.
const GAUGE_EVERY: Duration = Duration::from_secs(5);

/// A scan service that runs.
pub(crate) struct Scanning {
    pub(crate) scanner: Scanner,
    clamav: Arc<Clamav>,
    doors: JoinSet<Result<(), ServeError>>,
    /// What each door is called, and where it is.
    pub(crate) told: Vec<(&'static str, String)>,
}

/// The folder of a service whose data are in `data_dir`.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("scan")
}

/// As many scans at once are no use to any machine.
const SLOTS_MAX: usize = 256;

/// Starts engines and opens doors, until `stop`. The folder must be there.
pub(crate) fn start(
    args: &DoorArgs,
    folder: &Path,
    meta: Arc<dyn meta::Engine>,
    stop: &CancellationToken,
) -> Result<Scanning, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Twice as many as processors: while one scan is handed from thread to thread another one goes on. And the one of on-access scans.
    let slots = || (std::thread::available_parallelism().map_or(2, usize::from) * 2 + 1).min(SLOTS_MAX);
    let slots = args.slots.map_or_else(slots, usize::from);
    // Who cannot listen starts nothing.
    let clamd_tcp = args.clamd_listen.0.map(|at| bind(at, "--clamd-listen")).transpose()?;
    let icap = args.icap_listen.0.map(|at| bind(at, "--icap-listen")).transpose()?;
    let local = |path: &PathBuf| LocalSocket::bind_for(path, args.clamd_socket_mode);
    let clamd_local = args.clamd_socket.as_ref().map(local).transpose();
    let clamd_local = clamd_local.map_err(|e| Failure::new(chain(&e)).hint("give another path with --clamd-socket"))?;
    let control = LocalSocket::bind(&control::path(folder)).map_err(|e| Failure::new(chain(&e)))?;

    let own = std::env::current_exe().map_err(Failure::io("this program"))?;
    let freshclam = Path::new(FRESHCLAM);
    let options = ClamavOptions {
        program: args.clamd.clone(),
        launcher: vec![own.into(), "end-with-parent".into()],
        watched: args.definitions.clone().or_else(|| freshclam.is_dir().then(|| freshclam.to_owned())),
        folder: folder.to_owned(),
        threads: slots,
    };
    let (hunts, to_hunt) = mpsc::unbounded_channel();
    let clamav = Arc::new(Clamav::start(options, meta.clone(), clock.clone(), hunts, stop.child_token()));
    let mut engines: Vec<Arc<dyn scan::Engine>> = vec![clamav.clone()];
    if let Some(rules) = &args.yara {
        engines.push(Arc::new(Yara::start(rules.clone(), meta.clone(), clock.clone(), stop.child_token())));
    }
    let scanner = Scanner::new(Options { engines, meta, folder: folder.to_owned(), slots, clock });

    tokio::spawn(hunt(scanner.clone(), to_hunt));
    tokio::spawn(gauge(scanner.clone(), stop.clone()));
    tokio::spawn(forget(scanner.clone(), stop.clone()));

    let mut doors = JoinSet::new();
    let mut told = Vec::new();
    let clamd_options = clamd::Options {
        incomplete: match args.clamd_incomplete {
            ClamdIncomplete::Found => clamd::Incomplete::Found,
            ClamdIncomplete::Error => clamd::Incomplete::Error,
        },
        ..clamd::Options::new(TENANT)
    };
    if let Some((listener, at)) = clamd_tcp {
        told.push(("clamd", at.to_string()));
        doors.spawn(clamd::serve_tcp(listener, scanner.clone(), clamd_options.clone(), stop.clone()));
    }
    if let (Some(socket), Some(path)) = (clamd_local, &args.clamd_socket) {
        told.push(("clamd", path.display().to_string()));
        doors.spawn(clamd::serve_local(socket, scanner.clone(), clamd_options, stop.clone()));
    }
    if let Some((listener, at)) = icap {
        told.push(("ICAP", format!("icap://{at}/scan")));
        let icap = icap::Icap::new(scanner.clone(), icap_options(args));
        doors.spawn(icap::serve(listener, icap, stop.clone()));
    }
    doors.spawn(control::serve(control, scanner.clone(), clamav.clone(), stop.clone()));
    Ok(Scanning { scanner, clamav, doors, told })
}

impl Scanning {
    /// Returns when a door ended by itself, with its name for people.
    pub(crate) async fn ended(&mut self) -> String {
        match self.doors.join_next().await {
            Some(done) => format!("a door of the scan service stopped: {done:?}"),
            None => std::future::pending().await,
        }
    }

    /// Ends what is under way. What was told to stop already has.
    pub(crate) async fn close(mut self) {
        while self.doors.join_next().await.is_some() {}
        self.scanner.close().await;
        drop(self.clamav);
    }
}

/// Forgets what nobody asks for any more, each day, until `stop`.
async fn forget(scanner: Scanner, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FORGET_EVERY) => {}
            () = stop.cancelled() => return,
        }
        match scanner.forget_old().await {
            Ok(forgotten) => tracing::info!(forgotten, "verdicts that nobody asked for in 30 days are forgotten"),
            Err(error) => tracing::warn!(%error, "old verdicts are not forgotten"),
        }
    }
}

/// Keeps the gauges true until `stop`.
async fn gauge(scanner: Scanner, stop: CancellationToken) {
    while !stop.is_cancelled() {
        scanner.status().gauge();
        tokio::select! {
            () = tokio::time::sleep(GAUGE_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Looks for what new definitions bring among what is known, until the engine ends.
async fn hunt(scanner: Scanner, mut hunts: mpsc::UnboundedReceiver<Hunt>) {
    while let Some(hunt) = hunts.recv().await {
        match scanner.hunt(&hunt).await {
            Ok(done) => tracing::info!(
                epoch = done.epoch,
                signatures = done.signatures,
                contents = done.contents,
                found = done.found,
                "new digests were looked for among what is known"
            ),
            Err(error) => tracing::error!(%error, "new digests were not looked for among all that is known"),
        }
    }
}

fn bind(at: SocketAddr, flag: &'static str) -> Result<(listener::Listener, SocketAddr), Failure> {
    let cannot =
        |error: ServeError| Failure::new(chain(&error)).hint(format!("give another address with {flag}, or off"));
    let listener = listener::bind(at).map_err(cannot)?;
    let at = listener.local_addr().map_err(Failure::io("the listener"))?;
    if !at.ip().is_loopback() {
        tracing::warn!(%at, flag, "other machines can ask: this protocol has neither passwords nor encryption");
    }
    Ok((listener, at))
}

fn icap_options(args: &DoorArgs) -> icap::Options {
    icap::Options {
        tenant: TENANT.to_owned(),
        incomplete: match args.icap_incomplete {
            IcapIncomplete::Error => icap::Incomplete::Error,
            IcapIncomplete::Block => icap::Incomplete::Block,
            IcapIncomplete::Pass => icap::Incomplete::Pass,
        },
        unavailable: match args.icap_unavailable {
            IcapUnavailable::Refuse => icap::Unavailable::Refuse,
            IcapUnavailable::Pass => icap::Unavailable::Pass,
        },
        ..icap::Options::default()
    }
}
