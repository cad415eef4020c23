//! The protocols in which users speak with a server: the public chat's own, texts as they are, MQTT.

use serde::Deserialize;

use crate::message::{self, Text, Told};
use crate::{frame, mqtt};

/// How users and server speak.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Users join and leave a room, every message is answered and has a number.
    #[default]
    Chat,
    /// A text goes as it is to everybody who is connected, its sender too.
    Broadcast,
    /// A text is published at most once to everybody who subscribed, its sender too.
    Mqtt,
}

impl Protocol {
    /// The opcode of all frames but those of WebSocket itself.
    pub fn opcode(self) -> u8 {
        if self == Self::Mqtt { frame::BINARY } else { frame::TEXT }
    }

    /// The request of somebody who connects.
    pub fn upgrade(self, path: &str, room: &str, host: &str) -> Vec<u8> {
        match self {
            Self::Chat => frame::upgrade(path, host, ""),
            Self::Broadcast => frame::upgrade(&format!("{path}?room={room}"), host, ""),
            Self::Mqtt => frame::upgrade(path, host, "Sec-WebSocket-Protocol: mqtt\r\n"),
        }
    }

    /// What a user says first; None where all who are connected are in the room.
    pub fn join(self, room: &[u8], sender: u32) -> Option<Vec<u8>> {
        match self {
            Self::Chat => Some(message::join(room, sender)),
            Self::Broadcast => None,
            Self::Mqtt => Some([mqtt::connect(message::nick(sender).as_bytes()), mqtt::subscribe(room)].concat()),
        }
    }

    /// Append what a user says in the room.
    pub fn say(self, text: &Text, bytes: usize, room: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Chat => message::chat(text, bytes, out),
            Self::Broadcast => text.write(bytes, out),
            Self::Mqtt => {
                mqtt::publish(room, bytes, out);
                text.write(bytes, out);
            }
        }
    }

    /// The last frame of a user: its opcode and what it says.
    pub fn leave(self) -> (u8, &'static [u8]) {
        match self {
            Self::Chat => (frame::TEXT, message::LEAVE),
            Self::Broadcast => (frame::CLOSE, &frame::NORMAL),
            Self::Mqtt => (frame::BINARY, &mqtt::DISCONNECT),
        }
    }

    /// Whether a server numbers the messages of a room.
    pub fn numbers(self) -> bool {
        self == Self::Chat
    }

    /// Whether a server says goodbye to who leaves, and then closes. Others may just end the connection.
    pub fn says_goodbye(self) -> bool {
        self == Self::Chat
    }

    /// Read what a server says in one frame.
    pub fn read<'a>(self, payload: &'a [u8], room: &[u8]) -> Option<Told<'a>> {
        match self {
            Self::Chat => Told::read(payload, room),
            Self::Broadcast => Some(Told::Text(payload)),
            Self::Mqtt => mqtt::read(payload, room),
        }
    }
}
