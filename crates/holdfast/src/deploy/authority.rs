//! Authorities and certificates for `deploy`: made once, kept, and made again before they end. What a certificate is for stands above it
//! in its file, in words that PEM readers pass over, so that nobody has to parse X.509 to see whether it still fits.

use base::{Rng, SystemRng};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use time::{Date, Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{Existing, File, Mistakes, Renew};

/// Days that an authority lasts.
const AUTHORITY_DAYS: i64 = 3650;
/// Days that a certificate lasts.
const LEAF_DAYS: i64 = 365;
/// Clocks of machines may be so far behind.
const BEFORE: Duration = Duration::HOUR;

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Server,
    Client,
    Both,
}

/// A certificate that there shall be.
pub(crate) struct Leaf<'a> {
    /// Where it goes, without `.crt` and `.key`.
    pub(crate) path: &'a str,
    /// What it is for, in a word or two.
    pub(crate) role: &'a str,
    pub(crate) names: Vec<String>,
    pub(crate) usage: Use,
}

/// Who signs: its certificate, and its key where that is here.
pub(crate) struct Authority {
    path: &'static str,
    cluster: String,
    certificate: String,
    key: Option<KeyPair>,
    now: OffsetDateTime,
}

impl Authority {
    /// The one that is there, or a new one. Its files go to `files`. `copies` are where machines have its certificate: with one of those no
    /// new authority is made when `path` was taken away, as it should be.
    ///
    /// # Errors
    /// The one that is there is not usable, or of another cluster.
    pub(crate) fn obtain(
        path: &'static str,
        cluster: &str,
        copies: &[String],
        existing: &dyn Existing,
        now: OffsetDateTime,
        files: &mut Vec<File>,
    ) -> Result<Self, Mistakes> {
        let (crt, key) = (format!("{path}.crt"), format!("{path}.key"));
        let mut certificate = text(existing, &crt)?;
        for copy in copies {
            if certificate.is_none() {
                certificate = text(existing, copy)?;
            }
        }
        let there = (certificate, text(existing, &key)?);
        let (certificate, key_text) = match there {
            (None, None) => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
                let until = now + Duration::days(AUTHORITY_DAYS);
                let signed = params_of_authority(cluster, now, until).self_signed(&pair).map_err(failed)?;
                let head = head(&format!("authority of {cluster}"), &[], until);
                (head + &signed.pem(), Some(Zeroizing::new(pair.serialize_pem())))
            }
            (None, Some(_)) => return Err(one(format!("{key} is there and {crt} is not: put it back"))),
            (Some(certificate), key) => (certificate.to_string(), key),
        };
        if !certificate.starts_with(&format!("# authority of {cluster};")) {
            return Err(one(format!("{crt} is not the authority of {cluster}: another cluster's folder, or name?")));
        }
        let unusable = |error| one(format!("{key} is no usable key: {error}"));
        let pair = key_text.as_ref().map(|text| KeyPair::from_pem(text)).transpose().map_err(unusable)?;
        files.push(File::public(&crt, &certificate));
        if let Some(text) = key_text {
            files.push(File::secret(&key, text));
        }
        Ok(Self { path, cluster: cluster.to_owned(), certificate, key: pair, now })
    }

    /// In PEM, with words above it.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The certificate that is there, if it has the same names and role and is not to be renewed, or a new one; the key stays what it is
    /// unless another one is asked for.
    ///
    /// # Errors
    /// A certificate must be signed, and the authority's key is not here; or one that is there is not usable.
    pub(crate) fn leaf(
        &self,
        leaf: &Leaf<'_>,
        existing: &dyn Existing,
        renew: Option<Renew>,
        files: &mut Vec<File>,
    ) -> Result<(), Mistakes> {
        let (crt, key) = (format!("{}.crt", leaf.path), format!("{}.key", leaf.path));
        let (old, old_key) = (text(existing, &crt)?, text(existing, &key)?);
        let fits = old.as_ref().is_some_and(|old| old.starts_with(&title(leaf.role, &leaf.names)));
        let ends = old.as_ref().and_then(|old| until(old));
        let due = renew.is_some_and(|renew| {
            renew.new_keys || ends.is_none_or(|ends| ends <= (self.now + Duration::days(renew.within_days)).date())
        });
        if let (Some(old), Some(old_key), true, false) = (&old, &old_key, fits, due) {
            files.push(File::public(&crt, old));
            files.push(File::secret(&key, old_key.clone()));
            return Ok(());
        }
        let Some(signer) = &self.key else {
            return Err(one(format!(
                "{crt} must be signed, and {}.key is not here: bring it back for this, and take it away again",
                self.path
            )));
        };
        let new_keys = renew.is_some_and(|renew| renew.new_keys);
        let pair = match old_key.filter(|_| !new_keys) {
            Some(text) => KeyPair::from_pem(&text).map_err(|error| one(format!("{key} is no usable key: {error}")))?,
            None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?,
        };
        let end = self.now + Duration::days(LEAF_DAYS);
        let params = params_of_leaf(&self.cluster, leaf, self.now, end)?;
        // Of the authority's certificate only its name and its key's go into another one.
        let authority = params_of_authority(&self.cluster, self.now, end);
        let signed = params.signed_by(&pair, &Issuer::from_params(&authority, signer)).map_err(failed)?;
        files.push(File::public(&crt, &(head(leaf.role, &leaf.names, end) + &signed.pem())));
        files.push(File::renewed_secret(&key, Zeroizing::new(pair.serialize_pem()), new_keys));
        Ok(())
    }
}

fn params_of_authority(cluster: &str, now: OffsetDateTime, until: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(cluster, Some("Holdfast authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = now - BEFORE;
    params.not_after = until;
    params
}

fn params_of_leaf(
    cluster: &str,
    leaf: &Leaf<'_>,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<CertificateParams, Mistakes> {
    let mut params = CertificateParams::new(leaf.names.clone()).map_err(failed)?;
    // A client has no common name: etcd would take it for the name of a user, and let it in without a password.
    let common = (leaf.usage != Use::Client).then_some(leaf.role);
    params.distinguished_name = distinguished(cluster, common);
    params.is_ca = IsCa::ExplicitNoCa;
    // Of two certificates for one key as well: else they would share issuer and number (RFC 5280, 4.1.2.2).
    let mut serial = [0; 16];
    SystemRng.fill(&mut serial);
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match leaf.usage {
        Use::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Use::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Use::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - BEFORE;
    params.not_after = until;
    Ok(params)
}

fn distinguished(cluster: &str, common: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster);
    if let Some(common) = common {
        name.push(DnType::CommonName, common);
    }
    name
}

fn title(role: &str, names: &[String]) -> String {
    format!("# {role}; for {}; until ", names.join(","))
}

fn head(role: &str, names: &[String], until: OffsetDateTime) -> String {
    format!("{}{}\n", title(role, names), until.date())
}

/// The last day of a certificate that was made here.
pub(crate) fn until(certificate: &str) -> Option<Date> {
    let day = certificate.lines().next()?.rsplit_once("; until ")?.1;
    Date::parse(day.trim(), time::macros::format_description!("[year]-[month]-[day]")).ok()
}

fn text(existing: &dyn Existing, path: &str) -> Result<Option<Zeroizing<String>>, Mistakes> {
    existing.read(path).map_err(|error| one(format!("{path}: {error}")))
}

fn one(text: String) -> Mistakes {
    Mistakes(vec![text])
}

fn failed(error: rcgen::Error) -> Mistakes {
    one(format!("making a certificate: {error}"))
}
