//! `[repair]`: how fast repair may go.

use std::num::NonZeroU64;

use serde::Deserialize;
use store::RepairBounds;

/// The table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRepair {
    max_mib_per_s: Option<u32>,
    share_percent: Option<u32>,
    urgent_percent: Option<u32>,
}

/// What the table means.
pub(super) fn bounds(raw: &RawRepair, mistakes: &mut Vec<String>) -> RepairBounds {
    let default = RepairBounds::default();
    let max = raw.max_mib_per_s.map(|mib| NonZeroU64::new(u64::from(mib) << 20));
    if max == Some(None) {
        mistakes.push(
            "repair: max_mib_per_s: 0 would end no repair; `holdfast worker repair --pause` stops it for a while"
                .to_owned(),
        );
    }
    let mut percent = |name: &str, given: Option<u32>, default: u32| {
        let percent = given.unwrap_or(default);
        if !(1..=1000).contains(&percent) {
            mistakes.push(format!("repair: {name}: {percent} is not between 1 and 1000"));
        }
        percent
    };
    let share_percent = percent("share_percent", raw.share_percent, default.share_percent);
    let urgent_percent = percent("urgent_percent", raw.urgent_percent, default.urgent_percent);
    if urgent_percent < share_percent {
        mistakes.push(format!(
            "repair: urgent_percent: {urgent_percent} is less than share_percent: data at risk would come back more slowly than the rest"
        ));
    }
    RepairBounds { max_bytes_per_s: max.flatten().unwrap_or(default.max_bytes_per_s), share_percent, urgent_percent }
}
