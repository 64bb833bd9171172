//! Whom a request acts for, and what hangs on that one.

use std::sync::Arc;

use base::AccountId;
use keys::Who;
use meta::record::GrantPrincipal;
use policy::{Account, Policy};

use crate::api::{Grant, Right};

/// The name of an account's root: of the cluster's in the default tenant, of its administrator in
/// another.
pub(crate) const ROOT: &str = "root";

/// Whom a request acts for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Principal {
    identity: Arc<Identity>,
    session: Option<Arc<Session>>,
    /// The access key that it came by, or that its temporary credentials were made with.
    access_key: Option<Arc<str>>,
}

/// A user or an account's root, with all that is attached to it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) account: AccountId,
    /// The account as policies write it.
    pub(crate) account_text: String,
    /// [`ROOT`] for the account's root.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) is_root: bool,
    /// When it was made, milliseconds since the Unix epoch; of a root 0.
    pub(crate) created_ms: u64,
    /// Its access keys, and when each was made.
    pub(crate) keys: Vec<(String, u64)>,
    /// When the youngest of the groups that it is in was made.
    pub(crate) grouped_ms: u64,
    /// Names of the groups that it is in.
    pub(crate) groups: Vec<String>,
    pub(crate) grants: Vec<(Origin, Grant)>,
    pub(crate) policies: Vec<Attached>,
}

/// Where a grant or policy hangs: `None` on the user itself, else on this group.
pub(crate) type Origin = Option<String>;

/// An identity policy and where it hangs.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) origin: Origin,
    pub(crate) name: String,
    pub(crate) policy: Policy,
}

/// What temporary credentials add to whom they act for.
#[derive(Debug)]
pub struct Session {
    /// Milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Nothing is allowed that this does not allow too.
    pub policy: Option<Policy>,
}

impl Identity {
    /// An account's root: needs no rights of its own.
    pub(crate) fn root(account: AccountId) -> Self {
        let account_text = account.to_string();
        Self {
            account,
            id: account_text.clone(),
            account_text,
            name: ROOT.to_owned(),
            is_root: true,
            created_ms: 0,
            keys: Vec::new(),
            grouped_ms: 0,
            groups: Vec::new(),
            grants: Vec::new(),
            policies: Vec::new(),
        }
    }
}

impl Principal {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity: Arc::new(identity), session: None, access_key: None }
    }

    /// The same one, who came by this access key.
    pub(crate) fn by_key(self, access_key: &str) -> Self {
        Self { access_key: Some(access_key.into()), ..self }
    }

    /// The access key that it came by, or that its temporary credentials were made with; `None` for the deployment's root.
    pub fn access_key(&self) -> Option<Arc<str>> {
        self.access_key.clone()
    }

    /// The same one, acting by temporary credentials.
    pub(crate) fn in_session(&self, session: Arc<Session>) -> Self {
        Self { session: Some(session), ..self.clone() }
    }

    /// The name that owns what this principal makes.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The unique id, `aws:userid`; of a root its account's.
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// The account, whose buckets are all that this principal can reach.
    pub fn account(&self) -> AccountId {
        self.identity.account
    }

    /// Whether it is its account's root.
    pub fn is_root(&self) -> bool {
        self.identity.is_root
    }

    /// Since when it is what it is, when it signs with this access key: the date of the youngest of the user, the key and the
    /// groups, milliseconds since the Unix epoch; of a root 0. When it came into a group, and what policies allowed when, is
    /// not recorded.
    pub fn since_ms(&self, access_key: &str) -> u64 {
        let Identity { created_ms, keys, grouped_ms, is_root, .. } = self.identity.as_ref();
        if *is_root {
            return 0;
        }
        // A key that is not the user's is as young as can be.
        let key_ms = keys.iter().find(|(key, _)| key == access_key).map_or(u64::MAX, |(_, ms)| *ms);
        key_ms.max(*created_ms).max(*grouped_ms)
    }

    /// Whom release policies judge.
    pub fn who(&self) -> Who {
        let Identity { name, id, groups, is_root, .. } = self.identity.as_ref();
        Who { name: Some(name.clone()), id: id.clone(), groups: groups.clone(), is_root: *is_root }
    }

    /// How grants of the KMS API know it. Temporary credentials act as their user.
    pub fn in_grants(&self) -> GrantPrincipal {
        GrantPrincipal { arn: self.arn(), id: self.id().to_owned() }
    }

    /// How policies and STS name it.
    pub fn arn(&self) -> String {
        // Never anonymous, so there is one.
        self.in_policies().arn().unwrap_or_default()
    }

    /// The temporary credentials that it acts by.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Whether a grant gives `right` on `bucket`. What policies say is not asked.
    pub fn may(&self, right: Right, bucket: &str) -> bool {
        self.identity.is_root || self.grant(right, bucket).is_some()
    }

    pub(crate) fn grant(&self, right: Right, bucket: &str) -> Option<&(Origin, Grant)> {
        let gives = |grant: &Grant| (grant.bucket == "*" || grant.bucket == bucket) && grant.right >= right;
        self.identity.grants.iter().find(|(_, grant)| gives(grant))
    }

    pub(crate) fn policies(&self) -> &[Attached] {
        &self.identity.policies
    }

    pub(crate) fn in_policies(&self) -> policy::Principal<'_> {
        let Identity { account_text, name, id, is_root, .. } = self.identity.as_ref();
        let account = Account { id: account_text, canonical: name };
        match is_root {
            true => policy::Principal::Root(account),
            false => policy::Principal::User { account, name, id, tags: &[] },
        }
    }
}
