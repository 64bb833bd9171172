/// What the caller of a failed operation does next. Every crate's error maps to one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The thing named does not exist.
    NotFound,
    /// The world is not as the request demanded (exists already, precondition failed, lost race).
    Conflict,
    /// The request itself is wrong; the same request will never succeed.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// Try again later, or elsewhere: a dependency is down, slow or overloaded.
    Unavailable,
    /// Out of space somewhere that matters.
    Full,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The operation may or may not have happened.
    Unknown,
    /// A defect in Holdfast.
    Internal,
}

/// An error that knows its [`ErrorKind`].
pub trait Classify {
    /// What the caller does next.
    fn kind(&self) -> ErrorKind;
}

/// An error and its sources on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
