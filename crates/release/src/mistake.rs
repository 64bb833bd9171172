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

/// Cedar's complaint about `text`.
pub(crate) fn complaint(document: &str, text: &str, error: &dyn miette::Diagnostic) -> Mistake {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let line = offset.and_then(|offset| text.get(..offset)).map(|before| before.matches('\n').count() + 1);
    let mut message = error.to_string();
    if let Some(help) = error.help() {
        message = format!("{message} ({help})");
    }
    Mistake { document: document.to_owned(), line, message }
}
