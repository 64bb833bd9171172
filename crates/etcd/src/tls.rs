//! TLS to the members: which authorities are trusted, and the certificate that we show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::SetupError;

/// Files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities to trust; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, for members with `--client-cert-auth`.
    pub client: Option<(PathBuf, PathBuf)>,
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> SetupError {
    SetupError::File { path: path.display().to_string(), why: why.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong(path, error))?;
    if found.is_empty() { Err(wrong(path, "there is no certificate in PEM")) } else { Ok(found) }
}

pub(crate) fn config(files: &TlsFiles) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| SetupError::Tls(error.to_string()))?.with_root_certificates(roots);
    let Some((cert, key)) = &files.client else { return Ok(builder.with_no_client_auth()) };
    // The cause of a key that is not read could quote it.
    let private = PrivateKeyDer::from_pem_file(key).map_err(|_| wrong(key, "there is no private key in PEM"))?;
    builder.with_client_auth_cert(certificates(cert)?, private).map_err(|error| wrong(cert, error))
}
