//! `holdfast scan serve`: the scan service by itself.

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use listener::{Bounds, Listener};
use meta::{Embedded, EmbeddedOptions};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use scan::Scanner;
use tokio_util::sync::CancellationToken;

use super::Scanning;
use crate::cli::AdminArgs;
use crate::cli::scan::ScanServeArgs;
use crate::command::data_dir;
use crate::exit::{Exit, Failure, chain};
use crate::harden;
use crate::serve::{STOP_WITHIN, keep_up, lock, log_to_stderr, make_private_dir, raise_open_files, told_to_stop};

/// Memory for cached pages of verdicts.
const CACHE: usize = 64 << 20;
/// Of scrapers and load balancers.
const BOUNDS: Bounds = Bounds { head_max: 8 << 10, frame_max: 64 << 10, gauge: "holdfast_scan_metrics_connections" };
/// Scrapers at once.
const SCRAPERS: usize = 16;

pub(crate) async fn run(admin: &AdminArgs, args: ScanServeArgs) -> Result<Exit, Failure> {
    log_to_stderr(args.log_format);
    raise_open_files();
    harden::tell_keeping();
    let folder = super::folder(data_dir(admin));
    make_private_dir(&folder)?;
    let _lock = lock(&folder)?;
    let options = EmbeddedOptions { path: folder.join("verdicts.redb"), cache_bytes: CACHE };
    let opened = tokio::task::spawn_blocking(move || Embedded::open(options)).await;
    let opened = opened.map_err(|error| Failure::new(format!("opening the verdicts: {error}")))?;
    let meta = Arc::new(opened.map_err(|error| Failure::new(chain(&error)))?);
    let recorder = PrometheusBuilder::new().install_recorder().map_err(|e| Failure::new(format!("metrics: {e}")))?;
    let metrics = args.metrics_listen.map(listener::bind).transpose();
    let metrics = metrics.map_err(|e| Failure::new(chain(&e)).hint("give another address with --metrics-listen"))?;

    let stop = CancellationToken::new();
    let mut scanning = super::start(&args.doors, &folder, meta, &stop)?;
    tokio::spawn(keep_up(recorder.clone(), stop.clone()));
    let mut told = scanning.told.clone();
    if let Some(listener) = metrics {
        let at = listener.local_addr().map_err(Failure::io("the metrics listener"))?;
        told.push(("metrics", format!("http://{at}   (/metrics, /health)")));
        tokio::spawn(watched(listener, scanning.scanner.clone(), recorder, stop.clone()));
    }
    greet(&folder, &told);
    let ended = tokio::select! {
        () = told_to_stop() => None,
        ended = scanning.ended() => Some(ended),
    };
    tracing::info!("stopping");
    stop.cancel();
    if tokio::time::timeout(STOP_WITHIN, Scanning::close(scanning)).await.is_err() {
        tracing::warn!("some scans were still under way; they are done again when they are asked for");
    }
    ended.map_or(Ok(Exit::Ok), |error| Err(Failure::new(error)))
}

/// `/metrics` and `/health`.
async fn watched(listener: Listener, scanner: Scanner, recorder: PrometheusHandle, stop: CancellationToken) {
    let of = |_| {
        let (scanner, recorder) = (scanner.clone(), recorder.clone());
        service_fn(move |request: Request<Incoming>| {
            let answer = watch(request.uri().path(), &scanner, &recorder);
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    if let Err(error) = listener::serve(listener.at_most(SCRAPERS), BOUNDS, of, stop).await {
        tracing::error!(%error, "the metrics are not served any more");
    }
}

fn watch(path: &str, scanner: &Scanner, recorder: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/metrics" => (StatusCode::OK, recorder.render()),
        "/health" => {
            let status = scanner.status();
            let is_whole = status.engines.iter().all(|engine| engine.down.is_none());
            let code = if is_whole { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (code, status.summary() + "\n")
        }
        _ => (StatusCode::NOT_FOUND, "there are /metrics and /health\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}

/// Where clients come. A closed pipe is no error.
fn greet(folder: &Path, told: &[(&'static str, String)]) {
    let mut text =
        format!("Holdfast {} scans; its verdicts are in {}\n\n", env!("CARGO_PKG_VERSION"), folder.display());
    for (name, at) in told {
        text.push_str(&format!("  {name:8} {at}\n"));
    }
    text.push_str("\nlook into it\n  holdfast scan status\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
