//! Who may do what: rights granted to users and their groups, their policies, the bucket's policy and
//! ACLs, and the session's policy. Nothing is allowed that none of them allows, and what one of them
//! denies is denied. `store::judge` decides; here is what it is asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use base::AccountId;
use http::{HeaderMap, HeaderValue, Uri};
use policy::{Context, Policy, Values, Verdict, is_public};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, PublicAccessBlockConfiguration, TaggingDirective, UploadPartCopyInput};
use s3s::{S3Request, S3Result, s3_error};
use store::api::{Principal, Right};
use store::{Error, Question, Store, judge};

use crate::notes::Notes;
use crate::operations::{self, BYPASS, Level};
use crate::relaxed::Verified;
use crate::{acl, config, context, error, unsupported, wire};

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
    signed_in: Option<&'static str>,
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

impl<'a> Circumstances<'a> {
    fn new(asked: &'a Asked) -> Self {
        Self { asked, tags: None, wants_tags: AtomicBool::new(false) }
    }
}

impl Context for Circumstances<'_> {
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        if !key.starts_with("s3:existingobjecttag/") {
            let asked = self.asked;
            let fresh = || context::values(&asked.uri, &asked.headers, asked.signed_in, asked.peer, asked.issued_ms);
            return asked.values.get_or_init(fresh).values(key);
        }
        if self.tags.is_none() {
            self.wants_tags.store(true, Ordering::Relaxed);
        }
        self.tags.as_ref()?.values(key)
    }
}

impl Authority {
    /// `signed_in`: where the signature was, as `s3:authType` has it; `None` when there was none. Who is
    /// not known is a stranger to the default tenant; the others have no strangers.
    pub(crate) fn new(
        store: &Store,
        principal: Option<Principal>,
        signed_in: Option<&'static str>,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Self {
        let asked = Asked {
            uri: uri.clone(),
            headers: headers.clone(),
            signed_in,
            peer,
            issued_ms: principal.as_ref().and_then(Principal::session).map(|session| session.issued_ms),
            values: OnceLock::new(),
        };
        let account = principal.as_ref().map(Principal::account).unwrap_or_default();
        Self { store: store.of(account), principal, asked: Arc::new(asked) }
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
        let policy = self.policy_of(bucket, action).await?;
        let resource = match object {
            Some((key, _)) => format!("arn:aws:s3:::{bucket}/{key}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        let ask = |context: &Circumstances<'_>, listed: bool| {
            let right = right.map(|right| (right, bucket));
            let question = Question { action, right, listed, resource: &resource, context };
            judge(self.principal.as_ref(), policy.as_deref(), &question)
        };
        let mut context = Circumstances::new(&self.asked);
        let mut verdict = ask(&context, false);
        // A second time with the tags, which cost a look-up, where they were asked for.
        if let Some((key, version)) = object
            && context.wants_tags.load(Ordering::Relaxed)
        {
            context.tags = Some(self.tags(bucket, key, version).await?);
            verdict = ask(&context, false);
        }
        if verdict.explicit_denial() {
            return Err(denied());
        }
        if verdict.is_allowed() && !self.restricted(bucket, policy.as_deref()).await? {
            return Ok(());
        }
        // The last that may let somebody in.
        let user = self.principal.as_ref().map(Principal::name);
        let listed = acl::allow(&self.store, action, bucket, object, user).await?;
        if listed && ask(&context, true).is_allowed() { Ok(()) } else { Err(denied()) }
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
        let context = &Circumstances::new(&self.asked);
        judge(self.principal.as_ref(), None, &Question { action, right, listed: false, resource, context })
    }

    /// Whether the bucket hides from a stranger what its policy makes public (RestrictPublicBuckets).
    async fn restricted(&self, bucket: &str, policy: Option<&Policy>) -> S3Result<bool> {
        let Some(policy) = policy.filter(|_| self.principal.is_none()) else { return Ok(false) };
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
        let peer = cx.extensions_mut().get::<Peer>().copied();
        let again = cx.extensions_mut().get::<Verified>().is_some_and(|verified| verified.in_query);
        let in_query = again || query(cx.uri(), "X-Amz-Signature").is_some();
        let signed_in = if in_query { "REST-QUERY-STRING" } else { "REST-HEADER" };
        let signed_in = principal.is_some().then_some(signed_in);
        let authority = Authority::new(&self.0, principal, signed_in, cx.uri(), cx.headers(), peer);
        expected_owner(cx.headers(), authority.store.account())?;
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
                if let Some(more) = operations::more(operation.name, version.is_some()) {
                    authority.check(more, operation.right, bucket, Some((key, version.as_deref()))).await?;
                }
                extra(&authority, cx.headers(), bucket, key).await?;
            }
            // Each key is judged when the document is read: a stranger's only where a policy may let him in.
            Level::Keys => {
                let bucket = cx.s3_path().get_bucket_name().ok_or_else(denied)?;
                if authority.principal.is_none() && authority.policy_of(bucket, action).await?.is_none() {
                    return Err(denied());
                }
            }
        }
        unsupported::check(operation, cx.uri(), cx.headers())?;
        if let Some(principal) = authority.principal.clone() {
            cx.extensions_mut().insert(principal);
        }
        cx.extensions_mut().insert(authority);
        Ok(())
    }

    async fn copy_object(&self, req: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        let authority = authority(req)?;
        may_read_source(authority, &req.input.copy_source).await?;
        let retags = req.input.tagging_directive.as_ref().is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
        if retags { Ok(()) } else { may_read_source_tags(authority, &req.input.copy_source).await }
    }

    async fn upload_part_copy(&self, req: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        may_read_source(authority(req)?, &req.input.copy_source).await
    }
}

impl Access {
    /// Whom the signature's access key acts for.
    async fn principal(&self, cx: &mut S3AccessContext<'_>) -> S3Result<Option<Principal>> {
        let again = cx.extensions_mut().get::<Verified>().and_then(|verified| verified.access_key.clone());
        let signed = cx.credentials().map(|credentials| credentials.access_key.clone());
        let Some(access_key) = signed.or(again) else { return Ok(None) };
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
}

/// A client that expects a bucket to belong to another account has the wrong bucket.
pub(crate) fn expected_owner(headers: &HeaderMap, account: AccountId) -> S3Result<()> {
    let names = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];
    let mut given = names.iter().filter_map(|name| headers.get(*name)).peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    let account = account.to_string();
    if given.all(|owner| owner.as_bytes() == account.as_bytes()) { Ok(()) } else { Err(denied()) }
}

/// Judges what headers ask for beyond the operation.
pub(crate) async fn extra(authority: &Authority, headers: &HeaderMap, bucket: &str, key: &str) -> S3Result<()> {
    for (header, action, right) in operations::EXTRA {
        // Only the bypass is a switch; any other value is asked for.
        let off = |value: &HeaderValue| header == BYPASS && value.as_bytes().eq_ignore_ascii_case(b"false");
        if headers.get(header).is_some_and(|value| !off(value)) {
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

/// A copy that takes the tags along tells them.
async fn may_read_source_tags(authority: &Authority, source: &CopySource) -> S3Result<()> {
    let CopySource::Bucket { bucket, key, version_id } = source else { return Ok(()) };
    let version = version_id.as_deref();
    let action = if version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    let judged = authority.check(action, Some(Right::Read), bucket, Some((key, version))).await;
    if judged.is_err() && authority.tags(bucket, key, version).await?.is_empty() { Ok(()) } else { judged }
}

pub(crate) fn denied() -> s3s::S3Error {
    s3_error!(AccessDenied, "access denied")
}
