//! What a process remembers of portions: names, rules, room under keys, and the keys themselves.
//!
//! What is remembered counts for [`LEASE_MS`] and is forgotten at once by what this process
//! changes. Who reads, and remembers afterwards, says which generation of the account it saw before it read: a change
//! in between must not be covered by what was read before it. What one account changes is nothing to the others.
//!
//! Keys do not only stop to count: they go ([`Caches::sweep`]), each version of a key is here once, and those that there
//! may be fit into the arena.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base::{AccountId, PortionId};
use meta::Version;
use meta::record::PortionRecord;
use parking_lot::Mutex;
use release::Policies;

use crate::held::Half;
use crate::lease::{Known, Lease, LeaseKey, Refusal, Room, Spent, Stamp, Unreadable};
use crate::rules::Rules;
use crate::tenant::TenantKey;
use crate::wrap::{KeyName, PortionKey};

/// How long what was read of a portion counts without being looked at again, milliseconds: the
/// longest that another process's change goes unnoticed.
pub const LEASE_MS: u64 = 10_000;
/// Most entries of each kind. Past it the kind is emptied: reading again costs a look at the metadata.
const ENTRIES_MAX: usize = 100_000;
/// Most versions of portions' keys. With tenants' keys, buckets' keys and sites' epoch keys they fit into locked memory.
const KEYS_MAX: usize = 100_000;
/// Most tenants' keys.
const TENANTS_MAX: usize = 10_000;

// What is in use while the maps are emptied, and keys that were tenants' before, have the rest.
const _: () = assert!(
    KEYS_MAX + TENANTS_MAX + crate::BUCKET_KEYS_MAX + base::limits::COLUMNS * 256 + 8_192 <= envelope::LOCKED_KEYS_MAX
);

/// Room under the newest version of a portion's key.
pub(crate) struct Slot {
    /// Whose portion it is.
    pub(crate) account: AccountId,
    /// The version. The key itself is among the others.
    pub(crate) name: KeyName,
    /// Parts that may still be sealed under it.
    pub(crate) parts: u64,
    /// Bytes that may still be sealed under it.
    pub(crate) bytes: u64,
    /// Parts in the block that this is the rest of: the next one is larger.
    pub(crate) block: u64,
    /// When it was read.
    pub(crate) at_ms: u64,
    /// When the key is too old for more.
    pub(crate) until_ms: u64,
}

#[derive(Default)]
struct Inner {
    /// Changes that were noticed, of all accounts.
    changes: u64,
    /// Which of them was an account's last.
    changed: HashMap<AccountId, u64>,
    /// The same for accounts that are not in there.
    changed_others: u64,
    names: HashMap<(AccountId, String), PortionId>,
    rules: HashMap<AccountId, (Arc<Rules>, u64)>,
    tenants: HashMap<AccountId, KnownTenant>,
    /// All tenants that are known to have a half elsewhere, open or not.
    halves: HashMap<AccountId, Half>,
    slots: HashMap<PortionId, Slot>,
    keys: HashMap<(AccountId, KeyName), (Arc<PortionKey>, u64)>,
    newest: HashMap<PortionId, (u32, u64)>,
    given_out: HashSet<KeyName>,
    records: HashMap<(AccountId, PortionId), (Arc<PortionRecord>, u64)>,
    policies: HashMap<AccountId, Parsed>,
    leases: HashMap<LeaseKey, KnownLease>,
    /// What principals have left of what was taken for their hour.
    rooms: HashMap<(AccountId, String), Room>,
    /// The last hour in which a refusal was told.
    told: HashMap<(LeaseKey, &'static str), u64>,
    alarms: HashMap<(AccountId, String, &'static str), u64>,
    /// When a portion's key was used last on a lease, by the time that never goes back.
    used: HashMap<(AccountId, PortionId), u64>,
    /// Public keys, of tenants, for what is sealed while this process is cut off.
    islands: HashMap<AccountId, (Version, Arc<[u8]>)>,
}

/// A tenant's key, the version of its row, and when that was read.
struct KnownTenant {
    key: Arc<TenantKey>,
    version: Version,
    at_ms: u64,
}

/// Policies, of which documents they were parsed, and when it was read that these are all; `None`: that is not known now.
struct Parsed {
    policies: Result<Arc<dyn Policies>, Unreadable>,
    stamp: Stamp,
    at_ms: Option<u64>,
}

/// A lease or why there is none, and when it was read.
struct KnownLease {
    decided: Result<Arc<Lease>, Refusal>,
    at_ms: u64,
}

#[derive(Default)]
pub(crate) struct Caches(Mutex<Inner>);

/// Whether what was read then still counts. A clock that went back ends it, too.
fn fresh(at_ms: u64, now_ms: u64) -> bool {
    now_ms.checked_sub(at_ms).is_some_and(|age| age < LEASE_MS)
}

fn insert<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    insert_up_to(ENTRIES_MAX, map, key, value);
}

fn insert_up_to<K: std::hash::Hash + Eq, V>(max: usize, map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= max && !map.contains_key(&key) {
        map.clear();
    }
    map.insert(key, value);
}

/// Whether a key is met for the first time in an hour.
fn is_first<K: std::hash::Hash + Eq>(map: &mut HashMap<K, u64>, key: K, hour: u64) -> bool {
    let first = map.get(&key) != Some(&hour);
    insert(map, key, hour);
    first
}

impl Inner {
    fn generation(&self, account: AccountId) -> u64 {
        self.changed.get(&account).copied().unwrap_or(self.changed_others)
    }

    fn forget_leases(&mut self, account: AccountId) {
        self.change(account);
        self.leases.retain(|lease, _| lease.account != account);
    }

    /// What was read of the account until now is remembered no more.
    fn change(&mut self, account: AccountId) {
        self.changes += 1;
        if self.changed.len() >= ENTRIES_MAX {
            self.changed.clear();
            self.changed_others = self.changes;
        }
        self.changed.insert(account, self.changes);
    }

    /// Whether a tenant's key counts: for as long as other things do, or, where a half is held elsewhere, as long as that does.
    fn counts(halves: &HashMap<AccountId, Half>, account: AccountId, known: &KnownTenant, now_ms: u64) -> bool {
        match halves.get(&account) {
            Some(half) => half.is_open(now_ms),
            None => fresh(known.at_ms, now_ms),
        }
    }

    fn key(&self, account: AccountId, name: KeyName, now_ms: u64) -> Option<Arc<PortionKey>> {
        if self.halves.get(&account).is_some_and(|half| !half.is_open(now_ms)) {
            return None;
        }
        self.keys.get(&(account, name)).filter(|(_, at)| fresh(*at, now_ms)).map(|(key, _)| key.clone())
    }
}

impl Caches {
    /// To be asked for before reading what will be remembered of the account.
    pub(crate) fn generation(&self, account: AccountId) -> u64 {
        self.0.lock().generation(account)
    }

    /// Drops the keys that do not count any more. Without it, what another process shredded would stay here in clear.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let mut inner = self.0.lock();
        let Inner { keys, tenants, halves, .. } = &mut *inner;
        keys.retain(|_, (_, at)| fresh(*at, now_ms));
        tenants.retain(|account, known| Inner::counts(halves, *account, known, now_ms));
    }

    /// Forgets whatever another process may have changed. What is left is this process's own: room that it took under keys and of
    /// hours, what it told, and halves of keys, which count by leases of their own.
    pub(crate) fn forget_everything(&self) {
        let mut inner = self.0.lock();
        inner.changes += 1;
        inner.changed.clear();
        inner.changed_others = inner.changes;
        let Inner { names, rules, tenants, halves, slots, keys, newest, given_out, records, policies, leases, .. } =
            &mut *inner;
        names.clear();
        rules.clear();
        tenants.retain(|account, _| halves.contains_key(account));
        keys.clear();
        newest.clear();
        given_out.clear();
        records.clear();
        leases.clear();
        policies.values_mut().for_each(|parsed| parsed.at_ms = None);
        // The room stays taken, and is looked at again before it is used.
        slots.values_mut().for_each(|slot| slot.at_ms = u64::MAX);
    }

    pub(crate) fn named(&self, account: AccountId, name: &str) -> Option<PortionId> {
        self.0.lock().names.get(&(account, name.to_owned())).copied()
    }

    pub(crate) fn remember_name(&self, account: AccountId, name: &str, id: PortionId, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(account) == seen {
            insert(&mut inner.names, (account, name.to_owned()), id);
        }
    }

    pub(crate) fn rules(&self, account: AccountId, now_ms: u64) -> Option<Arc<Rules>> {
        let inner = self.0.lock();
        inner.rules.get(&account).filter(|(_, at)| fresh(*at, now_ms)).map(|(rules, _)| rules.clone())
    }

    pub(crate) fn remember_rules(&self, account: AccountId, rules: Rules, at_ms: u64, seen: u64) -> Arc<Rules> {
        let rules = Arc::new(rules);
        let mut inner = self.0.lock();
        if inner.generation(account) == seen {
            insert(&mut inner.rules, account, (rules.clone(), at_ms));
        }
        rules
    }

    /// A tenant's key and the version of its row, while both count: for as long as other things do, or, where a half is
    /// held elsewhere, as long as that counts.
    pub(crate) fn tenant(&self, account: AccountId, now_ms: u64) -> Option<(Arc<TenantKey>, Version)> {
        let inner = self.0.lock();
        let known = inner.tenants.get(&account)?;
        Inner::counts(&inner.halves, account, known, now_ms).then(|| (known.key.clone(), known.version))
    }

    /// The key of a tenant that is whole under the root.
    pub(crate) fn remember_tenant(
        &self,
        account: AccountId,
        key: Arc<TenantKey>,
        version: Version,
        at_ms: u64,
        seen: u64,
    ) {
        let mut inner = self.0.lock();
        if inner.generation(account) == seen {
            insert_up_to(TENANTS_MAX, &mut inner.tenants, account, KnownTenant { key, version, at_ms });
        }
    }

    /// The half of a tenant's key was given when it was asked for at `half.asked_ms`.
    pub(crate) fn open_half(&self, account: AccountId, half: Half, key: Arc<TenantKey>, version: Version) {
        let mut inner = self.0.lock();
        let at_ms = half.asked_ms;
        // What was read of it before it was held does not count.
        inner.change(account);
        inner.halves.insert(account, half);
        insert_up_to(TENANTS_MAX, &mut inner.tenants, account, KnownTenant { key, version, at_ms });
    }

    /// What is known of a tenant's half is this, and it opens nothing or no longer than before.
    pub(crate) fn remember_half(&self, account: AccountId, half: Half, now_ms: u64) {
        let is_open = half.is_open(now_ms);
        self.0.lock().halves.insert(account, half);
        if !is_open {
            self.forget_tenant(account);
        }
    }

    /// What is known of a tenant's half.
    pub(crate) fn half(&self, account: AccountId) -> Option<Half> {
        self.0.lock().halves.get(&account).cloned()
    }

    /// What is known of a tenant's half, which is being asked for now.
    pub(crate) fn asking(&self, account: AccountId, now_ms: u64) -> Option<Half> {
        let mut inner = self.0.lock();
        let half = inner.halves.get_mut(&account)?;
        half.asked_ms = now_ms;
        Some(half.clone())
    }

    /// What is known of all halves.
    pub(crate) fn halves(&self) -> Vec<(AccountId, Half)> {
        self.0.lock().halves.iter().map(|(account, half)| (*account, half.clone())).collect()
    }

    /// No half of the tenant's key is elsewhere any more, or the tenant is gone.
    pub(crate) fn forget_half(&self, account: AccountId) {
        self.0.lock().halves.remove(&account);
    }

    /// A half is held of which nothing is known yet.
    pub(crate) fn expect_half(&self, account: AccountId, half: Half) {
        if let Entry::Vacant(place) = self.0.lock().halves.entry(account) {
            place.insert(half);
        }
        if self.half(account).is_some_and(|half| half.given_ms.is_none()) {
            self.forget_tenant(account);
        }
    }

    /// A lease has ended: unless it was renewed meanwhile, the keys go.
    pub(crate) fn shut_half(&self, account: AccountId, now_ms: u64) {
        let mut inner = self.0.lock();
        let Some(half) = inner.halves.get_mut(&account).filter(|half| !half.is_open(now_ms)) else { return };
        half.given_ms = None;
        drop(inner);
        self.forget_tenant(account);
    }

    /// The row of a tenant's key is of another version; its key is the same as that which is remembered since `seen`.
    pub(crate) fn set_tenant_version(&self, account: AccountId, version: Version, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(account) == seen
            && let Some(known) = inner.tenants.get_mut(&account)
        {
            known.version = version;
        }
    }

    /// Forgets all keys of a tenant. Who reads now will not have them remembered.
    pub(crate) fn forget_tenant(&self, account: AccountId) {
        let mut inner = self.0.lock();
        inner.change(account);
        inner.tenants.remove(&account);
        inner.slots.retain(|_, slot| slot.account != account);
        inner.keys.retain(|(of, _), _| *of != account);
    }

    /// Takes room for one part of `bytes` bytes.
    pub(crate) fn take_room(&self, id: PortionId, bytes: u64, now_ms: u64) -> Option<Arc<PortionKey>> {
        let mut inner = self.0.lock();
        let slot = inner.slots.get(&id)?;
        if !fresh(slot.at_ms, now_ms) || now_ms >= slot.until_ms || slot.parts == 0 || slot.bytes < bytes {
            return None;
        }
        let key = inner.key(slot.account, slot.name, now_ms)?;
        let slot = inner.slots.get_mut(&id)?;
        slot.parts -= 1;
        slot.bytes -= bytes;
        Some(key)
    }

    /// What is left of the room that was taken last, whether or not the lease still runs.
    pub(crate) fn room(&self, id: PortionId) -> Option<(KeyName, u64, u64, u64)> {
        let inner = self.0.lock();
        inner.slots.get(&id).map(|slot| (slot.name, slot.parts, slot.bytes, slot.block))
    }

    /// Lets what is left of the room count for another lease. Others may take of it meanwhile.
    pub(crate) fn renew(&self, account: AccountId, name: KeyName, at_ms: u64, until_ms: u64, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(account) != seen {
            return;
        }
        if let Some(slot) = inner.slots.get_mut(&name.portion).filter(|slot| slot.name == name) {
            (slot.at_ms, slot.until_ms) = (at_ms, until_ms);
        }
    }

    pub(crate) fn remember_room(&self, id: PortionId, slot: Slot, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(slot.account) == seen {
            insert(&mut inner.slots, id, slot);
        }
    }

    pub(crate) fn key(&self, account: AccountId, name: KeyName, now_ms: u64) -> Option<Arc<PortionKey>> {
        self.0.lock().key(account, name, now_ms)
    }

    /// Of two that were opened at the same time, one stays.
    pub(crate) fn remember_key(
        &self,
        account: AccountId,
        key: Arc<PortionKey>,
        at_ms: u64,
        seen: u64,
    ) -> Arc<PortionKey> {
        let mut inner = self.0.lock();
        if inner.generation(account) != seen {
            return key;
        }
        let known = inner.keys.get_mut(&(account, key.name()));
        if let Some((known, at)) = known.filter(|(_, at)| at.abs_diff(at_ms) < LEASE_MS) {
            *at = at_ms;
            return known.clone();
        }
        insert_up_to(KEYS_MAX, &mut inner.keys, (account, key.name()), (key.clone(), at_ms));
        key
    }

    pub(crate) fn record(&self, account: AccountId, id: PortionId, now_ms: u64) -> Option<Arc<PortionRecord>> {
        let inner = self.0.lock();
        inner.records.get(&(account, id)).filter(|(_, at)| fresh(*at, now_ms)).map(|(record, _)| record.clone())
    }

    pub(crate) fn remember_record(
        &self,
        account: AccountId,
        id: PortionId,
        record: PortionRecord,
        at_ms: u64,
        seen: u64,
    ) -> Arc<PortionRecord> {
        let record = Arc::new(record);
        let mut inner = self.0.lock();
        if inner.generation(account) == seen {
            insert(&mut inner.records, (account, id), (record.clone(), at_ms));
        }
        record
    }

    pub(crate) fn newest(&self, id: PortionId, now_ms: u64) -> Option<u32> {
        self.0.lock().newest.get(&id).filter(|(_, at)| fresh(*at, now_ms)).map(|(version, _)| *version)
    }

    pub(crate) fn remember_newest(&self, account: AccountId, name: KeyName, at_ms: u64, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(account) == seen {
            insert(&mut inner.newest, name.portion, (name.version, at_ms));
        }
    }

    pub(crate) fn is_given_out(&self, name: KeyName) -> bool {
        self.0.lock().given_out.contains(&name)
    }

    pub(crate) fn remember_given_out(&self, account: AccountId, name: KeyName, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(account) == seen {
            if inner.given_out.len() >= ENTRIES_MAX {
                inner.given_out.clear();
            }
            inner.given_out.insert(name);
        }
    }

    /// Forgets everything of a portion but its name.
    pub(crate) fn forget(&self, account: AccountId, id: PortionId) {
        let mut inner = self.0.lock();
        inner.change(account);
        inner.slots.remove(&id);
        inner.newest.remove(&id);
        inner.keys.retain(|(_, name), _| name.portion != id);
        inner.given_out.retain(|name| name.portion != id);
        inner.records.retain(|(_, of), _| *of != id);
        // Policies may ask about its tags.
        inner.leases.retain(|lease, _| lease.portion != id);
    }

    pub(crate) fn policies(&self, account: AccountId, now_ms: u64) -> Option<Known> {
        let inner = self.0.lock();
        let parsed = inner.policies.get(&account)?;
        let at_ms = parsed.at_ms.filter(|at| fresh(*at, now_ms))?;
        Some(Known { policies: parsed.policies.clone(), at_ms })
    }

    /// The policies that were parsed of these documents, which were read at `at_ms`.
    pub(crate) fn parsed(&self, account: AccountId, stamp: &Stamp, at_ms: u64, seen: u64) -> Option<Known> {
        let mut inner = self.0.lock();
        let unchanged = inner.generation(account) == seen;
        let parsed = inner.policies.get_mut(&account).filter(|parsed| parsed.stamp == *stamp)?;
        if unchanged {
            parsed.at_ms = Some(at_ms);
        }
        Some(Known { policies: parsed.policies.clone(), at_ms })
    }

    /// What was parsed is remembered by its documents, whatever was changed meanwhile: whether these are all of the
    /// account's is what may be out of date.
    pub(crate) fn remember_policies(&self, account: AccountId, known: &Known, stamp: Stamp, seen: u64) {
        let mut inner = self.0.lock();
        let at_ms = (inner.generation(account) == seen).then_some(known.at_ms);
        insert(&mut inner.policies, account, Parsed { policies: known.policies.clone(), stamp, at_ms });
    }

    /// Forgets the policies of an account and what was decided by them.
    pub(crate) fn forget_releases(&self, account: AccountId) {
        let mut inner = self.0.lock();
        // At once: who asked between would remember for ten seconds what the old ones say.
        inner.forget_leases(account);
        if let Some(parsed) = inner.policies.get_mut(&account) {
            parsed.at_ms = None;
        }
    }

    /// Forgets what was decided for an account.
    pub(crate) fn forget_leases(&self, account: AccountId) {
        self.0.lock().forget_leases(account);
    }

    pub(crate) fn lease(&self, key: &LeaseKey, now_ms: u64) -> Option<Result<Arc<Lease>, Refusal>> {
        let inner = self.0.lock();
        let known = inner.leases.get(key).filter(|known| fresh(known.at_ms, now_ms))?;
        match &known.decided {
            Ok(lease) if lease.until_ms <= now_ms => None,
            decided => Some(decided.clone()),
        }
    }

    pub(crate) fn remember_lease(&self, key: LeaseKey, decided: Result<Arc<Lease>, Refusal>, at_ms: u64, seen: u64) {
        let mut inner = self.0.lock();
        if inner.generation(key.account) == seen {
            insert(&mut inner.leases, key, KnownLease { decided, at_ms });
        }
    }

    /// Uses room of an hour.
    pub(crate) fn spend(&self, lease: &Lease, hour_ms: u64, objects: u64, bytes: u64) -> Spent {
        let mut inner = self.0.lock();
        match inner.rooms.get_mut(&(lease.account, lease.principal.clone())) {
            Some(room) => room.spend(&lease.budget, hour_ms, objects, bytes),
            None => Spent::NoRoom,
        }
    }

    /// What is left of an hour.
    pub(crate) fn room_in_hour(&self, lease: &Lease, hour_ms: u64) -> Room {
        let inner = self.0.lock();
        let room = inner.rooms.get(&(lease.account, lease.principal.clone()));
        room.filter(|room| room.taken.hour_ms == hour_ms).cloned().unwrap_or_default()
    }

    /// More was taken, and the row is `taken.taken` now: uses some of it before others do.
    pub(crate) fn spend_of(&self, lease: &Lease, taken: Room, hour_ms: u64, objects: u64, bytes: u64) -> Spent {
        let mut inner = self.0.lock();
        if inner.rooms.len() >= ENTRIES_MAX {
            inner.rooms.clear();
        }
        let room = inner.rooms.entry((lease.account, lease.principal.clone())).or_default();
        room.took(taken);
        room.spend(&lease.budget, hour_ms, objects, bytes)
    }

    /// Forgets what is left of a principal's hour.
    pub(crate) fn forget_room(&self, account: AccountId, principal: &str) {
        self.0.lock().rooms.remove(&(account, principal.to_owned()));
    }

    /// Whether a refusal is the first of its kind in an hour.
    pub(crate) fn first_in_hour(&self, key: LeaseKey, kind: &'static str, hour: u64) -> bool {
        is_first(&mut self.0.lock().told, (key, kind), hour)
    }

    /// Whether it is the first alarm of its kind about a principal in an hour.
    pub(crate) fn first_alarm(&self, account: AccountId, principal: &str, kind: &'static str, hour_ms: u64) -> bool {
        is_first(&mut self.0.lock().alarms, (account, principal.to_owned(), kind), hour_ms)
    }

    /// Tenants' keys of which no public key, or one of a row that was, is known.
    pub(crate) fn without_island_key(&self) -> Vec<(AccountId, Arc<TenantKey>, Version)> {
        let inner = self.0.lock();
        let is_missing = |account: &AccountId, known: &KnownTenant| {
            inner.islands.get(account).is_none_or(|(version, _)| *version != known.version)
        };
        let missing = inner.tenants.iter().filter(|(account, known)| is_missing(account, known));
        missing.map(|(account, known)| (*account, known.key.clone(), known.version)).collect()
    }

    pub(crate) fn island_key(&self, account: AccountId) -> Option<Arc<[u8]>> {
        self.0.lock().islands.get(&account).map(|(_, public)| public.clone())
    }

    pub(crate) fn remember_island_key(&self, account: AccountId, version: Version, public: Arc<[u8]>) {
        insert_up_to(TENANTS_MAX, &mut self.0.lock().islands, account, (version, public));
    }

    /// A portion's key is used now, on a lease.
    pub(crate) fn used(&self, account: AccountId, id: PortionId, passed_ms: u64) {
        insert(&mut self.0.lock().used, (account, id), passed_ms);
    }

    /// Whether a portion's key was used on a lease at that time or later.
    pub(crate) fn was_used(&self, account: AccountId, id: PortionId, since_ms: u64) -> bool {
        self.0.lock().used.get(&(account, id)).is_some_and(|at_ms| *at_ms >= since_ms)
    }

    pub(crate) fn forget_names(&self, account: AccountId) {
        let mut inner = self.0.lock();
        inner.change(account);
        inner.names.retain(|(of, _), _| *of != account);
    }

    pub(crate) fn forget_rules(&self, account: AccountId) {
        let mut inner = self.0.lock();
        inner.change(account);
        inner.rules.remove(&account);
    }
}
