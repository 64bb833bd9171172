//! `[notify.NAME]`: where events go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use store::{DEFAULT_TENANT, Target, TargetOptions};
use targets::{Creds, Login, Nats, NatsOptions, Webhook, WebhookOptions};

use super::secret_file;

/// Targets of a server. Each has a task and a queue.
const TARGETS_MAX: usize = 16;
/// Characters of a name.
const NAME_MAX: usize = 64;
/// Seconds for a message, unless configured.
const TIMEOUT_S: u64 = 10;
/// Events that may wait, unless configured.
const QUEUE_MAX: u64 = 100_000;

/// A target as written. Which options it may have, its kind says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    kind: String,
    url: String,
    timeout_s: Option<u64>,
    queue_max: Option<u64>,
    bearer_token_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
    subject: Option<String>,
    jetstream: Option<bool>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    creds_file: Option<PathBuf>,
    tenants: Option<Vec<String>>,
}

/// One table, while it is checked.
struct Table<'a> {
    name: &'a str,
    mistakes: &'a mut Vec<String>,
}

impl Table<'_> {
    fn wrong(&mut self, what: impl std::fmt::Display) {
        self.mistakes.push(format!("notify.{}: {what}", self.name));
    }

    /// What a file of secrets holds; nothing when it cannot be used, which is a mistake.
    fn secret(&mut self, option: &str, path: Option<&PathBuf>) -> Option<String> {
        let path: &Path = path?;
        match secret_file(path) {
            Ok(text) if text.is_empty() => self.wrong(format_args!("{option}: {} is empty", path.display())),
            Ok(text) => return Some(text),
            Err(error) => self.wrong(format_args!("{option}: {}: {error}", path.display())),
        }
        None
    }

    fn between(&mut self, option: &str, value: u64, least: u64, most: u64) -> u64 {
        if !(least..=most).contains(&value) {
            self.wrong(format_args!("{option}: {value} is not between {least} and {most}"));
        }
        value
    }

    fn not_of_kind(&mut self, kind: &str, given: &[(&str, bool)]) {
        for (option, _) in given.iter().filter(|(_, given)| *given) {
            self.wrong(format_args!("{option} is no option of a {kind}"));
        }
    }
}

/// The targets, checked; every mistake is told.
pub(super) fn targets(raw: BTreeMap<String, RawTarget>, mistakes: &mut Vec<String>) -> Vec<TargetOptions> {
    if raw.len() > TARGETS_MAX {
        mistakes.push(format!("notify: {} targets are configured; there may be {TARGETS_MAX}", raw.len()));
    }
    raw.into_iter().filter_map(|(name, raw)| target(&mut Table { name: &name, mistakes }, raw)).collect()
}

fn target(table: &mut Table<'_>, raw: RawTarget) -> Option<TargetOptions> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if table.name.is_empty() || table.name.len() > NAME_MAX || !table.name.chars().all(fine) {
        table.wrong(format_args!("a name has 1 to {NAME_MAX} characters of a-z A-Z 0-9 - _"));
    }
    let timeout = table.between("timeout_s", raw.timeout_s.unwrap_or(TIMEOUT_S), 1, 50);
    let queue_max = table.between("queue_max", raw.queue_max.unwrap_or(QUEUE_MAX), 10, 10_000_000);
    let timeout = Duration::from_secs(timeout);
    let tenants = raw.tenants.clone().unwrap_or_else(|| vec![DEFAULT_TENANT.to_owned()]);
    let target = match raw.kind.as_str() {
        "webhook" => webhook(table, raw, timeout),
        "nats" => nats(table, raw, timeout),
        other => {
            table.wrong(format_args!("kind: {other:?} is not webhook or nats"));
            None
        }
    };
    Some(TargetOptions { name: table.name.to_owned(), target: target?, queue_max, tenants })
}

fn webhook(table: &mut Table<'_>, raw: RawTarget, timeout: Duration) -> Option<Arc<dyn Target>> {
    let given = [
        ("subject", raw.subject.is_some()),
        ("jetstream", raw.jetstream.is_some()),
        ("user", raw.user.is_some()),
        ("password_file", raw.password_file.is_some()),
        ("token_file", raw.token_file.is_some()),
        ("creds_file", raw.creds_file.is_some()),
    ];
    table.not_of_kind("webhook", &given);
    let bearer_token = table.secret("bearer_token_file", raw.bearer_token_file.as_ref());
    let secret = table.secret("secret_file", raw.secret_file.as_ref());
    match Webhook::new(WebhookOptions { url: raw.url, bearer_token, secret, timeout }) {
        Ok(webhook) => Some(Arc::new(webhook)),
        Err(error) => {
            table.wrong(error);
            None
        }
    }
}

fn nats(table: &mut Table<'_>, raw: RawTarget, timeout: Duration) -> Option<Arc<dyn Target>> {
    let given = [("bearer_token_file", raw.bearer_token_file.is_some()), ("secret_file", raw.secret_file.is_some())];
    table.not_of_kind("nats", &given);
    let login = login(table, &raw);
    let Some(subject) = raw.subject else {
        table.wrong("subject is missing");
        return None;
    };
    let jetstream = raw.jetstream.unwrap_or(false);
    match Nats::new(NatsOptions { url: raw.url, login: login?, subject, jetstream, timeout }) {
        Ok(nats) => Some(Arc::new(nats)),
        Err(error) => {
            table.wrong(error);
            None
        }
    }
}

/// One way to log in, or none. `None`: a mistake was told.
fn login(table: &mut Table<'_>, raw: &RawTarget) -> Option<Login> {
    let password = table.secret("password_file", raw.password_file.as_ref());
    let token = table.secret("token_file", raw.token_file.as_ref());
    let creds = table.secret("creds_file", raw.creds_file.as_ref());
    let ways = [raw.user.is_some(), raw.token_file.is_some(), raw.creds_file.is_some()];
    if raw.user.is_some() != raw.password_file.is_some() {
        table.wrong("user and password_file go together");
        return None;
    }
    if ways.iter().filter(|way| **way).count() > 1 {
        table.wrong("one of user, token_file and creds_file is enough");
        return None;
    }
    match (&raw.user, &raw.token_file, &raw.creds_file) {
        (Some(user), _, _) => Some(Login::Password { user: user.clone(), password: password? }),
        (_, Some(_), _) => Some(Login::Token(token?)),
        (_, _, Some(path)) => match Creds::parse(&creds?) {
            Ok(creds) => Some(Login::Creds(creds)),
            Err(error) => {
                table.wrong(format_args!("creds_file: {}: {error}", path.display()));
                None
            }
        },
        (None, None, None) => Some(Login::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (Vec<TargetOptions>, Vec<String>) {
        let raw: BTreeMap<String, RawTarget> = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut mistakes = Vec::new();
        (targets(raw, &mut mistakes), mistakes)
    }

    #[test]
    fn good_tables() {
        let text = "[hook]\nkind = \"webhook\"\nurl = \"https://h/p?key=1\"\n\n[bus]\nkind = \"nats\"\nurl = \"nats://h:1\"\nsubject = \"a.b\"\njetstream = true\nqueue_max = 10\n";
        let (targets, mistakes) = checked(text);
        assert_eq!(mistakes, Vec::<String>::new());
        let told: Vec<_> =
            targets.iter().map(|t| (t.name.as_str(), t.target.kind(), t.target.address(), t.queue_max)).collect();
        let bus = ("bus", "nats", "nats://h:1 a.b (JetStream)".to_owned(), 10);
        assert_eq!(told, [bus, ("hook", "webhook", "https://h/p".to_owned(), 100_000)]);
    }

    #[test]
    fn mistakes() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        std::fs::write(&open, "secret").unwrap();
        let open = open.display();
        // (kind and url, other lines, what is told)
        let hook = "kind = \"webhook\"\nurl = \"http://h\"";
        let bus = "kind = \"nats\"\nurl = \"nats://h\"\nsubject = \"s\"";
        let table = [
            (hook, "timeout_s = 0".to_owned(), "timeout_s: 0 is not between 1 and 50"),
            (hook, "queue_max = 9".to_owned(), "queue_max: 9 is not between"),
            (hook, "subject = \"s\"".to_owned(), "subject is no option of a webhook"),
            (hook, "secret_file = \"/nonexistent\"".to_owned(), "secret_file: /nonexistent:"),
            (hook, format!("secret_file = \"{open}\""), "chmod 600"),
            (bus, "bearer_token_file = \"/x\"".to_owned(), "bearer_token_file is no option of a nats"),
            (bus, "user = \"u\"".to_owned(), "user and password_file go together"),
            (bus, "token_file = \"/x\"\ncreds_file = \"/y\"".to_owned(), "one of user, token_file and creds_file"),
            ("kind = \"nats\"\nurl = \"nats://h\"", String::new(), "subject is missing"),
            ("kind = \"nats\"\nurl = \"nats://h\"\nsubject = \"a b\"", String::new(), "is not a subject like"),
            ("kind = \"nats\"\nurl = \"tls://h\"\nsubject = \"s\"", String::new(), "is not a URL like nats://"),
            ("kind = \"webhook\"\nurl = \"ftp://h\"", String::new(), "is not a URL like https://"),
            ("kind = \"webhook\"\nurl = \"http://u:p@h\"", String::new(), "do not belong into it"),
            ("kind = \"sqs\"\nurl = \"http://h\"", String::new(), "is not webhook or nats"),
        ];
        for (base, more, expected) in table {
            let (_, mistakes) = checked(&format!("[x]\n{base}\n{more}\n"));
            assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{more}: {expected} in {mistakes:?}");
            assert!(mistakes.iter().all(|mistake| !mistake.contains("secret ")), "{mistakes:?}");
        }
        let (_, mistakes) = checked(&format!("[\"a.b\"]\n{hook}\n"));
        assert!(mistakes.iter().any(|mistake| mistake.contains("a name has")), "{mistakes:?}");
        let many: String = (0..17).map(|i| format!("[t{i}]\n{hook}\n")).collect();
        assert!(checked(&many).1.iter().any(|mistake| mistake.contains("17 targets")));
    }
}
