//! How long plaintext keys are in memory. One test: it counts the keys of the whole process.

use std::sync::Arc;

use base::{AccountId, Doors, ManualClock, SeededRng};
use keys::{EncryptionContext, KeyName, Keyring, LEASE_MS, PortionError, Portions, Switch};
use meta::Memory;

const HOME: AccountId = AccountId::DEFAULT;

fn in_memory() -> usize {
    let status = envelope::arena_status();
    status.secret + status.locked + status.ordinary
}

#[tokio::test]
async fn a_key_is_in_memory_once_and_no_longer_than_its_lease() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let (meta, rng) = (Arc::new(Memory::new()), Arc::new(SeededRng::new(1)));
    let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
    let doors = Doors { clock: clock.clone(), rng };
    let process = || Portions::new(meta.clone(), ring.clone(), doors.clone());
    let (one, two) = (process(), process());
    let before = in_memory();

    // To seal parts, to open them, and for the KMS API: one version of a key is one slot, beside the tenant's.
    let id = one.named(HOME, "p").await.unwrap();
    assert_eq!(in_memory(), before + 1, "the tenant's");
    let name = one.to_seal(HOME, id, 1).await.unwrap().name();
    one.to_open(HOME, name).await.unwrap();
    let sealed = one.encrypt(HOME, id, &EncryptionContext::new(), b"x").await.unwrap();
    one.decrypt(HOME, None, &EncryptionContext::new(), &sealed).await.unwrap();
    assert_eq!(in_memory(), before + 2);
    let many = futures::future::join_all((0..20).map(|_| one.to_open(HOME, KeyName { ..name }))).await;
    assert!(many.iter().all(Result::is_ok));
    drop(many);
    assert_eq!(in_memory(), before + 2);

    // What still counts stays.
    clock.advance_ms(LEASE_MS - 1);
    one.drop_stale_keys();
    assert_eq!(in_memory(), before + 2);

    // What another process shreds is gone here as well, though nobody asks for it again.
    two.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    assert!(two.shred(HOME, id).await.unwrap());
    clock.advance_ms(1);
    for portions in [&one, &two] {
        portions.drop_stale_keys();
    }
    assert_eq!(in_memory(), before);
    assert!(matches!(one.to_seal(HOME, id, 1).await, Err(PortionError::Shredded(_))));

    // The room that was taken under a key outlives its lease; the key comes back for it.
    let other = one.named(HOME, "q").await.unwrap();
    one.to_seal(HOME, other, 1).await.unwrap();
    let taken = one.versions(other).await.unwrap();
    clock.advance_ms(LEASE_MS);
    one.drop_stale_keys();
    assert_eq!(in_memory(), before);
    one.to_seal(HOME, other, 1).await.unwrap();
    assert_eq!(one.versions(other).await.unwrap(), taken);
    assert_eq!(in_memory(), before + 2);
}
