//! Holders at sites: the suite over each kind of site, and crashes at every step.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use base::{PortionId, SeededRng, SystemClock};
use futures::FutureExt;
use keys::KeyName;
use keys::quorum::{
    EpochPlace, HolderError, Missing, SHARE_LEN, ShareHolder, ShareName, SiteIdentity, SiteShares, conformance,
};
use sites::{Folder, Memory, Object, Pool, PoolOptions, Site, SiteSpec};

use crate::world::{Lie, Sites};

fn share_name(portion: u8, version: u32) -> ShareName {
    let mut id = [portion; 16];
    id[15] = 7;
    ShareName { key: KeyName { portion: PortionId::from_bytes(id), version }, set: [1; 16] }
}

async fn over(site: Arc<dyn Site>, epochs: &Path) -> SiteShares {
    drawn(site, epochs, 3).await
}

async fn drawn(site: Arc<dyn Site>, epochs: &Path, seed: u64) -> SiteShares {
    let mut first = Some(site);
    let specs = std::array::from_fn(|slot| SiteSpec {
        name: format!("dc{slot}"),
        url: "test://".to_owned(),
        site: first.take().unwrap_or_else(|| Arc::new(Memory::new())),
    });
    let pool = Arc::new(Pool::new(specs, Arc::new(SystemClock), PoolOptions::default()));
    let place = EpochPlace::File(epochs.to_owned());
    let holder = SiteShares::new(pool, 0, place, Arc::new(SeededRng::new(seed)));
    let identity = SiteIdentity { cluster: "c".to_owned(), slot: 0, name: "dc0".to_owned(), since_ms: 1 };
    holder.settle(identity, Missing::IsFirst).await.unwrap();
    holder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_site_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("site")).unwrap();
    let kinds: [(&str, Arc<dyn Site>); 3] = [
        ("memory", Arc::new(Memory::new())),
        ("folder", Arc::new(Folder::open(dir.path().join("site")).unwrap())),
        ("object", Arc::new(Object::new(Arc::new(object_store::memory::InMemory::new()), "prefix"))),
    ];
    for (kind, site) in kinds {
        let epochs = dir.path().join("epochs").join(kind);
        conformance::suite(&over(site.clone(), &epochs).await).await;
        // What was put is there for the next process, and for none without the epoch keys.
        let holder = over(site.clone(), &epochs).await;
        let name = share_name(1, 1);
        holder.put(&name, &[5; SHARE_LEN]).await.unwrap();
        assert_eq!(over(site.clone(), &epochs).await.get(&name).await.unwrap().as_slice(), [5; SHARE_LEN], "{kind}");
        std::fs::remove_file(&epochs).unwrap();
        let bare = over(site, &epochs).await;
        assert!(matches!(bare.get(&name).await, Err(HolderError::Absent)), "{kind}");
    }
}

/// The site stops working at any operation of a destruction: the dead one is dead or alive, the others live.
#[tokio::test]
async fn a_destruction_that_is_cut_short_loses_no_other_share() {
    let mut finished = false;
    for more in 0..60 {
        let mut sites = Sites::new(more).await;
        let names: Vec<ShareName> = (0..6).map(|portion| share_name(portion, 1)).collect();
        for name in &names {
            sites.holders[0].put(name, &[name.key.portion.as_bytes()[0]; SHARE_LEN]).await.unwrap();
        }
        let before = sites.copy(0).await;
        sites.disks[0].fails_after(more);
        let done = sites.holders[0].destroy(7, &|name| *name == names[2], &[]).await;
        sites.disks[0].fails_after(u64::MAX);
        sites.pool.probe_all().await;
        for _ in 0..2 {
            let holder = &sites.holders[0];
            for (at, name) in names.iter().enumerate() {
                let found = holder.get(name).await;
                match (at, &done) {
                    (2, Ok(_)) => assert_eq!(found.map(drop), Err(HolderError::Absent), "after {more}"),
                    (2, Err(_)) => {}
                    _ => assert_eq!(found.unwrap().as_slice(), [at as u8; SHARE_LEN], "{at} after {more}"),
                }
            }
            sites.restart().await;
        }
        // Done is done for copies of the blobs, too, under the epoch keys of today.
        if done.is_ok() {
            sites.restore_blobs(0, &before).await;
            assert_eq!(sites.holders[0].get(&names[2]).await.map(drop), Err(HolderError::Absent));
            finished = true;
        }
        // And it can be done again.
        if done.is_err() {
            let again = sites.holders[0].destroy(7, &|name| *name == names[2], &[]).await.unwrap();
            assert_eq!(again.names, [names[2]], "after {more}");
        }
    }
    assert!(finished, "no destruction came to its end");
}

/// Shares under keys that are out of reach for now, whatever is destroyed meanwhile.
#[tokio::test]
async fn a_destruction_leaves_blobs_of_epochs_that_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let (epochs, aside) = (dir.path().join("dc0"), dir.path().join("aside"));
    let site: Arc<Memory> = Arc::new(Memory::new());
    let (kept, dead) = (share_name(1, 1), share_name(2, 1));
    let holder = over(site.clone(), &epochs).await;
    holder.put(&kept, &[5; SHARE_LEN]).await.unwrap();
    std::fs::rename(&epochs, &aside).unwrap();
    let shadow = drawn(site.clone(), &epochs, 4).await;
    shadow.put(&dead, &[6; SHARE_LEN]).await.unwrap();
    assert_eq!(shadow.destroy(7, &|_| true, &[]).await.unwrap().names, [dead]);
    assert_eq!(site.names().len(), 1, "its own are gone");
    std::fs::rename(&aside, &epochs).unwrap();
    assert_eq!(over(site, &epochs).await.get(&kept).await.unwrap().as_slice(), [5; SHARE_LEN]);
}

/// The epoch ended, and then the disk failed: it is not done until the old key is destroyed.
#[tokio::test]
async fn nothing_counts_as_destroyed_while_the_old_epoch_key_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (epochs, old) = (dir.path().join("dc0"), dir.path().join("dc0.old"));
    let holder = over(Arc::new(Memory::new()), &epochs).await;
    holder.put(&share_name(1, 1), &[5; SHARE_LEN]).await.unwrap();
    let before = std::fs::read(&epochs).unwrap();
    holder.destroy(7, &|_| true, &[]).await.unwrap();
    // As such a failure leaves it: one that cannot be opened, then one that can.
    std::fs::create_dir(&old).unwrap();
    let told = holder.destroy(7, &|_| true, &[]).await.unwrap_err();
    assert!(matches!(&told, HolderError::Custody(_)), "{told}");
    std::fs::remove_dir(&old).unwrap();
    std::fs::write(&old, before).unwrap();
    let mut watched = std::fs::File::open(&old).unwrap();
    holder.destroy(7, &|_| true, &[]).await.unwrap();
    let mut bytes = Vec::new();
    watched.read_to_end(&mut bytes).unwrap();
    assert!(!old.exists() && !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0));
}

/// Thousands of shares may have to be sealed anew in a drawer; who makes a key in another one does not wait for that.
#[tokio::test]
async fn a_destruction_holds_up_its_own_drawer_only() {
    let sites = Sites::new(1).await;
    let holder = &sites.holders[0];
    for portion in [1, 2] {
        holder.put(&share_name(portion, 1), &[5; SHARE_LEN]).await.unwrap();
    }
    sites.disks[0].sticks("shares/07/");
    let is_dead = |name: &ShareName| *name == share_name(1, 1);
    let mut slow = holder.destroy(7, &is_dead, &[]);
    assert!(futures::poll!(&mut slow).is_pending());
    let mut elsewhere = share_name(3, 1);
    elsewhere.key.portion = PortionId::from_bytes([8; 16]);
    let put = holder.put(&elsewhere, &[6; SHARE_LEN]).now_or_never();
    assert_eq!(put, Some(Ok(())));
    assert_eq!(holder.list(8).now_or_never().unwrap().unwrap(), [elsewhere]);
    assert!(holder.put(&share_name(4, 1), &[6; SHARE_LEN]).now_or_never().is_none(), "under which epoch?");
}

/// A listing may lag behind what was put: a destruction in that drawer costs none of it.
#[tokio::test]
async fn a_destruction_keeps_what_a_listing_leaves_out() {
    for restarts in [false, true] {
        let mut sites = Sites::new(1).await;
        let (dead, fresh, other) = (share_name(1, 1), share_name(2, 1), share_name(3, 1));
        sites.holders[0].put(&dead, &[5; SHARE_LEN]).await.unwrap();
        sites.disks[0].lags();
        sites.holders[0].put(&fresh, &[6; SHARE_LEN]).await.unwrap();
        let mut wanted = Vec::new();
        if restarts {
            // Then only the metadata know. What they want may never have been here, or be dead.
            sites.restart().await;
            wanted = vec![fresh, other, dead];
        }
        assert!(!sites.holders[0].list(7).await.unwrap().contains(&fresh));
        for _ in 0..2 {
            let done = sites.holders[0].destroy(7, &|name| *name == dead, &wanted).await.unwrap();
            assert!(done.begun.is_some());
            assert_eq!(sites.holders[0].get(&fresh).await.unwrap().as_slice(), [6; SHARE_LEN], "restarts: {restarts}");
            assert_eq!(sites.holders[0].get(&dead).await.map(drop), Err(HolderError::Absent));
        }
        // Where it cannot be read now, nothing ends.
        sites.disks[0].fails_after(1);
        assert!(sites.holders[0].destroy(7, &|_| false, &wanted).await.is_err());
        sites.disks[0].fails_after(u64::MAX);
        sites.pool.probe_all().await;
        assert_eq!(sites.holders[0].get(&fresh).await.unwrap().as_slice(), [6; SHARE_LEN]);
        // What no listing named is destroyed like any other.
        let done = sites.holders[0].destroy(7, &|name| *name == fresh, &wanted).await.unwrap();
        assert_eq!((done.names, done.begun), (vec![fresh], None));
        assert!(sites.holders[0].drawers().is_empty());
    }
}

/// A site that lists without end, or in a circle, is told so, and fills nobody's memory.
#[tokio::test]
async fn a_listing_that_does_not_end_is_ended() {
    let sites = Sites::new(1).await;
    sites.holders[0].put(&share_name(1, 1), &[5; SHARE_LEN]).await.unwrap();
    let like = sites.disks[0].blobs.names().into_iter().find(|name| name.starts_with("shares/")).unwrap();
    for (lie, told) in [(Lie::HasNoEnd(like), "has no end"), (Lie::GoesRound, "does not go forward")] {
        sites.disks[0].lies(lie);
        let refused = [
            sites.holders[0].list(7).await.map(drop).unwrap_err(),
            sites.holders[0].destroy(7, &|_| true, &[]).await.map(drop).unwrap_err(),
        ];
        for refused in refused {
            assert!(matches!(&refused, HolderError::Away(why) if why.contains(told)), "{refused}");
        }
    }
    sites.disks[0].lies(Lie::None);
    assert_eq!(sites.holders[0].list(7).await.unwrap(), [share_name(1, 1)]);
}
