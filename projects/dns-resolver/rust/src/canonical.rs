//! Answers as lines of text, the same for the same answer: names in lower case, records sorted.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::cache::Rrset;
use crate::resolve::{Answer, AnswerSet, Question};
use crate::wire::{Field, kind, rcode, split_fields};

/// The types that have a name here.
const KINDS: [(&str, u16); 9] = [
    ("A", kind::A),
    ("NS", kind::NS),
    ("CNAME", kind::CNAME),
    ("SOA", kind::SOA),
    ("PTR", kind::PTR),
    ("MX", kind::MX),
    ("TXT", kind::TXT),
    ("AAAA", kind::AAAA),
    ("SRV", kind::SRV),
];

/// Reads the name of a type, or TYPE and its number, in any case.
pub fn parse_kind(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == upper) {
        return Some(*kind);
    }
    let number = upper.strip_prefix("TYPE")?;
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_plain)
}

/// Appends the line of a question and its answer.
pub fn write_line(out: &mut String, question: &Question, answer: &Answer) {
    write_name(out, &question.name);
    out.push(' ');
    write_kind(out, question.kind);
    out.push(' ');
    out.push_str(rcode_name(answer.rcode));
    out.push(' ');
    let mut is_first = true;
    // A moved tree shows in the alias that was made from it.
    let shown = |set: &&AnswerSet| set.rrset.kind != kind::DNAME || question.kind == kind::DNAME;
    for set in answer.sets.iter().filter(shown) {
        for data in sorted_records(&set.rrset) {
            if !is_first {
                out.push_str(" ; ");
            }
            is_first = false;
            write_name(out, &set.owner);
            out.push(' ');
            write_kind(out, set.rrset.kind);
            out.push(' ');
            write_data(out, set.rrset.kind, &data);
        }
    }
    out.push_str(if is_first { "-\n" } else { "\n" });
}

/// The data of all records in lower case, in the order of their bytes (RFC 4034, 6.3).
fn sorted_records(rrset: &Rrset) -> Vec<Vec<u8>> {
    let lower = |data: &[u8]| {
        let mut bytes = Vec::new();
        for (field, part) in split_fields(rrset.kind, data) {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            if field == Field::Name {
                bytes[start..].make_ascii_lowercase();
            }
        }
        bytes
    };
    let mut records: Vec<_> = rrset.records().map(lower).collect();
    records.sort_unstable();
    records
}

fn rcode_name(code: u8) -> &'static str {
    match code {
        rcode::NOERROR => "NOERROR",
        rcode::NXDOMAIN => "NXDOMAIN",
        rcode::YXDOMAIN => "YXDOMAIN",
        rcode::NOTIMP => "NOTIMP",
        _ => "SERVFAIL",
    }
}

// Writing to a String cannot fail, so that the results of `write!` below say nothing.

fn write_kind(out: &mut String, kind: u16) {
    match KINDS.iter().find(|(_, number)| *number == kind) {
        Some((name, _)) => out.push_str(name),
        None => {
            let _ = write!(out, "TYPE{kind}");
        }
    }
}

/// A name as a line has it.
pub fn name_text(name: &[u8]) -> String {
    let mut text = String::new();
    write_name(&mut text, name);
    text
}

/// Appends a name in lower case, with escapes where a master file needs them.
fn write_name(out: &mut String, name: &[u8]) {
    if name == [0] {
        out.push('.');
        return;
    }
    let mut rest = name;
    while let Some((&length, behind)) = rest.split_first()
        && length > 0
    {
        let (label, next) = behind.split_at(usize::from(length));
        for &byte in label {
            match byte.to_ascii_lowercase() {
                byte @ (b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$') => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                byte @ 0x21..=0x7e => out.push(char::from(byte)),
                byte => write_escape(out, byte),
            }
        }
        out.push('.');
        rest = next;
    }
}

fn write_escape(out: &mut String, byte: u8) {
    let _ = write!(out, "\\{byte:03}");
}

fn write_data(out: &mut String, kind: u16, data: &[u8]) {
    match kind {
        kind::A => {
            let address = <[u8; 4]>::try_from(data).map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from);
            let _ = write!(out, "{address}");
        }
        kind::AAAA => {
            let address = <[u8; 16]>::try_from(data).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from);
            let _ = write!(out, "{address}");
        }
        kind::TXT => write_strings(out, data),
        kind::DNAME => write_opaque(out, data),
        _ => write_fields(out, kind, data),
    }
}

/// Names as names, numbers of 16 bits as numbers, and those of a SOA of 32.
fn write_fields(out: &mut String, kind: u16, data: &[u8]) {
    for (index, (field, part)) in split_fields(kind, data).enumerate() {
        if index > 0 {
            out.push(' ');
        }
        match field {
            Field::Name => write_name(out, part),
            Field::Bytes(_) => {
                let width = if kind == kind::SOA { 4 } else { 2 };
                let numbers: Vec<_> = part.chunks(width).map(number_text).collect();
                out.push_str(&numbers.join(" "));
            }
            Field::Strings | Field::Rest => write_opaque(out, part),
        }
    }
}

fn number_text(bytes: &[u8]) -> String {
    let number = bytes
        .iter()
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    number.to_string()
}

fn write_strings(out: &mut String, data: &[u8]) {
    let mut rest = data;
    let mut separator = "\"";
    while let Some((&length, behind)) = rest.split_first() {
        let (text, next) = behind.split_at(usize::from(length));
        out.push_str(separator);
        for &byte in text {
            match byte {
                b'"' | b'\\' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                0x20..=0x7e => out.push(char::from(byte)),
                _ => write_escape(out, byte),
            }
        }
        separator = "\" \"";
        rest = next;
    }
    out.push('"');
}

/// Data of a type that is not known (RFC 3597).
fn write_opaque(out: &mut String, data: &[u8]) {
    let _ = write!(out, "\\# {}", data.len());
    if !data.is_empty() {
        out.push(' ');
    }
    for byte in data {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::name;
    use std::rc::Rc;

    fn line(asked: u16, code: u8, sets: &[(&str, u16, &[&[u8]])]) -> String {
        let set = |(owner, kind, records): &(&str, u16, &[&[u8]])| AnswerSet {
            owner: name(owner),
            rrset: Rc::new(Rrset::new(*kind, records.iter().copied())),
            ttl: 1,
        };
        let answer = Answer {
            rcode: code,
            sets: sets.iter().map(set).collect(),
            start: None,
        };
        let question = Question {
            name: name("www.example.test"),
            kind: asked,
        };
        let mut out = String::new();
        write_line(&mut out, &question, &answer);
        out
    }

    #[test]
    fn lines_are_canonical() {
        let target = name("WEB.example.test");
        let chain = line(
            kind::A,
            0,
            &[
                ("example.test", kind::DNAME, &[&target]),
                ("www.example.test", kind::CNAME, &[&target]),
                (
                    "WEB.example.test",
                    kind::A,
                    &[&[10, 0, 0, 10], &[10, 0, 0, 2]],
                ),
            ],
        );
        assert_eq!(
            chain,
            "www.example.test. A NOERROR www.example.test. CNAME web.example.test. ; \
             web.example.test. A 10.0.0.2 ; web.example.test. A 10.0.0.10\n"
        );
        assert_eq!(line(kind::MX, 3, &[]), "www.example.test. MX NXDOMAIN -\n");
    }

    #[test]
    fn data_of_every_type() {
        let soa = [
            &name(".")[..],
            &name("a"),
            &[0, 0, 1, 0, 0, 0, 0, 1],
            &[0; 12],
        ]
        .concat();
        let mx = [&[0, 10], &name("Mail")[..]].concat();
        let srv = [&[0, 1, 0, 2, 19, 136], &name("s")[..]].concat();
        for (kind, data, text) in [
            (
                kind::AAAA,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
                "2001:db8::1",
            ),
            (kind::MX, &mx, "10 mail."),
            (kind::SRV, &srv, "1 2 5000 s."),
            (kind::SOA, &soa, ". a. 256 1 0 0 0"),
            (kind::TXT, b"\x03a\"\x01\x00", "\"a\\\"\\001\" \"\""),
            (65_280, b"\x0a\xff", "\\# 2 0aff"),
            (65_281, b"", "\\# 0"),
        ] {
            let mut out = String::new();
            write_data(&mut out, kind, data);
            assert_eq!(out, text);
        }
        let mut out = String::new();
        write_name(&mut out, b"\x06a.B\x00$-\x00");
        assert_eq!(out, "a\\.b\\000\\$-.");
    }

    #[test]
    fn types_by_name_and_number() {
        assert_eq!(parse_kind("aaaa"), Some(28));
        assert_eq!(parse_kind("Type65280"), Some(65_280));
        for text in ["BOGUS", "TYPE", "TYPE65536", "TYPE+1", ""] {
            assert_eq!(parse_kind(text), None, "{text}");
        }
    }
}
