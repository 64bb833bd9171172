//! Shares in memory, for tests: a holder that can be told to be away, to lie, or never to answer.

use std::collections::BTreeMap;

use async_trait::async_trait;
use audit::{Signer, VerifierKey};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::holder::{Destroyed, EpochId, HolderError, SHARE_LEN, ShareHolder, ShareName, SiteIdentity};

/// How a holder in memory behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Honest,
    /// It does not answer, and says so.
    Away,
    /// It gives what it has, and takes and destroys nothing.
    Full,
    /// It never answers.
    Hangs,
    /// It gives what it was given for another key, where it has one.
    Mixes,
}

struct Held {
    shares: BTreeMap<ShareName, Vec<u8>>,
    epochs: BTreeMap<u8, u64>,
    next: u64,
    mood: Mood,
}

/// A holder that forgets everything when dropped.
pub struct MemoryShares {
    identity: SiteIdentity,
    held: Mutex<Held>,
}

impl MemoryShares {
    /// An empty one.
    pub fn new(slot: u8) -> Self {
        let identity = SiteIdentity { cluster: "memory".to_owned(), slot, name: format!("dc{slot}"), since_ms: 1 };
        let held = Held { shares: BTreeMap::new(), epochs: BTreeMap::new(), next: 1, mood: Mood::Honest };
        Self { identity, held: Mutex::new(held) }
    }

    /// Behaves so from now on.
    pub fn set(&self, mood: Mood) {
        self.held.lock().mood = mood;
    }

    /// Loses all shares.
    pub fn lose(&self) {
        let mut held = self.held.lock();
        held.shares.clear();
        held.epochs.clear();
    }

    /// Flips a bit of each share.
    pub fn spoil(&self) {
        self.held.lock().shares.values_mut().filter_map(|share| share.last_mut()).for_each(|byte| *byte ^= 1);
    }

    /// What it has.
    pub fn names(&self) -> Vec<ShareName> {
        self.held.lock().shares.keys().copied().collect()
    }

    async fn answers(&self) -> Result<Mood, HolderError> {
        let mood = self.held.lock().mood;
        match mood {
            Mood::Away => Err(HolderError::Away("it was told to be".to_owned())),
            Mood::Hangs => std::future::pending().await,
            mood => Ok(mood),
        }
    }

    async fn takes(&self) -> Result<(), HolderError> {
        match self.answers().await? {
            Mood::Full => Err(HolderError::Away("it is full".to_owned())),
            _ => Ok(()),
        }
    }

    fn signer(&self) -> Result<Signer, HolderError> {
        let SiteIdentity { cluster, name, slot, .. } = &self.identity;
        Signer::from_seed(&format!("holdfast/{cluster}/{name}"), &[*slot; 32])
            .map_err(|error| HolderError::Custody(error.to_string()))
    }
}

fn id(number: u64) -> EpochId {
    EpochId(number.to_be_bytes())
}

#[async_trait]
impl ShareHolder for MemoryShares {
    fn identity(&self) -> Result<SiteIdentity, HolderError> {
        Ok(self.identity.clone())
    }

    fn verifier(&self) -> Result<VerifierKey, HolderError> {
        Ok(self.signer()?.verifier().clone())
    }

    fn sign(&self, text: &str) -> Result<String, HolderError> {
        Ok(self.signer()?.sign(text))
    }

    async fn put(&self, name: &ShareName, share: &[u8]) -> Result<(), HolderError> {
        self.takes().await?;
        if share.len() != SHARE_LEN {
            return Err(HolderError::Damaged);
        }
        let mut held = self.held.lock();
        let next = held.next;
        held.next += 1;
        held.epochs.entry(name.drawer()).or_insert(next);
        held.shares.insert(*name, share.to_vec());
        Ok(())
    }

    async fn get(&self, name: &ShareName) -> Result<Zeroizing<Vec<u8>>, HolderError> {
        let mood = self.answers().await?;
        let held = self.held.lock();
        let other = held.shares.iter().find(|(other, _)| *other != name).map(|(_, share)| share);
        let found = if mood == Mood::Mixes { other } else { held.shares.get(name) };
        found.map(|share| Zeroizing::new(share.clone())).ok_or(HolderError::Absent)
    }

    fn drawers(&self) -> Vec<u8> {
        self.held.lock().epochs.keys().copied().collect()
    }

    async fn list(&self, drawer: u8) -> Result<Vec<ShareName>, HolderError> {
        self.answers().await?;
        Ok(self.held.lock().shares.keys().filter(|name| name.drawer() == drawer).copied().collect())
    }

    async fn destroy(
        &self,
        drawer: u8,
        is_dead: &(dyn for<'a> Fn(&'a ShareName) -> bool + Send + Sync),
        _wanted: &[ShareName],
    ) -> Result<Destroyed, HolderError> {
        self.takes().await?;
        let mut held = self.held.lock();
        let in_drawer = |name: &&ShareName| name.drawer() == drawer;
        let names: Vec<ShareName> =
            held.shares.keys().filter(in_drawer).filter(|name| is_dead(name)).copied().collect();
        held.shares.retain(|name, _| !names.contains(name));
        let left = held.shares.keys().any(|name| name.drawer() == drawer);
        let ended = held.epochs.remove(&drawer).map(id);
        let next = held.next;
        held.next += 1;
        let begun = (left && ended.is_some()).then(|| {
            held.epochs.insert(drawer, next);
            id(next)
        });
        Ok(Destroyed { names, ended, begun })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_suite() {
        super::super::conformance::suite(&MemoryShares::new(0)).await;
    }
}
