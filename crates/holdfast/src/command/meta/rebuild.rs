//! `holdfast meta rebuild`: the metadata anew from the sites.

use std::sync::Arc;

use base::limits::COLUMNS;
use keys::{Keyring, RootFile};
use sites::{Site, read_marker};
use store::journal::rebuild::{Rebuilt, rebuild};

use super::META_CACHE;
use crate::cli::AdminArgs;
use crate::cli::meta::RebuildArgs;
use crate::command::{bar, print, root};
use crate::config::{self, SiteConfig};
use crate::exit::{Exit, Failure, chain};
use crate::metadata::{self, Installation};
use crate::render;
use crate::seals;
use crate::serve::lock;

pub(crate) async fn run(admin: &AdminArgs, args: RebuildArgs, json: bool) -> Result<Exit, Failure> {
    let here = Installation::of(admin)?;
    let _lock = lock(&here.folder)?;
    let file = RootFile::new(here.folder.join("root.key"));
    let root = seals::opened(&file, &args.passphrase, true)?.ok_or_else(|| root::missing(&file))?;
    let configured = config::sites_of(admin.config.as_deref(), &here.folder)?;
    let sites = one_clusters(&configured).await?;
    let engine = match args.dry_run {
        true => None,
        false => Some(metadata::open(&here.place, &here.folder, META_CACHE).await?),
    };
    let bar = bar("reading the sites");
    let done = rebuild(&sites, &Keyring::of(&root), engine.as_deref(), args.leave_missing, |what, count| {
        bar.set_message(what.to_owned());
        bar.set_position(count);
    })
    .await;
    bar.finish_and_clear();
    let done = done.map_err(|error| Failure::new(chain(&error)))?;
    print(&done, json, |done| text(done, args.dry_run))?;
    Ok(Exit::Ok)
}

/// The sites that answer, which must be of one cluster.
async fn one_clusters(configured: &[SiteConfig; COLUMNS]) -> Result<Vec<Arc<dyn Site>>, Failure> {
    let mut found = Vec::new();
    let mut cluster: Option<(String, String)> = None;
    for config in configured {
        let site = sites::open(&config.url, &config.options).map_err(|error| Failure::new(chain(&error)))?;
        match read_marker(site.as_ref()).await {
            Ok(Some(marker)) => {
                let (known, first) = cluster.get_or_insert_with(|| (marker.cluster.clone(), config.name.clone()));
                if *known != marker.cluster {
                    return Err(Failure::new(format!(
                        "site {} belongs to another cluster than site {first}",
                        config.name
                    )));
                }
                found.push(site);
            }
            Ok(None) => eprintln!("site {} has no marker: it is empty, or not mounted; it is passed over", config.name),
            Err(error) => eprintln!("site {} is passed over: {}", config.name, render::clean(&chain(&error))),
        }
    }
    Ok(found)
}

fn text(done: &Rebuilt, is_dry: bool) -> String {
    let begun = match done.checkpoint {
        Some(number) => format!("checkpoint {number} with {} rows", done.checkpoint_rows),
        None => "no checkpoint: the journal from its beginning".to_owned(),
    };
    let Rebuilt { sites, entries, batches, taken, left, rows, .. } = done;
    let mut text = format!("{sites} sites read: {begun}, {entries} entries of the journal, {batches} changes\n");
    if taken + left > 0 {
        text.push_str(&format!(
            "{} changes were under way when the metadata was lost: {taken} are taken as done, {left} as never done\n",
            taken + left
        ));
    }
    if done.missing > 0 {
        text.push_str(&format!("{} changes that were made are lost\n", done.missing));
    }
    text.push_str(&if is_dry {
        format!("{rows} rows to be made; nothing was written\n")
    } else {
        format!("{rows} rows made. Start the server; then `holdfast status`, and `holdfast scrub` when there is time\n")
    });
    text
}
