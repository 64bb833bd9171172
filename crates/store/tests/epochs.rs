//! Epoch files of sites: out of reach at a start, on one device, and ended by a replacement.

use std::path::Path;
use std::sync::Arc;

use base::{AccountId, Doors, SeededRng};
use keys::{EncryptionContext, NewPortion, PortionClass, PortionError};
use meta::Memory;
use meta::record::Maker;
use sites::Pool;
use store::{Error, Options, Replace, Store};

const HOME: AccountId = AccountId::DEFAULT;

struct World {
    meta: Arc<Memory>,
    pool: Arc<Pool>,
    doors: Doors,
}

impl World {
    fn new() -> Self {
        let doors = Doors::system();
        Self { meta: Arc::new(Memory::new()), pool: Arc::new(Pool::in_memory(doors.clock.clone())), doors }
    }

    /// A start over what is there.
    async fn start(&self, epochs: &Path) -> Store {
        let files = std::array::from_fn(|slot| epochs.join(format!("dc{slot}")));
        let options = Options { background: false, epochs: Some(files), ..Options::new(self.doors.clone()) };
        let keyring = keys::Keyring::ephemeral(&SeededRng::new(1));
        let root = ("root".to_owned(), "rootroot".to_owned());
        Store::open(self.meta.clone(), self.pool.clone(), keyring, root, options).await.unwrap()
    }
}

fn quorum() -> NewPortion {
    NewPortion { class: PortionClass::Quorum, ..NewPortion::default() }
}

#[tokio::test]
async fn a_start_without_the_epoch_files_makes_none_and_goes_on_when_they_are_back() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let (here, away) = (dir.path().join("epochs"), dir.path().join("away"));
    let store = w.start(&here).await;
    let [warning] = &store.status().await.unwrap().warnings[..] else { panic!("one warning") };
    assert!(warning.contains("one device") && warning.contains("dc0, dc1, dc2, dc3, dc4"), "{warning}");
    let none = EncryptionContext::new();
    let id = store.portions().create(HOME, quorum(), Maker::Customer).await.unwrap().id;
    let sealed = store.portions().encrypt(HOME, id, &none, b"kept").await.unwrap();
    drop(store);

    std::fs::rename(&here, &away).unwrap();
    let store = w.start(&here).await;
    assert!(!here.exists(), "nothing is made where a disk should be");
    let told = store.portions().decrypt(HOME, None, &none, &sealed).await.map(drop).unwrap_err();
    assert!(matches!(&told, PortionError::KeyUnavailable { have: 0, .. }), "{told}");
    for part in ["epochs/dc0 is not there", "mount it", "site replace dc0"] {
        assert!(told.to_string().contains(part), "{part} in {told}");
    }
    // Nor is anything destroyed, or signed for.
    store.portions().switch(HOME, id, keys::Switch::Shred { days: 0 }).await.unwrap();
    assert!(matches!(store.portions().shred(HOME, id).await, Err(PortionError::SharesLeft { have: 0, .. })));
    assert!(store.portions().receipts(HOME, id).await.unwrap().receipts.is_empty());

    // Back, without another start.
    std::fs::rename(&away, &here).unwrap();
    store.tend_shares().await.unwrap();
    assert!(store.portions().shred(HOME, id).await.unwrap());
    assert_eq!(store.portions().receipts(HOME, id).await.unwrap().receipts.len(), 5);
}

#[tokio::test]
async fn sites_in_service_are_not_replaced_while_keys_rest_on_them() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let store = w.start(dir.path()).await;
    let none = EncryptionContext::new();
    let id = store.portions().create(HOME, quorum(), Maker::Customer).await.unwrap().id;
    let sealed = store.portions().encrypt(HOME, id, &none, b"kept").await.unwrap();
    let force = Replace { force: true, ..Replace::default() };
    for site in ["dc0", "dc1"] {
        store.replace_site(site, force).await.unwrap();
    }
    let refused = store.replace_site("dc2", force).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(why) if why.contains("--lose-keys")), "{refused}");
    // Once theirs are made anew there is no reason against it.
    assert_eq!(store.tend_shares().await.unwrap().made, 2);
    store.replace_site("dc2", force).await.unwrap();
    store.replace_site("dc3", force).await.unwrap();
    drop(store);
    let store = w.start(dir.path()).await;
    assert_eq!(store.portions().decrypt(HOME, None, &none, &sealed).await.unwrap().plain.as_slice(), b"kept");
    drop(store);
    let store = w.start(dir.path()).await;
    assert!(store.replace_site("dc4", force).await.is_err());
    store.replace_site("dc4", Replace { lose_keys: true, ..force }).await.unwrap();
    assert!(store.portions().decrypt(HOME, None, &none, &sealed).await.is_err(), "it was said");
}
