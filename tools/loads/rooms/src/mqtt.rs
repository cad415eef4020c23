//! MQTT 3.1.1 as far as users of one topic need it: at most once, one packet a frame.

use crate::message::Told;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PACKET_ID: [u8; 2] = [0, 1]; // of the only packet of a user that has one
const AT_MOST_ONCE: u8 = 0;
/// The protocol's name and level, a clean session, no keep-alive.
const CLEAN: [u8; 10] = [0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
/// What a user says last.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Who it is.
pub fn connect(name: &[u8]) -> Vec<u8> {
    packet(CONNECT, &[&CLEAN, &field(name)])
}

/// What it wants to hear.
pub fn subscribe(topic: &[u8]) -> Vec<u8> {
    packet(SUBSCRIBE, &[&PACKET_ID, &field(topic), &[AT_MOST_ONCE]])
}

/// Append the head of a message with so many bytes.
pub fn publish(topic: &[u8], bytes: usize, out: &mut Vec<u8>) {
    let topic = field(topic);
    head(PUBLISH, topic.len() + bytes, out);
    out.extend_from_slice(&topic);
}

/// Read the one packet of a frame of the server.
pub fn read<'a>(packet: &'a [u8], topic: &[u8]) -> Option<Told<'a>> {
    let (&kind, rest) = packet.split_first()?;
    let body = body(rest)?;
    match kind {
        CONNACK => matches!(body, [_, 0]).then_some(Told::Welcome),
        SUBACK => (body == [PACKET_ID[0], PACKET_ID[1], AT_MOST_ONCE]).then_some(Told::Joined),
        PUBLISH => {
            let (length, rest) = body.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)) == topic.len()).then_some(())?;
            Some(Told::Text(rest.strip_prefix(topic)?))
        }
        _ => None,
    }
}

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    head(kind, parts.iter().map(|part| part.len()).sum(), &mut out);
    out.extend_from_slice(&parts.concat());
    out
}

/// The kind and how many bytes follow: seven bits a byte, the lowest first.
fn head(kind: u8, mut length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    while length > 0x7f {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
}

/// What is behind the length, if it is as long.
fn body(rest: &[u8]) -> Option<&[u8]> {
    let last = rest.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let length = rest[..=last].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    Some(&rest[last + 1..]).filter(|body| body.len() == length)
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_the_standard_has_them() {
        assert_eq!(connect(b"u1"), b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02u1");
        assert_eq!(subscribe(b"r-1"), b"\x82\x08\x00\x01\x00\x03r-1\x00");
        let mut out = Vec::new();
        publish(b"r-1", 200, &mut out);
        assert_eq!(out, b"\x30\xcd\x01\x00\x03r-1");
    }

    #[test]
    fn a_published_text_comes_back() {
        for bytes in [1, 122, 123, 200, 2_000] {
            let (mut packet, text) = (Vec::new(), vec![b'x'; bytes]);
            publish(b"r-1", bytes, &mut packet);
            packet.extend_from_slice(&text);
            assert_eq!(read(&packet, b"r-1"), Some(Told::Text(&text)));
            assert_eq!(read(&packet, b"r-2"), None);
            assert_eq!(read(&packet[..packet.len() - 1], b"r-1"), None);
        }
    }

    #[test]
    fn answers_count_only_when_they_say_yes() {
        assert_eq!(read(b"\x20\x02\x00\x00", b"r"), Some(Told::Welcome));
        assert_eq!(read(b"\x20\x02\x00\x05", b"r"), None);
        assert_eq!(read(b"\x90\x03\x00\x01\x00", b"r"), Some(Told::Joined));
        assert_eq!(read(b"\x90\x03\x00\x01\x80", b"r"), None);
        for other in [&b""[..], b"\x30", b"\x30\xff\xff\xff\xff", b"\xd0\x00"] {
            assert_eq!(read(other, b"r"), None);
        }
    }
}
