//! What clients ask, and what they are told. Where the bytes come from and go to is others' business.

use std::sync::Arc;

use slab::Slab;

use crate::cache::Reply;
use crate::datagrams::{DATAGRAM_BYTES, Peer};
use crate::resolve::{Answer, Finished, Question, Resolver};
use crate::stats::Counters;
use crate::wire::{
    CLASS_IN, Edns, HEADER_BYTES, Header, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, Name, OPT_BYTES,
    RecordWriter, Request, flag, is_meta, parse_request, rcode, write_opt,
};

/// So much a client without EDNS takes in a datagram.
const PLAIN_BYTES: usize = 512;
/// Requests that wait for servers; more are answered SERVFAIL.
const MAX_WAITING: usize = 16_384;

/// Where an answer goes.
#[derive(Clone, Copy)]
pub enum Origin {
    Packet(Peer),
    Stream { id: usize, generation: u32 },
}

/// What has become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is written.
    Answered,
    /// It will come.
    Waits,
    /// There is none.
    Ignored,
}

/// What an answer must repeat of its request.
struct Asked<'a> {
    id: u16,
    flags: u16,
    question: &'a [u8],
    edns: Option<Edns>,
    most_bytes: usize,
}

/// A request that waits.
struct Waiting {
    origin: Origin,
    id: u16,
    flags: u16,
    question: Box<[u8]>,
    edns: Option<Edns>,
}

/// Answers the requests of one thread.
pub struct Desk {
    pub resolver: Resolver,
    waiting: Slab<Waiting>,
    counters: Arc<Counters>,
    edns_size: u16,
}

impl Desk {
    pub fn new(resolver: Resolver, counters: &Arc<Counters>, edns_size: u16) -> Self {
        Self {
            resolver,
            waiting: Slab::new(),
            counters: Arc::clone(counters),
            edns_size,
        }
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads a request and appends the answer to `out`, if it is known.
    pub fn handle(&mut self, packet: &[u8], origin: &Origin, out: &mut Vec<u8>) -> Verdict {
        let header = match Header::read(packet) {
            Ok(header) if !header.has(flag::RESPONSE) => header,
            _ => return Verdict::Ignored,
        };
        self.counters.queries.add(1);
        if matches!(origin, Origin::Stream { .. }) {
            self.counters.tcp.add(1);
        }
        let parsed = parse_request(packet, &header);
        let edns = parsed.ok().and_then(|request| request.edns);
        let asked = Asked {
            id: header.id,
            flags: header.flags,
            question: parsed.map_or(&[][..], |request| request.question(packet)),
            most_bytes: most_bytes(origin, edns),
            edns,
        };
        let refusal = match &parsed {
            _ if header.flags & flag::OPCODE != 0 => Some(rcode::NOTIMP),
            Ok(request) => refusal(request),
            Err(_) => Some(rcode::FORMERR),
        };
        match (refusal, parsed) {
            (None, Ok(request)) => {
                self.answer(request.name(packet), request.kind, &asked, origin, out)
            }
            (code, _) => {
                let code = code.unwrap_or(rcode::FORMERR);
                self.write(out, &asked, &empty_reply(code));
                Verdict::Answered
            }
        }
    }

    /// Answers a request of which no more than a part came.
    pub fn refuse_cut(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Verdict {
        match Header::read(packet) {
            Ok(header) if !header.has(flag::RESPONSE) => {
                self.counters.queries.add(1);
                let asked = Asked {
                    id: header.id,
                    flags: header.flags,
                    question: &[],
                    edns: None,
                    most_bytes: PLAIN_BYTES,
                };
                self.write(out, &asked, &empty_reply(rcode::FORMERR));
                Verdict::Answered
            }
            _ => Verdict::Ignored,
        }
    }

    fn answer(
        &mut self,
        name: &[u8],
        kind: u16,
        asked: &Asked,
        origin: &Origin,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let mut room = [0; MAX_NAME_BYTES];
        let lower = &mut room[..name.len()];
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let now_ms = self.resolver.now_ms;
        if let Some(reply) = self.resolver.cache.reply(lower, kind, now_ms) {
            write_reply(out, asked, reply, self.edns_size);
            self.counters.hits.add(1);
            return Verdict::Answered;
        }
        let question = Question {
            name: Name::new(lower),
            kind,
        };
        if let Some(answer) = self.resolver.cached_answer(&question) {
            let reply = compose(&question, &answer, now_ms);
            self.write(out, asked, &reply);
            self.keep(&question, &answer, reply);
            self.counters.hits.add(1);
            return Verdict::Answered;
        }
        if asked.flags & flag::RECURSION_DESIRED == 0 {
            self.write(out, asked, &empty_reply(rcode::REFUSED));
            return Verdict::Answered;
        }
        self.counters.misses.add(1);
        if self.waiting.len() >= MAX_WAITING {
            self.write(out, asked, &empty_reply(rcode::SERVFAIL));
            return Verdict::Answered;
        }
        let ticket = self.waiting.insert(Waiting {
            origin: *origin,
            id: asked.id,
            flags: asked.flags,
            question: asked.question.into(),
            edns: asked.edns,
        });
        self.resolver.ask(question, ticket as u64);
        Verdict::Waits
    }

    /// Writes the answers to all who wait for one; `deliver` is told where each goes, and is handed a
    /// function that appends it.
    pub fn finish(
        &mut self,
        finished: &Finished,
        mut deliver: impl FnMut(&Origin, &dyn Fn(&mut Vec<u8>)),
    ) {
        let Finished {
            question,
            tickets,
            answer,
        } = finished;
        let reply = compose(question, answer, self.resolver.now_ms);
        for &ticket in tickets {
            let waiting = self.waiting.remove(ticket as usize);
            let asked = Asked {
                id: waiting.id,
                flags: waiting.flags,
                question: &waiting.question,
                edns: waiting.edns,
                most_bytes: most_bytes(&waiting.origin, waiting.edns),
            };
            deliver(&waiting.origin, &|out: &mut Vec<u8>| {
                self.write(out, &asked, &reply);
            });
        }
        self.keep(question, answer, reply);
    }

    fn keep(&mut self, question: &Question, answer: &Answer, reply: Reply) {
        let ttl = answer.ttl(question.kind);
        let now_ms = self.resolver.now_ms;
        let cache = &mut self.resolver.cache;
        if ttl > 0 {
            cache.store_reply(&question.name, question.kind, reply, ttl, now_ms);
        }
    }

    fn write(&self, out: &mut Vec<u8>, asked: &Asked, reply: &Reply) {
        if reply.rcode == rcode::SERVFAIL {
            self.counters.servfail.add(1);
        }
        write_reply(out, asked, reply, self.edns_size);
    }
}

/// What we do not do, or not so.
fn refusal(request: &Request) -> Option<u8> {
    if request.edns.is_some_and(|edns| edns.version > 0) {
        return Some(rcode::BADVERS);
    }
    if request.class != CLASS_IN {
        return Some(rcode::REFUSED);
    }
    is_meta(request.kind).then_some(rcode::NOTIMP)
}

fn most_bytes(origin: &Origin, edns: Option<Edns>) -> usize {
    match (origin, edns) {
        (Origin::Stream { .. }, _) => MAX_MESSAGE_BYTES,
        (Origin::Packet(_), Some(edns)) => {
            usize::from(edns.size).clamp(PLAIN_BYTES, DATAGRAM_BYTES)
        }
        (Origin::Packet(_), None) => PLAIN_BYTES,
    }
}

fn empty_reply(rcode: u8) -> Reply {
    Reply {
        rcode,
        answers: 0,
        authorities: 0,
        records: Box::default(),
        aged_ms: 0,
    }
}

fn compose(question: &Question, answer: &Answer, now_ms: u64) -> Reply {
    let mut writer = RecordWriter::new(&question.name);
    let mut reply = empty_reply(answer.rcode);
    for set in &answer.sets {
        for data in set.rrset.records() {
            writer.write_record(&set.owner, set.rrset.kind, set.ttl, data);
            reply.answers += 1;
        }
    }
    if let Some(start) = &answer.start {
        for data in start.rrset.records() {
            writer.write_record(&start.owner, start.rrset.kind, start.ttl, data);
            reply.authorities += 1;
        }
    }
    reply.records = writer.bytes.into();
    reply.aged_ms = now_ms;
    reply
}

/// Appends a whole message; without its records where they are more than the client takes.
fn write_reply(out: &mut Vec<u8>, asked: &Asked, reply: &Reply, edns_size: u16) {
    const COPIED: u16 = flag::OPCODE | flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
    let opt_bytes = if asked.edns.is_some() { OPT_BYTES } else { 0 };
    let length = HEADER_BYTES + asked.question.len() + reply.records.len() + opt_bytes;
    let is_cut = length > asked.most_bytes;
    let mut header = Header {
        id: asked.id,
        flags: flag::RESPONSE | flag::RECURSION_AVAILABLE | (asked.flags & COPIED),
        questions: u16::from(!asked.question.is_empty()),
        answers: reply.answers,
        authorities: reply.authorities,
        additionals: u16::from(asked.edns.is_some()),
    };
    header.flags |= u16::from(reply.rcode) & flag::RCODE;
    if is_cut {
        header.flags |= flag::TRUNCATED;
        (header.answers, header.authorities) = (0, 0);
    }
    header.write(out);
    out.extend_from_slice(asked.question);
    if !is_cut {
        out.extend_from_slice(&reply.records);
    }
    if asked.edns.is_some() {
        write_opt(out, edns_size, reply.rcode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Rrset;
    use crate::options::{Settings, Sources};
    use crate::poll::Poll;
    use crate::wire::tests::name;
    use crate::wire::{Message, Section, kind};
    use std::net::Ipv4Addr;
    use std::rc::Rc;

    const STREAM: Origin = Origin::Stream {
        id: 1,
        generation: 1,
    };

    fn desk() -> Desk {
        let settings = Settings {
            server_port: 53,
            sources: Sources {
                v4: Some(Ipv4Addr::LOCALHOST),
                v6: None,
            },
            timeout_ms: 400,
            attempts: 4,
            cache_bytes: 1 << 20,
            max_ttl: 86_400,
            min_ttl: 0,
            negative_ttl_max: 3_600,
            max_depth: 16,
            max_queries: 100,
            edns_size: 1232,
        };
        let counters = Arc::default();
        let poll = Poll::new().expect("an epoll");
        let resolver = Resolver::new(&settings, &[], &poll, &counters);
        Desk::new(resolver, &counters, settings.edns_size)
    }

    fn query(flags: u16, text: &str, kind: u16, class: u16, edns: Option<u8>) -> Vec<u8> {
        let mut packet = Vec::new();
        let header = Header {
            id: 0xabcd,
            flags,
            questions: 1,
            additionals: u16::from(edns.is_some()),
            ..Header::default()
        };
        header.write(&mut packet);
        packet.extend_from_slice(&name(text));
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&class.to_be_bytes());
        if let Some(version) = edns {
            write_opt(&mut packet, 1232, 0);
            let at = packet.len() - 5;
            packet[at] = version;
        }
        packet
    }

    fn reply_to(desk: &mut Desk, packet: &[u8]) -> Message {
        let mut out = Vec::new();
        assert_eq!(desk.handle(packet, &STREAM, &mut out), Verdict::Answered);
        let mut message = Message::default();
        message.parse(&out).expect("a sound reply");
        message
    }

    #[test]
    fn what_we_do_not_do_is_refused() {
        let mut desk = desk();
        let rd = flag::RECURSION_DESIRED;
        for (packet, code) in [
            (query(rd | 0x2000, "a.test", 1, 1, None), rcode::NOTIMP),
            (query(rd, "a.test", 252, 1, None), rcode::NOTIMP),
            (query(rd, "a.test", 255, 1, None), rcode::NOTIMP),
            (query(rd, "version.bind", 16, 3, None), rcode::REFUSED),
            (query(0, "a.test", 1, 1, None), rcode::REFUSED),
            (
                query(rd, "a.test", 1, 1, None)[..20].to_vec(),
                rcode::FORMERR,
            ),
        ] {
            let message = reply_to(&mut desk, &packet);
            assert_eq!((message.header.id, message.header.rcode()), (0xabcd, code));
            assert!(message.header.has(flag::RECURSION_AVAILABLE));
            assert_eq!(
                message.header.flags & flag::OPCODE,
                u16::from(packet[2]) << 8 & flag::OPCODE
            );
        }
        let message = reply_to(&mut desk, &query(rd, "a.test", 1, 1, Some(1)));
        assert_eq!(message.header.rcode(), 0);
        assert_eq!(
            (message.records[0].kind, message.records[0].ttl),
            (kind::OPT, 1 << 24)
        );
        let mut out = Vec::new();
        for packet in [
            &query(flag::RESPONSE, "a.test", 1, 1, None)[..],
            &[0; 11],
            &[],
        ] {
            assert_eq!(desk.handle(packet, &STREAM, &mut out), Verdict::Ignored);
        }
        assert_eq!((desk.counters.queries.get(), out.len()), (7, 0));
    }

    #[test]
    fn a_known_answer_is_given_in_the_letters_of_the_question() {
        let mut desk = desk();
        let rrset = Rc::new(Rrset::new(kind::A, [&[10, 0, 0, 1][..], &[10, 0, 0, 2]]));
        let question = name("www.example.test");
        desk.resolver.cache.store_data(&question, &rrset, 60, 0);
        for _ in 0..2 {
            let packet = query(0x0110, "wWw.EXAMPLE.test", kind::A, CLASS_IN, Some(0));
            let message = reply_to(&mut desk, &packet);
            assert_eq!(message.header.flags, 0x8190);
            let records: Vec<_> = message.section(Section::Answer).collect();
            assert_eq!(records.len(), 2);
            assert_eq!(message.owner(records[1]), &*name("wWw.EXAMPLE.test"));
        }
        assert_eq!(desk.counters.hits.get(), 2);
        let now_ms = desk.resolver.now_ms;
        assert!(
            desk.resolver
                .cache
                .reply(&question, kind::A, now_ms)
                .is_some()
        );
    }

    #[test]
    fn what_is_not_known_waits_for_one_answer_for_all() {
        let mut desk = desk();
        let packet = query(flag::RECURSION_DESIRED, "a.test", kind::A, CLASS_IN, None);
        let mut out = Vec::new();
        for _ in 0..3 {
            assert_eq!(desk.handle(&packet, &STREAM, &mut out), Verdict::Waits);
        }
        desk.resolver.run(); // there is no server to ask
        let finished = std::mem::take(&mut desk.resolver.finished);
        assert_eq!((finished.len(), finished[0].tickets.len()), (1, 3));
        let mut count = 0;
        desk.finish(&finished[0], |_, write| {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(out[3] & 15, rcode::SERVFAIL);
            count += 1;
        });
        assert_eq!((count, desk.has_waiting()), (3, false));
        assert_eq!(desk.counters.servfail.get(), 3);
    }

    #[test]
    fn too_much_for_the_client_is_cut() {
        let mut reply = empty_reply(0);
        reply.answers = 30;
        reply.records = vec![0; 480].into();
        let mut asked = Asked {
            id: 1,
            flags: 0,
            question: b"\x01a\0\0\x01\0\x01",
            edns: None,
            most_bytes: 512,
        };
        let mut out = Vec::new();
        write_reply(&mut out, &asked, &reply, 1232);
        assert_eq!((out.len(), out[2] & 2), (499, 0));
        asked.edns = Some(Edns {
            size: 512,
            version: 0,
        });
        reply.records = vec![0; 483].into();
        out.clear();
        write_reply(&mut out, &asked, &reply, 1232);
        assert_eq!((out.len(), out[2] & 2, out[7]), (30, 2, 0));
    }
}
