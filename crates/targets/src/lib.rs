//! Where events go: [`Webhook`] and [`Nats`]. Both pass the one [`conformance`] suite.

pub mod conformance;
mod nats;
mod webhook;

pub use nats::{Creds, CredsError, Login, Nats, NatsOptions};
pub use webhook::{Webhook, WebhookOptions};

/// Why the options of a target are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Not a URL that such a target has.
    #[error("url: {0:?} is not a URL like {1}")]
    Url(String, &'static str),
    /// A user or password in the URL would be told with it.
    #[error("url: a user and a password do not belong into it; give them by their own options")]
    Secrets,
    /// A token or secret that no header can hold.
    #[error("{0}: it holds characters that a header cannot have")]
    Header(&'static str),
    /// A subject with empty words, spaces or wildcards.
    #[error("subject: {0:?} is not a subject like events.s3")]
    Subject(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}
