//! What is due, and when.
//!
//! Moments are milliseconds since 1970. A thing is due from its moment on. Rules that are not valid
//! are judged too, without a panic: what they leave out, they do not do.

use crate::{Day, Rule, Rules};

/// What rules ask about a version.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The object's key.
    pub key: &'a str,
    /// Its bytes; 0 for a delete marker.
    pub size: u64,
    /// The version's tags; none for a delete marker.
    pub tags: &'a [(String, String)],
    /// When it was written.
    pub modified_ms: u64,
}

impl Rules {
    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.enabled)
    }
}

/// The earliest of some moments; of two that are equal the one whose rule is listed first, which is the
/// rule that S3 names.
fn earliest<'r>(moments: impl Iterator<Item = (u64, &'r Rule)>) -> Option<(u64, &'r Rule)> {
    moments.min_by_key(|(when, _)| *when)
}

/// When the current version expires, and by which rule.
///
/// "Expiring objects": of several rules the earliest holds. A date is as good for versions written after
/// it as for those before: it stays in force for as long as the rule is enabled. Not for a delete
/// marker: while it hides other versions nothing expires it, and alone it is
/// [`judge_lonely_marker`]'s.
pub fn expiry<'r>(rules: &'r Rules, facts: &Facts<'_>, day: Day) -> Option<(u64, &'r Rule)> {
    let matching = rules.enabled().filter(|rule| rule.filter.matches(facts));
    earliest(matching.flat_map(|rule| moments(rule, facts, day).map(move |when| (when, rule))))
}

/// When a rule's `Days` and its `Date` are reached.
fn moments(rule: &Rule, facts: &Facts<'_>, day: Day) -> impl Iterator<Item = u64> {
    let expiration = rule.expiration.as_ref();
    let days = expiration.and_then(|e| e.days).map(|days| day.after(facts.modified_ms, days));
    // A date before 1970 has passed as much as one of 1970.
    let date = expiration.and_then(|e| e.date_ms).map(|ms| u64::try_from(ms).unwrap_or(0));
    days.into_iter().chain(date)
}

/// The rule that expires the current version, if one does by now.
pub fn judge_current<'r>(rules: &'r Rules, facts: &Facts<'_>, now_ms: u64, day: Day) -> Option<&'r Rule> {
    expiry(rules, facts, day).filter(|(when, _)| *when <= now_ms).map(|(_, rule)| rule)
}

/// The rule that removes a delete marker which is all that is left of its key.
///
/// `ExpiredObjectDeleteMarker` removes it at once. `Days` and `Date` remove it as they would a current
/// version ("Lifecycle configuration elements": S3 cleans such markers up once they meet the age), so a
/// rule of 30 days leaves nothing of an object behind. A marker has no tags and no bytes: a filter for a
/// tag never matches it.
pub fn judge_lonely_marker<'r>(rules: &'r Rules, facts: &Facts<'_>, now_ms: u64, day: Day) -> Option<&'r Rule> {
    let bare = Facts { size: 0, tags: &[], ..*facts };
    let removes = |rule: &&Rule| rule.expiration.as_ref().is_some_and(|e| e.delete_marker == Some(true));
    let at_once = rules.enabled().filter(removes).find(|rule| rule.filter.matches(&bare));
    at_once.or_else(|| judge_current(rules, &bare, now_ms, day))
}

/// When a noncurrent version expires, and by which rule. A scan of an object's versions may stop asking
/// until then, unless further versions become noncurrent.
///
/// `became_noncurrent_ms` is when its successor was written, and `newer_noncurrent` how many noncurrent
/// versions of the object are newer. With `NewerNoncurrentVersions` of N, the N newest noncurrent
/// versions stay whatever their age (`NoncurrentVersionExpiration`: S3 retains that many); the pages of
/// examples say that more than N must be newer, which would keep one further version. Delete markers
/// count and expire as versions do.
pub fn noncurrent_expiry<'r>(
    rules: &'r Rules,
    facts: &Facts<'_>,
    became_noncurrent_ms: u64,
    newer_noncurrent: u64,
    day: Day,
) -> Option<(u64, &'r Rule)> {
    let matching = rules.enabled().filter(|rule| rule.filter.matches(facts));
    earliest(matching.filter_map(|rule| {
        let noncurrent = rule.noncurrent.as_ref()?;
        let kept = noncurrent.newer_versions.map_or(0, u64::from);
        (newer_noncurrent >= kept).then_some(())?;
        Some((day.after(became_noncurrent_ms, noncurrent.days?), rule))
    }))
}

/// Whether a noncurrent version is to be removed by now; see [`noncurrent_expiry`].
pub fn judge_noncurrent(
    rules: &Rules,
    facts: &Facts<'_>,
    became_noncurrent_ms: u64,
    newer_noncurrent: u64,
    now_ms: u64,
    day: Day,
) -> bool {
    noncurrent_expiry(rules, facts, became_noncurrent_ms, newer_noncurrent, day).is_some_and(|(when, _)| when <= now_ms)
}

/// When an upload is aborted, and by which rule: `x-amz-abort-date` and `x-amz-abort-rule-id`.
pub fn abort_date<'r>(rules: &'r Rules, key: &str, initiated_ms: u64, day: Day) -> Option<(u64, &'r Rule)> {
    let matching = rules.enabled().filter(|rule| rule.filter.matches_upload(key));
    earliest(matching.filter_map(|rule| Some((day.after(initiated_ms, rule.abort_uploads_days?), rule))))
}

/// Whether an upload is to be aborted by now.
pub fn judge_upload(rules: &Rules, key: &str, initiated_ms: u64, now_ms: u64, day: Day) -> bool {
    abort_date(rules, key, initiated_ms, day).is_some_and(|(when, _)| when <= now_ms)
}
