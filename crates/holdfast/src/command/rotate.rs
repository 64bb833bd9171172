//! `holdfast key root rotate`: another root key, with all that is under the root wrapped anew. The server is stopped.
//!
//! The new key lies sealed in `root.next` until nothing is under the old one; then it takes that one's place. A run
//! that was cut off is gone on with by the next.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use base::SystemRng;
use keys::{Keyring, RootFile, RootKey, Rotated, UnderRoot};
use meta::record::{GatewayRecord, Record, key};
use meta::{Batch, Check, Engine, Range, Write};
use serde::Serialize;

use crate::audit_log;
use crate::cli::{PassphraseArgs, RotateArgs};
use crate::command::{now_ms, print, root};
use crate::exit::{Exit, Failure, chain};
use crate::metadata::{self, Installation};
use crate::seals;
use crate::serve::lock;

/// So long a gateway must stand still to be taken for dead; the others wait half a minute.
const DEAD_AFTER: Duration = Duration::from_secs(35);

/// Memory for the metadata.
const META_CACHE: usize = 64 << 20;
/// Rows between two lines about progress.
const TELL_EVERY: u64 = 10_000;

/// What was done, or with a dry run would be.
#[derive(Serialize)]
struct Told {
    dry_run: bool,
    resumed: bool,
    buckets: u64,
    tenants: u64,
    secrets: u64,
    already: u64,
    sites: Vec<String>,
    left_damaged: Vec<String>,
    old_audit_log: Option<String>,
    old_audit_key: Option<String>,
    new_audit_key: Option<String>,
}

/// The file of the key that follows, while a rotation is under way.
pub(crate) fn next_file(folder: &Path) -> RootFile {
    RootFile::new(folder.join("root.next"))
}

/// Half a rotation is no state for anything else: some rows are under one key, and some under the other.
pub(crate) fn none_under_way(folder: &Path) -> Result<(), Failure> {
    if next_file(folder).path().exists() {
        return Err(Failure::new(format!("a rotation of the root key in {} is not finished", folder.display()))
            .hint(
                "finish it: holdfast key root rotate --data-dir DIR. Do not remove root.next: what was moved already opens under no \
                 other key",
            ));
    }
    Ok(())
}

pub(crate) async fn run(here: &Installation, file: &RootFile, args: &RotateArgs, json: bool) -> Result<Exit, Failure> {
    let folder = &here.folder;
    own(folder)?;
    let _lock = lock(folder)?;
    let sealing = file.sealing()?.ok_or_else(|| root::missing(file))?;
    let seal = seals::to_open(file, &sealing, &args.passphrase, true)?.ok_or_else(|| root::missing(file))?;
    let old = file.open(seal.as_ref())?.ok_or_else(|| root::missing(file))?;
    let next = next_file(folder);
    // By its own seal: what was lost in the middle and came back from shares may be sealed otherwise.
    let before = seals::opened(&next, &args.passphrase, true)?;
    let resumed = before.is_some();
    if !here.may_be_there() {
        return Err(metadata::none_in(folder));
    }
    let engine = metadata::open(&here.place, folder, META_CACHE).await?;
    none_serves(engine.as_ref()).await?;

    // All of it is looked at before anything is changed: what opens under neither key is told while there is a way
    // back.
    let new = before.unwrap_or_else(|| RootKey::generate(&SystemRng));
    let old_ring = Keyring::of(&old);
    let found = walk(engine.as_ref(), &old_ring, &Keyring::of(&new), true).await?;
    let none_opens = found.moved == [0; 3] && found.already == [0; 3];
    if !found.damaged.is_empty() && (none_opens || !args.leave_damaged) {
        return Err(Failure::new(format!("rows that this root key does not open: {}", some(&found.damaged))).hint(
            "if it is the right key, remove these buckets or users, or give --leave-damaged: they stay as they are, and \
             open under no key",
        ));
    }
    let sites = hand_over(engine.as_ref(), &old, &new, true).await?;
    if args.dry_run {
        print(&told(&found, true, resumed, sites, None), json, text)?;
        return Ok(Exit::Ok);
    }
    let new = if resumed { new } else { next.make_after(file, seal.as_ref(), &SystemRng)? };
    let new_ring = Keyring::of(&new);
    let rotated = walk(engine.as_ref(), &old_ring, &new_ring, false).await?;
    let left = walk(engine.as_ref(), &old_ring, &new_ring, true).await?;
    if left.moved != [0; 3] {
        return Err(
            Failure::new("rows came under the old root key meanwhile").hint("stop what writes them, and run it again")
        );
    }
    // Last: a site that finds its wrap finds everything under the new key.
    let sites = hand_over(engine.as_ref(), &old, &new, false).await?;
    let [signed, signs] = [&old, &new].map(|root| audit_log::keyring_of(folder, root));
    let logs = audit_log::hand_over(folder, &signed?, &signs?).await?;
    // A gateway that slept through this ends instead of going on under the old key; and what is told at the sites begins anew under this one.
    begin_era(engine.as_ref()).await?;
    next.replace(file)?;
    print(&told(&rotated, false, resumed, sites, logs), json, text)?;
    Ok(Exit::Ok)
}

/// What a gateway that serves writes under the old root key meanwhile would open under no key. One that stands still for as long as the
/// others would wait for it is put out, as they do.
async fn none_serves(engine: &dyn Engine) -> Result<(), Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::new(chain(error));
    let (from, to) = key::gateways();
    let seen = async || {
        engine.range(Range { from: from.clone(), to: to.clone(), limit: 100 }).await.map_err(|error| failed(&error))
    };
    let before = seen().await?.rows;
    if before.is_empty() {
        return Ok(());
    }
    eprintln!(
        "{} gateways are in the metadata; looking for {} s whether any of them lives",
        before.len(),
        DEAD_AFTER.as_secs()
    );
    tokio::time::sleep(DEAD_AFTER).await;
    for (row_key, row) in seen().await?.rows {
        if !before.iter().any(|(known, then)| *known == row_key && then.version == row.version) {
            let name = GatewayRecord::decode(&row.value).map(|gateway| gateway.name).unwrap_or_default();
            return Err(Failure::new(format!("gateway {name} serves this metadata")).hint("stop all gateways first"));
        }
        let batch =
            Batch { checks: vec![Check::Is(row_key.clone(), row.version)], writes: vec![Write::Delete(row_key)] };
        engine.commit(batch).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

async fn begin_era(engine: &dyn Engine) -> Result<(), Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::new(chain(error));
    let (era, version) = meta::era(engine).await.map_err(|error| failed(&error))?;
    let mut batch = Batch::default();
    batch.replace(key::era_key(), version, key::era_value(era.saturating_add(1)));
    engine.commit(batch).await.map_err(|error| failed(&error))
}

/// Whether a key may be the one that a rotation under way goes away from, where that has moved all rows that were tried: the key that
/// follows must open every row that this one does not, and this one have signed the audit log.
pub(crate) async fn is_between(
    here: &Installation,
    old: &RootKey,
    passphrase: &PassphraseArgs,
) -> Result<bool, Failure> {
    let Some(next) = seals::opened(&next_file(&here.folder), passphrase, true)? else { return Ok(false) };
    let signed = audit_log::keyring_of(&here.folder, old)?;
    let (old, next) = (Keyring::of(old), Keyring::of(&next));
    let (_lock, engine) = here.metadata(META_CACHE).await?;
    Ok(walk(engine.as_ref(), &old, &next, true).await?.damaged.is_empty()
        && audit_log::is_signed_by(&here.folder, &signed)?)
}

/// What this writes, the server's user must be able to write on.
pub(crate) fn own(folder: &Path) -> Result<(), Failure> {
    let owner = std::fs::metadata(folder).map_err(Failure::io(format!("directory {}", folder.display())))?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Failure::new(format!("{} belongs to another user", folder.display()))
        .hint(format!("run this as that user: setpriv --reuid {owner} --clear-groups holdfast key ...")))
}

async fn walk(engine: &dyn Engine, from: &Keyring, to: &Keyring, dry_run: bool) -> Result<Rotated, Failure> {
    let mut next = TELL_EVERY;
    let mut progress = |what: UnderRoot, rows: u64| {
        if rows >= next {
            note(what, rows);
            next = rows + TELL_EVERY;
        } else if rows < next.saturating_sub(TELL_EVERY) {
            next = TELL_EVERY;
        }
    };
    keys::rotate(engine, from, to, &SystemRng, dry_run, &mut progress).await.map_err(|error| {
        Failure::new(chain(&error))
            .hint("nothing is lost: run it again when the cause is mended; the server does not start before")
    })
}

async fn hand_over(engine: &dyn Engine, old: &RootKey, new: &RootKey, dry_run: bool) -> Result<Vec<String>, Failure> {
    let done = keys::hand_over(engine, old, new, &SystemRng, now_ms(), dry_run).await;
    done.map_err(|error| {
        Failure::new(chain(&error))
            .hint("see `holdfast key site list`, and remove what is wrong: `holdfast key site remove NAME`; then run it again")
    })
}

#[allow(clippy::print_stderr)]
fn note(what: UnderRoot, rows: u64) {
    let what = match what {
        UnderRoot::Buckets => "keys of buckets",
        UnderRoot::Tenants => "keys of tenants",
        UnderRoot::Secrets => "secret keys of users",
    };
    eprintln!("{rows} {what}");
}

fn some(names: &[String]) -> String {
    let more = if names.len() > 10 { format!(" and {} more", names.len() - 10) } else { String::new() };
    format!("{}{more}", names.iter().take(10).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
}

fn told(
    rotated: &Rotated,
    dry_run: bool,
    resumed: bool,
    sites: Vec<String>,
    logs: Option<audit_log::HandedOver>,
) -> Told {
    let [buckets, tenants, secrets] = rotated.moved;
    let (old_audit_log, old_audit_key, new_audit_key) =
        logs.map_or((None, None, None), |logs| (Some(logs.old_log), Some(logs.old_key), Some(logs.new_key)));
    Told {
        dry_run,
        resumed,
        buckets,
        tenants,
        secrets,
        already: rotated.already.iter().sum(),
        sites,
        left_damaged: rotated.damaged.clone(),
        old_audit_log,
        old_audit_key,
        new_audit_key,
    }
}

fn text(told: &Told) -> String {
    let Told { buckets, tenants, secrets, already, .. } = told;
    let mut counts = format!("{buckets} keys of buckets, {tenants} keys of tenants, {secrets} secret keys of users");
    if !told.sites.is_empty() {
        counts.push_str(&format!("; for {} sites: {}", told.sites.len(), told.sites.join(", ")));
    }
    if told.dry_run {
        let word = if told.resumed { "still " } else { "" };
        return format!("{word}to be wrapped anew: {counts}; nothing was written\n");
    }
    let mut text = format!("there is a new root key; wrapped anew: {counts}");
    if *already > 0 {
        text.push_str(&format!(" ({already} by a run before)"));
    }
    text.push_str(
        ".
Shares of the old key are void: make new ones with `holdfast key root split`, and burn the old ones.
Temporary credentials and session tokens have ended. Backups of the data directory from before take the old root key: keep
that key with them, or make a new backup and destroy the old ones.
",
    );
    if let (Some(log), Some(old), Some(new)) = (&told.old_audit_log, &told.old_audit_key, &told.new_audit_key) {
        text.push_str(&format!(
            "The audit log goes on anew; the one until now is {log}. Keep both verifier keys elsewhere:\n  until now {old}\n  \
             from now {new}\n"
        ));
    }
    if !told.sites.is_empty() {
        text.push_str(
            "Each of these sites takes its wrap from the metadata at its next start. One that shall not have the new key: \
             `holdfast key site remove NAME`, and rotate once more.\n",
        );
    }
    if !told.left_damaged.is_empty() {
        text.push_str(&format!("left as they are, and open under no key: {}\n", some(&told.left_damaged)));
    }
    text
}
