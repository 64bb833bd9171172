//! What is scanned: a userland that all tenants have, and files of their own.
//!
//! The userland is a sample of a folder, by a digest of the files' names: the same files each time, of all kinds in their shares. A tenant's own files
//! are some of those with a line of his at their end: other contents of the same kinds. Each tenant also has the test file, once as everybody has
//! it and once in a file that nobody else has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::signatures::eicar;
use crate::error::Error;

/// What is larger is left out: ten such files would be half of the corpus.
const FILE_MAX: u64 = 32 << 20;
/// The same for tenants' own.
const OWN_FILE_MAX: u64 = 1 << 20;
/// Names of files in which the test file is begin with this.
pub const PLANTED: &str = "eicar-";
/// So many does each tenant have.
pub const PLANTED_EACH: usize = 2;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Bytes of the userland, at most.
    pub shared: u64,
    /// Bytes of a tenant's own, at most.
    pub own: u64,
    /// Tenants.
    pub tenants: usize,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Corpus {
    /// Where the userland was taken from.
    pub source: PathBuf,
    /// Files of the userland.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files of one tenant's own, planted ones included.
    pub own_files: usize,
    /// Their bytes.
    pub own_bytes: u64,
    #[serde(skip)]
    shared: PathBuf,
    #[serde(skip)]
    own: Vec<PathBuf>,
}

/// What one tenant has.
pub struct Tenant<'a> {
    /// Folders.
    pub folders: [&'a Path; 2],
    /// All files in them.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Corpus {
    /// Copies it into `dir`.
    pub fn make(source: &Path, dir: &Path, size: Size) -> Result<Self, Error> {
        let shared = dir.join("shared");
        let chosen = sample(walk(source)?, size.shared);
        for (path, _) in &chosen {
            copy(path, &shared.join(path.strip_prefix(source).unwrap_or(path)))?;
        }
        let models = models(&chosen, size.own);
        let own = (0..size.tenants).map(|tenant| own(dir, tenant, &models)).collect::<Result<Vec<_>, _>>()?;
        let files_of = |folder: &Path| walk(folder).map(|files| (files.len(), files.iter().map(|file| file.1).sum()));
        let (files, bytes) = files_of(&shared)?;
        let (own_files, own_bytes) = own.first().map_or(Ok((0, 0)), |folder| files_of(folder))?;
        Ok(Self { source: source.to_owned(), files, bytes, own_files, own_bytes, shared, own })
    }

    /// All tenants.
    pub fn tenants(&self) -> impl ExactSizeIterator<Item = Tenant<'_>> {
        let of = |own| Tenant {
            folders: [self.shared.as_path(), own],
            files: self.files + self.own_files,
            bytes: self.bytes + self.own_bytes,
        };
        self.own.iter().map(PathBuf::as_path).map(of)
    }
}

impl Tenant<'_> {
    /// The files, in the order in which they lie in their folders.
    pub fn list(&self) -> Result<Vec<PathBuf>, Error> {
        let mut all = Vec::new();
        for folder in self.folders {
            all.extend(walk(folder)?.into_iter().map(|(path, _)| path));
        }
        Ok(all)
    }
}

/// Files by a digest of their names, as many as there is room for.
fn sample(files: Vec<(PathBuf, u64)>, room: u64) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<_> = files.into_iter().filter(|(_, len)| *len <= FILE_MAX).collect();
    files.sort_by_cached_key(|(path, _)| *blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes());
    let mut sum = 0;
    files.retain(|(_, len)| {
        let fits = sum + len <= room;
        sum += if fits { *len } else { 0 };
        fits
    });
    files
}

/// What a tenant's own files are made from.
fn models(chosen: &[(PathBuf, u64)], room: u64) -> Vec<PathBuf> {
    let small: Vec<_> = chosen.iter().filter(|(_, len)| *len > 0 && *len <= OWN_FILE_MAX).cloned().collect();
    sample(small, room).into_iter().map(|(path, _)| path).collect()
}

fn own(dir: &Path, tenant: usize, models: &[PathBuf]) -> Result<PathBuf, Error> {
    let folder = dir.join(format!("tenant-{tenant:02}"));
    fs::create_dir_all(&folder).map_err(Error::path("create", &folder))?;
    let line = format!("\nThis is tenant {tenant}'s.\n");
    let write = |name: String, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(Error::path("write", &path))
    };
    for (number, model) in models.iter().enumerate() {
        let mut bytes = fs::read(model).map_err(Error::path("read", model))?;
        bytes.extend_from_slice(line.as_bytes());
        let ending = model.extension().unwrap_or_default().to_string_lossy();
        write(format!("{number:04}.{ending}"), &bytes)?;
    }
    write(format!("{PLANTED}everybodys"), &eicar())?;
    write(format!("{PLANTED}own"), &[line.as_bytes(), &eicar()].concat())?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(Error::path("create", folder))?;
    fs::copy(from, to).map(drop).map_err(Error::path("copy", from))
}

/// Plain files in a folder and in those in it, on its file system, sorted.
fn walk(folder: &Path) -> Result<Vec<(PathBuf, u64)>, Error> {
    let device = fs::metadata(folder).map_err(Error::path("look at", folder))?.dev();
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::path("read", &folder))? {
            let path = entry.map_err(Error::path("read", &folder))?.path();
            let meta = fs::symlink_metadata(&path).map_err(Error::path("look at", &path))?;
            if meta.is_dir() && meta.dev() == device {
                folders.push(path);
            } else if meta.is_file() {
                files.push((path, meta.len()));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tenants_share_the_userland_and_have_contents_of_their_own_and_the_planted_ones() {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("lib")).unwrap();
        for (number, len) in [0, 10, 20, 3_000, 5_000].into_iter().enumerate() {
            fs::write(source.path().join(format!("lib/{number}.txt")), vec![b'a' + number as u8; len]).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let size = Size { shared: 5_500, own: 100, tenants: 3 };
        let corpus = Corpus::make(source.path(), dir.path(), size).unwrap();
        assert!(corpus.bytes <= 5_500 && corpus.files >= 4, "{corpus:?}");
        let mut own = HashSet::new();
        for tenant in corpus.tenants() {
            let files = tenant.list().unwrap();
            assert_eq!(files.len(), tenant.files);
            let planted = files.iter().filter(|path| path.to_string_lossy().contains(PLANTED)).count();
            assert_eq!(planted, PLANTED_EACH);
            own.extend(walk(tenant.folders[1]).unwrap().into_iter().map(|(path, _)| fs::read(path).unwrap()));
        }
        // All are other ones, but for everybody's.
        assert_eq!(own.len(), 3 * (corpus.own_files - 1) + 1);
    }

    #[test]
    fn a_sample_is_the_same_each_time_and_not_over_its_room() {
        let files: Vec<_> = (0..100).map(|n| (PathBuf::from(format!("/{n}")), n * 100)).collect();
        let one = sample(files.clone(), 50_000);
        assert_eq!(one, sample(files.into_iter().rev().collect(), 50_000));
        assert!(one.iter().map(|(_, len)| len).sum::<u64>() <= 50_000);
    }
}
