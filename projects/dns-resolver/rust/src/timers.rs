//! One deadline for each slot, without a system call and without work when it moves.
//!
//! A deadline that moves to a later time is only noted. The heap holds, for each slot, the time at
//! which somebody must look again; looking, the slot is put back at its real deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NEVER: u64 = u64::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    deadline_ms: u64,
    /// The earliest entry of the heap for this slot; later ones are leftovers.
    looked_at_ms: u64,
}

const FREE: Slot = Slot {
    deadline_ms: NEVER,
    looked_at_ms: NEVER,
};

/// Deadlines by slot: the small numbers under which exchanges and connections are kept.
#[derive(Debug, Default)]
pub struct Timers {
    slots: Vec<Slot>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Timers {
    pub fn set(&mut self, slot: usize, deadline_ms: u64) {
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, FREE);
        }
        let kept = &mut self.slots[slot];
        kept.deadline_ms = deadline_ms;
        if deadline_ms < kept.looked_at_ms {
            kept.looked_at_ms = deadline_ms;
            self.heap.push(Reverse((deadline_ms, slot)));
        }
    }

    /// The entry in the heap stays: the next user of this slot makes use of it.
    pub fn clear(&mut self, slot: usize) {
        if let Some(kept) = self.slots.get_mut(slot) {
            kept.deadline_ms = NEVER;
        }
    }

    /// When to look again.
    pub fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((time_ms, _))| *time_ms)
    }

    /// A slot whose deadline has come; it has none from now on.
    pub fn expired(&mut self, now_ms: u64) -> Option<usize> {
        while let Some(&Reverse((time_ms, slot))) = self.heap.peek() {
            if time_ms > now_ms {
                return None;
            }
            self.heap.pop();
            let kept = &mut self.slots[slot];
            if time_ms != kept.looked_at_ms {
                continue;
            }
            kept.looked_at_ms = NEVER;
            if kept.deadline_ms <= now_ms {
                kept.deadline_ms = NEVER;
                return Some(slot);
            }
            if kept.deadline_ms != NEVER {
                let deadline_ms = kept.deadline_ms;
                self.set(slot, deadline_ms);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order() {
        let mut timers = Timers::default();
        timers.set(3, 30);
        timers.set(1, 10);
        timers.set(2, 20);
        assert_eq!(timers.next_ms(), Some(10));
        assert_eq!(timers.expired(9), None);
        assert_eq!(timers.expired(25), Some(1));
        assert_eq!(timers.expired(25), Some(2));
        assert_eq!(timers.expired(25), None);
        assert_eq!(timers.expired(30), Some(3));
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn a_deadline_can_move_both_ways_and_go_away() {
        let mut timers = Timers::default();
        timers.set(0, 100);
        timers.set(0, 200);
        assert_eq!(timers.expired(150), None, "it moved to later");
        timers.set(0, 160);
        assert_eq!(timers.expired(160), Some(0), "it moved to earlier");
        timers.set(0, 300);
        timers.clear(0);
        assert_eq!(timers.expired(1000), None);
    }

    #[test]
    fn busy_slots_do_not_fill_the_heap() {
        let mut timers = Timers::default();
        for now_ms in 0..10_000 {
            timers.set(0, now_ms + 3_000);
            timers.set(0, now_ms + 400);
            timers.clear(0);
        }
        assert!(timers.heap.len() <= 2, "{} entries", timers.heap.len());
    }
}
