//! The rules a script can check: the tiers of ARCHITECTURE.md, file lengths, words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of a source file; past it, a file is two files.
const LINES_MAX: usize = 800;

/// Checks all rules; tells every breach.
pub fn run() -> Result<(), String> {
    let mut breaches = tiers()?;
    let folders = ["crates", "xtask", "strangers"].map(|folder| sources(Path::new(folder)));
    for file in folders.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            breaches.push(format!("{} has {lines} lines; at most {LINES_MAX}", file.display()));
        }
        if file.extension().is_some_and(|e| e == "rs") && !text.contains("//!") && text.lines().count() > 60 {
            breaches.push(format!("{} does not say in its first lines what it is", file.display()));
        }
    }
    if breaches.is_empty() { Ok(()) } else { Err(breaches.join("\n       ")) }
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "py") {
            found.push(path);
        }
    }
    Ok(found)
}

/// A crate may depend on lower tiers only; `beside` crates may depend on any, and none on them.
fn tiers() -> Result<Vec<String>, String> {
    let table = table(&std::fs::read_to_string("ARCHITECTURE.md").map_err(|e| format!("ARCHITECTURE.md: {e}"))?);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut breaches = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(tier) = table.get(name) else {
            breaches.push(format!("crate {name} is not in the tier table of ARCHITECTURE.md"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let test_only = dependency["kind"].as_str() == Some("dev");
            if let (Some(lower), false, true) = (table.get(on), test_only, dependency["path"].is_string())
                && (*lower == BESIDE || (*tier != BESIDE && lower >= tier))
            {
                breaches.push(format!("crate {name} may not depend on {on}: see the tiers in ARCHITECTURE.md"));
            }
        }
    }
    let known = |name: &&String| packages.iter().any(|package| package["name"].as_str() == Some(name.as_str()));
    breaches.extend(
        table.keys().filter(|name| !known(name)).map(|name| format!("ARCHITECTURE.md names {name}, which is no crate")),
    );
    Ok(breaches)
}

const BESIDE: u32 = u32::MAX;

/// Rows `| tier | crate | … |`.
fn table(text: &str) -> BTreeMap<String, u32> {
    let mut tiers = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let ["", tier, name, _, ..] = cells.as_slice() else { continue };
        let tier = match *tier {
            "beside" => Some(BESIDE),
            number => number.parse().ok(),
        };
        if let Some(tier) = tier {
            tiers.insert((*name).to_owned(), tier);
        }
    }
    tiers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let text = "| tier | crate | responsibility |\n|---|---|---|\n| 0 | `base` | words |\n| beside | sim | x |\n";
        let read: Vec<_> = table(text).into_iter().collect();
        assert_eq!(read, [("base".to_owned(), 0), ("sim".to_owned(), BESIDE)]);
    }
}
