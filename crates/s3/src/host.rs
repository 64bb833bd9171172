//! What a request's `Host` says: path-style, a bucket (virtual-hosted style), or a bucket's website.

use http::{HeaderMap, Uri, header};
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Domains that have buckets as their subdomains; lower case, without ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    pub api: Vec<String>,
    pub website: Vec<String>,
}

/// What a host stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The endpoint: the path starts with the bucket.
    Endpoint,
    /// A bucket: the path is the key.
    Bucket(String),
    /// A bucket's website.
    Website(String),
}

impl Hosts {
    /// What the host of a request stands for. One that is not known is the endpoint, by whatever
    /// name or address it is reached.
    pub(crate) fn place(&self, host: &str) -> Place {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name).to_ascii_lowercase();
        if self.api.contains(&name) || self.website.contains(&name) {
            return Place::Endpoint;
        }
        // One domain may be below another: the nearest one counts.
        let api = self.api.iter().map(|domain| (domain, false));
        let known = api.chain(self.website.iter().map(|domain| (domain, true)));
        let bucket_of = |domain: &str| {
            let bucket = name.strip_suffix(domain)?.strip_suffix('.')?;
            (!bucket.is_empty()).then(|| bucket.to_owned())
        };
        let found = known.filter_map(|(domain, website)| Some((domain.len(), website, bucket_of(domain)?)));
        match found.max() {
            Some((_, true, bucket)) => Place::Website(bucket),
            Some((_, false, bucket)) => Place::Bucket(bucket),
            None => Place::Endpoint,
        }
    }

    /// As [`Self::place`], of a request's head.
    pub(crate) fn place_of(&self, uri: &Uri, headers: &HeaderMap) -> Place {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.or_else(|| uri.authority().map(http::uri::Authority::as_str))
            .map_or(Place::Endpoint, |host| self.place(host))
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match self.place(host) {
            Place::Bucket(bucket) => VirtualHost::new(host).with_bucket(bucket),
            Place::Endpoint | Place::Website(_) => VirtualHost::new(host),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let domains = |list: &[&str]| list.iter().map(|domain| (*domain).to_owned()).collect();
        let api = domains(&["localhost", "in.localhost", "s3.example.com", "deep.web.localhost"]);
        let hosts = Hosts { api, website: domains(&["web.localhost"]) };
        let bucket = |name: &str| Place::Bucket(name.to_owned());
        let table = [
            ("127.0.0.1:9000", Place::Endpoint),
            ("[::1]:9000", Place::Endpoint),
            ("localhost", Place::Endpoint),
            ("localhost:9000", Place::Endpoint),
            ("bbb.localhost:9000", bucket("bbb")),
            ("BBB.LocalHost", bucket("bbb")),
            ("a.b.s3.example.com", bucket("a.b")),
            ("s3.example.com", Place::Endpoint),
            ("notlocalhost", Place::Endpoint),
            (".localhost", Place::Endpoint),
            ("web.localhost", Place::Endpoint),
            ("bbb.web.localhost:80", Place::Website("bbb".to_owned())),
            ("example.com", Place::Endpoint),
            ("in.localhost", Place::Endpoint),
            ("bbb.in.localhost", bucket("bbb")),
            ("bbb.in.web.localhost", Place::Website("bbb.in".to_owned())),
            ("deep.web.localhost", Place::Endpoint),
            ("bbb.deep.web.localhost", bucket("bbb")),
            ("", Place::Endpoint),
            (":", Place::Endpoint),
        ];
        for (host, expected) in table {
            assert_eq!(hosts.place(host), expected, "{host}");
        }
    }
}
