//! `/v1/buckets/{bucket}/scan`: what a bucket does about malware; and what of it is kept back.

use axum::Json;
use axum::extract::{Path, Query};
use serde::{Deserialize, Serialize};
use store::api::{ListRequest, ScanMode, ScanRules, VersionMarker};

use crate::error::Failure;
use crate::home::Home;

/// Versions looked at for one answer.
const LOOKED_AT: usize = 1000;

/// What a bucket does about malware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketScan {
    /// When a version is looked at, and what follows.
    pub mode: BucketScanMode,
    /// What could not be looked at as a whole is treated as clean.
    #[serde(default)]
    pub allow_incomplete: bool,
    /// With `block`: what cannot be looked at now is stored and kept back, instead of being refused.
    #[serde(default)]
    pub defer: bool,
}

/// When a version is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BucketScanMode {
    /// Before it is stored: what is infected is not.
    Block,
    /// Once it is stored; nobody reads it before.
    Quarantine,
    /// Once it is stored; readers are told.
    Advise,
    /// It is not.
    Off,
}

/// A version that is not known to be clean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclean {
    /// The object's key.
    pub key: String,
    /// The version's id.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// `infected`, `incomplete` or `pending`.
    pub state: String,
    /// What was found, or why it could not be looked at.
    pub details: String,
    /// It is given out all the same.
    pub released: bool,
}

/// Versions that are not known to be clean, of those that were looked at for this answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncleanPage {
    /// In the order of keys.
    pub versions: Vec<Unclean>,
    /// The last version that was looked at, to go on after; `None`: that was all.
    pub next: Option<LastSeen>,
}

/// A version that a listing ended with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// The object's key.
    pub after: String,
    /// The version's id.
    pub version: Option<String>,
}

/// Which version is given out, or no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseUnclean {
    /// The object's key.
    pub key: String,
    /// The version; `None`: the newest one.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether it is given out.
    pub released: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Paging {
    after: Option<String>,
    version: Option<String>,
}

impl From<ScanRules> for BucketScan {
    fn from(rules: ScanRules) -> Self {
        let mode = match rules.mode {
            ScanMode::Block => BucketScanMode::Block,
            ScanMode::Quarantine => BucketScanMode::Quarantine,
            ScanMode::Advise => BucketScanMode::Advise,
            ScanMode::Off => BucketScanMode::Off,
        };
        Self { mode, allow_incomplete: rules.allow_incomplete, defer: rules.defer }
    }
}

impl From<BucketScan> for ScanRules {
    fn from(set: BucketScan) -> Self {
        let mode = match set.mode {
            BucketScanMode::Block => ScanMode::Block,
            BucketScanMode::Quarantine => ScanMode::Quarantine,
            BucketScanMode::Advise => ScanMode::Advise,
            BucketScanMode::Off => ScanMode::Off,
        };
        Self { mode, allow_incomplete: set.allow_incomplete, defer: set.defer }
    }
}

pub(crate) async fn bucket(Home(store): Home, Path(bucket): Path<String>) -> Result<Json<BucketScan>, Failure> {
    Ok(Json(store.bucket_state(&bucket).await?.scan.into()))
}

pub(crate) async fn set_bucket(
    Home(store): Home,
    Path(bucket): Path<String>,
    Json(set): Json<BucketScan>,
) -> Result<Json<BucketScan>, Failure> {
    store.set_scan_rules(&bucket, set.into()).await?;
    Ok(Json(set))
}

pub(crate) async fn list(
    Home(store): Home,
    Path(bucket): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<UncleanPage>, Failure> {
    let request = ListRequest { limit: LOOKED_AT, ..ListRequest::default() };
    let version = paging.version.as_deref().map(str::parse).transpose();
    let version = version.map_err(|_| store::Error::Invalid("that is no version id"))?;
    let marker = paging.after.map(|key| VersionMarker { key, version });
    let page = store.list_versions(&bucket, &request, marker.as_ref()).await?;
    let next = page.next.map(|next| LastSeen { after: next.key, version: next.version.map(|id| id.to_string()) });
    let mut told = UncleanPage { versions: vec![], next };
    for version in page.versions.iter().filter(|version| !version.marker) {
        let (key, id) = (&version.info.key, version.info.version);
        let found = match store.head(&bucket, key, Some(id)).await {
            Ok(info) => info,
            // Gone since it was listed.
            Err(store::Error::NoSuchKey | store::Error::NoSuchVersion | store::Error::DeleteMarker { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(scan) = found.scan.filter(|scan| scan.word() != "clean") else { continue };
        told.versions.push(Unclean {
            key: key.clone(),
            version: id.to_string(),
            size: found.size,
            state: scan.word().to_owned(),
            details: scan.verdict.as_ref().map(ToString::to_string).unwrap_or_default(),
            released: scan.released,
        });
    }
    Ok(Json(told))
}

pub(crate) async fn release(
    Home(store): Home,
    Path(bucket): Path<String>,
    Json(asked): Json<ReleaseUnclean>,
) -> Result<Json<BucketScan>, Failure> {
    let id = asked.version.as_deref().map(str::parse).transpose();
    let id = id.map_err(|_| store::Error::Invalid("that is no version id"))?;
    store.release_unclean(&bucket, &asked.key, id, asked.released).await?;
    Ok(Json(store.bucket_state(&bucket).await?.scan.into()))
}
