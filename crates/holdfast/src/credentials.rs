//! The root credentials: from the environment, or from a file made on the first start.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::Failure;

const ENVIRONMENT: [&str; 2] = ["HOLDFAST_ACCESS_KEY", "HOLDFAST_SECRET_KEY"];

/// The root credentials.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// Where credentials come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Environment,
    File,
}

/// `HOLDFAST_ACCESS_KEY` and `HOLDFAST_SECRET_KEY`: both or neither.
pub(crate) fn from_env() -> Result<Option<Credentials>, Failure> {
    from_env_as(ENVIRONMENT)
}

fn from_env_as(names: [&str; 2]) -> Result<Option<Credentials>, Failure> {
    let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (get(names[0]), get(names[1])) {
        (Some(access_key), Some(secret_key)) => Ok(Some(Credentials { access_key, secret_key })),
        (None, None) => Ok(None),
        _ => {
            Err(Failure::usage(format!("only one of {} and {} is set", names[0], names[1])).hint("set both or neither"))
        }
    }
}

/// Reads the file; `None` when there is none.
pub(crate) fn from_file(path: &Path) -> Result<Option<Credentials>, Failure> {
    let named = Failure::io(format!("credentials file {}", path.display()));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(error)),
    };
    let mode = file.metadata().map_err(&named)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::new(format!("credentials file {} is open to others (mode {mode:o})", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    (&mut file).take(4096).read_to_string(&mut text).map_err(&named)?;
    let parsed = toml::from_str(&text);
    parsed.map(Some).map_err(|_| {
        Failure::new(format!("credentials file {} is not readable as such", path.display()))
            .hint("it has two lines: access_key = \"…\" and secret_key = \"…\"")
    })
}

/// The environment's, the file's, or new ones written to the file.
pub(crate) fn obtain(path: &Path, rng: &dyn base::Rng) -> Result<(Credentials, Source), Failure> {
    obtain_as(ENVIRONMENT, path, rng)
}

/// The same, under other names in the environment: of the access key and of its secret.
pub(crate) fn obtain_as(names: [&str; 2], path: &Path, rng: &dyn base::Rng) -> Result<(Credentials, Source), Failure> {
    if let Some(credentials) = from_env_as(names)? {
        return Ok((credentials, Source::Environment));
    }
    if let Some(credentials) = from_file(path)? {
        return Ok((credentials, Source::File));
    }
    let (access_key, secret_key) = store::new_credentials(rng);
    let credentials = Credentials { access_key, secret_key };
    write(path, &credentials).map_err(Failure::io(format!("credentials file {}", path.display())))?;
    Ok((credentials, Source::File))
}

/// Beside its name first, so that a crash leaves no half file.
fn write(path: &Path, credentials: &Credentials) -> std::io::Result<()> {
    let text = toml::to_string(credentials).map_err(std::io::Error::other)?;
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let (access_key, secret_key) = store::new_credentials(&base::SeededRng::new(1));
        let made = Credentials { access_key, secret_key };
        write(&path, &made).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(from_file(&path).unwrap() == Some(made));

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(from_file(&path).is_err());
    }
}
