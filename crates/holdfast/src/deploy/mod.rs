//! `holdfast deploy`: from one description of five sites, all files for all machines. Planning is pure: a description and what is there
//! already give a list of files. [`write`] compares that with the folder and writes.

mod authority;
mod compose;
mod description;
mod etcd;
mod install;
mod readme;
mod secrets;
mod site;
mod units;
pub(crate) mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use base::Rng;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use authority::Authority;
pub(crate) use description::Description;

/// A commented description.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// Everything that is wrong with a description, or in the way of a plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<String>);

/// What a folder of an earlier plan has.
pub(crate) trait Existing {
    /// The text of a file, by its path in the folder; `None` if it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn read(&self, path: &str) -> std::io::Result<Option<Zeroizing<String>>>;
}

/// Which certificates shall be made anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renew {
    /// Those that end within so many days.
    pub(crate) within_days: i64,
    /// All of them, and under new keys.
    pub(crate) new_keys: bool,
}

/// Who owns a file on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Root, for all to read.
    Root,
    /// The user of gateway and site server.
    Holdfast,
    /// The user of etcd.
    Etcd,
}

/// How a file comes to be, and so whether it may be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Follows from the description. One that was edited by hand is not overwritten unasked.
    Config,
    /// A certificate.
    Public,
    /// Never overwritten.
    Secret,
    /// A secret that is to be another one.
    RenewedSecret,
}

/// A file of the plan.
pub(crate) struct File {
    /// In the folder of the plan.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) text: Zeroizing<String>,
    /// Where it goes on its machine.
    pub(crate) to: Option<(PathBuf, Owner)>,
}

/// All files, and what to say about them.
pub(crate) struct Plan {
    pub(crate) files: Vec<File>,
    pub(crate) notes: Vec<String>,
}

impl File {
    fn new(path: &str, kind: Kind, mode: u32, text: Zeroizing<String>) -> Self {
        Self { path: path.to_owned(), kind, mode, text, to: None }
    }

    fn config(path: &str, text: String) -> Self {
        Self::new(path, Kind::Config, 0o644, Zeroizing::new(text))
    }

    fn script(path: &str, text: String) -> Self {
        Self::new(path, Kind::Config, 0o755, Zeroizing::new(text))
    }

    fn public(path: &str, text: &str) -> Self {
        Self::new(path, Kind::Public, 0o644, Zeroizing::new(text.to_owned()))
    }

    fn secret(path: &str, text: Zeroizing<String>) -> Self {
        Self::new(path, Kind::Secret, 0o600, text)
    }

    fn renewed_secret(path: &str, text: Zeroizing<String>, renewed: bool) -> Self {
        Self::new(path, if renewed { Kind::RenewedSecret } else { Kind::Secret }, 0o600, text)
    }

    fn to(self, path: &Path, owner: Owner) -> Self {
        Self { to: Some((path.to_owned(), owner)), ..self }
    }
}

impl Plan {
    /// The same, with a `compose.yaml`.
    ///
    /// # Errors
    /// What of the description cannot be containers.
    pub(crate) fn with_compose(mut self, description: &Description) -> Result<Self, Mistakes> {
        self.files.push(File::config("compose.yaml", compose::yaml(description)?));
        Ok(self)
    }
}

/// What the five machines need, from a description and what an earlier plan made.
///
/// # Errors
/// What is there does not fit together, or a certificate must be signed and the authority's key is not here.
pub(crate) fn plan(
    description: &Description,
    existing: &dyn Existing,
    rng: &dyn Rng,
    now: OffsetDateTime,
    renew: Option<Renew>,
) -> Result<Plan, Mistakes> {
    let mut files = Vec::new();
    let mut mistakes = Vec::new();
    let secrets = secrets::obtain(description, existing, rng)?;
    let authorities = match &description.tls {
        Some(_) => None,
        None => {
            let copies =
                |file: &str| description.sites.iter().map(|site| format!("{}/{file}", site.name)).collect::<Vec<_>>();
            let (name, services, peers) = (&description.name, copies("holdfast/ca.crt"), copies("etcd/peer-ca.crt"));
            let services = Authority::obtain("ca/ca", name, &services, existing, now, &mut files)?;
            let peers = Authority::obtain("ca/peer-ca", name, &peers, existing, now, &mut files)?;
            Some((services, peers))
        }
    };
    files.extend(secrets.etcd_root.clone().map(|text| File::secret("ca/etcd-root.password", text)));
    files.push(File::config("ca/README", readme::of_authorities(description)));
    for index in 0..description.sites.len() {
        let own = files.len();
        site::files(description, index, &secrets, &mut files);
        if let Some((services, peers)) = &authorities
            && let Err(Mistakes(more)) =
                site::certificates(description, index, services, peers, existing, renew, &mut files)
        {
            mistakes.extend(more);
        }
        let name = &description.sites[index].name;
        let script = install::script(description, index, &files[own..]);
        files.push(File::script(&format!("{name}/install.sh"), script));
    }
    files.push(File::script("etcd-auth.sh", etcd::auth_script(description)));
    files.push(File::config("README.md", readme::day_one(description)));
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let mut notes = description.advice.clone();
    if authorities.is_some() && files.iter().any(|file| file.path == "ca/ca.key") {
        notes.push("take ca/ away from here once the machines have theirs: ca/README says where to".to_owned());
    }
    Ok(Plan { files, notes })
}
