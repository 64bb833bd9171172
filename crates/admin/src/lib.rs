//! The admin API: status, users, sites, scrub, workers, metrics. One file a resource.
//!
//! `/health` and `/metrics` are open to who can reach the address; everything else takes the root
//! credentials as an AWS Signature Version 4 (service `holdfast`), so that
//! `curl --aws-sigv4 aws:amz:us-east-1:holdfast --user "$KEY:$SECRET"` speaks it too.

mod auth;
pub mod client;
mod error;
mod health;
mod metrics;
mod scrub;
mod sites;
mod status;
mod users;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post, put};
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::Problem;
pub use sigv4;
pub use sites::{Done, Site, SiteList};
pub use users::{NewUser, SecretUser, SetGrant, User, UserList};

/// The service name in signatures.
pub const SERVICE: &str = "holdfast";
/// The region in signatures that the CLI makes; the server takes any.
pub const REGION: &str = "us-east-1";

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) root: Arc<(String, String)>,
    pub(crate) metrics: PrometheusHandle,
}

/// Serves the API until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    root: (String, String),
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let app = App { store, root: Arc::new(root), metrics };
    axum::serve(listener, router(app)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(app: App) -> Router {
    let signed = Router::new()
        .route("/v1/status", get(status::get))
        .route("/v1/workers", get(workers::get))
        .route("/v1/scrub", get(scrub::get).post(scrub::start).delete(scrub::stop))
        .route("/v1/users", get(users::list).post(users::create))
        .route("/v1/users/{name}", axum::routing::delete(users::delete))
        .route("/v1/users/{name}/grants/{bucket}", put(users::grant).delete(users::revoke))
        .route("/v1/sites", get(sites::list))
        .route("/v1/sites/{name}/replace", post(sites::replace))
        .fallback(error::no_such_path)
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::require_root));
    Router::new().route("/health", get(health::get)).route("/metrics", get(metrics::get)).merge(signed).with_state(app)
}
