//! A tenant's key, which wraps the keys of its portions, and is wrapped by the root key; or it takes a half that is, and
//! one that somebody else holds.

use base::{AccountId, Rng};
use envelope::{EnvelopeError, Kek, Locked, Point, WrappedKey, open_small, seal_small};
use meta::record::{HeldRecord, OlderKey, TenantKeyRecord};
use zeroize::Zeroizing;

use crate::quorum::ShareName;
use crate::wrap::{KeyName, PortionKey};
use crate::{KeyError, Keyring, wrapped_key};

/// A tenant's key, unwrapped.
pub struct TenantKey {
    account: AccountId,
    kek: Kek,
    /// Keys that were the tenant's before, the latest first. They open what is still under them, and wrap nothing.
    older: Vec<Kek>,
}

impl Keyring {
    /// A fresh key for a tenant, and how it is stored.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn new_tenant_key(&self, account: AccountId, rng: &dyn Rng) -> Result<(TenantKey, Vec<u8>), KeyError> {
        let kek = Kek::generate(rng);
        let wrapped = self.root.wrap_kek(&tenant_context(account), &kek)?;
        Ok((TenantKey { account, kek, older: Vec::new() }, wrapped.0.to_vec()))
    }

    /// Whether a tenant's row is under this root key. A half that somebody else holds is not asked for.
    pub fn opens_tenant(&self, account: AccountId, record: &TenantKeyRecord) -> bool {
        self.under_root(account, record).is_ok()
    }

    fn under_root(&self, account: AccountId, record: &TenantKeyRecord) -> Result<Kek, KeyError> {
        Ok(self.root.unwrap_kek(&root_context(account, record.held.is_some()), &wrapped_key(&record.wrapped)?)?)
    }

    /// A tenant's key from its row, and the half that somebody else holds if one does.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when the root key or the half is another one, the half is missing, or the record is damaged.
    pub(crate) fn tenant_key_of(
        &self,
        account: AccountId,
        record: &TenantKeyRecord,
        half: Option<&Locked>,
    ) -> Result<TenantKey, KeyError> {
        let kek = self.under_root(account, record)?;
        let kek = match (&record.held, half) {
            (None, _) => kek,
            (Some(held), Some(half)) => {
                let kek = kek.combined_with_half(&halves_context(account), half)?;
                must_be_held_so(&kek, account, held)?;
                kek
            }
            (Some(_), None) => return Err(KeyError::Wrong(EnvelopeError::Refused)),
        };
        let older = older_of(&kek, account, record)?;
        Ok(TenantKey { account, kek, older })
    }

    /// A fresh key for a tenant that takes `half` to open, and the row that it makes of `record`. What the tenant's key
    /// was until now opens under the new one.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub(crate) fn held(
        &self,
        tenant: &TenantKey,
        record: &TenantKeyRecord,
        half: &Locked,
        held: HeldRecord,
        rng: &dyn Rng,
    ) -> Result<TenantKeyRecord, KeyError> {
        let account = tenant.account;
        let ours = Kek::generate(rng);
        let kek = ours.combined_with_half(&halves_context(account), half)?;
        let before = std::iter::once(held.since_ms).chain(record.older.iter().map(|older| older.until_ms));
        let keys = std::iter::once(&tenant.kek).chain(&tenant.older);
        let older = keys.zip(before).map(|(key, until_ms)| {
            let wrapped = kek.wrap_kek(&older_context(account), key)?.0.to_vec();
            Ok(OlderKey { until_ms, wrapped })
        });
        let older = older.collect::<Result<_, EnvelopeError>>()?;
        let verifier = kek.verifier(&held_context(account, held.lease_ms))?;
        let wrapped = self.root.wrap_kek(&root_context(account, true), &ours)?.0.to_vec();
        Ok(TenantKeyRecord {
            created_ms: record.created_ms,
            wrapped,
            held: Some(HeldRecord { verifier, ..held }),
            older,
        })
    }

    /// The row of a tenant's key that nobody else holds a half of any more. It stays the same key.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub(crate) fn released(&self, tenant: &TenantKey, record: &TenantKeyRecord) -> Result<TenantKeyRecord, KeyError> {
        let wrapped = self.root.wrap_kek(&root_context(tenant.account, false), &tenant.kek)?.0.to_vec();
        Ok(TenantKeyRecord { wrapped, held: None, ..record.clone() })
    }
}

impl TenantKey {
    /// The key itself.
    pub(crate) fn newest(&self) -> &Kek {
        &self.kek
    }

    /// The key, and those that were the tenant's before.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Kek> {
        std::iter::once(&self.kek).chain(&self.older)
    }

    /// What tells this key from others that are or were the tenant's, and nothing else about it.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub(crate) fn mark(&self) -> Result<[u8; 16], KeyError> {
        mark_of(&self.kek, self.account)
    }

    /// Whether it is the key of a row of which somebody else holds a half. It takes no half to say so.
    pub(crate) fn is_of(&self, record: &TenantKeyRecord) -> bool {
        let is_held_so = |held| must_be_held_so(&self.kek, self.account, held).is_ok();
        // Keys from before only go while the key stays the same.
        record.held.as_ref().is_some_and(is_held_so) && record.older.len() <= self.older.len()
    }

    /// A fresh version of a portion's key, and how it is stored.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn new_portion_key(&self, name: KeyName, rng: &dyn Rng) -> Result<(PortionKey, Vec<u8>), KeyError> {
        let kek = Kek::generate(rng);
        let wrapped = self.kek.wrap_kek(&self.portion_context(name), &kek)?;
        Ok((PortionKey::new(name, kek), wrapped.0.to_vec()))
    }

    /// A version of a portion's key from how it is stored.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when it is not this tenant's, or the record is damaged.
    pub fn portion_key(&self, name: KeyName, wrapped: &[u8]) -> Result<PortionKey, KeyError> {
        let (context, wrapped) = (self.portion_context(name), wrapped_key(wrapped)?);
        let kek = self.by_any(|kek| kek.unwrap_kek(&context, &wrapped))?;
        Ok(PortionKey::new(name, kek))
    }

    /// The wrap of a version of a portion's key anew, where it is under a key that was the tenant's before.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when it is under none of them.
    pub(crate) fn rewrapped(&self, name: KeyName, wrapped: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
        let (context, wrapped): (_, WrappedKey) = (self.portion_context(name), wrapped_key(wrapped)?);
        if self.kek.unwrap_kek(&context, &wrapped).is_ok() {
            return Ok(None);
        }
        let kek = self.by_any(|kek| kek.unwrap_kek(&context, &wrapped))?;
        Ok(Some(self.kek.wrap_kek(&context, &kek)?.0.to_vec()))
    }

    /// What the tenant's key opens, or else one that was it before.
    fn by_any<T>(&self, open: impl Fn(&Kek) -> Result<T, EnvelopeError>) -> Result<T, EnvelopeError> {
        let opened = open(&self.kek);
        self.older.iter().fold(opened, |opened, older| opened.or_else(|_| open(older)))
    }

    /// Seals a share of a version of a portion's key for the site with the point's number.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub(crate) fn seal_share(&self, name: &ShareName, point: &Point, rng: &dyn Rng) -> Result<Vec<u8>, KeyError> {
        Ok(seal_small(&self.kek, &self.share_context(name, point.number()), point.value(), rng)?)
    }

    /// Opens what [`Self::seal_share`] sealed.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] for a share of another key, set or site, or one that is damaged.
    pub(crate) fn open_share(&self, name: &ShareName, number: u8, sealed: &[u8]) -> Result<Point, KeyError> {
        let context = self.share_context(name, number);
        let plain = self.by_any(|kek| open_small(kek, &context, sealed))?;
        let mut value = Zeroizing::new([0; 32]);
        if plain.len() != value.len() {
            return Err(KeyError::Wrong(envelope::EnvelopeError::Refused));
        }
        value.copy_from_slice(&plain);
        Ok(Point::new(number, value))
    }

    /// The mark of the key that opens a share: this one's, or that of one that was the tenant's before.
    ///
    /// # Errors
    /// As [`Self::open_share`].
    pub(crate) fn mark_of_share(&self, name: &ShareName, number: u8, sealed: &[u8]) -> Result<[u8; 16], KeyError> {
        let context = self.share_context(name, number);
        let opens = |kek: &&Kek| open_small(kek, &context, sealed).is_ok();
        let kek = std::iter::once(&self.kek).chain(&self.older).find(opens);
        mark_of(kek.ok_or(KeyError::Wrong(EnvelopeError::Refused))?, self.account)
    }

    fn share_context(&self, name: &ShareName, number: u8) -> Vec<u8> {
        [b"share/1".as_slice(), &self.quorum_context(name)[8..], &[number]].concat()
    }

    /// What the verifier of a key in shares is for.
    pub(crate) fn quorum_context(&self, name: &ShareName) -> Vec<u8> {
        let (portion, version) = (name.key.portion, name.key.version);
        [b"quorum/1".as_slice(), &self.account.to_bytes(), portion.as_bytes(), &version.to_be_bytes(), &name.set]
            .concat()
    }

    fn portion_context(&self, name: KeyName) -> Vec<u8> {
        [b"portion/1".as_slice(), &self.account.to_bytes(), name.portion.as_bytes(), &name.version.to_be_bytes()]
            .concat()
    }
}

fn tenant_context(account: AccountId) -> Vec<u8> {
    [b"tenant/1".as_slice(), &account.to_bytes()].concat()
}

/// What the row of a tenant's key is under the root for: the whole key, or a half.
pub(crate) fn root_context(account: AccountId, is_half: bool) -> Vec<u8> {
    if is_half { [b"tenant-half/1".as_slice(), &account.to_bytes()].concat() } else { tenant_context(account) }
}

fn halves_context(account: AccountId) -> Vec<u8> {
    [b"halves/1".as_slice(), &account.to_bytes()].concat()
}

/// What tells a key of which a half is held elsewhere from others, and that it was held for so long at a time.
fn held_context(account: AccountId, lease_ms: u64) -> Vec<u8> {
    [b"halves/2".as_slice(), &account.to_bytes(), &lease_ms.to_be_bytes()].concat()
}

/// Whether a row tells the truth of a key and of how long its half counts.
fn must_be_held_so(kek: &Kek, account: AccountId, held: &HeldRecord) -> Result<(), KeyError> {
    // Rows from before did not vouch for the lease.
    let contexts = [held_context(account, held.lease_ms), halves_context(account)];
    match contexts.iter().any(|context| kek.is_verified_by(context, &held.verifier)) {
        true => Ok(()),
        false => Err(KeyError::Wrong(EnvelopeError::Refused)),
    }
}

fn older_of(kek: &Kek, account: AccountId, record: &TenantKeyRecord) -> Result<Vec<Kek>, KeyError> {
    let context = older_context(account);
    record.older.iter().map(|older| Ok(kek.unwrap_kek(&context, &wrapped_key(&older.wrapped)?)?)).collect()
}

fn mark_of(kek: &Kek, account: AccountId) -> Result<[u8; 16], KeyError> {
    let verifier = kek.verifier(&[b"mark/1".as_slice(), &account.to_bytes()].concat())?;
    let mut mark = [0; 16];
    mark.copy_from_slice(&verifier[..16]);
    Ok(mark)
}

fn older_context(account: AccountId) -> Vec<u8> {
    [b"older/1".as_slice(), &account.to_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{PortionId, SeededRng};

    #[test]
    fn keys_open_under_their_own_tenant_and_name() {
        let rng = SeededRng::new(3);
        let ring = Keyring::ephemeral(&rng);
        let account = AccountId::random(&rng);
        let (tenant, wrapped) = ring.new_tenant_key(account, &rng).unwrap();
        let row = TenantKeyRecord { created_ms: 0, wrapped, held: None, older: Vec::new() };
        assert!(ring.opens_tenant(account, &row));
        assert!(!ring.opens_tenant(AccountId::DEFAULT, &row));
        assert!(!Keyring::ephemeral(&rng).opens_tenant(account, &row));
        let half = Locked::copy_of(&[7; 32]);
        let held = HeldRecord {
            since_ms: 0,
            kind: "test".to_owned(),
            options: Default::default(),
            place: String::new(),
            kept: Vec::new(),
            lease_ms: 1,
            verifier: [0; 32],
        };
        let row = ring.held(&tenant, &row, &half, held, &rng).unwrap();
        assert!(ring.opens_tenant(account, &row), "whoever has the other half");
        assert!(!Keyring::ephemeral(&rng).opens_tenant(account, &row));
        let name = KeyName { portion: PortionId::random(&rng), version: 1 };
        let (_, wrapped) = tenant.new_portion_key(name, &rng).unwrap();
        assert!(tenant.portion_key(name, &wrapped).is_ok());
        assert!(tenant.portion_key(KeyName { version: 2, ..name }, &wrapped).is_err());
        let (other, _) = ring.new_tenant_key(AccountId::DEFAULT, &rng).unwrap();
        assert!(other.portion_key(name, &wrapped).is_err());
    }

    /// Rows from before do not vouch for the lease; those of now do.
    #[test]
    fn a_row_is_as_its_key_says() {
        let (account, kek) = (AccountId::DEFAULT, Kek::from_bytes([9; 32]));
        let held = |lease_ms, context: &[u8]| HeldRecord {
            since_ms: 1,
            kind: "k".to_owned(),
            options: Default::default(),
            place: "p".to_owned(),
            kept: vec![],
            lease_ms,
            verifier: kek.verifier(context).unwrap(),
        };
        // (how long the row says, what was vouched for, whether it is so)
        let table = [
            (300, held_context(account, 300), true),
            (301, held_context(account, 300), false),
            (300, halves_context(account), true),
            (300, held_context(AccountId::random(&SeededRng::new(1)), 300), false),
            (300, b"mark/1".to_vec(), false),
        ];
        for (lease_ms, context, is_so) in table {
            assert_eq!(must_be_held_so(&kek, account, &held(lease_ms, &context)).is_ok(), is_so, "{lease_ms}");
        }
    }

    /// The vectors of `docs/spec/wrap.md`.
    #[test]
    fn marks_and_verifiers_are_the_specified_ones() {
        let key = hex::decode("bf401525c9c1d80eac4f8be2bd0b2369b711ee9770d60f92a2488d2b34bf8147").unwrap();
        let kek = Kek::from_bytes(key.try_into().unwrap());
        let verifier = kek.verifier(&held_context(AccountId::DEFAULT, 300_000)).unwrap();
        assert_eq!(hex::encode(verifier), "f2e2d829b6813e1e1e2fb10e4e3e73ff3314a2484558a51672dce42eefebc7f9");
        assert_eq!(hex::encode(mark_of(&kek, AccountId::DEFAULT).unwrap()), "e2b28ab56e864c7c8c90d0eb5a1f5abd");
    }

    /// The vector of `docs/spec/quorum.md`.
    #[test]
    fn the_verifier_is_the_specified_one() {
        let tenant = TenantKey { account: AccountId::DEFAULT, kek: Kek::from_bytes([9; 32]), older: Vec::new() };
        let portion = PortionId::from_bytes(std::array::from_fn(|i| 0x40 + i as u8));
        let name = ShareName { key: KeyName { portion, version: 1 }, set: std::array::from_fn(|i| 0x50 + i as u8) };
        let key = Kek::from_bytes(std::array::from_fn(|i| i as u8));
        let verifier = key.verifier(&tenant.quorum_context(&name)).unwrap();
        assert_eq!(hex::encode(verifier), "c39c6af9149366cf9605b84938e5f88135e23c172ce5bca6d1e9e784d915e803");
    }

    #[test]
    fn a_share_opens_in_its_place_only() {
        let rng = SeededRng::new(4);
        let tenant = TenantKey { account: AccountId::DEFAULT, kek: Kek::generate(&rng), older: Vec::new() };
        let key = KeyName { portion: PortionId::random(&rng), version: 1 };
        let name = ShareName { key, set: [1; 16] };
        let point = Point::new(2, Zeroizing::new([7; 32]));
        let sealed = tenant.seal_share(&name, &point, &rng).unwrap();
        assert_eq!(sealed.len(), crate::quorum::SHARE_LEN);
        assert_eq!(tenant.open_share(&name, 2, &sealed).unwrap().value(), &[7; 32]);
        let other = TenantKey { account: AccountId::random(&rng), kek: Kek::generate(&rng), older: Vec::new() };
        assert!(other.open_share(&name, 2, &sealed).is_err());
        assert!(tenant.open_share(&name, 3, &sealed).is_err());
        assert!(tenant.open_share(&ShareName { set: [2; 16], ..name }, 2, &sealed).is_err());
        let next = ShareName { key: KeyName { version: 2, ..key }, ..name };
        assert!(tenant.open_share(&next, 2, &sealed).is_err());
    }
}
