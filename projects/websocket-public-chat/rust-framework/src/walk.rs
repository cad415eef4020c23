//! Follows the frames of a WebSocket in a stream of bytes that come in any pieces.
//!
//! A header is judged when it is there, long before the library has the whole frame, and so is the
//! code of a close frame: the library has no word of ours for what it does not like.

use crate::client::{Ending, PROTOCOL_ERROR, TOO_BIG};

const MAX_HEADER_BYTES: usize = 14;
const MASK_BYTES: usize = 4;
/// The longest payload of a control frame.
const MAX_CONTROL_BYTES: u64 = 125;
const OPCODE_CLOSE: u8 = 8;
/// The code that a close frame begins with.
const CODE_BYTES: u64 = 2;

/// What a header says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Header {
    first: u8, // FIN, RSV and opcode
    mask: Option<[u8; MASK_BYTES]>,
    payload_bytes: u64,
}

impl Header {
    fn opcode(self) -> u8 {
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
        let is_half_a_code = self.opcode() == OPCODE_CLOSE && self.payload_bytes == 1;
        if has_reserved_bits || !is_known || self.mask.is_none() || is_bad_control || is_half_a_code
        {
            return Some(PROTOCOL_ERROR);
        }
        (self.payload_bytes > max_bytes as u64).then_some(TOO_BIG)
    }
}

/// Whether a client may close with this code.
fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// The place in a stream of frames.
#[derive(Debug, Default)]
pub struct Walk {
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: u8,
    /// The frame under way, when its header is whole.
    frame: Option<Header>,
    payload_left: u64,
    close_code: u16,
}

impl Walk {
    /// Follows what a client sent: how many of the bytes may be read, and why not all of them.
    /// What is forbidden is among them but for its last byte, so that no reader takes it.
    pub fn inspect(&mut self, bytes: &[u8], max_bytes: usize) -> (usize, Option<Ending>) {
        let mut at = 0;
        while at < bytes.len() {
            let ending = if let Some(frame) = self.frame {
                self.pass(frame, bytes, &mut at)
            } else {
                at += 1;
                self.read_header(bytes[at - 1], max_bytes)
            };
            if ending.is_some() {
                return (at - 1, ending);
            }
        }
        (at, None)
    }

    /// Takes one byte more of a header; what is wrong with it when that was the last.
    fn read_header(&mut self, byte: u8, max_bytes: usize) -> Option<Ending> {
        self.header[usize::from(self.header_bytes)] = byte;
        self.header_bytes += 1;
        let header = self.parse()?;
        self.header_bytes = 0;
        self.payload_left = header.payload_bytes;
        self.frame = (self.payload_left > 0).then_some(header);
        header.violation(max_bytes)
    }

    /// Goes on in a payload, to its end where that is there.
    fn pass(&mut self, frame: Header, bytes: &[u8], at: &mut usize) -> Option<Ending> {
        let done = frame.payload_bytes - self.payload_left;
        let is_code = frame.opcode() == OPCODE_CLOSE && done < CODE_BYTES;
        let passed = if is_code {
            let mask = frame.mask.unwrap_or_default()[done as usize];
            self.close_code = self.close_code << 8 | u16::from(bytes[*at] ^ mask);
            1
        } else {
            self.payload_left.min((bytes.len() - *at) as u64)
        };
        *at += passed as usize;
        self.payload_left -= passed;
        if self.payload_left == 0 {
            self.frame = None;
        }
        let is_whole_code = is_code && done + 1 == CODE_BYTES;
        (is_whole_code && !is_close_code(self.close_code)).then_some(PROTOCOL_ERROR)
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
        let mask_start = 2 + length_bytes;
        if have < mask_start + if is_masked { MASK_BYTES } else { 0 } {
            return None;
        }
        let length = self.header[2..mask_start].iter();
        let payload_bytes = match length_bytes {
            0 => u64::from(second & 0x7f),
            _ => length.fold(0, |number, &byte| number << 8 | u64::from(byte)),
        };
        let mask = self.header[mask_start..].first_chunk().copied();
        Some(Header {
            first: self.header[0],
            mask: mask.filter(|_| is_masked),
            payload_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; MASK_BYTES] = [0, 7, 1, 2];

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
        frame.extend(MASK);
        let mask = MASK.iter().cycle();
        frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn closing(code: u16) -> Vec<u8> {
        masked(0x88, &[&code.to_be_bytes()[..], b"why"].concat())
    }

    #[test]
    fn sound_frames_pass_in_any_pieces() {
        let mut stream = masked(0x81, b"hello");
        stream.extend(masked(0x89, b""));
        stream.extend(masked(0x01, &[b'x'; 300]));
        stream.extend(masked(0x80, &vec![b'x'; 70_000]));
        stream.extend(masked(0x88, b""));
        for code in [1000, 1003, 1007, 1013, 3000, 4999] {
            stream.extend(closing(code));
        }
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let mut walk = Walk::default();
            for bytes in stream.chunks(piece) {
                assert_eq!(walk.inspect(bytes, 70_000), (bytes.len(), None));
            }
            assert!(walk.frame.is_none() && walk.header_bytes == 0);
        }
    }

    #[test]
    fn what_is_forbidden_is_held_back() {
        let good = masked(0x81, b"good");
        for (bad, ending) in [
            (masked(0xc1, b"x"), PROTOCOL_ERROR),      // RSV
            (masked(0x83, b"x"), PROTOCOL_ERROR),      // reserved opcode
            (masked(0x8b, b"x"), PROTOCOL_ERROR),      // reserved control opcode
            (masked(0x09, b"x"), PROTOCOL_ERROR),      // fragmented ping
            (masked(0x89, &[0; 126]), PROTOCOL_ERROR), // long ping
            (masked(0x8a, &vec![0; 70_000]), PROTOCOL_ERROR),
            (masked(0x88, b"x"), PROTOCOL_ERROR), // half a code
            (closing(999), PROTOCOL_ERROR),
            (closing(1005), PROTOCOL_ERROR),
            (closing(1015), PROTOCOL_ERROR),
            (closing(5000), PROTOCOL_ERROR),
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

            let mut walk = Walk::default();
            let ends = stream.iter().map(|&byte| walk.inspect(&[byte], 100).1);
            assert_eq!(ends.flatten().next(), Some(ending), "{bad:?} by bytes");
        }
    }
}
