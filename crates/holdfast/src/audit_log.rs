//! The audit log of a running server: what `keys` tells is appended to the log in the data directory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use audit::{AuditError, Event, Log, Options, Outcome, Signer, State, VerifierKey};
use keys::{AuditEvent, AuditOutcome, Auditor, KeyError, Keyring, PortionError, RootKey};
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, chain};

/// Time between two looks at the room on the log's disk.
const DISK_EVERY: Duration = Duration::from_secs(60);

/// In the data directory: what its gateway is called in the name of its audit log. Without it the log is called by the root key alone.
const GATEWAY_FILE: &str = "gateway";

/// The open log; `None` once it is closed.
pub(crate) struct AuditLog {
    dir: PathBuf,
    log: Mutex<Option<Log>>,
}

impl AuditLog {
    /// Reads all of what is there, so that nothing is signed that nobody looked at.
    pub(crate) async fn open(dir: PathBuf, keyring: &Keyring) -> Result<Arc<Self>, Failure> {
        let signer = signer(keyring)?;
        let path = dir.clone();
        let opening = tokio::task::spawn_blocking(move || Log::open(&path, signer, Options::default()));
        let opened = opening.await.map_err(|error| Failure::new(format!("opening the audit log: {error}")))?;
        let log = opened.map_err(|error| refused(&dir, &error))?;
        let opened = Self { dir, log: Mutex::new(Some(log)) };
        opened.gauge();
        Ok(Arc::new(opened))
    }

    /// Signs a last checkpoint. What comes later is refused, and told.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.end().await {
            tracing::error!(%error, "the audit log ended without its last checkpoint");
        }
    }

    /// Tells the room on the log's disk until the server stops. A disk that hangs holds up nothing but this.
    pub(crate) async fn watch_disk(self: Arc<Self>, stop: CancellationToken) {
        let mut every = tokio::time::interval(DISK_EVERY);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stop.cancelled() => return,
            }
            let dir = self.dir.clone();
            if let Ok(Ok(bytes)) = tokio::task::spawn_blocking(move || audit::free(&dir)).await {
                metrics::gauge!("holdfast_audit_free_bytes").set(bytes as f64);
            }
        }
    }

    async fn end(&self) -> Result<(), AuditError> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(log) = log else { return Ok(()) };
        tokio::task::spawn_blocking(move || log.close()).await.unwrap_or(Err(AuditError::Closed))
    }

    async fn append(&self, event: Event) -> Result<(), AuditError> {
        // It is on its way when this returns: the lock is not held while it waits for the disk.
        let appended = match self.log.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(log) => log.append(vec![event]),
            None => return Err(AuditError::Closed),
        };
        let appended = appended.await.map(|_| ());
        self.gauge();
        appended
    }

    fn is_empty(&self) -> bool {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().is_none_or(|log| log.status().entries == 0)
    }

    fn gauge(&self) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = log.as_ref().map(Log::status) else { return };
        metrics::gauge!("holdfast_audit_entries").set(status.entries as f64);
        for (state, name) in [(State::Ok, "ok"), (State::Reserve, "reserve"), (State::Stopped, "stopped")] {
            metrics::gauge!("holdfast_audit_state", "state" => name).set(f64::from(u8::from(status.state == state)));
        }
    }
}

#[async_trait]
impl Auditor for AuditLog {
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError> {
        let AuditEvent { time_ms, account, actor, action, resource, outcome, details } = event;
        let event = Event {
            time_ms,
            principal: actor,
            account,
            action: action.to_owned(),
            resource,
            outcome: match outcome {
                AuditOutcome::Done => Outcome::Allowed,
                AuditOutcome::Failed => Outcome::Failed,
                AuditOutcome::Denied => Outcome::Denied,
            },
            request_id: String::new(),
            details,
        };
        let unrecorded =
            |error: AuditError| PortionError::Unrecorded { log: self.dir.display().to_string(), reason: chain(&error) };
        self.append(event).await.map_err(unrecorded)
    }
}

/// What became of the log when the root key changed.
pub(crate) struct HandedOver {
    /// The folder of the log until now.
    pub(crate) old_log: String,
    /// What verifies it.
    pub(crate) old_key: String,
    /// What verifies the log from now on.
    pub(crate) new_key: String,
}

/// Whether a root key signs the log of a folder, or signed one that was ended there; so it is where there is no log.
pub(crate) fn is_signed_by(data_dir: &Path, keyring: &Keyring) -> Result<bool, Failure> {
    let name = keyring.audit_name().map_err(|error| Failure::new(chain(&error)))?;
    let dir = data_dir.join("audit");
    if ended_log(data_dir, &name).exists() || !dir.exists() {
        return Ok(true);
    }
    Ok(signed_in(&dir)?.is_none_or(|signed| signed == name))
}

/// In whose name the log of a folder is signed: the first line of its checkpoint (C2SP tlog-checkpoint).
fn signed_in(dir: &Path) -> Result<Option<String>, Failure> {
    Ok(audit::checkpoint(dir)?.map(|note| note.lines().next().unwrap_or_default().to_owned()))
}

fn ended_log(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(format!("audit-until-{}", name.trim_start_matches("holdfast/")))
}

/// Ends the log that the old root key signs, and begins one that the new key signs: who had the old one must not be
/// able to write history on. The last entry of the one names the key of the other, and the first entry of that one how
/// the first ended. Done again after a crash, it does what is left. Nothing where there never was a log.
pub(crate) async fn hand_over(data_dir: &Path, old: &Keyring, new: &Keyring) -> Result<Option<HandedOver>, Failure> {
    let named = |keyring: &Keyring| keyring.audit_name().map_err(|error| Failure::new(chain(&error)));
    let (dir, old_name) = (data_dir.join("audit"), named(old)?);
    let ended = ended_log(data_dir, &old_name);
    let handed = HandedOver {
        old_log: ended.display().to_string(),
        old_key: verifier(old)?.to_string(),
        new_key: verifier(new)?.to_string(),
    };
    if !ended.exists() {
        if !dir.exists() {
            return Ok(None);
        }
        // Copied from where it was handed over.
        let new_name = named(new)?;
        if signed_in(&dir)?.is_some_and(|signed| signed == new_name) {
            return Ok(None);
        }
        let log = AuditLog::open(dir.clone(), old).await?;
        log.append(rotated([("next_key", handed.new_key.clone())])).await.map_err(|error| refused(&dir, &error))?;
        log.end().await.map_err(|error| refused(&dir, &error))?;
        let moved = std::fs::rename(&dir, &ended).and_then(|()| std::fs::File::open(data_dir)?.sync_all());
        moved.map_err(Failure::io(format!("the audit log {}", dir.display())))?;
    }
    let log = AuditLog::open(dir.clone(), new).await?;
    if log.is_empty() {
        let last = audit::checkpoint(&ended)?.unwrap_or_default();
        let details = [("previous_key", handed.old_key.clone()), ("previous_checkpoint", last)];
        log.append(rotated(details)).await.map_err(|error| refused(&dir, &error))?;
    }
    log.end().await.map_err(|error| refused(&dir, &error))?;
    Ok(Some(handed))
}

fn rotated<const N: usize>(details: [(&str, String); N]) -> Event {
    Event {
        time_ms: base::Doors::system().clock.now_ms(),
        principal: "operator".to_owned(),
        account: base::AccountId::DEFAULT,
        action: "root:rotate".to_owned(),
        resource: "root-key".to_owned(),
        outcome: Outcome::Allowed,
        request_id: String::new(),
        details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

/// The keys of a root key as the gateway with this data directory has them: the log there is its own.
pub(crate) fn keyring_of(data_dir: &Path, root: &RootKey) -> Result<Keyring, Failure> {
    let file = data_dir.join(GATEWAY_FILE);
    match std::fs::read_to_string(&file) {
        Ok(name) => Ok(Keyring::of(root).at(Some(name.trim().to_owned()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Keyring::of(root)),
        Err(error) => Err(Failure::io(file.display().to_string())(error)),
    }
}

/// Gives a data directory the name of its gateway, unless it has one, or a log that was begun without.
pub(crate) fn name_gateway(data_dir: &Path, name: &str) -> Result<(), Failure> {
    let file = data_dir.join(GATEWAY_FILE);
    if file.exists() || data_dir.join("audit").exists() {
        return Ok(());
    }
    let written = std::fs::write(&file, format!("{name}\n")).and_then(|()| std::fs::File::open(&file)?.sync_all());
    written.map_err(Failure::io(file.display().to_string()))
}

fn signer(keyring: &Keyring) -> Result<Signer, Failure> {
    let failed = |error: KeyError| Failure::new(chain(&error));
    let (name, seed) = (keyring.audit_name().map_err(failed)?, keyring.audit_seed().map_err(failed)?);
    Signer::from_seed(&name, &seed).map_err(|error| Failure::new(chain(&error)))
}

/// What others verify the log of this root key with.
pub(crate) fn verifier(keyring: &Keyring) -> Result<VerifierKey, Failure> {
    Ok(signer(keyring)?.verifier().clone())
}

fn refused(dir: &Path, error: &AuditError) -> Failure {
    let failure = Failure::new(format!("the audit log {}: {}", dir.display(), chain(error)));
    match error {
        AuditError::Damaged(_) | AuditError::Signature { .. } | AuditError::BadCheckpoint(_) => failure.hint(
            "`holdfast audit verify` tells what is wrong; to start with a new log, move the folder elsewhere and keep it",
        ),
        _ => failure,
    }
}
