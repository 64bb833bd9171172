//! `holdfast meta`: the members of etcd, and moving the metadata from one engine to another.

mod rebuild;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use meta::record::key;
use meta::{
    Batch, Check, CommitError, Embedded, EmbeddedOptions, Engine, Etcd, EtcdHealth, EtcdOptions, Key, MetaError, Range,
    Write, after, prefix_end,
};
use serde::Serialize;

use crate::cli::AdminArgs;
use crate::cli::meta::{DefragArgs, MetaCommand, MigrateArgs};
use crate::command::{bar, print};
use crate::exit::{Exit, Failure, chain};
use crate::metadata::{self, Installation, MIGRATION, Place};
use crate::render;
use crate::serve::lock;

/// Memory for an embedded engine.
const META_CACHE: usize = 64 << 20;
/// Rows read at once.
const PAGE: usize = 500;
/// Bytes of keys and values in one batch: half of what one may have, so that a row more always fits.
const BATCH_BYTES: usize = base::limits::BATCH_BYTES_MAX / 2;
/// Writes in one batch.
const BATCH_ROWS: usize = base::limits::BATCH_OPS_MAX;
/// Times that a batch is tried: rows are put as they are, so that once more does no harm.
const TRIES: usize = 10;

pub(crate) async fn run(admin: &AdminArgs, command: MetaCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        MetaCommand::Status => status(&configured(admin).await?, json).await,
        MetaCommand::Defrag(args) => defragment(&configured(admin).await?, &args, json).await,
        MetaCommand::Migrate(args) => migrate(&args, json).await,
        MetaCommand::Rebuild(args) => rebuild::run(admin, *args, json).await,
    }
}

async fn configured(admin: &AdminArgs) -> Result<Etcd, Failure> {
    match Installation::of(admin)?.place {
        Place::Etcd(options) => Etcd::reach(*options).map_err(|error| Failure::new(chain(&error))),
        Place::Embedded => Err(Failure::usage("the metadata is not in etcd, as far as is known here")
            .hint("name the server's configuration file with --config")),
    }
}

async fn status(etcd: &Etcd, json: bool) -> Result<Exit, Failure> {
    let health = etcd.health().await;
    print(&health, json, table)?;
    Ok(if health.reachable() <= health.members.len() / 2 {
        Exit::No
    } else if health.warnings.is_empty() {
        Exit::Ok
    } else {
        Exit::Degraded
    })
}

fn table(health: &EtcdHealth) -> String {
    let rows: Vec<_> = health
        .members
        .iter()
        .map(|member| {
            if let Some(error) = &member.error {
                return vec![
                    member.endpoint.clone(),
                    "no answer".into(),
                    String::new(),
                    String::new(),
                    String::new(),
                    render::clean(error),
                ];
            }
            let role = if member.leader {
                "leader"
            } else if member.learner {
                "learner"
            } else {
                "follower"
            };
            let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
            vec![
                member.endpoint.clone(),
                role.into(),
                render::clean(&member.version),
                format!("{} of {}", mib(member.db_bytes), mib(health.quota_bytes)),
                mib(member.in_use_bytes),
                if member.alarms.is_empty() { String::new() } else { member.alarms.join(", ") },
            ]
        })
        .collect();
    let mut text = render::table(&["MEMBER", "ROLE", "ETCD", "FILE", "IN USE", "ALARMS"], &rows);
    for warning in &health.warnings {
        text.push_str(&format!("! {}\n", render::clean(warning)));
    }
    text
}

/// What was made smaller.
#[derive(Serialize)]
struct Defragmented {
    member: String,
    before_bytes: u64,
    after_bytes: u64,
}

async fn defragment(etcd: &Etcd, args: &DefragArgs, json: bool) -> Result<Exit, Failure> {
    let health = etcd.health().await;
    if let Some(wanted) = args.member.as_ref().filter(|wanted| !health.members.iter().any(|m| m.endpoint == **wanted)) {
        return Err(Failure::usage(format!("{wanted:?} is no member in the address")));
    }
    if args.member.is_none() && health.reachable() < health.members.len() {
        return Err(Failure::new(
            "a member does not answer: another one that is busy with its file might be one too many",
        )
        .hint("start it first, or name one with --member"));
    }
    let mut order: Vec<usize> = (0..health.members.len()).collect();
    order.sort_by_key(|index| health.members[*index].leader);
    order.retain(|index| args.member.as_ref().is_none_or(|wanted| health.members[*index].endpoint == *wanted));
    let bar = bar("defragmenting");
    bar.set_length(order.len() as u64);
    let mut done = Vec::new();
    for index in order {
        let failed = |error: MetaError| Failure::new(format!("{}: {}", health.members[index].endpoint, chain(&error)));
        etcd.defragment(index).await.map_err(failed)?;
        let after = etcd.health().await;
        let (before, after) = (&health.members[index], &after.members[index]);
        done.push(Defragmented {
            member: before.endpoint.clone(),
            before_bytes: before.db_bytes,
            after_bytes: after.db_bytes,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    print(&done, json, |done| {
        done.iter().map(|one| format!("{}: {} -> {} bytes\n", one.member, one.before_bytes, one.after_bytes)).collect()
    })?;
    Ok(Exit::Ok)
}

/// What was copied, or with a dry run would be.
#[derive(Serialize)]
struct Migrated {
    dry_run: bool,
    from: String,
    to: String,
    rows: u64,
    bytes: u64,
    /// SHA-256 over all rows, hexadecimal.
    digest: String,
    /// Whether what was read back is the same; nothing with a dry run.
    same: Option<bool>,
}

/// An engine that was named on the command line.
struct Named {
    /// Without options: what tells it apart.
    name: String,
    engine: Option<Arc<dyn Engine>>,
    _lock: Option<File>,
}

/// Rows, bytes, and the digest of all of them.
struct Sum {
    rows: u64,
    bytes: u64,
    digest: Context,
}

impl Sum {
    fn new() -> Self {
        Self { rows: 0, bytes: 0, digest: Context::new(&SHA256) }
    }

    /// Lengths go in as well: rows that run together otherwise must not sum up the same.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        for bytes in [key, value] {
            self.bytes += bytes.len() as u64;
            self.digest.update(&(bytes.len() as u64).to_be_bytes());
            self.digest.update(bytes);
        }
    }

    fn hex(self) -> String {
        hex::encode(self.digest.finish())
    }
}

async fn migrate(args: &MigrateArgs, json: bool) -> Result<Exit, Failure> {
    let from = named(&args.from, &args.from_option, false).await?;
    let to = named(&args.to, &args.to_option, !args.dry_run).await?;
    if from.name == to.name {
        return Err(Failure::usage("--from and --to are the same"));
    }
    let Some(source) = &from.engine else {
        return Err(Failure::new(format!("there is no metadata in {}", from.name)));
    };
    metadata::whole(source.as_ref())
        .await
        .map_err(|failure| Failure { error: format!("{}: {}", from.name, failure.error), ..failure })?;
    if let Some(target) = &to.engine {
        admit(target.as_ref(), &from.name, &to.name, args.resume).await?;
    }
    let told = |dry_run, rows, bytes, digest, same| Migrated {
        dry_run,
        from: from.name.clone(),
        to: to.name.clone(),
        rows,
        bytes,
        digest,
        same,
    };
    let before = sum(source.as_ref(), "counting", 0).await?;
    let (rows, bytes) = (before.rows, before.bytes);
    let digest = before.hex();
    let (false, Some(target)) = (args.dry_run, &to.engine) else {
        print(&told(true, rows, bytes, digest, None), json, text)?;
        return Ok(Exit::Ok);
    };
    begin(target.as_ref(), &from.name).await?;
    copy(source.as_ref(), target.as_ref(), rows).await?;
    // Both: a source that somebody wrote to meanwhile is told apart from a copy that went wrong by neither being usable.
    let after = sum(source.as_ref(), "reading again", rows).await?.hex();
    let there = sum(target.as_ref(), "comparing", rows).await?.hex();
    let same = digest == there && digest == after;
    if same {
        // Versions are numbered anew: what is told at the sites from now on is newer than all that was.
        let (era, _) = meta::era(target.as_ref()).await.map_err(|e| failed(&e))?;
        let era = key::era_value(era.saturating_add(1));
        let writes = vec![Write::Delete(MIGRATION), Write::Put(key::era_key(), era)];
        commit(target.as_ref(), Batch { checks: vec![], writes }).await?;
    }
    print(&told(false, rows, bytes, digest, Some(same)), json, text)?;
    Ok(if same { Exit::Ok } else { Exit::No })
}

fn text(told: &Migrated) -> String {
    let Migrated { from, to, rows, bytes, digest, .. } = told;
    match told.same {
        None => format!("{rows} rows, {bytes} bytes, to be copied from {from} to {to}; nothing was written\n"),
        Some(true) => format!(
            "{rows} rows, {bytes} bytes, copied from {from} to {to} and read back the same, SHA-256 {digest}
Now let the server's configuration name {to}, and start it. Keep the old metadata until it runs, and then see to it that no
server is started on that again: it would write what the other does not know.
"
        ),
        Some(false) => format!(
            "what is in {to} is not what is in {from}: is a server running on one of them? Stop it, empty {to}, and migrate anew\n"
        ),
    }
}

/// Opens what a URL names. An embedded engine that is missing is made only if `make`.
async fn named(url: &str, options: &[String], make: bool) -> Result<Named, Failure> {
    if let Some(folder) = url.strip_prefix("embedded:") {
        if !options.is_empty() {
            return Err(Failure::usage("an embedded engine has no options"));
        }
        let folder = PathBuf::from(folder);
        let path = metadata::embedded_file(&folder);
        if !folder.is_dir() {
            return Err(Failure::usage(format!("{} is no data directory", folder.display())));
        }
        let lock = lock(&folder)?;
        let folder = folder.canonicalize().map_err(Failure::io(folder.display()))?;
        let opened = (make || path.exists())
            .then(|| Embedded::open(EmbeddedOptions { path, cache_bytes: META_CACHE }))
            .transpose()
            .map_err(|error| Failure::new(chain(&error)))?;
        let engine = opened.map(|engine| Arc::new(engine) as Arc<dyn Engine>);
        return Ok(Named { name: format!("embedded:{}", folder.display()), engine, _lock: Some(lock) });
    }
    if !EtcdOptions::is_for(url) {
        return Err(Failure::usage("an engine is named embedded:DATA_DIR or etcd://HOST,.../PREFIX"));
    }
    let pair = |text: &String| {
        let split = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        split.ok_or_else(|| Failure::usage("an option is NAME=VALUE"))
    };
    let options: BTreeMap<_, _> = options.iter().map(pair).collect::<Result<_, _>>()?;
    let options = EtcdOptions::parse(url, &options).map_err(|mistakes| Failure::usage(mistakes.to_string()))?;
    let name = options.place();
    let engine = metadata::etcd(&options).await?;
    Ok(Named { name, engine: Some(Arc::new(engine)), _lock: None })
}

fn everything() -> (Key, Key) {
    (Key::new(), prefix_end(b""))
}

fn failed(error: &MetaError) -> Failure {
    Failure::new(chain(error))
}

/// Refuses a target with rows, unless they are of a migration from the same place that shall go on.
async fn admit(target: &dyn Engine, from: &str, to: &str, resume: bool) -> Result<(), Failure> {
    let marker = target.get(&[MIGRATION]).await.map_err(|e| failed(&e))?.pop().flatten();
    if let Some(marker) = marker {
        if marker.value != from.as_bytes() {
            let other = render::clean(&String::from_utf8_lossy(&marker.value));
            return Err(Failure::new(format!("{to} has half a migration from {other}"))
                .hint("finish that one, or empty the target"));
        }
        if !resume {
            return Err(Failure::new(format!("{to} has half a migration from here")).hint("go on with it: --resume"));
        }
        return Ok(());
    }
    let (first, end) = everything();
    let page = target.range(Range { from: first, to: end, limit: 1 }).await.map_err(|e| failed(&e))?;
    if page.rows.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{to} has metadata already"))
        .hint("nothing was written; give another prefix, or an empty engine"))
}

async fn begin(target: &dyn Engine, from: &str) -> Result<(), Failure> {
    let put = Write::Put(MIGRATION, Bytes::copy_from_slice(from.as_bytes()));
    match target.commit(Batch { checks: vec![Check::Absent(MIGRATION)], writes: vec![put] }).await {
        Ok(()) | Err(CommitError::Failed { .. }) => Ok(()),
        Err(error) => Err(Failure::new(chain(&error))),
    }
}

/// All rows but the one that marks a migration.
async fn sum(engine: &dyn Engine, what: &'static str, rows: u64) -> Result<Sum, Failure> {
    let bar = bar(what);
    bar.set_length(rows);
    let mut sum = Sum::new();
    each_page(engine, |page| {
        for (key, value) in page {
            sum.add(key, value);
        }
        bar.set_position(sum.rows);
        bar.set_length(rows.max(sum.rows));
        std::future::ready(Ok(()))
    })
    .await?;
    bar.finish_and_clear();
    Ok(sum)
}

async fn copy(source: &dyn Engine, target: &dyn Engine, rows: u64) -> Result<(), Failure> {
    let bar = bar("copying");
    bar.set_length(rows);
    each_page(source, |page| {
        let batches = batches(page);
        let bar = &bar;
        async move {
            for batch in batches {
                let count = batch.writes.len() as u64;
                commit(target, batch).await?;
                bar.inc(count);
            }
            Ok(())
        }
    })
    .await?;
    bar.finish_and_clear();
    Ok(())
}

/// Rows as batches within the limits of every engine.
fn batches(rows: &[(Key, Bytes)]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut bytes = usize::MAX;
    for (key, value) in rows {
        let size = key.len() + value.len();
        let full = batches.last().is_none_or(|batch| batch.writes.len() >= BATCH_ROWS);
        if full || bytes + size > BATCH_BYTES {
            batches.push(Batch::default());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = batches.last_mut() {
            batch.writes.push(Write::Put(key.clone(), value.clone()));
        }
    }
    batches
}

async fn commit(target: &dyn Engine, batch: Batch) -> Result<(), Failure> {
    let mut last = None;
    for _ in 0..TRIES {
        match target.commit(batch.clone()).await {
            Ok(()) => return Ok(()),
            Err(error @ (CommitError::Unavailable(_) | CommitError::Unknown(_))) => last = Some(error),
            Err(error) => return Err(Failure::new(chain(&error))),
        }
    }
    let said = last.map(|error| chain(&error)).unwrap_or_default();
    Err(Failure::new(said).hint("what was copied stays; when the cause is mended: --resume"))
}

/// Calls `each` for every page of rows but the one that marks a migration.
async fn each_page<F: Future<Output = Result<(), Failure>>>(
    engine: &dyn Engine,
    mut each: impl FnMut(&[(Key, Bytes)]) -> F,
) -> Result<(), Failure> {
    let (mut from, to) = everything();
    loop {
        let page = engine.range(Range { from, to: to.clone(), limit: PAGE }).await.map_err(|e| failed(&e))?;
        let next = page.more.then(|| page.rows.last().map(|(last, _)| after(last))).flatten();
        let rows: Vec<_> =
            page.rows.into_iter().filter(|(key, _)| *key != MIGRATION).map(|(key, row)| (key, row.value)).collect();
        each(&rows).await?;
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use meta::Memory;

    use super::*;

    fn rows(count: usize, size: usize) -> Vec<(Key, Bytes)> {
        (0..count).map(|i| (Key::from(format!("o/{i:06}")), Bytes::from(vec![i as u8; size]))).collect()
    }

    async fn filled(rows: &[(Key, Bytes)]) -> Memory {
        let engine = Memory::new();
        for batch in batches(rows) {
            engine.commit(batch).await.unwrap();
        }
        engine
    }

    #[test]
    fn batches_keep_the_limits() {
        for (count, size) in [(0, 0), (1, 0), (1234, 10), (40, 100_000), (9, base::limits::META_VALUE_MAX)] {
            let rows = rows(count, size);
            let batches = batches(&rows);
            assert!(batches.iter().all(|batch| batch.check_limits().is_ok() && !batch.writes.is_empty()));
            assert_eq!(batches.iter().map(|batch| batch.writes.len()).sum::<usize>(), count);
        }
    }

    #[tokio::test]
    async fn a_copy_sums_up_the_same_and_another_does_not() {
        let rows = rows(1701, 30);
        let (source, target) = (filled(&rows).await, Memory::new());
        begin(&target, "there").await.unwrap();
        copy(&source, &target, 0).await.unwrap();
        let digest = async |engine: &Memory| sum(engine, "", 0).await.unwrap().hex();
        assert_eq!(digest(&source).await, digest(&target).await);
        for change in [
            Write::Delete("o/000700".into()),
            Write::Put("o/000001".into(), "x".into()),
            Write::Put("z".into(), "".into()),
        ] {
            let target = filled(&rows).await;
            target.commit(Batch { checks: vec![], writes: vec![change] }).await.unwrap();
            assert_ne!(digest(&source).await, digest(&target).await);
        }
        assert_ne!(
            digest(&filled(&[("a".into(), "bc".into())]).await).await,
            digest(&filled(&[("ab".into(), "c".into())]).await).await
        );
    }

    #[tokio::test]
    async fn a_target_with_rows_is_refused() {
        let empty = Memory::new();
        admit(&empty, "a", "b", false).await.unwrap();
        let full = filled(&rows(1, 1)).await;
        assert!(admit(&full, "a", "b", false).await.unwrap_err().error.contains("has metadata already"));
        assert!(admit(&full, "a", "b", true).await.is_err(), "rows without a mark are nobody's half migration");
        begin(&full, "a").await.unwrap();
        assert!(admit(&full, "a", "b", false).await.unwrap_err().hint.unwrap().contains("--resume"));
        assert!(admit(&full, "other", "b", true).await.unwrap_err().error.contains("from a"));
        admit(&full, "a", "b", true).await.unwrap();
        assert!(metadata::whole(&full).await.is_err(), "no server starts on it");
    }
}
