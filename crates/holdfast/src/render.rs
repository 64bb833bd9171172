//! Screens: from data to text. Pure.

mod island;
pub(crate) mod ladder;
pub(crate) mod release;
pub(crate) mod repair;
pub(crate) mod scan;

pub(crate) use island::island;

use admin::{ExposedPart, Group, Portion, PortionDetail, Site, Tenant, TenantDetail, User};
use store::api::{Grant, KeyEntry};
use store::{GatewayReport, ScrubProgress, Status, TargetReport, TestReport, WorkerReport};

use crate::command::portion::Summary;

/// Columns of text, aligned. The last column is not padded.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut width: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in width.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut line = String::new();
        for (i, cell) in cells.iter().enumerate() {
            line.push_str(cell);
            if i + 1 < cells.len() {
                let pad = width.get(i).unwrap_or(&0).saturating_sub(cell.chars().count());
                line.push_str(&" ".repeat(pad + 2));
            }
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// A name from outside, safe for a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn ago(since_ms: u64, now_ms: u64) -> String {
    duration(now_ms.saturating_sub(since_ms) / 1000)
}

pub(crate) fn status(status: &Status, now_ms: u64) -> String {
    let mut text = format!("{}: {}\n\n", status.state.word(), clean(&status.summary));
    text.push_str(&sites(&status.sites, now_ms));
    text.push('\n');
    let more = match status.tolerates {
        0 => "none: the next lost site may lose data".to_owned(),
        1 => "any one more site".to_owned(),
        n => format!("any {n} sites"),
    };
    text.push_str(&format!("may be lost   {more}\n"));
    text.push_str(&format!(
        "at risk       {} blobs, {} with shards away from home, missing or damaged\n",
        status.at_risk_blobs,
        bytes(status.at_risk_bytes)
    ));
    text.push_str(&format!("repair        {}\n", repair::line(&status.repair, status.repair_backlog)));
    for target in &status.targets {
        let error = target.last_error.as_deref().map_or_else(String::new, |error| format!(", {}", clean(error)));
        let (name, queued, dropped) = (clean(&target.name), target.queued, target.dropped);
        text.push_str(&format!("events        {name}: {queued} wait, {dropped} dropped{error}\n"));
    }
    for warning in &status.warnings {
        text.push_str(&format!("warning       {}\n", clean(warning)));
    }
    text.push_str(&format!("buckets       {}\n", status.buckets));
    text.push_str(&format!("up            {}, version {}\n", ago(status.started_ms, now_ms), status.version));
    text
}

pub(crate) fn sites(sites: &[Site], now_ms: u64) -> String {
    let rows: Vec<Vec<String>> = sites
        .iter()
        .map(|site| {
            let note = match (&site.resync, &site.error) {
                (Some(resync), _) => format!("refilling {} of {} blobs", resync.done, resync.total),
                (None, Some(error)) => clean(error),
                (None, None) => String::new(),
            };
            vec![
                clean(&site.name),
                site.state.clone(),
                ago(site.since_ms, now_ms),
                format!("{:.1} ms", site.put_p95_ms),
                format!("{:.1} ms", site.get_p95_ms),
                site.errors.to_string(),
                site.damaged.to_string(),
                clean(&site.url),
                note,
            ]
        })
        .collect();
    table(&["SITE", "STATE", "SINCE", "PUT P95", "GET P95", "ERRORS", "DAMAGED", "URL", "NOTE"], &rows)
}

fn granted(grants: &[Grant]) -> String {
    let one = |grant: &Grant| format!("{}:{}", clean(&grant.bucket), format!("{:?}", grant.right).to_lowercase());
    joined(grants.iter().map(one))
}

fn joined(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn all(names: &[String]) -> String {
    joined(names.iter().map(|name| clean(name)))
}

pub(crate) fn names(names: &[String]) -> String {
    names.iter().map(|name| clean(name) + "\n").collect()
}

/// Credentials just made, and what to do next.
pub(crate) fn secret(kind: &str, name: &str, access_key: &str, secret_key: &str, next: &str) -> String {
    let name = clean(name);
    format!(
        "{kind:<12}{name}\naccess key  {access_key}\nsecret key  {secret_key}\n\nThe secret is not shown again. Next: {next}\n"
    )
}

/// What a user is granted; a tenant's administrator needs nothing.
fn rights(user: &User) -> String {
    if user.name == "root" { "everything".to_owned() } else { granted(&user.grants) }
}

pub(crate) fn users(users: &[User]) -> String {
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            let keys = joined(user.keys.iter().map(|key| clean(&key.access_key)));
            vec![clean(&user.name), keys, rights(user), all(&user.policies), all(&user.groups)]
        })
        .collect();
    table(&["USER", "ACCESS KEYS", "GRANTS", "POLICIES", "GROUPS"], &rows)
}

pub(crate) fn user(user: &User) -> String {
    let mut text = format!("user      {}\nid        {}\n", clean(&user.name), clean(&user.id));
    for key in &user.keys {
        let state = if key.enabled { "" } else { "  disabled" };
        text.push_str(&format!("key       {}{state}\n", clean(&key.access_key)));
    }
    let (grants, policies, groups) = (rights(user), all(&user.policies), all(&user.groups));
    text + &format!("grants    {grants}\npolicies  {policies}\ngroups    {groups}\n")
}

pub(crate) fn keys(keys: &[KeyEntry], now_ms: u64) -> String {
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let state = if key.enabled { "enabled" } else { "disabled" };
            vec![clean(&key.access_key), state.to_owned(), ago(key.created_ms, now_ms)]
        })
        .collect();
    table(&["ACCESS KEY", "STATE", "AGE"], &rows)
}

pub(crate) fn groups(groups: &[Group]) -> String {
    let row = |group: &Group| vec![clean(&group.name), granted(&group.grants), all(&group.policies)];
    table(&["GROUP", "GRANTS", "POLICIES"], &groups.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn group(group: &Group) -> String {
    let members = all(group.members.as_deref().unwrap_or_default());
    let (grants, policies) = (granted(&group.grants), all(&group.policies));
    format!("group     {}\nmembers   {members}\ngrants    {grants}\npolicies  {policies}\n", clean(&group.name))
}

pub(crate) fn tenants(tenants: &[Tenant], now_ms: u64) -> String {
    let row = |tenant: &Tenant| vec![clean(&tenant.name), tenant.account.clone(), ago(tenant.created_ms, now_ms)];
    table(&["TENANT", "ACCOUNT", "AGE"], &tenants.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn tenant(tenant: &TenantDetail, now_ms: u64) -> String {
    let mut rows = vec![("tenant", clean(&tenant.name)), ("account", tenant.account.clone())];
    let Some(half) = &tenant.half else {
        rows.push(("key", "whole under the root key".to_owned()));
        return named(&rows);
    };
    rows.push(("key", "half under the root key, half held by the customer".to_owned()));
    rows.push(("held by", format!("{}, {}", half.kind, clean(&half.key))));
    let options = half.options.iter().filter(|(name, _)| *name != "key");
    rows.extend(options.map(|(name, value)| (name.as_str(), clean(value))));
    rows.push(("held for", ago(half.since_ms, now_ms)));
    rows.push(("state", half.state.clone()));
    if let Some(trouble) = &half.trouble {
        rows.push(("because", clean(trouble)));
    }
    let asked = half.asked_ms.map_or_else(|| "not yet".to_owned(), |at| format!("{} ago", ago(at, now_ms)));
    rows.push(("asked", asked));
    rows.push(("lease", format!("{} each time it is given", duration(half.lease_ms / 1000))));
    if let Some(until) = half.until_ms.filter(|until| *until > now_ms) {
        rows.push(("shuts in", format!("{}, unless it is given again", ago(now_ms, until))));
    }
    if half.older > 0 {
        rows.push(("moving", "to this key, from those that the tenant had before".to_owned()));
    }
    if half.migrating {
        rows.push(("moving", "to portions, from buckets' keys, which take no half".to_owned()));
    }
    named(&rows)
}

/// Values, each behind its name, below one another.
fn named(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

pub(crate) fn workers(workers: &[WorkerReport]) -> String {
    let rows: Vec<Vec<String>> = workers
        .iter()
        .map(|worker| {
            let progress = match worker.progress {
                Some((done, total)) => format!("{done} of {total}"),
                None if worker.bytes > 0 => bytes(worker.bytes),
                None => String::new(),
            };
            let error = worker.last_error.as_deref().map_or_else(String::new, clean);
            vec![
                worker.name.clone(),
                worker.state.clone(),
                worker.queue.to_string(),
                worker.done.to_string(),
                progress,
                error,
            ]
        })
        .collect();
    table(&["WORKER", "STATE", "QUEUE", "DONE", "PROGRESS", "LAST ERROR"], &rows)
}

pub(crate) fn gateways(gateways: &[GatewayReport]) -> String {
    if gateways.is_empty() {
        return "one process serves this store: its metadata are embedded in it\n".to_owned();
    }
    let rows: Vec<Vec<String>> = gateways
        .iter()
        .map(|gateway| {
            let role = match (gateway.leads, gateway.is_this) {
                (true, true) => "leads, asked",
                (true, false) => "leads",
                (false, true) => "asked",
                (false, false) => "",
            };
            vec![
                clean(&gateway.name),
                gateway.id.clone(),
                clean(&gateway.software),
                role.to_owned(),
                format!("{:.1} s", gateway.silent_ms as f64 / 1000.0),
                format!("{:+.1} s", gateway.ahead_ms as f64 / 1000.0),
            ]
        })
        .collect();
    table(&["GATEWAY", "ID", "VERSION", "ROLE", "SILENT", "CLOCK"], &rows)
}

pub(crate) fn targets(targets: &[TargetReport], now_ms: u64) -> String {
    if targets.is_empty() {
        return "no target is configured; `holdfast config example` shows how\n".to_owned();
    }
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|target| {
            vec![
                clean(&target.name),
                target.kind.clone(),
                target.queued.to_string(),
                target.delivered.to_string(),
                target.failed.to_string(),
                target.dropped.to_string(),
                target.last_delivery_ms.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at, now_ms))),
                clean(&target.address),
                target.last_error.as_deref().map_or_else(String::new, clean),
            ]
        })
        .collect();
    let head = ["TARGET", "KIND", "QUEUED", "DELIVERED", "FAILED", "DROPPED", "LAST", "ADDRESS", "LAST ERROR"];
    table(&head, &rows)
}

pub(crate) fn test(report: &TestReport) -> String {
    match &report.error {
        None => format!("{} took the test event within {} ms\n", clean(&report.name), report.took_ms),
        Some(error) => format!("{} did not take the test event: {}\n", clean(&report.name), clean(error)),
    }
}

pub(crate) fn scrub(scrub: &ScrubProgress) -> String {
    if scrub.started_ms == 0 {
        return "no scrub has run since this server started\n".to_owned();
    }
    let end = scrub.finished_ms.unwrap_or(scrub.started_ms);
    let head = if scrub.running { "scrub is running" } else { "scrub is done" };
    let mut text = format!(
        "{head}: {} of {} blobs, {} shards, {} read",
        scrub.blobs_done,
        scrub.blobs_total,
        scrub.shards_checked,
        bytes(scrub.bytes_checked)
    );
    if !scrub.running {
        text.push_str(&format!(" in {}", duration(end.saturating_sub(scrub.started_ms).div_ceil(1000))));
    }
    text.push_str(&format!(
        "\ndamaged {}  missing {}  mended {}  beyond repair {}\n",
        scrub.damaged, scrub.missing, scrub.mended, scrub.unrepairable
    ));
    if let Some(error) = &scrub.last_error {
        text.push_str(&format!("last error: {}\n", clean(error)));
    }
    text
}

fn state_of(portion: &Portion, now_ms: u64) -> String {
    match (portion.state.as_str(), portion.shred_ms) {
        ("pending-shred", Some(at_ms)) => format!("shredded in {}", ago(now_ms, at_ms)),
        (state, _) => state.to_owned(),
    }
}

pub(crate) fn portions(portions: &[Portion], now_ms: u64) -> String {
    let rows: Vec<Vec<String>> = portions
        .iter()
        .map(|portion| {
            let age = ago(portion.created_ms, now_ms);
            let by = if portion.by_rule { "rule" } else { "hand" };
            vec![
                clean(&portion.name),
                state_of(portion, now_ms),
                portion.class.name().to_owned(),
                portion.cut_off.name().to_owned(),
                portion.version.to_string(),
                age,
                by.to_owned(),
                portion.id.clone(),
            ]
        })
        .collect();
    table(&["PORTION", "STATE", "CLASS", "CUT OFF", "KEY VERSION", "AGE", "MADE BY", "KEY ID"], &rows)
}

pub(crate) fn portion(found: &PortionDetail, now_ms: u64) -> String {
    let portion = &found.portion;
    let mut text = format!(
        "portion   {}\nkey id    {}\nstate     {}\nclass     {}\ncut off   {}\n",
        clean(&portion.name),
        portion.id,
        state_of(portion, now_ms),
        portion.class.name(),
        portion.cut_off.name()
    );
    if !portion.description.is_empty() {
        text.push_str(&format!("about     {}\n", clean(&portion.description)));
    }
    match portion.rotation_days {
        0 => text.push_str("rotation  at a cap\n"),
        days => text.push_str(&format!("rotation  every {days} days, or at a cap\n")),
    }
    if found.own_policy {
        text.push_str("Its key has a policy of its own: aws kms get-key-policy --key-id ID\n");
    }
    if let Some(rekey) = &found.rekey {
        let done = format!("{} parts ({}) sealed anew", rekey.parts, bytes(rekey.bytes));
        let rest = match rekey.is_clean {
            true => "a pass found nothing more; the old versions end by a pass a day after it began".to_owned(),
            false => format!("{} parts of the tenant looked at by this pass", rekey.seen),
        };
        let began = ago(rekey.since_ms, now_ms);
        text.push_str(&format!(
            "rekey     of versions before {}, begun {began} ago: {done} since the start; {rest}\n",
            rekey.below
        ));
    } else if found.rewrapping {
        text.push_str("parts are being moved to the newest version\n");
    }
    let rows: Vec<Vec<String>> = found
        .versions
        .iter()
        .map(|version| {
            let kms = if version.given_out { "yes" } else { "no" };
            let age = ago(version.created_ms, now_ms);
            let shares = version.shares.map_or_else(|| "-".to_owned(), |shares| format!("{shares} of 5"));
            let number = version.version.to_string();
            vec![
                number,
                age,
                version.class.name().to_owned(),
                shares,
                version.parts.to_string(),
                bytes(version.bytes),
                kms.to_owned(),
            ]
        })
        .collect();
    text + "\n"
        + &table(&["VERSION", "AGE", "CLASS", "SHARES", "PARTS, AT MOST", "BYTES, AT MOST", "USED BY KMS API"], &rows)
}

pub(crate) fn exposed(part: &ExposedPart) -> String {
    let version = part.version.as_deref().unwrap_or("upload");
    let name = format!("s3://{}/{}", clean(&part.bucket), clean(&part.key));
    format!("v{}  {:>10}  {version}  {:>5}  {name}", part.key_version, bytes(part.bytes), part.part)
}

/// Said where what a key opens was not told exactly.
pub(crate) const INEXACT: &str = "this may not be all, nor exact: parts came or moved while they were counted; ask again when less is written, \
     or rotate the key first";

pub(crate) fn exposed_summary(name: &str, told: &Summary, what: &str) -> String {
    let mut text = format!(
        "with the key of {} {} objects ({} parts, {}) {what}\n",
        clean(name),
        told.objects,
        told.parts,
        bytes(told.bytes)
    );
    for (bucket, objects) in &told.buckets {
        text.push_str(&format!("  {}  {objects} objects\n", clean(bucket)));
    }
    if told.unreadable_rows > 0 {
        text.push_str(&format!("  {} rows cannot be read: what is in them is not counted\n", told.unreadable_rows));
    }
    if !told.exact {
        text.push_str(&format!("  {INEXACT}\n"));
    }
    if !told.principals.is_empty() {
        let names: Vec<&str> = told.principals.iter().map(String::as_str).collect();
        text.push_str(&format!("  released to {}\n", clean(&names.join(", "))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["N", "V"], &rows), "N     V\na     1\nlong\n");
    }

    #[test]
    fn numbers_for_people() {
        let table = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (u64::MAX, "16384.0 PiB")];
        for (value, expected) in table {
            assert_eq!(bytes(value), expected);
        }
        for (value, expected) in [(0, "0s"), (61, "1m01s"), (3_700, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(duration(value), expected);
        }
    }

    /// A bucket or site name must not be able to move the cursor.
    #[test]
    fn names_are_cleaned() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn a_tenant_is_told_in_columns() {
        let json = r#"{"name": "acme", "account": "000000000007", "half": null}"#;
        let mut detail: TenantDetail = serde_json::from_str(json).unwrap();
        let head = "tenant   acme\naccount  000000000007\n";
        assert_eq!(tenant(&detail, 0), format!("{head}key      whole under the root key\n"));
        let json = r#"{"kind": "awskms", "key": "arn:x", "options": {"key": "arn:x", "endpoint": "https://kms"}, "state": "refused",
            "since_ms": 0, "lease_ms": 300000, "asked_ms": 115000, "until_ms": 180000, "trouble": "DisabledException",
            "older": 1, "migrating": true}"#;
        detail.half = Some(serde_json::from_str(json).unwrap());
        let expected = "\
tenant    acme
account   000000000007
key       half under the root key, half held by the customer
held by   awskms, arn:x
endpoint  https://kms
held for  2m00s
state     refused
because   DisabledException
asked     5s ago
lease     5m00s each time it is given
shuts in  1m00s, unless it is given again
moving    to this key, from those that the tenant had before
moving    to portions, from buckets' keys, which take no half
";
        assert_eq!(tenant(&detail, 120_000), expected);
    }
}
