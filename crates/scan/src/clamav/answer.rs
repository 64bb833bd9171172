//! What `clamd` answers, as a verdict. Pure.

use meta::record::{Reason, Verdict};

use crate::engine::EngineError;

/// The verdict in an answer to `FILDES`: `fd[12]: OK`, `fd[12]: Name FOUND`, `fd[12]: words ERROR`.
///
/// # Errors
/// What it said, if that is no verdict.
pub(crate) fn verdict(answer: &[u8]) -> Result<Verdict, EngineError> {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim_matches(['\0', '\n', ' ']);
    let said = text.split_once(": ").map_or(text, |(_, said)| said);
    if said == "OK" {
        return Ok(Verdict::Clean);
    }
    if let Some(name) = said.strip_suffix(" FOUND") {
        return Ok(match limit(name) {
            Some(reason) => Verdict::Incomplete(vec![reason]),
            None => Verdict::Infected(vec![name.to_owned()]),
        });
    }
    Err(EngineError::Failed(if text.is_empty() { "it closed the connection".to_owned() } else { text.to_owned() }))
}

/// What ClamAV tells as a find although it found nothing: that it did not look at everything (`libclamav/others.c`, `scanners.c`).
fn limit(name: &str) -> Option<Reason> {
    if name.starts_with("Heuristics.Encrypted.") {
        return Some(Reason::Encrypted);
    }
    let limit = name.strip_prefix("Heuristics.Limits.Exceeded")?;
    Some(match limit.trim_start_matches('.') {
        "MaxRecursion" => Reason::TooDeep,
        "MaxFiles" => Reason::TooMany,
        "MaxScanTime" => Reason::TooSlow,
        _ => Reason::TooLarge,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_is_no_find_and_not_clean_either() {
        let infected = |name: &str| Ok(Verdict::Infected(vec![name.to_owned()]));
        let incomplete = |reason: Reason| Ok(Verdict::Incomplete(vec![reason]));
        let failed = |words: &str| Err(EngineError::Failed(words.to_owned()));
        let table = [
            ("fd[10]: OK\0", Ok(Verdict::Clean)),
            ("fd[10]: Eicar-Signature FOUND\0", infected("Eicar-Signature")),
            ("fd[10]: a: b FOUND\0", infected("a: b")),
            ("fd[10]: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0", incomplete(Reason::TooDeep)),
            ("fd[10]: Heuristics.Limits.Exceeded.MaxFiles FOUND\n", incomplete(Reason::TooMany)),
            ("fd[10]: Heuristics.Limits.Exceeded.MaxScanTime FOUND\0", incomplete(Reason::TooSlow)),
            ("fd[10]: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", incomplete(Reason::TooLarge)),
            ("fd[10]: Heuristics.Limits.Exceeded FOUND\0", incomplete(Reason::TooLarge)),
            ("fd[10]: Heuristics.Encrypted.Zip FOUND\0", incomplete(Reason::Encrypted)),
            ("fd[10]: Can't allocate memory ERROR\0", failed("fd[10]: Can't allocate memory ERROR")),
            ("", failed("it closed the connection")),
        ];
        for (answer, expected) in table {
            assert_eq!(verdict(answer.as_bytes()), expected, "{answer:?}");
        }
    }
}
