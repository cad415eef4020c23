//! What one member received, by the numbers of the room: once each, in order, without a hole.

use std::collections::VecDeque;

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Behind all before it.
    Right,
    /// It was there already.
    Twice,
    /// A later one came before it.
    Late,
}

/// The numbers that one member received or, of its own messages, saw accepted.
#[derive(Debug, Default)]
pub struct Stream {
    unordered: bool,
    first: u64,
    last: u64,
    holes: Vec<(u64, u64)>,
    own: VecDeque<u64>,
    /// Messages that arrived, each counted once.
    pub arrived: u64,
}

impl Stream {
    /// Where numbers say in what order messages were sent, and not in what order the server took them: they may cross.
    pub fn unordered() -> Self {
        Self { unordered: true, first: 1, ..Self::default() }
    }

    /// The number that should come next, as far as one can know.
    pub fn expected(&mut self) -> u64 {
        while self.first > 0 && self.own.front() == Some(&(self.last + 1)) {
            self.own.pop_front();
            self.last += 1;
        }
        self.last + 1
    }

    /// A message of somebody else came.
    pub fn arrive(&mut self, seq: u64) -> Arrival {
        while let Some(own) = self.own.pop_front_if(|own| *own < seq) {
            self.reach(own);
        }
        if seq > self.last {
            self.reach(seq);
        } else if !self.fill(seq) {
            return Arrival::Twice;
        } else {
            self.arrived += 1;
            return Arrival::Late;
        }
        self.arrived += 1;
        Arrival::Right
    }

    /// A message of its own was accepted. It does not come back, so it must not look like a hole.
    pub fn accept(&mut self, seq: u64) {
        if seq > self.last {
            self.own.push_back(seq); // messages before it may still be on their way
        } else {
            self.fill(seq);
        }
    }

    /// Nothing more will come: what was accepted last belongs to the stretch too.
    pub fn finish(&mut self) {
        while let Some(own) = self.own.pop_front() {
            if own > self.last {
                self.reach(own);
            }
        }
    }

    /// Whether the member was surely in the room when this message was accepted.
    pub fn spans(&self, seq: u64) -> bool {
        !self.unordered && self.within(seq)
    }

    /// Whether this message arrived (or was its own).
    pub fn has(&self, seq: u64) -> bool {
        self.within(seq) && self.hole(seq).is_err()
    }

    /// The highest number that it knows of.
    pub fn highest(&self) -> u64 {
        self.own.back().map_or(self.last, |&own| own.max(self.last))
    }

    fn within(&self, seq: u64) -> bool {
        self.first > 0 && (self.first..=self.last).contains(&seq)
    }

    fn reach(&mut self, seq: u64) {
        if self.first == 0 {
            self.first = seq;
        } else if seq > self.last + 1 {
            self.holes.push((self.last + 1, seq - 1));
        }
        self.last = seq;
    }

    /// The place of the hole that this number is in.
    fn hole(&self, seq: u64) -> Result<usize, ()> {
        let index = self.holes.partition_point(|&(_, end)| end < seq);
        match self.holes.get(index) {
            Some(&(start, _)) if start <= seq => Ok(index),
            _ => Err(()),
        }
    }

    fn fill(&mut self, seq: u64) -> bool {
        let Ok(index) = self.hole(seq) else { return false };
        let (start, end) = self.holes[index];
        let rest = [(start, seq - 1), (seq + 1, end)];
        self.holes.splice(index..=index, rest.into_iter().filter(|(start, end)| start <= end));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Late, Right, Twice};
    use super::*;

    fn after(seqs: &[u64]) -> Stream {
        let mut stream = Stream::default();
        for &seq in seqs {
            assert_eq!(stream.arrive(seq), Right);
        }
        stream
    }

    #[test]
    fn a_member_may_come_at_any_time_and_then_gets_all() {
        let mut stream = after(&[5, 6, 7]);
        assert_eq!((stream.expected(), stream.arrived), (8, 3));
        assert!(!stream.spans(4) && stream.has(5) && stream.has(7) && !stream.spans(8));
    }

    #[test]
    fn a_hole_stays_until_it_is_filled_too_late() {
        let mut stream = after(&[5, 9]);
        assert!(stream.spans(7) && !stream.has(7));
        assert_eq!(stream.arrive(7), Late);
        assert!(stream.has(7) && !stream.has(6) && !stream.has(8));
        assert_eq!(stream.arrive(7), Twice);
        assert_eq!(stream.arrive(9), Twice);
        assert_eq!(stream.arrived, 3);
    }

    #[test]
    fn numbers_that_may_cross_say_nothing_of_the_stretch() {
        let mut stream = Stream::unordered();
        assert_eq!((stream.arrive(5), stream.arrive(4), stream.arrive(4)), (Right, Late, Twice));
        assert!(!stream.spans(3) && !stream.has(3) && stream.has(4) && stream.has(5));
    }

    #[test]
    fn own_messages_are_no_holes_whenever_they_are_accepted() {
        let mut before = after(&[1]);
        before.accept(2);
        assert_eq!((before.expected(), before.arrive(3)), (3, Right));
        let mut behind = after(&[1, 3]);
        behind.accept(2);
        assert!(behind.has(2) && behind.has(3));
        let mut ahead = after(&[1]);
        ahead.accept(3); // 2 is still on its way
        assert_eq!((ahead.arrive(2), ahead.expected(), ahead.arrive(4)), (Right, 4, Right));
        assert!(ahead.holes.is_empty());
    }

    #[test]
    fn an_own_message_before_any_other_begins_the_stretch() {
        let mut stream = Stream::default();
        stream.accept(4);
        assert_eq!(stream.arrive(6), Right);
        assert!(stream.spans(4) && !stream.has(5) && stream.has(6));
        let mut alone = Stream::default();
        alone.accept(9);
        alone.finish();
        assert!(alone.spans(9));
        assert_eq!((alone.highest(), alone.arrived), (9, 0));
    }
}
