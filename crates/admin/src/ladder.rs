//! `GET /v1/ladder`: what this server answers while something fails.

use ::ladder::Ladder;
use axum::Json;

use crate::error::Failure;

/// As it was built.
pub(crate) async fn get() -> Result<Json<Ladder>, Failure> {
    Ladder::compiled().map(Json).map_err(|mistakes| Failure::internal(mistakes.to_string()))
}
