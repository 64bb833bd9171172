//! Keeps a secret in a TPM 2.0: it is encrypted to a key that does not leave the TPM, and optionally given back only while
//! registers (PCRs) are as they were.
//!
//! By the programs of tpm2-tools, which speak to the TPM through TPM2-TSS: a stack that distributions keep, and a crash in it
//! is a child's. Nothing secret is on a command line or in a file; on the way to the TPM it is encrypted by a session.

mod kept;
mod pcrs;
mod tools;

use std::sync::OnceLock;
use std::time::Duration;

use keys::{Keeper, KeeperError};
use tempfile::TempDir;
use zeroize::Zeroizing;

use kept::Held;
pub use pcrs::{PcrError, Pcrs};
use tools::{Tools, Trouble};

/// What is asked where nothing else is named: the kernel's resource manager. Never what TPM2-TSS looks for by itself, which
/// in the end is a port of this host that anybody may listen on.
pub const DEVICE: &str = "device:/dev/tpmrm0";
/// The variable of tpm2-tools that names another.
pub const TCTI_VARIABLE: &str = "TPM2TOOLS_TCTI";

/// Time for each call of a tool. A TPM takes up to some seconds for a key, and may do another's work first.
const LIMIT: Duration = Duration::from_secs(60);
/// What all primary keys here are: the same template on the same TPM is the same key (TCG TPM 2.0 part 1, 14.3.3).
const PRIMARY: &str = "ecc256:aes128cfb";
/// The sealed secret stays in its TPM. Without dictionary-attack protection, since there is no word to guess: somebody else's
/// wrong guesses must not lock it.
const ATTRIBUTES: &str = "fixedtpm|fixedparent|noda";

/// A TPM, and what it shall look at before it gives a secret back.
pub struct Tpm {
    tools: Tools,
    /// Those that were named, or else those of the first secret that was given back.
    pcrs: OnceLock<Pcrs>,
}

impl Tpm {
    /// The TPM that `tcti` names as tpm2-tools do, else [`TCTI_VARIABLE`], else [`DEVICE`]. Nothing is asked yet. New secrets
    /// are bound to `pcrs`, or without them to those that the first secret given back is bound to; which ones that are, it says itself.
    pub fn new(tcti: Option<String>, pcrs: Option<Pcrs>) -> Self {
        let named = tcti.or_else(|| std::env::var(TCTI_VARIABLE).ok()).filter(|tcti| !tcti.is_empty());
        Self {
            tools: Tools::new(named.unwrap_or_else(|| DEVICE.to_owned()), LIMIT),
            pcrs: pcrs.map_or_else(OnceLock::new, OnceLock::from),
        }
    }

    /// Puts the primary key in `primary.ctx`, and gives its name.
    fn primary(&self, dir: &TempDir) -> Result<Vec<u8>, KeeperError> {
        let words = ["-Q", "-C", "o", "-g", "sha256", "-G", PRIMARY, "-c", "primary.ctx"];
        self.tools.run(dir, "tpm2_createprimary", &words, None).map_err(|trouble| self.told(&trouble))?;
        self.step(dir, "tpm2_readpublic", &["-Q", "-c", "primary.ctx", "-n", "primary.name"])?;
        std::fs::read(dir.path().join("primary.name"))
            .map_err(|error| KeeperError::Failed(format!("the TPM's key: {error}")))
    }

    /// A session that encrypts what goes in and comes out, by a secret that only this TPM knows.
    fn session(&self, dir: &TempDir, kind: &str, ways: &[&str]) -> Result<(), KeeperError> {
        self.step(dir, "tpm2_startauthsession", &["-S", "session.ctx", kind, "-c", "primary.ctx"])?;
        self.step(dir, "tpm2_sessionconfig", &[&["session.ctx"], ways].concat())
    }

    fn step(&self, dir: &TempDir, tool: &'static str, words: &[&str]) -> Result<(), KeeperError> {
        self.tools.run(dir, tool, words, None).map(|_| ()).map_err(|trouble| self.told(&trouble))
    }

    /// What the policy of these PCRs is now, in `policy`.
    fn policy(&self, dir: &TempDir, pcrs: &Pcrs) -> Result<(), KeeperError> {
        self.step(dir, "tpm2_startauthsession", &["-S", "trial.ctx", "-g", "sha256"])?;
        let made = self.step(dir, "tpm2_policypcr", &["-Q", "-S", "trial.ctx", "-l", pcrs.as_str(), "-L", "policy"]);
        self.tools.forget(dir, "trial.ctx");
        made
    }

    fn scratch() -> Result<TempDir, KeeperError> {
        tempfile::Builder::new()
            .prefix("holdfast-tpm-")
            .tempdir()
            .map_err(|error| KeeperError::Failed(format!("no folder for what the TPM's tools write: {error}")))
    }

    fn sealed(&self, dir: &TempDir, secret: &[u8; 32]) -> Result<Held, KeeperError> {
        let primary = self.primary(dir)?;
        let attributes = match self.pcrs.get() {
            Some(pcrs) => {
                self.policy(dir, pcrs)?;
                ATTRIBUTES.to_owned()
            }
            // Nothing but the TPM is asked.
            None => format!("{ATTRIBUTES}|userwithauth"),
        };
        self.session(dir, "--hmac-session", &["--enable-decrypt"])?;
        let mut words =
            vec!["-Q", "-C", "primary.ctx", "-P", "session:session.ctx", "-g", "sha256", "-a", &attributes, "-i", "-"];
        words.extend(["-u", "public", "-r", "private"]);
        if self.pcrs.get().is_some() {
            words.extend(["-L", "policy"]);
        }
        let made = self.tools.run(dir, "tpm2_create", &words, Some(secret));
        self.tools.forget(dir, "session.ctx");
        made.map_err(|trouble| self.told(&trouble))?;
        let read = |name: &str| {
            std::fs::read(dir.path().join(name))
                .map_err(|error| KeeperError::Failed(format!("what the TPM sealed: {error}")))
        };
        Ok(Held { primary, pcrs: self.pcrs.get().cloned(), public: read("public")?, private: read("private")? })
    }

    fn unsealed(&self, dir: &TempDir, held: &Held) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let primary = self.primary(dir)?;
        if primary != held.primary {
            return Err(KeeperError::Failed(
                "another TPM sealed it, or this one was cleared since: only that one opens it. Put the disk back into its \
                 machine; or move the file away and run `holdfast key root recover` with shares, sealing it anew"
                    .to_owned(),
            ));
        }
        for (name, bytes) in [("public", &held.public), ("private", &held.private)] {
            std::fs::write(dir.path().join(name), bytes)
                .map_err(|error| KeeperError::Failed(format!("what the TPM sealed: {error}")))?;
        }
        self.step(dir, "tpm2_load", &["-Q", "-C", "primary.ctx", "-u", "public", "-r", "private", "-c", "sealed.ctx"])?;
        let kind = if held.pcrs.is_some() { "--policy-session" } else { "--hmac-session" };
        self.session(dir, kind, &["--enable-encrypt"])?;
        let opened = match &held.pcrs {
            Some(pcrs) => self.step(dir, "tpm2_policypcr", &["-Q", "-S", "session.ctx", "-l", pcrs.as_str()]),
            None => Ok(()),
        };
        let opened = opened.and_then(|()| {
            let words = ["-Q", "-c", "sealed.ctx", "-p", "session:session.ctx"];
            self.tools.run(dir, "tpm2_unseal", &words, None).map_err(|trouble| match (&trouble, &held.pcrs) {
                (Trouble::Policy, Some(pcrs)) => KeeperError::Failed(format!(
                    "the TPM's registers {} are not as they were when it was sealed: firmware, Secure Boot or the boot loader \
                     changed, or somebody meddled with them. If you know why, move the file away, run `holdfast key root \
                     recover` with shares, and seal it anew; else find out first",
                    pcrs.as_str()
                )),
                _ => self.told(&trouble),
            })
        });
        self.tools.forget(dir, "session.ctx");
        opened
    }

    fn told(&self, trouble: &Trouble) -> KeeperError {
        KeeperError::Failed(match trouble {
            Trouble::NoTool(tool) => {
                format!("{tool} is not here: install tpm2-tools (Debian: apt-get install tpm2-tools)")
            }
            Trouble::NoTpm(words) => format!(
                "there is no TPM at {}: {words}. Name another with --tpm-tcti; the user of the server must be in the group tss",
                self.tools.tcti
            ),
            Trouble::Time(tool, limit) => {
                format!("the TPM at {} gave {tool} no answer in {} seconds", self.tools.tcti, limit.as_secs())
            }
            Trouble::Locked => "the TPM is locked out after wrong guesses of some password; wait, as `tpm2_getcap \
                                properties-variable` tells, or reset it by `tpm2_dictionarylockout --clear-lockout`"
                .to_owned(),
            Trouble::Owner => {
                "the TPM's owner hierarchy has a password, and its storage key is not to be had without; clear it \
                               with `tpm2_changeauth -c owner -p OLD`"
                    .to_owned()
            }
            Trouble::Policy => "the TPM's registers are not as they were when it was sealed".to_owned(),
            Trouble::Damaged => {
                "the TPM does not take what the file says that it sealed: the file is damaged; restore it \
                                 from your backup, or from shares"
                    .to_owned()
            }
            Trouble::Other(tool, words) => format!("{tool}: {words}"),
        })
    }
}

impl Keeper for Tpm {
    fn kind(&self) -> &'static str {
        "tpm2"
    }

    fn place(&self) -> String {
        // Which one, what it kept says.
        "TPM 2.0".to_owned()
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        let dir = Self::scratch()?;
        Ok(self.sealed(&dir, secret)?.to_bytes())
    }

    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let held = Held::of(kept).ok_or_else(|| self.told(&Trouble::Damaged))?;
        let given = self.unsealed(&Self::scratch()?, &held)?;
        if let Some(pcrs) = &held.pcrs {
            // A key that follows this one is not less bound than it was.
            self.pcrs.get_or_init(|| pcrs.clone());
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests;
