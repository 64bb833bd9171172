//! `/v1/tenants`: create, list, delete; halves of their keys that customers hold.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use keys::{HOLD_LEASE_MS, Holding, NewHold};
use serde::{Deserialize, Serialize};
use store::api::TenantInfo;

use crate::App;
use crate::error::Failure;
use crate::portions::failed;
use crate::sites::Done;

/// A tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tenant {
    /// Unique.
    pub name: String,
    /// Twelve digits: how policies name it.
    pub account: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// All tenants but the default one.
pub type TenantList = Vec<Tenant>;

/// A tenant to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Unique.
    pub name: String,
}

/// A tenant just made, with its administrator's key: the secret is told this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretTenant {
    /// The tenant.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// The administrator's access key.
    pub access_key: String,
    /// The administrator's secret access key.
    pub secret_key: String,
}

impl From<TenantInfo> for Tenant {
    fn from(info: TenantInfo) -> Self {
        Self { name: info.name, account: info.account.to_string(), created_ms: info.created_ms }
    }
}

/// A tenant, and who holds a half of its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantDetail {
    /// Unique.
    pub name: String,
    /// Twelve digits: how policies name it.
    pub account: String,
    /// `None`: the key is whole under the root key.
    pub half: Option<Held>,
}

/// Who holds a half of a tenant's key, and how that stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// What it is, as `awskms`.
    pub kind: String,
    /// The customer's key.
    pub key: String,
    /// How it is reached.
    pub options: BTreeMap<String, String>,
    /// `open`, `refused` or `unreachable`.
    pub state: String,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How long the half counts once it was given, milliseconds.
    pub lease_ms: u64,
    /// When it was last asked for, milliseconds since the Unix epoch.
    pub asked_ms: Option<u64>,
    /// When the keys shut unless it is given before, milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// Why it was not given when it was last asked for.
    pub trouble: Option<String>,
    /// Keys of the tenant from before, under which something is still.
    pub older: usize,
    /// Whether parts are still moving from buckets' keys, which take no half, to portions.
    pub migrating: bool,
}

impl From<Holding> for Held {
    fn from(holding: Holding) -> Self {
        Self {
            kind: holding.kind,
            key: holding.place,
            options: holding.options,
            state: holding.state.name().to_owned(),
            since_ms: holding.since_ms,
            lease_ms: holding.lease_ms,
            asked_ms: holding.asked_ms,
            until_ms: holding.given_ms.map(|at| at.saturating_add(holding.lease_ms)),
            trouble: holding.trouble,
            older: holding.older,
            migrating: holding.migrating,
        }
    }
}

/// A half to be held.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// What holds it, as `awskms`.
    pub kind: String,
    /// How it is reached; no secrets.
    pub options: BTreeMap<String, String>,
    /// How long the half counts once it was given, milliseconds; `None` for five minutes.
    pub lease_ms: Option<u64>,
    /// Only try it.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn get(State(app): State<App>, Path(name): Path<String>) -> Result<Json<TenantDetail>, Failure> {
    let home = app.store.tenant(&name).await?;
    let account = home.account();
    let half = home.portions().holding(account).await.map_err(failed)?.map(Held::from);
    Ok(Json(TenantDetail { name, account: account.to_string(), half }))
}

pub(crate) async fn hold(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(hold): Json<Hold>,
) -> Result<Json<Held>, Failure> {
    let home = app.store.tenant(&name).await?;
    let lease_ms = hold.lease_ms.unwrap_or(HOLD_LEASE_MS);
    let new = NewHold { kind: hold.kind, options: hold.options, lease_ms };
    let portions = home.portions().by("root");
    let holding = portions.hold(home.account(), &name, &new, hold.dry_run).await.map_err(failed)?;
    // What is under the key from before, and under buckets' keys, is to move.
    app.store.wake_rewrap();
    Ok(Json(holding.into()))
}

pub(crate) async fn release(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(release): Query<Release>,
) -> Result<Json<Done>, Failure> {
    let home = app.store.tenant(&name).await?;
    let portions = home.portions().by("root");
    portions.release_half(home.account(), &name, release.dry_run).await.map_err(failed)?;
    Ok(Json(Done {}))
}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<TenantList>, Failure> {
    Ok(Json(app.store.tenants().await?.into_iter().map(Tenant::from).collect()))
}

pub(crate) async fn create(State(app): State<App>, Json(new): Json<NewTenant>) -> Result<Json<SecretTenant>, Failure> {
    let (info, access_key, secret_key) = app.store.create_tenant(&new.name).await?;
    Ok(Json(SecretTenant { tenant: info.into(), access_key, secret_key }))
}

pub(crate) async fn delete(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Done>, Failure> {
    app.store.delete_tenant(&name).await?;
    Ok(Json(Done {}))
}
