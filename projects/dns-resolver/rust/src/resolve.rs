//! Iteration: from the best known zone cut down to the answer, along aliases to the end.
//!
//! Two kinds of work wait for each other. A query follows a chain of aliases and is what clients wait
//! for; a lookup finds what is known of one name and type by asking servers. Both are joined: who
//! asks the same waits for the same. A lookup that needs the address of a server waits for a query;
//! one that would wait for itself, through others, goes without.

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustix::event::epoll::EventFlags;
use slab::Slab;

use crate::cache::{Cache, Delegation, Known, NameServer, Rrset};
use crate::hints::RootServer;
use crate::options::Settings;
use crate::poll::{Poll, Token, next_generation};
use crate::reading::{Reading, read_answer, rest_of_chain, wants_no_edns};
use crate::stats::Counters;
use crate::upstream::{Ask, Ended, Ending, LookupKey, Upstream};
use crate::wire::{
    Header, MAX_NAME_BYTES, Message, Name, count_labels, flag, kind, last_labels, rcode, suffixes,
};

/// Aliases that are followed.
const MAX_LINKS: usize = 12;
/// Delegations on the way to one name.
const MAX_STEPS: u32 = 32;
/// Names of servers that are looked up for one lookup.
const MAX_SERVER_NAMES: u32 = 24;
/// So many names are hidden from the servers above them before the whole name is asked (RFC 9156).
const MAX_HIDDEN: u32 = 4;
/// Time-outs grow up to this.
const MAX_TIMEOUT_MS: u64 = 3_000;
/// Servers whose times are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// What a server that cannot be reached is taken to need.
const UNREACHABLE_MS: f32 = 2_000.0;

/// A name in lower case and a type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    pub name: Name,
    pub kind: u16,
}

/// Records with one owner and type as they go into a reply.
#[derive(Debug, Clone)]
pub struct AnswerSet {
    pub owner: Name,
    pub rrset: Rc<Rrset>,
    pub ttl: u32,
}

/// What a question comes to.
#[derive(Debug, Clone)]
pub struct Answer {
    pub rcode: u8,
    pub sets: Vec<AnswerSet>,
    /// Of the zone that denies.
    pub start: Option<AnswerSet>,
}

impl Answer {
    fn failed() -> Self {
        Self::of_code(rcode::SERVFAIL)
    }

    /// An answer without records.
    pub fn of_code(rcode: u8) -> Self {
        Self {
            rcode,
            sets: Vec::new(),
            start: None,
        }
    }

    /// How long the whole answer holds, in seconds.
    pub fn ttl(&self, kind: u16) -> u32 {
        let is_whole = match self.rcode {
            rcode::NOERROR => {
                self.start.is_some() || self.sets.last().is_some_and(|set| set.rrset.kind == kind)
            }
            rcode::YXDOMAIN => true,
            _ => self.start.is_some(),
        };
        let ttls = self.sets.iter().chain(&self.start).map(|set| set.ttl);
        if is_whole { ttls.min().unwrap_or(0) } else { 0 }
    }
}

/// A question and what it came to, for all who asked.
#[derive(Debug)]
pub struct Finished {
    pub question: Question,
    pub tickets: Vec<u64>,
    pub answer: Answer,
}

/// Aliases as far as they are known.
#[derive(Debug)]
struct Chain {
    /// Where it has come to, in the letters of the last alias.
    name: Name,
    kind: u16,
    sets: Vec<AnswerSet>,
    links: usize,
}

impl Chain {
    fn new(question: &Question) -> Self {
        Self {
            name: question.name.clone(),
            kind: question.kind,
            sets: Vec::new(),
            links: 0,
        }
    }

    fn end(&mut self, rcode: u8, start: Option<AnswerSet>) -> Answer {
        Answer {
            rcode,
            sets: std::mem::take(&mut self.sets),
            start,
        }
    }

    fn push(&mut self, owner: Name, rrset: Rc<Rrset>, ttl: u32) {
        self.sets.push(AnswerSet { owner, rrset, ttl });
    }

    /// Goes on by what is known of the name; gives the answer when that is the end.
    fn apply(&mut self, known: Known) -> Option<Answer> {
        match known {
            Known::Data { rrset, ttl } => {
                self.push(self.name.clone(), rrset, ttl);
                Some(self.end(rcode::NOERROR, None))
            }
            Known::Alias { rrset, ttl } => self.follow(rrset, ttl),
            Known::Moved { owner, rrset, ttl } => {
                let Some(alias) = moved_alias(&self.name, &owner, &rrset) else {
                    return Some(self.end(rcode::YXDOMAIN, None));
                };
                self.push(owner, rrset, ttl);
                if self.kind == kind::CNAME {
                    self.push(self.name.clone(), alias, ttl);
                    return Some(self.end(rcode::NOERROR, None));
                }
                self.follow(alias, ttl)
            }
            Known::Nothing {
                is_name_error,
                start,
            } => {
                let start = start.map(|(start, ttl)| AnswerSet {
                    owner: start.zone,
                    rrset: start.rrset,
                    ttl,
                });
                let rcode = if is_name_error {
                    rcode::NXDOMAIN
                } else {
                    rcode::NOERROR
                };
                Some(self.end(rcode, start))
            }
            Known::Failed => Some(Answer::failed()),
        }
    }

    fn follow(&mut self, alias: Rc<Rrset>, ttl: u32) -> Option<Answer> {
        let target = alias.target();
        let owner = std::mem::replace(&mut self.name, target);
        self.push(owner, alias, ttl);
        self.links += 1;
        (self.links > MAX_LINKS).then(Answer::failed)
    }

    /// Goes as far as the cache knows.
    fn follow_cache(&mut self, cache: &mut Cache, now_ms: u64) -> Option<Answer> {
        loop {
            let known = cache.known(&self.name.to_lower(), self.kind, now_ms)?;
            if let Some(answer) = self.apply(known) {
                return Some(answer);
            }
        }
    }
}

/// A question under way.
#[derive(Debug)]
struct Query {
    question: Question,
    chain: Chain,
    tickets: Vec<u64>,
    /// Lookups that need the addresses it finds.
    lookups: Vec<LookupKey>,
    /// Questions to servers that are left, for this and all that it needs.
    budget: Rc<Cell<u32>>,
    depth: u32,
}

/// An address of a server of the zone that is asked.
#[derive(Debug)]
struct Server {
    address: IpAddr,
    tries: u32,
    is_bad: bool,
}

/// A name and type that servers are asked for.
#[derive(Debug)]
struct Lookup {
    question: Question,
    generation: u32,
    /// Queries that go on with what it finds.
    waiters: Vec<usize>,
    budget: Rc<Cell<u32>>,
    depth: u32,
    zone: Name,
    servers: Vec<Server>,
    /// Server names without an address yet, and the type of address to look for; the first is last.
    unknown: Vec<Question>,
    names_asked: u32,
    /// Server names whose addresses are looked up.
    names_waiting: u32,
    is_asking: bool,
    timeouts: u32,
    steps: u32,
    /// How much of the name servers are told, in labels.
    labels: usize,
    hidden: u32,
}

impl Lookup {
    fn is_whole_name(&self) -> bool {
        self.labels == count_labels(&self.question.name)
    }

    fn add_address(&mut self, address: IpAddr) {
        if self.servers.iter().all(|server| server.address != address) {
            self.servers.push(Server {
                address,
                tries: 0,
                is_bad: false,
            });
        }
    }

    fn mark_bad(&mut self, address: IpAddr) {
        for server in &mut self.servers {
            server.is_bad |= server.address == address;
        }
    }
}

/// What a server has been like.
#[derive(Debug, Clone, Copy)]
struct Memory {
    rtt_ms: f32,
    has_edns: bool,
}

/// Round-trip times, smoothed, and who knows EDNS.
#[derive(Debug, Default)]
struct Memories {
    by_address: HashMap<IpAddr, Memory, RandomState>,
}

impl Memories {
    fn get(&self, address: IpAddr) -> Memory {
        let unknown = Memory {
            rtt_ms: 0.0, // so that every server is tried
            has_edns: true,
        };
        self.by_address.get(&address).copied().unwrap_or(unknown)
    }

    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Memory)) {
        let mut memory = self.get(address);
        change(&mut memory);
        if self.by_address.len() >= MAX_REMEMBERED {
            self.by_address.clear();
        }
        self.by_address.insert(address, memory);
    }

    fn answered(&mut self, address: IpAddr, rtt_ms: u64) {
        let rtt_ms = rtt_ms as f32;
        self.change(address, |memory| {
            memory.rtt_ms = 0.7 * memory.rtt_ms + 0.3 * rtt_ms;
        });
    }

    fn failed(&mut self, address: IpAddr, least_ms: f32) {
        self.change(address, |memory| {
            memory.rtt_ms = (2.0 * memory.rtt_ms).clamp(least_ms, 10_000.0);
        });
    }

    /// The server tried least, and of those the fastest. Others look faster with every choice that
    /// passes them by, so that a server that was slow once gets another chance.
    fn choose(&mut self, servers: &[Server]) -> Option<usize> {
        let good = || {
            let numbered = servers.iter().enumerate();
            numbered.filter(|(_, server)| !server.is_bad)
        };
        let rank = |server: &Server| (server.tries, self.get(server.address).rtt_ms);
        let (chosen, _) = good().min_by(|(_, left), (_, right)| {
            let (left, right) = (rank(left), rank(right));
            left.0.cmp(&right.0).then(left.1.total_cmp(&right.1))
        })?;
        for (index, server) in good() {
            if index != chosen
                && let Some(memory) = self.by_address.get_mut(&server.address)
            {
                memory.rtt_ms *= 0.98;
            }
        }
        Some(chosen)
    }
}

/// What can go on.
#[derive(Debug, Clone, Copy)]
enum Work {
    Query(usize),
    Lookup(LookupKey),
}

/// Resolves questions for one thread.
pub struct Resolver {
    settings: Settings,
    counters: Arc<Counters>,
    pub cache: Cache,
    upstream: Upstream,
    root: Rc<Delegation>,
    queries: Slab<Query>,
    lookups: Slab<Lookup>,
    query_of: HashMap<Question, usize, RandomState>,
    lookup_of: HashMap<Question, usize, RandomState>,
    memories: Memories,
    work: VecDeque<Work>,
    message: Message,
    generation: u32,
    pub now_ms: u64,
    /// Questions that were answered and not yet taken away.
    pub finished: Vec<Finished>,
}

impl Resolver {
    pub fn new(
        settings: &Settings,
        roots: &[RootServer],
        poll: &Poll,
        counters: &Arc<Counters>,
    ) -> Self {
        let servers = roots.iter().map(|server| NameServer {
            name: Name::new(&server.name),
            addresses: server.addresses.clone(),
        });
        Self {
            settings: settings.clone(),
            counters: Arc::clone(counters),
            cache: Cache::new(settings.cache_bytes),
            upstream: Upstream::new(settings, poll, counters),
            root: Rc::new(Delegation {
                zone: Name::root(),
                servers: servers.collect(),
            }),
            queries: Slab::new(),
            lookups: Slab::new(),
            query_of: HashMap::default(),
            lookup_of: HashMap::default(),
            memories: Memories::default(),
            work: VecDeque::new(),
            message: Message::default(),
            generation: 0,
            now_ms: poll.now_ms(),
            finished: Vec::new(),
        }
    }

    // --- what the fronts call

    /// The answer, if the cache has all of it.
    pub fn cached_answer(&mut self, question: &Question) -> Option<Answer> {
        Chain::new(question).follow_cache(&mut self.cache, self.now_ms)
    }

    /// Resolves a question for who holds the ticket; the answer comes in `finished`.
    pub fn ask(&mut self, question: Question, ticket: u64) {
        let known = self.query_of.get(&question).copied();
        let id = known.unwrap_or_else(|| {
            let budget = Rc::new(Cell::new(self.settings.max_queries));
            self.start_query(question, budget, 0)
        });
        self.queries[id].tickets.push(ticket);
    }

    /// When a server should have answered.
    pub fn next_ms(&self) -> Option<u64> {
        self.upstream.next_ms()
    }

    /// What came from servers.
    pub fn on_event(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Port(slot) => {
                if flags.contains(EventFlags::ERR) {
                    while let Some(ended) = self.upstream.next_undelivered(slot) {
                        self.on_ended(&ended);
                    }
                }
                let mut reads = 0;
                while let Some(ended) = self.upstream.next_ended(slot, &mut reads, self.now_ms) {
                    self.on_ended(&ended);
                }
            }
            Token::Stream {
                exchange,
                generation,
            } => {
                let driven = self
                    .upstream
                    .drive_stream(exchange, generation, self.now_ms);
                if let Some(ended) = driven {
                    self.on_ended(&ended);
                }
            }
            _ => {}
        }
    }

    /// Does all there is to do until servers have to answer.
    pub fn run(&mut self) {
        while let Some(ended) = self.upstream.expired(self.now_ms) {
            self.on_ended(&ended);
        }
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Query(id) => self.advance_query(id),
                Work::Lookup(key) => self.advance_lookup(key),
            }
        }
        self.counters.cache_entries.set(self.cache.len() as u64);
        self.counters.cache_bytes.set(self.cache.bytes() as u64);
    }

    // --- queries

    fn start_query(&mut self, question: Question, budget: Rc<Cell<u32>>, depth: u32) -> usize {
        let id = self.queries.insert(Query {
            chain: Chain::new(&question),
            question: question.clone(),
            tickets: Vec::new(),
            lookups: Vec::new(),
            budget,
            depth,
        });
        self.query_of.insert(question, id);
        self.work.push_back(Work::Query(id));
        id
    }

    fn advance_query(&mut self, id: usize) {
        let query = &mut self.queries[id];
        if let Some(answer) = query.chain.follow_cache(&mut self.cache, self.now_ms) {
            return self.finish_query(id, answer);
        }
        let question = Question {
            name: query.chain.name.to_lower(),
            kind: query.chain.kind,
        };
        match self.lookup_of.get(&question).copied() {
            Some(lookup) if self.is_lookup_above(id, lookup) => {
                self.finish_query(id, Answer::failed());
            }
            Some(lookup) => self.lookups[lookup].waiters.push(id),
            None => self.start_lookup(question, id),
        }
    }

    fn finish_query(&mut self, id: usize, answer: Answer) {
        let query = self.queries.remove(id);
        self.query_of.remove(&query.question);
        for key in query.lookups {
            if let Some(lookup) = self.lookup(key) {
                lookup.names_waiting -= 1;
                add_addresses(lookup, &answer);
                self.work.push_back(Work::Lookup(key));
            }
        }
        if !query.tickets.is_empty() {
            self.finished.push(Finished {
                question: query.question,
                tickets: query.tickets,
                answer,
            });
        }
    }

    fn lookup(&mut self, key: LookupKey) -> Option<&mut Lookup> {
        let lookup = self.lookups.get_mut(key.id)?;
        (lookup.generation == key.generation).then_some(lookup)
    }

    /// Whether a query is needed by a lookup, through others.
    fn is_lookup_above(&self, query: usize, lookup: usize) -> bool {
        self.lookups_above(&self.queries[query].lookups)
            .contains(&lookup)
    }

    /// Whether a lookup is needed by a query, through others.
    fn is_query_above(&self, lookup: usize, query: usize) -> bool {
        let above = self.lookups_above(&[self.key(lookup)]);
        let mut above = above.iter();
        above.any(|&id| self.lookups[id].waiters.contains(&query))
    }

    /// Some lookups and all that wait for them.
    fn lookups_above(&self, first: &[LookupKey]) -> HashSet<usize, RandomState> {
        let mut seen = HashSet::default();
        let mut next = first.to_vec();
        while let Some(key) = next.pop() {
            let lookup = self.lookups.get(key.id);
            let Some(lookup) = lookup.filter(|lookup| lookup.generation == key.generation) else {
                continue;
            };
            if seen.insert(key.id) {
                let waiters = lookup.waiters.iter();
                next.extend(waiters.flat_map(|&query| &self.queries[query].lookups));
            }
        }
        seen
    }

    // --- lookups

    fn start_lookup(&mut self, question: Question, waiter: usize) {
        let query = &self.queries[waiter];
        let (budget, depth) = (Rc::clone(&query.budget), query.depth);
        self.generation = next_generation(self.generation);
        let id = self.lookups.insert(Lookup {
            question: question.clone(),
            generation: self.generation,
            waiters: vec![waiter],
            budget,
            depth,
            zone: Name::root(),
            servers: Vec::new(),
            unknown: Vec::new(),
            names_asked: 0,
            names_waiting: 0,
            is_asking: false,
            timeouts: 0,
            steps: 0,
            labels: 0,
            hidden: 0,
        });
        // What stands at a cut in the zone above is asked for above.
        let below = match question.kind {
            kind::DS => suffixes(&question.name).nth(1).unwrap_or(&question.name),
            _ => &question.name[..],
        };
        let cut = self.cache.best_cut(below, self.now_ms);
        let cut = cut.unwrap_or_else(|| Rc::clone(&self.root));
        self.lookup_of.insert(question, id);
        self.enter_cut(id, &cut);
    }

    fn key(&self, id: usize) -> LookupKey {
        LookupKey {
            id,
            generation: self.lookups[id].generation,
        }
    }

    /// Turns to the servers of a zone.
    fn enter_cut(&mut self, id: usize, cut: &Delegation) {
        let sources = self.settings.sources;
        let lookup = &mut self.lookups[id];
        lookup.zone = cut.zone.clone();
        lookup.servers.clear();
        lookup.unknown.clear();
        lookup.timeouts = 0;
        for server in &cut.servers {
            let reached = server.addresses.iter();
            for &address in reached.filter(|address| sources.reaches(address)) {
                lookup.add_address(address);
            }
        }
        let reaches_any = |server: &&NameServer| {
            let mut addresses = server.addresses.iter();
            addresses.any(|address| sources.reaches(address))
        };
        let families = [
            (kind::AAAA, sources.v6.is_some()),
            (kind::A, sources.v4.is_some()),
        ];
        for (kind, _) in families.iter().filter(|(_, is_spoken)| *is_spoken) {
            let without = cut
                .servers
                .iter()
                .rev()
                .filter(|server| !reaches_any(server));
            lookup.unknown.extend(without.map(|server| Question {
                name: server.name.clone(),
                kind: *kind,
            }));
        }
        self.hide_labels(id);
        let key = self.key(id);
        self.work.push_back(Work::Lookup(key));
    }

    /// Tells the servers of a zone one label more than the zone's name, and those that are known to
    /// be only on the way.
    fn hide_labels(&mut self, id: usize) {
        let lookup = &mut self.lookups[id];
        let total = count_labels(&lookup.question.name);
        let mut labels = count_labels(&lookup.zone) + 1;
        while labels < total && lookup.hidden < MAX_HIDDEN {
            let part = last_labels(&lookup.question.name, labels);
            match self.cache.known(part, kind::A, self.now_ms) {
                None => break,
                Some(Known::Nothing {
                    is_name_error: true,
                    ..
                }) => labels = total,
                Some(_) => labels += 1,
            }
        }
        let is_open = lookup.hidden >= MAX_HIDDEN;
        lookup.labels = if is_open { total } else { labels.min(total) };
    }

    fn advance_lookup(&mut self, key: LookupKey) {
        loop {
            let Some(lookup) = self.lookup(key) else {
                return;
            };
            if lookup.is_asking {
                return;
            }
            let server = self.memories.choose(&self.lookups[key.id].servers);
            if let Some(server) = server {
                if self.ask_server(key.id, server, false) {
                    return;
                }
                continue;
            }
            let lookup = &mut self.lookups[key.id];
            if lookup.names_waiting > 0 {
                return;
            }
            match lookup.unknown.pop() {
                Some(name) => self.find_address(key, name),
                None => return self.finish_lookup(key.id, &Known::Failed),
            }
        }
    }

    /// Sends the question; tells whether there is now something to wait for, or nothing any more.
    fn ask_server(&mut self, id: usize, server: usize, is_stream: bool) -> bool {
        let lookup = &mut self.lookups[id];
        let left = lookup.budget.get();
        if left == 0 {
            self.finish_lookup(id, &Known::Failed);
            return true;
        }
        lookup.budget.set(left - 1);
        let server = &mut lookup.servers[server];
        server.tries += 1;
        let address = server.address;
        let first_ms = self.settings.timeout_ms;
        let grown_ms = first_ms.saturating_mul(1 << lookup.timeouts.min(20));
        let (name, kind) = if lookup.is_whole_name() {
            (lookup.question.name.clone(), lookup.question.kind)
        } else {
            let part = last_labels(&lookup.question.name, lookup.labels);
            (Name::new(part), kind::A)
        };
        let ask = Ask {
            lookup: LookupKey {
                id,
                generation: lookup.generation,
            },
            server: address,
            name,
            kind,
            has_edns: self.memories.get(address).has_edns,
            is_stream,
            timeout_ms: grown_ms.min(MAX_TIMEOUT_MS.max(first_ms)),
        };
        let is_sent = self.upstream.ask(ask, self.now_ms).is_ok();
        if is_sent {
            lookup.is_asking = true;
        } else {
            lookup.mark_bad(address);
        }
        is_sent
    }

    /// Looks for the address of a server, in the cache or by a query of its own.
    fn find_address(&mut self, key: LookupKey, question: Question) {
        let lookup = &self.lookups[key.id];
        let (depth, budget) = (lookup.depth + 1, Rc::clone(&lookup.budget));
        if let Some(answer) = self.cached_answer(&question) {
            return add_addresses(&mut self.lookups[key.id], &answer);
        }
        let known = self.query_of.get(&question).copied();
        let is_circle = known.is_some_and(|query| self.is_query_above(key.id, query));
        let lookup = &mut self.lookups[key.id];
        if is_circle || depth > self.settings.max_depth || lookup.names_asked == MAX_SERVER_NAMES {
            return;
        }
        lookup.names_asked += 1;
        lookup.names_waiting += 1;
        let query = known.unwrap_or_else(|| self.start_query(question, budget, depth));
        self.queries[query].lookups.push(key);
    }

    fn finish_lookup(&mut self, id: usize, known: &Known) {
        let lookup = self.lookups.remove(id);
        self.lookup_of.remove(&lookup.question);
        for query in lookup.waiters {
            match self.queries[query].chain.apply(known.clone()) {
                Some(answer) => self.finish_query(query, answer),
                None => self.work.push_back(Work::Query(query)),
            }
        }
    }

    // --- what servers say

    fn on_ended(&mut self, ended: &Ended) {
        let Ended { ask, ending } = ended;
        let (key, server) = (ask.lookup, ask.server);
        let attempts = self.settings.attempts;
        let Some(lookup) = self.lookup(key) else {
            return;
        };
        lookup.is_asking = false;
        match *ending {
            Ending::Answer { rtt_ms } => {
                self.memories.answered(server, rtt_ms);
                self.on_answer(ask);
            }
            Ending::Silence => {
                lookup.timeouts += 1;
                let is_last = lookup.timeouts >= attempts;
                if ask.is_stream {
                    lookup.mark_bad(server);
                }
                self.memories.failed(server, ask.timeout_ms as f32);
                if is_last {
                    self.finish_lookup(key.id, &Known::Failed);
                }
            }
            Ending::Unreachable => {
                lookup.mark_bad(server);
                self.memories.failed(server, UNREACHABLE_MS);
            }
        }
        self.work.push_back(Work::Lookup(key));
    }

    fn on_answer(&mut self, ask: &Ask) {
        let id = ask.lookup.id;
        let packet = self.upstream.packet();
        let is_cut = Header::read(packet).is_ok_and(|header| header.has(flag::TRUNCATED));
        if is_cut && !ask.is_stream {
            let mut servers = self.lookups[id].servers.iter();
            let server = servers.position(|server| server.address == ask.server);
            if let Some(server) = server {
                self.ask_server(id, server, true);
            }
            return;
        }
        if is_cut || self.message.parse(packet).is_err() {
            return self.on_lame(ask);
        }
        if ask.has_edns && wants_no_edns(&self.message) {
            // Asked again at once, without.
            self.memories
                .change(ask.server, |memory| memory.has_edns = false);
            for server in &mut self.lookups[id].servers {
                server.tries -= u32::from(server.address == ask.server);
            }
            return;
        }
        let zone = self.lookups[id].zone.clone();
        match read_answer(&self.message, &zone, &ask.name, ask.kind) {
            Reading::Lame => self.on_lame(ask),
            Reading::Referral(cut, ttl) => self.on_referral(id, &cut, ttl),
            Reading::Moved(owner, found) => {
                let ttl = self.keep(&owner, &found.rrset, found.ttl);
                let rrset = found.rrset;
                let name = self.lookups[id].question.name.clone();
                if let Some(alias) = moved_alias(&name, &owner, &rrset) {
                    self.keep(&name, &alias, ttl);
                }
                self.finish_lookup(id, &Known::Moved { owner, rrset, ttl });
            }
            Reading::Data(found) => {
                let ttl = self.keep(&ask.name, &found.rrset, found.ttl);
                let rrset = found.rrset;
                self.finish_or_tell_more(id, &Known::Data { rrset, ttl });
            }
            Reading::Alias(found) => {
                let ttl = self.keep(&ask.name, &found.rrset, found.ttl);
                let rest = rest_of_chain(&self.message, &zone, &found.rrset, ask.kind);
                for (owner, found) in rest {
                    self.keep(&owner, &found.rrset, found.ttl);
                }
                let rrset = found.rrset;
                self.finish_or_tell_more(id, &Known::Alias { rrset, ttl });
            }
            Reading::Nothing {
                is_name_error,
                start,
            } => {
                let most = self.settings.negative_ttl_max;
                let start = start.map(|(start, ttl)| (start, ttl.min(most)));
                let is_whole = self.lookups[id].is_whole_name();
                if let Some((start, ttl)) = &start
                    && (is_whole || !is_name_error)
                {
                    let missing = (!is_name_error).then_some(ask.kind);
                    self.cache
                        .store_denial(&ask.name, missing, start.clone(), *ttl, self.now_ms);
                }
                if is_name_error && !is_whole {
                    // Some servers say so of names on the way: only what they say of the name counts.
                    self.lookups[id].hidden = MAX_HIDDEN;
                }
                let known = Known::Nothing {
                    is_name_error,
                    start,
                };
                self.finish_or_tell_more(id, &known);
            }
        }
    }

    /// An answer to the whole name ends the lookup; one to a part of it lets us tell more.
    fn finish_or_tell_more(&mut self, id: usize, known: &Known) {
        let lookup = &mut self.lookups[id];
        if lookup.is_whole_name() {
            return self.finish_lookup(id, known);
        }
        lookup.hidden += 1;
        for server in &mut lookup.servers {
            server.tries = 0;
        }
        let told = lookup.labels;
        self.hide_labels(id);
        let lookup = &mut self.lookups[id];
        let total = count_labels(&lookup.question.name);
        lookup.labels = lookup.labels.max(told + 1).min(total);
    }

    /// A server that is no help for a part of the name is told all of it, before it is given up.
    fn on_lame(&mut self, ask: &Ask) {
        let lookup = &mut self.lookups[ask.lookup.id];
        if lookup.is_whole_name() {
            lookup.mark_bad(ask.server);
        } else {
            lookup.hidden = MAX_HIDDEN;
            lookup.labels = count_labels(&lookup.question.name);
        }
    }

    fn on_referral(&mut self, id: usize, cut: &Rc<Delegation>, ttl: u32) {
        let ttl = self.clamp(ttl);
        self.cache.store_cut(cut, ttl, self.now_ms);
        let lookup = &mut self.lookups[id];
        lookup.steps += 1;
        if lookup.steps > MAX_STEPS {
            return self.finish_lookup(id, &Known::Failed);
        }
        self.enter_cut(id, cut);
    }

    fn clamp(&self, ttl: u32) -> u32 {
        ttl.clamp(self.settings.min_ttl, self.settings.max_ttl)
    }

    /// Keeps records; gives the time to live that they have with us.
    fn keep(&mut self, owner: &[u8], rrset: &Rc<Rrset>, ttl: u32) -> u32 {
        let ttl = self.clamp(ttl);
        self.cache.store_data(owner, rrset, ttl, self.now_ms);
        ttl
    }
}

/// The alias of a name below one that has moved, unless the new name would be too long.
fn moved_alias(name: &[u8], owner: &[u8], moved: &Rrset) -> Option<Rc<Rrset>> {
    let kept = name.len() - owner.len();
    let made = [&name[..kept], &moved.target()[..]].concat();
    let alias = || Rc::new(Rrset::new(kind::CNAME, [&made[..]]));
    (made.len() <= MAX_NAME_BYTES).then(alias)
}

fn add_addresses(lookup: &mut Lookup, answer: &Answer) {
    let last = answer.sets.last();
    let rrset = last.filter(|set| matches!(set.rrset.kind, kind::A | kind::AAAA));
    for address in rrset.iter().flat_map(|set| set.rrset.addresses()) {
        lookup.add_address(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Start;
    use crate::wire::tests::name;

    fn chain(text: &str) -> Chain {
        Chain::new(&Question {
            name: name(text),
            kind: kind::A,
        })
    }

    fn set(kind: u16, data: &[u8]) -> Rc<Rrset> {
        Rc::new(Rrset::new(kind, [data]))
    }

    #[test]
    fn a_chain_follows_twelve_links() {
        for (links, code) in [(12, rcode::NOERROR), (13, rcode::SERVFAIL)] {
            let mut chain = chain("a.test");
            let mut answer = None;
            for number in 0..links {
                let rrset = set(kind::CNAME, &name(&format!("A{number}.test")));
                answer = answer.or(chain.apply(Known::Alias { rrset, ttl: 9 }));
            }
            let rrset = set(kind::A, &[1, 2, 3, 4]);
            let answer = answer.or_else(|| chain.apply(Known::Data { rrset, ttl: 5 }));
            let answer = answer.expect("an end");
            assert_eq!(answer.rcode, code);
            if code == rcode::NOERROR {
                assert_eq!((answer.sets.len(), answer.ttl(kind::A)), (13, 5));
                assert_eq!(answer.sets[12].owner, name("A11.test"));
            } else {
                assert_eq!((answer.sets.len(), answer.ttl(kind::A)), (0, 0));
            }
        }
    }

    #[test]
    fn a_moved_tree_gives_new_names_up_to_their_limit() {
        let moved = |target: &str| Known::Moved {
            owner: name("old.test"),
            rrset: set(kind::DNAME, &name(target)),
            ttl: 7,
        };
        let mut short = chain("www.old.test");
        assert!(short.apply(moved("new.test")).is_none());
        assert_eq!(short.name, name("www.new.test"));
        let kinds: Vec<_> = short.sets.iter().map(|set| set.rrset.kind).collect();
        assert_eq!(kinds, [kind::DNAME, kind::CNAME]);
        let label = "x".repeat(63);
        let mut long = chain(&format!("{label}.{label}.{label}.old.test"));
        let answer = long.apply(moved(&format!("{label}.test"))).expect("an end");
        assert_eq!((answer.rcode, answer.sets.len()), (rcode::YXDOMAIN, 0));
    }

    #[test]
    fn denials_are_kept_with_a_start_only() {
        let start = Start {
            zone: name("test"),
            rrset: set(kind::SOA, b""),
        };
        let deny = |start| Known::Nothing {
            is_name_error: true,
            start,
        };
        let answer = chain("a.test")
            .apply(deny(Some((start, 8))))
            .expect("an end");
        assert_eq!((answer.rcode, answer.ttl(kind::A)), (rcode::NXDOMAIN, 8));
        let answer = chain("a.test").apply(deny(None)).expect("an end");
        assert_eq!((answer.rcode, answer.ttl(kind::A)), (rcode::NXDOMAIN, 0));
    }

    fn servers(lasts: &[u8]) -> Vec<Server> {
        let server = |&last| Server {
            address: IpAddr::from([127, 0, 0, last]),
            tries: 0,
            is_bad: false,
        };
        lasts.iter().map(server).collect()
    }

    #[test]
    fn the_fastest_server_is_chosen_and_slow_ones_get_their_chance() {
        let mut memories = Memories::default();
        let mut servers = servers(&[1, 2, 3]);
        memories.answered(servers[0].address, 100);
        memories.answered(servers[1].address, 10);
        assert_eq!(memories.choose(&servers), Some(2), "one that is not known");
        memories.failed(servers[2].address, 400.0);
        assert_eq!(memories.choose(&servers), Some(1));
        servers[1].tries = 1;
        assert_eq!(memories.choose(&servers), Some(0));
        servers[0].is_bad = true;
        servers[2].tries = 2;
        assert_eq!(memories.choose(&servers), Some(1));
        servers[1].tries = 0;
        servers[2].tries = 0;
        let choices = (0..1000).filter(|_| memories.choose(&servers) == Some(2));
        assert!(
            choices.count() > 0,
            "a server that was silent is tried again"
        );
    }
}
