//! `/v1/island`: what this gateway took while it was cut off from the metadata, versions that came of it and are not the newest, and which
//! buckets have it so.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use store::{ConflictReport, WaitingReport};

use crate::App;
use crate::error::Failure;
use crate::home::Home;
use crate::sites::Done;

/// What became of writes at gateways that were cut off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Island {
    /// Whether the metadata are out of reach of the gateway that was asked.
    pub cut_off: bool,
    /// What that gateway has taken and not told yet.
    pub waiting: Vec<WaitingReport>,
    /// Versions that gateways told late, of the tenant's buckets; `None`: the metadata are out of reach.
    pub conflicts: Option<Vec<ConflictReport>>,
}

/// Whether gateways that are cut off take new versions for a bucket.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketIsland {
    /// Whether they do.
    pub accept: bool,
}

pub(crate) async fn list(Home(store): Home) -> Result<Json<Island>, Failure> {
    let (cut_off, waiting) = (store.is_away(), store.island_waiting());
    let conflicts = match cut_off {
        true => None,
        false => Some(store.conflicts().await?),
    };
    Ok(Json(Island { cut_off, waiting, conflicts }))
}

pub(crate) async fn tell(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, Failure> {
    app.store.tell_anyway(&id).await?;
    Ok(Json(Done {}))
}

pub(crate) async fn drop_entry(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, Failure> {
    app.store.drop_entry(&id).await?;
    Ok(Json(Done {}))
}

pub(crate) async fn forget(Home(store): Home, Path(id): Path<String>) -> Result<Json<Done>, Failure> {
    store.forget_conflict(&id).await?;
    Ok(Json(Done {}))
}

pub(crate) async fn bucket(Home(store): Home, Path(bucket): Path<String>) -> Result<Json<BucketIsland>, Failure> {
    Ok(Json(BucketIsland { accept: store.bucket_state(&bucket).await?.island }))
}

pub(crate) async fn set_bucket(
    Home(store): Home,
    Path(bucket): Path<String>,
    Json(set): Json<BucketIsland>,
) -> Result<Json<BucketIsland>, Failure> {
    store.set_island(&bucket, set.accept).await?;
    Ok(Json(set))
}
