//! Sockets for clients, the event loop of a thread, and how it ends.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level};

use crate::datagrams::{BATCH, Extra, Incoming, Outgoing, turn_on};
use crate::failure::{Failure, Result, machine_failure, quote_value, system_failure};
use crate::hints::RootServer;
use crate::options::{Options, Place, Settings};
use crate::poll::{Events, Poll, Token, token_of};
use crate::requests::{Desk, Origin, Verdict};
use crate::resolve::Resolver;
use crate::stats::{Counters, counters_line};
use crate::streams::Streams;
use crate::{log, print_text};

const BACKLOG: i32 = 1024;
/// Batches of datagrams that are answered before other sockets have their turn.
const BATCHES_PER_TURN: usize = 16;
/// How much the kernel shall keep for us while we are busy.
const RECEIVE_BYTES: usize = 4 << 20;
/// How often a port that is free for TCP is looked for when it is not for UDP.
const PORT_DRAWS: usize = 32;
/// How long no connection is accepted after the machine had no room for one.
const ACCEPT_PAUSE_MS: u64 = 1_000;

/// What all threads see.
struct Shared {
    settings: Settings,
    roots: Vec<RootServer>,
    drain_timeout_ms: u64,
    packets: OwnedFd,
    listener: OwnedFd,
    open_streams: Arc<AtomicUsize>,
    counters: Vec<Arc<Counters>>,
    is_ending: Arc<AtomicBool>,
    wants_counters: Arc<AtomicBool>,
}

/// Listens, says so, and serves until a signal ends it.
pub fn serve(options: &Options, place: &Place, roots: Vec<RootServer>) -> Result<()> {
    raise_file_limit();
    let (packets, listener, address) = listen(place)?;
    let shared = Arc::new(Shared {
        settings: options.settings.clone(),
        roots,
        drain_timeout_ms: options.drain_timeout_ms,
        packets,
        listener,
        open_streams: Arc::default(),
        counters: std::iter::repeat_with(Arc::default)
            .take(options.threads)
            .collect(),
        is_ending: Arc::default(),
        wants_counters: Arc::default(),
    });
    catch_signals(&shared).map_err(|error| machine_failure("signals", error))?;
    let others = start_others(&shared, options.threads)?;
    let first = Worker::new(0, &shared)?;
    print_text(&format!("listening on {address}\n"))?;
    first.run()?;
    for other in others {
        other.join().unwrap_or(Ok(()))?;
    }
    log(&counters_line(&shared.counters));
    Ok(())
}

type Running = thread::JoinHandle<Result<()>>;

/// Starts all threads but the first; each is ready when this returns.
fn start_others(shared: &Arc<Shared>, threads: usize) -> Result<Vec<Running>> {
    let (sender, ready) = mpsc::channel();
    let start = |index| {
        let (shared, sender) = (Arc::clone(shared), sender.clone());
        thread::Builder::new().spawn(move || {
            // The receiver waits until every thread has said what it came to.
            match Worker::new(index, &shared) {
                Ok(worker) => {
                    let _ = sender.send(None);
                    worker.run()
                }
                Err(failure) => {
                    let _ = sender.send(Some(failure));
                    Ok(())
                }
            }
        })
    };
    let started = (1..threads).map(start).collect::<std::io::Result<Vec<_>>>();
    let started = started.map_err(|error| machine_failure("threads", error))?;
    let failure = ready.iter().take(threads - 1).flatten().next();
    failure.map_or(Ok(started), Err)
}

/// Each client over TCP has a descriptor, each question to a server may have one.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, accepting pauses at it.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

/// The first signal that ends the server arms the second, which ends the process at once.
fn catch_signals(shared: &Shared) -> std::io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 0, Arc::clone(&shared.is_ending))?;
        flag::register(signal, Arc::clone(&shared.is_ending))?;
    }
    flag::register(SIGUSR1, Arc::clone(&shared.wants_counters))?;
    Ok(())
}

/// A stream that becomes readable when a signal comes: it wakes the loop that waits for it.
fn signal_stream() -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT, SIGUSR1] {
        low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

// --- sockets

/// Opens UDP and TCP on one port.
fn listen(place: &Place) -> Result<(OwnedFd, OwnedFd, SocketAddr)> {
    let mut draws = 0;
    loop {
        match try_listen(place.address) {
            Ok(opened) => return Ok(opened),
            Err(Errno::ADDRINUSE) if place.address.port() == 0 && draws < PORT_DRAWS => draws += 1,
            Err(error) => {
                let what = format!("--listen {}", quote_value(&place.name));
                return Err(system_failure(&what, error));
            }
        }
    }
}

fn try_listen(address: SocketAddr) -> rustix::io::Result<(OwnedFd, OwnedFd, SocketAddr)> {
    let listener = new_socket(&address, SocketType::STREAM)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    sockopt::set_tcp_nodelay(&listener, true)?; // accepted connections inherit it
    net::bind(&listener, &address)?;
    net::listen(&listener, BACKLOG)?;
    let address = SocketAddr::try_from(net::getsockname(&listener)?)?;
    let packets = new_socket(&address, SocketType::DGRAM)?;
    net::bind(&packets, &address)?;
    // More than the kernel usually allows, if we may; else what it allows.
    if sockopt::set_socket_recv_buffer_size_force(&packets, RECEIVE_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&packets, RECEIVE_BYTES);
    }
    if address.ip().is_unspecified() {
        let result = turn_on(&packets, address.is_ipv4(), Extra::Destination);
        result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    }
    Ok((packets, listener, address))
}

fn new_socket(address: &SocketAddr, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    net::socket_with(family, kind, flags, None)
}

// --- a thread

/// A thread with its event loop. Threads share the sockets and the counters, nothing else.
struct Worker {
    index: usize,
    shared: Arc<Shared>,
    poll: Poll,
    signals: UnixStream,
    desk: Desk,
    streams: Streams,
    incoming: Incoming,
    outgoing: Outgoing,
    accept_again_ms: Option<u64>,
    drain_until_ms: Option<u64>,
    now_ms: u64,
}

fn setup_failure(error: impl Into<std::io::Error>) -> Failure {
    machine_failure("event loop", error)
}

impl Worker {
    fn new(index: usize, shared: &Arc<Shared>) -> Result<Self> {
        let poll = Poll::new().map_err(setup_failure)?;
        let counters = &shared.counters[index];
        let mut settings = shared.settings.clone();
        settings.cache_bytes /= shared.counters.len();
        let resolver = Resolver::new(&settings, &shared.roots, &poll, counters);
        let worker = Self {
            index,
            shared: Arc::clone(shared),
            signals: signal_stream().map_err(setup_failure)?,
            desk: Desk::new(resolver, counters, settings.edns_size),
            streams: Streams::new(&poll, &shared.open_streams),
            incoming: Incoming::new(),
            outgoing: Outgoing::new(),
            accept_again_ms: None,
            drain_until_ms: None,
            now_ms: poll.now_ms(),
            poll,
        };
        // Of several threads only one is woken for what comes.
        let exclusive = EventFlags::IN | EventFlags::EXCLUSIVE;
        let watch = || {
            let poll = &worker.poll;
            poll.watch(&shared.packets, Token::Packets, exclusive)?;
            poll.watch(&shared.listener, Token::Listener, exclusive)?;
            poll.watch(&worker.signals, Token::Signal, EventFlags::IN)
        };
        watch().map_err(setup_failure)?;
        Ok(worker)
    }

    fn run(mut self) -> Result<()> {
        let mut events = Events::new();
        // A signal may have come before there was anybody to hear it.
        self.on_signal();
        while !self.is_over() {
            let until_ms = self.next_ms();
            let waited = self.poll.wait(&mut events, self.now_ms, until_ms);
            waited.map_err(setup_failure)?;
            self.now_ms = self.poll.now_ms();
            self.desk.resolver.now_ms = self.now_ms;
            for event in &events {
                self.on_event(event);
            }
            self.settle();
            self.on_time();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.drain_until_ms.is_some_and(|until_ms| {
            let is_drained = self.streams.is_empty() && !self.desk.has_waiting();
            is_drained || self.now_ms >= until_ms
        })
    }

    /// When there is something to do even if nothing comes.
    fn next_ms(&self) -> Option<u64> {
        let times = [
            self.desk.resolver.next_ms(),
            self.streams.next_ms(),
            self.accept_again_ms,
            self.drain_until_ms,
        ];
        times.into_iter().flatten().min()
    }

    fn on_event(&mut self, event: &Event) {
        let flags = event.flags;
        match token_of(event) {
            Token::Packets => self.on_packets(),
            Token::Listener => self.accept(),
            Token::Signal => self.on_signal(),
            Token::Client { id, generation } => {
                let (desk, now_ms) = (&mut self.desk, self.now_ms);
                self.streams.on_event(id, generation, flags, desk, now_ms);
            }
            token => self.desk.resolver.on_event(token, flags),
        }
    }

    /// Answers what came in datagrams: what is known, at once and together.
    fn on_packets(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let count = self.incoming.receive(&self.shared.packets).unwrap_or(0);
            for index in 0..count {
                let (packet, peer, is_whole) = self.incoming.datagram(index);
                let out = self.outgoing.packet();
                let verdict = if is_whole {
                    self.desk.handle(packet, &Origin::Packet(*peer), out)
                } else {
                    self.desk.refuse_cut(packet, out)
                };
                if verdict == Verdict::Answered {
                    self.outgoing.push(peer, &self.shared.packets);
                }
            }
            self.outgoing.flush(&self.shared.packets);
            if count < BATCH {
                break;
            }
        }
    }

    /// Goes on with all that waits for servers, and hands out what is finished.
    fn settle(&mut self) {
        loop {
            self.desk.resolver.run();
            let finished = std::mem::take(&mut self.desk.resolver.finished);
            if finished.is_empty() {
                break;
            }
            for one in &finished {
                self.desk.finish(one, |origin, write| match *origin {
                    Origin::Packet(peer) => {
                        write(self.outgoing.packet());
                        self.outgoing.push(&peer, &self.shared.packets);
                    }
                    Origin::Stream { id, generation } => self.streams.answer(id, generation, write),
                });
            }
            self.outgoing.flush(&self.shared.packets);
            // Where answers made room, more requests may be read.
            self.streams.flush(&mut self.desk, self.now_ms);
        }
    }

    fn on_time(&mut self) {
        self.streams.expire(self.now_ms);
        let is_due = |time_ms: &mut u64| *time_ms <= self.now_ms;
        if self.accept_again_ms.take_if(is_due).is_some() && self.drain_until_ms.is_none() {
            let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
            let watched = self
                .poll
                .watch(&self.shared.listener, Token::Listener, flags);
            if watched.is_err() {
                self.accept_again_ms = Some(self.now_ms + ACCEPT_PAUSE_MS);
            }
        }
    }

    fn accept(&mut self) {
        if let Err(error) = self.streams.accept(&self.shared.listener, self.now_ms) {
            log(&format!("accepting pauses: {error}"));
            self.poll.forget(&self.shared.listener);
            self.accept_again_ms = Some(self.now_ms + ACCEPT_PAUSE_MS);
        }
    }

    fn on_signal(&mut self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.signals, &mut bytes).is_ok_and(|count| count > 0) {}
        if self.index == 0 && self.shared.wants_counters.swap(false, Ordering::SeqCst) {
            log(&counters_line(&self.shared.counters));
        }
        if self.shared.is_ending.load(Ordering::SeqCst) && self.drain_until_ms.is_none() {
            self.begin_drain();
        }
    }

    /// Answers what has come, and takes nothing more.
    fn begin_drain(&mut self) {
        self.drain_until_ms = Some(self.now_ms + self.shared.drain_timeout_ms);
        self.on_packets();
        self.poll.forget(&self.shared.packets);
        self.poll.forget(&self.shared.listener);
        self.streams.drain(&mut self.desk);
    }
}
