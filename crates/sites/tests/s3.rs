//! The suite against a real S3 server.
//!
//! `HOLDFAST_TEST_S3=endpoint,access-key,secret-key` names one that has, or makes on the first
//! write, a bucket called `holdfast-conformance`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sites::SiteError;

fn options(server: &str) -> BTreeMap<String, String> {
    let fields: Vec<&str> = server.split(',').collect();
    let [endpoint, key, secret] = fields[..] else { panic!("HOLDFAST_TEST_S3 is not endpoint,access-key,secret-key") };
    let pairs = [
        ("endpoint", endpoint),
        ("region", "us-east-1"),
        ("access_key_id", key),
        ("secret_access_key", secret),
        ("allow_http", "true"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn server() -> Option<String> {
    let server = std::env::var("HOLDFAST_TEST_S3").ok().filter(|server| !server.is_empty());
    if server.is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: HOLDFAST_TEST_S3 is not set; sites on S3 go untested");
    }
    server
}

#[tokio::test]
async fn passes_the_suite() {
    let Some(server) = server() else { return };
    // A fresh prefix: the suite wants an empty site.
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let site = sites::open(&format!("s3://holdfast-conformance/{run}"), &options(&server)).unwrap();
    sites::conformance::suite(site.as_ref()).await;
}

#[tokio::test]
async fn a_missing_bucket_and_a_wrong_key_are_told_apart_from_a_missing_name() {
    let Some(server) = server() else { return };
    let site = sites::open("s3://holdfast-no-such-bucket/x", &options(&server)).unwrap();
    let size = site.size("a").await;
    assert!(matches!(size, Err(SiteError::Down(_))), "{size:?}");

    let mut wrong = options(&server);
    wrong.insert("secret_access_key".to_owned(), "wrong".to_owned());
    let site = sites::open("s3://holdfast-conformance/x", &wrong).unwrap();
    let put = site.put("a", &[Bytes::from_static(b"x")]).await;
    assert!(matches!(put, Err(SiteError::Denied(_))), "{put:?}");
}

/// A port that refuses and one that swallows: neither may cost more than the deadlines.
#[tokio::test]
async fn a_dead_server_is_down() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let site = sites::open("s3://b/x", &options(&format!("{refusing},key,secret"))).unwrap();
    let put = site.put("a", &[Bytes::from_static(b"x")]).await;
    assert!(matches!(put, Err(SiteError::Down(_))), "{put:?}");
    assert!(!format!("{put:?}").contains("secret"));
}
