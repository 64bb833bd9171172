//! `holdfast portion`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

use admin::client::Client;
use admin::{
    Done, ExposedPart, ExposurePage, MakePortion, Migration, Portion, PortionClass, PortionDetail, PortionPage,
    ReceiptFile, Rotate, RulesDocument, SetPortion, TestRules,
};
use serde::{Deserialize, Serialize};

use crate::cli::portion::{ExposureArgs, PortionArgs, PortionCommand, RulesCommand};
use crate::cli::{AdminArgs, TenantArgs};
use crate::command::{NOTHING, asking, client, now_ms, path, policy, print, receipts, release, say, segment};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, args: PortionArgs, json: bool) -> Result<Exit, Failure> {
    if let PortionCommand::VerifyReceipts { file, key } = &args.command {
        // Needs no server, and no credentials.
        return receipts::verify(file, key, json);
    }
    let client = client(admin)?;
    let tenant = &args.tenant;
    let at = |name: &str, what: &str| path(tenant, &["portions", name, what]);
    let one = |portion: &Portion| render::portions(std::slice::from_ref(portion), now_ms());
    match args.command {
        PortionCommand::List => {
            let portions = all(&client, tenant).await?;
            print(&portions, json, |portions| render::portions(portions, now_ms()))?;
        }
        PortionCommand::Create { name, description, class, cut_off } => {
            let (class, cut_off) = (class.into(), cut_off.into());
            let new = MakePortion { name, description: description.unwrap_or_default(), class, cut_off };
            let made: Portion = client.call("POST", &path(tenant, &["portions"]), Some(&new)).await?;
            print(&made, json, one)?;
        }
        PortionCommand::Show { name } => {
            let found: PortionDetail = client.call("GET", &path(tenant, &["portions", &name]), NOTHING).await?;
            print(&found, json, |found| render::portion(found, now_ms()))?;
        }
        PortionCommand::Enable { name } => set(&client, &at(&name, "state"), SetPortion::Enable, json).await?,
        PortionCommand::Disable { name } => set(&client, &at(&name, "state"), SetPortion::Disable, json).await?,
        PortionCommand::CutOff { name, class } => {
            set(&client, &at(&name, "state"), SetPortion::CutOff(class.into()), json).await?;
        }
        PortionCommand::Keep { name } => {
            set(&client, &at(&name, "state"), SetPortion::Keep, json).await.map(|()| told_to_enable(&name))?
        }
        PortionCommand::DefaultPolicy { name } => {
            set(&client, &at(&name, "state"), SetPortion::DefaultPolicy, json).await?;
        }
        PortionCommand::Shred { name, days, confirm, dry_run } => {
            if dry_run {
                let told = summary(&client, tenant, &name, None).await?;
                return print(&told, json, |told| render::exposed_summary(&name, told, "would be lost"))
                    .map(|()| Exit::Ok);
            }
            if days == 0 && confirm.as_deref() != Some(&name) {
                return Err(Failure::usage("a portion that is shredded at once is gone for good").hint(format!(
                    "look first: --dry-run; then repeat its name: --confirm '{}'",
                    render::clean(&name)
                )));
            }
            let found: PortionDetail = client.call("GET", &path(tenant, &["portions", &name]), NOTHING).await?;
            set(&client, &at(&name, "state"), SetPortion::Shred(days), json).await?;
            if found.versions.iter().any(|version| version.class == PortionClass::Sealed) {
                eprintln!(
                    "a backup of meta/ from before, with the root key, brings the key back: end those backups too"
                );
            }
            eprintln!("`holdfast portion receipts {}` proves it once it is done", found.portion.id);
        }
        PortionCommand::Rotate { name, no_rewrap, class } => {
            let rotate = Rotate { rewrap: !no_rewrap, class: class.map(Into::into) };
            let rotated: Portion = client.call("POST", &at(&name, "rotate"), Some(&rotate)).await?;
            print(&rotated, json, one)?;
        }
        PortionCommand::Rekey { name, dry_run } => {
            if dry_run {
                let told = summary(&client, tenant, &name, None).await?;
                return print(&told, json, |told| render::exposed_summary(&name, told, "would be sealed anew"))
                    .map(|()| Exit::Ok);
            }
            let rekeyed: Portion = client.call("POST", &at(&name, "rekey"), NOTHING).await?;
            print(&rekeyed, json, one)?;
            eprintln!(
                "parts are being sealed anew; `holdfast worker list` counts them, `portion show` tells when it is done"
            );
        }
        PortionCommand::Exposure(args) => exposures(&client, tenant, args, json).await?,
        PortionCommand::Rules(command) => return rules(&client, tenant, command, json).await,
        PortionCommand::Receipts { name, key_id } => {
            let at = match (key_id, name) {
                (Some(id), _) => format!("/v1/receipts/{}", segment(&id)),
                (None, name) => at(&name.unwrap_or_default(), "receipts"),
            };
            let file: ReceiptFile = client.call("GET", &at, NOTHING).await?;
            print(&file, json, receipts::text)?;
        }
        PortionCommand::VerifyReceipts { .. } => {}
        PortionCommand::Migrate { status } => {
            let method = if status { "GET" } else { "POST" };
            let told: Migration = client.call(method, &path(tenant, &["portion-migration"]), NOTHING).await?;
            let words = |told: &Migration| match told.running {
                true => "parts under buckets' keys are being moved; `holdfast worker list` counts them\n".to_owned(),
                false => "no parts are being moved\n".to_owned(),
            };
            print(&told, json, words)?;
        }
    }
    Ok(Exit::Ok)
}

async fn all(client: &Client, tenant: &TenantArgs) -> Result<Vec<Portion>, Failure> {
    let at = path(tenant, &["portions"]);
    let mut portions = Vec::new();
    let mut after = None;
    loop {
        let page: PortionPage = client.call("GET", &asking(&at, &[("after", after)]), NOTHING).await?;
        portions.extend(page.portions);
        after = page.next;
        if after.is_none() {
            return Ok(portions);
        }
    }
}

async fn set(client: &Client, at: &str, set: SetPortion, json: bool) -> Result<(), Failure> {
    let portion: Portion = client.call("PUT", at, Some(&set)).await?;
    print(&portion, json, |portion| render::portions(std::slice::from_ref(portion), now_ms()))
}

/// As in AWS KMS, what is kept does not open at once.
#[allow(clippy::print_stderr, reason = "what to do next is no data")]
fn told_to_enable(name: &str) {
    eprintln!("it is kept, and disabled: `holdfast portion enable {}` opens it again", render::clean(name));
}

/// What a key opens, counted.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) objects: u64,
    pub(crate) parts: u64,
    pub(crate) bytes: u64,
    pub(crate) unreadable_rows: u64,
    pub(crate) buckets: BTreeMap<String, u64>,
    /// To whom the key was released.
    pub(crate) principals: BTreeSet<String>,
    /// Whether nothing moved, or came, while it was counted.
    pub(crate) exact: bool,
}

/// Of one portion, or of all that were released to a user.
async fn exposures(client: &Client, tenant: &TenantArgs, args: ExposureArgs, json: bool) -> Result<(), Failure> {
    let ExposureArgs { name, principal, key_version, summary: short } = args;
    // A key's id is unique where a name may be another portion's by now; people read the name.
    let names: BTreeMap<String, String> = match &principal {
        Some(user) => {
            let held = release::holders(client, tenant, None, Some(user)).await?;
            held.into_iter().map(|one| (one.key, one.portion)).collect()
        }
        None => name.into_iter().map(|name| (name.clone(), name)).collect(),
    };
    if !short {
        for (key, name) in &names {
            exposure(client, tenant, key, name, key_version, json).await?;
        }
        return Ok(());
    }
    let mut all = Summary { exact: true, ..Summary::default() };
    for name in names.keys() {
        let told = summary(client, tenant, name, key_version).await?;
        all.objects += told.objects;
        all.parts += told.parts;
        all.bytes += told.bytes;
        all.unreadable_rows += told.unreadable_rows;
        all.exact &= told.exact;
        for (bucket, objects) in told.buckets {
            *all.buckets.entry(bucket).or_default() += objects;
        }
        all.principals.extend(told.principals);
    }
    let what = match &principal {
        Some(user) => format!("{} portions that {user} had", names.len()),
        None => names.into_keys().collect(),
    };
    print(&all, json, |told| render::exposed_summary(&what, told, "would be open"))
}

/// To whom a portion was released.
async fn principals(client: &Client, tenant: &TenantArgs, name: &str) -> Result<BTreeSet<String>, Failure> {
    let held = release::holders(client, tenant, Some(name.to_owned()), None).await?;
    Ok(held.into_iter().map(|one| one.user).collect())
}

/// Most walks over what a key opens before it is told as it is.
const WALKS_MAX: usize = 5;

/// Parts that were told, without what they are called: there may be a million.
#[derive(Default)]
struct Told {
    seen: HashSet<[u64; 2]>,
    by: [RandomState; 2],
}

impl Told {
    /// Whether it was not told yet.
    fn is_new(&mut self, part: &ExposedPart) -> bool {
        let what = (&part.bucket, &part.key, &part.version, part.part);
        let digest = self.by.each_ref().map(|by| by.hash_one(what));
        self.seen.insert(digest)
    }
}

/// How what a key opens was told.
struct Heard {
    unreadable: u64,
    /// A whole walk has found nothing that was not told before.
    exact: bool,
}

/// Calls `each` with what a key opens, a page at a time and each part once: there may be a hundred thousand.
///
/// A version may move while the rows are walked, and be missed. So they are walked until nothing new is found.
async fn exposed(
    client: &Client,
    at: &str,
    version: Option<u32>,
    mut each: impl FnMut(Vec<ExposedPart>) -> Result<(), Failure>,
) -> Result<Heard, Failure> {
    let version = version.map(|version| version.to_string());
    let mut told = Told::default();
    let mut heard = Heard { unreadable: 0, exact: false };
    for _ in 0..WALKS_MAX {
        let mut cursor = None;
        heard = Heard { unreadable: 0, exact: true };
        loop {
            let asked = asking(at, &[("version", version.clone()), ("cursor", cursor)]);
            let page: ExposurePage = client.call("GET", &asked, NOTHING).await?;
            heard.unreadable += page.unreadable;
            let new: Vec<ExposedPart> = page.parts.into_iter().filter(|part| told.is_new(part)).collect();
            heard.exact &= new.is_empty();
            each(new)?;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if heard.exact {
            break;
        }
    }
    Ok(heard)
}

async fn summary(client: &Client, tenant: &TenantArgs, name: &str, version: Option<u32>) -> Result<Summary, Failure> {
    let at = &path(tenant, &["portions", name, "exposure"]);
    let mut told = Summary { principals: principals(client, tenant, name).await?, ..Summary::default() };
    let mut last: Option<(String, String, Option<String>)> = None;
    let heard = exposed(client, at, version, |parts| {
        for part in parts {
            told.parts += 1;
            told.bytes += part.bytes;
            // Parts of one version follow each other.
            let object = (part.bucket.clone(), part.key, part.version);
            if last.as_ref() != Some(&object) {
                told.objects += 1;
                *told.buckets.entry(part.bucket).or_default() += 1;
            }
            last = Some(object);
        }
        Ok(())
    })
    .await?;
    (told.unreadable_rows, told.exact) = (heard.unreadable, heard.exact);
    Ok(told)
}

/// A line a part, as they come.
async fn exposure(
    client: &Client,
    tenant: &TenantArgs,
    key: &str,
    name: &str,
    version: Option<u32>,
    json: bool,
) -> Result<(), Failure> {
    let at = &path(tenant, &["portions", key, "exposure"]);
    let mut count = 0;
    let Heard { unreadable, exact } = exposed(client, at, version, |parts| {
        count += parts.len();
        let mut lines = String::new();
        for part in &parts {
            let line = match json {
                true => serde_json::to_string(part).map_err(|error| Failure::new(error.to_string()))?,
                false => render::exposed(part),
            };
            lines.push_str(&line);
            lines.push('\n');
        }
        say(&lines)
    })
    .await?;
    let rest = if unreadable > 0 { format!(", and {unreadable} rows that cannot be read") } else { String::new() };
    let had = principals(client, tenant, key).await?;
    let had = if had.is_empty() { "nobody".to_owned() } else { Vec::from_iter(had).join(", ") };
    let noun = if count == 1 { "part" } else { "parts" };
    eprintln!("{}: {count} {noun}{rest}; released to {}", render::clean(name), render::clean(&had));
    if !exact {
        eprintln!("{}", render::INEXACT);
    }
    Ok(())
}

async fn rules(client: &Client, tenant: &TenantArgs, command: RulesCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        RulesCommand::Get => {
            let found: RulesDocument = client.call("GET", &path(tenant, &["portion-rules"]), NOTHING).await?;
            let document = found.document.unwrap_or_else(|| "{\"rules\": []}".to_owned());
            say(&(document.trim_end().to_owned() + "\n"))?;
        }
        RulesCommand::Put { file } => {
            let put = RulesDocument { document: Some(policy::read(&file)?) };
            let done: Done = client.call("PUT", &path(tenant, &["portion-rules"]), Some(&put)).await?;
            print(&done, json, |_| "the rules are in force for what is written from now on\n".to_owned())?;
        }
        RulesCommand::Test { object, tag, content_type, file } => {
            let object = object.strip_prefix("s3://").unwrap_or(&object);
            let (bucket, key) =
                object.split_once('/').ok_or_else(|| Failure::usage("an object is BUCKET/KEY or s3://BUCKET/KEY"))?;
            let pair = |pair: &String| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            let tags: Option<BTreeMap<String, String>> = tag.iter().map(pair).collect();
            let test = TestRules {
                document: file.as_deref().map(policy::read).transpose()?,
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                tags: tags.ok_or_else(|| Failure::usage("--tag takes NAME=VALUE"))?,
                content_type: content_type.unwrap_or_default(),
            };
            let choice: admin::Choice =
                client.call("POST", &path(tenant, &["portion-rules", "test"]), Some(&test)).await?;
            print(&choice, json, |choice| {
                let by = choice.rule.map_or_else(|| "no rule matches".to_owned(), |rule| format!("rule {rule}"));
                format!("{}  ({by})\n", render::clean(&choice.portion))
            })?;
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_once() {
        let part = |key: &str, version: Option<&str>, part| ExposedPart {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            version: version.map(str::to_owned),
            part,
            bytes: 1,
            key_version: 1,
        };
        let mut told = Told::default();
        let parts = [part("k", None, 1), part("k", Some("1"), 1), part("k", Some("1"), 2), part("l", Some("1"), 1)];
        assert!(parts.iter().all(|part| told.is_new(part)));
        // Under another version of the key it is the same part, which was moved.
        assert!(!parts.iter().any(|part| told.is_new(&ExposedPart { key_version: 2, ..part.clone() })));
    }
}
