//! `holdfast portion receipts` and `verify-receipts`.

use std::path::Path;

use admin::ReceiptFile;
use audit::VerifierKey;
use keys::quorum::receipt::{Proof, Receipt, verify as verify_file};
use serde::Serialize;

use crate::command::{policy, print};
use crate::exit::{Exit, Failure, chain};
use crate::render::clean;

pub(crate) fn text(file: &ReceiptFile) -> String {
    let mut text = format!("portion {}  {}\n", file.portion, clean(&file.name));
    for note in &file.receipts {
        match Receipt::of_note(note) {
            Some(receipt) => text.push_str(&format!(
                "{}  {}  versions {}  found {}  epoch ended {}\n",
                clean(&receipt.site),
                serde_json::to_string(&receipt.attests).unwrap_or_default().trim_matches('"'),
                clean(&receipt.versions),
                clean(&receipt.destroyed),
                clean(&receipt.epoch_ended),
            )),
            None => text.push_str("a receipt that this program does not know\n"),
        }
    }
    if file.receipts.is_empty() {
        text.push_str("no site has signed anything yet\n");
    }
    if !file.waiting_for.is_empty() {
        text.push_str(&format!("still to destroy theirs: {}\n", clean(&file.waiting_for.join(", "))));
    }
    text + "`--json` prints the file that `holdfast portion verify-receipts` checks\n"
}

#[derive(Serialize)]
struct Verified {
    proved: bool,
    /// Whether the keys were given, or came with the receipts.
    keys_given: bool,
    #[serde(flatten)]
    proof: Option<Proof>,
    why_not: Option<String>,
}

pub(crate) fn verify(file: &Path, given: &[String], json: bool) -> Result<Exit, Failure> {
    let file: ReceiptFile = serde_json::from_str(&policy::read(file)?).map_err(|error| {
        Failure::usage(format!("this is no file of receipts: {error}"))
            .hint("make one with: holdfast portion receipts NAME --json")
    })?;
    let texts = if given.is_empty() { &file.site_keys } else { given };
    let keys: Result<Vec<VerifierKey>, _> = texts.iter().map(|text| text.trim().parse::<VerifierKey>()).collect();
    let keys = keys.map_err(|error| Failure::usage(chain(&error)))?;
    let proof = verify_file(&file, &keys);
    let proved = proof.is_ok();
    let why_not = proof.as_ref().err().map(|error| format!("receipts of {}: {error}", file.portion));
    let verified = Verified { proved, keys_given: !given.is_empty(), proof: proof.ok(), why_not };
    print(&verified, json, told)?;
    Ok(if proved { Exit::Ok } else { Exit::No })
}

fn told(verified: &Verified) -> String {
    let Some(proof) = &verified.proof else {
        return format!("not proved: {}\n", clean(verified.why_not.as_deref().unwrap_or_default()));
    };
    let mut text = format!("proved: portion {} of cluster {}\n", clean(&proof.portion), clean(&proof.cluster));
    if proof.quorum_versions != "none" {
        text.push_str(&format!(
            "  key versions {} were in shares; destroyed at {}: nobody has three any more\n",
            clean(&proof.quorum_versions),
            clean(&proof.shares.join(", "))
        ));
    }
    if proof.sealed_versions != "none" {
        text.push_str(&format!(
            "  key versions {} were deleted from the metadata, as {} attest: a backup from before, with the root key, brings \
             them back\n",
            clean(&proof.sealed_versions),
            clean(&proof.rows.join(", "))
        ));
    }
    if !verified.keys_given {
        text.push_str(
            "  checked only against the keys in the file: compare them with `holdfast site keys`, or give --key\n",
        );
    }
    text
}
