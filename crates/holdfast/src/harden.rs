//! What keeps this process's memory from others on the machine, and tells how well that goes.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering};

use envelope::{Keeping, Locked};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};

use crate::exit::Failure;

/// No core files, and no debugger of another process but root's: both would hold keys. For all commands, since
/// those that work on the root key hold it too.
pub(crate) fn process() {
    // Neither fails on a kernel that runs this program; without them it goes on as before.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// At the start of a server: how well plaintext keys are kept in memory.
pub(crate) fn tell_keeping() {
    match Locked::zeros().keeping() {
        Keeping::Secret => tracing::info!("plaintext keys are kept in secret memory (memfd_secret)"),
        Keeping::Locked => {
            tracing::info!("plaintext keys are kept in locked memory (mlock); the kernel has no secret memory")
        }
        Keeping::Ordinary => warn_once(true),
    }
}

/// From time to time: counts keys by how well they are kept.
pub(crate) fn gauge() {
    let status = envelope::arena_status();
    let kinds = [("secret", status.secret), ("locked", status.locked), ("ordinary", status.ordinary)];
    for (memory, keys) in kinds {
        metrics::gauge!("holdfast_keys_in_memory", "memory" => memory).set(keys as f64);
    }
    if status.ordinary > 0 {
        warn_once(status.is_refused);
    }
}

/// `is_refused`: the system locks no more for us. The other cause is that there are more keys than we ever lock.
fn warn_once(is_refused: bool) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if WARNED.swap(true, Ordering::Relaxed) {
        return;
    }
    match is_refused {
        true => tracing::warn!(
            "PLAINTEXT KEYS ARE IN ORDINARY MEMORY: no more could be locked, so they may be swapped to a disk. \
             Raise the limit of locked memory (LimitMEMLOCK=16M in the systemd unit, or ulimit -l) and restart"
        ),
        false => tracing::warn!(
            most = envelope::LOCKED_KEYS_MAX,
            "PLAINTEXT KEYS ARE IN ORDINARY MEMORY: there were more of them at once than are ever locked, so some may be \
             swapped to a disk. That is a defect, which no limit of the system cures: please report it"
        ),
    }
}

/// Becomes a command that the kernel ends when our parent ends. Returns only if it cannot.
pub(crate) fn end_with_parent(command: &[OsString]) -> Failure {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Failure::new(format!("this process cannot be made to end with its parent: {error}"));
    }
    let Some((program, args)) = command.split_first() else { return Failure::usage("there is no command") };
    let error = std::process::Command::new(program).args(args).exec();
    Failure::new(format!("{}: {error}", program.display()))
}
