//! `/v1/notify`: the targets of events; a test of one.

use axum::Json;
use axum::extract::{Path, State};
use store::{TargetReport, TestReport};

use crate::App;
use crate::error::Failure;

pub(crate) async fn list(State(app): State<App>) -> Json<Vec<TargetReport>> {
    Json(app.store.targets())
}

pub(crate) async fn test(State(app): State<App>, Path(name): Path<String>) -> Result<Json<TestReport>, Failure> {
    Ok(Json(app.store.test_target(&name).await?))
}
