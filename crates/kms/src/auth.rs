//! Whom a request acts for: its signature, and the token of temporary credentials.

use http::request::Parts;
use sigv4::Authorization;
use store::Store;
use store::api::Principal;

use crate::error::{Code, Fault, unrecognized};
use crate::limits::CLOCK_SKEW_SECONDS;

/// The service in signatures.
const SERVICE: &str = "kms";
const SECURITY_TOKEN: &str = "x-amz-security-token";

/// Whom a request says it is from, found before its body is read: a stranger makes the server hold none.
pub(crate) struct Claim {
    access_key: String,
    secret: String,
    principal: Principal,
}

/// A header that is there once. The signature covers one value; of two, another could be acted on.
pub(crate) fn header<'h>(head: &'h Parts, name: &str) -> Option<&'h str> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

impl Claim {
    /// # Errors
    /// AWS's names for what is missing, malformed, unknown or too old.
    pub(crate) async fn of(store: &Store, head: &Parts) -> Result<Self, Fault> {
        let missing = || Fault::new(Code::MissingToken, "Request is missing Authentication Token");
        let incomplete = |words: &str| Fault::new(Code::IncompleteSignature, words);
        if !head.headers.contains_key("authorization") {
            return Err(missing());
        }
        let authorization = header(head, "authorization").and_then(Authorization::parse).ok_or_else(|| {
            incomplete("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters of AWS4-HMAC-SHA256.")
        })?;
        if authorization.service != SERVICE {
            let words = format!("Credential should be scoped to correct service: '{SERVICE}'. ");
            return Err(Fault::new(Code::InvalidSignature, words));
        }
        // The operation is named by a header: who may change it could turn a request into another.
        let ours = head.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-"));
        if let Some(name) = ours.into_iter().find(|name| !authorization.signed.contains(name)) {
            return Err(incomplete(&format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
        let access_key = authorization.access_key.to_owned();
        let is_temporary = store.is_temporary(&access_key);
        let (secret, principal) = match (header(head, SECURITY_TOKEN), head.headers.contains_key(SECURITY_TOKEN)) {
            (Some(token), _) if is_temporary => {
                let principal = store.session_principal(&access_key, token).await?;
                (store.temporary_secret(&access_key)?, principal)
            }
            (None, false) if !is_temporary => store.authenticate(&access_key).await?.ok_or_else(unrecognized)?,
            _ => return Err(unrecognized()),
        };
        Ok(Self { access_key, secret, principal })
    }

    /// Whom it is from, now that its body is there.
    ///
    /// # Errors
    /// `InvalidSignatureException`, `IncompleteSignatureException`.
    pub(crate) fn verify(self, head: &Parts, body: &[u8], now_s: u64) -> Result<Principal, Fault> {
        let request = sigv4::Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            host: header(head, "host").unwrap_or_default(),
            body,
        };
        let header = |name: &str| header(head, name);
        request.verify(header, &self.access_key, &self.secret, SERVICE, now_s, CLOCK_SKEW_SECONDS)?;
        Ok(self.principal)
    }
}
