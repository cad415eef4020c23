//! Follows the frames of a WebSocket in the bytes that are written, which come in any pieces.

/// The header of a frame of a server: no mask.
const MAX_HEADER_BYTES: usize = 10;
const OPCODE_TEXT: u8 = 1;

/// The place in a stream of frames.
#[derive(Debug, Default)]
pub struct Texts {
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
    payload_left: u64,
}

impl Texts {
    /// How many text frames became whole by these bytes.
    pub fn count(&mut self, bytes: &[u8]) -> u64 {
        let mut texts = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(rest);
            if self.payload_left == 0 && self.is_header_whole() {
                texts += u64::from(self.header[0] & 0x0f == OPCODE_TEXT);
                self.header_bytes = 0;
            }
        }
        texts
    }

    /// Goes on by a byte of the header, or to the end of the payload.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.payload_left > 0 {
            let passed = self.payload_left.min(bytes.len() as u64);
            self.payload_left -= passed;
            return &bytes[passed as usize..];
        }
        self.header[self.header_bytes] = bytes[0];
        self.header_bytes += 1;
        if self.is_header_whole() {
            self.payload_left = match self.header[1] {
                short @ 0..126 => u64::from(short),
                _ => self.header[2..self.header_bytes]
                    .iter()
                    .fold(0, |number, &byte| number << 8 | u64::from(byte)),
            };
        }
        &bytes[1..]
    }

    fn is_header_whole(&self) -> bool {
        let length_bytes = match self.header[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        self.header_bytes
            >= 2 + if self.header_bytes < 2 {
                0
            } else {
                length_bytes
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_count_when_their_last_byte_is_out() {
        let stream = b"\x81\x03abc\x89\x00\x81\x00\x82\x01x\x81\x01y";
        assert_eq!(Texts::default().count(stream), 3);
        let mut texts = Texts::default();
        let counted: Vec<_> = stream.chunks(1).map(|byte| texts.count(byte)).collect();
        assert_eq!(counted, [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn long_frames_in_any_pieces() {
        let mut stream = vec![0x81, 126, 1, 44];
        stream.extend([b'x'; 300]);
        stream.extend([0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend(vec![b'x'; 65_536]);
        stream.extend([0x88, 2, 3, 232]);
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let mut place = Texts::default();
            let texts: u64 = stream.chunks(piece).map(|bytes| place.count(bytes)).sum();
            assert_eq!((texts, place.payload_left, place.header_bytes), (2, 0, 0));
        }
    }
}
