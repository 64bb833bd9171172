//! The rules that choose portions, as they are stored.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base::AccountId;
use meta::record::{Record, RulesRecord, key};
use meta::{Batch, Write};

use super::Portions;
use crate::error::PortionError;
use crate::rules::Rules;

impl Portions {
    /// The rules of an account, and the document that was put; none were: `None`.
    ///
    /// # Errors
    /// [`PortionError::Rules`] for a stored document that holds none, or a metadata error.
    pub async fn rules(&self, account: AccountId) -> Result<Option<String>, PortionError> {
        let found = self.record::<RulesRecord>(key::portion_rules_key(account)).await?;
        Ok(found.map(|(record, _)| record.document))
    }

    /// Puts the rules of an account in place of those that were.
    ///
    /// # Errors
    /// [`PortionError::Rules`], [`PortionError::Unrecorded`], or a metadata error.
    pub async fn put_rules(&self, account: AccountId, document: &str) -> Result<(), PortionError> {
        Rules::parse(document)?;
        let record = RulesRecord { document: document.to_owned(), modified_ms: self.now_ms() };
        let writes = vec![Write::Put(key::portion_rules_key(account), record.encode())];
        // The document may be longer than a record: its hash tells which one it was.
        let hash = hex::encode(digest(&SHA256, document.as_bytes()));
        let event = |action| self.event(account, action, "portion-rules".to_owned()).with("sha256", &hash);
        self.announce(event("portion:rules-changing")).await?;
        let put = self.commit_once(Batch { checks: vec![], writes }).await;
        self.caches.forget_rules(account);
        self.tell_end(&put, event("portion:rules")).await;
        put
    }

    /// The rules of an account, parsed.
    ///
    /// # Errors
    /// As [`Self::rules`].
    pub async fn chosen_by(&self, account: AccountId) -> Result<Arc<Rules>, PortionError> {
        self.on_lease_to_open().await?;
        let now = self.now_ms();
        if let Some(rules) = self.caches.rules(account, now) {
            return Ok(rules);
        }
        let seen = self.caches.generation(account);
        let rules = match self.rules(account).await? {
            Some(document) => Rules::parse(&document)?,
            None => Rules::default(),
        };
        Ok(self.caches.remember_rules(account, rules, now, seen))
    }
}
