//! `/v1/gateways`.

use axum::Json;
use axum::extract::State;
use store::GatewayReport;

use crate::App;

pub(crate) async fn get(State(app): State<App>) -> Json<Vec<GatewayReport>> {
    Json(app.store.gateways())
}
