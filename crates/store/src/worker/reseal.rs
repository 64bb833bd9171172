//! Seals parts anew whose DEKs may be known: their bytes are read, sealed under fresh DEKs, and written to the sites; what they
//! were is given up in the batch that puts the new ones in their place.

use base::PortionId;
use futures::StreamExt;

use super::rewrap::{Pass, name_of};
use crate::commit::{Goal, ResealGoal};
use crate::copy_body::CopyBody;
use crate::encryption::{Place, Under};
use crate::part::Target;
use crate::sealed::{Sealed, Walked};
use crate::{Error, Store};

/// Parts sealed anew at once: so many share packs, and requests hardly notice.
const AT_ONCE: usize = 4;

impl Store {
    /// Seals parts anew, each under the newest version of its portion's key.
    ///
    /// # Errors
    /// What befalls all parts alike. What else befalls one is counted.
    pub(super) async fn reseal(
        &self,
        bucket: &Walked,
        found: Vec<(PortionId, Sealed)>,
        pass: &mut Pass,
    ) -> Result<(), Error> {
        let tasks = found.into_iter().map(|(portion, sealed)| async move {
            let what = name_of(bucket, &sealed);
            (portion, what, self.reseal_part(bucket, sealed, portion).await)
        });
        let mut results = futures::stream::iter(tasks).buffer_unordered(AT_ONCE);
        while let Some((portion, what, result)) = results.next().await {
            match result {
                Ok(()) => {
                    pass.moved(portion);
                    self.0.workers.report("rekey", |report| report.done += 1);
                }
                Err(error) => pass.failed(portion, &what, error)?,
            }
        }
        Ok(())
    }

    async fn reseal_part(&self, bucket: &Walked, sealed: Sealed, portion: PortionId) -> Result<(), Error> {
        let of = sealed.of.clone();
        let place = || Place { bucket: &bucket.record, name: &bucket.name, key: &of.name, body: of.body };
        let Some(old) = sealed.part().cloned() else { return Ok(()) };
        let key = self.0.keys.bucket_key(bucket.record.id, &bucket.record.wrapped_key)?;
        let Some(reader) = self.open_part(&place(), &key, sealed.number, &old).await? else {
            // Its row was changed since it was walked over; or its bytes are gone, which no other pass heals.
            let row = self.row(sealed.row_key.clone()).await?;
            let stands = row.is_some_and(|row| row.version == sealed.row_version);
            return Err(if stands { Error::Corrupt("its data record is gone".to_owned()) } else { Error::Contended });
        };
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
