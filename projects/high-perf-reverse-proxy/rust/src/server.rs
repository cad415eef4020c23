//! Listeners, the event loop of a thread, and how it ends.

use std::collections::VecDeque;
use std::mem::take;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SocketAddrAny, SocketFlags, SocketType, sockopt,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use slab::Slab;

use crate::backend::{Backends, Pool, Probe, Upstream};
use crate::client::{Client, Guest, Phase};
use crate::failure::{Failure, Result, address_failure, machine_failure, reason};
use crate::head::{RequestHead, ResponseHead};
use crate::metrics::Counters;
use crate::options::{Options, Place};
use crate::socket::{Pipe, Socket};
use crate::timers::Timers;
use crate::{log, print_text};

/// Of the one buffer that all reads of a thread go through, and the most that waits for a slow side.
const SCRATCH_BYTES: usize = 65_536;
const EVENTS_PER_TURN: usize = 256;
const ACCEPTS_PER_TURN: usize = 64;
/// After so many steps of one connection the others have their turn.
const STEPS_PER_TURN: usize = 32;
/// How long no connection is accepted after the machine had no room for one.
const ACCEPT_PAUSE_MS: u64 = 1_000;
/// How many connections beyond the limit are told so at a time; more are closed without a word.
const MAX_SURPLUS: usize = 256;
const BACKLOG: i32 = 4096;

/// What all threads see.
pub struct Shared {
    pub options: Options,
    pub backends: Backends,
    pub counters: Vec<Arc<Counters>>,
    /// Where a client that names no host turned to.
    pub listen_name: String,
    open_connections: AtomicU64,
    clock: Instant,
}

impl Shared {
    fn new(options: Options, listen_name: String) -> Self {
        let new_counters = || Arc::new(Counters::new(options.backends.len()));
        Self {
            backends: Backends::new(&options),
            counters: std::iter::repeat_with(new_counters)
                .take(options.threads)
                .collect(),
            listen_name,
            open_connections: AtomicU64::new(0),
            clock: Instant::now(),
            options,
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// Takes one of the places for clients, if there is one.
    fn admit(&self) -> bool {
        let has_room =
            self.open_connections.fetch_add(1, Ordering::Relaxed) < self.options.max_connections;
        if !has_room {
            self.release();
        }
        has_room
    }

    fn release(&self) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens, says so, and serves until a signal ends it.
pub fn serve(options: Options) -> Result<()> {
    raise_file_limit();
    let threads = options.threads;
    let mut admin_line = String::new();
    let admin = match &options.admin {
        Some(place) => {
            let (listener, address) = listen("--admin", place)?;
            admin_line = format!("admin on {address}\n");
            Some(listener)
        }
        None => None,
    };
    let (listener, address) = listen("--listen", &options.listen)?;
    let announcement = format!("{admin_line}listening on {address}\n");
    let shared = Arc::new(Shared::new(options, address.to_string()));
    let listener = Arc::new(listener);
    let mut workers: VecDeque<Worker> = (0..threads)
        .map(|index| Worker::new(index, &shared, &listener))
        .collect::<Result<_>>()?;
    drop(listener); // the last worker to drain closes it
    let Some(mut first) = workers.pop_front() else {
        return Ok(());
    };
    first.listen_for_admin(admin)?;
    first.start_checks();
    print_text(&announcement)?;
    let start = |worker: Worker| thread::Builder::new().spawn(move || worker.run());
    let others = workers
        .into_iter()
        .map(start)
        .collect::<std::io::Result<Vec<_>>>();
    let others = others.map_err(|error| machine_failure("threads", error))?;
    first.run()?;
    for other in others {
        other.join().unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// Two descriptors a request are needed; where the limit cannot be raised, accepting pauses at it.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

fn listen(option: &str, place: &Place) -> Result<(OwnedFd, SocketAddr)> {
    let open = || -> rustix::io::Result<(OwnedFd, SocketAddr)> {
        let family = if place.address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        sockopt::set_tcp_nodelay(&fd, true)?; // accepted connections inherit it
        net::bind(&fd, &place.address)?;
        net::listen(&fd, BACKLOG)?;
        let address = SocketAddr::try_from(net::getsockname(&fd)?)?;
        Ok((fd, address))
    };
    open().map_err(|error| address_failure(option, &place.name, error))
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Listener,
    AdminListener,
    Signal,
    Client { id: usize, generation: u32 },
    Upstream { key: usize, generation: u32 },
    Probe { index: usize, generation: u32 },
}

/// Generations tell a connection from the one that had its number before, which an event of the same
/// turn may still be about. They wrap after this many.
const GENERATIONS: u32 = 1 << 24;

impl Token {
    /// Kind, generation and number in 8, 24 and 32 bits.
    pub fn encode(self) -> u64 {
        let (kind, generation, number) = match self {
            Self::Listener => (0, 0, 0),
            Self::AdminListener => (1, 0, 0),
            Self::Signal => (2, 0, 0),
            Self::Client { id, generation } => (3, generation, id),
            Self::Upstream { key, generation } => (4, generation, key),
            Self::Probe { index, generation } => (5, generation, index),
        };
        kind << 56 | u64::from(generation) << 32 | number as u64
    }

    fn decode(data: u64) -> Self {
        let generation = (data >> 32) as u32 % GENERATIONS;
        let number = data as u32 as usize;
        match data >> 56 {
            0 => Self::Listener,
            1 => Self::AdminListener,
            2 => Self::Signal,
            3 => Self::Client {
                id: number,
                generation,
            },
            4 => Self::Upstream {
                key: number,
                generation,
            },
            _ => Self::Probe {
                index: number,
                generation,
            },
        }
    }
}

/// Whether a connection can do more at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Again,
    Wait,
}

/// A thread with its event loop. Threads share nothing but the state of the backends.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub counters: Arc<Counters>,
    pub poll: OwnedFd,
    listener: Option<Arc<OwnedFd>>,
    admin_listener: Option<OwnedFd>,
    accept_again_ms: Option<u64>,
    signals: UnixStream,
    pub clients: Slab<Client>,
    surplus: usize,
    pub upstreams: Slab<Upstream>,
    pub pool: Pool,
    pub probes: Vec<Probe>,
    pub timers: Timers,
    pub probe_timers: Timers,
    pub now_ms: u64,
    generation: u32,
    /// Clients that had their turn and could do more.
    unfinished: Vec<usize>,
    pub is_draining: bool,
    drain_until_ms: u64,
    // Room that is used again and again, empty in between.
    pub pipe: Pipe,
    pub scratch: Box<[u8]>,
    pub compose: Vec<u8>,
    pub request_head: RequestHead,
    pub response_head: ResponseHead,
}

fn setup_failure(error: impl Into<std::io::Error>) -> Failure {
    machine_failure("event loop", error)
}

impl Worker {
    fn new(index: usize, shared: &Arc<Shared>, listener: &Arc<OwnedFd>) -> Result<Self> {
        let options = &shared.options;
        let poll = epoll::create(CreateFlags::CLOEXEC).map_err(setup_failure)?;
        let (signals, signal_writer) = UnixStream::pair().map_err(setup_failure)?;
        for signal in [SIGTERM, SIGINT] {
            let writer = signal_writer.try_clone().map_err(setup_failure)?;
            signal_hook::low_level::pipe::register(signal, writer).map_err(setup_failure)?;
        }
        signals.set_nonblocking(true).map_err(setup_failure)?;
        let worker = Self {
            shared: Arc::clone(shared),
            counters: Arc::clone(&shared.counters[index]),
            poll,
            listener: Some(Arc::clone(listener)),
            admin_listener: None,
            accept_again_ms: None,
            signals,
            clients: Slab::new(),
            surplus: 0,
            upstreams: Slab::new(),
            pool: Pool::new(
                options.backends.len(),
                options.pool_size.div_ceil(options.threads),
            ),
            probes: Vec::new(),
            timers: Timers::default(),
            probe_timers: Timers::default(),
            now_ms: shared.now_ms(),
            generation: 0,
            unfinished: Vec::new(),
            is_draining: false,
            drain_until_ms: u64::MAX,
            pipe: Pipe::new().map_err(setup_failure)?,
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            compose: Vec::new(),
            request_head: RequestHead::default(),
            response_head: ResponseHead::default(),
        };
        worker
            .watch(&worker.signals, Token::Signal)
            .map_err(setup_failure)?;
        worker.watch_listener().map_err(setup_failure)?;
        Ok(worker)
    }

    fn listen_for_admin(&mut self, listener: Option<OwnedFd>) -> Result<()> {
        if let Some(listener) = &listener {
            self.watch(listener, Token::AdminListener)
                .map_err(setup_failure)?;
        }
        self.admin_listener = listener;
        Ok(())
    }

    fn watch(&self, fd: impl AsFd, token: Token) -> rustix::io::Result<()> {
        epoll::add(
            &self.poll,
            fd,
            EventData::new_u64(token.encode()),
            EventFlags::IN,
        )
    }

    fn watch_listener(&self) -> rustix::io::Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        // Of several threads only one is woken for a connection.
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        epoll::add(
            &self.poll,
            &**listener,
            EventData::new_u64(Token::Listener.encode()),
            flags,
        )
    }

    pub fn next_generation(&mut self) -> u32 {
        self.generation = (self.generation + 1) % GENERATIONS;
        self.generation
    }

    fn run(mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        while !self.is_over() {
            let timeout = self.wait_time();
            match epoll::wait(&self.poll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(setup_failure(error)),
            }
            self.now_ms = self.shared.now_ms();
            self.on_events(&events);
            events.clear();
            for id in take(&mut self.unfinished) {
                self.drive(id);
            }
            self.on_time();
        }
        self.cut_unfinished();
        Ok(())
    }

    /// What is not finished when the time to drain is over must not look finished.
    fn cut_unfinished(&mut self) {
        let ids: Vec<usize> = self.clients.iter().map(|(id, _)| id).collect();
        for id in ids {
            if self.clients[id].phase == Phase::Exchange {
                self.cut(id);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_draining && (self.clients.is_empty() || self.now_ms >= self.drain_until_ms)
    }

    /// How long there is nothing to do unless an event comes.
    fn wait_time(&self) -> Option<Timespec> {
        if !self.unfinished.is_empty() {
            return Some(Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            });
        }
        let drain_ms = self.is_draining.then_some(self.drain_until_ms);
        let times = [
            self.timers.next_ms(),
            self.probe_timers.next_ms(),
            self.accept_again_ms,
            drain_ms,
        ];
        let wait_ms = times
            .into_iter()
            .flatten()
            .min()?
            .saturating_sub(self.now_ms);
        Some(Timespec {
            tv_sec: (wait_ms / 1000).cast_signed(),
            tv_nsec: (wait_ms % 1000 * 1_000_000).cast_signed(),
        })
    }

    /// Idle connections of backends come first: one that is out of step must not get a request that
    /// comes in the same turn.
    fn on_events(&mut self, events: &[Event]) {
        for event in events {
            if let Token::Upstream { key, generation } = Token::decode(event.data.u64())
                && let Some(upstream) = self.upstreams.get(key)
                && upstream.generation == generation
                && upstream.owner.is_none()
            {
                self.on_idle_upstream(key, event.flags);
            }
        }
        for event in events {
            self.on_event(Token::decode(event.data.u64()), event.flags);
        }
    }

    fn on_event(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Client { id, generation } => {
                let client = self
                    .clients
                    .get_mut(id)
                    .filter(|client| client.generation == generation);
                if let Some(client) = client {
                    client.socket.note(flags);
                    self.drive(id);
                }
            }
            Token::Upstream { key, generation } => {
                let upstream = self
                    .upstreams
                    .get_mut(key)
                    .filter(|upstream| upstream.generation == generation);
                match upstream.map(|upstream| (upstream.owner, &mut upstream.socket)) {
                    Some((Some(id), socket)) => {
                        socket.note(flags);
                        self.drive(id);
                    }
                    Some((None, _)) => self.on_idle_upstream(key, flags),
                    None => {}
                }
            }
            Token::Listener => self.accept(Guest::Public),
            Token::AdminListener => self.accept(Guest::Admin),
            Token::Signal => self.on_signal(),
            Token::Probe { index, generation } => self.on_probe_event(index, generation, flags),
        }
    }

    fn on_time(&mut self) {
        while let Some(id) = self.timers.expired(self.now_ms) {
            if self.clients.contains(id) {
                self.expire(id);
            }
        }
        while let Some(index) = self.probe_timers.expired(self.now_ms) {
            self.on_probe_timer(index);
        }
        if self
            .accept_again_ms
            .is_some_and(|time_ms| time_ms <= self.now_ms)
        {
            self.accept_again_ms = None;
            if self.watch_listener().is_err() {
                self.pause_accepting(Errno::NOMEM);
            }
        }
    }

    /// Lets a client do what it can, for a turn.
    pub fn drive(&mut self, id: usize) {
        for _ in 0..STEPS_PER_TURN {
            let Some(client) = self.clients.get_mut(id) else {
                return;
            };
            if client.phase == Phase::Dead {
                return self.remove(id);
            }
            let waiting_bytes = client.output.waiting_bytes();
            let Ok(is_flushed) = client.output.flush(&mut client.socket) else {
                self.abandon(id);
                continue;
            };
            client.exchange.has_moved |= client.output.waiting_bytes() < waiting_bytes;
            let step = match client.phase {
                Phase::Exchange => self.relay(id),
                Phase::Tunnel => self.tunnel(id),
                _ if !is_flushed => Step::Wait,
                Phase::Head => self.read_head(id),
                Phase::Closing => self.close(id),
                Phase::Linger => self.linger(id),
                Phase::Dead => Step::Again,
            };
            if step == Step::Wait && self.clients[id].phase != Phase::Dead {
                return;
            }
        }
        self.unfinished.push(id);
    }

    fn remove(&mut self, id: usize) {
        self.timers.clear(id);
        match self.clients.remove(id).guest {
            Guest::Public => {
                self.counters.connections_closed.add(1);
                self.shared.release();
            }
            Guest::Surplus => self.surplus -= 1,
            Guest::Admin => {}
        }
    }

    fn accept(&mut self, guest: Guest) {
        for _ in 0..ACCEPTS_PER_TURN {
            let listener = match guest {
                Guest::Admin => self.admin_listener.as_ref(),
                Guest::Public | Guest::Surplus => self.listener.as_deref(),
            };
            let Some(listener) = listener else {
                return;
            };
            match net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, address)) => self.welcome(fd, address, guest),
                Err(Errno::AGAIN) => return,
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    return self.pause_accepting(error);
                }
                Err(_) => {} // that connection has gone already
            }
        }
    }

    /// Without room for a connection, trying again at once would only burn the processor.
    fn pause_accepting(&mut self, error: Errno) {
        let seconds = ACCEPT_PAUSE_MS / 1000;
        log(&format!(
            "cannot accept connections for {seconds} s: {}",
            reason(&error.into())
        ));
        if let Some(listener) = &self.listener {
            // Where it is not watched, this fails, and nothing is to be done.
            let _ = epoll::delete(&self.poll, &**listener);
            self.accept_again_ms = Some(self.now_ms + ACCEPT_PAUSE_MS);
        }
    }

    fn welcome(&mut self, fd: OwnedFd, address: Option<SocketAddrAny>, guest: Guest) {
        let guest = if guest == Guest::Public && !self.shared.admit() {
            Guest::Surplus
        } else {
            guest
        };
        if guest == Guest::Surplus && self.surplus >= MAX_SURPLUS {
            return;
        }
        let generation = self.next_generation();
        let entry = self.clients.vacant_entry();
        let id = entry.key();
        let Ok(mut socket) =
            Socket::watch(fd, &self.poll, Token::Client { id, generation }.encode())
        else {
            if guest == Guest::Public {
                self.shared.release();
            }
            return;
        };
        socket.writable = true;
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        let address = address.map_or_else(String::new, |address| {
            address.ip().to_canonical().to_string()
        });
        entry.insert(Client::new(socket, generation, address, guest));
        let options = &self.shared.options;
        self.timers.set(
            id,
            self.now_ms + options.idle_timeout_ms.min(options.header_timeout_ms),
        );
        match guest {
            Guest::Public => self.counters.connections_opened.add(1),
            Guest::Admin => {}
            Guest::Surplus => {
                self.surplus += 1;
                self.clients[id].keep_alive = false;
                self.answer_error(id, 503, "too many connections");
                self.drive(id);
            }
        }
    }

    /// The first signal starts to drain, the second one ends at once.
    fn on_signal(&mut self) {
        let mut bytes = [0; 16];
        let signals = net::recv(&self.signals, &mut bytes, RecvFlags::empty())
            .map_or(0, |(length, _)| length);
        if signals == 0 {
            return;
        }
        if self.is_draining || signals > 1 {
            self.drain_until_ms = 0;
        } else {
            self.drain_until_ms = self.now_ms + self.shared.options.drain_timeout_ms;
        }
        if !self.is_draining {
            self.start_drain();
        }
    }

    /// No new connections, no idle ones; requests under way are the last ones of their connections.
    fn start_drain(&mut self) {
        self.is_draining = true;
        if let Some(listener) = self.listener.take() {
            // Other threads may still listen to it; where it is not watched, this fails.
            let _ = epoll::delete(&self.poll, &*listener);
        }
        self.admin_listener = None;
        self.accept_again_ms = None;
        let ids: Vec<usize> = self.clients.iter().map(|(id, _)| id).collect();
        for id in ids {
            let client = &mut self.clients[id];
            if client.phase == Phase::Head {
                client.socket.expect_bytes(); // a request may have come that no event has told of yet
            }
            self.drive(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Listener,
            Token::AdminListener,
            Token::Signal,
            Token::Client {
                id: 0,
                generation: 1,
            },
            Token::Upstream {
                key: u32::MAX as usize,
                generation: GENERATIONS - 1,
            },
            Token::Probe {
                index: 7,
                generation: 0,
            },
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
