//! `/v1/portions` and `/v1/portion-rules`: portions, their keys, what those open, and the rules that choose
//! portions. `?tenant=NAME` as for users.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use keys::quorum::receipt::ReceiptFile;
use keys::rules::{Choice, Rules, Subject};
use keys::{BUCKET_KEYS, CutOff, KeyVersion, NewPortion, PortionClass, PortionError, Switch, dashed};
use meta::record::{Maker, PortionState};
use serde::{Deserialize, Serialize};
use store::worker::RekeyProgress;
use store::{Error, Store};

use crate::App;
use crate::error::Failure;
use crate::home::{Home, by_root};
use crate::sites::Done;

/// Portions in one answer.
const PAGE: usize = 1000;
/// Parts in one answer of an exposure list, and steps made for it: an answer must not take long.
const EXPOSED_PAGE: (usize, usize) = (10_000, 200);

/// A portion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Portion {
    /// Unique in its tenant.
    pub name: String,
    /// The key's id, as the KMS API has it.
    pub id: String,
    /// `enabled`, `disabled`, `pending-shred` or `shredded`.
    pub state: String,
    /// When it will be, or was, shredded: milliseconds since the Unix epoch; absent where it will be at once.
    pub shred_ms: Option<u64>,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// The newest version of its key.
    pub version: u32,
    /// Days after which the key gets a new version in any case.
    pub rotation_days: u32,
    /// `sealed` or `quorum`: what the next versions of its key are like.
    pub class: PortionClass,
    /// How long it is read on at a gateway that cannot reach the metadata.
    #[serde(default = "strict")]
    pub cut_off: CutOff,
    /// Whether a rule made it.
    pub by_rule: bool,
    /// What its maker says of it.
    pub description: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// What servers did before they said so.
fn strict() -> CutOff {
    CutOff::Strict
}

/// Portions, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PortionPage {
    /// Some of them.
    pub portions: Vec<Portion>,
    /// What to ask with `after` for the rest; `None`: that was all.
    pub next: Option<String>,
}

/// A portion and the versions of its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PortionDetail {
    /// The portion.
    pub portion: Portion,
    /// Versions of its key, oldest first.
    pub versions: Vec<Version>,
    /// Whether parts are being moved to the newest version.
    pub rewrapping: bool,
    /// Whether its key has a policy other than the default one (`aws kms get-key-policy`).
    #[serde(default)]
    pub own_policy: bool,
    /// The rekey that is not finished.
    #[serde(default)]
    pub rekey: Option<Rekey>,
}

/// A rekey that is not finished.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Rekey {
    /// Parts whose DEKs were under versions below this one are sealed anew.
    pub below: u32,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Whether a pass has found nothing more.
    pub is_clean: bool,
    /// Parts sealed anew since the server started.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Parts of the tenant that the present pass, or the last one, has looked at.
    pub seen: u64,
}

/// A version of a portion's key.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Version {
    /// From 1.
    pub version: u32,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Parts, at most, that were sealed under it.
    pub parts: u64,
    /// Bytes, at most, that were sealed under it.
    pub bytes: u64,
    /// Whether something under it is kept by callers of the KMS API.
    pub given_out: bool,
    /// `sealed` or `quorum`.
    pub class: PortionClass,
    /// Of a version in shares: how many sites have one, of those that tell.
    pub shares: Option<usize>,
}

/// A portion to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakePortion {
    /// Unique in its tenant.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Where its key is kept.
    #[serde(default)]
    pub class: PortionClass,
    /// How long it is read on at a gateway that cannot reach the metadata.
    #[serde(default)]
    pub cut_off: CutOff,
}

/// A change of state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetPortion {
    /// Its key opens again.
    Enable,
    /// Its key opens nothing.
    Disable,
    /// It is shredded after so many days, 0 to 30.
    Shred(u32),
    /// It is not shredded.
    Keep,
    /// Its key's policy is the default one again.
    DefaultPolicy,
    /// It is read on so long at a gateway that cannot reach the metadata.
    CutOff(CutOff),
}

/// A rotation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// Whether parts under older versions move to the new one.
    pub rewrap: bool,
    /// What the new version, and those after it, are like.
    #[serde(default)]
    pub class: Option<PortionClass>,
}

/// A part that a key opens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExposedPart {
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The version id; `None` for a part of an open upload.
    pub version: Option<String>,
    /// Part number; 0 for a version of one part.
    pub part: u16,
    /// Plaintext bytes.
    pub bytes: u64,
    /// The version of the portion's key that it is under.
    pub key_version: u32,
}

/// Parts that a key opens. One may be told twice; a list that is to be exact is repeated until it tells nothing new, since
/// versions that move while it is made can be missed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExposurePage {
    /// Some of them.
    pub parts: Vec<ExposedPart>,
    /// Rows that could not be read: what is in them is not told.
    pub unreadable: u64,
    /// What to ask with `cursor` for the rest; `None`: that was all.
    pub next: Option<String>,
}

/// The rules, as they were put.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesDocument {
    /// JSON; `None`: none were put.
    pub document: Option<String>,
}

/// An object that may be written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRules {
    /// Rules to ask instead of those in force.
    pub document: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its content type.
    #[serde(default)]
    pub content_type: String,
}

type Answer<T> = Result<Json<T>, Failure>;

pub(crate) fn failed(error: PortionError) -> Error {
    Error::Portion(error)
}

fn told(portion: keys::Portion) -> Portion {
    let record = portion.record;
    let (state, shred_ms) = match record.state {
        PortionState::Enabled => ("enabled", None),
        PortionState::Disabled => ("disabled", None),
        PortionState::PendingShred(at_ms) => ("pending-shred", Some(at_ms).filter(|at_ms| *at_ms > 0)),
        PortionState::Shredded(at_ms) => ("shredded", Some(at_ms)),
    };
    Portion {
        name: record.name,
        id: dashed(portion.id),
        state: state.to_owned(),
        shred_ms,
        created_ms: record.created_ms,
        version: record.version,
        rotation_days: record.rotation_days,
        class: record.class,
        cut_off: record.cut_off,
        by_rule: record.made_by == Maker::Rule,
        description: record.description,
        tags: record.tags,
    }
}

async fn find(store: &Store, name: &str) -> Result<keys::Portion, Error> {
    store.portions().find(store.account(), name).await.map_err(failed)
}

#[derive(Deserialize)]
pub(crate) struct Page {
    after: Option<String>,
}

pub(crate) async fn list(Home(store): Home, Query(page): Query<Page>) -> Answer<PortionPage> {
    let after = page.after.as_deref().and_then(keys::parse_id);
    let (portions, more) = store.portions().list(store.account(), after, PAGE).await.map_err(failed)?;
    let next = portions.last().filter(|_| more).map(|last| dashed(last.id));
    Ok(Json(PortionPage { portions: portions.into_iter().map(told).collect(), next }))
}

pub(crate) async fn create(Home(store): Home, Json(new): Json<MakePortion>) -> Answer<Portion> {
    let MakePortion { name, description, class, cut_off } = new;
    let new = NewPortion { name: Some(name), description, class, cut_off, ..NewPortion::default() };
    let made = by_root(&store).create(store.account(), new, Maker::Customer).await.map_err(failed)?;
    Ok(Json(told(made)))
}

pub(crate) async fn get(Home(store): Home, Path(name): Path<String>) -> Answer<PortionDetail> {
    let portion = find(&store, &name).await?;
    let versions = store.portions().versions(portion.id).await.map_err(failed)?;
    let rewraps = store.portions().rewraps(store.account()).await.map_err(failed)?;
    let rewrapping = rewraps.iter().any(|(id, work)| *id == portion.id && !work.is_clean);
    let rekey = rewraps.iter().find(|(id, work)| *id == portion.id && work.reseal).map(|(id, work)| {
        let RekeyProgress { parts, bytes, seen } = store.rekey_progress(*id);
        Rekey { below: work.below, since_ms: work.since_ms, is_clean: work.is_clean, parts, bytes, seen }
    });
    let in_shares = versions.iter().any(|version| version.class == PortionClass::Quorum);
    let held =
        if in_shares { store.portions().shares_held(portion.id).await.map_err(failed)? } else { BTreeMap::new() };
    let version = |version: KeyVersion| {
        let KeyVersion { version, created_ms, parts, bytes, given_out, class, .. } = version;
        let shares = (class == PortionClass::Quorum).then(|| held.get(&version).copied().unwrap_or_default());
        Version { version, created_ms, parts, bytes, given_out, class, shares }
    };
    let versions = versions.into_iter().map(version).collect();
    let own_policy = !portion.record.policy.is_empty();
    Ok(Json(PortionDetail { portion: told(portion), versions, rewrapping, own_policy, rekey }))
}

pub(crate) async fn set(Home(store): Home, Path(name): Path<String>, Json(set): Json<SetPortion>) -> Answer<Portion> {
    let id = find(&store, &name).await?.id;
    let switch = match set {
        SetPortion::Enable => Switch::Enable,
        SetPortion::Disable => Switch::Disable,
        SetPortion::Shred(days) => Switch::Shred { days },
        SetPortion::Keep => Switch::KeepAfterAll,
        SetPortion::DefaultPolicy => {
            let put = by_root(&store).put_key_policy(store.account(), id, "").await.map_err(failed)?;
            return Ok(Json(told(put)));
        }
        SetPortion::CutOff(cut_off) => {
            let set = by_root(&store).set_cut_off(store.account(), id, cut_off).await.map_err(failed)?;
            return Ok(Json(told(set)));
        }
    };
    if switch == (Switch::Shred { days: 0 }) {
        // The cluster's root asks, whosever the portion is: it must not be the second person, too.
        let who = store.of(base::AccountId::DEFAULT).root_of_account().who();
        store.portions().second_person(store.account(), id, &who).await.map_err(failed)?;
    }
    let set = by_root(&store).switch(store.account(), id, switch).await.map_err(failed)?;
    if switch == (Switch::Shred { days: 0 }) {
        store.wake_rewrap();
    }
    Ok(Json(told(set)))
}

pub(crate) async fn rotate(Home(store): Home, Path(name): Path<String>, Json(rotate): Json<Rotate>) -> Answer<Portion> {
    let id = find(&store, &name).await?.id;
    let rotated = by_root(&store).rotate_as(store.account(), id, rotate.rewrap, rotate.class).await.map_err(failed)?;
    if rotate.rewrap {
        store.wake_rewrap();
    }
    Ok(Json(told(rotated)))
}

pub(crate) async fn receipts(Home(store): Home, Path(name): Path<String>) -> Answer<ReceiptFile> {
    let id = find(&store, &name).await?.id;
    Ok(Json(store.portions().receipts(store.account(), id).await.map_err(failed)?))
}

/// By the key's id alone: of a tenant that was deleted, too, which no name finds any more.
pub(crate) async fn receipts_of_key(State(app): State<App>, Path(id): Path<String>) -> Answer<ReceiptFile> {
    let id = keys::parse_id(&id).ok_or_else(|| failed(PortionError::NoSuchPortion(id)))?;
    Ok(Json(app.store.portions().receipts_of_key(id).await.map_err(failed)?))
}

pub(crate) async fn rekey(Home(store): Home, Path(name): Path<String>) -> Answer<Portion> {
    let id = find(&store, &name).await?.id;
    let rekeyed = by_root(&store).rekey(store.account(), id).await.map_err(failed)?;
    store.wake_rewrap();
    Ok(Json(told(rekeyed)))
}

#[derive(Deserialize)]
pub(crate) struct Exposure {
    version: Option<u32>,
    cursor: Option<String>,
}

pub(crate) async fn exposure(
    Home(store): Home,
    Path(name): Path<String>,
    Query(asked): Query<Exposure>,
) -> Answer<ExposurePage> {
    let id = find(&store, &name).await?.id;
    let mut page = ExposurePage { parts: Vec::new(), unreadable: 0, next: asked.cursor };
    for _ in 0..EXPOSED_PAGE.1 {
        let step = store.exposure(id, asked.version, page.next.as_deref()).await?;
        page.parts.extend(step.parts.into_iter().map(|part| ExposedPart {
            bucket: part.bucket,
            key: part.key,
            version: part.version.map(|version| version.to_string()),
            part: part.part,
            bytes: part.bytes,
            key_version: part.key_version,
        }));
        page.unreadable += step.unreadable;
        page.next = step.next;
        if page.next.is_none() || page.parts.len() >= EXPOSED_PAGE.0 {
            break;
        }
    }
    Ok(Json(page))
}

pub(crate) async fn rules(Home(store): Home) -> Answer<RulesDocument> {
    let document = store.portions().rules(store.account()).await.map_err(failed)?;
    Ok(Json(RulesDocument { document }))
}

pub(crate) async fn put_rules(Home(store): Home, Json(rules): Json<RulesDocument>) -> Answer<Done> {
    let document = rules.document.unwrap_or_else(|| r#"{"rules": []}"#.to_owned());
    by_root(&store).put_rules(store.account(), &document).await.map_err(failed)?;
    Ok(Json(Done {}))
}

pub(crate) async fn test_rules(Home(store): Home, Json(test): Json<TestRules>) -> Answer<Choice> {
    let TestRules { document, bucket, key, tags, content_type } = test;
    let subject = Subject { bucket: &bucket, key: &key, tags: &tags, content_type: &content_type };
    let choice = match document {
        Some(document) => Rules::parse(&document).map_err(|error| failed(error.into()))?.choose(&subject),
        None => store.portions().chosen_by(store.account()).await.map_err(failed)?.choose(&subject),
    };
    Ok(Json(choice))
}

/// Whether parts under buckets' keys are being moved to portions.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Migration {
    /// They are, or will be within a minute.
    pub running: bool,
}

pub(crate) async fn migrate(Home(store): Home) -> Answer<Migration> {
    by_root(&store).migrate(store.account()).await.map_err(failed)?;
    store.wake_rewrap();
    Ok(Json(Migration { running: true }))
}

pub(crate) async fn migration(Home(store): Home) -> Answer<Migration> {
    let rewraps = store.portions().rewraps(store.account()).await.map_err(failed)?;
    Ok(Json(Migration { running: rewraps.iter().any(|(id, _)| *id == BUCKET_KEYS) }))
}
