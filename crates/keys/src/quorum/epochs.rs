//! A site's epoch keys, and the key that it signs with: a file apart from the site (`docs/spec/quorum.md`).
//!
//! The file is replaced as a whole. The one before is overwritten and removed before a change counts as done; what a crash left of
//! that is finished at the next start and before the next change.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as Io, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Rng;
use envelope::{Kek, Locked};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::holder::{EpochId, HolderError, SiteIdentity};

/// What it means that a site has no epoch file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It never had keys, or is to begin anew: it gets fresh ones.
    IsFirst,
    /// It had keys, which are elsewhere or lost: an error until an operator says which.
    IsLost,
}

const TITLE: &str = "holdfast epochs v1";
/// More bytes than a file with all 256 drawers has.
const FILE_MAX: usize = 64 * 1024;
/// Permission bits of others than the owner.
const OTHERS: u32 = 0o077;

/// A key that shares of one drawer are under.
#[derive(Clone)]
pub(crate) struct Epoch {
    pub(crate) id: EpochId,
    key: Arc<Locked>,
}

impl Epoch {
    pub(crate) fn draw(rng: &dyn Rng) -> Self {
        let mut id = [0; 8];
        rng.fill(&mut id);
        Self { id: EpochId(id), key: drawn(rng) }
    }

    pub(crate) fn kek(&self) -> Kek {
        Kek::from_locked(Locked::copy_of(self.key.bytes()))
    }
}

/// Secret bytes in memory that is neither swapped nor dumped: what swap keeps of a key outlives its end.
fn drawn(rng: &dyn Rng) -> Arc<Locked> {
    let mut bytes = Locked::zeros();
    rng.fill(bytes.bytes_mut());
    Arc::new(bytes)
}

/// What a file says.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) identity: SiteIdentity,
    /// The seed of the signing key.
    pub(crate) seed: Arc<Locked>,
    pub(crate) drawers: BTreeMap<u8, Epoch>,
}

impl Content {
    fn fresh(identity: SiteIdentity, rng: &dyn Rng) -> Self {
        Self { identity, seed: drawn(rng), drawers: BTreeMap::new() }
    }

    fn text(&self) -> Zeroizing<String> {
        let SiteIdentity { cluster, slot, name, since_ms } = &self.identity;
        // With room for all of it: what grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX));
        let seed = Zeroizing::new(hex::encode(self.seed.bytes()));
        text.push_str(&format!("{TITLE}\ncluster {cluster}\nslot {slot}\nsite {name}\nsince {since_ms}\nsign "));
        text.push_str(&seed);
        text.push('\n');
        for (drawer, epoch) in &self.drawers {
            let key = Zeroizing::new(hex::encode(epoch.key.bytes()));
            text.push_str(&format!("{drawer:02x} {} ", epoch.id));
            text.push_str(&key);
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        field("holdfast").filter(|rest| TITLE.strip_prefix("holdfast ") == Some(rest))?;
        let cluster = field("cluster")?.to_owned();
        let slot = field("slot")?.parse().ok()?;
        let name = field("site")?.to_owned();
        let since_ms = field("since")?.parse().ok()?;
        let seed = key(field("sign")?)?;
        let mut drawers = BTreeMap::new();
        for line in lines {
            let (drawer, rest) = line.split_once(' ')?;
            let (id, text) = rest.split_once(' ')?;
            let mut bytes = ([0; 1], [0; 8]);
            hex::decode_to_slice(drawer, &mut bytes.0).ok()?;
            hex::decode_to_slice(id, &mut bytes.1).ok()?;
            drawers.insert(bytes.0[0], Epoch { id: EpochId(bytes.1), key: key(text)? });
        }
        Some(Self { identity: SiteIdentity { cluster, slot, name, since_ms }, seed, drawers })
    }
}

fn key(digits: &str) -> Option<Arc<Locked>> {
    let mut key = Locked::zeros();
    hex::decode_to_slice(digits, key.bytes_mut()).ok()?;
    Some(Arc::new(key))
}

/// Where epoch keys lie that no file has: for tests and simulation, which may copy it and put it back.
pub type EpochMemory = Arc<Mutex<Option<Zeroizing<String>>>>;

/// Where a site's epoch keys lie.
#[derive(Debug, Clone)]
pub enum EpochPlace {
    /// A file. Its folder is made where it is missing.
    File(PathBuf),
    /// Memory.
    Memory(EpochMemory),
}

impl EpochPlace {
    fn path(&self) -> &Path {
        match self {
            Self::Memory(_) => Path::new("(memory)"),
            Self::File(path) => path,
        }
    }

    fn read(&self) -> Result<Option<Zeroizing<String>>, HolderError> {
        match self {
            Self::Memory(memory) => Ok(memory.lock().clone()),
            Self::File(path) => read(path).map_err(|error| named(path, &error)),
        }
    }

    /// From then on the text counts; durably so after [`Self::finish`].
    fn switch(&self, text: Zeroizing<String>) -> Result<(), HolderError> {
        match self {
            Self::Memory(memory) => {
                *memory.lock() = Some(text);
                Ok(())
            }
            Self::File(path) => switch(path, &text).map_err(|error| named(path, &error)),
        }
    }

    /// Makes that durable, and destroys what does not count.
    fn finish(&self) -> Result<(), HolderError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(path) => finish(path).map_err(|error| named(path, &error)),
        }
    }
}

fn named(path: &Path, error: &std::io::Error) -> HolderError {
    HolderError::Custody(format!("epoch file {}: {error}", path.display()))
}

/// A site's epoch keys. Every change is durable before it shows.
pub(crate) struct Epochs {
    place: EpochPlace,
    /// Held by who changes what is there, which waits for the disk.
    writing: Mutex<()>,
    /// Held only to look and to swap: the runtime's threads take it, and a disk may hang.
    now: Mutex<Result<Arc<Content>, HolderError>>,
}

impl Epochs {
    /// Nothing is read yet: until [`Self::settle`] there are no keys.
    pub(crate) fn new(place: EpochPlace) -> Self {
        let now = Mutex::new(Err(HolderError::Custody("they were not opened".to_owned())));
        Self { place, writing: Mutex::default(), now }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.place, EpochPlace::Memory(_))
    }

    /// Opens the keys of a site. Makes them when there are none and `missing` says so, or when they were of a site that was in
    /// its place before: those are destroyed, and the epochs returned of which nothing is left but blobs. Waits for the disk.
    pub(crate) fn settle(
        &self,
        identity: &SiteIdentity,
        missing: Missing,
        rng: &dyn Rng,
    ) -> Result<Vec<EpochId>, HolderError> {
        let _writing = self.writing.lock();
        match self.settled(identity, missing, rng) {
            Ok((content, ended)) => {
                *self.now.lock() = Ok(Arc::new(content));
                Ok(ended)
            }
            Err(error) => {
                *self.now.lock() = Err(error.clone());
                Err(error)
            }
        }
    }

    fn settled(
        &self,
        identity: &SiteIdentity,
        missing: Missing,
        rng: &dyn Rng,
    ) -> Result<(Content, Vec<EpochId>), HolderError> {
        self.place.finish()?;
        let custody = |why: String| HolderError::Custody(why);
        let file = self.place.path().display();
        let mut ended = Vec::new();
        match self.place.read()? {
            None if missing == Missing::IsLost => {
                return Err(HolderError::Missing {
                    file: self.place.path().to_owned(),
                    folder: folder(self.place.path()).to_owned(),
                    site: identity.name.clone(),
                });
            }
            None => tracing::info!(site = %identity.name, %file, "a site gets its first epoch keys"),
            Some(text) => {
                let found = Content::parse(&text).ok_or_else(|| {
                    custody(format!(
                        "epoch file {file} is damaged; put it right, or move it away and run: holdfast site replace {} --force",
                        identity.name
                    ))
                })?;
                let is_there = |site: &SiteIdentity| (site.cluster.clone(), site.slot, site.name.clone());
                if is_there(&found.identity) != is_there(identity) {
                    return Err(custody(format!(
                        "epoch file {file} is of site {} of cluster {}; give each site its own, or move it away",
                        found.identity.name, found.identity.cluster
                    )));
                }
                if found.identity.since_ms == identity.since_ms {
                    return Ok((found, ended));
                }
                if found.identity.since_ms > identity.since_ms {
                    return Err(custody(format!(
                        "epoch file {file} is of a site that took the place later than the metadata know; restore newer \
                         metadata, or move it away"
                    )));
                }
                ended.extend(found.drawers.values().map(|epoch| epoch.id));
                tracing::warn!(site = %identity.name, %file, "a site that was replaced gets fresh epoch keys, and loses those it had");
            }
        }
        let fresh = Content::fresh(identity.clone(), rng);
        self.place.switch(fresh.text())?;
        self.place.finish()?;
        Ok((fresh, ended))
    }

    fn content(&self) -> Result<Arc<Content>, HolderError> {
        self.now.lock().clone()
    }

    /// Looks something up. Waits for no disk.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Content) -> T) -> Result<T, HolderError> {
        self.content().map(|content| look(&content))
    }

    /// Changes what is there, durably, and destroys what was. Waits for the disk.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Content)) -> Result<(), HolderError> {
        let _writing = self.writing.lock();
        let mut changed = Content::clone(self.content()?.as_ref());
        change(&mut changed);
        self.place.switch(changed.text())?;
        // It counts, whether or not the one before can be destroyed now.
        *self.now.lock() = Ok(Arc::new(changed));
        self.place.finish()
    }
}

impl Epochs {
    /// Destroys what an earlier change could not. Waits for the disk.
    pub(crate) fn finish(&self) -> Result<(), HolderError> {
        let _writing = self.writing.lock();
        self.content()?;
        self.place.finish()
    }
}

fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{word}"));
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(path: &Path) -> std::io::Result<Option<Zeroizing<String>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == Io::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mode = file.metadata()?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(std::io::Error::other(format!("it is open to others (mode {mode:o}); run: chmod 600")));
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * FILE_MAX));
    (&mut file).take(FILE_MAX as u64).read_to_string(&mut text)?;
    Ok(Some(text))
}

fn switch(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder(path))?;
    finish(path)?;
    let (next, old) = (beside(path, "next"), beside(path, "old"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // A second name, by which the one before is found and overwritten, also after a crash.
    match std::fs::hard_link(path, &old) {
        Err(error) if error.kind() != Io::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(&next, path)
}

/// Makes durable which file counts, then overwrites and removes those aside. One that is the very file that counts, under its
/// second name, only loses that name.
fn finish(path: &Path) -> std::io::Result<()> {
    let folder = match File::open(folder(path)) {
        // It is made with the first file.
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        folder => folder?,
    };
    folder.sync_all()?;
    let mut removed = false;
    for aside in [beside(path, "next"), beside(path, "old")] {
        let file = match OpenOptions::new().write(true).open(&aside) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => continue,
            Err(error) => return Err(error),
        };
        let which = |meta: &std::fs::Metadata| (meta.dev(), meta.ino());
        let found = file.metadata()?;
        let counts = std::fs::metadata(path).is_ok_and(|counting| which(&counting) == which(&found));
        if !counts {
            overwrite(file, found.len())?;
        }
        std::fs::remove_file(&aside)?;
        removed = true;
    }
    if removed { folder.sync_all() } else { Ok(()) }
}

fn overwrite(mut file: File, len: u64) -> std::io::Result<()> {
    let zeros = vec![0; usize::try_from(len).unwrap_or(FILE_MAX).min(FILE_MAX)];
    file.write_all(&zeros)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    fn identity(since_ms: u64) -> SiteIdentity {
        SiteIdentity { cluster: "c".to_owned(), slot: 2, name: "dc3".to_owned(), since_ms }
    }

    fn opened(path: &Path, since_ms: u64) -> Result<Epochs, HolderError> {
        let epochs = Epochs::new(EpochPlace::File(path.to_owned()));
        epochs.settle(&identity(since_ms), Missing::IsFirst, &SeededRng::new(7)).map(|_| epochs)
    }

    fn keys(epochs: &Epochs) -> Vec<(u8, [u8; 8], [u8; 32])> {
        let all = |content: &Content| {
            content.drawers.iter().map(|(at, epoch)| (*at, epoch.id.0, *epoch.key.bytes())).collect()
        };
        epochs.with(all).unwrap()
    }

    #[test]
    fn what_was_changed_is_there_again_and_what_was_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/dc3");
        let rng = SeededRng::new(1);
        let epochs = opened(&path, 5).unwrap();
        for drawer in [0, 7, 7, 255] {
            epochs.change(|content| drop(content.drawers.insert(drawer, Epoch::draw(&rng)))).unwrap();
            assert_eq!(keys(&opened(&path, 5).unwrap()), keys(&epochs));
        }
        assert_eq!(keys(&epochs).len(), 3);
        epochs.change(|content| drop(content.drawers.remove(&7))).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["dc3"], "nothing stays aside");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let seed = |epochs: &Epochs| epochs.with(|content| *content.seed.bytes()).unwrap();
        assert_eq!(seed(&opened(&path, 5).unwrap()), seed(&epochs));
    }

    /// The folder as each step leaves it, were it the last one.
    #[test]
    fn a_crash_leaves_the_one_before_or_the_new_one_and_no_trace_of_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dc3");
        let before = opened(&path, 5).unwrap();
        before.change(|content| drop(content.drawers.insert(1, Epoch::draw(&SeededRng::new(2))))).unwrap();
        let old = std::fs::read_to_string(&path).unwrap();
        before.change(|content| drop(content.drawers.insert(1, Epoch::draw(&SeededRng::new(3))))).unwrap();
        let new = std::fs::read_to_string(&path).unwrap();
        assert_ne!(old, new);
        let private = |path: &Path, text: &str| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        // What is there besides; which text counts.
        type Step<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a str);
        let table: [Step<'_>; 5] = [
            ("half written", Some(&new[..40]), None, &old),
            ("written", Some(&new), None, &old),
            ("linked", Some(&new), Some("same"), &old),
            ("renamed", None, Some(&old), &new),
            ("partly overwritten", None, Some("\0\0\0"), &new),
        ];
        for (step, next, aside, counts) in table {
            std::fs::remove_file(&path).unwrap();
            private(&path, counts);
            next.inspect(|text| private(&beside(&path, "next"), text));
            let mut watched = None;
            match aside {
                Some("same") => std::fs::hard_link(&path, beside(&path, "old")).unwrap(),
                Some(text) => {
                    private(&beside(&path, "old"), text);
                    watched = Some(File::open(beside(&path, "old")).unwrap());
                }
                None => {}
            }
            opened(&path, 5).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), counts, "{step}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{step}");
            if let Some(mut file) = watched {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 0), "{step}: removed but not overwritten");
            }
        }
    }

    #[test]
    fn a_site_that_takes_the_place_has_other_keys_and_anothers_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dc3");
        let seed = |epochs: &Epochs| epochs.with(|content| *content.seed.bytes()).unwrap();
        let first = opened(&path, 5).unwrap();
        first.change(|content| drop(content.drawers.insert(1, Epoch::draw(&SeededRng::new(2))))).unwrap();
        let second = opened(&path, 6).unwrap();
        assert!(keys(&second).is_empty());
        assert!(matches!(opened(&path, 5), Err(HolderError::Custody(why)) if why.contains("newer metadata")));
        assert_eq!(seed(&opened(&path, 6).unwrap()), seed(&second));
        let other = SiteIdentity { name: "dc4".to_owned(), ..identity(6) };
        let epochs = Epochs::new(EpochPlace::File(path.clone()));
        assert!(epochs.settle(&other, Missing::IsFirst, &SeededRng::new(1)).is_err());
        assert!(epochs.with(|_| ()).is_err());
        std::fs::write(&path, "holdfast epochs v1\nnonsense\n").unwrap();
        assert!(matches!(opened(&path, 6), Err(HolderError::Custody(why)) if why.contains("damaged")));
    }

    #[test]
    fn keys_that_are_missing_are_not_made_anew_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk/dc3");
        let first = opened(&path, 5).unwrap();
        first.change(|content| drop(content.drawers.insert(1, Epoch::draw(&SeededRng::new(2))))).unwrap();
        // A start before the disk is mounted: the folder is empty, or is not there.
        let away = dir.path().join("away");
        std::fs::rename(dir.path().join("disk"), &away).unwrap();
        let epochs = Epochs::new(EpochPlace::File(path.clone()));
        for make in [false, true] {
            if make {
                std::fs::create_dir(dir.path().join("disk")).unwrap();
            }
            let told = epochs.settle(&identity(5), Missing::IsLost, &SeededRng::new(3)).unwrap_err();
            assert!(matches!(told, HolderError::Missing { .. }), "{told:?}");
            let told = told.to_string();
            for part in ["disk/dc3", "mount", "move it back", "site replace dc3"] {
                assert!(told.contains(part), "{part} in {told}");
            }
            assert!(epochs.with(|_| ()).is_err() && !path.exists());
        }
        std::fs::remove_dir(dir.path().join("disk")).unwrap();
        std::fs::rename(&away, dir.path().join("disk")).unwrap();
        epochs.settle(&identity(5), Missing::IsLost, &SeededRng::new(3)).unwrap();
        assert_eq!(keys(&epochs), keys(&first));
        // Replaced: the old ones end, and are told.
        let ended = epochs.settle(&identity(6), Missing::IsLost, &SeededRng::new(3)).unwrap();
        assert_eq!(
            ended.iter().map(|id| id.0).collect::<Vec<_>>(),
            keys(&first).iter().map(|key| key.1).collect::<Vec<_>>()
        );
    }

    #[test]
    fn copies_of_the_content_share_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = opened(&dir.path().join("dc3"), 5).unwrap();
        let drawn = Epoch::draw(&SeededRng::new(2));
        let key = Arc::downgrade(&drawn.key);
        epochs.change(move |content| drop(content.drawers.insert(1, drawn))).unwrap();
        epochs.change(|content| drop(content.drawers.insert(2, Epoch::draw(&SeededRng::new(3))))).unwrap();
        assert_eq!(key.strong_count(), 1, "one slot, however often the content was copied");
        epochs.change(|content| drop(content.drawers.remove(&1))).unwrap();
        assert_eq!(key.strong_count(), 0, "it is zeroed when the epoch ends");
    }

    /// The disk hangs while a change is written: who only looks does not wait for it.
    #[test]
    fn who_looks_does_not_wait_for_the_disk() {
        use std::sync::mpsc::channel;
        let memory = EpochMemory::default();
        let epochs = Epochs::new(EpochPlace::Memory(memory.clone()));
        epochs.settle(&identity(5), Missing::IsFirst, &SeededRng::new(1)).unwrap();
        let disk = memory.lock();
        std::thread::scope(|scope| {
            let ((begun, begins), (seen, sees)) = (channel(), channel());
            let epochs = &epochs;
            let change = scope.spawn(move || {
                epochs.change(|content| {
                    content.drawers.insert(9, Epoch::draw(&SeededRng::new(2)));
                    begun.send(()).unwrap();
                })
            });
            begins.recv().unwrap();
            scope.spawn(move || seen.send(epochs.with(|content| content.drawers.len()).unwrap()));
            let found = sees.recv_timeout(std::time::Duration::from_secs(20));
            drop(disk);
            assert_eq!(found, Ok(0), "what was before counts until the new one is written");
            change.join().unwrap().unwrap();
        });
        assert_eq!(keys(&epochs).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(holdfast epochs v1\n)?(cluster a\nslot 1\nsite b\nsince 2\n)?.{0,200}\n?") {
            let _ = Content::parse(&text);
        }
    }
}
