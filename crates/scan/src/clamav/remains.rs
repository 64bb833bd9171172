//! What a service that was killed left: its clamd, which would go on for ever, and their folders. Each clamd is noted in a file of its own while it
//! runs: `clamd-PID.pid`, which says where its socket is.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// Folders of definitions that an operator gave and that are not in use yet begin with this.
pub(super) const GIVEN: &str = "given-";
/// Folders that a clamd unpacks into, and its note, begin with this.
pub(super) const CLAMD: &str = "clamd-";
/// Folders of sockets begin with this.
pub(super) const SOCKET: &str = "holdfast-clamd-";

/// Notes a clamd. Gone with the returned path.
pub(super) fn note(folder: &Path, pid: u32, socket: &Path) -> std::io::Result<PathBuf> {
    let path = folder.join(format!("{CLAMD}{pid}.pid"));
    fs::write(&path, socket.as_os_str().as_encoded_bytes())?;
    Ok(path)
}

/// Ends and removes what is left in a folder that nobody else serves.
pub(super) fn clear(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        match name.strip_prefix(CLAMD).and_then(|rest| rest.strip_suffix(".pid")) {
            Some(pid) => end(pid, &path),
            None if name.starts_with(CLAMD) || name.starts_with(GIVEN) => drop(fs::remove_dir_all(&path)),
            None => {}
        }
    }
}

fn end(pid: &str, note: &Path) {
    let socket = fs::read_to_string(note).unwrap_or_default();
    let number = pid.parse().ok().and_then(Pid::from_raw);
    // Another process may have its number by now.
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_it = !socket.is_empty() && command.windows(socket.len()).any(|piece| piece == socket.as_bytes());
    if let (Some(number), true) = (number, is_it) {
        tracing::warn!(pid, "a clamd of a service that was killed is ended");
        let _ = kill_process(number, Signal::KILL);
    }
    let is_ours = Path::new(&socket).file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOCKET));
    if is_ours {
        let _ = fs::remove_dir_all(&socket);
    }
    let _ = fs::remove_file(note);
}
