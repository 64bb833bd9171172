//! Whose keys a version's parts are under: a portion's, or the bucket's and a customer's (SSE-C). Parts that
//! were written before there were portions are under the bucket's.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{BodyId, PartId, PortionId};
use envelope::Dek;
use keys::rules::Subject;
use keys::{BucketKey, CustomerKey, DekPlace, LEASE_MS, Lease, LeaseMark, Wrap};
use meta::record::{
    Body, BucketRecord, BucketState, DefaultEncryption, Encryption, ObjectRecord, PartRecord, Record, SealedPart, key,
};
use meta::{Check, Range, each_row, stale};
use parking_lot::Mutex;
use release::Action;

use crate::api::Encrypt;
use crate::{Error, Store};

/// A body, and the bucket and name that its keys are bound to.
pub(crate) struct Place<'a> {
    pub(crate) bucket: &'a BucketRecord,
    /// The bucket's name.
    pub(crate) name: &'a str,
    pub(crate) key: &'a str,
    pub(crate) body: BodyId,
}

impl Place<'_> {
    /// The place of one of its parts' DEKs; `number` is 0 for a body of one part.
    pub(crate) fn dek(&self, number: u16, part: PartId) -> DekPlace<'_> {
        DekPlace { bucket: self.bucket.id, object: self.key, body: self.body, number, part }
    }
}

/// What opened a part, or lets it be sealed, for as long as its bytes are on their way.
pub(crate) struct Released {
    action: Action,
    /// `None`: it is under a bucket's key.
    portion: Option<PortionId>,
    /// By which it was released; not at all: by the store itself, or under a bucket's key.
    lease: Option<Arc<Lease>>,
    /// When all of this was asked for last, by the time that never goes back, and under which lease of this process.
    asked: Mutex<(u64, Option<LeaseMark>)>,
}

/// What a new body's DEKs are wrapped under.
#[derive(Clone)]
pub(crate) enum Under {
    /// The bucket's key and a customer's.
    Customer(Arc<BucketKey>),
    /// The newest version of a portion's key.
    Portion(PortionId),
}

impl Store {
    /// What to wrap a new body's DEKs under, and what its record says of it but for [`encrypt_by_default`].
    /// `headers` and `tags` are the object's.
    pub(crate) async fn key_to_write(
        &self,
        place: &Place<'_>,
        encrypt: &Encrypt,
        headers: &BTreeMap<String, String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<(Under, Encryption), Error> {
        match encrypt {
            Encrypt::Customer(customer) => {
                let key = self.0.keys.bucket_key(place.bucket.id, &place.bucket.wrapped_key)?;
                let key = key.with_customer(customer)?;
                let verifier = key.verifier(place.bucket.id, place.key, place.body)?.to_vec();
                Ok((Under::Customer(Arc::new(key)), Encryption::Customer { verifier }))
            }
            Encrypt::Kms { key: Some(portion), context, bucket_key } => {
                let (portion, context, bucket_key) = (*portion, context.clone(), bucket_key.unwrap_or(false));
                Ok((Under::Portion(portion), Encryption::Portion { portion, context, bucket_key }))
            }
            Encrypt::Kms { key: None, context, bucket_key } => {
                let (context, bucket_key) = (context.clone(), bucket_key.unwrap_or(false));
                Ok((self.under_by_rules(place, headers, tags).await?, Encryption::Kms { context, bucket_key }))
            }
            Encrypt::Default => {
                let said = self.state_of(place.bucket).await?.encryption;
                self.key_by_default(place, said, headers, tags).await
            }
            Encrypt::Said(said) => self.key_by_default(place, *said, headers, tags).await,
            Encrypt::Bucket => Ok((self.under_by_rules(place, headers, tags).await?, Encryption::Bucket)),
        }
    }

    async fn key_by_default(
        &self,
        place: &Place<'_>,
        said: DefaultEncryption,
        headers: &BTreeMap<String, String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<(Under, Encryption), Error> {
        match said {
            DefaultEncryption::Portion { portion, bucket_key } => {
                Ok((Under::Portion(portion), Encryption::Portion { portion, context: None, bucket_key }))
            }
            _ => Ok((self.under_by_rules(place, headers, tags).await?, Encryption::Bucket)),
        }
    }

    /// What a part of a body is wrapped under whose `encryption` was decided before, as an upload's is.
    pub(crate) async fn key_to_go_on(
        &self,
        place: &Place<'_>,
        encryption: &Encryption,
        customer: Option<&CustomerKey>,
        headers: &BTreeMap<String, String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<Under, Error> {
        let bucket = self.key_to_read(place, encryption, customer)?;
        Ok(match encryption {
            Encryption::Customer { .. } => Under::Customer(bucket),
            Encryption::Portion { portion, .. } => Under::Portion(*portion),
            Encryption::Bucket | Encryption::Kms { .. } => self.under_by_rules(place, headers, tags).await?,
        })
    }

    async fn under_by_rules(
        &self,
        place: &Place<'_>,
        headers: &BTreeMap<String, String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<Under, Error> {
        let content_type = headers.get("content-type").map_or("", String::as_str);
        let rules = self.0.portions.chosen_by(self.account()).await?;
        let choice = rules.choose(&Subject { bucket: place.name, key: place.key, tags, content_type });
        Ok(Under::Portion(self.0.portions.named_as(self.account(), &choice.portion, choice.class).await?))
    }

    /// Whether what is known of a bucket's names may be told, where it was read from metadata that may be old: as long as what is written
    /// there may be opened. `key`: the object's, or what a listing begins with.
    ///
    /// # Errors
    /// [`keys::PortionError::CutOff`], or a metadata error.
    pub async fn must_tell_old(&self, bucket: &str, key: &str) -> Result<(), Error> {
        if stale::age_ms().is_none() && !self.is_away() {
            return Ok(());
        }
        if !bucket.is_empty() {
            self.nothing_newer_waits(bucket, key).await?;
        }
        let rules = self.0.portions.chosen_by(self.account()).await?;
        let choice = rules.choose(&Subject { bucket, key, tags: &BTreeMap::new(), content_type: "" });
        Ok(self.0.portions.must_tell_cut_off(self.account(), &choice.portion).await?)
    }

    /// The same for a version that was found, by the portion that its bytes are under, whichever rule or request chose that.
    ///
    /// # Errors
    /// As [`Self::must_tell_old`].
    pub(crate) async fn must_tell_found(&self, record: &ObjectRecord) -> Result<(), Error> {
        if stale::age_ms().is_none() {
            return Ok(());
        }
        let part = match &record.body {
            Body::Single(part) => Some(part.clone()),
            Body::Multipart(_) => {
                let (from, to) = key::parts(record.body_id.into());
                let page = self.0.meta.range(Range { from, to, limit: 1 }).await?;
                page.rows
                    .first()
                    .map(|(_, row)| PartRecord::decode(&row.value))
                    .transpose()?
                    .and_then(|part| part.sealed)
            }
            Body::Empty | Body::Marker => None,
        };
        let wrap = part.map(|part| Wrap::parse(&part.wrapped_dek)).transpose()?;
        let portion = match (wrap, &record.encryption) {
            (Some(Wrap::Portion(name, _)), _) => Some(name.portion),
            (_, Encryption::Portion { portion, .. }) => Some(*portion),
            _ => None,
        };
        match portion {
            Some(portion) => Ok(self.0.portions.must_tell_cut_off_of(self.account(), portion).await?),
            None => Ok(()),
        }
    }

    async fn state_of(&self, bucket: &BucketRecord) -> Result<BucketState, Error> {
        // One that is gone is noticed by the commit.
        Ok(self.record(key::bucket_state_key(bucket.id)).await?.map(|(state, _)| state).unwrap_or_default())
    }

    /// The bucket's key, with the customer's where the body takes that.
    ///
    /// # Errors
    /// [`Error::CustomerKeyMissing`], [`Error::CustomerKeyWrong`], [`Error::NoCustomerKey`], or a key error.
    pub(crate) fn key_to_read(
        &self,
        place: &Place<'_>,
        encryption: &Encryption,
        customer: Option<&CustomerKey>,
    ) -> Result<Arc<BucketKey>, Error> {
        let key = self.0.keys.bucket_key(place.bucket.id, &place.bucket.wrapped_key)?;
        match (encryption, customer) {
            (Encryption::Customer { .. }, None) => Err(Error::CustomerKeyMissing),
            (Encryption::Customer { verifier }, Some(customer)) => {
                let key = key.with_customer(customer)?;
                if key.is_verified_by(place.bucket.id, place.key, place.body, verifier) {
                    Ok(Arc::new(key))
                } else {
                    Err(Error::CustomerKeyWrong)
                }
            }
            (_, None) => Ok(key),
            (_, Some(_)) => Err(Error::NoCustomerKey),
        }
    }

    fn passed_ms(&self) -> u64 {
        self.0.options.doors.clock.passed_ms()
    }

    /// Wraps the DEK of a new part of `size` bytes, as it is stored.
    pub(crate) async fn wrap_dek(
        &self,
        under: &Under,
        place: &DekPlace<'_>,
        size: u64,
        dek: &Dek,
    ) -> Result<Vec<u8>, Error> {
        match under {
            Under::Customer(key) => {
                self.0.portions.must_be_open(self.account()).await?;
                Ok(Wrap::Bucket(key.wrap(place, dek)?).encode())
            }
            Under::Portion(portion) => {
                self.release_portion(*portion, Action::Seal).await?;
                let key = self.0.portions.to_seal(self.account(), *portion, size).await?;
                Ok(key.wrap(place, dek)?.encode())
            }
        }
    }

    /// As [`Self::wrap_dek`], for bytes that come one after another: [`Self::renew`] is to be called while they do.
    pub(crate) async fn wrap_dek_for_long(
        &self,
        under: &Under,
        place: &DekPlace<'_>,
        size: u64,
        dek: &Dek,
    ) -> Result<(Vec<u8>, Released), Error> {
        let asked = Mutex::new((self.passed_ms(), Some(self.0.portions.on_lease().await?)));
        let portion = match under {
            Under::Customer(_) => None,
            Under::Portion(portion) => Some(*portion),
        };
        let wrapped = self.wrap_dek(under, place, size, dek).await?;
        Ok((wrapped, Released { action: Action::Seal, portion, lease: None, asked }))
    }

    /// Unwraps a part's DEK. `bucket`: the key that [`Self::key_to_read`] gave.
    pub(crate) async fn unwrap_dek(
        &self,
        bucket: &BucketKey,
        place: &DekPlace<'_>,
        part: &SealedPart,
    ) -> Result<(Dek, Released), Error> {
        let asked = Mutex::new((self.passed_ms(), Some(self.0.portions.on_lease_to_open().await?)));
        let released = |portion, lease| Released { action: Action::Open, portion, lease, asked };
        match Wrap::parse(&part.wrapped_dek)? {
            Wrap::Bucket(wrapped) => {
                self.0.portions.must_be_open(self.account()).await?;
                Ok((bucket.unwrap(place, &wrapped.0)?, released(None, None)))
            }
            Wrap::Portion(name, wrapped) => {
                let lease = self.release_portion(name.portion, Action::Open).await?;
                let key = self.0.portions.to_open(self.account(), name).await?;
                Ok((key.unwrap(place, &wrapped)?, released(Some(name.portion), lease)))
            }
        }
    }

    /// A portion's release to whom this store acts for; `None` where that is the store itself.
    async fn release_portion(&self, portion: PortionId, action: Action) -> Result<Option<Arc<Lease>>, Error> {
        match &self.1.caller {
            Some(caller) => Ok(Some(self.0.portions.release(caller, self.account(), portion, action).await?)),
            None => Ok(None),
        }
    }

    /// Counts what is opened by a lease.
    pub(crate) async fn spend(&self, released: &Released, objects: u64, bytes: u64) -> Result<(), Error> {
        match (&released.lease, &self.1.caller) {
            (Some(lease), Some(caller)) => Ok(self.0.portions.spend(lease, caller, objects, bytes).await?),
            _ => Ok(()),
        }
    }

    /// Asks again whether a part may be read or written on, when that was asked a lease ago, or something was taken away from
    /// somebody since: whether the customer gives the tenant's half, the portion is open, it is released, and who asks is still
    /// somebody. Objects and bytes are not counted again.
    ///
    /// # Errors
    /// As [`Portions::must_stay_open`](keys::Portions::must_stay_open) and [`Portions::release`](keys::Portions::release):
    /// what was open is to be cut off.
    pub(crate) async fn renew(&self, released: &Released) -> Result<(), Error> {
        let now = self.passed_ms();
        let mark = self.0.portions.lease_mark();
        let (asked_ms, asked_under) = *released.asked.lock();
        if mark.is_some() && mark == asked_under && now.saturating_sub(asked_ms) < LEASE_MS {
            return Ok(());
        }
        let mark = match released.action {
            Action::Open => self.0.portions.on_lease_to_open().await?,
            Action::Seal => self.0.portions.on_lease().await?,
        };
        if let Some(portion) = released.portion {
            self.release_portion(portion, released.action).await?;
        }
        self.0.portions.must_stay_open(self.account(), released.portion).await?;
        self.must_stay_somebody().await?;
        // What was taken away while these were asked is asked about again.
        *released.asked.lock() = (now, Some(mark));
        Ok(())
    }

    /// Whether the access key that the request came by is still its user's.
    async fn must_stay_somebody(&self) -> Result<(), Error> {
        let (Some(access_key), Some(caller)) = (&self.1.access_key, &self.1.caller) else { return Ok(()) };
        match self.authenticate(access_key).await? {
            Some((_, principal)) if principal.id() == caller.id() => Ok(()),
            _ => Err(Error::KeyGone),
        }
    }

    /// Whether all of a body can stay under the keys that it is under when it is to be under `under`.
    pub(crate) async fn is_under(&self, record: &ObjectRecord, under: &Under) -> Result<bool, Error> {
        match &record.body {
            Body::Empty | Body::Marker => Ok(!matches!(under, Under::Customer(_))),
            Body::Single(part) => part_is_under(Some(part), under),
            Body::Multipart(runs) => {
                // Rules may have changed while its parts were written: each may be under another portion.
                let mut all = true;
                each_row(self.0.meta.as_ref(), key::parts(record.body_id.into()), |row_key, row| {
                    let number = key::part_number_of(row_key)?;
                    // What the completion did not name may not be gone yet.
                    if all && runs.iter().any(|run| (run.first..run.first.saturating_add(run.count)).contains(&number))
                    {
                        all = part_is_under(PartRecord::decode(&row.value)?.sealed.as_ref(), under)?;
                    }
                    Ok::<_, Error>(())
                })
                .await?;
                Ok(all)
            }
        }
    }
}

/// Whether a part can stay as it is when it is to be under `under`; `None` is a part without bytes.
fn part_is_under(part: Option<&SealedPart>, under: &Under) -> Result<bool, Error> {
    let Some(part) = part else { return Ok(!matches!(under, Under::Customer(_))) };
    Ok(match (Wrap::parse(&part.wrapped_dek)?, under) {
        (Wrap::Portion(name, _), Under::Portion(portion)) => name.portion == *portion,
        _ => false,
    })
}

/// What the bucket says where the writer said nothing, or not all. Never changes the keys that
/// parts are under.
pub(crate) fn encrypt_by_default(encryption: &mut Encryption, asked: &Encrypt, state: &BucketState) {
    match (asked, state.encryption, &encryption) {
        // It was sealed under a portion's key that was named, and is told as that.
        (_, _, Encryption::Portion { .. }) => {}
        (Encrypt::Default | Encrypt::Said(_), DefaultEncryption::Kms { bucket_key }, _) => {
            *encryption = Encryption::Kms { context: None, bucket_key };
        }
        (Encrypt::Kms { context, bucket_key: None, .. }, DefaultEncryption::Kms { bucket_key }, _) => {
            *encryption = Encryption::Kms { context: context.clone(), bucket_key };
        }
        _ => {}
    }
}

/// What the batch that makes a wrap visible depends on: that the version of the key is there, and not about to end.
pub(crate) fn key_lives(wrapped: &[u8]) -> Vec<Check> {
    let Some(name) = Wrap::parse(wrapped).ok().and_then(|wrap| wrap.key()) else { return Vec::new() };
    vec![
        Check::Present(key::key_version_key(name.portion, name.version)),
        Check::Absent(key::closed_version_key(name.portion, name.version)),
    ]
}
