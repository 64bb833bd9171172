//! Compares a plan with its folder, and writes what differs. Secrets are private from their first byte.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File as Handle, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Existing, File, Kind, Plan};
use crate::exit::Failure;

/// Sums of what was written, by path: so that what was edited by hand since is noticed. No secrets are in it.
const WRITTEN: &str = ".written.json";

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// It was not there.
    Made,
    /// It was another one.
    Changed,
    /// Its mode was too wide, or too narrow.
    Mode,
    /// It was planned once, and is not any more; it stays where it is.
    Left,
}

/// A file that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) what: What,
}

/// The folder of a plan.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Existing for Folder {
    fn read(&self, path: &str) -> std::io::Result<Option<Zeroizing<String>>> {
        match std::fs::read_to_string(self.0.join(path)) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Folder {
    /// What writing a plan would change.
    ///
    /// # Errors
    /// A file cannot be read; or files were edited by hand, and `force` is not given; or a secret would be overwritten, which is a
    /// mistake of the plan's.
    pub(crate) fn compare(&self, plan: &Plan, force: bool) -> Result<Vec<Change>, Failure> {
        let written = self.written()?;
        let (mut changes, mut edited) = (Vec::new(), Vec::new());
        for file in &plan.files {
            let path = self.0.join(&file.path);
            let there = self.read(&file.path).map_err(Failure::io(path.display()))?;
            let Some(there) = there else {
                changes.push(Change { path: file.path.clone(), what: What::Made });
                continue;
            };
            let mode = std::fs::metadata(&path).map_err(Failure::io(path.display()))?.mode() & 0o777;
            if there != file.text {
                if file.kind == Kind::Secret {
                    return Err(Failure::new(format!("{} has another secret than planned", path.display()))
                        .hint("it is never overwritten: move it away, if it is the wrong one"));
                }
                if file.kind == Kind::Config && written.get(&file.path).is_none_or(|sum| *sum != sum_of(&there)) {
                    edited.push(file.path.clone());
                }
                changes.push(Change { path: file.path.clone(), what: What::Changed });
            } else if mode != file.mode {
                changes.push(Change { path: file.path.clone(), what: What::Mode });
            }
        }
        if !edited.is_empty() && !force {
            return Err(Failure::new(format!("edited by hand since they were planned: {}", edited.join(", ")))
                .hint("nothing was written. Bring the edits into the description; --force overwrites them"));
        }
        let planned = |path: &String| plan.files.iter().any(|file| file.path == *path);
        let left = written.keys().filter(|path| !planned(path) && self.0.join(path).exists());
        changes.extend(left.map(|path| Change { path: path.clone(), what: What::Left }));
        Ok(changes)
    }

    /// Writes what [`Self::compare`] found.
    ///
    /// # Errors
    /// An I/O error, which names its file; what was written before it is whole.
    pub(crate) fn write(&self, plan: &Plan, changes: &[Change]) -> Result<(), Failure> {
        private_folder(&self.0)?;
        let mut written = self.written()?;
        for file in &plan.files {
            let path = self.0.join(&file.path);
            match changes.iter().find(|change| change.path == file.path).map(|change| change.what) {
                Some(What::Made | What::Changed) => put(&path, file)?,
                Some(What::Mode) => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode))
                    .map_err(Failure::io(path.display()))?,
                Some(What::Left) | None => {}
            }
            if file.kind == Kind::Config {
                written.insert(file.path.clone(), sum_of(&file.text));
            }
        }
        let text = serde_json::to_string_pretty(&written).map_err(|error| Failure::new(error.to_string()))? + "\n";
        if self.read(WRITTEN).ok().flatten().is_none_or(|there| *there != text) {
            put(&self.0.join(WRITTEN), &File::config(WRITTEN, text))?;
        }
        Ok(())
    }

    fn written(&self) -> Result<BTreeMap<String, String>, Failure> {
        let path = self.0.join(WRITTEN);
        match self.read(WRITTEN).map_err(Failure::io(path.display()))? {
            None => Ok(BTreeMap::new()),
            Some(text) => serde_json::from_str(&text).map_err(|error| {
                Failure::new(format!("{}: {error}", path.display())).hint("remove it, and plan with --force")
            }),
        }
    }
}

fn sum_of(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}

/// Nobody else has anything to look for among secrets.
fn private_folder(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Failure::io(format!("directory {}", path.display())))
}

/// Beside its name first, so that a crash leaves no half file; with its mode before its bytes.
fn put(path: &Path, file: &File) -> Result<(), Failure> {
    let named = Failure::io(path.display());
    let parent = path.parent().unwrap_or(Path::new("."));
    private_folder(parent)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    // One of a run that was cut off may have another mode.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(&named)?;
    handle.write_all(file.text.as_bytes()).map_err(&named)?;
    handle.set_permissions(std::fs::Permissions::from_mode(file.mode)).map_err(&named)?;
    handle.sync_all().map_err(&named)?;
    std::fs::rename(&fresh, path).map_err(&named)?;
    Handle::open(parent).and_then(|parent| parent.sync_all()).map_err(&named)
}
