//! `GET /metrics`: Prometheus text.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::gauge;
use store::State as Word;

use crate::App;

/// Gauges that are read at each scrape; counters and histograms count by themselves.
pub(crate) async fn get(State(app): State<App>) -> impl IntoResponse {
    if let Ok(status) = app.store.status().await {
        for word in Word::ALL {
            gauge!("holdfast_state", "state" => word.word()).set(f64::from(u8::from(status.state == word)));
        }
        gauge!("holdfast_tolerated_site_losses").set(f64::from(status.tolerates));
        gauge!("holdfast_repair_backlog_blobs").set(status.repair_backlog as f64);
        gauge!("holdfast_at_risk_bytes").set(status.at_risk_bytes as f64);
        for target in &status.targets {
            gauge!("holdfast_notify_queued", "target" => target.name.clone()).set(target.queued as f64);
        }
        for site in &status.sites {
            let name = site.name.clone();
            gauge!("holdfast_site_up", "site" => name.clone()).set(f64::from(u8::from(site.state == "up")));
            gauge!("holdfast_site_put_p95_seconds", "site" => name.clone()).set(site.put_p95_ms / 1000.0);
            gauge!("holdfast_site_get_p95_seconds", "site" => name.clone()).set(site.get_p95_ms / 1000.0);
            metrics::counter!("holdfast_site_errors_total", "site" => name.clone()).absolute(site.errors);
            metrics::counter!("holdfast_site_damaged_shards_total", "site" => name).absolute(site.damaged);
        }
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}
