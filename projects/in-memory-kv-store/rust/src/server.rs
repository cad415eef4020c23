//! Sockets and the event loop.
//!
//! Each thread has its own loop and its own connections. A readable connection is read once; all
//! commands that came are run; their replies are written at once. With an append-only file the
//! replies of a turn wait until its commands are in the file. A connection owns no buffers while
//! it is idle: what is read goes to a buffer of the thread, and only the beginning of an
//! unfinished command, or replies the client does not take yet, are kept beside the connection.
//! As long as a client does not take its replies, nothing more is read from it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketFlags, acceptfrom_with, getsockname, listen, recv, send,
    shutdown, sockopt,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use slab::Slab;

use crate::admin::Server;
use crate::aof::{Log, cut_torn_tail, read_log, start_rewrite};
use crate::commands::{Engine, Session, execute, find_command, write_lost};
use crate::failure::{Result, escape, machine_failure, system_failure};
use crate::options::{Address, Options};
use crate::resp::{Args, Batch, BatchEnd, MAX_QUERY_BYTES, Parser, Reply};
use crate::store::{Stats, Store};

/// What is read from a connection at once.
const INPUT_BYTES: usize = 64 << 10;
/// Replies are written when there are this many, even if more input waits.
const OUTPUT_BYTES: usize = 1 << 20;
/// A connection that has used up its input gives back larger buffers than this.
const KEPT_INPUT_BYTES: usize = 16 << 10;
/// The first step in which the buffer of a large argument grows.
const AHEAD_BYTES: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 1024;
const EVENTS: usize = 1024;
const KEEPALIVE: Duration = Duration::from_mins(5);

/// The tokens of what is no connection; connections have the numbers of their slots.
const SIGNAL_TOKEN: u64 = u64::MAX;
const LISTENER_TOKENS: u64 = 1 << 40;

// --- starting

/// Serves until a signal or SHUTDOWN ends it.
pub fn serve(options: &Options) -> Result<()> {
    let is_ending = catch_signals().map_err(|error| system_failure("signals", &error))?;
    let listeners = options
        .addresses
        .iter()
        .map(Listener::bind)
        .collect::<Result<Vec<_>>>()?;
    let listeners: Arc<[Listener]> = listeners.into();
    raise_file_limit(options.max_clients + listeners.len());
    let mut engine = load_engine(options)?;
    engine.server.tcp_port = listeners.iter().find_map(Listener::tcp_port).unwrap_or(0);
    let mut engines = run_workers(options, &listeners, &is_ending, engine)?;
    engines
        .with(|engine| engine.store.log.close())
        .map_err(|reason| {
            machine_failure(format!(
                "the append-only file could not be completed: {reason}"
            ))
        })
}

/// Runs the first worker here and the others on threads of their own; gives the engine back. All
/// is ready for clients and signals before the listeners are announced.
fn run_workers(
    options: &Options,
    listeners: &Arc<[Listener]>,
    is_ending: &AtomicBool,
    engine: Engine,
) -> Result<Engines> {
    let make_worker = |number, engine| -> Result<Worker> {
        let mut worker = Worker::new(number, options, Arc::clone(listeners), engine)?;
        // A signal may have come before the worker could hear it.
        worker.drain_end = is_ending.load(Ordering::SeqCst).then(Instant::now);
        Ok(worker)
    };
    if options.threads == 1 {
        let worker = make_worker(0, Engines::Own(Box::new(engine)))?;
        announce(listeners)?;
        return worker.run();
    }
    let engine = Arc::new(Mutex::new(engine));
    let mut workers = (0..options.threads)
        .map(|number| make_worker(number, Engines::Shared(Arc::clone(&engine))))
        .collect::<Result<Vec<_>>>()?;
    announce(listeners)?;
    let mut others = Vec::new();
    for worker in workers.drain(1..) {
        let builder = std::thread::Builder::new().name(format!("worker-{}", worker.number));
        let spawned = builder.spawn(move || worker.run());
        others.push(spawned.map_err(|error| system_failure("a thread", &error))?);
    }
    for worker in workers {
        worker.run()?;
    }
    for other in others {
        other
            .join()
            .map_err(|_| machine_failure("a thread ended by itself"))??;
    }
    Ok(Engines::Shared(engine))
}

/// The first signal that ends the server arms the second, which ends the process at once: what
/// was acknowledged is in the log already.
fn catch_signals() -> std::io::Result<Arc<AtomicBool>> {
    let is_ending = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 0, Arc::clone(&is_ending))?;
        flag::register(signal, Arc::clone(&is_ending))?;
    }
    Ok(is_ending)
}

/// A stream that becomes readable when such a signal comes: it wakes the loop that waits for it.
fn signal_stream() -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT] {
        low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

fn raise_file_limit(connections: usize) {
    const OTHER_FILES: usize = 32;
    let wanted = (connections + OTHER_FILES) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let current = Some(allowed);
    // Where it may not be raised, clients beyond it wait until others have gone.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    if allowed < wanted {
        eprintln!("only {allowed} open files are allowed: fewer clients than --maxclients");
    }
}

/// Makes the store, and replays the log into it.
fn load_engine(options: &Options) -> Result<Engine> {
    let server = Server::new(options.max_clients, options.threads, options.fsync);
    let mut engine = Engine {
        store: Store::new(Log::off(), 0, options.policy),
        server,
    };
    if let Some(path) = &options.log_path {
        let whole_bytes = if path.exists() {
            replay(&mut engine, path)?
        } else {
            0
        };
        engine.store.log = Log::open(path, whole_bytes, options.fsync)?;
    }
    engine.store.max_memory = options.max_memory;
    engine.server.forget_counters();
    engine.store.stats = Stats::default();
    Ok(engine)
}

/// Runs all commands of a log; answers where the last whole one ends.
fn replay(engine: &mut Engine, path: &Path) -> Result<u64> {
    let (mut session, mut out) = (Session::default(), Reply::default());
    engine.store.is_loading = true;
    let contents = read_log(path, |args| {
        let Some(command) = find_command(args.at(0)) else {
            return Err(format!("unknown command '{}'", escape(args.at(0))));
        };
        if !command.takes(args) {
            return Err(format!("wrong number of arguments for '{}'", command.name));
        }
        execute(engine, &mut session, args, &mut out);
        out.clear();
        Ok(())
    })?;
    session.discard(&mut engine.store);
    engine.store.is_loading = false;
    if contents.torn_bytes > 0 {
        cut_torn_tail(path, &contents)?;
    }
    Ok(contents.whole_bytes)
}

fn announce(listeners: &[Listener]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut lines = listeners.iter();
    let printed = lines.try_for_each(|listener| writeln!(out, "listening on {}", listener.name));
    let printed = printed.and_then(|()| out.flush());
    printed.map_err(|error| system_failure("standard output", &error))
}

// --- listeners

struct Listener {
    name: String,
    socket: OwnedFd,
    address: Option<SocketAddr>, // of TCP
    path: Option<PathBuf>,       // of a unix socket, which goes with the listener
}

impl Listener {
    fn bind(address: &Address) -> Result<Self> {
        let (shown, bound) = match address {
            Address::Tcp(address) => (address.to_string(), Self::bind_tcp(*address)),
            Address::Unix(path) => (format!("unix:{}", path.display()), Self::bind_unix(path)),
        };
        bound.map_err(|error| system_failure(&format!("--listen {shown}"), &error))
    }

    fn bind_tcp(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        listen(&listener, BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self {
            name: address.to_string(),
            socket: listener.into(),
            address: Some(address),
            path: None,
        })
    }

    fn bind_unix(path: &Path) -> std::io::Result<Self> {
        // A socket that nobody listens on any more is left over from a server that was killed.
        let is_left_over = UnixStream::connect(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        if is_left_over {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        listen(&listener, BACKLOG)?;
        Ok(Self {
            name: format!("unix:{}", path.display()),
            socket: listener.into(),
            address: None,
            path: Some(path.to_owned()),
        })
    }

    fn tcp_port(&self) -> Option<u16> {
        self.address.map(|address| address.port())
    }

    /// Refuses clients from now on.
    fn stop(&self) {
        // It may have stopped already: then there is nothing to do.
        let _ = shutdown(&self.socket, Shutdown::Both);
        self.remove_path();
    }

    fn remove_path(&self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.remove_path();
    }
}

// --- threads

/// The engine of a thread: its own, without a lock, or one that it shares.
enum Engines {
    Own(Box<Engine>),
    Shared(Arc<Mutex<Engine>>),
}

impl Engines {
    fn with<R>(&mut self, work: impl FnOnce(&mut Engine) -> R) -> R {
        match self {
            Self::Own(engine) => work(engine),
            // A panic aborts the process, so nobody meets a poisoned lock.
            Self::Shared(engine) => {
                work(&mut engine.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

struct Connection {
    socket: OwnedFd,
    session: Session,
    parser: Parser,
    input: Vec<u8>, // commands that were not run yet
    unsent: Vec<u8>,
    sent: usize, // of `unsent`
    waits_to_write: bool,
    has_ended: bool, // the client sends no more
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.input.is_empty()
    }

    /// Makes room for the next read. A large argument gets what it still needs in steps: its
    /// declared length alone takes no memory.
    fn make_room(&mut self) {
        let present = self.input.len();
        match self.parser.missing_bytes(present) {
            0 => self.input.reserve(INPUT_BYTES),
            missing => {
                let step = missing.min(AHEAD_BYTES.max(present / 2));
                self.input.reserve_exact(step.max(INPUT_BYTES));
            }
        }
    }

    /// Keeps the input that a run has left over.
    fn keep(&mut self, mut text: Vec<u8>, used: usize) {
        text.drain(..used);
        if text.is_empty() && text.capacity() > KEPT_INPUT_BYTES {
            text = Vec::new();
            self.parser.shrink();
        }
        self.input = text;
    }
}

/// A part of the output and the connection it belongs to.
struct Due {
    slot: usize,
    range: Range<usize>,
}

/// How far a run has come.
struct Ran {
    used: usize,
    is_full: bool, // the output is: more input waits
}

struct Worker {
    number: usize,
    epoll: OwnedFd,
    listeners: Arc<[Listener]>,
    signals: UnixStream,
    engines: Engines,
    connections: Slab<Connection>,
    input: Vec<u8>,
    batch: Batch,
    out: Reply,
    dues: Vec<Due>,
    logged: Vec<Range<usize>>, // the parts of the output that answer logged commands
    is_logging: bool,
    accepts: bool,
    last_tick: Instant,
    drain_timeout: Duration,
    drain_end: Option<Instant>,
}

impl Worker {
    fn new(
        number: usize,
        options: &Options,
        listeners: Arc<[Listener]>,
        engines: Engines,
    ) -> Result<Self> {
        let make = || -> std::io::Result<(OwnedFd, UnixStream)> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let signals = signal_stream()?;
            let token = epoll::EventData::new_u64(SIGNAL_TOKEN);
            epoll::add(&epoll, &signals, token, epoll::EventFlags::IN)?;
            // A client wakes one thread, not all.
            let exclusive = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
            for (index, listener) in listeners.iter().enumerate() {
                let token = epoll::EventData::new_u64(LISTENER_TOKENS + index as u64);
                epoll::add(&epoll, &listener.socket, token, exclusive)?;
            }
            Ok((epoll, signals))
        };
        let (epoll, signals) = make().map_err(|error| system_failure("epoll", &error))?;
        Ok(Self {
            number,
            epoll,
            listeners,
            signals,
            engines,
            connections: Slab::new(),
            input: vec![0; INPUT_BYTES],
            batch: Batch::default(),
            out: Reply::default(),
            dues: Vec::new(),
            logged: Vec::new(),
            is_logging: options.log_path.is_some(),
            accepts: true,
            last_tick: Instant::now(),
            drain_timeout: options.drain_timeout,
            drain_end: None,
        })
    }

    /// The loop; gives the engine back at its end.
    fn run(mut self) -> Result<Engines> {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.is_drained() {
            events.clear();
            match epoll::wait(
                &self.epoll,
                spare_capacity(&mut events),
                self.patience().as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(system_failure("epoll", &error.into())),
            }
            self.turn(&events);
        }
        Ok(self.engines)
    }

    /// How long to wait for events. Only the first thread has work without any.
    fn patience(&self) -> Option<Timespec> {
        let has_ticks = self.number == 0 || self.drain_end.is_some() || !self.accepts;
        has_ticks.then(|| Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(TICK.subsec_nanos()),
        })
    }

    fn turn(&mut self, events: &[epoll::Event]) {
        let mut has_signal = false;
        let mut has_clients = false;
        for event in events {
            let (flags, token) = (event.flags, event.data.u64());
            match token {
                SIGNAL_TOKEN => has_signal = true,
                LISTENER_TOKENS.. => has_clients = true,
                slot => self.attend(slot as usize, flags),
            }
        }
        self.settle();
        // Last, so that an event of this turn cannot meet a new connection in an old slot.
        if has_clients && self.drain_end.is_none() {
            self.accept_all();
        }
        if has_signal {
            self.begin_drain();
        }
        if self.drain_end.is_some() {
            self.close_idle();
        }
        self.tick();
    }

    fn attend(&mut self, slot: usize, flags: epoll::EventFlags) {
        let Some(connection) = self.connections.get(slot) else {
            return;
        };
        if connection.waits_to_write {
            if flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.close(slot);
            } else {
                self.resume(slot);
            }
        } else {
            self.receive(slot);
        }
    }

    /// Reads once, and runs what came.
    fn receive(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let is_direct = connection.input.is_empty();
        let flags = RecvFlags::empty();
        let received = if is_direct {
            recv(&connection.socket, self.input.as_mut_slice(), flags)
        } else {
            connection.make_room();
            recv(
                &connection.socket,
                spare_capacity(&mut connection.input),
                flags,
            )
        };
        match received {
            Ok((0, _)) => {
                connection.has_ended = true;
                self.close(slot);
            }
            Ok((bytes, _)) if is_direct => self.run_direct(slot, bytes),
            Ok(_) => self.run_kept(slot),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.close(slot),
        }
    }

    /// Runs commands in the thread's own buffer, and keeps the rest.
    fn run_direct(&mut self, slot: usize, bytes: usize) {
        let start = self.out.len();
        let connection = &mut self.connections[slot];
        let text = &self.input[..bytes];
        let ran = self.engines.with(|engine| {
            run(
                engine,
                &mut connection.session,
                &mut connection.parser,
                text,
                &mut self.batch,
                &mut self.out,
                &mut self.logged,
            )
        });
        connection.input.extend_from_slice(&text[ran.used..]);
        self.note_due(slot, start);
        if ran.is_full && self.can_go_on(slot) {
            self.run_kept(slot);
        }
    }

    /// Runs commands in the connection's buffer until they are used up or the client must read
    /// its replies first.
    fn run_kept(&mut self, slot: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else {
                return;
            };
            let start = self.out.len();
            let text = std::mem::take(&mut connection.input);
            let ran = self.engines.with(|engine| {
                run(
                    engine,
                    &mut connection.session,
                    &mut connection.parser,
                    &text,
                    &mut self.batch,
                    &mut self.out,
                    &mut self.logged,
                )
            });
            connection.keep(text, ran.used);
            self.note_due(slot, start);
            if !ran.is_full || !self.can_go_on(slot) {
                return;
            }
        }
    }

    fn note_due(&mut self, slot: usize, start: usize) {
        let connection = &mut self.connections[slot];
        if connection.input.len() > MAX_QUERY_BYTES {
            connection.session.is_cut_off = true;
        }
        if connection.session.is_cut_off {
            self.out.truncate(start);
            self.logged.retain(|range| range.end <= start);
            self.close(slot);
            return;
        }
        let range = start..self.out.len();
        self.dues.push(Due { slot, range });
        if !self.is_logging || self.out.len() >= OUTPUT_BYTES {
            self.settle();
        }
    }

    /// Whether a connection whose output was full may run its next commands.
    fn can_go_on(&self, slot: usize) -> bool {
        self.connections
            .get(slot)
            .is_some_and(|connection| !connection.waits_to_write)
    }

    // --- replies

    /// Writes the log of what was run, then its replies.
    fn settle(&mut self) {
        if self.is_logging {
            if let Err(reason) = self.engines.with(|engine| engine.store.log.commit()) {
                self.retract(&reason);
            }
            self.logged.clear();
        }
        let mut dues = std::mem::take(&mut self.dues);
        for due in dues.drain(..) {
            self.deliver(&due);
        }
        self.dues = dues;
        self.out.clear();
    }

    /// The log did not reach the disk: those who wrote get an error in place of their replies.
    fn retract(&mut self, reason: &str) {
        let error = write_lost(reason);
        let old = self.out.take();
        let mut logged = self.logged.iter();
        let mut next = logged.next();
        for due in &mut self.dues {
            let start = self.out.len();
            let mut at = due.range.start;
            while let Some(range) = next.filter(|range| range.start < due.range.end) {
                self.out.raw(&old[at..range.start]);
                self.out.raw(&error);
                at = range.end;
                next = logged.next();
            }
            self.out.raw(&old[at..due.range.end]);
            due.range = start..self.out.len();
        }
    }

    fn deliver(&mut self, due: &Due) {
        let Some(connection) = self.connections.get_mut(due.slot) else {
            return;
        };
        let reply = &self.out.bytes()[due.range.clone()];
        let sent = if reply.is_empty() || connection.waits_to_write {
            0
        } else {
            match send(&connection.socket, reply, SendFlags::NOSIGNAL) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(_) => {
                    self.close(due.slot);
                    return;
                }
            }
        };
        if sent == reply.len() {
            if connection.session.is_closing && connection.unsent.is_empty() {
                self.close(due.slot);
            }
            return;
        }
        let rest = due.range.start + sent..due.range.end;
        if connection.unsent.is_empty() && rest.end == self.out.len() && rest.len() > OUTPUT_BYTES {
            // A large reply is not copied, its buffer changes hands.
            connection.unsent = self.out.take();
            connection.sent = rest.start;
        } else {
            connection.unsent.extend_from_slice(&self.out.bytes()[rest]);
        }
        self.wait_to_write(due.slot, true);
    }

    /// A connection waits either to be written or to be read.
    fn wait_to_write(&mut self, slot: usize, waits: bool) {
        let connection = &mut self.connections[slot];
        if connection.waits_to_write == waits {
            return;
        }
        connection.waits_to_write = waits;
        let flags = if waits {
            epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        let token = epoll::EventData::new_u64(slot as u64);
        if epoll::modify(&self.epoll, &connection.socket, token, flags).is_err() {
            self.close(slot);
        }
    }

    /// The client takes replies again.
    fn resume(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        match send(
            &connection.socket,
            &connection.unsent[connection.sent..],
            SendFlags::NOSIGNAL,
        ) {
            Ok(sent) => connection.sent += sent,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return self.close(slot),
        }
        if connection.sent < connection.unsent.len() {
            return;
        }
        (connection.unsent, connection.sent) = (Vec::new(), 0);
        if connection.session.is_closing || connection.has_ended {
            return self.close(slot);
        }
        self.wait_to_write(slot, false);
        if self
            .connections
            .get(slot)
            .is_some_and(|connection| !connection.input.is_empty())
        {
            self.run_kept(slot);
        }
    }

    /// Ends a connection; what it has not taken yet is written first, if its client only stopped
    /// sending.
    fn close(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else {
            return;
        };
        if connection.has_ended
            && connection.waits_to_write
            && connection.sent < connection.unsent.len()
        {
            return;
        }
        let mut connection = self.connections.remove(slot);
        self.engines.with(|engine| {
            connection.session.discard(&mut engine.store);
            engine.server.clients.remove(&connection.session.id);
        });
    }

    // --- clients that come

    fn accept_all(&mut self) {
        let listeners = Arc::clone(&self.listeners);
        for listener in listeners.iter() {
            loop {
                match acceptfrom_with(
                    &listener.socket,
                    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
                ) {
                    Ok((socket, peer)) => {
                        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                        self.welcome(listener, socket, peer);
                    }
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        // No use in being told again before somebody has gone.
                        self.set_accepting(false);
                        return;
                    }
                    Err(_) => break,
                }
            }
        }
    }

    fn set_accepting(&mut self, accepts: bool) {
        self.accepts = accepts;
        for (index, listener) in self.listeners.iter().enumerate() {
            let token = epoll::EventData::new_u64(LISTENER_TOKENS + index as u64);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
            // An exclusive interest cannot be modified. Where this fails, it is tried again.
            let changed = if accepts {
                epoll::add(&self.epoll, &listener.socket, token, flags)
            } else {
                epoll::delete(&self.epoll, &listener.socket)
            };
            debug_assert!(changed.is_ok() || self.drain_end.is_some(), "{changed:?}");
        }
    }

    fn welcome(&mut self, listener: &Listener, socket: OwnedFd, peer: Option<SocketAddr>) {
        let (address, local_address) = name_ends(listener, socket.as_fd(), peer);
        let id = self
            .engines
            .with(|engine| engine.server.admit(address, local_address));
        let Some(id) = id else {
            // Best effort: the client may be gone, and its buffer is empty.
            let _ = send(
                &socket,
                b"-ERR max number of clients reached\r\n",
                SendFlags::NOSIGNAL,
            );
            return;
        };
        if listener.address.is_some() {
            // Without these a connection works too, only slower or longer.
            let _ = sockopt::set_tcp_nodelay(&socket, true);
            let _ = sockopt::set_socket_keepalive(&socket, true);
            let _ = sockopt::set_tcp_keepidle(&socket, KEEPALIVE);
        }
        let slot = self.connections.insert(Connection {
            socket,
            session: Session::new(id),
            parser: Parser::default(),
            input: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            waits_to_write: false,
            has_ended: false,
        });
        let token = epoll::EventData::new_u64(slot as u64);
        let added = epoll::add(
            &self.epoll,
            &self.connections[slot].socket,
            token,
            epoll::EventFlags::IN,
        );
        if added.is_err() {
            self.close(slot);
        }
    }

    // --- time

    fn tick(&mut self) {
        if self.number != 0 && self.accepts {
            return;
        }
        let now = Instant::now();
        if now - self.last_tick < TICK {
            return;
        }
        self.last_tick = now;
        if !self.accepts && self.drain_end.is_none() {
            self.set_accepting(true);
        }
        if self.number == 0 {
            self.engines.with(|engine| {
                engine.store.look_at_clock();
                engine.store.sweep();
                engine.store.log.tick();
                let is_due = engine.store.log.is_rewrite_scheduled();
                if is_due && let Err(error) = start_rewrite(&mut engine.store) {
                    eprintln!("the scheduled rewrite of the log: {error}");
                }
                engine.server.note_peak();
            });
        }
    }

    // --- the end

    /// Refuses new clients, and answers what the old ones have sent.
    fn begin_drain(&mut self) {
        // Another signal ends the process by itself; the stream only woke this loop.
        let mut wake_ups = [0; 16];
        while matches!(self.signals.read(&mut wake_ups), Ok(1..)) {}
        if self.drain_end.is_some() {
            return;
        }
        self.drain_end = Some(Instant::now() + self.drain_timeout);
        self.listeners.iter().for_each(Listener::stop);
        for listener in self.listeners.iter() {
            // It may be off already for want of files.
            let _ = epoll::delete(&self.epoll, &listener.socket);
        }
        let slots: Vec<_> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if self
                .connections
                .get(slot)
                .is_some_and(|connection| !connection.waits_to_write)
            {
                self.receive(slot);
            }
        }
        self.settle();
    }

    /// Closes the connections that have nothing in flight.
    fn close_idle(&mut self) {
        let idle = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_idle());
        let slots: Vec<_> = idle.map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot);
        }
    }

    fn is_drained(&self) -> bool {
        let is_over = |end: Instant| self.connections.is_empty() || Instant::now() >= end;
        self.drain_end.is_some_and(is_over)
    }
}

/// Runs the commands at the head of the text, until it ends or the output is full.
fn run(
    engine: &mut Engine,
    session: &mut Session,
    parser: &mut Parser,
    text: &[u8],
    batch: &mut Batch,
    out: &mut Reply,
    logged: &mut Vec<Range<usize>>,
) -> Ran {
    engine.store.look_at_clock();
    let first = out.len();
    let mut used = 0;
    while !session.is_closing && !session.is_cut_off {
        let rest = &text[used..];
        let (length, end) = parser.parse_batch(rest, batch);
        if batch.len() > 1 {
            engine.store.prefetch(batch.keys(rest));
        }
        for index in 0..batch.len() {
            if session.is_closing || session.is_cut_off {
                break;
            }
            if out.len() - first >= OUTPUT_BYTES {
                used += batch.start(index);
                parser.forget();
                let is_full = true;
                return Ran { used, is_full };
            }
            let args = parser.batch_args(rest, batch, index);
            run_one(engine, session, args, out, logged);
        }
        used += length;
        match end {
            BatchEnd::Full => {}
            BatchEnd::Incomplete => break,
            BatchEnd::Malformed(what) => {
                if !session.is_closing {
                    out.error(&what);
                    session.is_closing = true;
                }
            }
        }
    }
    if session.is_closing {
        used = text.len();
    }
    let is_full = false;
    Ran { used, is_full }
}

fn run_one(
    engine: &mut Engine,
    session: &mut Session,
    args: Args<'_>,
    out: &mut Reply,
    logged: &mut Vec<Range<usize>>,
) {
    let start = out.len();
    if execute(engine, session, args, out) {
        logged.push(start..out.len());
    }
    if out.is_too_long {
        out.is_too_long = false;
        session.is_cut_off = true;
    }
    if engine.server.wants_shutdown {
        engine.server.wants_shutdown = false;
        // The same way out as for the signal itself.
        if let Err(error) = low_level::raise(SIGTERM) {
            eprintln!("SHUTDOWN: {error}");
        }
    }
}

/// The two ends of a connection, for CLIENT LIST.
fn name_ends(
    listener: &Listener,
    socket: BorrowedFd<'_>,
    peer: Option<SocketAddr>,
) -> (String, String) {
    let Some(peer) = peer else {
        let name = format!("{}:0", listener.name.trim_start_matches("unix:"));
        return (name.clone(), name);
    };
    let local = getsockname(socket).ok();
    let local = local.and_then(|local| SocketAddr::try_from(local).ok());
    let local = local.map_or_else(String::new, |local| local.to_string());
    (peer.to_string(), local)
}
