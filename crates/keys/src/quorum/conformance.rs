//! What every [`ShareHolder`] must do.

use std::collections::BTreeSet;

use audit::VerifierKey;
use base::PortionId;

use super::holder::{HolderError, SHARE_LEN, ShareHolder, ShareName};
use crate::wrap::KeyName;

fn name(portion: u8, drawer: u8, version: u32, set: u8) -> ShareName {
    let mut id = [portion; 16];
    id[15] = drawer;
    ShareName { key: KeyName { portion: PortionId::from_bytes(id), version }, set: [set; 16] }
}

fn share(byte: u8) -> Vec<u8> {
    vec![byte; SHARE_LEN]
}

/// Runs every check on an empty holder, which is left with garbage in it.
///
/// # Panics
/// With the check's story when one fails.
pub async fn suite(holder: &dyn ShareHolder) {
    shares_come_back(holder).await;
    the_dead_stay_dead_and_the_others_live(holder).await;
    what_was_not_there_can_be_destroyed(holder).await;
    many_at_once(holder).await;
    signatures_are_its_own(holder);
}

async fn has(holder: &dyn ShareHolder, name: &ShareName, byte: u8) {
    let found = holder.get(name).await.unwrap_or_else(|error| panic!("{name:?} {error}"));
    assert_eq!(*found, share(byte), "{name:?}");
}

async fn lacks(holder: &dyn ShareHolder, name: &ShareName) {
    let found = holder.get(name).await;
    assert!(matches!(found, Err(HolderError::Absent)), "{name:?}: {:?}", found.map(drop));
}

async fn listed(holder: &dyn ShareHolder, drawer: u8) -> BTreeSet<ShareName> {
    holder.list(drawer).await.unwrap_or_else(|error| panic!("list {error}")).into_iter().collect()
}

async fn shares_come_back(holder: &dyn ShareHolder) {
    let names = [name(1, 0, 1, 0), name(1, 0, 2, 0), name(1, 0, 1, 1), name(2, 0, 1, 0), name(1, 1, 1, 0)];
    assert_eq!((listed(holder, 0).await, holder.drawers()), (BTreeSet::new(), vec![]));
    for (byte, name) in (0..).zip(&names) {
        lacks(holder, name).await;
        for _ in 0..2 {
            holder.put(name, &share(byte)).await.unwrap_or_else(|error| panic!("put {error}"));
        }
    }
    for (byte, name) in (0..).zip(&names) {
        has(holder, name, byte).await;
    }
    assert_eq!(listed(holder, 0).await, names[..4].iter().copied().collect());
    assert_eq!(listed(holder, 1).await, [names[4]].into());
    assert_eq!(listed(holder, 2).await, BTreeSet::new());
    assert_eq!(holder.drawers().into_iter().collect::<BTreeSet<_>>(), [0, 1].into());
    for bad in [SHARE_LEN - 1, SHARE_LEN + 1, 0] {
        assert!(holder.put(&name(9, 9, 9, 9), &vec![0; bad]).await.is_err(), "{bad} bytes");
    }
}

async fn the_dead_stay_dead_and_the_others_live(holder: &dyn ShareHolder) {
    let names: Vec<ShareName> = (0..20).map(|at| name(at, 7, 1, 0)).collect();
    for (byte, name) in (0..).zip(&names) {
        holder.put(name, &share(byte)).await.unwrap_or_else(|error| panic!("put {error}"));
    }
    let mut ended = Vec::new();
    for (at, dead) in names.iter().enumerate() {
        let done = holder.destroy(7, &|name| name == dead, &[]).await.unwrap_or_else(|error| panic!("destroy {error}"));
        assert_eq!(done.names, [*dead]);
        assert_eq!(done.begun.is_some(), at + 1 < names.len(), "the others are under a new epoch");
        ended.extend(done.ended);
        assert_eq!(ended.len(), at + 1);
        assert!(done.begun.is_none_or(|begun| !ended.contains(&begun)), "an epoch came again");
        for (byte, name) in (0..).zip(&names) {
            if usize::from(byte) <= at { lacks(holder, name).await } else { has(holder, name, byte).await }
        }
        assert_eq!(listed(holder, 7).await, names[at + 1..].iter().copied().collect());
    }
    assert!(!holder.drawers().contains(&7));
    holder.put(&names[0], &share(42)).await.unwrap_or_else(|error| panic!("put {error}"));
    has(holder, &names[0], 42).await;
}

async fn what_was_not_there_can_be_destroyed(holder: &dyn ShareHolder) {
    let done = holder.destroy(99, &|_| true, &[]).await.unwrap_or_else(|error| panic!("destroy {error}"));
    assert_eq!((done.names, done.ended, done.begun), (vec![], None, None));
    let stays = name(3, 98, 1, 0);
    holder.put(&stays, &share(1)).await.unwrap_or_else(|error| panic!("put {error}"));
    let done = holder.destroy(98, &|_| false, &[]).await.unwrap_or_else(|error| panic!("destroy {error}"));
    assert!(done.names.is_empty() && done.ended.is_some() && done.begun.is_some(), "the epoch ends all the same");
    has(holder, &stays, 1).await;
}

/// Deaths in a drawer while others are put there: none of those is lost.
async fn many_at_once(holder: &dyn ShareHolder) {
    let puts = (0..40u8).map(|at| async move { holder.put(&name(at, 50, 1, 0), &share(at)).await });
    let deaths = (0..5u8).map(|at| async move { holder.destroy(50, &|found| *found == name(at, 50, 1, 0), &[]).await });
    let (puts, deaths) = futures::join!(futures::future::join_all(puts), futures::future::join_all(deaths));
    assert!(puts.iter().all(Result::is_ok) && deaths.iter().all(Result::is_ok), "{puts:?} {deaths:?}");
    for at in 5..40 {
        has(holder, &name(at, 50, 1, 0), at).await;
    }
}

fn signatures_are_its_own(holder: &dyn ShareHolder) {
    let note = holder.sign("a\nb\n").unwrap_or_else(|error| panic!("sign {error}"));
    let verifier = holder.verifier().unwrap_or_else(|error| panic!("verifier {error}"));
    assert_eq!(verifier.open(&note).unwrap_or_else(|error| panic!("{error}")), "a\nb\n");
    let again: VerifierKey = verifier.to_string().parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again, verifier);
    assert!(verifier.open(&note.replacen('a', "c", 1)).is_err());
}
