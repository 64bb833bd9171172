//! Making the rows anew from the sites: the newest whole checkpoint, and what the journal says since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base::GatewayId;
use bytes::Bytes;
use envelope::Dek;
use keys::Keyring;
use meta::record::key;
use meta::{Batch, Check, Engine, Key, Version, Write};
use sites::{Site, SiteError};

use super::entry::{
    CHECKPOINTS, End, Entry, Intent, JOURNAL, Outcome, StoredRow, end_name, entry_name, open, parse_entry_name,
    parse_piece_name, piece_name,
};
use super::{Names, PAGE, is_of_the_moment};

/// Rows written in one batch, and bytes of them, about.
const BATCH_ROWS: usize = 50;
const BATCH_BYTES: usize = 200 * 1024;
/// Bytes of one piece or entry, at most: what is larger was not put here by us.
const PIECE_MAX: u64 = 64 << 20;

/// Why there is nothing to make rows of.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Fewer than three sites can be read.
    #[error("{readable} of the five sites can be read, and it takes three: {trouble}")]
    TooFewSites {
        /// How many.
        readable: usize,
        /// What the others say.
        trouble: String,
    },
    /// There is neither a checkpoint nor a journal from the beginning on that opens.
    #[error("there is nothing at the sites that opens with this root key")]
    Nothing,
    /// Something that must be there is at no site that answers.
    #[error("{missing} is at none of the sites that answer, and what it says was done: bring more of them back")]
    Missing {
        /// Its name.
        missing: String,
    },
    /// The engine for the rows.
    #[error(transparent)]
    Meta(#[from] meta::MetaError),
    /// The engine for the rows.
    #[error(transparent)]
    Commit(#[from] meta::CommitError),
    /// There are rows already.
    #[error("the metadata that would be made anew are not empty")]
    NotEmpty,
    /// The root key.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
}

/// What was found, and made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Sites that were read.
    pub sites: usize,
    /// The checkpoint that it began with; `None`: the journal from its beginning on.
    pub checkpoint: Option<u64>,
    /// Rows in that.
    pub checkpoint_rows: u64,
    /// Entries of the journal.
    pub entries: u64,
    /// Batches that were done, as the journal knows.
    pub batches: u64,
    /// Batches of which it does not know, whose conditions held: taken as done.
    pub taken: u64,
    /// Those whose conditions did not hold: nothing of them is there.
    pub left: u64,
    /// Changes that were made, and are at none of the sites that answered; none unless they are left.
    pub missing: u64,
    /// Rows made.
    pub rows: u64,
}

/// A row as it is made anew.
#[derive(Debug, Clone)]
struct Made {
    value: Option<Bytes>,
    version: u128,
    /// Where it was written by a batch of which the journal knew no end: the version before that, which the real one exceeds.
    guessed_after: Option<u128>,
}

/// The rows so far. Pure.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<Key, Made>,
}

impl Rows {
    /// What was written with a version that is known: the larger one wins.
    fn write(&mut self, key: Key, value: Option<Bytes>, version: u128) {
        let made = Made { value, version, guessed_after: None };
        match self.rows.get_mut(&key) {
            Some(known) if known.version >= version => {}
            Some(known) => *known = made,
            None => drop(self.rows.insert(key, made)),
        }
    }

    fn holds(&self, check: &Check) -> bool {
        let there = |key: &Key| self.rows.get(key).filter(|made| made.value.is_some());
        match check {
            Check::Absent(key) => there(key).is_none(),
            Check::Present(key) => there(key).is_some(),
            // A version that is larger than the last one known was read of the row as a batch without an end had written it.
            Check::Is(key, Version(version)) => there(key).is_some_and(|made| {
                made.version == *version || made.guessed_after.is_some_and(|before| *version > before)
            }),
            Check::Empty(from, to) if from < to => {
                !self.rows.range::<Key, _>(from..to).any(|(_, made)| made.value.is_some())
            }
            Check::Empty(..) => true,
        }
    }

    /// A batch of which the journal knows no end is taken as done if it could be.
    fn take(&mut self, batch: &Batch, version: u128) -> bool {
        // That its writer lived then: it may have been taken for dead since.
        let of_rows =
            batch.checks.iter().filter(|check| !matches!(check, Check::Present(key) if is_of_the_moment(key)));
        if !of_rows.into_iter().all(|check| self.holds(check)) {
            return false;
        }
        for write in &batch.writes {
            let (key, value) = match write {
                Write::Put(key, value) => (key.clone(), Some(value.clone())),
                Write::Delete(key) => (key.clone(), None),
            };
            let before = self.rows.get(&key).map_or(0, |made| made.guessed_after.unwrap_or(made.version));
            self.rows.insert(key, Made { value, version, guessed_after: Some(before) });
        }
        true
    }

    /// Tries batches without an end in the order of their times, again and again while one of them can be done.
    fn take_all(&mut self, mut open: Vec<Intent>) -> (u64, u64) {
        open.sort_by_key(|intent| (intent.now_ms, intent.number));
        let mut open: Vec<Batch> = open.into_iter().map(Intent::batch).collect();
        let mut guess = u128::MAX / 2;
        let mut taken = 0;
        loop {
            let before = open.len();
            open.retain(|batch| {
                guess += 1;
                !self.take(batch, guess)
            });
            taken += (before - open.len()) as u64;
            if open.len() == before {
                return (taken, before as u64);
            }
        }
    }
}

/// What the checkpoint says of the journal.
#[derive(Default)]
struct Base {
    era: u64,
    floor: u128,
    began_ms: u64,
    marks: HashMap<GatewayId, u64>,
}

/// Clocks of gateways may be so far apart before they notice themselves, and more.
const CLOCKS_APART_MS: u64 = 600_000;

/// What one writer told. Pure.
#[derive(Default)]
struct Told {
    /// With the sequence of its entry, by its number.
    intents: BTreeMap<u64, (u64, Intent)>,
    outcomes: Vec<Outcome>,
}

/// What became of it, beside what is in the checkpoint.
#[derive(Default)]
struct Ended {
    /// Done, with their versions.
    known: Vec<(u128, Intent)>,
    /// Nobody said.
    open: Vec<Intent>,
    /// Done, and what they were is not to be had.
    missing: u64,
}

impl Told {
    fn add(&mut self, sequence: u64, entry: Entry) {
        self.intents.extend(entry.intents.into_iter().map(|intent| (intent.number, (sequence, intent))));
        self.outcomes.extend(entry.outcomes);
    }

    /// `mark`: up to which entry everything was settled when the checkpoint was made, if it knew of the writer.
    fn end(mut self, base: &Base, mark: Option<u64>) -> Ended {
        let mut ended = Ended::default();
        let mut told = HashSet::new();
        let mut lived = false;
        for Outcome { number, version } in self.outcomes {
            // An entry that too few sites had may be told of twice.
            if !told.insert(number) {
                continue;
            }
            let intent = self.intents.remove(&number);
            let Some(version) = version.filter(|version| *version > base.floor) else { continue };
            lived = true;
            match intent {
                Some((_, intent)) => ended.known.push((version, intent)),
                None => ended.missing += 1,
            }
        }
        // An old process, whose entries came back with a site that was away: what it did is long in the rows, or was undone.
        let is_old = |intent: &Intent| !lived && intent.now_ms.saturating_add(CLOCKS_APART_MS) < base.began_ms;
        let open = self.intents.into_values().filter(|(sequence, _)| mark.is_none_or(|mark| *sequence > mark));
        ended.open = open.map(|(_, intent)| intent).filter(|intent| !is_old(intent)).collect();
        ended
    }
}

/// What lies at the sites.
struct Found<'a> {
    sites: Vec<&'a Arc<dyn Site>>,
    dek: Dek,
    checkpoints: BTreeMap<u64, bool>,
    journals: BTreeMap<GatewayId, Vec<u64>>,
}

impl Found<'_> {
    /// What lies under a name, from the first site whose copy opens.
    async fn read<T: for<'de> serde::Deserialize<'de>>(&self, name: &str) -> Option<T> {
        for site in &self.sites {
            let Ok(size) = site.size(name).await else { continue };
            if size == 0 || size > PIECE_MAX {
                continue;
            }
            let Ok(sealed) = site.get(name, 0..size).await else { continue };
            match open(&self.dek, name, &sealed) {
                Ok(record) => return Some(record),
                Err(error) => tracing::warn!(name, %error, "a site's copy is passed over"),
            }
        }
        None
    }

    /// The newest checkpoint of which every piece is there.
    async fn newest(&self, rows: &mut Rows) -> Option<(u64, End)> {
        for number in self.checkpoints.iter().rev().filter(|(_, is_whole)| **is_whole).map(|(number, _)| *number) {
            let Some(end) = self.read::<End>(&end_name(number)).await else { continue };
            let mut made = Rows::default();
            let mut pieces = 0;
            while pieces < end.pieces {
                let Some(piece) = self.read::<Vec<StoredRow>>(&piece_name(number, pieces)).await else { break };
                piece.into_iter().for_each(|row| made.write(row.key.into(), Some(row.value.into()), row.version));
                pieces += 1;
            }
            if pieces == end.pieces {
                *rows = made;
                return Some((number, end));
            }
            tracing::warn!(number, "a checkpoint is not whole; the one before it is tried");
        }
        None
    }
}

/// Reads all of it from the sites, and writes the rows to `engine`, which must be empty; without one it is a dry run. `leave_missing`: goes
/// on without changes that are at no site that answers.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild(
    sites: &[Arc<dyn Site>],
    keyring: &Keyring,
    engine: Option<&dyn Engine>,
    leave_missing: bool,
    mut progress: impl FnMut(&str, u64),
) -> Result<Rebuilt, RebuildError> {
    let found = look(sites, keyring).await?;
    let mut rows = Rows::default();
    let mut done = Rebuilt { sites: found.sites.len(), ..Rebuilt::default() };
    let newest = found.newest(&mut rows).await;
    let base = newest.as_ref().map(|(_, end)| Base {
        era: end.era,
        floor: end.floor,
        began_ms: end.began_ms,
        marks: end.journals.iter().copied().collect(),
    });
    let base = base.unwrap_or_default();
    if let Some((number, end)) = newest {
        (done.checkpoint, done.checkpoint_rows) = (Some(number), end.rows);
        progress("rows of the checkpoint", end.rows);
    }
    let mut newest_era = base.era;
    let mut known: Vec<(u128, Intent)> = Vec::new();
    let mut open: Vec<Intent> = Vec::new();
    for (writer, sequences) in &found.journals {
        let mut told = Told::default();
        for sequence in sequences {
            // One that opens nowhere is missed if a later one says that it was done.
            let Some(entry) = found.read::<Entry>(&entry_name(*writer, *sequence)).await else { continue };
            if entry.era < base.era {
                continue;
            }
            newest_era = newest_era.max(entry.era);
            done.entries += 1;
            progress("entries of the journal", done.entries);
            told.add(*sequence, entry);
        }
        let ended = told.end(&base, base.marks.get(writer).copied());
        if ended.missing > 0 && !leave_missing {
            return Err(RebuildError::Missing { missing: format!("{JOURNAL}{writer}, {} changes", ended.missing) });
        }
        done.missing += ended.missing;
        known.extend(ended.known);
        open.extend(ended.open);
    }
    known.sort_by_key(|(version, intent)| (*version, intent.number));
    done.batches = known.len() as u64;
    for (version, intent) in known {
        for write in intent.batch().writes {
            match write {
                Write::Put(key, value) => rows.write(key, Some(value), version),
                Write::Delete(key) => rows.write(key, None, version),
            }
        }
    }
    if done.checkpoint.is_none() && done.batches == 0 && open.is_empty() {
        return Err(RebuildError::Nothing);
    }
    let era = newest_era.saturating_add(1);
    (done.taken, done.left) = rows.take_all(open);
    rows.rows.insert(key::era_key(), Made { value: Some(key::era_value(era)), version: 0, guessed_after: None });
    let made: Vec<(Key, Bytes)> = rows
        .rows
        .into_iter()
        .filter_map(|(key, made)| Some((key, made.value?)))
        .filter(|(key, _)| !is_of_the_moment(key))
        .collect();
    done.rows = made.len() as u64;
    if let Some(engine) = engine {
        write(engine, made, &mut progress).await?;
    }
    Ok(done)
}

/// The row that keeps a server from starting on rows that are not whole, as for a migration, and what it says.
pub const UNFINISHED: Key = Key::from_static(b"\0migration");
const REBUILD: Bytes = Bytes::from_static(b"rebuild");

async fn look<'a>(sites: &'a [Arc<dyn Site>], keyring: &Keyring) -> Result<Found<'a>, RebuildError> {
    let mut found = Found {
        sites: Vec::new(),
        dek: keyring.journal_key()?,
        checkpoints: BTreeMap::new(),
        journals: BTreeMap::new(),
    };
    let mut trouble = Vec::new();
    for site in sites {
        let listed = async { Ok::<_, SiteError>((list(site, CHECKPOINTS).await?, list(site, JOURNAL).await?)) };
        match listed.await {
            Ok((pieces, entries)) => {
                found.sites.push(site);
                for (number, is_end) in pieces.iter().filter_map(|name| parse_piece_name(name)) {
                    *found.checkpoints.entry(number).or_default() |= is_end;
                }
                for (writer, sequence) in entries.iter().filter_map(|name| parse_entry_name(name)) {
                    found.journals.entry(writer).or_default().push(sequence);
                }
            }
            Err(error) => trouble.push(error.to_string()),
        }
    }
    if found.sites.len() < super::COPIES {
        return Err(RebuildError::TooFewSites { readable: found.sites.len(), trouble: trouble.join("; ") });
    }
    for sequences in found.journals.values_mut() {
        sequences.sort_unstable();
        sequences.dedup();
    }
    Ok(found)
}

async fn list(site: &Arc<dyn Site>, prefix: &str) -> Result<Vec<String>, SiteError> {
    let mut names = Names::default();
    while names.take(site.list(prefix, names.last(), PAGE).await?) {}
    Ok(names.0)
}

async fn write(
    engine: &dyn Engine,
    rows: Vec<(Key, Bytes)>,
    progress: &mut impl FnMut(&str, u64),
) -> Result<(), RebuildError> {
    let marker = engine.get(&[UNFINISHED]).await?.pop().flatten();
    let all = meta::Range { from: Key::new(), to: Key::from_static(&[0xff]), limit: 1 };
    // One that was cut off puts the same rows again.
    if marker.is_none_or(|marker| marker.value != REBUILD) && !engine.range(all).await?.rows.is_empty() {
        return Err(RebuildError::NotEmpty);
    }
    let begun = Batch { checks: vec![], writes: vec![Write::Put(UNFINISHED, REBUILD)] };
    engine.commit(begun).await?;
    let mut batch = Batch::default();
    let (mut bytes, mut written) = (0, 0);
    for (key, value) in rows {
        bytes += key.len() + value.len();
        batch.writes.push(Write::Put(key, value));
        written += 1;
        if batch.writes.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
            engine.commit(std::mem::take(&mut batch)).await?;
            bytes = 0;
            progress("rows written", written);
        }
    }
    batch.writes.push(Write::Delete(UNFINISHED));
    Ok(engine.commit(batch).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Key {
        Key::from_static(text.as_bytes())
    }

    fn put(text: &'static str) -> Vec<Write> {
        vec![Write::Put(key(text), Bytes::from_static(b"new"))]
    }

    fn intent(number: u64, now_ms: u64, checks: Vec<Check>, writes: Vec<Write>) -> Intent {
        Intent::of(number, now_ms, &Batch { checks, writes }, 0)
    }

    #[test]
    fn of_two_that_wrote_a_row_the_later_one_counts_whichever_is_read_first() {
        for order in [[3, 5], [5, 3]] {
            let mut rows = Rows::default();
            for version in order {
                rows.write(key("a"), Some(Bytes::from(version.to_string())), version);
            }
            rows.write(key("b"), Some(Bytes::from_static(b"b")), 4);
            rows.write(key("b"), None, 6);
            assert_eq!(rows.rows[&key("a")].value.as_deref(), Some(&b"5"[..]));
            assert!(rows.rows[&key("b")].value.is_none(), "a deletion is remembered against older writes");
        }
    }

    #[test]
    fn what_has_no_end_is_taken_as_far_as_its_conditions_hold() {
        let mut rows = Rows::default();
        rows.write(key("a"), Some(Bytes::new()), 7);
        rows.write(key("elsewhere"), Some(Bytes::new()), 12);
        let open = vec![
            // Builds on what the next one writes; its row's version was larger than the last one known.
            intent(4, 40, vec![Check::Is(key("b"), Version(9))], put("c")),
            intent(3, 30, vec![Check::Is(key("a"), Version(7)), Check::Absent(key("b"))], put("b")),
            // Another one made it first, or it failed: nobody can tell, and it does not hold.
            intent(5, 50, vec![Check::Absent(key("b"))], put("b")),
            intent(6, 60, vec![Check::Is(key("a"), Version(6))], put("z")),
            intent(7, 70, vec![Check::Empty(key("x"), key("y"))], put("x")),
            // Its writer is out by now.
            intent(8, 80, vec![Check::Present(key::gateway_key(base::GatewayId::from_bytes([1; 16])))], put("w")),
        ];
        assert_eq!(rows.take_all(open), (4, 2));
        assert!(["a", "b", "c", "w", "x"].iter().all(|there| rows.rows[&Key::from(*there)].value.is_some()));
        assert!(!rows.rows.contains_key(&key("z")));
    }

    /// Numbers, the sequence of the entry, and when.
    fn told(intents: &[(u64, u64, u64)], outcomes: &[(u64, Option<u128>)]) -> Told {
        let intents = intents
            .iter()
            .map(|(number, sequence, now_ms)| (*number, (*sequence, intent(*number, *now_ms, vec![], put("k")))));
        let outcomes = outcomes.iter().map(|(number, version)| Outcome { number: *number, version: *version });
        Told { intents: intents.collect(), outcomes: outcomes.collect() }
    }

    #[test]
    fn what_is_in_the_checkpoint_is_not_done_again() {
        let base = Base { era: 0, floor: 100, began_ms: 10_000_000, marks: HashMap::new() };
        let numbers = |ended: &Ended| {
            let known: Vec<u64> = ended.known.iter().map(|(_, intent)| intent.number).collect();
            let open: Vec<u64> = ended.open.iter().map(|intent| intent.number).collect();
            (known, open, ended.missing)
        };
        let now = base.began_ms;
        for (what, told, mark, expected) in [
            (
                "old and new",
                told(&[(1, 1, now), (2, 2, now)], &[(1, Some(90)), (2, Some(110))]),
                None,
                (vec![2], vec![], 0),
            ),
            ("refused", told(&[(1, 1, now)], &[(1, None)]), None, (vec![], vec![], 0)),
            ("told twice", told(&[(1, 1, now)], &[(1, Some(110)), (1, Some(110))]), None, (vec![1], vec![], 0)),
            ("an entry is gone, and was in the checkpoint", told(&[], &[(1, Some(90))]), None, (vec![], vec![], 0)),
            ("an entry is gone", told(&[(2, 2, now)], &[(1, Some(101)), (2, Some(102))]), None, (vec![2], vec![], 1)),
            ("nobody said", told(&[(1, 1, now), (2, 2, now)], &[(1, Some(110))]), None, (vec![1], vec![2], 0)),
            (
                "settled when the checkpoint was made",
                told(&[(1, 1, now), (2, 2, now)], &[]),
                Some(1),
                (vec![], vec![2], 0),
            ),
            ("of a process that is long gone", told(&[(1, 1, 0)], &[]), None, (vec![], vec![], 0)),
            (
                "its clock is slow, and it lived",
                told(&[(1, 1, 0), (2, 2, 0)], &[(1, Some(110))]),
                None,
                (vec![1], vec![2], 0),
            ),
        ] {
            assert_eq!(numbers(&told.end(&base, mark)), expected, "{what}");
        }
    }
}
