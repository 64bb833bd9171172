//! `/v1/workers`.

use axum::Json;
use axum::extract::State;
use store::WorkerReport;

use crate::App;

pub(crate) async fn get(State(app): State<App>) -> Json<Vec<WorkerReport>> {
    Json(app.store.workers())
}
