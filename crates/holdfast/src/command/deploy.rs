//! `holdfast deploy`: files for five machines from one description.

use base::SystemRng;
use serde::Serialize;
use time::OffsetDateTime;

use crate::cli::deploy::{DeployCommand, PlanArgs};
use crate::command::{print, say};
use crate::deploy::write::{Change, Folder, What};
use crate::deploy::{Description, EXAMPLE, Mistakes, Renew, plan};
use crate::exit::{Exit, Failure};

/// Longest description that is read, bytes.
const FILE_MAX: u64 = 1 << 20;

/// What was planned, and what of it is new.
#[derive(Serialize)]
struct Planned {
    out: String,
    dry_run: bool,
    files: usize,
    changes: Vec<Change>,
    notes: Vec<String>,
}

pub(crate) fn run(command: &DeployCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        DeployCommand::Example => {
            say(EXAMPLE)?;
            Ok(Exit::Ok)
        }
        DeployCommand::Plan(args) => planned(args, None, json),
        DeployCommand::Renew(args) => {
            let renew = Renew { within_days: args.within_days, new_keys: args.new_keys };
            planned(&args.plan, Some(renew), json)
        }
    }
}

fn planned(args: &PlanArgs, renew: Option<Renew>, json: bool) -> Result<Exit, Failure> {
    let named = Failure::io(args.file.display());
    if std::fs::metadata(&args.file).map_err(&named)?.len() > FILE_MAX {
        return Err(Failure::usage(format!("{} is no description: it is too long", args.file.display())));
    }
    let text = std::fs::read_to_string(&args.file).map_err(&named)?;
    let description = Description::parse(&text).map_err(|mistakes| mistaken(&mistakes))?;
    let folder = Folder(args.out.clone());
    let plan = plan(&description, &folder, &SystemRng, OffsetDateTime::now_utc(), renew)
        .and_then(|plan| if args.compose { plan.with_compose(&description) } else { Ok(plan) })
        .map_err(|Mistakes(mistakes)| Failure::new(mistakes.join("\n  ")))?;
    let changes = folder.compare(&plan, args.force)?;
    if !args.dry_run {
        folder.write(&plan, &changes)?;
    }
    let told = Planned {
        out: args.out.display().to_string(),
        dry_run: args.dry_run,
        files: plan.files.len(),
        changes,
        notes: plan.notes,
    };
    print(&told, json, told_text)?;
    Ok(Exit::Ok)
}

fn mistaken(Mistakes(mistakes): &Mistakes) -> Failure {
    Failure::usage(format!("the description has {} mistake(s):\n  {}", mistakes.len(), mistakes.join("\n  ")))
        .hint("`holdfast deploy example` prints a commented one")
}

fn told_text(told: &Planned) -> String {
    let mut text = String::new();
    for change in &told.changes {
        let word = match change.what {
            What::Made => "made",
            What::Changed => "changed",
            What::Mode => "mode",
            What::Left => "left, not planned any more",
        };
        text.push_str(&format!("{word}: {}\n", change.path));
    }
    let (files, out) = (told.files, &told.out);
    text.push_str(&match (told.changes.is_empty(), told.dry_run) {
        (true, _) => format!("{files} files in {out} are as planned\n"),
        (false, true) => format!("of {files} files; nothing was written\n"),
        (false, false) => format!("of {files} files. Next: {out}/README.md\n"),
    });
    for note in &told.notes {
        text.push_str(&format!("! {note}\n"));
    }
    text
}
