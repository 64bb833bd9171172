//! `holdfast key site`, and the two commands of `key root` about sites: a machine's own key pair, the root key wrapped to it, and
//! who has it so. Works on the data directory; what reads or writes the metadata takes the server to be stopped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base::SystemRng;
use keys::{HandoverError, RootFile, RootKey, SITE_NAME_MAX, SealError, SiteError, SiteKeyFile, SitePublic};
use serde::Serialize;

use crate::audit_log;
use crate::cli::{AdminArgs, KeySiteCommand, PassphraseArgs};
use crate::command::root::{self, Done, Opens};
use crate::command::{now_ms, print, rotate};
use crate::exit::{Exit, Failure, chain};
use crate::metadata::Installation;
use crate::serve::lock;
use crate::{render, seals};

/// Memory for the metadata.
pub(crate) const META_CACHE: usize = 8 << 20;
/// Bytes of a file that is read: more than any of them has.
const FILE_MAX: u64 = 8192;

/// A key pair that was made.
#[derive(Serialize)]
struct Created {
    name: String,
    fingerprint: String,
    key: String,
    public: String,
}

/// A site, as it is told.
#[derive(Serialize)]
struct Listed {
    name: String,
    fingerprint: String,
    wrapped_ms: u64,
    root: String,
    public: String,
}

/// What was wrapped.
#[derive(Serialize)]
struct Wrapped {
    name: String,
    fingerprint: String,
    path: String,
}

pub(crate) async fn run(admin: &AdminArgs, command: KeySiteCommand, json: bool) -> Result<Exit, Failure> {
    let here = Installation::of(admin)?;
    let folder = &here.folder;
    match command {
        KeySiteCommand::Create { name, passphrase } => create(folder, &name, &passphrase, json),
        KeySiteCommand::Seal(args) => root::seal(SiteKeyFile::new(folder.join("site.key")).file(), &args, json),
        KeySiteCommand::Unseal(args) => root::unseal(SiteKeyFile::new(folder.join("site.key")).file(), &args, json),
        KeySiteCommand::List => list(&here, json).await,
        KeySiteCommand::Remove { name } => remove(&here, &name, json).await,
    }
}

impl From<SiteError> for Failure {
    fn from(error: SiteError) -> Self {
        if error == SiteError::Name { Self::usage(error.to_string()) } else { Self::new(error.to_string()) }
    }
}

impl From<HandoverError> for Failure {
    fn from(error: HandoverError) -> Self {
        Self::new(chain(&error))
    }
}

fn create(folder: &Path, name: &str, passphrase: &PassphraseArgs, json: bool) -> Result<Exit, Failure> {
    if !keys::is_site_name(name) {
        return Err(SiteError::Name.into());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Failure::io(format!("directory {}", folder.display())))?;
    let (file, public) = (SiteKeyFile::new(folder.join("site.key")), folder.join("site.pub"));
    let key = match file.sealing()? {
        // Cut off between the two, or lost since: the one follows from the other.
        Some(sealing) if !public.exists() => {
            let seal = seals::own(&sealing, passphrase, true)?.ok_or_else(|| root::missing(file.file()))?;
            seals::site_key(&file, seal.as_ref())?.public(name)?
        }
        _ => file.make(seals::to_write(passphrase)?.as_ref(), &SystemRng)?.public(name)?,
    };
    // It follows from the key: one that is left over from another key is no loss.
    std::fs::write(&public, key.to_text()).map_err(Failure::io(public.display()))?;
    let created = Created {
        name: key.name().to_owned(),
        fingerprint: key.fingerprint(),
        key: file.path().display().to_string(),
        public: public.display().to_string(),
    };
    print(&created, json, |created| {
        format!(
            "site {name}, fingerprint {fingerprint}
{key} stays here; keep a backup of it only where the root key may be.
Carry {public} to a machine that has the root key, and there, with the server stopped:
  holdfast key root wrap site.pub --out root.wrap --fingerprint {fingerprint}
Carry root.wrap back, and here:
  holdfast key root accept root.wrap
",
            name = created.name,
            fingerprint = created.fingerprint,
            key = created.key,
            public = created.public,
        )
    })?;
    Ok(Exit::Ok)
}

pub(crate) async fn wrap(
    here: &Installation,
    file: &RootFile,
    site: &Path,
    fingerprint: &str,
    out: &Path,
    passphrase: &PassphraseArgs,
    json: bool,
) -> Result<Exit, Failure> {
    let public =
        SitePublic::from_text(&read(site)?).map_err(|error| Failure::new(format!("{}: {error}", site.display())))?;
    // Before anything is wrapped: what lies in the metadata once, a backup may keep.
    if !public.fingerprint().eq_ignore_ascii_case(fingerprint.trim()) {
        return Err(Failure::new(format!("{} has the fingerprint {}", site.display(), public.fingerprint())).hint(
            "if the machine itself printed that one, give it with --fingerprint; if not, find out who changed the file: nothing was wrapped",
        ));
    }
    rotate::own(&here.folder)?;
    let (_lock, engine) = here.metadata(META_CACHE).await?;
    let root = seals::opened(file, passphrase, true)?.ok_or_else(|| root::missing(file))?;
    if let Opens::No = root::opens_any(engine.as_ref(), &root).await.map_err(|error| Failure::new(chain(&error)))? {
        return Err(Failure::new(format!("{} is not the root key of the metadata beside it", file.path().display())));
    }
    // Before the site is remembered: a site without its file would only be known.
    let mut sink = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(|error| Failure::io(out.display())(error).hint("give another file with --out"))?;
    let wrapped = keys::wrap_to(engine.as_ref(), &root, &public, &SystemRng, now_ms()).await;
    let written = match wrapped {
        Ok(text) => sink.write_all(text.as_bytes()).and_then(|()| sink.sync_all()).map_err(Failure::io(out.display())),
        Err(error) => Err(error.into()),
    };
    if written.is_err() {
        // There is a first error to tell.
        let _ = std::fs::remove_file(out);
    }
    written?;
    let told =
        Wrapped { name: public.name().to_owned(), fingerprint: public.fingerprint(), path: out.display().to_string() };
    print(&told, json, |told| {
        format!(
            "{}: the root key, wrapped to site {}, fingerprint {}
Only that machine's site.key opens the file; the next root key is wrapped to it as well.
",
            told.path, told.name, told.fingerprint
        )
    })?;
    Ok(Exit::Ok)
}

pub(crate) async fn accept(
    here: &Installation,
    file: &RootFile,
    from: &Path,
    replace: bool,
    passphrase: &PassphraseArgs,
    json: bool,
) -> Result<Exit, Failure> {
    let folder = &here.folder;
    let text = read(from)?;
    let wrong = |error: String| Failure::new(format!("{}: {error}", from.display()));
    let sealing = file.sealing_of(&text).map_err(|_| wrong(SealError::NotAKey.to_string()))?;
    if !seals::is_wrapped(&sealing) {
        return Err(wrong("this is no root key that was wrapped to a site".to_owned())
            .hint("`holdfast key root wrap` makes one; another root key file is copied to its place by hand"));
    }
    let site = SiteKeyFile::beside(file);
    let own = site.sealing()?.ok_or_else(|| {
        Failure::new(format!("there is no site key {}", site.path().display()))
            .hint("make one: holdfast key site create NAME")
    })?;
    let unlocked = seals::own(&own, passphrase, true)?.ok_or_else(|| root::missing(file))?;
    let seal = seals::site_key(&site, unlocked.as_ref())?.seal();
    let key = file.taken(&text, &seal).map_err(|error| match error {
        keys::RootError::Seal { source, .. } => wrong(source.to_string()),
        other => other.into(),
    })?;
    let opens = root::opens(here, &key).await?;
    if opens == Opens::No {
        return Err(Failure::new(format!("{} has a root key that opens nothing of this installation", from.display()))
            .hint("nothing was written: is it of this one, and of its newest root key? name its directory with --data-dir"));
    }
    let told = match file.text_there()? {
        None => {
            file.put(&text, &seal, false)?;
            told(&opens)
        }
        Some(there) if *there == text => "it is there already".to_owned(),
        Some(_) => {
            let old = there(file, passphrase);
            let same = old.as_ref().is_some_and(|old| old.is(&key));
            if !replace {
                let what = if same {
                    "the same root key, sealed otherwise"
                } else {
                    "another root key, or one that does not open now"
                };
                return Err(Failure::new(format!("{} is there already: {what}", file.path().display()))
                    .hint("nothing was written; to put the wrapped one in its place, give --replace"));
            }
            // One that is not known to be right takes no other's place.
            if !same && opens != Opens::Yes {
                return Err(Failure::new(
                    "it is not known whether this root key is the right one, and another is there",
                )
                .hint("stop the server, so that it can be tried on the metadata; or move the other away"));
            }
            let _lock = lock(folder)?;
            if let Some(old) = old.filter(|_| !same) {
                // As after a rotation. Of a root key that does not open now, people look after the log.
                let [old, new] = [&old, &key].map(|root| audit_log::keyring_of(folder, root));
                audit_log::hand_over(folder, &old?, &new?).await?;
            }
            file.put(&text, &seal, true)?;
            format!("{}; what was there is gone", told(&opens))
        }
    };
    print(&Done { path: file.path().display().to_string(), told }, json, root::text)?;
    Ok(Exit::Ok)
}

fn told(opens: &Opens) -> String {
    match opens {
        Opens::Unknown(why) => (*why).to_owned(),
        Opens::Yes | Opens::No => "written; it opens what is in this installation".to_owned(),
    }
}

/// The root key in the file that is there; nothing where it does not open now.
fn there(file: &RootFile, passphrase: &PassphraseArgs) -> Option<RootKey> {
    seals::opened(file, passphrase, false).ok().flatten()
}

async fn list(here: &Installation, json: bool) -> Result<Exit, Failure> {
    let (_lock, engine) = here.metadata(META_CACHE).await?;
    let sites = keys::wrapped_sites(engine.as_ref()).await?;
    let listed: Vec<Listed> = sites
        .into_iter()
        .map(|site| Listed {
            name: site.public.name().to_owned(),
            fingerprint: site.public.fingerprint(),
            wrapped_ms: site.wrapped_ms,
            root: site.root,
            public: site.public.to_text(),
        })
        .collect();
    print(&listed, json, |listed| table(listed, now_ms()))?;
    Ok(Exit::Ok)
}

fn table(sites: &[Listed], now_ms: u64) -> String {
    let row = |site: &Listed| {
        vec![
            site.name.clone(),
            render::duration(now_ms.saturating_sub(site.wrapped_ms) / 1000),
            render::clean(&site.root),
            site.fingerprint.clone(),
        ]
    };
    render::table(&["SITE", "WRAPPED AGO", "ROOT KEY", "FINGERPRINT"], &sites.iter().map(row).collect::<Vec<_>>())
}

async fn remove(here: &Installation, name: &str, json: bool) -> Result<Exit, Failure> {
    let folder = &here.folder;
    rotate::own(folder)?;
    rotate::none_under_way(folder)?;
    let (_lock, engine) = here.metadata(META_CACHE).await?;
    if name.len() > SITE_NAME_MAX || !keys::forget_site(engine.as_ref(), name).await? {
        return Err(Failure::new(format!("there is no site {name:?}")).hint("see them: holdfast key site list"));
    }
    let told =
        "removed: the next root key is not wrapped to it. It still has the root key of now: if it is not trusted any \
                more, run `holdfast key root rotate`"
            .to_owned();
    print(&Done { path: name.to_owned(), told }, json, root::text)?;
    Ok(Exit::Ok)
}

/// A text file that somebody carried here.
fn read(path: &Path) -> Result<String, Failure> {
    let named = path.display();
    let mut text = String::new();
    let file = File::open(path).map_err(Failure::io(&named))?;
    file.take(FILE_MAX).read_to_string(&mut text).map_err(Failure::io(&named))?;
    Ok(text)
}
