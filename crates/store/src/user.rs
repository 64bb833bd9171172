//! Users and their rights.

use meta::record::{Record, Right, UserRecord, key};
use meta::{Batch, Check, CommitError, Range, Version, Write};

use crate::api::{Grant, Principal, UserInfo};
use crate::bucket::after;
use crate::store::CachedUser;
use crate::{Error, Store};

/// Most users: they are read whole to find one by name.
const USERS_MAX: usize = 10_000;
/// Cached secrets; past it the cache is emptied.
const CACHE_MAX: usize = 1_000;
/// Alphabet of made-up access keys: easy to read aloud.
const ACCESS_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A made-up access key (20 characters) and secret (40 characters).
pub fn new_credentials(rng: &dyn base::Rng) -> (String, String) {
    let mut bytes = [0; 46];
    rng.fill(&mut bytes);
    let letters = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| char::from(ACCESS_ALPHABET[usize::from(byte % 32)])).collect()
    };
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

fn info(access_key: &str, record: UserRecord) -> UserInfo {
    UserInfo {
        name: record.name,
        access_key: access_key.to_owned(),
        created_ms: record.created_ms,
        grants: record.grants,
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) || name == "root" {
        return Err(Error::Invalid("a user name has 1 to 64 characters of A-Z a-z 0-9 . _ @ + - and is not `root`"));
    }
    Ok(())
}

fn check_credentials(access_key: &str, secret: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !(3..=64).contains(&access_key.len()) || !access_key.chars().all(fine) {
        return Err(Error::Invalid("an access key has 3 to 64 characters of A-Z a-z 0-9 . _ -"));
    }
    if !(8..=128).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Invalid("a secret key has 8 to 128 printable ASCII characters"));
    }
    Ok(())
}

impl Store {
    /// Makes a user without rights; makes up credentials where none are given. Returns the
    /// secret: it is told this once.
    ///
    /// # Errors
    /// [`Error::UserExists`], [`Error::Invalid`], or a metadata error.
    pub async fn create_user(
        &self,
        name: &str,
        credentials: Option<(String, String)>,
    ) -> Result<(UserInfo, String), Error> {
        check_name(name)?;
        let rng = self.0.options.doors.rng.as_ref();
        let (access_key, secret) = credentials.unwrap_or_else(|| new_credentials(rng));
        check_credentials(&access_key, &secret)?;
        if self.find_user(name).await?.is_some() {
            return Err(Error::UserExists(name.to_owned()));
        }
        if access_key == self.0.root.0 {
            return Err(Error::UserExists(access_key));
        }
        let record = UserRecord {
            name: name.to_owned(),
            sealed_secret: self.0.keys.seal_secret(name, &secret, rng)?,
            created_ms: self.now_ms(),
            grants: Vec::new(),
        };
        let batch = Batch {
            // The second row keeps names unique even when two are made at once.
            checks: vec![Check::Absent(key::user_key(&access_key)), Check::Absent(key::user_name_key(name))],
            writes: vec![
                Write::Put(key::user_key(&access_key), record.encode()),
                Write::Put(key::user_name_key(name), access_key.clone().into()),
            ],
        };
        match self.0.meta.commit(batch).await {
            Ok(()) => Ok((info(&access_key, record), secret)),
            Err(CommitError::Failed { check: 0 }) => Err(Error::UserExists(access_key)),
            Err(CommitError::Failed { .. }) => Err(Error::UserExists(name.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// All users, by access key.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn users(&self) -> Result<Vec<UserInfo>, Error> {
        let mut users = Vec::new();
        let (mut from, to) = key::users();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1000 }).await?;
            for (key, row) in &page.rows {
                let access_key = String::from_utf8_lossy(&key[2..]);
                users.push(info(&access_key, UserRecord::decode(&row.value)?));
            }
            match page.rows.last() {
                Some((last, _)) if page.more && users.len() < USERS_MAX => from = after(last),
                _ => return Ok(users),
            }
        }
    }

    async fn find_user(&self, name: &str) -> Result<Option<(String, UserRecord, Version)>, Error> {
        let Some(row) = self.row(key::user_name_key(name)).await? else { return Ok(None) };
        let access_key = String::from_utf8_lossy(&row.value).into_owned();
        let found = self.record::<UserRecord>(key::user_key(&access_key)).await?;
        Ok(found.map(|(record, version)| (access_key, record, version)))
    }

    /// Removes a user: the next request with its key is refused.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], or a metadata error.
    pub async fn delete_user(&self, name: &str) -> Result<(), Error> {
        let found = self.find_user(name).await?;
        let (access_key, _, version) = found.ok_or_else(|| Error::NoSuchUser(name.to_owned()))?;
        let batch = Batch {
            checks: vec![Check::Is(key::user_key(&access_key), version)],
            writes: vec![Write::Delete(key::user_key(&access_key)), Write::Delete(key::user_name_key(name))],
        };
        self.0.meta.commit(batch).await.map_err(contended)?;
        self.0.users.lock().remove(&access_key);
        Ok(())
    }

    /// Sets a user's right on a bucket (`*` for all); `None` takes it away.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::Contended`], or a metadata error.
    pub async fn grant(&self, name: &str, bucket: &str, right: Option<Right>) -> Result<UserInfo, Error> {
        if bucket.is_empty() || bucket.len() > 63 {
            return Err(Error::Invalid("a grant names a bucket, or * for all"));
        }
        let found = self.find_user(name).await?;
        let (access_key, mut record, version) = found.ok_or_else(|| Error::NoSuchUser(name.to_owned()))?;
        record.grants.retain(|grant| grant.bucket != bucket);
        record.grants.extend(right.map(|right| Grant { bucket: bucket.to_owned(), right }));
        if record.grants.len() > 1000 {
            return Err(Error::Invalid("a user has at most 1,000 grants; use * or another user"));
        }
        let batch = Batch {
            checks: vec![Check::Is(key::user_key(&access_key), version)],
            writes: vec![Write::Put(key::user_key(&access_key), record.encode())],
        };
        self.0.meta.commit(batch).await.map_err(contended)?;
        Ok(info(&access_key, record))
    }

    /// The secret and the principal behind an access key; `None` when there is none. The row is
    /// read each time, so that a deleted user is out at once; only the unsealing is cached.
    ///
    /// # Errors
    /// A metadata or key error.
    pub async fn authenticate(&self, access_key: &str) -> Result<Option<(String, Principal)>, Error> {
        if access_key == self.0.root.0 {
            return Ok(Some((self.0.root.1.clone(), Principal::Root)));
        }
        let Some(row) = self.row(key::user_key(access_key)).await? else { return Ok(None) };
        if let Some(user) = self.0.users.lock().get(access_key)
            && user.version == row.version
        {
            return Ok(Some((user.secret.clone(), user.principal.clone())));
        }
        let record = UserRecord::decode(&row.value)?;
        let secret = self.0.keys.open_secret(&record.name, &record.sealed_secret)?.to_string();
        let principal = Principal::User { name: record.name, grants: record.grants };
        let mut users = self.0.users.lock();
        if users.len() >= CACHE_MAX {
            users.clear();
        }
        let cached = CachedUser { version: row.version, secret: secret.clone(), principal: principal.clone() };
        users.insert(access_key.to_owned(), cached);
        Ok(Some((secret, principal)))
    }
}

fn contended(error: CommitError) -> Error {
    match error {
        CommitError::Failed { .. } => Error::Contended,
        other => other.into(),
    }
}
