//! The key space: one table of entries, the list of keys that end, eviction and expiry.

pub mod entry;
pub mod record;
pub mod table;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::entry::{Alias, CLOCK_BITS, Deadline, Entry, Object, Value};
use self::table::{Keyed, Position, Table, hash_of};
use crate::aof::Log;
use crate::commands::{Refusal, WRONG_TYPE};
use crate::memory;
use crate::resp::BATCH_COMMANDS;
use crate::sets::Set;

/// What to do on a write when the memory is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    NoEviction,
    AllKeysLru,
    VolatileLru,
    AllKeysRandom,
    VolatileTtl,
}

impl Policy {
    pub const ALL: [(&str, Self); 5] = [
        ("volatile-lru", Self::VolatileLru),
        ("volatile-ttl", Self::VolatileTtl),
        ("allkeys-lru", Self::AllKeysLru),
        ("allkeys-random", Self::AllKeysRandom),
        ("noeviction", Self::NoEviction),
    ];

    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, policy)| *policy == self);
        found.map_or("", |(name, _)| name)
    }
}

/// What becomes of the deadline when a key gets a new text.
#[derive(Clone, Copy)]
pub enum Life {
    Keep,
    Endless,
    Until(i64),
}

/// A collection that lives in an object.
pub trait Kind: Sized + Default {
    fn of(object: &Object) -> Option<&Self>;
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    fn into_object(self) -> Object;
    fn is_empty(&self) -> bool;
}

#[derive(Default)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub evicted: u64,
}

struct Volatile {
    at_ms: i64,
    entry: Alias,
}

/// A small generator (Knuth's MMIX constants, upper bits): samples need no more.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    pub fn draw(&mut self) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }

    /// A number below the bound, which is below 2^32 or loses fairness.
    pub fn below(&mut self, bound: usize) -> usize {
        if u32::try_from(bound).is_ok() {
            return self.draw() as usize % bound;
        }
        ((self.draw() << 32 | self.draw()) % bound as u64) as usize
    }
}

/// Who wants to know of changes of a key: the flags of transactions.
#[derive(Default)]
pub struct Watches(HashMap<Vec<u8>, Vec<Arc<AtomicBool>>>);

impl Watches {
    pub fn add(&mut self, key: &[u8], flag: &Arc<AtomicBool>) {
        self.0
            .entry(key.to_vec())
            .or_default()
            .push(Arc::clone(flag));
    }

    pub fn remove(&mut self, key: &[u8], flag: &Arc<AtomicBool>) {
        if let Some(flags) = self.0.get_mut(key) {
            flags.retain(|other| !Arc::ptr_eq(other, flag));
            if flags.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn changed(&self, key: &[u8]) {
        for flag in self.0.get(key).into_iter().flatten() {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

pub struct Store {
    table: Table<Entry>,
    volatile: Vec<Volatile>, // the keys with a deadline, in no order
    swept: usize,            // how far the sweep for ended keys has come in that list
    pub watches: Watches,
    pub log: Log,
    pub dice: Dice,
    pub stats: Stats,
    pub max_memory: usize, // 0: no limit
    pub policy: Policy,
    pub now_ms: i64,
    clock: u32,
    /// While the log is replayed no key ends: the log says when it did.
    pub is_loading: bool,
}

// SAFETY: the aliases point into the table of the same store, and the shared records of a zset
// never leave it; so the store moves to another thread as a whole.
unsafe impl Send for Store {}

/// The resolution of the access clock; it starts again after 19 days.
const CLOCK_STEP_MS: i64 = 100;
const SAMPLED_KEYS: usize = 10;

impl Store {
    pub fn new(log: Log, max_memory: usize, policy: Policy) -> Self {
        let mut store = Self {
            table: Table::default(),
            volatile: Vec::new(),
            swept: 0,
            watches: Watches::default(),
            log,
            dice: Dice::new(),
            stats: Stats::default(),
            max_memory,
            policy,
            now_ms: 0,
            clock: 0,
            is_loading: false,
        };
        store.look_at_clock();
        store
    }

    /// The time is read once for a batch of commands.
    pub fn look_at_clock(&mut self) {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.now_ms = since.as_millis() as i64;
        self.clock = (self.now_ms / CLOCK_STEP_MS) as u32 & ((1 << CLOCK_BITS) - 1);
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn volatile_len(&self) -> usize {
        self.volatile.len()
    }

    /// The mean time that the keys with a deadline still have.
    pub fn mean_life_ms(&self) -> i64 {
        const SAMPLE: usize = 1000;
        let sample = &self.volatile[..self.volatile.len().min(SAMPLE)];
        let lives = sample
            .iter()
            .map(|key| (key.at_ms - self.now_ms).max(0) as f64);
        (lives.sum::<f64>() / sample.len().max(1) as f64) as i64
    }

    // --- looking at keys

    fn has_ended(&self, entry: &Entry) -> bool {
        let deadline = entry.deadline();
        deadline.is_some_and(|deadline| deadline.at_ms < self.now_ms) && !self.is_loading
    }

    /// Finds a key. One that has ended goes now.
    fn locate(&mut self, key: &[u8]) -> Option<Position> {
        self.locate_hashed(hash_of(key), key)
    }

    fn locate_hashed(&mut self, hash: u64, key: &[u8]) -> Option<Position> {
        let position = self.table.locate(hash, key)?;
        if self.has_ended(self.table.at(position)) {
            self.end(position);
            return None;
        }
        Some(position)
    }

    /// Brings into the cache what commands on these keys will touch: first all buckets, then all
    /// entries, so that they come at the same time instead of one after the other.
    pub fn prefetch<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        const LEAST_KEYS: usize = 10_000; // a smaller table is in the cache anyway
        if self.table.len() < LEAST_KEYS {
            return;
        }
        let mut hashes = [0; BATCH_COMMANDS];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = hash_of(key);
            self.table.prefetch(*hash);
            count += 1;
        }
        for &hash in &hashes[..count] {
            if let Some(entry) = self.table.likely(hash) {
                memory::prefetch(entry.address());
            }
        }
    }

    /// Removes a key whose time has come, and says so in the log.
    fn end(&mut self, position: Position) {
        let entry = self.take(position);
        self.stats.expired += 1;
        self.log_removal(&entry);
    }

    fn log_removal(&mut self, entry: &Entry) {
        self.watches.changed(entry.key());
        self.log.append([&b"DEL"[..], entry.key()].into_iter());
    }

    /// A key that is read: counted, and noted as used.
    pub fn read(&mut self, key: &[u8]) -> Option<&Entry> {
        let Some(position) = self.locate(key) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        let entry = self.table.at(position);
        entry.touch(self.clock);
        Some(entry)
    }

    /// A key that is asked about: counted, but not noted as used.
    pub fn look(&mut self, key: &[u8]) -> Option<&Entry> {
        let Some(position) = self.locate(key) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        Some(self.table.at(position))
    }

    /// A key that is only looked at: neither counted nor noted as used.
    pub fn peek(&mut self, key: &[u8]) -> Option<&Entry> {
        let position = self.locate(key)?;
        Some(self.table.at(position))
    }

    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.locate(key).is_some()
    }

    /// Whether a key is still there although its time has come.
    pub fn is_overdue(&self, key: &[u8]) -> bool {
        self.table
            .get(key)
            .is_some_and(|entry| self.has_ended(entry))
    }

    pub fn idle_ms(&self, clock: u32) -> i64 {
        let steps = self.clock.wrapping_sub(clock) & ((1 << CLOCK_BITS) - 1);
        i64::from(steps) * CLOCK_STEP_MS
    }

    pub fn read_text(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Refusal> {
        match self.read(key) {
            Some(entry) => entry.text().map(Some).ok_or(WRONG_TYPE),
            None => Ok(None),
        }
    }

    pub fn read_kind<K: Kind>(&mut self, key: &[u8]) -> Result<Option<&K>, Refusal> {
        match self.read(key) {
            Some(entry) => {
                let found = entry.object().and_then(K::of);
                found.map(Some).ok_or(WRONG_TYPE)
            }
            None => Ok(None),
        }
    }

    // --- changing keys

    /// The text of a key that is going to be written; no reader is counted.
    pub fn edit_text(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Refusal> {
        match self.peek(key) {
            Some(entry) => entry.text().map(Some).ok_or(WRONG_TYPE),
            None => Ok(None),
        }
    }

    pub fn edit_kind<K: Kind>(&mut self, key: &[u8]) -> Result<Option<&mut K>, Refusal> {
        let Some(position) = self.locate(key) else {
            return Ok(None);
        };
        let entry = self.table.at_mut(position);
        entry.touch(self.clock);
        let found = entry.object_mut().and_then(K::of_mut);
        found.map(Some).ok_or(WRONG_TYPE)
    }

    pub fn edit_or_create<K: Kind>(&mut self, key: &[u8]) -> Result<&mut K, Refusal> {
        let hash = hash_of(key);
        let mut position = self.locate_hashed(hash, key);
        if position.is_none() {
            let object = K::default().into_object();
            let entry = Entry::with_object(key, object, None, self.clock);
            self.table.insert(hash, entry);
            position = self.table.locate(hash, key);
        }
        let entry = self.table.at_mut(position.ok_or(WRONG_TYPE)?);
        entry.touch(self.clock);
        entry.object_mut().and_then(K::of_mut).ok_or(WRONG_TYPE)
    }

    /// A set and the dice to draw from it.
    pub fn edit_set(&mut self, key: &[u8]) -> Result<Option<(&mut Set, &mut Dice)>, Refusal> {
        let Some(position) = self.locate(key) else {
            return Ok(None);
        };
        let object = self.table.at_mut(position).object_mut();
        let set = object.and_then(Set::of_mut).ok_or(WRONG_TYPE)?;
        Ok(Some((set, &mut self.dice)))
    }

    /// The same for a reader.
    pub fn read_set(&mut self, key: &[u8]) -> Result<Option<(&Set, &mut Dice)>, Refusal> {
        if self.read(key).is_none() {
            return Ok(None);
        }
        let object = self.table.get(key).and_then(Entry::object);
        let set = object.and_then(Set::of).ok_or(WRONG_TYPE)?;
        Ok(Some((set, &mut self.dice)))
    }

    /// A collection of the type that was read before, without a look at the clock.
    pub fn glance<K: Kind>(&self, key: &[u8]) -> Option<&K> {
        self.table.get(key)?.object().and_then(K::of)
    }

    /// A collection without elements is no key.
    pub fn drop_if_empty<K: Kind>(&mut self, key: &[u8]) {
        if let Ok(Some(collection)) = self.edit_kind::<K>(key)
            && collection.is_empty()
        {
            self.remove(key);
        }
    }

    pub fn set_text(&mut self, key: &[u8], text: &[u8], life: Life) {
        let hash = hash_of(key);
        let Some(position) = self.locate_hashed(hash, key) else {
            let deadline = self.new_deadline(life);
            let entry = Entry::with_text(key, text, deadline, self.clock);
            self.insert(hash, entry);
            return;
        };
        let entry = self.table.at_mut(position);
        entry.set_text(text);
        entry.touch(self.clock);
        self.renew(position, life);
    }

    /// Puts in an object or a text under a key that is not there.
    pub fn put(&mut self, key: &[u8], object: Option<Object>, text: &[u8], life: Life) {
        let deadline = self.new_deadline(life);
        let entry = match object {
            Some(object) => Entry::with_object(key, object, deadline, self.clock),
            None => Entry::with_text(key, text, deadline, self.clock),
        };
        self.insert(hash_of(key), entry);
    }

    fn insert(&mut self, hash: u64, entry: Entry) {
        if let Some(deadline) = entry.deadline() {
            self.volatile.push(Volatile {
                at_ms: deadline.at_ms,
                entry: entry.alias(),
            });
        }
        self.table.insert(hash, entry);
    }

    fn new_deadline(&self, life: Life) -> Option<Deadline> {
        match life {
            Life::Until(at_ms) => Some(Deadline {
                at_ms,
                index: self.volatile.len() as u32,
            }),
            Life::Keep | Life::Endless => None,
        }
    }

    /// After the entry may have moved: tells the list of deadlines, and changes the deadline.
    fn renew(&mut self, position: Position, life: Life) {
        let added = self.new_deadline(life);
        let entry = self.table.at_mut(position);
        let (old, new) = match (entry.deadline(), added, life) {
            (old, _, Life::Keep) => (old, old),
            (Some(old), Some(added), _) => {
                let index = old.index;
                (Some(old), Some(Deadline { index, ..added }))
            }
            (old, added, _) => (old, added),
        };
        if !matches!(life, Life::Keep) {
            entry.set_deadline(new);
        }
        let alias = entry.alias();
        let named = new.map(|new| Volatile {
            at_ms: new.at_ms,
            entry: alias,
        });
        match (old, named) {
            (Some(old), Some(named)) => self.volatile[old.index as usize] = named,
            (None, Some(named)) => self.volatile.push(named),
            (Some(old), None) => self.unlink(old.index as usize),
            (None, None) => {}
        }
    }

    /// Takes a key off the list of those with a deadline.
    fn unlink(&mut self, index: usize) {
        self.volatile.swap_remove(index);
        if let Some(moved) = self.volatile.get(index) {
            let deadline = Deadline {
                at_ms: moved.at_ms,
                index: index as u32,
            };
            // SAFETY: listed entries are alive, and nobody holds one while the list changes.
            unsafe { moved.entry.with(|entry| entry.write_deadline(deadline)) };
        }
    }

    /// Sets or removes the deadline of a key; false: there is no such key.
    pub fn set_life(&mut self, key: &[u8], life: Life) -> bool {
        let Some(position) = self.locate(key) else {
            return false;
        };
        self.renew(position, life);
        true
    }

    /// Changes a text in a buffer that can grow.
    pub fn grow_text(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
        let Some(position) = self.locate(key) else {
            return;
        };
        let entry = self.table.at_mut(position);
        entry.touch(self.clock);
        if let Some(text) = entry.text_mut() {
            change(text);
        }
        self.renew(position, Life::Keep);
    }

    fn take(&mut self, position: Position) -> Entry {
        let entry = self.table.take(position);
        if let Some(deadline) = entry.deadline() {
            self.unlink(deadline.index as usize);
        }
        entry
    }

    pub fn take_entry(&mut self, key: &[u8]) -> Option<Entry> {
        let position = self.locate(key)?;
        Some(self.take(position))
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.take_entry(key).is_some()
    }

    /// Removes all keys; whoever gets the old table frees it.
    pub fn clear(&mut self) -> Table<Entry> {
        for (key, flags) in &self.watches.0 {
            if self.table.get(key).is_some() {
                for flag in flags {
                    flag.store(true, Ordering::Relaxed);
                }
            }
        }
        self.volatile = Vec::new();
        std::mem::take(&mut self.table)
    }

    /// Tells those who watch a key that it is another one now.
    pub fn changed(&mut self, key: &[u8]) {
        if !self.watches.0.is_empty() {
            self.watches.changed(key);
        }
    }

    // --- all keys

    /// All keys that have not ended.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter().filter(|entry| !self.has_ended(entry))
    }

    /// Shows the next bucket of a scan; answers the next cursor, 0 at the end.
    pub fn scan<'a>(&'a self, cursor: u64, visit: &mut dyn FnMut(&'a Entry)) -> u64 {
        self.table.scan(cursor, &mut |entry| {
            if !self.has_ended(entry) {
                visit(entry);
            }
        })
    }

    pub fn random_key(&mut self) -> Option<Vec<u8>> {
        loop {
            let key = self.table.random(|| self.dice.draw())?.key().to_vec();
            if self.contains(&key) {
                return Some(key);
            }
        }
    }

    // --- expiry and eviction

    /// Removes keys whose time has come. A call looks at a tenth of the keys with a deadline, at
    /// more while many of them have ended, and for a bounded time.
    pub fn sweep(&mut self) {
        const BUDGET: Duration = Duration::from_millis(10);
        const BLOCK: usize = 256;
        const LEAST: usize = 1024;
        let start = Instant::now();
        let wanted = (self.volatile.len() / 10).max(LEAST);
        let mut looked = 0;
        while !self.volatile.is_empty() && start.elapsed() < BUDGET {
            let ended = self.sweep_block(BLOCK);
            looked += BLOCK;
            if looked >= wanted && ended < BLOCK / 10 {
                return;
            }
        }
    }

    /// Looks at so many keys of the list; answers how many had ended.
    fn sweep_block(&mut self, count: usize) -> usize {
        let mut ended = 0;
        for _ in 0..count.min(self.volatile.len()) {
            if self.swept >= self.volatile.len() {
                self.swept = 0;
            }
            match self.volatile.get(self.swept) {
                Some(key) if key.at_ms < self.now_ms => {
                    let alias = key.entry;
                    self.end_alias(alias);
                    ended += 1; // the last of the list has taken its place
                }
                _ => self.swept += 1,
            }
        }
        ended
    }

    fn end_alias(&mut self, alias: Alias) {
        if let Some(position) = self.position_of(alias) {
            self.end(position);
        }
    }

    fn position_of(&self, alias: Alias) -> Option<Position> {
        // SAFETY: listed entries are alive, and the table is only read here.
        unsafe { alias.with(|entry| self.table.locate(hash_of(entry.key()), entry.key())) }
    }

    /// What counts against the limit: all but the log's buffers, which a disk empties.
    pub fn counted_bytes(&self) -> usize {
        memory::used_bytes().saturating_sub(self.log.buffered_bytes())
    }

    /// Evicts keys until the memory is below its limit; false: there is nothing to evict. For
    /// many small keys in place of a large one it goes on with the next command, as Redis does.
    pub fn make_room(&mut self) -> bool {
        const BUDGET: Duration = Duration::from_millis(25);
        if self.max_memory == 0 || self.counted_bytes() <= self.max_memory {
            return true;
        }
        let start = Instant::now();
        while self.counted_bytes() > self.max_memory {
            let Some(position) = self.pick_victim() else {
                return false;
            };
            let entry = self.take(position);
            self.stats.evicted += 1;
            self.log_removal(&entry);
            let is_near = self.counted_bytes() < self.max_memory + self.max_memory / 8;
            if is_near && start.elapsed() > BUDGET {
                break;
            }
        }
        true
    }

    fn pick_victim(&mut self) -> Option<Position> {
        let dice = &mut self.dice;
        match self.policy {
            Policy::NoEviction => None,
            Policy::AllKeysRandom => {
                let alias = self.table.random(|| dice.draw())?.alias();
                self.position_of(alias)
            }
            Policy::AllKeysLru => {
                let (mut best, mut longest_ms) = (None, -1);
                let sample = self.table.sample(dice.draw(), SAMPLED_KEYS);
                for entry in sample {
                    let idle_ms = self.idle_ms(entry.clock());
                    if idle_ms > longest_ms {
                        (best, longest_ms) = (Some(entry.alias()), idle_ms);
                    }
                }
                self.position_of(best?)
            }
            Policy::VolatileLru | Policy::VolatileTtl => {
                let best = self.pick_volatile()?;
                self.position_of(best)
            }
        }
    }

    /// The best victim of a sample of the keys with a deadline.
    fn pick_volatile(&mut self) -> Option<Alias> {
        let count = self.volatile.len();
        let draws = if count == 0 { 0 } else { SAMPLED_KEYS };
        let sample: Vec<_> = (0..draws).map(|_| self.dice.below(count)).collect();
        let sample = sample.iter().map(|&index| &self.volatile[index]);
        let best = if self.policy == Policy::VolatileTtl {
            sample.min_by_key(|key| key.at_ms)
        } else {
            // SAFETY: listed entries are alive, and the store is only read here.
            sample.max_by_key(|key| unsafe { key.entry.with(|entry| self.idle_ms(entry.clock())) })
        };
        best.map(|key| key.entry)
    }

    /// The memory of a key: its blocks, and its share of the table and the list of deadlines.
    pub fn usage(&mut self, key: &[u8]) -> Option<usize> {
        let position = self.locate(key)?;
        let entry = self.table.at(position);
        let listed = if entry.deadline().is_some() {
            size_of::<Volatile>()
        } else {
            0
        };
        Some(entry.footprint() + self.table.footprint() / self.table.len() + listed)
    }
}

/// A text or an object, copied.
pub fn copy_of(entry: &Entry) -> (Option<Object>, Vec<u8>) {
    match entry.value() {
        Value::Text(text) => (None, text.to_vec()),
        Value::Object(object) => (Some(object.clone()), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store::new(Log::off(), 0, Policy::NoEviction)
    }

    fn text(store: &mut Store, key: &[u8]) -> Option<Vec<u8>> {
        store.read(key).and_then(Entry::text).map(<[u8]>::to_vec)
    }

    #[test]
    fn keys_end_when_their_time_has_come() {
        let mut store = store();
        store.now_ms = 1000;
        store.set_text(b"a", b"1", Life::Until(1500));
        store.set_text(b"b", b"2", Life::Endless);
        store.now_ms = 1500;
        assert!(store.contains(b"a"));
        store.now_ms = 1501;
        assert!(store.is_overdue(b"a") && !store.contains(b"a") && store.contains(b"b"));
        assert_eq!(
            (store.len(), store.volatile_len(), store.stats.expired),
            (1, 0, 1)
        );
    }

    #[test]
    fn the_list_of_deadlines_follows_every_change() {
        let mut store = store();
        store.now_ms = 0;
        for number in 0..1000_i64 {
            let key = number.to_string().into_bytes();
            store.set_text(&key, b"v", Life::Until(number));
        }
        for number in (0..1000).step_by(3) {
            store.remove(number.to_string().as_bytes());
        }
        for number in (1..1000).step_by(3) {
            let key = number.to_string().into_bytes();
            store.set_text(&key, &[b'x'; 500], Life::Keep); // moves the entry
            store.grow_text(&key, |text| text.push(b'y'));
        }
        for number in (2..1000).step_by(6) {
            store.set_life(number.to_string().as_bytes(), Life::Endless);
        }
        let endless = store.len() - store.volatile_len();
        assert_eq!(endless, (2..1000).step_by(6).count());
        store.now_ms = 500;
        store.sweep();
        store.sweep();
        let left = (500..1000)
            .filter(|number| number % 3 != 0 && number % 6 != 2)
            .count();
        assert_eq!(store.volatile_len(), left);
        assert_eq!(store.len(), left + endless);
        assert_eq!(text(&mut store, b"700").map(|text| text.len()), Some(501));
    }

    #[test]
    fn eviction_takes_what_the_policy_says() {
        for policy in [Policy::AllKeysLru, Policy::VolatileLru] {
            let mut store = store();
            store.policy = policy;
            for number in 0..100_i64 {
                let key = number.to_string().into_bytes();
                store.now_ms = 0;
                store.clock = u32::from(number >= 95);
                store.set_text(&key, b"v", Life::Until(10_000 + number));
            }
            store.clock = 2;
            for _ in 0..5 {
                let victim = store.pick_victim().expect("a key");
                let entry = store.take(victim);
                let number: usize = String::from_utf8_lossy(entry.key())
                    .parse()
                    .expect("a number");
                assert!(number < 95, "a key that was used later");
            }
        }
        let mut store = store();
        store.set_text(b"a", b"v", Life::Endless);
        store.policy = Policy::VolatileTtl;
        assert!(store.pick_victim().is_none());
        store.policy = Policy::NoEviction;
        assert!(store.pick_victim().is_none());
    }
}
