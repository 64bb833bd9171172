//! `/v1/sites`: list, replace.

use axum::Json;
use axum::extract::{Path, Query, State};
use meta::record::SiteKeyRecord;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::error::Failure;

pub use store::SiteReport as Site;

/// The five sites.
pub type SiteList = Vec<Site>;

#[derive(Deserialize)]
pub(crate) struct Replace {
    #[serde(default)]
    force: bool,
    #[serde(default)]
    lose_keys: bool,
}

/// Nothing more to tell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<SiteList>, Failure> {
    Ok(Json(app.store.status().await?.sites))
}

/// A key that a site signs receipts with, or did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteKey {
    /// The site's name.
    pub site: String,
    /// As signed notes have it: `name+id+key`.
    pub key: String,
    /// Milliseconds since the Unix epoch when it was first seen.
    pub since_ms: u64,
}

pub(crate) async fn keys(State(app): State<App>) -> Result<Json<Vec<SiteKey>>, Failure> {
    let keys = app.store.portions().site_keys().await.map_err(store::Error::Portion)?;
    let told = |record: SiteKeyRecord| SiteKey { site: record.site, key: record.verifier, since_ms: record.since_ms };
    Ok(Json(keys.into_iter().map(told).collect()))
}

pub(crate) async fn replace(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(replace): Query<Replace>,
) -> Result<Json<Done>, Failure> {
    let how = store::Replace { force: replace.force, lose_keys: replace.lose_keys };
    app.store.replace_site(&name, how).await?;
    Ok(Json(Done {}))
}
