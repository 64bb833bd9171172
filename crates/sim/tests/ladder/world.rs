//! One gateway over what can fail, and a client that reads what its answers say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::limits::COLUMNS;
use base::{AccountId, Doors, SeededRng};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use keys::{Keyring, NewHold, NewPortion, PortionClass};
use ladder::Failure;
use meta::record::{BucketState, DefaultEncryption, Maker, ScanMode, ScanRules, Versioning};
use metrics_exporter_prometheus::PrometheusHandle;
use scan::Scanner;
use serde_json::{Value, json};
use sim::{Chance, Fault, SimClock, SimSite};
use sites::{Pool, PoolOptions, SiteSpec};
use store::{IslandOptions, Options, Store};
use tokio::time::Instant;

use crate::faults::{Customer, Eyes, Log, Rows};

const ROOT: (&str, &str) = ("ROOTKEY0000000000000", "rootsecretrootsecretrootsecret0000000000");
const REGION: &str = "us-east-1";
const HOST: &str = "127.0.0.1:9000";
/// Sites that fail where more than two do.
const MANY: usize = 3;

pub struct World {
    pub store: Store,
    s3: s3::Endpoint,
    kms: kms::Endpoint,
    admin: admin::Endpoint,
    pub sites: [Arc<SimSite>; COLUMNS],
    rows: Arc<Rows>,
    customer: Customer,
    log: Arc<Log>,
    eyes: Eyes,
    /// The key that objects are put under, and that the KMS API uses.
    pub key: String,
    credentials: (String, String),
    /// What it takes while it is cut off.
    _folder: tempfile::TempDir,
}

/// What a client sees.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl World {
    /// One whose requests are under a key that takes what fails.
    pub async fn new(dependency: &str, metrics: PrometheusHandle) -> Self {
        let clock = Arc::new(SimClock(Instant::now()));
        let chance = Arc::new(Chance::new(1));
        let sites: [Arc<SimSite>; COLUMNS] = std::array::from_fn(|_| Arc::new(SimSite::new(chance.clone())));
        let specs = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("sim://{slot}"),
            site: sites[slot].clone(),
        });
        let pool = Arc::new(Pool::new(specs, clock.clone(), PoolOptions::default()));
        let (rows, customer, log) =
            (Arc::new(Rows::new(dependency != "shares")), Customer::default(), Arc::new(Log::default()));
        let folder = tempfile::tempdir().unwrap();
        let eyes = Eyes::default();
        let scanner = Scanner::new(scan::Options {
            engines: vec![Arc::new(eyes.clone())],
            meta: rows.clone(),
            folder: folder.path().to_owned(),
            slots: 2,
            clock: clock.clone(),
        });
        let doors = Doors { clock, rng: Arc::new(SeededRng::new(2)) };
        // Room for one object: the next one is refused.
        let island = IslandOptions { folder: folder.path().to_owned(), bytes_max: 2 << 20 };
        let options = Options {
            background: false,
            island: Some(island),
            auditor: Some(log.clone()),
            keepers: Arc::new(customer.clone()),
            scanner: Some(scanner),
            ..Options::new(doors)
        };
        let root = (ROOT.0.to_owned(), ROOT.1.to_owned());
        let ring = Keyring::ephemeral(&SeededRng::new(1));
        let store = Store::open(rows.clone(), pool, ring, root.clone(), options).await.unwrap();
        let (account, credentials) = match dependency {
            "half" => {
                let (acme, access_key, secret) = store.create_tenant("acme").await.unwrap();
                let new =
                    NewHold { kind: "memory".to_owned(), options: BTreeMap::new(), lease_ms: keys::HOLD_LEASE_MS };
                store.portions().hold(acme.account, "acme", &new, false).await.unwrap();
                (acme.account, (access_key, secret))
            }
            _ => (AccountId::DEFAULT, root.clone()),
        };
        let class = if dependency == "shares" { PortionClass::Quorum } else { PortionClass::default() };
        let new = NewPortion { name: Some("p".to_owned()), class, ..NewPortion::default() };
        let theirs = store.of(account);
        let portion = theirs.portions().create(account, new, Maker::Customer).await.unwrap().id;
        theirs.create_bucket("bbb", "root", false).await.unwrap();
        theirs.create_bucket("island", "root", false).await.unwrap();
        let taking = |state: &mut BucketState| {
            (state.versioning, state.island) = (Versioning::Enabled, true);
            state.encryption = DefaultEncryption::Portion { portion, bucket_key: false };
            Ok(())
        };
        theirs.change_bucket_state("island", taking).await.unwrap();
        for (bucket, defer) in [("block", false), ("defer", true)] {
            theirs.create_bucket(bucket, "root", false).await.unwrap();
            let rules = ScanRules { mode: ScanMode::Block, defer, ..ScanRules::default() };
            theirs.set_scan_rules(bucket, rules).await.unwrap();
        }
        let judging = admin::Judging { right_for: s3::right_for, circumstances: s3::circumstances };
        Self {
            s3: s3::service(store.clone(), s3::S3Options::default()),
            kms: kms::service(store.clone(), REGION.to_owned()),
            admin: admin::service(store.clone(), root, metrics, judging),
            store,
            sites,
            rows,
            customer,
            log,
            eyes,
            key: portion.to_string(),
            _folder: folder,
            credentials,
        }
    }

    /// Makes something fail; `false`: it cannot fail so.
    pub fn inject(&self, dependency: &str, failure: Failure) -> bool {
        let fault = match failure {
            Failure::Down => Fault::Down,
            Failure::Slow => Fault::Hung,
            Failure::Wrong => Fault::Wrong,
            Failure::Partial => Fault::Full,
            Failure::Refused => Fault::Refusing,
            Failure::Overloaded => Fault::Overloaded,
        };
        let fail = |count: usize, about| {
            self.sites[..count].iter().for_each(|site| site.set_fault_about(about, fault));
            true
        };
        match dependency {
            "two-sites" => fail(2, ""),
            "more-sites" => fail(MANY, ""),
            "shares" => fail(MANY, "shares/"),
            "meta-quorum" | "meta-all" => {
                self.rows.freeze();
                self.rows.strong.set(Some(failure));
                // Who is refused is refused by the copy as well.
                let is_all = dependency == "meta-all" || failure == Failure::Refused;
                self.rows.nearby.set(is_all.then_some(failure));
                true
            }
            "half" => {
                self.customer.switch.set(Some(failure));
                failure != Failure::Partial
            }
            "audit" => {
                self.log.switch.set(Some(failure));
                failure != Failure::Wrong
            }
            "engine" => {
                self.eyes.0.set(Some(failure));
                !matches!(failure, Failure::Wrong | Failure::Partial)
            }
            "root" => false,
            other => panic!("no injector for {other}: write one"),
        }
    }

    /// Nothing fails any more.
    pub async fn cure(&self) {
        self.sites.iter().for_each(|site| site.set_fault(Fault::None));
        let theirs = [self.customer.switch.as_ref(), &self.log.switch, self.eyes.0.as_ref()];
        let switches = [&self.rows.strong, &self.rows.nearby].into_iter().chain(theirs);
        switches.for_each(|switch| switch.set(None));
        self.look().await;
    }

    /// What a process does by itself each second.
    pub async fn look(&self) {
        let portions = self.store.portions();
        let _ = portions.renew_site_lease().await;
        self.store.probe().await;
        for account in portions.look_after_halves().0 {
            portions.renew_half(account).await;
        }
        portions.drop_stale_keys();
    }

    /// So much time passes.
    pub async fn pass(&self, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(5)).await;
            self.look().await;
        }
    }

    /// One request to S3.
    pub async fn s3(&self, method: &str, path: &str, query: &str, more: &[(&str, &str)], body: Bytes) -> Answer {
        self.send(self.s3.clone(), "s3", (method, path, query), more, body).await
    }

    pub async fn kms(&self, operation: &str, body: Value) -> Answer {
        let target = format!("TrentService.{operation}");
        let more = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)];
        self.send(self.kms.clone(), "kms", ("POST", "/", ""), &more, body.to_string().into()).await
    }

    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        let more = [("content-type", "application/json")];
        self.send(self.admin.clone(), admin::SERVICE, (method, path, ""), &more, body.to_string().into()).await
    }

    async fn send<S, B>(
        &self,
        service: S,
        name: &str,
        (method, path, query): (&str, &str, &str),
        more: &[(&str, &str)],
        body: Bytes,
    ) -> Answer
    where
        S: hyper::service::Service<Request<Incoming>, Response = http::Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (access_key, secret) = match name {
            admin::SERVICE => (ROOT.0, ROOT.1),
            _ => (self.credentials.0.as_str(), self.credentials.1.as_str()),
        };
        let signed = sigv4::Request { method, path, query, host: HOST, body: &body };
        let signed = signed.sign_with(more, access_key, secret, REGION, name, sigv4::now_s());
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(method).uri(target).header("host", HOST);
        for (header, value) in more.iter().copied().chain(signed.iter().map(|(name, value)| (*name, value.as_str()))) {
            request = request.header(header, value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let (near, far) = tokio::io::duplex(1 << 20);
        let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let server = tokio::spawn(server);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let connection = tokio::spawn(connection);
        let (parts, mut stream) = sender.send_request(request).await.unwrap().into_parts();
        let (mut got, mut whole) = (Vec::new(), true);
        while let Some(frame) = stream.frame().await {
            match frame {
                Ok(frame) => got.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        connection.abort();
        server.abort();
        Answer { status: parts.status, headers: parts.headers, body: got.into(), whole }
    }
}

impl Answer {
    #[track_caller]
    pub fn done(self) -> Self {
        assert!(self.status.is_success(), "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(json!(null))
    }

    pub fn tag(&self, tag: &str) -> String {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let rest = text.split_once(&format!("<{tag}>")).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once('<')).map(|(found, _)| found.to_owned()).expect("the tag")
    }
}
