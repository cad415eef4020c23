//! ORDER BY: rendered rows sorted by their byte keys, all of them or only the first few.
//!
//! A row is rendered once, when it arrives; sorting moves 16-byte entries, not rows. Rows with equal
//! keys stay in the order of their arrival.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::error::Result;

pub enum Sorter {
    All(AllRows),
    Top(TopRows),
}

impl Sorter {
    /// `limit` is the number of rows wanted, if there is one.
    pub fn new(limit: Option<u64>) -> Self {
        match limit.and_then(|n| usize::try_from(n).ok()) {
            Some(limit) => Self::Top(TopRows { limit, heap: BinaryHeap::new(), arrivals: 0, next: None }),
            None => Self::All(AllRows::default()),
        }
    }

    /// Where to render the row with this key, or None if it cannot be among the wanted ones.
    /// `fill` must follow.
    #[inline]
    pub fn slot(&mut self, key: &[u8]) -> Option<&mut Vec<u8>> {
        match self {
            Self::All(all) => {
                all.start(key);
                Some(&mut all.bytes)
            }
            Self::Top(top) => top.start(key),
        }
    }

    #[inline]
    pub fn fill(&mut self) {
        match self {
            Self::All(all) => all.rows.push(all.bytes.len()),
            Self::Top(top) => top.heap.extend(top.next.take()),
        }
    }

    /// Gives out `count` rows from number `first` on.
    pub fn for_each_sorted(
        self,
        first: usize,
        count: usize,
        mut emit: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::All(all) => {
                let order = all.sorted();
                order.iter().skip(first).take(count).try_for_each(|&row| emit(all.row(row)))
            }
            Self::Top(top) => {
                let sorted = top.heap.into_sorted_vec();
                sorted.iter().skip(first).take(count).try_for_each(|entry| emit(&entry.row))
            }
        }
    }
}

/// Keys and rows one behind the other in one buffer: key 0, row 0, key 1, row 1 ...
#[derive(Default)]
pub struct AllRows {
    bytes: Vec<u8>,
    /// Ends of the keys, which are the starts of the rows.
    keys: Vec<usize>,
    /// Ends of the rows, which are the starts of the next keys.
    rows: Vec<usize>,
    prefixes: Vec<u64>,
}

impl AllRows {
    fn start(&mut self, key: &[u8]) {
        // A row that failed to render is cut off: it has no end yet.
        self.bytes.truncate(self.rows.last().copied().unwrap_or(0));
        self.bytes.extend_from_slice(key);
        self.keys.push(self.bytes.len());
        self.prefixes.push(prefix(key));
    }

    fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.rows[row - 1] };
        &self.bytes[start..self.keys[row]]
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.keys[row]..self.rows[row]]
    }

    fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<(u64, usize)> = self.prefixes.iter().copied().zip(0..).collect();
        // The first bytes of the key decide almost always, without a look at the buffer.
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| self.key(a.1).cmp(self.key(b.1))).then_with(|| a.1.cmp(&b.1))
        });
        order.into_iter().map(|(_, row)| row).collect()
    }
}

/// The first eight bytes after the type tag of a single number, or the first eight bytes.
fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = key.len().min(8);
    first[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(first)
}

/// The wanted rows so far, in a heap with the last of them on top.
pub struct TopRows {
    limit: usize,
    heap: BinaryHeap<Entry>,
    arrivals: u64,
    next: Option<Entry>,
}

#[derive(PartialEq, Eq)]
struct Entry {
    key: Vec<u8>,
    arrival: u64,
    row: Vec<u8>,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(self.arrival.cmp(&other.arrival))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TopRows {
    fn start(&mut self, key: &[u8]) -> Option<&mut Vec<u8>> {
        self.arrivals += 1;
        let mut entry = Entry { key: Vec::new(), arrival: self.arrivals, row: Vec::new() };
        if self.heap.len() >= self.limit {
            // A row that equals the last wanted one came later, so it is not wanted.
            if self.heap.peek().is_none_or(|last| key >= last.key.as_slice()) {
                return None;
            }
            entry = self.heap.pop().unwrap_or(entry); // its buffers are used again
            entry.arrival = self.arrivals;
        }
        entry.key.clear();
        entry.key.extend_from_slice(key);
        entry.row.clear();
        Some(&mut self.next.insert(entry).row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(limit: Option<u64>, first: usize, count: usize, rows: &[(&str, &str)]) -> Vec<String> {
        let mut sorter = Sorter::new(limit);
        for (key, row) in rows {
            if let Some(slot) = sorter.slot(key.as_bytes()) {
                slot.extend_from_slice(row.as_bytes());
                sorter.fill();
            }
        }
        let mut texts = Vec::new();
        sorter
            .for_each_sorted(first, count, |row| {
                texts.push(String::from_utf8_lossy(row).into_owned());
                Ok(())
            })
            .unwrap();
        texts
    }

    const ROWS: [(&str, &str); 6] =
        [("bbbbbbbbb2", "1"), ("a", "2"), ("bbbbbbbbb1", "3"), ("", "4"), ("a", "5"), ("bbbbbbbbb1", "6")];

    #[test]
    fn sorts_and_is_stable() {
        assert_eq!(sort(None, 0, 99, &ROWS), ["4", "2", "5", "3", "6", "1"]);
        assert_eq!(sort(None, 1, 2, &ROWS), ["2", "5"]);
    }

    #[test]
    fn top_rows_are_the_first_of_all() {
        for limit in 0..8 {
            let all = sort(None, 0, limit, &ROWS);
            assert_eq!(sort(Some(limit as u64), 0, limit, &ROWS), all);
        }
    }
}
