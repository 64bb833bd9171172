//! `/v1/scrub`: start, watch, stop.

use axum::Json;
use axum::extract::State;
use store::ScrubProgress;

use crate::App;

pub(crate) async fn get(State(app): State<App>) -> Json<ScrubProgress> {
    Json(app.store.scrub_progress())
}

/// Starts a scrub; with one running, answers that one.
pub(crate) async fn start(State(app): State<App>) -> Json<ScrubProgress> {
    app.store.start_scrub();
    Json(app.store.scrub_progress())
}

pub(crate) async fn stop(State(app): State<App>) -> Json<ScrubProgress> {
    app.store.stop_scrub();
    Json(app.store.scrub_progress())
}
