//! Follows the frames of a WebSocket in a stream of bytes that come in any pieces.
//!
//! A header is judged when it is there, long before the library has the whole frame.

use crate::client::{Ending, PROTOCOL_ERROR, TOO_BIG};

const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of a control frame.
const MAX_CONTROL_BYTES: u64 = 125;

pub const OPCODE_TEXT: u8 = 1;

/// What a header says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub first: u8, // FIN, RSV and opcode
    pub is_masked: bool,
    pub payload_bytes: u64,
}

impl Header {
    pub fn opcode(self) -> u8 {
        self.first & 0x0f
    }

    fn is_control(self) -> bool {
        self.first & 0x08 != 0
    }

    fn is_final(self) -> bool {
        self.first & 0x80 != 0
    }

    /// Why a client must not send this, whatever came before.
    fn violation(self, max_bytes: usize) -> Option<Ending> {
        let has_reserved_bits = self.first & 0x70 != 0;
        let is_known = matches!(self.opcode(), 0..=2 | 8..=10);
        let is_bad_control =
            self.is_control() && (!self.is_final() || self.payload_bytes > MAX_CONTROL_BYTES);
        if has_reserved_bits || !is_known || !self.is_masked || is_bad_control {
            return Some(PROTOCOL_ERROR);
        }
        (self.payload_bytes > max_bytes as u64).then_some(TOO_BIG)
    }
}

/// The place in a stream of frames.
#[derive(Debug, Default)]
pub struct Walk {
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: u8,
    /// The frame under way, when its header is whole.
    frame: Option<Header>,
    payload_left: u64,
}

impl Walk {
    /// Follows what a client sent: how many of the bytes may be read, and why not all of them.
    /// A forbidden header is among them but for its last byte, so that no reader takes it.
    pub fn inspect(&mut self, bytes: &[u8], max_bytes: usize) -> (usize, Option<Ending>) {
        let mut at = 0;
        while at < bytes.len() {
            let header = self.step(bytes, &mut at).0;
            if let Some(ending) = header.and_then(|header| header.violation(max_bytes)) {
                return (at - 1, Some(ending));
            }
        }
        (at, None)
    }

    /// Goes on to the end of the header or of the payload: the header, when it became whole, and
    /// again when its frame ended.
    pub fn step(&mut self, bytes: &[u8], at: &mut usize) -> (Option<Header>, Option<Header>) {
        if let Some(header) = self.frame {
            let rest = (bytes.len() - *at) as u64;
            let passed = rest.min(self.payload_left);
            *at += passed as usize;
            self.payload_left -= passed;
            return (None, self.end_of(header));
        }
        self.header[usize::from(self.header_bytes)] = bytes[*at];
        self.header_bytes += 1;
        *at += 1;
        let Some(header) = self.parse() else {
            return (None, None);
        };
        self.header_bytes = 0;
        self.payload_left = header.payload_bytes;
        self.frame = Some(header);
        (Some(header), self.end_of(header))
    }

    fn end_of(&mut self, header: Header) -> Option<Header> {
        if self.payload_left > 0 {
            return None;
        }
        self.frame = None;
        Some(header)
    }

    fn parse(&self) -> Option<Header> {
        let have = usize::from(self.header_bytes);
        if have < 2 {
            return None;
        }
        let second = self.header[1];
        let is_masked = second & 0x80 != 0;
        let length_bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if have < 2 + length_bytes + if is_masked { 4 } else { 0 } {
            return None;
        }
        let length = self.header[2..2 + length_bytes].iter();
        let payload_bytes = match length_bytes {
            0 => u64::from(second & 0x7f),
            _ => length.fold(0, |number, &byte| number << 8 | u64::from(byte)),
        };
        Some(Header {
            first: self.header[0],
            is_masked,
            payload_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame; the mask is zero.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            126..65536 => {
                frame.push(0xfe);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn sound_frames_pass_in_any_pieces() {
        let mut stream = masked(0x81, b"hello");
        stream.extend(masked(0x89, b""));
        stream.extend(masked(0x01, &[b'x'; 300]));
        stream.extend(masked(0x80, &vec![b'x'; 70_000]));
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let mut walk = Walk::default();
            for bytes in stream.chunks(piece) {
                assert_eq!(walk.inspect(bytes, 70_000), (bytes.len(), None));
            }
            assert!(walk.frame.is_none() && walk.header_bytes == 0);
        }
    }

    #[test]
    fn forbidden_headers_are_held_back() {
        let good = masked(0x81, b"good");
        for (bad, ending) in [
            (masked(0xc1, b"x"), PROTOCOL_ERROR),      // RSV
            (masked(0x83, b"x"), PROTOCOL_ERROR),      // reserved opcode
            (masked(0x8b, b"x"), PROTOCOL_ERROR),      // reserved control opcode
            (masked(0x09, b"x"), PROTOCOL_ERROR),      // fragmented ping
            (masked(0x89, &[0; 126]), PROTOCOL_ERROR), // long ping
            (masked(0x8a, &vec![0; 70_000]), PROTOCOL_ERROR),
            (vec![0x81, 1, b'x'], PROTOCOL_ERROR), // not masked
            (masked(0x81, &[0; 101]), TOO_BIG),
            (
                vec![0x82, 0xff, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                TOO_BIG,
            ),
        ] {
            let stream = [&good[..], &bad].concat();
            let (length, found) = Walk::default().inspect(&stream, 100);
            assert_eq!(found, Some(ending), "{bad:?}");
            assert!((good.len()..good.len() + MAX_HEADER_BYTES).contains(&length));
        }
    }
}
