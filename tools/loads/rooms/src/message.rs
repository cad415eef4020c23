//! The messages of the chat, as bytes: what users say, and what a server tells them.

/// Bytes of a text before its filler: sender, the sender's count, place among all messages, time when it was due.
pub const HEADER_BYTES: usize = 44;
/// The longest text that a server must take.
pub const TEXT_BYTES_MAX: usize = 2_000;
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
static FILLER: [u8; TEXT_BYTES_MAX + 64] = filler();
const HEX: &[u8; 16] = b"0123456789abcdef";

const fn filler() -> [u8; TEXT_BYTES_MAX + 64] {
    let mut bytes = [0; TEXT_BYTES_MAX + 64];
    let mut index = 0;
    while index < bytes.len() {
        bytes[index] = LETTERS[(index * 7 + index / 61) % 64];
        index += 1;
    }
    bytes
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub sender: u32,
    /// How many the sender sent before.
    pub number: u32,
    /// Its place among the messages of all.
    pub index: u32,
    pub due_ns: u64,
}

impl Text {
    /// Append the text, filled up to so many bytes.
    pub fn write(&self, bytes: usize, out: &mut Vec<u8>) {
        for (value, digits) in self.fields() {
            push_hex(value, digits, out);
            out.push(b' ');
        }
        out.extend_from_slice(self.filler(bytes - HEADER_BYTES));
    }

    /// Read a text; None if any byte of it is not what its sender wrote.
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut rest = text;
        let mut field = |digits: usize| {
            let (value, tail) = (hex(rest.get(..digits)?)?, rest[digits..].strip_prefix(b" ")?);
            rest = tail;
            Some(value)
        };
        let (sender, number, index) = (field(8)? as u32, field(8)? as u32, field(8)? as u32);
        let found = Self { sender, number, index, due_ns: field(16)? };
        (rest.len() <= TEXT_BYTES_MAX && rest == found.filler(rest.len())).then_some(found)
    }

    fn fields(&self) -> [(u64, usize); 4] {
        [(self.sender.into(), 8), (self.number.into(), 8), (self.index.into(), 8), (self.due_ns, 16)]
    }

    /// Texts differ in their filler too, so that a server cannot mix up two of them unseen.
    fn filler(&self, bytes: usize) -> &'static [u8] {
        let from = (self.index % 64) as usize;
        &FILLER[from..from + bytes]
    }
}

fn push_hex(value: u64, digits: usize, out: &mut Vec<u8>) {
    out.extend((0..digits).rev().map(|digit| HEX[(value >> (4 * digit)) as usize & 15]));
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

/// What a user says first.
pub fn join(room: &[u8], sender: u32) -> Vec<u8> {
    [br#"{"type":"join","room":""#, room, br#"","nick":""#, nick(sender).as_bytes(), br#""}"#].concat()
}

/// The nick of a user.
pub fn nick(sender: u32) -> String {
    format!("u{sender:08x}")
}

/// Append what a user says in the room; `id` is the place of the text among all messages.
pub fn chat(text: &Text, bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"chat","id":"#);
    push_number(text.index.into(), out);
    out.extend_from_slice(br#","text":""#);
    text.write(bytes, out);
    out.extend_from_slice(br#""}"#);
}

/// What a user says last.
pub const LEAVE: &[u8] = br#"{"type":"leave"}"#;

/// Append a decimal number.
pub fn push_number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// What a server tells a user.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// The connection is welcome; not in the room yet.
    Welcome,
    Joined,
    Accepted {
        id: u64,
        seq: u64,
    },
    Chat {
        nick: &'a [u8],
        seq: u64,
        text: &'a [u8],
    },
    /// A text as it is, also to its own sender.
    Text(&'a [u8]),
    Refused {
        id: u64,
    },
    Presence,
    Left,
    Error(&'a [u8]),
}

impl<'a> Told<'a> {
    /// Read a message of a server: members in exactly the order of the protocol, no spaces.
    pub fn read(message: &'a [u8], room: &[u8]) -> Option<Self> {
        let rest = message.strip_prefix(br#"{"type":""#)?;
        let kind = rest.iter().position(|&byte| byte == b'"')?;
        let (kind, rest) = (&rest[..kind], &rest[kind + 1..]);
        match kind {
            b"chat" => Self::chat(in_room(rest, room)?),
            b"accepted" => {
                let (id, rest) = number(rest.strip_prefix(br#","id":"#)?)?;
                let (seq, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
                (rest == b"}").then_some(Self::Accepted { id, seq })
            }
            b"refused" => {
                let (id, rest) = number(rest.strip_prefix(br#","id":"#)?)?;
                (rest == br#","reason":"rate"}"#).then_some(Self::Refused { id })
            }
            b"presence" => {
                let (_, rest) = number(in_room(rest, room)?.strip_prefix(br#","members":"#)?)?;
                (rest == b"}").then_some(Self::Presence)
            }
            b"joined" => {
                let (_, rest) = quoted(in_room(rest, room)?.strip_prefix(br#","nick":""#)?)?;
                let (_, rest) = number(rest.strip_prefix(br#","members":"#)?)?;
                (rest == b"}").then_some(Self::Joined)
            }
            b"left" => (in_room(rest, room)? == b"}").then_some(Self::Left),
            b"error" => {
                let (reason, rest) = quoted(rest.strip_prefix(br#","reason":""#)?)?;
                (rest == b"}").then_some(Self::Error(reason))
            }
            _ => None,
        }
    }

    fn chat(rest: &'a [u8]) -> Option<Self> {
        let (nick, rest) = quoted(rest.strip_prefix(br#","nick":""#)?)?;
        let (seq, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
        let text = rest.strip_prefix(br#","text":""#)?.strip_suffix(br#""}"#)?;
        Some(Self::Chat { nick, seq, text })
    }
}

fn in_room<'a>(rest: &'a [u8], room: &[u8]) -> Option<&'a [u8]> {
    rest.strip_prefix(br#","room":""#)?.strip_prefix(room)?.strip_prefix(b"\"")
}

fn quoted(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|&byte| byte == b'"')?;
    Some((&rest[..end], &rest[end + 1..]))
}

/// A decimal number and what is behind it.
pub fn number(rest: &[u8]) -> Option<(u64, &[u8])> {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 || end > 18 {
        return None;
    }
    let value = rest[..end].iter().fold(0, |value, &digit| value * 10 + u64::from(digit - b'0'));
    Some((value, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Text = Text { sender: 7, number: 2, index: 65, due_ns: 123_456_789 };

    #[test]
    fn a_text_comes_back_and_any_other_byte_is_noticed() {
        let mut text = Vec::new();
        TEXT.write(128, &mut text);
        assert_eq!(text.len(), 128);
        assert_eq!(Text::read(&text), Some(TEXT));
        for index in [0, 8, 20, 43, 44, 127] {
            let mut other = text.clone();
            other[index] ^= 1;
            assert_ne!(Text::read(&other), Some(TEXT), "byte {index}");
        }
        assert_eq!(Text::read(b"short"), None);
    }

    #[test]
    fn a_message_is_json_with_the_text() {
        let mut out = Vec::new();
        chat(&TEXT, HEADER_BYTES, &mut out);
        let whole = br#"{"type":"chat","id":65,"text":"00000007 00000002 00000041 00000000075bcd15 "}"#;
        assert_eq!(out, whole);
        assert_eq!(join(b"r-1", 10), br#"{"type":"join","room":"r-1","nick":"u0000000a"}"#);
    }

    #[test]
    fn what_a_server_tells_is_understood() {
        let told: [(&[u8], Told); 7] = [
            (br#"{"type":"joined","room":"r","nick":"n","members":3}"#, Told::Joined),
            (br#"{"type":"accepted","id":5,"seq":12}"#, Told::Accepted { id: 5, seq: 12 }),
            (
                br#"{"type":"chat","room":"r","nick":"n","seq":1,"text":"a"}"#,
                Told::Chat { nick: b"n", seq: 1, text: b"a" },
            ),
            (br#"{"type":"refused","id":5,"reason":"rate"}"#, Told::Refused { id: 5 }),
            (br#"{"type":"presence","room":"r","members":3}"#, Told::Presence),
            (br#"{"type":"left","room":"r"}"#, Told::Left),
            (br#"{"type":"error","reason":"bad text"}"#, Told::Error(b"bad text")),
        ];
        for (message, meaning) in told {
            assert_eq!(Told::read(message, b"r"), Some(meaning));
        }
    }

    #[test]
    fn anything_else_is_not() {
        let odd: [&[u8]; 6] = [
            b"",
            br#"{"type": "joined","room":"r","nick":"n","members":3}"#,
            br#"{"type":"chat","room":"other","nick":"n","seq":1,"text":"a"}"#,
            br#"{"type":"accepted","id":5,"seq":}"#,
            br#"{"type":"accepted","id":5,"seq":99999999999999999999}"#,
            br#"{"type":"hello"}"#,
        ];
        for message in odd {
            assert_eq!(Told::read(message, b"r"), None);
        }
    }
}
