//! The admin API: status, users, groups, tenants, portions, releases, sites, scrub, workers, targets of events, metrics. One
//! file a resource.
//!
//! `/health` and `/metrics` are open to who can reach the address; `/v1/approvals` takes any user's access key; everything else
//! takes the root credentials as an AWS Signature Version 4 (service `holdfast`), so that
//! `curl --aws-sigv4 aws:amz:us-east-1:holdfast --user "$KEY:$SECRET"` speaks it too.

mod approvals;
mod auth;
pub mod client;
mod error;
mod gateways;
mod groups;
mod health;
mod home;
mod island;
mod ladder;
mod metrics;
mod notify;
mod portions;
mod releases;
mod scan;
mod scrub;
mod sites;
mod status;
mod tenants;
mod users;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use hyper_util::service::TowerToHyperService;
use listener::{Bounds, Listener, ServeError, Whole, degraded};
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;
use store::api::Right;
use tokio_util::sync::CancellationToken;

pub use approvals::{ApprovalRequest, Rule, Ruling};
pub use error::Problem;
pub use groups::{Group, GroupList, NewGroup};
pub use island::{BucketIsland, Island};
pub use keys::quorum::receipt::ReceiptFile;
pub use keys::rules::Choice;
pub use keys::{CutOff, PortionClass};
pub use portions::{
    ExposedPart, ExposurePage, MakePortion, Migration, Portion, PortionDetail, PortionPage, Rekey, Rotate,
    RulesDocument, SetPortion, TestRules,
};
pub use releases::{
    Denied, Deny, DenyReason, Holder, HolderPage, NamedDocument, ReleaseAction, ReleaseDecision, ReleasePolicy,
    ReleaseVia, Simulate, Simulated, Simulation, TestRelease,
};
pub use scan::{BucketScan, BucketScanMode, LastSeen, ReleaseUnclean, Unclean, UncleanPage};
pub use sigv4;
pub use sites::{Done, Site, SiteKey, SiteList};
pub use tenants::{Held, Hold, NewTenant, SecretTenant, Tenant, TenantDetail, TenantList};
pub use users::{Document, Judgement, May, NewKey, NewUser, RevokeUser, SecretKey, SetGrant, SetKey, User, UserList};

/// The service name in signatures.
pub const SERVICE: &str = "holdfast";
/// The region in signatures that the CLI makes; the server takes any.
pub const REGION: &str = "us-east-1";

/// Requests are small, and so are most answers.
const BOUNDS: Bounds = Bounds { head_max: 16 * 1024, frame_max: 128 * 1024, gauge: "holdfast_admin_connections" };

/// How the S3 endpoint judges, so that `user may` says what it does.
#[derive(Debug, Clone, Copy)]
pub struct Judging {
    /// The granted right that allows an action, as `s3:GetObject`; `Some(None)` for one that no grant
    /// allows, `None` for one that there is not.
    pub right_for: fn(&str) -> Option<Option<Right>>,
    /// What conditions find of any request that comes now.
    pub circumstances: fn() -> policy::Values,
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) root: Arc<(String, String)>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) endpoint: Judging,
}

/// Serves the API until `shutdown`.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve(
    listener: Listener,
    store: Store,
    root: (String, String),
    metrics: PrometheusHandle,
    endpoint: Judging,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let service = service(store, root, metrics, endpoint);
    listener::serve(listener, BOUNDS, |_| Whole(service.clone()), shutdown).await
}

/// The API as a hyper service.
pub type Endpoint = TowerToHyperService<Router>;

/// The API over a store, without a socket.
pub fn service(store: Store, root: (String, String), metrics: PrometheusHandle, endpoint: Judging) -> Endpoint {
    let app = App { store, root: Arc::new(root), metrics, endpoint };
    TowerToHyperService::new(router(app))
}

/// Counts answers that say they are degraded.
async fn counted(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    degraded::count(response.headers(), "admin");
    response
}

fn router(app: App) -> Router {
    let signed = Router::new()
        .route("/v1/status", get(status::get))
        .route("/v1/workers", get(workers::get))
        .route("/v1/repair", get(workers::repair).put(workers::steer_repair))
        .route("/v1/gateways", get(gateways::get))
        .route("/v1/island", get(island::list))
        .route("/v1/island/{id}", axum::routing::delete(island::drop_entry))
        .route("/v1/island/{id}/tell", post(island::tell))
        .route("/v1/conflicts/{id}", axum::routing::delete(island::forget))
        .route("/v1/buckets/{bucket}/scan", get(scan::bucket).put(scan::set_bucket))
        .route("/v1/buckets/{bucket}/scan/versions", get(scan::list).post(scan::release))
        .route("/v1/buckets/{bucket}/island", get(island::bucket).put(island::set_bucket))
        .route("/v1/ladder", get(ladder::get))
        .route("/v1/notify", get(notify::list))
        .route("/v1/notify/{name}/test", post(notify::test))
        .route("/v1/scrub", get(scrub::get).post(scrub::start).delete(scrub::stop))
        .route("/v1/users", get(users::list).post(users::create))
        .route("/v1/users/{name}", get(users::get).delete(users::delete))
        .route("/v1/users/{name}/revoke", post(users::revoke_all))
        .route("/v1/users/{name}/may", post(users::may))
        .route("/v1/users/{name}/keys", post(users::create_key))
        .route("/v1/users/{name}/keys/{key}", put(users::set_key).delete(users::delete_key))
        .route("/v1/users/{name}/groups/{group}", put(users::join).delete(users::leave))
        .route("/v1/users/{name}/grants/{bucket}", put(users::grant).delete(users::revoke))
        .route(
            "/v1/users/{name}/policies/{policy}",
            get(users::get_policy).put(users::put_policy).delete(users::delete_policy),
        )
        .route("/v1/groups", get(groups::list).post(groups::create))
        .route("/v1/groups/{name}", get(groups::get).delete(groups::delete))
        .route("/v1/groups/{name}/grants/{bucket}", put(groups::grant).delete(groups::revoke))
        .route(
            "/v1/groups/{name}/policies/{policy}",
            get(groups::get_policy).put(groups::put_policy).delete(groups::delete_policy),
        )
        .route("/v1/portions", get(portions::list).post(portions::create))
        .route("/v1/portions/{name}", get(portions::get))
        .route("/v1/portions/{name}/state", put(portions::set))
        .route("/v1/portions/{name}/rotate", post(portions::rotate))
        .route("/v1/portions/{name}/receipts", get(portions::receipts))
        .route("/v1/receipts/{id}", get(portions::receipts_of_key))
        .route("/v1/portions/{name}/rekey", post(portions::rekey))
        .route("/v1/portions/{name}/exposure", get(portions::exposure))
        .route("/v1/portion-rules", get(portions::rules).put(portions::put_rules))
        .route("/v1/portion-rules/test", post(portions::test_rules))
        .route("/v1/portion-migration", get(portions::migration).post(portions::migrate))
        .route("/v1/release/policies", get(releases::policies))
        .route(
            "/v1/release/policies/{name}",
            get(releases::get_policy).put(releases::put_policy).delete(releases::delete_policy),
        )
        .route("/v1/release/test", post(releases::test))
        .route("/v1/release/simulate", post(releases::simulate))
        .route("/v1/release/denials", get(releases::denials))
        .route("/v1/release/denials/{user}", put(releases::deny).delete(releases::readmit))
        .route("/v1/release/budgets/{user}", axum::routing::delete(releases::reset_budget))
        .route("/v1/release/holders", get(releases::holders))
        .route("/v1/tenants", get(tenants::list).post(tenants::create))
        .route("/v1/tenants/{name}", get(tenants::get).delete(tenants::delete))
        .route("/v1/tenants/{name}/half", post(tenants::hold).delete(tenants::release))
        .route("/v1/sites", get(sites::list))
        .route("/v1/site-keys", get(sites::keys))
        .route("/v1/sites/{name}/replace", post(sites::replace))
        .fallback(error::no_such_path)
        .route_layer(middleware::from_fn(auth::tell_age))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::require_root));
    let people = Router::new()
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", put(approvals::rule))
        .route_layer(middleware::from_fn_with_state(app.clone(), approvals::require_person));
    Router::new()
        .route("/health", get(health::get))
        .route("/metrics", get(metrics::get))
        .merge(people)
        .merge(signed)
        .layer(middleware::from_fn(counted))
        .with_state(app)
}
