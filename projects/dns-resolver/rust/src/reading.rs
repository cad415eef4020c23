//! What an answer of a server means for the question it was asked, and what of it is believed.
//!
//! A server speaks for a zone: what it says of names elsewhere is not looked at. Addresses that come
//! with a referral are kept with the referral, and serve nothing but to reach the servers it names.

use std::net::IpAddr;
use std::rc::Rc;

use crate::cache::{Delegation, NameServer, Rrset, Start, address_of};
use crate::wire::{
    Message, Name, Record, Section, flag, is_same, is_within, kind, rcode, suffixes,
};

/// No longer chain is looked at within one answer.
const MAX_LINKS_IN_ANSWER: usize = 12;
/// No more servers of a zone are kept.
const MAX_SERVERS: usize = 32;

/// A set of records as it came.
#[derive(Debug, Clone)]
pub struct Found {
    pub rrset: Rc<Rrset>,
    pub ttl: u32,
}

#[derive(Debug)]
pub enum Reading {
    Data(Found),
    Alias(Found),
    /// All names below the owner have moved.
    Moved(Name, Found),
    Nothing {
        is_name_error: bool,
        start: Option<(Start, u32)>,
    },
    /// Others serve the name, below the zone that was asked.
    Referral(Rc<Delegation>, u32),
    /// This server is no help.
    Lame,
}

/// Reads what a server of a zone says to a question.
pub fn read_answer(message: &Message, zone: &[u8], name: &[u8], kind: u16) -> Reading {
    let code = message.header.rcode();
    let is_authoritative = message.header.has(flag::AUTHORITATIVE);
    if !matches!(code, rcode::NOERROR | rcode::NXDOMAIN | rcode::YXDOMAIN) {
        return Reading::Lame;
    }
    if is_authoritative && let Some(reading) = find_answer(message, zone, name, kind) {
        return reading;
    }
    if code == rcode::NOERROR
        && let Some((cut, ttl)) = find_referral(message, zone, name, kind)
    {
        return Reading::Referral(Rc::new(cut), ttl);
    }
    let start = find_start(message, zone, name);
    let is_about_others = start.is_none() && message.header.answers > 0;
    if !is_authoritative || code == rcode::YXDOMAIN || is_about_others {
        return Reading::Lame;
    }
    Reading::Nothing {
        is_name_error: code == rcode::NXDOMAIN,
        start,
    }
}

fn find_answer(message: &Message, zone: &[u8], name: &[u8], kind: u16) -> Option<Reading> {
    let is_sound = message.header.rcode() == rcode::NOERROR;
    if is_sound && let Some(found) = find_set(message, name, kind) {
        return Some(Reading::Data(found));
    }
    // A moved tree comes first: the CNAME beside it is made from it, and we make our own.
    let owner = suffixes(name)
        .skip(1)
        .find(|owner| is_within(owner, zone) && find_set(message, owner, kind::DNAME).is_some());
    if let Some(owner) = owner {
        let found = find_set(message, owner, kind::DNAME)?;
        return Some(Reading::Moved(Name::new(owner).to_lower(), found));
    }
    find_set(message, name, kind::CNAME).map(Reading::Alias)
}

/// The records of the answer section with this owner and type.
fn find_set(message: &Message, owner: &[u8], kind: u16) -> Option<Found> {
    let records = || {
        message
            .section(Section::Answer)
            .filter(|record| record.kind == kind && is_same(message.owner(record), owner))
    };
    let ttl = records().map(|record| record.ttl).min()?;
    let rrset = match kind {
        // More than one would be an error of the zone; a name has one alias.
        kind::CNAME | kind::DNAME => Rrset::new(kind, records().take(1).map(|it| message.data(it))),
        _ => Rrset::new(kind, records().map(|record| message.data(record))),
    };
    Some(Found {
        rrset: Rc::new(rrset),
        ttl,
    })
}

/// What the answer tells beyond the first alias, as far as the zone reaches; owners in lower case.
pub fn rest_of_chain(
    message: &Message,
    zone: &[u8],
    alias: &Rrset,
    kind: u16,
) -> Vec<(Name, Found)> {
    let mut sets = Vec::new();
    let mut target = alias.target().to_lower();
    while sets.len() < MAX_LINKS_IN_ANSWER && is_within(&target, zone) {
        let is_known = |owner: &Name| sets.iter().any(|(other, _): &(Name, Found)| other == owner);
        if is_known(&target) {
            break;
        }
        if let Some(found) = find_set(message, &target, kind) {
            sets.push((target, found));
            break;
        }
        let Some(found) = find_set(message, &target, kind::CNAME) else {
            break;
        };
        let next = found.rrset.target().to_lower();
        sets.push((target, found));
        target = next;
    }
    sets
}

/// The SOA of a zone that has the name, and how long a denial holds: the shorter of its two times.
fn find_start(message: &Message, zone: &[u8], name: &[u8]) -> Option<(Start, u32)> {
    let record = message.section(Section::Authority).find(|record| {
        let owner = message.owner(record);
        record.kind == kind::SOA && is_within(name, owner) && is_within(owner, zone)
    })?;
    let data = message.data(record);
    let minimum = data
        .last_chunk()
        .map_or(0, |&bytes| u32::from_be_bytes(bytes));
    let start = Start {
        zone: Name::new(message.owner(record)).to_lower(),
        rrset: Rc::new(Rrset::new(kind::SOA, [data])),
    };
    Some((start, record.ttl.min(minimum)))
}

/// A delegation counts only when it leads down, towards the name.
fn find_referral(
    message: &Message,
    zone: &[u8],
    name: &[u8],
    kind: u16,
) -> Option<(Delegation, u32)> {
    let servers_of = |owner: &[u8]| -> Vec<&Record> {
        message
            .section(Section::Authority)
            .filter(|record| record.kind == kind::NS && is_same(message.owner(record), owner))
            .collect()
    };
    let leads_down = |owner: &[u8]| {
        owner.len() > zone.len()
            && is_within(owner, zone)
            && is_within(name, owner)
            // What stands at the cut itself in the zone above is not the zone below's to say.
            && (kind != kind::DS || owner.len() < name.len())
    };
    let first = message
        .section(Section::Authority)
        .find(|record| record.kind == kind::NS && leads_down(message.owner(record)))?;
    let owner = message.owner(first);
    let records = servers_of(owner);
    let ttl = records.iter().map(|record| record.ttl).min()?;
    let names = records.iter().map(|record| Name::new(message.data(record)));
    let servers = names.take(MAX_SERVERS).map(|name| NameServer {
        addresses: find_glue(message, zone, &name),
        name: name.to_lower(),
    });
    let cut = Delegation {
        zone: Name::new(owner).to_lower(),
        servers: servers.collect(),
    };
    Some((cut, ttl))
}

/// The addresses of a server that came along, if its name is the zone's to tell.
fn find_glue(message: &Message, zone: &[u8], server: &[u8]) -> Vec<IpAddr> {
    if !is_within(server, zone) {
        return Vec::new();
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for record in message.section(Section::Additional) {
        if matches!(record.kind, kind::A | kind::AAAA)
            && is_same(message.owner(record), server)
            && let Some(address) = address_of(message.data(record))
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses
}

/// Whether a server did not understand the OPT record that we sent.
pub fn wants_no_edns(message: &Message) -> bool {
    let is_bad_version = message
        .records
        .iter()
        .any(|record| record.kind == kind::OPT && record.ttl >> 24 == 1);
    is_bad_version || matches!(message.header.rcode(), rcode::FORMERR | rcode::NOTIMP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::name;
    use crate::wire::{Header, RecordWriter};

    const AA: u16 = flag::RESPONSE | flag::AUTHORITATIVE;
    const A: [u8; 4] = [10, 0, 0, 1];

    type Line<'a> = (&'a str, u16, &'a [u8]);

    fn message(flags: u16, sections: [&[Line]; 3]) -> Message {
        let question = name("www.example.test");
        let mut writer = RecordWriter::new(&question);
        for (owner, kind, data) in sections.iter().copied().flatten() {
            writer.write_record(&name(owner), *kind, 300, data);
        }
        let header = Header {
            id: 0,
            flags,
            questions: 1,
            answers: sections[0].len() as u16,
            authorities: sections[1].len() as u16,
            additionals: sections[2].len() as u16,
        };
        let mut packet = Vec::new();
        header.write(&mut packet);
        packet.extend_from_slice(&question);
        packet.extend_from_slice(&[0, 1, 0, 1]);
        packet.extend_from_slice(&writer.bytes);
        let mut message = Message::default();
        message.parse(&packet).expect("a sound packet");
        message
    }

    fn read(zone: &str, flags: u16, sections: [&[Line]; 3]) -> Reading {
        let question = name("www.example.test");
        read_answer(&message(flags, sections), &name(zone), &question, kind::A)
    }

    #[test]
    fn data_counts_only_from_who_has_the_authority() {
        let answer: &[Line] = &[("WWW.example.test", kind::A, &A)];
        let reading = read("example.test", AA, [answer, &[], &[]]);
        assert!(matches!(reading, Reading::Data(found) if found.ttl == 300));
        let reading = read("example.test", flag::RESPONSE, [answer, &[], &[]]);
        assert!(matches!(reading, Reading::Lame));
        let other: &[Line] = &[("other.example.test", kind::A, &A)];
        let reading = read("example.test", AA, [other, &[], &[]]);
        assert!(matches!(reading, Reading::Lame));
    }

    #[test]
    fn referrals_lead_down_and_glue_is_the_zones_own() {
        let inside = name("ns.example.test");
        let outside = name("ns.elsewhere");
        let authority: &[Line] = &[
            ("example.test", kind::NS, &inside),
            ("example.test", kind::NS, &outside),
        ];
        let additional: &[Line] = &[
            ("ns.example.test", kind::A, &A),
            ("ns.elsewhere", kind::A, &A),
            ("www.example.test", kind::A, &A),
        ];
        let reading = read("test", flag::RESPONSE, [&[], authority, additional]);
        let Reading::Referral(cut, 300) = reading else {
            panic!("a referral, not {reading:?}")
        };
        assert_eq!(cut.zone, name("example.test"));
        assert_eq!(cut.servers[0].addresses, [IpAddr::from(A)]);
        assert_eq!(
            (&cut.servers[1].name, cut.servers[1].addresses.len()),
            (&outside, 0)
        );
        for zone in ["example.test", "www.example.test", "other"] {
            let reading = read(zone, flag::RESPONSE, [&[], authority, additional]);
            assert!(matches!(reading, Reading::Lame), "{zone}");
        }
    }

    #[test]
    fn denials_need_a_start_of_the_zone() {
        let mut soa = [&name("ns.test")[..], &name("me.test"), &[0; 20]].concat();
        let minimum = soa.len() - 1;
        soa[minimum] = 60;
        let authority: &[Line] = &[("example.test", kind::SOA, &soa)];
        let reading = read("test", AA | 3, [&[], authority, &[]]);
        let Reading::Nothing {
            is_name_error: true,
            start: Some((start, 60)),
        } = reading
        else {
            panic!("a denial, not {reading:?}")
        };
        assert_eq!(start.zone, name("example.test"));
        let reading = read("test", AA, [&[], authority, &[]]);
        assert!(matches!(
            reading,
            Reading::Nothing {
                is_name_error: false,
                start: Some(_)
            }
        ));
        let foreign: &[Line] = &[("other", kind::SOA, &soa)];
        let reading = read("test", AA, [&[], foreign, &[]]);
        assert!(matches!(reading, Reading::Nothing { start: None, .. }));
        let reading = read("test", flag::RESPONSE, [&[], authority, &[]]);
        assert!(matches!(reading, Reading::Lame));
        for code in [2, 5] {
            let reading = read("test", AA | code, [&[], authority, &[]]);
            assert!(matches!(reading, Reading::Lame));
        }
    }

    #[test]
    fn aliases_and_what_comes_with_them() {
        let (next, end) = (name("next.example.test"), name("end.elsewhere"));
        let answer: &[Line] = &[
            ("www.example.test", kind::CNAME, &next),
            ("next.example.test", kind::CNAME, &end),
            ("end.elsewhere", kind::A, &A),
        ];
        let message = message(AA, [answer, &[], &[]]);
        let zone = name("example.test");
        let reading = read_answer(&message, &zone, &name("www.example.test"), kind::A);
        let Reading::Alias(found) = reading else {
            panic!("an alias, not {reading:?}")
        };
        assert_eq!(found.rrset.target(), next);
        let rest = rest_of_chain(&message, &zone, &found.rrset, kind::A);
        assert_eq!(rest.len(), 1, "what is elsewhere is not believed");
        assert_eq!(rest[0].0, next);
    }

    #[test]
    fn a_moved_tree_is_seen() {
        let target = name("new.test");
        let made = name("www.new.test");
        let answer: &[Line] = &[
            ("example.test", kind::DNAME, &target),
            ("www.example.test", kind::CNAME, &made),
        ];
        let reading = read("example.test", AA, [answer, &[], &[]]);
        assert!(matches!(reading, Reading::Moved(owner, _) if owner == name("example.test")));
        let reading = read("www.example.test", AA, [answer, &[], &[]]);
        assert!(
            matches!(reading, Reading::Alias(_)),
            "not this zone's to say"
        );
    }
}
