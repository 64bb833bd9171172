//! TLS of a listener: a certificate and its key from files, read again when they change.
//!
//! TLS 1.3 and 1.2 (RFC 8446, RFC 5246) by rustls over AWS-LC; a key is agreed on by X25519MLKEM768
//! (draft-ietf-tls-ecdhe-mlkem) with clients that know it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Bytes of a file: a long chain of certificates, with room.
const FILE_MAX: u64 = 1 << 20;
/// How often the files are looked at. A certificate is renewed days before it ends.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the TLS {what} {path} cannot be read")]
    Read {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A file is longer than any certificate or key.
    #[error("the TLS {what} {path} has more than {FILE_MAX} bytes")]
    TooLong {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("the TLS key {path} may be read by everybody (mode {mode:o}); run: chmod o= {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key.
    #[error("{path} holds no private key in PEM; it must be PKCS#8, PKCS#1 or SEC 1, without a passphrase")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is another certificate's.
    #[error("the TLS key {key} does not belong to the first certificate of {cert}; the server's own must come first")]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// They are of a kind that is not understood.
    #[error("the certificate {cert} cannot be used with the key {key}")]
    Unusable {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The library's words.
        #[source]
        source: rustls::Error,
    },
}

impl base::Classify for TlsError {
    fn kind(&self) -> base::ErrorKind {
        base::ErrorKind::Invalid
    }
}

/// A certificate and its key, as they are now. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    cert: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// What the files looked like before they were read last.
    seen: Mutex<[Stamp; 2]>,
}

/// What changes when a file is written or replaced: device, inode, size, time. `None`: it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its key, both in PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let seen = [stamp(cert), stamp(key)];
        let config = ArcSwap::from_pointee(config(cert, key)?);
        Ok(Self(Arc::new(Inner { cert: cert.to_owned(), key: key.to_owned(), config, seen: Mutex::new(seen) })))
    }

    /// Reads the files again, for connections that come from now on. When it fails, all stays as it was.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let Inner { cert, key, config: current, seen } = self.0.as_ref();
        // Before they are read: what is written meanwhile is seen as a change by the next look.
        *seen.lock() = [stamp(cert), stamp(key)];
        current.store(Arc::new(config(cert, key)?));
        Ok(())
    }

    /// Reads the files again when they change or the process gets SIGHUP, until `shutdown`. Files that do not fit together
    /// leave all as it was, until they change once more.
    pub async fn follow(self, shutdown: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP will not read the certificate again"))
            .ok();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = asked => {}
                _ = look.tick() => if !self.is_changed() { continue },
                () = shutdown.cancelled() => return,
            }
            // Two short files, rarely.
            let told = self.reload();
            let result = if told.is_ok() { "ok" } else { "failed" };
            metrics::counter!("holdfast_tls_reloads_total", "result" => result).increment(1);
            match told {
                Ok(()) => tracing::info!(cert = %self.0.cert.display(), "the TLS certificate was read again"),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::error!(%error, cause, "the TLS certificate stays the one that was");
                }
            }
        }
    }

    fn is_changed(&self) -> bool {
        *self.0.seen.lock() != [stamp(&self.0.cert), stamp(&self.0.key)]
    }

    /// What the next connection is greeted with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.config.load_full()
    }
}

fn stamp(path: &Path) -> Stamp {
    // Follows links: a mounted secret is changed by turning one elsewhere.
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// The cryptography of TLS here, for clients as well. Groups are named one by one, so that the order does not hang on a
/// feature of the library.
pub fn provider() -> CryptoProvider {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    CryptoProvider { kx_groups, ..default_provider() }
}

fn config(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = chain(cert)?;
    let private = private_key(key)?;
    let provider = provider();
    let unusable = |source| TlsError::Unusable { cert: cert.to_owned(), key: key.to_owned(), source };
    let certified = CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
        }
        error => unusable(error),
    })?;
    let versions = ServerConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = versions.map_err(unusable)?.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (text, _) = read("certificate", path)?;
    let none = || TlsError::NoCertificate { path: path.to_owned() };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| none())?;
    if chain.is_empty() { Err(none()) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (text, mode) = read("key", path)?;
    if mode & 0o007 != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::NoKey { path: path.to_owned() })
}

/// A file's bytes, wiped when they are done with, and its mode.
fn read(what: &'static str, path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), TlsError> {
    let failed = |source| TlsError::Read { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.len() > FILE_MAX {
        return Err(TlsError::TooLong { what, path: path.to_owned() });
    }
    // All at once: a vector that grows would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(FILE_MAX).unwrap_or_default()));
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok((bytes, found.mode() & 0o777))
}
