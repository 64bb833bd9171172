//! A site server on a free port of this machine, and the way to it that gateways take.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use blobs::{Keys, Options, limits};
use listener::ServeError;
use sites::Site;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const ACCESS_KEY: &str = "SITEACCESSKEY";
const SECRET_KEY: &str = "site-secret-key-0123456789";

/// A server that serves until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Served {
    pub async fn new(site: Arc<dyn Site>) -> Self {
        let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Keys { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned().into() };
        let stop = CancellationToken::new();
        let options = Options { keys, memory: limits::MEMORY };
        let task = Some(tokio::spawn(blobs::serve(listener, site, options, stop.clone())));
        Self { address, stop, task }
    }

    /// The options of a gateway's configuration, with some others.
    pub fn options(&self, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let endpoint = format!("http://{}", self.address);
        let usual = [
            ("endpoint", endpoint.as_str()),
            ("access_key_id", ACCESS_KEY),
            ("secret_access_key", SECRET_KEY),
            ("allow_http", "true"),
        ];
        let all = usual.iter().chain(more);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    pub fn open(&self, prefix: &str, more: &[(&str, &str)]) -> Arc<dyn Site> {
        sites::open(&format!("s3://site/{prefix}"), &self.options(more)).unwrap()
    }

    /// Stops it, and waits until it has let go of the site.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
