//! `holdfast key root`: shares of the root key for people, and what seals its file. Works on the data
//! directory; the server may run or not.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;

use base::{AccountId, SystemRng};
use keys::{Holds, Keyring, PlainFile, RootError, RootFile, RootKey, Seal, Sealing, Share, ShareError, SiteKeyFile};
use meta::record::{BucketRecord, Record, TenantKeyRecord, key};
use meta::{Engine, Range, after};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{AdminArgs, PassphraseArgs, RootCommand, SealArgs, SealKind, SealToArgs, SharesArgs, TpmArgs};
use crate::command::{key_site, print, rotate, say};
use crate::exit::{Exit, Failure, chain};
use crate::metadata::{self, Installation};
use crate::serve::lock;
use crate::{passphrase, seals};

/// Bytes of shares that are read: sixteen of them with much around them.
const INPUT_MAX: usize = 16 << 10;
/// Memory for the metadata while a key is tried on it.
const META_CACHE: usize = 8 << 20;
/// Rows that are read at once while a key is tried on them. One that opens is enough; that none does is known after the last: damaged
/// ones, and those that a rotation has moved already, should not condemn a right key.
const ROWS_AT_ONCE: usize = 1_000;

/// What a command that prints nothing secret has done.
#[derive(Serialize)]
pub(crate) struct Done {
    pub(crate) path: String,
    pub(crate) told: String,
}

/// Shares as JSON. Not `Debug`: they are the key.
#[derive(Serialize)]
struct Shares<'a> {
    set: String,
    threshold: u8,
    shares: Vec<&'a str>,
}

pub(crate) async fn run(admin: &AdminArgs, command: RootCommand, json: bool) -> Result<Exit, Failure> {
    let here = Installation::of(admin)?;
    let folder = &here.folder;
    let file = RootFile::new(folder.join("root.key"));
    // A rotation that was cut off needs the old key: it can be had back from its shares all the same.
    if !matches!(command, RootCommand::Rotate(_) | RootCommand::Recover { .. } | RootCommand::Check { .. }) {
        rotate::none_under_way(folder)?;
    }
    match command {
        RootCommand::Rotate(args) => rotate::run(&here, &file, &args, json).await,
        RootCommand::Split { shares, threshold, passphrase } => split(&file, threshold, shares, &passphrase, json),
        RootCommand::Recover { shares, passphrase } => recover(&here, &file, &shares, &passphrase, json).await,
        RootCommand::Check { shares, passphrase } => check(&file, &shares, &passphrase, json),
        RootCommand::Seal(args) => seal(&file, &args, json),
        RootCommand::Unseal(args) => unseal(&file, &args, json),
        RootCommand::Wrap { site, fingerprint, out, passphrase } => {
            key_site::wrap(&here, &file, &site, &fingerprint, &out, &passphrase, json).await
        }
        RootCommand::Accept { wrap, replace, passphrase } => {
            key_site::accept(&here, &file, &wrap, replace, &passphrase, json).await
        }
    }
}

impl From<RootError> for Failure {
    fn from(error: RootError) -> Self {
        Self::new(chain(&error))
    }
}

impl From<ShareError> for Failure {
    fn from(error: ShareError) -> Self {
        let usage = matches!(error, ShareError::Impossible { .. });
        if usage { Self::usage(error.to_string()) } else { Self::new(error.to_string()) }
    }
}

fn split(file: &RootFile, threshold: u8, count: u8, passphrase: &PassphraseArgs, json: bool) -> Result<Exit, Failure> {
    let shares =
        seals::opened(file, passphrase, true)?.ok_or_else(|| missing(file))?.split(threshold, count, &SystemRng)?;
    let set = shares.first().map(|share| share.set().to_string()).unwrap_or_default();
    note(&format!(
        "{count} shares of {path}, set {set}. Any {threshold} of them give the root key back, fewer tell nothing about it.
Give each to another person, on paper, and keep none here: whoever has {threshold} opens everything.
They are not shown again; splitting again makes another set, and this one goes on to work.
Then try them: holdfast key root check",
        path = file.path().display(),
    ));
    let texts: Vec<Zeroizing<String>> = shares.iter().map(Share::to_text).collect();
    let lines: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    // With room for all of it: what grows leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(256 * (lines.len() + 2)));
    if json {
        let told = Shares { set, threshold, shares: lines };
        serde_json::to_writer_pretty(&mut *out, &told).map_err(|error| Failure::new(error.to_string()))?;
        out.push(b'\n');
    } else {
        for line in lines {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }
    say(std::str::from_utf8(&out).unwrap_or_default())?;
    Ok(Exit::Ok)
}

async fn recover(
    here: &Installation,
    file: &RootFile,
    from: &SharesArgs,
    passphrase: &PassphraseArgs,
    json: bool,
) -> Result<Exit, Failure> {
    let key = RootKey::combine(&read(from)?)?;
    let done = |told: &str| Done { path: file.path().display().to_string(), told: told.to_owned() };
    if let Some(there) = seals::opened(file, passphrase, true)? {
        if !there.is(&key) {
            return Err(Failure::new(format!("{} holds another root key", file.path().display())).hint(
                "it is not written over: if it is not the right one, stop the server, move the file away and run this again",
            ));
        }
        print(&done("it is there already, and these shares give the same"), json, text)?;
        return Ok(Exit::Ok);
    }
    let told = match opens(here, &key).await? {
        Opens::Yes => "it opens the buckets of this installation",
        Opens::No if rotate::is_between(here, &key, passphrase).await? => {
            "written; the rotation that is under way has moved all that was under it: go on with `holdfast key root rotate`"
        }
        Opens::No => {
            return Err(Failure::new("these shares give a root key that opens no bucket of this installation")
                .hint("nothing was written: are they shares of this one? name its directory with --data-dir"));
        }
        Opens::Unknown(why) => why,
    };
    file.restore(&key, seals::to_write(passphrase)?.as_ref(), &SystemRng)?;
    print(&done(told), json, text)?;
    Ok(Exit::Ok)
}

fn check(file: &RootFile, from: &SharesArgs, passphrase: &PassphraseArgs, json: bool) -> Result<Exit, Failure> {
    let there = seals::opened(file, passphrase, true)?.ok_or_else(|| missing(file))?;
    let shares = read(from)?;
    let right = RootKey::combine(&shares)?.is(&there);
    let told = if right { "these shares give this root key" } else { "these shares give another root key" };
    print(&Done { path: file.path().display().to_string(), told: told.to_owned() }, json, text)?;
    Ok(if right { Exit::Ok } else { Exit::No })
}

pub(crate) fn seal(file: &RootFile, args: &SealToArgs, json: bool) -> Result<Exit, Failure> {
    // Before anybody types a passphrase for nothing.
    let sealing = file.sealing()?.ok_or_else(|| missing(file))?;
    let to = to_seal(file, &sealing, args)?;
    reseal(file, &sealing, to.as_ref(), &args.seal)?;
    let told = if args.seal.dry_run {
        "it can be sealed; nothing was written".to_owned()
    } else {
        let by = seals::kind(&file.sealing()?.ok_or_else(|| missing(file))?).map_or("nothing", seals::word);
        format!(
            "it is sealed by {by}, which the server needs at its next start. What the file held before may still be on the disk and in \
             backups"
        )
    };
    print(&Done { path: file.path().display().to_string(), told }, json, text)?;
    Ok(Exit::Ok)
}

pub(crate) fn unseal(file: &RootFile, args: &SealArgs, json: bool) -> Result<Exit, Failure> {
    let sealing = file.sealing()?.ok_or_else(|| missing(file))?;
    if sealing == Sealing::Clear {
        return Err(Failure::new(format!("{} is not sealed", file.path().display())));
    }
    reseal(file, &sealing, &PlainFile, args)?;
    let told = if args.dry_run {
        "it can be unsealed; nothing was written"
    } else {
        "it lies in clear; the server needs no passphrase, no token and no TPM"
    };
    print(&Done { path: file.path().display().to_string(), told: told.to_owned() }, json, text)?;
    Ok(Exit::Ok)
}

fn reseal(file: &RootFile, sealing: &Sealing, to: &dyn Seal, args: &SealArgs) -> Result<(), Failure> {
    let from = seals::to_open(file, sealing, &args.passphrase, true)?.ok_or_else(|| missing(file))?;
    Ok(file.reseal(from.as_ref(), to, &SystemRng, args.dry_run)?)
}

/// What shall seal a file, and never what seals it already.
fn to_seal(file: &RootFile, sealing: &Sealing, args: &SealToArgs) -> Result<Box<dyn Seal>, Failure> {
    let given = &args.seal.passphrase;
    let to = match args.to {
        Some(to) => to,
        None => meant(file, sealing, given)?,
    };
    if seals::kind(sealing) == Some(to) {
        return Err(Failure::new(format!("{} is sealed already, by {}", file.path().display(), seals::word(to)))
            .hint("to seal it by another of its kind, unseal it first"));
    }
    Ok(match to {
        SealKind::Passphrase => Box::new(passphrase::given_or_typed(given, true)?),
        SealKind::Tpm => Box::new(seals::tpm(&TpmArgs { tpm: true, ..given.tpm.clone() })?),
        SealKind::Pkcs11 => Box::new(seals::token(&given.token)?.ok_or_else(|| {
            Failure::usage("no token is named").hint("give --pkcs11-module, --pkcs11-token and --pkcs11-key")
        })?),
    })
}

/// What shall seal it where nobody says so: what is named and does not open it now. From a token or a TPM to a passphrase it never goes
/// by itself: the environment may hold one from before, and the same command run twice would take the key out of the token.
fn meant(file: &RootFile, sealing: &Sealing, given: &PassphraseArgs) -> Result<SealKind, Failure> {
    let wrapped = seals::is_wrapped(sealing);
    // What seals the site's key is named to open it.
    let beside = if wrapped { SiteKeyFile::beside(file).sealing()? } else { None };
    let opening = seals::kind(beside.as_ref().unwrap_or(sealing));
    // The token is named to open it.
    if opening == Some(SealKind::Pkcs11) && given.tpm.tpm {
        return Ok(SealKind::Tpm);
    }
    match (opening, seals::named(given)?) {
        (opening, Some(named)) if opening != Some(named) => Ok(named),
        (None, None) if !wrapped => Ok(SealKind::Passphrase),
        (opening, _) => {
            let by = if wrapped { "a site's key" } else { opening.map_or("nothing", seals::word) };
            Err(Failure::new(format!("{} is sealed already, by {by}", file.path().display())).hint(
                "to seal it by another of its kind, unseal it first; to seal it by a passphrase, give --to passphrase",
            ))
        }
    }
}

pub(crate) fn missing(file: &RootFile) -> Failure {
    if file.holds() == Holds::Site {
        return seals::no_site_key(file);
    }
    Failure::new(format!("there is no root key {}", file.path().display())).hint(
        "name the server's data directory with --data-dir, or write the key from shares: holdfast key root recover",
    )
}

pub(crate) fn text(done: &Done) -> String {
    format!("{}: {}\n", done.path, done.told)
}

/// What a person reads beside the data.
#[allow(clippy::print_stderr)]
fn note(text: &str) {
    eprintln!("{text}");
}

/// Shares, one a line. Empty lines and those that begin with # are for people.
fn read(from: &SharesArgs) -> Result<Vec<Share>, Failure> {
    let (name, input) = match &from.from {
        Some(path) => (path.display().to_string(), File::open(path)),
        // As a file: the library's stdin would keep a copy of what it read.
        None => ("stdin".to_owned(), std::io::stdin().as_fd().try_clone_to_owned().map(File::from)),
    };
    let input = input.map_err(Failure::io(&name))?;
    if from.from.is_none() && input.is_terminal() {
        note("type the shares, one on each line, and end with ctrl-D");
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * INPUT_MAX));
    input.take(INPUT_MAX as u64).read_to_string(&mut text).map_err(Failure::io(&name))?;
    parse(&name, &text)
}

/// Every line that is wrong is told, so that one look at the papers mends all.
fn parse(name: &str, text: &str) -> Result<Vec<Share>, Failure> {
    let lines =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let (mut shares, mut wrong) = (Vec::new(), String::new());
    for (number, line) in lines {
        match Share::from_text(line) {
            Ok(share) => shares.push(share),
            Err(error) => {
                // Writing to a string does not fail.
                let _ = write!(wrong, "\n  line {number}: {error}");
            }
        }
    }
    if wrong.is_empty() {
        Ok(shares)
    } else {
        Err(Failure::new(format!("{name} has lines that are no shares:{wrong}")))
    }
}

/// Whether a key is the one of an installation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    Yes,
    No,
    Unknown(&'static str),
}

/// Tries a key on the buckets of the metadata, which takes the server to be stopped.
pub(crate) async fn opens(here: &Installation, key: &RootKey) -> Result<Opens, Failure> {
    if !here.may_be_there() {
        return Ok(Opens::Unknown(
            "written; there is no metadata here to try it on, only that it fits together is known",
        ));
    }
    let Ok(_lock) = lock(&here.folder) else {
        return Ok(Opens::Unknown("written; it could not be tried on the metadata, which a running server holds"));
    };
    let needed = |failure: Failure| failure.hint("the metadata is needed to try the key on; nothing was written");
    let engine = metadata::open(&here.place, &here.folder, META_CACHE).await.map_err(needed)?;
    opens_any(engine.as_ref(), key).await.map_err(|error| needed(Failure::new(chain(&error))))
}

/// Tries a key on what lies under a root key: keys of buckets and of tenants.
pub(crate) async fn opens_any(engine: &dyn Engine, key: &RootKey) -> Result<Opens, meta::MetaError> {
    let keyring = Keyring::of(key);
    let mut tried = false;
    let kinds = [key::buckets(AccountId::DEFAULT), key::all_tenants_buckets(), key::tenant_keys()];
    for (from, to) in kinds {
        let mut from = Some(from);
        while let Some(start) = from {
            let page = engine.range(Range { from: start, to: to.clone(), limit: ROWS_AT_ONCE }).await?;
            from = page.more.then(|| page.rows.last().map(|(last, _)| after(last))).flatten();
            for (row_key, row) in page.rows {
                match is_under(&keyring, &row_key, &row.value) {
                    Some(true) => return Ok(Opens::Yes),
                    Some(false) => tried = true,
                    None => {}
                }
            }
        }
    }
    let nothing = Opens::Unknown(
        "written; there is nothing in the metadata yet to try it on, only that it fits together is known",
    );
    Ok(if tried { Opens::No } else { nothing })
}

/// Whether a row's key is under the root key; `None` where the row cannot be read.
fn is_under(keyring: &Keyring, row_key: &[u8], row: &[u8]) -> Option<bool> {
    match key::tenant_key_of(row_key) {
        Some(account) => TenantKeyRecord::decode(row).ok().map(|record| keyring.opens_tenant(account, &record)),
        None => {
            let record = BucketRecord::decode(row).ok()?;
            Some(keyring.bucket_key(record.id, &record.wrapped_key).is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{BucketId, SeededRng};
    use meta::{Batch, Memory, Write};

    use super::*;

    fn shares(seed: u64) -> (RootKey, Vec<Share>) {
        let rng = SeededRng::new(seed);
        let key = RootKey::generate(&rng);
        let shares = key.split(3, 5, &rng).unwrap();
        (key, shares)
    }

    #[test]
    fn lines_are_shares_or_told() {
        let (_, shares) = shares(1);
        let [first, second] = [&shares[0], &shares[1]].map(|share| share.to_text().to_string());
        let typed = format!("# from Ann\n\n  {first}\r\n # from Bob\n{}", second.to_uppercase());
        assert_eq!(parse("stdin", &typed).unwrap(), shares[..2]);
        assert_eq!(parse("stdin", "\n#\n").unwrap(), []);
        let failure = parse("stdin", &format!("{first}\nhello\n{first}a\n")).unwrap_err();
        for word in ["stdin has", "line 2: this is no share", "line 3: this share has 97"] {
            assert!(failure.error.contains(word), "{word} in {}", failure.error);
        }
        assert!(!failure.error.contains("line 1") && !failure.error.contains(&first));
    }

    #[tokio::test]
    async fn a_key_is_tried_on_buckets() {
        let rng = SeededRng::new(7);
        let ((right, _), (wrong, _)) = (shares(1), shares(2));
        let put = |name, account, wrapped_key, id| {
            let record = BucketRecord { id, created_ms: 0, owner: "root".to_owned(), wrapped_key };
            Write::Put(key::bucket_key(account, name), record.encode())
        };
        let id = BucketId::random(&rng);
        let wrapped = Keyring::of(&right).new_bucket_key(id, &rng).unwrap();
        let default = put("a", AccountId::DEFAULT, wrapped.clone(), id);
        let damaged = put("b", AccountId::DEFAULT, vec![0; 40], BucketId::random(&rng));
        let tenants = put("a", AccountId::random(&rng), wrapped, id);
        let garbage = Write::Put(key::bucket_key(AccountId::DEFAULT, "c"), vec![0xff].into());
        let unknown = |opens| matches!(opens, Opens::Unknown(_));
        // (rows, with the right key, with a wrong one)
        let table = [
            (vec![], None, None),
            (vec![garbage.clone()], None, None),
            (vec![default.clone()], Some(Opens::Yes), Some(Opens::No)),
            (vec![tenants.clone()], Some(Opens::Yes), Some(Opens::No)),
            (vec![damaged.clone(), tenants, garbage.clone()], Some(Opens::Yes), Some(Opens::No)),
            (vec![damaged, default, garbage], Some(Opens::Yes), Some(Opens::No)),
        ];
        for (rows, with_right, with_wrong) in table {
            let engine = Memory::default();
            engine.commit(Batch { checks: Vec::new(), writes: rows }).await.unwrap();
            for (key, expected) in [(&right, with_right), (&wrong, with_wrong)] {
                let found = opens_any(&engine, key).await.unwrap();
                match expected {
                    Some(expected) => assert_eq!(found, expected),
                    None => assert!(unknown(found)),
                }
            }
        }
    }
}
