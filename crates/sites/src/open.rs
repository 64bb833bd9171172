//! From a site's URL to the site, and the marker that says whose it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{Classify, ErrorKind};
use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{Certificate, ClientConfigKey, ClientOptions, RetryConfig};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Folder, Object, Site, SiteError};

/// The name of the file that says whose site this is. The only name that is ever rewritten.
pub const MARKER: &str = "holdfast-site.json";
/// Largest marker that is read, bytes.
const MARKER_MAX: u64 = 16 * 1024;

/// A live site takes a connection well within this; a dead one should be noticed soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bounds one request. The pool's own deadlines are shorter; this one frees the connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// An unused connection is closed by us, before most servers do it: a request that meets their closing fails. (`site serve` and
/// nginx: 60 seconds or more; AWS: about 20.)
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The option with certificates to trust, in PEM: `object_store` has none that a configuration could name.
const CA_CERTIFICATE: &str = "ca_certificate";

/// Why a configured site cannot be used at all. No variant carries an option's value: some are
/// secrets.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL, or one that lacks something.
    #[error("site {url}: {why}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// An option that this kind of site does not have.
    #[error("site {url}: there is no option {option:?}; {hint}")]
    Option {
        /// As configured.
        url: String,
        /// The option's name.
        option: String,
        /// What there is.
        hint: &'static str,
    },
    /// The provider's client refuses the configuration.
    #[error("site {url}: {source}")]
    Provider {
        /// As configured.
        url: String,
        /// The client's own words.
        source: object_store::Error,
    },
    /// The folder cannot be used.
    #[error("site {url}: {source}")]
    Folder {
        /// As configured.
        url: String,
        /// Why.
        source: SiteError,
    },
}

impl Classify for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::Option { .. } | Self::Provider { .. } => ErrorKind::Invalid,
            Self::Folder { source, .. } => source.kind(),
        }
    }
}

/// Opens the site at `url`: `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix` or
/// `az://container/prefix`. `options` are those of the `object_store` crate for the provider,
/// for S3 for example `endpoint`, `region`, `access_key_id`, `secret_access_key`, `allow_http`; and `ca_certificate`, authorities
/// to trust beside the system's, in PEM.
///
/// To S3 bodies go unsigned unless the endpoint is plain HTTP to another machine, or `unsigned_payload` says otherwise: shards have sums
/// of their own, TLS has as well, and SHA-256 costs more than all else that is done to a body.
///
/// A site that does not answer is opened all the same: it is down, and may come back.
///
/// # Errors
/// [`OpenError`] for what no waiting will mend.
pub fn open(url: &str, options: &BTreeMap<String, String>) -> Result<Arc<dyn Site>, OpenError> {
    let wrong = |why: String| OpenError::Url { url: redact(url), why };
    let parsed =
        Url::parse(url).map_err(|error| wrong(format!("{error}; write file:///path or s3://bucket/prefix")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() {
        return Err(wrong("credentials and parameters belong in the site's options, not in its URL".to_owned()));
    }
    match parsed.scheme() {
        "file" => folder(&parsed, options),
        "s3" => s3(&parsed, options),
        "gs" => gs(&parsed, options),
        "az" => az(&parsed, options),
        "memory" => Err(wrong("a site in memory forgets everything; use file:///path".to_owned())),
        other => Err(wrong(format!("unknown scheme {other}; use file, s3, gs or az"))),
    }
}

/// The URL without what may be a secret.
fn redact(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) => {
            // Fails only for URLs that cannot have any.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.set_query(None);
            parsed.to_string()
        }
        Err(_) => {
            let before_query = url.split('?').next().unwrap_or_default();
            before_query.rsplit('@').next().unwrap_or_default().to_owned()
        }
    }
}

fn folder(url: &Url, options: &BTreeMap<String, String>) -> Result<Arc<dyn Site>, OpenError> {
    if let Some(option) = options.keys().next() {
        return Err(OpenError::Option {
            url: url.to_string(),
            option: option.clone(),
            hint: "a folder has no options",
        });
    }
    let path: PathBuf = url.to_file_path().map_err(|()| OpenError::Url {
        url: url.to_string(),
        why: "not a local path; write file:///absolute/path, with three slashes".to_owned(),
    })?;
    let site = Folder::open(path).map_err(|source| OpenError::Folder { url: url.to_string(), source })?;
    Ok(Arc::new(site))
}

fn bucket(url: &Url) -> Result<&str, OpenError> {
    url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| OpenError::Url {
        url: url.to_string(),
        why: format!("no bucket; write {}://bucket/prefix", url.scheme()),
    })
}

/// Options that a provider has to understand.
type Rest<'o> = Vec<(&'o String, &'o String)>;

/// Our deadlines, then what the options say about the connection; and the options left over.
fn client<'o>(url: &Url, options: &'o BTreeMap<String, String>) -> Result<(ClientOptions, Rest<'o>), OpenError> {
    let mut client = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
        .with_pool_idle_timeout(IDLE_TIMEOUT);
    let mut left = Vec::new();
    for (name, value) in options {
        if name == CA_CERTIFICATE {
            let found = Certificate::from_pem_bundle(value.as_bytes());
            let found = found.map_err(|source| OpenError::Provider { url: url.to_string(), source })?;
            if found.is_empty() {
                let why = format!("{CA_CERTIFICATE} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)");
                return Err(OpenError::Url { url: url.to_string(), why });
            }
            client = found.into_iter().fold(client, ClientOptions::with_root_certificate);
            continue;
        }
        match name.parse::<ClientConfigKey>() {
            Ok(key) => client = client.with_config(key, value),
            Err(_) => left.push((name, value)),
        }
    }
    Ok((client, left))
}

/// Whether what is sent to an endpoint passes nobody who could change it: it stays on this machine, or goes over TLS, as to AWS
/// itself, where there is no endpoint. `aws_endpoint` and others are names for the same option.
fn private(options: &BTreeMap<String, String>) -> bool {
    let endpoint = options.iter().find(|(name, _)| {
        matches!(name.parse::<AmazonS3ConfigKey>(), Ok(AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint))
    });
    let Some((_, endpoint)) = endpoint else { return true };
    let Ok(endpoint) = Url::parse(endpoint) else { return false };
    endpoint.scheme() == "https"
        || match endpoint.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            // A name leads where who answers for it says.
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// The pool decides what to do instead of a failed request: trying again is not it.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: REQUEST_TIMEOUT, ..RetryConfig::default() }
}

fn provider<'a, S: object_store::ObjectStore>(
    url: &'a Url,
) -> impl Fn(object_store::Result<S>) -> Result<Arc<dyn Site>, OpenError> + 'a {
    move |store| {
        let store = store.map_err(|source| OpenError::Provider { url: url.to_string(), source })?;
        Ok(Arc::new(Object::new(Arc::new(store), url.path())))
    }
}

fn unknown(url: &Url, option: &str, hint: &'static str) -> OpenError {
    OpenError::Option { url: url.to_string(), option: option.to_owned(), hint }
}

fn s3(url: &Url, options: &BTreeMap<String, String>) -> Result<Arc<dyn Site>, OpenError> {
    let (client, rest) = client(url, options)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket(url)?)
        .with_client_options(client)
        .with_retry(no_retries())
        .with_unsigned_payload(private(options))
        // One request per name: simpler, and understood by every S3 there is.
        .with_disable_bulk_delete(true);
    for (name, value) in rest {
        let hint = "S3 has endpoint, region, access_key_id, secret_access_key and allow_http, among others";
        let key: AmazonS3ConfigKey = name.parse().map_err(|_| unknown(url, name, hint))?;
        builder = builder.with_config(key, value);
    }
    provider(url)(builder.build())
}

fn gs(url: &Url, options: &BTreeMap<String, String>) -> Result<Arc<dyn Site>, OpenError> {
    let (client, rest) = client(url, options)?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket(url)?)
        .with_client_options(client)
        .with_retry(no_retries());
    for (name, value) in rest {
        let hint = "Google has service_account, service_account_key and application_credentials, among others";
        let key: GoogleConfigKey = name.parse().map_err(|_| unknown(url, name, hint))?;
        builder = builder.with_config(key, value);
    }
    provider(url)(builder.build())
}

fn az(url: &Url, options: &BTreeMap<String, String>) -> Result<Arc<dyn Site>, OpenError> {
    let (client, rest) = client(url, options)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(bucket(url)?)
        .with_client_options(client)
        .with_retry(no_retries());
    for (name, value) in rest {
        let hint = "Azure has account_name, access_key, sas_key and endpoint, among others";
        let key: AzureConfigKey = name.parse().map_err(|_| unknown(url, name, hint))?;
        builder = builder.with_config(key, value);
    }
    provider(url)(builder.build())
}

/// Whose site this is. JSON, so that a person who finds a disk can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The cluster's id.
    pub cluster: String,
    /// Which of the five it is, 0 to 4.
    pub slot: u8,
    /// Its name in the configuration.
    pub name: String,
    /// When the site joined the cluster, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// Reads the marker. `None`: the site is there and has none, or one that is torn or not ours to
/// understand.
///
/// # Errors
/// [`SiteError`] where the site does not answer.
pub async fn read_marker(site: &dyn Site) -> Result<Option<Marker>, SiteError> {
    let size = match site.size(MARKER).await {
        Err(SiteError::NotFound { .. }) => return Ok(None),
        size => size?,
    };
    if size == 0 || size > MARKER_MAX {
        tracing::warn!(size, "a site's {MARKER} has no sensible size");
        return Ok(None);
    }
    match site.get(MARKER, 0..size).await {
        Ok(bytes) => {
            let marker = serde_json::from_slice(&bytes);
            Ok(marker.inspect_err(|error| tracing::warn!(%error, "a site's {MARKER} cannot be understood")).ok())
        }
        // Replaced or removed just now.
        Err(SiteError::NotFound { .. } | SiteError::Short { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the marker, in place of the one that may be there.
///
/// # Errors
/// [`SiteError`] where the site does not take it.
pub async fn write_marker(site: &dyn Site, marker: &Marker) -> Result<(), SiteError> {
    let text = serde_json::to_vec_pretty(marker).map_err(|error| SiteError::Denied(format!("marker: {error}")))?;
    site.put(MARKER, &[Bytes::from(text)]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    fn options(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn urls() {
        let s3_options = [
            ("endpoint", "http://127.0.0.1:1"),
            ("region", "r"),
            ("access_key_id", "k"),
            ("secret_access_key", "s"),
            ("allow_http", "true"),
        ];
        assert!(open("s3://bucket/prefix", &options(&s3_options)).is_ok());
        assert!(open("gs://bucket", &options(&[("skip_signature", "true")])).is_ok());
        assert!(open("az://container/p", &options(&[("account_name", "a"), ("access_key", "c2VjcmV0")])).is_ok());
        let folder = tempfile::tempdir().unwrap();
        assert!(open(&format!("file://{}", folder.path().display()), &options(&[])).is_ok());
        assert!(open("file:///not/there/yet", &options(&[])).is_ok(), "down, not wrong");
    }

    #[test]
    fn bodies_go_unsigned_where_nobody_passes_them() {
        for (given, expected) in [
            (vec![], true),
            (vec![("endpoint", "https://dc2.example:9100")], true),
            (vec![("endpoint", "http://127.0.0.1:9100")], true),
            (vec![("endpoint_url", "http://[::1]:9100")], true),
            (vec![("endpoint", "http://localhost:9100")], true),
            (vec![("endpoint", "http://10.0.0.7:9100")], false),
            (vec![("aws_endpoint", "http://10.0.0.7:9100")], false),
            (vec![("aws_endpoint_url", "http://127.0.0.1.example:9100")], false),
            (vec![("endpoint", "10.0.0.7:9100")], false),
        ] {
            assert_eq!(private(&options(&given)), expected, "{given:?}");
        }
    }

    #[test]
    fn mistakes_name_the_site_and_the_cure() {
        for (url, given, expected) in [
            ("nonsense", vec![], "file:///path"),
            ("memory://", vec![], "file:///path"),
            ("ftp://x", vec![], "use file, s3, gs or az"),
            ("file://host/x", vec![], "three slashes"),
            ("file:///x", vec![("region", "r")], "has no options"),
            ("s3:///prefix", vec![], "s3://bucket/prefix"),
            ("s3://b", vec![("bukket", "r")], "endpoint, region"),
            ("gs://b", vec![("region", "r")], "service_account"),
            ("s3://b", vec![("ca_certificate", "not at all")], "no certificate in PEM"),
        ] {
            let text = open(url, &options(&given)).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.starts_with("site ") && text.contains(expected), "{url}: {text:?}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        for url in ["s3://key:hushhush@bucket", "s3://bucket?secret=hushhush", "hushhush@no url at all"] {
            let error = open(url, &options(&[("nonsense", "hushhush")])).err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hushhush"), "{text}");
        }
    }

    #[tokio::test]
    async fn markers() {
        let site = Memory::new();
        assert_eq!(read_marker(&site).await.unwrap(), None);
        let mut marker = Marker { cluster: "c".into(), slot: 3, name: "dc4".into(), created_ms: 5 };
        for slot in [3, 4] {
            marker.slot = slot;
            write_marker(&site, &marker).await.unwrap();
            assert_eq!(read_marker(&site).await.unwrap(), Some(marker.clone()));
        }
        for junk in [&b"{\"cluster\":"[..], b"", &[b' '; 20_000]] {
            site.put(MARKER, &[Bytes::from(junk.to_vec())]).await.unwrap();
            assert_eq!(read_marker(&site).await.unwrap(), None);
        }
    }
}
