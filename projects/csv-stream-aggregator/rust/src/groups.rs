//! The groups: found by key, kept in blocks, listed in the order of the answer.

use std::hash::{BuildHasher, RandomState};

use crate::aggregate::ColumnState;
use crate::failure::{Result, bad_request};
use crate::record::Record;

// Groups live in blocks that never move: growing copies nothing, and memory does
// not double for a moment.
const BLOCK_GROUPS: usize = 1024;
const KEY_BLOCK_BYTES: usize = 64 << 10;
/// What all group keys together may take.
const MAX_KEY_BYTES: usize = 1 << 30;

/// One row of the answer.
#[derive(Clone, Copy, Default)]
struct Group {
    rows: u64,
    ends: KeyEnds,
    key_block: u32,
    key_offset: u32,
}

/// The length of a key and its first and last bytes, which overlap in a short one.
/// Up to sixteen bytes that is all of it: most keys are compared without a look at
/// where they are stored.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct KeyEnds {
    first: u64,
    last: u64,
    length: u32,
}

impl KeyEnds {
    #[inline]
    fn of(key: &[u8]) -> Self {
        let length = key.len() as u32;
        let (first, last) = if let (Some(first), Some(last)) =
            (key.first_chunk::<8>(), key.last_chunk::<8>())
        {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
            (
                u32::from_le_bytes(*first).into(),
                u32::from_le_bytes(*last).into(),
            )
        } else if let (Some(&first), Some(&last)) = (key.first(), key.last()) {
            (
                u64::from_le_bytes([first, key[key.len() / 2], last, 0, 0, 0, 0, 0]),
                0,
            )
        } else {
            (0, 0)
        };
        Self {
            first,
            last,
            length,
        }
    }

    fn is_whole_key(self) -> bool {
        self.length <= 16
    }
}

/// Hashes keys by multiplying and folding, seeded anew in each process: nobody can
/// prepare a file whose keys all collide.
struct KeyHasher {
    seeds: [u64; 2],
}

impl KeyHasher {
    fn new() -> Self {
        let random = RandomState::new();
        Self {
            seeds: [random.hash_one(1), random.hash_one(2)],
        }
    }

    #[inline]
    fn hash(&self, key: &[u8], ends: KeyEnds) -> u64 {
        let start = self.seeds[0] ^ u64::from(ends.length);
        if ends.is_whole_key() {
            return fold(ends.first ^ self.seeds[1], ends.last ^ start);
        }
        self.hash_long(key, start)
    }

    /// Sixteen bytes at a time; the last sixteen may overlap those before.
    fn hash_long(&self, key: &[u8], start: u64) -> u64 {
        let mix = |state, sixteen: &[u8; 16]| {
            let words = u128::from_le_bytes(*sixteen);
            fold(words as u64 ^ self.seeds[1], (words >> 64) as u64 ^ state)
        };
        let state = key.as_chunks().0.iter().fold(start, mix);
        key.last_chunk().map_or(state, |last| mix(state, last))
    }
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

struct Block {
    groups: Vec<Group>,
    states: Vec<ColumnState>,
}

/// One search, between its steps. The memory that a step needs is loaded by the
/// step before, and searches are made side by side: a table that is larger than
/// the cache would otherwise make each row wait for several misses in turn.
#[derive(Clone, Copy, Default)]
pub struct Probe {
    ends: KeyEnds,
    hash: u64,
    slot: u64,
}

impl Probe {
    /// The group that the slot names; nonsense for an empty slot.
    fn number(&self) -> usize {
        (self.slot & !TAG).wrapping_sub(1) as usize
    }
}

/// Open addressing over slots that hold 32 bits of the hash and a group number plus one.
pub struct GroupTable {
    hasher: KeyHasher,
    slots: Vec<u64>,
    blocks: Vec<Block>,
    key_blocks: Vec<Vec<u8>>, // each filled up to its capacity, never beyond
    key_bytes: usize,
    count: usize,
    max_groups: usize,
    columns: usize,
}

const TAG: u64 = !0xffff_ffff;

impl GroupTable {
    pub fn new(max_groups: usize) -> Self {
        Self {
            hasher: KeyHasher::new(),
            slots: vec![0; 1024],
            blocks: Vec::new(),
            key_blocks: Vec::new(),
            key_bytes: 0,
            count: 0,
            max_groups,
            columns: 0,
        }
    }

    /// Forgets all groups and keeps the memory.
    pub fn reset(&mut self, columns: usize) {
        if columns != self.columns {
            self.blocks.clear();
            self.columns = columns;
        }
        self.slots.fill(0);
        self.key_blocks.clear();
        self.key_bytes = 0;
        self.count = 0;
    }

    pub fn rows(&self, number: usize) -> u64 {
        self.group(number).rows
    }

    pub fn key(&self, number: usize) -> &[u8] {
        let group = self.group(number);
        let from = group.key_offset as usize;
        &self.key_blocks[group.key_block as usize][from..from + group.ends.length as usize]
    }

    /// The aggregated columns of one group.
    pub fn states(&self, number: usize) -> &[ColumnState] {
        let from = number % BLOCK_GROUPS * self.columns;
        &self.blocks[number / BLOCK_GROUPS].states[from..from + self.columns]
    }

    /// Counts one more row of the group and gives its columns.
    #[inline]
    pub fn add_row(&mut self, number: usize) -> &mut [ColumnState] {
        let from = number % BLOCK_GROUPS * self.columns;
        let block = &mut self.blocks[number / BLOCK_GROUPS];
        block.groups[number % BLOCK_GROUPS].rows += 1;
        &mut block.states[from..from + self.columns]
    }

    fn group(&self, number: usize) -> &Group {
        &self.blocks[number / BLOCK_GROUPS].groups[number % BLOCK_GROUPS]
    }

    /// Starts the search for a key: the load of its slot is under way when this returns.
    #[inline]
    pub fn probe(&self, key: &[u8]) -> Probe {
        let ends = KeyEnds::of(key);
        let hash = self.hasher.hash(key, ends);
        Probe {
            ends,
            hash,
            slot: self.slots[hash as usize & (self.slots.len() - 1)],
        }
    }

    /// Goes on to the group that the slot names; false if that is another one.
    #[inline]
    pub fn is_promising(&self, probe: &Probe) -> bool {
        probe.slot & TAG == probe.hash & TAG
            && probe.slot != 0
            && self.group(probe.number()).ends == probe.ends
    }

    /// The number of the group with this key, which is made if it is new.
    #[inline]
    pub fn finish(&mut self, key: &[u8], probe: &Probe, is_promising: bool) -> Result<usize> {
        let number = probe.number();
        if is_promising && (probe.ends.is_whole_key() || self.key(number) == key) {
            return Ok(number);
        }
        self.search(key, probe.ends, probe.hash)
    }

    /// The whole search: other groups may be in the way, or the group is new.
    fn search(&mut self, key: &[u8], ends: KeyEnds, hash: u64) -> Result<usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let probe = Probe {
                ends,
                hash,
                slot: self.slots[at],
            };
            if probe.slot == 0 {
                return self.insert(key, ends, at, hash & TAG);
            }
            let number = probe.number();
            if self.is_promising(&probe) && (ends.is_whole_key() || self.key(number) == key) {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, key: &[u8], ends: KeyEnds, at: usize, tag: u64) -> Result<usize> {
        let number = self.count;
        if number == self.max_groups {
            let most = self.max_groups;
            return Err(bad_request(format!(
                "more than {most} groups (--max-groups)"
            )));
        }
        self.key_bytes += key.len();
        if self.key_bytes > MAX_KEY_BYTES {
            return Err(bad_request(format!(
                "group keys of more than {MAX_KEY_BYTES} bytes"
            )));
        }
        if number / BLOCK_GROUPS == self.blocks.len() {
            self.blocks.push(Block {
                groups: vec![Group::default(); BLOCK_GROUPS],
                states: vec![ColumnState::default(); BLOCK_GROUPS * self.columns],
            });
        }
        let (key_block, key_offset) = self.store_key(key);
        let block = &mut self.blocks[number / BLOCK_GROUPS];
        block.groups[number % BLOCK_GROUPS] = Group {
            rows: 0,
            ends,
            key_block,
            key_offset,
        };
        let from = number % BLOCK_GROUPS * self.columns;
        block.states[from..from + self.columns].fill(ColumnState::default());
        self.count += 1;
        self.slots[at] = tag | self.count as u64;
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
        Ok(number)
    }

    fn store_key(&mut self, key: &[u8]) -> (u32, u32) {
        let room = self
            .key_blocks
            .last()
            .map_or(0, |block| block.capacity() - block.len());
        if self.key_blocks.is_empty() || room < key.len() {
            self.key_blocks
                .push(Vec::with_capacity(KEY_BLOCK_BYTES.max(key.len())));
        }
        let number = self.key_blocks.len() - 1;
        let block = &mut self.key_blocks[number];
        let offset = block.len();
        block.extend_from_slice(key);
        (number as u32, offset as u32)
    }

    /// Doubles the slots. Only 32 bits of each hash are kept, so keys are hashed again.
    fn grow(&mut self) {
        let mut slots = vec![0; 2 * self.slots.len()];
        let mask = slots.len() - 1;
        for number in 0..self.count {
            let key = self.key(number);
            let hash = self.hasher.hash(key, KeyEnds::of(key));
            let mut at = hash as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = hash & TAG | (number as u64 + 1);
        }
        self.slots = slots;
    }

    /// Lists the groups in the order of the answer: field by field, raw bytes.
    pub fn sorted(&self, key_columns: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.count as u32).collect();
        order.sort_unstable_by(|&left, &right| {
            let fields = |number: u32| KeyFields::new(self.key(number as usize), key_columns);
            fields(left).cmp(fields(right))
        });
        order
    }
}

/// Appends the key of a row. A key of several columns is each field but the last
/// behind its length in four bytes, then the last field: two different rows never
/// make the same key.
#[inline]
pub fn push_key(row: &Record, columns: &[usize], key: &mut Vec<u8>) {
    let Some((&last, others)) = columns.split_last() else {
        return;
    };
    for &column in others {
        let length_at = key.len();
        key.extend_from_slice(&[0; 4]);
        row.push_field(column, key);
        let length = (key.len() - length_at - 4) as u32;
        key[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
    row.push_field(last, key);
}

/// The fields of a key.
pub struct KeyFields<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> KeyFields<'a> {
    pub fn new(key: &'a [u8], columns: usize) -> Self {
        Self {
            rest: key,
            left: columns,
        }
    }
}

impl<'a> Iterator for KeyFields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 {
            return Some(self.rest);
        }
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        self.rest = rest;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(table: &mut GroupTable, key: &[u8]) -> Result<usize> {
        let probe = table.probe(key);
        let is_promising = table.is_promising(&probe);
        table.finish(key, &probe, is_promising)
    }

    #[test]
    fn keys_of_several_columns_never_collide_and_sort_by_field() {
        let rows = [
            ["b", "1"],
            ["a", "2"],
            ["ab", ""],
            ["a", "b"],
            ["", "ab"],
            ["a\0", "0"],
        ];
        let mut table = GroupTable::new(100);
        table.reset(0);
        for (number, row) in rows.iter().enumerate() {
            let mut key = Vec::new();
            let text = format!("{},{}", row[0], row[1]);
            let row = Record {
                buffer: text.as_bytes(),
                start: 0,
                field_ends: &[row[0].len() as u32, text.len() as u32],
            };
            push_key(&row, &[0, 1], &mut key);
            assert_eq!(find(&mut table, &key).unwrap(), number);
            assert_eq!(find(&mut table, &key).unwrap(), number);
        }
        let order = table.sorted(2);
        let sorted: Vec<Vec<&[u8]>> = (order.iter())
            .map(|&number| KeyFields::new(table.key(number as usize), 2).collect())
            .collect();
        let mut expected: Vec<Vec<&[u8]>> = (rows.iter())
            .map(|row| row.iter().map(|field| field.as_bytes()).collect())
            .collect();
        expected.sort();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn keys_of_any_length_are_told_apart() {
        let mut table = GroupTable::new(1000);
        table.reset(0);
        let key: Vec<u8> = (0..40).collect();
        for length in 0..key.len() {
            for changed in 0..=length {
                let mut other = key[..length].to_vec();
                if let Some(byte) = other.get_mut(changed) {
                    *byte ^= 0x80;
                }
                let expected = table.count;
                assert_eq!(find(&mut table, &other).unwrap(), expected);
                assert_eq!(find(&mut table, &other).unwrap(), expected);
                assert_eq!(table.key(expected), other);
            }
        }
    }

    #[test]
    fn groups_survive_growth_and_end_at_the_limit() {
        let mut table = GroupTable::new(10_000);
        for _ in 0..2 {
            table.reset(1);
            for number in 0..10_000_usize {
                let key = format!("key {number} {}", "x".repeat(number % 300));
                assert_eq!(find(&mut table, key.as_bytes()).unwrap(), number);
                table.add_row(number)[0].count += number as u64;
            }
            for number in 0..10_000_usize {
                let key = format!("key {number} {}", "x".repeat(number % 300));
                assert_eq!(table.key(number), key.as_bytes());
                assert_eq!(table.rows(number), 1);
                assert_eq!(table.states(number)[0].count, number as u64);
            }
            assert!(find(&mut table, b"one more").is_err());
        }
    }
}
