//! Which registers of a TPM a secret is bound to, as tpm2-tools write it: `sha256:0,7`.

/// Registers of a bank (TCG PC Client Platform TPM Profile: 24).
const REGISTERS: u8 = 24;
/// Banks that a selection may be of.
const BANKS: [&str; 3] = ["sha256", "sha384", "sha512"];
/// Most bytes of a selection: every register of every bank.
pub(crate) const TEXT_MAX: usize = 255;

/// No selection of registers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no registers of a TPM; as sha256:7, sha256:0,2,7 or sha256:7+sha384:0 (numbers from 0 to 23, each once)"
)]
pub struct PcrError(String);

/// A selection of registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcrs(String);

impl Pcrs {
    /// From text as `sha256:7`, of one or more banks with `+` between. SHA-1 banks are not taken.
    ///
    /// # Errors
    /// [`PcrError`].
    pub fn new(text: &str) -> Result<Self, PcrError> {
        let mut banks = Vec::new();
        let sound = text.len() <= TEXT_MAX
            && text.split('+').all(|part| {
                let Some((bank, numbers)) = part.split_once(':') else { return false };
                let fresh = BANKS.contains(&bank) && !banks.contains(&bank);
                banks.push(bank);
                let mut seen = Vec::new();
                fresh
                    && numbers.split(',').all(|word| {
                        let digits = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
                        let number = word.parse().ok().filter(|number: &u8| digits && *number < REGISTERS);
                        let fresh = number.is_some_and(|number| !seen.contains(&number));
                        seen.extend(number);
                        fresh
                    })
            });
        if sound { Ok(Self(text.to_owned())) } else { Err(PcrError(text.to_owned())) }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
