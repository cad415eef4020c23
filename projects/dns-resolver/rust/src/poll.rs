//! The one place where a thread waits, and the clock of its turns.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{self, Errno};

const EVENTS_PER_TURN: usize = 256;

/// What an event is about. Generations tell a connection from the one that had its number before,
/// which an event of the same turn may still be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Packets,
    Listener,
    Signal,
    /// A port from which servers are asked.
    Port(usize),
    /// A connection to a server.
    Stream {
        exchange: usize,
        generation: u32,
    },
    Client {
        id: usize,
        generation: u32,
    },
}

/// They wrap after this many.
const GENERATIONS: u32 = 1 << 24;

pub fn next_generation(generation: u32) -> u32 {
    (generation + 1) % GENERATIONS
}

impl Token {
    /// Kind, generation and number in 8, 24 and 32 bits.
    fn encode(self) -> u64 {
        let (kind, generation, number) = match self {
            Self::Packets => (0, 0, 0),
            Self::Listener => (1, 0, 0),
            Self::Signal => (2, 0, 0),
            Self::Port(slot) => (3, 0, slot),
            Self::Stream {
                exchange,
                generation,
            } => (4, generation, exchange),
            Self::Client { id, generation } => (5, generation, id),
        };
        kind << 56 | u64::from(generation) << 32 | number as u64
    }

    fn decode(data: u64) -> Self {
        let generation = (data >> 32) as u32 % GENERATIONS;
        let number = data as u32 as usize;
        match data >> 56 {
            0 => Self::Packets,
            1 => Self::Listener,
            2 => Self::Signal,
            3 => Self::Port(number),
            4 => Self::Stream {
                exchange: number,
                generation,
            },
            _ => Self::Client {
                id: number,
                generation,
            },
        }
    }
}

/// The sockets that a thread waits for. Closing a socket forgets it.
#[derive(Debug, Clone)]
pub struct Poll {
    fd: Rc<OwnedFd>,
    clock: Instant,
}

/// What came in a turn, in a buffer that is used again.
pub type Events = Vec<epoll::Event>;

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: Rc::new(epoll::create(CreateFlags::CLOEXEC)?),
            clock: Instant::now(),
        })
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    pub fn watch(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        epoll::add(&self.fd, fd, EventData::new_u64(token.encode()), flags)
    }

    pub fn change(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        epoll::modify(&self.fd, fd, EventData::new_u64(token.encode()), flags)
    }

    pub fn forget(&self, fd: impl AsFd) {
        // It may be forgotten already.
        let _ = epoll::delete(&self.fd, fd);
    }

    /// Waits for events, but not longer than until a time.
    pub fn wait(&self, events: &mut Events, now_ms: u64, until_ms: Option<u64>) -> io::Result<()> {
        events.clear();
        events.reserve(EVENTS_PER_TURN);
        let timeout = until_ms.map(|until_ms| {
            let wait_ms = until_ms.saturating_sub(now_ms);
            Timespec {
                tv_sec: (wait_ms / 1000).cast_signed(),
                tv_nsec: (wait_ms % 1000 * 1_000_000).cast_signed(),
            }
        });
        match epoll::wait(&self.fd, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub fn token_of(event: &epoll::Event) -> Token {
    Token::decode(event.data.u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Packets,
            Token::Listener,
            Token::Signal,
            Token::Port(511),
            Token::Stream {
                exchange: 9,
                generation: 7,
            },
            Token::Client {
                id: 1 << 30,
                generation: GENERATIONS - 1,
            },
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
        assert_eq!(next_generation(GENERATIONS - 1), 0);
    }
}
