//! All messages of a run: what was offered, what the server said of it, and who had to receive it.

use crate::message::Text;
use crate::stream::Stream;

const NEVER: u64 = u64::MAX;

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub text: Text,
    pub sent_ns: u64,
    /// Members but its sender when it was sent.
    pub others: u32,
    /// When the server's word came; 0 before.
    pub answered_ns: u64,
    pub refused: bool,
    /// Its number in the room, as the server or a receiver said; 0 before.
    pub seq: u64,
}

/// When a user was on its way in, in the room, and on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    pub join_sent_ns: u64,
    /// 0: never joined.
    pub joined_ns: u64,
    pub leave_sent_ns: u64,
    pub gone_ns: u64,
}

/// What members had to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// To members of whom it is certain that they were in the room.
    pub low: u64,
    /// To those too that were just joining or leaving.
    pub high: u64,
    /// Of the low bound, what did not come.
    pub missing: u64,
    /// What came to somebody who was not in the room.
    pub stray: u64,
}

/// What became of the messages as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub accepted: u64,
    pub refused: u64,
    /// Messages of which the server said nothing.
    pub unanswered: u64,
    /// Deliveries that these would have been.
    pub unanswered_deliveries: u64,
    /// Messages with a lower number than one that their sender sent before.
    pub misordered: u64,
}

/// All messages in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Ledger {
    messages: Vec<Message>,
    by_seq: Vec<u32>, // place of a message + 1
    highest: u64,
    waiting: usize,
    slowest_ns: u64,
    last_answer_ns: u64,
}

impl Ledger {
    /// A message is being sent; its place is that of the text.
    pub fn offer(&mut self, text: Text, sent_ns: u64, others: usize) {
        debug_assert_eq!(text.index, self.next_index());
        self.messages.push(Message { text, sent_ns, others: others as u32, answered_ns: 0, refused: false, seq: 0 });
        self.waiting += 1;
    }

    /// The place of the next message.
    pub fn next_index(&self) -> u32 {
        self.messages.len() as u32
    }

    /// How many there are.
    pub fn offered(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The highest number that the server has given.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Whoever joined before this time must have seen the message with the highest number.
    pub fn surely_after(&self) -> u64 {
        self.last_answer_ns.saturating_sub(self.slowest_ns)
    }

    /// Whether the server has said a word on every message.
    pub fn all_answered(&self) -> bool {
        self.waiting == 0
    }

    /// The server accepted a message of this sender, or refused it (no number). False: that cannot be.
    pub fn answer(&mut self, id: u64, sender: u32, seq: Option<u64>, now_ns: u64) -> bool {
        let Some(message) = self.messages.get_mut(id as usize) else { return false };
        if message.text.sender != sender || message.answered_ns != 0 {
            return false;
        }
        message.answered_ns = now_ns;
        message.refused = seq.is_none();
        self.slowest_ns = self.slowest_ns.max(now_ns - message.sent_ns);
        self.last_answer_ns = now_ns;
        self.waiting -= 1;
        match seq {
            Some(seq) => self.number(id as usize, seq),
            None => message.seq == 0,
        }
    }

    /// A text with this number arrived: the message that it is, if it is one of ours in every byte.
    pub fn arrived(&mut self, text: Text, seq: u64) -> Option<&Message> {
        let index = text.index as usize;
        let known = self.messages.get(index).is_some_and(|message| message.text == text && !message.refused);
        (known && self.number(index, seq)).then(|| &self.messages[index])
    }

    /// The number of a text that came without one: its place among all that were sent.
    pub fn place(&mut self, text: Text) -> Option<u64> {
        let index = text.index as usize;
        let known = self.messages.get(index).is_some_and(|message| message.text == text);
        let seq = index as u64 + 1;
        (known && self.number(index, seq)).then_some(seq)
    }

    /// Whether a member already has a message that the same sender sent later.
    pub fn overtaken(&self, seq: u64, stream: &Stream) -> bool {
        let sender = self.messages[seq as usize - 1].text.sender;
        let end = self.messages.len().min(stream.highest() as usize);
        (seq as usize..end).any(|later| self.messages[later].text.sender == sender && stream.has(later as u64 + 1))
    }

    /// One message has one number, and the other way round.
    fn number(&mut self, index: usize, seq: u64) -> bool {
        if seq == 0 || seq > self.messages.len() as u64 {
            return false;
        }
        let place = seq as usize;
        if place >= self.by_seq.len() {
            self.by_seq.resize(place + 1, 0);
        }
        let (taken, message) = (self.by_seq[place], &mut self.messages[index]);
        if (taken != 0 && taken as usize != index + 1) || (message.seq != 0 && message.seq != seq) {
            return false;
        }
        self.by_seq[place] = index as u32 + 1;
        message.seq = seq;
        self.highest = self.highest.max(seq);
        true
    }

    /// What the server said of all messages.
    pub fn answers(&self) -> Answers {
        let mut found = Answers::default();
        let mut last: Vec<u64> = Vec::new(); // of each sender
        for message in &self.messages {
            if message.answered_ns == 0 {
                found.unanswered += 1;
                found.unanswered_deliveries += if message.seq == 0 { u64::from(message.others) } else { 0 };
            } else if message.refused {
                found.refused += 1;
            } else {
                found.accepted += 1;
            }
            if message.seq > 0 {
                let sender = message.text.sender as usize;
                if sender >= last.len() {
                    last.resize(sender + 1, 0);
                }
                found.misordered += u64::from(message.seq < last[sender]);
                last[sender] = last[sender].max(message.seq);
            }
        }
        found
    }

    /// Hold what a member received against what it had to receive.
    pub fn reconcile(&self, member: u32, times: &Membership, stream: &Stream, owed: &mut Owed) {
        let from = times.join_sent_ns.saturating_sub(self.slowest_ns);
        let first = self.messages.partition_point(|message| message.sent_ns < from);
        let mut arrived = 0;
        for message in &self.messages[first..] {
            if message.sent_ns > times.gone_ns {
                break;
            }
            if message.seq == 0 || message.text.sender == member {
                continue;
            }
            let accepted_ns = if message.answered_ns == 0 { NEVER } else { message.answered_ns };
            let inside =
                times.joined_ns > 0 && message.sent_ns >= times.joined_ns && accepted_ns <= times.leave_sent_ns;
            let possible = accepted_ns >= times.join_sent_ns;
            let certain = possible && (inside || stream.spans(message.seq));
            let got = possible && stream.has(message.seq);
            owed.low += u64::from(certain);
            owed.high += u64::from(possible);
            owed.missing += u64::from(certain && !got);
            arrived += u64::from(got);
        }
        owed.stray += stream.arrived.saturating_sub(arrived);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: Membership = Membership { join_sent_ns: 1, joined_ns: 2, leave_sent_ns: NEVER, gone_ns: NEVER };

    /// Messages of user 0, sent at 10, 20 ..., all accepted 5 later with the numbers 1, 2 ...
    fn ledger(count: u32) -> Ledger {
        let mut ledger = Ledger::default();
        for index in 0..count {
            let at = u64::from(index + 1) * 10;
            ledger.offer(text(index), at, 2);
            assert!(ledger.answer(index.into(), 0, Some(u64::from(index) + 1), at + 5));
        }
        ledger
    }

    fn text(index: u32) -> Text {
        Text { sender: 0, number: index, index, due_ns: 1 }
    }

    fn received(seqs: &[u64]) -> Stream {
        let mut stream = Stream::default();
        for &seq in seqs {
            stream.arrive(seq);
        }
        stream.finish();
        stream
    }

    fn owed(ledger: &Ledger, times: Membership, seqs: &[u64]) -> Owed {
        let mut owed = Owed::default();
        ledger.reconcile(1, &times, &received(seqs), &mut owed);
        owed
    }

    #[test]
    fn who_stays_must_receive_everything() {
        let three = ledger(3);
        assert_eq!(owed(&three, STAYS, &[1, 2, 3]), Owed { low: 3, high: 3, ..Owed::default() });
        assert_eq!(owed(&three, STAYS, &[1, 3]), Owed { low: 3, high: 3, missing: 1, stray: 0 });
        assert_eq!(owed(&three, STAYS, &[]), Owed { low: 3, high: 3, missing: 3, stray: 0 });
    }

    #[test]
    fn a_sender_does_not_wait_for_its_own() {
        let mut of_sender = Owed::default();
        ledger(3).reconcile(0, &STAYS, &received(&[]), &mut of_sender);
        assert_eq!(of_sender, Owed::default());
    }

    #[test]
    fn who_is_joining_or_leaving_may_receive_what_is_accepted_meanwhile() {
        // joins between 18 and 28, leaves between 42 and 52; accepted at 15, 25, 35, 45, 55
        let times = Membership { join_sent_ns: 18, joined_ns: 28, leave_sent_ns: 42, gone_ns: 52 };
        let five = ledger(5);
        assert_eq!(owed(&five, times, &[3]), Owed { low: 1, high: 4, missing: 0, stray: 0 });
        assert_eq!(owed(&five, times, &[2, 3, 4]), Owed { low: 3, high: 4, missing: 0, stray: 0 });
        assert_eq!(owed(&five, times, &[2, 4]), Owed { low: 3, high: 4, missing: 1, stray: 0 });
        assert_eq!(owed(&five, times, &[]), Owed { low: 1, high: 4, missing: 1, stray: 0 });
    }

    #[test]
    fn what_was_accepted_before_somebody_came_is_a_stray() {
        let times = Membership { join_sent_ns: 100, joined_ns: 101, ..STAYS };
        assert_eq!(owed(&ledger(2), times, &[1, 2]).stray, 2);
    }

    #[test]
    fn a_number_has_one_message_and_a_message_one_number() {
        let mut two = ledger(2);
        assert!(two.arrived(text(0), 1).is_some());
        assert!(two.arrived(text(0), 2).is_none());
        assert!(two.arrived(Text { due_ns: 9, ..text(0) }, 1).is_none());
        assert!(two.arrived(text(2), 3).is_none());
        assert!(!two.answer(0, 0, Some(1), 99), "answered twice");
        two.offer(text(2), 30, 2);
        assert!(!two.answer(2, 7, Some(3), 31), "of another sender");
        assert!(!two.answer(2, 0, Some(1), 31), "the number is taken");
    }

    #[test]
    fn without_numbers_only_a_senders_own_order_counts() {
        let mut ledger = Ledger::default();
        for (index, sender) in [0, 1, 0].into_iter().enumerate() {
            ledger.offer(Text { sender, ..text(index as u32) }, 10, 2);
        }
        assert_eq!([ledger.place(text(2)), ledger.place(text(0))], [Some(3), Some(1)]);
        assert_eq!(ledger.place(Text { due_ns: 9, ..text(0) }), None);
        assert_eq!(ledger.place(text(3)), None);
        let mut stream = Stream::unordered();
        stream.arrive(3);
        assert!(ledger.overtaken(1, &stream) && !ledger.overtaken(2, &stream));
    }

    #[test]
    fn refused_and_unanswered_messages_are_told_apart() {
        let mut some = ledger(1);
        some.offer(text(1), 20, 2);
        some.offer(text(2), 30, 2);
        assert!(some.answer(1, 0, None, 25));
        let expected = Answers { accepted: 1, refused: 1, unanswered: 1, unanswered_deliveries: 2, misordered: 0 };
        assert_eq!(some.answers(), expected);
        assert!(!some.all_answered());
        assert!(some.arrived(text(1), 2).is_none(), "a refused message reaches nobody");
    }

    #[test]
    fn a_sender_must_not_be_overtaken_by_itself() {
        let mut two = Ledger::default();
        two.offer(text(0), 10, 2);
        two.offer(text(1), 20, 2);
        assert!(two.answer(1, 0, Some(1), 30) && two.answer(0, 0, Some(2), 31));
        assert_eq!(two.answers().misordered, 1);
    }
}
