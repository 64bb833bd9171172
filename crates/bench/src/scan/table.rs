//! The figures as Markdown: what was reached of each goal first, then what it is made from.

use std::fmt::Write;

use super::server::Kind;
use super::stream::Stream;
use super::{Asks, Report, Row};

/// What to reach: how many times as fast as what.
const COLD_UNSHARED: f64 = 9.0;
const COLD_SHARED: f64 = 2.5;
const WARM_SHARED: f64 = 12.0;
/// Look-ups a second on one core.
const LOOK_UPS: f64 = 100_000.0;
/// GB of known content for a second of the server's processor time.
const STREAMED: f64 = 1.0;

/// The report as Markdown.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_goals(&mut out, report).and_then(|()| write_rows(&mut out, report));
    out
}

fn write_goals(out: &mut String, report: &Report) -> std::fmt::Result {
    let (corpus, machine) = (&report.corpus, &report.machine);
    writeln!(
        out,
        "{} signatures; {} tenants, each with the same {} files ({:.0} MB) of {} and {} of his own ({:.1} MB); {} cores of {}, Linux {}\n",
        report.signatures.count(),
        report.tenants,
        corpus.files,
        corpus.bytes as f64 / 1e6,
        corpus.source.display(),
        corpus.own_files,
        corpus.own_bytes as f64 / 1e6,
        machine.cores,
        machine.processor,
        machine.kernel,
    )?;
    if report.failed() > 0 {
        writeln!(out, "**{} answers are wrong: none of this counts**\n", report.failed())?;
    }
    writeln!(out, "| | goal | by the clock | by processor time |\n|---|---|---|---|")?;
    let row = |kind, asks, warm| report.row(kind, asks, warm);
    let clamdscan = Asks::Clamdscan;
    for (name, goal, ours, theirs) in [
        (
            "cold, times a clamd for each tenant",
            COLD_UNSHARED,
            row(Kind::Holdfast, clamdscan, false),
            row(Kind::Unshared, clamdscan, false),
        ),
        (
            "cold, times one clamd",
            COLD_SHARED,
            row(Kind::Holdfast, clamdscan, false),
            row(Kind::Clamd, clamdscan, false),
        ),
        ("warm, times one clamd", WARM_SHARED, row(Kind::Holdfast, clamdscan, true), row(Kind::Clamd, clamdscan, true)),
        (
            "warm, times one clamd, own client",
            WARM_SHARED,
            row(Kind::Holdfast, Asks::Own, true),
            row(Kind::Clamd, Asks::Own, true),
        ),
    ] {
        write_ratio(out, name, goal, ours, theirs)?;
    }
    let lookups = &report.lookups;
    let name = format!("look-ups by hash, a second and core, {} remembered", lookups.remembered);
    writeln!(out, "| {name} | {LOOK_UPS} | | {:.0} ({:.1} of it) |", lookups.known, lookups.known / LOOK_UPS)?;
    for Stream { over, len, wall, per_core, .. } in &report.streams {
        let name = format!("known content, INSTREAM over {over}, {} MiB: GB/s", len >> 20);
        writeln!(out, "| {name} | {STREAMED} a core | {wall:.2} | {per_core:.2} |")?;
    }
    writeln!(
        out,
        "\nOn one core also: {:.0} look-ups/s of what nobody knows; {:.0}/s of small contents that are known, hashed by the service\n",
        lookups.unknown, lookups.contents
    )
}

fn write_ratio(out: &mut String, name: &str, goal: f64, ours: Option<&Row>, theirs: Option<&Row>) -> std::fmt::Result {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
    let clock = theirs.all.seconds / ours.all.seconds;
    let cpu = theirs.all.cpu_s() / ours.all.cpu_s();
    writeln!(out, "| {name} | {goal} | {clock:.1} | {cpu:.1} |")
}

fn write_rows(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "| all {} tenants | client | seconds | MB/s | files/s | CPU s: service, engine, client | found | incomplete | how |\n\
         |---|---|---|---|---|---|---|---|---|",
        report.tenants
    )?;
    for row in &report.rows {
        let (all, word) = (&row.all, if row.warm { "warm" } else { "cold" });
        let measured =
            |of: fn(&super::pass::Tally) -> usize| row.measured.iter().map(|pass| of(&pass.tally)).sum::<usize>();
        writeln!(
            out,
            "| {}, {word} | {} | {:.1} | {:.0} | {:.0} | {:.1}, {:.1}, {:.1} | {} of {} | {} | {} |",
            row.kind.name(),
            row.asks.name(),
            all.seconds,
            all.bytes as f64 / 1e6 / all.seconds,
            all.files as f64 / all.seconds,
            all.service_s,
            all.engine_s,
            all.client_s,
            measured(|tally| tally.found),
            row.measured.len() * super::corpus::PLANTED_EACH,
            measured(|tally| tally.incomplete),
            row.model.as_deref().unwrap_or("measured"),
        )?;
    }
    Ok(())
}
