//! Counts words: open addressing, linear probing, at most half full.

use std::hash::{BuildHasher, RandomState};

use crate::failure::{Result, bad_request, machine_failure};

const FIRST_SLOTS: usize = 1 << 12;
const MAX_DIFFERENT: usize = 1 << 21;
const MAX_STORED_BYTES: usize = 64 << 20;
/// What must be readable behind the start of a word that is looked up.
pub const PREFIX_BYTES: usize = 8;

/// A word and how often it was seen; a count of zero is an empty slot. The first
/// eight bytes of the word stand here: most words are no longer, so they are
/// compared without a look at where they are stored.
#[derive(Clone, Copy, Default)]
struct Slot {
    prefix: u64,
    count: u64,
    hash: u32,   // enough for the largest table, so growing hashes nothing again
    offset: u32, // in the stored words
    length: u32,
}

impl Slot {
    fn word<'a>(&self, stored: &'a [u8]) -> &'a [u8] {
        &stored[self.offset as usize..][..self.length as usize]
    }
}

pub struct Table {
    slots: Vec<Slot>, // a power of two
    stored: Vec<u8>,  // all words, one behind the other
    used: usize,
    // Per process, so that nobody can prepare a text whose words all collide.
    seeds: [u64; 2],
}

impl Table {
    pub fn new() -> Self {
        let random = RandomState::new();
        Self {
            slots: vec![Slot::default(); FIRST_SLOTS],
            stored: Vec::new(),
            used: 0,
            seeds: [random.hash_one(1), random.hash_one(2)],
        }
    }

    /// Forgets all words and keeps the memory.
    pub fn reset(&mut self) {
        self.slots.fill(Slot::default());
        self.stored.clear();
        self.used = 0;
    }

    /// All words with their counts, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let full = self.slots.iter().filter(|slot| slot.count > 0);
        full.map(|slot| (slot.count, slot.word(&self.stored)))
    }

    /// Adds the word of so many bytes at the start of `padded`, in which eight
    /// bytes can be read even if the word is shorter.
    #[inline]
    pub fn add(&mut self, padded: &[u8], length: usize) -> Result<()> {
        let mut prefix = u64::from_le_bytes(*padded.first_chunk().expect("the word is padded"));
        if length < PREFIX_BYTES {
            prefix &= (1 << (8 * length)) - 1;
        }
        let word = &padded[..length];
        let hash = self.hash(word, prefix);
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let found = &mut self.slots[index];
            if found.count == 0 {
                return self.insert(index, word, prefix, hash);
            }
            if found.prefix == prefix
                && found.length as usize == length
                && (length <= PREFIX_BYTES || found.word(&self.stored) == word)
            {
                found.count += 1;
                return Ok(());
            }
            index = (index + 1) & mask;
        }
    }

    /// Folds a word eight bytes at a time; the last eight may overlap those before.
    #[inline]
    fn hash(&self, word: &[u8], prefix: u64) -> u32 {
        let mix = |state, eight: &[u8; PREFIX_BYTES]| {
            fold(
                u64::from_le_bytes(*eight) ^ self.seeds[0],
                state ^ self.seeds[1],
            )
        };
        let start = fold(prefix ^ self.seeds[0], self.seeds[1] ^ word.len() as u64);
        if word.len() <= PREFIX_BYTES {
            return start as u32;
        }
        let middle = word[PREFIX_BYTES..].as_chunks().0;
        let state = middle.iter().fold(start, mix);
        word.last_chunk().map_or(state, |last| mix(state, last)) as u32
    }

    /// Fills an empty slot, and doubles the table when it is half full.
    #[cold]
    fn insert(&mut self, index: usize, word: &[u8], prefix: u64, hash: u32) -> Result<()> {
        if self.used == MAX_DIFFERENT {
            let text = format!("more than {MAX_DIFFERENT} different words");
            return Err(bad_request(text));
        }
        if self.stored.len() + word.len() > MAX_STORED_BYTES {
            let text = format!("more than {MAX_STORED_BYTES} bytes of different words");
            return Err(bad_request(text));
        }
        self.slots[index] = Slot {
            prefix,
            count: 1,
            hash,
            offset: self.stored.len() as u32,
            length: word.len() as u32,
        };
        let reserved = self.stored.try_reserve(word.len());
        reserved.map_err(|_| machine_failure("out of memory"))?;
        self.stored.extend_from_slice(word);
        self.used += 1;
        if self.used * 2 > self.slots.len() {
            self.grow()?;
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<()> {
        let count = 2 * self.slots.len();
        let mut slots = Vec::new();
        let reserved = slots.try_reserve_exact(count);
        reserved.map_err(|_| machine_failure("out of memory"))?;
        slots.resize(count, Slot::default());
        let mask = count - 1;
        for moved in self.slots.iter().filter(|slot| slot.count > 0) {
            let mut index = moved.hash as usize & mask;
            while slots[index].count > 0 {
                index = (index + 1) & mask;
            }
            slots[index] = *moved;
        }
        self.slots = slots;
        Ok(())
    }
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
pub mod tests {
    use std::collections::HashMap;

    use super::*;

    pub fn add_text(table: &mut Table, word: &str) -> Result<()> {
        let padded = [word.as_bytes(), &[0xff; PREFIX_BYTES]].concat();
        table.add(&padded, word.len())
    }

    #[test]
    fn words_of_all_lengths_are_told_apart() {
        let mut table = Table::new();
        let mut wanted = HashMap::new();
        for length in 0..40 {
            for last in 0..300 {
                let word = format!("{}{last}", "a".repeat(length));
                for _ in 0..=last % 2 {
                    add_text(&mut table, &word).unwrap();
                    *wanted.entry(word.clone().into_bytes()).or_insert(0) += 1;
                }
            }
        }
        let found: HashMap<_, _> = table
            .entries()
            .map(|(count, word)| (word.to_vec(), count))
            .collect();
        assert!(found == wanted, "{} words", found.len());
        assert!(table.slots.len() > FIRST_SLOTS, "the table has not grown");
        table.reset();
        assert_eq!(table.entries().count(), 0);
    }

    #[test]
    fn too_many_words_are_refused() {
        let mut table = Table::new();
        table.used = MAX_DIFFERENT;
        let failure = add_text(&mut table, "new").unwrap_err();
        assert!(failure.text.contains("different words"), "{failure}");
    }
}
