//! Who asks for a release.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use base::AccountId;
use release::{Circumstances, Principal, Via};

/// What policies call who did not sign, and its unique id: no user's id looks like it.
const ANONYMOUS: &str = "anonymous";

/// What policies and denials call the plugin of Kubernetes, and its unique id. No user may be called so.
pub const KUBERNETES: &str = "kubernetes";

/// Who asks, in what circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    who: Who,
    circumstances: Circumstances,
    pub(crate) stamp: [u8; 16],
}

/// Whom a request acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The user's name; `None`: the request was not signed.
    pub name: Option<String>,
    /// The unique id, which a user made again under the same name does not have.
    pub id: String,
    /// Groups that the user is in.
    pub groups: Vec<String>,
    /// Whether it is the account's root.
    pub is_root: bool,
}

impl Who {
    /// Who did not sign.
    pub fn anonymous() -> Self {
        Self { name: None, id: ANONYMOUS.to_owned(), groups: Vec::new(), is_root: false }
    }
}

impl Who {
    /// The plugin of Kubernetes, whoever reaches its socket.
    pub fn kubernetes() -> Self {
        Self { name: Some(KUBERNETES.to_owned()), id: KUBERNETES.to_owned(), groups: Vec::new(), is_root: false }
    }
}

impl Caller {
    /// A caller of an account by a door.
    pub fn new(account: AccountId, who: Who, via: Via, temporary: bool, address: Option<IpAddr>) -> Self {
        let address = address.map(|address| address.to_canonical());
        let stamp = stamp(account, &who, via, temporary, address);
        Self { who, circumstances: Circumstances { now_ms: 0, via, temporary, address }, stamp }
    }

    /// The name, for people.
    pub fn name(&self) -> &str {
        self.who.name.as_deref().unwrap_or(ANONYMOUS)
    }

    /// The unique id.
    pub fn id(&self) -> &str {
        &self.who.id
    }

    /// Whom it acts for.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// What tells the caller from others, wherever it comes from.
    pub(crate) fn stamp_anywhere(&self, account: AccountId) -> [u8; 16] {
        stamp(account, &self.who, self.circumstances.via, self.circumstances.temporary, None)
    }

    pub(crate) fn principal(&self) -> Principal<'_> {
        Principal { name: self.who.name.as_deref(), groups: &self.who.groups, is_root: self.who.is_root }
    }

    /// The circumstances, without the time.
    pub(crate) fn circumstances(&self) -> Circumstances {
        self.circumstances
    }
}

/// The same for the same caller in the same circumstances. Lengths before texts, so that no two share an encoding.
fn stamp(account: AccountId, who: &Who, via: Via, temporary: bool, address: Option<IpAddr>) -> [u8; 16] {
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    let flags = [u8::from(who.name.is_some()), u8::from(who.is_root), u8::from(temporary)];
    let mut bytes = account.to_bytes().to_vec();
    bytes.extend_from_slice(&flags);
    let texts = [who.id.as_str(), who.name.as_deref().unwrap_or_default(), via.name(), &address];
    for text in texts.into_iter().chain(who.groups.iter().map(String::as_str)) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    let mut stamp = [0; 16];
    stamp.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..16]);
    stamp
}
