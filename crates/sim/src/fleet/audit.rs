//! What must hold when all is over.

use std::collections::BTreeMap;
use std::time::Duration;

use base::AccountId;
use history::Op;
use keys::Switch;
use meta::record::PortionState;
use store::api::ListRequest;
use tokio::time::sleep;

use super::clients::{self, acting_for, get, get_version};
use super::world::{GATEWAYS, SHUT, TAKEN, Taking, World};

impl World {
    pub(super) async fn audit(&self) {
        self.all_read_the_same().await;
        self.all_versions_are_there().await;
        self.what_was_taken_away_stays_so().await;
        self.no_strays().await;
    }

    async fn all_read_the_same(&self) {
        let keys: Vec<String> = self.seen.lock().histories.keys().cloned().collect();
        for key in keys {
            for gateway in 0..GATEWAYS {
                assert!(clients::one(self, key.clone(), Op::Get(None), gateway).await, "{key} at {gateway}");
            }
            let seen = self.seen.lock();
            let records = &seen.histories[&key];
            assert!(history::is_linearizable(records), "the history of {key}:\n{}", history::told(records));
        }
    }

    /// What was acknowledged is a version, once; there is no other.
    async fn all_versions_are_there(&self) {
        let store = self.store(0);
        let request = ListRequest { limit: 10_000, ..ListRequest::default() };
        let listed = store.list_versions(TAKEN, &request, None).await.expect("a listing");
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for version in listed.versions {
            let (key, version) = (version.info.key.clone(), version.info.version);
            let bytes = get_version(&store, TAKEN, &key, Some(version)).await.expect("a version is read");
            found.entry(key).or_default().push(clients::value(&bytes));
        }
        let conflicts = store.conflicts().await.expect("conflicts").len();
        let taken = std::mem::take(&mut self.seen.lock().taken);
        self.seen.lock().told.conflicts = conflicts as u64;
        for (key, (acknowledged, perhaps)) in taken {
            let there = found.remove(&key).unwrap_or_default();
            for value in acknowledged {
                assert_eq!(there.iter().filter(|one| **one == value).count(), 1, "{value:x} of {key}");
            }
            assert!(there.iter().all(|value| perhaps.contains(value)), "{key}: {there:x?}");
        }
        assert!(found.is_empty(), "{found:x?}");
    }

    async fn what_was_taken_away_stays_so(&self) {
        let taking = {
            let seen = self.seen.lock();
            match (seen.taken_away, seen.taking_tried) {
                (Some(_), _) => self.taking,
                (None, false) => Taking::Nothing,
                // It may have happened.
                (None, true) => return,
            }
        };
        let portions = self.store(1).portions().clone();
        if taking == Taking::Portion {
            sleep(Duration::from_secs(70)).await;
            let state = portions.get(AccountId::DEFAULT, self.portion).await.map(|portion| portion.record.state);
            assert!(matches!(state, Ok(PortionState::Shredded(_))), "by a worker, within a minute: {state:?}");
            for again in [Switch::KeepAfterAll, Switch::Enable] {
                let switched = portions.switch(AccountId::DEFAULT, self.portion, again).await;
                assert!(switched.is_err(), "{again:?} of what was shredded: {switched:?}");
            }
        }
        for index in 0..GATEWAYS {
            let store = self.store(index);
            let anns = async { get(&acting_for(&store, &self.keys[1]).await?, SHUT, "secret").await }.await;
            let anybodys = get(&store, SHUT, "secret").await;
            assert_eq!(anns.is_ok(), taking == Taking::Nothing, "{taking:?}: ann at {index}: {anns:?}");
            let is_open = matches!(taking, Taking::Nothing | Taking::Person);
            assert_eq!(anybodys.is_ok(), is_open, "{taking:?}: at {index}: {anybodys:?}");
        }
        if taking == Taking::Key {
            portions.switch(AccountId::DEFAULT, self.portion, Switch::Enable).await.expect("it opens again");
            sleep(Duration::from_secs(2)).await;
            for index in 0..GATEWAYS {
                assert!(get(&self.store(index), SHUT, "secret").await.expect("the secret") == self.secret);
            }
        }
    }

    /// With nothing being written, all that is not wanted goes, and no more.
    async fn no_strays(&self) {
        sleep(Duration::from_secs(30)).await;
        let leader =
            (0..GATEWAYS).find(|index| self.store(*index).gateways().iter().any(|one| one.is_this && one.leads));
        let store = self.store(leader.expect("one leads"));
        store.sweep(0).await.expect("a sweep");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(store.sweep(0).await.expect("a sweep").removed, 0, "strays are left after a sweep");
        // What waits for its collection is nobody's loss: a gateway that leads with a clock ahead of the others' leaves it as it is.
        let garbage = self.metadata.garbage().await;
        let is_wanted = |name: &String| !garbage.iter().any(|blob| name.contains(&blob.to_string()));
        let counts: Vec<usize> =
            self.sites.iter().map(|site| site.shards().into_iter().filter(is_wanted).count()).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "a site holds too many or too few shards: {counts:?}");
    }
}
