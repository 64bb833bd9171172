//! How the members stand, and their upkeep: compaction, defragmentation, markers of processes that are gone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use etcd::message::{Compare, DeleteRangeRequest, Op, RangeRequest, StatusResponse, TxnRequest};
use serde::Serialize;
use tokio::time::Instant;

use super::read::unavailable;
use super::{ANSWER_WITHIN, Etcd, Inner};
use crate::MetaError;

/// Revisions that are kept: what a lost commit's outcome is read from must be there when it is settled.
const KEEP_FOR: Duration = Duration::from_secs(600);
/// Between two calls of [`Etcd::compact`].
pub(crate) const COMPACT_EVERY: Duration = Duration::from_secs(300);
/// A marker that nobody moved for so long is of a process that is gone. A process trusts its own for half of it.
const MARKER_FOR: Duration = Duration::from_secs(3600);
/// Markers that are looked at in one go.
const MARKERS_MAX: i64 = 512;
/// Entries of the log that a member may be behind before it is told.
const LAG_MAX: u64 = 5000;
/// Bytes of a file below which defragmentation is not worth its pause.
const FRAGMENTED_FROM: i64 = 512 << 20;
/// etcd's number for the alarm of a full quota; any other is damage.
const NO_SPACE: i32 = 1;

/// How one member stands.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemberHealth {
    /// Its address.
    pub endpoint: String,
    /// Why it does not answer; `None`: it does.
    pub error: Option<String>,
    /// Its version of etcd.
    pub version: String,
    /// Its id, hexadecimal, as `etcdctl member list` has it.
    pub id: String,
    /// Bytes of its file.
    pub db_bytes: u64,
    /// Bytes of that which hold rows.
    pub in_use_bytes: u64,
    /// Entries of the log that it has not applied yet.
    pub behind: u64,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it has no vote.
    pub learner: bool,
    /// `NOSPACE`, `CORRUPT`.
    pub alarms: Vec<String>,
}

/// How an etcd stands.
#[derive(Debug, Clone, Serialize)]
pub struct EtcdHealth {
    /// In the order of the address.
    pub members: Vec<MemberHealth>,
    /// Bytes that each file may have.
    pub quota_bytes: u64,
    /// What an operator should see to, a sentence each.
    pub warnings: Vec<String>,
}

impl EtcdHealth {
    /// Members that answer.
    pub fn reachable(&self) -> usize {
        self.members.iter().filter(|member| member.error.is_none()).count()
    }
}

/// What upkeep remembers between its rounds, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Revisions, and when they were the newest.
    revisions: VecDeque<(Instant, i64)>,
    /// Markers, their revision, and since when they have it.
    markers: HashMap<Bytes, (i64, Instant)>,
}

impl Etcd {
    /// Asks every member how it stands.
    pub async fn health(&self) -> EtcdHealth {
        let inner = &self.inner;
        let endpoints: Vec<String> = inner.client.endpoints().map(ToString::to_string).collect();
        let statuses = futures::future::join_all((0..endpoints.len()).map(|index| inner.client.status(index))).await;
        let alarms = inner.client.alarms(Instant::now() + ANSWER_WITHIN / 2).await;
        let alarms = alarms.map(|answer| answer.alarms).unwrap_or_default();
        let newest = statuses.iter().flatten().map(|status| status.raft_index).max().unwrap_or(0);
        let of_member = |id: u64| {
            let raised = alarms.iter().filter(move |alarm| alarm.member_id == id);
            raised
                .map(|alarm| if alarm.alarm == NO_SPACE { "NOSPACE".to_owned() } else { "CORRUPT".to_owned() })
                .collect()
        };
        let members = endpoints.into_iter().zip(statuses).map(|(endpoint, status)| match status {
            Err(error) => MemberHealth { endpoint, error: Some(error.to_string()), ..MemberHealth::default() },
            Ok(status) => {
                let id = status.header.as_ref().map_or(0, |header| header.member_id);
                MemberHealth { alarms: of_member(id), ..member(endpoint, id, newest, &status) }
            }
        });
        let members: Vec<_> = members.collect();
        let warnings = warnings(&members, inner.quota_bytes);
        EtcdHealth { members, quota_bytes: inner.quota_bytes, warnings }
    }

    /// One round of upkeep, for every five minutes; harmless when several processes do it. Compacts to the revision of ten
    /// minutes ago, and removes markers that nobody has moved for an hour. Answers the revision compacted to, if any.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`].
    pub async fn compact(&self) -> Result<Option<i64>, MetaError> {
        self.compact_keeping(KEEP_FOR).await
    }

    /// The same, with another time for which revisions are kept. Below a minute a commit whose answer is lost meanwhile may
    /// stay unknown.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`].
    pub async fn compact_keeping(&self, keep: Duration) -> Result<Option<i64>, MetaError> {
        let inner = &self.inner;
        let now = Instant::now();
        let (from, to) = inner.space.lanes();
        let request =
            RangeRequest { key: from, range_end: to, limit: MARKERS_MAX, keys_only: true, ..RangeRequest::default() };
        let answer = inner.client.range(&request, now + ANSWER_WITHIN).await.map_err(unavailable)?;
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let (due, stale) = {
            let mut upkeep = inner.upkeep.lock();
            let markers = answer.kvs.iter().map(|marker| (marker.key.clone(), marker.mod_revision));
            (upkeep.due(now, revision, keep), upkeep.stale(now, markers))
        };
        for (marker, revision) in stale {
            inner.remove_marker(marker, revision).await?;
        }
        if let Some(revision) = due {
            inner.client.compact(revision).await.map_err(unavailable)?;
        }
        Ok(due)
    }

    /// Makes the file of one member, by its place in the address, as small as its rows. It answers nothing meanwhile, so do
    /// one at a time, the leader last.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`].
    pub async fn defragment(&self, member: usize) -> Result<(), MetaError> {
        self.inner.client.defragment(member).await.map_err(unavailable)
    }

    /// [`Self::compact`] every five minutes, for as long as somebody else holds the engine.
    pub async fn keep_up(self) {
        let inner = std::sync::Arc::downgrade(&self.inner);
        drop(self);
        loop {
            let Some(etcd) = inner.upgrade().map(|inner| Self { inner }) else { return };
            if let Err(error) = etcd.compact().await {
                tracing::warn!(%error, "etcd was not compacted; the next try is in five minutes");
            }
            for warning in etcd.health().await.warnings {
                tracing::warn!(warning, "etcd");
            }
            drop(etcd);
            tokio::time::sleep(COMPACT_EVERY).await;
        }
    }
}

impl Inner {
    async fn remove_marker(&self, marker: Bytes, revision: i64) -> Result<(), MetaError> {
        let request = TxnRequest {
            compare: vec![Compare::mod_revision(marker.clone(), revision)],
            success: vec![Op::Delete(DeleteRangeRequest { key: marker, ..DeleteRangeRequest::default() }).into()],
            failure: Vec::new(),
        };
        self.client.txn(&request, Instant::now() + ANSWER_WITHIN).await.map(drop).map_err(unavailable)
    }
}

impl Remembered {
    /// The newest revision that was there so long ago. What is older is forgotten.
    fn due(&mut self, now: Instant, revision: i64, keep: Duration) -> Option<i64> {
        self.revisions.push_back((now, revision));
        let mut due = None;
        while let Some((since, revision)) = self.revisions.front().copied() {
            if now.duration_since(since) < keep {
                break;
            }
            due = Some(revision);
            self.revisions.pop_front();
        }
        due
    }

    /// Markers that have had their revision for an hour.
    fn stale(&mut self, now: Instant, markers: impl Iterator<Item = (Bytes, i64)>) -> Vec<(Bytes, i64)> {
        let mut seen = HashMap::new();
        for (marker, revision) in markers {
            let since =
                self.markers.get(&marker).filter(|(before, _)| *before == revision).map_or(now, |(_, since)| *since);
            seen.insert(marker, (revision, since));
        }
        self.markers = seen;
        let old = self.markers.iter().filter(|(_, (_, since))| now.duration_since(*since) >= MARKER_FOR);
        old.map(|(marker, (revision, _))| (marker.clone(), *revision)).collect()
    }
}

fn member(endpoint: String, id: u64, newest: u64, status: &StatusResponse) -> MemberHealth {
    MemberHealth {
        endpoint,
        error: None,
        version: status.version.clone(),
        id: format!("{id:x}"),
        db_bytes: u64::try_from(status.db_size).unwrap_or(0),
        in_use_bytes: u64::try_from(status.db_size_in_use).unwrap_or(0),
        behind: newest.saturating_sub(status.raft_applied_index),
        leader: id != 0 && status.leader == id,
        learner: status.is_learner,
        alarms: Vec::new(),
    }
}

fn warnings(members: &[MemberHealth], quota_bytes: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let answering: Vec<_> = members.iter().filter(|member| member.error.is_none()).collect();
    let (all, up) = (members.len(), answering.len());
    if up <= all / 2 {
        warnings.push(format!(
            "{up} of {all} members answer: no majority, so nothing can be read or written; start members"
        ));
    } else if up == all / 2 + 1 && up < all {
        warnings.push(format!(
            "{up} of {all} members answer: when one more is lost nothing can be written; start members now"
        ));
    } else if up < all {
        warnings.push(format!("{up} of {all} members answer: start the others"));
    }
    if all < 5 {
        let lost = all.saturating_sub(1) / 2;
        warnings.push(format!("{all} members: {lost} may be lost; with five, two"));
    }
    for member in answering {
        let name = &member.endpoint;
        for alarm in &member.alarms {
            warnings.push(match alarm.as_str() {
                "NOSPACE" => format!(
                    "{name}: NOSPACE, nothing is written any more: compact, defragment, raise --quota-backend-bytes, then \
                     `etcdctl alarm disarm`"
                ),
                other => format!("{name}: {other}: its data differs from the others'; replace this member"),
            });
        }
        if member.db_bytes > quota_bytes / 5 * 4 {
            warnings.push(format!(
                "{name}: {} of {} MiB of its quota are used: defragment, or raise --quota-backend-bytes (at most 8 GiB)",
                member.db_bytes >> 20,
                quota_bytes >> 20
            ));
        }
        if member.db_bytes > FRAGMENTED_FROM as u64 && member.in_use_bytes < member.db_bytes / 2 {
            warnings.push(format!("{name}: less than half of its file is in use: defragment it"));
        }
        if member.behind > LAG_MAX {
            warnings.push(format!("{name}: {} entries behind: its disk or network is slow", member.behind));
        }
        if member.learner {
            warnings.push(format!("{name}: a learner, without a vote: `etcdctl member promote`"));
        }
        if ["3.5.0", "3.5.1", "3.5.2"].contains(&member.version.as_str()) {
            warnings.push(format!("{name}: etcd {} loses data when it is killed: upgrade", member.version));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> Vec<MemberHealth> {
        (0..5)
            .map(|i| MemberHealth { endpoint: format!("m{i}"), version: "3.4.23".into(), ..MemberHealth::default() })
            .collect()
    }

    #[test]
    fn what_is_wrong_is_told() {
        type Change = fn(&mut Vec<MemberHealth>);
        let down = |member: &mut MemberHealth| member.error = Some("refused".into());
        assert!(warnings(&five(), 2 << 30).is_empty());
        let table: [(Change, &str); 9] = [
            (|m| m.truncate(3), "3 members: 1 may be lost"),
            (|m| m[0].alarms = vec!["NOSPACE".into()], "m0: NOSPACE"),
            (|m| m[0].alarms = vec!["CORRUPT".into()], "replace this member"),
            (|m| (m[1].db_bytes, m[1].in_use_bytes) = (1900 << 20, 1900 << 20), "1900 of 2048 MiB"),
            (|m| (m[1].db_bytes, m[1].in_use_bytes) = (600 << 20, 200 << 20), "defragment it"),
            (|m| m[2].behind = 5001, "m2: 5001 entries behind"),
            (|m| m[3].learner = true, "m3: a learner"),
            (|m| m[4].version = "3.5.1".into(), "upgrade"),
            (|m| m[1].db_bytes = 500 << 20, ""),
        ];
        for (change, word) in table {
            let mut members = five();
            change(&mut members);
            let told = warnings(&members, 2 << 30);
            assert_eq!(told.len(), usize::from(!word.is_empty()), "{told:?}");
            assert!(told.iter().all(|told| told.contains(word)), "{word} in {told:?}");
        }
        for (lost, word) in [(1, "4 of 5 members answer: start"), (2, "when one more is lost"), (3, "no majority")] {
            let mut members = five();
            members[..lost].iter_mut().for_each(down);
            assert!(warnings(&members, 2 << 30)[0].contains(word));
        }
    }

    #[test]
    fn revisions_are_kept_for_ten_minutes() {
        let start = Instant::now();
        let mut upkeep = Remembered::default();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        // (minute, revision then, compacted to)
        for (minute, revision, due) in
            [(0, 10, None), (5, 20, None), (9, 25, None), (10, 30, Some(10)), (21, 40, Some(30)), (22, 41, None)]
        {
            assert_eq!(upkeep.due(at(minute), revision, KEEP_FOR), due, "minute {minute}");
        }
    }

    #[test]
    fn a_marker_that_nobody_moves_goes_after_an_hour() {
        let start = Instant::now();
        let mut upkeep = Remembered::default();
        let marker = |name: &str, revision| (Bytes::copy_from_slice(name.as_bytes()), revision);
        let mut at = |minutes: u64, markers: Vec<(Bytes, i64)>| {
            upkeep.stale(start + Duration::from_secs(60 * minutes), markers.into_iter())
        };
        assert!(at(0, vec![marker("a", 1), marker("b", 2)]).is_empty());
        assert!(at(59, vec![marker("a", 1), marker("b", 3)]).is_empty());
        assert_eq!(at(60, vec![marker("a", 1), marker("b", 3)]), [marker("a", 1)]);
        assert_eq!(at(119, vec![marker("b", 3)]), [marker("b", 3)]);
    }
}
