//! The listener, the event loop of a thread, its connections, and how it ends.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::take;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slab::Slab;

use crate::failure::{Failure, Result, bad_request, machine_failure, quote_value, reason};
use crate::metrics::Counters;
use crate::options::Options;
use crate::reply::{push_error, push_reply};
use crate::request::{HEAD_BYTES_MAX, Parsed, parse_request};
use crate::{log, print_text};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const BOTH_WAYS: Interest = Interest::READABLE.add(Interest::WRITABLE);
const EVENTS_PER_TURN: usize = 256;
/// After so many reads of one connection the others have their turn.
const READS_PER_TURN: usize = 16;
/// How many bytes of replies may gather before they leave.
const OUTPUT_BYTES: usize = 16 << 10;
/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(100);
/// Bounds of what is read from a client that was told to go: closing at once would take away the
/// reply that it has not read yet.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// What all threads see.
struct Shared {
    options: Options,
    counters: Counters,
    is_draining: AtomicBool,
    running: AtomicUsize,
}

/// Listens, says so, and serves until a signal ends it.
pub fn serve(options: Options) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| setup_failure(&error))?;
    let listener = TcpListener::bind(options.listen).map_err(|error| {
        let shown = quote_value(&options.listen_text);
        bad_request(format!("--listen {shown}: {}", reason(&error)))
    })?;
    let listener = std::net::TcpListener::from(listener); // which can be shared
    let shared = Arc::new(Shared {
        counters: Counters::default(),
        is_draining: AtomicBool::new(false),
        running: AtomicUsize::new(options.threads),
        options,
    });
    let workers = (0..shared.options.threads).map(|_| Worker::new(&shared, &listener));
    let workers: Vec<Worker> = workers
        .collect::<io::Result<_>>()
        .map_err(|error| setup_failure(&error))?;
    let address = listener
        .local_addr()
        .map_err(|error| setup_failure(&error))?;
    drop(listener); // the last worker to drain closes it
    print_text(&format!("listening on {address}\n"))?;
    let wakers: Vec<_> = workers.iter().map(|one| Arc::clone(&one.waker)).collect();
    for worker in workers {
        let everyone = signals.handle();
        thread::spawn(move || {
            let shared = Arc::clone(&worker.shared);
            if let Err(error) = worker.run() {
                log(&format!("error: event loop: {}", reason(&error)));
                std::process::exit(1);
            }
            if shared.running.fetch_sub(1, AcqRel) == 1 {
                everyone.close(); // the last one lets the loop below end
            }
        });
    }
    for (count, _) in signals.forever().enumerate() {
        if count > 0 {
            std::process::exit(0); // who asks twice does not want to wait
        }
        shared.is_draining.store(true, Release);
        for waker in &wakers {
            waker.wake().map_err(|error| setup_failure(&error))?;
        }
    }
    Ok(())
}

fn setup_failure(error: &io::Error) -> Failure {
    machine_failure("event loop", error)
}

/// A thread with its event loop. Threads share the listener and the counters.
struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    waker: Arc<Waker>,
    listener: Option<TcpListener>,
    connections: Slab<Connection>,
    /// Room for replies that is used again and again.
    output: Vec<u8>,
    now: Instant,
    next_tick: Instant,
    /// The machine had no room for a connection: look again at the next tick.
    accepts_again: bool,
    drain_until: Option<Instant>,
}

impl Worker {
    fn new(shared: &Arc<Shared>, listener: &std::net::TcpListener) -> io::Result<Self> {
        let mut listener = TcpListener::from_std(listener.try_clone()?);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            shared: Arc::clone(shared),
            poll,
            waker,
            listener: Some(listener),
            connections: Slab::new(),
            output: Vec::with_capacity(2 * OUTPUT_BYTES),
            now: Instant::now(),
            next_tick: Instant::now(),
            accepts_again: false,
            drain_until: None,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.is_over() {
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
                other => other?,
            }
            self.now = Instant::now();
            let mut drain_was_asked = false;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => drain_was_asked = true,
                    Token(key) => self.serve(key, event.is_read_closed()),
                }
            }
            // Behind the events: both may end connections that have one.
            if drain_was_asked {
                self.start_drain();
            }
            if self.now >= self.next_tick {
                self.tick();
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.drain_until
            .is_some_and(|end| self.connections.is_empty() || self.now >= end)
    }

    /// Takes all connections that wait; a listener that is edge triggered does not say so twice.
    fn accept(&mut self) {
        let was_pausing = take(&mut self.accepts_again);
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => {
                        if !was_pausing {
                            log(&format!("accepting pauses: {}", reason(&error)));
                        }
                        self.accepts_again = true;
                        return;
                    }
                },
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream) {
        let Shared {
            counters, options, ..
        } = &*self.shared;
        if counters.open.fetch_add(1, Relaxed) >= options.max_connections {
            counters.open.fetch_sub(1, Relaxed);
            counters.refused.fetch_add(1, Relaxed);
            return;
        }
        let place = self.connections.vacant_entry();
        let registered = stream.set_nodelay(true).and_then(|()| {
            let registry = self.poll.registry();
            registry.register(&mut stream, Token(place.key()), BOTH_WAYS)
        });
        if registered.is_err() {
            counters.open.fetch_sub(1, Relaxed);
            return;
        }
        counters.accepted.fetch_add(1, Relaxed);
        place.insert(Connection::new(stream, self.now + options.idle_timeout));
    }

    fn serve(&mut self, key: usize, client_is_done: bool) {
        let connection = &mut self.connections[key];
        let mut turn = Turn {
            shared: &self.shared,
            output: &mut self.output,
            now: self.now,
            client_is_done,
            is_draining: self.drain_until.is_some(),
        };
        let goes_on = match connection.advance(&mut turn) {
            Ok(Step::Wait) => !(turn.is_draining && connection.is_idle()),
            Ok(Step::Again) => {
                // Registering anew tells us again what is ready.
                let registry = self.poll.registry();
                let again = registry.reregister(&mut connection.stream, Token(key), BOTH_WAYS);
                again.is_ok()
            }
            Ok(Step::End) | Err(_) => false,
        };
        if !goes_on {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: usize) {
        self.connections.remove(key);
        self.shared.counters.open.fetch_sub(1, Relaxed);
    }

    fn tick(&mut self) {
        self.next_tick = self.now + TICK;
        if self.accepts_again {
            self.accept();
        }
        let now = self.now;
        self.remove_all(|connection| connection.deadline <= now);
    }

    fn remove_all(&mut self, is_over: impl Fn(&Connection) -> bool) {
        let before = self.connections.len();
        self.connections
            .retain(|_, connection| !is_over(connection));
        let gone = before - self.connections.len();
        self.shared.counters.open.fetch_sub(gone, Relaxed);
    }

    /// No new connections; idle ones end, and the others after what they do.
    fn start_drain(&mut self) {
        if !self.shared.is_draining.load(Acquire) || self.drain_until.is_some() {
            return;
        }
        self.accept(); // what waits in its queue has reached us
        self.listener = None;
        self.drain_until = Some(self.now + self.shared.options.drain_timeout);
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.serve(key, false);
        }
    }
}

/// What a connection needs of its thread for one turn.
struct Turn<'a> {
    shared: &'a Shared,
    output: &'a mut Vec<u8>,
    now: Instant,
    /// It will send no more; the end stands behind what is there.
    client_is_done: bool,
    is_draining: bool,
}

/// How a turn of a connection ended.
enum Step {
    Wait,
    /// There is more to do, but others wait as well.
    Again,
    End,
}

/// One client. Its input has room for the largest head, so that a part of one is all that ever waits.
struct Connection {
    stream: TcpStream,
    input: Box<[u8; HEAD_BYTES_MAX]>,
    filled: usize,
    /// The input may hold whole requests, left when there were replies enough.
    has_more: bool,
    /// Replies that the socket did not take yet; until it does, no more requests are done.
    kept: Vec<u8>,
    /// After the replies.
    is_ending: bool,
    /// What may still be read from a client that was told to go.
    linger_bytes: Option<usize>,
    /// For the next request, and for taking the replies.
    deadline: Instant,
}

impl Connection {
    fn new(stream: TcpStream, deadline: Instant) -> Self {
        Self {
            stream,
            input: Box::new([0; HEAD_BYTES_MAX]),
            filled: 0,
            has_more: false,
            kept: Vec::new(),
            is_ending: false,
            linger_bytes: None,
            deadline,
        }
    }

    fn is_idle(&self) -> bool {
        self.filled == 0 && self.kept.is_empty() && !self.is_ending
    }

    /// Goes on until there is nothing to read or no room to write, or others should have their turn.
    fn advance(&mut self, turn: &mut Turn<'_>) -> io::Result<Step> {
        let mut is_drained = false;
        for _ in 0..READS_PER_TURN {
            let kept = take(&mut self.kept);
            self.send(&kept)?;
            if !self.kept.is_empty() {
                return Ok(Step::Wait);
            }
            if self.is_ending {
                return self.linger(turn.now);
            }
            if !self.has_more {
                if is_drained {
                    return Ok(Step::Wait); // what comes later is an event of its own
                }
                let room = &mut self.input[self.filled..];
                let (most, received) = (room.len(), receive(&mut self.stream, room)?);
                match received {
                    None => return Ok(Step::Wait),
                    Some(0) => return Ok(Step::End),
                    Some(count) => self.filled += count,
                }
                is_drained = received < Some(most) && !turn.client_is_done;
            }
            self.answer(turn)?;
        }
        Ok(Step::Again)
    }

    /// Does the whole requests of the input, and sends the replies.
    fn answer(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let counters = &turn.shared.counters;
        let mut start = 0;
        turn.output.clear();
        self.has_more = false;
        while !self.is_ending && !self.has_more {
            match parse_request(&self.input[start..self.filled]) {
                Parsed::Part => break,
                Parsed::Refused(status) => {
                    self.is_ending = true;
                    push_error(turn.output, status, true, counters);
                }
                Parsed::Whole(request) => {
                    let framing = &request.framing;
                    self.is_ending = framing.closes || framing.has_body || turn.is_draining;
                    push_reply(turn.output, &request, self.is_ending, counters);
                    start += request.bytes;
                }
            }
            self.has_more = turn.output.len() >= OUTPUT_BYTES;
        }
        if start > 0 {
            self.deadline = turn.now + turn.shared.options.idle_timeout;
            self.input.copy_within(start..self.filled, 0);
            self.filled -= start;
        }
        self.send(turn.output)
    }

    /// Sends what the socket takes, and keeps the rest.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.kept.extend_from_slice(bytes);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets the client read the last reply before the connection is gone.
    fn linger(&mut self, now: Instant) -> io::Result<Step> {
        let mut left = if let Some(left) = self.linger_bytes {
            left
        } else {
            self.stream.shutdown(Shutdown::Write)?;
            self.deadline = now + LINGER_TIME;
            LINGER_BYTES
        };
        loop {
            match receive(&mut self.stream, &mut self.input[..])? {
                Some(count) if count > 0 && count < left => left -= count,
                Some(_) => return Ok(Step::End),
                None => break,
            }
        }
        self.linger_bytes = Some(left);
        Ok(Step::Wait)
    }
}

/// Reads once; None when nothing has come.
fn receive(stream: &mut TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match stream.read(room) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
