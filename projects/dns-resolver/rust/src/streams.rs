//! Clients over TCP: many requests on one connection, answered in the order they are known.
//!
//! Requests are read as long as answers are taken. A connection that says nothing for a while is
//! closed; one whose client has ended its side stays until its answers are sent.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags};
use slab::Slab;

use crate::poll::{Poll, Token, next_generation};
use crate::requests::{Desk, Origin, Verdict};
use crate::timers::Timers;
use crate::wire::HEADER_BYTES;

pub const MAX_STREAMS: usize = 1_000;
const IDLE_MS: u64 = 10_000;
const READ_BYTES: usize = 65_536;
const ACCEPTS_PER_TURN: usize = 64;
/// From here on nothing more is read until the client takes its answers.
const MAX_UNSENT_BYTES: usize = 262_144;
const MAX_WAITING: usize = 256;
/// Of the length in front of each message.
const PREFIX_BYTES: usize = 2;

struct Client {
    fd: OwnedFd,
    generation: u32,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// Requests whose answers will come.
    waiting: usize,
    /// It sends no more, or nothing that we would read.
    has_ended: bool,
    is_broken: bool,
    watched: EventFlags,
}

impl Client {
    fn is_flushed(&self) -> bool {
        self.sent == self.output.len()
    }

    fn is_idle(&self) -> bool {
        self.waiting == 0 && self.is_flushed()
    }

    fn is_full(&self) -> bool {
        self.output.len() - self.sent >= MAX_UNSENT_BYTES || self.waiting >= MAX_WAITING
    }

    fn is_over(&self) -> bool {
        self.is_broken || (self.has_ended && self.is_idle())
    }

    fn receive(&mut self, room: &mut [u8]) {
        match net::recv(&self.fd, &mut *room, RecvFlags::empty()) {
            Ok((0, _)) => self.has_ended = true,
            Ok((length, _)) => self.input.extend_from_slice(&room[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.is_broken = true,
        }
    }

    /// Hands over requests that are there whole, until answers have to be taken; tells whether there
    /// were any.
    fn read_requests(&mut self, id: usize, desk: &mut Desk) -> bool {
        let origin = Origin::Stream {
            id,
            generation: self.generation,
        };
        let mut used = 0;
        while !self.is_full() && !self.is_broken {
            let Some((&prefix, rest)) = self.input[used..].split_first_chunk() else {
                break;
            };
            let Some(request) = rest.get(..usize::from(u16::from_be_bytes(prefix))) else {
                break;
            };
            used += PREFIX_BYTES + request.len();
            self.is_broken = request.len() < HEADER_BYTES;
            let start = self.output.len();
            self.output.extend_from_slice(&[0; PREFIX_BYTES]);
            match desk.handle(request, &origin, &mut self.output) {
                Verdict::Answered => set_prefix(&mut self.output, start),
                Verdict::Waits => {
                    self.output.truncate(start);
                    self.waiting += 1;
                }
                Verdict::Ignored => self.output.truncate(start),
            }
        }
        self.input.drain(..used);
        if self.input.is_empty() {
            self.input = Vec::new(); // an idle connection keeps no room
        }
        used > 0
    }

    fn flush(&mut self) {
        while !self.is_flushed() {
            match net::send(&self.fd, &self.output[self.sent..], SendFlags::NOSIGNAL) {
                Ok(length) => self.sent += length,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.is_broken = true;
                    return;
                }
            }
        }
        (self.output, self.sent) = (Vec::new(), 0);
    }

    fn wanted(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        if !self.has_ended && !self.is_full() {
            flags |= EventFlags::IN;
        }
        if !self.is_flushed() {
            flags |= EventFlags::OUT;
        }
        flags
    }
}

fn set_prefix(output: &mut [u8], start: usize) {
    let length = (output.len() - start - PREFIX_BYTES) as u16;
    output[start..start + PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// The connections of a thread.
pub struct Streams {
    poll: Poll,
    clients: Slab<Client>,
    timers: Timers,
    generation: u32,
    /// Of all threads together.
    open: Arc<AtomicUsize>,
    room: Box<[u8]>,
    /// Clients that something was written for in this turn.
    written: Vec<usize>,
}

impl Streams {
    pub fn new(poll: &Poll, open: &Arc<AtomicUsize>) -> Self {
        Self {
            poll: poll.clone(),
            clients: Slab::new(),
            timers: Timers::default(),
            generation: 0,
            open: Arc::clone(open),
            room: vec![0; READ_BYTES].into(),
            written: Vec::new(),
        }
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Takes connections that wait. An error means that the machine has no room for more.
    pub fn accept(&mut self, listener: impl AsFd, now_ms: u64) -> rustix::io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..ACCEPTS_PER_TURN {
            match net::acceptfrom_with(&listener, flags) {
                Ok((fd, _)) => self.admit(fd, now_ms),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One more than the limit is closed at once.
    fn admit(&mut self, fd: OwnedFd, now_ms: u64) {
        if self.open.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.generation = next_generation(self.generation);
        let entry = self.clients.vacant_entry();
        let id = entry.key();
        let token = Token::Client {
            id,
            generation: self.generation,
        };
        if self.poll.watch(&fd, token, EventFlags::IN).is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        entry.insert(Client {
            fd,
            generation: self.generation,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            waiting: 0,
            has_ended: false,
            is_broken: false,
            watched: EventFlags::IN,
        });
        self.timers.set(id, now_ms + IDLE_MS);
    }

    /// Reads and answers what a client sent, and sends what it did not take before.
    pub fn on_event(
        &mut self,
        id: usize,
        generation: u32,
        flags: EventFlags,
        desk: &mut Desk,
        now_ms: u64,
    ) {
        let client = self.clients.get_mut(id);
        let Some(client) = client.filter(|client| client.generation == generation) else {
            return;
        };
        self.timers.set(id, now_ms + IDLE_MS);
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) && !flags.contains(EventFlags::IN) {
            client.is_broken = true;
        }
        if flags.contains(EventFlags::IN) && !client.has_ended {
            client.receive(&mut self.room);
        }
        self.go_on(id, desk);
    }

    fn go_on(&mut self, id: usize, desk: &mut Desk) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.flush();
        while client.read_requests(id, desk) {
            client.flush();
        }
        let wanted = client.wanted();
        if client.watched != wanted && !client.is_over() {
            client.watched = wanted;
            let token = Token::Client {
                id,
                generation: client.generation,
            };
            client.is_broken |= self.poll.change(&client.fd, token, wanted).is_err();
        }
        if client.is_over() {
            self.close(id);
        }
    }

    fn close(&mut self, id: usize) {
        self.clients.remove(id);
        self.timers.clear(id);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Appends an answer that a client waits for, unless it has gone.
    pub fn answer(&mut self, id: usize, generation: u32, write: impl Fn(&mut Vec<u8>)) {
        let client = self.clients.get_mut(id);
        let Some(client) = client.filter(|client| client.generation == generation) else {
            return;
        };
        client.waiting -= 1;
        let start = client.output.len();
        client.output.extend_from_slice(&[0; PREFIX_BYTES]);
        write(&mut client.output);
        set_prefix(&mut client.output, start);
        self.written.push(id);
    }

    /// Sends what was written in this turn, and goes on reading where that made room.
    pub fn flush(&mut self, desk: &mut Desk, now_ms: u64) {
        for id in std::mem::take(&mut self.written) {
            self.timers.set(id, now_ms + IDLE_MS);
            self.go_on(id, desk);
        }
    }

    /// Closes connections that were silent for too long.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some(id) = self.timers.expired(now_ms) {
            match self.clients.get(id) {
                // Not its fault: it waits for us.
                Some(client) if client.waiting > 0 => self.timers.set(id, now_ms + IDLE_MS),
                Some(_) => self.close(id),
                None => {}
            }
        }
    }

    /// Reads no more requests, and closes what has nothing to wait for.
    pub fn drain(&mut self, desk: &mut Desk) {
        let ids: Vec<usize> = self.clients.iter().map(|(id, _)| id).collect();
        for id in ids {
            // What has come already is answered.
            let client = &mut self.clients[id];
            if !client.has_ended {
                client.receive(&mut self.room);
            }
            client.has_ended = true;
            self.go_on(id, desk);
        }
    }
}
