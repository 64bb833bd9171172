//! Shares at a site: blobs under names that are never used twice, and epoch keys apart from them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use audit::{Signer, VerifierKey};
use base::{PortionId, Rng};
use bytes::Bytes;
use envelope::{open_small, seal_small};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use sites::{Pool, SiteError};
use zeroize::Zeroizing;

use super::epochs::{Epoch, EpochPlace, Epochs, Missing};
use super::holder::{Destroyed, EpochId, HolderError, SHARE_LEN, ShareHolder, ShareName, SiteIdentity};
use crate::wrap::KeyName;

/// Bytes of a share as the site has it.
const BLOB_LEN: u64 = SHARE_LEN as u64 + 72;
/// Drawers of a site.
const DRAWERS: usize = 256;
/// Names read at a time.
const PAGE: usize = 1_000;
/// Shares that are sealed anew at once.
const AT_ONCE: usize = 16;
/// Names that a drawer's listing is remembered by at most: 50 times what a million shares come to. A site that lists more lies.
const LISTED_MAX: usize = 200_000;

/// The shares at one site of a pool.
pub struct SiteShares {
    pool: Arc<Pool>,
    slot: u8,
    epochs: Arc<Epochs>,
    rng: Arc<dyn Rng>,
    /// One for each drawer, held by who writes there: nothing is put under an epoch while it ends, and who puts elsewhere does not
    /// wait for the thousands of shares that are sealed anew then.
    turning: Vec<Arc<tokio::sync::Mutex<()>>>,
    /// Epochs that never counted here or do not any more, whose blobs may still be there. Blobs of others stay: an epoch that is
    /// not known may be one whose file is out of reach.
    spent: Mutex<HashSet<EpochId>>,
    /// By drawer: what was put and no listing has named since. Listings may lag behind, and what one leaves out must not end with
    /// the epoch.
    unlisted: Mutex<HashMap<u8, HashSet<ShareName>>>,
}

impl SiteShares {
    /// The shares in a slot. Until [`Self::settle`] it has no epoch keys and does nothing.
    pub fn new(pool: Arc<Pool>, slot: u8, place: EpochPlace, rng: Arc<dyn Rng>) -> Self {
        let turning = (0..DRAWERS).map(|_| Arc::default()).collect();
        Self {
            pool,
            slot,
            epochs: Arc::new(Epochs::new(place)),
            rng,
            turning,
            spent: Mutex::default(),
            unlisted: Mutex::default(),
        }
    }

    /// The slot.
    pub fn slot(&self) -> u8 {
        self.slot
    }

    /// Says which site is in the slot. Its epoch keys are opened, or made if `missing` says that it may have none; those of a site
    /// that was there before it are destroyed.
    ///
    /// # Errors
    /// [`HolderError::Custody`], [`HolderError::Missing`]: the site holds no shares until that is put right.
    pub async fn settle(&self, identity: SiteIdentity, missing: Missing) -> Result<(), HolderError> {
        let mut turns = Vec::with_capacity(DRAWERS);
        // Nobody else holds more than one.
        for drawer in &self.turning {
            turns.push(drawer.clone().lock_owned().await);
        }
        let rng = self.rng.clone();
        let settle = move |epochs: &Epochs| {
            let _turns = turns;
            epochs.settle(&identity, missing, rng.as_ref())
        };
        let ended = self.disk(settle).await?;
        // What was put under others is no share any more.
        self.unlisted.lock().clear();
        self.spent.lock().extend(ended);
        Ok(())
    }

    async fn turn(&self, drawer: u8) -> tokio::sync::OwnedMutexGuard<()> {
        self.turning[usize::from(drawer)].clone().lock_owned().await
    }

    /// Waits for the disk off the runtime's threads. What is begun is ended also where nobody waits any more.
    async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Epochs) -> Result<T, HolderError> + Send + 'static,
    ) -> Result<T, HolderError> {
        let epochs = self.epochs.clone();
        if epochs.is_in_memory() {
            return work(&epochs);
        }
        let task = tokio::task::spawn_blocking(move || work(&epochs));
        task.await.unwrap_or_else(|error| Err(HolderError::Custody(format!("stopped: {error}"))))
    }

    fn epoch(&self, drawer: u8) -> Result<Option<Epoch>, HolderError> {
        self.epochs.with(|content| content.drawers.get(&drawer).cloned())
    }

    fn context(&self, name: &ShareName, epoch: EpochId) -> Result<Vec<u8>, HolderError> {
        let SiteIdentity { cluster, slot, since_ms, .. } = self.identity()?;
        let KeyName { portion, version } = name.key;
        let fixed: [&[u8]; 7] = [
            b"epoch/1",
            &[slot],
            &since_ms.to_be_bytes(),
            &epoch.0,
            portion.as_bytes(),
            &version.to_be_bytes(),
            &name.set,
        ];
        Ok([fixed.concat(), cluster.into_bytes()].concat())
    }

    async fn put_under(&self, epoch: &Epoch, name: &ShareName, share: &[u8]) -> Result<(), HolderError> {
        if !self.pool.state(self.slot).writable() {
            return Err(HolderError::Away(format!("it is {}", self.pool.state(self.slot).word())));
        }
        let context = self.context(name, epoch.id)?;
        let blob = seal_small(&epoch.kek(), &context, share, self.rng.as_ref()).map_err(|_| HolderError::Damaged)?;
        self.pool.put(self.slot, &blob_name(name, epoch.id), &[Bytes::from(blob)]).await.map_err(away)
    }

    async fn get_under(&self, epoch: &Epoch, name: &ShareName) -> Result<Zeroizing<Vec<u8>>, HolderError> {
        let context = self.context(name, epoch.id)?;
        let blob = self.pool.get(self.slot, &blob_name(name, epoch.id), 0..BLOB_LEN).await.map_err(away)?;
        open_small(&epoch.kek(), &context, &blob).map_err(|_| HolderError::Damaged)
    }

    /// The blobs of a drawer under its epoch, and under those that are spent. Others are none of this holder's business.
    async fn blobs(&self, drawer: u8) -> Result<Vec<(ShareName, EpochId)>, HolderError> {
        let prefix = format!("shares/{drawer:02x}/");
        let current = self.epoch(drawer)?.map(|epoch| epoch.id);
        let ours = |epoch: &EpochId| current == Some(*epoch) || self.spent.lock().contains(epoch);
        let lies = |how: &str| Err(HolderError::Away(format!("its listing of {prefix} {how}")));
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.pool.list(self.slot, &prefix, after.as_deref(), PAGE).await.map_err(away)?;
            if page.is_empty() {
                return Ok(found);
            }
            for entry in page {
                if after.as_ref().is_some_and(|after| *after >= entry.name) {
                    return lies("does not go forward");
                }
                let blob = parse_blob_name(&entry.name);
                found.extend(blob.filter(|(name, epoch)| name.drawer() == drawer && ours(epoch)));
                after = Some(entry.name);
            }
            if found.len() > LISTED_MAX {
                return lies("has no end");
            }
        }
    }

    /// A listing named these shares of the current epoch.
    fn were_listed<'a>(&self, drawer: u8, names: impl Iterator<Item = &'a ShareName>) {
        if let Some(unlisted) = self.unlisted.lock().get_mut(&drawer) {
            for name in names {
                unlisted.remove(name);
            }
        }
    }
}

fn away(error: SiteError) -> HolderError {
    match error {
        SiteError::NotFound { .. } => HolderError::Absent,
        SiteError::Short { .. } => HolderError::Damaged,
        error => HolderError::Away(error.to_string()),
    }
}

fn blob_name(name: &ShareName, epoch: EpochId) -> String {
    let KeyName { portion, version } = name.key;
    format!("shares/{:02x}/{portion}.{version:08x}.{}.{epoch}", name.drawer(), hex::encode(name.set))
}

fn parse_blob_name(text: &str) -> Option<(ShareName, EpochId)> {
    let mut fields = text.rsplit_once('/')?.1.split('.');
    let portion: PortionId = fields.next()?.parse().ok()?;
    let version = fields.next()?;
    let (mut number, mut set, mut epoch) = ([0; 4], [0; 16], [0; 8]);
    hex::decode_to_slice(version, &mut number).ok()?;
    hex::decode_to_slice(fields.next()?, &mut set).ok()?;
    hex::decode_to_slice(fields.next()?, &mut epoch).ok()?;
    let name = ShareName { key: KeyName { portion, version: u32::from_be_bytes(number) }, set };
    (blob_name(&name, EpochId(epoch)) == text).then_some((name, EpochId(epoch)))
}

#[async_trait]
impl ShareHolder for SiteShares {
    fn identity(&self) -> Result<SiteIdentity, HolderError> {
        self.epochs.with(|content| content.identity.clone())
    }

    fn verifier(&self) -> Result<VerifierKey, HolderError> {
        Ok(self.signer()?.verifier().clone())
    }

    fn sign(&self, text: &str) -> Result<String, HolderError> {
        Ok(self.signer()?.sign(text))
    }

    async fn put(&self, name: &ShareName, share: &[u8]) -> Result<(), HolderError> {
        if share.len() != SHARE_LEN {
            return Err(HolderError::Damaged);
        }
        let drawer = name.drawer();
        let _turn = self.turn(drawer).await;
        let epoch = match self.epoch(drawer)? {
            Some(epoch) => epoch,
            None => {
                // One that was begun by who did not wait for it counts as well.
                let first = Epoch::draw(self.rng.as_ref());
                let begin = move |epochs: &Epochs| {
                    epochs.change(|content| {
                        content.drawers.entry(drawer).or_insert(first);
                    })
                };
                self.disk(begin).await?;
                self.epoch(drawer)?.ok_or(HolderError::Absent)?
            }
        };
        // Before, since one that is told as failed may be there.
        self.unlisted.lock().entry(drawer).or_default().insert(*name);
        self.put_under(&epoch, name, share).await
    }

    async fn get(&self, name: &ShareName) -> Result<Zeroizing<Vec<u8>>, HolderError> {
        let epoch = self.epoch(name.drawer())?.ok_or(HolderError::Absent)?;
        match self.get_under(&epoch, name).await {
            // The epoch may have ended meanwhile.
            Err(HolderError::Absent) => match self.epoch(name.drawer())? {
                Some(later) if later.id != epoch.id => self.get_under(&later, name).await,
                _ => Err(HolderError::Absent),
            },
            found => found,
        }
    }

    fn drawers(&self) -> Vec<u8> {
        self.epochs.with(|content| content.drawers.keys().copied().collect()).unwrap_or_default()
    }

    async fn list(&self, drawer: u8) -> Result<Vec<ShareName>, HolderError> {
        // What is put or ends while it is listed must not look absent.
        let _turn = self.turn(drawer).await;
        let Some(epoch) = self.epoch(drawer)? else { return Ok(Vec::new()) };
        let blobs = self.blobs(drawer).await?;
        let current: Vec<ShareName> =
            blobs.into_iter().filter(|(_, of)| *of == epoch.id).map(|(name, _)| name).collect();
        self.were_listed(drawer, current.iter());
        Ok(current)
    }

    /// In this order: others under the next epoch, the next epoch's key, the end of the old one's, the old blobs. What a crash
    /// leaves is blobs that no key opens.
    async fn destroy(
        &self,
        drawer: u8,
        is_dead: &(dyn for<'a> Fn(&'a ShareName) -> bool + Send + Sync),
        wanted: &[ShareName],
    ) -> Result<Destroyed, HolderError> {
        let turn = self.turn(drawer).await;
        let before = self.epoch(drawer)?;
        // It counts, also where the change that began it was told as failed.
        if let Some(before) = &before {
            self.spent.lock().remove(&before.id);
        }
        let blobs = self.blobs(drawer).await?;
        let of_before = |(_, epoch): &&(ShareName, EpochId)| before.as_ref().is_some_and(|before| before.id == *epoch);
        let mut names: BTreeSet<ShareName> = blobs.iter().filter(of_before).map(|(name, _)| *name).collect();
        // A listing may leave some out: those that were put here, and those that should be here, are asked for by name.
        names.extend(self.unlisted.lock().get(&drawer).into_iter().flatten());
        let (dead, mut others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_dead(name));
        let known: HashSet<ShareName> = others.iter().copied().collect();
        let missing = |name: &&ShareName| name.drawer() == drawer && !is_dead(name) && !known.contains(*name);
        others.extend(wanted.iter().filter(missing));
        let mut begun = None;
        if let Some(before) = &before {
            let next = Epoch::draw(self.rng.as_ref());
            self.spent.lock().insert(next.id);
            let moving = futures::stream::iter(others).map(|name| self.move_share(before, &next, name));
            let moved: HashSet<ShareName> =
                moving.buffer_unordered(AT_ONCE).try_filter_map(async |name| Ok(name)).try_collect().await?;
            let is_used = !moved.is_empty();
            // No listing has named their new blobs yet. While it is this one's turn; whichever epoch counts in the end, these live.
            self.unlisted.lock().insert(drawer, moved);
            begun = is_used.then_some(next.id);
            let next_id = next.id;
            self.disk(move |epochs| {
                let _turn = turn;
                epochs.change(|content| {
                    content.drawers.remove(&drawer);
                    if is_used {
                        content.drawers.insert(drawer, next);
                    }
                })
            })
            .await?;
            let mut spent = self.spent.lock();
            spent.insert(before.id);
            spent.remove(&next_id);
        } else {
            // An earlier attempt may have ended the epoch, but not destroyed its key.
            self.disk(move |epochs| {
                let _turn = turn;
                epochs.finish()
            })
            .await?;
        }
        self.sweep(&blobs).await;
        Ok(Destroyed { names: dead, ended: before.map(|before| before.id), begun })
    }
}

impl SiteShares {
    fn signer(&self) -> Result<Signer, HolderError> {
        let made = self.epochs.with(|content| {
            let SiteIdentity { cluster, name, .. } = &content.identity;
            Signer::from_seed(&format!("holdfast/{cluster}/{name}"), content.seed.bytes())
        })?;
        made.map_err(|error| HolderError::Custody(error.to_string()))
    }

    /// Removes those of a drawer's blobs whose epochs are spent. Nothing opens them any more: that some stay does no harm.
    async fn sweep(&self, blobs: &[(ShareName, EpochId)]) {
        let (mut swept, mut left) = (HashSet::new(), HashSet::new());
        for (name, epoch) in blobs {
            if !self.spent.lock().contains(epoch) {
                continue;
            }
            swept.insert(*epoch);
            let blob = blob_name(name, *epoch);
            if let Err(error) = self.pool.delete(self.slot, &blob).await {
                tracing::warn!(%blob, %error, "a share that nothing opens any more stays at its site");
                left.insert(*epoch);
            }
        }
        self.spent.lock().retain(|epoch| !swept.contains(epoch) || left.contains(epoch));
    }

    /// Seals a share under the next epoch as well; which was. One that is damaged, or is not there, is none: it is made anew from
    /// others.
    async fn move_share(
        &self,
        before: &Epoch,
        next: &Epoch,
        name: ShareName,
    ) -> Result<Option<ShareName>, HolderError> {
        match self.get_under(before, &name).await {
            Ok(share) => self.put_under(next, &name, &share).await.map(|()| Some(name)),
            Err(HolderError::Absent) => Ok(None),
            Err(HolderError::Damaged) => {
                let KeyName { portion, version } = name.key;
                tracing::warn!(%portion, version, slot = self.slot, "a share was damaged");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    #[test]
    fn names_are_read_as_they_are_written() {
        let rng = SeededRng::new(1);
        let name = ShareName { key: KeyName { portion: PortionId::random(&rng), version: 0x0102_0304 }, set: [7; 16] };
        let text = blob_name(&name, EpochId([9; 8]));
        assert_eq!(parse_blob_name(&text), Some((name, EpochId([9; 8]))));
        for bad in [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), "shares/00/x", ""] {
            assert_eq!(parse_blob_name(bad), None, "{bad}");
        }
    }
}
