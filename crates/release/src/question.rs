//! What is asked: who wants to do what with which portion, in what circumstances.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// The user's name, `root` for the tenant's root; `None`: the request was not signed.
    pub name: Option<&'a str>,
    /// The groups that the user is in.
    pub groups: &'a [String],
    /// Whether it is the tenant's root.
    pub is_root: bool,
}

/// What it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// To open what is under the portion's key.
    Open,
    /// To seal more under it.
    Seal,
}

impl Action {
    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Seal => "seal",
        }
    }
}

/// What is to be released.
#[derive(Debug, Clone, Copy)]
pub struct Portion<'a> {
    /// Its name.
    pub name: &'a str,
    /// The id of its key, with dashes.
    pub key: &'a str,
    /// `sealed` or `quorum`.
    pub class: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
}

/// By which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The S3 API.
    S3,
    /// The KMS API.
    Kms,
    /// The plugin of Kubernetes.
    Kubernetes,
}

impl Via {
    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Kms => "kms",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// The circumstances of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// By which door.
    pub via: Via,
    /// Whether the caller acts by temporary credentials.
    pub temporary: bool,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// Who asks.
    pub principal: Principal<'a>,
    /// For what.
    pub action: Action,
    /// Of what.
    pub portion: Portion<'a>,
    /// In what circumstances.
    pub circumstances: Circumstances,
}
