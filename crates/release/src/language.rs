//! The seam to a policy language.

use std::sync::Arc;

use crate::mistake::{Mistake, Mistakes};
use crate::question::Question;
use crate::terms::Terms;

/// A language that release policies are written in.
pub trait Language: Send + Sync {
    /// Reads documents: name and text of each. Their order does not matter.
    ///
    /// # Errors
    /// All mistakes of all documents.
    fn parse(&self, documents: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes>;
}

/// The policies of a tenant.
pub trait Policies: Send + Sync {
    /// Decides. Where there is no document at all, everything is released; where documents have no policy, nothing.
    fn decide(&self, question: &Question<'_>) -> Decision;

    /// Whether there is no policy in the documents: a document that is put must have one.
    fn is_empty(&self) -> bool;
}

/// What was decided, and by which policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub outcome: Outcome,
    /// The policies that decided, as `DOCUMENT#ID`; none where nothing permits, or nothing was put.
    pub by: Vec<String>,
    /// Why it is denied though no policy forbids it: policies that failed.
    pub failed: Vec<String>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is released on these terms.
    Release(Terms),
    /// It is not.
    Deny,
}

impl Decision {
    /// Where there is no document at all.
    pub fn unruled() -> Self {
        Self { outcome: Outcome::Release(Terms::default()), by: Vec::new(), failed: Vec::new() }
    }
}

/// Of a program that knows no language: it takes no documents, and releases everything where there are none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLanguage;

impl Language for NoLanguage {
    fn parse(&self, documents: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes> {
        let unknown = |(name, _): &(&str, &str)| Mistake {
            document: (*name).to_owned(),
            line: None,
            message: "this program knows no policy language".to_owned(),
        };
        let mistakes: Vec<Mistake> = documents.iter().map(unknown).collect();
        if mistakes.is_empty() { Ok(Arc::new(Unruled)) } else { Err(Mistakes(mistakes)) }
    }
}

struct Unruled;

impl Policies for Unruled {
    fn decide(&self, _: &Question<'_>) -> Decision {
        Decision::unruled()
    }

    fn is_empty(&self) -> bool {
        true
    }
}
