//! Who had which portion: what a stolen identity, or a stolen key, is to be answered with.

use base::{AccountId, PortionId};
use meta::record::{Record, ReleasedRecord, key};
use meta::{Range, after};

use crate::error::PortionError;
use crate::portions::Portions;

/// A principal that had a portion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The portion.
    pub portion: PortionId,
    /// The principal's unique id.
    pub principal: String,
    /// Its name, and when.
    pub record: ReleasedRecord,
}

impl Portions {
    /// Who had a portion, or any of an account: at most `limit` rows after `from`, and from where to go on.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn holders(
        &self,
        account: AccountId,
        portion: Option<PortionId>,
        from: Option<meta::Key>,
        limit: usize,
    ) -> Result<(Vec<Holder>, Option<meta::Key>), PortionError> {
        let (begin, to) = match portion {
            Some(portion) => key::released_of(account, portion),
            None => key::released(account),
        };
        let from = from.filter(|from| *from > begin && *from < to).unwrap_or(begin);
        let page = self.meta.range(Range { from, to, limit }).await?;
        let next = page.rows.last().filter(|_| page.more).map(|(last, _)| after(last));
        let mut holders = Vec::with_capacity(page.rows.len());
        for (row_key, row) in &page.rows {
            let Some((portion, principal)) = key::released_names(row_key) else { continue };
            let record = ReleasedRecord::decode(&row.value)?;
            holders.push(Holder { portion, principal: principal.to_owned(), record });
        }
        Ok((holders, next))
    }
}
