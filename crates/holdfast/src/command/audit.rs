//! `holdfast audit`: reads the log in its folder. The server may run or not.

use std::path::{Path, PathBuf};

use audit::{AuditError, Entry, Outcome, Report, Standing, VerifierKey};
use base::AccountId;
use keys::{RootFile, SITE_KIND, Sealing};
use serde::Serialize;

use crate::audit_log;
use crate::cli::audit::AuditCommand;
use crate::cli::{AdminArgs, PassphraseArgs};
use crate::command::{data_dir, now_ms, print, root, say};
use crate::exit::{Exit, Failure, chain};
use crate::{render, seals};

pub(crate) fn run(admin: &AdminArgs, command: AuditCommand, json: bool) -> Result<Exit, Failure> {
    let home = data_dir(admin);
    match command {
        AuditCommand::Status => status(&there(home.join("audit"))?, json),
        AuditCommand::Verify { dir, key, passphrase } => {
            let dir = dir.unwrap_or_else(|| home.join("audit"));
            verify(&dir, key.as_deref(), &passphrase, json)
        }
        AuditCommand::List { from, limit } => list(&there(home.join("audit"))?, from, limit, json),
        AuditCommand::Prove { entry } => {
            say(&audit::prove(&there(home.join("audit"))?, entry)?.to_string())?;
            Ok(Exit::Ok)
        }
        AuditCommand::Key { passphrase } => {
            let file = RootFile::new(home.join("root.key"));
            let key = seals::opened(&file, &passphrase, true)?.ok_or_else(|| root::missing(&file))?;
            say(&format!("{}\n", audit_log::verifier(&audit_log::keyring_of(home, &key)?)?))?;
            Ok(Exit::Ok)
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::new(chain(&error))
    }
}

fn there(dir: PathBuf) -> Result<PathBuf, Failure> {
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(Failure::new(format!("there is no audit log {}", dir.display()))
        .hint("name the server's data directory with --data-dir; the log is made when the server starts"))
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How far back the log's growth is looked at.
const WEEK_MS: u64 = 7 * DAY_MS;
/// Less room than for so many days is told as too short: time for somebody to buy a disk.
const DAYS_MIN: u64 = 30;
/// No log grows more slowly than this, whatever its last week was like: a night of denials writes as much.
const DAY_BYTES_MIN: u64 = 1 << 20;

/// Whether there will be room for what is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Room {
    /// There is.
    Ok,
    /// For fewer than [`DAYS_MIN`] days.
    Short,
    /// The disk was full: what was set aside is being used up.
    Reserve,
}

#[derive(Debug, Serialize)]
struct Stood {
    room: Room,
    entries: u64,
    last_ms: Option<u64>,
    entries_a_day: u64,
    bytes: u64,
    reserve_bytes: u64,
    free_bytes: u64,
    days_left: u64,
}

fn status(dir: &Path, json: bool) -> Result<Exit, Failure> {
    let now_ms = now_ms();
    let told = stood(&audit::standing(dir, now_ms.saturating_sub(WEEK_MS))?, now_ms);
    print(&told, json, |told| room_text(told, now_ms))?;
    Ok(if told.room == Room::Ok { Exit::Ok } else { Exit::No })
}

fn stood(found: &Standing, now_ms: u64) -> Stood {
    // A log that is younger than a week had no week to grow in.
    let age_ms = now_ms.saturating_sub(found.first_ms.unwrap_or(now_ms)).clamp(DAY_MS, WEEK_MS);
    let entries_a_day = found.lately.saturating_mul(DAY_MS).div_ceil(age_ms);
    let entry_bytes = found.bytes.checked_div(found.signed).unwrap_or(0);
    let days_left = found.free_bytes / entries_a_day.saturating_mul(entry_bytes).max(DAY_BYTES_MIN);
    let room = match found.reserve_bytes {
        0 => Room::Reserve,
        _ if days_left < DAYS_MIN => Room::Short,
        _ => Room::Ok,
    };
    Stood {
        room,
        entries: found.signed,
        last_ms: found.last_ms,
        entries_a_day,
        bytes: found.bytes,
        reserve_bytes: found.reserve_bytes,
        free_bytes: found.free_bytes,
        days_left,
    }
}

fn room_text(told: &Stood, now_ms: u64) -> String {
    let last = told
        .last_ms
        .map_or("none yet".to_owned(), |at| format!("{} ago", render::duration(now_ms.saturating_sub(at) / 1000)));
    let days =
        if told.days_left > 3650 { "more than ten years".to_owned() } else { format!("{} days", told.days_left) };
    let mut text = format!(
        "entries     {}, {} a day in the last week; the last one {last}\n\
         on disk     {}\n\
         room        {} free, for {days} at this pace\n\
         set aside   {}\n",
        told.entries,
        told.entries_a_day,
        render::bytes(told.bytes),
        render::bytes(told.free_bytes),
        render::bytes(told.reserve_bytes),
    );
    text.push_str(match told.room {
        Room::Ok => "",
        Room::Short => "\nfree space on its disk: a full one stops shreddings, new policies, approvals, and strict releases\n",
        Room::Reserve => {
            "\nthe disk was full and nothing is set aside: free space now; where it ends, shreddings, new policies, approvals, \
             and strict releases stop\n"
        }
    });
    text
}

/// What the signature was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum CheckedBy {
    /// A key that was given.
    Given,
    /// The key that the root key beside the log gives.
    RootKey,
    /// None.
    Nothing,
}

#[derive(Serialize)]
struct Verified {
    whole: bool,
    entries: u64,
    signed: Option<u64>,
    checked_by: CheckedBy,
    torn_bytes: u64,
    first_wrong: Option<u64>,
    faults: Vec<String>,
}

fn verify(dir: &Path, key: Option<&str>, passphrase: &PassphraseArgs, json: bool) -> Result<Exit, Failure> {
    let dir = there(dir.to_owned())?;
    let (key, checked_by) = match key {
        Some(text) => {
            let parsed: Result<VerifierKey, AuditError> = text.trim().parse();
            (Some(parsed.map_err(|error| Failure::usage(chain(&error)))?), CheckedBy::Given)
        }
        None => match beside(&dir, passphrase)? {
            Some(key) => (Some(key), CheckedBy::RootKey),
            None => (None, CheckedBy::Nothing),
        },
    };
    let report = match &key {
        Some(key) => audit::verify(&dir, key)?,
        None => audit::verify_unsigned(&dir)?,
    };
    let verified = told(&report, checked_by);
    print(&verified, json, text)?;
    Ok(if verified.whole { Exit::Ok } else { Exit::No })
}

/// The key that the root key in the folder above gives, if that can be read without asking anybody.
fn beside(dir: &Path, args: &PassphraseArgs) -> Result<Option<VerifierKey>, Failure> {
    let home = dir.canonicalize().map_err(Failure::io(dir.display()))?.parent().map(Path::to_owned);
    let Some(home) = home else { return Ok(None) };
    let file = RootFile::new(home.join("root.key"));
    // Of no right to read it, or no key: the rest can be verified all the same.
    let opened = match file.sealing() {
        // Of another machine: its TPM or its site's key is not here.
        Ok(Some(Sealing::Keeper(kind))) if kind == seals::TPM_KIND || kind == SITE_KIND => {
            seals::opened(&file, args, false).unwrap_or(None)
        }
        Ok(Some(_)) => seals::opened(&file, args, false)?,
        Ok(None) | Err(_) => None,
    };
    opened.map(|key| audit_log::verifier(&audit_log::keyring_of(&home, &key)?)).transpose()
}

fn told(report: &Report, checked_by: CheckedBy) -> Verified {
    Verified {
        whole: report.is_whole(),
        entries: report.entries,
        signed: report.checkpoint.as_ref().map(|checkpoint| checkpoint.size),
        checked_by,
        torn_bytes: report.torn_bytes,
        first_wrong: report.first_wrong(),
        faults: report.faults.iter().map(ToString::to_string).collect(),
    }
}

fn text(told: &Verified) -> String {
    let mut text = match told.first_wrong {
        None => format!("whole: {} entries, {} of them signed\n", told.entries, told.signed.unwrap_or_default()),
        Some(entry) => format!("not whole: entry {entry} is the first that is wrong or not vouched for\n"),
    };
    for fault in &told.faults {
        text.push_str(&format!("  {}\n", render::clean(fault)));
    }
    if told.torn_bytes > 0 {
        text.push_str("the last line is not whole: an append that is going on, or a crash\n");
    }
    text.push_str(match told.checked_by {
        CheckedBy::Given => "the signature was checked against the key given\n",
        CheckedBy::RootKey => {
            "the signature was checked only against the key that the root key beside the log gives; who has that key can \
             have signed another history: give the one that you kept with --key\n"
        }
        CheckedBy::Nothing => {
            "only chain and tree were checked: there is no root key to read beside the log; give the verifier key with \
             --key\n"
        }
    });
    text
}

/// An entry, as it is told.
#[derive(Serialize)]
struct Listed {
    sequence: u64,
    time_ms: u64,
    principal: String,
    account: String,
    action: String,
    resource: String,
    outcome: Outcome,
    details: std::collections::BTreeMap<String, String>,
}

fn list(dir: &Path, from: Option<u64>, limit: u64, json: bool) -> Result<Exit, Failure> {
    let size = audit::size(dir)?;
    let from = from.unwrap_or_else(|| size.saturating_sub(limit));
    let numbers = from..size.min(from.saturating_add(limit));
    let entries: Vec<Entry> = numbers.map(|number| audit::entry(dir, number)).collect::<Result<_, _>>()?;
    let listed: Vec<Listed> = entries.into_iter().map(listed).collect();
    print(&listed, json, |listed| table(listed, now_ms()))?;
    Ok(Exit::Ok)
}

fn listed(entry: Entry) -> Listed {
    let Entry { sequence, event } = entry;
    Listed {
        sequence,
        time_ms: event.time_ms,
        principal: event.principal,
        account: event.account.to_string(),
        action: event.action,
        resource: event.resource,
        outcome: event.outcome,
        details: event.details,
    }
}

fn table(entries: &[Listed], now_ms: u64) -> String {
    let row = |entry: &Listed| {
        let is_default = entry.account == AccountId::DEFAULT.to_string();
        let details: Vec<String> = entry.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let outcome = match entry.outcome {
            Outcome::Allowed => "done",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        };
        vec![
            entry.sequence.to_string(),
            render::duration(now_ms.saturating_sub(entry.time_ms) / 1000),
            if is_default { "-".to_owned() } else { entry.account.clone() },
            render::clean(&entry.principal),
            entry.action.clone(),
            render::clean(&entry.resource),
            outcome.to_owned(),
            render::clean(&details.join(" ")),
        ]
    };
    let head = ["ENTRY", "AGO", "ACCOUNT", "WHO", "WHAT", "OF", "OUTCOME", "DETAILS"];
    render::table(&head, &entries.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use base::SeededRng;

    use super::*;
    use keys::Keyring;

    #[test]
    fn what_a_signature_was_checked_against_is_told() {
        let report = Report { entries: 3, checkpoint: None, torn_bytes: 0, faults: Vec::new() };
        let table = [
            (CheckedBy::Given, "the key given"),
            (CheckedBy::RootKey, "only against the key that the root key"),
            (CheckedBy::Nothing, "only chain and tree"),
        ];
        for (checked_by, words) in table {
            assert!(text(&told(&report, checked_by)).contains(words), "{words}");
        }
    }

    #[test]
    fn a_disk_that_will_be_full_is_told_before() {
        let standing = |lately, free_bytes, reserve_bytes| Standing {
            signed: 1_000_000,
            first_ms: Some(0),
            last_ms: Some(1),
            lately,
            bytes: 1_000_000_000,
            reserve_bytes,
            free_bytes,
        };
        let gib = 1 << 30;
        let table = [
            (standing(0, 100 * gib, 1), Room::Ok, 102_400),
            // 100,000 a day of 1,000 bytes each.
            (standing(700_000, 100 * gib, 1), Room::Ok, 1_073),
            (standing(700_000, gib, 1), Room::Short, 10),
            (standing(0, 29 << 20, 1), Room::Short, 29),
            (standing(0, 100 * gib, 0), Room::Reserve, 102_400),
            (
                Standing {
                    signed: 0,
                    first_ms: None,
                    last_ms: None,
                    lately: 0,
                    bytes: 0,
                    reserve_bytes: 1,
                    free_bytes: gib,
                },
                Room::Ok,
                1_024,
            ),
        ];
        for (found, room, days) in table {
            let told = stood(&found, 100 * DAY_MS);
            assert_eq!((told.room, told.days_left), (room, days), "{found:?}");
            assert_eq!(room_text(&told, 100 * DAY_MS).contains("free space"), room != Room::Ok);
        }
    }

    #[test]
    fn a_young_log_grows_as_fast_as_an_old_one() {
        let found = Standing {
            signed: 1_000,
            first_ms: Some(0),
            last_ms: Some(1),
            lately: 1_000,
            bytes: 1_000_000,
            reserve_bytes: 1,
            free_bytes: 1 << 30,
        };
        for (age_ms, a_day) in [(0, 1_000), (DAY_MS, 1_000), (2 * DAY_MS, 500), (WEEK_MS, 143), (2 * WEEK_MS, 143)] {
            assert_eq!(stood(&found, age_ms).entries_a_day, a_day, "{age_ms}");
        }
    }

    #[test]
    fn the_verifier_key_follows_from_the_root_key() {
        let rng = SeededRng::new(1);
        let (one, other) = (keys::RootKey::generate(&rng), keys::RootKey::generate(&rng));
        let verifier = |key| audit_log::verifier(&Keyring::of(key)).unwrap().to_string();
        assert_eq!(verifier(&one), verifier(&one));
        assert_ne!(verifier(&one), verifier(&other));
        assert!(verifier(&one).starts_with("holdfast/"));
    }
}
