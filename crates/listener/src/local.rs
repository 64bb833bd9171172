//! A Unix socket that is listened on: made so that only who may can open it, and none that somebody listens on is taken over.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};
use tokio::net::UnixListener;

use crate::limits::BACKLOG;

/// Who may open it unless it is said otherwise: the user that the server runs as, and root.
const PRIVATE: u32 = 0o600;
/// What the name of the socket has behind it until it is ready.
const FRESH: &str = ".new";
/// Most bytes of a path: the system's bound, with room for [`FRESH`].
pub const PATH_MAX: usize = 107 - FRESH.len();

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something else has the name.
    #[error("{0} is there and no socket; remove it, or give another path")]
    NotASocket(PathBuf),
    /// Another server listens.
    #[error("another server listens on {0}; stop it, or give another path")]
    InUse(PathBuf),
    /// It cannot be made.
    #[error("cannot listen on {path}; its folder must be there, and writable for this server")]
    Bind {
        /// The path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}

impl base::Classify for SocketError {
    fn kind(&self) -> base::ErrorKind {
        match self {
            Self::NotASocket(_) | Self::InUse(_) => base::ErrorKind::Conflict,
            Self::Bind { .. } => base::ErrorKind::Invalid,
        }
    }
}

/// A listening socket; its file is removed with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: another one of the same name is not ours to remove.
    made: (u64, u64),
}

impl Socket {
    /// Listens at `path`, for the user that this server runs as and for root. A socket that a server left there when it died is replaced.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        Self::bind_for(path, PRIVATE)
    }

    /// The same, for those whom the mode lets write to the socket's file.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind_for(path: &Path, mode: u32) -> Result<Self, SocketError> {
        must_be_free(path)?;
        let failed = |source| SocketError::Bind { path: path.to_owned(), source };
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(FRESH);
        let fresh = PathBuf::from(fresh);
        // What an earlier start left half-way.
        must_be_free(&fresh)?;
        if let Err(error) = std::fs::remove_file(&fresh)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.bind(&SockAddr::unix(&fresh).map_err(failed)?).map_err(failed)?;
        // Nobody is let in before the mode is right, since nobody listens before.
        std::fs::set_permissions(&fresh, PermissionsExt::from_mode(mode)).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        let made = identity(&fresh).map_err(failed)?;
        std::fs::rename(&fresh, path).map_err(failed)?;
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), made })
    }

    /// What takes its connections.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.made)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the socket's file stays");
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Nothing is there, or a socket that nobody listens on.
fn must_be_free(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_takes_no_others_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kms.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
        drop(socket);
        assert!(!path.exists());
        let socket = Socket::bind_for(&path, 0o660).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop(socket);

        // One that a server left when it was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        // Somebody else's of the same name stays when ours goes.
        std::fs::remove_file(&path).unwrap();
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);

        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(matches!(Socket::bind(&file), Err(SocketError::NotASocket(_))));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(Socket::bind(&link), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert!(matches!(Socket::bind(&dir.path().join("none/kms.sock")), Err(SocketError::Bind { .. })));
        let long = dir.path().join("x".repeat(PATH_MAX));
        assert!(matches!(Socket::bind(&long), Err(SocketError::Bind { .. })));
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(FRESH)), "{names:?}");
    }
}
