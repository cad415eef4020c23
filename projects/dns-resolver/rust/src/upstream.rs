//! Questions to servers: sockets, ids, and which answers count.
//!
//! A question leaves from one of many ports with random numbers, chosen at random, with a random id. A
//! port is given back after some questions, so that nobody can learn which ones we use. An answer
//! counts only when it comes to that port, from the server's address and port, with the id and the
//! question. An ICMP error that carries our packet ends the waiting at once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustix::event::epoll::EventFlags;
use rustix::io::{self, Errno};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType,
};
use rustix::rand::{GetRandomFlags, getrandom};
use slab::Slab;

use crate::datagrams::{Extra, turn_on};
use crate::options::Settings;
use crate::poll::{Poll, Token, next_generation};
use crate::stats::Counters;
use crate::timers::Timers;
use crate::wire::{HEADER_BYTES, Header, MAX_MESSAGE_BYTES, Name, asks, flag, write_query};

/// Ports of a family from which servers are asked.
const PORTS: usize = 128;
/// So many questions leave from a port before another takes its place.
const USES_OF_PORT: u32 = 64;
/// Ports below are for well-known services.
const FIRST_PORT: u16 = 1024;
/// So often a port or an id is drawn again when it is taken.
const DRAWS: usize = 16;
/// A server that is asked over TCP has this long.
const STREAM_TIMEOUT_MS: u64 = 3_000;
/// Datagrams of a port that are read before others have their turn.
const READS_PER_TURN: usize = 32;

/// A lookup, and which of those that had its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupKey {
    pub id: usize,
    pub generation: u32,
}

/// What to ask whom, and for whom.
#[derive(Debug, Clone)]
pub struct Ask {
    pub lookup: LookupKey,
    pub server: IpAddr,
    pub name: Name,
    pub kind: u16,
    pub has_edns: bool,
    pub is_stream: bool,
    pub timeout_ms: u64,
}

/// How a question ended. The packet of an answer is in `Upstream::packet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Answer { rtt_ms: u64 },
    Silence,
    Unreachable,
}

#[derive(Debug)]
pub struct Ended {
    pub ask: Ask,
    pub ending: Ending,
}

struct Exchange {
    ask: Ask,
    id: u16,
    sent_ms: u64,
    line: Line,
}

/// How an exchange is made.
enum Line {
    Port(usize),
    Stream(Stream),
}

struct Stream {
    fd: OwnedFd,
    generation: u32,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

struct Port {
    fd: OwnedFd,
    uses: u32,
    waiting: u32,
}

/// The ports, and all questions without an answer yet.
pub struct Upstream {
    poll: Poll,
    settings: Settings,
    counters: Arc<Counters>,
    /// Those of IPv4, then those of IPv6.
    ports: Vec<Option<Port>>,
    exchanges: Slab<Exchange>,
    /// Exchanges by port and id.
    by_id: HashMap<(usize, u16), usize, RandomState>,
    timers: Timers,
    entropy: Entropy,
    generation: u32,
    question: Vec<u8>,
    room: Box<[u8]>,
    packet_bytes: usize,
}

impl Upstream {
    pub fn new(settings: &Settings, poll: &Poll, counters: &Arc<Counters>) -> Self {
        Self {
            poll: poll.clone(),
            settings: settings.clone(),
            counters: Arc::clone(counters),
            ports: std::iter::repeat_with(|| None).take(2 * PORTS).collect(),
            exchanges: Slab::new(),
            by_id: HashMap::default(),
            timers: Timers::default(),
            entropy: Entropy::new(),
            generation: 0,
            question: Vec::new(),
            room: vec![0; MAX_MESSAGE_BYTES].into(),
            packet_bytes: 0,
        }
    }

    /// What the last answer was.
    pub fn packet(&self) -> &[u8] {
        &self.room[..self.packet_bytes]
    }

    /// When a server should have answered.
    pub fn next_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// Asks a server. An error means that it cannot be asked.
    pub fn ask(&mut self, ask: Ask, now_ms: u64) -> io::Result<()> {
        let timeout_ms = if ask.is_stream {
            STREAM_TIMEOUT_MS
        } else {
            ask.timeout_ms
        };
        let key = if ask.is_stream {
            self.open_stream(ask, now_ms)?
        } else {
            self.send_packet(ask, now_ms)?
        };
        self.counters.upstream.add(1);
        self.timers.set(key, now_ms + timeout_ms);
        Ok(())
    }

    fn write_question(&mut self, ask: &Ask, id: u16) {
        let size = ask.has_edns.then_some(self.settings.edns_size);
        self.question.clear();
        write_query(&mut self.question, id, &ask.name, ask.kind, size);
    }

    // --- datagrams

    fn send_packet(&mut self, ask: Ask, now_ms: u64) -> io::Result<usize> {
        let slot = self.choose_port(ask.server.is_ipv4())?;
        let Some(id) = self.choose_id(slot) else {
            return Err(Errno::AGAIN);
        };
        self.write_question(&ask, id);
        let place = SocketAddr::new(ask.server, self.settings.server_port);
        let Some(port) = &mut self.ports[slot] else {
            return Err(Errno::BADF);
        };
        let send = || net::sendto(&port.fd, &self.question, SendFlags::empty(), &place);
        // The first error may be about an earlier packet: it is told only once.
        send().or_else(|_| send())?;
        port.uses += 1;
        port.waiting += 1;
        let key = self.exchanges.insert(Exchange {
            ask,
            id,
            sent_ms: now_ms,
            line: Line::Port(slot),
        });
        self.by_id.insert((slot, id), key);
        Ok(key)
    }

    /// A port of a family at random. One that is used up is replaced when nothing waits there.
    fn choose_port(&mut self, is_ipv4: bool) -> io::Result<usize> {
        let first = if is_ipv4 { 0 } else { PORTS };
        let slot = first + usize::from(self.entropy.next_u16()) % PORTS;
        let is_used_up = |port: &Port| port.uses >= USES_OF_PORT && port.waiting == 0;
        if self.ports[slot].as_ref().is_none_or(is_used_up) {
            self.ports[slot] = None; // closed before the next one is opened
            self.ports[slot] = Some(self.open_port(is_ipv4, slot)?);
        }
        Ok(slot)
    }

    fn open_port(&mut self, is_ipv4: bool, slot: usize) -> io::Result<Port> {
        let fd = new_socket(is_ipv4, SocketType::DGRAM)?;
        let source = self.source(is_ipv4)?;
        let mut draws = 0;
        loop {
            let number = if draws < DRAWS {
                self.entropy.next_port()
            } else {
                0 // whatever the kernel has
            };
            match net::bind(&fd, &SocketAddr::new(source, number)) {
                Ok(()) => break,
                Err(Errno::ADDRINUSE | Errno::ACCESS) if number != 0 => draws += 1,
                Err(error) => return Err(error),
            }
        }
        // Without it, we wait for servers that are not there: slower, but right.
        let _ = turn_on(&fd, is_ipv4, Extra::Undelivered);
        self.poll.watch(&fd, Token::Port(slot), EventFlags::IN)?;
        Ok(Port {
            fd,
            uses: 0,
            waiting: 0,
        })
    }

    fn source(&self, is_ipv4: bool) -> io::Result<IpAddr> {
        let sources = &self.settings.sources;
        let source = if is_ipv4 {
            sources.v4.map(IpAddr::V4)
        } else {
            sources.v6.map(IpAddr::V6)
        };
        source.ok_or(Errno::AFNOSUPPORT)
    }

    fn choose_id(&mut self, slot: usize) -> Option<u16> {
        (0..DRAWS)
            .map(|_| self.entropy.next_u16())
            .find(|&id| !self.by_id.contains_key(&(slot, id)))
    }

    /// Reads what came to a port until a question ended; `reads` counts over the calls of a turn.
    pub fn next_ended(&mut self, slot: usize, reads: &mut usize, now_ms: u64) -> Option<Ended> {
        while *reads < READS_PER_TURN {
            let port = self.ports[slot].as_ref()?;
            if *reads > 0 && port.waiting == 0 {
                return None; // an event will tell if there is more
            }
            *reads += 1;
            match net::recvfrom(&port.fd, &mut *self.room, RecvFlags::empty()) {
                Ok((length, _, from)) => {
                    let ended = self.match_packet(slot, length, from, now_ms);
                    if ended.is_some() {
                        return ended;
                    }
                    self.counters.spoofed.add(1);
                }
                Err(Errno::AGAIN) => return None,
                // Interrupted, or told of a packet that was not delivered: which one, is in a queue of
                // its own.
                Err(_) => {}
            }
        }
        None
    }

    fn match_packet(
        &mut self,
        slot: usize,
        length: usize,
        from: Option<SocketAddrAny>,
        now_ms: u64,
    ) -> Option<Ended> {
        let packet = &self.room[..length];
        let header = Header::read(packet).ok()?;
        let key = *self.by_id.get(&(slot, header.id))?;
        let exchange = &self.exchanges[key];
        if address_of(from?)? != SocketAddr::new(exchange.ask.server, self.settings.server_port)
            || !is_answer(packet, &header, &exchange.ask)
        {
            return None;
        }
        self.packet_bytes = length;
        let rtt_ms = now_ms - exchange.sent_ms;
        Some(self.end(key, Ending::Answer { rtt_ms }))
    }

    /// A question whose packet came back because nobody is there.
    pub fn next_undelivered(&mut self, slot: usize) -> Option<Ended> {
        loop {
            let port = self.ports[slot].as_ref()?;
            let taken = net::recvfrom(&port.fd, &mut *self.room, RecvFlags::ERRQUEUE);
            let (length, _, to) = taken.ok()?;
            let key = Header::read(&self.room[..length]).ok().and_then(|header| {
                let key = *self.by_id.get(&(slot, header.id))?;
                let server = self.exchanges[key].ask.server;
                (address_of(to?)?.ip() == server).then_some(key)
            });
            if let Some(key) = key {
                return Some(self.end(key, Ending::Unreachable));
            }
        }
    }

    // --- streams

    fn open_stream(&mut self, ask: Ask, now_ms: u64) -> io::Result<usize> {
        let is_ipv4 = ask.server.is_ipv4();
        let fd = new_socket(is_ipv4, SocketType::STREAM)?;
        net::bind(&fd, &SocketAddr::new(self.source(is_ipv4)?, 0))?;
        let place = SocketAddr::new(ask.server, self.settings.server_port);
        match net::connect(&fd, &place) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let id = self.entropy.next_u16();
        self.write_question(&ask, id);
        let length = (self.question.len() as u16).to_be_bytes();
        let unsent = [&length[..], &self.question].concat();
        self.generation = next_generation(self.generation);
        let generation = self.generation;
        let entry = self.exchanges.vacant_entry();
        let token = Token::Stream {
            exchange: entry.key(),
            generation,
        };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        self.poll.watch(&fd, token, flags)?;
        let key = entry.key();
        entry.insert(Exchange {
            ask,
            id,
            sent_ms: now_ms,
            line: Line::Stream(Stream {
                fd,
                generation,
                unsent,
                received: Vec::new(),
            }),
        });
        Ok(key)
    }

    /// Goes on with a connection about which there was an event.
    pub fn drive_stream(&mut self, key: usize, generation: u32, now_ms: u64) -> Option<Ended> {
        let exchange = self.exchanges.get_mut(key)?;
        let Line::Stream(stream) = &mut exchange.line else {
            return None;
        };
        if stream.generation != generation {
            return None;
        }
        match stream.drive(&mut self.room) {
            Ok(None) => None,
            Ok(Some(length)) => {
                self.room[..length].copy_from_slice(&stream.received[2..2 + length]);
                self.packet_bytes = length;
                let packet = &self.room[..length];
                let is_ours = Header::read(packet).is_ok_and(|header| {
                    header.id == exchange.id && is_answer(packet, &header, &exchange.ask)
                });
                let rtt_ms = now_ms - exchange.sent_ms;
                if !is_ours {
                    self.counters.spoofed.add(1);
                    return Some(self.end(key, Ending::Unreachable));
                }
                Some(self.end(key, Ending::Answer { rtt_ms }))
            }
            Err(_) => Some(self.end(key, Ending::Unreachable)),
        }
    }

    // --- ends

    /// A question to which no answer came in time.
    pub fn expired(&mut self, now_ms: u64) -> Option<Ended> {
        let key = self.timers.expired(now_ms)?;
        self.counters.timeouts.add(1);
        Some(self.end(key, Ending::Silence))
    }

    fn end(&mut self, key: usize, ending: Ending) -> Ended {
        let exchange = self.exchanges.remove(key);
        self.timers.clear(key);
        if let Line::Port(slot) = exchange.line {
            self.by_id.remove(&(slot, exchange.id));
            if let Some(port) = &mut self.ports[slot] {
                port.waiting -= 1;
            }
        }
        Ended {
            ask: exchange.ask,
            ending,
        }
    }
}

impl Stream {
    /// Sends and receives what it can; gives the length of the answer when all of it is there.
    fn drive(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.unsent.is_empty() {
            match net::send(&self.fd, &self.unsent, SendFlags::NOSIGNAL) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        loop {
            match net::recv(&self.fd, &mut *room, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Errno::CONNRESET),
                Ok((length, _)) => self.received.extend_from_slice(&room[..length]),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if let Some((&prefix, rest)) = self.received.split_first_chunk() {
                let length = usize::from(u16::from_be_bytes(prefix));
                if rest.len() >= length {
                    return Ok(Some(length));
                }
            }
        }
    }
}

/// Whether a packet with the right id says that it answers the question. A server that did not
/// understand the question may leave it out.
fn is_answer(packet: &[u8], header: &Header, ask: &Ask) -> bool {
    const FORMERR: u8 = crate::wire::rcode::FORMERR;
    const NOTIMP: u8 = crate::wire::rcode::NOTIMP;
    if !header.has(flag::RESPONSE) || header.flags & flag::OPCODE != 0 {
        return false;
    }
    match header.questions {
        1 => asks(packet, &ask.name, ask.kind),
        0 => matches!(header.rcode(), FORMERR | NOTIMP) && packet.len() >= HEADER_BYTES,
        _ => false,
    }
}

fn address_of(address: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(address).ok()
}

fn new_socket(is_ipv4: bool, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if is_ipv4 {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    net::socket_with(family, kind, flags, None)
}

/// Random numbers of the kernel, some at a time.
struct Entropy {
    bytes: [u8; Self::BYTES],
    used: usize,
}

impl Entropy {
    /// So many the kernel gives whole, or not at all.
    const BYTES: usize = 256;

    fn new() -> Self {
        Self {
            bytes: [0; Self::BYTES],
            used: Self::BYTES,
        }
    }

    fn next_u16(&mut self) -> u16 {
        if self.used == Self::BYTES {
            // There is no going on without: a number that can be guessed is worse than to wait.
            while getrandom(&mut self.bytes, GetRandomFlags::empty()) != Ok(Self::BYTES) {}
            self.used = 0;
        }
        let pair = [self.bytes[self.used], self.bytes[self.used + 1]];
        self.used += 2;
        u16::from_ne_bytes(pair)
    }

    fn next_port(&mut self) -> u16 {
        loop {
            let number = self.next_u16();
            if number >= FIRST_PORT {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Sources;
    use crate::wire::kind;
    use crate::wire::tests::name;
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    fn settings(server_port: u16) -> Settings {
        Settings {
            server_port,
            sources: Sources {
                v4: Some(Ipv4Addr::LOCALHOST),
                v6: Some(Ipv6Addr::LOCALHOST),
            },
            timeout_ms: 400,
            attempts: 4,
            cache_bytes: 0,
            max_ttl: 0,
            min_ttl: 0,
            negative_ttl_max: 0,
            max_depth: 16,
            max_queries: 100,
            edns_size: 1232,
        }
    }

    fn question(server: IpAddr) -> Ask {
        Ask {
            lookup: LookupKey {
                id: 1,
                generation: 2,
            },
            server,
            name: name("a.test"),
            kind: kind::A,
            has_edns: true,
            is_stream: false,
            timeout_ms: 100,
        }
    }

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn upstream(server_port: u16) -> Upstream {
        let poll = Poll::new().expect("an epoll");
        Upstream::new(&settings(server_port), &poll, &Arc::default())
    }

    fn read_all(upstream: &mut Upstream) -> Vec<Ending> {
        let mut endings = Vec::new();
        for slot in 0..upstream.ports.len() {
            while let Some(ended) = upstream.next_undelivered(slot) {
                endings.push(ended.ending);
            }
            let mut reads = 0;
            while let Some(ended) = upstream.next_ended(slot, &mut reads, 5) {
                endings.push(ended.ending);
            }
        }
        endings
    }

    #[test]
    fn only_the_right_answer_counts() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let liar = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut upstream = upstream(server.local_addr().expect("an address").port());
        upstream.ask(question(HOST), 0).expect("sent");
        let mut room = [0; 512];
        let (length, from) = server.recv_from(&mut room).expect("a question");
        assert_eq!(length, HEADER_BYTES + 8 + 4 + 11);
        let mut good = room[..length].to_vec();
        good[2] = 0x84;
        let changed = |at: usize| {
            let mut packet = good.clone();
            packet[at] ^= 1;
            packet
        };
        // Another id, no response, another name, another type, a short packet, another sender.
        for packet in [
            changed(0),
            room[..length].to_vec(),
            changed(13),
            changed(21),
        ] {
            server.send_to(&packet, from).expect("sent");
            assert!(read_all(&mut upstream).is_empty());
        }
        server.send_to(&good[..7], from).expect("sent");
        liar.send_to(&good, from).expect("sent");
        assert!(read_all(&mut upstream).is_empty());
        assert_eq!(upstream.counters.spoofed.get(), 6);
        good[13] = b'A';
        server.send_to(&good, from).expect("sent");
        assert_eq!(read_all(&mut upstream), [Ending::Answer { rtt_ms: 5 }]);
        assert_eq!(upstream.packet(), good);
        server.send_to(&good, from).expect("sent");
        assert!(read_all(&mut upstream).is_empty());
        assert!(upstream.next_ms().is_some(), "a leftover");
        assert!(upstream.expired(1_000).is_none());
    }

    #[test]
    fn nobody_there_is_seen_at_once_and_silence_in_time() {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let mut upstream = upstream(port);
        upstream.ask(question(HOST), 0).expect("sent");
        assert!(upstream.expired(99).is_none());
        let ended = upstream.expired(100).expect("too late");
        assert_eq!(ended.ending, Ending::Silence);
        drop(silent);
        upstream.ask(question(HOST), 0).expect("sent");
        assert_eq!(read_all(&mut upstream), [Ending::Unreachable]);
    }

    #[test]
    fn questions_leave_from_many_ports_with_many_ids() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut upstream = upstream(server.local_addr().expect("an address").port());
        let mut seen = std::collections::HashSet::new();
        let mut room = [0; 512];
        for _ in 0..50 {
            upstream.ask(question(HOST), 0).expect("sent");
            let (_, from) = server.recv_from(&mut room).expect("a question");
            assert!(seen.insert((from.port(), room[0], room[1])));
        }
        let ports: std::collections::HashSet<_> = seen.iter().map(|(port, ..)| port).collect();
        assert!(ports.len() > 20, "{} ports", ports.len());
    }
}
