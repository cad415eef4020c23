//! The servers behind the proxy: which one gets a request, which ones get none, and the connections
//! kept for the next request.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::{self, Errno};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::log;
use crate::options::{Balance, Options, Place};
use crate::server::{Token, Worker};
use crate::socket::{Received, Socket};

/// A server, as all threads see it.
#[derive(Debug)]
pub struct Backend {
    pub name: String,
    pub address: SocketAddr,
    seed: u64,
    /// By active checks.
    is_down: AtomicBool,
    /// By failed requests.
    ejected_until_ms: AtomicU64,
    failures: AtomicU32,
    under_way: AtomicU32,
}

impl Backend {
    fn new(place: &Place) -> Self {
        Self {
            name: place.name.clone(),
            address: place.address,
            seed: hash(place.name.as_bytes()),
            is_down: AtomicBool::new(false),
            ejected_until_ms: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            under_way: AtomicU32::new(0),
        }
    }

    pub fn is_up(&self, now_ms: u64) -> bool {
        !self.is_down.load(Ordering::Relaxed)
            && self.ejected_until_ms.load(Ordering::Relaxed) <= now_ms
    }

    /// A request is on its way to it.
    pub fn enter(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    pub fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All servers, shared by all threads.
#[derive(Debug)]
pub struct Backends {
    list: Vec<Backend>,
    balance: Balance,
    turn: AtomicUsize,
    max_fails: u32,
    fail_timeout_ms: u64,
}

impl Backends {
    pub fn new(options: &Options) -> Self {
        Self {
            list: options.backends.iter().map(Backend::new).collect(),
            balance: options.balance,
            turn: AtomicUsize::new(0),
            max_fails: options.max_fails,
            fail_timeout_ms: options.fail_timeout_ms,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.list.iter()
    }

    pub fn get(&self, index: usize) -> &Backend {
        &self.list[index]
    }

    /// Chooses among those that are up and were not tried yet. The key counts when they are hashed.
    pub fn choose(&self, tried: &[usize], key: u64, now_ms: u64) -> Option<usize> {
        let is_free = |&(index, backend): &(usize, &Backend)| {
            backend.is_up(now_ms) && !tried.contains(&index)
        };
        let mut free = self.list.iter().enumerate().filter(is_free);
        let chosen = match self.balance {
            Balance::Hash => free.max_by_key(|(_, backend)| mix(key ^ backend.seed)),
            Balance::RoundRobin => {
                let number = free.clone().count();
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                free.nth(turn.checked_rem(number)?)
            }
            Balance::LeastConnections => {
                let number = self.list.len();
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % number;
                // Of those with equally few, the next one in turn.
                free.min_by_key(|(index, backend)| {
                    let distance = (index + number - turn) % number;
                    (backend.under_way.load(Ordering::Relaxed), distance)
                })
            }
        };
        chosen.map(|(index, _)| index)
    }

    /// Counts a failure; too many in a row eject the backend. After its time it gets one more chance.
    pub fn note_failure(&self, index: usize, now_ms: u64, why: &str) {
        let backend = &self.list[index];
        let failures = backend.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.max_fails == 0 || failures < self.max_fails || !backend.is_up(now_ms) {
            return;
        }
        backend
            .failures
            .store(self.max_fails - 1, Ordering::Relaxed);
        backend
            .ejected_until_ms
            .store(now_ms + self.fail_timeout_ms, Ordering::Relaxed);
        let (name, seconds) = (
            &backend.name,
            Duration::from_millis(self.fail_timeout_ms).as_secs_f64(),
        );
        log(&format!(
            "backend {name} ejected for {seconds} s after {} failures in a row: {why}",
            self.max_fails
        ));
    }

    pub fn note_success(&self, index: usize) {
        let failures = &self.list[index].failures;
        if failures.load(Ordering::Relaxed) != 0 {
            failures.store(0, Ordering::Relaxed);
        }
    }

    fn set_down(&self, index: usize, is_down: bool, checks: u32) {
        let backend = &self.list[index];
        backend.is_down.store(is_down, Ordering::Relaxed);
        let (state, kind) = if is_down {
            ("down", "failed")
        } else {
            ("up", "good")
        };
        log(&format!(
            "backend {} is {state} after {checks} {kind} checks in a row",
            backend.name
        ));
    }
}

/// FNV-1a; `mix` makes up for its weak high bits.
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The finisher of `SplitMix64`: every bit of the key decides about every bit of the result.
fn mix(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// A connection to a backend.
#[derive(Debug)]
pub struct Upstream {
    pub socket: Socket,
    pub generation: u32,
    pub backend: usize,
    /// The client whose request it carries; without one it waits in the pool.
    pub owner: Option<usize>,
    pub is_connecting: bool,
    /// It has carried a request before.
    pub is_reused: bool,
}

/// The idle connections of one thread by backend, the youngest on top.
#[derive(Debug)]
pub struct Pool {
    idle: Vec<Vec<usize>>,
    limit: usize,
}

impl Pool {
    pub fn new(backends: usize, limit: usize) -> Self {
        Self {
            idle: vec![Vec::new(); backends],
            limit,
        }
    }

    /// Tells whether there was room.
    fn put(&mut self, backend: usize, key: usize) -> bool {
        let has_room = self.idle[backend].len() < self.limit;
        if has_room {
            self.idle[backend].push(key);
        }
        has_room
    }

    fn take(&mut self, backend: usize) -> Option<usize> {
        self.idle[backend].pop()
    }

    fn remove(&mut self, backend: usize, key: usize) {
        self.idle[backend].retain(|&other| other != key);
    }
}

/// Starts to connect; an event tells how it ended.
fn start_connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}

impl Worker {
    /// An idle connection that should still be good. Where a request must not be sent twice, the
    /// kernel is asked.
    pub fn take_idle(&mut self, backend: usize, must_be_quiet: bool) -> Option<usize> {
        while let Some(key) = self.pool.take(backend) {
            if !must_be_quiet || self.upstreams[key].socket.is_quiet() {
                return Some(key);
            }
            self.upstreams.remove(key);
        }
        None
    }

    pub fn connect(&mut self, backend: usize) -> io::Result<usize> {
        let fd = start_connect(self.shared.backends.get(backend).address)?;
        let generation = self.next_generation();
        let entry = self.upstreams.vacant_entry();
        let token = Token::Upstream {
            key: entry.key(),
            generation,
        };
        let socket = Socket::watch(fd, &self.poll, token.encode())?;
        let upstream = Upstream {
            socket,
            generation,
            backend,
            owner: None,
            is_connecting: true,
            is_reused: false,
        };
        let key = entry.key();
        entry.insert(upstream);
        Ok(key)
    }

    /// Keeps a connection for the next request, if there is room.
    pub fn park(&mut self, key: usize) {
        let upstream = &mut self.upstreams[key];
        upstream.owner = None;
        upstream.is_reused = true;
        if !self.pool.put(upstream.backend, key) {
            self.upstreams.remove(key);
        }
    }

    /// An idle connection has nothing to say: its backend ends it, or is out of step.
    pub fn on_idle_upstream(&mut self, key: usize, flags: EventFlags) {
        let said = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        let upstream = &self.upstreams[key];
        if flags.intersects(said) && !upstream.socket.is_quiet() {
            self.pool.remove(upstream.backend, key);
            self.upstreams.remove(key);
        }
    }
}

/// Active checks of one backend: at most one at a time.
#[derive(Debug, Default)]
pub struct Probe {
    socket: Option<Socket>,
    generation: u32,
    started_ms: u64,
    is_sent: bool,
    answer: Vec<u8>,
    streak: Streak,
}

/// How many checks in a row ended alike.
#[derive(Debug, Default, Clone, Copy)]
struct Streak {
    is_good: bool,
    length: u32,
}

impl Streak {
    fn record(&mut self, is_good: bool) {
        self.length = if self.is_good == is_good {
            self.length.saturating_add(1)
        } else {
            1
        };
        self.is_good = is_good;
    }
}

/// Longer than any status line needs to be for a verdict.
const STATUS_BYTES: usize = "HTTP/1.1 200".len();

/// Whether an answer is 2xx or 3xx, as soon as enough of it has come.
fn judge_answer(answer: &[u8]) -> Option<bool> {
    let is_http = answer
        .iter()
        .zip(b"HTTP/1.")
        .all(|(byte, wanted)| byte == wanted);
    if !is_http {
        return Some(false);
    }
    let status = answer.get(..STATUS_BYTES)?;
    Some(matches!(
        &status["HTTP/1.".len()..],
        [b'0' | b'1', b' ', b'2' | b'3', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit()
    ))
}

impl Worker {
    /// One thread checks for all.
    pub fn start_checks(&mut self) {
        if self.shared.options.health_path.is_none() {
            return;
        }
        let number = self.shared.options.backends.len();
        self.probes.resize_with(number, Probe::default);
        for index in 0..number {
            self.probe_timers.set(index, 0);
        }
    }

    /// Starts a check, or ends one that takes too long.
    pub fn on_probe_timer(&mut self, index: usize) {
        if self.probes[index].socket.is_some() {
            return self.finish_probe(index, false);
        }
        self.probes[index].started_ms = self.now_ms;
        match self.open_probe(index) {
            Ok(()) => self
                .probe_timers
                .set(index, self.now_ms + self.shared.options.health_timeout_ms),
            Err(_) => self.finish_probe(index, false),
        }
    }

    fn open_probe(&mut self, index: usize) -> io::Result<()> {
        let fd = start_connect(self.shared.backends.get(index).address)?;
        let generation = self.next_generation();
        let token = Token::Probe { index, generation };
        let socket = Socket::watch(fd, &self.poll, token.encode())?;
        let probe = &mut self.probes[index];
        *probe = Probe {
            socket: Some(socket),
            generation,
            streak: probe.streak,
            started_ms: probe.started_ms,
            ..Probe::default()
        };
        Ok(())
    }

    pub fn on_probe_event(&mut self, index: usize, generation: u32, flags: EventFlags) {
        let probe = &mut self.probes[index];
        let Some(socket) = probe
            .socket
            .as_mut()
            .filter(|_| probe.generation == generation)
        else {
            return;
        };
        socket.note(flags);
        if !probe.is_sent && socket.writable {
            let path = self.shared.options.health_path.as_deref().unwrap_or("/");
            let name = &self.shared.backends.get(index).name;
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: high-perf-reverse-proxy\r\nConnection: close\r\n\r\n"
            );
            probe.is_sent = true;
            if socket.connect_result().is_err()
                || socket.send(request.as_bytes()) != Ok(request.len())
            {
                return self.finish_probe(index, false);
            }
        }
        let mut buffer = [0; 512];
        let verdict = match socket.receive(&mut buffer) {
            Received::Bytes(length) => {
                probe.answer.extend_from_slice(&buffer[..length]);
                judge_answer(&probe.answer)
            }
            Received::Nothing => None,
            Received::End | Received::Broken => Some(false),
        };
        if let Some(is_good) = verdict {
            self.finish_probe(index, is_good);
        }
    }

    fn finish_probe(&mut self, index: usize, is_good: bool) {
        let options = &self.shared.options;
        let probe = &mut self.probes[index];
        probe.socket = None;
        probe.streak.record(is_good);
        let needed = if is_good { options.rise } else { options.fall };
        let is_down = self
            .shared
            .backends
            .get(index)
            .is_down
            .load(Ordering::Relaxed);
        if probe.streak.length >= needed && is_down == is_good {
            self.shared.backends.set_down(index, !is_good, needed);
        }
        let next_ms = (probe.started_ms + options.health_interval_ms).max(self.now_ms + 1);
        self.probe_timers.set(index, next_ms);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Some backends, balanced in turn.
    pub fn backends(number: u16) -> Backends {
        balanced(number, Balance::RoundRobin)
    }

    fn balanced(number: u16, balance: Balance) -> Backends {
        let place = |index| {
            let address = SocketAddr::from(([127, 0, 0, 1], 9001 + index));
            Backend::new(&Place {
                name: address.to_string(),
                address,
            })
        };
        let list = (0..number).map(place).collect();
        Backends {
            list,
            balance,
            turn: AtomicUsize::new(0),
            max_fails: 3,
            fail_timeout_ms: 1000,
        }
    }

    #[test]
    fn round_robin_takes_turns_among_those_that_are_up() {
        let all = backends(3);
        let turns: Vec<_> = (0..6).map(|_| all.choose(&[], 0, 0)).collect();
        assert_eq!(
            turns,
            [Some(0), Some(1), Some(2), Some(0), Some(1), Some(2)]
        );
        all.list[1].is_down.store(true, Ordering::Relaxed);
        let turns: Vec<_> = (0..4).map(|_| all.choose(&[], 0, 0)).collect();
        assert_eq!(turns, [Some(0), Some(2), Some(0), Some(2)]);
        assert_eq!(all.choose(&[0], 0, 0), Some(2));
        assert_eq!(all.choose(&[0, 2], 0, 0), None);
    }

    #[test]
    fn least_connections_fills_evenly() {
        let all = balanced(3, Balance::LeastConnections);
        for _ in 0..9 {
            let index = all.choose(&[], 0, 0).expect("all are up");
            all.get(index).enter();
        }
        assert!(
            all.iter()
                .all(|backend| backend.under_way.load(Ordering::Relaxed) == 3)
        );
        all.get(1).leave();
        assert_eq!(all.choose(&[], 0, 0), Some(1));
    }

    #[test]
    fn hashing_moves_only_the_keys_of_a_backend_that_goes() {
        let all = balanced(4, Balance::Hash);
        let keys: Vec<u64> = (0..400)
            .map(|number: u32| hash(number.to_string().as_bytes()))
            .collect();
        let places = |all: &Backends| -> Vec<_> {
            keys.iter().map(|&key| all.choose(&[], key, 0)).collect()
        };
        let before = places(&all);
        for index in 0..4 {
            let share = before.iter().filter(|&&place| place == Some(index)).count();
            assert!(
                (70..130).contains(&share),
                "{share} of 400 on backend {index}"
            );
        }
        all.list[2].is_down.store(true, Ordering::Relaxed);
        for (old, new) in before.iter().zip(places(&all)) {
            assert!(*old == new || (*old == Some(2) && new != Some(2)));
        }
    }

    #[test]
    fn failures_in_a_row_eject_for_a_while() {
        let all = backends(1);
        all.note_failure(0, 0, "test");
        all.note_failure(0, 0, "test");
        all.note_success(0);
        all.note_failure(0, 0, "test");
        all.note_failure(0, 0, "test");
        assert!(all.get(0).is_up(0), "a success in between");
        all.note_failure(0, 0, "test");
        assert!(!all.get(0).is_up(999) && all.get(0).is_up(1000));
        all.note_failure(0, 1000, "test");
        assert!(!all.get(0).is_up(1999), "after its time it has one chance");
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        assert_eq!(judge_answer(b"HTTP/1.1 20"), None);
        assert_eq!(judge_answer(b"HTTP/1.1 204 No Content"), Some(true));
        assert_eq!(judge_answer(b"HTTP/1.0 302 Found"), Some(true));
        assert_eq!(judge_answer(b"HTTP/1.1 404 Not Found"), Some(false));
        assert_eq!(judge_answer(b"garbage\r\n\r\n.."), Some(false));
        assert_eq!(judge_answer(b"garb"), Some(false));
    }

    #[test]
    fn a_pool_has_a_limit_and_gives_the_youngest() {
        let mut pool = Pool::new(1, 2);
        assert!(pool.put(0, 7) && pool.put(0, 8) && !pool.put(0, 9));
        pool.remove(0, 7);
        assert_eq!((pool.take(0), pool.take(0)), (Some(8), None));
    }
}
