//! What conditions can ask about any request.
//!
//! Source: IAM User Guide, "AWS global condition context keys".

use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Values;

/// A request's circumstances, whichever service it is for.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// When it is judged.
    pub now: OffsetDateTime,
    /// When its temporary credentials were made, milliseconds since the Unix epoch.
    pub issued_ms: Option<u64>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The header `user-agent`.
    pub user_agent: Option<&'a str>,
    /// The header `referer`.
    pub referer: Option<&'a str>,
}

impl Circumstances<'_> {
    /// The keys and values.
    pub fn values(&self) -> Values {
        let mut values = Values::default();
        values.add("aws:CurrentTime", self.now.format(&Rfc3339).unwrap_or_default());
        values.add("aws:EpochTime", self.now.unix_timestamp().to_string());
        if let Some(issued) = self.issued_ms.and_then(|ms| i64::try_from(ms / 1000).ok())
            && let Ok(issued) = OffsetDateTime::from_unix_timestamp(issued)
        {
            values.add("aws:TokenIssueTime", issued.format(&Rfc3339).unwrap_or_default());
        }
        values.add("aws:SecureTransport", self.secure.to_string());
        if let Some(address) = self.address {
            values.add("aws:SourceIp", address.to_canonical().to_string());
        }
        for (key, value) in [("aws:UserAgent", self.user_agent), ("aws:Referer", self.referer)] {
            if let Some(value) = value {
                values.add(key, value);
            }
        }
        values
    }
}
