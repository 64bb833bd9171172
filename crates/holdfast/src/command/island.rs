//! `holdfast island`.

use admin::{BucketIsland, Done, Island};

use crate::cli::AdminArgs;
use crate::cli::island::{IslandArgs, IslandCommand};
use crate::command::{NOTHING, client, now_ms, path, print, segment};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, args: IslandArgs, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    let tenant = &args.tenant;
    let of_bucket = |bucket: &str| path(tenant, &["buckets", bucket, "island"]);
    let entry = |id: &str, what: &str| format!("/v1/island/{}{what}", segment(id));
    let words = |bucket: String| {
        move |told: &BucketIsland| {
            let does = if told.accept { "take" } else { "refuse" };
            format!("gateways that are cut off {does} new versions for bucket {}\n", render::clean(&bucket))
        }
    };
    let nothing = |_: &Done| String::new();
    match args.command {
        IslandCommand::List => {
            let found: Island = client.call("GET", &path(tenant, &["island"]), NOTHING).await?;
            print(&found, json, |found| render::island(found, now_ms()))?;
        }
        IslandCommand::Accept { bucket } => {
            let set = BucketIsland { accept: true };
            let told: BucketIsland = client.call("PUT", &of_bucket(&bucket), Some(&set)).await?;
            print(&told, json, words(bucket))?;
        }
        IslandCommand::Refuse { bucket } => {
            let set = BucketIsland { accept: false };
            let told: BucketIsland = client.call("PUT", &of_bucket(&bucket), Some(&set)).await?;
            print(&told, json, words(bucket))?;
        }
        IslandCommand::Show { bucket } => {
            let told: BucketIsland = client.call("GET", &of_bucket(&bucket), NOTHING).await?;
            print(&told, json, words(bucket))?;
        }
        IslandCommand::Tell { id } => {
            let done: Done = client.call("POST", &entry(&id, "/tell"), NOTHING).await?;
            print(&done, json, nothing)?;
        }
        IslandCommand::Drop { id, confirm } => {
            if confirm.as_ref() != Some(&id) {
                return Err(Failure::usage(
                    "what is dropped is gone for good, and its writer was told that it is stored",
                )
                .hint(format!("repeat its id: --confirm {}", render::clean(&id))));
            }
            let done: Done = client.call("DELETE", &entry(&id, ""), NOTHING).await?;
            print(&done, json, nothing)?;
        }
        IslandCommand::Seen { id } => {
            let done: Done = client.call("DELETE", &path(tenant, &["conflicts", &id]), NOTHING).await?;
            print(&done, json, nothing)?;
        }
    }
    Ok(Exit::Ok)
}
