//! What is wrong with a document, and where.

use std::fmt;

/// A mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The document's name.
    pub document: String,
    /// The line, from 1; `None` where it is about the whole.
    pub line: Option<usize>,
    /// What is wrong, and the cure if it is known.
    pub message: String,
}

/// All mistakes of some documents; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Of a document that says nothing: were it taken, it would deny everything, or look as if it allowed it.
    pub fn no_policy(document: &str) -> Self {
        let message = "there is no policy in it; to release nothing, say `forbid(principal, action, resource);`";
        Self(vec![Mistake { document: document.to_owned(), line: None, message: message.to_owned() }])
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.document, self.message),
            None => write!(f, "{}: {}", self.document, self.message),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")?;
        }
        Ok(())
    }
}
