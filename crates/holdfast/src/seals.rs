//! What seals the root key, as command line, environment and configuration say: a token, a passphrase, or nothing. Who may
//! hold halves of tenants' keys: a KMS.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use awskms::{AwsKms, KmsOptions};
use base::AccountId;
use keys::{Keeper, KeeperError, Keepers, Kept, PlainFile, RootFile, RootKey, Seal, Sealing};
use pkcs11::{Token, TokenNames};
use zeroize::Zeroizing;

use crate::cli::{PassphraseArgs, TokenArgs};
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

/// What a new root key file is sealed by.
pub(crate) fn to_write(args: &PassphraseArgs) -> Result<Box<dyn Seal>, Failure> {
    if let Some(token) = token(&args.token)? {
        return Ok(Box::new(token));
    }
    match passphrase::given(args)? {
        Some(phrase) => Ok(Box::new(phrase)),
        None => Ok(Box::new(PlainFile)),
    }
}

/// What opens a file sealed this way. A passphrase that is not given is asked for, or with `ask` unset there is none.
pub(crate) fn to_open(sealing: &Sealing, args: &PassphraseArgs, ask: bool) -> Result<Option<Box<dyn Seal>>, Failure> {
    Ok(match sealing {
        Sealing::Clear => Some(Box::new(PlainFile)),
        Sealing::Passphrase if ask => Some(Box::new(passphrase::given_or_typed(args, false)?)),
        Sealing::Passphrase => passphrase::given(args)?.map(|phrase| Box::new(phrase) as Box<dyn Seal>),
        Sealing::Keeper(_) => match token(&args.token)? {
            Some(token) => Some(Box::new(token)),
            // It says what is missing.
            None if ask => Some(Box::new(PlainFile)),
            None => None,
        },
    })
}

/// The root key that is there, opened by whatever seals it.
pub(crate) fn opened(file: &RootFile, args: &PassphraseArgs, ask: bool) -> Result<Option<RootKey>, Failure> {
    let Some(sealing) = file.sealing()? else { return Ok(None) };
    match to_open(&sealing, args, ask)? {
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
