//! From an access key to its secret and to whom it acts for.

use base::AccountId;
use meta::record::{AccessKeyRecord, GroupRecord, InlinePolicy, Membership, Record, UserRecord, key};
use meta::{Key, Version};
use policy::{Kind, Policy};

use crate::principal::{Attached, Identity, Origin, Principal, ROOT};
use crate::session::TEMPORARY_PREFIX;
use crate::{Error, Store};

/// Cached principals; past it the cache is emptied.
const CACHE_MAX: usize = 1_000;
/// Alphabet of made-up access keys: easy to read aloud.
const ACCESS_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What an access key leads to, and the rows that say so.
pub(crate) struct CachedUser {
    /// Each row that was read, with its version; `None` where there was none.
    rows: Vec<(Key, Option<Version>)>,
    secret: String,
    principal: Principal,
}

fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(ACCESS_ALPHABET[usize::from(byte % 32)])).collect()
}

/// An id that is never drawn again: a prefix of four letters and 80 random bits in sixteen.
pub(crate) fn unique_id(prefix: &str, rng: &dyn base::Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    format!("{prefix}{}", letters(&bytes))
}

/// A made-up access key (20 characters) and secret (40 characters).
pub fn new_credentials(rng: &dyn base::Rng) -> (String, String) {
    let mut bytes = [0; 46];
    rng.fill(&mut bytes);
    // 16 x 5 bits name the user; 30 bytes, 240 bits, are the secret.
    let mut secret = String::with_capacity(40);
    const SECRET_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for triple in bytes[16..].chunks_exact(3) {
        let bits = u32::from(triple[0]) << 16 | u32::from(triple[1]) << 8 | u32::from(triple[2]);
        for shift in [18, 12, 6, 0] {
            secret.push(char::from(SECRET_ALPHABET[(bits >> shift & 63) as usize]));
        }
    }
    (format!("HFAK{}", letters(&bytes[..16])), secret)
}

pub(crate) fn check_credentials(access_key: &str, secret: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !(3..=64).contains(&access_key.len()) || !access_key.chars().all(fine) {
        return Err(Error::Invalid("an access key has 3 to 64 characters of A-Z a-z 0-9 . _ -"));
    }
    if access_key.starts_with(TEMPORARY_PREFIX) {
        return Err(Error::Invalid("an access key that begins with HFTS is a temporary one; choose another"));
    }
    if !(8..=128).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Invalid("a secret key has 8 to 128 printable ASCII characters"));
    }
    Ok(())
}

/// A user among those of all tenants: what a sealed secret is bound to. No user name has a slash in it.
pub(crate) fn owner(account: AccountId, user: &str) -> String {
    keys::secret_name(account, user)
}

impl Store {
    /// The secret and the principal behind an access key; `None` when there is none, or it is
    /// disabled. The rows of key, user and groups are read each time, so that what was taken away
    /// is gone at once; unsealing and parsing are cached. Temporary credentials are not looked
    /// for here: see [`Self::session_principal`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a stored policy that cannot be read, a metadata or key error.
    pub async fn authenticate(&self, access_key: &str) -> Result<Option<(String, Principal)>, Error> {
        if access_key == self.0.root.0 {
            return Ok(Some((self.0.root.1.clone(), self.0.root_principal.clone())));
        }
        if let Some(known) = self.still_cached(access_key).await? {
            return Ok(Some(known));
        }
        let Some(fresh) = self.look_up(access_key).await? else { return Ok(None) };
        let answer = (fresh.secret.clone(), fresh.principal.clone());
        let mut users = self.0.users.lock();
        if users.len() >= CACHE_MAX {
            users.clear();
        }
        users.insert(access_key.to_owned(), fresh);
        Ok(Some(answer))
    }

    async fn still_cached(&self, access_key: &str) -> Result<Option<(String, Principal)>, Error> {
        let cached = self.0.users.lock().get(access_key).map(|cached| cached.rows.clone());
        let Some(rows) = cached else { return Ok(None) };
        let keys: Vec<Key> = rows.iter().map(|(row_key, _)| row_key.clone()).collect();
        let found = self.rows(&keys).await?;
        let found = found.iter().map(|row| row.as_ref().map(|row| row.version));
        let same = found.eq(rows.iter().map(|(_, version)| *version));
        let users = self.0.users.lock();
        // Another request may have put a newer one there meanwhile, which is as good.
        let cached = users.get(access_key).filter(|cached| same && cached.rows == rows);
        Ok(cached.map(|cached| (cached.secret.clone(), cached.principal.clone())))
    }

    async fn look_up(&self, access_key: &str) -> Result<Option<CachedUser>, Error> {
        let key_key = key::access_key_key(access_key);
        let Some(key_row) = self.row(key_key.clone()).await? else { return Ok(None) };
        let record = AccessKeyRecord::decode(&key_row.value)?;
        let home = self.of(record.account);
        let name_key = key::user_name_key(record.account, &record.user);
        let Some(name_row) = self.row(name_key.clone()).await? else { return Ok(None) };
        let Some(user) = home.user_in(&name_row.value).await? else { return Ok(None) };
        if !user.keys.iter().any(|entry| entry.access_key == access_key && entry.enabled) {
            return Ok(None);
        }
        let owner = owner(record.account, &record.user);
        let secret = self.0.keys.open_secret(&owner, &record.sealed_secret)?.to_string();
        let mut rows = vec![(key_key, Some(key_row.version)), (name_key, Some(name_row.version))];
        let identity = match record.user.as_str() {
            ROOT => Identity::root(record.account),
            name => {
                let groups = home.groups_of(&user.groups, &mut rows).await?;
                identity(record.account, name, user, groups)?
            }
        };
        Ok(Some(CachedUser { rows, secret, principal: Principal::new(identity).by_key(access_key) }))
    }

    /// The root of the account.
    pub fn root_of_account(&self) -> Principal {
        Principal::new(Identity::root(self.account()))
    }

    /// A user's principal, as its own requests would have it.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], or as [`Self::authenticate`].
    pub async fn principal_of(&self, name: &str) -> Result<Principal, Error> {
        let (user, _) = self.found_user(name).await?;
        if name == ROOT {
            return Ok(self.root_of_account());
        }
        let groups = self.groups_of(&user.groups, &mut Vec::new()).await?;
        Ok(Principal::new(identity(self.account(), name, user, groups)?))
    }

    /// The groups among these that are still there, and the rows that say so.
    pub(crate) async fn groups_of(
        &self,
        memberships: &[Membership],
        rows: &mut Vec<(Key, Option<Version>)>,
    ) -> Result<Vec<(String, GroupRecord)>, Error> {
        let keys: Vec<Key> = memberships.iter().map(|group| key::group_key(self.account(), &group.name)).collect();
        let found = self.0.meta.get(&keys).await?;
        let mut groups = Vec::new();
        for ((membership, row_key), row) in memberships.iter().zip(keys).zip(found) {
            rows.push((row_key, row.as_ref().map(|row| row.version)));
            let Some(row) = row else { continue };
            let group = GroupRecord::decode(&row.value)?;
            if group.id == membership.id {
                groups.push((membership.name.clone(), group));
            }
        }
        Ok(groups)
    }
}

/// A user with what its groups give it.
fn identity(
    account: AccountId,
    name: &str,
    user: UserRecord,
    groups: Vec<(String, GroupRecord)>,
) -> Result<Identity, Error> {
    let mut grants: Vec<_> = user.grants.into_iter().map(|grant| (None, grant)).collect();
    let mut policies = attached(name, None, &user.policies)?;
    let names = groups.iter().map(|(group, _)| group.clone()).collect();
    let grouped_ms = groups.iter().map(|(_, group)| group.created_ms).max().unwrap_or_default();
    for (group, record) in groups {
        grants.extend(record.grants.into_iter().map(|grant| (Some(group.clone()), grant)));
        policies.extend(attached(name, Some(group), &record.policies)?);
    }
    Ok(Identity {
        account,
        account_text: account.to_string(),
        name: name.to_owned(),
        id: user.id,
        is_root: false,
        created_ms: user.created_ms,
        keys: user.keys.into_iter().map(|key| (key.access_key, key.created_ms)).collect(),
        grouped_ms,
        groups: names,
        grants,
        policies,
    })
}

/// Parses inline policies. One that cannot be read may deny something: its bearer gets nothing.
fn attached(user: &str, origin: Origin, policies: &[InlinePolicy]) -> Result<Vec<Attached>, Error> {
    let parse = |inline: &InlinePolicy| {
        let policy = Policy::stored(inline.document.as_bytes(), Kind::Identity);
        let policy = policy.map_err(|error| {
            Error::Corrupt(format!("the stored policy {} that bears on user {user}: {error}", inline.name))
        })?;
        Ok(Attached { origin: origin.clone(), name: inline.name.clone(), policy })
    };
    policies.iter().map(parse).collect()
}
