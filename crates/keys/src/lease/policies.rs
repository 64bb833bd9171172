//! Documents of release policies, as they are stored.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base::AccountId;
use meta::record::{Record, ReleasePolicyRecord, key};
use meta::{Batch, Check, Version, Write, each_row};
use release::Policies;

use crate::error::PortionError;
use crate::portions::Portions;

/// Bytes of a document: a request of the admin API carries it whole.
const DOCUMENT_MAX: usize = 48 * 1024;
/// Documents of an account.
const DOCUMENTS_MAX: usize = 256;
/// Bytes of a document's name.
const NAME_MAX: usize = 128;

/// Policies, and when their documents were read, milliseconds since the Unix epoch.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) policies: Arc<dyn Policies>,
    pub(crate) at_ms: u64,
}

/// Which documents policies were parsed of: name and version of each row.
pub(crate) type Stamp = Vec<(String, Version)>;

fn check_name(name: &str) -> Result<(), PortionError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(fine) {
        return Err(PortionError::Invalid("a release policy's name has 1 to 128 characters of A-Z a-z 0-9 . _ -"));
    }
    Ok(())
}

impl Portions {
    /// The documents of an account by name: name, text, and when it was put.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn release_policies(
        &self,
        account: AccountId,
    ) -> Result<Vec<(String, ReleasePolicyRecord)>, PortionError> {
        let mut documents = Vec::new();
        each_row(self.meta.as_ref(), key::release_policies(account), |row_key, row| {
            let name = String::from_utf8_lossy(key::after_account(row_key).unwrap_or_default()).into_owned();
            documents.push((name, ReleasePolicyRecord::decode(&row.value)?));
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(documents)
    }

    /// The same, with the version of each row.
    async fn documents(&self, account: AccountId) -> Result<Vec<(String, String, Version)>, PortionError> {
        let mut documents = Vec::new();
        each_row(self.meta.as_ref(), key::release_policies(account), |row_key, row| {
            let name = String::from_utf8_lossy(key::after_account(row_key).unwrap_or_default()).into_owned();
            documents.push((name, ReleasePolicyRecord::decode(&row.value)?.document, row.version));
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(documents)
    }

    /// The documents as they would be with this one put, or taken away.
    ///
    /// # Errors
    /// [`PortionError::Policies`], or a metadata error.
    pub async fn release_rules_with(
        &self,
        account: AccountId,
        name: &str,
        text: Option<&str>,
    ) -> Result<Arc<dyn Policies>, PortionError> {
        let others = self.release_policies(account).await?;
        let others = others.iter().filter(|(other, _)| other != name);
        let texts = others.map(|(name, record)| (name.as_str(), record.document.as_str()));
        let texts: Vec<_> = texts.chain(text.map(|text| (name, text))).collect();
        Ok(self.language.parse(&texts)?)
    }

    /// Puts a document, in place of one of the same name. It counts here at once, elsewhere when the lease is over.
    ///
    /// # Errors
    /// [`PortionError::Policies`], [`PortionError::Invalid`], [`PortionError::Unrecorded`], or a metadata error.
    pub async fn put_release_policy(&self, account: AccountId, name: &str, text: &str) -> Result<(), PortionError> {
        check_name(name)?;
        if text.len() > DOCUMENT_MAX {
            return Err(PortionError::Invalid("a release policy document has at most 48 KiB; split it"));
        }
        self.language.parse(&[(name, text)])?;
        let documents = self.release_policies(account).await?;
        if documents.len() >= DOCUMENTS_MAX && !documents.iter().any(|(known, _)| known == name) {
            return Err(PortionError::Invalid("an account has at most 256 release policy documents"));
        }
        let record = ReleasePolicyRecord { document: text.to_owned(), modified_ms: self.now_ms() };
        let writes = vec![Write::Put(key::release_policy_key(account, name), record.encode())];
        let hash = hex::encode(digest(&SHA256, text.as_bytes()));
        let event = |action| self.event_of_policy(account, action, name).with("sha256", &hash);
        self.announce(event("release-policy:putting")).await?;
        let put = self.commit_once(Batch { checks: vec![], writes }).await;
        self.caches.forget_releases(account);
        self.tell_end(&put, event("release-policy:put")).await;
        put
    }

    /// Takes a document away.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPolicy`], [`PortionError::Unrecorded`], or a metadata error.
    pub async fn delete_release_policy(&self, account: AccountId, name: &str) -> Result<(), PortionError> {
        let row_key = key::release_policy_key(account, name);
        if self.record::<ReleasePolicyRecord>(row_key.clone()).await?.is_none() {
            return Err(PortionError::NoSuchPolicy(name.to_owned()));
        }
        self.announce(self.event_of_policy(account, "release-policy:deleting", name)).await?;
        let batch = Batch { checks: vec![Check::Present(row_key.clone())], writes: vec![Write::Delete(row_key)] };
        let deleted = self.commit_once(batch).await;
        self.caches.forget_releases(account);
        self.tell_end(&deleted, self.event_of_policy(account, "release-policy:delete", name)).await;
        deleted
    }

    /// All policies of an account, parsed; what was read counts for a lease.
    ///
    /// # Errors
    /// [`PortionError::Policies`] for stored documents that this version does not take: nothing is released by guess.
    pub(crate) async fn release_rules(&self, account: AccountId) -> Result<Known, PortionError> {
        let now = self.now_ms();
        if let Some(known) = self.caches.policies(account, now) {
            return Ok(known);
        }
        let seen = self.caches.generation();
        let documents = self.documents(account).await?;
        // Parsing takes a second for ten thousand policies: not again for what has not changed.
        let stamp: Stamp = documents.iter().map(|(name, _, version)| (name.clone(), *version)).collect();
        if let Some(known) = self.caches.renew_policies(account, &stamp, now, seen) {
            return Ok(known);
        }
        let texts: Vec<_> = documents.iter().map(|(name, text, _)| (name.as_str(), text.as_str())).collect();
        let known = Known { policies: self.language.parse(&texts)?, at_ms: now };
        self.caches.remember_policies(account, known.clone(), stamp, seen);
        Ok(known)
    }

    fn event_of_policy(&self, account: AccountId, action: &'static str, name: &str) -> crate::audit::AuditEvent {
        self.event(account, action, format!("release-policy/{name}"))
    }
}
