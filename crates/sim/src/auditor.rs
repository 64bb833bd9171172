//! What was acknowledged, and so what must be read.

use std::collections::BTreeMap;

use bytes::Bytes;

/// What may stand under a key: usually one thing; after a crash in mid-write, one of several.
#[derive(Default)]
pub struct Auditor(BTreeMap<String, Vec<Option<Bytes>>>);

impl Auditor {
    /// A write or delete was acknowledged.
    pub fn acknowledged(&mut self, key: &str, body: Option<Bytes>) {
        self.0.insert(key.to_owned(), vec![body]);
    }

    /// A write or delete was begun and its outcome never heard.
    pub fn perhaps(&mut self, key: &str, body: Option<Bytes>) {
        self.0.entry(key.to_owned()).or_insert_with(|| vec![None]).push(body);
    }

    /// What stands, if it is known for sure.
    pub fn sure(&self, key: &str) -> Option<Option<&Bytes>> {
        match self.0.get(key).map(Vec::as_slice) {
            None => Some(None),
            Some([one]) => Some(one.as_ref()),
            Some(_) => None,
        }
    }

    /// A read was answered: says whether it may be so, and remembers it.
    pub fn saw(&mut self, key: &str, found: Option<&Bytes>) -> bool {
        let allowed = self.0.entry(key.to_owned()).or_insert_with(|| vec![None]);
        let fine = allowed.iter().any(|body| body.as_ref() == found);
        if fine {
            *allowed = vec![found.cloned()];
        }
        fine
    }

    pub fn keys(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}
