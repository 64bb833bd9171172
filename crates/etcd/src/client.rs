//! The members together: who is asked first, who next, and when.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use http::uri::PathAndQuery;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

use crate::call::{self, Channel};
use crate::error::{Reaction, Refusal, reaction};
use crate::member::{Record, Standing};
use crate::message::{
    AlarmRequest, AlarmResponse, AuthenticateRequest, AuthenticateResponse, CompactionRequest, DefragmentRequest,
    Ignored, RangeRequest, RangeResponse, StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use crate::{CallError, SetupError, TlsFiles, tls};

/// A member that does not take a connection by then is down or out of reach.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A connection without answers is asked for a sign of life this often, and has as long to give one.
///
/// etcd's own gRPC server hangs up on who asks more often than each five seconds, or without a call under way.
const ALIVE_EVERY: Duration = Duration::from_secs(6);
/// When all members were asked and none has answered, the next is asked again this often: what a leader took before it died is
/// lost without a word.
const AGAIN_EVERY: Duration = Duration::from_millis(500);
/// After every member has failed: time to be up again.
const ALL_FAILED_PAUSE: Duration = Duration::from_millis(100);
/// Calls under way for one request.
const IN_FLIGHT_MAX: usize = 12;
/// Time for a member's status.
const STATUS_WITHIN: Duration = Duration::from_secs(2);
/// Time for compaction, which the members do in the background, and for an alarm's.
const UPKEEP_WITHIN: Duration = Duration::from_secs(30);
/// Time for defragmentation: the member answers nothing meanwhile, about a second for 100 MB.
const DEFRAGMENT_WITHIN: Duration = Duration::from_secs(600);

/// A member's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name, or an address; one of IPv6 in brackets.
    pub host: String,
    /// Its port for clients, 2379 by convention.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who and how to call. Its Debug tells no password.
#[derive(Clone)]
pub struct ClientOptions {
    /// The members, the nearest first.
    pub endpoints: Vec<Endpoint>,
    /// `None`: in clear.
    pub tls: Option<TlsFiles>,
    /// A user and its password, where etcd has authentication enabled.
    pub user: Option<(String, Zeroizing<String>)>,
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("ClientOptions")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("user", &user)
            .finish()
    }
}

/// A client of one etcd cluster. Connections are made when they are needed.
pub struct Client {
    members: Vec<Arc<Member>>,
    user: Option<(String, Zeroizing<String>)>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    /// One asks for a token; the others wait for it.
    authenticating: tokio::sync::Mutex<()>,
    /// What times are counted from.
    start: Instant,
}

struct Member {
    endpoint: Endpoint,
    origin: http::Uri,
    channel: Channel,
    record: Mutex<Record>,
    last_error: Mutex<Option<String>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let endpoints: Vec<_> = self.members.iter().map(|member| &member.endpoint).collect();
        f.debug_struct("Client").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

/// How an attempt ended.
type Attempt<A> = (usize, Result<A, Status>);

impl Client {
    /// Reads the files for TLS; no connection is made.
    ///
    /// # Errors
    /// [`SetupError`] when a file or an address cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, SetupError> {
        let config = options.tls.as_ref().map(tls::config).transpose()?;
        let scheme = if config.is_some() { "https" } else { "http" };
        let mut members = Vec::with_capacity(options.endpoints.len());
        for endpoint in options.endpoints {
            let origin: http::Uri =
                format!("{scheme}://{endpoint}").parse().map_err(|_| SetupError::Address(endpoint.to_string()))?;
            let channel = channel(config.clone())?;
            let (record, last_error) = (Mutex::default(), Mutex::default());
            members.push(Arc::new(Member { endpoint, origin, channel, record, last_error }));
        }
        if members.is_empty() {
            return Err(SetupError::Address("nothing".into()));
        }
        Ok(Self {
            members,
            user: options.user,
            token: Mutex::default(),
            authenticating: tokio::sync::Mutex::default(),
            start: Instant::now(),
        })
    }

    /// The members, in the order given.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.members.iter().map(|member| &member.endpoint)
    }

    /// Reads rows, linearizably.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn range(&self, request: &RangeRequest, deadline: Instant) -> Result<RangeResponse, CallError> {
        self.call("/etcdserverpb.KV/Range", request, deadline).await
    }

    /// A transaction, which must be harmless when it is served twice.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn txn(&self, request: &TxnRequest, deadline: Instant) -> Result<TxnResponse, CallError> {
        self.call("/etcdserverpb.KV/Txn", request, deadline).await
    }

    /// Forgets what rows were before `revision`. No error when that is done already.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn compact(&self, revision: i64) -> Result<(), CallError> {
        let request = CompactionRequest { revision };
        match self.call::<_, Ignored>("/etcdserverpb.KV/Compact", &request, Instant::now() + UPKEEP_WITHIN).await {
            Ok(_) | Err(CallError::Compacted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The alarms that are raised.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn alarms(&self, deadline: Instant) -> Result<AlarmResponse, CallError> {
        self.call("/etcdserverpb.Maintenance/Alarm", &AlarmRequest::default(), deadline).await
    }

    /// How one member stands, by its place in [`Self::endpoints`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn status(&self, member: usize) -> Result<StatusResponse, CallError> {
        self.call_one(member, "/etcdserverpb.Maintenance/Status", &StatusRequest {}, STATUS_WITHIN).await
    }

    /// Makes one member's file as small as its rows; it answers nothing meanwhile.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn defragment(&self, member: usize) -> Result<(), CallError> {
        let path = "/etcdserverpb.Maintenance/Defragment";
        self.call_one::<_, Ignored>(member, path, &DefragmentRequest {}, DEFRAGMENT_WITHIN).await.map(drop)
    }

    async fn call<Q: Message, A: Message + Default + 'static>(
        &self,
        path: &'static str,
        request: &Q,
        deadline: Instant,
    ) -> Result<A, CallError> {
        let request = Bytes::from(request.encode_to_vec());
        let mut sent = false;
        let mut renewed = false;
        loop {
            let token = self.token(deadline).await.map_err(|error| unsent(error, sent))?;
            match self.ask(path, &request, token.clone(), deadline, &mut sent).await? {
                Ok(answer) => return Ok(answer),
                // Once: a token that is refused when it is new means something else.
                Err((Reaction::Authenticate, _)) if !renewed && self.user.is_some() => {
                    renewed = true;
                    self.forget(token);
                }
                Err((Reaction::Authenticate, words)) => return Err(self.refused(&Refusal::Denied, &words)),
                Err((Reaction::Final(refusal), words)) => return Err(self.refused(&refusal, &words)),
                Err((Reaction::Elsewhere, _)) => return Err(self.unreachable(sent)),
            }
        }
    }

    /// Asks one member after the other until one answers. What is inside is an answer; an error outside is none.
    async fn ask<A: Message + Default + 'static>(
        &self,
        path: &'static str,
        request: &Bytes,
        token: Option<MetadataValue<Ascii>>,
        deadline: Instant,
        sent: &mut bool,
    ) -> Result<Result<A, (Reaction, String)>, CallError> {
        let mut under_way = FuturesUnordered::new();
        // By member, and since when, so that who is overtaken is known.
        let mut waiting: Vec<(usize, Instant)> = Vec::new();
        let mut order = self.order().into_iter();
        let mut asked = 0;
        let mut next_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= deadline {
                for (member, _) in &waiting {
                    *self.members[*member].last_error.lock() = Some("no answer in time".into());
                }
                *sent |= !waiting.is_empty();
                return Err(self.unreachable(*sent));
            }
            if now >= next_at && under_way.len() < IN_FLIGHT_MAX {
                let next = order.next().or_else(|| {
                    order = self.order().into_iter();
                    order.next()
                });
                let Some((member, standing)) = next else { return Err(self.unreachable(*sent)) };
                under_way.push(self.attempt::<A>(member, path, request.clone(), token.clone(), deadline));
                waiting.push((member, now));
                asked += 1;
                let patience = match standing {
                    Standing::Well => Duration::from_millis(self.members[member].record.lock().late_after()),
                    Standing::Trial | Standing::Broken => Duration::ZERO,
                };
                next_at = now + if asked < self.members.len() { patience } else { patience.max(AGAIN_EVERY) };
            } else if now >= next_at {
                next_at = now + AGAIN_EVERY;
            }
            let until = deadline.min(next_at);
            if under_way.is_empty() {
                tokio::time::sleep_until(until).await;
                continue;
            }
            let Ok(Some((member, result))) = timeout_at(until, under_way.next()).await else { continue };
            if let Some(at) = waiting.iter().position(|(one, _)| *one == member) {
                waiting.remove(at);
            }
            let status = match result {
                Ok(answer) => {
                    self.overtaken(&waiting);
                    return Ok(Ok(answer));
                }
                Err(status) => status,
            };
            *sent |= !call::never_sent(&status);
            *self.members[member].last_error.lock() = Some(call::told(&status));
            match reaction(&status) {
                Reaction::Elsewhere if asked < self.members.len() => next_at = Instant::now(),
                Reaction::Elsewhere => next_at = next_at.min(Instant::now() + ALL_FAILED_PAUSE),
                // One member may have forgotten the token, or be behind the others: they may still know it.
                Reaction::Authenticate if asked < self.members.len() => next_at = Instant::now(),
                Reaction::Authenticate if !waiting.is_empty() => {}
                reaction => {
                    self.overtaken(&waiting);
                    *sent |= !waiting.is_empty();
                    return Ok(Err((reaction, status.message().to_owned())));
                }
            }
        }
    }

    /// In the background: an answer that comes late tells of the member all the same.
    fn attempt<A: Message + Default + 'static>(
        &self,
        index: usize,
        path: &'static str,
        request: Bytes,
        token: Option<MetadataValue<Ascii>>,
        deadline: Instant,
    ) -> impl Future<Output = Attempt<A>> + use<A> {
        let member = Arc::clone(&self.members[index]);
        let start = self.start;
        let began = Instant::now();
        member.record.lock().tried(millis(began - start));
        let task = tokio::spawn(async move {
            let path = PathAndQuery::from_static(path);
            let call = call::unary::<A>(member.channel.clone(), member.origin.clone(), path, request, token);
            let result = timeout_at(deadline, call).await;
            let result = result.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
            let now = Instant::now();
            let mut record = member.record.lock();
            match &result {
                Err(status) if reaction(status) == Reaction::Elsewhere => record.failed(millis(now - start)),
                _ => record.answered(millis(now - began)),
            }
            result
        });
        async move {
            let ended = task.await.unwrap_or_else(|error| Err(Status::internal(format!("the call ended: {error}"))));
            (index, ended)
        }
    }

    /// Others that should have answered by now: they are slow, unless on trial, which tells by itself.
    fn overtaken(&self, waiting: &[(usize, Instant)]) {
        let now = millis(self.start.elapsed());
        for (member, since) in waiting {
            let mut record = self.members[*member].record.lock();
            if record.standing(now) == Standing::Well && millis(since.elapsed()) >= record.late_after() {
                record.failed(now);
            }
        }
    }

    /// Those on trial, beside the first that is well; then all that are well, in the order given; then the broken.
    fn order(&self) -> Vec<(usize, Standing)> {
        let now = millis(self.start.elapsed());
        let standings: Vec<_> = self
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| (index, member.record.lock().standing(now)))
            .collect();
        let of = |wanted| standings.iter().copied().filter(move |(_, standing)| *standing == wanted);
        of(Standing::Trial).chain(of(Standing::Well)).chain(of(Standing::Broken)).collect()
    }

    async fn call_one<Q: Message, A: Message + Default + 'static>(
        &self,
        index: usize,
        path: &'static str,
        request: &Q,
        within: Duration,
    ) -> Result<A, CallError> {
        let Some(member) = self.members.get(index) else { return Err(CallError::Refused("no such member".into())) };
        let deadline = Instant::now() + within;
        let request = Bytes::from(request.encode_to_vec());
        let mut renewed = false;
        loop {
            let token = self.token(deadline.min(Instant::now() + STATUS_WITHIN)).await?;
            let path = PathAndQuery::from_static(path);
            let call =
                call::unary::<A>(member.channel.clone(), member.origin.clone(), path, request.clone(), token.clone());
            let status = match timeout_at(deadline, call).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            match reaction(&status) {
                Reaction::Authenticate if !renewed => {
                    renewed = true;
                    self.forget(token);
                }
                Reaction::Final(refusal) => return Err(self.refused(&refusal, status.message())),
                _ => {
                    let causes = format!("{}: {}", member.endpoint, call::told(&status));
                    return Err(CallError::Unreachable { causes, sent: !call::never_sent(&status) });
                }
            }
        }
    }

    async fn token(&self, deadline: Instant) -> Result<Option<MetadataValue<Ascii>>, CallError> {
        let Some((name, password)) = &self.user else { return Ok(None) };
        if let Some(token) = self.token.lock().clone() {
            return Ok(Some(token));
        }
        let _one = self.authenticating.lock().await;
        if let Some(token) = self.token.lock().clone() {
            return Ok(Some(token));
        }
        let request = AuthenticateRequest { name: name.clone(), password: password.to_string() };
        let encoded = Bytes::from(request.encode_to_vec());
        let mut sent = false;
        let path = "/etcdserverpb.Auth/Authenticate";
        match self.ask::<AuthenticateResponse>(path, &encoded, None, deadline, &mut sent).await? {
            Ok(answer) => {
                let token: MetadataValue<Ascii> =
                    answer.token.parse().map_err(|_| CallError::Refused("a token that is none".into()))?;
                *self.token.lock() = Some(token.clone());
                Ok(Some(token))
            }
            Err((Reaction::Final(refusal), words)) => Err(self.refused(&refusal, &words)),
            Err(_) => Err(self.unreachable(false)),
        }
    }

    /// Unless somebody has a newer one already.
    fn forget(&self, token: Option<MetadataValue<Ascii>>) {
        let mut held = self.token.lock();
        if *held == token {
            *held = None;
        }
    }

    fn refused(&self, refusal: &Refusal, words: &str) -> CallError {
        let name = self.user.as_ref().map_or("", |(name, _)| name);
        match refusal {
            Refusal::Compacted => CallError::Compacted,
            Refusal::NoSpace => CallError::NoSpace,
            Refusal::TooLarge(what) => CallError::TooLarge(what),
            Refusal::NoToken => CallError::Denied(
                "etcd has authentication enabled: name a user in the address (etcd://USER@...) and give password_file"
                    .into(),
            ),
            Refusal::WrongPassword => CallError::Denied(format!(
                "etcd refuses user {name:?}: the password is wrong or there is no such user; see password_file, or \
                 `etcdctl user passwd {name}`"
            )),
            Refusal::NotEnabled => CallError::Denied(format!(
                "etcd has no authentication enabled, yet user {name:?} is configured: `etcdctl auth enable`, or leave the user out"
            )),
            Refusal::Denied => CallError::Denied(format!(
                "etcd does not let user {name:?} do this ({words}): grant its role readwrite on the prefix; to defragment takes \
                 the role root"
            )),
            Refusal::Other => CallError::Refused(words.to_owned()),
        }
    }

    fn unreachable(&self, sent: bool) -> CallError {
        let causes = self.members.iter().map(|member| {
            let last = member.last_error.lock().clone();
            format!("{}: {}", member.endpoint, last.unwrap_or_else(|| "not asked".into()))
        });
        CallError::Unreachable { causes: causes.collect::<Vec<_>>().join("; "), sent }
    }
}

/// The call itself may have been sent before its token ran out.
fn unsent(error: CallError, before: bool) -> CallError {
    match error {
        CallError::Unreachable { causes, .. } => CallError::Unreachable { causes, sent: before },
        error => error,
    }
}

fn channel(config: Option<rustls::ClientConfig>) -> Result<Channel, SetupError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_WITHIN));
    let builder = HttpsConnectorBuilder::new();
    let connector = match config {
        Some(config) => builder.with_tls_config(config).https_only().enable_http2().wrap_connector(tcp),
        None => {
            let none = tls::config(&TlsFiles::default())?;
            builder.with_tls_config(none).https_or_http().enable_http2().wrap_connector(tcp)
        }
    };
    Ok(Http::builder(TokioExecutor::new())
        .http2_only(true)
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(ALIVE_EVERY)
        .http2_keep_alive_timeout(ALIVE_EVERY / 3)
        .http2_keep_alive_while_idle(false)
        .build(connector))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
