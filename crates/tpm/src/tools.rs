//! Runs the programs of tpm2-tools, one a step, and reads from what they say why they failed.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zeroize::Zeroizing;

/// Bytes that are read of what a tool prints.
const OUTPUT_MAX: u64 = 4096;
/// How often it is looked whether a tool has ended.
const LOOK: Duration = Duration::from_millis(2);

/// Response codes (TCG TPM 2.0 part 2, 6.6.3), without the number of the handle, parameter or session.
mod code {
    /// TPM_RC_LOCKOUT.
    pub(super) const LOCKOUT: u32 = 0x921;
    /// TPM_RC_POLICY_FAIL.
    pub(super) const POLICY_FAIL: u32 = 0x9d;
    /// TPM_RC_PCR_CHANGED: between the look at the registers and the use.
    pub(super) const PCR_CHANGED: u32 = 0x128;
    /// TPM_RC_AUTH_FAIL.
    pub(super) const AUTH_FAIL: u32 = 0x8e;
    /// TPM_RC_BAD_AUTH.
    pub(super) const BAD_AUTH: u32 = 0xa2;
    /// TPM_RC_INTEGRITY.
    pub(super) const INTEGRITY: u32 = 0x9f;
}

/// Why a tool did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    NoTool(&'static str),
    NoTpm(String),
    Time(&'static str, Duration),
    Locked,
    Owner,
    Policy,
    Damaged,
    Other(&'static str, String),
}

pub(crate) struct Tools {
    pub(crate) tcti: String,
    limit: Duration,
}

impl Tools {
    pub(crate) fn new(tcti: String, limit: Duration) -> Self {
        Self { tcti, limit }
    }

    /// Runs a tool in a folder; gives what it wrote to stdout. What it loaded in the TPM is gone afterwards: where no resource
    /// manager is between, three objects fill a TPM.
    pub(crate) fn run(
        &self,
        dir: &TempDir,
        tool: &'static str,
        words: &[&str],
        input: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let done = self.call(dir, tool, words, input);
        if !matches!(done, Err(Trouble::NoTool(_) | Trouble::NoTpm(_) | Trouble::Time(..))) {
            // Where there is nothing to flush, there is nothing to tell.
            let _ = self.call(dir, "tpm2_flushcontext", &["-t"], None);
        }
        done
    }

    /// Ends a session. One that has ended is no trouble.
    pub(crate) fn forget(&self, dir: &TempDir, session: &str) {
        let _ = self.call(dir, "tpm2_flushcontext", &[session], None);
    }

    fn call(
        &self,
        dir: &TempDir,
        tool: &'static str,
        words: &[&str],
        input: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let broken = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Trouble::NoTool(tool),
            _ => Trouble::Other(tool, error.to_string()),
        };
        let mut command = Command::new(tool);
        // Nothing of the environment is the tools' but this: passphrases and the credentials of customers' keys are in it.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_for_tools(name)));
        command.args(words).current_dir(dir.path()).env("TPM2TOOLS_TCTI", &self.tcti).env("LC_ALL", "C");
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = Ended(command.spawn().map_err(broken)?);
        if let (Some(mut stdin), Some(input)) = (child.0.stdin.take(), input) {
            // One that has ended is told of by how it ended.
            let _ = stdin.write_all(input);
        }
        let (sender, read) = channel();
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.0.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.0.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for (number, pipe) in pipes.into_iter().enumerate() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                // With room for all of it: what grows leaves copies behind.
                let mut bytes = Zeroizing::new(Vec::with_capacity(2 * OUTPUT_MAX as usize));
                if let Some(mut pipe) = pipe {
                    // What is cut short is told of by how it ended.
                    let _ = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut bytes);
                    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
                }
                let _ = sender.send((number, bytes));
            });
        }
        let late = || Trouble::Time(tool, self.limit);
        let left = || self.limit.saturating_sub(begun.elapsed());
        let mut texts = [Zeroizing::default(), Zeroizing::default()];
        for _ in 0..2 {
            let (number, bytes) = read.recv_timeout(left()).map_err(|_| late())?;
            texts[number] = bytes;
        }
        let status = loop {
            match child.0.try_wait().map_err(broken)? {
                Some(status) => break status,
                None if left().is_zero() => return Err(late()),
                None => std::thread::sleep(LOOK),
            }
        };
        let [out, err] = texts;
        if status.success() { Ok(out) } else { Err(trouble(tool, &String::from_utf8_lossy(&err))) }
    }
}

/// Whether a variable is where programs and libraries are found, or is the TPM's own.
fn is_for_tools(name: &OsStr) -> bool {
    let own = [b"TPM2".as_slice(), b"TSS2", b"LD_"];
    let is_own = |name: &[u8]| own.iter().any(|prefix| name.starts_with(prefix));
    ["PATH", "HOME", "TMPDIR"].iter().any(|known| name == *known) || is_own(name.as_encoded_bytes())
}

/// What a tool complained of. `Esys_Unseal(0x99D)` is the TPM's own answer; what has no such number did not come from it.
pub(crate) fn trouble(tool: &'static str, said: &str) -> Trouble {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("ERROR")).collect();
    if said.contains("Could not load tcti") {
        let words =
            lines.first().and_then(|line| line.rsplit_once("() ")).map_or("it does not answer", |(_, words)| words);
        return Trouble::NoTpm(words.trim().trim_end_matches('.').to_owned());
    }
    let number = said.lines().rev().find_map(|line| {
        let digits = line.strip_prefix("ERROR: Esys_")?.split_once("(0x")?.1.split_once(')')?.0;
        u32::from_str_radix(digits, 16).ok()
    });
    let Some(number) = number else {
        let words = lines.first().copied().unwrap_or("it failed, and does not say why");
        return Trouble::Other(tool, words.trim_start_matches("ERROR:").trim().to_owned());
    };
    // Format one (bit 7) has the number of what is wrong in bits 8 to 11 and 6.
    let bare = if number & 0x80 != 0 && number < 0x1000 { number & 0xbf } else { number };
    match bare {
        _ if number == code::LOCKOUT => Trouble::Locked,
        code::POLICY_FAIL | code::PCR_CHANGED => Trouble::Policy,
        code::AUTH_FAIL | code::BAD_AUTH if tool == "tpm2_createprimary" => Trouble::Owner,
        code::INTEGRITY => Trouble::Damaged,
        _ => {
            let words = lines.iter().rev().find(|line| line.starts_with("ERROR: Esys_")).copied().unwrap_or_default();
            Trouble::Other(tool, words.trim_start_matches("ERROR:").trim().to_owned())
        }
    }
}

/// A child that does not outlive who asks it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It has mostly ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_get_what_finds_them_and_the_tpm_and_no_secret() {
        // (variable, whether it is passed on)
        let table = [
            ("PATH", true),
            ("HOME", true),
            ("LD_LIBRARY_PATH", true),
            ("TPM2TOOLS_TCTI", true),
            ("TSS2_LOG", true),
            ("HOLDFAST_ROOT_PASSPHRASE", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("AWS_SESSION_TOKEN", false),
            ("PATHS", false),
            ("", false),
        ];
        for (name, passed) in table {
            assert_eq!(is_for_tools(OsStr::new(name)), passed, "{name}");
        }
        // `env` is a tool that tells what it got.
        let dir = tempfile::tempdir().unwrap();
        let tools = Tools::new("none".to_owned(), Duration::from_secs(60));
        let told = tools.call(&dir, "env", &[], None).unwrap();
        let told = String::from_utf8_lossy(&told);
        let names: Vec<&str> = told.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo sets it for tests");
        assert!(names.contains(&"TPM2TOOLS_TCTI") && names.contains(&"LC_ALL"), "{names:?}");
        assert!(names.iter().all(|name| is_for_tools(OsStr::new(name)) || *name == "LC_ALL"), "{names:?}");
    }
}
