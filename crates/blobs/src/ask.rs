//! What a request asks for. Whatever is not understood in full is refused: half of what a client meant is not done.

use std::ops::Range;

use http::request::Parts;
use http::{Method, header};
use percent_encoding::percent_decode_str;

use crate::BUCKET;
use crate::auth;
use crate::fault::{Code, Fault};
use crate::limits::PAGE_MAX;

/// An operation of S3.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    ListBuckets,
    HeadBucket,
    GetBucketLocation,
    List(ListAsk),
    Get(String, Option<Span>),
    Head(String),
    Put(String),
    Delete(String),
}

impl Ask {
    /// The operation's name, for the metrics.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::HeadBucket => "HeadBucket",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::List(_) => "ListObjectsV2",
            Self::Get(..) => "GetObject",
            Self::Head(_) => "HeadObject",
            Self::Put(_) => "PutObject",
            Self::Delete(_) => "DeleteObject",
        }
    }
}

/// ListObjectsV2.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct ListAsk {
    pub(crate) prefix: String,
    /// `start-after`, or the continuation token: the name that the last page ended with.
    pub(crate) after: Option<String>,
    /// Whether names below a `/` after the prefix are told as one.
    pub(crate) folders: bool,
    pub(crate) max: usize,
    /// Whether names are told URL-encoded.
    pub(crate) encoded: bool,
}

/// A range of bytes (RFC 9110, section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// First and last byte.
    Closed(u64, u64),
    From(u64),
    Last(u64),
}

impl Span {
    /// The bytes of an object of `size` bytes; `None` if it has none of them.
    pub(crate) fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Closed(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(most) => size.saturating_sub(most)..size,
        };
        (!range.is_empty()).then_some(range)
    }

    /// `None`: not a range that counts, which is as good as none.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", most) => most.parse().ok().map(Self::Last),
            (first, "") => first.parse().ok().map(Self::From),
            (first, last) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(Self::Closed(first, last))
            }
        }
    }
}

/// Headers that change what is meant, and are not understood.
const REFUSED: [&str; 14] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "content-md5",
    "content-encoding",
    "x-amz-acl",
    "x-amz-copy-source",
    "x-amz-object-lock-mode",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];

/// The pairs of a query, decoded.
pub(crate) fn query(head: &Parts) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

impl Ask {
    /// # Errors
    /// `NotImplemented`, `NoSuchBucket`, `MethodNotAllowed`, `InvalidArgument`.
    pub(crate) fn of(head: &Parts, query: &[(String, String)]) -> Result<Self, Fault> {
        if let Some(name) = REFUSED.iter().find(|name| head.headers.contains_key(**name)) {
            return Err(not_here(&format!("the header {name}")));
        }
        let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
        let (bucket, name) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        if bucket.is_empty() {
            known(query, &["x-id"])?;
            return if head.method == Method::GET { Ok(Self::ListBuckets) } else { Err(method(&head.method)) };
        }
        if bucket != BUCKET {
            return Err(Fault::new(Code::NoSuchBucket, format!("the only bucket here is {BUCKET}")));
        }
        if name.is_empty() {
            return Self::of_bucket(&head.method, query);
        }
        known(query, &["x-id"])?;
        let name = name.to_owned();
        match head.method {
            Method::GET => Ok(Self::Get(name, auth::header(head, header::RANGE.as_str()).and_then(Span::parse))),
            Method::HEAD => Ok(Self::Head(name)),
            Method::PUT => Ok(Self::Put(name)),
            Method::DELETE => Ok(Self::Delete(name)),
            _ => Err(method(&head.method)),
        }
    }

    fn of_bucket(method: &Method, query: &[(String, String)]) -> Result<Self, Fault> {
        let value = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        match *method {
            Method::HEAD => known(query, &["x-id"]).map(|()| Self::HeadBucket),
            Method::GET if value("location").is_some() => {
                known(query, &["location", "x-id"]).map(|()| Self::GetBucketLocation)
            }
            Method::GET if value("list-type") == Some("2") => ListAsk::of(query).map(Self::List),
            _ => Err(not_here("this operation on the bucket")),
        }
    }
}

impl ListAsk {
    fn of(query: &[(String, String)]) -> Result<Self, Fault> {
        let mut ask = Self { max: PAGE_MAX, ..Self::default() };
        let wrong = |name: &str| Fault::new(Code::InvalidArgument, format!("{name} has a value that it cannot have"));
        let mut token = None;
        for (name, value) in query {
            match name.as_str() {
                "prefix" => ask.prefix.clone_from(value),
                "start-after" => ask.after = Some(value.clone()),
                "continuation-token" => token = Some(value.clone()),
                "max-keys" => ask.max = value.parse::<usize>().map_err(|_| wrong(name))?.min(PAGE_MAX),
                "delimiter" if value == "/" => ask.folders = true,
                "delimiter" if value.is_empty() => {}
                "encoding-type" if value == "url" => ask.encoded = true,
                "list-type" | "fetch-owner" | "x-id" => {}
                _ => return Err(not_here(&format!("{name}={value}"))),
            }
        }
        ask.after = token.or(ask.after).filter(|after| !after.is_empty());
        Ok(ask)
    }
}

fn not_here(what: &str) -> Fault {
    Fault::new(
        Code::NotImplemented,
        format!("{what} is not understood here: this is a site of Holdfast, not all of S3"),
    )
}

fn method(method: &Method) -> Fault {
    Fault::new(Code::MethodNotAllowed, format!("{method} is nothing that can be done here"))
}

fn known(query: &[(String, String)], names: &[&str]) -> Result<(), Fault> {
    match query.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        Some((name, _)) => Err(not_here(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Ask, Code> {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Ask::of(&head, &query(&head)).map_err(|fault| fault.code)
    }

    #[test]
    fn requests() {
        let list = |prefix: &str, after: Option<&str>, folders, max| {
            Ok(Ask::List(ListAsk {
                prefix: prefix.into(),
                after: after.map(str::to_owned),
                folders,
                max,
                encoded: false,
            }))
        };
        let name = || "a/b".to_owned();
        for (method, target, expected) in [
            ("GET", "/", Ok(Ask::ListBuckets)),
            ("HEAD", "/site", Ok(Ask::HeadBucket)),
            ("GET", "/site/?location", Ok(Ask::GetBucketLocation)),
            ("GET", "/site?list-type=2", list("", None, false, 1000)),
            ("GET", "/site?list-type=2&prefix=a%2F&start-after=a%2Fb", list("a/", Some("a/b"), false, 1000)),
            ("GET", "/site?list-type=2&start-after=x&continuation-token=y", list("", Some("y"), false, 1000)),
            ("GET", "/site?list-type=2&delimiter=%2F&max-keys=5000", list("", None, true, 1000)),
            ("GET", "/site?list-type=2&max-keys=-1", Err(Code::InvalidArgument)),
            ("GET", "/site?list-type=2&delimiter=x", Err(Code::NotImplemented)),
            ("GET", "/site", Err(Code::NotImplemented)),
            ("GET", "/site?versions", Err(Code::NotImplemented)),
            ("PUT", "/site", Err(Code::NotImplemented)),
            ("POST", "/site?delete", Err(Code::NotImplemented)),
            ("POST", "/site/a/b?uploads", Err(Code::NotImplemented)),
            ("PUT", "/site/a/b?partNumber=1&uploadId=x", Err(Code::NotImplemented)),
            ("GET", "/site/a/b?X-Amz-Signature=0", Err(Code::NotImplemented)),
            ("GET", "/other/a", Err(Code::NoSuchBucket)),
            ("PUT", "/", Err(Code::MethodNotAllowed)),
            ("POST", "/site/a/b", Err(Code::MethodNotAllowed)),
            ("GET", "/site/a/b", Ok(Ask::Get(name(), None))),
            ("GET", "/site/a%2Fb?x-id=GetObject", Ok(Ask::Get(name(), None))),
            ("HEAD", "/site/a/b", Ok(Ask::Head(name()))),
            ("PUT", "/site/a/b", Ok(Ask::Put(name()))),
            ("DELETE", "/site/a/b", Ok(Ask::Delete(name()))),
        ] {
            assert_eq!(ask(method, target, &[]), expected, "{method} {target}");
        }
        for name in REFUSED {
            assert_eq!(ask("PUT", "/site/a", &[(name, "x")]), Err(Code::NotImplemented), "{name}");
        }
    }

    #[test]
    fn ranges() {
        for (text, size, expected) in [
            ("bytes=0-0", 10, Some(0..1)),
            ("bytes=2-100", 10, Some(2..10)),
            ("bytes=3-", 10, Some(3..10)),
            ("bytes=-3", 10, Some(7..10)),
            ("bytes=-30", 10, Some(0..10)),
            ("bytes=10-11", 10, None),
            ("bytes=-0", 10, None),
            ("bytes=0-18446744073709551615", 10, Some(0..10)),
        ] {
            assert_eq!(Span::parse(text).unwrap().of(size), expected, "{text}");
        }
        for text in ["bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=a-b", "bytes=-"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
