//! Which key of which KMS, and what is wrong with how it is named.

use std::collections::BTreeMap;

use keys::KeeperError;
use url::{Host, Url};

/// The kind's word.
pub const KIND: &str = "awskms";
/// Bytes of a key's name (AWS KMS: 2,048; what is told of a keeper has at most 256).
const KEY_MAX: usize = 256;

/// A key of a KMS. No secrets: credentials are found where AWS' own tools find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsOptions {
    /// Its ARN or id.
    pub key: String,
    /// Where the KMS is.
    pub endpoint: Url,
    /// What requests are signed for.
    pub region: String,
    /// A profile of the shared credentials file, instead of the environment's credentials.
    pub profile: Option<String>,
}

impl KmsOptions {
    /// From texts by name: `key`, and `endpoint`, `region` and `profile` where they are needed. An ARN says its
    /// region, and a region AWS' endpoint.
    ///
    /// # Errors
    /// [`KeeperError::Failed`].
    pub fn of(options: &BTreeMap<String, String>) -> Result<Self, KeeperError> {
        let wrong = |words: String| Err(KeeperError::Failed(words));
        let option = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let known = ["key", "endpoint", "region", "profile"];
        if let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) {
            return wrong(format!("a key of kind {KIND} has no {name}; it has {}", known.join(", ")));
        }
        let Some(key) = option("key") else { return wrong("there is no key; give its ARN".to_owned()) };
        if key.len() > KEY_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong(format!("{key:?} is not a key's ARN or id"));
        }
        if key.starts_with("alias/") || key.contains(":alias/") {
            return wrong(format!("{key} may come to mean another key; give the ARN of the key itself"));
        }
        let of_arn = key.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)).filter(|region| !region.is_empty());
        let Some(region) = option("region").or(of_arn) else {
            return wrong(format!("the region of {key} is not known; give the key's ARN, or the region"));
        };
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return wrong(format!("{region:?} is not a region"));
        }
        let endpoint = option("endpoint").map_or_else(|| format!("https://kms.{region}.amazonaws.com"), str::to_owned);
        let Ok(url) = Url::parse(&endpoint) else {
            return wrong(format!("{endpoint:?} is not a URL like https://HOST"));
        };
        let here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" if url.has_host() => {}
            "http" if here => {}
            _ => return wrong(format!("{endpoint:?} is not https: whoever is between would see the half of the key")),
        }
        if !url.username().is_empty() || url.password().is_some() || url.path() != "/" || url.query().is_some() {
            return wrong(format!("{endpoint:?} has more than a host and a port"));
        }
        let profile = option("profile").map(str::to_owned);
        Ok(Self { key: key.to_owned(), endpoint: url, region: region.to_owned(), profile })
    }

    /// The `Host` header's value.
    pub(crate) fn host(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    type Options<'a> = &'a [(&'a str, &'a str)];

    fn of(options: Options<'_>) -> Result<KmsOptions, KeeperError> {
        KmsOptions::of(&options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_key_says_where_it_is() {
        // (options, host, region)
        let table: [(Options<'_>, &str, &str); 5] = [
            (&[("key", ARN)], "kms.eu-central-1.amazonaws.com", "eu-central-1"),
            (&[("key", "1234abcd"), ("region", "us-east-1")], "kms.us-east-1.amazonaws.com", "us-east-1"),
            (&[("key", ARN), ("endpoint", "https://kms.example:9443")], "kms.example:9443", "eu-central-1"),
            (&[("key", ARN), ("endpoint", "http://127.0.0.1:9002")], "127.0.0.1:9002", "eu-central-1"),
            (&[("key", ARN), ("endpoint", "http://[::1]:9002"), ("profile", "half")], "[::1]:9002", "eu-central-1"),
        ];
        for (options, host, region) in table {
            let found = of(options).unwrap();
            assert_eq!((found.host().as_str(), found.region.as_str()), (host, region));
        }
    }

    #[test]
    fn what_is_no_key_or_no_safe_way_is_refused() {
        // (options, what is told)
        let table: [(Options<'_>, &str); 9] = [
            (&[], "there is no key"),
            (&[("key", "1234abcd")], "region"),
            (&[("key", "alias/ours"), ("region", "us-east-1")], "another key"),
            (&[("key", "arn:aws:kms:us-east-1:111122223333:alias/ours")], "another key"),
            (&[("key", ARN), ("endpoint", "http://kms.example")], "not https"),
            (&[("key", ARN), ("endpoint", "kms.example")], "not a URL"),
            (&[("key", ARN), ("endpoint", "https://u:p@kms.example")], "more than a host"),
            (&[("key", ARN), ("region", "a/b")], "not a region"),
            (&[("key", ARN), ("token", "x")], "has no token"),
        ];
        for (options, told) in table {
            let error = of(options).unwrap_err().to_string();
            assert!(error.contains(told), "{options:?}: {error}");
        }
    }
}
