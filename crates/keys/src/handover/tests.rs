//! Tests of sites in the metadata, and of what a rotation leaves for them.

use base::SeededRng;
use meta::Memory;

use super::*;
use crate::SiteKey;

fn site(seed: u64) -> SiteKey {
    SiteKey::generate(&SeededRng::new(seed))
}

fn root(seed: u64) -> RootKey {
    RootKey::generate(&SeededRng::new(100 + seed))
}

async fn wrapped(engine: &Memory, root: &RootKey, seed: u64, name: &str) -> Result<String, HandoverError> {
    wrap_to(engine, root, &site(seed).public(name).unwrap(), &SeededRng::new(9), 1000 + seed).await
}

async fn handed(engine: &Memory, old: &RootKey, new: &RootKey) -> Result<Vec<String>, HandoverError> {
    hand_over(engine, old, new, &SeededRng::new(8), 5000, false).await
}

async fn row(engine: &Memory, name: &str) -> WrappedSiteRecord {
    let found = engine.get(&[key::wrapped_site_key(name)]).await.unwrap();
    WrappedSiteRecord::decode(&found[0].as_ref().unwrap().value).unwrap()
}

async fn put(engine: &Memory, name: &str, record: &WrappedSiteRecord) {
    let writes = vec![Write::Put(key::wrapped_site_key(name), record.encode())];
    engine.commit(Batch { checks: Vec::new(), writes }).await.unwrap();
}

#[tokio::test]
async fn sites_are_known_until_they_are_removed() {
    let engine = Memory::default();
    let text = wrapped(&engine, &root(1), 2, "b").await.unwrap();
    wrapped(&engine, &root(1), 1, "a").await.unwrap();
    assert!(site(2).seal().open(&text).unwrap().is(&root(1)));
    let listed = wrapped_sites(&engine).await.unwrap();
    let told: Vec<_> = listed.iter().map(|site| (site.public.name(), site.wrapped_ms)).collect();
    assert_eq!(told, [("a", 1001), ("b", 1002)]);
    assert_eq!((listed[1].public.fingerprint(), &listed[1].wrap), (site(2).fingerprint(), &text));
    assert_eq!(listed[0].root, Keyring::of(&root(1)).audit_name().unwrap());
    // Again is another wrap; under another name, or another key under the name, is refused.
    assert_ne!(wrapped(&engine, &root(1), 2, "b").await.unwrap(), text);
    assert!(matches!(wrapped(&engine, &root(1), 2, "c").await, Err(HandoverError::Again { name }) if name == "b"));
    assert!(matches!(wrapped(&engine, &root(1), 3, "a").await, Err(HandoverError::Taken { name, .. }) if name == "a"));
    assert!(forget_site(&engine, "a").await.unwrap());
    assert!(!forget_site(&engine, "a").await.unwrap());
    assert_eq!(wrapped_sites(&engine).await.unwrap().len(), 1);
    wrapped(&engine, &root(1), 3, "a").await.unwrap();
}

#[tokio::test]
async fn a_rotation_leaves_a_wrap_for_each_site() {
    let engine = Memory::default();
    let (old, new, third) = (root(1), root(2), root(3));
    for (seed, name) in [(1, "a"), (2, "b")] {
        wrapped(&engine, &old, seed, name).await.unwrap();
    }
    let fingerprint = site(1).fingerprint();
    assert_eq!(inherited(&engine, &old, &fingerprint).await.unwrap(), None, "it has that root key");
    assert_eq!(hand_over(&engine, &old, &new, &SeededRng::new(8), 5000, true).await.unwrap(), ["a", "b"]);
    assert_eq!(inherited(&engine, &old, &fingerprint).await.unwrap(), None, "a dry run writes nothing");
    assert_eq!(handed(&engine, &old, &new).await.unwrap(), ["a", "b"]);
    let left = row(&engine, "a").await;
    // Cut off and done again, it changes nothing that was done.
    assert_eq!(handed(&engine, &old, &new).await.unwrap(), ["a", "b"]);
    assert_eq!(row(&engine, "a").await, left);
    for seed in [1, 2] {
        let next = inherited(&engine, &old, &site(seed).fingerprint()).await.unwrap().unwrap();
        assert!(site(seed).seal().open(&next.wrap.unwrap()).unwrap().is(&new));
        assert_eq!(inherited(&engine, &new, &site(seed).fingerprint()).await.unwrap(), None);
    }
    assert_eq!(inherited(&engine, &old, &site(9).fingerprint()).await.unwrap(), None, "no such site");
    // A site that slept through two rotations is left to people.
    handed(&engine, &new, &third).await.unwrap();
    assert_eq!(inherited(&engine, &old, &fingerprint).await.unwrap().unwrap().wrap, None);
    assert!(inherited(&engine, &new, &fingerprint).await.unwrap().unwrap().wrap.is_some());
}

/// Who can write in the metadata, and has no root key, adds no site and gives none a root key.
#[tokio::test]
async fn rows_that_the_root_key_does_not_know_are_refused() {
    let (old, new, forged) = (root(1), root(2), root(3));
    // A site of somebody else, wrapped by a root key of his own; and the right site's row with his key in it.
    let engine = Memory::default();
    wrapped(&engine, &old, 1, "a").await.unwrap();
    let right = row(&engine, "a").await;
    wrapped(&engine, &forged, 5, "evil").await.unwrap();
    assert!(matches!(handed(&engine, &old, &new).await, Err(HandoverError::Unknown { name }) if name == "evil"));
    assert_eq!(row(&engine, "a").await, right, "nothing was written");
    let evil = row(&engine, "evil").await;
    forget_site(&engine, "evil").await.unwrap();
    put(&engine, "a", &WrappedSiteRecord { public: evil.public.clone(), ..right.clone() }).await;
    assert!(matches!(handed(&engine, &old, &new).await, Err(HandoverError::Unknown { name }) if name == "a"));
    forget_site(&engine, "a").await.unwrap();
    put(&engine, "z", &right).await;
    assert!(matches!(handed(&engine, &old, &new).await, Err(HandoverError::Unknown { name }) if name == "z"));

    // A wrap of his root key for the right site is not taken, whatever is said for it.
    let engine = Memory::default();
    wrapped(&engine, &old, 1, "a").await.unwrap();
    handed(&engine, &old, &new).await.unwrap();
    let right = row(&engine, "a").await;
    let wrap = site(1).public("a").unwrap().seal().seal(&forged, &SeededRng::new(1)).unwrap().to_string();
    let fingerprint = site(1).fingerprint();
    let table = [
        WrappedSiteRecord { wrap: wrap.clone(), ..right.clone() },
        WrappedSiteRecord { wrap: wrap.clone(), vouched: None, ..right.clone() },
        WrappedSiteRecord { wrap: wrap.clone(), vouched: Some(Vec::new()), ..right.clone() },
        WrappedSiteRecord { wrap, vouched: Some(right.known.clone()), ..right.clone() },
        WrappedSiteRecord { vouched: Some(vec![0; 32]), ..right.clone() },
    ];
    for (index, record) in table.into_iter().enumerate() {
        put(&engine, "a", &record).await;
        assert_eq!(inherited(&engine, &old, &fingerprint).await.unwrap().unwrap().wrap, None, "case {index}");
    }
    put(&engine, "a", &right).await;
    assert!(inherited(&engine, &old, &fingerprint).await.unwrap().unwrap().wrap.is_some());
}

#[tokio::test]
async fn a_damaged_row_is_told() {
    let engine = Memory::default();
    let writes = vec![Write::Put(key::wrapped_site_key("bent"), vec![1, 2, 3].into())];
    engine.commit(Batch { checks: Vec::new(), writes }).await.unwrap();
    for told in [
        wrapped_sites(&engine).await.unwrap_err(),
        handed(&engine, &root(1), &root(2)).await.unwrap_err(),
        wrapped(&engine, &root(1), 1, "a").await.unwrap_err(),
    ] {
        assert!(matches!(&told, HandoverError::Record { name, .. } if name == "bent"), "{told}");
    }
    assert!(forget_site(&engine, "bent").await.unwrap());
}
