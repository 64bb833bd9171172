//! A bucket's configuration, as it is stored and asked.

use serde::{Deserialize, Serialize};

use crate::message::encode_key;
use crate::name::covers;
use crate::{EventName, NotifyError};

/// A bucket's notification configuration. Empty: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The bucket's name, which messages tell.
    pub bucket: String,
    /// Its configurations, in the order of the document.
    pub rules: Vec<Rule>,
}

/// One configuration: which events of which keys go where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Unique in the bucket.
    pub id: String,
    /// What S3 would find behind the ARN.
    pub kind: Kind,
    /// Names the target: see [`target_of`].
    pub arn: String,
    /// Names of events, or of families of them (`s3:ObjectCreated:*`).
    pub events: Vec<String>,
    /// Which keys; `None`: all.
    pub filter: Option<Filter>,
}

/// The three forms of S3. All of them name the same targets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `QueueConfiguration`.
    Queue,
    /// `TopicConfiguration`.
    Topic,
    /// `CloudFunctionConfiguration`.
    Function,
}

/// How keys begin and end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// `None`: in any way.
    pub prefix: Option<String>,
    /// `None`: in any way.
    pub suffix: Option<String>,
}

impl Filter {
    /// Whether the filter selects a key. S3 compares with the key as messages spell it (a space is `+`); a
    /// filter that has the key's own characters is understood as well.
    fn selects(&self, key: &str) -> bool {
        let fits = |key: &str| {
            self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
                && self.suffix.as_ref().is_none_or(|suffix| key.ends_with(suffix.as_str()))
        };
        fits(key) || fits(&encode_key(key))
    }
}

impl Rule {
    /// The name of the target in the server's configuration.
    ///
    /// # Errors
    /// As [`target_of`].
    pub fn target(&self) -> Result<&str, NotifyError> {
        target_of(self.kind, &self.arn)
    }
}

impl Rules {
    /// The rule that an event is told by. No two overlap, so the first is the only one.
    pub fn find(&self, name: EventName, key: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.events.iter().any(|pattern| covers(pattern, name.as_str()))
                && rule.filter.as_ref().is_none_or(|filter| filter.selects(key))
        })
    }

    /// The names of all targets, each once.
    pub fn targets(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rules.iter().filter_map(|rule| rule.target().ok()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The target that an ARN names: `arn:aws:sqs:<region>:<account>:<target>` for queues, `sns` for topics,
/// `arn:aws:lambda:<region>:<account>:function:<target>` for functions. Partition, region and account may be
/// any, since there is one of each here.
///
/// # Errors
/// [`NotifyError::Arn`] for a text of another form.
pub fn target_of(kind: Kind, arn: &str) -> Result<&str, NotifyError> {
    let malformed = || NotifyError::Arn(arn.chars().take(256).collect());
    let mut pieces = arn.splitn(6, ':');
    let mut next = || pieces.next().ok_or_else(malformed);
    let (scheme, partition, service) = (next()?, next()?, next()?);
    let (_region, _account, resource) = (next()?, next()?, next()?);
    let (expected, name) = match kind {
        Kind::Queue => ("sqs", Some(resource)),
        Kind::Topic => ("sns", Some(resource)),
        Kind::Function => ("lambda", resource.strip_prefix("function:")),
    };
    let name = name.filter(|name| !name.is_empty() && !name.contains(':')).ok_or_else(malformed)?;
    if scheme != "arn" || partition.is_empty() || service != expected || arn.len() > crate::ARN_LEN_MAX {
        return Err(malformed());
    }
    Ok(name)
}
