//! `/v1/tenants`: create, list, delete.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use store::api::TenantInfo;

use crate::App;
use crate::error::Failure;
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
