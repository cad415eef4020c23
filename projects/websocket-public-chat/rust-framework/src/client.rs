//! What the server keeps of a client: the messages that wait for it, and when it was last heard.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use crate::frame::Frame;

/// Bytes that may wait for one client, beside the limit of messages.
const MAX_QUEUE_BYTES: usize = 1 << 20;
/// A queue that grew beyond this gives its memory back when it is empty again.
const KEPT_PLACES: usize = 64;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub code: u16,
    pub reason: &'static str,
}

const fn ending(code: u16, reason: &'static str) -> Ending {
    Ending { code, reason }
}

pub const LEFT: Ending = ending(1000, "left");
pub const GOING_AWAY: Ending = ending(1001, "going away");
pub const PROTOCOL_ERROR: Ending = ending(1002, "protocol error");
pub const TEXT_ONLY: Ending = ending(1003, "text only");
pub const INVALID_UTF8: Ending = ending(1007, "invalid UTF-8");
pub const JOIN_TIMEOUT: Ending = ending(1008, "join timeout");
pub const TOO_MANY_ERRORS: Ending = ending(1008, "too many errors");
pub const TOO_BIG: Ending = ending(1009, "message too large");
pub const TOO_SLOW: Ending = ending(1013, "too slow");

impl Ending {
    /// Whether the client broke the protocol: nothing it sends behind that can be trusted.
    pub fn is_violation(self) -> bool {
        matches!(self.code, 1002 | 1003 | 1007 | 1009)
    }
}

/// What a frame is to the one who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A chat message of another member: each is either delivered or dropped.
    Chat,
    /// An answer or news of the room.
    Notice,
    /// Older messages for who joins, and echoes: bounded where they are made.
    Free,
}

/// A frame on its way to a client.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub frame: Frame,
    pub kind: Kind,
}

/// What was taken out of a queue, by having been written whole or by being given up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub frames: usize,
    pub bytes: usize,
    pub chats: u64,
}

impl Tally {
    pub fn add(&mut self, outgoing: &Outgoing) {
        if matches!(outgoing.kind, Kind::Chat | Kind::Notice) {
            self.frames += 1;
            self.bytes += outgoing.frame.len();
        }
        self.chats += u64::from(outgoing.kind == Kind::Chat);
    }

    pub fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.chats += other.chats;
    }

    pub fn of<'a>(all: impl IntoIterator<Item = &'a Outgoing>) -> Self {
        let mut tally = Self::default();
        all.into_iter().for_each(|outgoing| tally.add(outgoing));
        tally
    }
}

/// The bounded queue of a client. A message counts as waiting until it is written whole, also
/// when the connection has taken it already.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Outgoing>,
    unwritten: Tally,
    max_frames: usize,
}

impl Queue {
    pub fn new(max_frames: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            unwritten: Tally::default(),
            max_frames,
        }
    }

    /// Whether there was room for it.
    pub fn push(&mut self, outgoing: Outgoing) -> bool {
        let mut unwritten = self.unwritten;
        unwritten.add(&outgoing);
        let has_room = unwritten.frames <= self.max_frames && unwritten.bytes <= MAX_QUEUE_BYTES;
        if has_room || outgoing.kind == Kind::Free {
            self.unwritten = unwritten;
            self.waiting.push_back(outgoing);
            return true;
        }
        false
    }

    /// More than half full: whoever fills it should let its owner write first.
    pub fn is_crowded(&self) -> bool {
        self.unwritten.frames > self.max_frames / 2 || self.unwritten.bytes > MAX_QUEUE_BYTES / 2
    }

    /// Moves all that waits behind what the connection has already.
    pub fn take(&mut self, into: &mut VecDeque<Outgoing>) {
        if into.is_empty() {
            mem::swap(&mut self.waiting, into);
        } else {
            into.append(&mut self.waiting);
        }
        if self.waiting.capacity() > KEPT_PLACES {
            self.waiting = VecDeque::new();
        }
    }

    /// The connection has no more to do with these.
    pub fn settle(&mut self, done: &Tally) {
        self.unwritten.frames -= done.frames;
        self.unwritten.bytes -= done.bytes;
        self.unwritten.chats -= done.chats;
    }

    /// Gives up what waits here, and says what that was.
    pub fn clear(&mut self) -> Tally {
        let given_up = Tally::of(&mem::take(&mut self.waiting));
        self.settle(&given_up);
        given_up
    }
}

/// What the clock says of a silent client.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Look again then.
    Until(Instant),
    /// Send a ping now; it is noted as sent.
    Ping,
    /// Nothing came after the ping.
    Lost,
}

/// When a client was last heard. Whatever comes from it counts, so that a read costs one store
/// and no timer is touched.
#[derive(Debug)]
pub struct Liveness {
    interval: Duration,
    timeout: Duration,
    heard_at: Instant,
    pinged_at: Option<Instant>,
}

impl Liveness {
    pub fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout,
            heard_at: now,
            pinged_at: None,
        }
    }

    pub fn hear(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    pub fn check(&mut self, now: Instant) -> Pulse {
        let due = match self.pinged_at {
            Some(pinged_at) => pinged_at + self.timeout,
            None => self.heard_at + self.interval,
        };
        if now < due {
            return Pulse::Until(due);
        }
        if self.pinged_at.is_some() {
            return Pulse::Lost;
        }
        self.pinged_at = Some(now);
        Pulse::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::seal;
    use crate::message;

    fn chat() -> Outgoing {
        let frame = message::chat(&message::chat_prefix("r", "n"), 1, "hello");
        Outgoing {
            frame,
            kind: Kind::Chat,
        }
    }

    #[test]
    fn a_queue_counts_until_it_is_written() {
        let mut queue = Queue::new(2);
        assert!(queue.push(chat()) && queue.push(chat()));
        assert!(!queue.push(chat()));
        let mut taken = VecDeque::new();
        queue.take(&mut taken);
        assert_eq!(taken.len(), 2);
        assert!(!queue.push(chat()), "taken is not written");
        queue.settle(&Tally::of(taken.iter().take(1)));
        assert!(queue.push(chat()));
        assert_eq!(queue.clear().chats, 1, "only what waits here");
        assert_eq!(queue.unwritten.frames, 1);
    }

    #[test]
    fn a_queue_has_a_limit_of_bytes_too() {
        let mut queue = Queue::new(usize::MAX);
        let kind = Kind::Notice;
        let frame = seal("x".repeat(MAX_QUEUE_BYTES / 3 - 16));
        assert!(queue.push(Outgoing {
            frame: frame.clone(),
            kind
        }));
        assert!(queue.push(Outgoing {
            frame: frame.clone(),
            kind
        }));
        assert!(queue.push(Outgoing {
            frame: frame.clone(),
            kind
        }));
        assert!(!queue.push(Outgoing {
            frame: frame.clone(),
            kind
        }));
        let kind = Kind::Free;
        assert!(queue.push(Outgoing { frame, kind }), "bounded elsewhere");
    }

    #[test]
    fn taking_keeps_the_order() {
        let mut queue = Queue::new(9);
        let mut taken = VecDeque::from([chat()]);
        let kind = Kind::Notice;
        queue.push(Outgoing {
            frame: message::left("a"),
            kind,
        });
        queue.push(Outgoing {
            frame: message::left("b"),
            kind,
        });
        queue.take(&mut taken);
        let frames: Vec<_> = taken
            .iter()
            .skip(1)
            .map(|next| next.frame.clone())
            .collect();
        assert_eq!(frames, [message::left("a"), message::left("b")]);
    }

    #[test]
    fn any_sign_of_life_renews() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let times = (Duration::from_millis(100), Duration::from_millis(50));
        let mut liveness = Liveness::new(times.0, times.1, start);
        assert_eq!(liveness.check(at(99)), Pulse::Until(at(100)));
        assert_eq!(liveness.check(at(100)), Pulse::Ping);
        assert_eq!(liveness.check(at(100)), Pulse::Until(at(150)));
        liveness.hear(at(140));
        assert_eq!(liveness.check(at(150)), Pulse::Until(at(240)));
        assert_eq!(liveness.check(at(240)), Pulse::Ping);
        assert_eq!(liveness.check(at(290)), Pulse::Lost);
    }
}
