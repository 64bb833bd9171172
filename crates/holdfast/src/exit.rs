//! Exit codes and what is said on the way out.

use std::process::ExitCode;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; the answer is yes or whole.
    Ok = 0,
    /// The answer is no: damage that cannot be mended, data out of reach.
    No = 1,
    /// It could not be done.
    Failed = 2,
    /// The command line or the configuration is wrong (`EX_USAGE` of sysexits.h).
    Usage = 64,
    /// Done or answered, but degraded (`EX_TEMPFAIL`).
    Degraded = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, error: error.into(), hint: None }
    }

    pub(crate) fn usage(error: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(error) }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Names the thing that an I/O error is about.
    pub(crate) fn io(thing: impl std::fmt::Display) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::new(format!("{thing}: {error}"))
    }

    #[allow(clippy::print_stderr)]
    pub(crate) fn print(&self) {
        eprintln!("error: {}", self.error);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

/// An error and all that caused it, each told once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_promise() {
        let codes = [Exit::Ok, Exit::No, Exit::Failed, Exit::Usage, Exit::Degraded].map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 64, 75]);
    }
}
