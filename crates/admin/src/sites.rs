//! `/v1/sites`: list, replace.

use axum::Json;
use axum::extract::{Path, Query, State};
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
}

/// Nothing more to tell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<SiteList>, Failure> {
    Ok(Json(app.store.status().await?.sites))
}

pub(crate) async fn replace(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(replace): Query<Replace>,
) -> Result<Json<Done>, Failure> {
    app.store.replace_site(&name, replace.force).await?;
    Ok(Json(Done {}))
}
