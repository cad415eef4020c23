//! The messages of the chat: JSON objects from clients parsed in place, those of the server
//! written once into a frame that all receivers share.

use std::borrow::Cow;

use crate::frame::{Frame, HEADROOM, seal};
use crate::json::{Member, Parser, Value, push_number, push_string};

const MAX_ROOM_BYTES: usize = 64;
const MAX_NICK_CHARACTERS: usize = 32;
const MAX_TEXT_BYTES: usize = 2000;
/// The largest integer that every JSON reader keeps exactly: 2^53 - 1.
const MAX_ID: u64 = (1 << 53) - 1;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    Join {
        room: Cow<'a, str>,
        nick: Cow<'a, str>,
    },
    Chat {
        id: u64,
        text: Cow<'a, str>,
    },
    Leave,
}

/// Why a message of a client is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NotJson,
    NotAnObject,
    UnknownType,
    BadRoom,
    BadNick,
    BadText,
    BadId,
    NotJoined,
    JoinedAlready,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::NotJson => "not json",
            Self::NotAnObject => "not an object",
            Self::UnknownType => "unknown type",
            Self::BadRoom => "bad room",
            Self::BadNick => "bad nick",
            Self::BadText => "bad text",
            Self::BadId => "bad id",
            Self::NotJoined => "not joined",
            Self::JoinedAlready => "joined already",
        }
    }
}

/// A message that is refused: why, and whether it was meant as a chat message.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    pub reason: Reason,
    pub is_chat: bool,
}

impl Malformed {
    fn new(reason: Reason) -> Self {
        let is_chat = matches!(reason, Reason::BadText | Reason::BadId);
        Self { reason, is_chat }
    }
}

/// The members that mean something; where one stands twice, the last one counts.
#[derive(Default)]
struct Members<'a> {
    kind: Option<Value<'a>>,
    room: Option<Value<'a>>,
    nick: Option<Value<'a>>,
    id: Option<Value<'a>>,
    text: Option<Value<'a>>,
}

/// Reads one message.
pub fn parse(source: &str) -> Result<Request<'_>, Malformed> {
    let members = read_members(source).map_err(Malformed::new)?;
    match &string(members.kind).ok_or(Malformed::new(Reason::UnknownType))?[..] {
        "join" => {
            let room = string(members.room).filter(|room| is_room(room));
            let nick = string(members.nick).filter(|nick| is_nick(nick));
            Ok(Request::Join {
                room: room.ok_or(Malformed::new(Reason::BadRoom))?,
                nick: nick.ok_or(Malformed::new(Reason::BadNick))?,
            })
        }
        "chat" => {
            let is_text = |text: &Cow<str>| (1..=MAX_TEXT_BYTES).contains(&text.len());
            let text = string(members.text).filter(is_text);
            let id = match members.id {
                Some(Value::Number(digits)) => whole_id(digits),
                _ => None,
            };
            Ok(Request::Chat {
                text: text.ok_or(Malformed::new(Reason::BadText))?,
                id: id.ok_or(Malformed::new(Reason::BadId))?,
            })
        }
        "leave" => Ok(Request::Leave),
        _ => Err(Malformed::new(Reason::UnknownType)),
    }
}

fn read_members(source: &str) -> Result<Members<'_>, Reason> {
    let mut parser = Parser::new(source);
    if !parser.enter_object() {
        let is_json = parser.value().is_some() && parser.is_at_end();
        return Err(if is_json {
            Reason::NotAnObject
        } else {
            Reason::NotJson
        });
    }
    let mut members = Members::default();
    while let Member::Named(name) = parser.next_member().ok_or(Reason::NotJson)? {
        let value = parser.value().ok_or(Reason::NotJson)?;
        let place = match &name[..] {
            "type" => &mut members.kind,
            "room" => &mut members.room,
            "nick" => &mut members.nick,
            "id" => &mut members.id,
            "text" => &mut members.text,
            _ => continue,
        };
        *place = Some(value);
    }
    if parser.is_at_end() {
        Ok(members)
    } else {
        Err(Reason::NotJson)
    }
}

fn string(value: Option<Value<'_>>) -> Option<Cow<'_, str>> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn is_room(room: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=MAX_ROOM_BYTES).contains(&room.len()) && room.bytes().all(is_allowed)
}

fn is_nick(nick: &str) -> bool {
    let characters = nick.chars().take(MAX_NICK_CHARACTERS + 1).count();
    (1..=MAX_NICK_CHARACTERS).contains(&characters) && !nick.chars().any(char::is_control)
}

/// Digits only: neither a sign nor a fraction nor an exponent makes an id.
fn whole_id(number: &str) -> Option<u64> {
    let is_whole = number.bytes().all(|byte| byte.is_ascii_digit());
    let id = number.parse().ok().filter(|_| is_whole);
    id.filter(|&id: &u64| id <= MAX_ID)
}

/// Starts a message with room in front for what the frame needs there.
fn start(capacity: usize, text: &str) -> String {
    let mut json = String::with_capacity(HEADROOM + capacity);
    json.extend(std::iter::repeat_n('\0', HEADROOM));
    json.push_str(text);
    json
}

/// The part of a chat message that is the same for all messages of a member.
pub fn chat_prefix(room: &str, nick: &str) -> Box<str> {
    let mut prefix = String::from("{\"type\":\"chat\",\"room\":");
    push_string(&mut prefix, room);
    prefix.push_str(",\"nick\":");
    push_string(&mut prefix, nick);
    prefix.push_str(",\"seq\":");
    prefix.into_boxed_str()
}

pub fn chat(prefix: &str, seq: u64, text: &str) -> Frame {
    let mut json = start(prefix.len() + text.len() + 40, prefix);
    push_number(&mut json, seq);
    json.push_str(",\"text\":");
    push_string(&mut json, text);
    json.push('}');
    seal(json)
}

pub fn joined(room: &str, nick: &str, members: usize) -> Frame {
    let mut json = start(
        room.len() + nick.len() + 64,
        "{\"type\":\"joined\",\"room\":",
    );
    push_string(&mut json, room);
    json.push_str(",\"nick\":");
    push_string(&mut json, nick);
    json.push_str(",\"members\":");
    push_number(&mut json, members as u64);
    json.push('}');
    seal(json)
}

pub fn presence(room: &str, members: usize) -> Frame {
    let mut json = start(room.len() + 64, "{\"type\":\"presence\",\"room\":");
    push_string(&mut json, room);
    json.push_str(",\"members\":");
    push_number(&mut json, members as u64);
    json.push('}');
    seal(json)
}

pub fn accepted(id: u64, seq: u64) -> Frame {
    let mut json = start(80, "{\"type\":\"accepted\",\"id\":");
    push_number(&mut json, id);
    json.push_str(",\"seq\":");
    push_number(&mut json, seq);
    json.push('}');
    seal(json)
}

pub fn refused(id: u64) -> Frame {
    let mut json = start(80, "{\"type\":\"refused\",\"id\":");
    push_number(&mut json, id);
    json.push_str(",\"reason\":\"rate\"}");
    seal(json)
}

pub fn left(room: &str) -> Frame {
    let mut json = start(room.len() + 32, "{\"type\":\"left\",\"room\":");
    push_string(&mut json, room);
    json.push('}');
    seal(json)
}

pub fn error(reason: Reason) -> Frame {
    let mut json = start(64, "{\"type\":\"error\",\"reason\":");
    push_string(&mut json, reason.text());
    json.push('}');
    seal(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::text_of;

    fn reason(source: &str) -> Reason {
        parse(source).expect_err(source).reason
    }

    #[test]
    fn the_three_requests() {
        let join = parse(r#" {"nick":"J\u00f6","x":[{}],"type":"join","room":"a_b-1"} "#);
        let (room, nick) = ("a_b-1".into(), "Jö".into());
        assert_eq!(join, Ok(Request::Join { room, nick }));
        let chat = parse(r#"{"type":"chat","id":9007199254740991,"text":"hi"}"#);
        let text = "hi".into();
        assert_eq!(chat, Ok(Request::Chat { id: MAX_ID, text }));
        let leave = parse("{\"type\":\"chat\",\"type\":\"leave\"}");
        assert_eq!(leave, Ok(Request::Leave), "the last one counts");
    }

    #[test]
    fn what_is_not_a_request() {
        for source in [
            "",
            "{",
            "{}}",
            "nul",
            "{\"type\":\"leave\",}",
            "[1",
            "\"\\ud800\"",
        ] {
            assert_eq!(reason(source), Reason::NotJson, "{source}");
        }
        for source in ["[]", "1", " null ", "\"join\""] {
            assert_eq!(reason(source), Reason::NotAnObject, "{source}");
        }
        for source in [
            "{}",
            "{\"type\":1}",
            "{\"type\":\"Join\"}",
            "{\"type\":\"\"}",
        ] {
            assert_eq!(reason(source), Reason::UnknownType, "{source}");
        }
    }

    #[test]
    fn limits_of_a_join() {
        let join = |room: &str, nick: &str| {
            let source = format!("{{\"type\":\"join\",\"room\":\"{room}\",\"nick\":\"{nick}\"}}");
            parse(&source).map(|_| ()).map_err(|bad| bad.reason)
        };
        assert_eq!(join(&"r".repeat(64), &"ö".repeat(32)), Ok(()));
        for room in ["", "A", "a b", "ä", &"r".repeat(65)] {
            assert_eq!(join(room, "n"), Err(Reason::BadRoom), "{room}");
        }
        for nick in ["", "a\\u0000", "a\\u0085", "\u{7f}", &"n".repeat(33)] {
            assert_eq!(join("r", nick), Err(Reason::BadNick), "{nick}");
        }
        let source = "{\"type\":\"join\",\"room\":1,\"nick\":2}";
        assert_eq!(reason(source), Reason::BadRoom, "the room first");
    }

    #[test]
    fn limits_of_a_chat_message() {
        let chat = |id: &str, text: &str| {
            let source = format!("{{\"type\":\"chat\",\"id\":{id},\"text\":{text}}}");
            parse(&source).map(|_| ())
        };
        let longest = format!("\"{}\"", "x".repeat(MAX_TEXT_BYTES));
        assert_eq!(chat("0", &longest), Ok(()));
        for text in ["\"\"", "1", "null", &format!("\"x{}", &longest[1..])] {
            assert_eq!(chat("0", text), Err(Malformed::new(Reason::BadText)));
        }
        for id in [
            "-1",
            "-0",
            "1.0",
            "1e2",
            "9007199254740992",
            "\"1\"",
            "null",
        ] {
            let malformed = chat(id, "\"x\"").expect_err(id);
            assert_eq!((malformed.reason, malformed.is_chat), (Reason::BadId, true));
        }
    }

    #[test]
    fn members_in_this_order_without_spaces() {
        let prefix = chat_prefix("r", "n\"");
        for (frame, text) in [
            (
                chat(&prefix, 7, "a\u{1}/\u{7f}"),
                "{\"type\":\"chat\",\"room\":\"r\",\"nick\":\"n\\\"\",\"seq\":7,\"text\":\"a\\u0001/\u{7f}\"}",
            ),
            (
                joined("r", "n", 2),
                "{\"type\":\"joined\",\"room\":\"r\",\"nick\":\"n\",\"members\":2}",
            ),
            (
                presence("r", 10),
                "{\"type\":\"presence\",\"room\":\"r\",\"members\":10}",
            ),
            (accepted(0, 1), "{\"type\":\"accepted\",\"id\":0,\"seq\":1}"),
            (
                refused(5),
                "{\"type\":\"refused\",\"id\":5,\"reason\":\"rate\"}",
            ),
            (left("r"), "{\"type\":\"left\",\"room\":\"r\"}"),
            (
                error(Reason::JoinedAlready),
                "{\"type\":\"error\",\"reason\":\"joined already\"}",
            ),
        ] {
            assert_eq!(text_of(&frame), text);
        }
    }
}
