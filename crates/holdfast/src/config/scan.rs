//! `[scan]`: the scan service of this process. Without the table there is none.

use std::path::PathBuf;

use serde::Deserialize;

use crate::cli::scan::{ClamdIncomplete, Door, DoorArgs, IcapIncomplete, IcapUnavailable};

/// Octal digits of who may write to clamd's socket, unless it is said otherwise.
const SOCKET_MODE: u32 = 0o600;

/// The table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScan {
    clamd_listen: Option<String>,
    clamd_socket: Option<PathBuf>,
    clamd_socket_mode: Option<String>,
    icap_listen: Option<String>,
    definitions: Option<PathBuf>,
    yara: Option<PathBuf>,
    clamd: Option<PathBuf>,
    slots: Option<u16>,
    clamd_incomplete: Option<String>,
    icap_incomplete: Option<String>,
    icap_unavailable: Option<String>,
}

/// What the table means.
pub(super) fn doors(raw: RawScan, mistakes: &mut Vec<String>) -> DoorArgs {
    let mut door = |name: &str, given: Option<String>, default: &str| {
        given.as_deref().unwrap_or(default).parse().unwrap_or_else(|wrong: String| {
            mistakes.push(format!("scan: {name}: {wrong}"));
            Door(None)
        })
    };
    let clamd_listen = door("clamd_listen", raw.clamd_listen, "127.0.0.1:3310");
    let icap_listen = door("icap_listen", raw.icap_listen, "127.0.0.1:1344");
    let mode = raw.clamd_socket_mode.map(|mode| u32::from_str_radix(&mode, 8).ok().filter(|mode| *mode <= 0o777));
    if mode == Some(None) {
        mistakes.push("scan: clamd_socket_mode: that is no mode like \"660\"".to_owned());
    }
    if raw.slots.is_some_and(|slots| !(1..=256).contains(&slots)) {
        mistakes.push("scan: slots: that is not between 1 and 256".to_owned());
    }
    DoorArgs {
        clamd_listen,
        clamd_socket: raw.clamd_socket,
        clamd_socket_mode: mode.flatten().unwrap_or(SOCKET_MODE),
        icap_listen,
        definitions: raw.definitions,
        yara: raw.yara,
        clamd: raw.clamd.unwrap_or_else(|| "clamd".into()),
        slots: raw.slots,
        clamd_incomplete: word(mistakes, "clamd_incomplete", raw.clamd_incomplete, ClamdIncomplete::Found),
        icap_incomplete: word(mistakes, "icap_incomplete", raw.icap_incomplete, IcapIncomplete::Error),
        icap_unavailable: word(mistakes, "icap_unavailable", raw.icap_unavailable, IcapUnavailable::Refuse),
    }
}

fn word<T: clap::ValueEnum>(mistakes: &mut Vec<String>, name: &str, given: Option<String>, default: T) -> T {
    let Some(given) = given else { return default };
    T::from_str(&given, false).unwrap_or_else(|_| {
        let words: Vec<String> =
            T::value_variants().iter().filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned())).collect();
        mistakes.push(format!("scan: {name}: {given:?} is none of {}", words.join(", ")));
        default
    })
}
