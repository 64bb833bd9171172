//! Whatever is made, rotated, lost, copied, put back and shredded, in whatever order: a key opens exactly when three of its
//! shares are within reach, and none of a shredded portion are once three sites destroyed theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{AccountId, PortionId};
use keys::{KeyName, Keyring, NewPortion, PortionClass, PortionError, Portions, Switch};
use meta::record::{Maker, key};
use meta::{Batch, Engine, Memory, Write, each_row};
use proptest::prelude::*;

use crate::world::{Copy, Sites};

const HOME: AccountId = AccountId::DEFAULT;

#[derive(Debug, Clone)]
enum Op {
    Make,
    Rotate(usize),
    /// The old versions end, as after re-wrapping.
    End(usize),
    Shred(usize),
    Lose(usize),
    Return(usize),
    Copy(usize),
    Restore(usize),
    Tend,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let (portion, site) = (0..4usize, 0..5usize);
    prop_oneof![
        3 => Just(Op::Make),
        3 => portion.clone().prop_map(Op::Rotate),
        2 => portion.clone().prop_map(Op::End),
        3 => portion.prop_map(Op::Shred),
        3 => site.clone().prop_map(Op::Lose),
        3 => site.clone().prop_map(Op::Return),
        3 => site.prop_map(Op::Copy),
        3 => (0..8usize).prop_map(Op::Restore),
        3 => Just(Op::Tend),
        1 => Just(Op::Restart),
    ]
}

type At = BTreeSet<usize>;

/// What is known of a version of a key.
#[derive(Clone)]
struct Known {
    /// Sites with a share that opens.
    at: At,
    /// Whether the metadata have it.
    lives: bool,
}

struct Model {
    sites: Sites,
    ring: Arc<Keyring>,
    meta: Arc<Memory>,
    /// The metadata as they were when a version was there: what a backup of them gives.
    old: BTreeMap<KeyName, Arc<Memory>>,
    known: BTreeMap<KeyName, Known>,
    portions: Vec<PortionId>,
    /// Being shredded, and shredded.
    dying: BTreeSet<PortionId>,
    shredded: BTreeSet<PortionId>,
    down: At,
    /// A copy, of which site, and of which versions it has shares that open.
    copies: Vec<(usize, Copy, BTreeSet<KeyName>)>,
}

impl Model {
    async fn new(seed: u64) -> Self {
        let sites = Sites::new(seed).await;
        Self {
            ring: Arc::new(Keyring::ephemeral(sites.doors.rng.as_ref())),
            sites,
            meta: Arc::new(Memory::new()),
            old: BTreeMap::new(),
            known: BTreeMap::new(),
            portions: Vec::new(),
            dying: BTreeSet::new(),
            shredded: BTreeSet::new(),
            down: At::new(),
            copies: Vec::new(),
        }
    }

    fn over(&self, meta: &Arc<Memory>) -> Portions {
        let portions = Portions::new(meta.clone(), self.ring.clone(), self.sites.doors.clone());
        portions.with_quorum(self.sites.quorum.clone())
    }

    fn here(&self) -> Portions {
        self.over(&self.meta)
    }

    fn up(&self) -> At {
        (0..5).filter(|slot| !self.down.contains(slot)).collect()
    }

    fn portion(&self, at: usize) -> Option<PortionId> {
        let id = *self.portions.get(at)?;
        (!self.dying.contains(&id) && !self.shredded.contains(&id)).then_some(id)
    }

    async fn made(&mut self, made: Result<KeyName, PortionError>) {
        let up = self.up();
        match made {
            Ok(name) => {
                assert!(up.len() >= 3);
                self.known.insert(name, Known { at: up, lives: true });
                let copy = Arc::new(copied(&self.meta).await);
                // Of what is dying the metadata from before are kept: those of now refuse it by themselves.
                let lives = |(name, known): &(&KeyName, &Known)| known.lives && !self.dying.contains(&name.portion);
                for name in self.known.iter().filter(lives).map(|(name, _)| *name) {
                    self.old.insert(name, copy.clone());
                }
            }
            Err(PortionError::KeyUnavailable { .. }) => assert!(up.len() < 3),
            Err(error) => panic!("{error}"),
        }
    }

    async fn play(&mut self, op: &Op) {
        self.sites.clock.advance_ms(1);
        match *op {
            Op::Make if self.portions.len() < 4 => {
                let new = NewPortion { class: PortionClass::Quorum, ..NewPortion::default() };
                let made = self.here().create(HOME, new, Maker::Customer).await;
                self.portions.extend(made.as_ref().ok().map(|portion| portion.id));
                self.made(made.map(|portion| KeyName { portion: portion.id, version: 1 })).await;
            }
            Op::Rotate(at) => {
                let Some(portion) = self.portion(at) else { return };
                let rotated = self.here().rotate(HOME, portion, true).await;
                self.made(rotated.map(|rotated| KeyName { portion, version: rotated.record.version })).await;
            }
            Op::End(at) => self.end(at).await,
            Op::Shred(at) => self.shred(at).await,
            Op::Lose(site) => {
                self.down.insert(site);
                self.sites.set_down(site, true).await;
            }
            Op::Return(site) => {
                self.down.remove(&site);
                self.sites.set_down(site, false).await;
            }
            Op::Copy(site) if self.copies.len() < 8 => {
                let has = self.known.iter().filter(|(_, known)| known.at.contains(&site)).map(|(name, _)| *name);
                self.copies.push((site, self.sites.copy(site).await, has.collect()));
            }
            Op::Restore(copy) => self.restore(copy).await,
            Op::Tend => self.tend().await,
            Op::Restart => self.sites.restart().await,
            _ => {}
        }
    }

    async fn end(&mut self, at: usize) {
        let Some(id) = self.portion(at) else { return };
        let here = self.here();
        for (portion, work) in here.rewraps(HOME).await.unwrap() {
            if portion == id {
                here.rewrapped(HOME, id, &work).await.unwrap();
                let ended = |name: &KeyName| name.portion == id && name.version < work.below;
                self.known.iter_mut().filter(|(name, _)| ended(name)).for_each(|(_, known)| known.lives = false);
            }
        }
    }

    async fn shred(&mut self, at: usize) {
        let Some(&id) = self.portions.get(at) else { return };
        if self.shredded.contains(&id) {
            return;
        }
        let here = self.here();
        if self.dying.insert(id) {
            here.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
        }
        let done = here.shred(HOME, id).await;
        let up = self.up();
        let mut left: At = At::new();
        for (_, known) in self.known.iter_mut().filter(|(name, _)| name.portion == id) {
            known.at.retain(|site| !up.contains(site));
            left.extend(&known.at);
        }
        match done {
            Ok(true) => {
                self.shredded.insert(id);
                let of_it = |name: &KeyName| name.portion == id;
                self.known.iter_mut().filter(|(name, _)| of_it(name)).for_each(|(_, known)| known.lives = false);
                assert!(left.len() <= 2, "shredded, and {left:?} have shares");
                let file = here.receipts(HOME, id).await.unwrap();
                assert!(file.receipts.len() >= 3, "{file:?}");
            }
            // Those that destroyed theirs in an earlier attempt count.
            Err(PortionError::SharesLeft { have, .. }) => assert!(have < 3 && up.len() < 3, "{have} {up:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// A site comes back as it was copied, with its epoch keys: unless that would be the third one with shares of something
    /// that was shredded, or take what still lives below three.
    async fn restore(&mut self, copy: usize) {
        let Some((site, copy, has)) = self.copies.get(copy).cloned() else { return };
        let mut known = self.known.clone();
        for (name, known) in &mut known {
            if has.contains(name) {
                known.at.insert(site)
            } else {
                known.at.remove(&site)
            };
            let gone = self.shredded.contains(&name.portion) || self.dying.contains(&name.portion);
            if gone && known.at.len() > 2 || !gone && known.lives && known.at.len() < 3 {
                return;
            }
        }
        self.known = known;
        self.sites.restore(site, &copy).await;
    }

    async fn tend(&mut self) {
        self.here().tend(&[HOME]).await.unwrap();
        let up = self.up();
        for (name, known) in &mut self.known {
            let reachable = known.at.intersection(&up).count();
            if known.lives && !self.dying.contains(&name.portion) {
                if reachable >= 3 {
                    known.at.extend(&up);
                }
            } else if !known.lives {
                known.at.retain(|site| !up.contains(site));
            }
        }
    }

    /// With the metadata of any time, what is and what was.
    async fn check(&self) {
        let up = self.up();
        for (name, known) in &self.known {
            let reachable = known.at.intersection(&up).count();
            let opened = self.over(&self.old[name]).to_open(HOME, *name).await;
            match opened.map(drop) {
                Ok(()) => assert!(reachable >= 3, "{name:?} opens with {reachable} shares"),
                Err(PortionError::KeyUnavailable { .. }) => assert!(reachable < 3, "{name:?} has {reachable} shares"),
                Err(error) => panic!("{name:?}: {error}"),
            }
            if self.shredded.contains(&name.portion) {
                assert!(known.at.len() < 3, "{name:?} was revived");
                assert!(self.here().to_open(HOME, *name).await.is_err());
            }
        }
    }
}

async fn copied(meta: &Memory) -> Memory {
    let copy = Memory::new();
    let mut writes = Vec::new();
    let all = (meta::Key::from_static(&[0]), meta::Key::from_static(&[0xff; 8]));
    each_row(meta, all, |row_key, row| {
        writes.push(Write::Put(row_key.clone(), row.value.clone()));
        Ok::<_, meta::MetaError>(())
    })
    .await
    .unwrap();
    for some in writes.chunks(50) {
        copy.commit(Batch { checks: vec![], writes: some.to_vec() }).await.unwrap();
    }
    assert!(
        !copy
            .range(meta::Range {
                from: key::tenant_key_key(HOME),
                to: meta::after(&key::tenant_key_key(HOME)),
                limit: 1
            })
            .await
            .unwrap()
            .rows
            .is_empty()
    );
    copy
}

/// Two sites away, one more goes, and what it leaves too few for is to be shredded: until the site is back it waits, and a key
/// that is made meanwhile is no concern of it.
#[tokio::test]
async fn a_key_is_made_while_another_one_waits_to_die() {
    let mut model = Model::new(0).await;
    for op in [Op::Lose(1), Op::Lose(2), Op::Make, Op::Lose(0), Op::Shred(0), Op::Return(0), Op::Make, Op::Shred(0)] {
        model.play(&op).await;
        model.check().await;
    }
    assert_eq!(model.shredded.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn nothing_revives_what_was_shredded(seed: u64, ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new(seed).await;
            for op in &ops {
                model.play(op).await;
                model.check().await;
            }
            // Everything comes back and is put right: what lives is in five shares, what was shredded in none.
            for site in 0..5 {
                model.play(&Op::Return(site)).await;
            }
            for _ in 0..2 {
                for at in 0..4 {
                    if model.portions.get(at).is_some_and(|id| model.dying.contains(id)) {
                        model.play(&Op::Shred(at)).await;
                    }
                }
                model.play(&Op::Tend).await;
                model.check().await;
            }
            for (name, known) in &model.known {
                assert_eq!(known.at.len(), if known.lives { 5 } else { 0 }, "{name:?}");
            }
        });
    }
}
