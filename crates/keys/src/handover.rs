//! The sites that the root key is wrapped to, as the metadata knows them; and what another root key leaves for them.
//!
//! A row is only as good as who wrote it. So the root key vouches for each site, and the next one is wrapped to no other; and it
//! vouches for the wraps of the one that follows, since everybody can wrap a key of their own to a site: a site takes no other
//! by itself.

use aws_lc_rs::digest::{SHA256, digest};
use base::limits::BATCH_OPS_MAX;
use base::{Classify, ErrorKind, Rng};
use envelope::EnvelopeError;
use meta::record::{Record, RecordError, WrappedSiteRecord, key};
use meta::{Batch, Check, CommitError, Engine, MetaError, Range, Row, Write};

use crate::{Holds, KeyError, Keyring, RootKey, Seal, SealError, SiteError, SitePublic};

/// What a root key vouches for a site by.
const KNOWN: &[u8] = b"site/1";
/// What a root key vouches for the wrap of the next one by.
const VOUCHED: &[u8] = b"handover/1";
/// Sites that are listed at most. Each is a machine that somebody set up by hand.
const SITES_MAX: usize = 1000;

/// Why a site's row was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The metadata cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The metadata cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A row is damaged, or of a newer Holdfast.
    #[error("the site {name:?}: {source}")]
    Record {
        /// The site.
        name: String,
        /// What is wrong.
        source: RecordError,
    },
    /// A row holds no site.
    #[error("the site {name:?}: {source}")]
    Site {
        /// The site.
        name: String,
        /// What is wrong.
        source: SiteError,
    },
    /// Nobody who had the root key wrote this.
    #[error(
        "this root key does not know the site {name:?}: it is of another root key, or somebody else wrote it; remove it"
    )]
    Unknown {
        /// The site.
        name: String,
    },
    /// The root key was not wrapped.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The root key's name is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another machine has the name.
    #[error(
        "there is another site {name:?}, with the fingerprint {fingerprint}; remove it first if this one takes its place"
    )]
    Taken {
        /// The name.
        name: String,
        /// Of the one that has it.
        fingerprint: String,
    },
    /// The same machine has another name.
    #[error("this site is there already, by the name {name:?}")]
    Again {
        /// Its name.
        name: String,
    },
    /// More than are taken.
    #[error("there are {SITES_MAX} sites already; remove those that are gone")]
    TooMany,
}

impl Classify for HandoverError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Meta(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Record { .. } | Self::Site { .. } | Self::Unknown { .. } => ErrorKind::Corrupt,
            Self::Seal(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Taken { .. } | Self::Again { .. } | Self::TooMany => ErrorKind::Conflict,
        }
    }
}

impl From<EnvelopeError> for HandoverError {
    fn from(error: EnvelopeError) -> Self {
        Self::Key(KeyError::Wrong(error))
    }
}

/// A site that the root key is wrapped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedSite {
    /// Its name and public key.
    pub public: SitePublic,
    /// Milliseconds since the Unix epoch when the root key was wrapped to it last.
    pub wrapped_ms: u64,
    /// The name of the root key that was.
    pub root: String,
    /// The text of its root key file.
    pub wrap: String,
}

/// All sites, by name.
///
/// # Errors
/// [`HandoverError`]; also where a row is damaged: a site that is left out of a list would be trusted and not known.
pub async fn wrapped_sites(engine: &dyn Engine) -> Result<Vec<WrappedSite>, HandoverError> {
    let rows = rows(engine).await?;
    rows.into_iter()
        .map(|(name, _, record)| {
            let WrappedSiteRecord { public, wrapped_ms, root, wrap, .. } = record;
            let public = SitePublic::new(&name, &public).map_err(|source| HandoverError::Site { name, source })?;
            Ok(WrappedSite { public, wrapped_ms, root, wrap })
        })
        .collect()
}

async fn rows(engine: &dyn Engine) -> Result<Vec<(String, Row, WrappedSiteRecord)>, HandoverError> {
    let (from, to) = key::wrapped_sites();
    let page = engine.range(Range { from, to, limit: SITES_MAX }).await?;
    if page.more {
        return Err(HandoverError::TooMany);
    }
    let decoded = page.rows.into_iter().map(|(row_key, row)| {
        let name = key::wrapped_site_of(&row_key).unwrap_or_default().to_owned();
        match WrappedSiteRecord::decode(&row.value) {
            Ok(record) => Ok((name, row, record)),
            Err(source) => Err(HandoverError::Record { name, source }),
        }
    });
    decoded.collect()
}

/// Wraps the root key to a site and remembers the site. Gives the text of the site's root key file.
///
/// # Errors
/// [`HandoverError`].
pub async fn wrap_to(
    engine: &dyn Engine,
    root: &RootKey,
    site: &SitePublic,
    rng: &dyn Rng,
    now_ms: u64,
) -> Result<String, HandoverError> {
    let there = rows(engine).await?;
    let mut version = None;
    for (name, row, record) in &there {
        if name == site.name() && record.public != site.key() {
            let fingerprint = hex::encode(digest(&SHA256, &record.public).as_ref());
            return Err(HandoverError::Taken { name: name.clone(), fingerprint });
        }
        if name != site.name() && record.public == site.key() {
            return Err(HandoverError::Again { name: name.clone() });
        }
        if name == site.name() {
            version = Some(row.version);
        }
    }
    if version.is_none() && there.len() + 1 >= SITES_MAX {
        return Err(HandoverError::TooMany);
    }
    let wrap = site.seal().seal_as(Holds::Root, root, rng)?.to_string();
    let record = WrappedSiteRecord {
        public: site.key().to_vec(),
        wrapped_ms: now_ms,
        root: Keyring::of(root).audit_name()?,
        wrap: wrap.clone(),
        known: root.kek().verifier(&known(site.name(), site.key()))?.to_vec(),
        vouched: None,
    };
    let row_key = key::wrapped_site_key(site.name());
    let checks = vec![Check::unchanged(row_key.clone(), version)];
    engine.commit(Batch { checks, writes: vec![Write::Put(row_key, record.encode())] }).await?;
    Ok(wrap)
}

/// Forgets a site: the next root key is not wrapped to it. Tells whether there was one.
///
/// # Errors
/// [`HandoverError`].
pub async fn forget_site(engine: &dyn Engine, name: &str) -> Result<bool, HandoverError> {
    let row_key = key::wrapped_site_key(name);
    let there = engine.get(std::slice::from_ref(&row_key)).await?.into_iter().flatten().next();
    let Some(row) = there else { return Ok(false) };
    let checks = vec![Check::Is(row_key.clone(), row.version)];
    engine.commit(Batch { checks, writes: vec![Write::Delete(row_key)] }).await?;
    Ok(true)
}

/// Wraps the root key that follows to all sites that the old one knows, for the old one to vouch for. Done again after a crash
/// it does what is left. With `dry_run` nothing is written. Gives the names of the sites.
///
/// # Errors
/// [`HandoverError`]; [`HandoverError::Unknown`] before anything is written.
pub async fn hand_over(
    engine: &dyn Engine,
    old: &RootKey,
    new: &RootKey,
    rng: &dyn Rng,
    now_ms: u64,
    dry_run: bool,
) -> Result<Vec<String>, HandoverError> {
    let (mut names, mut batches, mut batch) = (Vec::new(), Vec::new(), Batch::default());
    let (old_kek, new_kek, root) = (old.kek(), new.kek(), Keyring::of(new).audit_name()?);
    for (name, row, record) in rows(engine).await? {
        let failed = |source| HandoverError::Site { name: name.clone(), source };
        let site = SitePublic::new(&name, &record.public).map_err(failed)?;
        let context = known(&name, &record.public);
        names.push(name.clone());
        if new_kek.is_verified_by(&context, &record.known) {
            // By a run before.
            continue;
        }
        if !old_kek.is_verified_by(&context, &record.known) {
            return Err(HandoverError::Unknown { name });
        }
        let wrap = site.seal().seal_as(Holds::Root, new, rng)?.to_string();
        let next = WrappedSiteRecord {
            wrapped_ms: now_ms,
            root: root.clone(),
            known: new_kek.verifier(&context)?.to_vec(),
            vouched: Some(old_kek.verifier(&vouched(&record.public, &wrap))?.to_vec()),
            public: record.public,
            wrap,
        };
        let row_key = key::wrapped_site_key(&name);
        batch.checks.push(Check::Is(row_key.clone(), row.version));
        batch.writes.push(Write::Put(row_key, next.encode()));
        // Of some 6 KiB each.
        if batch.writes.len() >= BATCH_OPS_MAX / 4 {
            batches.push(std::mem::take(&mut batch));
        }
    }
    batches.push(batch);
    if dry_run {
        return Ok(names);
    }
    for batch in batches.into_iter().filter(|batch| !batch.writes.is_empty()) {
        engine.commit(batch).await?;
    }
    Ok(names)
}

/// The wrap that a rotation left for a site whose root key is `old`; nothing where the metadata knows no other root key for
/// it, or no such site.
///
/// # Errors
/// [`HandoverError`].
pub async fn inherited(
    engine: &dyn Engine,
    old: &RootKey,
    fingerprint: &str,
) -> Result<Option<Inherited>, HandoverError> {
    let ours = Keyring::of(old).audit_name()?;
    let found = rows(engine)
        .await?
        .into_iter()
        .find(|(_, _, record)| hex::encode(digest(&SHA256, &record.public)) == fingerprint);
    let Some((name, _, record)) = found.filter(|(_, _, record)| record.root != ours) else { return Ok(None) };
    let context = vouched(&record.public, &record.wrap);
    let takes = record.vouched.as_ref().is_some_and(|vouched| old.kek().is_verified_by(&context, vouched));
    Ok(Some(Inherited { name, root: record.root, wrap: takes.then_some(record.wrap) }))
}

/// Another root key than a site has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// The site's name.
    pub name: String,
    /// The name of the root key.
    pub root: String,
    /// The text of the site's next root key file, if the root key that it has vouches for it.
    pub wrap: Option<String>,
}

fn known(name: &str, public: &[u8]) -> Vec<u8> {
    [KNOWN, digest(&SHA256, public).as_ref(), name.as_bytes()].concat()
}

fn vouched(public: &[u8], wrap: &str) -> Vec<u8> {
    [VOUCHED, digest(&SHA256, public).as_ref(), digest(&SHA256, wrap.as_bytes()).as_ref()].concat()
}

#[cfg(test)]
mod tests;
