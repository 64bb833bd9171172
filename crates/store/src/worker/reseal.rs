//! Seals parts anew whose DEKs may be known: their bytes are read, sealed under fresh DEKs, and written to the sites; what they
//! were is given up in the batch that puts the new ones in their place.
//!
//! A DEK that leaked is that of a part whose wrap is under an old version of the portion's key, or of one whose data row says that
//! a copy brought it from or to there. The first are found by their wraps, the others by a look at the data row of each part of the
//! tenant. Work is done when a walk found neither and no data row names an old version: what is staged or not yet
//! collected is referred to as well. Why that is all of them is in `docs/design/0014-rekey.md`.

use std::num::NonZeroU64;
use std::time::Duration;

use async_trait::async_trait;
use base::PortionId;
use bytes::Bytes;
use futures::StreamExt;
use keys::Wrap;
use meta::record::{DataRecord, Record, key};
use meta::{Key, each_row};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::rewrap::{Concern, Pass, name_of};
use crate::api::{BodyError, BodyFacts, BodySource};
use crate::commit::{Goal, ResealGoal};
use crate::copy_body::CopyBody;
use crate::encryption::{Place, Under};
use crate::part::Target;
use crate::sealed::{Sealed, Walked};
use crate::{Error, Store};

/// Parts sealed anew at once: so many share packs, and requests hardly notice.
const AT_ONCE: usize = 4;
/// Data rows read at once.
const ROWS: usize = 500;

/// How far a rekey of a portion is, since this process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RekeyProgress {
    /// Parts that were sealed anew.
    pub parts: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Parts of the tenant that the present pass, or the last one, has looked at.
    pub seen: u64,
}

/// Spreads bytes over time.
#[derive(Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// When so many bytes may go, of which `per_s` go in a second; those that are asked for next go when these are through.
    pub(super) fn turn(&self, bytes: u64, per_s: NonZeroU64, now: Instant) -> Instant {
        let mut next = self.0.lock();
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + Duration::from_secs_f64(bytes as f64 / per_s.get() as f64));
        turn
    }
}

/// A part on its way to be sealed anew, not faster than it may go.
struct Paced<'a> {
    body: CopyBody,
    store: &'a Store,
}

#[async_trait]
impl BodySource for Paced<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let chunk = self.body.chunk().await?;
        if let (Some(chunk), Some(per_s)) = (&chunk, self.store.0.options.rekey_bytes_per_s) {
            let turn = self.store.0.workers.pace.turn(chunk.len() as u64, per_s, Instant::now());
            tokio::time::sleep_until(turn).await;
        }
        Ok(chunk)
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        self.body.finish()
    }
}

/// A part whose DEK may be known.
pub(super) struct Leaked {
    /// The portion whose key leaked.
    work: PortionId,
    /// The portion whose key the part is under; `None`: the bucket's.
    under: Option<PortionId>,
    sealed: Sealed,
}

impl Store {
    /// How far the rekey of a portion is; all 0 where none was seen to run.
    pub fn rekey_progress(&self, portion: PortionId) -> RekeyProgress {
        self.0.workers.rekeys.lock().get(&portion).copied().unwrap_or_default()
    }

    pub(super) fn begin_progress(&self, pass: &Pass) {
        let mut rekeys = self.0.workers.rekeys.lock();
        pass.portions().for_each(|portion| rekeys.entry(portion).or_default().seen = 0);
    }

    fn see_parts(&self, pass: &Pass, parts: u64) {
        let mut rekeys = self.0.workers.rekeys.lock();
        pass.portions().for_each(|portion| rekeys.entry(portion).or_default().seen += parts);
    }

    fn count_resealed(&self, portion: PortionId, bytes: u64) {
        {
            let mut rekeys = self.0.workers.rekeys.lock();
            let progress = rekeys.entry(portion).or_default();
            (progress.parts, progress.bytes) = (progress.parts + 1, progress.bytes + bytes);
        }
        self.0.workers.report("rekey", |report| {
            report.done += 1;
            report.bytes += bytes;
        });
    }

    /// Which of these parts are to be sealed anew.
    ///
    /// # Errors
    /// A metadata error.
    pub(super) async fn leaked_of(
        &self,
        bucket: &Walked,
        parts: Vec<Sealed>,
        pass: &mut Pass,
    ) -> Result<Vec<Leaked>, Error> {
        self.see_parts(pass, parts.len() as u64);
        let (mut leaked, mut others) = (Vec::new(), Vec::new());
        for sealed in parts {
            match pass.concern(bucket, &sealed) {
                Concern::Moves(work) => leaked.push(Leaked { work, under: Some(work), sealed }),
                Concern::Stays => others.push(sealed),
                Concern::Waits => {}
            }
        }
        let mut others = others.into_iter();
        loop {
            let some: Vec<Sealed> = others.by_ref().take(ROWS).collect();
            if some.is_empty() {
                return Ok(leaked);
            }
            let (some, keys): (Vec<Sealed>, Vec<Key>) = some
                .into_iter()
                .filter_map(|sealed| {
                    let data_key = key::data_key(sealed.part()?.id);
                    Some((sealed, data_key))
                })
                .unzip();
            for (sealed, row) in some.into_iter().zip(self.0.meta.get(&keys).await?) {
                // Without a row its bytes are gone, or it was replaced since.
                let Some(row) = row else { continue };
                match DataRecord::decode(&row.value) {
                    Ok(data) => {
                        let under = sealed.part().and_then(|part| Wrap::parse(&part.wrapped_dek).ok()?.key());
                        let under = under.map(|name| name.portion);
                        if let Some(work) = pass.leaked(&data).next() {
                            leaked.push(Leaked { work, under, sealed });
                        }
                    }
                    Err(error) => {
                        let what = format!("{}: {error}", name_of(bucket, &sealed));
                        tracing::error!("whether a part is to be sealed anew cannot be told: {what}");
                        pass.leave_all(|| what.clone());
                    }
                }
            }
        }
    }

    /// Looks for parts to seal anew that the walk did not lead to, for the works that it found nothing for: those of copies
    /// under way, and of bodies that are not taken apart yet.
    ///
    /// # Errors
    /// A metadata error.
    pub(super) async fn look_for_held(&self, pass: &mut Pass) -> Result<(), Error> {
        let clean: Vec<PortionId> = pass.clean().collect();
        if clean.is_empty() {
            return Ok(());
        }
        each_row(self.0.meta.as_ref(), key::all_data(), |row_key, row| {
            let held: Vec<PortionId> = match DataRecord::decode(&row.value) {
                Ok(data) if data.under.is_empty() => return Ok::<_, Error>(()),
                Ok(data) => pass.leaked(&data).collect(),
                // A damaged row may be of another tenant: it holds up those that it seems to name.
                Err(_) => {
                    let names = |portion: &PortionId| row.value.windows(16).any(|bytes| bytes == portion.as_bytes());
                    clean.iter().copied().filter(names).collect()
                }
            };
            for portion in held {
                let part = key::part_of(row_key).map_or_else(String::new, |part| part.to_string());
                pass.hold(portion, || {
                    format!("the part {part}, which a copy under way or a body that is not collected yet refers to")
                });
            }
            Ok(())
        })
        .await
    }

    /// Seals parts anew, each under the newest version of the key that it is under.
    ///
    /// # Errors
    /// What befalls all parts alike. What else befalls one is counted.
    pub(super) async fn reseal(&self, bucket: &Walked, found: Vec<Leaked>, pass: &mut Pass) -> Result<(), Error> {
        let tasks = found.into_iter().map(|leaked| async move {
            let (work, is_own, what) =
                (leaked.work, leaked.under == Some(leaked.work), name_of(bucket, &leaked.sealed));
            let size = leaked.sealed.part().map_or(0, |part| part.size);
            (work, is_own, what, self.reseal_part(bucket, leaked).await.map(|()| size))
        });
        // Bodies that wait for their turn hold memory that uploads want.
        let at_once = if self.0.options.rekey_bytes_per_s.is_some() { 1 } else { AT_ONCE };
        let mut results = futures::stream::iter(tasks).buffer_unordered(at_once);
        while let Some((work, is_own, what, result)) = results.next().await {
            match result {
                Ok(size) => {
                    pass.moved(work);
                    self.count_resealed(work, size);
                }
                Err(error) => pass.failed_under(work, is_own, &what, error)?,
            }
        }
        Ok(())
    }

    async fn reseal_part(&self, bucket: &Walked, leaked: Leaked) -> Result<(), Error> {
        let sealed = leaked.sealed;
        let of = sealed.of.clone();
        let place = || Place { bucket: &bucket.record, name: &bucket.name, key: &of.name, body: of.body };
        let Some(old) = sealed.part().cloned() else { return Ok(()) };
        let under = match leaked.under {
            Some(portion) => Under::Portion(portion),
            None => self.key_to_go_on(&place(), &of.encryption, None, &of.headers, &of.tags).await?,
        };
        let key = self.0.keys.bucket_key(bucket.record.id, &bucket.record.wrapped_key)?;
        let Some(reader) = self.open_part(&place(), &key, sealed.number, &old).await? else {
            // Its row was changed since it was walked over; or its bytes are gone, which no other pass heals.
            let row = self.row(sealed.row_key.clone()).await?;
            let stands = row.is_some_and(|row| row.version == sealed.row_version);
            return Err(if stands { Error::Corrupt("its data record is gone".to_owned()) } else { Error::Contended });
        };
        let size = old.size;
        let mut body = Paced { body: CopyBody(reader.read(0..size, 0).await?), store: self };
        let target = Target { place: place(), number: sealed.number, under };
        let goal = |part: Option<_>, _| {
            let part: meta::record::SealedPart = part.ok_or(Error::Contended)?;
            let wrapped_dek = part.wrapped_dek.clone();
            let (row_key, row_version, row) = sealed.with_part(part);
            Ok(Goal::Reseal(Box::new(ResealGoal { row_key, row_version, row, wrapped_dek, old })))
        };
        self.store_body(target, size, &mut body, goal).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spread_over_time() {
        let (pace, begun) = (Pace::default(), Instant::now());
        let per_s = NonZeroU64::new(1000).unwrap();
        // (milliseconds since the beginning, bytes) -> the turn, milliseconds since the beginning
        let table = [(0, 500, 0), (0, 1000, 500), (100, 500, 1500), (5000, 1, 5000), (5000, 0, 5001), (5000, 0, 5001)];
        for (at, bytes, expected) in table {
            let turn = pace.turn(bytes, per_s, begun + Duration::from_millis(at));
            assert_eq!(turn.duration_since(begun).as_millis(), expected, "{at} {bytes}");
        }
    }
}
