//! The scan service, as people read it.

use admin::{BucketScan, BucketScanMode, Unclean};
use scan::{Lane, Status};

use super::{bytes, clean, table};

pub(crate) fn status(status: &Status) -> String {
    let mut text = status.summary() + "\n\n";
    let rows: Vec<Vec<String>> = status
        .engines
        .iter()
        .map(|engine| {
            let epoch = engine.epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
            let state = engine.down.as_deref().map_or("up".to_owned(), |down| format!("down: {down}"));
            let pid = engine.pid.map_or("-".to_owned(), |pid| pid.to_string());
            vec![engine.name.clone(), epoch, engine.deaths.to_string(), pid, clean(&engine.version), clean(&state)]
        })
        .collect();
    text.push_str(&table(&["ENGINE", "EPOCH", "DEATHS", "PID", "VERSION", "STATE"], &rows));
    for engine in &status.engines {
        if let Some(refused) = &engine.refused {
            text.push_str(&format!("newer definitions of {} are not used: {}\n", engine.name, clean(refused)));
        }
    }
    let waiting: Vec<String> =
        Lane::ALL.iter().zip(status.waiting).map(|(lane, count)| format!("{} {count}", lane.word())).collect();
    let rate = status.hit_rate().map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    text.push_str(&format!(
        "
scanning  {} of {} slots
waiting   {}
asked     {}: {} known, {} shared a scan; hit rate {rate}
scanned   {} times, {}
saved     {}
verdicts  {} in memory
",
        status.running,
        status.slots,
        waiting.join(", "),
        status.asked,
        status.known,
        status.shared,
        status.scanned,
        bytes(status.bytes_scanned),
        bytes(status.bytes_saved),
        status.remembered,
    ));
    if let Some(hunted) = status.hunted {
        text.push_str(&format!(
            "hunted    {} new digests of epoch {} among {} contents: {} found\n",
            hunted.signatures, hunted.epoch, hunted.contents, hunted.found
        ));
    }
    text
}

pub(crate) fn bucket(name: &str, told: &BucketScan) -> String {
    let what = match told.mode {
        BucketScanMode::Off => return format!("bucket {}: nothing is scanned\n", clean(name)),
        BucketScanMode::Block if told.defer => {
            "refuses what is infected; what cannot be scanned now is kept back until it is"
        }
        BucketScanMode::Block => "refuses what is infected, and what cannot be scanned now",
        BucketScanMode::Quarantine => "gives out what is known to be clean",
        BucketScanMode::Advise => "tells readers what is found",
    };
    let incomplete = if told.allow_incomplete { "as clean" } else { "as infected" };
    format!("bucket {} {what}; what could not be looked at as a whole counts {incomplete}\n", clean(name))
}

pub(crate) fn unclean(found: &[Unclean]) -> String {
    if found.is_empty() {
        return "all that is there is known to be clean\n".to_owned();
    }
    let row = |one: &Unclean| {
        let state = if one.released { format!("{}, released", one.state) } else { one.state.clone() };
        vec![clean(&one.key), one.version.clone(), bytes(one.size), state, clean(&one.details)]
    };
    table(&["KEY", "VERSION", "SIZE", "STATE", "DETAILS"], &found.iter().map(row).collect::<Vec<_>>())
}
