//! Which engine keeps the metadata, and opening it, for the server and for commands that work while it is stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meta::{Embedded, EmbeddedOptions, Engine, Etcd, EtcdOptions, Key, Range, prefix_end};

use crate::cli::AdminArgs;
use crate::command;
use crate::config;
use crate::exit::{Failure, chain};
use crate::serve::lock;

/// The row that says where rows come from, while a migration into an engine is not finished.
pub(crate) const MIGRATION: Key = store::journal::rebuild::UNFINISHED;

/// Which engine keeps the metadata.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A file in the data directory.
    Embedded,
    Etcd(Box<EtcdOptions>),
}

impl Place {
    /// What `meta` and `meta_options` of a configuration say.
    pub(crate) fn parse(meta: Option<&str>, options: &BTreeMap<String, String>) -> Result<Self, Vec<String>> {
        match meta {
            None | Some("embedded") if options.is_empty() => Ok(Self::Embedded),
            None | Some("embedded") => {
                Err(vec!["meta_options: these are for etcd; give meta = \"etcd://...\"".to_owned()])
            }
            Some(url) if EtcdOptions::is_for(url) => match EtcdOptions::parse(url, options) {
                Ok(options) => Ok(Self::Etcd(Box::new(options))),
                Err(mistakes) => Err(mistakes.0.into_iter().map(|mistake| format!("meta: {mistake}")).collect()),
            },
            // Not quoted: somebody may have written a password into it.
            Some(_) => Err(vec!["meta: give \"embedded\" or \"etcd://HOST,HOST,.../PREFIX\"".to_owned()]),
        }
    }
}

/// A data directory and its metadata, for commands.
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    pub(crate) place: Place,
}

impl Installation {
    /// As the command line says, and the configuration file that it names. What the server takes from its own command line
    /// must be given here too.
    pub(crate) fn of(admin: &AdminArgs) -> Result<Self, Failure> {
        let folder = command::data_dir(admin).to_owned();
        let Some(path) = &admin.config else { return Ok(Self { folder, place: Place::Embedded }) };
        let (written, place) = config::installation(path)?;
        let folder = if admin.data_dir.is_some() { folder } else { written.unwrap_or(folder) };
        Ok(Self { folder, place })
    }

    /// The metadata, which takes this machine's server to be stopped.
    pub(crate) async fn metadata(&self, cache_bytes: usize) -> Result<(File, Arc<dyn Engine>), Failure> {
        if !self.may_be_there() {
            return Err(none_in(&self.folder));
        }
        let lock =
            lock(&self.folder).map_err(|failure| failure.hint("stop the server for this: it works on the metadata"))?;
        Ok((lock, open(&self.place, &self.folder, cache_bytes).await?))
    }

    /// Whether there can be metadata: a file that is missing is none.
    pub(crate) fn may_be_there(&self) -> bool {
        !matches!(self.place, Place::Embedded) || embedded_file(&self.folder).exists()
    }
}

pub(crate) fn none_in(folder: &Path) -> Failure {
    Failure::new(format!("there is no metadata in {}", folder.display())).hint(
        "name the server's data directory with --data-dir, which is made at its first start; or, where the metadata is in etcd, \
         its configuration file with --config",
    )
}

/// The embedded engine's file.
pub(crate) fn embedded_file(folder: &Path) -> PathBuf {
    folder.join("meta/meta.redb")
}

/// Opens the engine; the embedded one is made where it is missing.
pub(crate) async fn open(place: &Place, folder: &Path, cache_bytes: usize) -> Result<Arc<dyn Engine>, Failure> {
    match place {
        Place::Embedded => {
            let options = EmbeddedOptions { path: embedded_file(folder), cache_bytes };
            Ok(Arc::new(Embedded::open(options).map_err(|error| Failure::new(chain(&error)))?))
        }
        Place::Etcd(options) => Ok(Arc::new(etcd(options).await?)),
    }
}

pub(crate) async fn etcd(options: &EtcdOptions) -> Result<Etcd, Failure> {
    Etcd::open(options.clone()).await.map_err(|error| {
        Failure::new(chain(&error))
            .hint("try it: etcdctl endpoint health --endpoints ...; and see `holdfast meta status`")
    })
}

/// Whether an engine has a cluster in it: its sites come first.
pub(crate) async fn has_cluster(engine: &dyn Engine) -> Result<bool, Failure> {
    let from = Key::from_static(b"s/");
    let to = prefix_end(&from);
    let page = engine.range(Range { from, to, limit: 1 }).await.map_err(|error| Failure::new(chain(&error)))?;
    Ok(!page.rows.is_empty())
}

/// Half a migration is no state to serve from.
pub(crate) async fn whole(engine: &dyn Engine) -> Result<(), Failure> {
    let rows = engine.get(&[MIGRATION]).await.map_err(|error| Failure::new(chain(&error)))?;
    if rows.iter().any(Option::is_some) {
        return Err(Failure::new("a migration into this metadata is not finished")
            .hint("finish it: holdfast meta migrate --resume ..."));
    }
    Ok(())
}
