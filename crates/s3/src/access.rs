//! Who may do what: rights granted to users and their groups, their policies, the bucket's policy and
//! ACLs, and the session's policy. Nothing is allowed that none of them allows, and what one of them
//! denies is denied. `store::judge` decides; here is what it is asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use base::{AccountId, PortionId};
use http::{HeaderMap, HeaderValue, Uri};
use keys::EncryptionContext;
pub(crate) use listener::Peer;
use policy::{Context, Policy, Values, Verdict, is_public};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    CopyObjectInput, CopySource, PublicAccessBlockConfiguration, PutObjectLegalHoldInput, PutObjectRetentionInput,
    PutObjectTaggingInput, TaggingDirective, UploadPartCopyInput,
};
use s3s::{S3ErrorCode, S3Request, S3Result, s3_error};
use store::api::{Lock, ObjectMeta, Principal, Right};
use store::{Error, Question, Store, judge, judge_key};

use crate::notes::Notes;
use crate::operations::{self, BYPASS, Level, Operation};
use crate::relaxed::Verified;
use crate::{acl, config, context, error, lock, tags, unsupported, wire};

/// On what ListBuckets is asked.
const ALL_BUCKETS: &str = "arn:aws:s3:::*";
const LIST_BUCKETS: &str = "s3:ListAllMyBuckets";
/// Operations whose documents conditions ask about. Each is judged once more when it was read: see the hooks
/// of [`Access`] of these names.
const DOCUMENTS: [&str; 3] = ["PutObjectLegalHold", "PutObjectRetention", "PutObjectTagging"];

/// Judges each request after its signature was found right.
pub(crate) struct Access(pub Store);

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
    puts: Puts,
}

/// Where the tags, the retention and the legal hold stand that a request puts.
#[derive(Clone)]
enum Puts {
    Headers,
    /// In its document, which was not read yet.
    Document,
    Known(Arc<Values>),
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
    puts: &'a Puts,
    /// The version that is asked about.
    version: Option<&'a str>,
    tags: Option<Values>,
    /// Whether a condition asked for tags that were not fetched yet.
    wants_tags: AtomicBool,
    /// Whether a condition asked for what a document says that was not read yet.
    wants_document: AtomicBool,
}

impl<'a> Circumstances<'a> {
    fn new(authority: &'a Authority, version: Option<&'a str>) -> Self {
        let (wants_tags, wants_document) = (AtomicBool::new(false), AtomicBool::new(false));
        let Authority { asked, puts, .. } = authority;
        Self { asked, puts, version, tags: None, wants_tags, wants_document }
    }

    fn of_head(&self, key: &str) -> Option<Cow<'_, [String]>> {
        let asked = self.asked;
        let fresh = || context::values(&asked.uri, &asked.headers, asked.signed_in, asked.peer, asked.issued_ms);
        asked.values.get_or_init(fresh).values(key)
    }
}

impl Context for Circumstances<'_> {
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        if key == "s3:versionid" {
            return self.version.map(|version| Cow::Owned(vec![version.to_owned()]));
        }
        if context::is_put(key) {
            return match self.puts {
                Puts::Headers => self.of_head(key),
                Puts::Known(values) => values.values(key),
                Puts::Document => {
                    self.wants_document.store(true, Ordering::Relaxed);
                    None
                }
            };
        }
        if !key.starts_with("s3:existingobjecttag/") {
            return self.of_head(key);
        }
        if self.tags.is_none() {
            self.wants_tags.store(true, Ordering::Relaxed);
        }
        self.tags.as_ref()?.values(key)
    }
}

/// What conditions ask about a key that a request uses, and about the request.
struct OfKey<'a> {
    about: Values,
    request: Circumstances<'a>,
}

impl Context for OfKey<'_> {
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        // First the key: no header can say what it is.
        self.about.values(key).or_else(|| self.request.values(key))
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
        Self { store: store.of(account), principal, asked: Arc::new(asked), puts: Puts::Headers }
    }

    /// The same, of a request that puts this, whatever its headers say.
    fn putting(&self, values: Values) -> Self {
        Self { puts: Puts::Known(Arc::new(values)), ..self.clone() }
    }

    /// Whether the request may do `action` on a bucket, or on an object in it. Where that hangs on a
    /// document that was not read yet, it may until it was.
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
        let mut context = Circumstances::new(self, object.and_then(|(_, version)| version));
        let mut verdict = ask(&context, false);
        // A second time with the tags, which cost a look-up, where they were asked for.
        if let Some((key, version)) = object
            && context.wants_tags.load(Ordering::Relaxed)
        {
            let mut tags = Values::default();
            for (name, value) in self.tags(bucket, key, version).await? {
                tags.add(&format!("s3:ExistingObjectTag/{name}"), value);
            }
            context.tags = Some(tags);
            verdict = ask(&context, false);
        }
        if context.wants_document.load(Ordering::Relaxed) {
            return Ok(());
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

    /// Whether [`Self::check`] lets something be told.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn may(&self, action: &str, bucket: &str, object: (&str, Option<&str>)) -> S3Result<bool> {
        match self.check(action, Some(Right::Read), bucket, Some(object)).await {
            Ok(()) => Ok(true),
            Err(error) if *error.code() == S3ErrorCode::AccessDenied => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the request may use a KMS key for what it does with a bucket: by a policy of the caller, by a right that was
    /// granted on the bucket, or by a grant of the key. `about`: what conditions find of the key; `context`: the encryption
    /// context, which grants ask about.
    ///
    /// # Errors
    /// `AccessDenied`, or the store's.
    pub(crate) async fn use_key(
        &self,
        (action, right): (&str, Right),
        bucket: &str,
        (id, arn, policy): (PortionId, &str, &str),
        about: Values,
        context: &EncryptionContext,
    ) -> S3Result<()> {
        let facts = &OfKey { about, request: Circumstances::new(self, None) };
        // A key is nobody's who did not sign.
        let principal = self.principal.as_ref().ok_or_else(denied)?;
        let own = self.store.key_policy(id, policy).map_err(error::answer)?;
        let judged = |listed| {
            let question = Question { action, right: Some((right, bucket)), listed, resource: arn, context: facts };
            judge_key(principal, own.as_deref(), &question)
        };
        let verdict = judged(false);
        if verdict.is_allowed() {
            return Ok(());
        }
        if verdict.explicit_denial() {
            return Err(denied());
        }
        let granted = self.store.portions().granted(id, &principal.in_grants(), action, context).await;
        let granted = granted.map_err(|error| error::answer(error.into()))?;
        if granted && judged(true).is_allowed() { Ok(()) } else { Err(denied()) }
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
        let context = &Circumstances::new(self, None);
        judge(self.principal.as_ref(), None, &Question { action, right, listed: false, resource, context })
    }

    /// Whether the bucket hides from a stranger what its policy makes public (RestrictPublicBuckets).
    async fn restricted(&self, bucket: &str, policy: Option<&Policy>) -> S3Result<bool> {
        let Some(policy) = policy.filter(|_| self.principal.is_none()) else { return Ok(false) };
        let block = config::find::<PublicAccessBlockConfiguration>(&self.store, bucket, config::PUBLIC_ACCESS).await?;
        Ok(block.is_some_and(|block| block.restrict_public_buckets == Some(true)) && is_public(policy))
    }

    /// An object's tags; none of one that is not there.
    async fn tags(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<BTreeMap<String, String>> {
        match self.store.head(bucket, key, wire::version_id(version)?).await {
            Ok(info) => Ok(info.meta.tags),
            Err(Error::NoSuchKey | Error::NoSuchVersion | Error::DeleteMarker { .. } | Error::NoSuchBucket(_)) => {
                Ok(BTreeMap::new())
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
        let mut authority = Authority::new(&self.0, principal, signed_in, cx.uri(), cx.headers(), peer);
        if DOCUMENTS.contains(&operation.name) {
            authority.puts = Puts::Document;
        }
        expected_owner(cx.headers(), authority.store.account())?;
        match operation.level {
            Level::Service => {
                authority.may_list_buckets()?;
                authority.store.must_tell_old("", "").await.map_err(error::answer)?;
            }
            Level::Bucket => {
                let bucket = cx.s3_path().get_bucket_name().ok_or_else(denied)?;
                authority.check(operation.action, operation.right, bucket, None).await?;
                let prefix = query(cx.uri(), "prefix").unwrap_or_default();
                authority.store.must_tell_old(bucket, &prefix).await.map_err(error::answer)?;
            }
            Level::Object => {
                let (bucket, key) = cx.s3_path().as_object().ok_or_else(denied)?;
                let version = query(cx.uri(), "versionId");
                may_do(&authority, operation, cx.headers(), bucket, (key, version.as_deref())).await?;
                // What is taken while the metadata are out of reach tells nothing.
                if operation.name != "PutObject" {
                    authority.store.must_tell_old(bucket, key).await.map_err(error::answer)?;
                }
            }
            // Each key is judged when the document is read: a stranger's only where a policy may let him in.
            Level::Keys => {
                let bucket = cx.s3_path().get_bucket_name().ok_or_else(denied)?;
                if authority.principal.is_none() && authority.policy_of(bucket, operation.action).await?.is_none() {
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
        if retags { Ok(()) } else { may_take_tags(authority, &req.input).await }
    }

    async fn put_object_legal_hold(&self, req: &mut S3Request<PutObjectLegalHoldInput>) -> S3Result<()> {
        let mut values = Values::default();
        let hold = lock::hold_of_document(req.input.legal_hold.as_ref())?;
        context::add_hold(&mut values, if hold { "ON" } else { "OFF" });
        let PutObjectLegalHoldInput { bucket, key, version_id, .. } = &req.input;
        may_put(req, "PutObjectLegalHold", bucket, (key, version_id.as_deref()), values).await
    }

    async fn put_object_retention(&self, req: &mut S3Request<PutObjectRetentionInput>) -> S3Result<()> {
        let mut values = Values::default();
        if let Some(retention) = lock::of_document(req.input.retention.clone())? {
            let until = wire::timestamp(retention.until_ms);
            context::add_retention(&mut values, Some(lock::mode_name(retention.mode)), Some(until));
        }
        let PutObjectRetentionInput { bucket, key, version_id, .. } = &req.input;
        may_put(req, "PutObjectRetention", bucket, (key, version_id.as_deref()), values).await
    }

    async fn put_object_tagging(&self, req: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        let mut values = Values::default();
        for (name, value) in tags::of_set(req.input.tagging.tag_set.clone(), tags::OBJECT_MAX)? {
            context::add_tag(&mut values, &name, &value);
        }
        let PutObjectTaggingInput { bucket, key, version_id, .. } = &req.input;
        may_put(req, "PutObjectTagging", bucket, (key, version_id.as_deref()), values).await
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

/// Judges an operation on an object, which may be named by a version.
async fn may_do(
    authority: &Authority,
    operation: &Operation,
    headers: &HeaderMap,
    bucket: &str,
    object: (&str, Option<&str>),
) -> S3Result<()> {
    let named = object.1.is_some();
    let action = operation.versioned.filter(|_| named).unwrap_or(operation.action);
    authority.check(action, operation.right, bucket, Some(object)).await?;
    if let Some(more) = operations::more(operation.name, named) {
        authority.check(more, operation.right, bucket, Some(object)).await?;
    }
    extra(authority, headers, bucket, object).await
}

/// Judges an operation again when its document was read, which puts `values`.
async fn may_put<T>(
    req: &S3Request<T>,
    operation: &str,
    bucket: &str,
    object: (&str, Option<&str>),
    values: Values,
) -> S3Result<()> {
    let operation = operations::find(operation).ok_or_else(denied)?;
    may_do(&authority(req)?.putting(values), operation, &req.headers, bucket, object).await
}

/// Judges what headers ask for beyond the operation.
pub(crate) async fn extra(
    authority: &Authority,
    headers: &HeaderMap,
    bucket: &str,
    object: (&str, Option<&str>),
) -> S3Result<()> {
    for (header, action, right) in operations::EXTRA {
        // Only the bypass is a switch; any other value is asked for.
        let off = |value: &HeaderValue| header == BYPASS && value.as_bytes().eq_ignore_ascii_case(b"false");
        if headers.get(header).is_some_and(|value| !off(value)) {
            authority.check(action, Some(right), bucket, Some(object)).await?;
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

/// A copy that takes its source's tags along tells them, and puts them.
async fn may_take_tags(authority: &Authority, input: &CopyObjectInput) -> S3Result<()> {
    let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else { return Ok(()) };
    let version = version_id.as_deref();
    let tags = authority.tags(bucket, key, version).await?;
    if tags.is_empty() {
        return Ok(());
    }
    let action = if version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    authority.check(action, Some(Right::Read), bucket, Some((key, version))).await?;
    let mut values = Values::default();
    for (name, value) in &tags {
        context::add_tag(&mut values, name, value);
    }
    let target = Some((input.key.as_str(), None));
    authority.putting(values).check("s3:PutObjectTagging", Some(Right::Write), &input.bucket, target).await
}

/// How many tags an object has, and its lock, as far as the caller may ask for them by their own operations.
///
/// # Errors
/// The store's.
pub(crate) async fn shown(
    authority: &Authority,
    bucket: &str,
    object: (&str, Option<&str>),
    meta: &ObjectMeta,
) -> S3Result<(Option<i32>, Lock)> {
    let tagging = if object.1.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    let mut count = tags::count(meta);
    if count.is_some() && !authority.may(tagging, bucket, object).await? {
        count = None;
    }
    let mut lock = meta.lock;
    if lock.retention.is_some() && !authority.may("s3:GetObjectRetention", bucket, object).await? {
        lock.retention = None;
    }
    if lock.hold && !authority.may("s3:GetObjectLegalHold", bucket, object).await? {
        lock.hold = false;
    }
    Ok((count, lock))
}

pub(crate) fn denied() -> s3s::S3Error {
    s3_error!(AccessDenied, "access denied")
}
