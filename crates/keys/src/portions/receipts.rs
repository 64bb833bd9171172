//! Shares of shredded portions: destroyed at the sites, and what those sign for it.

use aws_lc_rs::digest::{SHA256, digest};
use base::limits::COLUMNS;
use base::{AccountId, PortionId};
use futures::future::join_all;
use meta::record::{DyingRecord, PortionKeyRecord, ReceiptRecord, Record, SiteKeyRecord, key};
use meta::{Batch, Check, CommitError, Range, Version, Write, each_row};
use tokio::time::timeout;

use super::{PortionClass, Portions, dashed};
use crate::error::PortionError;
use crate::quorum::receipt::{Receipt, ReceiptFile, Subject, ranges};
use crate::quorum::{Destroyed, HolderError, NEEDED, Quorum, ShareName, drawer_of};

impl Portions {
    /// Writes down what there is to destroy and to attest of a portion that is being shredded, before anything is deleted: a crash
    /// loses no receipt. `version` is that of the portion's row.
    pub(crate) async fn begin_dying(
        &self,
        account: AccountId,
        id: PortionId,
        newest: u32,
        version: Version,
    ) -> Result<(), PortionError> {
        let row_key = key::dying_key(account, id);
        if self.is_dying(account, id).await? {
            return Ok(());
        }
        let versions = self.versions(id).await?;
        let of = |class| -> Vec<u32> {
            versions.iter().filter(|version| version.class == class).map(|version| version.version).collect()
        };
        let (in_shares, in_rows) = (of(PortionClass::Quorum), of(PortionClass::Sealed));
        if self.quorum.is_none() && in_shares.is_empty() {
            // There is nobody to sign.
            return Ok(());
        }
        let all = || (0..COLUMNS as u8).collect();
        let dying = DyingRecord {
            slots: if in_shares.is_empty() { Vec::new() } else { all() },
            unsigned: if in_rows.is_empty() { Vec::new() } else { all() },
            in_shares: ranges(&in_shares),
            in_rows: ranges(&in_rows),
            versions: if newest > 1 { format!("1-{newest}") } else { newest.to_string() },
        };
        let checks = vec![Check::Is(key::portion_key(account, id), version), Check::Absent(row_key.clone())];
        self.commit_once(Batch { checks, writes: vec![Write::Put(row_key, dying.encode())] }).await
    }

    /// Destroys the shares of a portion that is being shredded, at three sites at least.
    pub(crate) async fn destroy_shares(
        &self,
        account: AccountId,
        id: PortionId,
        name: &str,
    ) -> Result<(), PortionError> {
        let dying = self.record::<DyingRecord>(key::dying_key(account, id)).await?;
        if dying.is_none_or(|(dying, _)| dying.slots.is_empty()) {
            return Ok(());
        }
        let (left, failed) = self.destroy_at(account, id, name).await?;
        let have = COLUMNS - left.len();
        if have < NEEDED {
            let why: Vec<String> = failed.iter().map(|(site, error)| format!("{site} {error}")).collect();
            return Err(PortionError::SharesLeft { name: name.to_owned(), have, need: NEEDED, why: why.join("; ") });
        }
        Ok(())
    }

    /// Whether a portion's keys have begun to be destroyed, and sites have still something to do for it.
    pub(crate) async fn is_dying(&self, account: AccountId, id: PortionId) -> Result<bool, PortionError> {
        Ok(self.record::<DyingRecord>(key::dying_key(account, id)).await?.is_some())
    }

    /// Destroys a portion's shares at all sites that have still to, and keeps their receipts. Returns the slots that are left,
    /// and what kept them.
    pub(crate) async fn destroy_at(
        &self,
        account: AccountId,
        id: PortionId,
        name: &str,
    ) -> Result<(Vec<u8>, Vec<(String, HolderError)>), PortionError> {
        let quorum = self.quorum()?.clone();
        let _upkeep = quorum.upkeep.lock().await;
        let row_key = key::dying_key(account, id);
        let Some((mut dying, mut row_version)) = self.record::<DyingRecord>(row_key.clone()).await? else {
            return Ok((Vec::new(), Vec::new()));
        };
        if dying.slots.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let wanted = self.wanted_in(drawer_of(id)).await?;
        let at_sites = dying.slots.iter().map(|slot| destroy(&quorum, *slot, id, &wanted));
        let mut failed = Vec::new();
        for (slot, done) in dying.slots.clone().into_iter().zip(join_all(at_sites).await) {
            let receipt = done.and_then(|done| {
                let of = Subject { account, portion: id, dying: &dying };
                self.signed(&quorum, slot, &of, &done)
            });
            let (receipt, note) = match receipt {
                Ok(signed) => signed,
                Err(error) => {
                    failed.push((quorum.site(usize::from(slot)), error));
                    continue;
                }
            };
            dying.slots.retain(|left| *left != slot);
            let receipt_key = key::receipt_key(id, receipt.time_ms, slot, false);
            let writes = vec![
                Write::Put(receipt_key, ReceiptRecord { note: note.clone() }.encode()),
                Write::Put(row_key.clone(), dying.encode()),
            ];
            self.commit_once(Batch { checks: vec![Check::Is(row_key.clone(), row_version)], writes }).await?;
            let found = self.record::<DyingRecord>(row_key.clone()).await?;
            row_version = found.ok_or(PortionError::Contended)?.1;
            self.tell_receipt(account, id, name, &receipt, &note).await;
        }
        Ok((dying.slots, failed))
    }

    fn signed(
        &self,
        quorum: &Quorum,
        slot: u8,
        of: &Subject<'_>,
        done: &Destroyed,
    ) -> Result<(Receipt, String), HolderError> {
        let holder = &quorum.holders[usize::from(slot) % COLUMNS];
        let receipt = Receipt::of_shares(holder.identity()?, of, done, self.now_ms());
        let note = holder.sign(&receipt.text())?;
        Ok((receipt, note))
    }

    /// The rows of keys of class sealed are gone: the sites that have still to attest that much do. Returns the slots that are
    /// left: a site without its epoch keys cannot sign.
    pub(crate) async fn attest_rows(
        &self,
        account: AccountId,
        id: PortionId,
        name: &str,
    ) -> Result<Vec<u8>, PortionError> {
        let quorum = self.quorum()?.clone();
        let row_key = key::dying_key(account, id);
        // Nobody else changes the row meanwhile.
        let _upkeep = quorum.upkeep.lock().await;
        let Some((mut dying, mut row_version)) = self.record::<DyingRecord>(row_key.clone()).await? else {
            return Ok(Vec::new());
        };
        for slot in dying.unsigned.clone() {
            let holder = &quorum.holders[usize::from(slot) % COLUMNS];
            let signed = holder.identity().and_then(|site| {
                let of = Subject { account, portion: id, dying: &dying };
                let receipt = Receipt::of_rows(site, &of, self.now_ms());
                let note = holder.sign(&receipt.text())?;
                Ok((receipt, note))
            });
            let (receipt, note) = match signed {
                Ok(signed) => signed,
                Err(error) => {
                    tracing::warn!(slot, portion = %name, %error, "a site cannot sign for a shredding now");
                    continue;
                }
            };
            dying.unsigned.retain(|left| *left != slot);
            let writes = vec![
                Write::Put(
                    key::receipt_key(id, receipt.time_ms, slot, true),
                    ReceiptRecord { note: note.clone() }.encode(),
                ),
                Write::Put(row_key.clone(), dying.encode()),
            ];
            self.commit_once(Batch { checks: vec![Check::Is(row_key.clone(), row_version)], writes }).await?;
            let found = self.record::<DyingRecord>(row_key.clone()).await?;
            row_version = found.ok_or(PortionError::Contended)?.1;
            self.tell_receipt(account, id, name, &receipt, &note).await;
        }
        if dying.slots.is_empty() && dying.unsigned.is_empty() {
            let checks = vec![Check::Is(row_key.clone(), row_version)];
            self.commit_once(Batch { checks, writes: vec![Write::Delete(row_key)] }).await?;
        }
        Ok(dying.unsigned)
    }

    async fn tell_receipt(&self, account: AccountId, id: PortionId, name: &str, receipt: &Receipt, note: &str) {
        let hash = hex::encode(digest(&SHA256, note.as_bytes()));
        let event =
            self.event_of(account, "portion:receipt", id, name).with("site", &receipt.site).with("sha256", hash);
        let attests = format!("{:?}", receipt.attests).to_lowercase();
        self.tell(event.with("attests", attests).with("versions", &receipt.versions)).await;
    }

    /// What proves that a portion was shredded, as far as it was.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], or a metadata error.
    pub async fn receipts(&self, account: AccountId, id: PortionId) -> Result<ReceiptFile, PortionError> {
        let name = self.row(account, id).await?.0.name;
        self.receipt_file(account, id, name, self.notes(id).await?).await
    }

    /// The same for whichever tenant's portion it was, also of one that was deleted: receipts outlive it.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`] where no site ever signed for it, or a metadata error.
    pub async fn receipts_of_key(&self, id: PortionId) -> Result<ReceiptFile, PortionError> {
        let notes = self.notes(id).await?;
        let of =
            |note: &String| AccountId::from_bytes(Receipt::of_note(note)?.account.parse::<u64>().ok()?.to_be_bytes());
        let account = notes.iter().find_map(of);
        let account = account.ok_or_else(|| PortionError::NoSuchPortion(dashed(id)))?;
        let name = match self.row(account, id).await {
            Ok((record, _)) => record.name,
            // With the tenant its name is gone.
            Err(PortionError::NoSuchPortion(_)) => dashed(id),
            Err(error) => return Err(error),
        };
        self.receipt_file(account, id, name, notes).await
    }

    async fn notes(&self, id: PortionId) -> Result<Vec<String>, PortionError> {
        let mut notes = Vec::new();
        each_row(self.meta.as_ref(), key::receipts(id), |_, row| {
            notes.push(ReceiptRecord::decode(&row.value)?.note);
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(notes)
    }

    async fn receipt_file(
        &self,
        account: AccountId,
        id: PortionId,
        name: String,
        receipts: Vec<String>,
    ) -> Result<ReceiptFile, PortionError> {
        let site_keys = self.site_keys().await?.into_iter().map(|key| key.verifier).collect();
        let waiting = self.record::<DyingRecord>(key::dying_key(account, id)).await?;
        let site =
            |slot: &u8| self.quorum.as_ref().map_or_else(|| slot.to_string(), |all| all.site(usize::from(*slot)));
        let waiting_for = waiting.iter().flat_map(|(dying, _)| dying.slots.iter().map(site)).collect();
        Ok(ReceiptFile { portion: dashed(id), name, receipts, site_keys, waiting_for })
    }

    /// All keys that sites ever signed with, by slot.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn site_keys(&self) -> Result<Vec<SiteKeyRecord>, PortionError> {
        let mut keys = Vec::new();
        each_row(self.meta.as_ref(), key::site_signing_keys(), |_, row| {
            keys.push(SiteKeyRecord::decode(&row.value)?);
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(keys)
    }

    /// Whether a site in this slot ever signed: then it has epoch keys.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn has_site_key(&self, slot: u8) -> Result<bool, PortionError> {
        let from = key::site_signing_key(slot, &[]);
        let to = key::site_signing_key(slot, &[0xff; 33]);
        Ok(!self.meta.range(Range { from, to, limit: 1 }).await?.rows.is_empty())
    }

    /// Keeps the keys that the sites sign with now, where they are not known yet.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn record_site_keys(&self) -> Result<(), PortionError> {
        let Some(quorum) = &self.quorum else { return Ok(()) };
        for holder in &quorum.holders {
            let (Ok(site), Ok(verifier)) = (holder.identity(), holder.verifier()) else { continue };
            let verifier = verifier.to_string();
            let row_key = key::site_signing_key(site.slot, digest(&SHA256, verifier.as_bytes()).as_ref());
            let record = SiteKeyRecord { site: site.name.clone(), verifier: verifier.clone(), since_ms: self.now_ms() };
            let batch = Batch {
                checks: vec![Check::Absent(row_key.clone())],
                writes: vec![Write::Put(row_key, record.encode())],
            };
            match self.meta.commit(batch).await {
                Ok(()) => {
                    let event = self.event(AccountId::DEFAULT, "site:key", format!("site/{}", site.name));
                    self.tell(event.with("key", verifier)).await;
                }
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

async fn destroy(quorum: &Quorum, slot: u8, id: PortionId, wanted: &[ShareName]) -> Result<Destroyed, HolderError> {
    let holder = &quorum.holders[usize::from(slot) % COLUMNS];
    let is_dead = |name: &ShareName| name.key.portion == id;
    let done = timeout(quorum.bounds.destroy, holder.destroy(drawer_of(id), &is_dead, wanted)).await;
    done.unwrap_or_else(|_| Err(HolderError::Away("it did not answer in time".to_owned())))
}

/// Whether a row holds shares of this set.
pub(super) fn has_set(row: &PortionKeyRecord, set: [u8; 16]) -> bool {
    row.shares.is_some_and(|shares| shares.set == set)
}
