//! What a KMS answers: that it is done, no, or nothing that counts.

use serde::Deserialize;
use zeroize::Zeroizing;

/// What an answer is.
pub(crate) enum Answer {
    /// It was done.
    Done(Output),
    /// It says no, and says why.
    Refused(String),
    /// It may do it later, or it is no KMS.
    Later(String),
}

/// What `Encrypt` and `Decrypt` answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    pub(crate) ciphertext_blob: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    pub(crate) plaintext: Option<Zeroizing<String>>,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// Errors of status 400 that say nothing about the key (AWS KMS API Reference, common errors). `RequestExpired` is of our clock.
const LATER: [&str; 6] = [
    "ThrottlingException",
    "LimitExceededException",
    "RequestExpired",
    "RequestTimeoutException",
    "DependencyTimeoutException",
    "KeyUnavailableException",
];

/// Whether it says no to the time of a signature, and so to our clock or its own; nobody took anything away. AWS tells it by
/// its words alone (IAM User Guide, troubleshooting Signature Version 4: `Signature expired`, `Signature not yet current`).
fn is_of_time(kind: &str, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    kind.starts_with("InvalidSignature")
        && message.starts_with("signature")
        && (message.contains("expired") || message.contains("not yet current"))
}

impl Answer {
    pub(crate) fn of(status: u16, body: &[u8]) -> Self {
        if (200..300).contains(&status) {
            return match serde_json::from_slice(body) {
                Ok(output) => Self::Done(output),
                Err(_) => Self::Later(format!("it answers {status}, and not as a KMS does")),
            };
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return Self::Later(format!("it answers {status}, and not as a KMS does"));
        };
        let kind = problem.kind.rsplit('#').next().unwrap_or_default();
        let words: String = format!("{kind}: {}", problem.message).chars().take(512).collect();
        if is_of_time(kind, &problem.message) {
            return Self::Later(format!("{words} (is the clock of this machine right?)"));
        }
        // Whatever it says no to, credentials as well as the key, it is theirs to give or not.
        if (400..500).contains(&status) && status != 408 && status != 429 && !LATER.contains(&kind) {
            Self::Refused(words)
        } else {
            Self::Later(words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is wrong, here or there, is nobody's no.
    #[test]
    fn the_time_of_a_signature_is_not_the_key() {
        // (error, words, what it is); AWS', and another Holdfast's
        let table = [
            (
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)",
                "later",
            ),
            (
                "InvalidSignatureException",
                "Signature not yet current: 20260101T002100Z is still later than 20260101T002000Z (20260101T001500Z + 5 min.)",
                "later",
            ),
            ("InvalidSignatureException", "Signature expired or not yet current: 20260101T000000Z", "later"),
            (
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
                "refused",
            ),
            // Tokens run out because somebody let them.
            ("ExpiredTokenException", "The security token included in the request is expired", "refused"),
            ("AccessDeniedException", "Signature expired", "refused"),
        ];
        for (kind, message, expected) in table {
            let body = format!(r#"{{"__type":"{kind}","message":"{message}"}}"#);
            let found = match Answer::of(400, body.as_bytes()) {
                Answer::Done(_) => "done",
                Answer::Refused(_) => "refused",
                Answer::Later(words) => {
                    assert!(words.contains("clock"), "{words}");
                    "later"
                }
            };
            assert_eq!(found, expected, "{kind}: {message}");
        }
    }

    #[test]
    fn no_is_told_from_no_answer() {
        let problem = |kind: &str| format!(r#"{{"__type":"{kind}","message":"why"}}"#);
        // (status, body, what it is)
        let table = [
            (200, r#"{"Plaintext":"AA==","KeyId":"k"}"#.to_owned(), "done"),
            (200, "<html>".to_owned(), "later"),
            (400, problem("DisabledException"), "refused"),
            (400, problem("com.amazonaws.kms#AccessDeniedException"), "refused"),
            (400, problem("KMSInvalidStateException"), "refused"),
            (400, problem("NotFoundException"), "refused"),
            (400, problem("UnrecognizedClientException"), "refused"),
            (400, r#"{"__type":"AccessDeniedException","Message":"why"}"#.to_owned(), "refused"),
            (400, problem("InvalidSignatureException"), "refused"),
            (400, problem("ThrottlingException"), "later"),
            (400, problem("RequestExpired"), "later"),
            (429, problem("Other"), "later"),
            (408, problem("RequestTimeoutException"), "later"),
            (500, problem("KMSInternalException"), "later"),
            (503, problem("KeyUnavailableException"), "later"),
            // A way between that says no is no KMS.
            (403, "<html>".to_owned(), "later"),
            (404, "{}".to_owned(), "later"),
        ];
        for (status, body, expected) in table {
            let (found, words) = match Answer::of(status, body.as_bytes()) {
                Answer::Done(_) => ("done", "why".to_owned()),
                Answer::Refused(words) => ("refused", words),
                Answer::Later(words) => ("later", words),
            };
            assert_eq!(found, expected, "{status} {body}");
            assert!(words.contains("why") || words.contains("not as a KMS"), "{words}");
        }
    }
}
