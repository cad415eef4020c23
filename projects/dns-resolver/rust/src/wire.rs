//! DNS messages as they travel: names, the parser of whole messages, and the writer.
//!
//! A name is kept as on the wire: labels behind their lengths, the root at the end. Lengths are at
//! most 63, which is below the letters, so the case of a whole name can be changed at once.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

pub const MAX_NAME_BYTES: usize = 255;
pub const MAX_LABEL_BYTES: usize = 63;
pub const HEADER_BYTES: usize = 12;
pub const MAX_MESSAGE_BYTES: usize = 65_535;
/// Type and class behind the name of a question.
pub const QUESTION_TAIL_BYTES: usize = 4;
/// Of an OPT record without options.
pub const OPT_BYTES: usize = 11;
pub const CLASS_IN: u16 = 1;

pub mod kind {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    /// From here on up to 255 types are for questions about a transfer or about everything.
    pub const FIRST_META: u16 = 128;
    pub const LAST_META: u16 = 255;
}

pub mod rcode {
    pub const NOERROR: u8 = 0;
    pub const FORMERR: u8 = 1;
    pub const SERVFAIL: u8 = 2;
    pub const NXDOMAIN: u8 = 3;
    pub const NOTIMP: u8 = 4;
    pub const REFUSED: u8 = 5;
    pub const YXDOMAIN: u8 = 6;
    /// The only one beyond four bits; its upper part stands in the OPT record.
    pub const BADVERS: u8 = 16;
}

pub mod flag {
    pub const RESPONSE: u16 = 0x8000;
    pub const AUTHORITATIVE: u16 = 0x0400;
    pub const TRUNCATED: u16 = 0x0200;
    pub const RECURSION_DESIRED: u16 = 0x0100;
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    pub const CHECKING_DISABLED: u16 = 0x0010;
    pub const OPCODE: u16 = 0x7800;
    pub const RCODE: u16 = 0x000f;
}

// --- names

/// A name of its own, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Rc<[u8]>);

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.escape_ascii())
    }
}

impl Name {
    pub fn root() -> Self {
        Self::new(&[0])
    }

    /// From the bytes of a sound name.
    pub fn new(wire: &[u8]) -> Self {
        Self(wire.into())
    }

    /// The same in lower case, without a copy where it is so already.
    pub fn to_lower(&self) -> Self {
        if self.iter().any(u8::is_ascii_uppercase) {
            Self(self.to_ascii_lowercase().into())
        } else {
            self.clone()
        }
    }
}

/// The name and all above it, longest first, the root last.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| match name[0] {
        0 => None,
        length => Some(&name[usize::from(length) + 1..]),
    })
}

pub fn count_labels(name: &[u8]) -> usize {
    suffixes(name).count() - 1
}

/// The last labels of a name that has at least so many.
pub fn last_labels(name: &[u8], count: usize) -> &[u8] {
    let skipped = count_labels(name).saturating_sub(count);
    suffixes(name).nth(skipped).unwrap_or(&[0])
}

pub fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// Whether a name is the zone's or below it.
pub fn is_within(name: &[u8], zone: &[u8]) -> bool {
    suffixes(name)
        .find(|suffix| suffix.len() <= zone.len())
        .is_some_and(|suffix| is_same(suffix, zone))
}

/// Reads the text of a name; it is absolute, with or without the last dot.
pub fn parse_name(text: &[u8]) -> Result<Name, &'static str> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    if text == b"." {
        return Ok(Name::root());
    }
    if text.is_empty() {
        return Err("empty label");
    }
    let mut rest = text;
    while !rest.is_empty() {
        let start = wire.len();
        wire.push(0);
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'.' => break,
                b'\\' => {
                    let (byte, length) = unescape(rest).ok_or("bad escape")?;
                    wire.push(byte);
                    rest = &rest[length..];
                }
                _ => wire.push(byte),
            }
        }
        match wire.len() - start - 1 {
            0 => return Err("empty label"),
            length if length > MAX_LABEL_BYTES => return Err("label longer than 63 bytes"),
            length => wire[start] = length as u8,
        }
    }
    wire.push(0);
    if wire.len() > MAX_NAME_BYTES {
        return Err("name longer than 255 bytes");
    }
    Ok(Name::new(&wire))
}

/// What stands behind a backslash: three digits, or any other byte for itself.
fn unescape(rest: &[u8]) -> Option<(u8, usize)> {
    match *rest {
        [
            first @ b'0'..=b'2',
            second @ b'0'..=b'9',
            third @ b'0'..=b'9',
            ..,
        ] => {
            let digits = [first, second, third];
            let value = digits
                .iter()
                .fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
            Some((u8::try_from(value).ok()?, 3))
        }
        [b'0'..=b'9', ..] | [] => None,
        [byte, ..] => Some((byte, 1)),
    }
}

// --- what is in the data of a record

/// A part of the data of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Bytes(usize),
    Name,
    /// Strings behind their lengths, to the end.
    Strings,
    Rest,
}

/// Types that are no type of a record: transfers, ANY, OPT, and those reserved.
pub fn is_meta(kind: u16) -> bool {
    matches!(kind, 0 | kind::OPT | kind::FIRST_META..=kind::LAST_META)
}

/// How the data of a type is made. Types that are not known stay opaque (RFC 3597).
pub fn fields(kind: u16) -> &'static [Field] {
    match kind {
        kind::A => &[Field::Bytes(4)],
        kind::AAAA => &[Field::Bytes(16)],
        kind::NS | kind::CNAME | kind::PTR | kind::DNAME => &[Field::Name],
        kind::MX => &[Field::Bytes(2), Field::Name],
        kind::SRV => &[Field::Bytes(6), Field::Name],
        kind::SOA => &[Field::Name, Field::Name, Field::Bytes(20)],
        kind::TXT => &[Field::Strings],
        _ => &[Field::Rest],
    }
}

/// Only names in the types of RFC 1035 may be compressed.
fn may_compress(kind: u16) -> bool {
    matches!(
        kind,
        kind::NS | kind::CNAME | kind::PTR | kind::MX | kind::SOA
    )
}

/// Cuts sound, uncompressed data into its fields.
pub fn split_fields(kind: u16, data: &[u8]) -> impl Iterator<Item = (Field, &[u8])> {
    let mut rest = data;
    fields(kind).iter().map(move |&field| {
        let length = match field {
            Field::Bytes(length) => length,
            Field::Name => name_length(rest),
            Field::Strings | Field::Rest => rest.len(),
        };
        let part;
        (part, rest) = rest.split_at(length);
        (field, part)
    })
}

/// How long the sound name at the beginning is.
fn name_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while bytes[length] != 0 {
        length += usize::from(bytes[length]) + 1;
    }
    length + 1
}

// --- reading

/// A packet that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

pub type Parsed<T> = Result<T, Malformed>;

fn u16_at(bytes: &[u8], at: usize) -> Parsed<u16> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Malformed),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Parsed<u32> {
    Ok(u32::from(u16_at(bytes, at)?) << 16 | u32::from(u16_at(bytes, at + 2)?))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    pub id: u16,
    pub flags: u16,
    pub questions: u16,
    pub answers: u16,
    pub authorities: u16,
    pub additionals: u16,
}

impl Header {
    pub fn read(bytes: &[u8]) -> Parsed<Self> {
        Ok(Self {
            id: u16_at(bytes, 0)?,
            flags: u16_at(bytes, 2)?,
            questions: u16_at(bytes, 4)?,
            answers: u16_at(bytes, 6)?,
            authorities: u16_at(bytes, 8)?,
            additionals: u16_at(bytes, 10)?,
        })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let fields = [
            self.id,
            self.flags,
            self.questions,
            self.answers,
            self.authorities,
            self.additionals,
        ];
        let mut bytes = [0; HEADER_BYTES];
        for (pair, field) in bytes.chunks_exact_mut(2).zip(fields) {
            pair.copy_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&bytes);
    }

    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub fn rcode(&self) -> u8 {
        (self.flags & flag::RCODE) as u8
    }
}

/// Appends the name that begins at `start`, uncompressed; gives the place behind it. Each pointer
/// points before all that was read up to it, so there is an end.
pub fn read_name(message: &[u8], start: usize, out: &mut Vec<u8>) -> Parsed<usize> {
    let begin = out.len();
    let (mut at, mut limit, mut behind) = (start, start, None);
    loop {
        let length = *message.get(at).ok_or(Malformed)?;
        match length >> 6 {
            0 => {
                let end = at + 1 + usize::from(length);
                out.extend_from_slice(message.get(at..end).ok_or(Malformed)?);
                if out.len() - begin > MAX_NAME_BYTES {
                    return Err(Malformed);
                }
                if length == 0 {
                    return Ok(behind.unwrap_or(end));
                }
                at = end;
            }
            3 => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                if target >= limit || target < HEADER_BYTES {
                    return Err(Malformed);
                }
                behind.get_or_insert(at + 2);
                (at, limit) = (target, target);
            }
            _ => return Err(Malformed),
        }
    }
}

/// Appends the data of a record with its names uncompressed. All of it must be used.
fn read_data(message: &[u8], start: usize, end: usize, kind: u16, out: &mut Vec<u8>) -> Parsed<()> {
    let mut at = start;
    for &field in fields(kind) {
        let next = match field {
            Field::Name => read_name(message, at, out)?,
            Field::Bytes(length) => at + length,
            Field::Strings => {
                let mut next = at;
                while next < end || next == start {
                    next += 1 + usize::from(*message.get(next).ok_or(Malformed)?);
                }
                next
            }
            Field::Rest => end,
        };
        if next > end {
            return Err(Malformed);
        }
        if field != Field::Name {
            out.extend_from_slice(&message[at..next]);
        }
        at = next;
    }
    if at == end { Ok(()) } else { Err(Malformed) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Answer,
    Authority,
    Additional,
}

/// A part of the store of a message.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub section: Section,
    pub kind: u16,
    pub class: u16,
    pub ttl: u32,
    owner: Span,
    data: Span,
}

/// A whole message. It is used again and again, so that reading allocates nothing in the end.
#[derive(Debug, Default)]
pub struct Message {
    pub header: Header,
    pub records: Vec<Record>,
    /// Names and data, uncompressed.
    store: Vec<u8>,
}

impl Message {
    /// Reads all of a packet.
    pub fn parse(&mut self, packet: &[u8]) -> Parsed<()> {
        self.records.clear();
        self.store.clear();
        self.header = Header::read(packet)?;
        let mut at = HEADER_BYTES;
        for _ in 0..self.header.questions {
            at = read_name(packet, at, &mut self.store)? + QUESTION_TAIL_BYTES;
            if at > packet.len() {
                return Err(Malformed);
            }
            self.store.clear();
        }
        let sections = [
            (Section::Answer, self.header.answers),
            (Section::Authority, self.header.authorities),
            (Section::Additional, self.header.additionals),
        ];
        for (section, count) in sections {
            for _ in 0..count {
                at = self.read_record(packet, at, section)?;
            }
        }
        if at == packet.len() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn read_record(&mut self, packet: &[u8], start: usize, section: Section) -> Parsed<usize> {
        let owner_start = self.store.len() as u32;
        let at = read_name(packet, start, &mut self.store)?;
        let data_start = self.store.len() as u32;
        let (kind, class) = (u16_at(packet, at)?, u16_at(packet, at + 2)?);
        let ttl = u32_at(packet, at + 4)?;
        let from = at + 10;
        let end = from + usize::from(u16_at(packet, at + 8)?);
        if end > packet.len() {
            return Err(Malformed);
        }
        if class == CLASS_IN {
            read_data(packet, from, end, kind, &mut self.store)?;
        } else {
            self.store.extend_from_slice(&packet[from..end]);
        }
        self.records.push(Record {
            section,
            kind,
            class,
            // A time with the first bit set is none (RFC 2181).
            ttl: if ttl >> 31 == 0 { ttl } else { 0 },
            owner: Span {
                start: owner_start,
                end: data_start,
            },
            data: Span {
                start: data_start,
                end: self.store.len() as u32,
            },
        });
        Ok(end)
    }

    pub fn owner(&self, record: &Record) -> &[u8] {
        &self.store[record.owner.start as usize..record.owner.end as usize]
    }

    pub fn data(&self, record: &Record) -> &[u8] {
        &self.store[record.data.start as usize..record.data.end as usize]
    }

    /// The records of the Internet in a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |record| record.section == section && record.class == CLASS_IN)
    }
}

/// Whether the first question of a packet is this one.
pub fn asks(packet: &[u8], name: &[u8], kind: u16) -> bool {
    let end = HEADER_BYTES + name.len();
    let Some(tail) = packet.get(end..end + QUESTION_TAIL_BYTES) else {
        return false;
    };
    let [high, low] = kind.to_be_bytes();
    tail == [high, low, 0, CLASS_IN as u8] && is_same(&packet[HEADER_BYTES..end], name)
}

// --- requests of clients

/// What a client says about itself in an OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    pub size: u16,
    pub version: u8,
}

/// A request whose shape is sound. The name is where it came, behind the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub id: u16,
    pub flags: u16,
    pub kind: u16,
    pub class: u16,
    pub name_bytes: usize,
    pub edns: Option<Edns>,
}

impl Request {
    /// The question in the packet, as it shall be echoed.
    pub fn question<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        &packet[HEADER_BYTES..HEADER_BYTES + self.name_bytes + QUESTION_TAIL_BYTES]
    }

    pub fn name<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        &packet[HEADER_BYTES..HEADER_BYTES + self.name_bytes]
    }
}

/// Reads a request with its one question and nothing more than an OPT record, or whatever other
/// additional records are sound.
pub fn parse_request(packet: &[u8], header: &Header) -> Parsed<Request> {
    if (header.questions, header.answers, header.authorities) != (1, 0, 0) {
        return Err(Malformed);
    }
    let name_bytes = plain_name_length(&packet[HEADER_BYTES..])?;
    let at = HEADER_BYTES + name_bytes;
    let mut request = Request {
        id: header.id,
        flags: header.flags,
        kind: u16_at(packet, at)?,
        class: u16_at(packet, at + 2)?,
        name_bytes,
        edns: None,
    };
    let mut at = at + QUESTION_TAIL_BYTES;
    for _ in 0..header.additionals {
        at = request.read_additional(packet, at)?;
    }
    if at == packet.len() {
        Ok(request)
    } else {
        Err(Malformed)
    }
}

impl Request {
    fn read_additional(&mut self, packet: &[u8], start: usize) -> Parsed<usize> {
        let is_root = packet.get(start) == Some(&0);
        let at = if is_root {
            start + 1
        } else {
            read_name(packet, start, &mut Vec::new())?
        };
        let kind = u16_at(packet, at)?;
        let end = at + 10 + usize::from(u16_at(packet, at + 8)?);
        if end > packet.len() {
            return Err(Malformed);
        }
        if kind == kind::OPT {
            if !is_root || self.edns.is_some() {
                return Err(Malformed);
            }
            check_options(&packet[at + 10..end])?;
            self.edns = Some(Edns {
                size: u16_at(packet, at + 2)?,
                version: packet[at + 5],
            });
        }
        Ok(end)
    }
}

/// Options are pairs of a code and a length, with so many bytes behind.
fn check_options(mut options: &[u8]) -> Parsed<()> {
    while !options.is_empty() {
        let length = usize::from(u16_at(options, 2)?);
        options = options.get(4 + length..).ok_or(Malformed)?;
    }
    Ok(())
}

/// How long the name at the beginning is. There is nothing yet that a pointer could point to.
fn plain_name_length(bytes: &[u8]) -> Parsed<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at).ok_or(Malformed)?);
        at += length + 1;
        if length > MAX_LABEL_BYTES || at > MAX_NAME_BYTES {
            return Err(Malformed);
        }
        if length == 0 {
            return Ok(at);
        }
    }
}

// --- writing

/// Writes what we ask a server: no recursion, and that we know EDNS.
pub fn write_query(out: &mut Vec<u8>, id: u16, name: &[u8], kind: u16, edns_size: Option<u16>) {
    let header = Header {
        id,
        questions: 1,
        additionals: u16::from(edns_size.is_some()),
        ..Header::default()
    };
    header.write(out);
    out.extend_from_slice(name);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    if let Some(size) = edns_size {
        write_opt(out, size, 0);
    }
}

/// Writes an OPT record without options; of a long rcode it carries the upper part.
pub fn write_opt(out: &mut Vec<u8>, size: u16, rcode: u8) {
    let (size, kind) = (size.to_be_bytes(), kind::OPT.to_be_bytes());
    let mut bytes = [0; OPT_BYTES];
    bytes[1..3].copy_from_slice(&kind);
    bytes[3..5].copy_from_slice(&size);
    bytes[5] = rcode >> 4;
    out.extend_from_slice(&bytes);
}

const POINTER: u16 = 0xc000;
/// So many names are looked through for one to point to.
const MAX_KNOWN: usize = 128;

/// Writes the records of a reply behind a question that is not written with them: the same records
/// serve every client, in the letters of its own question.
#[derive(Debug)]
pub struct RecordWriter<'a> {
    question_name: &'a [u8],
    pub bytes: Vec<u8>,
    /// Where names and their suffixes stand, counted from the beginning of the message.
    known: Vec<u16>,
}

impl<'a> RecordWriter<'a> {
    pub fn new(question_name: &'a [u8]) -> Self {
        Self {
            question_name,
            bytes: Vec::new(),
            known: Vec::new(),
        }
    }

    fn base(&self) -> usize {
        HEADER_BYTES + self.question_name.len() + QUESTION_TAIL_BYTES
    }

    pub fn write_record(&mut self, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        self.write_owner(owner);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        for (field, part) in split_fields(kind, data) {
            if field == Field::Name && may_compress(kind) {
                self.write_name(part);
            } else {
                self.bytes.extend_from_slice(part);
            }
        }
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// An owner in the question's name takes its letters from there.
    fn write_owner(&mut self, owner: &[u8]) {
        if owner.len() > 1 && is_within(self.question_name, owner) {
            let at = HEADER_BYTES + self.question_name.len() - owner.len();
            self.write_pointer(at as u16);
        } else {
            self.write_name(owner);
        }
    }

    fn write_pointer(&mut self, at: u16) {
        self.bytes.extend_from_slice(&(POINTER | at).to_be_bytes());
    }

    /// Writes a name, its end as a pointer to the same bytes in an earlier record, if there are any.
    fn write_name(&mut self, name: &[u8]) {
        for suffix in suffixes(name) {
            if suffix.len() == 1 {
                break;
            }
            if let Some(at) = self.find(suffix) {
                return self.write_pointer(at);
            }
            let at = self.base() + self.bytes.len();
            if at < usize::from(POINTER ^ u16::MAX) && self.known.len() < MAX_KNOWN {
                self.known.push(at as u16);
            }
            let label_end = usize::from(suffix[0]) + 1;
            self.bytes.extend_from_slice(&suffix[..label_end]);
        }
        self.bytes.push(0);
    }

    fn find(&self, name: &[u8]) -> Option<u16> {
        self.known.iter().copied().find(|&at| self.holds(at, name))
    }

    /// Whether the name that we wrote at a place is this one, letter by letter.
    fn holds(&self, at: u16, name: &[u8]) -> bool {
        let mut at = usize::from(at) - self.base();
        for suffix in suffixes(name) {
            let length = usize::from(suffix[0]) + 1;
            while self.bytes.get(at).is_some_and(|byte| byte >> 6 == 3) {
                let pair = [self.bytes[at] & 0x3f, self.bytes[at + 1]];
                at = usize::from(u16::from_be_bytes(pair)) - self.base();
            }
            if self.bytes.get(at..at + length) != Some(&suffix[..length]) {
                return false;
            }
            at += length;
        }
        true
    }
}

/// Lowers the times to live in records that `RecordWriter` wrote.
pub fn age_records(records: &mut [u8], seconds: u32) {
    let mut at = 0;
    while at < records.len() {
        while records[at] != 0 && records[at] >> 6 == 0 {
            at += usize::from(records[at]) + 1;
        }
        at += if records[at] == 0 { 1 } else { 2 };
        let field = &mut records[at + 4..at + 8];
        let ttl = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
        field.copy_from_slice(&ttl.saturating_sub(seconds).to_be_bytes());
        let length = u16::from_be_bytes([records[at + 8], records[at + 9]]);
        at += 10 + usize::from(length);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn name(text: &str) -> Name {
        parse_name(text.as_bytes()).expect("a sound name")
    }

    #[test]
    fn names_from_text() {
        assert_eq!(&*name("."), b"\0");
        assert_eq!(&*name("a.Bc."), b"\x01a\x02Bc\0");
        assert_eq!(&*name("a\\.b.\\065\\\\"), b"\x03a.b\x02A\\\0");
        let long = format!("{}.x", "a".repeat(64));
        let longest = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ]
        .join(".");
        assert_eq!(name(&longest).len(), 255);
        for (text, why) in [
            ("", "empty label"),
            ("a..b", "empty label"),
            (".a", "empty label"),
            ("..", "empty label"),
            (&long, "label longer than 63 bytes"),
            (&format!("{longest}e"), "name longer than 255 bytes"),
            ("a\\", "bad escape"),
            ("a\\25", "bad escape"),
            ("a\\256", "bad escape"),
        ] {
            assert_eq!(parse_name(text.as_bytes()), Err(why), "{text}");
        }
    }

    #[test]
    fn names_within_zones() {
        let zone = name("example.test");
        assert!(is_within(&name("www.EXAMPLE.test"), &zone));
        assert!(is_within(&zone, &zone) && is_within(&zone, &Name::root()));
        assert!(!is_within(&name("wexample.test"), &zone));
        assert!(!is_within(&name("test"), &zone));
        assert!(!is_within(&name("example.tesa"), &zone));
        assert_eq!(count_labels(&zone), 2);
        assert_eq!(last_labels(&zone, 1), &*name("test"));
        assert_eq!(last_labels(&zone, 0), b"\0");
        assert_eq!(name("A.b").to_lower(), name("a.b"));
    }

    #[test]
    fn pointers_only_go_back() {
        let mut packet = vec![0; HEADER_BYTES];
        packet.extend_from_slice(b"\x01a\x02bc\0\x01x\xc0\x0e\xc0\x13");
        let mut out = Vec::new();
        assert_eq!(read_name(&packet, 18, &mut out), Ok(22));
        assert_eq!(out, b"\x01x\x02bc\0");
        assert_eq!(
            read_name(&packet, 22, &mut out),
            Err(Malformed),
            "into itself"
        );
        for bytes in [
            &b"\xc0\x0c"[..],
            b"\xc0\x00",
            b"\x01a\xc0\x0c",
            b"\xc0",
            b"\x40a",
            b"\x80a",
            b"\x05abc",
            b"\x01a",
            b"",
        ] {
            let mut packet = vec![0; HEADER_BYTES];
            packet.extend_from_slice(bytes);
            assert_eq!(
                read_name(&packet, HEADER_BYTES, &mut Vec::new()),
                Err(Malformed),
                "{bytes:?}"
            );
        }
        let mut packet = vec![0; HEADER_BYTES];
        for _ in 0..4 {
            packet.push(63);
            packet.extend_from_slice(&[b'a'; 63]);
        }
        packet.push(0);
        assert_eq!(
            read_name(&packet, HEADER_BYTES, &mut Vec::new()),
            Err(Malformed)
        );
    }

    fn packet_of(counts: [u16; 4], body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let header = Header {
            id: 7,
            flags: flag::RESPONSE,
            questions: counts[0],
            answers: counts[1],
            authorities: counts[2],
            additionals: counts[3],
        };
        header.write(&mut packet);
        packet.extend_from_slice(body);
        packet
    }

    #[test]
    fn a_written_reply_reads_back() {
        let question = name("www.example.test");
        let mut writer = RecordWriter::new(&question);
        let exchange = [&[0, 10], &name("mail.Example.net")[..]].concat();
        let other = [&[0, 20], &name("b.mail.Example.net")[..]].concat();
        writer.write_record(&question, kind::CNAME, 300, &name("alias.Example.net"));
        writer.write_record(&name("alias.Example.net"), kind::MX, 60, &exchange);
        writer.write_record(&name("alias.Example.net"), kind::MX, 61, &other);
        writer.write_record(&name("example.test"), kind::TXT, 5, b"\x02hi");
        let mut body = [&question[..], &[0, 15, 0, 1]].concat();
        age_records(&mut writer.bytes, 5);
        body.extend_from_slice(&writer.bytes);
        let packet = packet_of([1, 4, 0, 0], &body);
        let mut message = Message::default();
        assert_eq!(message.parse(&packet), Ok(()));
        let owners: Vec<_> = message
            .records
            .iter()
            .map(|record| Name::new(message.owner(record)))
            .collect();
        let alias = name("alias.Example.net");
        assert_eq!(
            owners,
            [question, alias.clone(), alias, name("example.test")]
        );
        let ttls: Vec<_> = message.records.iter().map(|record| record.ttl).collect();
        assert_eq!(ttls, [295, 55, 56, 0]);
        assert_eq!(message.data(&message.records[1]), exchange);
        assert_eq!(message.data(&message.records[2]), other);
        assert!(packet.len() < 130, "compressed: {} bytes", packet.len());
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed() {
        let question = name("a.test");
        let mut writer = RecordWriter::new(&question);
        let soa = [&name("ns.test")[..], &name("me.test"), &[1; 20]].concat();
        writer.write_record(&question, kind::SOA, 1, &soa);
        writer.write_record(&question, kind::TXT, 1, b"\x01a\x00");
        writer.write_record(&question, 4711, 1, b"any");
        let body = [&question[..], &[0, 1, 0, 1], &writer.bytes].concat();
        let packet = packet_of([1, 3, 0, 0], &body);
        let mut message = Message::default();
        assert_eq!(message.parse(&packet), Ok(()));
        for length in 0..packet.len() {
            assert_eq!(message.parse(&packet[..length]), Err(Malformed), "{length}");
        }
        assert_eq!(message.parse(&[&packet[..], &[0]].concat()), Err(Malformed));
    }

    #[test]
    fn data_must_fill_its_length() {
        let mut message = Message::default();
        for (kind, data) in [
            (kind::A, &b"\x01\x02\x03"[..]),
            (kind::A, b"\x01\x02\x03\x04\x05"),
            (kind::AAAA, b"\x01\x02\x03\x04"),
            (kind::NS, b"\x01a\0\0"),
            (kind::NS, b"\x01a"),
            (kind::MX, b"\0"),
            (kind::TXT, b""),
            (kind::TXT, b"\x05abc"),
            (kind::SOA, b"\0\0\0\0"),
        ] {
            let mut body = vec![0];
            body.extend_from_slice(&kind.to_be_bytes());
            body.extend_from_slice(&[0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
            body.extend_from_slice(data);
            let packet = packet_of([0, 1, 0, 0], &body);
            assert_eq!(message.parse(&packet), Err(Malformed), "{kind} {data:?}");
        }
    }

    #[test]
    fn requests() {
        let request = |counts: [u16; 4], body: &[u8]| {
            let packet = packet_of(counts, body);
            parse_request(&packet, &Header::read(&packet).expect("a header"))
        };
        let plain = b"\x01A\0\0\x01\0\x01";
        let parsed = request([1, 0, 0, 0], plain).expect("sound");
        assert_eq!((parsed.kind, parsed.class, parsed.name_bytes), (1, 1, 3));
        assert_eq!(parsed.edns, None);
        let mut edns = plain.to_vec();
        write_opt(&mut edns, 1232, 0);
        let parsed = request([1, 0, 0, 1], &edns).expect("sound");
        assert_eq!(
            parsed.edns,
            Some(Edns {
                size: 1232,
                version: 0
            })
        );
        let mut twice = edns.clone();
        write_opt(&mut twice, 1232, 0);
        for (counts, body) in [
            ([1, 0, 0, 2], &twice[..]),
            ([1, 0, 0, 0], &edns),
            ([1, 0, 0, 1], plain),
            ([2, 0, 0, 0], plain),
            ([0, 0, 0, 0], b""),
            ([1, 1, 0, 0], plain),
            ([1, 0, 0, 0], b"\xc0\x0c\0\x01\0\x01"),
            ([1, 0, 0, 0], b"\x01A\0\0\x01\0"),
        ] {
            assert_eq!(request(counts, body), Err(Malformed), "{counts:?} {body:?}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut message = Message::default();
        for _ in 0..20_000 {
            let mut packet = packet_of([1, 2, 1, 1], b"\x01a\0\0\x01\0\x01");
            for _ in 0..60 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Small numbers and pointers are what gets far.
                packet.push(match state % 4 {
                    0 => 0,
                    1 => 0xc0,
                    2 => (state >> 8) as u8 % 24,
                    _ => (state >> 16) as u8,
                });
            }
            let _ = message.parse(&packet);
        }
    }
}
