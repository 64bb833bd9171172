//! A site in memory that fails as told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sites::{Entry, Site, SiteError};

use crate::chance::Chance;

/// How a site misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Nothing works.
    Down,
    /// Each operation takes up to five seconds.
    Slow,
    /// An operation never ends.
    Hung,
    /// Puts find no space.
    Full,
    /// Puts are refused.
    ReadOnly,
    /// A put fails half the time and leaves nothing, a torn file, or the whole file behind.
    Torn,
    /// A put says it worked, and one time in three has lost or damaged the bytes.
    Lying,
    /// A read gives wrong bytes one time in three.
    Garbling,
    /// Each read gives wrong bytes.
    Wrong,
    /// Everything is refused.
    Refusing,
    /// Every second operation is turned away, the first one first.
    Overloaded,
}

pub const FAULTS: [Fault; 8] =
    [Fault::Down, Fault::Slow, Fault::Hung, Fault::Full, Fault::ReadOnly, Fault::Torn, Fault::Lying, Fault::Garbling];

pub struct SimSite {
    chance: Arc<Chance>,
    files: Mutex<BTreeMap<String, Bytes>>,
    fault: Mutex<Fault>,
    /// What names begin with that the fault is about.
    about: Mutex<&'static str>,
    /// Operations since the fault was set.
    asked: AtomicUsize,
}

impl SimSite {
    pub fn new(chance: Arc<Chance>) -> Self {
        Self {
            chance,
            files: Mutex::default(),
            fault: Mutex::new(Fault::None),
            about: Mutex::new(""),
            asked: AtomicUsize::new(0),
        }
    }

    pub fn set_fault(&self, fault: Fault) {
        self.set_fault_about("", fault);
    }

    /// It misbehaves so with what is named so, and with nothing else.
    pub fn set_fault_about(&self, prefix: &'static str, fault: Fault) {
        *self.about.lock() = prefix;
        *self.fault.lock() = fault;
        self.asked.store(0, Ordering::Relaxed);
    }

    fn fault_for(&self, name: &str) -> Fault {
        if name.starts_with(*self.about.lock()) { *self.fault.lock() } else { Fault::None }
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&self) {
        self.files.lock().clear();
    }

    /// Damages or removes up to `count` stored shards.
    pub fn rot(&self, count: usize) {
        let mut files = self.files.lock();
        let names: Vec<String> = files.keys().filter(|name| name.starts_with("shards/")).cloned().collect();
        for _ in 0..count.min(names.len()) {
            let name = self.chance.pick(&names);
            if self.chance.one_in(3) {
                files.remove(name);
            } else if let Some(bytes) = files.get(name).map(|bytes| self.damaged(bytes)) {
                files.insert(name.clone(), bytes);
            }
        }
    }

    pub fn shards(&self) -> Vec<String> {
        self.files.lock().keys().filter(|name| name.starts_with("shards/")).cloned().collect()
    }

    fn damaged(&self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() {
            let at = self.chance.below(bytes.len());
            bytes[at] ^= 1 << self.chance.below(8);
        }
        bytes.into()
    }

    async fn answer(&self, name: &str) -> Result<Fault, SiteError> {
        let before = self.fault_for(name);
        let ms = match before {
            Fault::Slow => self.chance.below(5_000),
            _ => self.chance.below(4),
        };
        tokio::time::sleep(Duration::from_millis(ms as u64)).await;
        // Faults may strike while an operation is under way.
        let fault = self.fault_for(name);
        match fault {
            Fault::Down => Err(SiteError::Down("simulated".to_owned())),
            Fault::Refusing => Err(SiteError::Denied("simulated".to_owned())),
            Fault::Overloaded if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
                Err(SiteError::Down("simulated: too many requests".to_owned()))
            }
            Fault::Hung => std::future::pending().await,
            fault => Ok(fault),
        }
    }
}

#[async_trait]
impl Site for SimSite {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        let fault = self.answer(name).await?;
        let mut bytes: Bytes = body.concat().into();
        match fault {
            Fault::Full => return Err(SiteError::Full("simulated".to_owned())),
            Fault::ReadOnly => return Err(SiteError::Denied("simulated".to_owned())),
            Fault::Torn if self.chance.one_in(2) => {
                match self.chance.below(3) {
                    0 => {}
                    1 => drop(self.files.lock().insert(name.to_owned(), bytes.slice(..self.chance.below(bytes.len())))),
                    _ => drop(self.files.lock().insert(name.to_owned(), bytes)),
                }
                return Err(SiteError::Down("simulated torn write".to_owned()));
            }
            Fault::Lying if self.chance.one_in(3) => {
                if self.chance.one_in(2) {
                    return Ok(());
                }
                bytes = self.damaged(&bytes);
            }
            _ => {}
        }
        self.files.lock().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        let fault = self.answer(name).await?;
        let found = self.files.lock().get(name).cloned();
        let bytes = found.ok_or_else(|| SiteError::NotFound { name: name.to_owned() })?;
        if range.end > bytes.len() as u64 {
            return Err(SiteError::Short { name: name.to_owned() });
        }
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        // A marker that is not right makes the site another one's.
        let garble = match fault {
            Fault::Garbling => name.starts_with("shards/") && self.chance.one_in(3),
            Fault::Wrong => name.starts_with("shards/") || name.starts_with("shares/"),
            _ => false,
        };
        Ok(if garble { self.damaged(&bytes) } else { bytes })
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        self.answer(name).await?;
        let found = self.files.lock().get(name).map(|bytes| bytes.len() as u64);
        found.ok_or_else(|| SiteError::NotFound { name: name.to_owned() })
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        if self.answer(name).await? == Fault::ReadOnly {
            return Err(SiteError::Denied("simulated".to_owned()));
        }
        self.files.lock().remove(name);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        self.answer(prefix).await?;
        let files = self.files.lock();
        let entries =
            files.iter().filter(|(name, _)| name.starts_with(prefix) && after.is_none_or(|a| name.as_str() > a));
        let entry =
            |(name, bytes): (&String, &Bytes)| Entry { name: name.clone(), size: bytes.len() as u64, modified_ms: 0 };
        Ok(entries.take(limit).map(entry).collect())
    }
}
