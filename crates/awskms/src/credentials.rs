//! Credentials where AWS' own tools look for them (AWS SDKs and Tools Reference Guide): the environment's variables, or
//! a profile of the shared credentials file.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

const FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";
const PROFILE: &str = "AWS_PROFILE";
const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCredentials {
    #[error(
        "there are no AWS credentials: set {ACCESS_KEY} and {SECRET_KEY} for the server, or give the profile of a shared \
         credentials file"
    )]
    Nowhere,
    #[error("the credentials file {path} cannot be read: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the credentials file {path} has no profile {profile} with an access key and a secret")]
    Profile { path: PathBuf, profile: String },
}

pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: Zeroizing<String>,
    pub(crate) session_token: Option<String>,
}

impl Credentials {
    /// Those of the profile if one is named, else the environment's, else those of the profile that the environment names.
    pub(crate) fn find(profile: Option<&str>) -> Result<Self, NoCredentials> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if profile.is_none()
            && let (Some(access_key), Some(secret_key)) = (variable(ACCESS_KEY), variable(SECRET_KEY))
        {
            let session_token = variable(SESSION_TOKEN);
            return Ok(Self { access_key, secret_key: Zeroizing::new(secret_key), session_token });
        }
        let home = || variable("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
        let path = variable(FILE).map(PathBuf::from).or_else(home).ok_or(NoCredentials::Nowhere)?;
        let named = profile.map(str::to_owned).or_else(|| variable(PROFILE));
        if named.is_none() && !path.exists() {
            return Err(NoCredentials::Nowhere);
        }
        Self::in_file(&path, named.as_deref().unwrap_or("default"))
    }

    fn in_file(path: &Path, profile: &str) -> Result<Self, NoCredentials> {
        let unread = |source| NoCredentials::File { path: path.to_owned(), source };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unread)?);
        let mut found: [Option<&str>; 3] = [None; 3];
        let mut is_it = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                is_it = name.trim() == profile;
            } else if let Some((name, value)) = line.split_once('=').filter(|_| is_it && !line.starts_with(['#', ';']))
            {
                let names = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
                if let Some(at) = names.iter().position(|known| name.trim() == *known) {
                    found[at] = Some(value.trim()).filter(|value| !value.is_empty());
                }
            }
        }
        let [Some(access_key), Some(secret_key), session_token] = found else {
            return Err(NoCredentials::Profile { path: path.to_owned(), profile: profile.to_owned() });
        };
        Ok(Self {
            access_key: access_key.to_owned(),
            secret_key: Zeroizing::new(secret_key.to_owned()),
            session_token: session_token.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_the_cli_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let text = "# ours\n[default]\naws_access_key_id = A\naws_secret_access_key=S=1/+\n\n[half]\n\
                    aws_access_key_id=B\naws_secret_access_key=T\n;aws_session_token=no\naws_session_token = U\n[none]\nregion=x\n";
        std::fs::write(&path, text).unwrap();
        // (profile, access key, secret, session token)
        let table = [
            ("default", Some(("A", "S=1/+", None))),
            ("half", Some(("B", "T", Some("U")))),
            ("none", None),
            ("x", None),
        ];
        for (profile, expected) in table {
            match (Credentials::in_file(&path, profile), expected) {
                (Ok(found), Some((access, secret, token))) => {
                    let (found_secret, found_token) = (found.secret_key.as_str(), found.session_token.as_deref());
                    assert_eq!((found.access_key.as_str(), found_secret, found_token), (access, secret, token));
                }
                (Err(NoCredentials::Profile { profile: named, .. }), None) => assert_eq!(named, profile),
                (found, _) => panic!("{profile}: {:?}", found.err()),
            }
        }
        assert!(matches!(Credentials::in_file(&dir.path().join("no"), "x"), Err(NoCredentials::File { .. })));
    }
}
