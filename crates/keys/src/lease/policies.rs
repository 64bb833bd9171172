//! Documents of release policies, as they are stored.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base::AccountId;
use meta::record::{Record, ReleasePolicyRecord, key};
use meta::{Batch, Check, Version, Write, each_row};
use parking_lot::Mutex;
use release::{Mistakes, Policies};

use crate::error::PortionError;
use crate::portions::Portions;

/// Bytes of a document: a request of the admin API carries it whole.
const DOCUMENT_MAX: usize = 48 * 1024;
/// Documents of an account.
const DOCUMENTS_MAX: usize = 256;
/// Bytes of a document's name.
const NAME_MAX: usize = 128;

/// Accounts whose turns are kept though nobody has one.
const TURNS_MAX: usize = 1_000;

/// Policies, and when their documents were read, milliseconds since the Unix epoch.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) policies: Result<Arc<dyn Policies>, Unreadable>,
    pub(crate) at_ms: u64,
}

/// Stored documents have mistakes, which were told in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Whose turn it is to parse an account's documents.
#[derive(Default)]
pub(crate) struct Parsers(Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>);

impl Parsers {
    fn of(&self, account: AccountId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock();
        if turns.len() >= TURNS_MAX {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        turns.entry(account).or_default().clone()
    }
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
        if let Some(text) = text {
            self.check_document(name, text).await?;
        }
        let others = self.release_policies(account).await?.into_iter().filter(|(other, _)| other != name);
        let texts = others.map(|(name, record)| (name, record.document));
        let texts = texts.chain(text.map(|text| (name.to_owned(), text.to_owned()))).collect();
        Ok(self.parse(texts).await??)
    }

    /// What a document must be to be put: without mistakes, and not without a policy.
    async fn check_document(&self, name: &str, text: &str) -> Result<(), PortionError> {
        match self.parse(vec![(name.to_owned(), text.to_owned())]).await??.is_empty() {
            true => Err(Mistakes::no_policy(name).into()),
            false => Ok(()),
        }
    }

    /// The stored documents, parsed for who can put their mistakes right.
    ///
    /// # Errors
    /// [`PortionError::Policies`], or a metadata error.
    pub(crate) async fn parsed_anew(&self, account: AccountId) -> Result<Arc<dyn Policies>, PortionError> {
        let documents = self.release_policies(account).await?;
        Ok(self.parse(documents.into_iter().map(|(name, record)| (name, record.document)).collect()).await??)
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
        self.check_document(name, text).await?;
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

    /// All policies of an account, parsed; what was read counts for a lease. Stored documents that this version does not
    /// take are [`Unreadable`]: nothing is released by guess.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn release_rules(&self, account: AccountId) -> Result<Known, PortionError> {
        self.on_lease_to_open().await?;
        let now = self.now_ms();
        if let Some(known) = self.caches.policies(account, now) {
            return Ok(known);
        }
        let seen = self.caches.generation(account);
        let documents = self.documents(account).await?;
        // Parsing takes a second for ten thousand policies: not again for what has not changed.
        let stamp: Stamp = documents.iter().map(|(name, _, version)| (name.clone(), *version)).collect();
        if let Some(known) = self.caches.parsed(account, &stamp, now, seen) {
            return Ok(known);
        }
        // Of many who wait for the same, one parses.
        let turn = self.parsers.of(account).lock_owned().await;
        if let Some(known) = self.caches.parsed(account, &stamp, now, seen) {
            return Ok(known);
        }
        // What is parsed is remembered though nobody waits for it any more: clients that hang up soon would else have it done again
        // and again.
        let this = self.clone();
        let parsing = tokio::spawn(async move {
            let _turn = turn;
            let texts = documents.into_iter().map(|(name, text, _)| (name, text)).collect();
            let policies = this.parse(texts).await?.map_err(|mistakes| {
                tracing::error!(
                    %account,
                    "stored release policies have mistakes, so nothing of this account is released; put them right \
                     (`holdfast policy put`): {mistakes}"
                );
                Unreadable
            });
            let known = Known { policies, at_ms: now };
            this.caches.remember_policies(account, &known, stamp, seen);
            Ok(known)
        });
        parsing.await.unwrap_or(Err(PortionError::UnreadablePolicies))
    }

    /// Parses documents, names and texts, on a thread that serves nobody else meanwhile.
    async fn parse(
        &self,
        documents: Vec<(String, String)>,
    ) -> Result<Result<Arc<dyn Policies>, Mistakes>, PortionError> {
        let language = self.language.clone();
        let parse = move || {
            let texts: Vec<_> = documents.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            language.parse(&texts)
        };
        tokio::task::spawn_blocking(parse).await.map_err(|error| {
            tracing::error!(%error, "release policies could not be parsed");
            PortionError::UnreadablePolicies
        })
    }

    fn event_of_policy(&self, account: AccountId, action: &'static str, name: &str) -> crate::audit::AuditEvent {
        self.event(account, action, format!("release-policy/{name}"))
    }
}
