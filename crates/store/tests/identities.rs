//! Users, groups and sessions while others change them.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use base::AccountId;
use meta::record::key;
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Range, Row, Write};
use parking_lot::Mutex;
use store::{Error, Store};

/// An engine in which somebody else is a moment faster, once.
#[derive(Default)]
struct Beaten {
    inner: Memory,
    before: Mutex<Option<Write>>,
}

#[async_trait]
impl Engine for Beaten {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.inner.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        let faster = self.before.lock().take();
        if let Some(write) = faster {
            self.inner.commit(Batch { checks: vec![], writes: vec![write] }).await.expect("a commit");
        }
        self.inner.commit_group(batches).await
    }
}

impl Beaten {
    /// Puts what is in the row `from` into the row `to` before the next commit.
    async fn before_next(&self, from: Key, to: Key) {
        let row = self.inner.get(&[from]).await.expect("a read").remove(0).expect("a row");
        *self.before.lock() = Some(Write::Put(to, row.value));
    }
}

async fn beaten() -> (Arc<Beaten>, Store) {
    let engine = Arc::new(Beaten::default());
    let store = common::store(engine.clone()).await;
    (engine, store)
}

#[tokio::test]
async fn a_group_that_changes_meanwhile_is_joined() {
    let (engine, store) = beaten().await;
    store.create_user("u", None).await.expect("a user");
    store.create_group("g").await.expect("a group");
    let row = key::group_key(AccountId::DEFAULT, "g");
    engine.before_next(row.clone(), row).await;
    assert_eq!(store.join_group("u", "g").await.expect("a member").groups, ["g"]);
}

#[tokio::test]
async fn a_key_that_is_taken_meanwhile_is_told() {
    let (engine, store) = beaten().await;
    let (other, _) = store.create_user("v", None).await.expect("a user");
    store.create_user("u", None).await.expect("a user");
    engine.before_next(key::access_key_key(&other.access_key), key::access_key_key("WANTED")).await;
    let wanted = Some(("WANTED".to_owned(), "a-long-enough-secret".to_owned()));
    assert!(matches!(store.create_access_key("u", wanted).await, Err(Error::UserExists(key)) if key == "WANTED"));
}

/// Of a group that is gone no trace is told, nor counted; one made again under its name is another.
#[tokio::test]
async fn memberships_end_with_their_groups() {
    let (_, store) = beaten().await;
    store.create_user("u", None).await.expect("a user");
    for number in 0..10 {
        store.create_group(&format!("g{number}")).await.expect("a group");
        store.join_group("u", &format!("g{number}")).await.expect("a member");
    }
    store.create_group("more").await.expect("a group");
    assert!(matches!(store.join_group("u", "more").await, Err(Error::Invalid(_))), "an eleventh");
    for number in 0..10 {
        store.delete_group(&format!("g{number}")).await.expect("gone");
    }
    store.create_group("g0").await.expect("a group");
    assert!(store.user("u").await.expect("a user").groups.is_empty());
    assert!(store.users().await.expect("users").iter().all(|user| user.groups.is_empty()));
    assert_eq!(store.join_group("u", "more").await.expect("a member").groups, ["more"]);
}

/// An access key that got another secret is another key: what the old one made ends with it.
#[tokio::test]
async fn a_session_ends_with_the_secret_that_made_it() {
    let (_, store) = beaten().await;
    let pair = |secret: &str| Some(("KEY".to_owned(), secret.to_owned()));
    store.create_user("u", pair("the-first-secret")).await.expect("a user");
    let (_, principal) = store.authenticate("KEY").await.expect("a read").expect("a key");
    let made = store.create_session("KEY", &principal, None, 900).await.expect("a session");
    let acts =
        async || store.session_principal(&made.access_key, &made.token).await.map(|found| found.name().to_owned());
    assert_eq!(acts().await.expect("a principal"), "u");
    store.delete_access_key("u", "KEY").await.expect("gone");
    assert!(matches!(acts().await, Err(Error::InvalidToken)));
    store.create_access_key("u", pair("the-second-secret")).await.expect("a key");
    assert!(matches!(acts().await, Err(Error::InvalidToken)));
}
