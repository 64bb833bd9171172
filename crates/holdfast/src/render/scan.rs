//! The scan service, as people read it.

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
    text
}
