//! The hash table of the key space and of large collections: linear hashing.
//!
//! A bucket is one cache line: tags of one byte (a part of the hash) and six items of one word.
//! When the mean load passes four items, one bucket is split in two; when it falls below one,
//! the last bucket is merged back. So the table grows and shrinks by one bucket at a time: no
//! operation ever moves more than the items of one bucket, there is no rehash pause at any
//! size, and no second table while one is under way.
//!
//! Buckets are numbered by the low bits of the hash, as in Redis, so a scan in the order of the
//! reversed bits meets every item that is there all the time, however the table changes.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::quality::RandomState;

use crate::memory::{footprint, prefetch};

/// What has a key: the text that is hashed and compared.
pub trait Keyed {
    fn key(&self) -> &[u8];
}

/// The hash of a key, seeded at random when the program starts.
pub fn hash_of(key: &[u8]) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    let mut hasher = STATE.build_hasher();
    hasher.write(key);
    hasher.finish()
}

const SLOTS: usize = 6;
/// Items per bucket beyond which a bucket is split: with more, chains become common.
const MAX_MEAN_LOAD: usize = 4;
/// The buckets that are allocated together once a table has more: 32 KiB.
const CHUNK_BUCKETS: usize = 512;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
/// The high bit of the bytes of a word that are tags.
const TAG_BITS: u64 = 0x0000_8080_8080_8080;

#[repr(C)]
struct Bucket<T> {
    tags: [u8; 8], // 0: the slot is free; the last two are no slots
    slots: [Option<T>; SLOTS],
    next: Option<Box<Bucket<T>>>,
}

/// A bucket at the head of its chain, on a cache line of its own.
#[repr(align(64))]
struct Line<T>(Bucket<T>);

pub struct Table<T> {
    chunks: Vec<Vec<Line<T>>>,
    buckets: usize,
    mask: usize, // the power of two not below `buckets`, less one
    len: usize,
}

/// Where an item is, until the table changes.
#[derive(Clone, Copy)]
pub struct Position {
    bucket: usize,
    depth: u32,
    slot: u32,
}

fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

impl<T> Bucket<T> {
    const EMPTY: Self = Self {
        tags: [0; 8],
        slots: [const { None }; SLOTS],
        next: None,
    };

    /// The slots whose tag is this one, as bits; rarely one more, never one less.
    fn candidates(&self, tag: u8) -> u64 {
        let differing = u64::from_le_bytes(self.tags) ^ (LOW_BITS * u64::from(tag));
        differing.wrapping_sub(LOW_BITS) & !differing & TAG_BITS
    }

    /// Puts an item into the first free slot of the chain.
    fn place(&mut self, tag: u8, item: T) {
        let mut bucket = self;
        loop {
            if let Some(slot) = bucket.slots.iter().position(Option::is_none) {
                bucket.slots[slot] = Some(item);
                bucket.tags[slot] = tag;
                return;
            }
            bucket = bucket.next.get_or_insert_with(|| Box::new(Self::EMPTY));
        }
    }

    /// Takes some item from the end of a chain, and drops the buckets there that are empty.
    fn take_from_end(chain: &mut Option<Box<Self>>) -> Option<(u8, T)> {
        let bucket = chain.as_mut()?;
        let taken = Self::take_from_end(&mut bucket.next).or_else(|| bucket.take_last());
        if bucket.next.is_none() && bucket.slots.iter().all(Option::is_none) {
            *chain = None;
        }
        taken
    }

    fn take_last(&mut self) -> Option<(u8, T)> {
        let slot = self.slots.iter().rposition(Option::is_some)?;
        let item = self.slots[slot].take()?;
        Some((std::mem::take(&mut self.tags[slot]), item))
    }

    fn into_items(self) -> impl Iterator<Item = (u8, T)> {
        let mut rest = self.next;
        let overflow = std::iter::from_fn(move || {
            let mut bucket = rest.take()?;
            rest = bucket.next.take();
            Some(bucket.tags.into_iter().zip(bucket.slots))
        });
        let head = self.tags.into_iter().zip(self.slots);
        let all = head.chain(overflow.flatten());
        all.filter_map(|(tag, slot)| slot.map(|item| (tag, item)))
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |bucket| bucket.next.as_deref())
    }

    fn items(&self) -> impl Iterator<Item = &T> {
        self.chain()
            .flat_map(|bucket| bucket.slots.iter().flatten())
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            buckets: 0,
            mask: 0,
            len: 0,
        }
    }
}

impl<T: Keyed> Table<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bucket of a hash: its low bits, or one bit less when that bucket is not split yet.
    fn bucket_of(&self, hash: u64) -> usize {
        let bucket = hash as usize & self.mask;
        if bucket < self.buckets {
            bucket
        } else {
            bucket & (self.mask >> 1)
        }
    }

    fn head(&self, bucket: usize) -> &Bucket<T> {
        &self.chunks[bucket / CHUNK_BUCKETS][bucket % CHUNK_BUCKETS].0
    }

    fn head_mut(&mut self, bucket: usize) -> &mut Bucket<T> {
        &mut self.chunks[bucket / CHUNK_BUCKETS][bucket % CHUNK_BUCKETS].0
    }

    /// Brings the bucket of a hash into the cache.
    pub fn prefetch(&self, hash: u64) {
        if self.len > 0 {
            prefetch(std::ptr::from_ref(self.head(self.bucket_of(hash))).cast());
        }
    }

    /// The item that is probably the one of a hash; only the bucket was looked at.
    pub fn likely(&self, hash: u64) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        let bucket = self.head(self.bucket_of(hash));
        let candidates = bucket.candidates(tag_of(hash));
        let slot = candidates.trailing_zeros() / 8;
        bucket.slots.get(slot as usize)?.as_ref()
    }

    pub fn locate(&self, hash: u64, key: &[u8]) -> Option<Position> {
        if self.len == 0 {
            return None;
        }
        let (tag, index) = (tag_of(hash), self.bucket_of(hash));
        let mut bucket = self.head(index);
        let mut depth = 0;
        loop {
            let mut candidates = bucket.candidates(tag);
            while candidates != 0 {
                let slot = candidates.trailing_zeros() / 8;
                let item = bucket.slots[slot as usize].as_ref();
                if item.is_some_and(|item| item.key() == key) {
                    return Some(Position {
                        bucket: index,
                        depth,
                        slot,
                    });
                }
                candidates &= candidates - 1;
            }
            bucket = bucket.next.as_deref()?;
            depth += 1;
        }
    }

    fn slot(&mut self, position: Position) -> (&mut u8, &mut Option<T>) {
        let mut bucket = self.head_mut(position.bucket);
        for _ in 0..position.depth {
            bucket = bucket.next.as_mut().expect("the chain of a position");
        }
        let slot = position.slot as usize;
        (&mut bucket.tags[slot], &mut bucket.slots[slot])
    }

    pub fn at_mut(&mut self, position: Position) -> &mut T {
        self.slot(position)
            .1
            .as_mut()
            .expect("the item of a position")
    }

    pub fn at(&self, position: Position) -> &T {
        let bucket = self
            .head(position.bucket)
            .chain()
            .nth(position.depth as usize);
        let item = bucket.and_then(|bucket| bucket.slots[position.slot as usize].as_ref());
        item.expect("the item of a position")
    }

    pub fn get(&self, key: &[u8]) -> Option<&T> {
        Some(self.at(self.locate(hash_of(key), key)?))
    }

    /// Puts in an item whose key is not there yet.
    pub fn insert(&mut self, hash: u64, item: T) {
        if self.len >= self.buckets * MAX_MEAN_LOAD {
            self.grow();
        }
        self.len += 1;
        let bucket = self.bucket_of(hash);
        self.head_mut(bucket).place(tag_of(hash), item);
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        Some(self.take(self.locate(hash_of(key), key)?))
    }

    pub fn take(&mut self, position: Position) -> T {
        let (tag, slot) = self.slot(position);
        *tag = 0;
        let taken = slot.take().expect("the item of a position");
        // The hole is filled from the end of the chain, so that chains stay short.
        let head = self.head_mut(position.bucket);
        if let Some((tag, filler)) = Bucket::take_from_end(&mut head.next) {
            head.place(tag, filler);
        }
        self.len -= 1;
        if self.len < self.buckets && self.buckets > 1 {
            self.shrink();
        }
        taken
    }

    /// Splits the next bucket that is due: half of its items move to a new one at the end.
    fn grow(&mut self) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_BUCKETS => {
                if last.len() == last.capacity() {
                    last.reserve_exact(last.len().min(CHUNK_BUCKETS - last.len()));
                }
                last.push(Line(Bucket::EMPTY));
            }
            full => {
                let capacity = if full.is_some() { CHUNK_BUCKETS } else { 1 };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(Line(Bucket::EMPTY));
                self.chunks.push(chunk);
            }
        }
        let added = self.buckets;
        self.buckets += 1;
        self.mask = self.buckets.next_power_of_two() - 1;
        if added == 0 {
            return;
        }
        let split = std::mem::replace(self.head_mut(added & (self.mask >> 1)), Bucket::EMPTY);
        for (tag, item) in split.into_items() {
            let bucket = self.bucket_of(hash_of(item.key()));
            self.head_mut(bucket).place(tag, item);
        }
    }

    /// Merges the last bucket into the one it was split from.
    fn shrink(&mut self) {
        let merged = (self.buckets - 1) & (self.mask >> 1);
        let last = self.chunks.last_mut().expect("a table with buckets");
        let removed = last.pop().expect("a chunk is never empty");
        if last.is_empty() {
            self.chunks.pop();
        } else if self.chunks.len() == 1 {
            let chunk = &mut self.chunks[0];
            if chunk.len() <= chunk.capacity() / 4 {
                chunk.shrink_to(chunk.len() * 2);
            }
        }
        self.buckets -= 1;
        self.mask = self.buckets.next_power_of_two() - 1;
        for (tag, item) in removed.0.into_items() {
            self.head_mut(merged).place(tag, item);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flat_map(|line| line.0.items())
    }

    /// Shows all items of the bucket that a cursor stands at; answers the next cursor, 0 at the
    /// end. The cursor counts in the reversed bits of the hash, where the items of a bucket are
    /// neighbours at every size of the table.
    pub fn scan<'a>(&'a self, cursor: u64, visit: &mut dyn FnMut(&'a T)) -> u64 {
        if self.buckets == 0 {
            return 0;
        }
        let half = self.mask >> 1;
        let low = cursor as usize & half;
        let is_split = low + half + 1 < self.buckets;
        let mask = if is_split { self.mask } else { half };
        self.head(cursor as usize & mask).items().for_each(visit);
        let next = (cursor | !(mask as u64)).reverse_bits();
        next.wrapping_add(1).reverse_bits()
    }

    /// An item of a random bucket, each with the same chance.
    pub fn random(&self, mut draw: impl FnMut() -> u64) -> Option<&T> {
        // A bucket is kept with a chance in proportion to its items; longer chains than this do
        // not occur with a random seed.
        const MOST_ITEMS: usize = 3 * SLOTS;
        if self.len == 0 {
            return None;
        }
        loop {
            let bucket = self.head(draw() as usize % self.buckets);
            let wanted = draw() as usize % MOST_ITEMS;
            if let Some(item) = bucket.items().nth(wanted) {
                return Some(item);
            }
        }
    }

    /// About so many items of neighbouring buckets, from a drawn bucket on.
    pub fn sample(&self, drawn: u64, count: usize) -> impl Iterator<Item = &T> {
        let start = drawn as usize % self.buckets.max(1);
        let buckets = (start..self.buckets).chain(0..start);
        buckets
            .flat_map(|bucket| self.head(bucket).items())
            .take(count)
    }

    /// The memory of the table itself, without what its items point to.
    pub fn footprint(&self) -> usize {
        let lines = |chunk: &Vec<Line<T>>| footprint(chunk.capacity() * size_of::<Line<T>>());
        self.chunks.iter().map(lines).sum::<usize>()
            + footprint(self.chunks.capacity() * size_of::<Vec<Line<T>>>())
    }
}

impl<T: Keyed + Clone> Clone for Table<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        for item in self.iter() {
            copy.insert(hash_of(item.key()), item.clone());
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Clone)]
    struct Item(Box<[u8]>);

    impl Keyed for Item {
        fn key(&self) -> &[u8] {
            &self.0
        }
    }

    fn key(number: usize) -> Box<[u8]> {
        number.to_string().into_bytes().into()
    }

    fn table_of(numbers: std::ops::Range<usize>) -> Table<Item> {
        let mut table = Table::default();
        for number in numbers {
            table.insert(hash_of(&key(number)), Item(key(number)));
        }
        table
    }

    #[test]
    fn a_line_is_a_cache_line() {
        assert_eq!(size_of::<Line<Box<u64>>>(), 64);
    }

    #[test]
    fn items_are_found_while_the_table_grows_and_shrinks() {
        let mut table = table_of(0..10_000);
        assert_eq!(table.iter().count(), 10_000);
        assert!((0..10_000).all(|number| table.get(&key(number)).is_some()));
        assert!(table.get(&key(10_000)).is_none());
        for number in (0..10_000).filter(|number| number % 7 != 0) {
            assert_eq!(
                table.remove(&key(number)).map(|item| item.0),
                Some(key(number))
            );
            assert!(table.remove(&key(number)).is_none());
        }
        assert_eq!(table.len(), 1429);
        assert!((0..10_000).all(|number| table.get(&key(number)).is_some() == (number % 7 == 0)));
        assert!(table.buckets <= table.len());
        for number in 0..10_000 {
            table.remove(&key(number));
        }
        assert_eq!(
            (table.len(), table.buckets, table.iter().count()),
            (0, 1, 0)
        );
    }

    #[test]
    fn a_scan_of_a_table_at_rest_shows_each_item_once() {
        for size in [0, 1, 5, 24, 100, 3000] {
            let table = table_of(0..size);
            let (mut seen, mut shown, mut cursor) = (HashSet::new(), 0, 0);
            loop {
                cursor = table.scan(cursor, &mut |item| {
                    seen.insert(item.0.clone());
                    shown += 1;
                });
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!((seen.len(), shown), (size, size));
        }
    }

    #[test]
    fn a_scan_misses_nothing_that_stays() {
        for (start, end) in [(1000, 9000), (9000, 1000), (2000, 2100)] {
            let mut table = table_of(0..start);
            let (mut seen, mut cursor, mut size) = (HashSet::new(), 0, start);
            loop {
                cursor = table.scan(cursor, &mut |item| {
                    seen.insert(item.0.clone());
                });
                if cursor == 0 {
                    break;
                }
                for _ in 0..13 {
                    if size < end {
                        table.insert(hash_of(&key(size)), Item(key(size)));
                        size += 1;
                    } else if size > end {
                        size -= 1;
                        table.remove(&key(size));
                    }
                }
            }
            let stayed = start.min(end);
            assert!(
                (0..stayed).all(|number| seen.contains(&key(number))),
                "{start} {end}"
            );
        }
    }

    #[test]
    fn random_items_are_fair() {
        let table = table_of(0..40);
        let mut counts = std::collections::HashMap::<_, u32>::new();
        let mut state = 1_u64;
        for _ in 0..40_000 {
            let item = table.random(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state >> 33
            });
            *counts.entry(item.expect("an item").0.clone()).or_default() += 1;
        }
        assert_eq!(counts.len(), 40);
        assert!(
            counts.values().all(|count| (700..1400).contains(count)),
            "{counts:?}"
        );
    }
}
