//! The server that the table is played against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use store::api::Right;

use crate::common::{ROOT, World, md5_base64, sign};
use crate::row::{Scene, Who};
use crate::run::{plain, url_decoded};

/// Listings of one bucket that cleaning up goes through.
const PAGES_MAX: usize = 50;

pub struct Endpoint {
    /// `host:port`.
    pub host: String,
    pub region: String,
    access: String,
    secret: String,
    /// The in-process server, when it is that.
    world: Option<World>,
    /// Makes names that no earlier run has used.
    seed: u64,
    next: AtomicU64,
}

impl Endpoint {
    /// The server that the environment names: `HOLDFAST_S3_ENDPOINT` (`http://host:port`),
    /// `HOLDFAST_S3_ACCESS_KEY`, `HOLDFAST_S3_SECRET_KEY`, `HOLDFAST_S3_REGION`. Without it, a
    /// server in this process.
    pub async fn of_environment() -> Result<Self, String> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let next = AtomicU64::new(0);
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let region = var("HOLDFAST_S3_REGION").unwrap_or_else(|| sign::REGION.to_owned());
        let Some(url) = var("HOLDFAST_S3_ENDPOINT") else {
            let world = World::start().await;
            let (access, secret) = (ROOT.0.to_owned(), ROOT.1.to_owned());
            return Ok(Self {
                host: world.address.to_string(),
                region,
                access,
                secret,
                world: Some(world),
                seed,
                next,
            });
        };
        let host = url.strip_prefix("http://").ok_or("HOLDFAST_S3_ENDPOINT must begin with http://")?;
        let host = host.trim_end_matches('/');
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let access = var("HOLDFAST_S3_ACCESS_KEY").ok_or("HOLDFAST_S3_ACCESS_KEY is not set")?;
        let secret = var("HOLDFAST_S3_SECRET_KEY").ok_or("HOLDFAST_S3_SECRET_KEY is not set")?;
        Ok(Self { host, region, access, secret, world: None, seed, next })
    }

    /// Whether the answers are held to the known differences.
    pub fn is_holdfast(&self) -> bool {
        self.world.is_some() || std::env::var_os("HOLDFAST_S3_IS_HOLDFAST").is_some()
    }

    /// Whether a scene can be played here: users can be made in this process only.
    pub fn can_play(&self, scene: &Scene) -> bool {
        (!scene.users || self.world.is_some()) && (!scene.holdfast_only || self.is_holdfast())
    }

    /// Makes a bucket, and users; the variables that name them.
    pub async fn prepare(&self, users: bool) -> Result<BTreeMap<String, String>, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = |letter: &str| format!("hf-{:x}-{number}-{letter}", self.seed);
        let mut names: BTreeMap<String, String> =
            ["b", "c", "d"].map(|letter| (letter.to_owned(), name(letter))).into_iter().collect();
        let made = plain(self, "PUT", &format!("/{}", names["b"])).send_to(&self.host).await?;
        if !made.status.is_success() {
            return Err(format!("{} {}", made.status, made.text()));
        }
        if let (true, Some(world)) = (users, &self.world) {
            for user in ["reader", "stranger"] {
                let (user, name) = (user.to_owned(), format!("{user}-{number}"));
                let key = (format!("KEY{}", name.to_uppercase()), format!("secret-of-{name}"));
                world.store.create_user(&name, Some(key)).await.map_err(|error| error.to_string())?;
                names.insert(user, name);
            }
            let granted = world.store.grant(&names["reader"], &names["b"], Some(Right::Read)).await;
            granted.map_err(|error| error.to_string())?;
        }
        Ok(names)
    }

    /// The access key and secret of who sends a request.
    pub fn key(&self, who: &Who, vars: &BTreeMap<String, String>) -> (String, String) {
        let of_user = |user: &str| {
            let name = vars.get(user).map_or("", String::as_str);
            (format!("KEY{}", name.to_uppercase()), format!("secret-of-{name}"))
        };
        match who {
            Who::Root | Who::Nobody => (self.access.clone(), self.secret.clone()),
            Who::Reader => of_user("reader"),
            Who::Stranger => of_user("stranger"),
            Who::Key(access, secret) => {
                (access.clone().unwrap_or(self.access.clone()), secret.clone().unwrap_or(self.secret.clone()))
            }
        }
    }

    /// Removes a scene's buckets from a server that will go on.
    pub async fn clean(&self, buckets: &BTreeSet<String>) {
        if self.world.is_some() {
            return;
        }
        for bucket in buckets {
            if !self.done("HEAD", &format!("/{bucket}")).await {
                continue;
            }
            self.done("DELETE", &format!("/{bucket}?policy")).await;
            self.empty(bucket).await;
            if !self.done("DELETE", &format!("/{bucket}")).await {
                eprintln!("the bucket {bucket} could not be removed");
            }
        }
    }

    async fn done(&self, method: &'static str, target: &str) -> bool {
        let answer = plain(self, method, target).send_to(&self.host).await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }

    async fn empty(&self, bucket: &str) {
        for _ in 0..PAGES_MAX {
            let mut left = 0;
            for (sub_resource, id, parameter) in
                [("versions", "VersionId", "versionId"), ("uploads", "UploadId", "uploadId")]
            {
                let call = plain(self, "GET", &format!("/{bucket}?{sub_resource}")).query("encoding-type", "url");
                let Ok(listed) = call.send_to(&self.host).await else { return };
                for (key, id) in listed.all("Key").iter().zip(listed.all(id)) {
                    left += 1;
                    self.remove(bucket, key, parameter, &id).await;
                }
            }
            if left == 0 {
                return;
            }
        }
    }

    async fn remove(&self, bucket: &str, key: &str, parameter: &str, id: &str) {
        let key = url_decoded(key);
        let delete = || plain(self, "DELETE", "").path(&format!("/{bucket}/{key}")).query(parameter, id);
        let call = if parameter == "versionId" {
            delete().header("x-amz-bypass-governance-retention", "true")
        } else {
            delete()
        };
        let refused = call.send_to(&self.host).await.is_ok_and(|answer| answer.status == 403);
        if refused && parameter == "versionId" {
            let off = "<LegalHold><Status>OFF</Status></LegalHold>";
            let lift = plain(self, "PUT", "").path(&format!("/{bucket}/{key}")).query("legal-hold", "");
            let lift = lift.query("versionId", id).header("content-md5", &md5_base64(off.as_bytes())).body(off);
            let _ = lift.send_to(&self.host).await;
            let _ = delete().header("x-amz-bypass-governance-retention", "true").send_to(&self.host).await;
        }
    }
}
