//! A walk over all parts of a bucket that are wrapped under some key: what it takes to tell what a leaked key
//! opens, and to move parts to another one.
//!
//! A version may move between the rows of current and of older versions while they are walked. So the
//! order is: open uploads, older versions, current ones, older ones again. Only a version that moves there and back
//! within one pass can be passed over; whoever must have all of them walks more than once.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::BodyId;
use meta::record::{Body, BucketRecord, Encryption, ObjectRecord, PartRecord, Record, SealedPart, UploadRecord, key};
use meta::{Key, Range, Version, after};

use crate::api::VersionId;
use crate::{Error, Store};

/// Rows read in one step.
const PAGE: usize = 500;

/// Where a walk of a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Index into [`Cursor::SPANS`].
    pub(crate) span: u8,
    /// The first row to look at, `None`: the first one there is.
    pub(crate) from: Option<Key>,
}

#[derive(Clone, Copy)]
enum Span {
    Uploads,
    Older,
    Current,
}

impl Cursor {
    const SPANS: [Span; 4] = [Span::Uploads, Span::Older, Span::Current, Span::Older];
    /// Before everything.
    pub(crate) const START: Self = Self { span: 0, from: None };
    /// The last span.
    pub(crate) const LAST: u8 = 3;
    /// Of the walk that looks at nothing twice: for what is told, not moved.
    pub(crate) const LAST_ONCE: u8 = 2;
}

/// The row that holds a wrap.
pub(crate) enum Holder {
    /// A version of one part.
    Object(Box<ObjectRecord>),
    /// A part of a multipart version or upload.
    Part(PartRecord),
}

/// The version or upload that a part is of.
pub(crate) struct Owner {
    /// The object's key.
    pub(crate) name: String,
    /// The version; `None` for an open upload.
    pub(crate) version: Option<VersionId>,
    pub(crate) body: BodyId,
    pub(crate) encryption: Encryption,
    /// What rules look at.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// A wrapped part.
pub(crate) struct Sealed {
    pub(crate) row_key: Key,
    pub(crate) row_version: Version,
    pub(crate) holder: Holder,
    /// 0 for a version of one part.
    pub(crate) number: u16,
    pub(crate) of: Arc<Owner>,
}

impl Sealed {
    pub(crate) fn part(&self) -> Option<&SealedPart> {
        match &self.holder {
            Holder::Object(record) => match &record.body {
                Body::Single(part) => Some(part),
                _ => None,
            },
            Holder::Part(record) => record.sealed.as_ref(),
        }
    }

    /// The row with another wrap in it.
    pub(crate) fn rewrapped(self, wrapped_dek: Vec<u8>) -> (Key, Version, bytes::Bytes) {
        self.changed(|part| part.wrapped_dek = wrapped_dek)
    }

    /// The row with another part in it.
    pub(crate) fn with_part(self, new: SealedPart) -> (Key, Version, bytes::Bytes) {
        self.changed(|part| *part = new)
    }

    fn changed(mut self, change: impl FnOnce(&mut SealedPart)) -> (Key, Version, bytes::Bytes) {
        let row = match &mut self.holder {
            Holder::Object(record) => {
                if let Body::Single(part) = &mut record.body {
                    change(part);
                }
                record.encode()
            }
            Holder::Part(record) => {
                record.sealed.as_mut().map(change);
                record.encode()
            }
        };
        (self.row_key, self.row_version, row)
    }
}

impl Store {
    /// The wrapped parts from `cursor` on, and where to go on; `None`: that was all. Rows that cannot be read
    /// are told in the log and counted by `unreadable`.
    pub(crate) async fn sealed_parts(
        &self,
        bucket: &BucketRecord,
        cursor: &Cursor,
        last: u8,
        unreadable: &mut u64,
    ) -> Result<(Vec<Sealed>, Option<Cursor>), Error> {
        let span = Cursor::SPANS[usize::from(cursor.span)];
        let (first, to) = match span {
            Span::Uploads => key::uploads(bucket.id, ""),
            Span::Older => key::versions(bucket.id, ""),
            Span::Current => key::objects(bucket.id, ""),
        };
        let from = cursor.from.clone().unwrap_or(first);
        let page = self.0.meta.range(Range { from, to, limit: PAGE }).await?;
        let mut found = Vec::new();
        for (row_key, row) in &page.rows {
            let whole = match self.sealed_in(span, row_key, row, &mut found).await {
                Err(Error::Record(error)) => {
                    tracing::error!(row = %row_key.escape_ascii(), %error, "a row cannot be read; its parts are passed over");
                    *unreadable += 1;
                    false
                }
                other => other?,
            };
            // A step holds the parts of one multipart version and no more.
            if whole {
                return Ok((found, Some(Cursor { span: cursor.span, from: Some(after(row_key)) })));
            }
        }
        let next = match page.rows.last() {
            Some((row_key, _)) if page.more => Some(Cursor { span: cursor.span, from: Some(after(row_key)) }),
            _ if cursor.span < last => Some(Cursor { span: cursor.span + 1, from: None }),
            _ => None,
        };
        Ok((found, next))
    }

    /// Adds the parts of one row; `true` when they were in rows of their own.
    async fn sealed_in(
        &self,
        span: Span,
        row_key: &Key,
        row: &meta::Row,
        found: &mut Vec<Sealed>,
    ) -> Result<bool, Error> {
        let owner = |name, version, body, encryption, headers, tags| {
            Arc::new(Owner { name, version, body, encryption, headers, tags })
        };
        if let Span::Uploads = span {
            let (name, upload) = key::upload_of(row_key)?;
            let UploadRecord { encryption, headers, tags, .. } = UploadRecord::decode(&row.value)?;
            self.sealed_of_body(owner(name, None, upload.into(), encryption, headers, tags), found).await?;
            return Ok(true);
        }
        let name = match span {
            Span::Current => key::object_name_of(row_key)?.to_owned(),
            _ => key::version_of(row_key)?.0,
        };
        let record = ObjectRecord::decode(&row.value)?;
        let (encryption, headers, tags) = (record.encryption.clone(), record.headers.clone(), record.tags.clone());
        let of = owner(name, Some(VersionId::of(&record)), record.body_id, encryption, headers, tags);
        match &record.body {
            Body::Empty | Body::Marker => {}
            Body::Multipart(_) => {
                self.sealed_of_body(of, found).await?;
                return Ok(true);
            }
            Body::Single(_) => {
                let (row_key, row_version) = (row_key.clone(), row.version);
                found.push(Sealed { row_key, row_version, holder: Holder::Object(Box::new(record)), number: 0, of });
            }
        }
        Ok(false)
    }

    async fn sealed_of_body(&self, of: Arc<Owner>, found: &mut Vec<Sealed>) -> Result<(), Error> {
        let (mut from, to) = key::parts(of.body.into());
        loop {
            let page = self.0.meta.range(Range { from, to: to.clone(), limit: 1000 }).await?;
            for (row_key, row) in &page.rows {
                found.push(Sealed {
                    row_key: row_key.clone(),
                    row_version: row.version,
                    holder: Holder::Part(PartRecord::decode(&row.value)?),
                    number: key::part_number_of(row_key)?,
                    of: of.clone(),
                });
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(()),
            }
        }
    }
}
