//! What was taken while cut off, as people read it.

use admin::Island;

use super::{ago, bytes, clean, table};

pub(crate) fn island(found: &Island, now_ms: u64) -> String {
    let mut text = match found.cut_off {
        true => "This gateway is cut off from the metadata.\n".to_owned(),
        false => String::new(),
    };
    if found.waiting.is_empty() {
        text.push_str("Nothing waits here to be told.\n");
    } else {
        let rows: Vec<Vec<String>> = found
            .waiting
            .iter()
            .map(|one| {
                let name = match (&one.bucket, &one.key) {
                    (Some(bucket), Some(key)) => format!("{}/{}", clean(bucket), clean(key)),
                    _ => "sealed".to_owned(),
                };
                let trouble = one.trouble.as_deref().map(clean).unwrap_or_default();
                vec![one.id.clone(), name, bytes(one.bytes), ago(one.taken_ms, now_ms), trouble]
            })
            .collect();
        text.push_str(&table(&["WAITS", "OBJECT", "BYTES", "AGE", "WHY NOT YET"], &rows));
    }
    match &found.conflicts {
        None => text.push_str("Whether versions came late cannot be told now.\n"),
        Some(conflicts) if conflicts.is_empty() => text.push_str("No version came late.\n"),
        Some(conflicts) => {
            let rows: Vec<Vec<String>> = conflicts
                .iter()
                .map(|one| {
                    vec![
                        one.id.clone(),
                        format!("{}/{}", clean(&one.bucket), clean(&one.key)),
                        one.version.clone(),
                        clean(&one.principal),
                        clean(&one.gateway),
                        ago(one.taken_ms, now_ms),
                    ]
                })
                .collect();
            text.push('\n');
            text.push_str(&table(&["CAME LATE", "OBJECT", "VERSION", "WRITTEN BY", "AT", "AGE"], &rows));
            text.push_str(
                "Another version was written meanwhile and is the newest. To have one of these instead, copy it over its key;\n\
                 `holdfast island seen ID` lists it no more.\n",
            );
        }
    }
    text
}
