//! A client of the admin API: what the command line uses.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Problem;
use crate::{REGION, SERVICE, sigv4};

/// Bytes of an answer: ten thousand users with room.
const ANSWER_MAX: usize = 64 << 20;
/// Time for an answer. No request of this API waits for long work.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is no `http://host:port` or `https://host:port`.
    #[error("{0} is not an admin address; give one like http://127.0.0.1:9001 or https://HOST:9001")]
    Address(String),
    /// The file of certificates to trust is none.
    #[error("{path} holds no certificate in PEM that can be trusted")]
    Authority {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answers.
    #[error("no server answers at {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// The connection's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server says no.
    #[error("{}", .0.error)]
    Refused(Problem),
    /// The answer is not what this version understands.
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
}

/// Calls one server with the root credentials.
pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    access_key: String,
    secret_key: String,
    /// Told what an answer says it lacks.
    degraded: fn(&str),
}

impl Client {
    /// A client of the server at `url`, whose certificate must be by one of `authorities`, a file in PEM, or, without it, by
    /// one that the system trusts.
    ///
    /// # Errors
    /// [`ClientError::Authority`].
    pub fn new(
        url: &str,
        authorities: Option<&Path>,
        access_key: String,
        secret_key: String,
    ) -> Result<Self, ClientError> {
        let url = url.trim_end_matches('/').to_owned();
        let roots = if url.starts_with("https://") { roots(authorities)? } else { RootCertStore::empty() };
        let provider = std::sync::Arc::new(listener::provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| ClientError::Answer(error.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self {
            http: Http::builder(TokioExecutor::new()).build(connector),
            url,
            access_key,
            secret_key,
            degraded: |_| (),
        })
    }

    /// The same, with whom to tell when an answer says that it is less than it should be.
    #[must_use]
    pub fn telling(self, degraded: fn(&str)) -> Self {
        Self { degraded, ..self }
    }

    /// Calls `method path`; path segments that come from people are to be percent-encoded.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| ClientError::Answer(e.to_string()))?,
            None => Vec::new(),
        };
        let (plain_path, query) = path.split_once('?').unwrap_or((path, ""));
        let address = || ClientError::Address(self.url.clone());
        let host = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let host = host.filter(|host| !host.contains('/')).ok_or_else(address)?;
        let request = sigv4::Request { method, path: plain_path, query, host, body: &body };
        let signed = request.sign(&self.access_key, &self.secret_key, REGION, SERVICE, sigv4::now_s());
        let mut builder = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("host", host)
            .header("content-type", "application/json");
        for (name, value) in signed {
            builder = builder.header(name, value);
        }
        let request = builder.body(Full::from(body)).map_err(|_| address())?;
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Unreachable {
            url: self.url.clone(),
            source,
        };
        // A server that is stopped or stuck accepts and says nothing; a cron job must not pile up.
        let answer = async {
            let response = self.http.request(request).await.map_err(|e| unreachable(e.into()))?;
            let status = response.status();
            if let Some(told) = response.headers().get(listener::degraded::DEGRADED).and_then(|told| told.to_str().ok())
            {
                (self.degraded)(told);
            }
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(unreachable)?;
            Ok((status, body.to_bytes()))
        };
        let (status, bytes) =
            tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(|late| unreachable(late.into()))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| ClientError::Answer(e.to_string()));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(_) => Err(ClientError::Answer(format!("HTTP {status}"))),
        }
    }
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        // What the system has and this library does not understand is nobody's mistake here.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let wrong = |source| ClientError::Authority { path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.into()))?;
    for certificate in found {
        roots.add(certificate.map_err(|error| wrong(error.into()))?).map_err(|error| wrong(error.into()))?;
    }
    if roots.is_empty() { Err(wrong("there is none".into())) } else { Ok(roots) }
}
