//! Requests for approval: what they are called, and how they stand.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use base::{AccountId, PortionId};
use meta::record::{ApprovalRecord, Matter, key};
use release::Pend;

/// How long a request waits before it has to be asked for anew: a week, or as long as time takes to decide it.
const WAITS_MS: u64 = 7 * 24 * 3_600_000;
/// Bytes of a request's key that follow from who asks for what, and of the rest, which follows from the terms as well.
const HALF: usize = 8;

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Waiting,
    /// It is granted until then, milliseconds since the Unix epoch.
    Granted(u64),
    /// It was refused; until then, milliseconds since the Unix epoch, it cannot be asked for again, on no terms.
    Refused(u64),
    /// It was granted, refused, or left alone too long ago to count.
    Lapsed,
}

/// How a request stands at a time, when what these people approved does not count.
pub(super) fn standing(record: &ApprovalRecord, now: u64, denied: &BTreeSet<String>) -> Standing {
    if let Some((_, at_ms)) = record.refused {
        let until_ms = at_ms.saturating_add(record.valid_ms);
        return if now < until_ms { Standing::Refused(until_ms) } else { Standing::Lapsed };
    }
    let after_asked = |ms: u64| record.asked_ms.saturating_add(ms);
    let counting = || record.approved.iter().filter(|(id, ..)| !denied.contains(id));
    let last = usize::from(record.approvals).checked_sub(1);
    let by_people = last.and_then(|last| counting().nth(last)).map(|(_, _, at_ms)| *at_ms);
    let floor_ms = after_asked(record.floor_ms);
    let by_people = by_people.map(|at_ms| at_ms.max(floor_ms)).filter(|_| floor_ms <= now);
    let by_time = record.after_ms.map(after_asked).filter(|at_ms| *at_ms <= now);
    let granted = by_people.into_iter().chain(by_time).min();
    let waits_ms = WAITS_MS.max(record.floor_ms).max(record.after_ms.unwrap_or_default());
    match granted.map(|at_ms| at_ms.saturating_add(record.valid_ms)) {
        Some(until_ms) if now < until_ms => Standing::Granted(until_ms),
        Some(_) => Standing::Lapsed,
        None if now < after_asked(waits_ms) => Standing::Waiting,
        None => Standing::Lapsed,
    }
}

/// Whether a request is the one that the policies ask for now: what was asked for on other terms does not count.
pub(super) fn asks_the_same(record: &ApprovalRecord, pend: &Pend) -> bool {
    (record.approvals, &record.approvers, record.after_ms, record.floor_ms, record.valid_ms)
        == (pend.approvals, &pend.approvers, pend.after_ms, pend.floor_ms, pend.valid_ms)
}

/// Which row a request is: the same for the same principal, matter and terms, so that one that asks again and again has
/// one request, and nobody approves other terms than those it saw. Requests of one principal about one matter lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RequestId([u8; 2 * HALF]);

impl RequestId {
    /// The request on these terms.
    pub(super) fn of(matter: Matter, principal: &str, pend: &Pend) -> Self {
        let mut bytes = about(matter, principal);
        bytes.push(0);
        bytes.push(pend.approvals);
        // Names of groups have no zero byte.
        for group in &pend.approvers {
            bytes.extend_from_slice(group.as_bytes());
            bytes.push(0);
        }
        // A time that never comes is none that can be said.
        for ms in [pend.after_ms.unwrap_or(u64::MAX), pend.floor_ms, pend.valid_ms] {
            bytes.extend_from_slice(&ms.to_be_bytes());
        }
        let mut id = [0; 2 * HALF];
        id[..HALF].copy_from_slice(&half(&about(matter, principal)));
        id[HALF..].copy_from_slice(&half(&bytes));
        Self(id)
    }

    /// The rows of all requests of a principal about a matter, on whatever terms.
    pub(super) fn all_about(account: AccountId, matter: Matter, principal: &str) -> (meta::Key, meta::Key) {
        key::approvals_about(account, &half(&about(matter, principal)))
    }

    /// The id in a row's key.
    pub(super) fn of_row(row_key: &[u8]) -> Option<Self> {
        key::after_account(row_key)?.try_into().ok().map(Self)
    }

    pub(super) fn row_key(self, account: AccountId) -> meta::Key {
        key::approval_key(account, &self.0)
    }

    /// As people write it: the half that follows from the terms first, so that few digits tell requests apart.
    pub(super) fn text(self) -> String {
        let (about, terms) = self.0.split_at(HALF);
        format!("{}{}", hex::encode(terms), hex::encode(about))
    }

    /// What [`Self::text`] wrote, whole.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 2 * HALF];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        bytes.rotate_left(HALF);
        Some(Self(bytes))
    }
}

/// Who asks for what: no two share these bytes.
fn about(matter: Matter, principal: &str) -> Vec<u8> {
    let (kind, portion) = match matter {
        Matter::Open(portion) => (0, Some(portion)),
        Matter::Seal(portion) => (1, Some(portion)),
        Matter::StepUp => (2, None),
        Matter::Shred(portion) => (3, Some(portion)),
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(portion.unwrap_or(PortionId::from_bytes([0; 16])).as_bytes());
    bytes.extend_from_slice(principal.as_bytes());
    bytes
}

fn half(bytes: &[u8]) -> [u8; HALF] {
    let mut half = [0; HALF];
    half.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..HALF]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(approvals: u8, after_ms: Option<u64>) -> ApprovalRecord {
        ApprovalRecord {
            matter: Matter::StepUp,
            portion: String::new(),
            principal: "a".to_owned(),
            name: "alice".to_owned(),
            asked_ms: 1_000,
            approvals,
            approvers: Vec::new(),
            after_ms,
            valid_ms: 500,
            approved: Vec::new(),
            refused: None,
            floor_ms: 0,
        }
    }

    fn approved(mut record: ApprovalRecord, at_ms: u64) -> ApprovalRecord {
        record.approved.push((format!("p{at_ms}"), format!("p{at_ms}"), at_ms));
        record
    }

    #[test]
    fn time_and_people_grant() {
        let refused = |record: ApprovalRecord| ApprovalRecord { refused: Some(("eve".to_owned(), 1_200)), ..record };
        let floor = |record: ApprovalRecord, floor_ms| ApprovalRecord { floor_ms, ..record };
        let week = 1_000 + WAITS_MS;
        let rows = [
            (asked(1, None), 1_000, Standing::Waiting),
            (asked(1, None), week - 1, Standing::Waiting),
            (asked(1, None), week, Standing::Lapsed),
            (approved(asked(1, None), 1_100), 1_100, Standing::Granted(1_600)),
            (approved(asked(1, None), 1_100), 1_600, Standing::Lapsed),
            (approved(asked(2, None), 1_100), 1_100, Standing::Waiting),
            (approved(approved(asked(2, None), 1_100), 1_300), 1_300, Standing::Granted(1_800)),
            (asked(0, Some(200)), 1_199, Standing::Waiting),
            (asked(0, Some(200)), 1_200, Standing::Granted(1_700)),
            (asked(0, Some(200)), 1_700, Standing::Lapsed),
            (asked(0, Some(2 * WAITS_MS)), week, Standing::Waiting),
            (asked(0, Some(2 * WAITS_MS)), 1_000 + 2 * WAITS_MS, Standing::Granted(1_500 + 2 * WAITS_MS)),
            (asked(2, Some(200)), 1_250, Standing::Granted(1_700)),
            (approved(asked(1, Some(200)), 1_100), 1_150, Standing::Granted(1_600)),
            (refused(approved(asked(1, None), 1_100)), 1_300, Standing::Refused(1_700)),
            (refused(asked(0, Some(100))), 1_300, Standing::Refused(1_700)),
            (refused(asked(1, None)), 1_700, Standing::Lapsed),
            (floor(approved(asked(1, None), 1_100), 400), 1_399, Standing::Waiting),
            (floor(approved(asked(1, None), 1_100), 400), 1_400, Standing::Granted(1_900)),
            (floor(approved(asked(1, None), 1_500), 400), 1_500, Standing::Granted(2_000)),
            (floor(approved(asked(1, None), 1_100), 2 * WAITS_MS), week, Standing::Waiting),
        ];
        for (record, now, expected) in rows {
            assert_eq!(standing(&record, now, &BTreeSet::new()), expected, "{record:?} at {now}");
        }
    }

    #[test]
    fn what_the_denied_approved_does_not_count() {
        let two = approved(approved(asked(1, None), 1_100), 1_200);
        let rows: [(&[&str], Standing); 4] = [
            (&[], Standing::Granted(1_600)),
            (&["p1100"], Standing::Granted(1_700)),
            (&["p1200", "a"], Standing::Granted(1_600)),
            (&["p1100", "p1200"], Standing::Waiting),
        ];
        for (denied, expected) in rows {
            let denied: BTreeSet<String> = denied.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(standing(&two, 1_300, &denied), expected, "{denied:?}");
        }
    }

    #[test]
    fn matters_principals_and_terms_share_no_request() {
        let pend = Pend { approvals: 1, approvers: vec![], after_ms: None, floor_ms: 0, valid_ms: 500 };
        let group = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let terms = [
            pend.clone(),
            Pend { approvals: 2, ..pend.clone() },
            Pend { approvers: group(&["ab"]), ..pend.clone() },
            Pend { approvers: group(&["a", "b"]), ..pend.clone() },
            Pend { after_ms: Some(0), ..pend.clone() },
            Pend { floor_ms: 500, ..pend.clone() },
            Pend { valid_ms: 501, ..pend.clone() },
        ];
        let (one, other) = (PortionId::from_bytes([1; 16]), PortionId::from_bytes([2; 16]));
        let matters = [Matter::Open(one), Matter::Open(other), Matter::Seal(one), Matter::StepUp, Matter::Shred(one)];
        let mut ids = std::collections::HashSet::new();
        for (matter, principal) in matters.iter().flat_map(|matter| [(*matter, "a"), (*matter, "b")]) {
            let (from, to) = RequestId::all_about(AccountId::DEFAULT, matter, principal);
            for terms in &terms {
                let id = RequestId::of(matter, principal, terms);
                let row_key = id.row_key(AccountId::DEFAULT);
                assert!(from <= row_key && row_key < to, "{matter:?} {principal}");
                assert_eq!((RequestId::of_row(&row_key), RequestId::parse(&id.text())), (Some(id), Some(id)));
                ids.insert(id.text()[..HALF].to_owned());
            }
        }
        assert_eq!(ids.len(), 70, "few digits tell them apart");
        for text in ["", "12", "zz112233445566778899aabbccddeeff", "00112233445566778899aabbccddeeff00"] {
            assert_eq!(RequestId::parse(text), None, "{text}");
        }
    }
}
