//! Repair, on a screen.

use store::RepairReport;

use super::{ago, bytes, clean, duration, table};

/// One line of the status. `backlog`: blobs that there are to do, as the gateway that was asked counts them.
pub(crate) fn line(report: &RepairReport, backlog: u64) -> String {
    match backlog {
        0 => "nothing to do".to_owned(),
        left if report.paused => format!("{left} blobs left, paused: `holdfast worker repair --resume`"),
        left => match report.eta_s {
            None => format!("{left} blobs left, waiting for their sites"),
            Some(eta) => format!(
                "{left} blobs left, {:.0}/s, {}/s of {}/s ({}), about {}",
                report.blobs_per_s,
                bytes(report.bytes_per_s),
                bytes(report.limit_bytes_per_s),
                clean(&report.why),
                duration(eta)
            ),
        },
    }
}

fn means(risk: &str) -> &str {
    match risk {
        "last" => "one more lost shard loses them",
        "thin" => "two more lost shards lose them",
        "away" => "five durable shards, not all at home",
        "beyond" => "fewer than three shards in reach: they wait for sites",
        _ => "",
    }
}

/// All of it.
pub(crate) fn screen(report: &RepairReport, now_ms: u64) -> String {
    let rows: Vec<Vec<String>> = report
        .queued
        .iter()
        .map(|class| {
            vec![clean(&class.risk), class.blobs.to_string(), bytes(class.bytes), means(&class.risk).to_owned()]
        })
        .collect();
    let mut text = table(&["RISK", "BLOBS", "BYTES", "MEANS"], &rows) + "\n";
    if report.to_walk > 0 {
        text.push_str(&format!("to walk       {} blobs for replaced sites\n", report.to_walk));
    }
    match report.since_ms {
        None => text.push_str("since         nothing to do\n"),
        Some(since) => {
            let done = format!("{} blobs done, {} moved", report.done, bytes(report.moved_bytes));
            text.push_str(&format!("since         {}, {done}\n", ago(since, now_ms)));
            let left = report.eta_s.map_or_else(|| "not known".to_owned(), duration);
            let speed = format!("{:.1} blobs/s, {}/s", report.blobs_per_s, bytes(report.bytes_per_s));
            text.push_str(&format!("speed         {speed}, left {left}\n"));
        }
    }
    let max = match report.max_bytes_per_s {
        Some(max) => format!(", at most {}/s by `worker repair`", bytes(max)),
        None => String::new(),
    };
    let (limit, why) = (bytes(report.limit_bytes_per_s), clean(&report.why));
    text.push_str(&format!("limit         {limit}/s, {} blobs at once: {why}{max}\n", report.at_once));
    match report.p99_percent {
        Some(percent) => text.push_str(&format!("clients       p99 is {percent} % of what it is without repair\n")),
        None => text.push_str("clients       not known to wait longer\n"),
    }
    if let Some(error) = &report.last_error {
        text.push_str(&format!("last error    {}\n", clean(error)));
    }
    if let Some(told) = report.told_ms {
        text.push_str(&format!("told          by {}, {} ago\n", clean(&report.gateway), ago(told, now_ms)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::RiskReport;

    fn report() -> RepairReport {
        RepairReport {
            since_ms: Some(1_000),
            told_ms: Some(9_000),
            gateway: "gw\u{1b}1".to_owned(),
            queued: vec![RiskReport { risk: "last".to_owned(), blobs: 12, bytes: 12 << 20 }],
            to_walk: 0,
            done: 30,
            moved_bytes: 3 << 20,
            bytes_per_s: 5 << 20,
            blobs_per_s: 4.0,
            eta_s: Some(3),
            limit_bytes_per_s: 32 << 20,
            at_once: 3,
            why: "clients".to_owned(),
            p99_percent: Some(118),
            paused: false,
            max_bytes_per_s: None,
            last_error: None,
        }
    }

    #[test]
    fn the_line() {
        let waits = RepairReport { eta_s: None, ..report() };
        let paused = RepairReport { paused: true, ..report() };
        for (report, backlog, expected) in [
            (report(), 0, "nothing to do"),
            (report(), 12, "12 blobs left, 4/s, 5.0 MiB/s of 32.0 MiB/s (clients), about 3s"),
            (waits, 12, "12 blobs left, waiting for their sites"),
            (paused, 12, "12 blobs left, paused: `holdfast worker repair --resume`"),
        ] {
            assert_eq!(line(&report, backlog), expected);
        }
    }

    #[test]
    fn the_screen() {
        let text = screen(&report(), 61_000);
        for part in [
            "last",
            "one more lost shard",
            "12.0 MiB",
            "since         1m00s, 30 blobs done",
            "left 3s",
            "clients",
            "118 %",
            "52s ago",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
