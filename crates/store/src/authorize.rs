//! Whether a request may be done: grants, identity policies, the bucket's policy and the session's
//! put together. Pure, but for reading the bucket's policy.
//!
//! Source: IAM User Guide, "Policy evaluation logic". A grant counts as an identity policy that
//! allows; so does being the account's root. An explicit denial wins wherever it stands. A caller
//! reaches buckets of its own account only, so the rules between accounts never apply.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use base::{AccountId, PortionId};
use meta::Version;
use meta::record::{BucketConfig, Record, key};
use parking_lot::Mutex;
use policy::{Context, Decision, Kind, Policy, Request, Values, Verdict, Weight, evaluate};

use crate::api::Right;
use crate::principal::{Origin, Principal};
use crate::{Error, Store};

/// The name of the policy among a bucket's sub-resources.
pub const POLICY: &str = "policy";
/// Parsed policies of buckets, and of keys, kept in memory; past it the cache is emptied. The largest document has
/// 20 KiB, and parsing it again costs less than a millisecond.
const CACHE_MAX: usize = 1_000;

static ALLOW_ALL: LazyLock<Policy> = LazyLock::new(Policy::allow_all);

/// What is true of all keys.
const ABOUT_KEYS: [(&str, &str); 7] = [
    ("kms:KeySpec", "SYMMETRIC_DEFAULT"),
    ("kms:CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"),
    ("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"),
    ("kms:KeyUsage", "ENCRYPT_DECRYPT"),
    ("kms:CustomerMasterKeyUsage", "ENCRYPT_DECRYPT"),
    ("kms:KeyOrigin", "AWS_KMS"),
    ("kms:MultiRegion", "false"),
];

/// A bucket's policy as it was parsed, and the version of its row.
pub(crate) type CachedPolicy = (Version, Arc<Policy>);

/// What is asked for.
pub struct Question<'a> {
    /// The action, as `s3:GetObject`.
    pub action: &'a str,
    /// The granted right, and the bucket that it must be held on, that allow it; `None`: no grant
    /// does.
    pub right: Option<(Right, &'a str)>,
    /// Whether an access control list allows it.
    pub listed: bool,
    /// The ARN of the bucket or object.
    pub resource: &'a str,
    /// What conditions ask about.
    pub context: &'a dyn Context,
}

/// Decides. `principal`: `None` for a request that was not signed. `bucket`: the policy of the
/// bucket that is asked about.
pub fn judge<'p>(principal: Option<&'p Principal>, bucket: Option<&'p Policy>, question: &Question<'_>) -> Verdict<'p> {
    let verdict = weighed(principal, bucket, Weight::Either, question);
    // A stranger bears no policies that could stand for the list.
    if question.listed && principal.is_none() && !verdict.explicit_denial() { Verdict::Allowed } else { verdict }
}

/// Decides about a key. `policy`: the key's own, where it is not the default one; then no other policy allows what it
/// does not leave to the account's. What is listed is allowed by a grant on the key, whatever its policy leaves out.
pub fn judge_key<'p>(principal: &'p Principal, policy: Option<&'p Policy>, question: &Question<'_>) -> Verdict<'p> {
    let weight = if policy.is_some() && !question.listed { Weight::OfResource } else { Weight::Either };
    weighed(Some(principal), policy, weight, question)
}

fn weighed<'p>(
    principal: Option<&'p Principal>,
    resource: Option<&'p Policy>,
    weight: Weight,
    question: &Question<'_>,
) -> Verdict<'p> {
    let mut identity: Vec<&Policy> = Vec::new();
    let mut session: Option<[&Policy; 1]> = None;
    if let Some(principal) = principal {
        identity.extend(principal.policies().iter().map(|attached| &attached.policy));
        if question.listed || question.right.is_some_and(|(right, on)| principal.may(right, on)) {
            identity.push(&ALLOW_ALL);
        }
        session = principal.session().and_then(|session| session.policy.as_ref()).map(|policy| [policy]);
    }
    let session = session.as_ref().map(|policies| policies.as_slice());
    evaluate(&identity, session, resource, &asked(principal, question), weight)
}

fn asked<'a>(principal: Option<&'a Principal>, question: &Question<'a>) -> Request<'a> {
    let by = principal.map_or(policy::Principal::Anonymous, Principal::in_policies);
    Request { principal: by, action: question.action, resource: question.resource, context: question.context }
}

/// What decided, in words for an operator.
pub fn explain(principal: &Principal, bucket: Option<&Policy>, question: &Question<'_>) -> String {
    let request = asked(Some(principal), question);
    let session = principal.session().and_then(|session| session.policy.as_ref());
    let verdict = judge(Some(principal), bucket, question);
    let of_identity = principal.policies().iter().map(|attached| (name_of(attached), &attached.policy));
    let rest = [("the session's policy".to_owned(), session), ("the bucket's policy".to_owned(), bucket)];
    let all = of_identity.chain(rest.into_iter().filter_map(|(name, policy)| Some((name, policy?))));
    let (mut allows, mut denies) = (None, None);
    for (name, policy) in all {
        match policy.decide(&request) {
            Decision::Deny(statement) => denies = denies.or(Some(format!("{name}, {statement}"))),
            Decision::Allow(statement) if !name.starts_with("the session") => {
                allows = allows.or(Some(format!("{name}, {statement}")));
            }
            _ => {}
        }
    }
    match verdict {
        Verdict::Denied { explicit: true, .. } => format!("denied by {}", denies.unwrap_or_default()),
        Verdict::Denied { by: policy::Side::Session, .. } => "the session's policy does not allow it".to_owned(),
        Verdict::Denied { .. } => "no grant and no policy allows it".to_owned(),
        Verdict::Allowed if principal.is_root() => "root of the account".to_owned(),
        Verdict::Allowed => {
            by_grant(principal, question).or(allows).map_or_else(String::new, |by| format!("allowed by {by}"))
        }
    }
}

fn name_of(attached: &crate::principal::Attached) -> String {
    format!("policy {} {}", attached.name, of_whom(&attached.origin))
}

fn of_whom(origin: &Origin) -> String {
    origin.as_ref().map_or_else(|| "of the user".to_owned(), |group| format!("of group {group}"))
}

fn by_grant(principal: &Principal, question: &Question<'_>) -> Option<String> {
    let (right, bucket) = question.right?;
    let (origin, grant) = principal.grant(right, bucket)?;
    Some(format!("the grant {:?} on {} {}", grant.right, grant.bucket, of_whom(origin)).to_lowercase())
}

/// What conditions can ask about a key and what is done with it, by whichever door.
///
/// Source: AWS KMS Developer Guide, "AWS KMS condition keys".
pub fn about_key(account: AccountId, tags: &BTreeMap<String, String>, context: &BTreeMap<String, String>) -> Values {
    let mut values = Values::default();
    for (key, value) in ABOUT_KEYS {
        values.add(key, value);
    }
    values.add("aws:ResourceAccount", account.to_string());
    for (name, value) in tags {
        values.add(&format!("aws:ResourceTag/{name}"), value);
    }
    for (name, value) in context {
        values.add(&format!("kms:EncryptionContext:{name}"), value);
        values.add("kms:EncryptionContextKeys", name);
    }
    values
}

impl Store {
    /// The bucket's policy; `None` where none was put. Parsed once for each document that was put.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::Corrupt`] for a stored document that is no policy, or a
    /// metadata error.
    pub async fn bucket_policy(&self, bucket: &str) -> Result<Option<Arc<Policy>>, Error> {
        let id = self.bucket_record(bucket).await?.id;
        let Some(row) = self.row(key::bucket_config_key(id, POLICY)).await? else { return Ok(None) };
        if let Some((version, policy)) = self.0.policies.lock().get(&id)
            && *version == row.version
        {
            return Ok(Some(policy.clone()));
        }
        let document = BucketConfig::decode(&row.value)?.document;
        let parsed = Policy::stored(&document, Kind::Resource { bucket });
        let parsed =
            parsed.map_err(|error| Error::Corrupt(format!("the stored policy of bucket {bucket}: {error}")))?;
        let policy = Arc::new(parsed);
        remember(&self.0.policies, id, (row.version, policy.clone()));
        Ok(Some(policy))
    }

    /// A key's policy, whose document is recorded; `None` where it is the default one. Parsed once for each document that was put.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a stored document that is no policy: then nobody may use the key.
    pub fn key_policy(&self, id: PortionId, document: &str) -> Result<Option<Arc<Policy>>, Error> {
        let document = document.as_bytes();
        if document.is_empty() {
            return Ok(None);
        }
        if let Some(policy) = self.0.key_policies.lock().get(&id).filter(|policy| policy.document() == document) {
            return Ok(Some(policy.clone()));
        }
        let account = self.account().to_string();
        let parsed = Policy::stored(document, Kind::Key { account: &account });
        let parsed = parsed.map_err(|error| Error::Corrupt(format!("the stored policy of key {id}: {error}")))?;
        let policy = Arc::new(parsed);
        remember(&self.0.key_policies, id, policy.clone());
        Ok(Some(policy))
    }
}

fn remember<K: Eq + Hash, V>(cache: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut cache = cache.lock();
    if cache.len() >= CACHE_MAX {
        cache.clear();
    }
    cache.insert(key, value);
}
