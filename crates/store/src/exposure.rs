//! What a portion's key opens: the exact list, read from the rows that a reader would read.

use base::PortionId;
use keys::Wrap;
use meta::Key;

use crate::api::VersionId;
use crate::sealed::Cursor;
use crate::{Error, Store};

/// A part that a key opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The version; `None` for a part of an open upload.
    pub version: Option<VersionId>,
    /// Part number; 0 for a version of one part.
    pub part: u16,
    /// Plaintext bytes.
    pub bytes: u64,
    /// The version of the portion's key that it is under.
    pub key_version: u32,
}

/// A step of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Parts.
    pub parts: Vec<Exposed>,
    /// Rows that could not be read: what is in them is not told.
    pub unreadable: u64,
    /// Where the list goes on; `None`: that was all.
    pub next: Option<String>,
}

impl Store {
    /// Parts of the tenant that a portion's key opens, or one version of it, from `cursor` on: some,
    /// and where to go on.
    ///
    /// Versions that are not current are looked at before and after those that are, since one may move while it is walked: a
    /// part may be told twice. One that is made current again and back between two looks is missed; whoever must have all of them
    /// repeats the list until it tells nothing new.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is none, or a metadata error.
    pub async fn exposure(
        &self,
        portion: PortionId,
        key_version: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Exposure, Error> {
        let (from, mut at) = match cursor {
            None => (String::new(), Cursor::START),
            Some(text) => read_cursor(text).ok_or(Error::Invalid("that is no cursor of an exposure list"))?,
        };
        let mut told = Exposure::default();
        let Some((name, bucket)) = self.bucket_from(&from).await? else { return Ok(told) };
        if name != from {
            at = Cursor::START;
        }
        let (step, next) = self.sealed_parts(&bucket, &at).await?;
        told.unreadable += step.damaged.len() as u64;
        for sealed in &step.parts {
            let Some(part) = sealed.part() else { continue };
            let Ok(wrap) = Wrap::parse(&part.wrapped_dek) else {
                told.unreadable += 1;
                continue;
            };
            let Some(under) = wrap.key() else { continue };
            if under.portion == portion && key_version.is_none_or(|version| version == under.version) {
                told.parts.push(Exposed {
                    bucket: name.clone(),
                    key: sealed.of.name.clone(),
                    version: sealed.of.version,
                    part: sealed.number,
                    bytes: part.size,
                    key_version: under.version,
                });
            }
        }
        told.next = match next {
            Some(next) => Some(write_cursor(&name, &next)),
            None => {
                let behind = format!("{name}\0");
                self.bucket_from(&behind).await?.map(|(name, _)| write_cursor(&name, &Cursor::START))
            }
        };
        Ok(told)
    }
}

fn write_cursor(bucket: &str, at: &Cursor) -> String {
    format!("{bucket}/{}/{}", at.span, hex::encode(at.from.as_deref().unwrap_or_default()))
}

fn read_cursor(text: &str) -> Option<(String, Cursor)> {
    let mut pieces = text.splitn(3, '/');
    let (bucket, span, row) = (pieces.next()?, pieces.next()?.parse().ok()?, hex::decode(pieces.next()?).ok()?);
    let from = Some(Key::from(row)).filter(|row| !row.is_empty());
    (span <= Cursor::LAST).then(|| (bucket.to_owned(), Cursor { span, from }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_were_written() {
        for at in [Cursor::START, Cursor { span: 2, from: Some(Key::from_static(b"o/\x00\xff")) }] {
            assert_eq!(read_cursor(&write_cursor("photos", &at)), Some(("photos".to_owned(), at)));
        }
        for bad in ["", "a", "a/4/", "a/1/0", "a/1/zz", "a/x/00"] {
            assert_eq!(read_cursor(bad), None, "{bad}");
        }
    }
}
