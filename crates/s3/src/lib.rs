//! The S3 endpoint: one wire protocol over [`store::Store`], one file per operation.
//!
//! The framework is the `s3s` crate, pinned. What it leaves open is closed around it: `guard`
//! stands in front (signature version 2, over-long presigned URLs, unsigned headers, unbounded
//! chunks), `access` decides who may do what, `unsupported` refuses what Holdfast does not do,
//! `body` verifies what is uploaded, `relaxed` lets in what S3 reads more freely. Its own log
//! lines, under the target `s3s`, repeat every refused request as an error; subscribers leave that
//! target out.

mod access;
mod acl;
mod auth;
mod body;
mod checksum;
mod chunked;
mod config;
mod context;
mod cors;
mod degraded;
mod document;
mod encryption;
mod endpoint;
mod error;
mod form;
mod guard;
mod host;
pub mod limits;
mod lock;
mod metrics;
mod notes;
mod notification;
mod op;
mod operations;
mod relaxed;
mod rules;
mod server;
mod service;
mod sts;
mod tags;
mod unmodelled;
mod unsupported;
mod website;
mod wire;

pub use context::circumstances;
pub use endpoint::Endpoint;
pub use listener::{ServeError, bind};
pub use operations::right_for;
pub use server::serve;

/// What the operator chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The region that buckets say they are in. Requests signed for any region are taken, since
    /// clients that know no better sign for `us-east-1`.
    pub region: String,
    /// Domains whose subdomains are buckets (virtual-hosted style), without ports.
    pub domains: Vec<String>,
    /// Domains whose subdomains are the websites of buckets, without ports.
    pub website_domains: Vec<String>,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            domains: vec!["localhost".to_owned()],
            website_domains: vec!["web.localhost".to_owned()],
        }
    }
}

/// The S3 service over a store, without a socket.
pub fn service(store: store::Store, options: S3Options) -> Endpoint {
    Endpoint::new(store, options)
}
