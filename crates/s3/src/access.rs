//! Who may do what: rights granted to users and their groups, their policies, the bucket's policy
//! and the session's. Nothing is allowed that none of them allows, and what one of them denies is
//! denied. `store::judge` decides; here is what it is asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Uri};
use policy::{Context, Policy, Values, Verdict, is_public};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, PublicAccessBlockConfiguration, UploadPartCopyInput};
use s3s::{S3Request, S3Result, s3_error};
use store::api::{Principal, Right};
use store::{Error, Question, Store, judge};

use crate::notes::Notes;
use crate::operations::{self, Level};
use crate::{config, context, error, unsupported, wire};

/// On what ListBuckets is asked.
const ALL_BUCKETS: &str = "arn:aws:s3:::*";
const LIST_BUCKETS: &str = "s3:ListAllMyBuckets";

/// Judges each request after its signature was found right.
pub(crate) struct Access(pub Store);

/// The client's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// Whom a session token, found good, lets its access key act for.
#[derive(Clone)]
pub(crate) struct Temporary {
    pub access_key: String,
    pub principal: Principal,
}

/// Who asks, and in what circumstances: all that is needed to judge one more object.
#[derive(Clone)]
pub(crate) struct Authority {
    /// The store of the caller's tenant.
    pub store: Store,
    /// `None`: the request was not signed.
    pub principal: Option<Principal>,
    asked: Arc<Asked>,
}

/// A request's head. Most requests are judged without a condition that asks about it.
struct Asked {
    uri: Uri,
    headers: HeaderMap,
    peer: Option<Peer>,
    issued_ms: Option<u64>,
    values: OnceLock<Values>,
}

/// What conditions ask about a request and, once they were fetched, the tags of its object.
struct Circumstances<'a> {
    asked: &'a Asked,
    tags: Option<Values>,
    /// Whether a condition asked for tags that were not fetched yet.
    wants_tags: AtomicBool,
}

impl Context for Circumstances<'_> {
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        if !key.starts_with("s3:existingobjecttag/") {
            let asked = self.asked;
            let fresh = || context::values(&asked.uri, &asked.headers, asked.peer, asked.issued_ms);
            return asked.values.get_or_init(fresh).values(key);
        }
        if self.tags.is_none() {
            self.wants_tags.store(true, Ordering::Relaxed);
        }
        self.tags.as_ref()?.values(key)
    }
}

impl Authority {
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
        let policy = self.policy_of(bucket, action).await?;
        let policy = policy.as_deref();
        let resource = match object {
            Some((key, _)) => format!("arn:aws:s3:::{bucket}/{key}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        let right = right.map(|right| (right, bucket));
        let mut circumstances = Circumstances { asked: &self.asked, tags: None, wants_tags: AtomicBool::new(false) };
        let ask = |context: &Circumstances<'_>| {
            judge(self.principal.as_ref(), policy, &Question { action, right, resource: &resource, context }).is_allowed()
        };
        let mut allowed = ask(&circumstances);
        // A second time with the tags, which cost a look-up, where they were asked for.
        if let Some((key, version)) = object
            && circumstances.wants_tags.load(Ordering::Relaxed)
        {
            circumstances.tags = Some(self.tags(bucket, key, version).await?);
            allowed = ask(&circumstances);
        }
        match policy {
            _ if !allowed => Err(denied()),
            // Only a policy can have let in a caller that is nobody.
            Some(policy) if self.principal.is_none() && self.restricted(bucket, policy).await? => Err(denied()),
            _ => Ok(()),
        }
    }

    /// The policy to ask about a request; `None` also for a bucket that is not there, of which the
    /// operation tells those who may know.
    async fn policy_of(&self, bucket: &str, action: &str) -> S3Result<Option<Arc<Policy>>> {
        // The owner must be able to take back a policy that shuts everybody out.
        if self.principal.as_ref().is_some_and(Principal::is_root) && action.ends_with("BucketPolicy") {
            return Ok(None);
        }
        match self.store.bucket_policy(bucket).await {
            Ok(policy) => Ok(policy),
            Err(Error::NoSuchBucket(_)) => Ok(None),
            Err(error @ Error::Corrupt(_)) => {
                tracing::error!(bucket, %error, "access is denied");
                Err(denied())
            }
            Err(error) => Err(error::answer(error)),
        }
    }

    /// Whether all buckets of the account may be listed, by a policy or by being its root.
    pub(crate) fn sees_all(&self) -> bool {
        self.alone(LIST_BUCKETS, None, ALL_BUCKETS).is_allowed()
    }

    /// Whether a bucket is listed for who does not see all: it may be read by a grant, or listed
    /// by a policy of the caller. The buckets' own policies are not asked.
    pub(crate) fn sees(&self, bucket: &str) -> bool {
        let resource = format!("arn:aws:s3:::{bucket}");
        self.alone("s3:ListBucket", Some((Right::Read, bucket)), &resource).is_allowed()
    }

    /// Any caller that is known may ask for the buckets it may see, unless a policy says no.
    fn may_list_buckets(&self) -> S3Result<()> {
        match self.principal {
            Some(_) if !self.alone(LIST_BUCKETS, None, ALL_BUCKETS).explicit_denial() => Ok(()),
            _ => Err(denied()),
        }
    }

    /// Judges without a bucket's policy.
    fn alone(&self, action: &str, right: Option<(Right, &str)>, resource: &str) -> Verdict<'_> {
        let circumstances = Circumstances { asked: &self.asked, tags: None, wants_tags: AtomicBool::new(false) };
        judge(self.principal.as_ref(), None, &Question { action, right, resource, context: &circumstances })
    }

    /// Whether the bucket hides what its policy makes public (RestrictPublicBuckets).
    async fn restricted(&self, bucket: &str, policy: &Policy) -> S3Result<bool> {
        let block = config::find::<PublicAccessBlockConfiguration>(&self.store, bucket, config::PUBLIC_ACCESS).await?;
        Ok(block.is_some_and(|block| block.restrict_public_buckets == Some(true)) && is_public(policy))
    }

    async fn tags(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Values> {
        let mut values = Values::default();
        match self.store.head(bucket, key, wire::version_id(version)?).await {
            Ok(info) => {
                for (name, value) in info.meta.tags {
                    values.add(&format!("s3:ExistingObjectTag/{name}"), value);
                }
                Ok(values)
            }
            Err(Error::NoSuchKey | Error::NoSuchVersion | Error::DeleteMarker { .. } | Error::NoSuchBucket(_)) => {
                Ok(values)
            }
            Err(error) => Err(error::answer(error)),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = operations::find(cx.s3_op().name());
        let name = operation.map_or("other", |operation| operation.name);
        if let Some(notes) = cx.extensions_mut().get::<Arc<Notes>>() {
            let _ = notes.operation.set(name);
        }
        let principal = self.principal(cx).await?;
        let Some(operation) = operation else {
            // Only to those who are let in: to others nothing is told.
            return Err(if principal.is_some() { error::not_implemented(cx.s3_op().name()) } else { denied() });
        };
        let authority = self.authority(cx, principal);
        let version = query(cx.uri(), "versionId");
        let action = operation.versioned.filter(|_| version.is_some()).unwrap_or(operation.action);
        match operation.level {
            Level::Service => authority.may_list_buckets()?,
            Level::Bucket => {
                let bucket = cx.s3_path().get_bucket_name().ok_or_else(denied)?;
                authority.check(action, operation.right, bucket, None).await?;
            }
            Level::Object => {
                let (bucket, key) = cx.s3_path().as_object().ok_or_else(denied)?;
                authority.check(action, operation.right, bucket, Some((key, version.as_deref()))).await?;
                extra(&authority, cx, bucket, key).await?;
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

impl Access {
    /// Whom the signature's access key acts for.
    async fn principal(&self, cx: &mut S3AccessContext<'_>) -> S3Result<Option<Principal>> {
        let Some(credentials) = cx.credentials() else { return Ok(None) };
        let access_key = credentials.access_key.clone();
        if self.0.is_temporary(&access_key) {
            let temporary = cx.extensions_mut().get::<Temporary>().filter(|found| found.access_key == access_key);
            let temporary = temporary.ok_or_else(|| error::answer(Error::InvalidToken))?;
            return Ok(Some(temporary.principal.clone()));
        }
        let found = self.0.authenticate(&access_key).await.map_err(error::answer)?;
        // The user may have been deleted since the signature was checked.
        let (_, principal) = found.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(Some(principal))
    }

    /// Who is not known is a stranger to the default tenant; the others have no strangers.
    fn authority(&self, cx: &mut S3AccessContext<'_>, principal: Option<Principal>) -> Authority {
        let account = principal.as_ref().map(Principal::account).unwrap_or_default();
        let asked = Asked {
            uri: cx.uri().clone(),
            headers: cx.headers().clone(),
            peer: cx.extensions_mut().get::<Peer>().copied(),
            issued_ms: principal.as_ref().and_then(Principal::session).map(|session| session.issued_ms),
            values: OnceLock::new(),
        };
        Authority { store: self.0.of(account), principal, asked: Arc::new(asked) }
    }
}

/// What headers ask for beyond the operation has actions of its own.
async fn extra(authority: &Authority, cx: &S3AccessContext<'_>, bucket: &str, key: &str) -> S3Result<()> {
    let headers = cx.headers();
    let table = [
        ("x-amz-tagging", "s3:PutObjectTagging", Right::Write),
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

fn query(uri: &http::Uri, wanted: &str) -> Option<String> {
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
