//! `etcd://[user@]host[:port],.../prefix` and its options, checked. No secret is in what is printed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use etcd::{ClientOptions, Endpoint, TlsFiles};
use zeroize::Zeroizing;

/// etcd's port for clients.
const PORT: u16 = 2379;
/// etcd's `--quota-backend-bytes` when it is not configured.
const QUOTA: u64 = 2 << 30;
/// Members that an address may name: etcd's own advice is seven at most.
const MEMBERS_MAX: usize = 9;
/// Bytes of the prefix: with a row's longest key it stays far from any limit of etcd.
const PREFIX_MAX: usize = 256;

/// Every mistake in an address and its options, a line each.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("; "))]
pub struct EtcdMistakes(pub Vec<String>);

/// Where an etcd is, and as whom to use it.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    pub(crate) client: ClientOptions,
    pub(crate) prefix: String,
    /// Bytes that a member's file may have: etcd 3.4 does not tell.
    pub(crate) quota_bytes: u64,
}

impl EtcdOptions {
    /// Whether an address is one of etcd.
    pub fn is_for(url: &str) -> bool {
        url.starts_with("etcd://")
    }

    /// Checks `etcd://[user@]host[:port],host[:port],.../prefix` and the options `ca`, `cert`, `key`, `password_file` (files),
    /// `tls`, `allow_http` (`true` or `false`) and `quota_bytes`. The members are asked in the order given. The prefix is
    /// `holdfast` when there is none. Without TLS all hosts must be this machine's own, unless `allow_http` is given.
    ///
    /// # Errors
    /// All mistakes at once. None quotes a password, also not one that stands where none may.
    pub fn parse(url: &str, options: &BTreeMap<String, String>) -> Result<Self, EtcdMistakes> {
        let mut mistakes = Vec::new();
        let rest = url.strip_prefix("etcd://").unwrap_or_else(|| {
            mistakes.push("an address of etcd begins with etcd://".into());
            ""
        });
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { "holdfast" } else { prefix };
        // No slash in it: the rows of one cluster must not lie among those of another.
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix.len() > PREFIX_MAX || !prefix.bytes().all(fine) {
            mistakes.push(format!("the prefix has at most {PREFIX_MAX} of a-z, A-Z, 0-9, '-', '_' and '.'"));
        }
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            mistakes.push("a password does not belong in the address: give password_file".into());
        } else if user.is_some_and(str::is_empty) {
            mistakes.push("there is no user before the @".into());
        }
        let endpoints = endpoints(hosts, &mut mistakes);
        for name in options.keys() {
            if !["ca", "cert", "key", "password_file", "tls", "allow_http", "quota_bytes"].contains(&name.as_str()) {
                mistakes.push(format!("{name} is no option of etcd"));
            }
        }
        let truth = |name: &str, mistakes: &mut Vec<String>| match options.get(name).map(String::as_str) {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => {
                mistakes.push(format!("{name} is true or false"));
                None
            }
        };
        let file = |name: &str| options.get(name).map(PathBuf::from);
        let wanted = truth("tls", &mut mistakes);
        let allowed = truth("allow_http", &mut mistakes).unwrap_or(false);
        let client = match (file("cert"), file("key")) {
            (Some(cert), Some(key)) => {
                if mode(&key).is_some_and(|mode| mode & 0o007 != 0) {
                    mistakes.push(format!("key {}: everybody may read it; chmod 600", key.display()));
                }
                Some((cert, key))
            }
            (None, None) => None,
            _ => {
                mistakes.push("cert and key go together".into());
                None
            }
        };
        let files = TlsFiles { ca: file("ca"), client };
        let given = files != TlsFiles::default();
        if given && wanted == Some(false) {
            mistakes.push("ca, cert and key are for TLS, and tls is false".into());
        }
        let tls = wanted.unwrap_or(given);
        if !tls && !allowed {
            let far: Vec<_> =
                endpoints.iter().filter(|endpoint| !is_own(&endpoint.host)).map(|e| e.host.as_str()).collect();
            if !far.is_empty() {
                mistakes.push(format!(
                    "without TLS anybody between reads and changes the metadata of {}: give ca, or tls = \"true\"; or, where the \
                     network is trusted, allow_http = \"true\"",
                    far.join(", ")
                ));
            }
        }
        let quota_bytes = match options.get("quota_bytes").map(|text| text.parse::<u64>()) {
            None => QUOTA,
            Some(Ok(bytes)) if bytes >= 16 << 20 => bytes,
            Some(_) => {
                mistakes.push("quota_bytes is a number of bytes, at least 16 MiB: etcd's --quota-backend-bytes".into());
                QUOTA
            }
        };
        let user = match (user, file("password_file")) {
            (None, None) => None,
            (Some(user), Some(path)) => password(&path, &mut mistakes).map(|password| (user.to_owned(), password)),
            (Some(_), None) => {
                mistakes.push("a user needs a password: give password_file".into());
                None
            }
            (None, Some(_)) => {
                mistakes.push("password_file is for a user: etcd://USER@HOST".into());
                None
            }
        };
        if !mistakes.is_empty() {
            return Err(EtcdMistakes(mistakes));
        }
        let client = ClientOptions { endpoints, tls: tls.then_some(files), user };
        Ok(Self { client, prefix: prefix.to_owned(), quota_bytes })
    }

    /// The same etcd, its members and prefix: what tells two addresses apart.
    pub fn place(&self) -> String {
        let mut hosts: Vec<String> = self.client.endpoints.iter().map(ToString::to_string).collect();
        hosts.sort();
        format!("etcd://{}/{}", hosts.join(","), self.prefix)
    }
}

fn endpoints(hosts: &str, mistakes: &mut Vec<String>) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (index, one) in hosts.split(',').enumerate() {
        let bad = |why: &str| format!("member {}: {why}; give HOST or HOST:PORT", index + 1);
        let (host, port) = match one.rsplit_once(':') {
            // The colon of an address of IPv6 without a port.
            Some((_, port)) if port.ends_with(']') => (one, Ok(PORT)),
            Some((host, port)) => (host, port.parse()),
            None => (one, Ok(PORT)),
        };
        let Ok(port) = port else {
            mistakes.push(bad("the port is a number up to 65535"));
            continue;
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fine = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        };
        let endpoint = Endpoint { host: host.to_owned(), port };
        if !fine {
            mistakes.push(bad("this is no name or address of a host"));
        } else if endpoints.contains(&endpoint) {
            mistakes.push(format!("{endpoint} is there twice"));
        } else {
            endpoints.push(endpoint);
        }
    }
    if endpoints.len() > MEMBERS_MAX {
        mistakes.push(format!("at most {MEMBERS_MAX} members"));
    }
    endpoints
}

/// Whether a host is this machine. A name but `localhost` is not believed.
fn is_own(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Who may read a file; nothing where it is not there, which is told by what reads it.
fn mode(path: &std::path::Path) -> Option<u32> {
    std::fs::metadata(path).map(|file| file.permissions().mode() & 0o777).ok()
}

fn password(path: &std::path::Path, mistakes: &mut Vec<String>) -> Option<Zeroizing<String>> {
    if let Some(mode) = mode(path).filter(|mode| mode & 0o077 != 0) {
        mistakes.push(format!("password_file {}: others may read it (mode {mode:o}); chmod 600", path.display()));
        return None;
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => {
            mistakes.push(format!("password_file {}: {error}", path.display()));
            return None;
        }
    };
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        mistakes.push(format!("password_file {} is empty", path.display()));
        return None;
    }
    Some(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn addresses_are_read() {
        let parse = |url: &str, pairs: &[(&str, &str)]| EtcdOptions::parse(url, &options(pairs)).unwrap();
        let table = [
            ("etcd://127.0.0.1", "etcd://127.0.0.1:2379/holdfast"),
            ("etcd://localhost:99/", "etcd://localhost:99/holdfast"),
            ("etcd://127.0.0.1:2,127.0.0.1:1/a.b/", "etcd://127.0.0.1:1,127.0.0.1:2/a.b"),
            ("etcd://[::1]:7,[::1]", "etcd://[::1]:2379,[::1]:7/holdfast"),
        ];
        for (url, place) in table {
            assert_eq!(parse(url, &[]).place(), place);
        }
        let far = "etcd://db1.example,db2.example/x";
        assert!(parse(far, &[("tls", "true")]).client.tls.is_some());
        assert!(parse(far, &[("ca", "/ca.pem")]).client.tls.is_some());
        assert!(parse(far, &[("allow_http", "true")]).client.tls.is_none());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"hunter2\n").unwrap();
        let path = file.path().to_str().unwrap();
        let parsed = parse("etcd://ann@localhost", &[("password_file", path)]);
        assert_eq!(parsed.client.user.as_ref().unwrap().1.as_str(), "hunter2");
        assert!(!format!("{parsed:?}").contains("hunter2"));
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = EtcdOptions::parse("etcd://ann@localhost", &options(&[("password_file", path)])).unwrap_err();
        assert!(error.to_string().contains("mode 640"), "{error}");
    }

    #[test]
    fn every_mistake_is_told_and_no_secret() {
        let url = "etcd://ann:hunter2@db.example:x,db.example,db.example,,b&d/pre fix";
        let pairs = [
            ("cert", "/c"),
            ("tls", "yes"),
            ("quota_bytes", "7"),
            ("colour", "red"),
            ("password_file", "/no/such/file"),
        ];
        let EtcdMistakes(mistakes) = EtcdOptions::parse(url, &options(&pairs)).unwrap_err();
        let all = mistakes.join("\n");
        for word in [
            "the prefix has at most",
            "password does not belong in the address",
            "member 1: the port",
            "db.example:2379 is there twice",
            "member 4: this is no name",
            "member 5: this is no name",
            "colour is no option",
            "tls is true or false",
            "cert and key go together",
            "without TLS anybody between",
            "quota_bytes is a number",
            "password_file /no/such/file",
        ] {
            assert!(all.contains(word), "{word} in:\n{all}");
        }
        assert!(!all.contains("hunter2"), "{all}");
        for (url, pairs, word) in [
            ("etcd://ann@localhost", vec![], "give password_file"),
            ("etcd://localhost", vec![("password_file", "/x")], "is for a user"),
            ("etcd://localhost", vec![("ca", "/x"), ("tls", "false")], "tls is false"),
            ("http://localhost", vec![], "begins with etcd://"),
            ("etcd://localhost/a/r", vec![], "the prefix has at most"),
            ("etcd://localhost", vec![("cert", "/x"), ("key", "/proc/version")], "everybody may read it"),
        ] {
            let error = EtcdOptions::parse(url, &options(&pairs)).unwrap_err().to_string();
            assert!(error.contains(word), "{word} in: {error}");
        }
    }
}
