//! A walk over all parts of a bucket that are wrapped under some key: what it takes to tell what a leaked key
//! opens, and to move parts to another one.
//!
//! A version may move between the rows of current and of older versions while they are walked. So the
//! order is: open uploads, older versions, current ones, older ones again. Only a version that moves there and back
//! within one pass can be passed over; whoever must have all of them walks more than once. A version may be met twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::BodyId;
use keys::{KeyName, Wrap};
use meta::record::{
    Body, BucketRecord, Encryption, ObjectRecord, PartRecord, Record, RecordError, SealedPart, UploadRecord, key,
};
use meta::{Key, Range, Row, Version, after, each_row};

use crate::api::VersionId;
use crate::{Error, Store};

/// Rows read in one step.
const PAGE: usize = 500;
/// Bytes of a row that cannot be read that may begin a wrap; past it they are chance.
const CANDIDATES_MAX: usize = 1000;

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

/// A row that cannot be read.
pub(crate) struct Damaged {
    pub(crate) row_key: Key,
    pub(crate) value: bytes::Bytes,
    pub(crate) error: RecordError,
}

/// A bucket on the way of a walk.
pub(crate) struct Walked {
    /// The bucket's name.
    pub(crate) name: String,
    pub(crate) record: BucketRecord,
}

/// What one step of a walk found.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) parts: Vec<Sealed>,
    /// Rows that were passed over.
    pub(crate) damaged: Vec<Damaged>,
}

/// A walk over all wrapped parts of a tenant.
pub(crate) struct TenantWalk<'a> {
    store: &'a Store,
    /// The first bucket's name that may come next.
    from: String,
    within: Option<(Arc<Walked>, Cursor)>,
}

impl<'a> TenantWalk<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, from: String::new(), within: None }
    }

    /// The next step; `None`: that was all. Rows that were passed over without a bucket are buckets.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn next(&mut self) -> Result<Option<(Option<Arc<Walked>>, Step)>, Error> {
        let (bucket, at) = match self.within.take() {
            Some(within) => within,
            None => {
                let Some((name, row)) = self.store.bucket_row_from(&self.from).await? else { return Ok(None) };
                self.from = format!("{name}\0");
                match BucketRecord::decode(&row.value) {
                    Ok(record) => (Arc::new(Walked { name, record }), Cursor::START),
                    Err(error) => {
                        let row_key = key::bucket_key(self.store.account(), &name);
                        let damaged = vec![Damaged { row_key, value: row.value, error }];
                        return Ok(Some((None, Step { damaged, ..Step::default() })));
                    }
                }
            }
        };
        let (step, next) = self.store.sealed_parts(&bucket.record, &at).await?;
        self.within = next.map(|next| (bucket.clone(), next));
        Ok(Some((Some(bucket), step)))
    }
}

impl Store {
    /// The wrapped parts from `cursor` on, and where to go on; `None`: that was all. Rows that cannot be read
    /// are told in the log and passed over.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn sealed_parts(
        &self,
        bucket: &BucketRecord,
        cursor: &Cursor,
    ) -> Result<(Step, Option<Cursor>), Error> {
        let span = Cursor::SPANS[usize::from(cursor.span)];
        let (first, to) = match span {
            Span::Uploads => key::uploads(bucket.id, ""),
            Span::Older => key::versions(bucket.id, ""),
            Span::Current => key::objects(bucket.id, ""),
        };
        let from = cursor.from.clone().unwrap_or(first);
        let page = self.0.meta.range(Range { from, to, limit: PAGE }).await?;
        let mut step = Step::default();
        for (row_key, row) in &page.rows {
            // A step holds the parts of one multipart version and no more.
            let whole = match owner_in(span, row_key, row) {
                Ok(Found::One(sealed)) => {
                    step.parts.push(*sealed);
                    false
                }
                Ok(Found::Many(of)) => {
                    self.sealed_of_body(of, &mut step).await?;
                    true
                }
                Ok(Found::Nothing) => false,
                Err(error) => {
                    step.pass_over(row_key, row, error);
                    false
                }
            };
            if whole {
                return Ok((step, Some(Cursor { span: cursor.span, from: Some(after(row_key)) })));
            }
        }
        let next = match page.rows.last() {
            Some((row_key, _)) if page.more => Some(Cursor { span: cursor.span, from: Some(after(row_key)) }),
            _ if cursor.span < Cursor::LAST => Some(Cursor { span: cursor.span + 1, from: None }),
            _ => None,
        };
        Ok((step, next))
    }

    async fn sealed_of_body(&self, of: Arc<Owner>, step: &mut Step) -> Result<(), Error> {
        each_row(self.0.meta.as_ref(), key::parts(of.body.into()), |row_key, row| {
            let part = PartRecord::decode(&row.value).and_then(|part| Ok((part, key::part_number_of(row_key)?)));
            match part {
                Ok((part, number)) => step.parts.push(Sealed {
                    row_key: row_key.clone(),
                    row_version: row.version,
                    holder: Holder::Part(part),
                    number,
                    of: of.clone(),
                }),
                Err(error) => step.pass_over(row_key, row, error),
            }
            Ok::<_, Error>(())
        })
        .await
    }

    /// Under which versions of portions' keys a row that cannot be read may be; `None`: it cannot be told.
    ///
    /// A wrap is in its row as it is (`docs/spec/wrap.md`), so a row of one part tells it though the rest of the row is
    /// damaged. What tells none may be of many parts, which nothing else leads to.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn wraps_in(&self, damaged: &Damaged) -> Result<Option<Vec<KeyName>>, Error> {
        let names: Vec<KeyName> = wraps_in(&damaged.value).take(CANDIDATES_MAX).collect();
        let rows: Vec<Key> = names.iter().map(|name| key::portion_key(self.account(), name.portion)).collect();
        let found = self.0.meta.get(&rows).await?;
        let known: Vec<KeyName> =
            names.into_iter().zip(found).filter(|(_, row)| row.is_some()).map(|(name, _)| name).collect();
        Ok(Some(known).filter(|known| !known.is_empty()))
    }
}

/// Whatever in these bytes looks like a wrap under a portion's key: a length, and a wrap of that length.
fn wraps_in(bytes: &[u8]) -> impl Iterator<Item = KeyName> {
    const LEN: u8 = 60;
    bytes.windows(1 + usize::from(LEN)).filter(|window| window[0] == LEN).filter_map(|window| {
        let wrap = Wrap::parse(&window[1..]).ok()?;
        wrap.key()
    })
}

impl Step {
    fn pass_over(&mut self, row_key: &Key, row: &Row, error: RecordError) {
        tracing::error!(row = %row_key.escape_ascii(), %error, "a row cannot be read; its parts are passed over");
        self.damaged.push(Damaged { row_key: row_key.clone(), value: row.value.clone(), error });
    }
}

/// What a row holds.
enum Found {
    Nothing,
    One(Box<Sealed>),
    /// Parts in rows of their own.
    Many(Arc<Owner>),
}

fn owner_in(span: Span, row_key: &Key, row: &Row) -> Result<Found, RecordError> {
    if let Span::Uploads = span {
        let (name, upload) = key::upload_of(row_key)?;
        let UploadRecord { encryption, headers, tags, .. } = UploadRecord::decode(&row.value)?;
        let body = upload.into();
        return Ok(Found::Many(Arc::new(Owner { name, version: None, body, encryption, headers, tags })));
    }
    let name = match span {
        Span::Current => key::object_name_of(row_key)?.to_owned(),
        _ => key::version_of(row_key)?.0,
    };
    let record = ObjectRecord::decode(&row.value)?;
    let (version, body) = (Some(VersionId::of(&record)), record.body_id);
    let (encryption, headers, tags) = (record.encryption.clone(), record.headers.clone(), record.tags.clone());
    let of = Arc::new(Owner { name, version, body, encryption, headers, tags });
    Ok(match &record.body {
        Body::Empty | Body::Marker => Found::Nothing,
        Body::Multipart(_) => Found::Many(of),
        Body::Single(_) => {
            let (row_key, row_version) = (row_key.clone(), row.version);
            let holder = Holder::Object(Box::new(record));
            Found::One(Box::new(Sealed { row_key, row_version, holder, number: 0, of }))
        }
    })
}
