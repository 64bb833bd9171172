//! What is told of one event, and its one spelling as bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use base::AccountId;
use serde::{Deserialize, Serialize};

use crate::AuditError;

/// Bytes of an entry. A bundle tells lengths in 16 bits; a quarter of that holds any request that is worth telling,
/// and keeps what one caller can make everybody read small.
pub const ENTRY_MAX: usize = 16 * 1024;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// The caller may not.
    Denied,
    /// The caller may, but it was not done.
    Failed,
}

/// What happened. The log gives it a number, which makes it an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since the Unix epoch, by the clock of who tells it. May go back from one event to the next.
    pub time_ms: u64,
    /// Who: an ARN, or a word for the server itself.
    pub principal: String,
    /// Whose: the tenant that the resource belongs to.
    pub account: AccountId,
    /// What was asked, like `kms:Decrypt` or `portion:rotate`.
    pub action: String,
    /// Of what: an ARN or a name.
    pub resource: String,
    /// How it went.
    pub outcome: Outcome,
    /// The request's id, as the caller was told it; empty where there was no request.
    pub request_id: String,
    /// What else there is to tell. Never a secret: the log is made to be handed out.
    pub details: BTreeMap<String, String>,
}

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 0, 1, 2, ... without a gap; also the index of the leaf in the tree.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// The fields in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    sequence: u64,
    time_ms: u64,
    principal: Cow<'a, str>,
    account: Cow<'a, str>,
    action: Cow<'a, str>,
    resource: Cow<'a, str>,
    outcome: Outcome,
    request_id: Cow<'a, str>,
    details: Cow<'a, BTreeMap<String, String>>,
}

impl Event {
    /// Whether the event fits into an entry, whatever its number will be.
    ///
    /// # Errors
    /// [`AuditError::TooLong`].
    pub(crate) fn check(&self) -> Result<(), AuditError> {
        self.encode(u64::MAX).map(|_| ())
    }

    /// The canonical bytes of the event as entry `sequence`.
    pub(crate) fn encode(&self, sequence: u64) -> Result<Vec<u8>, AuditError> {
        let wire = Wire {
            sequence,
            time_ms: self.time_ms,
            principal: Cow::Borrowed(&self.principal),
            account: Cow::Owned(self.account.to_string()),
            action: Cow::Borrowed(&self.action),
            resource: Cow::Borrowed(&self.resource),
            outcome: self.outcome,
            request_id: Cow::Borrowed(&self.request_id),
            details: Cow::Borrowed(&self.details),
        };
        let mut bounded = Bounded(Vec::new());
        // Text and numbers always have a JSON: the bound is the only way to fail.
        serde_json::to_writer(&mut bounded, &wire).map_err(|_| AuditError::TooLong { max: ENTRY_MAX })?;
        Ok(bounded.0)
    }
}

impl Entry {
    /// The canonical bytes: one line of JSON, which is the leaf of the tree.
    ///
    /// # Errors
    /// [`AuditError::TooLong`] for an entry that the log would not have taken.
    pub fn encode(&self) -> Result<Vec<u8>, AuditError> {
        self.event.encode(self.sequence)
    }

    /// Reads canonical bytes. `None` for any others, also for another spelling of the same entry.
    pub fn decode(canonical: &[u8]) -> Option<Self> {
        if canonical.len() > ENTRY_MAX {
            return None;
        }
        let wire: Wire<'_> = serde_json::from_slice(canonical).ok()?;
        let event = Event {
            time_ms: wire.time_ms,
            principal: wire.principal.into_owned(),
            account: account(&wire.account)?,
            action: wire.action.into_owned(),
            resource: wire.resource.into_owned(),
            outcome: wire.outcome,
            request_id: wire.request_id.into_owned(),
            details: wire.details.into_owned(),
        };
        let entry = Self { sequence: wire.sequence, event };
        (entry.encode().ok()? == canonical).then_some(entry)
    }
}

/// Twelve digits; others do not come out again as they went in.
fn account(text: &str) -> Option<AccountId> {
    AccountId::from_bytes(text.parse::<u64>().ok()?.to_be_bytes())
}

/// Takes [`ENTRY_MAX`] bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > ENTRY_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(principal: &str) -> Event {
        Event {
            time_ms: 1_767_225_600_000,
            principal: principal.to_owned(),
            account: AccountId::DEFAULT,
            action: "kms:Decrypt".to_owned(),
            resource: "portion/reports".to_owned(),
            outcome: Outcome::Denied,
            request_id: "7".to_owned(),
            details: BTreeMap::from([("why".to_owned(), "policy\nno \"allow\"".to_owned())]),
        }
    }

    #[test]
    fn the_spelling_is_fixed() {
        let line = Entry { sequence: 5, event: event("alice") }.encode().unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#"{"sequence":5,"time_ms":1767225600000,"principal":"alice","account":"000000000000","#.to_owned()
                + r#""action":"kms:Decrypt","resource":"portion/reports","outcome":"denied","request_id":"7","#
                + r#""details":{"why":"policy\nno \"allow\""}}"#
        );
    }

    #[test]
    fn another_spelling_is_refused() {
        let entry = Entry { sequence: 5, event: event("alice") };
        let line = String::from_utf8(entry.encode().unwrap()).unwrap();
        assert_eq!(Entry::decode(line.as_bytes()), Some(entry));
        for (from, to) in [
            ("{\"sequence\"", "{ \"sequence\""),
            (":5,", ":05,"),
            (":5,", ":5.0,"),
            ("alice", "\\u0061lice"),
            ("000000000000", "0"),
            ("000000000000", "+00000000000"),
            ("000000000000", "1000000000000"),
            ("denied", "Denied"),
            ("denied", "perhaps"),
            ("\"why\"", "\"why\":\"twice\",\"why\""),
            ("\"request_id\":\"7\",", ""),
            ("\"details\"", "\"more\":1,\"details\""),
            ("}}", "}}\n"),
            ("}}", "}"),
        ] {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line);
            assert_eq!(Entry::decode(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_bound_holds_for_every_number() {
        let spare = ENTRY_MAX - event("").encode(u64::MAX).unwrap().len();
        assert!(event(&"a".repeat(spare)).check().is_ok());
        assert!(matches!(event(&"a".repeat(spare + 1)).check(), Err(AuditError::TooLong { max: ENTRY_MAX })));
        assert!(matches!(event(&"\n".repeat(spare)).check(), Err(AuditError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_on_one_line(
            sequence: u64,
            time_ms: u64,
            words in prop::collection::vec(".{0,40}", 4),
            account in 0u64..1_000_000_000_000,
            outcome in prop::sample::select(vec![Outcome::Allowed, Outcome::Denied, Outcome::Failed]),
            details in prop::collection::btree_map("[\\PC\\n]{0,9}", "[\\PC\\n\\t]{0,9}", 0..5),
        ) {
            let [principal, action, resource, request_id] = <[String; 4]>::try_from(words).unwrap();
            let account = AccountId::from_bytes(account.to_be_bytes()).unwrap();
            let event = Event { time_ms, principal, account, action, resource, outcome, request_id, details };
            let entry = Entry { sequence, event };
            let line = entry.encode().unwrap();
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(Entry::decode(&line), Some(entry));
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn a_changed_byte_is_refused_or_read_as_it_is(at: prop::sample::Index, byte: u8) {
            let mut line = Entry { sequence: 5, event: event("alice") }.encode().unwrap();
            let at = at.index(line.len());
            line[at] = byte;
            if let Some(entry) = Entry::decode(&line) {
                prop_assert_eq!(entry.encode().unwrap(), line);
            }
        }
    }
}
