//! Webhooks: each message is a POST, taken when the answer is 2xx.

use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base::chain;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use store::{Message, Target, TargetError};

use crate::OptionError;

/// The header of the signature: `sha256=` and the HMAC-SHA-256 of the body in hexadecimal, as GitHub's webhooks
/// have it.
const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
/// The header of the message's id, which a repetition has again.
const DELIVERY: HeaderName = HeaderName::from_static("x-holdfast-delivery");

/// A webhook as configured.
pub struct WebhookOptions {
    /// `http://` or `https://`; certificates are judged by the system's roots.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub bearer_token: Option<String>,
    /// Signs the body.
    pub secret: Option<String>,
    /// For connection and answer together.
    pub timeout: Duration,
}

/// Sends to a webhook.
pub struct Webhook {
    client: Client,
    url: Url,
    headers: HeaderMap,
    key: Option<hmac::Key>,
    timeout: Duration,
}

impl Webhook {
    /// A webhook; nothing is sent yet.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: WebhookOptions) -> Result<Self, OptionError> {
        let wrong = || OptionError::Url(options.url.clone(), "https://host/path");
        let url = Url::parse(&options.url).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OptionError::Secrets);
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &options.bearer_token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| OptionError::Header("bearer_token_file"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // A redirected POST would become a GET without its body, and go where nobody said. A proxy of the
        // environment is not the configuration's.
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(options.timeout);
        let client = client.build().map_err(|error| OptionError::Client(error.to_string()))?;
        let key = options.secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        Ok(Self { client, url, headers, key, timeout: options.timeout })
    }

    fn failed(&self, error: reqwest::Error) -> TargetError {
        if error.is_timeout() {
            return TargetError::Late(self.timeout);
        }
        TargetError::Unreachable(chain(&error.without_url()))
    }
}

#[async_trait]
impl Target for Webhook {
    async fn send(&self, message: &Message) -> Result<(), TargetError> {
        let mut request = self.client.post(self.url.clone()).headers(self.headers.clone());
        if let Some(key) = &self.key {
            let tag = hmac::sign(key, &message.body);
            request = request.header(SIGNATURE, format!("sha256={}", hex::encode(tag.as_ref())));
        }
        let request = request.header(DELIVERY, &message.id).body(message.body.clone());
        // The answer's body says nothing and is not read.
        let status = request.send().await.map_err(|error| self.failed(error))?.status();
        if status.is_success() { Ok(()) } else { Err(TargetError::Refused(format!("it answers {status}"))) }
    }

    fn kind(&self) -> &'static str {
        "webhook"
    }

    /// Without the query, which may hold a key.
    fn address(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }
}
