//! Frames as they go over the wire, header and payload in one piece of memory that all
//! receivers share: a server does not mask, so the bytes are the same for all.

use bytes::Bytes;

pub type Frame = Bytes;

/// Room that `seal` needs in front of a message for the header.
pub const HEADROOM: usize = 4;

const FINAL: u8 = 0x80;
const OPCODE_TEXT: u8 = 1;
const SHORT_PAYLOAD: usize = 126;

/// Makes a text frame of a message that was written behind `HEADROOM` bytes. A message is at
/// most some 13 kB: 2,000 control characters, each escaped by six bytes.
pub fn seal(message: String) -> Frame {
    let payload_bytes = message.len() - HEADROOM;
    let mut bytes = message.into_bytes();
    let Ok(length) = u16::try_from(payload_bytes) else {
        return encode(OPCODE_TEXT, &bytes[HEADROOM..]);
    };
    let start = if payload_bytes < SHORT_PAYLOAD {
        bytes[2..4].copy_from_slice(&[FINAL | OPCODE_TEXT, payload_bytes as u8]);
        2
    } else {
        bytes[..2].copy_from_slice(&[FINAL | OPCODE_TEXT, 126]);
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        0
    };
    Bytes::from(bytes).slice(start..)
}

/// A frame of any length, from a payload that lies elsewhere.
pub fn encode(opcode: u8, payload: &[u8]) -> Frame {
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    bytes.push(FINAL | opcode);
    match payload.len() {
        length @ 0..SHORT_PAYLOAD => bytes.push(length as u8),
        length @ SHORT_PAYLOAD..=0xffff => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    Bytes::from(bytes)
}

/// The message in a frame that `seal` made.
#[cfg(test)]
pub fn text_of(frame: &Frame) -> &str {
    let header_bytes = if frame[1] == 126 { 4 } else { 2 };
    std::str::from_utf8(&frame[header_bytes..]).expect("made of text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_message_is_an_encoded_frame() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let text = "x".repeat(length);
            let sealed = seal(format!("\0\0\0\0{text}"));
            assert_eq!(sealed, encode(1, text.as_bytes()), "{length}");
        }
    }

    #[test]
    fn lengths_as_the_protocol_has_them() {
        assert_eq!(encode(2, b"ab")[..], [0x82, 2, b'a', b'b']);
        assert_eq!(encode(1, &[0; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(
            encode(1, &vec![0; 65_536])[..10],
            [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
    }
}
