//! Patterns of ARNs, which stand in `Resource` and in the ARN conditions.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Resource" and "Amazon Resource Name (ARN)
//! condition operators": each of the six parts is matched by itself, so that a wildcard in one does not
//! reach over a colon into the next. The last part is the rest, colons included.

use crate::pattern::{BadVariable, Syntax, Template};
use crate::request::Request;

const PARTS: usize = 6;

#[derive(Debug, Clone)]
pub(crate) enum ArnPattern {
    /// A lone `*`.
    Everything,
    Parts(Box<[Template; PARTS]>),
}

impl ArnPattern {
    /// `None` for what cannot match an ARN, or whose variables are not well formed.
    pub(crate) fn parse(source: &str, variables: bool) -> Option<Self> {
        Self::read(source, variables).ok().flatten()
    }

    /// As [`Self::parse`], where a bad variable is an error of its own.
    pub(crate) fn read(source: &str, variables: bool) -> Result<Option<Self>, BadVariable> {
        if source == "*" {
            return Ok(Some(Self::Everything));
        }
        let template = Template::parse(source, Syntax { wildcards: true, variables })?;
        let parts: Option<[Template; PARTS]> = template.split_at_colons(PARTS).try_into().ok();
        Ok(parts.filter(|parts| parts[0].fixed() == Some("arn")).map(|parts| Self::Parts(Box::new(parts))))
    }

    pub(crate) fn matches(&self, arn: &str, request: &Request<'_>) -> bool {
        let Self::Parts(patterns) = self else { return true };
        let parts: Vec<&str> = arn.splitn(PARTS, ':').collect();
        parts.len() == PARTS && patterns.iter().zip(parts).all(|(pattern, part)| pattern.matches(part, request))
    }

    /// The part of an S3 ARN that names bucket and key; `None` when it is no ARN of S3's.
    pub(crate) fn in_s3(&self) -> Option<&Template> {
        let Self::Parts(parts) = self else { return None };
        let s3 = ["arn", "aws", "s3", "", ""];
        let is_s3 = parts.iter().zip(s3).all(|(part, wanted)| part.fixed() == Some(wanted));
        is_s3.then_some(&parts[PARTS - 1])
    }

    /// How many wildcards and variables it has.
    pub(crate) fn wildcards(&self) -> usize {
        match self {
            Self::Everything => 1,
            Self::Parts(parts) => parts.iter().map(Template::wildcards).sum(),
        }
    }

    /// The six parts, unless it matches everything.
    pub(crate) fn parts(&self) -> Option<&[Template]> {
        match self {
            Self::Everything => None,
            Self::Parts(parts) => Some(parts.as_slice()),
        }
    }
}
