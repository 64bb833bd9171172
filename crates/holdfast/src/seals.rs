//! What seals the root key, as command line, environment and configuration say: a token, a TPM, a passphrase, or nothing. Where
//! it is wrapped to this machine as a site, one of these seals the site's key, and that opens the root. Who may hold halves of
//! tenants' keys: a KMS.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use awskms::{AwsKms, KmsOptions};
use base::AccountId;
use keys::{
    Keeper, KeeperError, Keepers, Kept, Passphrase, PlainFile, RootFile, RootKey, SITE_KIND, Seal, Sealing, SiteKey,
    SiteKeyFile,
};
use pkcs11::{Token, TokenNames};
use tpm::{Pcrs, Tpm};
use zeroize::Zeroizing;

use crate::cli::{PassphraseArgs, SealKind, TokenArgs, TpmArgs};
use crate::exit::Failure;
use crate::passphrase;

const PIN_VARIABLE: &str = "HOLDFAST_ROOT_PKCS11_PIN";

/// Who may hold halves of tenants' keys.
pub(crate) struct Customers;

impl Keepers for Customers {
    fn keeper(
        &self,
        account: AccountId,
        kind: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Keeper>, KeeperError> {
        if kind != awskms::KIND {
            return Err(KeeperError::Failed(format!(
                "there is no keeper of kind {kind:?} here; there is {}",
                awskms::KIND
            )));
        }
        // The customer sees it in the KMS' log, and may ask for it in the key's policy.
        let context = [("holdfast-purpose", "tenant-half".to_owned()), ("holdfast-tenant", account.to_string())];
        let context = context.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Arc::new(AwsKms::new(KmsOptions::of(options)?, context)))
    }
}

/// The token that is named, whole or not at all. Nothing is asked of it yet.
pub(crate) fn token(args: &TokenArgs) -> Result<Option<Kept>, Failure> {
    let TokenArgs { pkcs11_module, pkcs11_token, pkcs11_key, pkcs11_pin_file } = args;
    let (module, token, key) = match (pkcs11_module, pkcs11_token, pkcs11_key) {
        (None, None, None) => return Ok(None),
        (Some(module), Some(token), Some(key)) => (module.clone(), token.clone(), key.clone()),
        _ => {
            return Err(Failure::usage("a token takes a module, the token's label and the key's label")
                .hint("give --pkcs11-module, --pkcs11-token and --pkcs11-key, or all three under [root_pkcs11]"));
        }
    };
    let pin = match pkcs11_pin_file {
        Some(path) => passphrase::private_text(&format!("PIN file {}", path.display()), path)?,
        None => std::env::var(PIN_VARIABLE).map(Zeroizing::new).unwrap_or_default(),
    };
    let pin = Zeroizing::new(pin.trim_end_matches(['\r', '\n']).to_owned());
    if pin.is_empty() {
        return Err(Failure::usage(format!("there is no PIN for token {token:?}"))
            .hint(format!("give --pkcs11-pin-file FILE, or set {PIN_VARIABLE}")));
    }
    // Itself, though the file may have been replaced by an upgrade since.
    let (program, args) = (PathBuf::from("/proc/self/exe"), vec!["seal-helper".to_owned()]);
    Ok(Some(Kept::by(Box::new(Token::new(TokenNames { module, token, key }, pin, program, args)))))
}

/// The kind of what a TPM seals.
pub(crate) const TPM_KIND: &str = "tpm2";

/// The TPM, whether it shall seal or only open. Nothing is asked of it yet.
pub(crate) fn tpm(args: &TpmArgs) -> Result<Kept, Failure> {
    let pcrs = args.tpm_pcrs.as_deref().filter(|text| !text.is_empty()).map(Pcrs::new).transpose();
    let pcrs = pcrs.map_err(|error| Failure::usage(error.to_string()))?;
    if pcrs.is_some() && !args.tpm {
        return Err(Failure::usage("there are registers to seal to, and no TPM to seal by").hint("give --tpm as well"));
    }
    Ok(Kept::by(Box::new(Tpm::new(args.tpm_tcti.clone(), pcrs))))
}

/// What a server opens its root key with, and seals a new one by.
pub(crate) struct RootSeals {
    pub(crate) passphrase: Option<Passphrase>,
    pub(crate) token: Option<Kept>,
    /// For what is sealed by it already.
    pub(crate) tpm: Kept,
    /// Whether a new key is.
    pub(crate) tpm_seals: bool,
}

impl RootSeals {
    /// What opens a file that is sealed in this way, or makes it where there is none. `what` names the key in the log.
    pub(crate) fn of(&self, sealing: Option<&Sealing>, what: &str) -> &dyn Seal {
        let token = self.token.as_ref().map(|token| token as &dyn Seal);
        let passphrase = self.passphrase.as_ref().map(|passphrase| passphrase as &dyn Seal);
        let tpm = self.tpm_seals.then_some(&self.tpm as &dyn Seal);
        let named = token.or(tpm).or(passphrase);
        let wanted = named.unwrap_or(&PlainFile);
        match sealing {
            None => wanted,
            Some(Sealing::Clear) => {
                if named.is_some() {
                    tracing::warn!(
                        "there is a passphrase, a token or a TPM, but the {what} key lies in clear; run: holdfast key {what} seal"
                    );
                }
                &PlainFile
            }
            Some(Sealing::Passphrase) => passphrase.unwrap_or(wanted),
            Some(Sealing::Keeper(kind)) if kind == TPM_KIND => &self.tpm,
            Some(Sealing::Keeper(_)) => token.unwrap_or(wanted),
        }
    }
}

/// The token or the TPM that is named; nothing where none is.
pub(crate) fn named(args: &PassphraseArgs) -> Result<Option<SealKind>, Failure> {
    let TokenArgs { pkcs11_module, pkcs11_token, pkcs11_key, .. } = &args.token;
    match (pkcs11_module.is_some() || pkcs11_token.is_some() || pkcs11_key.is_some(), args.tpm.tpm) {
        (true, true) => {
            Err(Failure::usage("it is sealed by a token or by a TPM, not by both").hint("name one of them"))
        }
        (true, false) => Ok(Some(SealKind::Pkcs11)),
        (false, true) => Ok(Some(SealKind::Tpm)),
        // It says what is wrong with it.
        (false, false) => tpm(&args.tpm).map(|_| None),
    }
}

/// The token or the TPM that shall seal; nothing where none is named.
pub(crate) fn keeper(args: &PassphraseArgs) -> Result<Option<Kept>, Failure> {
    match named(args)? {
        Some(SealKind::Pkcs11) => token(&args.token),
        Some(_) => tpm(&args.tpm).map(Some),
        None => Ok(None),
    }
}

/// What seals a file; nothing where it lies in clear, or is wrapped to a site.
pub(crate) fn kind(sealing: &Sealing) -> Option<SealKind> {
    match sealing {
        Sealing::Clear => None,
        Sealing::Passphrase => Some(SealKind::Passphrase),
        Sealing::Keeper(kind) if kind == SITE_KIND => None,
        Sealing::Keeper(kind) if kind == TPM_KIND => Some(SealKind::Tpm),
        Sealing::Keeper(_) => Some(SealKind::Pkcs11),
    }
}

/// As people say it.
pub(crate) fn word(kind: SealKind) -> &'static str {
    match kind {
        SealKind::Passphrase => "a passphrase",
        SealKind::Pkcs11 => "a PKCS#11 token",
        SealKind::Tpm => "a TPM",
    }
}

/// What a new root key file is sealed by.
pub(crate) fn to_write(args: &PassphraseArgs) -> Result<Box<dyn Seal>, Failure> {
    if let Some(keeper) = keeper(args)? {
        return Ok(Box::new(keeper));
    }
    match passphrase::given(args)? {
        Some(phrase) => Ok(Box::new(phrase)),
        None => Ok(Box::new(PlainFile)),
    }
}

/// What opens a file sealed this way by itself. A passphrase that is not given is asked for, or with `ask` unset there is none.
pub(crate) fn own(sealing: &Sealing, args: &PassphraseArgs, ask: bool) -> Result<Option<Box<dyn Seal>>, Failure> {
    Ok(match sealing {
        Sealing::Clear => Some(Box::new(PlainFile)),
        Sealing::Passphrase if ask => Some(Box::new(passphrase::given_or_typed(args, false)?)),
        Sealing::Passphrase => passphrase::given(args)?.map(|phrase| Box::new(phrase) as Box<dyn Seal>),
        Sealing::Keeper(kind) if kind == TPM_KIND => Some(Box::new(tpm(&args.tpm)?)),
        Sealing::Keeper(_) => match token(&args.token)? {
            Some(token) => Some(Box::new(token)),
            // It says what is missing.
            None if ask => Some(Box::new(PlainFile)),
            None => None,
        },
    })
}

/// What opens a root key file sealed this way, through the site's key beside it where it is wrapped to that.
pub(crate) fn to_open(
    file: &RootFile,
    sealing: &Sealing,
    args: &PassphraseArgs,
    ask: bool,
) -> Result<Option<Box<dyn Seal>>, Failure> {
    if !is_wrapped(sealing) {
        return own(sealing, args, ask);
    }
    let beside = SiteKeyFile::beside(file);
    let Some(sealing) = beside.sealing()? else { return Err(no_site_key(beside.file())) };
    let Some(seal) = own(&sealing, args, ask)? else { return Ok(None) };
    Ok(Some(Box::new(site_key(&beside, seal.as_ref())?.seal())))
}

/// Whether a root key file is wrapped to a site.
pub(crate) fn is_wrapped(sealing: &Sealing) -> bool {
    matches!(sealing, Sealing::Keeper(kind) if kind == SITE_KIND)
}

/// This machine's site key.
pub(crate) fn site_key(file: &SiteKeyFile, seal: &dyn Seal) -> Result<SiteKey, Failure> {
    file.open(seal)?.ok_or_else(|| no_site_key(file.file()))
}

pub(crate) fn no_site_key(file: &RootFile) -> Failure {
    Failure::new(format!("there is no site key {}", file.path().display())).hint(
        "where the root key is wrapped to it, restore it from your backup; or make another with `holdfast key site create`, and \
         have the root key wrapped to that one",
    )
}

/// The root key that is there, opened by whatever seals it.
pub(crate) fn opened(file: &RootFile, args: &PassphraseArgs, ask: bool) -> Result<Option<RootKey>, Failure> {
    let Some(sealing) = file.sealing()? else { return Ok(None) };
    match to_open(file, &sealing, args, ask)? {
        Some(seal) => Ok(file.open(seal.as_ref())?),
        None => Ok(None),
    }
}

/// `holdfast seal-helper`: one request on stdin, one answer on stdout.
pub(crate) fn help() -> Result<(), Failure> {
    let failed = Failure::io("the pipes");
    // Who asked is gone: there is nobody to answer.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // What the library prints goes where errors go.
    let mut out = std::fs::File::from(rustix::io::dup(std::io::stdout()).map_err(|e| failed(e.into()))?);
    rustix::stdio::dup2_stdout(std::io::stderr()).map_err(|e| failed(e.into()))?;
    pkcs11::serve(&mut std::io::stdin().lock(), &mut out).map_err(failed)
}
