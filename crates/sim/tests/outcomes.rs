//! Commits whose outcome is not known, and clients that go away.

use std::sync::Arc;

use base::{Doors, SeededRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::Keyring;
use meta::CommitError;
use sim::Whole;
use sites::Pool;
use store::api::{ObjectMeta, ReadRange, WriteCondition};
use store::{Options, Store};

/// More than a pack takes, so that the body has a blob of its own.
const LARGE: usize = 3 << 20;

async fn store(meta: Arc<meta::Memory>) -> Store {
    let doors = Doors::system();
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let keyring = Keyring::ephemeral(&SeededRng::new(1));
    let options = Options { background: false, ..Options::new(doors) };
    let root = ("root".to_owned(), "secret".to_owned());
    let store = Store::open(meta, pool, keyring, root, options).await.expect("the store opens");
    store.create_bucket("bbb", "root", false).await.expect("a bucket");
    store
}

fn body(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 / 7) as u8).collect::<Vec<_>>().into()
}

async fn put(store: &Store, body: &Bytes) -> Result<(), store::Error> {
    put_as(store, "key", body).await
}

async fn put_as(store: &Store, key: &str, body: &Bytes) -> Result<(), store::Error> {
    let mut source = Whole(Some(body.clone()));
    let (meta, condition) = (ObjectMeta::default(), WriteCondition::default());
    store.put("bbb", key, meta, body.len() as u64, &condition, &mut source).await.map(drop)
}

async fn read(store: &Store) -> Vec<u8> {
    let reader = store.open_object("bbb", "key", None, None).await.expect("the object");
    let stream = reader.read(ReadRange::All).await.expect("a stream");
    stream.try_collect::<Vec<Bytes>>().await.expect("its bytes").concat()
}

#[tokio::test]
async fn an_unknown_outcome_takes_back_no_shard_of_a_visible_object() {
    for len in [1000, LARGE] {
        let meta = Arc::new(meta::Memory::new());
        let store = store(meta.clone()).await;
        let body = body(len);
        // The portion is there, with room under its key: only the object is committed below.
        put_as(&store, "first", &body).await.expect("a healthy write");
        // It is written all the same: the harder of the two outcomes.
        meta.set_fault(Some(CommitError::Unknown("the disk went away".to_owned())));
        assert!(put(&store, &body).await.is_err(), "{len}: the outcome is not known");
        meta.set_fault(None);
        // Ends what was begun in the background, discarding among it.
        store.shutdown().await;
        assert!(read(&store).await == body, "{len} bytes");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_whole_object_or_nothing() {
    for polls in 0..60 {
        let store = store(Arc::new(meta::Memory::new())).await;
        let body = body(LARGE);
        {
            let mut put = std::pin::pin!(put(&store, &body));
            for _ in 0..polls {
                if futures::poll!(put.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        store.shutdown().await;
        match store.open_object("bbb", "key", None, None).await {
            Err(store::Error::NoSuchKey) => {}
            Ok(_) => assert!(read(&store).await == body, "after {polls} polls"),
            Err(error) => panic!("after {polls} polls: {error}"),
        }
    }
}
