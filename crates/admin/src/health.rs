//! `GET /health`: for load balancers. No details, no credentials.

use axum::extract::State;
use axum::http::StatusCode;
use store::State as Word;

use crate::App;

/// 200 while every read is answered (`whole`, `degraded`, `read-only`), 503 when data is out of reach.
pub(crate) async fn get(State(app): State<App>) -> (StatusCode, String) {
    match app.store.status().await {
        Ok(status) if status.state == Word::Losing => (StatusCode::SERVICE_UNAVAILABLE, line(status.state.word())),
        Ok(status) => (StatusCode::OK, line(status.state.word())),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, line("metadata unavailable")),
    }
}

fn line(word: &str) -> String {
    format!("{word}\n")
}
