//! The engine for several machines: etcd v3, five members for choice. Why it is so: `docs/design/0018-etcd.md`.

mod commit;
mod health;
mod lane;
mod options;
mod plan;
mod read;
mod space;
mod splits;
mod together;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::{Rng, SystemRng};
use bytes::Bytes;
use etcd::message::{Compare, Op, PutRequest, RangeRequest, TxnRequest};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Batch, CommitError, Engine, Key, MetaError, Nearby, Page, Range, Row, Version};
use commit::Lanes;
use lane::Lane;
use space::Space;
use splits::Splits;

pub use health::{EtcdHealth, MemberHealth};
pub use options::{EtcdMistakes, EtcdOptions};

/// Time for a read or a commit: an election takes etcd one to two seconds as it comes, so that one that goes wrong once fits
/// in; clients of S3 wait longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Transactions under way at once. Each may hold many groups; more would make them smaller.
const LANES: usize = 4;
/// In the row `format`: the layout of [`Space`].
const FORMAT: &str = "holdfast-etcd-1";

/// An [`Engine`] over etcd.
///
/// Reads are linearizable. A commit is answered when a majority of the members has it on disk. One or two members of five may
/// be down, paused or out of reach.
#[derive(Clone)]
pub struct Etcd {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    client: etcd::Client,
    space: Space,
    place: String,
    quota_bytes: u64,
    splits: Mutex<Splits>,
    lanes: Lanes,
    together: together::Waiting,
    upkeep: Mutex<health::Remembered>,
    /// Rows that etcd counted for intervals.
    counted: AtomicU64,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

impl Etcd {
    /// Connects, and marks the prefix as ours when it is new.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] when no majority answers, the user may not, or a file for TLS cannot be used;
    /// [`MetaError::Corrupt`] when what is under the prefix is of another version.
    pub async fn open(options: EtcdOptions) -> Result<Self, MetaError> {
        let etcd = Self::reach(options)?;
        etcd.inner.check_format().await?;
        Ok(etcd)
    }

    /// As [`Self::open`], without a word to any member: to ask how they stand when they do not answer.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] when a file for TLS cannot be used.
    pub fn reach(options: EtcdOptions) -> Result<Self, MetaError> {
        let place = options.place();
        let client = etcd::Client::new(options.client).map_err(|error| MetaError::Unavailable(error.to_string()))?;
        let space = Space::new(&options.prefix);
        let process = hex(&random(&SystemRng));
        let lanes = Lanes::new((0..LANES).map(|number| Lane::new(space.lane(&process, number))));
        let inner = Inner {
            client,
            space,
            place,
            quota_bytes: options.quota_bytes,
            splits: Mutex::default(),
            lanes,
            together: together::Waiting::default(),
            upkeep: Mutex::default(),
            counted: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Rows that etcd has counted for [`Engine::range`] so far, which is what an interval costs it.
    pub fn counted(&self) -> u64 {
        self.inner.counted.load(Ordering::Relaxed)
    }
}

impl Inner {
    async fn check_format(&self) -> Result<(), MetaError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let (key, value) = (self.space.format(), Bytes::from_static(FORMAT.as_bytes()));
        let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        for _ in 0..2 {
            let found = self.client.range(&read, deadline).await.map_err(read::unavailable)?.kvs.into_iter().next();
            match found {
                Some(found) if found.value == value => return Ok(()),
                Some(_) => {
                    let place = &self.place;
                    return Err(MetaError::Corrupt(format!(
                        "{place} is of another version of holdfast, or of something else"
                    )));
                }
                None => {
                    let request = TxnRequest {
                        compare: vec![Compare::mod_revision(key.clone(), 0)],
                        success: vec![Op::Put(PutRequest { key: key.clone(), value: value.clone() }).into()],
                        failure: Vec::new(),
                    };
                    self.client.txn(&request, deadline).await.map_err(read::unavailable)?;
                }
            }
        }
        Ok(())
    }

    fn random_id(&self) -> Bytes {
        Bytes::copy_from_slice(&random(&SystemRng))
    }
}

fn random(rng: &dyn Rng) -> [u8; 16] {
    let mut id = [0; 16];
    rng.fill(&mut id);
    id
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl Engine for Etcd {
    fn is_shared(&self) -> bool {
        true
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.inner.get_together(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.inner.range(range).await
    }

    async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        self.inner.nearby(keys, range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        self.inner.commit_group(batches).await
    }
}
