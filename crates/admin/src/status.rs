//! `/v1/status`.

use axum::Json;
use axum::extract::State;
use store::Status;

use crate::App;
use crate::error::Failure;

pub(crate) async fn get(State(app): State<App>) -> Result<Json<Status>, Failure> {
    Ok(Json(app.store.status().await?))
}
