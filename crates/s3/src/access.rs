//! Who may do what: rights granted to users, and the bucket's policy. Nothing is allowed that
//! neither of them allows, and what a policy denies is denied to everybody.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Uri};
use policy::{Account, Decision, Kind, Policy, Values, is_public};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, PublicAccessBlockConfiguration, UploadPartCopyInput};
use s3s::{S3Request, S3Result, s3_error};
use store::api::{Principal, Right};
use store::{Error, Store};

use crate::notes::Notes;
use crate::operations::{self, Level};
use crate::{acl, config, context, error, unsupported, wire};

/// The account that buckets and users belong to, as policies write it.
pub(crate) const ACCOUNT: &str = "000000000000";

/// Judges each request after its signature was found right.
pub(crate) struct Access(pub Store);

/// The client's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// Who asks, and in what circumstances: all that is needed to judge one more object.
#[derive(Clone)]
pub(crate) struct Authority {
    store: Store,
    /// `None`: the request was not signed.
    pub principal: Option<Principal>,
    values: Arc<Values>,
}

impl Authority {
    pub(crate) fn new(
        store: Store,
        principal: Option<Principal>,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Self {
        Self { store, principal, values: Arc::new(context::values(uri, headers, peer)) }
    }

    /// Whether the request may do `action` on a bucket, or on an object in it.
    ///
    /// # Errors
    /// `AccessDenied`, or the store's.
    pub(crate) async fn check(
        &self,
        action: &str,
        right: Option<Right>,
        bucket: &str,
        object: Option<(&str, Option<&str>)>,
    ) -> S3Result<()> {
        let granted = match (&self.principal, right) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(principal), Some(right)) => principal.may(right, bucket),
        };
        let policy = match self.store.bucket_config(bucket, config::POLICY).await {
            Ok(config) => config.document,
            Err(Error::NoSuchConfig(_) | Error::NoSuchBucket(_)) if granted => return Ok(()),
            Err(Error::NoSuchConfig(_)) => return self.by_acl(action, bucket, object).await,
            Err(Error::NoSuchBucket(_)) => return Err(denied()),
            Err(error) => return Err(error::answer(error)),
        };
        // The owner must be able to take back a policy that shuts everybody out.
        if matches!(self.principal, Some(Principal::Root)) && action.ends_with("BucketPolicy") {
            return Ok(());
        }
        let policy = Policy::parse(&policy, Kind::Resource { bucket }).map_err(|error| {
            tracing::error!(bucket, %error, "a stored bucket policy cannot be read; access is denied");
            denied()
        })?;
        let mut values = (*self.values).clone();
        if let Some((key, version)) = object
            && contains(policy.document(), "existingobjecttag")
        {
            self.add_tags(bucket, key, version, &mut values).await?;
        }
        let resource = match object {
            Some((key, _)) => format!("arn:aws:s3:::{bucket}/{key}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        let principal = match &self.principal {
            None => policy::Principal::Anonymous,
            Some(Principal::Root) => policy::Principal::Root(Account { id: ACCOUNT, canonical: "root" }),
            Some(Principal::User { name, .. }) => {
                policy::Principal::User { account: Account { id: ACCOUNT, canonical: name }, name, id: name, tags: &[] }
            }
        };
        let request = policy::Request { principal, action, resource: &resource, context: &values };
        let allowed = match policy.decide(&request) {
            Decision::Deny(_) => return Err(denied()),
            Decision::Allow(_) => true,
            Decision::AllowAccount(_) | Decision::None => false,
        };
        match (granted, allowed) {
            (true, _) => Ok(()),
            (false, true) if self.is_member() || !self.restricted(bucket, &policy).await? => Ok(()),
            (false, _) => self.by_acl(action, bucket, object).await,
        }
    }

    /// The last that may let somebody in.
    async fn by_acl(&self, action: &str, bucket: &str, object: Option<(&str, Option<&str>)>) -> S3Result<()> {
        let user = self.principal.as_ref().map(Principal::name);
        if acl::allow(&self.store, action, bucket, object, user).await? { Ok(()) } else { Err(denied()) }
    }

    fn is_member(&self) -> bool {
        self.principal.is_some()
    }

    /// Whether the bucket hides what its policy makes public (RestrictPublicBuckets).
    async fn restricted(&self, bucket: &str, policy: &Policy) -> S3Result<bool> {
        let block = config::find::<PublicAccessBlockConfiguration>(&self.store, bucket, config::PUBLIC_ACCESS).await?;
        Ok(block.is_some_and(|block| block.restrict_public_buckets == Some(true)) && is_public(policy))
    }

    async fn add_tags(&self, bucket: &str, key: &str, version: Option<&str>, values: &mut Values) -> S3Result<()> {
        match self.store.head(bucket, key, wire::version_id(version)?).await {
            Ok(info) => {
                for (name, value) in info.meta.tags {
                    values.add(&format!("s3:ExistingObjectTag/{name}"), value);
                }
                Ok(())
            }
            Err(Error::NoSuchKey | Error::NoSuchVersion | Error::DeleteMarker { .. } | Error::NoSuchBucket(_)) => {
                Ok(())
            }
            Err(error) => Err(error::answer(error)),
        }
    }
}

/// Whether a document has a word in it, in any case.
fn contains(document: &[u8], word: &str) -> bool {
    document.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = operations::find(cx.s3_op().name());
        let name = operation.map_or("other", |operation| operation.name);
        if let Some(notes) = cx.extensions_mut().get::<Arc<Notes>>() {
            let _ = notes.operation.set(name);
        }
        let principal = match cx.credentials() {
            None => None,
            Some(credentials) => {
                let found = self.0.authenticate(&credentials.access_key).await.map_err(error::answer)?;
                // The user may have been deleted since the signature was checked.
                let (_, principal) = found.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
                Some(principal)
            }
        };
        let Some(operation) = operation else {
            // Only to those who are let in: to others nothing is told.
            return Err(if principal.is_some() { error::not_implemented(cx.s3_op().name()) } else { denied() });
        };
        expected_owner(cx.headers())?;
        let peer = cx.extensions_mut().get::<Peer>().copied();
        let authority = Authority::new(self.0.clone(), principal, cx.uri(), cx.headers(), peer);
        let version = query(cx.uri(), "versionId");
        let action = operation.versioned.filter(|_| version.is_some()).unwrap_or(operation.action);
        match operation.level {
            Level::Service if authority.principal.is_none() => return Err(denied()),
            Level::Service => {}
            Level::Bucket => {
                let bucket = cx.s3_path().get_bucket_name().ok_or_else(denied)?;
                authority.check(action, operation.right, bucket, None).await?;
            }
            Level::Object => {
                let (bucket, key) = cx.s3_path().as_object().ok_or_else(denied)?;
                authority.check(action, operation.right, bucket, Some((key, version.as_deref()))).await?;
                extra(&authority, cx.headers(), bucket, key).await?;
            }
            // Each key is judged when the document is read.
            Level::Keys => {}
        }
        unsupported::check(operation, cx.uri(), cx.headers())?;
        if let Some(principal) = authority.principal.clone() {
            cx.extensions_mut().insert(principal);
        }
        cx.extensions_mut().insert(authority);
        Ok(())
    }

    async fn copy_object(&self, req: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        may_read_source(authority(req)?, &req.input.copy_source).await
    }

    async fn upload_part_copy(&self, req: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        may_read_source(authority(req)?, &req.input.copy_source).await
    }
}

/// A client that expects a bucket to belong to another account has the wrong bucket.
fn expected_owner(headers: &HeaderMap) -> S3Result<()> {
    let names = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];
    let mut given = names.iter().filter_map(|name| headers.get(*name));
    if given.all(|owner| owner.as_bytes() == ACCOUNT.as_bytes()) { Ok(()) } else { Err(denied()) }
}

/// What headers ask for beyond the operation has actions of its own.
pub(crate) async fn extra(authority: &Authority, headers: &HeaderMap, bucket: &str, key: &str) -> S3Result<()> {
    let table = [
        ("x-amz-tagging", "s3:PutObjectTagging", Right::Write),
        ("x-amz-acl", "s3:PutObjectAcl", Right::Write),
        ("x-amz-grant-full-control", "s3:PutObjectAcl", Right::Write),
        ("x-amz-grant-read", "s3:PutObjectAcl", Right::Write),
        ("x-amz-grant-read-acp", "s3:PutObjectAcl", Right::Write),
        ("x-amz-grant-write-acp", "s3:PutObjectAcl", Right::Write),
        ("x-amz-object-lock-mode", "s3:PutObjectRetention", Right::Write),
        ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold", Right::Write),
        // Lifting a retention is for those who administer the bucket.
        ("x-amz-bypass-governance-retention", "s3:BypassGovernanceRetention", Right::Admin),
    ];
    for (header, action, right) in table {
        if headers.get(header).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"false")) {
            authority.check(action, Some(right), bucket, Some((key, None))).await?;
        }
    }
    Ok(())
}

fn query(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

/// Whom the request acts for.
///
/// # Errors
/// `AccessDenied` for a request that was not signed.
pub(crate) fn principal<T>(req: &S3Request<T>) -> S3Result<&Principal> {
    req.extensions.get::<Principal>().ok_or_else(denied)
}

/// Who asks, for operations that judge more than their own target.
///
/// # Errors
/// `AccessDenied`.
pub(crate) fn authority<T>(req: &S3Request<T>) -> S3Result<&Authority> {
    req.extensions.get::<Authority>().ok_or_else(denied)
}

async fn may_read_source(authority: &Authority, source: &CopySource) -> S3Result<()> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            let version = version_id.as_deref();
            let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
            authority.check(action, Some(Right::Read), bucket, Some((key, version))).await
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(error::not_implemented("copying from an access point or outpost"))
        }
    }
}

pub(crate) fn denied() -> s3s::S3Error {
    s3_error!(AccessDenied, "access denied")
}
