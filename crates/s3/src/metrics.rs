//! What is counted of requests.

use std::time::Duration;

use http::StatusCode;

/// Counts one answered request: `holdfast_s3_requests_total{operation,status}`, and the seconds
/// to the answer's head as `holdfast_s3_request_seconds{operation}`.
pub(crate) fn answered(operation: &'static str, status: StatusCode, took: Duration) {
    let status = status.as_str().to_owned();
    metrics::counter!("holdfast_s3_requests_total", "operation" => operation, "status" => status).increment(1);
    metrics::histogram!("holdfast_s3_request_seconds", "operation" => operation).record(took);
}
