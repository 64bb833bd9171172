//! Which objects a rule is about.

use serde::{Deserialize, Serialize};

use crate::Facts;

/// How a rule's filter was written. It decides no object's fate; it is kept so that a client reads what
/// it wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterForm {
    /// Neither `Filter` nor `Prefix`, which S3 refuses.
    #[default]
    Absent,
    /// A `Prefix` of the rule itself, the form of before 2016 ("Lifecycle V1" in S3's messages).
    Legacy,
    /// A `Filter` with one element, or with none: every object.
    Single,
    /// A `Filter` with an `And` of two or more elements.
    And,
}

/// A rule's filter: an object must match all that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// How it was written.
    pub form: FilterForm,
    /// `Prefix`; an empty one was written and matches every key.
    pub prefix: Option<String>,
    /// `Tag`: keys and values.
    pub tags: Vec<(String, String)>,
    /// `ObjectSizeGreaterThan`, in bytes.
    pub size_greater: Option<u64>,
    /// `ObjectSizeLessThan`, in bytes.
    pub size_less: Option<u64>,
}

impl Filter {
    /// `<Filter/>`: every object.
    pub fn everything() -> Self {
        Self { form: FilterForm::Single, ..Self::default() }
    }

    /// `<Filter><Prefix>`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: Some(prefix.into()), ..Self::everything() }
    }

    /// `<Prefix>` beside the rule's id.
    pub fn legacy(prefix: impl Into<String>) -> Self {
        Self { form: FilterForm::Legacy, ..Self::prefix(prefix) }
    }

    /// How many elements were written.
    pub(crate) fn elements(&self) -> usize {
        let sizes = usize::from(self.size_greater.is_some()) + usize::from(self.size_less.is_some());
        usize::from(self.prefix.is_some()) + self.tags.len() + sizes
    }

    pub(crate) fn has_sizes(&self) -> bool {
        self.size_greater.is_some() || self.size_less.is_some()
    }

    fn matches_key(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
    }

    /// "Lifecycle configuration elements": a prefix begins the key, every tag is there with its value,
    /// and neither size includes itself.
    pub(crate) fn matches(&self, facts: &Facts<'_>) -> bool {
        self.matches_key(facts.key)
            && self.tags.iter().all(|tag| facts.tags.contains(tag))
            && self.size_greater.is_none_or(|bound| facts.size > bound)
            && self.size_less.is_none_or(|bound| facts.size < bound)
    }

    /// An upload has neither tags nor a size yet. A filter that asks for them matches none: such a rule
    /// is not valid, and aborting is not to be undone.
    pub(crate) fn matches_upload(&self, key: &str) -> bool {
        self.tags.is_empty() && !self.has_sizes() && self.matches_key(key)
    }
}
