//! The chat of one connection: what each of its messages does.

use std::sync::Arc;
use std::time::Instant;

use crate::bucket::Bucket;
use crate::client::{Ending, LEFT, TOO_MANY_ERRORS};
use crate::message::{self, Malformed, Reason, Request};
use crate::options::Options;
use crate::room::{ClientId, Hub};

/// So many messages that are not understood end a connection.
const MAX_ERRORS: u32 = 10;

/// What to do behind a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    GoOn,
    /// Let others have a turn before the next message is read.
    Pause,
    End(Ending),
}

pub struct Session {
    hub: Arc<Hub>,
    id: ClientId,
    bucket: Bucket,
    errors: u32,
    has_joined: bool,
}

impl Session {
    pub fn new(hub: Arc<Hub>, id: ClientId, options: &Options, now: Instant) -> Self {
        Self {
            hub,
            id,
            bucket: Bucket::new(options.rate, options.burst, now),
            errors: 0,
            has_joined: false,
        }
    }

    pub fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Whether others must have their turn before a message is read.
    pub fn must_wait(&self) -> bool {
        self.has_joined && self.hub.with(|rooms| rooms.must_wait(self.id))
    }

    /// One message of the client; the answers wait in its queue.
    pub fn receive(&mut self, source: &str, now: Instant) -> Next {
        let request = message::parse(source);
        let is_chat = match &request {
            Ok(request) => matches!(request, Request::Chat { .. }),
            Err(malformed) => malformed.is_chat,
        };
        let may_take = match &request {
            Ok(Request::Chat { .. }) if self.has_joined => self.bucket.take(now),
            _ => true,
        };
        let (id, has_joined) = (self.id, self.has_joined);
        let outcome = self.hub.with(|rooms| {
            if has_joined && !rooms.is_member(id) {
                return Outcome::Done; // it is being closed: what it still says is not heard
            }
            rooms.counters.offered += u64::from(is_chat);
            match request {
                Err(Malformed { reason, .. }) => Outcome::Bad(reason),
                Ok(Request::Join { .. }) if has_joined => Outcome::Bad(Reason::JoinedAlready),
                Ok(Request::Join { room, nick }) => {
                    rooms.join(id, &room, &nick, now);
                    Outcome::Joined
                }
                Ok(_) if !has_joined => Outcome::Bad(Reason::NotJoined),
                Ok(Request::Leave) => {
                    rooms.leave(id, now);
                    Outcome::Left
                }
                Ok(Request::Chat { id: chat_id, text }) => {
                    if may_take {
                        rooms.chat(id, chat_id, &text, now);
                    } else {
                        rooms.refuse(id, chat_id, now);
                    }
                    if rooms.must_wait(id) {
                        Outcome::Crowded
                    } else {
                        Outcome::Done
                    }
                }
            }
        });
        self.note(outcome, now)
    }

    fn note(&mut self, outcome: Outcome, now: Instant) -> Next {
        match outcome {
            Outcome::Done => Next::GoOn,
            Outcome::Crowded => Next::Pause,
            Outcome::Joined => {
                self.has_joined = true;
                Next::GoOn
            }
            Outcome::Left => Next::End(LEFT),
            Outcome::Bad(reason) => {
                self.hub.with(|rooms| rooms.report(self.id, reason, now));
                self.errors += 1;
                if self.errors < MAX_ERRORS {
                    Next::GoOn
                } else {
                    Next::End(TOO_MANY_ERRORS)
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Done,
    Crowded,
    Joined,
    Left,
    Bad(Reason),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Tally;
    use crate::frame::text_of;
    use crate::room::Rooms;
    use std::collections::VecDeque;
    use std::task::Waker;

    fn session(options: &Options) -> Session {
        let hub = Hub::new(Rooms::new(10, 100, 0));
        let id = hub.with(Rooms::connect).expect("room");
        Session::new(hub, id, options, Instant::now())
    }

    fn answers(session: &Session) -> Vec<String> {
        let mut taken = VecDeque::new();
        session.hub.with(|rooms| {
            rooms.exchange(
                session.id,
                &Tally::default(),
                &mut taken,
                false,
                Waker::noop(),
            )
        });
        taken
            .iter()
            .map(|next| text_of(&next.frame).to_owned())
            .collect()
    }

    const JOIN: &str = "{\"type\":\"join\",\"room\":\"r\",\"nick\":\"n\"}";
    const CHAT: &str = "{\"type\":\"chat\",\"id\":3,\"text\":\"x\"}";
    const LEAVE: &str = "{\"type\":\"leave\"}";

    #[test]
    fn the_tenth_error_ends_it() {
        let mut session = session(&Options::default());
        let now = Instant::now();
        for source in [CHAT, LEAVE, "x", "[]", "{}", "x", "x", "x", "x"] {
            assert_eq!(session.receive(source, now), Next::GoOn);
        }
        assert_eq!(session.receive("x", now), Next::End(TOO_MANY_ERRORS));
        let answers = answers(&session);
        assert_eq!(answers.len(), 10);
        assert_eq!(answers[0], "{\"type\":\"error\",\"reason\":\"not joined\"}");
    }

    #[test]
    fn beyond_the_burst_messages_are_refused() {
        let options = Options {
            burst: 2,
            ..Options::default()
        };
        let mut session = session(&options);
        let now = Instant::now();
        session.receive(JOIN, now);
        for _ in 0..3 {
            assert_eq!(session.receive(CHAT, now), Next::GoOn);
        }
        let refused = "{\"type\":\"refused\",\"id\":3,\"reason\":\"rate\"}";
        assert_eq!(answers(&session).last().expect("three answers"), refused);
        assert_eq!(session.receive(JOIN, now), Next::GoOn);
        let again = "{\"type\":\"error\",\"reason\":\"joined already\"}";
        assert_eq!(answers(&session), [again]);
        let text = session.hub.metrics();
        for line in ["offered_total 3", "accepted_total 2", "refused_total 1"] {
            assert!(text.contains(&format!("chat_messages_{line}\n")), "{line}");
        }
    }

    #[test]
    fn leaving_is_answered() {
        let mut session = session(&Options::default());
        let now = Instant::now();
        session.receive(JOIN, now);
        assert_eq!(session.receive(LEAVE, now), Next::End(LEFT));
        let left = "{\"type\":\"left\",\"room\":\"r\"}";
        assert_eq!(answers(&session).last().expect("an answer"), left);
    }
}
