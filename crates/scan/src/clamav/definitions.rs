//! Definitions as one engine has them: a folder of its own that nobody writes to, so that what it was started with is what it scans with.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The endings that ClamAV loads (its `cli_ldb` table, 1.4), but for YARA rules: those have an engine of their own.
const ENDINGS: [&str; 33] = [
    "cvd", "cld", "cud", "hdb", "hdu", "hsb", "hsu", "mdb", "mdu", "msb", "msu", "imp", "ndb", "ndu", "ldb", "ldu",
    "sdb", "zmd", "rmd", "cdb", "idb", "db", "fp", "sfp", "ftm", "ign", "ign2", "gdb", "pdb", "wdb", "cbc", "cat",
    "crb",
];

/// What an engine is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definitions {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// BLAKE3 of names and bytes, of the engine's build and of its settings.
    pub(crate) manifest: [u8; 32],
    /// When the newest of them was written, seconds since the Unix epoch.
    pub(crate) newest_s: u64,
}

impl Definitions {
    /// What only these call infected.
    pub(crate) fn canary(&self) -> String {
        format!("holdfast canary {}", hex::encode(self.manifest))
    }

    /// What they call it.
    pub(crate) fn canary_name(&self) -> String {
        format!("Holdfast.Canary.{}", hex::encode(&self.manifest[..8]))
    }
}

/// Copies what is in all `sources` to a folder of its own under `under`. `None`: there are none. Blocks.
pub(crate) fn stage(sources: &[PathBuf], under: &Path, build: &str, settings: &str) -> io::Result<Option<Definitions>> {
    let mut files = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        // A file of one does not stand for one of another that is called the same.
        let named = |name| if index == 0 { name } else { format!("{index}-{name}") };
        files.extend(list(source)?.into_iter().map(|(name, path)| (named(name), path)));
    }
    if files.is_empty() {
        return Ok(None);
    }
    fs::create_dir_all(under)?;
    let staging = tempfile::Builder::new().prefix("staging-").tempdir_in(under)?;
    let mut hasher = blake3::Hasher::new();
    let mut newest_s = 0;
    for text in [build, settings] {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
    }
    for (name, path) in &files {
        let copy = staging.path().join(name);
        // What is hashed is the copy: whoever updates the source meanwhile changes nothing of it.
        fs::copy(path, &copy)?;
        fs::File::open(&copy)?.sync_all()?;
        let digest = blake3::Hasher::new().update_reader(fs::File::open(&copy)?)?.finalize();
        hasher.update(&(name.len() as u64).to_be_bytes()).update(name.as_bytes()).update(digest.as_bytes());
        let written = fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        newest_s = newest_s.max(written.as_secs());
    }
    let manifest = *hasher.finalize().as_bytes();
    let folder = under.join(hex::encode(&manifest[..16]));
    let definitions = Definitions { folder: folder.clone(), manifest, newest_s };
    let signature = format!("{}:0:*:{}\n", definitions.canary_name(), hex::encode(definitions.canary()));
    let canary = staging.path().join("holdfast-canary.ndb");
    fs::write(&canary, signature)?;
    fs::File::open(&canary)?.sync_all()?;
    fs::File::open(staging.path())?.sync_all()?;
    let staged = staging.keep();
    // One of that name may be what a machine that lost its power left. Who runs with it has read it.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&staged, &folder)?;
    Ok(Some(definitions))
}

/// Removes all folders but that of `kept`. Blocks.
pub(crate) fn remove_others(under: &Path, kept: &Definitions) {
    let Ok(entries) = fs::read_dir(under) else { return };
    for entry in entries.flatten() {
        if entry.path() != kept.folder && entry.path().is_dir() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Changes when a file of a folder does, as far as its size and time tell.
pub(crate) fn look(source: &Path) -> io::Result<Vec<(String, u64, u64)>> {
    let stat = |(name, path): (String, PathBuf)| {
        let meta = fs::metadata(path)?;
        let written = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((name, meta.len(), u64::try_from(written.as_millis()).unwrap_or(u64::MAX)))
    };
    list(source)?.into_iter().map(stat).collect()
}

fn list(source: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if let Some(name) = name
            && ENDINGS.contains(&ending)
            && !name.starts_with('.')
            && path.is_file()
        {
            files.insert(name.to_owned(), path.clone());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_changes_with_all_that_makes_verdicts_and_with_nothing_else() {
        let (a, b) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let under = tempfile::tempdir().expect("a folder");
        let of = |sources: &[&Path], build: &str, settings: &str| {
            let sources: Vec<PathBuf> = sources.iter().map(|source| source.to_path_buf()).collect();
            stage(&sources, under.path(), build, settings).expect("they are staged")
        };
        assert_eq!(of(&[a.path()], "1", "s"), None);
        fs::write(a.path().join("x.hdb"), "x").expect("a file");
        fs::write(a.path().join("notes.txt"), "ignored").expect("a file");
        let first = of(&[a.path()], "1", "s").expect("some");
        assert_eq!(of(&[a.path()], "1", "s").as_ref(), Some(&first));
        let mut names: Vec<_> = list(&first.folder).expect("a folder").into_keys().collect();
        names.sort();
        assert_eq!(names, ["holdfast-canary.ndb", "x.hdb"]);
        fs::write(a.path().join("notes.txt"), "still ignored").expect("a file");
        assert_eq!(of(&[a.path()], "1", "s").as_ref(), Some(&first));
        for other in [of(&[a.path()], "2", "s"), of(&[a.path()], "1", "t")] {
            assert_ne!(other.expect("some").manifest, first.manifest);
        }
        fs::write(b.path().join("x.hdb"), "y").expect("a file");
        let both = of(&[a.path(), b.path()], "1", "s").expect("some");
        let read = |name: &str| fs::read(both.folder.join(name)).expect("a file");
        assert_eq!((read("x.hdb"), read("1-x.hdb")), (b"x".to_vec(), b"y".to_vec()));
        remove_others(under.path(), &both);
        assert!(both.folder.exists() && !first.folder.exists());
    }
}
