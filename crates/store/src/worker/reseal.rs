//! Seals parts anew whose DEKs may be known: their bytes are read, sealed under fresh DEKs, and written to the sites; what they
//! were is given up in the batch that puts the new ones in their place.

use base::PortionId;
use futures::StreamExt;
use keys::Wrap;
use meta::record::{BucketRecord, RewrapRecord};

use super::rewrap::Rewrapped;
use crate::commit::{Goal, ResealGoal};
use crate::copy_body::CopyBody;
use crate::encryption::{Place, Under};
use crate::part::Target;
use crate::sealed::Sealed;
use crate::{Error, Store};

/// Parts sealed anew at once: so many share packs, and requests hardly notice.
const AT_ONCE: usize = 4;

impl Store {
    /// Seals anew those of `found` that are under versions which `work` empties.
    ///
    /// # Errors
    /// A metadata error, or that the portion's key is not to be had. What else befalls a part is counted.
    pub(crate) async fn reseal(
        &self,
        (name, bucket): (&str, &BucketRecord),
        found: Vec<Sealed>,
        portion: PortionId,
        work: &RewrapRecord,
        done: &mut Rewrapped,
    ) -> Result<(), Error> {
        let leaked = |sealed: &Sealed| {
            let key = sealed.part().and_then(|part| Wrap::parse(&part.wrapped_dek).ok()?.key());
            key.is_some_and(|key| key.portion == portion && key.version < work.below)
        };
        let tasks = found.into_iter().filter(leaked).map(|sealed| async move {
            let of = sealed.of.clone();
            (of, self.reseal_part(name, bucket, sealed, portion).await)
        });
        let mut results = futures::stream::iter(tasks).buffer_unordered(AT_ONCE);
        while let Some((of, result)) = results.next().await {
            match result {
                Ok(()) => done.moved += 1,
                Err(Error::Contended) => done.lost += 1,
                Err(error) => done.failed((name, &of.name), error)?,
            }
            self.0.workers.report("rekey", |report| report.done = done.moved);
        }
        Ok(())
    }

    async fn reseal_part(
        &self,
        name: &str,
        bucket: &BucketRecord,
        sealed: Sealed,
        portion: PortionId,
    ) -> Result<(), Error> {
        let of = sealed.of.clone();
        let place = || Place { bucket, name, key: &of.name, body: of.body };
        let Some(old) = sealed.part().cloned() else { return Ok(()) };
        let key = self.0.keys.bucket_key(bucket.id, &bucket.wrapped_key)?;
        // Its row was changed since it was walked over.
        let reader = self.open_part(&place(), &key, sealed.number, &old).await?.ok_or(Error::Contended)?;
        let size = old.size;
        let mut body = CopyBody(reader.read(0..size, 0).await?);
        let target = Target { place: place(), number: sealed.number, under: Under::Portion(portion) };
        let goal = |part: Option<_>, _| {
            let part: meta::record::SealedPart = part.ok_or(Error::Contended)?;
            let wrapped_dek = part.wrapped_dek.clone();
            let (row_key, row_version, row) = sealed.with_part(part);
            Ok(Goal::Reseal(Box::new(ResealGoal { row_key, row_version, row, wrapped_dek, old })))
        };
        self.store_body(target, size, &mut body, goal).await.map(drop)
    }
}
