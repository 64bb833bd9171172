//! `holdfast site serve`: the folder of one data centre, for the gateways of all.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::SystemRng;
use blobs::{BUCKET, Keys};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use listener::{Bounds, Listener, Tls};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sites::{Folder, MARKER, Site, SiteError};
use tokio_util::sync::CancellationToken;

use crate::cli::TlsArgs;
use crate::cli::site::SiteServeArgs;
use crate::credentials::{self, Credentials, Source};
use crate::exit::{Exit, Failure, chain};
use crate::harden;
use crate::serve::{STOP_WITHIN, keep_up, log_to_stderr, raise_open_files, told_to_stop};

/// What credentials are called in the environment: not as the gateway's, which may run beside.
const ENVIRONMENT: [&str; 2] = ["HOLDFAST_SITE_ACCESS_KEY", "HOLDFAST_SITE_SECRET_KEY"];
/// Of scrapers and load balancers.
const METRICS_BOUNDS: Bounds =
    Bounds { head_max: 8 * 1024, frame_max: 64 * 1024, gauge: "holdfast_site_server_metrics_connections" };
/// Scrapers at once.
const SCRAPERS: usize = 16;

pub(crate) async fn run(args: SiteServeArgs) -> Result<Exit, Failure> {
    log_to_stderr(args.log_format);
    raise_open_files();
    harden::tell_keeping();
    let tls = tls(&args.tls)?;
    check_listen(&args, tls.is_some())?;
    let dir = std::path::absolute(&args.dir).map_err(Failure::io(args.dir.display()))?;
    let file = credentials_file(args.credentials.as_deref(), &dir)?;
    // The folder first: who has it makes the credentials.
    let site = open(&dir).await?;
    let (keys, source) = credentials::obtain_as(ENVIRONMENT, &file, &SystemRng).map_err(|failure| {
        if failure.hint.is_none() { failure.hint("give another place with --credentials") } else { failure }
    })?;
    let recorder = PrometheusBuilder::new().install_recorder().map_err(|e| Failure::new(format!("metrics: {e}")))?;

    let cannot = |flag: &'static str| {
        move |error: listener::ServeError| Failure::new(chain(&error)).hint(format!("give another address with {flag}"))
    };
    let listener = listener::bind(args.listen).map_err(cannot("--listen"))?;
    let address = listener.local_addr().map_err(Failure::io("the listener"))?;
    let metrics = args.metrics_listen.map(listener::bind).transpose().map_err(cannot("--metrics-listen"))?;
    let metrics_address = metrics.as_ref().map(Listener::local_addr).transpose();
    let metrics_address = metrics_address.map_err(Failure::io("the metrics listener"))?;
    let stop = CancellationToken::new();
    tokio::spawn(keep_up(recorder.clone(), stop.clone()));
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().follow(stop.clone()));
    }
    if let Some(metrics) = metrics {
        tokio::spawn(watched(metrics, site.clone(), recorder, stop.clone()));
    }
    let options = blobs::Options {
        keys: Keys { access_key: keys.access_key.clone(), secret_key: keys.secret_key.clone().into() },
        memory: args.body_memory_mib << 20,
    };
    let secure = tls.is_some();
    let listener = listener.with_tls(tls).at_most(usize::try_from(args.connections).unwrap_or(usize::MAX));
    let mut server = tokio::spawn(blobs::serve(listener, site, options, stop.clone()));
    greet(&Greeting { dir: &dir, file: &file, address, metrics: metrics_address, secure, keys: &keys, source });

    let ended = tokio::select! {
        () = told_to_stop() => None,
        done = &mut server => Some(format!("the site server stopped: {done:?}")),
    };
    tracing::info!("stopping");
    stop.cancel();
    if ended.is_none() && tokio::time::timeout(STOP_WITHIN, server).await.is_err() {
        tracing::warn!("some requests were still under way; nothing acknowledged is lost");
    }
    ended.map_or(Ok(Exit::Ok), |error| Err(Failure::new(error)))
}

fn tls(args: &TlsArgs) -> Result<Option<Tls>, Failure> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    Tls::open(cert, key).map(Some).map_err(|error| Failure::usage(chain(&error)))
}

fn check_listen(args: &SiteServeArgs, secure: bool) -> Result<(), Failure> {
    if secure || args.listen.ip().is_loopback() {
        return Ok(());
    }
    if !args.insecure {
        return Err(Failure::usage(format!("{} can be reached by other machines, and there is no TLS", args.listen))
            .hint("give --tls-cert and --tls-key; or --insecure, where the network itself keeps others out"));
    }
    tracing::warn!(listen = %args.listen, "the site is reachable without TLS: gateways must sign bodies, which they then do by themselves");
    Ok(())
}

/// Not within the site: what is in its folder is listed to whoever has the keys, and goes where its disk goes.
fn credentials_file(given: Option<&Path>, dir: &Path) -> Result<PathBuf, Failure> {
    let file = match given {
        Some(file) => std::path::absolute(file).map_err(Failure::io(file.display()))?,
        None => {
            let name = dir.file_name().ok_or_else(|| {
                Failure::usage(format!("{} cannot be a site", dir.display())).hint("give a directory of its own")
            })?;
            let mut name = name.to_owned();
            name.push(".credentials");
            dir.with_file_name(name)
        }
    };
    if file.starts_with(dir) {
        return Err(Failure::usage(format!("the credentials {} would be in the site itself", file.display()))
            .hint("give another place with --credentials"));
    }
    Ok(file)
}

/// Opening reads indexes, which takes a while on a cold disk.
async fn open(dir: &Path) -> Result<Arc<dyn Site>, Failure> {
    if !dir.is_dir() {
        return Err(Failure::new(format!("there is no directory {}", dir.display()))
            .hint(format!("where a site was before: mount its disk; for a new one: mkdir -m 700 {}", dir.display())));
    }
    let path = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || Folder::open_alone(path)).await;
    let opened = opened.map_err(|error| Failure::new(format!("opening the site: {error}")))?;
    let site = opened.map_err(|error| Failure::new(format!("site {}: {}", dir.display(), chain(&error))))?;
    Ok(Arc::new(site))
}

/// `/metrics` and `/health`.
async fn watched(listener: Listener, site: Arc<dyn Site>, recorder: PrometheusHandle, stop: CancellationToken) {
    let of = |_| {
        let (site, recorder) = (site.clone(), recorder.clone());
        service_fn(move |request: Request<Incoming>| {
            let (site, recorder) = (site.clone(), recorder.clone());
            async move { Ok::<_, Infallible>(watch(request.uri().path(), site.as_ref(), &recorder).await) }
        })
    };
    if let Err(error) = listener::serve(listener.at_most(SCRAPERS), METRICS_BOUNDS, of, stop).await {
        tracing::error!(%error, "the metrics are not served any more");
    }
}

async fn watch(path: &str, site: &dyn Site, recorder: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/metrics" => (StatusCode::OK, recorder.render()),
        "/health" => match site.size(MARKER).await {
            Ok(_) => (StatusCode::OK, "up\n".to_owned()),
            Err(SiteError::NotFound { .. }) => (StatusCode::OK, "empty\n".to_owned()),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "down\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, "there are /metrics and /health\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}

struct Greeting<'a> {
    dir: &'a Path,
    file: &'a Path,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    secure: bool,
    keys: &'a Credentials,
    source: Source,
}

/// What to paste into a gateway's configuration. A closed pipe is no error.
fn greet(greeting: &Greeting<'_>) {
    let mut out = std::io::stdout().lock();
    let text = greeting_text(greeting, std::io::stdout().is_terminal());
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn greeting_text(greeting: &Greeting<'_>, terminal: bool) -> String {
    let Greeting { dir, file, address, metrics, secure, keys, source } = *greeting;
    let scheme = if secure { "https" } else { "http" };
    // An address that stands for all of a machine's is none that a gateway could ask.
    let reached = if address.ip().is_unspecified() { format!("HOST:{}", address.port()) } else { address.to_string() };
    let (access, secret, origin) = match source {
        // What is no terminal is a log, and logs are read by many.
        Source::File if terminal => (keys.access_key.as_str(), keys.secret_key.as_str(), file.display().to_string()),
        Source::File => (
            keys.access_key.as_str(),
            "$AWS_SECRET_ACCESS_KEY",
            format!("{} (mode 0600), which has the secret key", file.display()),
        ),
        Source::Environment => ("$AWS_ACCESS_KEY_ID", "$AWS_SECRET_ACCESS_KEY", "the environment".to_owned()),
    };
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("site");
    let http = if secure { "" } else { "  allow_http = \"true\"\n" };
    let metrics = metrics.map(|at| format!("  metrics  http://{at}   (/metrics, /health)\n")).unwrap_or_default();
    format!(
        "Holdfast {version} is serving the site {dir}

  S3       {scheme}://{address}   (bucket {BUCKET})
{metrics}  keys     {access}  {secret}
           from {origin}

in the configuration of each gateway (holdfast serve --config)
  [[site]]
  name = \"{name}\"
  url = \"s3://{BUCKET}/\"
  [site.options]
  endpoint = \"{scheme}://{reached}\"
  # a copy of the file above, mode 0600; or access_key_id and secret_access_key
  credentials_file = \"/etc/holdfast/{name}.credentials\"
{http}
look into it
  AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION=us-east-1 \\
      aws --endpoint-url {scheme}://{reached} s3 ls s3://{BUCKET}/
",
        version = env!("CARGO_PKG_VERSION"),
        dir = dir.display(),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, SiteCommand};

    fn args(words: &[&str]) -> SiteServeArgs {
        let cli = Cli::try_parse_from(["holdfast", "site", "serve", "/srv/a"].iter().chain(words)).unwrap();
        match cli.command {
            Command::Site(SiteCommand::Serve(args)) => *args,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn other_machines_come_over_tls_only() {
        for (words, secure, good) in [
            (&["--listen", "127.0.0.1:0"][..], false, true),
            (&["--listen", "[::1]:0"], false, true),
            (&["--listen", "0.0.0.0:0"], false, false),
            (&["--listen", "10.0.0.1:9100"], false, false),
            (&["--listen", "0.0.0.0:0"], true, true),
            (&["--listen", "0.0.0.0:0", "--insecure"], false, true),
        ] {
            let checked = check_listen(&args(words), secure);
            assert_eq!(checked.as_ref().map_err(|failure| failure.exit), if good { Ok(&()) } else { Err(Exit::Usage) });
        }
    }

    #[test]
    fn credentials_are_beside_the_site() {
        let dir = Path::new("/srv/a");
        for (given, expected) in
            [(None, Some("/srv/a.credentials")), (Some("/etc/a"), Some("/etc/a")), (Some("/srv/a/credentials"), None)]
        {
            let file = credentials_file(given.map(Path::new), dir).ok();
            assert_eq!(file.as_deref(), expected.map(Path::new), "{given:?}");
        }
        assert!(credentials_file(None, Path::new("/")).is_err());
    }

    #[test]
    fn a_log_does_not_have_the_secret() {
        let keys = Credentials { access_key: "AK".to_owned(), secret_key: "hushhush".to_owned() };
        let address = SocketAddr::from(([0, 0, 0, 0], 9100));
        for (terminal, source, told) in
            [(true, Source::File, true), (false, Source::File, false), (true, Source::Environment, false)]
        {
            let (dir, file) = (Path::new("/srv/a"), Path::new("/srv/a.credentials"));
            let greeting = Greeting { dir, file, address, metrics: None, secure: true, keys: &keys, source };
            let text = greeting_text(&greeting, terminal);
            assert_eq!(text.contains("hushhush"), told, "{text}");
            assert!(text.contains("endpoint = \"https://HOST:9100\"") && !text.contains("allow_http"), "{text}");
        }
    }
}
