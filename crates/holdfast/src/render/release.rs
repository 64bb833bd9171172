//! Screens of `holdfast policy` and `holdfast release`.

use admin::{ApprovalRequest, Denied, DenyReason, Holder, ReleaseDecision, ReleasePolicy, Simulation};

use super::{ago, bytes, clean, duration, table};

pub(crate) fn policies(policies: &[ReleasePolicy], now_ms: u64) -> String {
    if policies.is_empty() {
        return "no release policies: everything is released that users may do otherwise\n".to_owned();
    }
    let row =
        |policy: &ReleasePolicy| vec![clean(&policy.name), bytes(policy.bytes as u64), ago(policy.modified_ms, now_ms)];
    table(&["NAME", "SIZE", "PUT"], &policies.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn decision(decision: &ReleaseDecision) -> String {
    let mut text = format!("{}\n", decision.outcome);
    for by in &decision.by {
        text.push_str(&format!("  by {}\n", clean(by)));
    }
    for why in &decision.because {
        text.push_str(&format!("  {}\n", clean(why)));
    }
    text
}

/// In a cell of a table: the outcome and what it hangs on.
fn cell(decision: &ReleaseDecision) -> String {
    match decision.because.as_slice() {
        [] => decision.outcome.clone(),
        because => format!("{} ({})", decision.outcome, clean(&because.join("; "))),
    }
}

pub(crate) fn simulation(told: &Simulation) -> String {
    let change = told.rows.iter().any(|row| row.after.is_some());
    if told.rows.is_empty() {
        return format!("{} pairs of a user and a portion judged: none to tell\n", told.judged);
    }
    let rows: Vec<Vec<String>> = told
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![clean(&row.user), clean(&row.portion), cell(&row.before)];
            cells.extend(row.after.as_ref().map(cell));
            cells
        })
        .collect();
    let head: &[&str] = if change { &["USER", "PORTION", "TODAY", "AFTER"] } else { &["USER", "PORTION", "TODAY"] };
    format!("{}{} of {} pairs\n", table(head, &rows), told.rows.len(), told.judged)
}

pub(crate) fn approvals(requests: &[ApprovalRequest], now_ms: u64) -> String {
    if requests.is_empty() {
        return "nothing waits\n".to_owned();
    }
    let row = |one: &ApprovalRequest| {
        let until = one.until_ms.map(|at| format!(" for {}", duration(at.saturating_sub(now_ms) / 1000)));
        let alone = one.by_itself_ms.filter(|at| one.standing == "waiting" && *at > now_ms);
        let alone = alone.map(|at| format!(", by itself in {}", duration((at - now_ms) / 1000)));
        let floor = one.not_before_ms.filter(|at| one.standing == "waiting" && *at > now_ms);
        let floor = floor.map(|at| format!(", not before {}", duration((at - now_ms) / 1000)));
        let of = if one.approvers.is_empty() { String::new() } else { format!(" of {}", one.approvers.join("+")) };
        let said = match &one.refused {
            Some(by) => format!("refused by {by}"),
            None => one.approved.join(", "),
        };
        vec![
            one.id.chars().take(12).collect(),
            one.matter.clone(),
            clean(&one.user),
            clean(&one.portion),
            ago(one.asked_ms, now_ms),
            format!("{}/{}{of}", one.approved.len(), one.approvals),
            [one.standing.clone()].into_iter().chain(until).chain(alone).chain(floor).collect(),
            clean(&said),
        ]
    };
    let head = ["REQUEST", "MATTER", "USER", "PORTION", "ASKED", "APPROVED", "STANDING", "BY"];
    table(&head, &requests.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn denials(denials: &[Denied], now_ms: u64) -> String {
    if denials.is_empty() {
        return "nobody is denied\n".to_owned();
    }
    let row = |one: &Denied| {
        let reason = match one.reason {
            DenyReason::Revoked => "revoked",
            DenyReason::Lost => "lost",
            DenyReason::Quarantined => "quarantined",
        };
        vec![
            clean(&one.user),
            one.id.clone(),
            reason.to_owned(),
            ago(one.since_ms, now_ms),
            clean(&one.by),
            clean(&one.note),
        ]
    };
    table(&["USER", "ID", "REASON", "SINCE", "BY", "NOTE"], &denials.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn holders(holders: &[Holder], now_ms: u64) -> String {
    if holders.is_empty() {
        return "nobody had it\n".to_owned();
    }
    let row = |one: &Holder| {
        vec![
            clean(&one.portion),
            clean(&one.user),
            one.id.clone(),
            ago(one.first_ms, now_ms),
            ago(one.last_hour_ms, now_ms),
            one.hours.to_string(),
        ]
    };
    table(&["PORTION", "USER", "ID", "FIRST", "LAST HOUR", "HOURS"], &holders.iter().map(row).collect::<Vec<_>>())
}
