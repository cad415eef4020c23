//! What is known, until when: data, denials, zone cuts and whole replies, in one table.
//!
//! The table finds an entry by its name in lower case and by what kind of knowledge it is. All
//! entries are in one list, the one used last first; what is too much in bytes goes from its end.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use crate::wire::{Name, age_records, kind, suffixes};

/// The data of all records with one owner and type, each behind its length.
#[derive(Debug, PartialEq, Eq)]
pub struct Rrset {
    pub kind: u16,
    packed: Box<[u8]>,
}

impl Rrset {
    /// The same data twice is one record.
    pub fn new<'a>(kind: u16, records: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut packed: Vec<u8> = Vec::new();
        let mut seen = HashSet::<&[u8], RandomState>::default();
        for data in records {
            if seen.insert(data) {
                packed.extend_from_slice(&(data.len() as u16).to_ne_bytes());
                packed.extend_from_slice(data);
            }
        }
        Self {
            kind,
            packed: packed.into(),
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        items(&self.packed)
    }

    /// Of types that have one record with one name, such as CNAME.
    pub fn target(&self) -> Name {
        self.records().next().map_or_else(Name::root, Name::new)
    }

    /// Of A and AAAA.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records().filter_map(address_of)
    }
}

fn items(packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packed;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk()?;
        let data;
        (data, rest) = behind.split_at(usize::from(u16::from_ne_bytes(*length)));
        Some(data)
    })
}

pub fn address_of(data: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(data) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(data).ok().map(IpAddr::from)
}

/// A zone and who serves it, as the zone above says.
#[derive(Debug)]
pub struct Delegation {
    pub zone: Name,
    pub servers: Vec<NameServer>,
}

#[derive(Debug)]
pub struct NameServer {
    pub name: Name,
    /// Those that came along.
    pub addresses: Vec<IpAddr>,
}

/// Records of a zone's start, which stand by every denial.
#[derive(Debug, Clone)]
pub struct Start {
    pub zone: Name,
    pub rrset: Rc<Rrset>,
}

/// A finished reply behind its question.
#[derive(Debug)]
pub struct Reply {
    pub rcode: u8,
    pub answers: u16,
    pub authorities: u16,
    pub records: Box<[u8]>,
    /// When the times to live in the records were right.
    pub aged_ms: u64,
}

/// What is known of a name and a type; times to live in seconds.
#[derive(Debug, Clone)]
pub enum Known {
    Data {
        rrset: Rc<Rrset>,
        ttl: u32,
    },
    Alias {
        rrset: Rc<Rrset>,
        ttl: u32,
    },
    /// All names below the owner have moved. It is taken from the answer to one of them, and for that
    /// one only: nobody has signed that it holds for all.
    Moved {
        owner: Name,
        rrset: Rc<Rrset>,
        ttl: u32,
    },
    Nothing {
        is_name_error: bool,
        start: Option<(Start, u32)>,
    },
    Failed,
}

#[derive(Debug)]
enum Value {
    Data(Rc<Rrset>),
    Denial(Start),
    Cut(Rc<Delegation>),
    Reply(Reply),
}

/// The kind of knowledge: with the name the key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Topic(u32);

impl Topic {
    const NAME_ERROR: Self = Self(2 << 16);
    const CUT: Self = Self(3 << 16);

    const fn data(kind: u16) -> Self {
        Self(kind as u32)
    }

    const fn reply(kind: u16) -> Self {
        Self(1 << 16 | kind as u32)
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Box<[u8]>,
    topic: Topic,
    value: Value,
    expires_ms: u64,
    bytes: usize,
    newer: u32,
    older: u32,
    /// How many entries had been stored when this one came to the head of the list.
    touched: u32,
}

/// No entry.
const NONE: u32 = u32::MAX;
/// An entry, its places in the two tables, and what the allocator adds to its parts.
const ENTRY_BYTES: usize = size_of::<Entry>() + 48;

/// Denials, cuts and data by name; replies by question.
#[derive(Debug)]
pub struct Cache {
    table: HashTable<u32>,
    entries: Slab<Entry>,
    hasher: RandomState,
    newest: u32,
    oldest: u32,
    bytes: usize,
    max_bytes: usize,
    stored: u32,
}

impl Cache {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            table: HashTable::new(),
            entries: Slab::new(),
            hasher: RandomState::default(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            max_bytes,
            stored: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    // --- what the resolver asks

    /// What is known of a name in lower case, not following aliases.
    pub fn known(&mut self, name: &[u8], kind: u16, now_ms: u64) -> Option<Known> {
        if let Some((value, ttl)) = self.get(name, Topic::data(kind), now_ms) {
            return match value {
                Value::Data(rrset) => Some(Known::Data {
                    rrset: Rc::clone(rrset),
                    ttl,
                }),
                Value::Denial(start) => Some(denial(false, start, ttl)),
                Value::Cut(_) | Value::Reply(_) => None,
            };
        }
        if kind != kind::CNAME
            && let Some((Value::Data(rrset), ttl)) =
                self.get(name, Topic::data(kind::CNAME), now_ms)
        {
            let rrset = Rc::clone(rrset);
            return Some(Known::Alias { rrset, ttl });
        }
        match self.get(name, Topic::NAME_ERROR, now_ms)? {
            (Value::Denial(start), ttl) => Some(denial(true, start, ttl)),
            _ => None,
        }
    }

    /// The lowest zone cut that is known at a name or above.
    pub fn best_cut(&mut self, name: &[u8], now_ms: u64) -> Option<Rc<Delegation>> {
        suffixes(name).find_map(|zone| match self.get(zone, Topic::CUT, now_ms)? {
            (Value::Cut(cut), _) => Some(Rc::clone(cut)),
            _ => None,
        })
    }

    /// The whole reply to a question, its times to live as they are now.
    pub fn reply(&mut self, name: &[u8], kind: u16, now_ms: u64) -> Option<&Reply> {
        let (Value::Reply(reply), _) = self.get(name, Topic::reply(kind), now_ms)? else {
            return None;
        };
        let seconds = (now_ms - reply.aged_ms) / 1000;
        if seconds > 0 {
            age_records(&mut reply.records, seconds as u32);
            reply.aged_ms += seconds * 1000;
        }
        Some(reply)
    }

    // --- what the resolver has learnt

    pub fn store_data(&mut self, name: &[u8], rrset: &Rc<Rrset>, ttl: u32, now_ms: u64) {
        let topic = Topic::data(rrset.kind);
        self.store(name, topic, Value::Data(Rc::clone(rrset)), ttl, now_ms);
    }

    /// That there is no such data, or no such name, for any type.
    pub fn store_denial(
        &mut self,
        name: &[u8],
        missing: Option<u16>,
        start: Start,
        ttl: u32,
        now_ms: u64,
    ) {
        let topic = missing.map_or(Topic::NAME_ERROR, Topic::data);
        self.store(name, topic, Value::Denial(start), ttl, now_ms);
    }

    pub fn store_cut(&mut self, cut: &Rc<Delegation>, ttl: u32, now_ms: u64) {
        self.store(
            &cut.zone,
            Topic::CUT,
            Value::Cut(Rc::clone(cut)),
            ttl,
            now_ms,
        );
    }

    pub fn store_reply(&mut self, name: &[u8], kind: u16, reply: Reply, ttl: u32, now_ms: u64) {
        self.store(name, Topic::reply(kind), Value::Reply(reply), ttl, now_ms);
    }

    // --- the table

    fn hash(&self, name: &[u8], topic: Topic) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write_u32(topic.0);
        hasher.finish()
    }

    fn find(&self, hash: u64, name: &[u8], topic: Topic) -> Option<u32> {
        let is_it = |&index: &u32| {
            let entry = &self.entries[index as usize];
            entry.topic == topic && *entry.name == *name
        };
        self.table.find(hash, is_it).copied()
    }

    /// An entry that still holds, and how many seconds it will.
    fn get(&mut self, name: &[u8], topic: Topic, now_ms: u64) -> Option<(&mut Value, u32)> {
        let index = self.find(self.hash(name, topic), name, topic)?;
        let expires_ms = self.entries[index as usize].expires_ms;
        if expires_ms <= now_ms {
            self.remove(index);
            return None;
        }
        self.touch(index);
        let ttl = (expires_ms - now_ms).div_ceil(1000) as u32;
        Some((&mut self.entries[index as usize].value, ttl))
    }

    fn store(&mut self, name: &[u8], topic: Topic, value: Value, ttl: u32, now_ms: u64) {
        let hash = self.hash(name, topic);
        if let Some(old) = self.find(hash, name, topic) {
            self.remove(old);
        }
        if ttl == 0 {
            return;
        }
        self.stored = self.stored.wrapping_add(1);
        let bytes = ENTRY_BYTES + name.len() + value.bytes();
        let entry = Entry {
            hash,
            name: name.into(),
            topic,
            value,
            expires_ms: now_ms + u64::from(ttl) * 1000,
            bytes,
            newer: NONE,
            older: NONE,
            touched: self.stored,
        };
        let index = self.entries.insert(entry) as u32;
        let entries = &self.entries;
        self.table
            .insert_unique(hash, index, |&index| entries[index as usize].hash);
        self.link_newest(index);
        self.bytes += bytes;
        while self.bytes > self.max_bytes && self.oldest != NONE {
            self.remove(self.oldest);
        }
    }

    fn remove(&mut self, index: u32) {
        self.unlink(index);
        let entry = self.entries.remove(index as usize);
        if let Ok(place) = self.table.find_entry(entry.hash, |&other| other == index) {
            place.remove();
        }
        self.bytes -= entry.bytes;
    }

    // --- the list

    /// Brings an entry to the head of the list, unless it is near it still: a warm cache has nothing
    /// to write for a hit.
    fn touch(&mut self, index: u32) {
        let age = self
            .stored
            .wrapping_sub(self.entries[index as usize].touched);
        if age as usize > self.entries.len() / 8 {
            self.unlink(index);
            self.link_newest(index);
            self.entries[index as usize].touched = self.stored;
        }
    }

    fn link_newest(&mut self, index: u32) {
        let second = self.newest;
        let entry = &mut self.entries[index as usize];
        (entry.newer, entry.older) = (NONE, second);
        match self.entries.get_mut(second as usize) {
            Some(second) => second.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { newer, older, .. } = self.entries[index as usize];
        match self.entries.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

fn denial(is_name_error: bool, start: &Start, ttl: u32) -> Known {
    Known::Nothing {
        is_name_error,
        start: Some((start.clone(), ttl)),
    }
}

impl Value {
    /// What it takes beside the entry, about.
    fn bytes(&self) -> usize {
        const RC_BYTES: usize = 16;
        match self {
            Self::Data(rrset) => RC_BYTES + size_of::<Rrset>() + rrset.packed.len(),
            Self::Denial(start) => {
                RC_BYTES + start.zone.len() + size_of::<Rrset>() + start.rrset.packed.len()
            }
            Self::Cut(cut) => {
                let server_bytes = |server: &NameServer| {
                    RC_BYTES
                        + size_of::<NameServer>()
                        + server.name.len()
                        + server.addresses.len() * size_of::<IpAddr>()
                };
                RC_BYTES + cut.zone.len() + cut.servers.iter().map(server_bytes).sum::<usize>()
            }
            Self::Reply(reply) => reply.records.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RecordWriter;
    use crate::wire::tests::name;

    fn address(last: u8) -> Rc<Rrset> {
        Rc::new(Rrset::new(kind::A, [&[10, 0, 0, last][..]]))
    }

    fn start(zone: &str) -> Start {
        Start {
            zone: name(zone),
            rrset: Rc::new(Rrset::new(kind::SOA, [])),
        }
    }

    #[test]
    fn times_count_down_and_end() {
        let mut cache = Cache::new(1 << 20);
        cache.store_data(&name("a.test"), &address(1), 10, 1_000);
        let ttl_at = |cache: &mut Cache, now_ms| match cache.known(&name("a.test"), kind::A, now_ms)
        {
            Some(Known::Data { ttl, .. }) => Some(ttl),
            _ => None,
        };
        assert_eq!(ttl_at(&mut cache, 1_000), Some(10));
        assert_eq!(ttl_at(&mut cache, 2_001), Some(9));
        assert_eq!(ttl_at(&mut cache, 10_999), Some(1));
        assert_eq!(ttl_at(&mut cache, 11_000), None);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
        cache.store_data(&name("a.test"), &address(1), 0, 1_000);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn aliases_and_denials() {
        let mut cache = Cache::new(1 << 20);
        let target = name("b.test");
        let alias = Rc::new(Rrset::new(kind::CNAME, [&target[..]]));
        cache.store_data(&name("a.test"), &alias, 10, 0);
        let known = cache.known(&name("a.test"), kind::A, 0);
        assert!(matches!(known, Some(Known::Alias { rrset, .. }) if rrset.target() == target));
        let known = cache.known(&name("a.test"), kind::CNAME, 0);
        assert!(matches!(known, Some(Known::Data { .. })));
        cache.store_denial(&name("c.test"), Some(kind::A), start("test"), 5, 0);
        cache.store_denial(&name("d.test"), None, start("test"), 5, 0);
        assert!(matches!(
            cache.known(&name("c.test"), kind::A, 0),
            Some(Known::Nothing {
                is_name_error: false,
                ..
            })
        ));
        assert!(cache.known(&name("c.test"), kind::MX, 0).is_none());
        assert!(matches!(
            cache.known(&name("d.test"), kind::MX, 0),
            Some(Known::Nothing {
                is_name_error: true,
                ..
            })
        ));
    }

    #[test]
    fn the_best_cut_is_the_lowest() {
        let mut cache = Cache::new(1 << 20);
        for zone in ["test", "example.test"] {
            let servers = Vec::new();
            let zone = name(zone);
            cache.store_cut(&Rc::new(Delegation { zone, servers }), 60, 0);
        }
        let best = |cache: &mut Cache, text| {
            let cut = cache.best_cut(&name(text), 0);
            cut.map(|cut| cut.zone.clone())
        };
        assert_eq!(
            best(&mut cache, "a.b.example.test"),
            Some(name("example.test"))
        );
        assert_eq!(best(&mut cache, "other.test"), Some(name("test")));
        assert_eq!(best(&mut cache, "com"), None);
    }

    #[test]
    fn what_is_used_stays_when_bytes_run_out() {
        let mut cache = Cache::new(20_000);
        let hot = name("hot.test");
        cache.store_data(&hot, &address(0), 1000, 0);
        for number in 0..10_000 {
            let other = name(&format!("n{number}.test"));
            cache.store_data(&other, &address(1), 1000, 0);
            assert!(cache.bytes() <= 20_000);
            assert!(cache.known(&hot, kind::A, 0).is_some(), "{number}");
        }
        assert!(cache.len() > 50, "{} entries", cache.len());
        assert!(cache.known(&name("n9999.test"), kind::A, 0).is_some());
        assert!(cache.known(&name("n0.test"), kind::A, 0).is_none());
    }

    #[test]
    fn replies_age_by_whole_seconds() {
        let mut cache = Cache::new(1 << 20);
        let question = name("a.test");
        let mut writer = RecordWriter::new(&question);
        writer.write_record(&question, kind::A, 100, &[1, 2, 3, 4]);
        let reply = Reply {
            rcode: 0,
            answers: 1,
            authorities: 0,
            records: writer.bytes.into(),
            aged_ms: 500,
        };
        cache.store_reply(&question, kind::A, reply, 100, 500);
        for (now_ms, ttl) in [
            (500, 100),
            (1_499, 100),
            (1_500, 99),
            (2_400, 99),
            (9_500, 91),
        ] {
            let reply = cache.reply(&question, kind::A, now_ms).expect("known");
            assert_eq!(reply.records[6..10], [0, 0, 0, ttl], "at {now_ms}");
        }
        assert!(cache.reply(&question, kind::A, 100_500).is_none());
        assert!(cache.reply(&question, kind::MX, 600).is_none());
    }

    #[test]
    fn the_same_data_twice_is_one_record() {
        let rrset = Rrset::new(kind::A, [&[1, 2, 3, 4][..], &[1, 2, 3, 5], &[1, 2, 3, 4]]);
        assert_eq!(rrset.addresses().count(), 2);
    }
}
