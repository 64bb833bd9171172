//! `GET /health`: for load balancers. No details, no credentials.

use axum::extract::State;
use axum::http::StatusCode;
use store::State as Word;

use crate::App;

/// 200 while every read is answered (`whole`, `degraded`, `read-only`), 503 when data is out of reach.
pub(crate) async fn get(State(app): State<App>) -> (StatusCode, &'static str) {
    match app.store.status().await.map(|status| status.state) {
        Ok(Word::Whole) => (StatusCode::OK, "whole\n"),
        Ok(Word::Degraded) => (StatusCode::OK, "degraded\n"),
        Ok(Word::ReadOnly) => (StatusCode::OK, "read-only\n"),
        Ok(Word::Losing) => (StatusCode::SERVICE_UNAVAILABLE, "losing\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "metadata unavailable\n"),
    }
}
