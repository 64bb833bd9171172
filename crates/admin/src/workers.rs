//! `/v1/workers`, `/v1/repair`.

use axum::Json;
use axum::extract::State;
use store::{RepairChange, RepairReport, WorkerReport};

use crate::App;
use crate::error::Failure;

pub(crate) async fn get(State(app): State<App>) -> Json<Vec<WorkerReport>> {
    Json(app.store.workers())
}

pub(crate) async fn repair(State(app): State<App>) -> Result<Json<RepairReport>, Failure> {
    Ok(Json(app.store.repair_report().await?))
}

/// Changes what is given, and answers as [`repair`] does.
pub(crate) async fn steer_repair(
    State(app): State<App>,
    Json(change): Json<RepairChange>,
) -> Result<Json<RepairReport>, Failure> {
    app.store.steer_repair(change).await?;
    Ok(Json(app.store.repair_report().await?))
}
