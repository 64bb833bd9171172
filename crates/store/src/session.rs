//! Temporary credentials. Nothing of them is stored: the secret follows from the access key, and
//! the session token holds, sealed, whom they act for, within which policy and until when.
//! `docs/design/0008-identities.md` says why.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meta::record::Record;
use policy::{Kind, Policy};
use serde::{Deserialize, Serialize};

use crate::credential::unique_id;
use crate::principal::{Principal, Session};
use crate::{Error, Store};

/// How temporary access keys begin. Permanent ones never do.
pub(crate) const TEMPORARY_PREFIX: &str = "HFTS";
/// Most characters of a session policy (STS API reference, `AssumeRole`).
pub const SESSION_POLICY_MAX: usize = 2_048;
/// Most characters of a session token: the longest policy sealed and encoded, with room.
const TOKEN_MAX: usize = 8 * 1024;

/// What a session token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    /// The access key that made the credentials.
    parent: String,
    /// The unique id of whom that key belonged to then.
    id: String,
    issued_ms: u64,
    expires_ms: u64,
    policy: Option<String>,
    /// Of the secret that the key had then: with another one it is another key.
    secret_digest: [u8; 32],
}

impl Record for Claims {
    const NAME: &'static str = "session token";
}

fn digest_of(secret: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    bytes
}

/// Credentials just made.
pub struct TemporaryCredentials {
    /// The access key.
    pub access_key: String,
    /// The secret access key.
    pub secret: String,
    /// To be sent with every request.
    pub token: String,
    /// Milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

impl Store {
    /// Whether an access key is of temporary credentials.
    pub fn is_temporary(&self, access_key: &str) -> bool {
        access_key.starts_with(TEMPORARY_PREFIX) && access_key != self.0.root.0
    }

    /// The secret of a temporary access key, whether or not it was ever given out: without the
    /// token that belongs to it, it opens nothing.
    ///
    /// # Errors
    /// [`Error::Key`] never in practice.
    pub fn temporary_secret(&self, access_key: &str) -> Result<String, Error> {
        Ok(self.0.keys.temporary_secret(access_key)?.to_string())
    }

    /// Makes temporary credentials that act for the owner of the access key `parent`, for so many
    /// seconds, within a policy. The caller has verified that the request was signed with it.
    ///
    /// # Errors
    /// [`Error::Policy`] for a policy that is none, [`Error::TooLarge`] for one of more than 2,048
    /// bytes, [`Error::Invalid`] when `parent` is itself temporary, [`Error::InvalidToken`] when it is gone, or as
    /// [`Self::authenticate`].
    pub async fn create_session(
        &self,
        parent: &str,
        principal: &Principal,
        policy: Option<&str>,
        seconds: u32,
    ) -> Result<TemporaryCredentials, Error> {
        if self.is_temporary(parent) || principal.session().is_some() {
            return Err(Error::Invalid("temporary credentials cannot make others"));
        }
        if let Some(policy) = policy {
            if policy.len() > SESSION_POLICY_MAX {
                return Err(Error::TooLarge { what: "the session policy", max: SESSION_POLICY_MAX as u64 });
            }
            Policy::parse(policy.as_bytes(), Kind::Identity)?;
        }
        let (parent_secret, _) = self.authenticate(parent).await?.ok_or(Error::InvalidToken)?;
        let secret_digest = digest_of(&parent_secret);
        let rng = self.0.options.doors.rng.as_ref();
        let access_key = unique_id(TEMPORARY_PREFIX, rng);
        let issued_ms = self.now_ms();
        let expires_ms = issued_ms + u64::from(seconds) * 1000;
        let id = principal.id().to_owned();
        let policy = policy.map(str::to_owned);
        let claims = Claims { parent: parent.to_owned(), id, issued_ms, expires_ms, policy, secret_digest };
        let sealed = self.0.keys.seal_token(&access_key, &claims.encode(), rng)?;
        let secret = self.temporary_secret(&access_key)?;
        Ok(TemporaryCredentials { access_key, secret, token: URL_SAFE_NO_PAD.encode(sealed), expires_ms })
    }

    /// Whom temporary credentials act for now. The token must belong to the access key; that the
    /// request was signed with the key's secret is for the caller to verify.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], also when the key that made them is gone, disabled or has another secret;
    /// [`Error::ExpiredToken`]; or as [`Self::authenticate`].
    pub async fn session_principal(&self, access_key: &str, token: &str) -> Result<Principal, Error> {
        if !self.is_temporary(access_key) || token.len() > TOKEN_MAX {
            return Err(Error::InvalidToken);
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::InvalidToken)?;
        // Opening compares in constant time, and fails for another access key's token.
        let claims = self.0.keys.open_token(access_key, &sealed).map_err(|_| Error::InvalidToken)?;
        let claims = Claims::decode(&claims).map_err(|_| Error::InvalidToken)?;
        if claims.expires_ms <= self.now_ms() {
            return Err(Error::ExpiredToken);
        }
        let policy = claims.policy.map(|policy| Policy::stored(policy.as_bytes(), Kind::Identity)).transpose();
        let policy = policy.map_err(|_| Error::InvalidToken)?;
        let (secret, parent) = self.authenticate(&claims.parent).await?.ok_or(Error::InvalidToken)?;
        let same_secret = verify_slices_are_equal(&digest_of(&secret), &claims.secret_digest).is_ok();
        if parent.id() != claims.id || !same_secret {
            return Err(Error::InvalidToken);
        }
        let (issued_ms, expires_ms) = (claims.issued_ms, claims.expires_ms);
        Ok(parent.in_session(Arc::new(Session { issued_ms, expires_ms, policy })))
    }
}
