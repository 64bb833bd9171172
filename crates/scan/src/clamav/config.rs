//! How `clamd` is set up. Pure.

use std::fmt::Write;
use std::path::Path;

use crate::limits::{CLAMAV_SCAN, KEPT_MAX, UNPACKED_MAX};

/// What decides verdicts: it is part of the epoch.
pub(crate) fn settings() -> String {
    let mut text = String::new();
    let all = [
        // A limit that was met, and what nobody can look into, are told; by default both are `OK`.
        ("AlertExceedsMax", "yes".to_owned()),
        ("AlertEncrypted", "yes".to_owned()),
        ("MaxScanTime", CLAMAV_SCAN.as_millis().to_string()),
        ("MaxFileSize", KEPT_MAX.to_string()),
        ("MaxScanSize", UNPACKED_MAX.to_string()),
        ("MaxRecursion", "17".to_owned()),
        ("MaxFiles", "10000".to_owned()),
        // Beyond these ClamAV passes parts over without a word.
        ("PCREMaxFileSize", "100M".to_owned()),
        ("MaxEmbeddedPE", "100M".to_owned()),
        ("MaxHTMLNormalize", "100M".to_owned()),
        ("MaxHTMLNoTags", "100M".to_owned()),
        ("MaxScriptNormalize", "100M".to_owned()),
        ("MaxZipTypeRcg", "100M".to_owned()),
    ];
    for (key, value) in all {
        let _ = writeln!(text, "{key} {value}");
    }
    text
}

/// All of `clamd.conf`.
pub(crate) fn config(definitions: &Path, socket: &Path, temporary: &Path, threads: usize) -> String {
    let (definitions, socket, temporary) = (definitions.display(), socket.display(), temporary.display());
    // What is known is kept by us, by a digest that nobody can forge: ClamAV 1.4's own cache goes by MD5. Its definitions never change under it:
    // there is another process for others.
    format!(
        "Foreground yes\nLocalSocket {socket}\nLocalSocketMode 600\nDatabaseDirectory {definitions}\nTemporaryDirectory {temporary}\n\
         DisableCache yes\nSelfCheck 0\nExitOnOOM yes\nMaxThreads {threads}\nMaxQueue {queue}\nIdleTimeout 60\nReadTimeout 300\n{settings}",
        queue = threads * 4 + 16,
        settings = settings(),
    )
}
