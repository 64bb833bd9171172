//! Receipts of a shredding: what a site signs, and what they prove together. Pure. The format is `docs/spec/quorum.md`.

use std::collections::BTreeSet;

use audit::VerifierKey;
use base::{AccountId, PortionId};
use meta::record::DyingRecord;
use serde::{Deserialize, Serialize};

use super::holder::{Destroyed, SiteIdentity};
use crate::portions::dashed;

const TITLE: &str = "holdfast/shredding/v1";
/// Sites that it takes, for each kind of receipt.
pub const RECEIPTS_NEEDED: usize = 3;
/// Receipts in one file: every site, and each again for every time it was replaced, with room.
const RECEIPTS_MAX: usize = 100;

/// What a receipt attests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attested {
    /// The site destroyed its shares: copies of the site from before open nothing of them.
    Shares,
    /// The rows of keys of class sealed were deleted. A backup of the metadata from before, with the root key, brings them back.
    Rows,
}

impl Attested {
    fn word(self) -> &'static str {
        match self {
            Self::Shares => "shares",
            Self::Rows => "rows",
        }
    }
}

/// A receipt, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The cluster's id.
    pub cluster: String,
    /// The site's name.
    pub site: String,
    /// The site's slot.
    pub slot: u8,
    /// When the site took the slot, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// The account, twelve digits.
    pub account: String,
    /// The portion's id, with dashes.
    pub portion: String,
    /// What is attested.
    pub attests: Attested,
    /// All versions that the key ever had: `1-5`.
    pub versions: String,
    /// Those that were in shares when the shredding began: `1-3,5`; `none`.
    pub in_shares: String,
    /// Those that were in rows of the metadata then; `none`.
    pub in_rows: String,
    /// Versions that were there and destroyed; `none` is as good.
    pub destroyed: String,
    /// The epoch that ended with them; `none`: there was none.
    pub epoch_ended: String,
    /// The epoch that the others are under now; `none`: there are no others.
    pub epoch_begun: String,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// What a receipt is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) account: AccountId,
    pub(crate) portion: PortionId,
    pub(crate) dying: &'a DyingRecord,
}

impl Receipt {
    pub(crate) fn of_shares(site: SiteIdentity, of: &Subject<'_>, done: &Destroyed, time_ms: u64) -> Self {
        let mut found: Vec<u32> = done.names.iter().map(|name| name.key.version).collect();
        found.sort_unstable();
        found.dedup();
        let epoch =
            |epoch: Option<super::holder::EpochId>| epoch.map_or_else(|| "none".to_owned(), |id| id.to_string());
        Self {
            attests: Attested::Shares,
            destroyed: ranges(&found),
            epoch_ended: epoch(done.ended),
            epoch_begun: epoch(done.begun),
            ..Self::of_rows(site, of, time_ms)
        }
    }

    pub(crate) fn of_rows(site: SiteIdentity, of: &Subject<'_>, time_ms: u64) -> Self {
        let none = || "none".to_owned();
        Self {
            cluster: site.cluster,
            site: site.name,
            slot: site.slot,
            since_ms: site.since_ms,
            account: of.account.to_string(),
            portion: dashed(of.portion),
            attests: Attested::Rows,
            versions: of.dying.versions.clone(),
            in_shares: of.dying.in_shares.clone(),
            in_rows: of.dying.in_rows.clone(),
            destroyed: of.dying.in_rows.clone(),
            epoch_ended: none(),
            epoch_begun: none(),
            time_ms,
        }
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let Self { cluster, site, slot, since_ms, account, portion, .. } = self;
        let Self { versions, in_shares, in_rows, destroyed, epoch_ended, epoch_begun, time_ms, .. } = self;
        format!(
            "{TITLE}\ncluster {cluster}\nsite {site}\nslot {slot}\nsince {since_ms}\naccount {account}\nportion {portion}\n\
             attests {}\nversions {versions}\nin-shares {in_shares}\nin-rows {in_rows}\ndestroyed {destroyed}\n\
             epoch-ended {epoch_ended}\nepoch-begun {epoch_begun}\ntime {time_ms}\n",
            self.attests.word()
        )
    }

    /// Reads a text, whoever signed it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != TITLE {
            return None;
        }
        let mut field = |name: &str| Some(lines.next()?.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        let read = Self {
            cluster: field("cluster")?,
            site: field("site")?,
            slot: field("slot")?.parse().ok()?,
            since_ms: field("since")?.parse().ok()?,
            account: field("account")?,
            portion: field("portion")?,
            attests: match field("attests")?.as_str() {
                "shares" => Attested::Shares,
                "rows" => Attested::Rows,
                _ => return None,
            },
            versions: field("versions")?,
            in_shares: field("in-shares")?,
            in_rows: field("in-rows")?,
            destroyed: field("destroyed")?,
            epoch_ended: field("epoch-ended")?,
            epoch_begun: field("epoch-begun")?,
            time_ms: field("time")?.parse().ok()?,
        };
        (lines.next().is_none() && read.text() == text).then_some(read)
    }

    /// The text in a note, unchecked.
    pub fn of_note(note: &str) -> Option<Self> {
        Self::parse(&note[..=note.find("\n\n")?])
    }
}

/// Numbers that follow each other, as `1-3,5`; `none` for none.
pub(crate) fn ranges(sorted: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in sorted {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let text: Vec<String> = runs.iter().map(run).collect();
    if text.is_empty() { "none".to_owned() } else { text.join(",") }
}

/// Receipts of one portion, and the keys that they are said to be signed with: a file that proves a shredding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// The portion's id, with dashes.
    pub portion: String,
    /// Its name. Not signed.
    pub name: String,
    /// Signed notes.
    pub receipts: Vec<String>,
    /// The sites' keys, as the metadata have them.
    pub site_keys: Vec<String>,
    /// Sites that have still to destroy shares; what is missing is not needed for the proof.
    pub waiting_for: Vec<String>,
}

/// What receipts prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The cluster.
    pub cluster: String,
    /// The portion's id.
    pub portion: String,
    /// All versions that the key ever had.
    pub versions: String,
    /// Sites that destroyed their shares of the versions named.
    pub shares: Vec<String>,
    /// Sites that attest that the rows of the versions named were deleted.
    pub rows: Vec<String>,
    /// Versions of the key that were in shares; `none`.
    pub quorum_versions: String,
    /// Versions of the key whose rows were deleted; `none`.
    pub sealed_versions: String,
}

/// Why receipts prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// None, or too many to be so.
    #[error("there are {0} receipts; there should be one to {RECEIPTS_MAX}")]
    Count(usize),
    /// A text that is no receipt.
    #[error("receipt {0} is none that this program knows")]
    Unreadable(usize),
    /// No key is known for it.
    #[error("receipt {receipt} is said to be of site {site}, and no key of that site is known")]
    NoKey {
        /// Its place in the file, from 1.
        receipt: usize,
        /// The site that it names.
        site: String,
    },
    /// The signature does not hold.
    #[error("receipt {receipt} was not signed by site {site}, or was altered")]
    Signature {
        /// Its place in the file, from 1.
        receipt: usize,
        /// The site that it names.
        site: String,
    },
    /// It is about something else than the others.
    #[error("receipt {receipt} is about another {what} than the first, or than the file says")]
    Another {
        /// Its place in the file, from 1.
        receipt: usize,
        /// Cluster, portion, account or versions.
        what: &'static str,
    },
    /// Too few attest that the rows are gone.
    #[error(
        "{sites} sites attest that key versions {versions} were deleted from the metadata, and it takes {RECEIPTS_NEEDED}"
    )]
    TooFewOfRows {
        /// Different ones.
        sites: usize,
        /// Versions of the key that were in rows.
        versions: String,
    },
    /// The others may still give the key.
    #[error("{sites} sites destroyed their shares, and it takes {RECEIPTS_NEEDED}: the others may still give the key")]
    TooFew {
        /// Different ones.
        sites: usize,
    },
}

/// Checks all of a file against the sites' keys: those given, or those in it.
///
/// # Errors
/// [`Unproved`], the first that is found.
pub fn verify(file: &ReceiptFile, keys: &[VerifierKey]) -> Result<Proof, Unproved> {
    if file.receipts.is_empty() || file.receipts.len() > RECEIPTS_MAX {
        return Err(Unproved::Count(file.receipts.len()));
    }
    let mut read = Vec::new();
    for (at, note) in (1..).zip(&file.receipts) {
        read.push(opened(at, note, keys)?);
    }
    let first = &read[0];
    let of = |receipt: &Receipt| [&receipt.versions, &receipt.in_shares, &receipt.in_rows].map(String::clone);
    for (at, receipt) in (1..).zip(&read) {
        let another = |what| Unproved::Another { receipt: at, what };
        if receipt.cluster != first.cluster {
            return Err(another("cluster"));
        }
        if receipt.portion != file.portion || receipt.account != first.account {
            return Err(another("portion"));
        }
        if of(receipt) != of(first) {
            return Err(another("set of versions"));
        }
    }
    // By name, which the key has: a slot is only what the site says.
    let sites = |attests| -> BTreeSet<String> {
        read.iter().filter(|receipt| receipt.attests == attests).map(|receipt| receipt.site.clone()).collect()
    };
    let (shares, rows) = (sites(Attested::Shares), sites(Attested::Rows));
    // Each receipt tells what there was of both kinds: none can be left out.
    if first.in_shares != "none" && shares.len() < RECEIPTS_NEEDED {
        return Err(Unproved::TooFew { sites: shares.len() });
    }
    if (first.in_rows != "none" || first.in_shares == "none") && rows.len() < RECEIPTS_NEEDED {
        return Err(Unproved::TooFewOfRows { sites: rows.len(), versions: first.in_rows.clone() });
    }
    Ok(Proof {
        cluster: first.cluster.clone(),
        portion: first.portion.clone(),
        versions: first.versions.clone(),
        shares: shares.into_iter().collect(),
        rows: rows.into_iter().collect(),
        quorum_versions: first.in_shares.clone(),
        sealed_versions: first.in_rows.clone(),
    })
}

fn opened(at: usize, note: &str, keys: &[VerifierKey]) -> Result<Receipt, Unproved> {
    let claimed = Receipt::of_note(note).ok_or(Unproved::Unreadable(at))?;
    let name = format!("holdfast/{}/{}", claimed.cluster, claimed.site);
    let mut of_site = keys.iter().filter(|key| key.name() == name).peekable();
    if of_site.peek().is_none() {
        return Err(Unproved::NoKey { receipt: at, site: claimed.site });
    }
    let text = of_site.find_map(|key| key.open(note).ok());
    match text.map(Receipt::parse) {
        Some(Some(receipt)) => Ok(receipt),
        _ => Err(Unproved::Signature { receipt: at, site: claimed.site }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::Signer;

    /// The vector of `docs/spec/quorum.md`.
    const TEXT: &str = "holdfast/shredding/v1\ncluster 00112233445566778899aabbccddeeff\nsite dc2\nslot 1\nsince 1800000000000\n\
        account 000000000000\nportion 01a31b5f-8000-4142-4344-454647484950\nattests shares\nversions 1-6\n\
        in-shares 1-3,5\nin-rows none\ndestroyed 1-3,5\nepoch-ended 0001020304050607\nepoch-begun none\ntime 1800000600000\n";

    fn signer(slot: u8) -> Signer {
        Signer::from_seed(&format!("holdfast/00112233445566778899aabbccddeeff/dc{}", slot + 1), &[slot; 32]).unwrap()
    }

    fn receipt(slot: u8) -> Receipt {
        Receipt { slot, site: format!("dc{}", slot + 1), ..Receipt::parse(TEXT).unwrap() }
    }

    fn file(receipts: &[Receipt]) -> ReceiptFile {
        ReceiptFile {
            portion: receipt(0).portion,
            name: "p".to_owned(),
            receipts: receipts.iter().map(|receipt| signer(receipt.slot).sign(&receipt.text())).collect(),
            site_keys: (0..5).map(|slot| signer(slot).verifier().to_string()).collect(),
            waiting_for: vec![],
        }
    }

    fn keys() -> Vec<VerifierKey> {
        (0..5).map(|slot| signer(slot).verifier().clone()).collect()
    }

    #[test]
    fn texts_are_the_specified_ones() {
        let receipt = Receipt::parse(TEXT).unwrap();
        assert_eq!(receipt.text(), TEXT);
        assert_eq!(Receipt::of_note(&signer(1).sign(TEXT)), Some(receipt));
        for bad in
            [&TEXT[1..], &TEXT[..TEXT.len() - 1], &format!("{TEXT}more\n"), &TEXT.replace("slot 1", "slot 01"), ""]
        {
            assert_eq!(Receipt::parse(bad), None, "{bad}");
        }
        let key = "holdfast/00112233445566778899aabbccddeeff/dc2";
        assert!(signer(1).verifier().to_string().starts_with(key), "{}", signer(1).verifier());
        for (numbers, text) in [(vec![], "none"), (vec![7], "7"), (vec![1, 2, 3, 5, 9, 10], "1-3,5,9-10")] {
            assert_eq!(ranges(&numbers), text);
        }
    }

    #[test]
    fn three_sites_prove_it_and_what_is_wrong_is_named() {
        let three: Vec<Receipt> = [0, 2, 4].map(receipt).into();
        let proof = verify(&file(&three), &keys()).unwrap();
        assert_eq!((proof.shares.join(" "), proof.quorum_versions.as_str()), ("dc1 dc3 dc5".to_owned(), "1-3,5"));
        assert_eq!(proof.sealed_versions, "none");
        assert_eq!((proof.versions.as_str(), proof.rows.len()), ("1-6", 0));
        assert_eq!(proof.sealed_versions, "none");
        let rows = |slot| Receipt { attests: Attested::Rows, in_rows: "4".to_owned(), ..receipt(slot) };
        // One of class sealed: three sites, as for shares.
        let sealed = |slot| Receipt { in_shares: "none".to_owned(), ..rows(slot) };
        let of_rows = |sites| Unproved::TooFewOfRows { sites, versions: "4".to_owned() };
        assert_eq!(verify(&file(&[sealed(3)]), &keys()), Err(of_rows(1)));
        assert_eq!(verify(&file(&[sealed(3), sealed(3), sealed(1)]), &keys()), Err(of_rows(2)));
        let proof = verify(&file(&[sealed(3), sealed(0), sealed(1)]), &keys()).unwrap();
        assert_eq!((proof.sealed_versions.as_str(), proof.rows.join(" ")), ("4", "dc1 dc2 dc4".to_owned()));
        // Of both classes: neither kind can be left out.
        let shares = |slot| Receipt { in_rows: "4".to_owned(), ..receipt(slot) };
        let mut both: Vec<Receipt> = [0, 2, 4].map(shares).into();
        assert_eq!(verify(&file(&both), &keys()), Err(of_rows(0)));
        both.extend([1, 2, 3].map(rows));
        assert_eq!(verify(&file(&both), &keys()).unwrap().sealed_versions, "4");
        assert_eq!(verify(&file(&both[3..]), &keys()), Err(Unproved::TooFew { sites: 0 }));
        // What says that there was nothing proves nothing.
        let none = |slot| Receipt { in_shares: "none".to_owned(), ..receipt(slot) };
        assert!(verify(&file(&[0, 1, 2].map(none)), &keys()).is_err());

        let with = |at: usize, change: &dyn Fn(&mut Receipt)| {
            let mut changed = three.clone();
            change(&mut changed[at]);
            verify(&file(&changed), &keys()).unwrap_err()
        };
        let another = |what| Unproved::Another { receipt: 2, what };
        assert_eq!(with(1, &|receipt| receipt.versions = "1-3".to_owned()), another("set of versions"));
        assert_eq!(with(1, &|receipt| receipt.in_shares = "none".to_owned()), another("set of versions"));
        assert_eq!(with(1, &|receipt| receipt.in_rows = "4".to_owned()), another("set of versions"));
        assert_eq!(with(1, &|receipt| receipt.account = "000000000001".to_owned()), another("portion"));
        assert_eq!(with(1, &|receipt| receipt.portion.replace_range(..1, "f")), another("portion"));
        assert_eq!(with(1, &|receipt| receipt.slot = 0), Unproved::Signature { receipt: 2, site: "dc3".to_owned() });
        assert_eq!(with(1, &|receipt| *receipt = super::tests::receipt(0)), Unproved::TooFew { sites: 2 });
        assert_eq!(
            with(0, &|receipt| receipt.cluster = "x".to_owned()),
            Unproved::NoKey { receipt: 1, site: "dc1".to_owned() }
        );
        assert_eq!(verify(&file(&three[..2]), &keys()), Err(Unproved::TooFew { sites: 2 }));
        assert_eq!(verify(&file(&[]), &keys()), Err(Unproved::Count(0)));
        assert_eq!(verify(&file(&three), &keys()[1..]), Err(Unproved::NoKey { receipt: 1, site: "dc1".to_owned() }));
        let mut bent = file(&three);
        bent.receipts[2] = bent.receipts[2].replace("destroyed 1-3,5", "destroyed 1-4,5");
        assert_eq!(verify(&bent, &keys()), Err(Unproved::Signature { receipt: 3, site: "dc5".to_owned() }));
        bent.receipts[2] = "nonsense".to_owned();
        assert_eq!(verify(&bent, &keys()), Err(Unproved::Unreadable(3)));
    }
}
